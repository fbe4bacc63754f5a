"""Latencies in bounded memory: quantiles within 1 % of those of the sorted list, whatever is added."""

from __future__ import annotations

import dataclasses
import math
import pickle
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grequests._histogram import ERROR, Histogram, Latency

#: Seconds that have buckets of their own, dense where latencies are.
SECONDS = st.one_of(
    st.floats(min_value=1e-6, max_value=1e4),
    st.floats(min_value=math.log(1e-6), max_value=math.log(1e4)).map(
        lambda exponent: min(max(math.exp(exponent), 1e-6), 1e4)
    ),
    st.sampled_from([1e-6, 0.001, 0.05, 1.0, 30.0, 1e4]),
)
SHARES = st.one_of(st.floats(min_value=0, max_value=1), st.sampled_from([0, 0.5, 0.9, 0.99, 1]))


def filled(values) -> Histogram:
    histogram = Histogram()
    for value in values:
        histogram.add(value)
    return histogram


def exact(values: list[float], percent: float) -> float:
    """The first in order that so many percent do not exceed: in whole numbers, so exactly."""
    per_mille = round(percent * 10)
    return sorted(values)[max(1, -(-len(values) * per_mille // 1000)) - 1]


def about(value: float):
    return pytest.approx(value, rel=ERROR * (1 + 1e-9))


# --- quantiles -----------------------------------------------------------------------------------


@given(st.lists(SECONDS, min_size=1), st.integers(min_value=0, max_value=1000))
def test_each_quantile_is_within_one_percent_of_the_sorted_list(values, per_mille):
    assert filled(values).quantile(per_mille / 1000) == about(exact(values, per_mille / 10))


@given(st.lists(SECONDS, min_size=1))
def test_a_snapshot_agrees_with_the_sorted_list(values):
    latency = filled(values).snapshot()
    assert latency.count == len(values)
    assert latency.minimum == min(values)
    assert latency.maximum == max(values)
    assert latency.mean == pytest.approx(math.fsum(values) / len(values), rel=1e-9)
    assert latency.p50 == about(exact(values, 50))
    assert latency.p90 == about(exact(values, 90))
    assert latency.p99 == about(exact(values, 99))
    assert latency.p999 == about(exact(values, 99.9))


@given(st.lists(SECONDS, min_size=1), SHARES, SHARES)
def test_a_larger_share_never_has_a_smaller_quantile(values, one, another):
    histogram = filled(values)
    less, more = sorted((one, another))
    assert histogram.quantile(less) <= histogram.quantile(more)


@given(st.lists(st.floats(min_value=0, max_value=1e300), min_size=1), SHARES)
def test_no_quantile_lies_outside_of_what_was_added(values, share):
    assert min(values) <= filled(values).quantile(share) <= max(values)


@given(SECONDS)
def test_of_a_single_latency_every_quantile_is_exact(seconds):
    histogram = filled([seconds])
    assert {histogram.quantile(share) for share in (0, 0.1, 0.5, 0.999, 1)} == {seconds}


def test_the_ends_are_exact():
    histogram = filled([0.123, 4.567, 1, 2, 3])
    assert (histogram.quantile(0), histogram.quantile(1)) == (0.123, 4.567)


def test_a_share_that_floats_make_a_little_larger_does_not_reach_the_next_rank():
    assert 0.07 * 100 > 7
    assert filled(range(1, 101)).quantile(0.07) == about(7)


@pytest.mark.parametrize("share", [-0.1, 1.1, math.nan])
def test_there_is_no_quantile_for_what_is_no_share(share):
    with pytest.raises(ValueError, match="between 0 and 1"):
        filled([1]).quantile(share)


# --- bounds --------------------------------------------------------------------------------------


def test_an_empty_one_has_no_figures():
    latency = Histogram().snapshot()
    count, *figures = dataclasses.astuple(latency)
    assert count == 0
    assert len(figures) == 7
    assert all(math.isnan(figure) for figure in figures)
    histogram = Histogram()
    assert math.isnan(histogram.quantile(0.5))
    assert math.isnan(histogram.minimum)
    assert math.isnan(histogram.maximum)
    assert math.isnan(histogram.mean)


def test_what_is_too_short_or_too_long_for_the_buckets_is_counted_in_the_outer_ones():
    histogram = filled([0, 1e-300, 1e-9, -1e-9, 5.0, 2e4, 1e9])
    assert histogram.count == 7
    assert histogram.minimum == -1e-9
    assert histogram.maximum == 1e9
    assert histogram.quantile(2 / 7) == about(1e-6)
    assert histogram.quantile(5 / 7) == about(5.0)
    assert histogram.quantile(6 / 7) == about(1e4)


def test_all_may_be_too_short():
    histogram = filled([1e-9, 3e-9, 2e-9])
    assert histogram.quantile(0.5) == 3e-9  # no more than the longest, whatever the bucket


def test_all_may_be_too_long():
    histogram = filled([1e6, 3e6, 2e6])
    assert histogram.quantile(0.5) == 1e6


def test_its_memory_does_not_grow():
    histogram = Histogram()
    counts = histogram._counts
    for exponent in range(-400, 400):
        for _ in range(25):
            histogram.add(math.exp(exponent / 10))
    assert histogram.count == 20_000
    assert histogram._counts is counts
    assert sys.getsizeof(counts) < 12_000


# --- merge ---------------------------------------------------------------------------------------


@given(st.lists(SECONDS), st.lists(SECONDS))
def test_merged_is_as_if_all_had_been_added_to_one(some, others):
    merged, whole = filled(some), filled(some + others)
    merged.merge(filled(others))
    assert merged.count == whole.count
    assert merged._counts == whole._counts
    if some or others:
        assert (merged.minimum, merged.maximum) == (whole.minimum, whole.maximum)
        assert merged.mean == pytest.approx(whole.mean, rel=1e-9)


def test_the_other_one_stays_as_it_is_and_both_go_on():
    one, other = filled([1.0]), filled([2.0])
    one.merge(other)
    one.add(3.0)
    other.add(0.5)
    assert (one.count, one.minimum, one.maximum) == (3, 1.0, 3.0)
    assert (other.count, other.minimum, other.maximum) == (2, 0.5, 2.0)


def test_an_empty_one_adds_nothing():
    histogram = filled([1.0])
    before = histogram.snapshot()
    histogram.merge(Histogram())
    assert histogram.snapshot() == before


# --- faces ---------------------------------------------------------------------------------------


def test_a_snapshot_is_a_frozen_value_of_the_package():
    latency = filled([0.25]).snapshot()
    assert latency == Latency(1, *[0.25] * 7)
    assert Latency.__module__ == "grequests"
    with pytest.raises(dataclasses.FrozenInstanceError):
        latency.count = 2


def test_a_snapshot_does_not_follow_what_is_added_later():
    histogram = filled([1.0])
    latency = histogram.snapshot()
    histogram.add(2.0)
    assert latency.count == 1


def test_a_histogram_can_be_pickled():
    histogram = filled([0.1, 0.2, 0.3])
    assert pickle.loads(pickle.dumps(histogram)).snapshot() == histogram.snapshot()


def test_it_shows_its_state():
    assert repr(filled([0.5])) == "<Histogram count=1 p50=0.5>"
