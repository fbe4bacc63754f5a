"""One line for each failure, one sentence for a run, and no secrets in either."""

from __future__ import annotations

import errno
import logging
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import requests
from seeing import FakeResult, attempt, statistics
from servers import Server

import grequests
from grequests import _kinds as kinds
from grequests._log import LOGGER, log_failure, log_run

REFUSED = ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused")


@pytest.fixture(autouse=True)
def _level(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    with caplog.at_level(logging.INFO, "grequests"):
        yield


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [f"{record.levelname} {record.getMessage()}" for record in caplog.records]


def test_a_failure_is_one_line_at_info(caplog: pytest.LogCaptureFixture) -> None:
    log_failure(FakeResult(REFUSED, attempts=(attempt(1), attempt(2)), seconds=1.25))
    assert lines(caplog) == [
        "INFO GET http://example.test/ failed: refused, 2 attempts in 1.25 s "
        "(ConnectionRefusedError: [Errno 111] Connection refused)"
    ]
    assert caplog.records[0].name == "grequests"


def test_what_was_never_sent(caplog: pytest.LogCaptureFixture) -> None:
    log_failure(FakeResult(grequests.CircuitOpenError("http://example.test", 30.0)))
    assert lines(caplog) == [
        "INFO GET http://example.test/ failed: circuit open, not sent (CircuitOpenError: "
        "http://example.test keeps failing and is left alone for 30.0 s)"
    ]


def test_what_was_no_request(caplog: pytest.LogCaptureFixture) -> None:
    item = {"anything": "of any size"}
    log_failure(FakeResult(grequests.NotARequestError(7, item), request=item, index=7))
    [line] = lines(caplog)
    assert line.startswith("INFO item 7 failed: not a request, not sent (NotARequestError: ")


def test_an_answer_is_no_failure(caplog: pytest.LogCaptureFixture) -> None:
    log_failure(FakeResult(status=500))
    assert lines(caplog) == []


def test_nothing_is_looked_at_if_nobody_listens(caplog: pytest.LogCaptureFixture) -> None:
    class Untouchable:
        error = REFUSED

    with caplog.at_level(logging.WARNING, "grequests"):
        log_failure(Untouchable())  # type: ignore[arg-type]
    assert lines(caplog) == []


def test_lines_keep_no_results_alive(caplog: pytest.LogCaptureFixture) -> None:
    log_failure(FakeResult(REFUSED))
    assert {type(each) for each in caplog.records[0].args} == {str}


@pytest.mark.parametrize(
    "url",
    [
        "http://me:hush@example.test/",
        "http://example.test/?token=hush",
        "http://example.test/?a=b&X-Amz-Signature=hush#x",
        "http://me:hu/hush@example.test/",
        "http://127.0.0.1:1/?password=hush",
        "me:hush@example.test",
        "ftp://me:hush@example.test/?key=hush",
        "http://me:hush@*.test/",
    ],
)
def test_no_secret_is_shown_whatever_the_error_says(
    caplog: pytest.LogCaptureFixture, url: str
) -> None:
    request = grequests.get(url, timeout=5)
    grequests.map([request], exception_handler=lambda *_: None)
    for error in (request.exception, ValueError(f"I do not like {url}")):
        log_failure(FakeResult(error, request=request))
    assert len(lines(caplog)) == 2
    assert "hush" not in caplog.text


def test_no_line_becomes_two(caplog: pytest.LogCaptureFixture) -> None:
    log_failure(FakeResult(ValueError("a\nERROR b"), url="http://x/\nERROR c", method="G\nET"))
    [line] = lines(caplog)
    assert len(line.splitlines()) == 1


def test_lines_are_not_too_long(caplog: pytest.LogCaptureFixture) -> None:
    log_failure(FakeResult(ValueError("y" * 100_000), url="http://x/" + "z" * 100_000))
    [line] = lines(caplog)
    assert len(line) < 1000
    assert "[99,509 more]" in line


@pytest.mark.parametrize("cls", [None, requests.Session])
def test_the_innermost_cause_is_told(
    caplog: pytest.LogCaptureFixture, server: Server, cls: Any
) -> None:
    server.on("/gone", lambda _: None)
    request = grequests.get(server.url("/gone"), session=cls and cls())
    grequests.map([request])
    log_failure(FakeResult(request.exception, url="http://h/", attempts=(attempt(),)))
    assert lines(caplog) == [
        "INFO GET http://h/ failed: connection broken, 1 attempt in 250 ms (RemoteDisconnected: "
        "Remote end closed connection without response)"
    ]


# Runs


def test_a_run_without_failures_says_nothing(caplog: pytest.LogCaptureFixture) -> None:
    log_run(statistics(succeeded=100, statuses={200: 50, 404: 50}))
    assert lines(caplog) == []


@pytest.mark.parametrize(
    ("failed", "succeeded", "level"),
    [(1, 0, "INFO"), (9, 0, "INFO"), (10, 90, "WARNING"), (10, 91, "INFO"), (390, 4610, "INFO")],
)
def test_many_failures_are_a_warning(
    caplog: pytest.LogCaptureFixture, failed: int, succeeded: int, level: str
) -> None:
    log_run(statistics(failed={kinds.NAME: failed}, succeeded=succeeded))
    assert lines(caplog) == [
        f"{level} {failed} of {failed + succeeded:,} failed: {failed} could not resolve names; "
        "is DNS reachable?"
    ]


def test_many_answers_of_429_are_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    log_run(statistics(succeeded=100, statuses={200: 60, 429: 40}))
    [line] = lines(caplog)
    assert line.startswith("WARNING 40 of 100 were answered 429 Too Many Requests; ")


def test_nothing_is_shown_unless_the_program_asks_for_it() -> None:
    source = """
import sys; sys.path.insert(0, sys.argv[1])
from seeing import FakeResult, statistics
from grequests._log import log_failure, log_run
log_failure(FakeResult(ValueError("x")))
log_run(statistics(failed={"other": 50}))
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", source, __file__.rpartition("/")[0]],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert [type(each) for each in LOGGER.handlers if type(each) is logging.NullHandler]
