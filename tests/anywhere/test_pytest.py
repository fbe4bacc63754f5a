"""In other people's tests: under pytest-xdist, and stopped by pytest-timeout's alarm."""

from __future__ import annotations

import re
import subprocess
import sys

from anywhere.programs import PATIENCE, environment, running

TESTS = """
import pytest
from lanes import right

@pytest.mark.parametrize("number", range(12))
@pytest.mark.parametrize("lane", ["fast", "general"])
def test_right(lane, number):
    assert right(10, f"/{number}", lane) == 10
"""
SLOW = """
import pytest
from lanes import right

@pytest.mark.timeout(0.5)
@pytest.mark.parametrize("lane", ["fast", "general"])
def test_slow(lane):
    right(10, "/held", lane)

@pytest.mark.parametrize("lane", ["fast", "general"])
def test_right(lane):
    assert right(10, "/right", lane) == 10
"""


def outcome(folder, server, *arguments: str) -> str:
    """What pytest says last of the tests in a folder."""
    command = [sys.executable, "-W", "error", "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    command += ["-p", "xdist", "-p", "pytest_timeout"]
    command += ["-c", "/dev/null", "--rootdir", str(folder), *arguments, str(folder)]
    env = environment("fast", server, PYTEST_DISABLE_PLUGIN_AUTOLOAD="1")
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    with running(command, env=env, cwd=folder, **pipes) as process:
        said, _ = process.communicate(timeout=PATIENCE)
    found = re.search(r"^(.*) in [\d.]+s", said, re.MULTILINE)
    assert found, said
    return found[1]


def test_xdist(server, tmp_path):
    (tmp_path / "test_right.py").write_text(TESTS)
    assert outcome(tmp_path, server, "-n", "2") == "24 passed"


def test_a_test_that_takes_too_long_is_stopped_and_the_next_ones_are_not(server, tmp_path):
    server.hold("/held/*")
    (tmp_path / "test_slow.py").write_text(SLOW)
    found = outcome(tmp_path, server, "-o", "timeout_method=signal")
    assert found == "2 failed, 2 passed"
