"""The scheduler with jobs that are no requests: slots, the unread bound, delays, the end.

No socket is opened here. A fake job ends when the test says so, or by itself as soon as it starts.
"""

from __future__ import annotations

import contextvars
import gc
import itertools
from collections.abc import Iterable, Iterator

import gevent
import pytest
from conftest import live_greenlets, live_watchers
from gevent.event import Event
from servers import eventually

from grequests._scheduler import Scheduler

pytestmark = pytest.mark.usefixtures("no_leaks")


class Shop:
    """A scheduler, its jobs, and what happened to them in what order.

    Args:
        plan: makes a job do something when it starts, such as `Job.finish`.
        count: how many jobs there are; None for no end.
    """

    def __init__(self, size=2, unread=float("inf"), *, count=None, plan=None, jobs=None):
        self.log: list[str] = []
        self.plan = plan or (lambda job: None)
        self.jobs: list[Job] = []
        self.dropped: list[int] = []
        self.running = self.peak = 0
        self.scheduler = Scheduler(self.make(count) if jobs is None else jobs, size, unread)
        self.results = self.scheduler.results()

    def make(self, count: int | None) -> Iterator[Job]:
        for number in itertools.count() if count is None else range(count):
            job = Job(self, number)
            self.jobs.append(job)
            yield job

    def read(self, count: int) -> list[int]:
        return [next(self.results).number for _ in range(count)]

    def settle(self) -> None:
        """Let everything happen that can happen without the test."""
        still = 0
        while still < 10:
            before = len(self.log)
            gevent.sleep(0)
            still = still + 1 if len(self.log) == before else 0


class Job:
    def __init__(self, shop: Shop, number: int) -> None:
        self.shop = shop
        self.number = number

    def __repr__(self) -> str:
        return f"<Job {self.number}>"

    def start(self) -> None:
        shop = self.shop
        shop.log.append(f"start {self.number}")
        shop.running += 1
        shop.peak = max(shop.peak, shop.running)
        shop.plan(self)

    def abort(self) -> None:
        self.shop.log.append(f"abort {self.number}")

    def drop(self) -> None:
        self.shop.dropped.append(self.number)

    def finish(self) -> None:
        self.shop.running -= 1
        self.shop.scheduler.done(self)

    def return_later(self, seconds: float = 0.0) -> None:
        self.shop.running -= 1
        self.shop.scheduler.again(self, seconds)


def in_a_while(job: Job) -> None:
    """End the job from the hub, like a response does."""
    gevent.get_hub().loop.run_callback(job.finish)


def reading(shop: Shop) -> tuple[list[int], gevent.Greenlet]:
    """Read everything in another greenlet."""
    numbers: list[int] = []

    def read() -> None:
        numbers.extend(job.number for job in shop.results)

    return numbers, gevent.spawn(read)


# --- slots ---------------------------------------------------------------------------------------


def test_nothing_is_pulled_before_the_first_read():
    shop = Shop()
    shop.settle()
    assert shop.jobs == []
    shop.results.close()


def test_no_jobs_no_results():
    assert list(Scheduler([], 3).results()) == []


def test_as_many_start_as_there_are_slots():
    shop = Shop(size=3, count=10)
    _, reader = reading(shop)
    shop.settle()
    assert shop.log == ["start 0", "start 1", "start 2"]
    assert len(shop.jobs) == 3  # and no more are pulled
    reader.kill()


def test_each_end_starts_the_next():
    shop = Shop(size=2, count=4)
    numbers, reader = reading(shop)
    shop.settle()
    for number, log in ((1, "start 2"), (0, "start 3")):
        shop.jobs[number].finish()
        shop.settle()
        assert shop.log[-1] == log
    shop.jobs[3].finish()
    shop.jobs[2].finish()
    reader.get()
    assert numbers == [1, 0, 3, 2]
    assert shop.peak == 2


