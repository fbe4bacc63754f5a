"""Which lane a request takes: one pure function, clause by clause, each with a test.

The fast lane is for the plain request, the one whose meaning needs no user code on the way. Exact
types stand wherever a subclass could mean something else. In doubt: the general lane, which is
Requests itself. Knows the types of Requests; reads, never writes, what it looks at.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from http.cookiejar import DefaultCookiePolicy
from types import MethodType
from typing import TYPE_CHECKING, Any, Final

from requests import Session
from requests.adapters import HTTPAdapter
from requests.auth import HTTPBasicAuth, HTTPDigestAuth, HTTPProxyAuth
from requests.cookies import RequestsCookieJar
from requests.structures import CaseInsensitiveDict
from requests.utils import select_proxy
from urllib3.poolmanager import PoolManager
from urllib3.util.retry import Retry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from ._environment import Environment

#: Keywords of `Session.request`; any other is its TypeError to raise.
KEYWORDS: Final = frozenset(
    (
        *("params", "data", "headers", "cookies", "files", "auth", "timeout", "allow_redirects"),
        *("proxies", "hooks", "stream", "verify", "cert", "json"),
    )
)
_SESSION_ATTRIBUTES: Final = frozenset(vars(Session()))
_ADAPTER_ATTRIBUTES: Final = frozenset(vars(HTTPAdapter()))
_POOL_KEYWORDS: Final = frozenset({"maxsize", "block"})
#: Headers that change how a message is framed or what happens on the connection.
FRAMING: Final = frozenset({"content-length", "transfer-encoding", "upgrade", "te", "trailer"})
_LABEL: Final = r"\w[\w\-]{0,62}"
_PROXY: Final = re.compile(
    rf"(?:http://)?(?:[^@/?#\s]*@)?(?:{_LABEL}(?:\.{_LABEL})*|\[[0-9a-f:.]+\])(?::([0-9]{{1,5}}))?/?",
    re.ASCII | re.IGNORECASE,
)
_MAX_PORT: Final = 65535
METHOD: Final = re.compile(r"[A-Za-z]+")


def general_reason(
    method: Any,
    url: Any,
    session: Session | None,
    kwargs: Mapping[str, Any],
    environment: Environment,
) -> str | None:
    """Why a request takes the general lane; None if it takes the fast one.

    Args:
        method: as given to `grequests.request`.
        url: as given.
        session: the request's own session or None.
        kwargs: keywords of `Session.request`.
        environment: the run's view of the process' environment.
    """
    if type(method) is not str or not METHOD.fullmatch(method) or method.upper() == "CONNECT":
        return "method"
    if type(url) is not str:
        return "url type"
    if not kwargs.keys() <= KEYWORDS:
        return "unknown keyword"
    if session is not None:
        reason = _session_reason(session, url)
        if reason is not None:
            return reason
    for name, value in kwargs.items():
        if value is not None and not _PLAIN[name](value):
            return name
    return _proxy_reason(url, session, kwargs, environment)


def _session_reason(session: Session, url: str) -> str | None:
    if type(session) is not Session or not _is_undressed(session):
        return "session type"
    for name, is_plain in _PLAIN_SESSION.items():
        value = getattr(session, name)
        if value is not None and not is_plain(value):
            return f"session {name}"
    if session.verify is None:  # Requests then verifies nothing
        return "session verify"
    if session.cookies is None:  # its TypeError to raise
        return "session cookies"
    try:
        adapter = session.get_adapter(url.lstrip())
    except ValueError:
        return "no adapter"
    return adapter_reason(adapter)


def _is_undressed(session: Session) -> bool:
    """Whether a session has no attributes but its own.

    Mocks (requests-mock) put a session's methods back where they replaced them: on the session.
    Such a method is what would be found without it.
    """
    if vars(session).keys() == _SESSION_ATTRIBUTES:
        return True
    return vars(session).keys() >= _SESSION_ATTRIBUTES and all(
        isinstance(value, MethodType)
        and value.__self__ is session
        and value.__func__ is getattr(Session, name, None)
        for name, value in own_methods(session)
    )


def own_methods(session: Session) -> Iterable[tuple[str, Any]]:
    """What a session has beyond the attributes of every session."""
    attributes = vars(session)
    if len(attributes) == len(_SESSION_ATTRIBUTES):
        return ()
    return [each for each in attributes.items() if each[0] not in _SESSION_ATTRIBUTES]


def adapter_reason(adapter: Any) -> str | None:
    """Why an adapter needs the general lane; None if it is the stock thing."""
    if type(adapter) is not HTTPAdapter or vars(adapter).keys() != _ADAPTER_ATTRIBUTES:
        return "adapter type"
    manager = adapter.poolmanager
    if type(manager) is not PoolManager or not manager.connection_pool_kw.keys() <= _POOL_KEYWORDS:
        return "adapter pool"
    if manager.connection_pool_kw.get("block"):
        return "adapter pool blocks"
    if type(adapter.max_retries) is not Retry:
        return "adapter retries"
    return None


def _proxy_reason(
    url: str, session: Session | None, kwargs: Mapping[str, Any], environment: Environment
) -> str | None:
    given = kwargs.get("proxies")
    inherited = session.proxies if session is not None else None
    if not given and not inherited and not environment.has_proxies:
        return None
    proxies = merged_proxies(url, session, kwargs, environment)
    proxy = select_proxy(url, proxies)
    return None if is_plain_proxy(proxy) else "proxy"


def is_plain_proxy(proxy: Any) -> bool:
    """Whether a proxy is an http one, and of a form about which all parsers agree."""
    if not proxy:
        return True
    match = _PROXY.fullmatch(proxy) if type(proxy) is str else None
    return match is not None and 0 < int(match[1] or 80) <= _MAX_PORT


def merged_proxies(
    url: str, session: Session | None, kwargs: Mapping[str, Any], environment: Environment
) -> dict[str, str]:
    """The proxies of a request as `Session.merge_environment_settings` merges them."""
    proxies = dict(kwargs.get("proxies") or {})
    if session is None or session.trust_env:
        for key, value in environment.proxies(url, proxies.get("no_proxy")).items():
            proxies.setdefault(key, value)
    if session is not None and session.proxies:
        proxies = {**session.proxies, **proxies}
    return {key: value for key, value in proxies.items() if value is not None}


def _is_pair_of_text(value: Any) -> bool:
    return (
        type(value) is tuple and len(value) == 2 and all(type(v) in (str, bytes) for v in value)  # noqa: PLR2004
    )


def is_seconds(value: Any) -> bool:
    """Whether a timeout is one that needs no check of urllib3's."""
    return value is None or (type(value) in (int, float) and 0 < value < math.inf)


