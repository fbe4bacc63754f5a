"""What the tests of packages share.

A *scenario* is a function without arguments that brings its own server and asserts. A test calls it
in this process, and `in_either_order` in processes of its own, once with the package imported before
grequests and once after.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import requests

import grequests

TESTS = Path(__file__).parents[1]
ORDERS = ("package first", "grequests first")


def lane(response: Any) -> str:
    """Which lane a response came by: only the fast one builds a class of its own."""
    assert isinstance(response, requests.Response), response
    return "fast" if type(response).__module__.startswith("grequests") else "general"


def lanes(responses: Iterable[Any]) -> set[str]:
    return {lane(each) for each in responses}


def gets(urls: Iterable[str], **kwargs: Any) -> list[Any]:
    """Unsent requests."""
    return [grequests.get(url, **kwargs) for url in urls]


def fetch(urls: Iterable[str], **kwargs: Any) -> list[Any]:
    """The responses to GETs sent by `map`; what fails is raised here."""
    return grequests.map(gets(urls, **kwargs), exception_handler=reraise)


def reraise(_: Any, error: BaseException | None) -> Any:
    assert error is not None, "gtimeout"
    raise error


def in_process(order: str, package: str, scenario: Callable[[], None], *options: str) -> None:
    """Run a scenario where `package` was imported before or after grequests.

    Args:
        order: one of ORDERS.
        package: name of the module to import.
        scenario: a function at the top level of a test module.
        options: for the interpreter, such as `-W` ones; all warnings are errors to begin with.
    """
    first, second = (package, "grequests") if order == ORDERS[0] else ("grequests", package)
    program = (
        f"import {first}, {second}\n"
        f"from {scenario.__module__} import {scenario.__name__} as scenario\n"
        "scenario()\n"
        "print('done')\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", *options, "-c", program],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "PYTHONPATH": str(TESTS)},
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "done\n", ""), done.stderr