def test_results_come_in_the_order_of_their_ends():
    shop = Shop(size=5, count=5)
    numbers, reader = reading(shop)
    shop.settle()
    for number in (3, 0, 4, 1, 2):
        shop.jobs[number].finish()
    reader.get()
    assert numbers == [3, 0, 4, 1, 2]


@pytest.mark.parametrize("plan", [Job.finish, in_a_while])
@pytest.mark.parametrize("size", [1, 7, 20_000])
def test_many_jobs(plan, size):
    count = 20_000
    shop = Shop(size=size, count=count, plan=plan)
    assert sorted(job.number for job in shop.results) == list(range(count))
    assert shop.peak <= size


def test_jobs_that_end_as_they_start_leave_others_their_turn():
    turns = []
    other = gevent.spawn(lambda: [gevent.sleep(0) or turns.append(1) for _ in range(50)])
    shop = Shop(size=1, unread=1, plan=Job.finish)
    assert shop.read(200) == list(range(200))
    assert len(turns) == 50
    other.get()
    shop.results.close()


# --- the unread bound ----------------------------------------------------------------------------


def test_no_job_starts_while_too_many_are_unread():
    shop = Shop(size=2, unread=3, plan=Job.finish)
    assert shop.read(1) == [0]
    shop.settle()
    # One was read; three are unread.
    assert len(shop.jobs) == 4
    assert shop.read(1) == [1]
    shop.settle()
    assert len(shop.jobs) == 5
    shop.results.close()


def test_what_runs_may_end_beyond_the_bound():
    shop = Shop(size=4, unread=2)
    reader = gevent.spawn(lambda: next(shop.results))
    shop.settle()
    assert len(shop.jobs) == 4
    for job in list(shop.jobs):
        job.finish()
    reader.get()
    shop.settle()
    # One is read, three are unread though two may be: nothing new, nothing lost.
    assert len(shop.jobs) == 4
    assert shop.read(1) == [1]
    shop.settle()
    assert len(shop.jobs) == 4
    assert shop.read(1) == [2]
    shop.settle()
    assert len(shop.jobs) == 8
    shop.results.close()


def test_the_bound_holds_at_every_pull():
    taken = ahead = 0

    def endless() -> Iterator[Job]:
        nonlocal ahead
        for number in itertools.count():
            ahead = max(ahead, number - taken)
            yield Job(shop, number)

    shop = Shop(size=5, unread=5, jobs=endless(), plan=in_a_while)
    for job in shop.results:
        taken += 1
        if job.number % 7 == 0:
            gevent.sleep(0.001)
        if taken == 500:
            break
    shop.results.close()
    assert 5 <= ahead < 5 + 5


# --- again ---------------------------------------------------------------------------------------


def test_again_frees_the_slot():
    shop = Shop(size=1, count=3)
    numbers, reader = reading(shop)
    shop.settle()
    shop.jobs[0].return_later(3600)
    shop.settle()
    assert shop.log == ["start 0", "start 1"]
    assert repr(shop.scheduler) == "<Scheduler running active=1 delayed=1 unread=0>"
    shop.jobs[1].finish()
    shop.settle()
    assert shop.log == ["start 0", "start 1", "start 2"]
    assert numbers == [1]
    reader.kill()
    assert shop.log[3:] == ["abort 2", "abort 0"]


def test_again_starts_the_job_once_more():
    shop = Shop(size=1, count=1)
    numbers, reader = reading(shop)
    shop.settle()
    for _ in range(3):
        shop.jobs[0].return_later(0.001)
        starts = len(shop.log)
        eventually(lambda starts=starts: len(shop.log) > starts)
    shop.jobs[0].finish()
    reader.get()
    assert shop.log == ["start 0"] * 4
    assert numbers == [0]


def test_a_job_that_comes_back_goes_before_new_ones():
    shop = Shop(size=1, count=3)
    _, reader = reading(shop)
    shop.settle()
    shop.jobs[0].return_later(0.001)
    shop.settle()
    assert shop.log == ["start 0", "start 1"]
    eventually(lambda: not shop.scheduler._delayed)
    shop.jobs[1].finish()
    shop.settle()
    assert shop.log == ["start 0", "start 1", "start 0"]
    reader.kill()


