"""The table of what was tortured, and what came of it."""

from __future__ import annotations

from collections import Counter


class Report:
    """What came of the runs of one lane.

    Attributes:
        runs: how many runs in which the call that was to fail was made.
        missed: how many in which it was not: the next run made fewer calls.
        cycles: as of `Traces`.
    """

    def __init__(self, lane: str, counts: Counter[str]) -> None:
        self.cycles = 0
        self._lane = lane
        self._counts = counts
        self._runs: Counter[str] = Counter()
        self._missed: Counter[str] = Counter()
        self._outcomes: dict[str, Counter[str]] = {}

    def note(self, kind: str, outcomes: Counter[str]) -> None:
        """One run; no outcomes at all if the call was not made."""
        if not outcomes:
            self._missed[kind] += 1
            return
        self._runs[kind] += 1
        self._outcomes.setdefault(kind, Counter()).update(outcomes)

    def table(self) -> str:
        """In Markdown."""
        names = sorted({name for each in self._outcomes.values() for name in each} - {"response"})
        head = ["call", "calls", "runs", "not made", "responses", *names]
        lines = [
            f"\n### {self._lane} lane\n",
            _row(head),
            _row(["---", *["---:"] * (len(head) - 1)]),
        ]
        for kind in sorted(self._counts):
            found = self._outcomes.get(kind, Counter())
            figures = [self._counts[kind], self._runs[kind], self._missed[kind], found["response"]]
            lines.append(_row([kind, *figures, *(found[name] for name in names)]))
        total = sum(self._outcomes.values(), Counter())
        sums = [self._counts.total(), self._runs.total(), self._missed.total(), total["response"]]
        lines.append(_row(["all", *sums, *(total[name] for name in names)]))
        lines.append(
            f"\nSockets that were closed by the garbage collector only: {self.cycles} runs."
        )
        return "\n".join(lines)


def _row(cells) -> str:
    return (
        "| " + " | ".join(f"{each:,}" if isinstance(each, int) else each for each in cells) + " |"
    )
