"""The figures of the last full runs, as they stand in docs/compatibility.md.

    python tests/suites/figures.py            print the packages' table
    python tests/suites/figures.py --write    put all figures into docs/compatibility.md

They stand between `<!-- suite NAME -->` and `<!-- end of suite NAME -->`, those of all packages
together between `<!-- suites of packages -->` and its end. Nobody else writes there, and what was
not run in this checkout stays as it is.
"""

from __future__ import annotations

import json
import re
import sys
from collections import Counter
from typing import Any

import compare
from environment import FOLDER, ROOT
from packages import PACKAGES
from table import REASONS, SUITES

DOCS = ROOT / "docs" / "compatibility.md"
_WAYS = ("plain", "general", "fast")
_PLACE = re.compile(r"(<!-- (suites? .*?) -->\n).*?(<!-- end of \2 -->)", re.DOTALL)


def write() -> None:
    """Put the figures into the docs."""
    text = DOCS.read_text(encoding="utf-8")
    DOCS.write_text(_PLACE.sub(_replaced, text), encoding="utf-8")


def _replaced(match: re.Match[str]) -> str:
    begin, what, end = match.groups()
    shown = table() if what == "suites of packages" else _of_one(what.removeprefix("suite "))
    return match[0] if shown is None else f"{begin}{shown}\n{end}"


def _runs(name: str) -> dict[str, Any]:
    """The last runs of a suite, by way; nothing unless there is one of each."""
    paths = {
        way: FOLDER / "results" / f"{name}-{way}.json" for way in ("plain", *SUITES[name].ways)
    }
    if not all(path.exists() for path in paths.values()):
        return {}
    return {way: json.loads(path.read_text()) for way, path in paths.items()}


# --- one suite -----------------------------------------------------------------------------------


def _of_one(name: str) -> str | None:
    runs = _runs(name)
    if not runs:
        return None
    plain = runs["plain"]
    lines = [
        f"The tests of {plain['of']}, on Python {plain['python']}:",
        "",
        compare.table((way, compare.count(run["tests"])) for way, run in runs.items()),
    ]
    for way, run in runs.items():
        if way != "plain":
            lines += ["", *_told(name, way, plain["tests"], run)]
    return "\n".join([*lines, ""])


def _told(name: str, way: str, plain: compare.Tests, run: dict[str, Any]) -> list[str]:
    lanes = run["totals"].get("lanes") or {}
    told = ", ".join(f"{number} {_LANES.get(lane, lane)}" for lane, number in lanes.items())
    found = compare.differences(plain, run["tests"])
    lines = [f"*{way}*: {told}. {_number(found)}"]
    reasons = Counter(REASONS.get((name, way, each.test), "No reason given.") for each in found)
    if reasons:
        lines.append("")
    lines += [f"- {number} × {why}" for why, number in reasons.items()]
    return lines


_LANES = {
    "fast": "requests by the fast lane",
    "general": "by the general lane",
    "prepared": "prepared ones (`Session.send`) by the general lane",
    "inner": "by a `request` or `send` of somebody's own, its rest by the general lane",
    "green sockets": "green sockets dialled",
    "stock sockets": "left to urllib3, as somebody watched",
}


def _number(found: list[compare.Difference]) -> str:
    if not found:
        return "Each test ends as on plain Requests."
    verb = "test ends" if len(found) == 1 else "tests end"
    return f"{len(found)} {verb} otherwise than on plain Requests, for these reasons:"


# --- the packages --------------------------------------------------------------------------------


def table() -> str | None:
    """Markdown: a row for each package's suite that has been run; None if none has."""
    rows = [row for row in map(_row, sorted(PACKAGES)) if row is not None]
    if not rows:
        return None
    head = [
        "| package | tests | plain Requests | general lane | fast lane | differences |",
        "|---|---:|---|---|---|---|",
    ]
    return "\n".join([*head, *rows])


def _row(name: str) -> str | None:
    ran = _runs(name)
    if not ran:
        return None
    cells = [
        ran["plain"].get("of", PACKAGES[name].package),
        str(len(ran["plain"]["tests"])),
        *(_outcome(ran[way]["tests"]) if way in ran else "" for way in _WAYS),
        _differences(name, ran),
    ]
    return f"| {' | '.join(cells)} |"


def _outcome(tests: compare.Tests) -> str:
    counts = compare.count(tests)
    return ", ".join(f"{number} {outcome}" for outcome, number in counts.items() if number)


def _differences(name: str, ran: dict[str, Any]) -> str:
    found = [
        (way, each)
        for way in ran
        for each in compare.differences(ran["plain"]["tests"], ran[way]["tests"])
    ]
    if not found:
        return "none"
    reasons = dict.fromkeys(
        REASONS.get((name, way, each.test), f"{each} ({way})" if each.is_worse else "better")
        for way, each in found
    )
    return "; ".join(reasons)


if __name__ == "__main__":
    if sys.argv[1:] == ["--write"]:
        write()
    else:
        print(table())