def test_a_job_that_comes_back_waits_for_a_slot():
    shop = Shop(size=1, count=2)
    numbers, reader = reading(shop)
    shop.settle()
    shop.jobs[0].return_later(0.001)
    eventually(lambda: not shop.scheduler._delayed)
    shop.settle()
    assert shop.log == ["start 0", "start 1"]
    shop.jobs[1].finish()
    shop.settle()
    shop.jobs[0].finish()
    reader.get()
    assert shop.log == ["start 0", "start 1", "start 0"]
    assert numbers == [1, 0]


def test_a_job_may_want_to_come_back_as_it_starts():
    left = {0: 5, 1: 3, 2: 0}

    def plan(job: Job) -> None:
        left[job.number] -= 1
        if left[job.number] < 0:
            job.finish()
        else:
            job.return_later()

    shop = Shop(size=1, count=3, plan=plan)
    assert sorted(job.number for job in shop.results) == [0, 1, 2]
    assert sorted(shop.log) == ["start 0"] * 6 + ["start 1"] * 4 + ["start 2"]


def test_many_jobs_that_come_back_at_once_share_the_slots():
    seen = set()

    def plan(job: Job) -> None:
        if job.number in seen:
            in_a_while(job)
        else:
            seen.add(job.number)
            job.return_later(0.01)

    shop = Shop(size=3, count=500, plan=plan)
    assert sorted(job.number for job in shop.results) == list(range(500))
    assert shop.peak <= 3
    assert len(shop.log) == 1000


def two_that_come_back_together() -> tuple[Shop, list[int], gevent.Greenlet]:
    """The input has ended, one job has one of two slots, two have come back at the same moment."""
    shop = Shop(size=2, count=3)
    numbers, reader = reading(shop)
    shop.settle()
    shop.jobs[0].return_later(0.001)
    shop.jobs[1].return_later(0.001)
    eventually(lambda: not shop.scheduler._delayed)
    shop.settle()
    assert shop.log == ["start 0", "start 1", "start 2", "start 0"]
    return shop, numbers, reader


def test_jobs_that_come_back_together_after_the_input_ended_leave_no_greenlet():
    before = live_greenlets()
    shop, numbers, reader = two_that_come_back_together()
    for number in (2, 0, 1):
        shop.jobs[number].finish()
        shop.settle()
    reader.get()
    assert numbers == [2, 0, 1]
    assert live_greenlets() <= before


def test_closing_while_a_job_that_came_back_waits_leaves_no_greenlet():
    before = live_greenlets()
    shop, _, reader = two_that_come_back_together()
    reader.kill()
    shop.settle()
    assert sorted(shop.log[4:]) == ["abort 0", "abort 1", "abort 2"]
    assert live_greenlets() <= before


# --- the input -----------------------------------------------------------------------------------


def test_the_input_may_wait_while_results_are_read():
    gate = Event()

    def jobs() -> Iterator[Job]:
        yield Job(shop, 0)
        gate.wait()
        yield Job(shop, 1)

    shop = Shop(size=5, jobs=jobs(), plan=in_a_while)
    assert shop.read(1) == [0]
    gate.set()
    assert [job.number for job in shop.results] == [1]


def test_the_input_runs_in_a_copy_of_the_callers_context():
    name = contextvars.ContextVar("name", default="none")
    seen = []

    def jobs() -> Iterator[Job]:
        seen.append(name.get())
        name.set("changed")
        yield Job(shop, 0)
        seen.append(name.get())

    def run() -> Shop:
        nonlocal shop
        name.set("caller")
        shop = Shop(jobs=jobs(), plan=Job.finish)
        shop.read(1)
        assert list(shop.results) == []
        assert name.get() == "caller"
        return shop

    shop: Shop
    contextvars.copy_context().run(run)
    assert seen == ["caller", "changed"]


