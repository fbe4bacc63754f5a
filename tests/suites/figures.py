"""The figures of the last run of each package's suite, as the table in docs/compatibility.md.

python tests/suites/figures.py            print it
python tests/suites/figures.py --write    put it into docs/compatibility.md, between its markers
"""

from __future__ import annotations

import json
import sys
from importlib.metadata import version
from typing import Any

import compare
from environment import FOLDER, ROOT
from packages import PACKAGES
from table import REASONS

_DOCUMENT = ROOT / "docs" / "compatibility.md"
_WAYS = ("plain", "general", "fast")
_BEGIN, _END = "<!-- suites of packages -->", "<!-- end of suites of packages -->"


def table() -> str:
    """Markdown: a row for each suite that has been run."""
    lines = [
        "| package | version | tests | plain Requests | general lane | fast lane | differences |",
        "|---|---|---:|---|---|---|---|",
    ]
    lines += [row for row in map(_row, sorted(PACKAGES)) if row is not None]
    return "\n".join(lines)


def _row(name: str) -> str | None:
    ways = ("plain", *PACKAGES[name].ways)
    ran = {way: _results(name, way) for way in ways}
    if None in ran.values():
        return None
    package = PACKAGES[name].package
    cells = [
        package,
        version(package),
        str(len(ran["plain"]["tests"])),
        *(_outcome(ran[way]["tests"]) if way in ran else "" for way in _WAYS),
        _differences(name, ran),
    ]
    return f"| {' | '.join(cells)} |"


def _results(name: str, way: str) -> Any:
    path = FOLDER / "results" / f"{name}-{way}.json"
    return json.loads(path.read_text()) if path.exists() else None


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


def write() -> None:
    """Replace what stands between the markers."""
    before, _, rest = _DOCUMENT.read_text().partition(_BEGIN)
    _, _, after = rest.partition(_END)
    _DOCUMENT.write_text(f"{before}{_BEGIN}\n{table()}\n{_END}{after}")


if __name__ == "__main__":
    if sys.argv[1:] == ["--write"]:
        write()
    else:
        print(table())
