"""The table of packages in docs/compatibility.md says what is tested here, and with what."""

from __future__ import annotations

import re
from importlib.metadata import version
from pathlib import Path

import pytest
from packaging.version import Version

HERE = Path(__file__).parent
DOCUMENT = HERE.parents[1] / "docs" / "compatibility.md"
ROW = re.compile(r"\| ([\w-]+) \| ([^|]+) \| ([^|]+) \| ([\w.]+) \| (test_\w+\.py) \|")


def rows() -> list[tuple[str, str, str, str, str]]:
    _, _, table = DOCUMENT.read_text().partition("<!-- packages:")
    return ROW.findall(table.partition("\n## ")[0])


@pytest.mark.parametrize(("package", "how", "lane", "tested", "file"), rows())
def test_a_row_is_of_a_package_that_is_tested_and_not_older(package, how, lane, tested, file):
    assert Version(version(package)) >= Version(tested)
    assert (HERE / file).is_file()
    assert how.strip()
    assert lane.split(",")[0].split(";")[0].split()[-1] in {"general", "either"}


def test_every_file_here_has_a_row():
    """But those that are of several packages, and this one."""
    several = {"test_table.py", "test_between_two_items.py", "test_signatures.py"}
    several |= {"test_bounded_bodies.py"}
    files = {each.name for each in HERE.glob("test_*.py")} - several
    assert files == {row[4] for row in rows()}


def test_every_package_of_the_issue_has_a_row():
    assert len(rows()) == 21