def test_an_error_of_the_input_comes_after_what_was_running():
    error = LookupError("mine")

    def jobs() -> Iterator[Job]:
        yield Job(shop, 0)
        yield Job(shop, 1)
        raise error

    shop = Shop(size=5, jobs=jobs(), plan=in_a_while)
    assert shop.read(2) == [0, 1]
    with pytest.raises(LookupError) as caught:
        next(shop.results)
    assert caught.value is error
    assert shop.log == ["start 0", "start 1"]


def test_an_error_before_the_first_job():
    with pytest.raises(TypeError, match="not iterable"):
        next(Scheduler(5, 1).results())  # type: ignore[arg-type]


def test_an_error_of_the_input_waits_for_jobs_that_come_back():
    def jobs() -> Iterator[Job]:
        yield Job(shop, 0)
        raise LookupError

    def plan(job: Job) -> None:
        if shop.log.count("start 0") < 3:
            job.return_later(0.001)
        else:
            job.finish()

    shop = Shop(jobs=jobs(), plan=plan)
    assert shop.read(1) == [0]
    with pytest.raises(LookupError):
        next(shop.results)


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_an_interrupt_in_the_input_comes_at_once(kind):
    error = kind("now")

    def jobs() -> Iterator[Job]:
        yield Job(shop, 0)
        raise error

    shop = Shop(jobs=jobs())
    with pytest.raises(kind) as caught:
        next(shop.results)
    assert caught.value is error
    assert shop.log == ["start 0", "abort 0"]


def test_an_interrupt_in_the_input_does_not_wait_for_slots():
    def jobs() -> Iterator[Job]:
        for number in range(3):
            yield Job(shop, number)
        # Meanwhile job 0 has come back and has no slot.
        eventually(lambda: not shop.scheduler._delayed)
        raise KeyboardInterrupt

    def plan(job: Job) -> None:
        if job.number == 0 and shop.log.count("start 0") == 1:
            job.return_later(0.001)

    shop = Shop(size=3, jobs=jobs(), plan=plan)
    with gevent.Timeout(5), pytest.raises(KeyboardInterrupt):
        next(shop.results)
    assert sorted(each for each in shop.log if "abort" in each) == ["abort 0", "abort 1", "abort 2"]


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_an_interrupt_as_a_job_starts_reaches_the_reader(kind):
    def plan(job: Job) -> None:
        if job.number == 2:
            raise kind

    shop = Shop(size=5, plan=plan)
    with pytest.raises(kind):
        next(shop.results)
    assert sorted(shop.log[3:]) == ["abort 0", "abort 1", "abort 2"]


# --- interrupt -----------------------------------------------------------------------------------


def test_interrupt_reaches_a_waiting_reader():
    shop = Shop(size=2)
    error = KeyboardInterrupt()
    gevent.spawn(lambda: (shop.settle(), shop.scheduler.interrupt(error)))
    with pytest.raises(KeyboardInterrupt) as caught:
        next(shop.results)
    assert caught.value is error
    assert sorted(shop.log) == ["abort 0", "abort 1", "start 0", "start 1"]


def test_interrupt_reaches_a_reader_who_never_has_to_wait():
    shop = Shop(size=2, unread=2, plan=Job.finish)
    assert shop.read(1) == [0]
    shop.settle()
    shop.scheduler.interrupt(SystemExit("now"))
    with pytest.raises(SystemExit):
        for job in shop.results:
            shop.settle()
            assert job.number < 100, "the interrupt never came"


# --- the end -------------------------------------------------------------------------------------


def endings() -> Iterable[object]:
    def by_close(shop: Shop) -> None:
        shop.results.close()

    def by_throw(shop: Shop) -> None:
        with pytest.raises(LookupError):
            shop.results.throw(LookupError())

    def by_forgetting(shop: Shop) -> None:
        del shop.results

    def by_collection(shop: Shop) -> None:
        knot = [shop.results]
        knot.append(knot)
        del shop.results, knot
        gc.collect()

    return (by_close, by_throw, by_forgetting, by_collection)


