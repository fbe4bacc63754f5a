"""What runs in a greenlet of its own, as code does that GRequests sends with."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import gevent

_T = TypeVar("_T")


def in_greenlet(function: Callable[[], _T]) -> _T:
    """What a function returns or raises that runs in a greenlet, in a copy of this context."""

    def run() -> tuple[list[_T], BaseException | None]:
        # Nothing is raised here: gevent would print it.
        try:
            return [function()], None
        except BaseException as error:
            return [], error

    results, error = gevent.spawn(run).get()
    if error is not None:
        raise error
    return results[0]
