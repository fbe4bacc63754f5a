"""Closing gevent's watchers, whose event loop may be gone before them."""

from __future__ import annotations

import contextlib
from typing import Any


def close_watcher(watcher: Any) -> None:
    """Stop a watcher for good.

    Whoever ends a thread properly calls `gevent.get_hub().destroy()`; watchers of a destroyed loop
    have nothing left to stop and say so by a ValueError.
    """
    with contextlib.suppress(ValueError):
        watcher.close()
