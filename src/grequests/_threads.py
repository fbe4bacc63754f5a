"""Threads of a hub's own: for names that are looked up, and for others' code that blocks.

It knows gevent, and may not know: HTTP, engines, sessions.

Why not gevent's pool of threads: it has ten, so that ten names whose name server is silent hold up
all others; it is slow to import, and who connects to addresses needs no threads at all; and when
the hub's own thread ends, gevent waits for what is still being done there, ten seconds for a name.
(A pool that is not the hub's own complains on stderr, then, that nobody takes the result.)

There are two sets of threads. A lookup must not wait for somebody's adapter, which may take
minutes, nor an adapter, which may look names up itself, for lookups that nobody answers.
"""

from __future__ import annotations

import _socket
import os
import sys
import threading
from contextvars import copy_context
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

import gevent
from gevent import get_hub
from gevent.event import Event
from gevent.lock import Semaphore
from gevent.monkey import get_original

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["await_lookup", "getaddrinfo", "in_thread"]

_T = TypeVar("_T")

#: Threads of each set that one hub may keep busy.
MOST: Final = 64
#: Seconds after which a thread that has nothing to do ends.
_IDLE_SECONDS: Final = 10.0
_FOR_ERRANDS: Final = "_grequests_threads"
_FOR_LOOKUPS: Final = "_grequests_lookups"
#: The module and the name of the resolver that asks in gevent's threads.
_GEVENTS_OWN: Final = ("gevent.resolver.thread", "Resolver")

_allocate_lock = get_original("_thread", "allocate_lock")
_start_new_thread = get_original("_thread", "start_new_thread")


def in_thread(function: Callable[[], _T], discard: Callable[[_T], object] | None = None) -> _T:
    """Run a blocking function in a thread; what it returns or raises.

    Args:
        function: runs in a copy of the caller's context.
        discard: is given the result if the caller no longer waits for it (it was killed, or its
            time was up), so that a socket does not stay open. It may not wait.
    """
    return _threads_of(get_hub(), _FOR_ERRANDS).run(function, discard)


def getaddrinfo(*args: Any) -> list[Any]:
    """As `_socket.getaddrinfo`, by the resolver that the user has chosen, else in a thread."""
    hub = get_hub()
    if not _asks_in_threads(hub):
        return hub.resolver.getaddrinfo(*args)
    return _threads_of(hub, _FOR_LOOKUPS).run(lambda: _socket.getaddrinfo(*args))


def await_lookup() -> None:
    """Return when a lookup that is begun at once does not wait for a thread."""
    hub = get_hub()
    if _asks_in_threads(hub):
        _threads_of(hub, _FOR_LOOKUPS).await_free()


def _asks_in_threads(hub: Any) -> bool:
    """Whether gevent would ask for names in its threads, as it does unless it is told otherwise."""
    # (To look at `hub.resolver` is to make one, and to import all that it needs.)
    chosen = hub._resolver
    kind = hub.resolver_class if chosen is None else type(chosen)
    return (kind.__module__, kind.__name__) == _GEVENTS_OWN


def _threads_of(hub: Any, name: str) -> _Threads:
    """A hub's threads of one set; new ones after a fork, which threads do not survive."""
    # On the hub itself: they refer to it, and must go with it.
    threads: _Threads | None = getattr(hub, name, None)
    if threads is None or threads.pid != os.getpid():
        threads = _Threads(hub)
        setattr(hub, name, threads)
    return threads


class _Threads:
    """Some threads for the greenlets of one hub. They are made when needed, and end when idle."""

    def __init__(self, hub: Any) -> None:
        self.pid = os.getpid()
        self._hub = hub
        # (Who has set gevent's pool to more than that has done so for lookups.)
        self._free = Semaphore(max(MOST, hub.threadpool_size), hub)
        self._lock = _allocate_lock()
        self._idle: list[_Seat] = []

    def await_free(self) -> None:
        while self._free.locked():
            self._free.wait()

    def run(self, function: Callable[[], _T], discard: Callable[[_T], object] | None = None) -> _T:
        """Do it in a thread, once there is one."""
        self._free.acquire()
        try:
            errand = _Errand(function, discard, self._hub.loop.async_())
        except BaseException:
            self._free.release()
            raise
        try:
            errand.watcher.start(self._ended, errand)
            self._give(errand)
        except BaseException:  # no thread can be started
            self._close(errand)
            raise
        return errand.wait()

    def _ended(self, errand: _Errand[Any]) -> None:
        """In the hub, once the thread has done it."""
        self._close(errand)
        errand.end()

    def _close(self, errand: _Errand[Any]) -> None:
        errand.watcher.close()
        self._free.release()

    def _give(self, errand: _Errand[Any]) -> None:
        with self._lock:
            if self._idle:
                # The one that came last: those that are too many grow old.
                seat = self._idle.pop()
                seat.errand = errand
                seat.bell.release()
                return
        # (A thread's arguments live as long as the thread. The errand, with its result, must not.)
        _start_new_thread(self._work, ([errand],))

    def _work(self, first: list[_Errand[Any]]) -> None:
        """What a thread does: one errand after the other, until there is none for a while."""
        # As `threading` does for its own: debuggers and the like want to see what runs here.
        sys.settrace(threading.gettrace())
        sys.setprofile(threading.getprofile())
        errand: _Errand[Any] | None = first.pop()
        while errand is not None:
            errand.do()
            errand = None  # not even is it kept alive while the thread waits for another
            errand = self._next()
        hub = gevent.hub._get_hub()  # type: ignore[attr-defined]
        if hub is not None:  # somebody's code has made one
            hub.destroy(destroy_loop=True)

    def _next(self) -> _Errand[Any] | None:
        seat = _Seat()
        with self._lock:
            self._idle.append(seat)
        seat.bell.acquire(timeout=_IDLE_SECONDS)
        with self._lock:
            if seat.errand is None:
                self._idle.remove(seat)
        return seat.errand


class _Seat:
    """Where a thread waits."""

    __slots__ = ("bell", "errand")

    def __init__(self) -> None:
        self.bell = _allocate_lock()
        self.bell.acquire()
        self.errand: _Errand[Any] | None = None


class _Errand(Generic[_T]):
    """One function on its way through a thread, and who takes its result."""

    def __init__(
        self, function: Callable[[], _T], discard: Callable[[_T], object] | None, watcher: Any
    ) -> None:
        self.watcher = watcher
        self._function = function
        self._discard = discard
        self._context = copy_context()
        self._done = Event()
        self._is_deserted = False
        self._error: BaseException | None = None
        self._result: _T

    def wait(self) -> _T:
        """In the greenlet: what came of it."""
        try:
            self._done.wait()
        except BaseException:
            self._is_deserted = True
            if self._done.is_set():
                self._throw_away()
            raise
        if self._error is None:
            return self._result
        try:
            raise self._error
        finally:
            self._error = None  # else the traceback and this object would hold each other

    def do(self) -> None:
        """In the thread: do it, and say so in the hub, if it still lives."""
        try:
            self._result = self._context.run(self._function)
        except BaseException as error:  # noqa: BLE001 - it is the caller's
            self._error = error
        try:
            self.watcher.send()
        except ValueError:  # gevent's, of a loop that has been destroyed
            self._throw_away()

    def end(self) -> None:
        """In the hub: it is done."""
        self._done.set()
        if self._is_deserted:
            self._throw_away()

    def _throw_away(self) -> None:
        if self._discard is not None and self._error is None:
            self._discard(self._result)
