"""The fake clock: what is called when, in which order, and who gets to run in between."""

from __future__ import annotations

import math
import threading

import gevent
import pytest
from gevent.event import Event
from gevent.exceptions import LoopExit

from grequests.testing import FakeClock


@pytest.fixture
def clock():
    with FakeClock() as one:
        yield one


@pytest.fixture
def jumping():
    with FakeClock(autojump=True) as one:
        yield one


def sleep(clock, seconds):
    """What a greenlet that waits by a clock does."""
    event = Event()
    clock.call_later(seconds, event.set)
    event.wait()


# --- standing still ------------------------------------------------------------------------------


def test_it_stands_still(clock):
    before = clock.now(), clock.wall()
    gevent.sleep(0.01)

    assert before == (clock.now(), clock.wall()) == (0.0, 946684800.0)


def test_both_hands_begin_where_they_are_put_and_go_together():
    clock = FakeClock(now=100, wall=5)
    clock.advance(2.5)

    assert (clock.now(), clock.wall()) == (102.5, 7.5)


def test_nothing_that_is_to_come_comes_by_itself(clock):
    log = []
    clock.call_later(1, log.append, "rang")
    gevent.sleep(0.01)

    assert (log, clock.pending) == ([], 1)


def test_what_is_due_at_once_comes_in_the_next_turn_of_the_loop(clock):
    log = []
    clock.call_later(0, log.append, "first")
    clock.call_later(-1, log.append, "second")
    assert log == []

    gevent.sleep(0)

    assert (log, clock.now(), clock.pending) == (["first", "second"], 0.0, 0)


# --- advance -------------------------------------------------------------------------------------


def test_calls_come_in_the_order_of_their_times_with_the_clock_at_each(clock):
    log = []
    for seconds in (3, 1, 2.5):
        clock.call_later(seconds, lambda s=seconds: log.append((s, clock.now())))

    clock.advance(10)

    assert log == [(1, 1.0), (2.5, 2.5), (3, 3.0)]
    assert (clock.now(), clock.pending) == (10.0, 0)


def test_those_for_the_same_time_come_in_the_order_in_which_they_were_made(clock):
    log = []
    for number in range(20):
        clock.call_later(1, log.append, number)

    clock.advance(1)

    assert log == list(range(20))


def test_what_is_later_stays(clock):
    log = []
    clock.call_later(1, log.append, 1)
    clock.call_later(1.5, log.append, 2)

    clock.advance(1)
    assert (log, clock.pending) == ([1], 1)
    clock.advance(0.5)
    assert log == [1, 2]


def test_what_a_call_adds_is_called_on_the_way_too(clock):
    log = []

    def again(left):
        log.append(clock.now())
        if left:
            clock.call_later(1, again, left - 1)

    clock.call_later(1, again, 5)
    clock.advance(3.5)

    assert log == [1.0, 2.0, 3.0]


def test_everybody_who_can_run_does_so_before_time_goes_on(clock):
    log = []

    def worker():
        for _ in range(3):
            sleep(clock, 1)
            gevent.sleep(0)
            gevent.sleep(0)
            log.append(clock.now())

    job = gevent.spawn(worker)
    clock.advance(2)
    assert log == [1.0, 2.0]
    clock.advance(5)

    assert (log, job.ready()) == ([1.0, 2.0, 3.0], True)


def test_thousands_run_before_time_goes_on(clock):
    seen = []

    def worker():
        sleep(clock, 1)
        gevent.sleep(0)
        seen.append(clock.now())

    for _ in range(3000):
        gevent.spawn(worker)
    clock.call_later(1.5, lambda: seen.append("half past"))
    clock.advance(2)

    assert seen == [1.0] * 3000 + ["half past"]


def test_advancing_by_nothing_lets_everybody_run(clock):
    log = []
    gevent.spawn(log.append, "spawned")
    clock.call_later(0, log.append, "called")
    clock.advance(0)

    assert sorted(log) == ["called", "spawned"]


def test_calls_come_from_the_hub(clock):
    seen = []
    clock.call_later(1, lambda: seen.append(gevent.getcurrent()))
    clock.advance(1)

    assert seen == [gevent.get_hub()]


def test_it_can_be_advanced_from_the_hub(clock):
    log = []
    clock.call_later(1, log.append, 1)
    clock.call_later(2, log.append, 2)
    gevent.get_hub().loop.run_callback(clock.advance, 1.5)
    gevent.sleep(0)

    assert (log, clock.now()) == ([1], 1.5)


@pytest.mark.parametrize("seconds", [-1, -1e-9, math.nan])
def test_time_does_not_go_back(clock, seconds):
    with pytest.raises(ValueError, match="0 seconds or more"):
        clock.advance(seconds)


def test_one_at_a_time_advances_it(clock):
    clock.call_later(1, lambda: None)
    other = gevent.spawn(clock.advance, 2)
    errors = []

    def advance():
        try:
            clock.advance(1)
        except RuntimeError as error:
            errors.append(str(error))

    gevent.joinall([other, gevent.spawn(advance)])

    assert errors == ["<FakeClock 0, 1 call, next in 1> is being advanced already"]
    assert clock.now() == 2.0


def test_what_a_call_raises_reaches_who_advances_and_the_rest_is_still_to_come(clock):
    log = []
    clock.call_later(1, {}.__getitem__, "missing")
    clock.call_later(1, log.append, "same time")
    clock.call_later(2, log.append, "later")

    with pytest.raises(KeyError, match="missing"):
        clock.advance(5)
    assert (clock.now(), clock.pending) == (1.0, 2)
    clock.advance(5)

    assert log == ["same time", "later"]


