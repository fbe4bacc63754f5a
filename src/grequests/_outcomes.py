"""What the requests of a run end with: results in their order, counts, those that want the same.

The lowest of three layers that make the scheduler of a client's run: `Outcomes`, `Attempts` on top
of it, `Flow` on top of that. It may not know: what starts or ends an attempt, where requests come
from.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ._admission import Queue
from ._coalesce import Leaders
from ._kinds import kind_of
from ._run import Run
from ._scheduler import Scheduler

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._asyncrequest import AsyncRequest
    from ._client import Core
    from ._task import Task


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What holds for one run.

    Attributes:
        ordered: whether results come in the order of the input.
        deadline: seconds for all of it, or None.
        stream: whether bodies are left to be read by the user.
        coalesce: whether identical requests are sent once.
        expected: how many requests there are, if that is known.
    """

    ordered: bool = False
    deadline: float | None = None
    stream: bool = False
    coalesce: bool = False
    expected: int | None = None


class Outcomes(Scheduler):
    """The outcomes of one run.

    Attributes:
        began: when, in seconds of the clock.
        now: the time, in seconds of the clock.
        run: what its calls share.
        expected: how many requests there are, if that is known.
        listens: whether somebody wants to be told of events.
        is_watchful: whether starts have to be told of.
        at_start, at_end: called in the reader's greenlet.
    """

    def __init__(self, core: Core, plan: Plan) -> None:
        super().__init__((), core.concurrency, core.unread)
        self._core = core
        self._plan = plan
        self._admission = core.admission
        self._counters = core.counters
        self._queue = Queue(core.admission, self._is_full)
        # (A body that is read by the user is read by one of them.)
        self._leaders = Leaders() if plan.coalesce and not plan.stream else None
        #: How many wait for what comes of another one.
        self._following = 0
        self._is_special = plan.coalesce or core.rotation is not None
        #: Between two attempts: waiting for a moment, or for a slot after it.
        self._between: set[Task] = set()
        #: In order: what is to be read next, and what ended before its turn.
        self._next = 0
        self._early: dict[int, Task] = {}
        #: Whether something waits for the reader to read.
        self._is_stalled = False
        #: A plain function: it is called for every request.
        self.now: Callable[[], float] = core.clock.now
        self.began = self.now()
        self.expected = plan.expected
        self.listens = core.listens
        self.is_watchful = True
        #: Whether results go to the reader as they are, and nobody else wants them.
        self._is_plain = not (core.listens or plan.ordered)
        self.at_start: Callable[[], None] | None = None
        self.at_end: Callable[[], None] | None = None
        self.run = Run(
            stream=plan.stream,
            defaults=core.keywords,
            max_body=core.max_body,
            max_head=core.max_headers,
            address_policy=core.settings.address_policy,
        )
        self.run.sink = self

    def shown_proxy(self, proxy: str) -> str:
        """A proxy of the pool, without credentials."""
        return self._core.shown_proxy(proxy)

    def listen(self) -> None:
        """From now on somebody wants to be told of events."""
        self.listens = self.is_watchful = True
        self._is_plain = False

    # The end of a task

    def end(self, task: Task, error: BaseException | None) -> None:
        """A task has its outcome; it is not under way any more."""
        self._between.discard(task)
        request = task.request
        task.error = error
        if not task.ended or error is not None:
            task.ended = self.now()
        if error is not None:
            request.response = None
            request.exception = error
            request._in_flight = False
            self._count_failure(task, error)
        else:
            task.response = request.response
            self._count_response(task, request.response)
        if task.identity is not None or task.followers:
            self._lead(task)
        self._deliver(task)

    def _count_failure(self, task: Task, error: BaseException) -> None:
        counters, host = self._counters, task.lane.host
        counters.failed[kind_of(error)] += 1
        host.done += 1
        host.failed += 1
        self._core.on_failed(task)

    def _count_response(self, task: Task, response: Any) -> None:
        counters = self._counters
        counters.receive(size_of(response))
        task.lane.host.done += 1
        counters.statuses[getattr(response, "status_code", 0)] += 1

    def _deliver(self, task: Task) -> None:
        """Hand a task that has ended to the reader."""
        if self.listens:
            self._core.on_finished(task)
        finished = self._finished
        if self._plan.ordered:
            self._put_in_order(task)
        else:
            finished.append(task)
        if self._waiting_feeder is not None:
            if self._may_pull():
                self._wake_feeder()
            else:
                self._is_stalled = True
        if self._reader is not None and finished:
            self._wake_reader()

    def _put_in_order(self, task: Task) -> None:
        early = self._early
        early[task.index] = task
        while self._next in early:
            self._finished.append(early.pop(self._next))
            self._next += 1

    def _is_full(self) -> bool:
        """Whether what waits is not started, because too much has not been read."""
        if self._plan.ordered or len(self._finished) < self._unread:
            return False
        self._is_stalled = True
        return True

    def _may_pull(self) -> bool:
        """Whether another request may be taken from the input."""
        raise NotImplementedError

    # Those that want the same

    def _lead(self, task: Task) -> None:
        """Give the outcome to those that follow."""
        followers, task.followers = task.followers, None
        if self._leaders is not None:
            self._leaders.ended(task, size_of(task.response))
        for each in followers or ():
            self._following -= 1
            self._share(task, each)

    def _share(self, leader: Task, task: Task) -> None:
        task.leader = leader
        task.error = leader.error
        task.ended = self.now()
        if leader.error is None:
            task.request.response = task.response = leader.response
            self._count_response(task, task.response)
        else:
            task.request.exception = leader.error
            self._count_failure(task, leader.error)
        self._deliver(task)


def forget(request: AsyncRequest) -> None:
    """Make a request as it was before it was sent."""
    fields = request.__dict__
    fields.pop("exception", None)
    fields.pop("_traceback", None)
    request.response = None


def size_of(response: Any) -> int:
    content = getattr(response, "_content", None)
    return len(content) if isinstance(content, bytes) else 0
