"""The asynchronous face: `arun` and `amap`, for asyncio (uvloop included) and trio.

The requests are sent by the same `Client` and `map`, in a thread with a hub of its own
(`_hub_thread`), and the results cross over in batches (`_crossing`). There is no second copy of
anything here. It may not know: schedulers, how requests are sent.
"""

from __future__ import annotations

import math
import weakref
from collections.abc import AsyncIterable
from inspect import isawaitable
from typing import TYPE_CHECKING, Any, Final

import gevent
from gevent.monkey import get_original

from ._bulk import check_all, check_size, collect, outcome
from ._client import run
from ._crossing import Crossing, Inlet
from ._feed import Feed
from ._hub_thread import enter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from requests import Response
    from typing_extensions import Self

    from ._asyncrequest import AsyncRequest
    from ._client import Core, Results
    from ._loops import Loop
    from ._results import Result

    Handler = Callable[[AsyncRequest, Any], Any]


class AsyncResults:
    """The results of one run, in the making: an asynchronous iterator over `Result` objects.

    Nothing is sent before the first one is asked for. Leaving the loop ends the run, and so does
    cancelling the task that waits for a result; whatever is under way is cut off.

    It is an asynchronous context manager, which closes it.
    """

    def __init__(self, crossing: Crossing[Result], *, is_streamed: bool = False) -> None:
        self._crossing = crossing
        self._items = crossing.items
        #: A streamed response is not kept: its connection is closed when nobody has it any more.
        self._spent = None if is_streamed else crossing.spent

    def __repr__(self) -> str:
        return f"<AsyncResults {self._crossing.state}>"

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Result:
        crossing = self._crossing
        while not (self._items and crossing.turns):
            await crossing.wait()
        crossing.turns -= 1
        result = self._items.popleft()
        if self._spent is not None:
            self._spent.append(result)
        if crossing.stalled is not None:
            crossing.after_read()
        return result

    async def aclose(self) -> None:
        """End the run; what is under way is cut off, what has not been read is dropped."""
        await self._crossing.end()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    def __del__(self) -> None:
        self._crossing.cut()


class _PatientFeed(Feed):
    """A feed that is not over while results of its run are on their way to their reader."""

    def __init__(self, feed: Feed, crossing: Crossing[Any]) -> None:
        super().__init__()
        self._feed = feed
        self._crossing = crossing

    def __next__(self) -> Any:
        return next(self._feed)

    def close(self) -> None:
        self._feed.close()

    def is_fed_up(self) -> bool:
        return self._crossing.is_drained and self._feed.is_fed_up()


get_ident = get_original("_thread", "get_ident")

#: Results that may be on their way if nothing else is said, at least: a batch that is worth it.
_BATCH: Final = 100


def across(
    start: Callable[[Any], Results],
    requests: Iterable[Any] | AsyncIterable[Any],
    unread: Any,
    concurrency: Any,
    *,
    is_streamed: bool,
) -> AsyncResults:
    """What a run gives, for a coroutine.

    Args:
        start: makes the run of an iterable, and finds out whether its settings make sense; called
            here, read in the thread.
        requests: the input, of either kind.
        unread: results that may be on their way, or None; as many items of an asynchronous input
            are pulled ahead.
        concurrency: what holds if it is None.
        is_streamed: whether bodies are left to be read.
    """
    ahead = next((n for n in (unread, concurrency) if isinstance(n, int) and n > 0), _BATCH)
    limit = max(ahead, _BATCH) if unread is None else ahead
    crossing: Crossing[Result] = Crossing(lambda: results, limit, _drop)

    def look_again() -> None:
        if results._flow is not None:
            results._flow._wake_reader()

    source: Any = requests
    if isinstance(requests, AsyncIterable):
        source = inlet = Inlet(requests, ahead)
        crossing.take_in(inlet)
    elif isinstance(requests, Feed):
        source = _PatientFeed(requests, crossing)
        crossing.on_idle = look_again
    results = start(source)
    return AsyncResults(crossing, is_streamed=is_streamed)


def _drop(result: Result) -> None:
    """Nobody will read it: an unread body must not keep its socket."""
    result._task.drop()


