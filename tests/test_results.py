"""Results and statistics as values: frozen, printable, and right about one another."""

from __future__ import annotations

import dataclasses
import math
import pickle

import pytest

import grequests
from grequests import Attempt, Client, Result, Retry, Timings
from grequests.testing import FakeClock, FakeTransport, Fault

URL = "http://one.test"


@pytest.fixture
def clock():
    with FakeClock(autojump=True, now=50) as one:
        yield one


@pytest.fixture
def fake(clock):
    with FakeTransport(clock) as one:
        yield one


def one(url, **options):
    [result] = grequests.run([url], **options)
    return result


def test_a_result_says_what_it_is_in_a_line(fake):
    fake.add(f"{URL}/fine", body="x")
    fake.add(f"{URL}/gone", error=Fault.CLOSED)

    assert repr(one(f"{URL}/fine")) == f"<Result 0 {URL}/fine <Response [200]>>"
    assert repr(one(f"{URL}/gone", retry=None)) == f"<Result 0 {URL}/gone ConnectionError>"
    assert repr(one(None)) == "<Result 0 None NotARequestError>"


def test_a_result_cannot_be_changed(fake):
    fake.add(f"{URL}/fine", body="x")
    result = one(f"{URL}/fine")

    for name in ("index", "response", "error", "ok", "tag", "attempts", "anything"):
        with pytest.raises(AttributeError):
            setattr(result, name, 1)


def test_attempts_and_timings_are_values(fake):
    fake.add(f"{URL}/a", status=503, latency=2, times=1)
    fake.add(f"{URL}/a", body="x", latency=3)
    result = one(f"{URL}/a", retry=Retry(backoff=0))
    first, second = result.attempts

    assert first == Attempt(1, 0.0, 2.0, 503, None, "status 503")
    assert second == Attempt(2, 2.0, 3.0, 200, None, None)
    assert result.timings == dataclasses.replace(result.timings, queued=0.0, total=5.0)
    for each in (first, result.timings):
        assert pickle.loads(pickle.dumps(each)) == each
        with pytest.raises(dataclasses.FrozenInstanceError):
            each.total = each.number = 1


def test_an_outcome_is_the_same_however_often_it_is_asked_for(fake):
    fake.add(f"{URL}/gone", error=Fault.REFUSED)
    result = one(f"{URL}/gone", retry=Retry(attempts=2, backoff=0))

    assert result.attempts == result.attempts and len(result.attempts) == 2
    assert result.timings == result.timings
    assert result.attempts[-1].error is result.error is result.request.exception


def test_what_was_never_sent_has_no_attempts_and_no_times(fake):
    result = one(None)
    assert result.attempts == ()
    assert result.timings == Timings(0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
    assert result.host == "" and result.tag is None


def test_statistics_are_a_snapshot(fake):
    fake.add(f"{URL}/*", body="x", latency=1)
    with Client(concurrency=1) as client:
        results = client.run([f"{URL}/{n}" for n in range(4)])
        next(results)
        before = client.statistics()
        assert sum(1 for _ in results) == 3
        after = client.statistics()

    assert (before.done, after.done) == (1, 4)
    assert (dict(before.statuses), dict(after.statuses)) == ({200: 1}, {200: 4})
    assert after.hosts[URL].done == 4 and before.hosts[URL].done == 1
    assert (after.elapsed, after.rate) == (4.0, 1.0)
    assert after.latency.count == 4
    assert after.latency.mean == pytest.approx(1, rel=0.05)
    with pytest.raises(dataclasses.FrozenInstanceError):
        after.done = 5
    with pytest.raises(TypeError):
        after.hosts["another"] = None


def test_statistics_of_nothing_divide_by_nothing():
    now = Client().statistics()
    assert (now.done, now.rate, now.failures, now.elapsed) == (0, 0.0, 0, 0.0)
    assert now.latency.count == 0 and math.isnan(now.latency.p99)


def test_public_classes_print_as_public():
    for each in (Result, Attempt, Timings, grequests.Statistics, grequests.HostStatistics):
        assert each.__module__ == "grequests"
