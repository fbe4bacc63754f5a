"""Programs from outside that some tests need: a skip where they are missing, a failure in CI."""

from __future__ import annotations

import os
import shutil

import pytest


def program(name: str, package: str) -> str:
    """The path of a program of a Debian package.

    Without it the test is skipped; where CI is set it fails, so that nothing is skipped for ever.
    """
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])
    found = shutil.which(name, path=path)
    if found is None:
        missing(f"apt-get install {package}")
    return found


def missing(remedy: str) -> None:
    """Skip the test, or fail it in CI; `remedy` is the command that helps."""
    if os.environ.get("CI"):
        pytest.fail(f"missing in CI: {remedy}")
    pytest.skip(remedy)
