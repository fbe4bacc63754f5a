"""Who may go when: decided by a clock that stands still until it is told otherwise."""

from __future__ import annotations

import heapq
import sys
from collections import Counter

import pytest
from hypothesis import settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from grequests import Circuit, CircuitOpenError, Rate
from grequests._admission import Admission, Queue


class Clock:
    """Time that goes when it is told to. Calls come `late` seconds after their time."""

    def __init__(self, late=0.0):
        self.time, self.late = 100.0, late
        self.calls, self.count = [], 0

    def now(self):
        return self.time

    wall = now

    def call_later(self, seconds, function, *args):
        call = Call(self.time + max(seconds, 0) + self.late, self.count, function, args)
        self.count += 1
        heapq.heappush(self.calls, call)
        return call

    def advance(self, seconds):
        end = self.time + seconds
        while self.calls and self.calls[0].due <= end:
            call = heapq.heappop(self.calls)
            self.time = max(self.time, call.due)
            if call.function is not None:
                call.function(*call.args)
        self.time = end


class Call:
    def __init__(self, due, number, function, args):
        self.due, self.number, self.function, self.args = due, number, function, args

    def __lt__(self, other):
        return (self.due, self.number) < (other.due, other.number)

    def close(self):
        self.function = None


class Job:
    """Notes what becomes of it."""

    def __init__(self, bench, queue, host, cost=1.0, name=None):
        self.bench, self.lane, self.cost = bench, queue.lane(host), cost
        self.host = host
        self.name = name if name is not None else len(bench.jobs)
        self.outcomes = []
        bench.jobs.append(self)

    def __repr__(self):
        return f"<Job {self.name} {self.host} {self.outcomes}>"

    def granted(self):
        self.note("granted")

    def refused(self, error):
        assert isinstance(error, CircuitOpenError)
        self.error = error
        self.note("refused")

    def note(self, what):
        self.outcomes.append(what)
        getattr(self.bench, what).append(self)
        self.bench.starts.append((self.bench.clock.now(), self)) if what == "granted" else None

    @property
    def waits(self):
        return not self.outcomes


class Bench:
    """An admission, its clock, and all that comes of it."""

    def __init__(self, limit=10, per_host=None, *, late=0.0, **keywords):
        self.clock = Clock(late)
        self.events, self.jobs, self.granted, self.refused, self.starts = [], [], [], [], []
        self.admission = Admission(self.clock, limit, per_host, listener=self, **keywords)
        self.queue = Queue(self.admission, lambda: False)

    def paused(self, host, seconds):
        self.events.append(("paused", host, seconds))

    def opened(self, host, failures, seconds):
        self.events.append(("opened", host, failures, seconds))

    def closed(self, host):
        self.events.append(("closed", host))

    def ask(self, host="a", cost=1.0, queue=None, name=None):
        job = Job(self, queue or self.queue, host, cost, name)
        if self.admission.ask(job):
            job.note("granted")
        return job

    def ask_many(self, count, host="a", **keywords):
        return [self.ask(host, **keywords) for _ in range(count)]

    def end(self, job, *, answered=True):
        self.admission.report(job.lane.host, answered=answered)
        self.admission.release(job.lane.host)

    def host(self, key):
        return self.admission.host(key)

    def hosts_granted(self):
        return "".join(job.host for job in self.granted)


# Slots


def test_as_many_go_as_there_are_slots_and_the_next_when_one_is_free():
    bench = Bench(limit=2)
    first, second, third = bench.ask_many(3)

    assert bench.granted == [first, second] and third.waits
    bench.end(second)
    assert bench.granted == [first, second, third]
    assert bench.admission.active == 2


def test_a_host_has_its_own_limit_and_others_pass_by():
    bench = Bench(limit=10, per_host=2)
    bench.ask_many(5, "a")
    bench.ask_many(1, "b")

    assert bench.hosts_granted() == "aab"
    assert (bench.host("a").active, bench.host("a").queued, bench.queue.parked) == (2, 3, 3)