def _is_timeout(value: Any) -> bool:
    if type(value) is tuple:
        return len(value) == 2 and all(map(is_seconds, value))  # noqa: PLR2004
    return is_seconds(value)


def is_plain_delivery(timeout: Any, verify: Any, cert: Any, proxies: Any) -> bool:
    """Whether arguments of `HTTPAdapter.send` are such as the fast lane passes on."""
    return (
        _is_timeout(timeout)
        and _is_verify(verify)
        and (cert is None or _is_cert(cert))
        and (proxies is None or type(proxies) is dict)
    )


def _is_verify(value: Any) -> bool:
    return type(value) is bool or (type(value) is str and bool(value))


def _is_cert(value: Any) -> bool:
    if _is_pair_of_text(value):
        return type(value[0]) is type(value[1]) is str and "" not in value
    return type(value) is str and bool(value)


def _is_jar(value: Any) -> bool:
    return type(value) is RequestsCookieJar and type(value._policy) is DefaultCookiePolicy


def _is_headers(value: Any) -> bool:
    return type(value) in (dict, CaseInsensitiveDict) and all(
        type(name) is str and name.lower() not in FRAMING for name in value
    )


def _is_params(value: Any) -> bool:
    """No iterators within: the host is looked at when they have been read already."""
    kind = type(value)
    if kind is dict:
        return not any(hasattr(each, "__next__") for each in value.values())
    if kind is list or kind is tuple:
        return all(
            type(pair) in (tuple, list) and not any(hasattr(each, "__next__") for each in pair)
            for pair in value
        )
    return kind is str or kind is bytes


def _is_data(value: Any) -> bool:
    """What is a body as it is, plain or a stream of the user's making."""
    if type(value) in (dict, str, bytes, list, tuple):
        return True
    if isinstance(value, (str, bytes, list, tuple, Mapping)):
        return False  # a subclass may mean something else
    return hasattr(value, "read") or hasattr(value, "__iter__")


def _is_one_of(*types: type) -> Callable[[Any], bool]:
    return lambda value: type(value) in types


def is_own_auth(value: Any) -> bool:
    """Whether an auth is somebody's own code, of which nothing is known."""
    return callable(value) and type(value) not in STOCK_AUTH


#: Auth of Requests' own, which neither waits nor looks at anything but the request.
STOCK_AUTH: Final = frozenset({HTTPBasicAuth, HTTPProxyAuth, HTTPDigestAuth})
_IS_AUTH: Final = lambda value: callable(value) or _is_pair_of_text(value)  # noqa: E731
_IS_MAPPING: Final = _is_one_of(dict)

#: What each keyword may be in the fast lane, besides None.
_PLAIN: Final[dict[str, Callable[[Any], bool]]] = {
    "params": _is_params,
    "data": _is_data,
    "json": lambda _: True,
    "headers": _is_headers,
    "cookies": lambda value: type(value) is dict or _is_jar(value),
    "files": _is_one_of(dict, list, tuple),
    "auth": _IS_AUTH,
    "timeout": _is_timeout,
    "allow_redirects": _is_one_of(bool),
    "proxies": _IS_MAPPING,
    "hooks": _IS_MAPPING,
    "stream": _is_one_of(bool, int),
    "verify": _is_verify,
    "cert": _is_cert,
}

#: What each attribute of a session may be, besides None.
_PLAIN_SESSION: Final[dict[str, Callable[[Any], bool]]] = {
    "headers": _is_headers,
    "cookies": _is_jar,
    "auth": _IS_AUTH,
    "proxies": _is_one_of(dict),
    "hooks": _IS_MAPPING,
    "params": _is_params,
    "stream": lambda _: True,  # ours and the request's own are always said, and go before it
    "verify": _is_verify,
    "cert": _is_cert,
    "max_redirects": _is_one_of(int),
}
