"""Auth that is somebody's own code: any callable that is given a request and changes it.

Such code may wait, raise, register hooks and change whatever it likes, so it runs in a greenlet and
is given what Requests gives it. What it has made of the request is then looked at anew: nothing
goes on in the fast lane that `general_reason` would not have let in.

Knows preparation and the lanes' rules; nothing of calls and of how a request is sent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ._lane import adapter_reason
from ._options import Options
from ._prepare import PLAIN_URL, Prepared, address, sign, unsigned
from ._recheck import recheck, refuse
from ._response import with_jar

if TYPE_CHECKING:
    from collections.abc import Mapping

    from requests import PreparedRequest, Session


def auth_of(session: Session | None, kwargs: Mapping[str, Any]) -> Any:
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
        refuse("hooks")  # they may want the socket, or the body as it comes
    recheck(request)
    if request.url != before:
        options = _moved(request.url, kwargs, options)
    return address(request, options), options


def _moved(url: Any, kwargs: Mapping[str, Any], options: Options) -> Options:
    """The options of another URL than was asked for."""
    if type(url) is not str or not PLAIN_URL.fullmatch(url):
        refuse("url")
    options = Options(options.context, options.session, kwargs, url)
    if options.adapter is not None and adapter_reason(options.adapter) is not None:
        refuse("adapter")
    return options
