"""What is said of a run, word by word."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from seeing import NONE, hosts, statistics

from grequests import _explain
from grequests import _kinds as kinds
from grequests._explain import duration, explain, rate, size, summary, troubles

# Why


def test_nothing_is_said_where_nothing_failed() -> None:
    assert explain(statistics()) == ""
    assert explain(statistics(succeeded=5000, statuses={200: 4000, 404: 900, 500: 100})) == ""


def test_the_main_causes_by_number_and_what_may_help() -> None:
    failed = {kinds.BROKEN: 22, kinds.NAME: 390}
    assert explain(statistics(failed=failed, succeeded=4588)) == (
        "412 of 5,000 failed: 390 could not resolve names, 22 lost the connection; "
        "is DNS reachable?"
    )


def test_a_single_failure() -> None:
    assert explain(statistics(failed={kinds.REFUSED: 1}, hosts=hosts(a=1), succeeded=4)) == (
        "1 of 5 failed: 1 was refused a connection for http://a; does anybody listen there?"
    )


def test_the_host_is_named_where_nearly_all_failed() -> None:
    failed = {kinds.REFUSED: 100}
    start = "100 of 100 failed: 100 were refused a connection"
    one = "does anybody listen there?"
    many = "are these hosts up, and does a firewall let you out?"

    def told(**at: int) -> str:
        return explain(statistics(failed=failed, hosts=hosts(**at)))

    assert told(a=100) == f"{start}, all for http://a; {one}"
    assert told(a=80, b=20) == f"{start}, nearly all for http://a; {one}"
    assert told(a=79, b=21) == f"{start}; {many}"
    assert told(a=50) == f"{start}; {many}"  # the others are beyond the table's end
    assert told() == f"{start}; {many}"


def test_requests_without_a_host_have_none_named() -> None:
    table = {"": hosts(a=3)["http://a"]}
    assert explain(statistics(failed={kinds.INVALID: 3}, hosts=table)) == (
        "3 of 3 failed: 3 could not be made into a request"
    )


def test_rare_causes_are_counted_together() -> None:
    failed = {kinds.NAME: 90, kinds.TLS: 5, kinds.PROXY: 4, kinds.BROKEN: 3, kinds.OTHER: 2}
    assert explain(statistics(failed=failed)) == (
        "104 of 104 failed: 90 could not resolve names, 5 failed in TLS, 4 failed at the proxy, "
        "5 failed in other ways; is DNS reachable?"
    )
    del failed[kinds.OTHER]
    assert ", 3 lost the connection; is" in explain(statistics(failed=failed))


def test_no_hint_where_no_cause_dominates() -> None:
    assert explain(statistics(failed={kinds.NAME: 1, kinds.TLS: 1})) == (
        "2 of 2 failed: 1 could not resolve names, 1 failed in TLS"
    )
    failed = {kinds.NAME: 4, kinds.REFUSED: 3, kinds.TLS: 2}
    assert explain(statistics(failed=failed)) == (
        "9 of 9 failed: 4 could not resolve names, 3 were refused a connection, 2 failed in TLS"
    )


@pytest.mark.parametrize(
    ("kind", "word"),
    [
        (kinds.NAME, "DNS"),
        (kinds.CONNECT_TIMEOUT, "per_host="),
        (kinds.READ_TIMEOUT, "Timeout(read=...)"),
        (kinds.TOTAL_TIMEOUT, "Timeout(total=...)"),
        (kinds.CERTIFICATE, "REQUESTS_CA_BUNDLE"),
        (kinds.PROXY, "proxy"),
        (kinds.DEADLINE, "deadline="),
        (kinds.TOO_LARGE, "max_body="),
        (kinds.RESOURCES, "ulimit -n"),
        (kinds.NOT_A_REQUEST, "grequests.get(...)"),
    ],
)
def test_what_may_help(kind: str, word: str) -> None:
    told = explain(statistics(failed={kind: 3}, hosts=hosts(a=3)))
    assert word in told.partition("; ")[2]


def test_each_kind_has_words_of_its_own() -> None:
    assert set(_explain._DID) == set(kinds.KINDS)
    assert len(set(_explain._DID.values())) == len(kinds.KINDS)
    assert set(_explain._HINTS) < set(kinds.KINDS)


def test_a_kind_that_is_unknown_is_counted_all_the_same() -> None:
    assert explain(statistics(failed={"new": 2})) == "2 of 2 failed: 2 failed in another way"


def test_open_circuits_are_named() -> None:
    failed = {kinds.CIRCUIT: 70, kinds.READ_TIMEOUT: 10}
    start = "80 of 80 failed: 70 were not sent to a host that keeps failing, 10 timed out waiting"

    def told(*names: str) -> str:
        return explain(statistics(failed=failed, open_circuits=names)).partition("; ")[2]

    assert explain(statistics(failed=failed)).startswith(start)
    assert told() == "the results before these say what was wrong with it"
    assert told("http://a", "http://b") == "left alone for now: http://a, http://b"
    assert told(*"abcde") == "left alone for now: a, b, c and 2 more"


# Asked too much


def test_many_answers_of_429_say_so_without_a_failure() -> None:
    answers = {200: 3800, 429: 1200}
    assert explain(statistics(succeeded=5000, statuses=answers)) == (
        "1,200 of 5,000 were answered 429 Too Many Requests; "
        "a lower rate=, per_host_rate= or per_host= may help"
    )
    assert explain(statistics(succeeded=5, statuses={429: 1, 503: 2})) == (
        "1 of 5 was answered 429 Too Many Requests, 2 were answered 503 Service Unavailable; "
        "a lower rate=, per_host_rate= or per_host= may help"
    )


def test_the_hint_is_for_what_is_more() -> None:
    some = statistics(failed={kinds.NAME: 10}, succeeded=90, statuses={200: 85, 429: 5})
    many = replace(some, statuses={200: 70, 429: 20})
    start = "10 of 100 failed: 10 could not resolve names"
    assert (
        explain(some) == f"{start}; 5 more were answered 429 Too Many Requests; is DNS reachable?"
    )
    assert explain(many) == (
        f"{start}; 20 more were answered 429 Too Many Requests; "
        "a lower rate=, per_host_rate= or per_host= may help"
    )


def test_troubles_are_failures_and_what_was_turned_away() -> None:
    assert troubles(statistics(succeeded=5, statuses={200: 4, 404: 1})) == 0
    assert troubles(statistics(failed={"x": 3}, succeeded=5, statuses={429: 2, 503: 1})) == 6


# How


def test_a_summary_in_two_lines() -> None:
    latency = replace(NONE, count=4588, p50=0.0451, p99=1.234)
    run = statistics(
        failed={kinds.NAME: 412},
        succeeded=4588,
        retries=31,
        received=12_400_000,
        elapsed=12.34,
        latency=latency,
    )
    assert summary(run) == (
        "5,000 done in 12.3 s (405/s): 4,588 answered, 412 failed, 31 retries, 12.4 MB\n"
        "answers took 45.1 ms at the median, 1.23 s at the 99th percentile"
    )


def test_a_summary_of_nothing() -> None:
    assert summary(statistics()) == ("0 done in 0 ms (0.0/s): 0 answered, 0 failed, 0 retries, 0 B")


def test_a_summary_of_one() -> None:
    run = statistics(succeeded=1, retries=1, received=1500, elapsed=2.0)
    assert summary(run) == "1 done in 2 s (0.5/s): 1 answered, 0 failed, 1 retry, 1.5 kB"


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        *((0.0, "0 ms"), (0.0004, "0.4 ms"), (0.04512, "45.1 ms"), (0.9994, "999 ms")),
        *((0.9996, "1 s"), (1.234, "1.23 s"), (12.34, "12.3 s"), (99.9, "99.9 s")),
        *((99.96, "1 min 40 s"), (3599.4, "59 min 59 s"), (3599.6, "1 h 0 min")),
        *((3750, "1 h 2 min"), (math.nan, "?")),
    ],
)
def test_durations(seconds: float, told: str) -> None:
    assert duration(seconds) == told


@pytest.mark.parametrize(
    ("count", "told"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1500, "1.5 kB"),
        (12_400_000, "12.4 MB"),
        (10**12, "1,000.0 GB"),
    ],
)
def test_sizes(count: int, told: str) -> None:
    assert size(count) == told


def test_rates() -> None:
    assert [rate(each) for each in (0.0, 1.25, 9.96, 12345.6)] == [
        *("0.0/s", "1.2/s", "10.0/s", "12,346/s")
    ]
