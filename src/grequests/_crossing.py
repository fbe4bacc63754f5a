"""From greenlets to coroutines and back: two bounded queues, each end in a thread of its own.

A `Crossing` is an iterator that runs in a hub's thread, and is read by a coroutine; an `Inlet` is
an asynchronous iterator that runs in a loop, and is read by a greenlet. What crosses is put into a
deque, which needs no lock; the other side is woken once for as much as is there by then, and only
if it sleeps. Whoever finds the deque full waits until it is half empty.

Each side says first that it sleeps, then looks once more, then sleeps. The other side acts first,
then looks whether somebody sleeps. So nobody sleeps through what they wait for. Only who sleeps
takes that back; who wakes somebody remembers whom, so as to do it once.

It may not know: requests, results, asyncio, trio.
"""

from __future__ import annotations

import contextlib
import sys
from collections import deque
from contextvars import copy_context
from time import monotonic
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

import gevent
from gevent.hub import Waiter

from ._engine import close_watcher
from ._hub_thread import HubThread, enter
from ._loops import running_loop

if TYPE_CHECKING:
    import contextvars
    from collections.abc import AsyncIterable, Callable, Iterable, Iterator

    from ._loops import Alarm, Chore, Loop

_T = TypeVar("_T")

#: Items that are read without letting other coroutines run, at most.
_IN_A_ROW: Final = 100
#: Seconds between two times that a reader is woken, if there is still room meanwhile. Waking costs
#: as much CPU as two requests; a result that comes after a pause is there at once.
_BATCH: Final = 0.001
#: Seconds to wait for the end of what was cut off. What the user's code holds up ends later.
_PATIENCE: Final = 1.0