@pytest.mark.parametrize("end", endings())
def test_however_reading_ends_everything_ends(end):
    def jobs() -> Iterator[Job]:
        try:
            yield from shop.make(None)
        finally:
            shop.log.append("input closed")

    def plan(job: Job) -> None:
        if job.number == 0:
            job.finish()
        if job.number == 1:
            job.return_later(3600)

    shop = Shop(size=3, plan=plan)
    shop.scheduler = Scheduler(jobs(), 3)
    shop.results = shop.scheduler.results()
    watchers = len(live_watchers())
    assert shop.read(1) == [0]
    shop.settle()
    assert shop.log == [f"start {number}" for number in range(5)]
    end(shop)
    assert sorted(shop.log[5:]) == ["abort 1", "abort 2", "abort 3", "abort 4"]
    assert len(live_watchers()) == watchers
    shop.settle()
    assert shop.log[9:] == ["input closed"]
    assert repr(shop.scheduler) == "<Scheduler over active=0 delayed=0 unread=0>"


def test_close_twice_and_late_ends_are_nothing():
    shop = Shop(size=2)
    _, reader = reading(shop)
    shop.settle()
    shop.scheduler.close()
    shop.scheduler.close()
    shop.jobs[0].finish()
    shop.jobs[1].return_later()
    reader.kill()
    assert sorted(shop.log) == ["abort 0", "abort 1", "start 0", "start 1"]


def test_jobs_that_ended_and_were_not_read_are_dropped():
    shop = Shop(size=3, unread=3, plan=Job.finish)
    assert shop.read(1) == [0]
    shop.settle()
    shop.results.close()
    assert shop.dropped == [1, 2, 3]
    assert [each for each in shop.log if "abort" in each] == []


def test_killing_the_reader_ends_everything():
    shop = Shop(size=2)
    _, reader = reading(shop)
    shop.settle()
    reader.kill()
    assert sorted(shop.log) == ["abort 0", "abort 1", "start 0", "start 1"]


def test_closing_while_the_input_waits_ends_the_wait():
    log = []

    def jobs() -> Iterator[Job]:
        try:
            Event().wait()
            yield Job(shop, 0)
        finally:
            log.append("input closed")

    shop = Shop(jobs=jobs())
    _, reader = reading(shop)
    shop.settle()
    reader.kill()
    shop.settle()
    assert log == ["input closed"]


def test_a_timeout_ends_the_iteration_and_aborts_the_rest():
    shop = Shop(size=3, count=10)
    shop.plan = lambda job: job.number == 1 and job.finish()
    results = shop.scheduler.results(0.02)
    assert [job.number for job in results] == [1]
    assert sorted(each for each in shop.log if "abort" in each) == ["abort 0", "abort 2", "abort 3"]


def test_a_timeout_of_nothing_ends_at_once():
    shop = Shop(size=3, count=10)
    assert list(shop.scheduler.results(0)) == []
    assert shop.log.count("abort 0") == shop.log.count("start 0")


def test_a_timeout_that_is_not_reached_changes_nothing():
    shop = Shop(size=3, count=10, plan=in_a_while)
    assert [job.number for job in shop.scheduler.results(3600)] == list(range(10))


def test_a_job_comes_back_while_the_input_keeps_everybody_waiting():
    """As a retry does while a user's generator waits for what the answer will bring."""
    more = Event()
    shop = Shop(size=2)

    def jobs() -> Iterator[Job]:
        yield Job(shop, 0)
        more.wait()
        yield Job(shop, 1)

    def come_back_once(job: Job) -> None:
        job.shop.plan = in_a_while
        gevent.get_hub().loop.run_callback(job.return_later)

    shop = Shop(size=2, jobs=jobs(), plan=come_back_once)
    assert shop.read(1) == [0]
    assert shop.log == ["start 0", "start 0"]
    more.set()
    assert [job.number for job in shop.results] == [1]
