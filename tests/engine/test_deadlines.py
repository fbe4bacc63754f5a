"""Deadlines with a clock and a timer that the test turns."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from grequests._engine._deadlines import NEVER, RESOLUTION, Deadlines


class World:
    """A clock, and the timers of an event loop that follows it."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now
        self.timers: list[Timer] = []
        self.made = 0
        self.deadlines = Deadlines(self.timer, lambda: self.now)

    def timer(self, delay: float) -> Timer:
        self.made += 1
        return Timer(self, self.now + delay)

    def pass_(self, seconds: float) -> None:
        """Let time pass; timers are called when they are due."""
        end = self.now + seconds
        while due := [timer for timer in self.timers if timer.at <= end]:
            first = min(due, key=lambda timer: timer.at)
            self.timers.remove(first)
            self.now = max(self.now, first.at)
            first.callback()
        self.now = end


class Timer:
    def __init__(self, world: World, at: float) -> None:
        self._world = world
        self.at = at
        self.callback: Callable[[], None]

    def start(self, callback: Callable[[], None]) -> None:
        self.callback = callback
        self._world.timers.append(self)

    def close(self) -> None:
        if self in self._world.timers:
            self._world.timers.remove(self)


class Thing:
    def __init__(self, world: World, then: Callable[[], None] = lambda: None) -> None:
        self.deadline = self.slot = NEVER
        self.expired: list[float] = []
        self._world = world
        self._then = then

    def expire(self) -> None:
        self.expired.append(self._world.now)
        self._then()


def test_it_expires_once_and_soon_after_its_deadline() -> None:
    world = World()
    thing = Thing(world)
    world.deadlines.watch(thing, 1005.0)
    world.pass_(4.999)
    assert not thing.expired
    world.pass_(10)
    (when,) = thing.expired
    assert 1005.0 <= when <= 1005.0 + 2 * RESOLUTION
    assert len(world.deadlines) == 0
    assert not world.timers


def test_a_deadline_that_moves_on_costs_nothing_until_its_slot_comes() -> None:
    world = World()
    thing = Thing(world)
    for _ in range(1000):
        world.deadlines.watch(thing, world.now + 5.0)
        world.now += 0.001
    assert world.made == 1
    world.pass_(4.5)
    assert not thing.expired
    assert world.made == 2
    world.pass_(1)
    assert len(thing.expired) == 1
    assert world.made == 2


def test_a_deadline_can_move_nearer() -> None:
    world = World()
    thing = Thing(world)
    world.deadlines.watch(thing, 1100.0)
    world.deadlines.watch(thing, 1001.0)
    world.pass_(2)
    assert len(thing.expired) == 1
    world.pass_(200)
    assert len(thing.expired) == 1


def test_what_is_forgotten_does_not_expire() -> None:
    world = World()
    things = [Thing(world) for _ in range(3)]
    for thing in things:
        world.deadlines.watch(thing, 1001.0)
    world.deadlines.forget(things[0])
    things[1].deadline = NEVER  # as a connection does whose request has no timeout
    world.deadlines.forget(Thing(world))
    world.pass_(5)
    assert [len(thing.expired) for thing in things] == [0, 0, 1]
    world.deadlines.watch(things[1], 1010.0)
    world.pass_(10)
    assert len(things[1].expired) == 1


def test_an_expiry_may_forget_and_watch_others() -> None:
    world = World()
    others: list[Thing] = []

    def meddle() -> None:
        world.deadlines.forget(others[0])
        world.deadlines.watch(others[1], world.now + 1.0)
        world.deadlines.watch(others[2], world.now)

    things = [Thing(world, meddle)] + [Thing(world) for _ in range(3)]
    others.extend(things[1:])
    world.deadlines.watch(things[0], 1001.0)
    for thing in others:
        world.deadlines.watch(thing, 1001.5)
    world.pass_(10)
    assert not others[0].expired
    assert others[1].expired[0] >= 1002.0
    assert others[2].expired[0] < 1001.1
    assert [len(thing.expired) for thing in things] == [1, 0, 1, 1]


def test_an_expiry_that_raises_takes_nobody_with_it() -> None:
    world = World()

    def fail() -> None:
        raise RuntimeError

    broken = Thing(world, fail)
    others = [Thing(world) for _ in range(20)]
    late = Thing(world)
    for thing in (*others[:10], broken, *others[10:]):
        world.deadlines.watch(thing, 1001.0)
    world.deadlines.watch(late, 1003.0)
    with pytest.raises(RuntimeError):
        world.pass_(2)
    world.pass_(5)
    assert {len(thing.expired) for thing in (*others, broken, late)} == {1}


def test_closed_deadlines_can_be_used_again() -> None:
    world = World()
    old, new = Thing(world), Thing(world)
    world.deadlines.watch(old, 1001.0)
    world.deadlines.close()
    assert not world.timers
    world.deadlines.watch(new, 1002.0)
    world.pass_(5)
    assert (len(old.expired), len(new.expired)) == (0, 1)


def test_a_timer_that_is_early_is_set_again() -> None:
    world = World()
    thing = Thing(world)
    world.deadlines.watch(thing, 1001.0)
    world.now = 1000.9
    world.deadlines.sweep()
    assert not thing.expired
    world.pass_(1)
    assert len(thing.expired) == 1


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 4), st.floats(0, 1) | st.sampled_from([0.01, 0.02, 0.29, 0.57])),
        max_size=40,
    ),
    st.floats(0, 1e6),
)
def test_whatever_happens_each_expires_at_its_last_deadline(
    steps: list[tuple[int, float]], start: float
) -> None:
    world = World(start)
    things = [Thing(world) for _ in range(4)]
    due: dict[Any, float] = {}
    for which, seconds in steps:
        if which == 4:
            world.pass_(seconds)
        else:
            due[things[which]] = world.now + seconds
            world.deadlines.watch(things[which], world.now + seconds)
        for thing in things:
            for when in thing.expired:
                assert due[thing] <= when
            if thing.expired:
                del due[thing]
                thing.expired.clear()
    world.pass_(3)
    for thing in things:
        assert len(thing.expired) == (thing in due)


@pytest.mark.parametrize("hundredths", range(0, 3000, 7))
def test_a_slot_is_not_before_its_deadline_however_it_is_rounded(hundredths: int) -> None:
    for deadline in (hundredths * RESOLUTION, math.nextafter(hundredths * RESOLUTION, NEVER)):
        world = World(deadline - 0.005)
        thing = Thing(world)
        world.deadlines.watch(thing, deadline)
        assert thing.slot >= deadline
        world.now = math.nextafter(deadline, 0)
        world.deadlines.sweep()
        world.pass_(1)
        assert len(thing.expired) == 1
