"""The types are what users need: mypy --strict reads what they write, right and wrong."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import grequests

pytest.importorskip("mypy")

HERE = Path(__file__).parent
USAGE = HERE / "typing_usage.py"

WRONG = {
    "grequests.get()": "call-arg|Missing positional",
    "grequests.get('http://e/', colour='blue')": "Unexpected keyword",
    "grequests.get('http://e/', timeout='5')": "arg-type|typeddict-item",
    "grequests.map(['http://e/'])": "list-item|arg-type",
    "grequests.map([], size='2')": "arg-type",
    "grequests.imap(5)": "arg-type",
    "grequests.send('http://e/')": "arg-type",
    "grequests.Client(concurency=5)": "Unexpected keyword",
    "grequests.Client(rate='5')": "arg-type|typeddict-item",
    "grequests.Client().run([], order=True)": "Unexpected keyword",
    "grequests.Retry(5)": "Too many positional",
    "grequests.Klient()": "attr-defined",
}


def mypy(tmp_path: Path, *files: Path) -> str:
    done = subprocess.run(
        [
            *(sys.executable, "-m", "mypy", "--strict", "--config-file", ""),
            *("--cache-dir", str(HERE.parent / ".mypy_cache" / "usage"), "--no-error-summary"),
            *map(str, files),
        ],
        capture_output=True, text=True, timeout=110, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert done.stderr == ""
    return done.stdout


def test_what_users_write_is_typed_and_what_they_write_wrongly_is_found(tmp_path):
    wrong = tmp_path / "wrong.py"
    wrong.write_text("import grequests\n\n" + "\n".join(WRONG) + "\n")
    lines = mypy(tmp_path, USAGE, wrong).splitlines()
    assert [line for line in lines if "typing_usage" in line] == []
    found = {
        int(m[1]): m[2]
        for m in (re.match(r".*wrong\.py:(\d+): (error: .*)", each) for each in lines)
        if m
    }
    assert sorted(found) == list(range(3, 3 + len(WRONG))), lines
    for (_, pattern), error in zip(WRONG.items(), found.values(), strict=True):
        assert re.search(pattern, error), error


def test_the_package_says_that_it_is_typed():
    assert (Path(grequests.__file__).parent / "py.typed").exists()
