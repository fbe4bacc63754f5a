"""One lane on the rack: the scenario is run with one call failing, and everything is looked at."""

from __future__ import annotations

import contextlib
import pathlib
from collections import Counter
from collections.abc import Iterator
from typing import Any

import gevent
from ways import lanes_taken

import grequests

from .checks import Traces
from .faults import SHARED, Fault, Injector
from .injection import fast_lane, forget, general_lane
from .scenario import COUNT, Scenario
from .world import World

#: Seconds after which a run hangs. One takes a fifth of one on a quiet machine.
PATIENCE = 30.0


class Rack:
    """One lane of the scenario under torture."""

    def __init__(self, world: World, lane: str, ca_file: str, folder: pathlib.Path) -> None:
        self.lane = lane
        self.injector = Injector()
        self._world = world
        self._scenario = Scenario(world, lane, ca_file, folder)
        self._made: list[Any] = []
        self.traces: Traces

    @contextlib.contextmanager
    def ready(self) -> Iterator[Rack]:
        """The lane's calls go by the injector."""
        lane = fast_lane if self.lane == "fast" else general_lane
        with lane(self.injector) as self._made:
            self.count()  # threads, caches and the like are made now
            self.traces = Traces()
            with self.traces.listening():
                yield self

    def count(self) -> Counter[str]:
        """The calls of each kind, if nothing fails."""
        self.injector.arm()
        forget()
        self._world.resumed = 0
        with lanes_taken() as took, self._bounded("nothing failing"):
            outcomes = self._scenario.run()
        self._scenario.check(outcomes, suffering=0)
        assert took == [] if self.lane == "fast" else len(took) == COUNT, took
        assert self._world.resumed or self.lane == "general"
        counts = self.injector.counts.copy()
        self.injector.disarm()
        grequests.close()
        self._made.clear()
        return counts

    def suffer(self, kind: str, number: int, fault: Fault) -> Counter[str]:
        """Run the scenario with one call failing.

        Returns:
            What came of its requests, by name; nothing if it did not make that call.
        """
        name = f"{self.lane}: {kind} number {number} with {fault.name}"
        forget()
        self.injector.arm(kind, number, fault)
        try:
            with self._bounded(name):
                outcomes = self._scenario.run()
                self.injector.disarm()
                hit = self.injector.hit
                suffering = COUNT if kind in SHARED else 1
                self._scenario.check(outcomes, 0 if fault.harmless or not hit else suffering)
                kinds = outcomes.kinds()
                del outcomes
                self._ask_again()
            self.traces.check(self._made)
        except AssertionError as error:
            raise AssertionError(f"{name}: {error}") from error
        return kinds if hit else Counter()

    def _ask_again(self) -> None:
        """A request as any other, in the same engine."""
        origin, _ = self._world.urls()
        (response,) = grequests.map([grequests.get(f"{origin}/plain/after")])
        assert response is not None and response.text.startswith("GET /plain/after ")

    @contextlib.contextmanager
    def _bounded(self, name: str) -> Iterator[None]:
        with gevent.Timeout(PATIENCE, AssertionError(f"it hangs: {name}")):
            yield
