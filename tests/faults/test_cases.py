"""Each fault, each way: see `harness` for the four questions, `framing` and the others for the faults."""

from __future__ import annotations

import pytest

from . import bodies, framing, heads, mixing, redirecting
from .harness import WAYS, suffer

CASES = [
    *framing.CASES,
    *heads.CASES,
    *mixing.CASES,
    *bodies.CASES,
    *redirecting.CASES,
]
PAIRS = [
    pytest.param(case, way, id=f"{case}-{way}")
    for case in CASES
    for way in WAYS
    if not case.ways or str(way) in case.ways
]


@pytest.mark.parametrize(("case", "way"), PAIRS)
def test_fault(no_leaks, case, way, tls, ca_file):
    suffer(case, way, tls, ca_file)