def test_hosts_take_turns_whatever_they_have_queued():
    bench = Bench(limit=1)
    running = bench.ask("x")
    bench.ask_many(6, "a")
    bench.ask_many(2, "b")
    bench.ask_many(2, "c")

    for _ in range(10):
        bench.end(bench.granted[-1])
    assert running is bench.granted[0]
    assert bench.hosts_granted() == "x" + "abcabc" + "aaaa"


def test_within_a_host_the_first_to_come_is_the_first_to_go():
    bench = Bench(limit=1)
    jobs = bench.ask_many(6)

    for _ in range(5):
        bench.end(bench.granted[-1])
    assert bench.granted == jobs


def test_a_job_that_comes_back_goes_before_others_of_its_host():
    bench = Bench(limit=1)
    running, waiting, again = bench.ask("a"), bench.ask("a"), Job(bench, bench.queue, "a")

    bench.admission.ask_again(again)
    bench.end(running)
    assert bench.granted == [running, again] and waiting.waits


def test_runs_take_turns():
    bench = Bench(limit=1)
    other = Queue(bench.admission, lambda: False)
    bench.ask("x")
    for queue, name in ((bench.queue, "1"), (other, "2")):
        bench.ask_many(3, "a", queue=queue, name=name)

    for _ in range(6):
        bench.end(bench.granted[-1])
    assert [job.name for job in bench.granted[1:]] in (list("121212"), list("212121"))


def test_a_run_that_is_full_holds_nobody_back():
    bench = Bench(limit=1)
    full = Queue(bench.admission, lambda: True)
    running = bench.ask("x")
    stuck = bench.ask("a", queue=full)
    free = bench.ask("a")

    bench.end(running)
    assert bench.granted == [running, free] and stuck.waits


def test_who_waits_for_a_slot_is_called_once_when_there_is_one():
    bench = Bench(limit=1)
    job = bench.ask()
    calls = []
    bench.admission.wait_for_slot(lambda: calls.append("free"))

    assert calls == []
    bench.end(job)
    bench.end(bench.ask())
    assert calls == ["free"]


def test_a_dead_host_among_live_ones_holds_none_of_them_back():
    bench = Bench(limit=4, per_host=2)
    bench.ask_many(50, "d")
    for _ in range(100):
        bench.end(bench.ask("l"))

    assert Counter(bench.hosts_granted()) == {"d": 2, "l": 100}


# Withdrawing


def test_a_job_that_is_withdrawn_is_never_heard_of_again():
    bench = Bench(limit=1)
    running, gone, last = bench.ask_many(3)

    bench.queue.withdraw(gone)
    assert bench.queue.parked == bench.host("a").queued == 1
    bench.end(running)
    bench.end(last)
    assert gone.waits and bench.granted == [running, last]
    bench.queue.withdraw(gone)
    assert bench.queue.parked == 0


def test_a_queue_that_is_cleared_gives_back_all_that_waited():
    bench = Bench(limit=1)
    running, *waiting = [bench.ask(host) for host in "aabbc"]

    assert set(bench.queue.clear()) == set(waiting)
    assert bench.queue.parked == 0
    assert [host.queued for host in bench.admission.hosts.values()] == [0, 0, 0]
    bench.end(running)
    assert bench.granted == [running]
    assert bench.ask("b") is bench.granted[-1]


def test_withdrawing_what_is_dear_lets_what_is_cheap_go_at_once():
    bench = Bench(rates=(None, Rate(1, burst=10)))
    bench.ask(cost=10)
    dear, cheap = bench.ask(cost=10), bench.ask(cost=1)

    bench.clock.advance(2)
    assert dear.waits and cheap.waits
    bench.queue.withdraw(dear)
    assert bench.granted[-1] is cheap


def test_withdrawing_what_is_dear_lets_what_is_cheap_go_with_a_rate_in_all():
    bench = Bench(rates=(Rate(1, burst=10), None))
    bench.ask(cost=10)
    dear, cheap = bench.ask(cost=10), bench.ask(cost=1)

    bench.clock.advance(2)
    assert dear.waits and cheap.waits
    bench.queue.withdraw(dear)
    assert bench.granted[-1] is cheap


