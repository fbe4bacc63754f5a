"""One run of a client: requests in, results out, and its end.

The upper layer of a run's scheduler (see `_outcomes`). The feeder pulls requests from the input and
asks admission for each; what waits there is started by a second greenlet, since the first may be
waiting for the input. It may not know: how attempts end.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import gevent
from gevent.hub import Waiter

from ._asyncrequest import AsyncRequest
from ._attempts import Attempts
from ._exceptions import (
    DeadlineError,
    NotARequestError,
    RequestCancelledError,
    RequestInFlightError,
)
from ._feed import Feed
from ._outcomes import Plan, forget
from ._results import Result
from ._signals import heard
from ._stock import glance
from ._task import Task

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ._client import Core
    from ._clock import Handle


#: The way around `__init__`, for what is made for each request.
_new_result: Callable[[type[Result]], Result] = Result.__new__
#: URLs whose origin is written as the key is. (Default ports are not.)
_SIMPLE: Final = re.compile(r"(https?://[a-z0-9.-]+(?::(?!0|80/|443/)[0-9]+)?)/")

#: What no text begins with: `"".startswith(())` is False.
_NO_PREFIX: Final[tuple[str, ...]] = ()


class Flow(Attempts):
    """The scheduler of one run.

    Args:
        core: of the client.
        source: requests, URLs, or pairs of one of these and a tag.
        plan: what holds for this run.
    """

    def __init__(self, core: Core, source: Iterable[Any], plan: Plan) -> None:
        super().__init__(core, plan)
        self._source = source
        self._lookahead = core.lookahead
        self._pulled = 0
        self._is_forsaken = False
        for each in core.flows:
            each._on_slot()  # its feeder is not the only one any more that waits for slots

    def __repr__(self) -> str:
        return f"<Flow active={len(self._active)} parked={self._queue.parked}>"

    # The reader's side

    def read(self) -> Generator[Result, None, None]:  # noqa: C901 - the hot path, in one frame
        """Yield results as they come.

        If it ends by an exception that is for the caller (Ctrl-C), everything under way is
        cancelled; what has ended by then can be read by `rest`.
        """
        finished = self._finished
        timer = self._start_deadline()
        core = self._core
        core.enter(self)
        if self.at_start is not None:
            self.at_start()
        try:
            with heard(self._hub):
                self._feeder.start()
                while True:
                    while finished:
                        task = finished.popleft()
                        if self._is_stalled:
                            self._go_on()
                        result = _new_result(Result)
                        result._task = task
                        yield result
                    if not self._wait():
                        break
            if self._error is not None:
                raise self._error
        finally:
            if timer is not None:
                timer.close()
            self.close()
            if self._is_forsaken:
                self._drop_unread()
            if isinstance(self._source, Feed):
                self._source.close()
            if self.at_end is not None:
                self.at_end()
            core.leave(self)

    def rest(self) -> Generator[Result, None, None]:
        """Yield what had ended when the run was interrupted."""
        while self._finished:
            yield Result(self._finished.popleft())

    def forsake(self) -> None:
        """Nobody can read any more what its reader leaves unread."""
        self._is_forsaken = True
        if self._over:
            self._drop_unread()

    def close(self) -> None:
        """Stop now. What has ended can still be read."""
        if sys.is_finalizing():
            self._over = True
            return  # the engine was closed at exit, and greenlets can be told nothing any more
        self._decide(self._verdict or _cancelled)
        self._end_all()
        self._over = True
        self._queue.close()
        if self._look is not None:
            self._look.close()
        starter, self._starter = self._starter, None
        for each in (self._feeder, starter):
            if each is not None and not each.dead:
                # Whoever closes may be the hub or the garbage collector: never wait here.
                each.kill(block=False)
        self._error = None

    def cancel(self) -> None:
        """Start nothing more, cut off what is under way; results that are there can be read."""
        self._give_up(_cancelled)

    def interrupt(self, error: BaseException) -> None:
        """Something that is no outcome (KeyboardInterrupt, SystemExit) has to reach the reader."""
        self._decide(self._verdict or _cancelled)
        self._error = error
        self._end_all()
        self._over = True
        self._wake_reader()

    def _wait(self) -> bool:
        """Let others run until there is something to read; False at the end."""
        self._counters.tidy()
        while not self._finished:
            error = self._error
            if error is not None and not isinstance(error, Exception):
                return False
            if self._over or self._is_spent():
                return False
            reader: Waiter[None] = Waiter(self._hub)
            self._reader = reader
            try:
                reader.get()
            finally:
                self._reader = None
        error = self._error
        return error is None or isinstance(error, Exception)

    def _is_spent(self) -> bool:
        if self._active or self._between or self._granted or self._queue.parked or self._early:
            return False
        return self._exhausted or (isinstance(self._source, Feed) and self._source.is_fed_up())

    def _go_on(self) -> None:
        """There may be room again for what was not sent because too much was not read."""
        if self._plan.ordered:
            if self._waiting_feeder is not None:
                if not self._may_pull():
                    return
                self._wake_feeder()
            self._is_stalled = False
        elif len(self._finished) < self._unread:
            self._is_stalled = False
            if self._waiting_feeder is not None and self._may_pull():
                self._wake_feeder()
            if self._queue.ring:
                self._admission.pump()

    def _start_deadline(self) -> Handle | None:
        seconds = self._plan.deadline
        if seconds is None:
            return None
        return self._core.clock.call_later(seconds, self._on_deadline, seconds)

    def _on_deadline(self, seconds: float) -> None:
        def late(sent: bool) -> BaseException:  # noqa: FBT001
            return DeadlineError(seconds, sent=sent)

        self._give_up(late, drains=self._plan.expected is not None)

    def _decide(self, verdict: Callable[[bool], BaseException]) -> None:
        """The run is not to go on: say what becomes of what has not ended."""
        self._verdict = verdict
        self._is_special = True  # of what is still pulled, more is to be thought

    def _give_up(self, verdict: Callable[[bool], BaseException], *, drains: bool = False) -> None:
        """End all there is with an error; and what is still to be pulled, if `drains`."""
        if self._verdict is not None or self._over:
            return
        self._decide(verdict)
        self._end_all()
        if not drains:
            self._exhausted = True
            if not self._feeder.dead:
                self._feeder.kill(block=False)
        self._wake_feeder()
        self._wake_reader()

    # The feeder's side

    def _lane_of(self, url: Any) -> Any:
        prefix = url[: url.find("/", 8) + 1] if type(url) is str else ""
        return self._queue.lane(host_key(url), prefix)

    def _request_of(self, item: Any, index: int) -> AsyncRequest | None:
        """An item of the input as a request; None if it is none, and has its outcome already."""
        request = self._core.request_of(item)
        if request is None:
            self._refuse(item, index, NotARequestError(index, item))
            return None
        if request._in_flight:
            self._refuse(request, index, RequestInFlightError(request.url, index))
            return None
        if request._in_flight is not None:
            forget(request)
        return request

    def _refuse(self, item: Any, index: int, error: Exception) -> None:
        """Give an outcome to what cannot be sent."""
        task = Task(self, item, index, self._queue.lane(""))
        self._counters.pulled += 1
        self._pulled = index + 1
        task.error = error
        self._count_failure(task, error)
        self._deliver(task)
        self._wait_to_pull()

    def _close_input(self) -> None:
        if isinstance(self._source, Generator):
            self._source.close()
        if not isinstance(self._source, Feed):
            self._source = ()  # a list would lead from the traceback of each failure to the failure

    def _after_input(self) -> None:
        self._wake_reader()

    def _pull(self) -> None:  # noqa: C901 - likewise
        """Pull all requests, and let those go that may."""
        admission, counters, queue = self._admission, self._counters, self._queue
        active, finished, between = self._active, self._finished, self._between
        run, lanes, plain = self.run, queue.lanes, AsyncRequest
        # (What follows another one is bounded, too, and what is in order in another way.)
        unread = -1 if self._plan.ordered or self._leaders is not None else self._unread
        #: Scheme and authority of the last URL, up to the slash behind; most are as the one before.
        last: str | tuple[str, ...] = _NO_PREFIX
        lane: Any = None
        if not self._may_pull():
            self._wait_to_pull()
        for index, item in enumerate(self._source):
            if run.looked and not glance():
                # The iterator, or who reads the results, has just switched something on.
                run.looked = False
            request: Any = item
            if type(item) is not plain or item._in_flight is not None:
                request = self._request_of(item, index)
                if request is None:
                    continue
            url = request.url
            if type(url) is not str:
                lane, last = self._lane_of(url), _NO_PREFIX
            elif not url.startswith(last):
                last = url[: url.find("/", 8) + 1] or _NO_PREFIX
                lane = lanes.get(last) or self._lane_of(url)  # type: ignore[arg-type]
            task = Task(self, request, index, lane)
            counters.pulled += 1
            if (request.kwargs or self._is_special) and self._is_settled(task):
                pass
            elif admission.ask(task):
                active.add(task)
                task.start()
            else:
                self._waits(task)
            if (  # what `_may_pull` would find, without calling it
                admission.active < admission.limit
                and len(finished) < unread
                and not queue.parked
                and not between
            ):
                continue
            self._pulled = index + 1
            self._wait_to_pull()

    def _waits(self, task: Task) -> None:
        """A task was not let go yet; or it was refused."""
        task.pulled = self.now()
        if task.error is None:
            task.request._in_flight = True  # for others: it may be among them twice

    def _may_pull(self) -> bool:
        """Whether another request may be taken from the input."""
        if self._over:
            return False
        if self._plan.ordered:
            if self._pulled - self._next + len(self._finished) >= self._lookahead:
                return False
        elif len(self._finished) >= self._unread:
            return False
        if self._verdict is not None:
            return True
        admission = self._admission
        return (
            admission.active < admission.limit
            and self._queue.parked + len(self._delayed) + self._following < self._lookahead
        )

    def _wait_to_pull(self) -> None:
        while not self._may_pull():
            if self._over:
                raise gevent.GreenletExit
            feeder: Waiter[None] = Waiter(self._hub)
            self._waiting_feeder = feeder
            self._is_stalled = self._plan.ordered or len(self._finished) >= self._unread
            if not self._active or len(self._admission.queues) > 1:
                # Nothing of its own will end and wake it.
                self._admission.wait_for_slot(self._on_slot)
            try:
                feeder.get()
            finally:
                self._waiting_feeder = None

    def _is_settled(self, task: Task) -> bool:
        """Whether a task has its outcome without being sent, or will have; else make it ready."""
        if self._verdict is not None:
            self.end(task, self._verdict(False))  # noqa: FBT003 - it was not sent
            return True
        leaders = self._leaders
        if leaders is not None and leaders.follow(task):
            if task.leader is not None:
                self._share(task.leader, task)
            else:
                self._following += 1
            return True
        self._prepare(task)
        return False

    def _prepare(self, task: Task) -> None:
        kwargs = task.request.kwargs
        if "data" in kwargs or "files" in kwargs:
            task.remember_positions()
        rotation = self._core.rotation
        if rotation is not None:
            task.proxy = rotation.choose(task.host, ())
            task.tried = (task.proxy,)


def _cancelled(sent: bool) -> BaseException:  # noqa: FBT001
    return RequestCancelledError(sent=sent)


def host_key(url: Any) -> str:
    """The key of a URL's host; "" if it has none.

    Example:
        >>> host_key("HTTPS://user:pw@Example.org:443/a")
        'https://example.org'
    """
    if isinstance(url, bytes):
        url = url.decode("utf-8", "replace")
    if isinstance(url, str) and (simple := _SIMPLE.match(url)) is not None:
        return simple[1]
    try:
        parts = urlsplit(url if isinstance(url, str) else str(url))
        host, port = parts.hostname, parts.port
    except Exception:  # noqa: BLE001 - it may be anybody's object; sending it will fail, too
        return ""
    if not host:
        return ""
    scheme = parts.scheme.lower()
    shown = f"[{host}]" if ":" in host else host
    if port is None or port == {"http": 80, "https": 443}.get(scheme):
        return f"{scheme}://{shown}"
    return f"{scheme}://{shown}:{port}"
