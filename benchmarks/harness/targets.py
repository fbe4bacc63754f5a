"""The targets of this project, as data, and the verdict on each.

A ratio is the median of the ratios of the single rounds, because the two runs of a round were made
within seconds of each other and the rounds were not.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .summary import Summary

Measure = Callable[[Summary], float | None]


@dataclass(frozen=True)
class Target:
    """A limit in a scenario. ``at_least`` turns it around."""

    scenario: str
    text: str
    limit: float
    measure: Measure
    unit: str = "x"
    at_least: bool = False

    def verdict(self, summary: Summary) -> dict[str, Any]:
        """Target, measured value, and whether it was met (None: not measured)."""
        measured = self.measure(summary)
        met = None
        if measured is not None:
            met = measured >= self.limit if self.at_least else measured <= self.limit
        return {
            "scenario": self.scenario,
            "target": self.text,
            "limit": self.limit,
            "measured": measured,
            "unit": self.unit,
            "met": met,
        }


def cpu_ratio(scenario: str, library: str) -> Measure:
    """Our CPU per request over that of another library."""
    return lambda summary: summary.ratio(
        "cpu_us", (scenario, "grequests", "cpu"), (scenario, library, "cpu")
    )


def throughput_kept(summary: Summary) -> float | None:
    """Requests per second at 1,000 at a time over those at 50."""
    return summary.ratio(
        "per_second", ("keepalive-1000", "grequests", "cpu"), ("keepalive-50", "grequests", "cpu")
    )


def memory_growth_mb(summary: Summary) -> float | None:
    """How much more memory a million requests take than a thousand, in MB."""
    growth = summary.difference(
        "rss_peak_kb", ("million", "grequests", "many"), ("million", "grequests", "few")
    )
    return None if growth is None else growth / 1024


def memory_of_each(summary: Summary) -> float | None:
    """KB of memory for each of the slow responses."""
    return summary.memory_of_each("slow-5000", "grequests")


def import_ratio(summary: Summary) -> float | None:
    """Our import over that of Requests and gevent: medians, as single imports are not paired."""
    return summary.ratio_of_medians(
        "wall", ("import", "grequests", "grequests"), ("import", "grequests", "requests+gevent")
    )


def single_ratio(summary: Summary) -> float | None:
    """``map`` of one request over ``get`` of a Session that is kept, the cheaper of the two."""
    return summary.ratio(
        "cpu_us", ("single", "grequests", "map"), ("single", "grequests", "session")
    )


def ratio_target(scenario: str, limit: float, library: str, shown: str = "") -> Target:
    """A target for CPU per request against another library."""
    text = f"CPU per request at most {shown or limit} x {library}"
    return Target(scenario, text, limit, cpu_ratio(scenario, library))


TARGETS: tuple[Target, ...] = (
    ratio_target("keepalive-50", 0.9, "pycurl"),
    ratio_target("keepalive-50", 0.5, "wreq"),
    ratio_target("keepalive-50", 1 / 40, "grequests07", "1/40"),
    ratio_target("keepalive-50", 2.2, "floor"),
    ratio_target("keepalive-1000", 0.7, "pycurl"),
    Target(
        "keepalive-1000",
        "throughput at least 0.9 of that at 50",
        0.9,
        throughput_kept,
        at_least=True,
    ),
    ratio_target("json-9k", 1.1, "pycurl"),
    ratio_target("https-50", 0.9, "pycurl"),
    ratio_target("https-500-hosts", 1 / 50, "grequests07", "1/50"),
    ratio_target("https-500-hosts", 1.2, "pycurl"),
    ratio_target("body-1mb-20", 1.3, "pycurl"),
    Target(
        "million", "peak RSS at most 30 MB over that of 1,000 requests", 30, memory_growth_mb, "MB"
    ),
    Target("slow-5000", "all served, at most 15 KB of RSS each", 15, memory_of_each, "KB"),
    Target("import", "at most 1.3 x the time of requests + gevent", 1.3, import_ratio),
    Target("single", "`map` of one at most 1.2 x `Session().get` in CPU", 1.2, single_ratio),
)


def verdicts(summary: Summary, scenarios: set[str]) -> list[dict[str, Any]]:
    """The verdict on every target of the scenarios that ran."""
    return [target.verdict(summary) for target in TARGETS if target.scenario in scenarios]
