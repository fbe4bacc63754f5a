"""What a run may leave behind: nothing. Cheap enough to be looked at after each of thousands."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from typing import Any

import contextlib
import gevent
from conftest import descriptors, is_quiet, live_greenlets, live_watchers
from servers import eventually

import grequests
from grequests._engine import current_engine
from grequests._engine._budget import BUDGET


class Traces:
    """What there was before, and what is left.

    Attributes:
        cycles: how often a socket was open until the garbage collector came by.
    """

    def __init__(self) -> None:
        gc.collect()
        gc.freeze()  # servers and the like: they need not be looked through each time
        self.cycles = 0
        self.printed: list[str] = []
        self._greenlets = live_greenlets()
        self._watchers = len(live_watchers())
        self._descriptors = descriptors()
        self._taken = BUDGET.taken
        self._hub: Any = gevent.get_hub()

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """Note what gevent prints: an error that became nobody's outcome."""

        def note(context: Any, kind: Any, error: Any, _traceback: Any) -> None:
            self.printed.append(f"{kind.__name__} of {context!r}: {error}")

        self._hub.print_exception = note
        try:
            yield
        finally:
            del self._hub.print_exception

    def check(self, made: list[Any]) -> None:
        """Nothing is left of a run that has ended.

        Args:
            made: references to the client's sockets that were made; it is emptied.
        """
        engine = current_engine()
        eventually(is_quiet, f"the engine to be quiet: {engine.statistics()}")
        grequests.close()
        self.check_sockets(made)
        counts = engine.statistics()
        assert (counts.open, counts.connecting, counts.origins, counts.streaming) == (0, 0, 0, 0)
        assert self._taken == BUDGET.taken, f"{BUDGET.taken} descriptors are taken"
        assert not engine.deadlines
        engine.close()  # its timer would go on for a few seconds
        eventually(lambda: live_greenlets() <= self._greenlets, "the end of all greenlets")
        eventually(lambda: len(live_watchers()) <= self._watchers, "the end of all watchers")
        eventually(lambda: descriptors() <= self._descriptors, "the descriptors to be closed")
        assert not self.printed, f"gevent has printed: {self.printed}"

    def check_sockets(self, made: list[Any]) -> None:
        """The client's sockets are closed."""
        if is_open(made):
            gc.collect()
            self.cycles += 1
        assert not is_open(made), f"not closed: {is_open(made)}"
        made.clear()


def is_open(made: list[Any]) -> list[Any]:
    """Those of the sockets that were not closed, by whomever."""
    socks = [reference() for reference in made]
    return [each for each in socks if each is not None and each.fileno() != -1]
