"""Every block of docs/testing.md runs: one after the other, and those that are files as files."""

from __future__ import annotations

import doctest
import re
import subprocess
import sys
from pathlib import Path

import grequests
from grequests.testing import FakeTransport, Fault

PAGE = Path(__file__).parents[2] / "docs" / "testing.md"
BLOCKS = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
#: The first line of a block that is a file.
NAMED = re.compile(r"# (\w+\.py)\n")


def test_the_blocks_of_the_page_run():
    names = {}
    for block in BLOCKS:
        if not NAMED.match(block):
            exec(compile(block, str(PAGE), "exec"), names)

    assert len(names["fake"].requests) == 20, "the last of them was run"


def test_the_files_of_the_page_are_a_test_that_passes(tmp_path):
    for block in BLOCKS:
        if named := NAMED.match(block):
            (tmp_path / named[1]).write_text(block)

    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider", "."],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.stdout.splitlines()[-1].startswith("1 passed"), done.stdout + done.stderr


def test_the_examples_in_the_docstrings_run():
    names = {"fake": FakeTransport(), "grequests": grequests}
    found = doctest.testmod(grequests.testing, extraglobs=names)

    assert found.failed == 0
    assert found.attempted > 10


def test_the_page_names_each_fault():
    assert all(f"`{fault.name}`" in PAGE.read_text() for fault in Fault)
