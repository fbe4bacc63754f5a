"""The page on reliability says what the tests say."""

from __future__ import annotations

from .table import PAGE, page, rows


def test_the_table_is_that_of_the_cases():
    text = PAGE.read_text()
    assert page(text) == text, "run `python -m faults.table` in tests/"


def test_no_two_cases_have_one_name():
    names = [(row.area, row.name) for row in rows()]
    assert len(set(names)) == len(names)
