"""Requests that differ in their target alone share a template.

A run mostly sends one kind of request to many URLs: the same method, session, headers, timeout.
The first of a kind is prepared by the book (`_prepare`); what it wrote around its target is kept
and put around the targets of the others. A kind is what `fingerprint` says; whatever could make two
requests of a kind differ in more than their target has no fingerprint.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from requests import Session
from requests.auth import HTTPBasicAuth, HTTPProxyAuth
from requests.cookies import RequestsCookieJar
from requests.structures import CaseInsensitiveDict

from ._lane import adapter_reason, general_reason, own_methods
from ._options import Options, RunContext, host_header
from ._prepare import NotPlainError, prepare, serialize

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ._engine import Origin

#: Keywords whose meaning does not depend on the URL, and whose values can be compared.
KEYWORDS: Final = frozenset(
    {"timeout", "allow_redirects", "verify", "cert", "headers", "stream", "auth"}
)
_MAX_ORIGINS: Final = 16384
_MAX_TEMPLATES: Final = 256
_PORTS: Final = 65535
#: A URL that stands for any other.
_PROBE: Final = "http://probe.invalid/"
#: A host that no header has.
_MARK: Final = "\x00"


class Entry:
    """What stands around a target, for one origin."""

    __slots__ = ("headers", "lead", "origin", "rest")

    def __init__(
        self, origin: Origin, lead: str, rest: str, headers: CaseInsensitiveDict[str]
    ) -> None:
        self.origin = origin
        #: Method and blank; for a proxy also scheme and authority.
        self.lead = lead
        #: From the blank behind the target to the end of the head.
        self.rest = rest
        #: The headers of the prepared request.
        self.headers = headers


class Template:
    """One kind of request without a body.

    Attributes:
        options: what holds for all of them.
        origins: entries by scheme and authority of the URL.
    """

    __slots__ = ("_headers", "_kwargs", "_tail", "method", "options", "origins")

    def __init__(self, method: str, options: Options, kwargs: Mapping[str, Any]) -> None:
        self.method = method
        self.options = options
        self.origins: dict[str, Entry | None] = {}
        self._kwargs = kwargs
        ready = prepare(method, _PROBE, options.session, kwargs, options)
        self._headers: Any = ready.request.headers
        if ready.close_after:
            msg = "closes"
            raise NotPlainError(msg)
        wire = serialize(ready.request, "/", _MARK).decode("latin-1")
        self._tail = wire.partition(" / ")[2]
        if _MARK in self._tail.replace(_MARK, "", "host" not in self._headers):
            msg = "a header with the mark"
            raise NotPlainError(msg)

    def entry(self, prefix: str) -> Entry | None:
        """The entry for a URL that begins with this; None if it has to be prepared by the book.

        Args:
            prefix: scheme and authority, as in ``http://example.org:8080``, of a plain URL.

        Raises:
            OSError: the CA bundle or client certificate is not there.
        """
        environment = self.options.environment
        if environment.has_proxies or environment.has_netrc:
            made = self._prepared_entry(prefix)
        else:
            made = self._spliced_entry(prefix)
        if len(self.origins) >= _MAX_ORIGINS:
            self.origins.clear()
        self.origins[prefix] = made
        return made

    def _spliced_entry(self, prefix: str) -> Entry | None:
        """Nothing but Host depends on the origin."""
        # (So little is left of what a URL may be: `SIMPLE_URL` has seen to it.)
        scheme, _, authority = prefix.partition("://")
        host, _, digits = authority.partition(":")
        port = int(digits) if digits else None
        if port is not None and port > _PORTS:
            return None
        origin = self.options.origin_of(scheme, host, port, None)
        rest = self._tail.replace(_MARK, host_header(scheme, host, port), 1)
        return Entry(origin, f"{self.method} ", f" {rest}", self._headers)

    def _prepared_entry(self, prefix: str) -> Entry | None:
        """Proxies or netrc may say something about this origin."""
        url = f"{prefix}/"
        session, environment = self.options.session, self.options.environment
        if general_reason(self.method, url, session, self._kwargs, environment) is not None:
            return None
        options = Options(self.options.context, session, self._kwargs, url)
        try:
            ready = prepare(self.method, url, session, self._kwargs, options)
        except NotPlainError:
            return None
        lead, _, rest = ready.wire.decode("latin-1").partition("/ HTTP/1.1\r\n")
        return Entry(ready.origin, lead, f" HTTP/1.1\r\n{rest}", ready.request.headers)  # type: ignore[arg-type]


class Templates:
    """The templates of one run."""

    __slots__ = ("_context", "_known", "plain")

    def __init__(self, context: RunContext, kwargs: Mapping[str, Any]) -> None:
        self._context = context
        self._known: dict[Any, Template | None] = {}
        #: For GET without session and keywords of its own.
        self.plain = self._make("GET", None, kwargs)

    def find(
        self, method: Any, session: Session | None, kwargs: Mapping[str, Any]
    ) -> Template | None:
        """The template for a request, made if it is the first of its kind; None if it has none."""
        key = fingerprint(method, session, kwargs)
        try:
            return self._known[key]
        except TypeError:  # a value that cannot be compared
            return None
        except KeyError:
            pass
        made = None if key is None else self._make(method, session, kwargs)
        if len(self._known) < _MAX_TEMPLATES or key is None:
            self._known[key] = made
            return made
        return None

    def _make(
        self, method: str, session: Session | None, kwargs: Mapping[str, Any]
    ) -> Template | None:
        context = self._context
        environment = context.environment
        if session is not None and not _treats_all_alike(session):
            return None
        if general_reason(method, _PROBE, session, kwargs, environment) is not None:
            return None
        try:
            return Template(method, Options(context, session, kwargs, _PROBE), kwargs)
        except Exception:  # noqa: BLE001 - whether this or the URL is at fault shows by the book
            return None


def _treats_all_alike(session: Session) -> bool:
    """Whether a session's adapters are as plain, and as patient, for one URL as for another."""
    adapters: Any = session.adapters
    if adapters.keys() != {"http://", "https://"}:
        return False
    http, https = adapters["http://"], adapters["https://"]
    if adapter_reason(http) is not None or adapter_reason(https) is not None:
        return False
    return bool(vars(http.max_retries) == vars(https.max_retries))


