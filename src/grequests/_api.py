"""The public functions: names and signatures. No behaviour lives here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import gevent

from . import _general
from ._asyncrequest import AsyncRequest
from ._bulk import check_one, check_size, collect, iterate, outcome
from ._engine import close_engine

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable

    from gevent.pool import Pool
    from requests import Response
    from typing_extensions import Unpack  # never at run time: its import changes `typing`

    from ._typing import RequestOptions

    Handler = Callable[[AsyncRequest, Any], Any]


def request(method: str, url: str, **kwargs: Unpack[RequestOptions]) -> AsyncRequest:
    """Make an unsent request.

    Args:
        method: of HTTP, such as ``"GET"``.
        url: where to.
        **kwargs: every keyword of `requests.request`, and `session=` and `callback=` (see
            `AsyncRequest`).

    Returns:
        The request, to be given to `map`, `imap`, `imap_enumerated` or `send`.

    Example:
        >>> grequests.request("GET", "http://example.org/", timeout=5)
        <AsyncRequest [GET] http://example.org/ unsent>
    """
    return AsyncRequest(method, url, **kwargs)


def get(url: str, **kwargs: Unpack[RequestOptions]) -> AsyncRequest:
    """Make an unsent GET request; arguments as of `request`."""
    return AsyncRequest("GET", url, **kwargs)


def options(url: str, **kwargs: Unpack[RequestOptions]) -> AsyncRequest:
    """Make an unsent OPTIONS request; arguments as of `request`."""
    return AsyncRequest("OPTIONS", url, **kwargs)


def head(url: str, **kwargs: Unpack[RequestOptions]) -> AsyncRequest:
    """Make an unsent HEAD request; arguments as of `request`.

    As in grequests 0.7, redirects are followed unless ``allow_redirects=False`` is given.
    """
    return AsyncRequest("HEAD", url, **kwargs)


def post(url: str, **kwargs: Unpack[RequestOptions]) -> AsyncRequest:
    """Make an unsent POST request; arguments as of `request`."""
    return AsyncRequest("POST", url, **kwargs)


def put(url: str, **kwargs: Unpack[RequestOptions]) -> AsyncRequest:
    """Make an unsent PUT request; arguments as of `request`."""
    return AsyncRequest("PUT", url, **kwargs)


def patch(url: str, **kwargs: Unpack[RequestOptions]) -> AsyncRequest:
    """Make an unsent PATCH request; arguments as of `request`."""
    return AsyncRequest("PATCH", url, **kwargs)


def delete(url: str, **kwargs: Unpack[RequestOptions]) -> AsyncRequest:
    """Make an unsent DELETE request; arguments as of `request`."""
    return AsyncRequest("DELETE", url, **kwargs)


def send(
    r: AsyncRequest,
    pool: Pool | None = None,
    stream: bool = False,  # noqa: FBT001, FBT002 - the signature of 0.7
) -> gevent.Greenlet[..., Any]:
    """Start sending a request in a greenlet and return that greenlet.

    Args:
        r: the request; its `response` or `exception` is set when the greenlet has ended.
        pool: a `gevent.pool.Pool` to start the greenlet in; blocks while it is full.
        stream: if True, bodies are not read before they are asked for.

    Returns:
        The greenlet. Its value is the request.

    Raises:
        NotARequestError: it is no `AsyncRequest`.
        RequestInFlightError: it is being sent already.

    Example:
        >>> job = grequests.send(grequests.get("http://example.org/"))  # doctest: +SKIP
        >>> job.get().response  # doctest: +SKIP
        <Response [200]>
    """
    check_one(r)
    start = gevent.spawn if pool is None else pool.spawn
    return start(r.send, stream=stream)


def map(  # noqa: A001 - the name of 0.7
    requests: Iterable[AsyncRequest],
    stream: bool = False,  # noqa: FBT001, FBT002
    size: int | None = None,
    exception_handler: Handler | None = None,
    gtimeout: float | None = None,
) -> list[Response | Any | None]:
    """Send requests at the same time and return their responses in the order of the requests.

    Args:
        requests: what to send.
        stream: if True, bodies are not read before they are asked for.
        size: how many to send at once; None for all (as far as the process may open sockets).
        exception_handler: called as ``handler(request, exception)`` for each failure, in the
            caller's greenlet, after all requests have ended; what it returns stands in the list.
        gtimeout: seconds after which to give up. Requests that have not ended by then are aborted
            and count as failed with the exception None.

    Returns:
        For each request its `requests.Response`; for a failure None, or what the handler returned.

    Raises:
        NotARequestError: an item is no `AsyncRequest`. Nothing has been sent.
        RequestInFlightError: a request is being sent already, or stands there twice.
        InvalidSizeError: `size` is below 1.
        Exception: whatever the iterable or the handler raises.

    Example:
        >>> urls = ["http://example.org/", "http://example.com/"]
        >>> grequests.map(grequests.get(url) for url in urls)  # doctest: +SKIP
        [<Response [200]>, <Response [200]>]
    """
    check_size(size)
    listed = list(requests)
    collect(listed, stream=stream, size=size, gtimeout=gtimeout)
    return [outcome(each, exception_handler) for each in listed]


def imap(
    requests: Iterable[AsyncRequest],
    stream: bool = False,  # noqa: FBT001, FBT002
    size: int | None = 2,
    exception_handler: Handler | None = None,
) -> Generator[Response | Any, None, None]:
    """Send requests at the same time and yield their responses as they come.

    The requests are pulled lazily: at most `size` are on their way and at most `size` finished
    ones wait for the reader, so that an endless generator is fine. Leaving the loop stops
    everything: requests under way are aborted.

    Args:
        requests: what to send. May wait cooperatively.
        stream: if True, bodies are not read before they are asked for.
        size: how many to send at once; None for as many as the process may open sockets.
        exception_handler: called as ``handler(request, exception)`` for each failure, in the
            reader's greenlet; what it returns is yielded unless it is None.

    Yields:
        `requests.Response` objects in the order of completion. Failures are left out.

    Raises:
        NotARequestError, RequestInFlightError: an item is no `AsyncRequest` or is being sent;
            raised when it is reached, after the results of those before it.
        InvalidSizeError: `size` is below 1; raised by the call itself.
        Exception: whatever the iterable or the handler raises.

    Example:
        >>> requests = (grequests.get(f"http://example.org/{n}") for n in range(1000))
        >>> for response in grequests.imap(requests, size=50):  # doctest: +SKIP
        ...     print(response.url, len(response.content))
    """
    check_size(size)
    return _imap(requests, stream, size, exception_handler)


def _imap(
    requests: Iterable[AsyncRequest],
    stream: bool,  # noqa: FBT001
    size: int | None,
    handler: Handler | None,
) -> Generator[Response | Any, None, None]:
    results = iterate(requests, stream=stream, size=size)
    try:
        for call in results:
            response = call.request.response
            if response is None:
                response = outcome(call.request, handler)
                if response is None:
                    continue
            yield response
    finally:
        results.close()


def imap_enumerated(
    requests: Iterable[AsyncRequest],
    stream: bool = False,  # noqa: FBT001, FBT002
    size: int | None = 2,
    exception_handler: Handler | None = None,
) -> Generator[tuple[int, Response | Any | None], None, None]:
    """Like `imap`, but yield the index of each request too, and failures as well.

    Args:
        requests: a sequence, as in 0.7, or any other iterable, pulled lazily.
        stream: as of `imap`.
        size: as of `imap`.
        exception_handler: as of `imap`, but None is yielded too.

    Yields:
        ``(index, response)``; for a failure ``(index, None)`` or ``(index, what the handler
        returned)``.

    Raises:
        What `imap` raises.

    Example:
        >>> requests = [grequests.get(f"http://example.org/{n}") for n in range(3)]
        >>> dict(grequests.imap_enumerated(requests, size=3))  # doctest: +SKIP
        {1: <Response [200]>, 0: <Response [200]>, 2: <Response [200]>}
    """
    check_size(size)
    return _imap_enumerated(requests, stream, size, exception_handler)


def _imap_enumerated(
    requests: Iterable[AsyncRequest],
    stream: bool,  # noqa: FBT001
    size: int | None,
    handler: Handler | None,
) -> Generator[tuple[int, Response | Any | None], None, None]:
    results = iterate(requests, stream=stream, size=size)
    try:
        for call in results:
            yield call.index, outcome(call.request, handler)
    finally:
        results.close()


def close() -> None:
    """Close the idle connections of this thread.

    They close by themselves after a few quiet seconds and at exit; this is for whoever cannot
    wait. Requests sent later open new ones.
    """
    close_engine()
    _general.close()
