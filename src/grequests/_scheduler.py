"""When things happen: jobs pulled lazily, a bounded number at once, a bounded number unread.

Knows slots, waiting and a hub; nothing of HTTP. A job is anything with `start()` and `abort()`
which later calls `done(job)` or `again(job, seconds)`, exactly once per start, from the hub or from
any greenlet of its thread. The work per event is constant, and everything that may wait waits in
a greenlet: the input in the feeder, the reader in its own.
"""

from __future__ import annotations

import contextvars
import math
import sys
from collections import deque
from typing import TYPE_CHECKING, Any, Protocol

import gevent
from gevent.hub import Waiter

from ._signals import heard, struck

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable


class Job(Protocol):
    """What a scheduler runs."""

    def start(self) -> None:
        """Begin. Must not raise an Exception, may not take long."""

    def abort(self) -> None:
        """End now, without calling back."""

    def drop(self) -> None:
        """It has ended, and nobody will read it."""


class Scheduler:
    """Runs the jobs of one run.

    Args:
        jobs: pulled one by one in a greenlet of their own, in a copy of the caller's context. It
            may wait cooperatively; what it raises reaches the reader.
        size: how many jobs run at once.
        unread: how many finished jobs may wait for the reader before no new one is started.
    """

    __slots__ = (
        "_active",
        "_context",
        "_delayed",
        "_error",
        "_exhausted",
        "_feeder",
        "_finished",
        "_helper",
        "_hub",
        "_jobs",
        "_over",
        "_reader",
        "_ready",
        "_size",
        "_unread",
        "_waiting_feeder",
    )

    def __init__(self, jobs: Iterable[Job], size: int, unread: float = math.inf) -> None:
        self._hub: Any = gevent.get_hub()
        self._jobs: Iterable[Any] = jobs
        self._size = size
        self._unread = unread
        self._active: set[Any] = set()
        self._ready: deque[Job] = deque()
        self._delayed: dict[Any, Any] = {}
        self._finished: deque[Any] = deque()
        self._error: BaseException | None = None
        self._exhausted = False
        self._over = False
        self._reader: Waiter[None] | None = None
        self._waiting_feeder: Waiter[None] | None = None
        self._feeder: gevent.Greenlet[..., None] = gevent.Greenlet(self._feed)
        self._context = contextvars.copy_context()
        self._feeder.gr_context = self._context.copy()
        #: Starts jobs that have come back while the input keeps the feeder waiting.
        self._helper: gevent.Greenlet[..., None] | None = None

    def __repr__(self) -> str:
        state = "over" if self._over else "exhausted" if self._exhausted else "running"
        return (
            f"<Scheduler {state} active={len(self._active)} delayed={len(self._delayed)} "
            f"unread={len(self._finished)}>"
        )

    # The reader's side

    def results(self, timeout: float | None = None) -> Generator[Any, None, None]:
        """Yield finished jobs as they finish.

        However the iteration ends, nothing goes on after it: jobs are aborted, the feeder is
        stopped. An Exception of the input is raised after the jobs that were running when it was
        raised; any other BaseException at once.

        Args:
            timeout: seconds after which the iteration ends whatever is still running, or None.
        """
        finished = self._finished
        timer = self._start_clock(timeout)
        try:
            with heard(self._hub):
                self._feeder.start()
                while True:
                    while finished:
                        job = finished.popleft()
                        if self._waiting_feeder is not None and len(finished) < self._unread:
                            self._wake_feeder()
                        elif self._ready:
                            self._call_helper()
                        yield job
                    if not self._wait():
                        break
            if self._error is not None:
                raise self._error
        finally:
            if timer is not None:
                timer.close()
            self.close()

    def close(self) -> None:
        """Stop now: abort what runs, start nothing more. Idempotent; may be called anywhere."""
        self._over = True
        if sys.is_finalizing():
            return  # the engine was closed at exit, and greenlets can be told nothing any more
        for timer in self._delayed.values():
            timer.close()
        unfinished = [*self._active, *self._delayed, *self._ready]
        self._active.clear()
        self._delayed.clear()
        self._ready.clear()
        for job in unfinished:
            job.abort()
        self._drop_unread()
        if not self._feeder.dead:
            # Whoever closes may be the hub or the garbage collector: never wait here.
            self._feeder.kill(block=False)
        if self._helper is not None:
            self._helper.kill(block=False)
        self._error = None

    def _drop_unread(self) -> None:
        while self._finished:
            self._finished.popleft().drop()

    def _start_clock(self, timeout: float | None) -> Any:
        if timeout is None:
            return None
        timer = self._hub.loop.timer(max(timeout, 0))
        timer.start(self._time_is_over)
        return timer

    def _time_is_over(self) -> None:
        self._over = True
        self._wake_reader()

    def _wait(self) -> bool:
        """Let others run until there is something to read; False at the end."""
        while not self._finished:
            if self._over or self._is_spent():
                return False
            reader: Waiter[None] = Waiter(self._hub)
            self._reader = reader
            try:
                reader.get()
            finally:
                self._reader = None
        return True

    def _is_spent(self) -> bool:
        error = self._error
        if error is not None and not isinstance(error, Exception):
            return True
        return self._exhausted and not (self._active or self._ready or self._delayed)

    # The jobs' side

    def done(self, job: Job) -> None:
        """A job has its outcome."""
        if self._over:
            return
        self._active.discard(job)
        self._finished.append(job)
        if self._waiting_feeder is not None and len(self._finished) < self._unread:
            self._wake_feeder()
        elif self._ready:
            self._call_helper()
        if self._reader is not None:
            self._wake_reader()

    def again(self, job: Job, seconds: float) -> None:
        """A job wants to be started once more, not before so many seconds. Its slot is free."""
        if self._over:
            return
        self._active.discard(job)
        if seconds <= 0:
            self._restart(job)
            return
        self._delayed[job] = timer = self._hub.loop.timer(seconds)
        timer.start(self._readmit, job)
        if self._waiting_feeder is not None:
            self._wake_feeder()

    def interrupt(self, error: BaseException) -> None:
        """Something that is no outcome (KeyboardInterrupt, SystemExit) has to reach the reader."""
        self._error = error
        self._over = True
        self._drop_unread()
        self._wake_reader()

    def is_awaited(self) -> bool:
        """Whether the reader has read everything, and waits for more."""
        return self._reader is not None and not self._finished

    def _readmit(self, job: Job) -> None:
        self._delayed.pop(job).close()
        self._restart(job)

    def _restart(self, job: Job) -> None:
        """Let a job go next, before anything new from the input."""
        self._ready.append(job)
        if self._waiting_feeder is not None:
            self._wake_feeder()
        else:
            self._call_helper()

    def _call_helper(self) -> None:
        """The feeder has gone home, or waits for the input: have another greenlet start jobs."""
        if self._helper is None:
            self._helper = gevent.Greenlet(self._help)
            # As it was copied for the feeder: not the context of whoever ends a job.
            self._helper.gr_context = self._context.copy()
            self._helper.start()

    def _help(self) -> None:
        try:
            while self._ready and not self._over and self._has_room():
                self._start_ready()
        finally:
            self._helper = None
        if self._exhausted:
            self._wake_reader()

    def _has_room(self) -> bool:
        return len(self._active) < self._size and len(self._finished) < self._unread

    def _wake_reader(self) -> None:
        reader, self._reader = self._reader, None
        if reader is not None:
            self._hub.loop.run_callback(reader.switch, None)

    # The feeder's side

    def _feed(self) -> None:
        try:
            self._pull()
        except gevent.GreenletExit:
            pass
        except Exception as error:  # noqa: BLE001 - it belongs to the reader
            if struck(error):
                self.interrupt(error)
            else:
                self._error = error
        except BaseException as error:  # noqa: BLE001 - it belongs to the reader
            self.interrupt(error)
        finally:
            self._exhausted = True
            self._close_input()
        self._after_input()

    def _pull(self) -> None:
        """Pull all jobs, and start them."""
        self._wait_for_slot()
        active, finished = self._active, self._finished
        size, unread = self._size, self._unread
        for job in self._jobs:
            active.add(job)
            job.start()
            if len(active) >= size or len(finished) >= unread or self._over or self._ready:
                self._wait_for_slot()

    def _close_input(self) -> None:
        close = getattr(self._jobs, "close", None)
        if close is not None:
            close()

    def _after_input(self) -> None:
        """Nothing more will be pulled."""
        if not self._over:
            self._feed_ready()

    def _feed_ready(self) -> None:
        while self._ready and not self._over:
            self._wait_for_slot()
            if self._ready:
                self._start_ready()
        self._wake_reader()

    def _start_ready(self) -> None:
        job = self._ready.popleft()
        self._active.add(job)
        job.start()

    def _wait_for_slot(self) -> None:
        """Wait until a job from the input may start; start those that come back before."""
        while not self._over:
            if self._has_room():
                if not self._ready:
                    return
                self._start_ready()
                continue
            feeder: Waiter[None] = Waiter(self._hub)
            self._waiting_feeder = feeder
            try:
                feeder.get()
            finally:
                self._waiting_feeder = None
        raise gevent.GreenletExit

    def _wake_feeder(self) -> None:
        feeder, self._waiting_feeder = self._waiting_feeder, None
        if feeder is not None:
            self._hub.loop.run_callback(feeder.switch, None)
