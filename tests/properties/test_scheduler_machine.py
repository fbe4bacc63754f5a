"""Whatever is asked of a client, and whatever servers do, and when: a state machine tries.

Runs, feeds, futures, readers that pause, servers that answer late, badly or not at all, and a clock
that moves when it is told. Each request has one result, limits hold, counts add up, and in the end
the client is as good as new. More examples: GREQUESTS_EXAMPLES=2000 pytest tests/properties
"""

from __future__ import annotations

import math
import random

import gevent
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

import grequests
from grequests import Circuit, Client, ClientClosedError, Rate, Retry, Timeout
from grequests.testing import Answer, FakeClock, FakeTransport, Fault

from .machines import ANY, pick, run
from .readers import Asked, Lazily, Odd, Reader

HOSTS = 3
#: Runs of a client.
MANY = 4
METHODS = st.sampled_from(["GET", "GET", "GET", "POST"])
FAULTS = st.sampled_from(
    [
        Fault.RESET,
        Fault.CLOSED,
        Fault.TRUNCATED,
        Fault.BODY_TIMEOUT,
        Fault.READ_TIMEOUT,
        Fault.REFUSED,
    ]
)


class SchedulerMachine(RuleBasedStateMachine):
    @initialize(
        concurrency=st.integers(1, 4),
        per_host=st.sampled_from([None, 1, 2]),
        rates=st.sampled_from(
            [(None, None), (None, None), (Rate(5), None), (None, Rate(3, burst=2))]
        ),
        attempts=st.integers(1, 3),
        circuit=st.sampled_from([None, None, Circuit(failures=2, span=0, seconds=5)]),
        total=st.sampled_from([None, 4.0]),
        whole=st.sampled_from([None, 7.0]),
        room=st.sampled_from([(None, None), (1, 1), (2, 3)]),
        listens=st.booleans(),
    )
    def begin(self, concurrency, per_host, rates, attempts, circuit, total, whole, room, listens):
        self.clock = FakeClock(now=1000)
        self.fake = FakeTransport(self.clock)
        self.fake.__enter__()
        self.fake.add(lambda request: True, answer=self.serve)
        self.asked, self.readers, self.futures, self.closed = [], [], [], []
        self.is_kind = False
        self.concurrency, self.per_host = concurrency, per_host
        self.unread, lookahead = room
        self.count = self.submitted = 0
        self.general = Odd()
        self.settings = {
            "concurrency": concurrency,
            "per_host": per_host,
            "rate": rates[0],
            "per_host_rate": rates[1],
            "retry": Retry(attempts=attempts, backoff=0.5, budget=1),
            "circuit": circuit,
            "timeout": Timeout(connect=3, read=6, total=total, request=whole),
            "unread": self.unread,
            "lookahead": lookahead,
            "random": random.Random(1),
        }
        self.listens = listens
        self.open_client()

    def open_client(self):
        self.client = Client(**self.settings)
        self.submitted = 0
        self.finished = []
        if self.listens:
            self.client.on("finished", lambda event: self.finished.append(event.result.request))

    def teardown(self):
        if not hasattr(self, "client"):
            return
        try:
            self.end_all()
            self.client.close()
            self.rest()
            assert self.clock.pending == 0
            assert self.fake.in_flight == 0
        finally:
            for each in self.readers:
                each.close()
            self.client.close()
            self.rest()
            self.fake.__exit__()
            self.clock.close()
            self.general.close()

    # The server

    def serve(self, request):
        """Wait for what the test has to say, unless all is to go well."""
        one = Asked(request)
        if self.is_kind:
            return Answer(200, one.path)
        self.asked.append(one)
        try:
            return one.answer.get()
        finally:
            self.asked.remove(one)

    @precondition(lambda self: self.asked)
    @rule(which=ANY, latency=st.sampled_from([0, 0, 0.5, 10]))
    def answer(self, which, latency):
        one = pick(self.asked, which)
        one.answer.set(Answer(200, one.path, latency=latency))

    @precondition(lambda self: self.asked)
    @rule()
    def answer_all(self):
        for one in self.asked:
            one.answer.set(Answer(200, one.path))

    @precondition(lambda self: self.asked)
    @rule(
        which=ANY,
        status=st.sampled_from([404, 429, 500, 503]),
        after=st.sampled_from([None, 1, 200]),
    )
    def refuse(self, which, status, after):
        headers = {} if after is None else {"Retry-After": str(after)}
        one = pick(self.asked, which)
        one.answer.set(Answer(status, one.path, headers=headers))

    @precondition(lambda self: self.asked)
    @rule(which=ANY, fault=FAULTS)
    def break_down(self, which, fault):
        one = pick(self.asked, which)
        one.answer.set(Answer(200, one.path * 10, error=fault))

    # Requests

    def make(self, host, method, is_general):
        number, self.count = self.count, self.count + 1
        session = self.general if is_general else None
        url = f"http://h{host % HOSTS}.test/{number}"
        return grequests.request(method, url, session=session, tag=number)

    @precondition(lambda self: len(self.readers) < MANY)
    @rule(
        count=st.integers(0, 8),
        host=ANY,
        method=METHODS,
        is_general=st.booleans(),
        ordered=st.booleans(),
        coalesce=st.booleans(),
        deadline=st.sampled_from([None, None, 3.0]),
    )
    def run(self, count, host, method, is_general, ordered, coalesce, deadline):
        items = [self.make(host + number, method, is_general) for number in range(count)]
        options = {"ordered": ordered, "coalesce": coalesce, "deadline": deadline}

        self.readers.append(Reader(self.client, Lazily(items), items, options))

    @precondition(lambda self: len(self.readers) < MANY)
    @rule(ordered=st.booleans(), until_idle=st.booleans())
    def run_a_feed(self, ordered, until_idle):
        feed = self.client.feed(until_idle=until_idle)
        self.readers.append(Reader(self.client, feed, [], {"ordered": ordered}))

    def feeds(self):
        return [each for each in self.readers if isinstance(each.source, grequests.Feed)]

    def open_feeds(self):
        return [each for each in self.feeds() if not each.source.closed]

    @precondition(lambda self: self.open_feeds())
    @rule(which=ANY, host=ANY, method=METHODS, count=st.integers(1, 5))
    def put(self, which, host, method, count):
        reader = pick(self.open_feeds(), which)
        for number in range(count):
            made = self.make(host + number, method, is_general=False)
            reader.items.append(made)
            reader.source.put(made)

    @precondition(lambda self: self.open_feeds())
    @rule(which=ANY)
    def close_feed(self, which):
        pick(self.open_feeds(), which).source.close()

    @rule(host=ANY, method=METHODS, is_general=st.booleans())
    def submit(self, host, method, is_general):
        self.submitted += 1
        self.futures.append(self.client.submit(self.make(host, method, is_general)))

    @precondition(lambda self: self.futures)
    @rule(which=ANY)
    def cancel(self, which):
        future = pick(self.futures, which)
        assert future.cancel() is not future.done() or future.cancelled()
        assert future.done()

    # Reading, leaving, time

    @precondition(lambda self: self.readers)
    @rule(which=ANY, count=st.sampled_from([1, 1, 3, 50]))
    def read(self, which, count):
        pick(self.readers, which).go_on(count)

    @precondition(lambda self: self.readers)
    @rule(which=ANY)
    def close_results(self, which):
        pick(self.readers, which).close()

    @precondition(lambda self: self.futures and self.readers)
    @rule()
    def close_client(self):
        self.client.close()
        with pytest.raises(ClientClosedError):
            self.client.submit("http://h0.test/")
        self.rest()
        assert all(each.done() for each in self.futures)
        self.check_counts()
        self.closed += self.readers
        for each in self.closed:
            each.go_on(100)
        self.readers, self.futures = [], []
        self.open_client()

    @rule(seconds=st.sampled_from([0.01, 0.4, 1, 1, 5, 40]))
    def wait(self, seconds):
        self.clock.advance(seconds)

    # What is always true

    def rest(self):
        """Let everything come to rest at this moment."""
        for _ in range(3):
            self.clock.advance(0)
            gevent.idle()

    @invariant()
    def holds(self):
        if not hasattr(self, "client"):
            return
        self.rest()
        self.check_limits()
        self.check_counts()
        for each in [*self.readers, *self.closed]:
            self.check_results(each)
        for each in self.futures:
            if each.done():
                self.check_result(each.result())

    def check_limits(self):
        assert self.fake.in_flight <= self.concurrency
        for load in self.fake.hosts.values():
            assert load.in_flight <= (self.per_host or math.inf)
        assert self.fake.in_flight <= self.client.statistics().in_flight
        most = (self.unread or self.concurrency) + self.concurrency
        for each in self.readers:
            assert each.ordered or each.unread <= most

    def check_counts(self):
        now = self.client.statistics()
        pulled = self.submitted + sum(each.pulled for each in self.readers)
        assert now.queued + now.in_flight + now.done == pulled
        assert now.done == now.succeeded + sum(now.failed.values())
        assert now.succeeded == sum(now.statuses.values())
        assert len(self.finished) == len(set(map(id, self.finished)))
        if self.listens:
            assert len(self.finished) == now.done

    def check_results(self, reader):
        indices = [each.index for each in reader.read]
        assert len(set(indices)) == len(indices)
        if reader.ordered:
            assert indices == [*range(len(indices))]
        for each in reader.read:
            assert each.request is reader.items[each.index]
            self.check_result(each)

    def check_result(self, result):
        assert (result.response is None) is not (result.error is None)
        assert not result.request._in_flight
        if result.response is not None:
            # (That of another one is equal to it, if it was coalesced.)
            assert result.response.text == str(result.tag)
        assert [each.number for each in result.attempts] == [*range(1, len(result.attempts) + 1)]

    # The end

    def end_all(self):
        """Be good to everybody: all runs end by themselves, and a new one goes well."""
        self.is_kind = True
        for each in self.open_feeds():
            each.source.close()
        for each in [*self.readers, *self.closed]:
            each.go_on(1000)
        for _ in range(60):
            for one in self.asked:
                one.answer.set(Answer(200, one.path))
            self.clock.advance(10)
            self.holds()
        assert all(each.is_over for each in [*self.readers, *self.closed])
        for each in self.readers:
            if not each.is_closed:
                assert len(each.read) == each.pulled
                assert each.pulled == len(each.items) or each.deadline
        assert all(each.done() for each in self.futures)
        now = self.client.statistics()
        assert (now.queued, now.in_flight) == (0, 0)
        self.check_fresh()

    def check_fresh(self):
        items = [self.make(number, "GET", is_general=False) for number in range(12)]
        reader = Reader(self.client, Lazily(items), items, {"ordered": True})
        reader.go_on(1000)
        for _ in range(20):
            self.clock.advance(1)
        assert reader.is_over
        assert [each.ok for each in reader.read] == [True] * len(items)


@pytest.mark.usefixtures("no_leaks")
def test_the_scheduler_keeps_its_promises():
    run(SchedulerMachine, examples=80)
    gevent.sleep(0)
