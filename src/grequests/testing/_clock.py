"""Clocks for tests: one that stands still until it is told otherwise, and the real one in order.

Two ways to move it. `advance` runs whatever becomes due on the way, each call with the clock at
its very time, and lets everything else come to rest in between. With ``autojump=True`` (the idea is
that of trio's `MockClock`) it moves by itself: whenever nothing else in the thread's gevent hub can
run, it is the time of the next call. It may not know: requests, transports.
"""

from __future__ import annotations

import heapq
import math
from typing import TYPE_CHECKING, Any, Final

import gevent
from gevent.hub import Waiter

from grequests._clock import HubClock
from grequests._engine import close_watcher

if TYPE_CHECKING:
    from collections.abc import Callable

    from typing_extensions import Self

    from grequests._clock import Handle

#: What the wall's clock shows at first: the first second of 2000, UTC.
_WALL: Final = 946_684_800.0
#: Closed calls that may stand among the others before they are sorted out.
_RUBBISH: Final = 64


class FakeClock:
    """A `Clock` for tests, which reads 0.0 at first.

    Its calls come from the event loop of the thread that made the first of them, in the order of
    their times; those for the same time in the order in which they were made. A call that is due
    already comes in the next turn of the loop.

    Args:
        autojump: whether it goes to the time of the next call by itself, as soon as nothing else in
            the hub can run. Sockets and threads that are waited for do not hold it.
        now: seconds that `now` gives at first.
        wall: seconds since 1970 that `wall` gives at first.

    Example:
        >>> clock = FakeClock()
        >>> _ = clock.call_later(2.5, print, "it rings")
        >>> clock.advance(10)
        it rings
        >>> clock.now()
        10.0
    """

    def __init__(self, *, autojump: bool = False, now: float = 0.0, wall: float = _WALL) -> None:
        self._now = float(now)
        self._ahead = float(wall) - self._now
        self._autojump = autojump
        self._calls: list[_Call] = []
        self._count = 0
        self._pending = 0
        #: Whose loop calls, as long as there is something to call.
        self._hub: Any = None
        self._idle: Any = None
        self._is_called_soon = False
        self._journey: _Journey | None = None

    def __repr__(self) -> str:
        following = self._next()
        jumps = " autojump" if self._autojump else ""
        if following is None:
            return f"<FakeClock {self._now:g}{jumps}>"
        count = f"{self._pending} call{'s' if self._pending > 1 else ''}"
        return f"<FakeClock {self._now:g}{jumps}, {count}, next in {following.due - self._now:g}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def pending(self) -> int:
        """How many calls are to come."""
        return self._pending

    def now(self) -> float:
        """Seconds, as they stand."""
        return self._now

    def wall(self) -> float:
        """Seconds since 1970, as they stand."""
        return self._now + self._ahead

    def call_later(self, seconds: float, function: Callable[..., object], *args: Any) -> _Call:
        """Call a function in so many seconds, from the event loop: it may not block or raise.

        Raises:
            RuntimeError: calls are pending in another thread.
        """
        self._settle_in()
        call = _Call(self, self._now + max(seconds, 0.0), self._count, function, args)
        self._count += 1
        self._pending += 1
        heapq.heappush(self._calls, call)
        self._arm()
        return call

    def advance(self, seconds: float) -> None:
        """Let time pass.

        Whatever is due on the way is called at its time. Before, in between and after, everything
        that can run in this thread's hub does.

        Args:
            seconds: how much, at least 0.

        Raises:
            ValueError: it is less.
            RuntimeError: somebody else is advancing this clock, or it is another thread's.
            Exception: whatever a call raises; later ones are still to come.
        """
        if not seconds >= 0:
            msg = f"time passes by 0 seconds or more, not {seconds!r}"
            raise ValueError(msg)
        if self._journey is not None:
            msg = f"{self!r} is being advanced already"
            raise RuntimeError(msg)
        self._settle_in()
        target = self._now + seconds
        if gevent.getcurrent() is self._hub:
            self._run_until(target)
            return
        self._journey = journey = _Journey(target, Waiter(self._hub))
        try:
            self._arm()
            journey.waiter.get()
        finally:
            self._journey = None
            self._arm()

    def close(self) -> None:
        """Forget all calls that are to come."""
        for call in self._calls:
            call.function = None
        self._calls.clear()
        self._pending = 0
        self._arm()

    # Which hub

    def _settle_in(self) -> None:
        hub = gevent.get_hub()
        if hub is self._hub:
            return
        if self._pending or self._idle is not None:
            msg = f"{self!r} has calls pending in another thread"
            raise RuntimeError(msg)
        self._hub = hub

    def _arm(self) -> None:
        """Have the loop say when it has nothing to do, if that is of interest."""
        following = self._next()
        if following is not None and following.due <= self._now:
            self._call_soon()
        jumps = self._autojump and following is not None and following.due < math.inf
        if jumps or self._journey is not None:
            if self._idle is None:
                self._idle = self._hub.loop.idle()
                self._idle.start(self._on_idle)
        elif self._idle is not None:
            idle, self._idle = self._idle, None
            close_watcher(idle)

    def _call_soon(self) -> None:
        if not self._is_called_soon:
            self._is_called_soon = True
            self._hub.loop.run_callback(self._on_soon)

    # In the hub

    def _on_soon(self) -> None:
        self._is_called_soon = False
        self._run_guarded()

    def _on_idle(self) -> None:
        """Nothing else can run: on to the next call, or the end of the journey."""
        following, journey = self._next(), self._journey
        limit = math.inf if journey is None else journey.target
        if following is not None and following.due <= limit and following.due < math.inf:
            self._now = max(self._now, following.due)
            self._run_guarded()
        elif journey is not None:
            self._now = max(self._now, journey.target)
            journey.waiter.switch(None)
        else:
            self._arm()

    def _run_guarded(self) -> None:
        """Run what is due; who advances the clock is told of errors, else gevent prints them."""
        try:
            self._run_due()
        except BaseException as error:
            if self._journey is None:
                raise
            self._journey.waiter.throw(error)
        finally:
            self._arm()

    def _run_until(self, target: float) -> None:
        """Advance from within the hub, where nothing else can run meanwhile."""
        while (following := self._next()) is not None and following.due <= target:
            self._now = max(self._now, following.due)
            self._run_due()
        self._now = target
        self._arm()

    def _run_due(self) -> None:
        """Run what is due by now, but for what is added meanwhile: it could go on for ever."""
        end = self._count
        while (call := self._next()) is not None and call.due <= self._now and call.number < end:
            heapq.heappop(self._calls)
            self._pending -= 1
            function, call.function = call.function, None
            assert function is not None
            function(*call.args)

    # The calls

    def _next(self) -> _Call | None:
        """The next call that was not closed."""
        calls = self._calls
        while calls and calls[0].function is None:
            heapq.heappop(calls)
        return calls[0] if calls else None

    def forget(self, call: _Call) -> None:
        """A call was closed, and says so."""
        call.function = None
        self._pending -= 1
        if len(self._calls) > 2 * self._pending + _RUBBISH:
            self._calls = [each for each in self._calls if each.function is not None]
            heapq.heapify(self._calls)
        if not self._pending:
            self._arm()


