"""Who may go when: slots in all and by host, rates, pauses, circuits.

An `Admission` is a client's; each of its runs has a `Queue`. A job asks, and either goes at once or
is queued by host and granted later. The work for each decision is constant, however many jobs and
hosts there are: hosts that could send stand in a ring, all others come back to it by themselves,
when a slot of theirs is free or a timer rings.

It may not know: what a job does, HTTP, greenlets. Time is a clock's.
"""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING, Any, Final, Protocol

from ._adaptive import AdaptiveLimit
from ._bucket import TokenBucket
from ._exceptions import CircuitOpenError

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._adaptive import Auto
    from ._clock import Clock, Handle
    from ._policies import Circuit, Rate

#: Hosts that are remembered; beyond, those that have nothing to do and nothing to tell are not.
MAX_HOSTS: Final = 20_000
#: Seconds by which a timer has to ring sooner for it to be set anew.
_SOONER: Final = 0.001
#: Hosts that are looked at to find such a one.
_LOOKS: Final = 8


class Job(Protocol):
    """Who asks."""

    lane: Lane

    @property
    def cost(self) -> float:
        """How much of a rate it takes."""

    def granted(self) -> None:
        """It may go: a slot of its host and one in all are its own until `Admission.release`."""

    def refused(self, error: CircuitOpenError) -> None:
        """It may not, and has none."""


class Listener(Protocol):
    """Who is told of hosts."""

    def paused(self, host: str, seconds: float) -> None: ...
    def opened(self, host: str, failures: int, seconds: float) -> None: ...
    def closed(self, host: str) -> None: ...


class Host:
    """What is known of an origin.

    Attributes:
        key: scheme, name and port, such as ``"https://example.org"``.
        active: attempts under way.
        limit: how many there may be.
        queued: jobs that wait for it, in all runs.
        done, failed: requests that have ended, and those of them without an answer.
        plain: whether it has but its limit to be asked about.
    """

    __slots__ = (
        "_failing_since",
        "_failures",
        "active",
        "adaptive",
        "bucket",
        "done",
        "failed",
        "key",
        "lanes",
        "limit",
        "open_until",
        "paused_until",
        "plain",
        "probe",
        "queued",
        "rings_at",
        "timer",
    )

    def __init__(self, key: str, limit: float) -> None:
        self.key = key
        self.limit = limit
        self.active = self.queued = self.done = self.failed = 0
        self.plain = True
        self.adaptive: AdaptiveLimit | None = None
        self.bucket: TokenBucket | None = None
        self.lanes: list[Lane] = []
        self.paused_until = -math.inf
        #: When its circuit lets one through; None while it is closed.
        self.open_until: float | None = None
        #: What tries a host whose circuit is open, while it is under way.
        self.probe: Job | None = None
        self.timer: Handle | None = None
        self.rings_at = 0.0
        self._failures = 0
        self._failing_since = 0.0

    def __repr__(self) -> str:
        return f"<Host {self.key} active={self.active}/{self.limit} queued={self.queued}>"

    def is_idle(self, now: float) -> bool:
        """Whether it may be forgotten."""
        return not (self.active or self.queued or self.open_until or self.paused_until > now)

    def wait(self, now: float, cost: float) -> float:
        """Seconds until a job of this cost may go, as far as time decides."""
        until = self.paused_until - now
        if self.open_until is not None:
            until = max(until, self.open_until - now)
        if self.bucket is not None:
            until = max(until, self.bucket.wait(now, cost))
        return max(until, 0.0)

    def has_room(self) -> bool:
        """Whether its slots let another one go."""
        if self.open_until is not None:
            return self.probe is None
        return self.active < self.limit

    def count(self, circuit: Circuit, now: float, *, answered: bool) -> bool:
        """Take note of an attempt's end; whether the circuit is to be opened for it."""
        if answered:
            self._failures = 0
            return False
        if not self._failures:
            self._failing_since = now
        self.plain = False
        self._failures += 1
        if self.open_until is not None:
            return self.probe is not None
        return self._failures >= circuit.failures and now - self._failing_since >= circuit.span

    @property
    def failures(self) -> int:
        """Attempts without an answer, in a row."""
        return self._failures