# Constant work


def lines_run(function):
    """How many lines of the package's code a call runs."""
    count = 0

    def trace(frame, event, _argument):
        nonlocal count
        if "grequests" not in frame.f_code.co_filename:
            return None
        count += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        function()
    finally:
        sys.settrace(before)
    return count


def work(hosts, jobs=2_000):
    """Lines for each decision, with so many jobs queued at so many hosts."""
    bench = Bench(limit=10, per_host=5)
    for number in range(jobs):
        bench.ask(f"h{number % hosts}")

    def drain():
        for _ in range(jobs):
            job = bench.granted[drain.done]
            drain.done += 1
            bench.end(job)

    drain.done = 0
    count = lines_run(drain)
    assert len(bench.granted) == jobs
    return count / jobs


def test_a_decision_is_as_much_work_with_a_thousand_hosts_as_with_one():
    assert work(1_000) <= 1.3 * work(1)


def test_a_decision_is_as_much_work_with_many_jobs_as_with_few():
    assert work(1, jobs=5_000) <= 1.1 * work(1, jobs=500)


def test_asking_is_as_much_work_with_a_thousand_hosts_waiting_as_with_one():
    counts = []
    for hosts in (1, 1_000):
        bench = Bench(limit=1)
        for number in range(1_000):
            bench.ask(f"h{number % hosts}")
        counts.append(lines_run(lambda bench=bench: bench.ask_many(100, "h0")))
    assert counts[1] <= 1.1 * counts[0]


def test_a_hundred_hosts_that_are_paused_are_not_looked_at_again_and_again():
    bench = Bench(limit=200, per_host=1)
    for number in range(100):
        job = bench.ask(f"p{number}")
        bench.ask(f"p{number}")
        bench.admission.pause(job.lane.host, 100)
        bench.end(job)

    def live():
        for _ in range(50):
            bench.end(bench.ask("live"))

    assert lines_run(live) / 50 < 60
    assert bench.queue.parked == 100


def test_hosts_without_end_are_forgotten_and_those_with_something_to_tell_are_not(monkeypatch):
    import grequests._admission as module

    monkeypatch.setattr(module, "MAX_HOSTS", 50)
    bench = Bench(limit=5)
    busy = bench.ask("busy")
    for number in range(1_000):
        bench.end(bench.ask(f"h{number}"))

    assert len(bench.admission.hosts) <= 51 and len(bench.queue.lanes) <= 51
    assert bench.admission.hosts["busy"] is busy.lane.host


# Rates


def most_in_a_window(starts, rate):
    """By how much the dearest window is over what the rate allows, burst not counted."""
    worst = 0.0
    for first in range(len(starts)):
        total = 0.0
        for at, job in starts[first:]:
            total += job.cost
            worst = max(worst, total - rate.per_second * (at - starts[first][0]))
    return worst


RATES = [Rate(10), Rate(7, per=3), Rate(100), Rate(1, per=10), Rate(50, burst=1), Rate(3, burst=20)]


@pytest.mark.parametrize("rate", RATES, ids=str)
@pytest.mark.parametrize("where", ["in all", "by host"])
def test_a_rate_is_never_exceeded_and_kept_to_99_percent(rate, where):
    rates = (rate, None) if where == "in all" else (None, rate)
    bench = Bench(limit=1_000, rates=rates)
    bench.ask_many(400)
    seconds = 300 / rate.per_second
    for _ in range(100):
        bench.clock.advance(seconds / 100)
        while len(bench.granted) > (done := getattr(bench, "done", 0)):
            bench.end(bench.granted[done])
            bench.done = done + 1

    assert most_in_a_window(bench.starts, rate) <= rate.capacity + 1e-6
    assert 0.99 * 300 <= len(bench.granted) <= 300 + rate.capacity


