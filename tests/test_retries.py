"""`HTTPAdapter(max_retries=...)`: as many attempts, and the same end, as with plain Requests."""

from __future__ import annotations

import socket
from typing import Any

import pytest
import requests
from recording import (
    LEFT_BY_REQUESTS,
    Answer,
    Recorder,
    assert_same,
    describe,
    sealed_environment,
    snapshot,
)
from requests.adapters import HTTPAdapter
from urllib3 import Retry

import grequests

#: Nothing here sleeps for long.
QUICK = 0.001
UNAVAILABLE = b"HTTP/1.1 503 Busy\r\nContent-Length: 4\r\n\r\nbusy"

pytestmark = LEFT_BY_REQUESTS


@pytest.fixture(autouse=True)
def _sealed(tmp_path):
    with sealed_environment(tmp_path):
        yield


@pytest.fixture
def server():
    with Recorder() as one:
        yield one


class Script:
    """Answers one after the other, the last one for ever."""

    def __init__(self, *answers: Answer) -> None:
        self.answers = answers
        self.count = 0

    def __call__(self, _request: bytes) -> Answer:
        self.count += 1
        return self.answers[min(self.count, len(self.answers)) - 1]


def session_of(retries: Any) -> requests.Session:
    session = requests.Session()
    session.mount("http://", HTTPAdapter(max_retries=retries))
    return session


def attempts(
    server: Recorder, answers: tuple[Answer, ...], retries: Any, **kwargs: Any
) -> list[bytes]:
    """The requests that the server read, the same both ways, and the same outcome."""
    method = kwargs.pop("method", "GET")
    outcomes = []
    server.taken()
    server.default = Script(*answers)
    try:
        outcomes.append(snapshot(session_of(retries).request(method, server.url, **kwargs)))
    except Exception as error:  # noqa: BLE001
        outcomes.append(describe(error))
    expected = server.taken()
    server.default = Script(*answers)
    request = grequests.request(method, server.url, session=session_of(retries), **kwargs).send()
    if request.response is None:
        outcomes.append(describe(request.exception))
    else:
        assert type(request.response) is grequests.Response
        outcomes.append(snapshot(request.response))
    taken = server.taken()
    assert_same(taken, expected)
    theirs, ours = outcomes
    if "text" in theirs and theirs["request"] is None:
        theirs["request"] = ours["request"]  # see test_errors.py
    assert_same(ours, theirs)
    return taken


GONE = Answer(b"", close=True)
RESET = Answer(b"", reset=True)
BUSY = Answer(UNAVAILABLE)
RETRY_AFTER = Answer(b"HTTP/1.1 503 Busy\r\nRetry-After: 0\r\nContent-Length: 0\r\n\r\n")
GOOD = Answer()