# --- closing -------------------------------------------------------------------------------------


def test_a_call_that_is_closed_does_not_come(clock):
    log = []
    calls = [clock.call_later(seconds, log.append, seconds) for seconds in (1, 2, 3)]
    calls[1].close()
    calls[1].close()
    assert clock.pending == 2

    clock.advance(5)
    calls[0].close()

    assert (log, clock.pending) == ([1, 3], 0)


def test_a_call_can_close_the_next(clock):
    log = []
    clock.call_later(1, lambda: later.close())
    later = clock.call_later(1, log.append, "later")
    clock.advance(2)

    assert (log, clock.pending) == ([], 0)


def test_closed_calls_are_not_kept(clock):
    kept = clock.call_later(1000, print)
    for _ in range(10_000):
        clock.call_later(500, print).close()

    assert (clock.pending, len(clock._calls) < 200) == (1, True)
    kept.close()


def test_a_clock_that_is_closed_forgets_what_is_to_come(clock):
    log = []
    call = clock.call_later(1, log.append, 1)
    clock.close()
    clock.advance(5)
    call.close()

    assert (log, clock.pending) == ([], 0)


# --- autojump ------------------------------------------------------------------------------------


def test_it_jumps_when_nothing_else_can_run(jumping):
    log = []

    def worker(name, seconds):
        for _ in range(2):
            sleep(jumping, seconds)
            log.append((name, jumping.now()))

    gevent.joinall([gevent.spawn(worker, "a", 3600), gevent.spawn(worker, "b", 2000)])

    assert log == [("b", 2000.0), ("a", 3600.0), ("b", 4000.0), ("a", 7200.0)]


def test_it_does_not_jump_while_something_can_run(jumping):
    log = []
    jumping.call_later(1, lambda: log.append("rang"))

    def busy():
        for _ in range(2000):
            gevent.sleep(0)
        log.append(("busy", jumping.now()))

    gevent.spawn(busy).join()
    assert log == [("busy", 0.0)]
    sleep(jumping, 1)
    assert log == [("busy", 0.0), "rang"]


def test_calls_that_are_pending_keep_the_hub_from_giving_up(jumping):
    event = Event()
    jumping.call_later(10**9, event.set)

    assert event.wait()
    assert jumping.now() == 1e9


def test_with_nothing_pending_the_hub_gives_up_as_always(jumping):
    jumping.call_later(5, print).close()
    jumping.call_later(math.inf, print)

    with pytest.raises(LoopExit):
        Event().wait()
    assert jumping.now() == 0.0


def test_without_autojump_the_hub_gives_up_with_calls_pending(clock):
    clock.call_later(5, print)

    with pytest.raises(LoopExit):
        Event().wait()


def test_it_does_not_spin_when_nothing_is_pending(jumping):
    jumping.call_later(1, lambda: None)
    sleep(jumping, 2)
    turns = []
    watcher = gevent.get_hub().loop.check()
    watcher.start(lambda: turns.append(1))
    try:
        gevent.sleep(0.05)
    finally:
        watcher.close()

    assert len(turns) < 5


def test_while_it_is_advanced_it_goes_no_further(jumping):
    log = []
    jumping.call_later(1, log.append, 1)
    jumping.call_later(3, log.append, 3)
    jumping.advance(2)
    assert (log, jumping.now()) == ([1], 2.0)

    sleep(jumping, 5)
    assert (log, jumping.now()) == ([1, 3], 7.0)


def test_two_of_them_do_not_disturb_each_other(jumping):
    with FakeClock(autojump=True) as other:
        gevent.joinall([gevent.spawn(sleep, jumping, 5), gevent.spawn(sleep, other, 50)])

        assert (jumping.now(), other.now()) == (5.0, 50.0)


@pytest.mark.usefixtures("no_leaks")
def test_it_leaves_nothing_in_the_loop():
    for _ in range(3):
        with FakeClock(autojump=True) as clock:
            clock.call_later(1, print)
            clock.call_later(0.5, lambda: None)
            sleep(clock, 0.7)


# --- threads -------------------------------------------------------------------------------------


def test_another_thread_may_not_use_it_while_calls_are_pending(clock):
    clock.call_later(1, print)
    found = []

    def use():
        for use in (lambda: clock.call_later(1, print), lambda: clock.advance(1)):
            try:
                use()
            except RuntimeError as error:
                found.append(str(error))

    thread = threading.Thread(target=use)
    thread.start()
    thread.join()

    assert found == ["<FakeClock 0, 1 call, next in 1> has calls pending in another thread"] * 2


def test_another_thread_may_use_it_afterwards(clock):
    log = []
    clock.call_later(1, log.append, "here")
    clock.advance(1)

    def use():
        clock.call_later(1, log.append, "there")
        clock.advance(1)

    thread = threading.Thread(target=use)
    thread.start()
    thread.join()

    assert log == ["here", "there"]


def test_it_shows_its_state():
    with FakeClock(autojump=True) as clock:
        assert repr(clock) == "<FakeClock 0 autojump>"
        clock.call_later(2.5, print)
        call = clock.call_later(9, print)
        assert repr(clock) == "<FakeClock 0 autojump, 2 calls, next in 2.5>"
        assert repr(call) == "<call at 9>"
        call.close()
        assert repr(call) == "<call at 9, over>"
    assert repr(FakeClock(now=1.25)) == "<FakeClock 1.25>"
    assert FakeClock.__module__ == "grequests.testing"