@pytest.mark.parametrize("where", ["in all", "by host"])
def test_a_rate_counts_costs(where):
    rate = Rate(10, burst=4)
    rates = (rate, None) if where == "in all" else (None, rate)
    bench = Bench(limit=1_000, rates=rates)
    costs = [1, 3, 0.5, 4, 2, 2.5] * 40
    for cost in costs:
        bench.ask(cost=cost)
    bench.clock.advance(40)

    assert most_in_a_window(bench.starts, rate) <= rate.capacity + 1e-6
    spent = sum(job.cost for job in bench.granted)
    assert 0.99 * 400 <= spent <= 400 + rate.capacity
    assert [job.cost for job in bench.granted] == costs[: len(bench.granted)]


@pytest.mark.parametrize("late", [0.001, 0.01, 0.04])
@pytest.mark.parametrize("count", [1, 5, 20, 100, 1_000])
def test_timers_that_ring_late_cost_a_rate_nothing(count, late):
    rate = Rate(count)
    for rates in ((rate, None), (None, rate)):
        bench = Bench(limit=10_000, rates=rates, late=late)
        bench.ask_many(500)
        bench.clock.advance(400 / count)

        assert most_in_a_window(bench.starts, rate) <= rate.capacity + 1e-6
        assert len(bench.granted) >= 0.99 * 400


@pytest.mark.parametrize("where", ["in all", "by host"])
def test_what_is_cheap_and_comes_back_does_not_wait_as_long_as_what_is_dear(where):
    rate = Rate(1, burst=10)
    bench = Bench(rates=(rate, None) if where == "in all" else (None, rate))
    bench.ask(cost=10)
    dear = bench.ask(cost=10)
    cheap = Job(bench, bench.queue, "a", cost=1)
    bench.admission.ask_again(cheap)

    bench.clock.advance(1)
    assert cheap.outcomes == ["granted"]
    bench.clock.advance(9)
    assert dear.waits
    bench.clock.advance(1)
    assert dear.outcomes == ["granted"]
    assert len([call for call in bench.clock.calls if call.function]) == 0


def test_each_host_has_a_rate_of_its_own():
    bench = Bench(limit=1_000, rates=(None, Rate(10, burst=1)))
    for _ in range(100):
        bench.ask("a")
        bench.ask("b")
    bench.clock.advance(5)

    counts = Counter(bench.hosts_granted())
    assert counts["a"] == counts["b"] and counts["a"] in (50, 51)  # as floats have it


def test_both_rates_hold_at_the_same_time():
    bench = Bench(limit=1_000, rates=(Rate(15, burst=1), Rate(10, burst=1)))
    for host in "abc":
        bench.ask_many(200, host)
    bench.clock.advance(10)

    counts = Counter(bench.hosts_granted())
    assert sum(counts.values()) in (150, 151)
    assert max(counts.values()) - min(counts.values()) <= 1
    assert most_in_a_window(bench.starts, Rate(15, burst=1)) <= 1 + 1e-6


def test_a_rate_does_not_save_up_while_slots_are_taken():
    rate = Rate(10, burst=2)
    bench = Bench(limit=1, rates=(rate, None))
    bench.ask_many(5)
    bench.clock.advance(60)
    assert len(bench.granted) == 1

    bench.end(bench.granted[0])
    bench.end(bench.granted[1])
    assert len(bench.granted) == 3
    bench.end(bench.granted[2])
    assert len(bench.granted) == 3


def test_a_rate_leaves_one_timer_however_many_wait():
    bench = Bench(limit=1_000, rates=(Rate(10, burst=1), None))
    bench.ask_many(500)
    for _ in range(50):
        bench.clock.advance(0.01)

    assert len([call for call in bench.clock.calls if call.function]) <= 1


# Pauses