def fingerprint(
    method: Any, session: Session | None, kwargs: Mapping[str, Any]
) -> tuple[Any, ...] | None:
    """What makes a request of the same kind as another; None if nothing does.

    Types are part of it: ``True == 1 == 1.0``, but a timeout of True is an error.
    """
    if type(method) is not str or not method.isupper():
        return None
    parts: list[Any] = [method]
    for name, value in kwargs.items():
        if name not in KEYWORDS:
            return None
        if name == "headers":
            if type(value) is not dict:
                return None
            parts += (name, *value.items())
        elif name == "auth" and value is not None:
            words = _auth_words(value)
            if words is None:
                return None
            parts += (name, *words)
        else:
            kind = tuple(map(type, value)) if type(value) is tuple else type(value)
            parts += (name, value, kind)
    if session is not None:
        state = _session_state(session)
        if state is None:
            return None
        parts += state
    return tuple(parts)


def _auth_words(auth: Any) -> tuple[Any, ...] | None:
    """What an auth says of each request, if it always says the same."""
    kind = type(auth)
    if kind is tuple:
        return (kind, *map(type, auth), *auth)
    if kind is HTTPBasicAuth or kind is HTTPProxyAuth:
        words = (*vars(auth).items(), *map(type, vars(auth).values()))
        return (kind, *words)
    return None


def _session_state(session: Session) -> tuple[Any, ...] | None:
    """What a plain session adds to each of its requests, if it is the same for every URL."""
    if (
        type(session) is not Session
        or type(session.headers) is not CaseInsensitiveDict
        or type(session.cookies) is not RequestsCookieJar
        or type(session.hooks) is not dict
        or session.params
        or session.proxies
        or session.cookies._cookies  # type: ignore[attr-defined]
        or any(session.hooks.values())
    ):
        return None
    auth = None
    if session.auth is not None:
        auth = _auth_words(session.auth)
        if auth is None:
            return None
    return (
        id(session),
        *own_methods(session),
        tuple(session.headers._store.values()),
        auth,
        session.verify,
        session.cert,
        session.stream,
        session.trust_env,
        session.max_redirects,
        # Adapters of others need not have one: they derive from BaseAdapter.
        *(
            (id(adapter), id(getattr(adapter, "max_retries", None)))
            for adapter in session.adapters.values()
        ),
    )
