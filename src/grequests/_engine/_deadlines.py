"""Deadlines of many things, kept coarsely: one timer, constant work per change.

Knows a clock and an event loop's timer, nothing of what it watches but three names: `deadline`
(seconds of the clock, or infinity), `slot` (ours) and `expire()`.

A thing stands in at most one slot, the one in which it was first promised to be looked at. Moving
its deadline later is one attribute assignment; when the slot comes, a thing whose deadline has
moved is put into a later one. So a connection that serves a thousand requests with a timeout of
30 s is looked at once in 30 s.
"""

from __future__ import annotations

import heapq
import math
import time
from typing import TYPE_CHECKING, Any, Final, Protocol

from ._watchers import close_watcher

if TYPE_CHECKING:
    from collections.abc import Callable

#: Seconds between two slots: how late a timeout may strike.
RESOLUTION: Final = 0.01
NEVER: Final = math.inf


class Mortal(Protocol):
    """What a deadline can be kept for."""

    deadline: float
    slot: float

    def expire(self) -> None: ...


class Deadlines:
    """The deadlines of one event loop.

    Args:
        timer: makes a one-shot timer of the loop from a delay in seconds (`loop.timer`).
        clock: seconds, monotonic.
    """

    __slots__ = ("_clock", "_due", "_make_timer", "_slots", "_timer", "_timer_at")

    def __init__(
        self, timer: Callable[[float], Any], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._make_timer = timer
        self._clock = clock
        self._slots: dict[float, set[Mortal]] = {}
        self._due: list[float] = []
        self._timer: Any = None
        self._timer_at = NEVER

    def __len__(self) -> int:
        return sum(map(len, self._slots.values()))

    def __repr__(self) -> str:
        return f"<Deadlines of {len(self)} in {len(self._slots)} slots>"

    def watch(self, thing: Mortal, deadline: float) -> None:
        """Have `thing.expire()` called soon after the deadline, unless it is moved before."""
        thing.deadline = deadline
        if thing.slot > deadline:
            self._enter(thing)

    def forget(self, thing: Mortal) -> None:
        """Drop the thing now, rather than when its slot comes."""
        thing.deadline = NEVER
        things = self._slots.get(thing.slot)
        if things is not None:
            things.discard(thing)
        thing.slot = NEVER

    def close(self) -> None:
        """Stop the timer and drop everything."""
        if self._timer is not None:
            close_watcher(self._timer)
            self._timer = None
        self._timer_at = NEVER
        self._slots.clear()
        self._due.clear()

    def sweep(self) -> None:
        """Look at every slot that is due. Called by the timer."""
        now = self._clock()
        self._timer_at = NEVER
        due = self._due
        try:
            while due and due[0] <= now:
                self._look_at(self._slots.pop(heapq.heappop(due), set()), now)
        finally:
            if due and due[0] < self._timer_at:
                self._arm(due[0], now)

    def _look_at(self, things: set[Mortal], now: float) -> None:
        # Taken out one by one: should one of them raise, the others are looked at next time.
        try:
            while things:
                thing = things.pop()
                thing.slot = NEVER
                if thing.deadline <= now:
                    thing.deadline = NEVER
                    thing.expire()
                elif thing.deadline != NEVER:
                    self._enter(thing)
        finally:
            for thing in things:
                if thing.deadline != NEVER:
                    self._enter(thing)

    def _enter(self, thing: Mortal) -> None:
        old = self._slots.get(thing.slot)
        if old is not None:
            old.discard(thing)
        # Never before the deadline, however the division rounds: `sweep` would turn for ever.
        slot = (math.floor(thing.deadline / RESOLUTION) + 1) * RESOLUTION
        thing.slot = slot
        things = self._slots.get(slot)
        if things is None:
            things = self._slots[slot] = set()
            heapq.heappush(self._due, slot)
            if slot < self._timer_at:
                self._arm(slot, self._clock())
        things.add(thing)

    def _arm(self, at: float, now: float) -> None:
        timer = self._make_timer(max(at - now, 0.0))
        timer.start(self.sweep)
        if self._timer is not None:
            self._timer.close()  # not before: without any, nothing would ever be swept again
        self._timer, self._timer_at = timer, at