class Crossing(Generic[_T]):
    """What an iterator yields in a hub's thread, for a coroutine of one loop to read.

    Args:
        make: makes what is iterated over, and closed if it has a `close`; called in the thread.
        limit: items that may wait to be read.
        drop: called with each item that nobody will read.

    Attributes:
        items: that can be read, by `popleft`; `after_read` has to be called then.
        spent: items that were read, and that the hub lets go of as others come, no more than
            `limit`. What a thread has allocated it frees for less: where the other one did, a
            request cost 6 % more.
        turns: how many of them may be read before others have to be let run.
        is_over: nothing more will come.
    """

    def __init__(
        self, make: Callable[[], Iterable[_T]], limit: float, drop: Callable[[_T], object]
    ) -> None:
        self._make = make
        self._limit = limit
        self._low = limit // 2
        self._drop = drop
        self.items: deque[_T] = deque()
        self.spent: deque[_T] = deque()
        self.turns = 0
        self.is_over = False
        self._is_cut = False
        self._error: BaseException | None = None
        self._thread: HubThread | None = None
        self._job: gevent.Greenlet[..., None] | None = None
        self._loop: Loop
        self._inlet: Inlet | None = None
        #: Of the reader, while it sleeps; and the last one that was rung.
        self._alarm: Alarm | None = None
        self._rung: Alarm | None = None
        #: Of the iterator, while it waits for the reader; and the last one that was woken.
        self.stalled: Waiter[None] | None = None
        self._woken: Waiter[None] | None = None
        #: Of who waits for the end.
        self._end: Alarm | None = None
        #: Whether the reader is about to be woken; when that may be; and what rings then.
        self._is_waking = False
        self._wake_at = 0.0
        self._timer: Any = None
        #: Called with the loop, before anything begins.
        self.on_begin: Callable[[Loop], object] | None = None
        #: Called in the hub when the reader begins to sleep, having read everything.
        self.on_idle: Callable[[], object] | None = None

    @property
    def state(self) -> str:
        """For who looks at it."""
        if self._is_cut or self.is_over:
            return "closed"
        return "unread" if self._thread is None else f"running, {len(self.items)} to be read"

    @property
    def is_drained(self) -> bool:
        """Whether the reader has read everything, and waits for more."""
        return self._alarm is not None and not self.items

    # The reader's side: in the loop

    def take_in(self, inlet: Inlet) -> None:
        """The iterator will read from an asynchronous one."""
        self._inlet = inlet

    async def wait(self) -> None:
        """Return when there is something to read, and others have had their turn.

        Raises:
            StopAsyncIteration: nothing more will come.
            BaseException: what the iterator has raised.
        """
        if self._alarm is not None:
            msg = "it is being read by another task"
            raise RuntimeError(msg)
        try:
            if self._thread is None and not self._is_cut:
                self._begin()
            if self.items:
                await self._loop.breathe()
            while not (self.is_over or self.items or self._is_cut):
                await self._sleep()
        except GeneratorExit:  # the coroutine is dropped, and may not wait any more
            self.cut()
            raise
        except BaseException:
            await self.end()
            raise
        if self._is_cut or not self.items:  # (all there is was put before it was over)
            await self.end()
            error, self._error = self._error, None
            raise error or StopAsyncIteration
        self.turns = _IN_A_ROW

    async def wait_for_end(self) -> None:
        """Return when the iterator has ended, of which nothing is read.

        Raises:
            BaseException: what it has raised.
        """
        with contextlib.suppress(StopAsyncIteration):
            await self.wait()

    def after_read(self) -> None:
        """An item was read: let the iterator go on if it waits for that."""
        stalled = self.stalled
        if stalled not in (None, self._woken) and len(self.items) <= self._low:
            self._woken = stalled
            assert stalled is not None
            assert self._thread is not None
            self._thread.call(stalled.switch, None)

    async def end(self) -> None:
        """Cut off what goes on, and wait until that is done."""
        self.cut()
        self.turns = 0
        self.spent.clear()
        if self._thread is None:
            return
        if not self.is_over:
            self._end = alarm = self._loop.alarm()
            if not self.is_over:
                await alarm.wait_shielded(_PATIENCE)
        self._drop_all()
        if self._inlet is not None:
            await self._inlet.wait_for_end()

    def cut(self) -> None:
        """Cut off what goes on. In any thread, by the garbage collector too."""
        if self._is_cut or sys.is_finalizing():
            return
        self._is_cut = True
        if self._thread is not None and not self.is_over:
            self._thread.call(self._kill)
        if self._inlet is not None:
            self._inlet.cut()

    def _begin(self) -> None:
        self._loop = loop = running_loop()
        if self.on_begin is not None:
            self.on_begin(loop)
        self._thread = enter(loop.key, loop.is_over)
        if self._inlet is not None:
            self._inlet.begin(loop, self._thread)
        self._thread.call(self._start, copy_context())

    async def _sleep(self) -> None:
        self._alarm = alarm = self._loop.alarm()
        try:
            if not (self.is_over or self.items):
                if self.on_idle is not None:
                    assert self._thread is not None
                    self._thread.call(self.on_idle)
                await alarm.wait()
        finally:
            self._alarm = None

    # The iterator's side: in the hub

    def _start(self, context: contextvars.Context) -> None:
        assert self._thread is not None
        self._job = self._thread.spawn(self._work, context)
        self._job.rawlink(self._on_end)
        self._timer = gevent.get_hub().loop.timer(_BATCH, _BATCH)

    def _work(self) -> None:
        items, limit, spent = self.items, self._limit, self.spent
        run_callback = gevent.get_hub().loop.run_callback
        iterator: Any = None
        try:
            iterator = self._make()
            for item in iterator:
                items.append(item)
                if spent:
                    spent.popleft()
                if not self._is_waking and self._alarm is not None:
                    self._is_waking = True
                    run_callback(self._wake_in_time)
                if len(items) >= limit:
                    self._wait_for_room()
        except gevent.GreenletExit:
            pass
        except BaseException as error:  # noqa: BLE001 - it belongs to the reader
            self._error = error
        finally:
            if hasattr(iterator, "close"):
                iterator.close()
            if self._is_cut:
                self._drop_all()

    def _drop_all(self) -> None:
        with contextlib.suppress(IndexError):  # both sides may be at it
            while True:
                self._drop(self.items.popleft())

    def _wait_for_room(self) -> None:
        waiter: Waiter[None] = Waiter()
        self.stalled = waiter
        self._wake()
        try:
            if len(self.items) > self._low:
                waiter.get()
        finally:
            self.stalled = None

    def _wake_in_time(self) -> None:
        if self.is_over or not self._is_waking:
            return
        if monotonic() >= self._wake_at:
            self._wake()
        else:
            self._timer.again(self._wake)  # (a repeating one: others cannot be started again)

    def _wake(self) -> None:
        self._is_waking = False
        self._timer.stop()
        alarm = self._alarm
        if alarm is not None and alarm is not self._rung:
            self._rung = alarm
            self._wake_at = monotonic() + _BATCH
            self._ring(alarm)

    def _ring(self, alarm: Alarm) -> None:
        try:
            self._loop.call(alarm.ring)
        except RuntimeError:  # the loop is over, and so is this
            self.cut()

    def _on_end(self, _: Any) -> None:
        self.is_over = True
        self.spent.clear()
        self._job = None
        self._wake()
        close_watcher(self._timer)
        if self._end is not None:
            self._ring(self._end)
        assert self._thread is not None
        self._thread.leave()

    def _kill(self) -> None:
        if self._job is not None:
            self._job.kill(block=False)


