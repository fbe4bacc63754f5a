"""A token bucket alone: exact in any window, whatever the costs."""

from __future__ import annotations

from hypothesis import given, strategies as st

from grequests import Rate
from grequests._bucket import TokenBucket


def test_a_full_bucket_gives_its_burst_and_then_the_rate():
    bucket = TokenBucket(Rate(10, burst=3), 100.0)

    for _ in range(3):
        assert bucket.wait(100.0) == 0
        bucket.take(100.0)
    assert bucket.wait(100.0) == 0.1
    assert bucket.wait(100.05) == 0.05 or abs(bucket.wait(100.05) - 0.05) < 1e-9
    assert bucket.wait(100.1) == 0


def test_it_does_not_hold_more_than_its_burst_however_long_it_waits():
    bucket = TokenBucket(Rate(10, burst=3), 0.0)

    taken = 0
    while not bucket.wait(1e6):
        bucket.take(1e6)
        taken += 1
    assert taken == 3


def test_what_costs_more_than_it_holds_waits_until_it_is_full_and_is_paid_off_after():
    bucket = TokenBucket(Rate(10, burst=2), 0.0)
    bucket.take(0.0)

    assert bucket.wait(0.0, 7) == 0.1
    bucket.take(0.1, 7)
    assert bucket.wait(0.1) == 0.6


def test_a_wait_asked_for_changes_nothing():
    bucket = TokenBucket(Rate(10, burst=2), 0.0)

    assert [bucket.wait(0.0, cost) for cost in (1, 2, 3, 1)] == [0, 0, 0, 0]


def test_it_prints_what_it_holds():
    assert repr(TokenBucket(Rate(10, burst=2), 0.0)) == "<TokenBucket 2.00 of 2, 10/s>"


steps = st.lists(
    st.tuples(st.floats(0, 3), st.floats(0.01, 8)).map(
        lambda step: (round(step[0], 3), round(step[1], 2))
    ),
    min_size=1,
    max_size=60,
)


@given(steps, st.floats(0.2, 50), st.floats(1, 20))
def test_no_window_ever_has_more_than_burst_and_rate_allow(steps, count, burst):
    rate = Rate(count, burst=burst)
    bucket = TokenBucket(rate, 0.0)
    now, taken = 0.0, []
    for pause, cost in steps:
        now += pause
        now += bucket.wait(now, cost)
        bucket.take(now, cost)
        taken.append((now, cost))

    for first, (begin, _) in enumerate(taken):
        total, dearest = 0.0, 0.0
        for end, cost in taken[first:]:
            total, dearest = total + cost, max(dearest, cost)
            # What costs more than the burst is let through as if it were the last of the window.
            assert total <= max(rate.capacity, cost) + rate.per_second * (end - begin) + 1e-6 * (
                1 + total
            )


@given(st.floats(0.5, 200), st.lists(st.floats(0.1, 6), min_size=50, max_size=200))
def test_with_work_there_it_gives_all_of_the_rate(count, costs):
    rate = Rate(count)
    bucket = TokenBucket(rate, 0.0)
    now = 0.0
    for cost in costs:
        now += bucket.wait(now, cost)
        bucket.take(now, cost)

    assert sum(costs) >= 0.99 * rate.per_second * now
