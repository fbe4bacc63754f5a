"""The examples, each in a process of its own, against a local server."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from grequests._demo import Serving, serving

EXAMPLES = Path(__file__).parent.parent / "examples"

#: The last line that each prints, as a regular expression.
LAST_LINES = {
    "asyncio_face.py": r"\d+ bytes, and the event loop went on: True",
    "bulk.py": r"504 done, 1 failed, 8 retries",
    "crawl.py": r"127 pages, 0 failures",
    "downloads.py": r"20 of 20 files were there, 13200 bytes",
    "errors.py": r"<AsyncRequest \[GET\] .* failed: ConnectionError>: .*BadStatusLine.*",
    "fetch_many.py": r"http://.*/page/19: 200, 680 bytes",
    "observability.py": r"503 done, 2 failed, 3 retries",
    "post_json.py": r'4: POST /echo\?dry=yes {"id": 4, "amount": 40}',
    "progress.py": r"3000 of 3000 answered",
    "sessions.py": r"python-requests: no cookies",
    "strangers.py": r"InvalidSchema: file:///etc/passwd",
    "stream.py": r"2000 pages, 1475720 bytes",
    "testing_your_code.py": r"5 requests, 5 at once, 10 s",
}


@pytest.fixture(scope="module")
def served() -> Iterator[Serving]:
    with serving() as one:
        yield one


def run_example(name: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", EXAMPLES / name, *arguments],
        check=True,
        stdout=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        text=True,
        timeout=60,
    )
    return done.stdout


def test_each_example_is_listed() -> None:
    assert {path.name for path in EXAMPLES.glob("*.py")} == set(LAST_LINES)


@pytest.mark.parametrize("name", LAST_LINES)
def test_example_runs(name: str, served: Serving) -> None:
    output = run_example(name, served.url)

    assert re.fullmatch(LAST_LINES[name], output.splitlines()[-1])


def test_example_starts_a_server_of_its_own() -> None:
    assert run_example("crawl.py") == "127 pages, 0 failures\n"


def test_errors_are_those_of_requests(served: Serving) -> None:
    lines = run_example("errors.py", served.url).splitlines()

    assert [line.partition(": ")[0] for line in lines[:-1]] == [
        "200",
        "404",
        "ChunkedEncodingError",
        "too slow",
        "ConnectionError",
        "InvalidURL",
    ]


def test_sessions_share_and_requests_without_one_do_not(served: Serving) -> None:
    assert run_example("sessions.py", served.url).splitlines() == [
        *["examples: user=ada"] * 3,
        "python-requests: no cookies",
    ]
