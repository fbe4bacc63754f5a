"""The table of docs/reliability.md, made of the cases. `python -m faults.table` in tests/ writes it."""

from __future__ import annotations

import pathlib
from collections.abc import Iterator
from itertools import groupby
from typing import NamedTuple

from . import proxies, routes, tls_faults, tls_later
from .framing import IN_CHUNKS
from .harness import Bad, Outcome, Part
from .test_cases import CASES

PAGE = pathlib.Path(__file__).parents[2] / "docs" / "reliability.md"
BEGIN, END = "<!-- cases -->\n", "<!-- end of cases -->\n"


class Row(NamedTuple):
    """A line of the table; `general` is empty where the general lane's outcome is the same."""

    area: str
    name: str
    fast: str
    general: str


def rows() -> Iterator[Row]:
    """Of all cases that are data."""
    for case in CASES:
        yield Row(case.area, case.name, told(case.fast), of_lanes(case.fast, case.general))
    for fault in (*tls_faults.FAULTS, *tls_later.LATER):
        yield Row(
            "TLS", str(fault.name), told(fault.outcome), of_lanes(fault.outcome, fault.general)
        )
    for route in routes.ROUTES:
        fast, general = told_route(route.fast), told_route(route.general)
        yield Row("names and routes", route.name, fast, "" if fast == general else general)
    for fault in proxies.FAULTS:
        name = fault.name if fault.scheme == "https" else f"http: {fault.name}"
        yield Row(proxies.AREA, name, told(fault.fast), of_lanes(fault.fast, fault.general))


def of_lanes(fast: Outcome, general: Outcome | None) -> str:
    return "" if general is None or general == fast else told(general)


def told(outcome: Outcome) -> str:
    """An outcome in a cell."""
    if isinstance(outcome, Bad):
        name = outcome.error.__name__
        if outcome.error is TimeoutError:
            name = "TotalTimeoutError"
        if outcome.kind == "too large":
            name = "BodyTooLargeError"
        return told_error(outcome.kind, name)
    if isinstance(outcome, Part):
        return "what there is of it"
    if outcome.body == IN_CHUNKS:
        return "answer, with the chunks' sizes in its body"
    status = "" if outcome.status == 200 else f" {outcome.status}"
    return f"answer{status}"


def told_error(kind: str, name: str) -> str:
    shown = "" if name == "RequestException" else f" (`{name}`)"
    return f"{kind}{shown}"


def told_route(outcome: tuple[str, str] | None) -> str:
    return "answer" if outcome is None else told_error(*outcome)


def table() -> str:
    lines = []
    for area, each in groupby(rows(), key=lambda row: row.area):
        lines += [
            f"\n### {area}\n",
            "| what happens | fast lane | general lane |",
            "|---|---|---|",
        ]
        for row in each:
            name = row.name.replace("|", "\\|")
            general = f"**{row.general}**" if row.general else "the same"
            lines.append(f"| {name} | {row.fast} | {general} |")
    return "\n".join(lines) + "\n"


def page(text: str) -> str:
    """A page with its table made anew."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return before + BEGIN + table() + "\n" + END + after


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text()))
