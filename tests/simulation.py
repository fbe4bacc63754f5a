"""Servers and a client that exist in numbers only: what a level of concurrency brings.

Discrete events: time jumps from one to the next, so a minute with a hundred thousand requests takes
a second. The client always has more to ask than it may, unless it is told otherwise.
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any, Protocol

Jitter = Callable[[Random], float]


def constant(random: Random) -> float:
    return 1.0


def uniform(random: Random) -> float:
    """Within 20 %."""
    return random.uniform(0.8, 1.2)


def exponential(random: Random) -> float:
    """As much noise as a Poisson process makes: the deviation is as large as the mean."""
    return random.expovariate(1.0)


def lognormal(random: Random) -> float:
    """A long tail, as web pages have: deviation 1.3 times the mean, 2 % take over 5 times it."""
    return random.lognormvariate(-0.5, 1.0)


class Server(Protocol):
    """Takes requests and says when the next of them ends."""

    def start(self, now: float) -> None: ...
    def next_end(self) -> float: ...
    def end(self) -> tuple[float, str]:
        """When the one that ends next was started, and how it ends."""
        ...


class _Ends:
    """Requests whose ends are known when they start."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, float, str]] = []
        self._number = itertools.count()

    def put(self, until: float, started: float, outcome: str) -> None:
        heapq.heappush(self._heap, (until, next(self._number), started, outcome))

    def next_end(self) -> float:
        return self._heap[0][0] if self._heap else math.inf

    def end(self) -> tuple[float, str]:
        _, _, started, outcome = heapq.heappop(self._heap)
        return started, outcome


class Fast(_Ends):
    """Answers after the same time however many there are."""

    def __init__(self, random: Random, latency: float = 0.05, jitter: Jitter = constant) -> None:
        super().__init__()
        self.random, self.latency, self.jitter = random, latency, jitter

    def start(self, now: float) -> None:
        self.put(now + self.latency * self.jitter(self.random), now, "ok")


class Limited(_Ends):
    """So many workers; the others wait in a line, or are refused where that is full."""

    def __init__(
        self,
        random: Random,
        workers: int = 40,
        service: float = 0.05,
        jitter: Jitter = constant,
        room: float = math.inf,
    ) -> None:
        super().__init__()
        self.random, self.jitter = random, jitter
        self.workers, self.service, self.room = workers, service, room
        self.busy = 0
        self.line: deque[float] = deque()

    def start(self, now: float) -> None:
        if self.busy < self.workers:
            self._serve(now, now)
        elif len(self.line) < self.room:
            self.line.append(now)
        else:
            self.put(now + self.service / 10, now, "overload")

    def _serve(self, now: float, started: float) -> None:
        self.busy += 1
        self.put(now + self.service * self.jitter(self.random), started, "ok")

    def end(self) -> tuple[float, str]:
        now = self.next_end()
        started, outcome = super().end()
        if outcome == "ok":
            self.busy -= 1
            while self.line and self.busy < self.workers:
                self._serve(now, self.line.popleft())
        return started, outcome


class Degrading:
    """All are served at once, each the slower the more there are.

    Args:
        slowness: by how much longer a request takes when there are n of them all the time.
    """

    def __init__(
        self,
        random: Random,
        slowness: Callable[[float], float],
        service: float = 0.05,
        jitter: Jitter = constant,
    ) -> None:
        self.random, self.jitter = random, jitter
        self.slowness, self.service = slowness, service
        #: Work done for each of those present since the beginning, and when that was so.
        self._done, self._at = 0.0, 0.0
        self._heap: list[tuple[float, int, float]] = []
        self._number = itertools.count()

    def _pace(self) -> float:
        """Work per second."""
        return 1.0 / (self.service * self.slowness(len(self._heap)))

    def _go_on(self, now: float) -> None:
        if self._heap:
            self._done += (now - self._at) * self._pace()
        self._at = now

    def start(self, now: float) -> None:
        self._go_on(now)
        work = self._done + self.jitter(self.random)
        heapq.heappush(self._heap, (work, next(self._number), now))

    def next_end(self) -> float:
        if not self._heap:
            return math.inf
        return self._at + max(self._heap[0][0] - self._done, 0.0) / self._pace()

    def end(self) -> tuple[float, str]:
        self._go_on(self.next_end())
        return heapq.heappop(self._heap)[2], "ok"


def square(knee: float) -> Callable[[float], float]:
    """Throughput is greatest with `knee` requests, and falls as slowly as it rose."""
    return lambda n: 1 + (n / knee) ** 2


