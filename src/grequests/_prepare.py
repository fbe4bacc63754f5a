"""Requests to wire bytes, exactly as Requests, urllib3 and http.client would write them.

There are two ways. A URL in the plain grammar below, with no more than a timeout, is the form that
Requests' preparation leaves as it is: its bytes are put together from cached pieces. Everything
else is prepared by Requests' own `PreparedRequest` methods, in the order of `PreparedRequest.
prepare`, leaving out those that would do nothing, and written out by `serialize`.
"""

from __future__ import annotations

import re
from http.cookiejar import CookieJar
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from requests.cookies import RequestsCookieJar, cookiejar_from_dict, merge_cookies
from requests.exceptions import InvalidHeader, InvalidJSONError
from requests.hooks import default_hooks
from requests.models import PreparedRequest
from requests.sessions import merge_hooks, merge_setting
from requests.structures import CaseInsensitiveDict
from requests.utils import default_headers, urldefragauth
from urllib3.connection import _get_default_user_agent
from urllib3.util import SKIP_HEADER
from urllib3.util.url import _encode_target, parse_url

from ._body import SMALL, Source
from ._engine import Body
from ._lane import FRAMING, is_plain_proxy
from ._options import Options, RunContext, host_header
from ._response import with_jar

if TYPE_CHECKING:
    from collections.abc import Container, Mapping

    from requests import Session

    from ._engine import Origin

_LABEL: Final = r"[a-z0-9_](?:[a-z0-9_\-]{0,62})"
_NAME: Final = rf"{_LABEL}(?:\.{_LABEL})*"
_HOST: Final = rf"{_NAME}|\[[0-9a-f:]{{2,39}}(?::[0-9.]{{7,15}})?\]"
#: A percent-encoded octet in the form Requests leaves alone: upper case, not of an unreserved
#: character (RFC 3986 section 6.2.2).
_OCTET: Final = r"%(?:[0189A-F][0-9A-F]|2[0-9A-CF]|3[A-F]|40|5[B-E]|60|7[B-DF])"
_PCHARS: Final = r"[A-Za-z0-9\-_~!$&'()*+,;=:@/.]"
_WORD: Final = r"[A-Za-z0-9\-_~]+"
#: URLs that preparation changes in nothing but an empty path: group 1 is scheme and authority,
#: group 2 the target. No dot segments, no empty first segment, no empty query, no addresses in
#: brackets, which may be none.
PLAIN_URL: Final = re.compile(
    rf"(https?://{_NAME}(?::(?!0)[0-9]{{1,5}})?)"
    rf"(/(?![/.])(?:(?!/\.){_PCHARS}|{_OCTET})*(?:\?(?:{_PCHARS}|\?|{_OCTET})+)?)?"
)
#: The simple case of the same, tried first: no look-ahead at each character.
SIMPLE_URL: Final = re.compile(
    rf"(https?://{_LABEL}(?:\.{_LABEL})*(?::(?!0)[0-9]{{1,5}})?)"
    rf"(/(?:{_WORD}(?:[./]{_WORD})*[./]?)?(?:\?{_PCHARS[:-1]}?]+)?)?"
)
_AUTHORITY: Final = re.compile(rf"(?:[^@/?#]*@)?(?:{_HOST})(?::[0-9]+)?")
_MAX_PORT: Final = 65535
#: What no header's name begins with, as http.client has it.
_BLANKS: Final = " \t\n\r\f\v"
_DANGEROUS: Final = re.compile(r"[\0\r\n]")
#: As in http.client: a line break that is not folded.
_LINE_BREAK: Final = re.compile(r"\n(?![ \t])|\r(?![ \t\n])")

#: Hooks by event, as `requests.Request` has them.
Hooks = dict[str, list[Any]]
#: Methods without a body of their own: http.client adds no Content-Length to them.
_BODILESS: Final = frozenset({"GET", "HEAD", "DELETE", "TRACE", "OPTIONS", "CONNECT"})


