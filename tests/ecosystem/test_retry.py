"""urllib3's Retry in an HTTPAdapter: as many requests, pauses and errors as with plain Requests.

Each case goes three ways, and nobody waits: pauses are noted where they would begin.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
import requests
from recording import describe
from requests.adapters import HTTPAdapter
from urllib3 import Retry
from ways import general_only

import grequests
from grequests._scheduler import Scheduler
from servers import Server, answer

from .support import fetch, lane

#: A moment, and half a minute later and before as an HTTP-date (RFC 9110 section 5.6.7).
NOW = 784111777.0
LATER, EARLIER = "Sun, 06 Nov 1994 08:50:07 GMT", "Sun, 06 Nov 1994 08:49:07 GMT"


def busy(*headers: str, status: str = "503 Busy") -> bytes:
    return answer(b"busy", status, *headers)


OK = answer(b"at last")


class Script:
    """The answers to the requests of one path, one after the other, the last one for ever."""

    def __init__(self, *answers: bytes) -> None:
        self._answers = answers
        self.count = 0

    def __call__(self, request: Any) -> bytes:
        self.count += 1
        return self._answers[min(self.count, len(self._answers)) - 1]


class Lab:
    """Sends what a case says in one of three ways."""

    def __init__(self, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
        self.server = server
        self.pauses: list[float] = []
        stock = Scheduler.again

        def again(scheduler: Any, job: Any, seconds: float) -> None:
            self._note(seconds)
            stock(scheduler, job, 0)

        monkeypatch.setattr(time, "sleep", self._note)
        monkeypatch.setattr(time, "time", lambda: NOW)
        monkeypatch.setattr(Scheduler, "again", again)

    def _note(self, seconds: float) -> None:
        if seconds > 0:
            self.pauses.append(seconds)

    def outcome(
        self, send: Callable[..., Any], retries: Any, answers: tuple[bytes, ...], **kwargs: Any
    ) -> dict[str, Any]:
        """What came of a request, how often the server was asked, and the pauses between."""
        self.pauses.clear()
        script = Script(*answers)
        self.server.on("/busy", script)
        method = kwargs.pop("method", "GET")
        with requests.Session() as session:
            session.mount("http://", HTTPAdapter(max_retries=retries))
            try:
                response = send(session, method, self.server.url("/busy"), **kwargs)
            except requests.RequestException as error:
                result: Any = describe(error)
                result.pop("request", None)
            else:
                history = response.raw.retries.history if response.raw.retries else ()
                result = (
                    response.status_code,
                    response.text,
                    [
                        (each.method, each.url, each.status, each.redirect_location)
                        for each in history
                    ],
                )
        return {"asked": script.count, "pauses": list(self.pauses), "result": result}

    def same(self, retries: Any, *answers: bytes, **kwargs: Any) -> dict[str, Any]:
        """The outcome of a case, which is the same three ways."""
        plain = self.outcome(plainly, retries, answers, **kwargs)
        with general_only():
            assert self.outcome(through_map("general"), retries, answers, **kwargs) == plain
        assert self.outcome(through_map("fast"), retries, answers, **kwargs) == plain
        return plain


def plainly(session: requests.Session, method: str, url: str, **kwargs: Any) -> Any:
    return session.request(method, url, **kwargs)


def through_map(expected: str) -> Callable[..., Any]:
    def send(session: requests.Session, method: str, url: str, **kwargs: Any) -> Any:
        # Two, so that it is the scheduler that runs them.
        sent = [
            grequests.request(method, url, session=session, **kwargs),
            grequests.get(url.replace("/busy", "/beside"), session=session),
        ]
        failed: list[BaseException] = []
        response, beside = grequests.map(sent, exception_handler=lambda r, e: failed.append(e))
        assert lane(beside) == expected
        for error in failed:
            raise error
        assert lane(response) == expected
        return response

    return send


@pytest.fixture
def lab(server, monkeypatch):
    return Lab(server, monkeypatch)


@pytest.mark.parametrize(
    ("options", "asked", "pauses"),
    [
        ({"total": 3}, 3, []),
        ({"total": 3, "backoff_factor": 0.5}, 3, [1.0]),
        ({"total": 3, "backoff_factor": 2, "backoff_max": 3}, 3, [3]),
        ({"total": 1}, 2, []),
        ({"total": 5, "status": 1}, 2, []),
        ({"total": None, "status": 2, "backoff_factor": 1}, 3, [2]),
        ({"total": 0}, 1, []),
        ({"total": False}, 1, []),
        ({"total": 1, "raise_on_status": False}, 2, []),
        ({"total": 0, "raise_on_status": False}, 1, []),
        ({"total": 3, "redirect": 0, "connect": 0, "read": 0, "other": 0}, 3, []),
    ],
)
def test_statuses_on_the_list(lab, options, asked, pauses):
    found = lab.same(Retry(status_forcelist=[502, 503], **options), busy(), busy(), OK)
    assert (found["asked"], found["pauses"]) == (asked, pauses)


def test_backoff_grows_from_the_second_retry_on(lab):
    found = lab.same(
        Retry(6, status_forcelist=[503], backoff_factor=1, backoff_max=10), *[busy()] * 6, OK
    )
    assert (found["asked"], found["pauses"]) == (7, [2, 4, 8, 10, 10])
    assert found["result"][:2] == (200, "at last")
    assert len(found["result"][2]) == 6


@pytest.mark.parametrize("value", ["7", "0", LATER, EARLIER])
@pytest.mark.parametrize("status", ["413 Large", "429 Slow", "503 Busy"])
def test_retry_after(lab, value, status):
    again = busy(f"Retry-After: {value}", status=status)
    found = lab.same(Retry(2), again, again, OK)
    pause = {"7": [7] * 2, LATER: [30.0] * 2}.get(value, [])
    assert (found["asked"], found["pauses"]) == (3, pause)


def test_retry_after_and_backoff_and_a_list(lab):
    """Each answer by itself: a Retry-After of its own, or the backoff that is due."""
    retries = Retry(5, status_forcelist=[500], backoff_factor=1)
    failing, slow = busy(status="500 Failed"), busy("Retry-After: 5")
    found = lab.same(retries, failing, slow, failing, OK)
    assert (found["asked"], found["pauses"]) == (4, [5, 4])


def test_retry_after_that_is_not_respected(lab):
    retries = Retry(3, respect_retry_after_header=False)
    assert lab.same(retries, busy("Retry-After: 9"), OK)["result"][0] == 503
    retries = Retry(
        3, respect_retry_after_header=False, status_forcelist=[503], backoff_factor=0.25
    )
    found = lab.same(retries, busy("Retry-After: 9"), busy("Retry-After: 9"), OK)
    assert (found["asked"], found["pauses"]) == (3, [0.5])


def test_retry_after_for_other_statuses_or_nonsense_of_it(lab):
    assert lab.same(Retry(3), busy("Retry-After: 9", status="500 Failed"), OK)["asked"] == 1
    found = lab.same(Retry(3), busy("Retry-After: soon"), OK)
    assert found["asked"] == 1
    assert "Invalid Retry-After header: soon" in str(found["result"])


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD"])
@pytest.mark.parametrize("allowed", ["default", None, ["POST"], {"GET", "PATCH"}])
def test_allowed_methods(lab, method, allowed):
    options = {} if allowed == "default" else {"allowed_methods": allowed}
    retries = Retry(2, status_forcelist=[503], **options)
    data = b"body" if method in {"POST", "PUT", "PATCH"} else None
    lab.same(retries, busy(), OK, method=method, data=data)


def test_too_many_statuses_is_a_retry_error_with_its_text(lab):
    found = lab.same(Retry(2, status_forcelist=[503]), busy())
    assert found["asked"] == 3
    assert "too many 503 error responses" in str(found["result"])
    assert "RetryError" in str(found["result"])


def test_redirects_are_not_retries_and_each_hop_has_its_own(lab):
    hop = busy("Location: /busy", status="302 Found")
    retries = Retry(total=2, redirect=0, status_forcelist=[503])
    assert lab.same(retries, hop, hop, busy(), busy(), OK)["asked"] == 5
    found = lab.same(retries, hop)
    assert found["asked"] == 31
    assert "Exceeded 30 redirects." in str(found["result"])


def test_a_status_list_that_names_redirects(lab):
    hop = busy("Location: /busy", status="302 Found")
    found = lab.same(Retry(2, status_forcelist=[302]), hop, hop, hop, OK)
    assert found["asked"] == 3
    assert "RetryError" in str(found["result"])
    assert "too many redirects" in str(found["result"])


def test_an_adapters_own_policy_is_the_callers_and_stays_as_it_was(lab):
    retries = Retry(3, status_forcelist=[503], backoff_factor=1)
    before = dict(vars(retries))
    lab.same(retries, busy(), busy(), OK)
    assert vars(retries) == before


def test_a_policy_of_another_class_is_asked(server, monkeypatch):
    """Its code runs in the general lane."""
    asked = []

    class Mine(Retry):
        def is_retry(self, method, status_code, has_retry_after=False):
            asked.append(status_code)
            return status_code == 503

    server.on("/busy", Script(busy(), busy(), OK))
    with requests.Session() as session:
        session.mount("http://", HTTPAdapter(max_retries=Mine(3)))
        [response] = fetch([server.url("/busy")], session=session)
    assert (response.text, asked, lane(response)) == ("at last", [503, 503, 200], "general")


@pytest.mark.parametrize("forced", [False, True], ids=["fast", "general"])
def test_pauses_do_not_stop_the_others(no_leaks, server, forced):
    """Ten wait for their second attempt, which the server allows when all else has been answered."""
    gate = server.hold("/gate", count=20)
    server.on("/busy", Script(*[busy("Retry-After: 1")] * 10, OK))
    with requests.Session() as session:
        session.mount("http://", HTTPAdapter(max_retries=2))
        urls = [server.url("/busy")] * 10 + [server.url("/gate")] * 20
        if forced:
            with general_only():
                found = fetch(urls, session=session)
        else:
            found = fetch(urls, session=session)
    assert [each.text for each in found] == ["at last"] * 10 + ["/gate"] * 20
    assert gate.arrived == 20
    paths = [each.path for each in server.requests]
    assert paths[-10:] == ["/busy"] * 10
    assert len(paths) == 40