def arun(requests: Iterable[Any] | AsyncIterable[Any], **options: Any) -> AsyncResults:
    """Send requests and give a result for each, in asyncio or trio: `run` for coroutines.

    The requests are sent in a thread of its own, so the event loop is never held up. A synchronous
    iterable is pulled in that thread, and has to be something that may run there; an asynchronous
    one is pulled in the event loop.

    Args:
        requests: as of `Client.run`, or an asynchronous iterable of the same.
        **options: those of `run`.

    Returns:
        An asynchronous iterator over `Result` objects; see `AsyncResults`.

    Raises:
        What `run` raises.

    Example:
        >>> async def main():
        ...     async for result in grequests.arun(["http://example.org/"], retry=5):
        ...         print(result.unwrap().status_code)
        >>> asyncio.run(main())  # doctest: +SKIP
        200
    """
    unread, concurrency = options.get("unread"), options.get("concurrency")
    is_streamed = bool(options.get("stream"))
    return across(
        lambda source: run(source, **options),
        requests,
        unread,
        concurrency,
        is_streamed=is_streamed,
    )


class Lease:
    """A client's state in the thread of a loop, where it stays until the client is closed."""

    def __init__(self, client: Any, loop: Loop) -> None:
        self.key = loop.key
        self._thread = enter(loop.key, loop.is_over, keeps=True)
        self.end = weakref.finalize(client, self._thread.release)
        self.end.atexit = False

    def holds(self, core: Core) -> bool:
        """Whether this is the state, and this thread is not where it is."""
        return core.hub is self._thread.hub and core.hub.thread_ident != get_ident()

    def run(self, function: Callable[[], None]) -> None:
        """Have a function run in the thread, soon."""
        self._thread.call(gevent.spawn, function)


def run_of(
    client: Any, requests: Iterable[Any] | AsyncIterable[Any], options: dict[str, Any]
) -> AsyncResults:
    """What `Client.arun` gives."""

    def keep(loop: Loop) -> None:
        lease = client._lease
        if lease is None or lease.key != loop.key:
            if lease is not None:
                lease.end()
            client._lease = Lease(client, loop)

    def start(source: Any) -> Results:
        results: Results = client._run(source, dict(options))
        return results

    settings = client._settings
    is_streamed = bool(options.get("stream"))
    results = across(start, requests, settings.unread, settings.slots, is_streamed=is_streamed)
    results._crossing.on_begin = keep
    return results


async def amap(
    requests: Iterable[AsyncRequest] | AsyncIterable[AsyncRequest],
    *,
    stream: bool = False,
    size: int | None = None,
    exception_handler: Handler | None = None,
    gtimeout: float | None = None,
) -> list[Response | Any | None]:
    """Send requests at the same time and return their responses in order: `map` for coroutines.

    Args:
        requests: what to send; pulled in the event loop.
        stream: as of `map`. Read such bodies in a thread (`asyncio.to_thread`): that blocks.
        size: as of `map`.
        exception_handler: as of `map`; called in the event loop. What it returns is awaited if it
            can be.
        gtimeout: as of `map`.

    Returns:
        What `map` returns.

    Raises:
        What `map` raises.

    Example:
        >>> async def main():
        ...     return await grequests.amap([grequests.get("http://example.org/")])
        >>> asyncio.run(main())  # doctest: +SKIP
        [<Response [200]>]
    """
    check_size(size)
    listed: list[Any] = []
    if isinstance(requests, AsyncIterable):
        async for each in requests:
            listed.append(each)  # noqa: PERF401 - one kind of iterable like the other
    else:
        listed += requests
    check_all(listed)

    def send() -> Iterator[None]:
        collect(listed, stream=stream, size=size, gtimeout=gtimeout)
        return iter(())

    if listed:
        await Crossing(send, math.inf, lambda _: None).wait_for_end()
    return [await _outcome(each, exception_handler) for each in listed]


async def _outcome(request: AsyncRequest, handler: Handler | None) -> Response | Any | None:
    found = outcome(request, handler)
    return await found if isawaitable(found) else found


AsyncResults.__module__ = "grequests"