class NotPlainError(Exception):
    """Only preparation showed that the request has to take the general lane."""


class Prepared:
    """A request ready for the wire: what a call needs of it."""

    __slots__ = ("close_after", "origin", "payload", "request", "target", "wire")

    request: PreparedRequest
    origin: Origin
    target: str
    wire: bytes
    payload: Body | None
    close_after: bool


def prepare(
    method: str,
    url: str,
    session: Session | None,
    kwargs: Mapping[str, Any],
    options: Options,
) -> Prepared:
    """Prepare a request of which `general_reason` said nothing.

    Raises:
        NotPlainError: it has to take the general lane after all. Nothing has been read or consumed.
        Exception: whatever Requests' preparation raises.
    """
    request, hooks = unsigned(method, url, session, kwargs)
    sign(request, hooks, url, kwargs, options)
    return address(request, options)


def address(request: PreparedRequest, options: Options) -> Prepared:
    """Find the origin of a prepared request and write it out.

    Raises:
        NotPlainError: its URL or headers are beyond the fast lane.
    """
    url: str = request.url  # type: ignore[assignment]
    check_url(url)
    parts = urlsplit(url)
    host: str = parts.hostname  # type: ignore[assignment]
    proxy = options.proxy_for(url)
    if not is_plain_proxy(proxy):
        msg = "proxy"
        raise NotPlainError(msg)
    ready = Prepared()
    ready.request = request
    ready.origin = options.origin_of(parts.scheme, host, parts.port, proxy)
    absolute = proxy is not None and parts.scheme == "http"
    ready.target = _absolute_target(url) if absolute else _origin_target(request)
    shown = _authority_of(ready.target) if absolute else host_header(parts.scheme, host, parts.port)
    extra = ready.origin.proxy_auth if absolute else None
    ready.wire = serialize(request, ready.target, shown, extra)
    ready.payload = payload_of(request)
    if ready.payload is None and request.body is not None:
        ready.wire += _small_body(request)
    connection = request.headers.get("Connection")
    ready.close_after = connection is not None and _text(connection).lower() != "keep-alive"
    return ready


def check_url(url: str) -> None:
    """Refuse URLs whose host only Requests knows how to treat."""
    scheme, separator, rest = url.partition("://")
    match = _AUTHORITY.match(rest) if separator and scheme in ("http", "https") else None
    if match is None or rest[match.end() : match.end() + 1] not in ("", "/", "?", "#"):
        msg = "host"
        raise NotPlainError(msg)
    port = match[0].rpartition(":")[2]
    if port.isdigit() and not 0 < int(port) <= _MAX_PORT:
        msg = "port"
        raise NotPlainError(msg)


def unsigned(
    method: str, url: str, session: Session | None, kwargs: Mapping[str, Any]
) -> tuple[PreparedRequest, Hooks]:
    """`Session.prepare_request` as far as auth, without the steps that have nothing to do.

    Returns:
        The request, and the hooks to be registered after auth.

    Raises:
        NotPlainError: it has to take the general lane. Nothing has been read or consumed.
        Exception: whatever Requests' preparation raises.
    """
    hooks = _registered(kwargs.get("hooks"))  # first, as `requests.Request` does
    request = PreparedRequest()
    request.method = method.upper()
    params = kwargs.get("params") or {}
    if params or (session is not None and session.params):
        params = merge_setting(params, session.params if session is not None else {})
    match = PLAIN_URL.fullmatch(url) if not params else None
    if match is None:
        request.prepare_url(url, params)
    else:
        request.url = url if match[2] else f"{url}/"
    check_url(request.url)  # type: ignore[arg-type]
    _prepare_headers(request, _merged_headers(session, kwargs.get("headers")))
    store = request.headers._store
    if not FRAMING.isdisjoint(store) or any(each[1] == SKIP_HEADER for each in store.values()):
        msg = "headers"
        raise NotPlainError(msg)
    _prepare_cookies(request, session, kwargs.get("cookies"))
    try:
        request.prepare_body(kwargs.get("data") or {}, kwargs.get("files"), kwargs.get("json"))
    except InvalidJSONError:
        with_jar(request)
        raise
    return request, hooks


