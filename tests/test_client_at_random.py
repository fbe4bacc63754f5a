"""Whatever is asked of a client and whatever servers do: each request has one result, and it ends.

Runs are drawn at random, with all the policies there are; the clock is a fake one that jumps, so that
a run that hangs is a `LoopExit` at once.
"""

from __future__ import annotations

import os
import random
from collections import Counter

import gevent
import pytest
import requests

import grequests
from grequests import Circuit, Client, Rate, Retry, Timeout
from grequests.testing import Answer, FakeClock, FakeTransport, Fault

pytestmark = pytest.mark.usefixtures("no_leaks")

#: More of them: GREQUESTS_SEEDS=1000 pytest tests/test_client_at_random.py
SEEDS = int(os.environ.get("GREQUESTS_SEEDS", "20"))

FAULTS = [
    *(Fault.REFUSED, Fault.DNS, Fault.CONNECT_TIMEOUT, Fault.READ_TIMEOUT, Fault.RESET),
    *(Fault.CLOSED, Fault.BODY_TIMEOUT, Fault.TRUNCATED),
]


class Odd(requests.Session):
    """Its requests take the general lane."""


class World:
    """Servers, requests and settings, drawn from one seed."""

    def __init__(self, seed):
        self.dice = random.Random(seed)
        self.sizes = [self.dice.choice([1, 2, 5, 30]) for _ in range(2)]
        self.session = Odd() if self.dice.random() < 0.5 else None
        self.mood = self.dice.choice([0.0, 0.1, 0.6, 1.0])

    def maybe(self, value, chance=0.4):
        return value if self.dice.random() < chance else None

    def settings(self):
        dice = self.dice
        drawn = {
            "concurrency": dice.choice([1, 2, 7, 100]),
            "per_host": dice.choice([None, 1, 3]),
            "rate": self.maybe(Rate(dice.choice([5, 50]), burst=self.maybe(3))),
            "per_host_rate": self.maybe(Rate(dice.choice([3, 20]))),
            "retry": self.maybe(
                Retry(
                    attempts=dice.choice([2, 4]),
                    backoff=dice.choice([0, 0.5]),
                    budget=dice.choice([0.1, 1]),
                ),
                0.8,
            ),
            "circuit": self.maybe(Circuit(failures=dice.choice([1, 3]), span=0, seconds=5), 0.5),
            "timeout": Timeout(
                connect=3,
                read=4,
                total=self.maybe(dice.choice([0.3, 2, 8])),
                request=self.maybe(dice.choice([0.5, 3, 10])),
            ),
            "max_body": self.maybe(1_500) or 10_000,
            "unread": self.maybe(dice.choice([1, 2, 9])),
            "lookahead": self.maybe(dice.choice([1, 2, 9])),
            "random": random.Random(dice.random()),
        }
        return drawn

    def options(self):
        dice = self.dice
        return {
            "ordered": dice.random() < 0.5,
            "coalesce": dice.random() < 0.3,
            "deadline": self.maybe(dice.choice([0.4, 3, 30]), 0.3),
        }

    def answer(self, _request):
        dice = self.dice
        latency = dice.choice([0, 0.01, 0.5, 3])
        if dice.random() > self.mood:
            return Answer(200, b"x" * dice.choice([0, 10, 2_000]), latency=latency)
        if dice.random() < 0.5:
            return Answer(body=b"half", error=dice.choice(FAULTS), latency=latency)
        after = {"Retry-After": str(dice.choice([0, 2, 500]))} if dice.random() < 0.5 else {}
        return Answer(dice.choice([404, 429, 500, 503]), b"no", headers=after, latency=latency)

    def items(self, count):
        dice = self.dice
        for number in range(count):
            if dice.random() < 0.05:
                yield None
                continue
            if dice.random() < 0.1:
                gevent.sleep(0)
            url = f"http://h{dice.randrange(4)}.test/{dice.randrange(40)}"
            method = dice.choice(["GET", "GET", "POST", "PUT"])
            session = dice.choice([None, None, self.session])  # the fast lane, or the general one
            cost = dice.choice([None, 0.5, 4])
            yield grequests.request(method, url, tag=number, cost=cost, session=session)


def add_up(client, pulled):
    now = client.statistics()
    assert now.queued + now.in_flight + now.done == pulled
    assert now.done == now.succeeded + sum(now.failed.values())
    assert now.succeeded == sum(now.statuses.values())


@pytest.mark.parametrize("seed", range(3 * SEEDS))
def test_each_request_has_one_result_and_counts_add_up(seed):
    world = World(seed)
    settings, options = world.settings(), world.options()
    clock = FakeClock(autojump=True, now=1000)
    with FakeTransport(clock) as fake, Client(**settings) as client:
        fake.add(lambda request: True, answer=world.answer)
        events = Counter()
        if seed % 2:
            client.on("finished", lambda event: events.update([event.result.index]))
        for _ in range(2):
            before = client.statistics().done
            items = list(world.items(60))
            events.clear()
            results = []
            for result in client.run(items if seed % 3 else iter(items), **options):
                assert (result.response is None) is not (result.error is None)
                results.append(result)
                if seed % 5 == 0:
                    gevent.sleep(0)
            indices = [result.index for result in results]
            if options["ordered"]:
                assert indices == sorted(indices)
            if options["deadline"] is None or seed % 3:
                assert sorted(indices) == [*range(60)]
            assert len(set(indices)) == len(indices)
            if seed % 2:
                assert events == Counter(indices)
            for result in results:
                item = items[result.index]
                assert result.request is item
                numbers = [attempt.number for attempt in result.attempts]
                assert numbers == [*range(1, len(numbers) + 1)]
                assert item is None or not item._in_flight
            add_up(client, before + len(results))
            now = client.statistics()
            assert now.queued == now.in_flight == 0
        if (
            world.session is None
        ):  # (those of the general lane are cut off a turn of the loop later)
            assert fake.most_in_flight <= settings["concurrency"]
            most = [load.most_in_flight for load in fake.hosts.values()]
            assert max(most, default=0) <= (settings["per_host"] or 60)
        gevent.sleep(0)
    assert clock.pending == 0


@pytest.mark.parametrize("seed", range(SEEDS))
def test_runs_that_are_left_and_futures_that_are_cancelled_leave_the_client_as_good_as_new(seed):
    world = World(seed)
    settings = world.settings() | {"circuit": None, "rate": None, "per_host_rate": None}
    clock = FakeClock(autojump=True, now=1000)
    with FakeTransport(clock) as fake, Client(**settings) as client:
        fake.add("http://fine.test/*", body="x")
        fake.add(lambda request: True, answer=world.answer)
        for _ in range(4):
            futures = [client.submit(each) for each in world.items(8) if each is not None]
            stop = world.dice.randrange(12)
            for count, _ in enumerate(client.run(world.items(30), **world.options())):
                if count < len(futures) and world.dice.random() < 0.5:
                    futures[count].cancel()
                if count == stop:
                    break
            for each in futures[::2]:
                each.cancel()
            for each in futures:
                assert (each.result().response is None) is not (each.result().error is None)
            now = client.statistics()
            assert (now.queued, now.in_flight) == (0, 0)
        clock.advance(600)
        urls = [f"http://fine.test/{n}" for n in range(20)]
        assert [r.ok for r in client.run(urls, ordered=True)] == [True] * 20
        gevent.sleep(0)
    assert clock.pending == 0