def test_a_paused_host_gets_nothing_until_its_time_is_over():
    bench = Bench()
    first = bench.ask("a")
    bench.admission.pause(first.lane.host, 5)
    bench.end(first)
    waiting, other = bench.ask("a"), bench.ask("b")

    assert waiting.waits and not other.waits
    assert bench.admission.paused() == ["a"]
    assert bench.events == [("paused", "a", 5)]
    bench.clock.advance(4.999)
    assert waiting.waits
    bench.clock.advance(0.001)
    assert not waiting.waits
    assert bench.admission.paused() == []


def test_a_pause_stops_what_is_queued_already():
    bench = Bench(limit=1)
    running = bench.ask("a")
    queued, other = bench.ask("a"), bench.ask("b")
    bench.admission.pause(running.lane.host, 5)

    bench.end(running)
    bench.end(other)
    assert queued.waits
    bench.clock.advance(5)
    assert not queued.waits


def test_the_longest_of_several_pauses_counts():
    bench = Bench()
    host = bench.ask("a").lane.host
    for seconds in (5, 2, 0, -1, 9):
        bench.admission.pause(host, seconds)
    waiting = bench.ask("a")

    bench.clock.advance(8)
    assert waiting.waits
    bench.clock.advance(1)
    assert not waiting.waits
    assert [event[2] for event in bench.events] == [5, 9]


def test_a_host_that_was_paused_is_as_plain_as_before():
    bench = Bench()
    job = bench.ask("a")
    bench.admission.pause(job.lane.host, 1)
    assert not job.lane.host.plain
    bench.end(job)
    bench.clock.advance(1)
    bench.end(bench.ask("a"))
    assert job.lane.host.plain


# Circuits

CIRCUIT = Circuit(failures=3, span=2, seconds=30)


def broken(count=3, seconds=1.0, bench=None, **keywords):
    """A bench whose host "a" has failed so often, a failure every so many seconds."""
    bench = bench or Bench(circuit=CIRCUIT, **keywords)
    for number in range(count):
        if number:
            bench.clock.advance(seconds)
        bench.end(bench.ask("a"), answered=False)
    return bench


def test_a_circuit_opens_after_so_many_failures_in_a_row():
    bench = broken(2)
    assert bench.events == [] and not bench.ask("a").outcomes == ["refused"]

    bench = broken(3)
    assert bench.events == [("opened", "a", 3, 30)]
    assert [*bench.admission.opened] == ["a"]
    refused = bench.ask("a")
    assert refused.outcomes == ["refused"]
    assert (refused.error.host, refused.error.seconds) == ("a", 30)


def test_it_does_not_open_before_the_row_has_lasted():
    bench = broken(50, seconds=0.01)
    assert bench.events == []
    bench = broken(50, seconds=0.05)
    assert [event[0] for event in bench.events] == ["opened"]


def test_an_answer_ends_the_row():
    bench = Bench(circuit=CIRCUIT)
    for answered in (False, False, True, False, False, True, False, False):
        bench.end(bench.ask("a"), answered=answered)
        bench.clock.advance(5)
    assert bench.events == []


def test_other_hosts_go_on():
    bench = broken()
    assert bench.ask("b").outcomes == ["granted"]


def test_what_is_queued_when_it_opens_fails_at_once():
    bench = Bench(circuit=CIRCUIT, per_host=1)
    running = bench.ask("a")
    queued = bench.ask_many(5, "a")
    others = bench.ask_many(2, "b")
    for _ in range(3):
        bench.end(running, answered=False)
        bench.clock.advance(1)
        running = bench.granted[-1]

    assert [job.outcomes for job in queued] == [["granted"]] * 2 + [["refused"]] * 3
    assert others[0].outcomes == ["granted"]
    assert bench.host("a").queued == 0 and bench.queue.parked == 1


def test_half_open_it_lets_exactly_one_through():
    bench = broken()
    bench.clock.advance(29.9)
    assert bench.ask("a").outcomes == ["refused"]
    bench.clock.advance(0.1)
    probe, *others = bench.ask_many(10, "a")

    assert probe.outcomes == ["granted"]
    assert all(job.waits for job in others)
    assert bench.host("a").active == 1