class Inlet:
    """What an asynchronous iterable yields, for a greenlet in a hub's thread to read.

    Args:
        source: is read by a task in the background, and closed if it has an `aclose`.
        limit: items that may wait to be read.
    """

    def __init__(self, source: AsyncIterable[Any], limit: int) -> None:
        self._source = source
        self._limit = limit
        self._low = limit // 2
        self._items: deque[Any] = deque()
        self._is_over = False
        self._error: BaseException | None = None
        self._loop: Loop
        self._thread: HubThread
        self._chore: Chore | None = None
        #: Of the greenlet, while it waits for items; and the last one that was woken.
        self._reader: Waiter[None] | None = None
        self._woken: Waiter[None] | None = None
        #: Of the task, while it waits for room; and the last one that was rung.
        self._alarm: Alarm | None = None
        self._rung: Alarm | None = None

    # In the loop

    def begin(self, loop: Loop, thread: HubThread) -> None:
        """Start reading the source."""
        self._loop, self._thread = loop, thread
        self._chore = loop.start(self._pull)

    def cut(self) -> None:
        """Stop. In any thread, by the garbage collector too."""
        if self._chore is None or self._is_over or not self._thread.is_here():
            return
        with contextlib.suppress(RuntimeError):  # the loop is over, and has cancelled it
            self._loop.call(self._chore.cancel)

    async def wait_for_end(self) -> None:
        """Return when the source was closed."""
        if self._chore is not None:
            await self._chore.ended.wait_shielded(_PATIENCE)

    async def _pull(self) -> None:
        items, limit = self._items, self._limit
        iterator: Any = None
        try:
            iterator = aiter(self._source)
            async for item in iterator:
                items.append(item)
                self._wake_reader()
                if len(items) >= limit:
                    await self._wait_for_room()
        except Exception as error:  # noqa: BLE001 - it belongs to who reads the results
            self._error = error
        finally:
            self._is_over = True
            self._wake_reader()
            if hasattr(iterator, "aclose"):
                await iterator.aclose()

    async def _wait_for_room(self) -> None:
        self._alarm = alarm = self._loop.alarm()
        try:
            if len(self._items) > self._low:
                await alarm.wait()
        finally:
            self._alarm = None

    def _wake_reader(self) -> None:
        reader = self._reader
        if reader is not None and reader is not self._woken:
            self._woken = reader
            self._thread.call(reader.switch, None)

    # In the hub

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        while True:
            is_over = self._is_over
            if self._items:
                break
            if is_over:
                error, self._error = self._error, None
                raise error or StopIteration
            self._wait()
        item = self._items.popleft()
        alarm = self._alarm
        if alarm not in (None, self._rung) and len(self._items) <= self._low:
            self._rung = alarm
            assert alarm is not None
            try:
                self._loop.call(alarm.ring)
            except RuntimeError:  # nothing more will come
                self._is_over = True
        return item

    def _wait(self) -> None:
        reader: Waiter[None] = Waiter()
        self._reader = reader
        try:
            if not (self._is_over or self._items):
                reader.get()
        finally:
            self._reader = None
