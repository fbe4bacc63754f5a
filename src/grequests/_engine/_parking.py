"""Threads that are in a hub when the interpreter ends: kept still, or the process would crash.

CPython ends daemon threads where they stand, by unwinding the thread's stack. In a thread that runs
a hub or a greenlet that is not the stack it is on, and the process dies of a segmentation fault
(gevent alone: in 58 of 60 runs of a program whose daemons are busy in their hubs). A thread that
waits for a lock is left alone, so that is what these threads do when the interpreter is to end.

Knows hubs and threads; nothing of engines.
"""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any, Final

from gevent.monkey import get_original

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import FrameType

#: Seconds to wait for the threads. One that runs Python code, or waits elsewhere, does not come.
_PATIENCE: Final = 0.5
#: Seconds for which a thread is kept still: other things may have to be done at exit, for which
#: somebody waits for that thread.
_STILL: Final = 2.0

_allocate_lock = get_original("_thread", "allocate_lock")


def park(hubs: Iterable[Any]) -> None:
    """Have other threads stand still in their hubs, those that are in there."""
    frames = sys._current_frames()
    spots = [_Spot(hub) for hub in hubs if _is_in_greenlet(frames.get(hub.thread_ident))]
    del frames
    deadline = time.monotonic() + _PATIENCE
    for spot in spots:
        spot.await_arrival(max(deadline - time.monotonic(), 0.0))


def _is_in_greenlet(frame: FrameType | None) -> bool:
    """Whether the oldest frame of what a thread runs is not the one that threads begin with."""
    if frame is None:
        return False
    while frame.f_back is not None:
        frame = frame.f_back
    return frame.f_code.co_name != "_bootstrap"


class _Spot:
    """Where a hub is parked."""

    def __init__(self, hub: Any) -> None:
        self._arrival = _allocate_lock()
        self._arrival.acquire()
        self._barrier = _allocate_lock()
        self._barrier.acquire()
        hub.loop.run_callback_threadsafe(self._stand_still)

    def await_arrival(self, seconds: float) -> None:
        self._arrival.acquire(timeout=seconds)

    def _stand_still(self) -> None:
        self._arrival.release()
        self._barrier.acquire(timeout=_STILL)
