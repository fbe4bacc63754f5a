"""What a client has seen so far: counters, and frozen snapshots of them.

Knows numbers and names; nothing of who counts.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from ._explain import explain, summary
from ._histogram import Histogram, Latency

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ._admission import Host

__all__ = ["Counters", "HostStatistics", "Latency", "Statistics", "table"]

#: Notes that are counted together.
_MANY: Final = 1024
#: Hosts in a snapshot: the busiest.
MAX_ROWS: Final = 100


@dataclass(frozen=True)
class HostStatistics:
    """One host of a client.

    Attributes:
        queued: requests that wait for it.
        in_flight: attempts under way.
        done: requests that have ended.
        failed: those of them without a response.
        limit: attempts there may be at once; with "auto", the level found so far.
    """

    queued: int
    in_flight: int
    done: int
    failed: int
    limit: float


@dataclass(frozen=True)
class Statistics:
    """A snapshot of a client.

    Attributes:
        queued: requests that have been pulled from the input and wait: for a slot, a host, a rate
            or their next attempt.
        in_flight: attempts under way.
        done: requests that have ended.
        succeeded: those of them with a response, whatever its status.
        failed: the others, by kind of failure.
        statuses: responses by status.
        retries: attempts after the first.
        received: bytes of bodies, as decoded.
        opened: connections made.
        reused: requests that were sent on a connection which had served before.
        idle: connections without a request.
        hosts: the busiest hosts, at most 100.
        latency: seconds from dispatch to end of the attempts that were answered.
        paused: hosts that have asked for a pause (Retry-After).
        open_circuits: hosts that are left alone because they kept failing.
        elapsed: seconds since the first run began.
        expected: how many requests there will be, if that is known.
    """

    queued: int
    in_flight: int
    done: int
    succeeded: int
    failed: Mapping[str, int]
    statuses: Mapping[int, int]
    retries: int
    received: int
    opened: int
    reused: int
    idle: int
    hosts: Mapping[str, HostStatistics]
    latency: Latency
    paused: tuple[str, ...]
    open_circuits: tuple[str, ...]
    elapsed: float
    expected: int | None

    def __str__(self) -> str:
        """A line or two for people, and the sentence of `explain`."""
        return "\n".join(filter(None, (summary(self), self.explain())))

    def explain(self) -> str:
        """Why so much has failed, in one sentence; "" if nothing has.

        Example:
            >>> print(client.statistics().explain())  # doctest: +SKIP
            412 of 5,000 failed: 390 could not resolve names; is DNS reachable?
        """
        return explain(self)

    @property
    def failures(self) -> int:
        """Requests that ended without a response."""
        return sum(self.failed.values())

    @property
    def rate(self) -> float:
        """Requests that have ended per second."""
        return self.done / self.elapsed if self.elapsed > 0 else 0.0


class Counters:
    """What grows as a client works."""

    __slots__ = (
        "_histogram",
        "_received",
        "failed",
        "latencies",
        "pulled",
        "retries",
        "sizes",
        "statuses",
    )

    def __init__(self) -> None:
        self.pulled = self.retries = self._received = 0
        self.failed: Counter[str] = Counter()
        self.statuses: defaultdict[int, int] = defaultdict(int)
        #: Seconds of attempts, and bytes of bodies, that are still to be counted: many at a time
        #: are cheaper than each by itself. (No tuples: they would be for the garbage collector.)
        self.latencies: list[float] = []
        self.sizes: list[int] = []
        self._histogram = Histogram()

    def tidy(self) -> None:
        """Count what has been noted, if it is much."""
        if len(self.latencies) >= _MANY:
            self._count()

    def _count(self) -> None:
        self._received += sum(self.sizes)
        self.sizes.clear()
        self._histogram.add_all(self.latencies)
        self.latencies.clear()

    def latency(self) -> Latency:
        """A summary of the latencies."""
        self._count()
        return self._histogram.snapshot()

    @property
    def received(self) -> int:
        """Bytes of bodies, as decoded."""
        self._count()
        return self._received

    def receive(self, size: int) -> None:
        """So many more bytes have come."""
        self._received += size

    @property
    def succeeded(self) -> int:
        """Requests that ended with a response."""
        return sum(self.statuses.values())

    @property
    def done(self) -> int:
        """Requests that have ended."""
        return self.succeeded + sum(self.failed.values())


def table(hosts: list[Host]) -> Mapping[str, HostStatistics]:
    """The rows of the first hosts of a list."""
    return MappingProxyType(
        {
            host.key: HostStatistics(host.queued, host.active, host.done, host.failed, host.limit)
            for host in hosts[:MAX_ROWS]
        }
    )


for _class in (HostStatistics, Statistics):
    _class.__module__ = "grequests"
