"""The budget of descriptors, counted on its own."""

from __future__ import annotations

import os
import threading

import pytest

from grequests._engine import _budget
from grequests._engine._budget import PAUSE, RESERVE, UNLIMITED, Budget


@pytest.fixture
def system(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    told = {"allowed": 100, "open": 10}
    monkeypatch.setattr(_budget, "_allowed_descriptors", lambda: told["allowed"])
    monkeypatch.setattr(_budget, "_open_descriptors", lambda: told["open"])
    return told


def test_it_leaves_what_others_hold_and_a_reserve(system: dict[str, int]) -> None:
    budget = Budget()
    assert budget.limit == 100 - 10 - 25
    system["allowed"] = 1024
    budget.refresh()
    assert budget.limit == 1024 - 10 - RESERVE
    assert budget.take()
    system["open"] = 11  # the one just taken is among them
    budget.refresh()
    assert budget.limit == 1024 - 10 - RESERVE


def test_it_never_falls_below_one(system: dict[str, int]) -> None:
    system["open"] = 1000
    budget = Budget()
    assert (budget.take(), budget.take()) == (True, False)
    budget.give()
    assert budget.take()


def test_the_system_may_know_better(system: dict[str, int]) -> None:
    budget = Budget()
    for _ in range(5):
        assert budget.take()
    budget.exhausted()
    assert not budget.take()
    budget.give()
    assert budget.take()
    assert not budget.take()
    budget.refresh()
    assert budget.take()


def test_the_system_is_asked_again_after_a_while(
    system: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who refused because others had them all may have them back: a run of hours goes on."""
    now = [1000.0]
    monkeypatch.setattr(_budget, "monotonic", lambda: now[0])
    budget = Budget()
    assert budget.take()
    budget.exhausted()
    now[0] += PAUSE / 2
    assert not budget.take()
    now[0] += PAUSE
    system["open"] = 101  # all, the one taken among them
    assert not budget.take()
    system["open"] = 11
    assert not budget.take(), "it was asked a moment ago"
    now[0] += PAUSE
    assert [budget.take() for _ in range(65)] == [True] * 64 + [False]


def test_a_child_begins_with_nothing_taken(system: dict[str, int]) -> None:
    budget = Budget()
    budget.take()
    budget.forked()
    assert (budget.taken, budget.limit) == (0, 65)


def test_threads_count_together(system: dict[str, int]) -> None:
    system["allowed"] = 10**6
    budget = Budget()
    taken: list[int] = []

    def take() -> None:
        taken.append(sum(budget.take() for _ in range(20_000)))
        for _ in range(10_000):
            budget.give()

    threads = [threading.Thread(target=take) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(taken) - budget.taken == 40_000


def test_what_the_system_says() -> None:
    assert 1 < _budget._allowed_descriptors() <= 1 << 20
    before = _budget._open_descriptors()
    assert before > 0
    ends = os.pipe()
    assert _budget._open_descriptors() == before + 2
    for end in ends:
        os.close(end)
    assert UNLIMITED > 0
