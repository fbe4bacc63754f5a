"""How many sockets this process may have open, over all its threads.

Knows the operating system's limit and counts what the engines open; nothing of HTTP. The limit is
RLIMIT_NOFILE less what others hold and a reserve for what the user's code opens meanwhile.
"""

from __future__ import annotations

import os
from time import monotonic
from typing import Final

from gevent.monkey import get_original

try:
    import resource
except ImportError:  # pragma: no cover - Windows has no such limit on sockets
    resource = None  # type: ignore[assignment]

#: Seconds after which it is asked again whether there are more, once it has refused one.
PAUSE: Final = 1.0
#: Descriptors left to the rest of the process.
RESERVE: Final = 32
#: Where the system sets no limit, or does not tell.
UNLIMITED: Final = 65536

_allocate_lock = get_original("_thread", "allocate_lock")


class Budget:
    """Descriptors that engines may use. Safe to share between threads."""

    def __init__(self) -> None:
        self._lock = _allocate_lock()
        self.taken = 0
        self.limit = 1
        #: When the system refused one, in seconds of `time.monotonic`.
        self._refused_at: float | None = None
        self.refresh()

    def __repr__(self) -> str:
        return f"<Budget {self.taken} of {self.limit} descriptors>"

    def refresh(self) -> None:
        """Ask the system again what is allowed and what others hold."""
        allowed = _allowed_descriptors()
        others = max(_open_descriptors() - self.taken, 0)
        reserve = min(RESERVE, allowed // 4)
        self.limit = max(allowed - others - reserve, 1)
        self._refused_at = None

    def take(self) -> bool:
        """Reserve one descriptor; False if none is left."""
        if self.taken >= self.limit and not self._has_recovered():
            return False
        with self._lock:
            if self.taken >= self.limit:
                return False
            self.taken += 1
            return True

    def give(self) -> None:
        """Return one."""
        with self._lock:
            self.taken -= 1

    def exhausted(self) -> None:
        """The system refused a descriptor although we thought there was room.

        It is asked again after a while, if there is need.
        """
        with self._lock:
            self.limit = max(self.taken, 1)
            self._refused_at = monotonic()

    def _has_recovered(self) -> bool:
        if self._refused_at is None or monotonic() - self._refused_at < PAUSE:
            return False
        self.refresh()
        if self.taken < self.limit:
            return True
        self._refused_at = monotonic()
        return False

    def forked(self) -> None:
        """In a child: the parent's connections are not ours."""
        self._lock = _allocate_lock()
        self.taken = 0
        self.refresh()


def _allowed_descriptors() -> int:
    if resource is None:  # pragma: no cover
        return UNLIMITED
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return UNLIMITED if soft == resource.RLIM_INFINITY else min(soft, 1 << 20)


def _open_descriptors() -> int:
    for folder in ("/proc/self/fd", "/dev/fd"):
        try:
            return len(os.listdir(folder)) - 1
        except OSError:
            continue
    return 64


BUDGET: Final = Budget()
