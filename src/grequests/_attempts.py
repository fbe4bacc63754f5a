"""The attempts of a run: started when they may, cut off when they must, judged when they end.

The middle layer of a run's scheduler (see `_outcomes`). It may not know: where requests come from,
who reads the results.
"""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING, Any, Final

import gevent
from gevent.hub import Waiter
from requests.exceptions import (
    ChunkedEncodingError,
)
from requests.exceptions import (
    ConnectionError as RequestsConnectionError,
)
from requests.exceptions import (
    Timeout as RequestsTimeout,
)

from ._exceptions import (
    BodyTooLargeError,
    GRequestsError,
    HeadersTooLargeError,
    RequestCancelledError,
    TotalTimeoutError,
)
from ._outcomes import Outcomes, Plan, forget, size_of
from ._retry import OVERLOADED, Verdict, judge, retry_after

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._client import Core
    from ._clock import Handle
    from ._task import Task

#: What a subclass's `send` should not do.
_NOTHING: Final = "the request's own send() has set neither response nor exception"
#: Errors that say that nobody was there to answer.
_NO_ANSWER: Final = (
    RequestsConnectionError,
    RequestsTimeout,
    ChunkedEncodingError,
    TotalTimeoutError,
)
#: Seconds between two looks at what is to be cut off, at least; and for each task looked at.
_LOOK: Final = 0.01
_LOOK_PER_TASK: Final = 2.5e-6
#: The longest Retry-After that has a host paused where no `Retry` says so.
_LONGEST_PAUSE: Final = 120.0


