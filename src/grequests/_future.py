"""Requests that are sent one by one, and what will have their results.

A `LooseFlow` is the scheduler of a client's submitted requests: it has no input, and hands each
result to the future that waits for it. It may not know: how requests are sent.
"""

from __future__ import annotations

import contextvars
import logging
from typing import TYPE_CHECKING, Any

import gevent
from gevent.event import Event

from ._exceptions import RequestCancelledError
from ._flow import Flow
from ._outcomes import Plan, forget
from ._results import Result
from ._safe_url import safe_url
from ._signals import heard
from ._task import Task

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._asyncrequest import AsyncRequest
    from ._client import Core
    from ._results import Attempt


class Future:
    """A request that was submitted, and will have a result.

    Attributes:
        request: the request.

    Example:
        >>> future = client.submit("http://example.org/")  # doctest: +SKIP
        >>> future.add_done_callback(lambda future: print(future.result()))  # doctest: +SKIP
    """

    def __init__(self, flow: LooseFlow, request: AsyncRequest) -> None:
        self.request = request
        self._flow = flow
        self._task: Task | None = None
        self._result: Result | None = None
        self._event: Event | None = None
        self._callbacks: list[Callable[[Future], Any]] = []

    def __repr__(self) -> str:
        state = "running" if self._result is None else repr(self._result)
        return f"<Future {self.request.method} {safe_url(self.request.url)} {state}>"

    def done(self) -> bool:
        """Whether there is a result; that of a cancelled request counts."""
        return self._result is not None

    def cancelled(self) -> bool:
        """Whether it was cancelled before it had ended."""
        return self._result is not None and isinstance(self._result.error, RequestCancelledError)

    def result(self, timeout: float | None = None) -> Result:
        """Wait for the result; other requests of this thread go on meanwhile.

        Args:
            timeout: seconds to wait, or None for as long as it takes.

        Returns:
            The `Result`, whatever became of the request; ``.unwrap()`` raises its error.

        Raises:
            TimeoutError: it is not there in time. The request goes on.
        """
        if self._result is None:
            if self._event is None:
                self._event = Event()
            with heard(self._flow.hub):
                self._event.wait(timeout)
        if self._result is None:
            msg = f"no result within {timeout:g} s"
            raise TimeoutError(msg)
        return self._result

    def cancel(self) -> bool:
        """End the request now, wherever it is.

        Returns:
            Whether that was still possible.
        """
        if self._result is not None or self._task is None:
            return False
        self._flow.cut(self._task, RequestCancelledError(sent=self._task.number > 0))
        return True

    def add_done_callback(self, callback: Callable[[Future], Any]) -> None:
        """Have a function called with this future when it is done; at once if it is.

        It is called in a greenlet of the client's thread. What it raises is logged.
        """
        if self._result is not None:
            self._call(callback)
        else:
            self._callbacks.append(callback)

    def _settle(self, result: Result) -> None:
        self._result = result
        if self._event is not None:
            self._event.set()
        if self._callbacks:
            gevent.spawn(self._call_all)

    def _call_all(self) -> None:
        callbacks, self._callbacks = self._callbacks, []
        for each in callbacks:
            self._call(each)

    def _call(self, callback: Callable[[Future], Any]) -> None:
        try:
            callback(self)
        except Exception:
            logging.getLogger("grequests").exception("a callback of %r failed", self)


class _LooseTask(Task):
    """A task that is started in the context of whoever submitted it."""

    context: contextvars.Context

    def start(self) -> None:
        self.context.run(super().start)


class LooseFlow(Flow):
    """The submitted requests of one client."""

    def __init__(self, core: Core) -> None:
        super().__init__(core, (), Plan())
        self._count = 0
        self._is_plain = False

    @property
    def hub(self) -> Any:
        """The event loop's."""
        return self._hub

    def submit(
        self,
        request: AsyncRequest,
        *,
        past: tuple[Attempt, ...] = (),
        begun: float | None = None,
        index: int | None = None,
    ) -> Future:
        """Send a request as soon as it may go.

        Args:
            request: it.
            past: attempts of the same, if it goes on with one that was sent before.
            begun: when the first of them was started, in seconds of the clock.
            index: its position among those that were submitted, if it has one.
        """
        future = Future(self, request)
        position = self._count if index is None else index
        task = _LooseTask(self, request, position, self._lane_of(request.url))
        if past:
            task.past, task.number = past, len(past)
            task.begun = task.begun if begun is None else begun
        task.context = contextvars.copy_context()
        task.future = future
        future._task = task
        self._count += 1
        self._counters.pulled += 1
        self._counters.tidy()
        self._prepare(task)
        if request._in_flight is not None:
            forget(request)
        if self._admission.ask(task):
            self._active.add(task)
            task.start()
        elif not future.done():
            task.pulled = self.now()
            request._in_flight = True
        return future

    def interrupt(self, error: BaseException) -> None:
        """Nobody in particular waits: let it come out of the main greenlet."""
        self._hub.handle_error(None, type(error), error, error.__traceback__)

    def is_awaited(self) -> bool:
        return True

    def _is_full(self) -> bool:
        return False

    def _deliver(self, task: Task) -> None:
        if self.listens:
            self._core.on_finished(task)
        future, task.future = task.future, None
        if future is not None:
            future._settle(Result(task))


Future.__module__ = "grequests"
