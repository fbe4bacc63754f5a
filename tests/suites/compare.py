"""What came of the same tests in two ways of running them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

#: In the order in which tables show them.
OUTCOMES = ("passed", "failed", "error", "skipped", "xfailed", "xpassed")

Tests = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Difference:
    """A test that ended in another way than in the plain run."""

    test: str
    plain: str
    ours: str
    detail: str = ""

    @property
    def is_worse(self) -> bool:
        """Anything but a test that passes now."""
        return self.ours != "passed"

    def __str__(self) -> str:
        detail = f": {self.detail}" if self.detail else ""
        return f"{self.test}: {self.plain} in plain, {self.ours} here{detail}"


def differences(plain: Tests, ours: Tests) -> list[Difference]:
    """The tests whose outcome differs, in the order of the plain run; new ones last."""
    found = []
    for test in [*plain, *(each for each in ours if each not in plain)]:
        before = plain.get(test, {}).get("outcome", "missing")
        after = ours.get(test, {}).get("outcome", "missing")
        if before != after:
            found.append(Difference(test, before, after, ours.get(test, {}).get("detail", "")))
    return found


def not_passed(ours: Tests) -> list[Difference]:
    """The same against a run in which everything passed or was skipped."""
    fine = {"passed", "skipped", "xfailed"}
    return [
        Difference(test, "expected to pass", each["outcome"], each["detail"])
        for test, each in ours.items()
        if each["outcome"] not in fine
    ]


def count(tests: Tests) -> dict[str, int]:
    """How many tests had which outcome."""
    counts = Counter(each["outcome"] for each in tests.values())
    return {outcome: counts[outcome] for outcome in OUTCOMES}


def table(rows: Iterable[tuple[str, Mapping[str, int]]]) -> str:
    """A table in Markdown: a row for each way, a column for each outcome that occurs."""
    rows = list(rows)
    shown = [each for each in OUTCOMES if any(counts.get(each) for _, counts in rows)]
    lines = [
        "| way | " + " | ".join(shown) + " |",
        "|---|" + "---:|" * len(shown),
        *(
            f"| {way} | " + " | ".join(str(counts.get(each, 0)) for each in shown) + " |"
            for way, counts in rows
        ),
    ]
    return "\n".join(lines)
