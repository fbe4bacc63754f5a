"""Whether the process grows by what it does again and again."""

from __future__ import annotations

import gc
import tracemalloc
import urllib.parse
from collections.abc import Callable

import gevent

#: Bytes of memory by which one more time of the same may make the process larger.
GROWTH = 2 * 1024
#: How often that is tried.
ROUNDS = 12


def assert_steady(once: Callable[[], object], others: int = 0) -> None:
    """Do the same two times, or up to twelve: one of them may not leave more than nothing.

    What is leaked is leaked each time; caches fill up once, and what a server has under way varies.

    Args:
        once: what is done.
        others: bytes that somebody else leaves each time.
    """
    grown: list[int] = []
    tracemalloc.start()
    try:
        while len(grown) < 2 or (min(grown) > others + GROWTH and len(grown) < ROUNDS):
            grown.append(_growth(once))
    finally:
        tracemalloc.stop()
    assert min(grown) <= others + GROWTH, f"{grown} bytes more each time"


def least_growth(once: Callable[[], object]) -> int:
    """Bytes by which the process grows each time."""
    tracemalloc.start()
    try:
        return min(_growth(once) for _ in range(ROUNDS))
    finally:
        tracemalloc.stop()


def _growth(once: Callable[[], object]) -> int:
    """Bytes by which the process is larger after one more time."""
    before = tracemalloc.get_traced_memory()[0]
    once()
    settle()
    return tracemalloc.get_traced_memory()[0] - before


def settle() -> None:
    """Let callbacks run, and take what is garbage away."""
    gevent.sleep(0)
    urllib.parse.clear_cache()  # of the URLs of all the servers that there were
    gc.collect()
