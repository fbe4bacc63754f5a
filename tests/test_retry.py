"""What follows an attempt: `judge`, Retry-After, what was sent, the budget. Pure decisions."""

from __future__ import annotations

import email.utils
import socket

import pytest
import requests
from requests.exceptions import (
    ChunkedEncodingError,
    ConnectionError,
    ConnectTimeout,
    ContentDecodingError,
    InvalidURL,
    ReadTimeout,
    SSLError,
)
from servers import Server, hang_up

import grequests
from grequests import Retry, TotalTimeoutError
from grequests._retry import RetryBudget, Verdict, judge, retry_after, was_sent


def verdict(policy=Retry(), number=1, method="GET", **given):  # noqa: B008
    given = {"error": None, "status": None, "after": None, "random": lambda: 0.5, **given}
    return judge(policy, number, method, **given)


# judge


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
def test_statuses_that_may_pass_are_retried(status):
    assert verdict(status=status) == Verdict(0.25, f"status {status}")


@pytest.mark.parametrize("status", [200, 204, 301, 304, 400, 401, 403, 404, 410, 501, 505])
def test_other_statuses_are_no_question(status):
    assert verdict(status=status) is None


@pytest.mark.parametrize(
    "error",
    [
        ConnectionError("gone"),
        ConnectTimeout("slow"),
        ReadTimeout("slow"),
        ChunkedEncodingError("cut"),
        ContentDecodingError("bad gzip"),
        TotalTimeoutError(5, "attempt"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_errors_that_may_pass_are_retried(error):
    assert verdict(error=error) == Verdict(0.25, type(error).__name__)


@pytest.mark.parametrize(
    "error", [SSLError("not trusted"), InvalidURL("http://"), ValueError("the user's own")]
)
def test_errors_that_do_not_pass_by_themselves_are_no_question(error):
    assert verdict(error=error) is None


def test_a_certificate_is_not_looked_at_twice_even_if_ssl_errors_are_named():
    assert verdict(Retry(errors=(SSLError,)), error=SSLError("not trusted")) is None


def test_the_wait_is_drawn_between_nothing_and_the_longest():
    policy = Retry(attempts=10, backoff=1, factor=3, cap=20)

    for number, longest in ((1, 1), (2, 3), (3, 9), (4, 20), (9, 20)):
        for draw in (0.0, 0.25, 0.999):
            found = verdict(policy, number, status=503, random=lambda draw=draw: draw)
            assert found.delay == draw * longest


def test_the_last_attempt_is_the_last():
    policy = Retry(attempts=3)

    assert verdict(policy, 2, status=503).delay is not None
    assert verdict(policy, 3, status=503) == Verdict(None, "status 503: that was the last attempt")
    assert verdict(Retry(attempts=1), 1, status=503) is None


@pytest.mark.parametrize("method", ["POST", "PATCH", "CONNECT", "BREW"])
def test_methods_that_are_not_idempotent_are_not_sent_twice(method):
    found = verdict(method=method, status=503)

    assert found == Verdict(None, f"status 503: {method} may not be sent twice")
    assert verdict(method=method, error=ReadTimeout("slow")).delay is None
    assert verdict(Retry(methods={method}), method=method, status=503).delay == 0.25


def test_a_post_of_which_nothing_was_sent_is_sent_again():
    assert verdict(method="POST", error=ConnectTimeout("slow")).delay == 0.25


def test_retry_after_is_the_least_wait_and_the_backoff_may_be_longer():
    assert verdict(status=503, after=7.0) == Verdict(7.0, "status 503")
    assert verdict(Retry(backoff=20), status=503, after=7.0).delay == 10


def test_a_retry_after_beyond_the_cap_makes_the_answer_the_result():
    found = verdict(Retry(after=60), status=429, after=61.0)

    assert found == Verdict(None, "status 429: Retry-After asks for 61 s")
    assert verdict(Retry(after=60), status=429, after=60.0).delay == 60
    assert verdict(status=429, after=float("inf")).delay is None


def test_a_retry_after_can_be_ignored():
    assert verdict(Retry(after=0), status=429, after=3600.0).delay == 0.25


# Retry-After


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0.0),
        ("120", 120.0),
        (" 5 ", 5.0),
        ("0005", 5.0),
        ("99999999999999999999", float("inf")),
        (None, None),
        ("", None),
        ("-1", None),
        ("1.5", None),
        ("soon", None),
        ("\N{SUPERSCRIPT TWO}", None),
        ("\N{ARABIC-INDIC DIGIT THREE}", None),
    ],
)
def test_retry_after_in_seconds(value, seconds):
    assert retry_after(value, 0.0) == seconds


WALL = 1_700_000_000.0