class Lane:
    """The jobs of one run that wait for one host."""

    __slots__ = ("host", "jobs", "listed", "queue")

    def __init__(self, host: Host, queue: Queue) -> None:
        self.host = host
        self.queue = queue
        self.jobs: deque[Job] = deque()
        #: Whether it stands in the ring.
        self.listed = False


class Queue:
    """What one run has waiting.

    Args:
        admission: the client's.
        is_full: whether the run can take no more results for now.

    Attributes:
        parked: jobs that wait for their turn.
    """

    __slots__ = ("admission", "is_full", "lanes", "parked", "ring")

    def __init__(self, admission: Admission, is_full: Callable[[], bool]) -> None:
        self.admission = admission
        self.is_full = is_full
        self.lanes: dict[str, Lane] = {}
        self.ring: deque[Lane] = deque()
        self.parked = 0
        admission.queues.append(self)

    def lane(self, key: str, alias: str = "") -> Lane:
        """The lane of a host, made if there is none.

        Args:
            key: of the host.
            alias: another name under which `lanes` is to have it. (Under its own it has it with a
                slash behind, which is how most URLs begin.)
        """
        name = f"{key}/"
        lane = self.lanes.get(name)
        if lane is not None and (not alias or alias == name):
            return lane
        if len(self.lanes) >= MAX_HOSTS:
            self._forget_some()
        if lane is None:
            lane = self.lanes[name] = Lane(self.admission.host(key), self)
        if alias:
            self.lanes[alias] = lane
        return lane

    def withdraw(self, job: Job) -> None:
        """A job that waits does so no longer."""
        try:
            job.lane.jobs.remove(job)
        except ValueError:
            return
        self.parked -= 1
        lane = job.lane
        lane.host.queued -= 1
        if not lane.jobs and lane in lane.host.lanes:
            lane.host.lanes.remove(lane)
        # What it was waiting for need not be what those behind it wait for.
        self.admission.reconsider(lane)

    def clear(self) -> list[Job]:
        """Take out all that wait."""
        jobs: list[Job] = []
        for lane in {id(lane): lane for lane in self.lanes.values()}.values():
            if lane.jobs:
                jobs += lane.jobs
                lane.host.queued -= len(lane.jobs)
                lane.jobs.clear()
            if lane in lane.host.lanes:
                lane.host.lanes.remove(lane)
            lane.listed = False
        self.ring.clear()
        self.parked = 0
        return jobs

    def close(self) -> None:
        """The run is over."""
        self.clear()
        if self in self.admission.queues:
            self.admission.queues.remove(self)

    def _forget_some(self) -> None:
        """Drop lanes of hosts with nothing under way, oldest first; constant work on average."""
        for name, lane in [*self.lanes.items()][: MAX_HOSTS // 4]:
            if not lane.jobs and not lane.host.active:
                del self.lanes[name]


class Admission:
    """The slots and hosts of one client.

    Args:
        clock: what time it is.
        limit: attempts under way at once.
        per_host: the same for one host; None for as many as in all, `Auto` to find out.
        rate, per_host_rate: starts in time, in all and for each host.
        circuit: when a host is left alone; None for never.
        listener: who is told of hosts.

    Attributes:
        active: attempts under way.
        is_waited_for: whether a free slot may be wanted by somebody.
    """

    __slots__ = (
        "_auto",
        "_bucket",
        "_circuit",
        "_clock",
        "_hungry",
        "_is_crowded",
        "_listener",
        "_per_host",
        "_per_host_rate",
        "_rings_at",
        "_timer",
        "active",
        "hosts",
        "is_waited_for",
        "limit",
        "opened",
        "queues",
    )

    def __init__(  # noqa: PLR0913 - the sixth is who is told
        self,
        clock: Clock,
        limit: float,
        per_host: float | Auto | None = None,
        *,
        rates: tuple[Rate | None, Rate | None] = (None, None),
        circuit: Circuit | None = None,
        listener: Listener | None = None,
    ) -> None:
        self.limit = limit
        self.active = 0
        self.hosts: dict[str, Host] = {}
        #: Hosts whose circuit is not closed.
        self.opened: dict[str, Host] = {}
        self.queues: deque[Queue] = deque()
        self._hungry: list[Callable[[], None]] = []
        self._clock = clock
        self._auto: Auto | None = None
        self._per_host: float = limit
        if isinstance(per_host, (int, float)):
            self._per_host = per_host
        elif per_host is not None:
            self._auto = per_host
        rate, self._per_host_rate = rates
        #: Whether somebody stands in a ring, or a free slot is not enough: there is a rate in all.
        self._is_crowded = self.is_waited_for = rate is not None
        self._bucket = None if rate is None else TokenBucket(rate, clock.now())
        self._circuit = circuit
        self._listener = listener
        self._timer: Handle | None = None
        self._rings_at = 0.0

    def __repr__(self) -> str:
        return f"<Admission active={self.active}/{self.limit} hosts={len(self.hosts)}>"

    def host(self, key: str) -> Host:
        """What is known of a host."""
        found = self.hosts.get(key)
        if found is not None:
            return found
        if len(self.hosts) >= MAX_HOSTS:
            self._forget_one()
        made = self.hosts[key] = Host(key, self._per_host)
        if self._auto is not None:
            made.plain = False
            made.adaptive = AdaptiveLimit(self._auto)
            made.limit = made.adaptive.limit
        if self._per_host_rate is not None:
            made.bucket = TokenBucket(self._per_host_rate, self._clock.now())
            made.plain = False
        return made

    def _forget_one(self) -> None:
        now = self._clock.now()
        for key in [key for key, _ in zip(self.hosts, range(_LOOKS))]:  # noqa: B905 - the first few
            host = self.hosts.pop(key)
            if host.is_idle(now):
                return
            self.hosts[key] = host  # it is not old, then

    # Jobs in

    def ask(self, job: Job) -> bool:
        """Let a job go now, or have it wait.

        Returns:
            Whether it goes now. If not, it is granted or refused later, or has been refused.
        """
        lane = job.lane
        host = lane.host
        if (
            host.plain
            and host.active < host.limit
            and self.active < self.limit
            and not host.queued
            and not self._is_crowded
        ):
            self.active += 1
            host.active += 1
            return True
        return self._ask_by_the_book(job, host)

    def _ask_by_the_book(self, job: Job, host: Host) -> bool:
        now = self._clock.now()
        if self._is_open(host, now):
            job.refused(CircuitOpenError(host.key, host.open_until - now))  # type: ignore[operator]
            return False
        self._park(job, first=False)
        self._list(job.lane, now)
        self.pump()
        return False

    def ask_again(self, job: Job) -> None:
        """The same for a job that has waited before: it goes before others of its host."""
        host = job.lane.host
        now = self._clock.now()
        if self._is_open(host, now):
            job.refused(CircuitOpenError(host.key, host.open_until - now))  # type: ignore[operator]
            return
        self._park(job, first=True)
        self._list(job.lane, now)
        self.pump()

    def _park(self, job: Job, *, first: bool) -> None:
        lane = job.lane
        (lane.jobs.appendleft if first else lane.jobs.append)(job)
        lane.queue.parked += 1
        lane.host.queued += 1
        if len(lane.jobs) == 1 and lane not in lane.host.lanes:
            lane.host.lanes.append(lane)

    def _is_open(self, host: Host, now: float) -> bool:
        return host.open_until is not None and now < host.open_until and host.probe is None

    # Jobs out

    def release(self, host: Host) -> None:
        """An attempt has ended: its slots are free."""
        self.active -= 1
        host.active -= 1
        if host.queued or self.is_waited_for:
            self.on_free(host)

    def on_free(self, host: Host) -> None:
        """A slot was freed (by `release`, or in its place where it has to be fast)."""
        if host.queued:
            self._list_all(host)
        self.pump()
        if self._hungry and self.active < self.limit:
            hungry, self._hungry = self._hungry, []
            for wake in hungry:
                wake()
        self.is_waited_for = self._is_crowded or bool(self._hungry)

    def wait_for_slot(self, wake: Callable[[], None]) -> None:
        """Have somebody called, once, who has nothing queued, when a slot may be free."""
        self._hungry.append(wake)
        self.is_waited_for = True

    def reconsider(self, lane: Lane) -> None:
        """Another job is the first of a lane: it may cost less than the one before."""
        if self._bucket is not None or lane.host.bucket is not None:
            self._list(lane, self._clock.now())
            self.pump()

    def pump(self) -> None:
        """Grant whatever may go."""
        self._grant_all()
        self._is_crowded = self._bucket is not None or any(queue.ring for queue in self.queues)

    def _grant_all(self) -> None:
        queues = self.queues
        idle = 0
        while self.active < self.limit and idle < len(queues):
            queue = queues[0]
            queues.rotate(-1)
            if not queue.ring or queue.is_full():
                idle += 1
            elif self._grant_one(queue):
                idle = 0
            elif self._timer is not None:
                return  # the rate in all is used up for now

    def _grant_one(self, queue: Queue) -> bool:
        """Let the next in a ring go; False if it could not yet."""
        lane = queue.ring[0]
        host = lane.host
        now = self._clock.now() if not host.plain or self._bucket is not None else 0.0
        if not self._is_ready(lane, now):
            queue.ring.popleft()
            lane.listed = False
            return True
        job = lane.jobs[0]
        if self._bucket is not None:
            wait = self._bucket.wait(now, job.cost)
            if wait > 0:
                self._ring_in(wait)
                return False
            self._bucket.take(now, job.cost)
        queue.ring.popleft()
        lane.listed = False
        lane.jobs.popleft()
        queue.parked -= 1
        host.queued -= 1
        self._let_go(host, job, now)
        if lane.jobs:
            self._list(lane, now)
        else:
            host.lanes.remove(lane)
        return True

    def _is_ready(self, lane: Lane, now: float) -> bool:
        """Whether what is first in a lane may go, as far as its host decides."""
        host = lane.host
        if not lane.jobs or not host.has_room():
            return False
        wait = 0.0 if host.plain else host.wait(now, lane.jobs[0].cost)
        if wait > 0:
            self._wake_host(host, wait)
            return False
        return True

    def _let_go(self, host: Host, job: Job, now: float) -> None:
        self.active += 1
        host.active += 1
        if not host.plain:
            if host.bucket is not None:
                host.bucket.take(now, job.cost)
            if host.open_until is not None:
                host.probe = job
        job.granted()

    def _list(self, lane: Lane, now: float) -> None:
        """Have a lane stand in the ring, if its first job could go."""
        if lane.listed or not lane.jobs:
            return
        host = lane.host
        if not host.has_room():
            return
        wait = 0.0 if host.plain else host.wait(now or self._clock.now(), lane.jobs[0].cost)
        if wait > 0:
            self._wake_host(host, wait)
            return
        lane.listed = True
        lane.queue.ring.append(lane)
        self._is_crowded = self.is_waited_for = True

    def _list_all(self, host: Host) -> None:
        now = 0.0 if host.plain else self._clock.now()
        for lane in host.lanes:
            self._list(lane, now)

    # Time

    def _wake_host(self, host: Host, seconds: float) -> None:
        moment = self._clock.now() + seconds
        if host.timer is not None:
            if moment > host.rings_at - _SOONER:
                return
            host.timer.close()
        host.rings_at = moment
        host.timer = self._clock.call_later(seconds, self._on_host_woken, host)

    def _on_host_woken(self, host: Host) -> None:
        host.timer = None
        self._simplify(host, self._clock.now())
        self._list_all(host)
        self.pump()

    def _ring_in(self, seconds: float) -> None:
        moment = self._clock.now() + seconds
        if self._timer is not None:
            if moment > self._rings_at - _SOONER:
                return
            self._timer.close()
        self._rings_at = moment
        self._timer = self._clock.call_later(seconds, self._on_rung)

    def _on_rung(self) -> None:
        self._timer = None
        self.pump()

    def close(self) -> None:
        """Let no timer ring any more."""
        timers = [self._timer, *(host.timer for host in self.hosts.values())]
        for timer in timers:
            if timer is not None:
                timer.close()
        self._timer = None

    # What hosts say

    def pause(self, host: Host, seconds: float) -> None:
        """Send nothing to a host for so long."""
        until = self._clock.now() + seconds
        if seconds <= 0 or until <= host.paused_until:
            return
        host.paused_until = until
        host.plain = False
        for lane in host.lanes:
            if lane.listed:
                lane.listed = False
                lane.queue.ring.remove(lane)
        if host.timer is not None:
            host.timer.close()
            host.timer = None
        self._wake_host(host, seconds)
        if self._listener is not None:
            self._listener.paused(host.key, seconds)

    def report(self, host: Host, *, answered: bool) -> None:
        """An attempt has ended, with or without an answer: see to the host's circuit.

        Call it before `release`.
        """
        circuit = self._circuit
        if circuit is None:
            return
        if answered and not host._failures and host.open_until is None:
            return
        now = self._clock.now()
        if host.count(circuit, now, answered=answered):
            self._open(host, circuit, now)
            return
        if answered and host.open_until is not None:
            host.open_until = None
            host.probe = None
            self.opened.pop(host.key, None)
            if self._listener is not None:
                self._listener.closed(host.key)
        self._simplify(host, now)

    def _open(self, host: Host, circuit: Circuit, now: float) -> None:
        host.open_until = now + circuit.seconds
        host.probe = None
        host.plain = False
        self.opened[host.key] = host
        for lane in [*host.lanes]:
            jobs = [*lane.jobs]
            lane.jobs.clear()
            lane.queue.parked -= len(jobs)
            host.queued -= len(jobs)
            host.lanes.remove(lane)
            for job in jobs:
                job.refused(CircuitOpenError(host.key, circuit.seconds))
        if self._listener is not None:
            self._listener.opened(host.key, host.failures, circuit.seconds)

    def give_up(self, job: Job) -> None:
        """A job that was granted ends without a report: if it tried its host, another one may.

        Call it before `release`.
        """
        host = job.lane.host
        if host.probe is job:
            host.probe = None

    def _simplify(self, host: Host, now: float) -> None:
        host.plain = (
            host.bucket is None
            and host.adaptive is None
            and not host._failures
            and host.open_until is None
            and host.paused_until <= now
        )

    def adapt(self, host: Host, latency: float, outcome: str) -> None:
        """An attempt has ended: see to the host's level. Call it before `release`."""
        adaptive = host.adaptive
        if adaptive is not None:
            adaptive.on_end(self._clock.now(), latency, outcome, host.active)
            host.limit = adaptive.limit

    def paused(self) -> list[str]:
        """The hosts that have asked for a pause which is not over."""
        now = self._clock.now()
        return [host.key for host in self.hosts.values() if host.paused_until > now]

    def snapshot(self) -> Any:
        """Its hosts, the busiest first."""
        return sorted(self.hosts.values(), key=_business, reverse=True)


def _business(host: Host) -> tuple[int, int, int]:
    return (host.active, host.queued, host.done)
