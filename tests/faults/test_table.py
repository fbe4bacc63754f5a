"""The page on reliability says what the tests say."""

from __future__ import annotations

from .table import PAGE, page
from .test_cases import CASES


def test_the_table_is_that_of_the_cases():
    text = PAGE.read_text()
    assert page(text) == text, "run `python -m faults.table` in tests/"


def test_no_two_cases_have_one_name():
    names = [(case.area, case.name) for case in CASES]
    assert len(set(names)) == len(names)
