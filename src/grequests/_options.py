"""What holds for a request besides its bytes: session, environment and keywords, merged.

The rules are those of `Session.request` and `Session.merge_environment_settings`. One `Options` is
shared by all requests of a run that say the same. Knows Requests' merging rules and the origins
of the engine; nothing of a single request's life.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from requests.auth import _basic_auth_str
from requests.models import DEFAULT_REDIRECT_LIMIT
from requests.utils import (
    DEFAULT_CA_BUNDLE_PATH,
    get_auth_from_url,
    prepend_scheme_if_needed,
    select_proxy,
)
from urllib3.util.retry import Retry

from ._engine import Engine, Origin, OriginKey, TLSIdentity, identity
from ._lane import merged_proxies

if TYPE_CHECKING:
    from collections.abc import Mapping

    from requests import Session
    from requests.adapters import HTTPAdapter

    from ._addresses import AddressPolicy
    from ._environment import Environment

#: What an `HTTPAdapter` that nobody configured retries: nothing.
NO_RETRIES: Final = Retry(0, read=False)
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}


class RunContext:
    """What the requests of one run share: the engine, the environment, what was derived of it."""

    __slots__ = ("address_policy", "engine", "environment", "identities", "max_body", "max_head")

    def __init__(self, engine: Engine, environment: Environment) -> None:
        self.engine = engine
        self.environment = environment
        self.identities: dict[Any, TLSIdentity] = {}
        #: Bytes that responses may have, or None.
        self.max_body: int | None = None
        self.max_head: int | None = None
        #: Which addresses may be connected to; None for any.
        self.address_policy: AddressPolicy | None = None

    def is_awaited(self) -> bool:
        """Whether whoever reads the responses waits for the next."""
        return False


class Options:
    """Merged options.

    Attributes:
        session: the user's, or None.
        environment: the run's.
        trust_env: whether the environment counts.
        verify, cert, timeout, proxies: as Requests would hand them to an adapter.
        connect_timeout, read_timeout: seconds or None.
        allow_redirects: whether redirects are followed.
        stream: whether the user reads the body.
        max_redirects: how many.
        retries: the adapter's `Retry`.
        is_bare: whether there is neither a session nor anything to retry.
        adapter: the session's adapter, or None.
    """

    __slots__ = (
        "adapter",
        "allow_redirects",
        "cert",
        "connect_timeout",
        "context",
        "environment",
        "is_bare",
        "max_redirects",
        "proxies",
        "read_timeout",
        "retries",
        "session",
        "stream",
        "timeout",
        "trust_env",
        "verify",
    )

    def __init__(
        self,
        context: RunContext,
        session: Session | None,
        kwargs: Mapping[str, Any],
        url: str,
    ) -> None:
        self.context = context
        self.environment = context.environment
        self.session = session
        self.trust_env = session is None or session.trust_env
        self.max_redirects = DEFAULT_REDIRECT_LIMIT if session is None else session.max_redirects
        self.allow_redirects: bool = kwargs.get("allow_redirects", True)
        self.stream = bool(kwargs.get("stream"))
        self._set_timeout(kwargs.get("timeout"))
        self.verify = self._merge_verify(kwargs.get("verify"))
        self.cert = kwargs.get("cert") or (session.cert if session is not None else None)
        self.proxies = merged_proxies(url, session, kwargs, self.environment)
        self.adapter: HTTPAdapter | None = None
        self.retries = NO_RETRIES
        if session is not None:
            self.adapter = session.get_adapter(url.lstrip())  # type: ignore[assignment]
            self.retries = retries_of(self.adapter)
        self.is_bare = session is None

    def _set_timeout(self, timeout: Any) -> None:
        self.timeout = timeout
        self.connect_timeout, self.read_timeout = (
            timeout if isinstance(timeout, tuple) else (timeout, timeout)
        )

    def _merge_verify(
        self,
        verify: bool | str | None,  # noqa: FBT001 - Requests' name and values
    ) -> bool | str:
        if self.trust_env and (verify is True or verify is None):
            verify = self.environment.ca_bundle or verify
        if self.session is not None and self.session.verify is not None and verify is None:
            verify = self.session.verify
        return True if verify is None else verify

    def changed(self, adapter: HTTPAdapter | None, proxies: dict[str, str]) -> Options:
        """The same with another adapter and other proxies."""
        other = copy.copy(self)
        other.adapter = adapter
        other.retries = retries_of(adapter)
        other.proxies = proxies
        return other

    def retried(self, retries: Retry) -> Options:
        """The same for another attempt, of which the response will tell (`raw.retries`)."""
        other = copy.copy(self)
        other.retries = retries
        return other

    def resent(
        self, *, stream: bool, timeout: Any, verify: Any, cert: Any, proxies: Any
    ) -> Options:
        """The same as an adapter is given it, by who sends again."""
        other = copy.copy(self)
        other.stream = stream
        other._set_timeout(timeout)
        other.verify, other.cert, other.proxies = verify, cert, proxies or {}
        other.retries = retries_of(self.adapter)
        return other

    def send_kwargs(self) -> dict[str, Any]:
        """What Requests passes to response hooks."""
        return {
            "timeout": self.timeout,
            "verify": self.verify,
            "cert": self.cert,
            "proxies": self.proxies,
            "stream": self.stream,
        }

    def origin_of(self, scheme: str, host: str, port: int | None, proxy: str | None) -> Origin:
        """The engine's origin for a host under these options."""
        tls = self.tls_identity() if scheme == "https" else None
        number = port or _DEFAULT_PORTS[scheme]
        address, auth = (None, None) if proxy is None else proxy_address(proxy)
        policy = self.context.address_policy
        key = OriginKey(scheme, host, number, tls, address, auth, policy)
        return self.context.engine.origin(key)

    def tls_identity(self) -> TLSIdentity:
        """What https connections under these options trust and show."""
        identities = self.context.identities
        key = (self.verify, self.cert)
        known = identities.get(key)
        if known is None:
            known = identities[key] = identity(self.verify, self.cert, DEFAULT_CA_BUNDLE_PATH)
        return known

    def proxy_for(self, url: str) -> str | None:
        """The proxy for a URL, with its scheme; None for none."""
        if not self.proxies:
            return None
        proxy = select_proxy(url, self.proxies)
        return prepend_scheme_if_needed(proxy, "http") if proxy else None


def retries_of(adapter: Any) -> Any:
    """An adapter's `Retry`. No adapter has one, nor need somebody's `BaseAdapter` have any."""
    return getattr(adapter, "max_retries", NO_RETRIES)


def proxy_address(proxy: str) -> tuple[tuple[str, int], str | None]:
    """Host and port of a proxy URL, and the value of Proxy-Authorization if it has credentials."""
    parts = urlsplit(proxy)
    user, password = get_auth_from_url(proxy)
    auth = _basic_auth_str(user, password) if user else None
    return (parts.hostname, parts.port or 80), auth  # type: ignore[return-value]


def host_header(scheme: str, host: str, port: int | None) -> str:
    """The value of Host as http.client writes it."""
    shown = f"[{host}]" if ":" in host else host
    if port is None or port == _DEFAULT_PORTS[scheme]:
        return shown
    return f"{shown}:{port}"