def thrashing(knee: float) -> Callable[[float], float]:
    """As fast as can be up to a knee, then with the cube of the excess: memory that is swapped."""
    return lambda n: max(1.0, n / knee) ** 3


def universal(contention: float, coherence: float) -> Callable[[float], float]:
    """Gunther's universal scalability law: what waits for locks, and what tells all others."""
    return lambda n: 1 + contention * (n - 1) + coherence * n * (n - 1)


class Fixed:
    """A level that stays as it is."""

    def __init__(self, limit: int) -> None:
        self.limit = limit

    def on_end(self, now: float, latency: float, outcome: str, in_flight: int) -> None:
        pass


@dataclass
class Flaky:
    """A server some of whose requests end without an answer, whatever the level.

    Args:
        share: how many of them.
        down: seconds from and to which none is answered.
        refusal: seconds that it takes to fail.
    """

    server: Any
    random: Random
    share: float = 0.0
    down: tuple[float, float] = (math.inf, math.inf)
    refusal: float = 0.002
    _failing: _Ends = field(default_factory=_Ends)

    def start(self, now: float) -> None:
        if self.down[0] <= now < self.down[1] or self.random.random() < self.share:
            self._failing.put(now + self.refusal, now, "error")
        else:
            self.server.start(now)

    def next_end(self) -> float:
        return min(self._failing.next_end(), self.server.next_end())

    def end(self) -> tuple[float, str]:
        if self._failing.next_end() <= self.server.next_end():
            return self._failing.end()
        return self.server.end()


@dataclass
class Outcome:
    """What came of a run.

    Attributes:
        ends: (when, how) of each request.
        levels: (when, level) whenever it changed, beginning with the first.
        seconds: how long it took.
    """

    seconds: float
    ends: list[tuple[float, str]] = field(default_factory=list)
    levels: list[tuple[float, int]] = field(default_factory=list)

    def count(self, outcome: str, since: float = 0.0, until: float = math.inf) -> int:
        return sum(1 for when, how in self.ends if how == outcome and since <= when < until)

    def throughput(self, since: float = 0.0, until: float | None = None) -> float:
        """Answers per second."""
        until = self.seconds if until is None else until
        return self.count("ok", since, until) / (until - since)

    def _pieces(self, since: float, until: float) -> list[tuple[float, int]]:
        """(seconds, level)"""
        ends = [when for when, _ in self.levels[1:]] + [self.seconds]
        return [
            (min(end, until) - max(start, since), level)
            for (start, level), end in zip(self.levels, ends)
            if min(end, until) > max(start, since)
        ]

    def level(self, since: float = 0.0, until: float | None = None) -> float:
        """The mean level, by time."""
        pieces = self._pieces(since, self.seconds if until is None else until)
        return sum(seconds * level for seconds, level in pieces) / sum(s for s, _ in pieces)

    def variation(self, since: float = 0.0, until: float | None = None) -> float:
        """The levels' coefficient of variation, by time."""
        pieces = self._pieces(since, self.seconds if until is None else until)
        mean = self.level(since, until)
        spread = sum(seconds * (level - mean) ** 2 for seconds, level in pieces)
        return math.sqrt(spread / sum(s for s, _ in pieces)) / mean

    def reached(self, level: int, since: float = 0.0) -> float:
        """When the level was first as high."""
        return next(
            (max(when, since) for when, each in self.levels if each >= level and when >= since),
            math.inf,
        )

    @property
    def highest(self) -> int:
        return max(level for _, level in self.levels)


def simulate(
    server: Server,
    limit: Any,
    seconds: float,
    *,
    cap: float = math.inf,
    changes: tuple[tuple[float, Callable[[], None]], ...] = (),
) -> Outcome:
    """Keep a server busy for some time, as much as the level allows.

    Args:
        server: that is asked.
        limit: an `AdaptiveLimit`, or a `Fixed` one.
        seconds: for how long.
        cap: how many requests the client has at once at most, whatever the level.
        changes: (when, function): what happens to the server.
    """
    outcome = Outcome(seconds, levels=[(0.0, limit.limit)])
    pending = deque(changes)
    now, in_flight = 0.0, 0
    while True:
        while in_flight < limit.limit and in_flight < cap:
            server.start(now)
            in_flight += 1
        upcoming = server.next_end()
        if pending and pending[0][0] <= upcoming:
            pending.popleft()[1]()
            continue
        if upcoming >= seconds:
            return outcome
        now = upcoming
        started, how = server.end()
        outcome.ends.append((now, how))
        limit.on_end(now, now - started, how, in_flight)
        in_flight -= 1
        if limit.limit != outcome.levels[-1][1]:
            outcome.levels.append((now, limit.limit))