@pytest.mark.parametrize("fault", [GONE, RESET, Answer(b"garbage\r\n", close=True)])
@pytest.mark.parametrize(
    ("retries", "faults"),
    [
        (0, 1),
        (1, 1),
        (1, 2),
        (3, 2),
        (3, 9),
        (Retry(2), 2),
        (Retry(5, read=1), 3),
        (Retry(5, read=0), 1),
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST", "PUT"])
def test_a_connection_that_breaks(server, method, retries, faults, fault):
    attempts(server, (*[fault] * faults, GOOD), retries, method=method)


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize(
    "options",
    [
        {"total": 3}, {"total": 3, "allowed_methods": None}, {"total": 3, "allowed_methods": ["POST"]},
        {"total": 1}, {"total": 1, "raise_on_status": False}, {"total": 5, "status": 1},
        {"total": 0}, {"total": None, "status": 2}, {"total": 2, "backoff_factor": QUICK},
        {"total": 3, "backoff_factor": QUICK, "backoff_jitter": QUICK, "backoff_max": 0.01},
    ],
)  # fmt: skip
def test_a_status_on_the_list(server, method, options):
    retries = Retry(status_forcelist=[503, 502], **options)
    attempts(server, (BUSY, BUSY, GOOD), retries, method=method, data="body")


def test_a_status_that_is_not_on_the_list(server):
    assert len(attempts(server, (BUSY, GOOD), Retry(3, status_forcelist=[500]))) == 1


@pytest.mark.parametrize(
    "options",
    [
        {"total": 2},
        {"total": 2, "respect_retry_after_header": False},
        {"total": 0},
        {"total": 1, "status": 0},
    ],
)
def test_retry_after(server, options):
    attempts(server, (RETRY_AFTER, RETRY_AFTER, GOOD), Retry(**options))


def test_retry_after_says_how_long_to_wait(server):
    """The scheduler waits for as long; nobody waits here."""
    answer = Answer(b"HTTP/1.1 429 Slow\r\nRetry-After: 3600\r\nContent-Length: 0\r\n\r\n")
    server.default = Script(answer, GOOD)
    request = grequests.get(server.url, session=session_of(2))
    assert grequests.map([request], gtimeout=0.3) == [None]
    assert len(server.taken()) == 1


def test_a_wrong_retry_after(server):
    answer = Answer(b"HTTP/1.1 503 Busy\r\nRetry-After: soon\r\nContent-Length: 0\r\n\r\n")
    attempts(server, (answer, GOOD), 2)


@pytest.mark.parametrize("value", ["9" * 5000, "Fri, 31 Dec 99999 23:59:59 GMT"])
def test_a_retry_after_that_nothing_can_hold(server, value):
    """Requests stumbles over it: `ValueError` or `OverflowError`, of no type of its own."""
    head = f"HTTP/1.1 503 Busy\r\nRetry-After: {value}\r\nContent-Length: 0\r\n\r\n"
    server.default = Script(Answer(head.encode()), GOOD)
    with pytest.raises((ValueError, OverflowError)):
        session_of(2).get(server.url)
    server.default = Script(Answer(head.encode()), GOOD)
    error = grequests.get(server.url, session=session_of(2)).send().exception
    assert type(error) is requests.exceptions.InvalidHeader
    assert "Retry-After" in str(error)
    assert grequests.was_sent(error)
    assert grequests.get(server.url, session=session_of(2)).send().response.ok


def test_the_body_is_sent_again(server):
    sent = attempts(
        server, (BUSY, BUSY, GOOD), Retry(3, status_forcelist=[503]), method="PUT", data={"a": "b"}
    )
    assert len(sent) == 3
    assert all(each.endswith(b"\r\n\r\na=b") for each in sent)


def test_faults_in_a_body_are_not_retried(server):
    cut = Answer(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", close=True)
    assert len(attempts(server, (cut, GOOD), 5)) == 1


def test_a_timeout_is_retried(server):
    silent = Answer(b"", hold=True)
    assert len(attempts(server, (silent, GOOD), 1, timeout=0.2)) == 2
    assert len(attempts(server, (silent, silent), 1, timeout=0.2)) == 2
    assert len(attempts(server, (silent, GOOD), 1, timeout=0.2, method="POST")) == 1


@pytest.mark.parametrize("retries", [0, 2, Retry(2, connect=1), Retry(connect=0, total=5)])
def test_a_closed_port(retries):
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{sock.getsockname()[1]}/"
        request = grequests.get(url, session=session_of(retries)).send()
        with pytest.raises(requests.exceptions.ConnectionError) as theirs:
            session_of(retries).get(url)
    assert_same(describe(request.exception), describe(theirs.value))


def test_redirects_have_retries_of_their_own(server):
    server_answers = Script(BUSY, BUSY, GOOD)

    def answer(request: bytes) -> Answer:
        if request.startswith(b"GET /start "):
            return Answer(b"HTTP/1.1 302 Found\r\nLocation: /end\r\nContent-Length: 0\r\n\r\n")
        return server_answers(request)

    seen = []
    for send in (
        lambda session: session.get(f"{server.url}/start"),
        lambda session: grequests.get(f"{server.url}/start", session=session).send().response,
    ):
        server_answers.count = 0
        server.default = answer
        response = send(session_of(Retry(2, status_forcelist=[503])))
        seen.append(
            (response.status_code, [each.status_code for each in response.history], server.taken())
        )
    assert seen[0] == seen[1]
    assert len(seen[1][2]) == 4


def test_the_adapter_of_each_url_decides(server):
    """Retries for one path are none for another, and https has its own."""
    session = requests.Session()
    session.mount(f"{server.url}/often", HTTPAdapter(max_retries=Retry(3, status_forcelist=[503])))
    server.default = BUSY
    requests_ = [
        grequests.get(f"{server.url}/{path}", session=session) for path in ("once", "often", "once")
    ]
    grequests.map(requests_, size=1)
    paths = [each.split(b" ")[1] for each in server.taken()]
    assert paths == [b"/once", *[b"/often"] * 4, b"/once"]


def test_a_run_of_requests_retries_each_by_itself(server):
    calls: dict[bytes, int] = {}

    def answer(request: bytes) -> Answer:
        path = request.split(b" ")[1]
        calls[path] = calls.get(path, 0) + 1
        return GOOD if calls[path] == 3 else BUSY

    server.default = answer
    session = session_of(Retry(2, status_forcelist=[503], backoff_factor=QUICK))
    responses = grequests.map(
        [grequests.get(f"{server.url}/{number}", session=session) for number in range(20)], size=5
    )
    assert [each.status_code for each in responses] == [200] * 20
    assert set(calls.values()) == {3}
    assert len(responses[0].raw.retries.history) == 2
