"""The next request of a redirect chain, by Requests' own rules.

Requests computes the next request in `SessionRedirectMixin.resolve_redirects`: method changes,
headers dropped, credentials stripped, cookies carried on, netrc and proxies decided anew. That very
code runs here, for one hop at a time; only the sending is ours. In some things we are stricter:
cookies of `cookies=` and an auth's hooks go no further than credentials do, a proxy sees its own
password only, and a Location that is no URL is an `InvalidURL`, whatever Requests stumbles over.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from requests.auth import AuthBase, _basic_auth_str
from requests.cookies import RequestsCookieJar
from requests.exceptions import InvalidURL, RequestException, TooManyRedirects
from requests.sessions import SessionRedirectMixin
from requests.utils import get_auth_from_url, resolve_proxies

from ._lane import adapter_reason
from ._options import retries_of
from ._prepare import NotPlainError, Prepared, address

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
    response: Response,
    options: Options,
    session: SessionRedirectMixin | None = None,
    request: PreparedRequest | None = None,
) -> PreparedRequest | None:
    """The request to send next, None if the response leads nowhere.

    Args:
        response: a redirect, its body read.
        options: those of the call.
        session: where the chain's cookies are kept; the user's session or a `NoSession`.
        request: what was sent, if a hook has put an answer to another request in its place.

    Raises:
        requests.exceptions.RequestException: the target cannot be a request.
    """
    if session is None:
        session = options.session or NoSession(options.max_redirects)
    sent = request or response.request
    hops = session.resolve_redirects(
        response,
        sent,
        yield_requests=True,
        proxies=options.proxies,
        verify=options.verify,
        cert=options.cert,
        timeout=options.timeout,
    )
    try:
        following: Any = next(hops, None)
    except RequestException:
        raise
    except ValueError as error:
        msg = f"the Location of the redirect is no URL: {error}"
        raise InvalidURL(msg, request=sent, response=response) from error
    finally:
        hops.close()
    if following is not None:
        if following._cookies:
            _withhold_cookies(following, session, response.url)
        if following.hooks.get("response") and _leads_abroad(session, response.url, following.url):
            _withhold_auth(following)
        if options.proxies:
            _show_proxy(following, options)
    return following  # type: ignore[no-any-return]


def _leads_abroad(session: Any, url: str, following: str) -> bool:
    """Whether credentials stay behind; so they do where nobody can say where it leads.

    Requests need not look at such a URL now, and refuses it when it is to be sent.
    """
    try:
        return bool(session.should_strip_auth(url, following))
    except ValueError:
        return True


def _withhold_auth(following: Any) -> None:
    """Take away what an auth would answer to another host's challenge, as its header was.

    Hooks that belong to an auth (`HTTPDigestAuth` has two) know its password.
    """
    kept = [
        each
        for each in following.hooks["response"]
        if not isinstance(getattr(each, "__self__", None), AuthBase)
    ]
    following.hooks = {**following.hooks, "response": kept}


def _show_proxy(following: Any, options: Options) -> None:
    """Have the proxy of the next request see its own password, and no other's.

    Requests goes by the URL's scheme here, and by scheme and host where it connects.
    """
    if following.headers.pop("Proxy-Authorization", None) is None:
        return
    user, password = get_auth_from_url(options.proxy_for(following.url) or "")
    if user and following.url.lower().startswith("http:"):
        following.headers["Proxy-Authorization"] = _basic_auth_str(user, password)


def _withhold_cookies(following: Any, session: Any, url: str) -> None:
    """Take away the cookies that were meant for another host, for good.

    Those of `cookies=` say nothing of a host, so that Requests sends them to any that a redirect
    leads to. Those of a session are the session's business.
    """
    jar = following._cookies
    own = {each.name for each in session.cookies if not each.domain}
    strange = [each for each in jar if not each.domain and each.name not in own]
    if not (strange and _leads_abroad(session, url, following.url)):
        return
    for each in strange:
        jar.clear(each.domain, each.path, each.name)
    following.headers.pop("Cookie", None)
    following.prepare_cookies(jar)


def next_hop(
    response: Response,
    history: list[Response],
    options: Options,
    session: SessionRedirectMixin,
    request: PreparedRequest | None = None,
) -> PreparedRequest | None:
    """The request to send next in a chain; the response's history is set.

    Args:
        response: a redirect, its body read.
        history: the responses before it.
        options: those of the response's request.
        session: the user's or the chain's `NoSession`.
        request: as in `next_request`.

    Returns:
        None if the response leads nowhere and is the answer.

    Raises:
        requests.exceptions.TooManyRedirects: with the response.
        Exception: whatever else Requests raises about where the response leads.
    """
    following = next_request(response, options, session, request)
    response.history = list[Any](history)
    if following is not None and len(history) >= options.max_redirects:
        # Requests knows where a response leads before it counts.
        msg = f"Exceeded {options.max_redirects} redirects."
        raise TooManyRedirects(msg, response=response)
    return following


def options_for(following: PreparedRequest, options: Options) -> Options:
    """The options of the next request in a chain: its adapter, its retries, its proxies.

    Raises:
        requests.exceptions.InvalidSchema: the session has no adapter for it.
    """
    adapter, proxies = options.adapter, options.proxies
    if options.session is not None:
        adapter = options.session.get_adapter(following.url)  # type: ignore[assignment, arg-type]
    if options.environment.has_proxies and options.trust_env:
        proxies = resolve_proxies(following, proxies, trust_env=True)
    if (
        options.retries is retries_of(adapter)
        and adapter is options.adapter
        and proxies == options.proxies
    ):
        return options
    return options.changed(adapter, proxies)


def address_hop(following: PreparedRequest, options: Options) -> Prepared:
    """As `address`, with what `general_reason` has seen of a chain's first request only.

    Raises:
        NotPlainError: the general lane has to go on.
    """
    if options.adapter is not None and adapter_reason(options.adapter) is not None:
        msg = "adapter"
        raise NotPlainError(msg)
    return address(following, options)


def is_doubtful(response: Response) -> bool:
    """Whether Requests might fail to say where a redirect leads that it need not follow."""
    options = response._source[2]
    location = response.headers["location"]
    return options.max_redirects < 1 or _HARMLESS.fullmatch(location) is None


#: Locations from which a next request can be made.
_HARMLESS: Final = re.compile(
    r"(?:https?://[\w.\-]+(?::[0-9]{1,4})?)?(?:/(?!/)[!-Z\\^-~]*)?", re.ASCII
)
