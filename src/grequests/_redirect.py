"""The next request of a redirect chain, by Requests' own rules.

Requests computes the next request in `SessionRedirectMixin.resolve_redirects`: method changes,
headers dropped, credentials stripped, cookies carried on, netrc and proxies decided anew. That very
code runs here, for one hop at a time; only the sending is ours.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from requests.cookies import RequestsCookieJar
from requests.exceptions import TooManyRedirects
from requests.sessions import SessionRedirectMixin

if TYPE_CHECKING:
    from requests import PreparedRequest

    from ._options import Options
    from ._response import Response

REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})


class NoSession(SessionRedirectMixin):
    """Stands for the session that a request without one has in Requests: its own, and empty."""

    def __init__(self, max_redirects: int) -> None:
        self.max_redirects = max_redirects
        self.trust_env = True
        self.cookies = RequestsCookieJar()


def next_request(
    response: Response, options: Options, session: SessionRedirectMixin | None = None
) -> PreparedRequest | None:
    """The request to send next, None if the response leads nowhere.

    Args:
        response: a redirect, its body read.
        options: those of the call.
        session: where the chain's cookies are kept; the user's session or a `NoSession`.

    Raises:
        requests.exceptions.RequestException: the target cannot be a request.
    """
    if session is None:
        session = options.session or NoSession(options.max_redirects)
    hops = session.resolve_redirects(
        response,
        response.request,
        yield_requests=True,
        proxies=options.proxies,
        verify=options.verify,
        cert=options.cert,
        timeout=options.timeout,
    )
    try:
        return next(hops, None)  # type: ignore[arg-type]
    finally:
        hops.close()


def check_length(history: list[Response], response: Response, limit: int) -> None:
    """Stop a chain that is too long, as Requests does.

    Raises:
        requests.exceptions.TooManyRedirects: with the last response.
    """
    if len(history) >= limit:
        msg = f"Exceeded {limit} redirects."
        raise TooManyRedirects(msg, response=response)
