"""The demo: its server, its checks, and the whole of it with fewer URLs."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator

import pytest
import requests

from grequests import _demo
from grequests._demo import KINDS, Serving, check, plan, serving


@pytest.fixture(scope="module")
def served() -> Iterator[Serving]:
    with serving() as one:
        yield one


def run_demo(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", "grequests._demo", *arguments],
        check=False,
        capture_output=True,
        stdin=subprocess.DEVNULL,
        text=True,
        timeout=60,
    )


def test_demo_ends_well() -> None:
    done = run_demo("--count", "300")

    assert done.returncode == 0
    assert "Each of the 300 URLs has exactly one line" in done.stdout
    assert "289 succeeded, 11 failed" in done.stderr
    assert "status: 279 x 200, 7 x 404, 3 x 500" in done.stderr
    assert "failed: 6 x ConnectionError, 3 x ChunkedEncodingError, 2 x ReadTimeout" in done.stderr


def test_demo_without_failures_ends_well() -> None:
    done = run_demo("--count", "3")

    assert done.returncode == 0
    assert "3 succeeded, 0 failed" in done.stderr


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.path)
def test_plain_requests_sees_the_same(kind: _demo.Kind, served: Serving) -> None:
    place = kind.places[0] if kind.places else 0
    url, expected = list(plan(200, served).items())[place]
    timeout = 0.1 if expected == "ReadTimeout" else 5

    if isinstance(expected, int):
        assert requests.get(url, timeout=timeout).status_code == expected
    else:
        with pytest.raises(getattr(requests.exceptions, expected)) as caught:
            requests.get(url, timeout=timeout)
        assert type(caught.value).__name__ == expected


def test_plan_has_all_kinds_of_outcome_in_the_first_two_hundred() -> None:
    server = Serving("http://here", "http://nowhere")

    assert set(plan(200, server).values()) == {kind.outcome for kind in KINDS}
    assert len(plan(10_000, server)) == 10_000


LINE_OF_1 = json.dumps({"url": "http://one", "status": 200})
LINE_OF_2 = json.dumps({"url": "http://two", "error": {"type": "ReadTimeout", "message": ""}})
EXPECTED: dict[str, int | str] = {"http://one": 200, "http://two": "ReadTimeout"}


@pytest.mark.parametrize(
    ("lines", "wrong"),
    [
        ([LINE_OF_2, LINE_OF_1], []),
        ([LINE_OF_1], ["http://two: 0 outcomes"]),
        ([LINE_OF_1, LINE_OF_2, LINE_OF_2], ["http://two: 2 outcomes"]),
        (
            [LINE_OF_1.replace("200", "404"), LINE_OF_2],
            ["http://one: 404 instead of 200"],
        ),
        (
            [LINE_OF_1, LINE_OF_2.replace("ReadTimeout", "ConnectionError")],
            ["http://two: ConnectionError instead of ReadTimeout"],
        ),
    ],
)
def test_check_finds_what_is_wrong(lines: list[str], wrong: list[str]) -> None:
    assert check(EXPECTED, lines) == wrong


def test_server_knows_when_a_request_is_whole() -> None:
    request = b"POST / HTTP/1.1\r\ncontent-length: 3\r\n\r\nabc"

    whole = [length for length in range(len(request) + 1) if _demo.is_whole(request[:length])]
    assert whole == [len(request)]


def test_server_answers_unknown_pages(served: Serving) -> None:
    for path in ("/", "/nothing", "/status/abc", "/tree/"):
        assert requests.get(served.url + path, timeout=5).status_code == 404


def test_server_ends_with_its_parent() -> None:
    command = [sys.executable, "-m", "grequests._demo", "--serve"]
    done = subprocess.run(command, input=b"", capture_output=True, check=True, timeout=30)

    assert len(json.loads(done.stdout)) == 2
