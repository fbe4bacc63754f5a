"""The fixtures, in a pytest of their own, as users have them."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytest_plugins = ["pytester"]

ENABLED = 'pytest_plugins = ["grequests.testing.pytest_plugin"]'


@pytest.fixture
def run(pytester, monkeypatch):
    """What comes of a test module."""
    monkeypatch.setenv("COLUMNS", "200")
    pytester.makeconftest(ENABLED)

    def run(source):
        pytester.makepyfile(
            "import grequests\nfrom grequests.testing import FakeClock, Fault\n" + source
        )
        return pytester.runpytest_subprocess("-W", "error", "-p", "no:cacheprovider")

    return run


def test_a_test_that_goes_as_it_is_scripted(run):
    result = run(
        """
def fetch(urls):
    return [r and r.status_code for r in grequests.map([grequests.get(u, timeout=60) for u in urls])]

def test_all(fake_transport, fake_clock):
    fake_transport.add("http://a.test/", latency=30)
    fake_transport.add("http://b.test/", error=Fault.READ_TIMEOUT)
    fake_transport.add("http://c.test/", required=False)
    assert fetch(["http://a.test/", "http://b.test/"]) == [200, None]
    assert fake_clock.now() == 60

def test_the_next_begins_anew(fake_transport, fake_clock):
    assert (fake_transport.rules, fake_transport.requests, fake_clock.now()) == ((), [], 0)

class TestClass:
    def test_method(self, fake_transport):
        fake_transport.add("*")
        assert fetch(["https://a.test/"]) == [200]

def test_the_clock_alone(fake_clock):
    rang = []
    fake_clock.call_later(5, rang.append, 1)
    fake_clock.advance(5)
    assert rang == [1]

def test_neither():
    pass
"""
    )

    result.assert_outcomes(passed=5)


def test_tests_that_do_not(run):
    result = run(
        """
def test_a_rule_that_was_never_used(fake_transport):
    fake_transport.add("http://a.test/", "POST")

def test_a_request_that_nobody_expected(fake_transport):
    assert grequests.map([grequests.get("http://b.test/x")]) == [None]

def test_that_fails_by_itself_fails_for_that(fake_transport):
    fake_transport.add("http://c.test/")
    assert 1 == 2
"""
    )

    result.assert_outcomes(failed=3)
    result.stdout.fnmatch_lines(
        [
            "FAILED *never_used - Failed: never asked for: POST http://a.test/",
            "FAILED *nobody_expected - Failed: GET http://b.test/x was not expected: the Fake*",
            "FAILED *fails_for_that - assert 1 == 2",
        ]
    )
    assert "c.test" not in result.stdout.str().partition("short test summary")[2]


def test_what_is_under_way_at_the_end_of_a_test_does_not_reach_the_next(run):
    result = run(
        """
jobs = []

def test_leaves_one_behind(fake_transport, fake_clock):
    fake_transport.add("http://a.test/", error=Fault.READ_TIMEOUT)
    jobs.append(grequests.send(grequests.get("http://a.test/")))
    fake_clock.advance(1)
    assert fake_transport.in_flight == 1

def test_next(fake_transport):
    assert fake_transport.in_flight == 0
    jobs[0].join()
    assert "not active any more" in str(jobs[0].value.exception)
"""
    )

    result.assert_outcomes(passed=2)


def test_pytest_is_imported_by_nothing_else():
    source = (
        "import sys, grequests.testing; print('pytest' in sys.modules, 'unittest' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", source], capture_output=True, text=True, check=True, timeout=60
    )

    assert done.stdout == "False False\n"
