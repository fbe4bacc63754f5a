"""An input that grows while it is read. Knows greenlets and threads; nothing of requests."""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING, Any

import gevent
from gevent.hub import Waiter
from gevent.monkey import get_original

from ._checks import check_count
from ._exceptions import ClientClosedError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from typing_extensions import Self


class Feed:
    """Requests that are found while others are being sent, as by a crawler.

    It is given to `Client.run`, which ends when the feed is closed and everything put into it has
    its result. `put` and `close` may be called in any thread.

    Args:
        requests: to begin with.
        until_idle: close it when everything has been sent and read, and nothing was put meanwhile:
            a crawl that found no new pages is over.
        maxsize: items that may wait in it; `put` waits while there are as many. None for any
            number: a crawl that puts what it finds must not wait for itself.

    Raises:
        PolicyError: `maxsize` is no integer above 0.

    Example:
        >>> feed = grequests.Feed(["http://example.org/"], until_idle=True)  # doctest: +SKIP
        >>> for result in client.run(feed):  # doctest: +SKIP
        ...     for link in links_of(result):
        ...         feed.put(link)
    """

    def __init__(
        self, requests: Iterable[Any] = (), *, until_idle: bool = False, maxsize: int | None = None
    ) -> None:
        if maxsize is not None:
            check_count("maxsize", maxsize)
        self._items: deque[Any] = deque(requests)
        self._until_idle = until_idle
        self._maxsize = maxsize
        self._closed = False
        self._reader: tuple[Any, Waiter[None]] | None = None
        self._writers: deque[tuple[Any, Waiter[None]]] = deque()
        # The system's threads' own, whatever is patched. It is never held while a greenlet waits.
        self._lock = get_original("_thread", "allocate_lock")()

    def __repr__(self) -> str:
        return f"<Feed {'closed' if self._closed else 'open'} waiting={len(self._items)}>"

    @property
    def closed(self) -> bool:
        """Whether nothing more can be put into it."""
        return self._closed

    @property
    def waiting(self) -> int:
        """How many items have not been pulled yet."""
        return len(self._items)

    def put(self, request: Any) -> None:
        """Add a request (or a URL, or a pair of URL and tag).

        Raises:
            ClientClosedError: the feed is closed, or its run has ended.
        """
        while True:
            with self._lock:
                if self._closed:
                    msg = "the feed is closed: by close(), by the end of its run, or as it was idle"
                    raise ClientClosedError(msg)
                if self._maxsize is None or len(self._items) < self._maxsize:
                    self._items.append(request)
                    reader, self._reader = self._reader, None
                    break
                hub = gevent.get_hub()
                waiter: Waiter[None] = Waiter(hub)
                self._writers.append((hub, waiter))
            try:
                _wait(hub, waiter)
            except BaseException:
                self._give_up(hub, waiter)
                raise
        _wake(reader)

    def _give_up(self, hub: Any, waiter: Waiter[None]) -> None:
        """Somebody does not wait any longer: if it was told to go on, another one may."""
        following = None
        with self._lock:
            if (hub, waiter) in self._writers:
                self._writers.remove((hub, waiter))
            elif self._writers:
                following = self._writers.popleft()
        _wake(following)

    def close(self) -> None:
        """Say that nothing more will come. What is there is still sent. Idempotent."""
        with self._lock:
            self._closed = True
            reader, self._reader = self._reader, None
            writers = [*self._writers]
            self._writers.clear()
        for each in (reader, *writers):
            _wake(each)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        while True:
            with self._lock:
                if self._items:
                    item = self._items.popleft()
                    writer = self._writers.popleft() if self._writers else None
                    break
                if self._closed:
                    raise StopIteration
                hub = gevent.get_hub()
                waiter: Waiter[None] = Waiter(hub)
                self._reader = (hub, waiter)
            try:
                _wait(hub, waiter)
            finally:
                self._reader = None
        _wake(writer)
        return item

    def is_fed_up(self) -> bool:
        """Whether it ends here, since nothing is left to be found by who reads the results."""
        if self._until_idle and not self._items:
            self.close()
        return self._closed and not self._items


def _wait(hub: Any, waiter: Waiter[None]) -> None:
    """Wait for whatever thread."""
    # Else gevent says that nothing can wake this up if nothing else is waited for in this thread.
    keeper = hub.loop.async_()
    keeper.start(_nothing)
    try:
        waiter.get()
    finally:
        keeper.stop()
        keeper.close()


def _nothing() -> None:
    """What a watcher calls that only keeps its loop going."""


def _wake(waiting: tuple[Any, Waiter[None]] | None) -> None:
    """Let a greenlet go on, of whatever thread."""
    if waiting is None:
        return
    hub, waiter = waiting
    if hub.thread_ident == threading.get_ident():
        hub.loop.run_callback(waiter.switch, None)
    else:
        hub.loop.run_callback_threadsafe(waiter.switch, None)


__all__ = ["Feed"]

Feed.__module__ = "grequests"
