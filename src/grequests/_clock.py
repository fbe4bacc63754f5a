"""Time as the bulk layer knows it: a monotonic clock, the wall's, and calls that come later.

A clock is an argument wherever something is decided, so that tests decide what time it is
(`grequests.testing.FakeClock`). It may not know: requests, schedulers.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Protocol

from ._engine import close_watcher

if TYPE_CHECKING:
    from collections.abc import Callable


class Handle(Protocol):
    """A call that is to come."""

    def close(self) -> None:
        """Let it not come. May be called more than once, and after it came."""


class Clock(Protocol):
    """What tells time."""

    def now(self) -> float:
        """Seconds that only ever grow, as of `time.monotonic`."""

    def wall(self) -> float:
        """Seconds since 1970, as of `time.time`: for dates that servers name."""

    def call_later(self, seconds: float, function: Callable[..., object], *args: Any) -> Handle:
        """Call a function in so many seconds, from the event loop: it may not block or raise."""


class HubClock:
    """The clock of a gevent hub.

    Args:
        hub: whose loop calls.
    """

    __slots__ = ("_loop",)

    now = staticmethod(time.monotonic)
    wall = staticmethod(time.time)

    def __init__(self, hub: Any) -> None:
        self._loop = hub.loop

    def __repr__(self) -> str:
        return f"<HubClock {self.now():.3f}>"

    def call_later(self, seconds: float, function: Callable[..., object], *args: Any) -> Handle:
        """Call a function in so many seconds."""
        timer = _Timer(self._loop.timer(max(seconds, 0.0)))
        timer.start(function, args)
        return timer


class _Timer:
    """A timer of the loop that is released when it has rung."""

    __slots__ = ("_watcher",)

    def __init__(self, watcher: Any) -> None:
        self._watcher: Any = watcher

    def start(self, function: Callable[..., object], args: tuple[Any, ...]) -> None:
        self._watcher.start(self._ring, function, args)

    def close(self) -> None:
        watcher, self._watcher = self._watcher, None
        if watcher is not None:
            close_watcher(watcher)

    def _ring(self, function: Callable[..., object], args: tuple[Any, ...]) -> None:
        self.close()
        function(*args)
