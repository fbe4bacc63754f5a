"""Auth that is somebody's own code: any callable that is given a request and changes it.

Such code may wait, raise, register hooks and change whatever it likes, so it runs in a greenlet and
is given what Requests gives it. What it has made of the request is then looked at anew: nothing
goes on in the fast lane that `general_reason` would not have let in.

Knows preparation and the lanes' rules; nothing of calls and of how a request is sent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

from requests.structures import CaseInsensitiveDict
from urllib3.util import SKIP_HEADER

from ._general import green_auth
from ._lane import FRAMING, METHOD, adapter_reason, is_own_auth
from ._options import Options
from ._prepare import PLAIN_URL, NotPlainError, Prepared, address, sign, unsigned
from ._response import with_jar

if TYPE_CHECKING:
    from collections.abc import Mapping

    from requests import PreparedRequest, Session


def needs_greenlet(session: Session | None, kwargs: Mapping[str, Any]) -> bool:
    """Whether preparing a request runs code that may wait."""
    return is_own_auth(_auth_of(session, kwargs))


def _auth_of(session: Session | None, kwargs: Mapping[str, Any]) -> Any:
    """The request's auth or else the session's, as Requests merges them."""
    auth = kwargs.get("auth")
    return auth if auth is not None or session is None else session.auth


def prepare_signed(
    method: str, url: str, session: Session | None, kwargs: Mapping[str, Any], options: Options
) -> tuple[PreparedRequest, str | None]:
    """Prepare a request of which `general_reason` said nothing, and have its auth sign it.

    Returns:
        The request, and what its URL was before.

    Raises:
        NotPlainError: it has to take the general lane. Its auth has not been called.
        Exception: whatever preparation and auth raise.
    """
    green_auth(_auth_of(session, kwargs))
    request, hooks = unsigned(method, url, session, kwargs)
    before = with_jar(request).url
    sign(request, hooks, url, kwargs, options)
    return request, before


def address_signed(
    request: PreparedRequest, before: str | None, kwargs: Mapping[str, Any], options: Options
) -> tuple[Prepared, Options]:
    """Find out where a signed request goes and write it out.

    Args:
        request: from `prepare_signed`.
        before: likewise.
        kwargs: as they were given to it.
        options: as they were given to it.

    Returns:
        What goes on the wire, and the options, which may be others if the URL is.

    Raises:
        NotPlainError: what auth made of it has to take the general lane.
    """
    if request.hooks.get("response"):
        _refuse("hooks")  # they may want the socket, or the body as it comes
    _check_parts(request)
    if request.url != before:
        options = _moved(request.url, kwargs, options)
    return address(request, options), options


def _moved(url: Any, kwargs: Mapping[str, Any], options: Options) -> Options:
    """The options of another URL than was asked for."""
    if type(url) is not str or not PLAIN_URL.fullmatch(url):
        _refuse("url")
    options = Options(options.context, options.session, kwargs, url)
    if options.adapter is not None and adapter_reason(options.adapter) is not None:
        _refuse("adapter")
    return options


def _check_parts(request: PreparedRequest) -> None:
    """Method, body and headers: http.client knows what to do with others."""
    method, headers = request.method, request.headers
    if type(method) is not str or not METHOD.fullmatch(method) or not method.isupper():
        _refuse("method")
    if method == "CONNECT" or type(headers) is not CaseInsensitiveDict:
        _refuse("method or headers")
    for name, value in headers.items():
        if type(name) is not str or type(value) not in (str, bytes) or value == SKIP_HEADER:
            _refuse("header")
        if name.lower() in FRAMING and not _is_framed(name, value, request):
            _refuse("framing")


def _is_framed(name: str, value: Any, request: PreparedRequest) -> bool:
    """Whether a header says of the body's length what preparation would have said."""
    body: Any = request.body
    if body is None or isinstance(body, (str, bytes)):
        data = body.encode() if isinstance(body, str) else body or b""
        return name.lower() == "content-length" and value == str(len(data))
    if name.lower() == "content-length":
        return type(value) is str and value.isdecimal()
    return (
        name == "Transfer-Encoding"
        and value == "chunked"
        and "Content-Length" not in request.headers
    )


def _refuse(what: str) -> NoReturn:
    raise NotPlainError(what)
