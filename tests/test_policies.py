"""Policies: frozen values that check themselves, and what they say of themselves."""

from __future__ import annotations

import copy
import dataclasses
import math
import pickle

import pytest
import requests

from grequests import Circuit, Client, PolicyError, Rate, Retry, Timeout

POLICIES = [Rate(100), Timeout(), Retry(), Circuit()]


@pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: type(policy).__name__)
def test_a_policy_is_frozen_hashable_picklable_and_prints_as_what_makes_it(policy):
    name = dataclasses.fields(policy)[0].name

    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(policy, name, 1)
    assert hash(policy) == hash(copy.copy(policy))
    assert pickle.loads(pickle.dumps(policy)) == policy
    assert repr(policy).startswith(f"{type(policy).__name__}({name}=")
    assert type(policy).__module__ == "grequests"


NOT_POSITIVE = [0, -1, math.inf, math.nan, "1", None, True]


@pytest.mark.parametrize("value", NOT_POSITIVE)
def test_a_rate_is_a_positive_number_in_a_positive_time(value):
    for keywords in ({"count": value}, {"count": 1, "per": value}):
        with pytest.raises(PolicyError) as caught:
            Rate(**keywords)
        assert caught.value.name == [*keywords][-1]
        assert caught.value.value is value


def test_a_rate_holds_one_and_what_fifty_milliseconds_allow():
    assert Rate(100).capacity == 6
    assert Rate(6, per=60).capacity == 1.005
    assert Rate(100, burst=30).capacity == 30
    assert Rate(100, burst=0.5).capacity == 1
    assert Rate(90, per=60).per_second == 1.5


@pytest.mark.parametrize("name", ["connect", "read", "total", "request"])
@pytest.mark.parametrize("value", [0, -1, math.nan, "5", (3, 4), True])
def test_a_timeout_is_a_positive_number_or_none(name, value):
    with pytest.raises(PolicyError) as caught:
        Timeout(**{name: value})
    assert (caught.value.name, caught.value.value) == (name, value) or math.isnan(value)


def test_a_timeout_says_what_requests_would_be_told():
    assert Timeout(connect=1, read=2).keyword == (1, 2)
    assert Timeout(connect=None, read=2).keyword == (None, 2)
    assert Timeout(connect=None, read=None).keyword is None


@pytest.mark.parametrize(
    "keywords",
    [
        {"attempts": 0},
        {"attempts": 1.5},
        {"attempts": True},
        {"backoff": -1},
        {"backoff": math.nan},
        {"factor": 0.5},
        {"cap": -1},
        {"budget": -0.1},
        {"reserve": -1},
        {"after": -1},
        {"statuses": 503},
        {"statuses": ["503"]},
        {"statuses": "503"},
        {"methods": "POST"},
        {"methods": [b"POST"]},
        {"methods": None},
        {"errors": "ConnectionError"},
        {"errors": (1,)},
        {"errors": KeyboardInterrupt},
    ],
    ids=str,
)
def test_a_retry_that_makes_no_sense_is_refused_by_name(keywords):
    with pytest.raises(PolicyError) as caught:
        Retry(**keywords)
    assert [caught.value.name] == [*keywords]


def test_a_retry_takes_any_collections_and_any_case():
    retry = Retry(statuses=[500, 500], methods=("post", "Get"), errors=OSError)

    assert retry.statuses == {500}
    assert retry.methods == {"POST", "GET"}
    assert retry.errors == (OSError,)
    assert Retry(statuses=(), methods=(), errors=()).statuses == frozenset()


def test_the_longest_wait_grows_up_to_its_cap_and_never_overflows():
    retry = Retry(backoff=0.5, factor=2, cap=30)

    assert [retry.longest_wait(number) for number in (1, 2, 3, 6, 7, 8)] == [0.5, 1, 2, 16, 30, 30]
    assert retry.longest_wait(10_000) == 30
    assert Retry(backoff=0).longest_wait(3) == 0
    assert Retry(backoff=1, cap=0).longest_wait(3) == 0


@pytest.mark.parametrize(
    "keywords", [{"failures": 0}, {"span": -1}, {"seconds": 0}, {"seconds": math.inf}], ids=str
)
def test_a_circuit_that_makes_no_sense_is_refused_by_name(keywords):
    with pytest.raises(PolicyError) as caught:
        Circuit(**keywords)
    assert [caught.value.name] == [*keywords]


@pytest.mark.parametrize(
    "keywords",
    [
        {"concurrency": 0},
        {"concurrency": "many"},
        {"concurrency": 1.5},
        {"concurrency": True},
        {"per_host": 0},
        {"rate": 0},
        {"rate": "fast"},
        {"per_host_rate": True},
        {"retry": 0},
        {"retry": True},
        {"retry": requests.adapters.Retry(3)},
        {"circuit": 5},
        {"timeout": 0},
        {"timeout": (3, 4, 5)},
        {"timeout": True},
        {"max_body": 0},
        {"max_body": 1.5},
        {"max_headers": 0},
        {"proxies": {"http": "http://proxy.test"}},
        {"lookahead": 0},
        {"unread": 0},
    ],
    ids=str,
)
def test_a_client_refuses_settings_that_make_no_sense(keywords):
    with pytest.raises(PolicyError) as caught:
        Client(**keywords)
    assert caught.value.name in {*keywords, "attempts", "count", "connect"}


def test_a_client_takes_numbers_for_policies():
    settings = Client(rate=5, retry=4, timeout=7)._settings

    assert (settings.rate, settings.retry) == (Rate(5), Retry(attempts=4))
    assert settings.timeout == Timeout(connect=7, read=7)
    none = Client(retry=None, timeout=None, circuit=None)._settings
    assert none.retry is None and none.circuit is None
    assert none.timeout == Timeout(connect=None, read=None, total=None)


def test_an_unknown_setting_is_a_type_error_at_once():
    with pytest.raises(TypeError, match="retries"):
        Client(retries=3)