class Attempts(Outcomes):
    """The attempts of one run.

    Attributes:
        lasts: seconds a request may take over its attempts, or None.
    """

    def __init__(self, core: Core, plan: Plan) -> None:
        super().__init__(core, plan)
        #: Granted, and not yet started.
        self._granted: deque[Task] = deque()
        self._starter: Any = None
        self._waiting_starter: Waiter[None] | None = None
        #: What tasks end with that have not ended yet, once the run is not to go on.
        self._verdict: Callable[[bool], BaseException] | None = None
        self._look: Handle | None = None
        self._look_at = math.inf
        self.lasts = core.timeout.request
        self._total = math.inf if core.timeout.total is None else core.timeout.total
        #: Whether nothing will look after what is to be cut off, unless the next start sees to it.
        self._is_blind = self._total < math.inf
        self._suspects = core.suspects
        #: Bytes of a body beyond which a response is looked at: any, if heads are limited.
        self._max_body = math.inf if core.max_body is None else core.max_body
        if core.max_headers is not None:
            self._max_body = -1
        self._note_latency = core.counters.latencies.append
        self._note_size = core.counters.sizes.append
        self._statuses = core.counters.statuses

    @property
    def parked(self) -> int:
        """Requests that have been pulled and wait."""
        return self._queue.parked + len(self._delayed) + self._following

    # Starting what has waited

    def on_granted(self, task: Task) -> None:
        """Admission lets a task go that has waited."""
        self._between.discard(task)
        self._granted.append(task)
        starter, self._waiting_starter = self._waiting_starter, None
        if starter is not None:
            self._hub.loop.run_callback(starter.switch, None)
        elif self._starter is None:
            self._starter = gevent.Greenlet(self._start_granted)
            self._starter.gr_context = self._context.copy()
            self._starter.start()

    def _start_granted(self) -> None:
        granted = self._granted
        try:
            while not self._over:
                while granted:
                    task = granted.popleft()
                    self._active.add(task)
                    task.start()
                self._on_slot()
                starter: Waiter[None] = Waiter(self._hub)
                self._waiting_starter = starter
                try:
                    starter.get()
                finally:
                    self._waiting_starter = None
        except gevent.GreenletExit:
            pass
        except BaseException as error:  # noqa: BLE001 - it belongs to the reader
            self.interrupt(error)

    def _on_slot(self) -> None:
        if self._waiting_feeder is not None:
            self._wake_feeder()

    # Cutting off

    def on_start(self, task: Task, now: float) -> None:
        """An attempt begins: watch it, and tell whoever listens."""
        if self._is_blind or self.lasts is not None:
            self._watch(task)
        if self.listens:
            self._core.on_started(task, now)
        self.is_watchful = (
            self._is_blind
            or self.listens
            or self.lasts is not None
            or self._core.rotation is not None
        )

    def _watch(self, task: Task) -> None:
        """See to it that somebody looks when an attempt, or its request, takes too long.

        One that starts later is over later, so it is enough if somebody looks after the first;
        save for requests of which not the attempt, but the time for all of them, is over sooner.
        """
        cutoff = self._cutoff(task)
        if cutoff < self._look_at:
            self._arm(cutoff)
        self._is_blind = False

    def _cutoff(self, task: Task) -> float:
        """When a task is to be cut off."""
        if task in self._between:
            return task.until
        return min(task.started + self._total, task.until)

    def _arm(self, moment: float) -> None:
        if self._look is not None:
            self._look.close()
        self._look_at = moment
        self._look = self._core.clock.call_later(max(moment - self.now(), 0.0), self._on_look)

    def _on_look(self) -> None:
        """Cut off what is over. All that are under way are looked at: see `_LOOK_PER_TASK`."""
        self._look = None
        self._look_at = math.inf
        now = self.now()
        watched = [*self._active, *self._between]
        coming = math.inf
        for task in watched:
            cutoff = self._cutoff(task)
            if cutoff > now:
                coming = min(coming, cutoff)
            elif task not in self._active and task not in self._between:
                pass  # it has ended with another one, whose cutting off opened a circuit
            elif task.until <= now:
                self._cut(task, TotalTimeoutError(self.lasts or 0.0, "request"))
            else:
                self._cut(task, TotalTimeoutError(self._total, "attempt"))
        if coming < self._look_at:
            pause = max(_LOOK, len(watched) * _LOOK_PER_TASK)
            self._arm(max(coming, now + pause))
        if self._look is None:
            self._is_blind = self._total < math.inf
            self.is_watchful = True

    def cut(self, task: Task, error: BaseException) -> None:
        """End a task that has not ended from outside, wherever it is."""
        self._cut(task, error)

    def _cut(self, task: Task, error: BaseException) -> None:
        if task in self._active:
            task.abort()
            task.ended = self.now()
            request = task.request
            request.response = None
            request.exception = error
            self._conclude(task, None, error)
            return
        if task in self._between:
            self._between.discard(task)
            timer = self._delayed.pop(task, None)
            if timer is not None:
                timer.close()
            self._queue.withdraw(task)
        elif task in self._granted:
            self._granted.remove(task)
            self._give_back(task)
        else:
            self._queue.withdraw(task)
        self.end(task, error)

    def _give_back(self, task: Task) -> None:
        """A task does not use the slot that it was granted."""
        self._admission.give_up(task)
        self._admission.release(task.lane.host)

    def _end_all(self) -> None:
        """End whatever has not ended with the verdict."""
        verdict = self._verdict
        assert verdict is not None
        waiting: list[Any] = [*self._between, *self._granted, *self._queue.clear()]
        for task in self._granted:
            self._give_back(task)
        self._granted.clear()
        for timer in self._delayed.values():
            timer.close()
        self._delayed.clear()
        self._between.clear()
        for each in [*self._active]:
            self._cut(each, verdict(True))  # noqa: FBT003 - it was sent
        for task in dict.fromkeys(waiting):
            self.end(task, verdict(task.number > 0))

    # The calls' side

    def done(self, call: Any) -> None:  # noqa: C901, PLR0912 - the hot path, in one frame
        """An attempt has ended by itself."""
        task: Task | None = call.task
        if task is None or task.call is not call:
            return  # it was given up
        # No cycles: they would be for the garbage collector.
        call.task = None  # type: ignore[union-attr]
        task.ended = now = self.now()
        request = task.request
        response = request.response
        try:
            status = response.status_code  # type: ignore[union-attr]
            content = response._content  # type: ignore[union-attr]
        except AttributeError:
            self._done_without(task, response)
            return
        if status in self._suspects:
            self._conclude(task, response, None)
            return
        size = len(content) if type(content) is bytes else 0
        if size > self._max_body:
            error = self._limit_error(response, size)
            if error is not None:
                request.response = None
                request.exception = error
                self._conclude(task, None, error)
                return
        host = task.lane.host
        task.response = response
        latency = now - task.started
        self._note_latency(latency)
        self._note_size(size)
        self._statuses[status] += 1
        host.done += 1
        if not host.plain or self._is_special:
            self._on_answer(task, latency)
        self._active.discard(task)
        admission = self._admission
        admission.active -= 1
        host.active -= 1
        if host.queued or admission.is_waited_for:
            admission.on_free(host)
        if self._is_plain:  # what `_deliver` does, without calling it
            self._finished.append(task)
            if self._waiting_feeder is not None:
                if self._may_pull():
                    self._wake_feeder()
                else:
                    self._is_stalled = True
            if self._reader is not None:
                self._wake_reader()
        else:
            self._deliver(task)

    def _done_without(self, task: Task, response: Any) -> None:
        """An attempt has ended without a response, or with something of somebody's that is none."""
        error: BaseException | None = None
        if response is None:
            request = task.request
            error = request.__dict__.get("exception")
            if error is None:
                request.exception = error = GRequestsError(_NOTHING)
        self._conclude(task, response, error)

    def again(self, call: Any, seconds: float) -> None:
        """urllib3's `Retry` of an adapter wants the same call once more, after so many seconds."""
        task: Task | None = call.task
        if task is None or task.call is not call:
            return
        task.resume_later()
        self._active.discard(task)
        self._between.add(task)
        self._give_back(task)
        self._delay(task, seconds)

    def _on_answer(self, task: Task, latency: float) -> None:
        host = task.lane.host
        self._admission.report(host, answered=True)
        self._admission.adapt(host, latency, "ok")
        core = self._core
        if core.rotation is not None and task.proxy is not None:
            core.rotation.report(task.proxy, ok=True)
        if task.identity is not None or task.followers:
            self._lead(task)

    def _limit_error(self, response: Any, size: int) -> Exception | None:
        core = self._core
        if core.max_body is not None and size > core.max_body:
            return BodyTooLargeError(core.max_body)
        if core.max_headers is not None:
            head = head_size(response)
            if head > core.max_headers:
                return HeadersTooLargeError(core.max_headers, head)
        return None

    def _conclude(self, task: Task, response: Any, error: BaseException | None) -> None:
        """An attempt has ended with an error, or with a status that may be none to keep."""
        core, admission = self._core, self._admission
        host = task.lane.host
        if response is not None:
            error = self._limit_error(response, size_of(response))
            if error is not None:
                task.request.response, response = None, None
                task.request.exception = error
        status = getattr(response, "status_code", None)
        after = None
        if response is not None and status in self._suspects:
            after = retry_after(response.headers.get("Retry-After"), core.clock.wall())
        latency = task.ended - task.started
        is_ours = self._verdict is not None or isinstance(error, RequestCancelledError)
        if is_ours:
            admission.give_up(task)
        else:
            answered = error is None or not isinstance(error, _NO_ANSWER)
            admission.report(host, answered=answered)
            admission.adapt(host, latency, _level(error, status))
            self._report_proxy(task, error, status)
            if after and status in OVERLOADED:
                longest = _LONGEST_PAUSE if core.retry is None else core.retry.after
                if after <= longest:
                    admission.pause(host, after)
        if response is not None:
            self._note_latency(latency)
        verdict = None if is_ours else self._judge(task, error, status, after)
        task.why = None if verdict is None else verdict.why
        self._active.discard(task)
        if verdict is not None and verdict.delay is not None:
            self._retry(task, verdict.delay)
            admission.release(host)
            return
        admission.release(host)
        self.end(task, error)

    def _report_proxy(self, task: Task, error: BaseException | None, status: int | None) -> None:
        rotation = self._core.rotation
        if rotation is not None and task.proxy is not None:
            # Of a tunnel that fails one cannot tell whether the proxy or the host is to blame.
            ok = not isinstance(error, _NO_ANSWER) and status != 407  # noqa: PLR2004
            rotation.report(task.proxy, ok=ok)

    def _judge(  # noqa: PLR0911 - one for each reason
        self, task: Task, error: BaseException | None, status: int | None, after: float | None
    ) -> Verdict | None:
        core = self._core
        policy = core.retry
        if policy is None:
            return None
        if isinstance(error, TotalTimeoutError) and error.scope == "request":
            return None
        method: Any = task.request.method
        if isinstance(method, bytes):
            method = method.decode("latin-1")
        verdict = judge(
            policy,
            task.number,
            method.upper() if isinstance(method, str) else "",
            error=error,
            status=status,
            after=after,
            random=core.random.random,
        )
        if verdict is None or verdict.delay is None:
            return verdict
        if task.ended + verdict.delay >= task.until:
            return Verdict(None, f"{verdict.why}: no time is left for another attempt")
        if not core.budget.has_any(self._counters.pulled):
            return Verdict(None, f"{verdict.why}: the retry budget is spent")
        if not task.is_replayable():
            return Verdict(None, f"{verdict.why}: the body cannot be sent again")
        return verdict

    def _retry(self, task: Task, delay: float) -> None:
        core = self._core
        request = task.request
        response = request.response
        attempt = task.attempt(response, request.__dict__.get("exception"))
        if response is not None and not getattr(response, "_content_consumed", True):
            response.close()  # an unread body must not keep its socket
        task.past = (*task.past, attempt)
        task.why = None
        task.call = None
        try:
            task.rewind()
        except Exception as error:  # noqa: BLE001 - it is this request's outcome
            request.exception = error
            self.end(task, error)
            return
        forget(request)
        request._in_flight = True
        core.budget.spend()
        self._counters.retries += 1
        if core.rotation is not None:
            task.proxy = core.rotation.choose(task.host, task.tried)
            task.tried = (*task.tried, task.proxy)
        if self.listens:
            core.on_retried(task, attempt, delay)
        self._between.add(task)
        if task.until < self._look_at:
            self._arm(task.until)
        self._delay(task, delay)

    def _delay(self, task: Task, seconds: float) -> None:
        self._delayed[task] = self._core.clock.call_later(seconds, self._on_due, task)

    def _on_due(self, task: Task) -> None:
        self._delayed.pop(task, None)
        self._admission.ask_again(task)


def _level(error: BaseException | None, status: int | None) -> str:
    """An attempt's end, as it counts for the level of concurrency."""
    if isinstance(error, _NO_ANSWER):
        return "error"
    return "overload" if status in OVERLOADED else "ok"


def head_size(response: Any) -> int:
    """The bytes of a response's status line and headers; near enough if they are not there."""
    head = getattr(response, "_head", None)
    if isinstance(head, bytes):
        return len(head)
    try:
        return sum(len(name) + len(value) + 4 for name, value in response.headers.items())
    except (AttributeError, TypeError):
        return 0
