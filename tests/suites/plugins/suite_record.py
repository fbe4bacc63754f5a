"""pytest plugin: what came of each test, written to a file, for the comparison of two runs.

The file is named by SUITE_RECORD. Loaded with `-p suite_record`; knows nothing of GRequests.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import Any

import pytest

#: Each test's outcome, and in one line why it is no success.
_tests: dict[str, dict[str, Any]] = {}
#: What another plugin wants to have kept with the test that is running, and for the whole run.
notes: dict[str, Any] = {}
totals: dict[str, Any] = {}


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[Any]:
    notes.clear()
    result = yield
    if notes:
        _tests.setdefault(item.nodeid, {"outcome": "unknown", "detail": ""})["notes"] = dict(notes)
    return result


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    outcome = _outcome(report)
    if outcome is not None:
        _tests[report.nodeid] = {"outcome": outcome, "detail": _detail(report)}


def pytest_collectreport(report: pytest.CollectReport) -> None:
    if report.failed:
        _tests[report.nodeid] = {"outcome": "error", "detail": _detail(report)}


def _outcome(report: pytest.TestReport) -> str | None:
    """The word for it; None if this phase does not settle it."""
    if report.when != "call":
        if report.failed:
            return "error"
        if report.when == "teardown" or not report.skipped:
            return None
    if hasattr(report, "wasxfail"):
        return "xfailed" if report.skipped else "xpassed"
    return report.outcome


def _detail(report: Any) -> str:
    if report.skipped and isinstance(report.longrepr, tuple):
        return str(report.longrepr[2])
    crash = getattr(report.longrepr, "reprcrash", None)
    text = crash.message if crash is not None else str(report.longrepr or "")
    return text.strip().splitlines()[0][:300] if text.strip() else ""


def pytest_sessionfinish() -> None:
    with open(os.environ["SUITE_RECORD"], "w", encoding="utf-8") as file:
        json.dump({"tests": _tests, "totals": totals}, file, indent=1)
