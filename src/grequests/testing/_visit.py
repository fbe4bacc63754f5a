"""One request at the fake server: from when it sets out to the last byte of its answer.

A visit keeps the timetable of the answer. The fast lane looks what comes next and has the clock
call it then; whoever reads from something like a file waits for it, in whatever thread. It may not
know: rules, HTTP, either lane.
"""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING, Any

import gevent
from gevent.hub import Waiter
from gevent.monkey import get_original

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from grequests._clock import Clock

    from ._wire import Step

_allocate_lock = get_original("_thread", "allocate_lock")
_sleep = get_original("time", "sleep")


class Visit:
    """One request under way.

    Args:
        host: whom it is for, an origin.
        clock: by which things come.
        hub: whose loop that clock calls from.
        is_real: whether time passes in every thread alike, whatever that loop does.
        on_end: called with the host, once.
    """

    __slots__ = ("_at", "_hub", "_is_real", "_nap", "_on_end", "_steps", "clock", "host", "on_cut")

    def __init__(
        self,
        host: str,
        clock: Clock,
        hub: Any,
        *,
        is_real: bool,
        on_end: Callable[[Visit], object],
    ) -> None:
        self.host = host
        self.clock = clock
        self._hub = hub
        self._is_real = is_real
        self._on_end: Callable[[Visit], object] | None = on_end
        self._steps: deque[Step] = deque()
        self._at = 0.0
        self._nap: _Nap | None = None
        #: Called with an error when the server goes away, from the loop.
        self.on_cut: Callable[[BaseException], object] | None = None

    def __repr__(self) -> str:
        state = "over" if self.is_over else f"{len(self._steps)} steps to come"
        return f"<Visit at {self.host}, {state}>"

    @property
    def is_over(self) -> bool:
        """Whether it has ended."""
        return self._on_end is None

    def answer(self, steps: Iterable[Step]) -> None:
        """From now on this is to come."""
        self._steps = deque(steps)
        self._at = self.clock.now()

    def next_in(self) -> float:
        """Seconds until there is something; infinity if nothing will come."""
        if not self._steps:
            return 0.0  # the end, again and again
        return max(self._at + self._steps[0][0] - self.clock.now(), 0.0)

    def take(self) -> bytes | BaseException:
        """What there is; b"" at the end."""
        if not self._steps:
            return b""
        seconds, what = self._steps.popleft()
        self._at += seconds
        return what

    def receive(self, timeout: float | None) -> bytes:
        """Wait for what comes next, for so many seconds at most.

        Raises:
            TimeoutError: nothing came.
            BaseException: that is what came, or `cut` was called meanwhile.
        """
        seconds = self.next_in()
        if timeout is not None and seconds > timeout:
            self.wait(timeout)
            msg = "timed out"
            raise TimeoutError(msg)
        self.wait(seconds)
        what = self.take()
        if isinstance(what, BaseException):
            raise what
        return what

    def wait(self, seconds: float) -> None:
        """Let others run for so many seconds of the clock; any number in any thread.

        Raises:
            BaseException: `cut` was called with it.
        """
        if seconds <= 0:
            return
        own = gevent.hub._get_hub()  # type: ignore[attr-defined]
        if own is not self._hub and self._is_real and seconds < math.inf:
            (_sleep if own is None else gevent.sleep)(seconds)
            return
        self._nap = nap = _Nap(self._hub)
        try:
            nap.sleep(self.clock, seconds, here=own is self._hub)
        finally:
            self._nap = None

    def cut(self, error: BaseException) -> None:
        """The server goes away: whoever waits is told."""
        if self._nap is not None:
            self._nap.disturb(error)
        elif self.on_cut is not None:
            self._hub.loop.run_callback_threadsafe(self.on_cut, error)

    def end(self) -> None:
        """It is over. May be called again."""
        on_end, self._on_end = self._on_end, None
        if on_end is not None:
            on_end(self)


class _Nap:
    """One wait on a clock, in its own thread or another."""

    __slots__ = ("_error", "_hub", "_wake")

    def __init__(self, hub: Any) -> None:
        self._hub = hub
        self._error: BaseException | None = None
        self._wake: Callable[[], object]

    def sleep(self, clock: Clock, seconds: float, *, here: bool) -> None:
        (self._sleep_here if here else self._sleep_elsewhere)(clock, seconds)
        if self._error is not None:
            raise self._error

    def disturb(self, error: BaseException) -> None:
        self._error = error
        self._hub.loop.run_callback_threadsafe(self._wake)

    def _sleep_here(self, clock: Clock, seconds: float) -> None:
        waiter: Waiter[None] = Waiter(self._hub)
        self._wake = lambda: waiter.switch(None)
        call = clock.call_later(seconds, self._wake) if seconds < math.inf else None
        try:
            waiter.get()
        finally:
            if call is not None:
                call.close()

    def _sleep_elsewhere(self, clock: Clock, seconds: float) -> None:
        """In a thread whose hub, if it has one, is not the clock's: a thread for what blocks."""
        lock = _allocate_lock()
        lock.acquire()

        def wake() -> None:
            if lock.locked():
                lock.release()

        self._wake = wake
        if seconds < math.inf:
            self._hub.loop.run_callback_threadsafe(clock.call_later, seconds, wake)
        lock.acquire()
