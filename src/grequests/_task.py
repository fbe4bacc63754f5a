"""One request of a run, over its attempts: what starts them, cuts them off and remembers them.

A `Task` is a job to the scheduler and to admission; each of its attempts is an `AttemptCall`. It
may not know: why it is started or sent again (that is the flow's and `_retry`'s business).
"""

from __future__ import annotations

import contextlib
import math
from typing import TYPE_CHECKING, Any

from ._call import Call
from ._results import Attempt, Timings

if TYPE_CHECKING:
    import requests

    from ._admission import Lane
    from ._asyncrequest import AsyncRequest
    from ._engine import ConnectTimes
    from ._exceptions import CircuitOpenError
    from ._flow import Flow
    from ._future import Future


class AttemptCall(Call):
    """A call that belongs to a task, and is none of its business once the task has given it up."""

    __slots__ = ("task", "times")

    #: None once it has ended.
    task: Task | None
    times: ConnectTimes | None
    wants_times = True

    @property
    def max_body(self) -> int | None:  # type: ignore[override]
        return self.run.max_body

    @property
    def max_head(self) -> int | None:  # type: ignore[override]
        return self.run.max_head

    def _is_given_up(self) -> bool:
        task = self.task
        return task is None or task.call is not self

    def _let_go(self) -> None:
        if self.task is None:  # else it only waits, and goes on
            super()._let_go()


class ProxiedCall(AttemptCall):
    """A call that goes through a proxy of a pool, whatever its request says."""

    __slots__ = ()

    def _start_plain(self) -> bool:
        return False

    def _overrides(self) -> dict[str, Any] | None:
        assert self.task is not None
        proxy = self.task.proxy
        return {"proxies": {"http": proxy, "https": proxy}}


