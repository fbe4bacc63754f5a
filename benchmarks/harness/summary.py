"""Medians and paired ratios from the single runs."""

from __future__ import annotations

from collections import defaultdict
from statistics import median
from typing import Any

Key = tuple[str, str, str]  # scenario, library, variant


def derived(run: dict[str, Any]) -> dict[str, float]:
    """The figures of one run that are worth a median."""
    figures = {
        name: run[name] for name in ("wall", "rss_peak_kb", "p50_ms", "p99_ms") if name in run
    }
    figures["cpu_us"] = (run["user"] + run["system"]) / run["requests"] * 1e6
    figures["per_second"] = run["requests"] / run["wall"]
    figures["requests"] = run["requests"]
    return figures


class Summary:
    """All runs that ended well, by (scenario, library, variant) and round."""

    def __init__(self, runs: list[dict[str, Any]]) -> None:
        self.figures: dict[Key, dict[str, list[tuple[int, float]]]] = defaultdict(
            lambda: defaultdict(list)
        )
        for run in runs:
            if "error" not in run:
                key = (run["scenario"], run["library"], run["variant"])
                for name, value in derived(run).items():
                    self.figures[key][name].append((run["round"], value))

    def median(self, name: str, key: Key) -> float | None:
        """The median of a figure over all rounds."""
        values = [value for _, value in self.figures.get(key, {}).get(name, [])]
        return median(values) if values else None

    def pairs(self, name: str, first: Key, second: Key) -> list[tuple[float, float]]:
        """A figure of two kinds of runs, round by round."""
        ones = dict(self.figures.get(first, {}).get(name, []))
        others = dict(self.figures.get(second, {}).get(name, []))
        return [(ones[number], others[number]) for number in sorted(ones.keys() & others.keys())]

    def ratio(self, name: str, first: Key, second: Key) -> float | None:
        """The median of the ratios of the rounds."""
        pairs = self.pairs(name, first, second)
        return median(one / other for one, other in pairs) if pairs else None

    def difference(self, name: str, first: Key, second: Key) -> float | None:
        """The median of the differences of the rounds."""
        pairs = self.pairs(name, first, second)
        return median(one - other for one, other in pairs) if pairs else None

    def ratio_of_medians(self, name: str, first: Key, second: Key) -> float | None:
        """For runs of which a round has many."""
        one, other = self.median(name, first), self.median(name, second)
        return one / other if one is not None and other is not None else None

    def memory_of_each(self, scenario: str, library: str) -> float | None:
        """KB of peak RSS that each further request costs, from a run with few and one with many."""
        few, many = (scenario, library, "few"), (scenario, library, "many")
        growth = self.difference("rss_peak_kb", many, few)
        counts = self.median("requests", many), self.median("requests", few)
        if growth is None or None in counts:
            return None
        return growth / (counts[0] - counts[1])

    def table(self) -> list[dict[str, Any]]:
        """All medians, one row for each kind of run."""
        return [
            {
                "scenario": scenario,
                "library": library,
                "variant": variant,
                "runs": len(figures["cpu_us"]),
                **{name: median(value for _, value in values) for name, values in figures.items()},
                "cpu_us_lowest": min(value for _, value in figures["cpu_us"]),
                "cpu_us_highest": max(value for _, value in figures["cpu_us"]),
            }
            for (scenario, library, variant), figures in self.figures.items()
        ]