def sign(
    request: PreparedRequest, hooks: Hooks, url: str, kwargs: Mapping[str, Any], options: Options
) -> None:
    """The rest of `Session.prepare_request`: auth, then hooks.

    Args:
        request: from `unsigned`.
        hooks: likewise.
        url: as it was given.
        kwargs: as they were given.
        options: of the request.

    Raises:
        Exception: whatever auth raises.
    """
    session = options.session
    auth = kwargs.get("auth")
    own_auth = session.auth if session is not None else None
    if options.trust_env and not auth and not own_auth:
        auth = options.environment.netrc(url)
    auth = merge_setting(auth, own_auth)
    if auth or "@" in request.url:  # type: ignore[operator]
        request.prepare_auth(auth, url)
    request.prepare_hooks(merge_hooks(hooks, session.hooks) if session is not None else hooks)


def _merged_headers(session: Session | None, headers: Any) -> Mapping[str, str | bytes]:
    base = default_headers() if session is None else session.headers
    if not headers and (session is None or base is None or None not in base.values()):
        return base
    merged: Mapping[str, str | bytes] = merge_setting(
        headers or {}, base, dict_class=CaseInsensitiveDict
    )
    return merged


#: What Requests made of headers, by what they were: many requests have the same.
_checked: Final[dict[tuple[tuple[str, Any], ...], Any]] = {}
_MAX_CHECKED: Final = 256


def _prepare_headers(request: PreparedRequest, headers: Mapping[str, str | bytes]) -> None:
    """`PreparedRequest.prepare_headers`, which takes 20 us, once for equal headers."""
    if not headers:
        request.prepare_headers(headers)
        return
    stored = type(headers) is CaseInsensitiveDict
    pairs: tuple[tuple[str, Any], ...] = tuple(
        headers._store.values() if stored else headers.items()  # type: ignore[attr-defined]
    )
    if not all(type(name) is type(value) is str for name, value in pairs):
        request.prepare_headers(headers)
        return
    known = _checked.get(pairs)
    if known is None:
        request.prepare_headers(headers)
        if len(_checked) >= _MAX_CHECKED:
            _checked.clear()
        known = _checked[pairs] = request.headers._store
    request.headers = CaseInsensitiveDict()
    request.headers._store = known.copy()


def _prepare_cookies(request: PreparedRequest, session: Session | None, cookies: Any) -> None:
    if not cookies and (session is None or not len(session.cookies)):
        return  # no cookies, no header; the jar is made if somebody asks for it
    if not isinstance(cookies, CookieJar):
        cookies = cookiejar_from_dict(cookies)
    own = session.cookies if session is not None else None
    request.prepare_cookies(merge_cookies(merge_cookies(RequestsCookieJar(), own), cookies))


def _registered(hooks: Any) -> Hooks:
    """`hooks=` as `requests.Request` registers it."""
    registered = default_hooks()
    if hooks:
        request = PreparedRequest()
        for event, hook in hooks.items():
            request.register_hook(event, hook)
        registered = request.hooks
    return registered


def _origin_target(request: PreparedRequest) -> str:
    return _text(_encode_target(request.path_url))


def _absolute_target(url: str) -> str:
    """What a proxy is asked for: no fragment, no credentials."""
    return parse_url(urldefragauth(url))._replace(fragment=None).url


def _authority_of(target: str) -> str:
    """Host, as http.client takes it from an absolute target."""
    return urlsplit(target).netloc


def _text(value: str | bytes) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else value


