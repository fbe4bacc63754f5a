"""The level of concurrency that is found by itself, against servers that exist in numbers only.

What it reaches is compared with the best level that does not move, found by trying: see
`simulation.py`. All chance is seeded, so that each run is the same.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from functools import lru_cache
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from simulation import (
    Degrading,
    Fast,
    Fixed,
    Flaky,
    Jitter,
    Limited,
    Outcome,
    constant,
    exponential,
    lognormal,
    simulate,
    square,
    thrashing,
    uniform,
    universal,
)

from grequests._adaptive import AdaptiveLimit, Auto
from grequests._exceptions import PolicyError

Make = Callable[[Random, Jitter], Any]

SERVERS: dict[str, Make] = {
    "fast": lambda random, jitter: Fast(random, jitter=jitter),
    "limited": lambda random, jitter: Limited(random, 40, jitter=jitter),
    "limited, few workers": lambda random, jitter: Limited(random, 10, jitter=jitter),
    "limited, refuses": lambda random, jitter: Limited(random, 40, jitter=jitter, room=20),
    "limited, no queue": lambda random, jitter: Limited(random, 40, jitter=jitter, room=0),
    "degrading": lambda random, jitter: Degrading(random, square(50), jitter=jitter),
    "degrading, thrashing": lambda random, jitter: Degrading(random, thrashing(40), jitter=jitter),
    "degrading, locks": lambda random, jitter: Degrading(
        random, universal(0.02, 0.0005), jitter=jitter
    ),
}
NOISES = {
    "constant": (constant, [0]),
    "uniform": (uniform, [1]),
    "exponential": (exponential, [1, 2, 3]),
    "lognormal": (lognormal, [1, 2]),
}
RUNS = [
    pytest.param(server, noise, seed, id=f"{server}-{noise}-{seed}")
    for server in SERVERS
    for noise, (_, seeds) in NOISES.items()
    for seed in seeds
]
#: Levels that are tried; neighbours differ by a quarter at most, where it matters by less.
FIXED = (1, 2, 4, 6, 8, 9, 10, 11, 12, 15, 20, 25, 30, 33, 36, 38, 40, 42, 45, 50, 55, 60, 75)
MORE_FIXED = (100, 150, 250, 500, 1000)


def server(name: str, noise: str = "constant", seed: int = 0) -> Any:
    return SERVERS[name](Random(seed), NOISES[noise][0])


@lru_cache(maxsize=None)
def best_fixed(name: str, noise: str) -> tuple[float, int]:
    """The highest throughput of any level that does not move, and that level."""
    levels = FIXED + MORE_FIXED if name == "fast" else FIXED + MORE_FIXED[:1]
    return max(
        (simulate(server(name, noise), Fixed(level), 6).throughput(1), level) for level in levels
    )


def run(server: Any, seconds: float = 40, *, auto: Auto | None = None, **options: Any) -> Outcome:
    return simulate(server, AdaptiveLimit(auto or Auto()), seconds, **options)


# --- what is reached -----------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "noise", "seed"), RUNS)
def test_throughput_is_within_20_percent_of_the_best_fixed_level(name, noise, seed):
    best, level = best_fixed(name, noise)
    seconds = 15 if name == "fast" else 40  # in which there are as many requests, or more
    reached = run(server(name, noise, seed), seconds).throughput(since=seconds / 4)
    assert reached >= 0.8 * best, f"{reached / best:.2f} of what {level} at once bring"


@pytest.mark.parametrize("name", [name for name in SERVERS if name != "fast"])
def test_the_level_settles(name):
    """What is left of variation is looking whether things are as they were."""
    assert run(server(name)).variation(since=20) < 0.2


@pytest.mark.parametrize("name", [name for name in SERVERS if name != "fast"])
def test_the_level_settles_though_latencies_vary(name):
    """With few at once chance is the larger, and so are the steps that see through it."""
    variations = [run(server(name, "exponential", seed)).variation(20) for seed in (1, 2, 3)]
    assert sum(variations) / 3 < 0.3


@pytest.mark.parametrize("noise", NOISES)
@pytest.mark.parametrize("name", ["limited", "degrading", "degrading, thrashing"])
def test_the_level_is_about_the_best(name, noise):
    _, best = best_fixed(name, noise)
    best = {"limited": 40}.get(name, best)  # more than 40 do no harm, so chance has chosen
    assert 0.6 * best < run(server(name, noise, seed=1)).level(since=20) < 1.6 * best


@pytest.mark.parametrize(("noise", "seed"), [(noise, 1) for noise in NOISES])
def test_the_start_is_quick(noise, seed):
    """In round trips of 50 ms."""
    assert run(server("fast", noise, seed), 2).reached(500) < 25 * 0.05
    assert run(server("limited", noise, seed), 2).reached(32) < 12 * 0.05


@pytest.mark.parametrize("noise", NOISES)
@pytest.mark.parametrize("name", ["limited", "limited, refuses", "degrading"])
def test_the_start_does_not_overshoot_badly(name, noise):
    outcome = run(server(name, noise, seed=1))
    assert outcome.highest <= 4 * 40
    assert outcome.level(0, 10) < 1.7 * 40


@pytest.mark.parametrize("noise", NOISES)
@pytest.mark.parametrize("name", ["limited, refuses", "limited, no queue"])
def test_few_requests_are_refused(name, noise):
    outcome = run(server(name, noise, seed=1))
    assert outcome.count("overload", since=10) < 0.01 * outcome.count("ok", since=10)


@pytest.mark.parametrize("noise", NOISES)
def test_a_server_for_one_at_a_time_is_not_asked_for_many(noise):
    """It hears of that only twenty times a second."""
    outcome = run(Limited(Random(1), 1, jitter=NOISES[noise][0]), 60)
    assert outcome.throughput(10) > 0.9 / 0.05
    assert outcome.level(40) < 8


# --- what changes --------------------------------------------------------------------------------


@pytest.mark.parametrize("noise", NOISES)
@pytest.mark.parametrize("room", [math.inf, 0], ids=["queues", "refuses"])
def test_it_follows_the_servers_capacity(noise, room):
    server = Limited(Random(1), 40, jitter=NOISES[noise][0], room=room)

    def become(workers: int) -> Callable[[], None]:
        return lambda: setattr(server, "workers", workers)

    outcome = run(server, 160, changes=((40, become(10)), (80, become(80))))
    assert outcome.throughput(20, 40) > 0.8 * 40 / 0.05
    assert outcome.throughput(45, 80) > 0.8 * 10 / 0.05
    assert outcome.level(65, 80) < 2.5 * 10
    assert outcome.throughput(130, 160) > 0.8 * 80 / 0.05


@pytest.mark.parametrize("noise", NOISES)
@pytest.mark.parametrize("refusal", [0.002, 5.0], ids=["refused", "timed out"])
def test_it_recovers_from_an_outage(noise, refusal):
    inner = Limited(Random(1), 40, jitter=NOISES[noise][0])
    outcome = run(Flaky(inner, Random(2), down=(20, 30), refusal=refusal), 60)
    assert outcome.throughput(45, 60) > 0.8 * 40 / 0.05


def test_during_an_outage_it_asks_no_more_than_it_has_to():
    outcome = run(Flaky(Limited(Random(1)), Random(2), down=(10, 20)), 30)
    assert outcome.level(11, 20) == 1


@pytest.mark.parametrize("noise", NOISES)
def test_when_answers_only_take_longer_it_goes_on_as_before(noise):
    """A limiter that remembers the least latency it has seen would take it for a queue."""
    server = Fast(Random(1), jitter=NOISES[noise][0])
    slower = (20, lambda: setattr(server, "latency", 0.15))
    outcome = run(server, 60, auto=Auto(maximum=100), changes=(slower,))
    assert outcome.throughput(40, 60) > 0.8 * 100 / 0.15


@pytest.mark.parametrize("noise", NOISES)
@pytest.mark.parametrize("share", [0.01, 0.05, 0.2])
def test_failures_that_have_nothing_to_do_with_the_level_do_not_hold_it_down(noise, share):
    inner = Limited(Random(1), 40, jitter=NOISES[noise][0])
    outcome = run(Flaky(inner, Random(2), share=share, refusal=0.05), 60)
    assert outcome.throughput(40, 60) > 0.8 * 40 / 0.05


@pytest.mark.parametrize("noise", NOISES)
def test_if_the_client_has_a_limit_of_its_own_that_is_used(noise):
    outcome = run(server("fast", noise, seed=1), 20, cap=200)
    assert outcome.throughput(5) > 0.95 * 200 / 0.05
    assert outcome.highest <= 2 * 200


# --- step by step --------------------------------------------------------------------------------


def levels(outcome: Outcome) -> list[int]:
    return [level for _, level in outcome.levels]


def answer(limit: AdaptiveLimit, count: int, *, now: float, latency=0.1, in_flight=None) -> float:
    """So many answers, evenly in time; when the last of them came."""
    for _ in range(count):
        in_use = limit.limit if in_flight is None else in_flight
        now += latency / in_use
        limit.on_end(now, latency, "ok", in_use)
    return now


def test_it_begins_where_the_policy_says():
    assert AdaptiveLimit(Auto()).limit == 8
    assert AdaptiveLimit(Auto(initial=3)).limit == 3
    assert AdaptiveLimit(Auto(maximum=5)).limit == 5
    assert AdaptiveLimit(Auto(minimum=20)).limit == 20


def test_as_long_as_more_are_answered_as_quickly_it_doubles():
    limit = AdaptiveLimit(Auto(maximum=500))
    assert levels(simulate(Fast(Random(1)), limit, 2))[:7] == [8, 16, 32, 64, 128, 256, 500]


def test_it_only_grows_while_it_is_used():
    limit = AdaptiveLimit(Auto())
    now = answer(limit, 5000, now=0.0, in_flight=5)
    assert limit.limit == 8
    answer(limit, 100, now=now)
    assert limit.limit > 8


def test_while_more_are_under_way_than_may_be_nothing_is_learned():
    limit = AdaptiveLimit(Auto(initial=20))
    limit.on_end(1.0, 0.1, "overload", 20)
    answer(limit, 5000, now=2.0, in_flight=20)
    assert limit.limit == 14


def test_a_refusal_makes_it_fall_by_a_factor():
    limit = AdaptiveLimit(Auto(initial=20))
    limit.on_end(1.0, 0.1, "overload", 20)
    assert limit.limit == 14


def test_it_falls_from_what_was_under_way():
    limit = AdaptiveLimit(Auto(initial=20, decrease=0.5))
    limit.on_end(1.0, 0.1, "overload", 12)
    assert limit.limit == 6


def test_it_falls_once_for_a_round_trip():
    limit = AdaptiveLimit(Auto(initial=20))
    for number in range(20):
        limit.on_end(1.0 + number / 1000, 0.1, "overload", 20 - number)
    assert limit.limit == 14
    limit.on_end(1.1, 0.05, "overload", 14)  # was started after the fall
    assert limit.limit == 9


def test_a_single_refusal_among_a_hundred_is_no_reason():
    limit = AdaptiveLimit(Auto(initial=100))
    limit.on_end(1.0, 0.1, "overload", 100)
    limit.on_end(1.0, 0.1, "overload", 100)
    assert limit.limit == 100
    limit.on_end(1.0, 0.1, "overload", 100)
    assert limit.limit == 70


def test_a_single_failure_is_no_reason_but_a_few_are():
    limit = AdaptiveLimit(Auto())
    limit.on_end(1.0, 0.1, "error", 8)
    limit.on_end(1.0, 0.1, "error", 8)
    assert limit.limit == 8
    limit.on_end(1.0, 0.1, "error", 8)
    assert limit.limit == 5


def test_it_never_falls_below_the_minimum():
    limit = AdaptiveLimit(Auto(minimum=3))
    for second in range(20):
        limit.on_end(float(second), 0.1, "overload", limit.limit)
    assert limit.limit == 3


@settings(max_examples=50, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.floats(0, 1),
            st.one_of(st.just(0.0), st.floats(0, 100)),
            st.sampled_from(["ok"] * 8 + ["error", "overload"]),
            st.integers(1, 80),
            st.integers(1, 60),
        ),
        max_size=30,
    )
)
def test_whatever_happens_it_stays_within_its_bounds(ends):
    limit = AdaptiveLimit(Auto(initial=10, minimum=2, maximum=50))
    now = 0.0
    for wait, latency, outcome, in_flight, times in ends:
        for _ in range(times):
            now += wait
            limit.on_end(now, latency, outcome, in_flight)
            assert 2 <= limit.limit <= 50
            assert type(limit.limit) is int


@pytest.mark.parametrize("level", [1, 7])
def test_with_a_single_level_to_choose_it_stays(level):
    auto = Auto(minimum=level, maximum=level)
    assert levels(run(server("limited", "exponential"), 5, auto=auto)) == [level]


def test_the_same_ends_make_the_same_levels():
    one, other = (run(server("limited", "lognormal", 5), 10) for _ in range(2))
    assert one.levels == other.levels


def test_one_outlier_is_no_trend():
    def lowest(latency: float) -> int:
        limit = AdaptiveLimit(Auto(maximum=64))
        now = answer(limit, 20_000, now=0.0)
        limit.on_end(now, latency, "ok", limit.limit)
        reached = []
        for _ in range(5000):
            now = answer(limit, 1, now=now)
            reached.append(limit.limit)
        assert max(reached) == 64
        return min(reached)

    assert lowest(300.0) == lowest(0.1)


def test_it_shows_its_state():
    limit = AdaptiveLimit(Auto())
    assert repr(limit) == "<AdaptiveLimit 8 latency=0>"
    answer(limit, 20, now=0.0)
    assert repr(limit) == f"<AdaptiveLimit {limit.limit} latency=0.1>"


# --- the policy ----------------------------------------------------------------------------------


def test_the_policy_is_a_frozen_value_of_the_package():
    assert Auto() == Auto(initial=8, minimum=1, maximum=1000, worth=0.15, decrease=0.7)
    assert Auto.__module__ == "grequests"
    with pytest.raises(dataclasses.FrozenInstanceError):
        Auto().maximum = 5
    with pytest.raises(TypeError):
        Auto(8)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *((name, value) for name in ("initial", "minimum", "maximum") for value in (0, -1, 1.5)),
        *(
            (name, value)
            for name in ("initial", "minimum", "maximum")
            for value in (True, None, "8")
        ),
        *((name, value) for name in ("worth", "decrease") for value in (0, 1, -0.1, 1.5)),
        *((name, value) for name in ("worth", "decrease") for value in (math.nan, None, True, "x")),
    ],
)
def test_a_policy_that_makes_no_sense_is_refused(name, value):
    with pytest.raises(PolicyError) as caught:
        Auto(**{name: value})
    assert caught.value.name == name


def test_the_maximum_is_no_less_than_the_minimum():
    with pytest.raises(PolicyError, match="maximum must be an integer of at least 10, not 9"):
        Auto(minimum=10, maximum=9)