class Task:
    """A request on its way to one outcome.

    Attributes:
        flow: the run it belongs to.
        request: the user's.
        index: its position in the run.
        lane: where it waits for its turn.
        call: the attempt under way, or the last.
        number: how many attempts there were.
        pulled: when it had to wait for its turn, in seconds of the clock.
        begun, started, ended: likewise, its first start, its last one, and its end.
        until: when the request is.
        response: at the end. (Its request may have another one later, if it is sent once more.)
        error: why there is no response, at the end.
        past: attempts before the last.
        why: what was decided after the last.
        proxy: of the pool, for this attempt.
        tried: proxies that have been used.
        followers: tasks that want the same outcome.
        identity: what makes others want it.
        future: who waits for this one alone.
    """

    call: AttemptCall | None = None
    number: int
    pulled: float = 0.0
    begun: float = 0.0
    started: float = 0.0
    ended: float = 0.0
    until: float = math.inf
    response: requests.Response | None = None
    error: BaseException | None
    past: tuple[Attempt, ...] = ()
    why: str | None = None
    proxy: str | None = None
    tried: tuple[str, ...] = ()
    followers: list[Task] | None = None
    identity: Any = None
    future: Future | None = None
    leader: Task | None = None
    _resumes: bool = False
    _positions: list[tuple[Any, int]] | None = None

    def __init__(self, flow: Flow, request: AsyncRequest, index: int, lane: Lane) -> None:
        self.flow = flow
        self.request = request
        self.index = index
        self.lane = lane
        # (The others are looked up in the class until they are set: most never are.)
        self.number = 0
        self.error = None

    def __repr__(self) -> str:
        return f"<Task {self.index} {self.request!r} attempt={self.number}>"

    @property
    def cost(self) -> float:
        """How much of a rate it takes."""
        return getattr(self.request, "cost", 1.0)

    @property
    def tag(self) -> Any:
        """The user's."""
        return getattr(self.request, "tag", None)

    @property
    def host(self) -> str:
        """The key of its host."""
        return self.lane.host.key

    # Admission's side

    def granted(self) -> None:
        """It may go."""
        self.flow.on_granted(self)

    def refused(self, error: CircuitOpenError) -> None:
        """It may not: its host is left alone."""
        error.__cause__ = self.past[-1].error if self.past else None
        self.flow.end(self, error)

    # The scheduler's side

    def start(self) -> None:
        """Send it; or go on with an attempt that urllib3's `Retry` has had wait."""
        flow = self.flow
        if self.number or flow.is_watchful:
            self._start_by_the_book(flow)
            return
        self.number = 1
        self.begun = self.started = flow.now()
        self.call = call = AttemptCall(flow.run, self.request, self.index)
        call.task = self
        call.start()

    def _start_by_the_book(self, flow: Flow) -> None:
        call = self.call
        if self._resumes and call is not None:
            self._resumes = False
            call.start()
            return
        self.started = now = flow.now()
        self.number += 1
        if self.number == 1:
            self.begun = now
            if flow.lasts is not None:
                self.until = now + flow.lasts
        flow.on_start(self, now)
        kind = AttemptCall if self.proxy is None else ProxiedCall
        self.call = call = kind(flow.run, self.request, self.index)
        call.task = self
        call.start()

    def resume_later(self) -> None:
        """Have the next start go on with the same attempt."""
        self._resumes = True

    def abort(self) -> None:
        """End now; nobody is told."""
        call, self.call = self.call, None
        if call is not None:
            call.task = None
            call.abort()
        with contextlib.suppress(AttributeError):
            self.request._in_flight = False

    def drop(self) -> None:
        """It has ended and nobody will read it."""
        response = getattr(self.request, "response", None)
        if response is not None and not getattr(response, "_content_consumed", True):
            response.close()

    # Bodies

    def remember_positions(self) -> None:
        """Note where files begin, before they are read for the first time."""
        kwargs = self.request.kwargs
        found = [*_files_in(kwargs.get("data")), *_files_in(kwargs.get("files"))]
        self._positions = []
        for each in found:
            try:
                self._positions.append((each, each.tell()))
            except Exception:  # noqa: BLE001 - it may be anybody's object
                self._positions = None
                return

    def is_replayable(self) -> bool:
        """Whether the body, if there is one, can be sent once more."""
        kwargs = self.request.kwargs
        if not (kwargs.get("data") or kwargs.get("files")):
            return True
        data = kwargs.get("data")
        if hasattr(data, "__next__") and not hasattr(data, "read"):
            return False  # a generator: what has been read is gone
        return self._positions is not None

    def rewind(self) -> None:
        """Put files back to where they began.

        Raises:
            OSError, ValueError: one cannot be.
        """
        for each, position in self._positions or ():
            each.seek(position)

    # The user's side, by way of `Result`

    def attempt(self, response: Any, error: BaseException | None) -> Attempt:
        """The last attempt, as it ended."""
        return Attempt(
            self.number,
            self.started - self.flow.began,
            self.ended - self.started,
            getattr(response, "status_code", None) if error is None else None,
            error,
            self.why,
            None if self.proxy is None else self.flow.shown_proxy(self.proxy),
        )

    def attempts(self) -> tuple[Attempt, ...]:
        """All of them."""
        if self.leader is not None:
            return self.leader.attempts()
        if self.number > len(self.past):
            return (*self.past, self.attempt(self.response, self.error))
        return self.past

    def timings(self) -> Timings:
        """Where the time went."""
        if self.leader is not None:
            return self.leader.timings()
        if not self.number:
            queued = self.ended - self.pulled if self.pulled else 0.0
            return Timings(queued, 0.0, 0.0, 0.0, 0.0, 0.0)
        call = self.call
        dns, connect, tls = getattr(call, "times", None) or (0.0, 0.0, 0.0)
        head_at = getattr(call, "head_at", 0.0)
        first_byte = max(head_at - call._started, 0.0) if call is not None and head_at else 0.0
        return Timings(
            self.begun - self.pulled if self.pulled else 0.0,
            dns,
            connect,
            tls,
            first_byte,
            max(self.ended - self.begun, 0.0),
        )


def _files_in(value: Any) -> list[Any]:
    """File objects in what `data=` or `files=` of Requests may be."""
    if hasattr(value, "read"):
        return [value]
    if isinstance(value, dict):
        value = [*value.values()]
    if isinstance(value, (list, tuple)):
        return [each for part in value for each in _files_in(part)]
    return []
