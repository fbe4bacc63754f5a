"""Requests whose bodies are read elsewhere, and whose slots are kept until that is done.

To admission an attempt ends with its answer, and an answer that is streamed is there with its head.
A `HeadFlow` keeps the slots of such an attempt, in all and of its host, for whoever reads the body.
It may not know: files, what bodies are read for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ._future import LooseFlow
from ._run import Run

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._admission import Host
    from ._asyncrequest import AsyncRequest
    from ._client import Core
    from ._future import Future
    from ._results import Attempt


class HeadFlow(LooseFlow):
    """The streamed requests of one run.

    Args:
        core: of the client.
        expected: how many requests there will be, or None.
        on_cancel: called when the client is closed.
    """

    def __init__(self, core: Core, expected: int | None, on_cancel: Callable[[], None]) -> None:
        super().__init__(core)
        self.expected = expected
        self._on_cancel = on_cancel
        self._held: dict[Future, Host] = {}
        # (`max_body` bounds what is kept in memory, as the bodies of redirects are.)
        self.run = Run(
            stream=True,
            defaults=core.keywords,
            max_body=core.max_body,
            max_head=core.max_headers,
            address_policy=core.settings.address_policy,
        )
        self.run.sink = self

    def send(self, request: AsyncRequest, past: tuple[Attempt, ...], begun: float | None) -> Future:
        """Submit a request that goes on with one that was sent before.

        Args:
            request: it.
            past: the attempts so far.
            begun: when the first of them was started, in seconds of the clock.
        """
        future = self.submit(request, past=past, begun=begun)
        if past:
            self._counters.pulled -= 1  # it is the same request still
        return future

    def done(self, call: Any) -> None:
        """An attempt has its head, or has failed."""
        task = call.task
        if task is None or task.call is not call:
            return
        future, host = task.future, task.lane.host
        admission = self._admission
        # What follows releases a slot that nobody else may have yet.
        admission.active += 1
        host.active += 1
        super().done(call)
        if future is not None and future.done() and future._result.error is None:
            self._held[future] = host
        else:
            admission.release(host)

    def give_back(self, future: Future) -> None:
        """Nothing more is read of an answer, or will be: close it, let others go. Idempotent."""
        if not future.done():
            future.cancel()
        elif future._result is not None and future._result.response is not None:
            future._result.response.close()
        host = self._held.pop(future, None)
        if host is not None:
            self._admission.release(host)

    def cancel(self) -> None:
        """The client is closed."""
        super().cancel()
        self._on_cancel()
