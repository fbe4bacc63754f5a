"""Latencies in bounded memory: counts in buckets that grow with what they hold.

The idea is that of DDSketch (Masson, Rim, Lee: "DDSketch: a fast and fully-mergeable quantile
sketch with relative-error guarantees", VLDB 2019): with bounds that are powers of one number, each
bucket has a value from which nothing in it is farther than a fixed share. It may not know: whose
latencies they are, clocks.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from dataclasses import dataclass
from itertools import accumulate
from math import log
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["ERROR", "Histogram", "Latency"]

#: The largest relative error of a quantile between `_LEAST` and `_MOST`.
ERROR: Final = 0.01
#: Seconds between which values have buckets of their own. What lies beyond is counted in the first
#: or last of them; a loopback needs 50 us, and nobody waits for three hours.
_LEAST: Final = 1e-6
_MOST: Final = 1e4
#: By which bounds grow: from 2 g / (1 + g) times a lower bound both bounds are `ERROR` away.
_GROWTH: Final = (1 + ERROR) / (1 - ERROR)
#: Bucket of a value x: ``int(log(x) * _SCALE + _SHIFT)``, at least 0 from `_LEAST` on.
_SCALE: Final = 1 / log(_GROWTH)
_SHIFT: Final = 1 - log(_LEAST) * _SCALE
_BUCKETS: Final = int(log(_MOST) * _SCALE + _SHIFT) + 2
#: Counts times a share are not exact: 0.07 * 100 is no more than 7.
_DUST: Final = 1e-12


@dataclass(frozen=True)
class Latency:
    """A snapshot of latencies, in seconds. All but the count are nan when there are none.

    Attributes:
        count: how many.
        minimum: the shortest.
        mean: their sum by their count.
        maximum: the longest.
        p50: which half of them did not exceed; like the next, right within 1 %.
        p90: which 90 % did not exceed.
        p99: which 99 % did not exceed.
        p999: which 99.9 % did not exceed.

    Example:
        >>> grequests.Latency(2, 0.1, 0.2, 0.3, 0.1, 0.3, 0.3, 0.3).maximum
        0.3
    """

    count: int
    minimum: float
    mean: float
    maximum: float
    p50: float
    p90: float
    p99: float
    p999: float


class Histogram:
    """Counts latencies, and tells their quantiles within 1 %.

    It takes about 10 KB, however much is added. Minimum, maximum and mean are exact.

    Example:
        >>> histogram = Histogram()
        >>> for milliseconds in range(1, 101):
        ...     histogram.add(milliseconds / 1000)
        >>> round(histogram.quantile(0.5), 2)
        0.05
    """

    __slots__ = ("_counts", "_high", "_low", "_maximum", "_minimum", "_total")

    def __init__(self) -> None:
        self._counts = [0] * _BUCKETS
        self._total = 0.0
        self._minimum = math.inf
        self._maximum = -math.inf
        #: Minimum and maximum, within the buckets: between them `add` has nothing to do but count.
        self._low = math.inf
        self._high = -math.inf

    def __repr__(self) -> str:
        return f"<Histogram count={self.count} p50={self.quantile(0.5):.4g}>"

    def add(self, seconds: float) -> None:
        """Count one. This runs for each request, so it is all in one place: 0.25 us."""
        self._total += seconds
        if seconds < self._low or seconds > self._high:
            self._widen(seconds)
            if not _LEAST <= seconds <= _MOST:
                seconds = min(max(seconds, _LEAST), _MOST)
        self._counts[int(log(seconds) * _SCALE + _SHIFT)] += 1

    def add_all(self, latencies: Sequence[float]) -> None:
        """Count many: half as dear for each as one by one."""
        if not latencies:
            return
        low, high = min(latencies), max(latencies)
        self._total += sum(latencies)
        self._widen(low)
        self._widen(high)
        if low < _LEAST or high > _MOST:
            latencies = [min(max(each, _LEAST), _MOST) for each in latencies]
        counts = self._counts
        for each in latencies:
            counts[int(log(each) * _SCALE + _SHIFT)] += 1

    def _widen(self, seconds: float) -> None:
        self._minimum = min(self._minimum, seconds)
        self._maximum = max(self._maximum, seconds)
        self._low = max(self._minimum, _LEAST)
        self._high = min(self._maximum, _MOST)

    def merge(self, other: Histogram) -> None:
        """Count all that another one has counted, as if it had been added here."""
        self._counts = [mine + theirs for mine, theirs in zip(self._counts, other._counts)]  # noqa: B905 - as many
        self._total += other._total
        if other._minimum <= other._maximum:
            self._widen(other._minimum)
            self._widen(other._maximum)

    @property
    def count(self) -> int:
        """How many there are."""
        return sum(self._counts)

    @property
    def minimum(self) -> float:
        """The shortest, in seconds; nan if there is none."""
        return self._minimum if self._minimum <= self._maximum else math.nan

    @property
    def maximum(self) -> float:
        """The longest, in seconds; nan if there is none."""
        return self._maximum if self._minimum <= self._maximum else math.nan

    @property
    def mean(self) -> float:
        """Their sum by their count, in seconds; nan if there is none."""
        count = self.count
        return self._total / count if count else math.nan

    def quantile(self, q: float) -> float:
        """The shortest latency that at least this share of them did not exceed, within 1 %.

        Args:
            q: from 0 (the minimum) to 1 (the maximum).

        Returns:
            Seconds; nan if there are none.

        Raises:
            ValueError: there is no such share.
        """
        return self._quantiles(q)[0]

    def _quantiles(self, *shares: float) -> list[float]:
        if not all(0 <= share <= 1 for share in shares):
            message = "a quantile lies between 0 and 1"
            raise ValueError(message)
        sums = list(accumulate(self._counts))
        count = sums[-1]
        if not count:
            return [math.nan] * len(shares)
        return [self._ranked(sums, _rank(share, count)) for share in shares]

    def _ranked(self, sums: list[int], rank: int) -> float:
        """About the value of a rank, from 1."""
        if rank == 1:
            return self._minimum
        if rank == sums[-1]:
            return self._maximum
        value = _value(bisect_left(sums, rank))
        return min(max(value, self._minimum), self._maximum)

    def snapshot(self) -> Latency:
        """All there is to tell, frozen."""
        count = self.count
        quantiles = self._quantiles(0.5, 0.9, 0.99, 0.999)
        mean = self._total / count if count else math.nan
        return Latency(count, self.minimum, mean, self.maximum, *quantiles)


def _rank(share: float, count: int) -> int:
    """Which of so many in order, from 1: the first that at least this share does not exceed."""
    return max(1, math.ceil(share * count * (1 - _DUST)))


def _value(bucket: int) -> float:
    """What stands for all in a bucket: no farther than `ERROR` from both of its bounds."""
    lower = math.exp((bucket - _SHIFT) / _SCALE)
    return lower * 2 * _GROWTH / (1 + _GROWTH)


Latency.__module__ = "grequests"
