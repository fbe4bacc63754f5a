"""The runner of others' suites: what it counts as a difference, and what it writes down."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).with_name("suites")
DOCS = Path(__file__).parents[1] / "docs" / "compatibility.md"


@pytest.fixture(autouse=True)
def _importable(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if str(FOLDER) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


def outcomes(**given):
    return {name: {"outcome": outcome, "detail": "why"} for name, outcome in given.items()}


def test_a_difference_is_any_other_outcome_and_any_test_that_is_missing():
    from compare import differences

    plain = outcomes(
        same="passed", worse="passed", better="failed", skipped="skipped", lost="passed"
    )
    ours = outcomes(same="passed", worse="failed", better="passed", skipped="passed", new="error")
    found = {each.test: (each.plain, each.ours, each.is_worse) for each in differences(plain, ours)}
    assert found == {
        "worse": ("passed", "failed", True),
        "better": ("failed", "passed", False),
        "skipped": ("skipped", "passed", False),
        "lost": ("passed", "missing", True),
        "new": ("missing", "error", True),
    }


def test_without_a_plain_run_everything_has_to_pass():
    from compare import not_passed

    ran = outcomes(a="passed", b="skipped", c="xfailed", d="xpassed", e="failed", f="error")
    assert [each.test for each in not_passed(ran)] == ["d", "e", "f"]


def test_outcomes_are_counted_and_shown():
    from compare import count, table

    plain, ours = outcomes(a="passed", b="passed", c="failed"), outcomes(a="passed", b="failed")
    assert table([("plain", count(plain)), ("fast", count(ours))]).splitlines() == [
        "| way | passed | failed |",
        "|---|---:|---:|",
        "| plain | 2 | 1 |",
        "| fast | 1 | 1 |",
    ]


@pytest.mark.parametrize(
    ("reasons", "is_fine", "said"),
    [
        ({}, False, "NO REASON GIVEN"),
        ({("requests", "fast", "b"): "It is right so."}, True, "It is right so."),
        ({("requests", "general", "b"): "It is right so."}, False, "NO REASON GIVEN"),
        (
            {("requests", "fast", "b"): "It is.", ("requests", "fast", "a"): "It was."},
            False,
            "a has a reason to differ and does not differ",
        ),
        ({("requests", "fast", "b"): "It is.", ("requests", "fast", "x"): "Not run."}, True, ""),
    ],
)
def test_what_is_worse_needs_a_reason_and_a_reason_a_difference(
    monkeypatch, capsys, reasons, is_fine, said
):
    import run
    from compare import differences

    monkeypatch.setattr(run, "REASONS", reasons)
    plain, ours = outcomes(a="passed", b="passed"), outcomes(a="passed", b="failed")
    assert run.judge("requests", "fast", ours, differences(plain, ours)) is is_fine
    assert said in capsys.readouterr().out


@pytest.mark.parametrize(
    ("way", "fast", "is_fine"),
    [("fast", 500, True), ("fast", 0, False), ("general", 0, True), ("general", 1, False)],
)
def test_a_run_that_took_the_wrong_lane_is_no_proof(capsys, way, fast, is_fine):
    import run

    totals = {"lanes": {"fast": fast, "general": 300}, "reasons": {}}
    assert run.show_lanes("requests", way, totals) is is_fine
    assert f"{way}: requests by lane: {fast} fast, 300 general" in capsys.readouterr().out


def test_reasons_are_sentences_about_suites_that_there_are():
    from table import REASONS, SUITES

    for (name, way, test), why in REASONS.items():
        assert way in SUITES[name].ways
        assert "::" in test or "/" in test
        assert re.fullmatch(r"[A-Z`].*\.", why, re.DOTALL), why
    for suite in SUITES.values():
        assert all(re.fullmatch(r"[A-Z`].*\.", why) for why in suite.deselect.values())


def test_the_docs_have_a_place_for_each_figure_and_hold_every_reason():
    from table import REASONS

    text = DOCS.read_text()
    for name in ("suite requests", "suite urllib3", "suites of packages"):
        place = re.search(rf"<!-- {name} -->\n(.*?)<!-- end of {name} -->", text, re.DOTALL)
        assert place is not None
        assert "| plain |" in place[1] or name == "suites of packages", "figures.py --write"
    for (name, _, _), why in REASONS.items():
        if name in ("requests", "urllib3"):
            assert why in text


def test_figures_are_written_between_their_marks_and_nowhere_else(monkeypatch, tmp_path):
    import figures

    docs = tmp_path / "docs.md"
    docs.write_text("before\n<!-- suite requests -->\nold\n<!-- end of suite requests -->\nafter\n")
    run = {"tests": outcomes(a="passed"), "of": "requests 9.9", "python": "3.99"}
    runs = {
        "plain": run | {"totals": {}},
        "general": run | {"totals": {"lanes": {"general": 7}}},
        "fast": run
        | {"totals": {"lanes": {"fast": 6, "general": 1}}, "tests": outcomes(a="failed")},
    }
    monkeypatch.setattr(figures, "DOCS", docs)
    monkeypatch.setattr(figures, "_runs", lambda _: runs)
    figures.write()
    before, shown, after = re.split(r"<!-- .* -->\n", docs.read_text())
    assert (before, after) == ("before\n", "after\n")
    assert "requests 9.9, on Python 3.99" in shown
    assert "*general*: 7 by the general lane. Each test ends as on plain Requests." in shown
    assert "1 test ends otherwise" in shown
    assert "- 1 × No reason given." in shown


def test_a_suite_that_was_not_run_here_keeps_its_figures(monkeypatch, tmp_path):
    import figures

    docs = tmp_path / "docs.md"
    docs.write_text("<!-- suite requests -->\nold\n<!-- end of suite requests -->\n")
    monkeypatch.setattr(figures, "DOCS", docs)
    monkeypatch.setattr(figures, "FOLDER", tmp_path)
    figures.write()
    assert "old" in docs.read_text()