def test_a_probe_that_is_answered_closes_it_and_all_go():
    bench = broken()
    bench.clock.advance(30)
    probe, *others = bench.ask_many(4, "a")
    bench.end(probe)

    assert all(job.outcomes == ["granted"] for job in others)
    assert bench.events[-1] == ("closed", "a")
    assert not bench.admission.opened
    for job in others:
        bench.end(job)
    assert bench.host("a").plain


def test_a_probe_that_fails_opens_it_again_and_the_others_fail():
    bench = broken()
    bench.clock.advance(30)
    probe, *others = bench.ask_many(4, "a")
    bench.end(probe, answered=False)

    assert all(job.outcomes == ["refused"] for job in others)
    assert [event[0] for event in bench.events] == ["opened", "opened"]
    bench.clock.advance(29.9)
    assert bench.ask("a").outcomes == ["refused"]
    bench.clock.advance(0.1)
    assert bench.ask("a").outcomes == ["granted"]


def test_a_probe_that_is_cancelled_lets_another_one_try():
    bench = broken()
    bench.clock.advance(30)
    probe, second, third = bench.ask_many(3, "a")
    bench.admission.give_up(probe)
    bench.admission.release(probe.lane.host)

    assert second.outcomes == ["granted"] and third.waits


def test_a_late_failure_from_before_is_no_second_probe():
    bench = Bench(circuit=CIRCUIT, limit=20)
    late = bench.ask("a")
    broken(bench=bench)
    bench.end(late, answered=False)
    bench.clock.advance(30)

    probe, other = bench.ask_many(2, "a")
    assert probe.outcomes == ["granted"] and other.waits


def test_a_late_one_that_is_cancelled_is_no_probe_given_up():
    bench = Bench(circuit=CIRCUIT, limit=20)
    late = bench.ask("a")
    broken(bench=bench)
    bench.clock.advance(30)
    probe, other = bench.ask_many(2, "a")
    bench.admission.give_up(late)
    bench.admission.release(late.lane.host)

    assert probe.outcomes == ["granted"] and other.waits


def test_a_late_answer_from_before_closes_it():
    bench = Bench(circuit=CIRCUIT, limit=20)
    late = bench.ask("a")
    broken(bench=bench)
    bench.end(late)

    assert bench.events[-1] == ("closed", "a")
    assert bench.ask("a").outcomes == ["granted"]


def test_a_job_that_comes_back_to_an_open_circuit_is_refused():
    bench = broken()
    job = Job(bench, bench.queue, "a")
    bench.admission.ask_again(job)
    assert job.outcomes == ["refused"]


def test_without_a_circuit_nothing_opens():
    bench = Bench()
    for _ in range(100):
        bench.end(bench.ask("a"), answered=False)
        bench.clock.advance(10)
    assert bench.events == [] and bench.host("a").plain


def test_a_host_whose_circuit_is_open_is_not_forgotten(monkeypatch):
    import grequests._admission as module

    monkeypatch.setattr(module, "MAX_HOSTS", 10)
    bench = broken()
    for number in range(200):
        bench.end(bench.ask(f"h{number}"))
    assert bench.ask("a").outcomes == ["refused"]


def test_closing_leaves_no_timer():
    bench = Bench(rates=(Rate(1, burst=1), Rate(1, burst=1)))
    bench.ask_many(3, "a")
    bench.ask_many(3, "b")
    bench.admission.pause(bench.host("a"), 5)
    bench.admission.close()

    assert not [call for call in bench.clock.calls if call.function]


# Anything in any order