def serialize(
    request: PreparedRequest, target: str, host: str, proxy_auth: str | None = None
) -> bytes:
    """The head of a prepared request in the order in which urllib3 sends it.

    Args:
        request: prepared.
        target: what stands between method and version.
        host: Host, unless the request's headers have one.
        proxy_auth: Proxy-Authorization for the proxy that reads this, or None.

    Raises:
        ValueError: a value holds a line break; UnicodeEncodeError: it is not latin-1, a name not
            ASCII. As http.client raises them, before a byte is sent.
    """
    headers: Any = request.headers
    if proxy_auth is not None:
        headers = headers.copy()
        headers["Proxy-Authorization"] = proxy_auth
    store: Any
    if type(headers) is CaseInsensitiveDict:
        store = headers._store
    else:
        store = {name.lower(): (name, value) for name, value in headers.items()}
    lines = [
        f"{request.method} {target} HTTP/1.1",
        *_added_lines(request, store, host),
        *[_header_line(name, _text(value)) for name, value in store.values()],
    ]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def payload_of(request: PreparedRequest) -> Body | None:
    """What follows the head, unless it is bytes that can go out together with it.

    The body's bytes are sent from where they are, whatever their size.
    """
    body: Any = request.body
    if body is None:
        return None
    expect = _text(request.headers.get("Expect") or "")
    expects = expect.strip().lower() == "100-continue"
    if not isinstance(body, (str, bytes)):
        return Source(request, expects=expects)
    if len(body) <= SMALL and not expects:
        return None
    return Body(_framed(request, body), expects=expects)


def _small_body(request: PreparedRequest) -> bytes:
    return _framed(request, request.body)  # type: ignore[arg-type]


def _framed(request: PreparedRequest, body: str | bytes) -> bytes:
    """Bytes as `HTTPAdapter.send` has them sent: in a chunk, if nobody gave their length."""
    data = body.encode("utf-8") if isinstance(body, str) else body
    if "Content-Length" in request.headers:
        return data
    return (b"%x\r\n%b\r\n" % (len(data), data) if data else b"") + b"0\r\n\r\n"


def _added_lines(request: PreparedRequest, names: Container[str], host: str) -> list[str]:
    """What http.client and urllib3 add to a request that lacks it, in their order."""
    lines = []
    if "host" not in names:
        lines.append(f"Host: {host}")
    if "accept-encoding" not in names:
        lines.append("Accept-Encoding: identity")
    if "content-length" not in names and "transfer-encoding" not in names:
        if request.body is not None:
            lines.append("Transfer-Encoding: chunked")
        elif request.method not in _BODILESS:
            lines.append("Content-Length: 0")
    if "user-agent" not in names:
        lines.append(f"User-Agent: {_get_default_user_agent()}")
    return lines


def _header_line(name: str, value: str) -> str:
    """A header as it is sent.

    Raises:
        UnicodeEncodeError, ValueError: as http.client has it.
        requests.exceptions.InvalidHeader: a NUL or a fold, which http.client sends and nobody
            should (RFC 9110 section 5.5, RFC 9112 section 5.2).
    """
    if not (name.isascii() and name.isprintable() and value.isascii() and value.isprintable()):
        name.encode("ascii")
        encoded = value.encode("latin-1")
        if _LINE_BREAK.search(value):
            msg = f"Invalid header value {encoded!r}"
            raise ValueError(msg)
        if _DANGEROUS.search(name) or _DANGEROUS.search(value):
            msg = f"Invalid header {name!r}: it has a NUL or a line break"
            raise InvalidHeader(msg)
    if not name or ":" in name or name[0] in _BLANKS:  # (of an `auth`: Requests looks at no other)
        msg = f"Invalid header name {name.encode()!r}"
        raise ValueError(msg)
    return f"{name}: {value}"


__all__ = [
    "NotPlainError",
    "Options",
    "Prepared",
    "RunContext",
    "address",
    "prepare",
    "sign",
    "unsigned",
]
