"""The table of docs/reliability.md, made of the cases. `python -m faults.table` in tests/ writes it."""

from __future__ import annotations

import pathlib
from itertools import groupby

from .framing import IN_CHUNKS
from .harness import Bad, Case, Outcome, Part
from .test_cases import CASES

PAGE = pathlib.Path(__file__).parents[2] / "docs" / "reliability.md"
BEGIN, END = "<!-- cases -->\n", "<!-- end of cases -->\n"


def told(case: Case, outcome: Outcome) -> str:
    """An outcome in a cell."""
    if isinstance(outcome, Bad):
        name = outcome.error.__name__
        if outcome.error.__module__ == "builtins" and name != "ValueError":
            name = "TotalTimeoutError"
        if outcome.kind == "too large":
            name = "BodyTooLargeError"
        shown = "" if name == "RequestException" else f" (`{name}`)"
        return f"{outcome.kind}{shown}"
    if isinstance(outcome, Part):
        return "**what there is of it**"
    if outcome.body == IN_CHUNKS:
        return "answer, with the chunks' sizes in its body"
    status = "" if outcome.status == 200 else f" {outcome.status}"
    return f"answer{status}"


def told_general(case: Case) -> str:
    if case.ways and not any("general" in way for way in case.ways):
        return "-"
    if case.general is None or case.general == case.fast:
        return "the same"
    made = told(case, case.general)
    return made if made.startswith("*") else f"**{made}**"


def table() -> str:
    lines = []
    for area, cases in groupby(CASES, key=lambda case: case.area):
        lines += [
            f"\n### {area}\n",
            "| what the server does | fast lane | general lane |",
            "|---|---|---|",
        ]
        for case in cases:
            name = case.name.replace("|", "\\|")
            lines.append(f"| {name} | {told(case, case.fast)} | {told_general(case)} |")
    return "\n".join(lines) + "\n"


def page(text: str) -> str:
    """A page with its table made anew."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return before + BEGIN + table() + "\n" + END + after


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text()))
