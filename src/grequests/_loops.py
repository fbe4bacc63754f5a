"""What is needed of somebody's event loop: asyncio (uvloop included) or trio, whichever runs here.

Neither is a dependency, and neither is imported unless it is running. It may not know: greenlets,
hubs, what is waited for.
"""

from __future__ import annotations

import sys
from contextvars import copy_context
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine


class Alarm(Protocol):
    """Rings once; for one coroutine to wait for."""

    def ring(self) -> None:
        """Let the coroutine go on. In the loop's thread; may be called again."""

    async def wait(self) -> None:
        """Return when it has rung."""

    async def wait_shielded(self, seconds: float) -> None:
        """Return when it has rung or time is up, in a task that is being cancelled, too."""


class Chore(Protocol):
    """A task in the background."""

    ended: Alarm

    def cancel(self) -> None:
        """Have it cancelled. In the loop's thread."""


class Loop(Protocol):
    """An event loop, and the thread it runs in.

    Attributes:
        key: what is the same as long as the loop is.
    """

    key: Any

    def call(self, function: Callable[[], object]) -> None:
        """Have a function called in the loop's thread. May be called in any.

        Raises:
            RuntimeError: the loop is over.
        """

    def is_over(self) -> bool:
        """Whether nothing will run in it any more. May be called in any thread."""

    def alarm(self) -> Alarm:
        """An alarm that has not rung."""

    async def breathe(self) -> None:
        """Let others run."""

    def start(self, function: Callable[[], Coroutine[Any, Any, None]]) -> Chore:
        """Run a coroutine in the background. It must not raise an Exception."""


def running_loop() -> Loop:
    """The loop that runs this coroutine.

    Raises:
        RuntimeError: there is none.
    """
    trio = sys.modules.get("trio")
    if trio is not None and trio.lowlevel.in_trio_task():
        return _TrioLoop(trio)
    import asyncio  # noqa: PLC0415 - it is there if it runs; who is synchronous does without

    return _AsyncioLoop(asyncio)


class _AsyncioLoop:
    __slots__ = ("_asyncio", "key")

    def __init__(self, asyncio: Any) -> None:
        self._asyncio = asyncio
        self.key = asyncio.get_running_loop()

    def call(self, function: Callable[[], object]) -> None:
        self.key.call_soon_threadsafe(function)

    def is_over(self) -> bool:
        return bool(self.key.is_closed())

    def alarm(self) -> Alarm:
        return _AsyncioAlarm(self._asyncio, self.key)

    async def breathe(self) -> None:
        await self._asyncio.sleep(0)

    def start(self, function: Callable[[], Coroutine[Any, Any, None]]) -> Chore:
        return _AsyncioChore(self, self.key.create_task(function()))


class _AsyncioAlarm:
    __slots__ = ("_asyncio", "_future")

    def __init__(self, asyncio: Any, loop: Any) -> None:
        self._asyncio = asyncio
        self._future = loop.create_future()

    def ring(self) -> None:
        if not self._future.done():
            self._future.set_result(None)

    async def wait(self) -> None:
        await self._future

    async def wait_shielded(self, seconds: float) -> None:
        await self._asyncio.wait([self._future], timeout=seconds)


class _AsyncioChore:
    __slots__ = ("_task", "ended")

    def __init__(self, loop: _AsyncioLoop, task: Any) -> None:
        self._task = task
        self.ended = ended = loop.alarm()
        task.add_done_callback(lambda _: ended.ring())

    def cancel(self) -> None:
        self._task.cancel()


class _TrioLoop:
    __slots__ = ("_is_over", "_trio", "key")

    def __init__(self, trio: Any) -> None:
        self._trio = trio
        self._is_over = False
        self.key = trio.lowlevel.current_trio_token()

    def call(self, function: Callable[[], object]) -> None:
        self.key.run_sync_soon(function)

    def is_over(self) -> bool:
        try:
            self.key.run_sync_soon(_nothing, idempotent=True)
        except self._trio.RunFinishedError:
            return True
        return False

    def alarm(self) -> Alarm:
        return _TrioAlarm(self._trio)

    async def breathe(self) -> None:
        await self._trio.lowlevel.checkpoint()

    def start(self, function: Callable[[], Coroutine[Any, Any, None]]) -> Chore:
        return _TrioChore(self, self._trio, function)


def _nothing() -> None:
    """What is called to see whether anybody calls."""


class _TrioAlarm:
    __slots__ = ("_event", "_trio")

    def __init__(self, trio: Any) -> None:
        self._trio = trio
        self._event = trio.Event()

    def ring(self) -> None:
        self._event.set()

    async def wait(self) -> None:
        await self._event.wait()

    async def wait_shielded(self, seconds: float) -> None:
        with self._trio.move_on_after(seconds, shield=True):
            await self._event.wait()


class _TrioChore:
    """A system task: nobody has to keep a nursery open for it."""

    __slots__ = ("_function", "_scope", "ended")

    def __init__(
        self, loop: _TrioLoop, trio: Any, function: Callable[[], Coroutine[Any, Any, None]]
    ) -> None:
        self.ended = loop.alarm()
        self._function = function
        self._scope = trio.CancelScope()
        # (As an asyncio task would; system tasks have the loop's own context.)
        trio.lowlevel.spawn_system_task(self._run, context=copy_context())

    async def _run(self) -> None:
        try:
            with self._scope:
                await self._function()
        finally:
            self.ended.ring()

    def cancel(self) -> None:
        self._scope.cancel()
