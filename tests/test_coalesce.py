"""Identical requests of one run: what makes them so, who leads, what is kept."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import requests

import grequests
from grequests import _coalesce
from grequests._coalesce import Leaders, identity_of

URL = "http://example.test/"


def same(first, second):
    found = identity_of(first)
    return found is not None and found == identity_of(second)


# What is identical


@pytest.mark.parametrize(
    "keywords",
    [
        {},
        {"params": {"a": ["1", "2"]}},
        {"headers": {"Accept": "text/plain"}},
        {"timeout": (3, 4)},
        {"auth": ("user", "password")},
        {"cookies": {"a": "1"}, "allow_redirects": False},
    ],
    ids=str,
)
@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "get"])
def test_requests_with_equal_arguments_are_identical(method, keywords):
    made = [grequests.request(method, URL, **keywords) for _ in range(2)]
    assert same(*made)


def test_tags_and_costs_make_no_difference():
    assert same(grequests.get(URL, tag="a", cost=5), grequests.get(URL, tag="b"))


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (grequests.get(URL), grequests.get(URL + "b")),
        (grequests.get(URL), grequests.head(URL)),
        (grequests.get(URL), grequests.get(URL, params={"a": "1"})),
        (grequests.get(URL, params={"a": 1}), grequests.get(URL, params={"a": True})),
        (grequests.get(URL, params={"a": 1}), grequests.get(URL, params={"a": 1.0})),
        (grequests.get(URL, params={"a": "b"}), grequests.get(URL, params={"b": "a"})),
        (grequests.get(URL, params={"a": 1, "b": 2}), grequests.get(URL, params={"b": 2, "a": 1})),
        (grequests.get(URL, params=["a"]), grequests.get(URL, params=("a",))),
        (grequests.get(URL, auth=("a", "b")), grequests.get(URL)),
        (grequests.get(URL), grequests.get(URL, session=requests.Session())),
    ],
    ids=str,
)
def test_any_difference_keeps_them_apart(first, second):
    assert not same(first, second)


@pytest.mark.parametrize(
    "request_",
    [
        grequests.post(URL),
        grequests.delete(URL),
        grequests.put(URL),
        grequests.get(URL, data="a"),
        grequests.get(URL, json={"a": 1}),
        grequests.get(URL, files={"a": b"b"}),
        grequests.get(URL, stream=True),
        grequests.get(URL, callback=print),
        grequests.get(URL, params={"a": {1, 2}}),
        grequests.get(URL, headers=bytearray()),
        grequests.AsyncRequest(None, URL),
    ],
    ids=str,
)
def test_what_changes_things_or_cannot_be_compared_is_like_nothing_else(request_):
    assert identity_of(request_) is None


def test_a_class_of_ones_own_is_not_the_plain_one():
    class Mine(grequests.AsyncRequest):
        pass

    assert not same(Mine("GET", URL), grequests.get(URL))


# Leaders


def task(request=None):
    return SimpleNamespace(
        request=request or grequests.get(URL),
        followers=None,
        leader=None,
        identity=None,
        error=None,
    )


def test_the_first_leads_and_the_others_wait_for_it():
    leaders = Leaders()
    first, second, third = task(), task(), task()

    assert [leaders.follow(each) for each in (first, second, third)] == [False, True, True]
    assert first.followers == [second, third]
    assert second.leader is None


def test_those_after_its_end_have_it_at_once():
    leaders = Leaders()
    first, late = task(), task()
    leaders.follow(first)
    leaders.ended(first, 100)

    assert leaders.follow(late)
    assert late.leader is first


def test_a_failure_is_not_kept_for_those_to_come():
    leaders = Leaders()
    first, late = task(), task()
    leaders.follow(first)
    first.error = ValueError()
    leaders.ended(first, 0)

    assert not leaders.follow(late)
    assert late.identity is not None


def test_one_that_is_like_nothing_else_is_left_alone():
    leaders = Leaders()
    alone = task(grequests.post(URL))

    assert not leaders.follow(alone)
    leaders.ended(alone, 0)
    assert not leaders.follow(task(grequests.post(URL)))


def of(number):
    return task(grequests.get(f"{URL}{number}"))


def lead(leaders, number, size):
    one = of(number)
    assert not leaders.follow(one)
    leaders.ended(one, size)


def kept(leaders, numbers):
    return [number for number in numbers if leaders.follow(of(number))]


def test_as_many_bytes_are_kept_as_there_is_room_for_and_the_least_wanted_go_first(monkeypatch):
    monkeypatch.setattr(_coalesce, "MAX_BYTES", 100)
    leaders = Leaders()
    lead(leaders, 1, 40)
    lead(leaders, 2, 40)
    assert kept(leaders, [1]) == [1]
    lead(leaders, 3, 40)

    assert kept(leaders, [1, 3]) == [1, 3]
    assert kept(leaders, [2]) == []


def test_what_is_larger_than_all_the_room_is_not_kept_and_drives_nobody_out(monkeypatch):
    monkeypatch.setattr(_coalesce, "MAX_BYTES", 100)
    leaders = Leaders()
    lead(leaders, 1, 40)
    lead(leaders, 2, 101)

    assert kept(leaders, [1]) == [1]
    assert kept(leaders, [2]) == []


def test_as_many_are_kept_as_there_may_be(monkeypatch):
    monkeypatch.setattr(_coalesce, "MAX_KEPT", 3)
    leaders = Leaders()
    for number in range(10):
        lead(leaders, number, 0)

    assert kept(leaders, [7, 8, 9]) == [7, 8, 9]
    assert len(leaders._kept) == 3