class _Call:
    """A call that is to come, or came."""

    __slots__ = ("_clock", "args", "due", "function", "number")

    def __init__(
        self,
        clock: FakeClock,
        due: float,
        number: int,
        function: Callable[..., object],
        args: tuple[Any, ...],
    ) -> None:
        self._clock = clock
        self.due = due
        self.number = number
        self.function: Callable[..., object] | None = function
        self.args = args

    def __repr__(self) -> str:
        return f"<call at {self.due:g}{'' if self.function else ', over'}>"

    def __lt__(self, other: _Call) -> bool:
        return (self.due, self.number) < (other.due, other.number)

    def close(self) -> None:
        """Let it not come. May be called more than once, and after it came."""
        if self.function is not None:
            self._clock.forget(self)


class _Journey:
    """Somebody advances the clock."""

    __slots__ = ("target", "waiter")

    def __init__(self, target: float, waiter: Waiter[None]) -> None:
        self.target = target
        self.waiter = waiter


class PromptClock(HubClock):
    """Real time. What comes at once comes in order, which an event loop's timers do not."""

    __slots__ = ()

    def call_later(self, seconds: float, function: Callable[..., object], *args: Any) -> Handle:
        if seconds > 0:
            return super().call_later(seconds, function, *args)
        callback: Handle = self._loop.run_callback(function, *args)
        return callback


FakeClock.__module__ = "grequests.testing"