class Machine(RuleBasedStateMachine):
    """Jobs ask, end, come back and give up at random, in two runs, with all the limits there are."""

    def __init__(self):
        super().__init__()
        self.bench = Bench(
            limit=4,
            per_host=2,
            rates=(Rate(20, burst=6), Rate(8, burst=3)),
            circuit=Circuit(failures=2, span=0.5, seconds=3),
        )
        self.queues = [self.bench.queue, Queue(self.bench.admission, lambda: self.full)]
        self.full = False
        self.running, self.withdrawn, self.begun, self.probes = [], [], 0, {}

    def settle(self):
        """Take note of what was granted since."""
        self.running += self.bench.granted[self.begun :]
        self.begun = len(self.bench.granted)

    hosts = st.sampled_from("abc")

    @rule(host=hosts, which=st.integers(0, 1), cost=st.sampled_from([0.5, 1.0, 2.0, 5.0]))
    def ask(self, host, which, cost):
        self.bench.ask(host, cost, self.queues[which])
        self.settle()

    @rule(host=hosts, which=st.integers(0, 1))
    def ask_again(self, host, which):
        self.bench.admission.ask_again(Job(self.bench, self.queues[which], host))
        self.settle()

    @precondition(lambda self: self.running)
    @rule(data=st.data(), answered=st.sampled_from([True, True, False]))
    def end(self, data, answered):
        job = self.running.pop(data.draw(st.integers(0, len(self.running) - 1)))
        self.bench.end(job, answered=answered)
        self.settle()

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def cancel(self, data):
        job = self.running.pop(data.draw(st.integers(0, len(self.running) - 1)))
        self.bench.admission.give_up(job)
        self.bench.admission.release(job.lane.host)
        self.settle()

    def waiting(self):
        return [job for job in self.bench.jobs if job.waits and job not in self.withdrawn]

    @precondition(lambda self: self.waiting())
    @rule(data=st.data())
    def withdraw(self, data):
        job = data.draw(st.sampled_from(self.waiting()))
        self.withdrawn.append(job)
        self.queues[self.queues.index(job.lane.queue)].withdraw(job)
        self.settle()

    @rule(host=hosts, seconds=st.sampled_from([0.1, 1.0, 4.0]))
    def pause(self, host, seconds):
        self.bench.admission.pause(self.bench.host(host), seconds)

    @rule()
    def read(self):
        self.full = not self.full
        if not self.full:
            self.bench.admission.pump()
            self.settle()

    @rule(seconds=st.sampled_from([0.01, 0.1, 0.5, 3.0]))
    def advance(self, seconds):
        self.bench.clock.advance(seconds)
        self.settle()

    @invariant()
    def no_limit_is_exceeded(self):
        admission = self.bench.admission
        assert admission.active == len(self.running) <= admission.limit
        for host in admission.hosts.values():
            mine = [job for job in self.running if job.host == host.key]
            assert host.active == len(mine) <= host.limit

    @invariant()
    def each_job_has_one_outcome(self):
        for job in self.bench.jobs:
            assert len(job.outcomes) <= (job not in self.withdrawn)

    @invariant()
    def counts_are_right(self):
        waiting = Counter(job.lane.queue for job in self.waiting())
        assert [queue.parked for queue in self.queues] == [waiting[each] for each in self.queues]
        hosts = Counter(job.host for job in self.waiting())
        for host in self.bench.admission.hosts.values():
            assert host.queued == hosts[host.key]

    def teardown(self):
        """Whatever was done: in the end no job is lost, and nothing is taken."""
        self.full = False
        self.bench.admission.pump()
        self.settle()
        for _ in range(20 * (len(self.bench.jobs) + 1)):
            if not self.waiting() and not self.running:
                break
            while self.running:
                self.bench.end(self.running.pop())
                self.settle()
            self.advance(1.0)
        assert not self.waiting()
        assert self.bench.admission.active == 0
        assert not any(host.active or host.queued for host in self.bench.admission.hosts.values())
        for host, rate in ((None, Rate(20, burst=6)), *((key, Rate(8, burst=3)) for key in "abc")):
            starts = [each for each in self.bench.starts if host in (None, each[1].host)]
            allowed = max(rate.capacity, 5.0)  # the dearest job there is
            assert most_in_a_window(starts[:40], rate) <= allowed + rate.capacity + 1e-6


Machine.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestAnythingInAnyOrder = Machine.TestCase