@pytest.mark.parametrize(
    "form",
    [
        email.utils.formatdate(WALL + 90, usegmt=True),  # Tue, 14 Nov 2023 22:14:50 GMT
        "Tuesday, 14-Nov-23 22:14:50 GMT",  # RFC 850
        "Tue Nov 14 22:14:50 2023",  # asctime
    ],
)
def test_retry_after_as_a_date_in_all_three_forms(form):
    assert retry_after(form, WALL) == 90.0


def test_a_date_that_is_over_asks_for_nothing():
    assert retry_after(email.utils.formatdate(WALL - 5, usegmt=True), WALL) == 0.0


@pytest.mark.parametrize(
    "value",
    [
        "Tue, 99 Nov 2023 22:14:50 GMT",
        "Tue, 14 Nov 99999999999 22:14:50 GMT",
        "Tue, 14 Nov 2023 99:99:99 GMT",
        "Tue, 14 Nov 2023",
        "Tue, 14 Nov 0000 00:00:00 GMT",
        "Tue, 14 Nov 2023 22:14:50 +99999999999999999999",
    ],
)
def test_dates_that_make_no_sense_never_raise(value):
    assert retry_after(value, WALL) is None or retry_after(value, WALL) >= 0


# What was sent


class Odd(requests.Session):
    """Its requests take the general lane."""


def error_of(url, lane, **keywords):
    """What a real request fails with."""
    session = Odd() if lane == "general" else None
    request = grequests.post(url, data=b"once", session=session, **keywords).send()
    assert request.response is None
    return request.exception


both_lanes = pytest.mark.parametrize("lane", ["fast", "general"])


@pytest.fixture
def nobody():
    """A port on which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    return f"127.0.0.1:{port}"


@both_lanes
def test_nothing_was_sent_to_who_refuses(lane, nobody):
    assert not was_sent(error_of(f"http://{nobody}/", lane))


@both_lanes
def test_nothing_was_sent_to_who_has_no_name(lane):
    assert not was_sent(error_of("http://nobody.invalid/", lane))


@both_lanes
def test_nothing_was_sent_if_the_proxy_refuses(lane, nobody):
    error = error_of("http://127.0.0.1:9/", lane, proxies={"http": f"http://{nobody}"})

    assert isinstance(error, requests.exceptions.ProxyError)
    assert not was_sent(error)


@both_lanes
def test_nothing_was_sent_through_a_proxy_that_refuses_for_https(lane, nobody):
    error = error_of("https://127.0.0.1:9/", lane, proxies={"https": f"http://{nobody}"})

    assert isinstance(error, requests.exceptions.ProxyError)
    assert not was_sent(error)


@both_lanes
def test_nothing_was_sent_if_connecting_took_too_long(lane):
    listener = socket.create_server(("127.0.0.1", 0), backlog=0)
    address = listener.getsockname()
    queued = [socket.socket() for _ in range(4)]  # nobody accepts: no more fit
    for each in queued:
        each.setblocking(False)
        each.connect_ex(address)
    try:
        error = error_of(f"http://127.0.0.1:{address[1]}/", lane, timeout=(0.2, 5))
    finally:
        for each in (listener, *queued):
            each.close()

    assert isinstance(error, ConnectTimeout)
    assert not was_sent(error)


@both_lanes
def test_something_may_have_been_sent_if_the_server_hangs_up(lane, server):
    server.on("/gone", hang_up)

    assert was_sent(error_of(server.url("/gone"), lane))


@both_lanes
def test_something_was_sent_if_no_answer_comes(lane, server):
    server.hold("/")
    error = error_of(server.url("/"), lane, timeout=0.2)

    assert isinstance(error, ReadTimeout)
    assert was_sent(error)


@both_lanes
def test_something_was_sent_if_the_body_is_cut(lane):
    with Server().on("/cut", _cut) as server:
        error = error_of(server.url("/cut"), lane)

    assert isinstance(error, ChunkedEncodingError)
    assert was_sent(error)


def _cut(request):
    request.sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")


def test_errors_of_any_shape_count_as_sent():
    assert was_sent(ValueError())
    assert was_sent(ConnectionError())
    assert was_sent(ConnectionError("text"))
    loop = ConnectionError()
    loop.args = (loop,)
    assert was_sent(loop)


# The budget


def test_the_budget_is_a_share_of_the_requests_and_a_reserve():
    budget = RetryBudget(0.2, 10)

    for _ in range(12):
        assert budget.has_any(requests=11)
        budget.spend()
    assert budget.spent == 12
    assert not budget.has_any(requests=10)
    assert budget.has_any(requests=11)


def test_no_budget_is_no_retry():
    assert not RetryBudget(0.0, 0).has_any(requests=10**9)
