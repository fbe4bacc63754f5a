"""One call of one function fails, of all calls that thirty requests make; then the next one, and so on.

The scenario is run once to count the calls. Then it is run again for each of them, with that call
failing. Whatever fails: nothing hangs, each request has exactly one outcome, which is a typed error or
its own answer, nothing is left behind, and the next request is as good as any.

`make test` takes some calls of each kind, with its faults in turns; `make torture` takes all calls with
all their faults, and prints the table that docs/reliability.md shows.
"""

from __future__ import annotations

import os
from collections import Counter

import pytest

from .faults import FAULTS, Fault
from .rack import Rack
from .report import Report

FULL = os.environ.get("GREQUESTS_TORTURE") == "full"
#: The short form takes the first call of each kind, and then every so many.
STRIDES = {"fast": 4, "general": 8}


def plan(counts: Counter[str], stride: int) -> list[tuple[str, int, Fault]]:
    """Each call with each fault; in the short form, some calls with one of them in turn."""
    planned = []
    for kind, count in sorted(counts.items()):
        faults = FAULTS[kind]
        if FULL:
            planned += [(kind, number, each) for number in range(1, count + 1) for each in faults]
            continue
        for turn, number in enumerate(range(1, count + 1, stride)):
            planned.append((kind, number, faults[turn % len(faults)]))
    return planned


#: A MemoryError in the middle of urllib3 leaves a socket to its destructor.
LEFT = pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")


@pytest.mark.timeout(7200 if FULL else 240)
@pytest.mark.parametrize("lane", ["fast", pytest.param("general", marks=LEFT)])
def test_each_call_may_fail(lane, world, ca_file, tmp_path, capsys):
    with Rack(world, lane, ca_file, tmp_path).ready() as rack:
        counts = rack.count()
        report = Report(lane, counts)
        for kind, number, fault in plan(counts, STRIDES[lane]):
            report.note(kind, rack.suffer(kind, number, fault))
        report.cycles = rack.traces.cycles
    if FULL:
        with capsys.disabled():
            print(report.table())
