"""Threads that run a gevent hub on behalf of event loops: one for each loop that has work for it.

Such a thread begins with the first job and ends a few quiet seconds after the last, so that
connections are kept from one run to the next; later, if somebody keeps state in it; but as soon as
its loop is over, or the process. It may not know: what the jobs are, asyncio, trio.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import time
from collections import deque
from typing import TYPE_CHECKING, Any, Final

import gevent
from gevent.hub import Waiter
from gevent.monkey import get_original

from . import _general
from ._engine import close_watcher, current_engine
from ._engine._engine import drop

if TYPE_CHECKING:
    import contextvars
    from collections.abc import Callable

#: Seconds for which a thread without work waits for more; idle connections live as long.
LINGER: Final = 4.0
#: Seconds between two looks at whether a thread without work is still wanted; and later on.
_LOOK: Final = 0.1
_LATER_LOOK: Final = 1.0
#: Seconds to wait at exit for a thread to end. One that is held up by the user's code does not.
_PATIENCE: Final = 0.5

# The system's threads and their locks, whatever is patched.
_start_new_thread = get_original("_thread", "start_new_thread")
_allocate_lock = get_original("_thread", "allocate_lock")

#: By the loop's key. Loops are let go when their thread ends.
_threads: dict[Any, HubThread] = {}
#: Held to enter, to leave and to end; never while anything waits. What the garbage collector calls
#: does not take it.
_lock = _allocate_lock()


class HubThread:
    """A thread with a hub in it. Made by `enter`.

    Args:
        key: of the loop.
        is_over: whether the loop is.

    Attributes:
        hub: its hub, once there is one.
    """

    def __init__(self, key: Any, is_over: Callable[[], bool]) -> None:
        self._key = key
        self._is_over = is_over
        self._pid = os.getpid()
        self._users = 0
        self._keepers = 0
        self._ending = False
        self._quiet_since = 0.0
        self._calls: deque[tuple[Callable[..., object], tuple[Any, ...]]] = deque()
        self._jobs: set[gevent.Greenlet[..., None]] = set()
        #: Wakes the hub for `_calls`; while it is there, the thread runs.
        self._bell: Any = None
        self._timer: Any = None
        self._main: Waiter[None]
        self.hub: Any = None
        self._end = _allocate_lock()

    def __repr__(self) -> str:
        state = f"users={self._users} keepers={self._keepers}"
        state = "ended" if self._ending else state
        return f"<HubThread {state}>"

    # In any thread

    def is_here(self) -> bool:
        """Whether it is a thread of this process, which may have been forked meanwhile."""
        return self._pid == os.getpid()

    def call(self, function: Callable[..., object], *args: Any) -> None:
        """Have a function called in the hub. In any thread, by the garbage collector too.

        Once the thread has ended, or in a child that was forked, nothing is called.
        """
        if not self.is_here():
            return
        self._calls.append((function, args))
        bell = self._bell
        if bell is not None:
            with contextlib.suppress(ValueError, AttributeError):  # closed meanwhile
                bell.send()

    def leave(self) -> None:
        """There is nothing more to do for who has entered. In any thread, and so on."""
        self.call(self._let_go, 1, 0)

    def release(self) -> None:
        """Who keeps something in it does so no longer. In any thread, and so on."""
        self.call(self._let_go, 0, 1)

    def end(self, seconds: float) -> None:
        """End the thread, and everything in it, and wait for that for so long at most."""
        with _lock:
            self._retire()
        self.call(self._switch_to_main)
        if self._end.acquire(timeout=seconds):
            self._end.release()

    def _retire(self) -> None:
        self._ending = True
        if _threads.get(self._key) is self:
            del _threads[self._key]

    # In the hub

    def spawn(
        self, function: Callable[[], None], context: contextvars.Context
    ) -> gevent.Greenlet[..., None]:
        """Run a function in a greenlet, in a context."""
        greenlet: gevent.Greenlet[..., None] = gevent.Greenlet(function)
        greenlet.gr_context = context
        self._jobs.add(greenlet)
        greenlet.rawlink(self._jobs.discard)
        greenlet.start()
        return greenlet

    def _run_calls(self) -> None:
        calls = self._calls
        while calls:
            function, args = calls.popleft()
            function(*args)

    def _let_go(self, users: int, keepers: int) -> None:
        with _lock:
            self._users -= users
            self._keepers -= keepers
        self._quiet_since = time.monotonic()
        self._look()

    def _look(self) -> None:
        """See whether the thread is still wanted; look again later if nobody uses it."""
        if self._timer is not None:
            timer, self._timer = self._timer, None
            close_watcher(timer)
        with _lock:
            if self._users and not self._ending:
                return
            quiet = time.monotonic() - self._quiet_since
            if (quiet >= LINGER and not self._keepers) or self._is_over():
                self._retire()
        if self._ending:
            self._switch_to_main()
        else:
            self._timer = gevent.get_hub().loop.timer(_LOOK if quiet < LINGER else _LATER_LOOK)
            self._timer.start(self._look)

    def _switch_to_main(self) -> None:
        if self._main.greenlet is not None:
            self._main.switch(None)

    # The thread itself

    def start(self) -> None:
        self._end.acquire()
        _start_new_thread(self._run, ())

    def _run(self) -> None:
        self.hub = hub = gevent.get_hub()
        engine = current_engine()
        self._main = Waiter(hub)
        self._bell = bell = hub.loop.async_()
        bell.start(self._run_calls)
        bell.send()  # for what was called before
        try:
            while not self._ending:
                try:
                    self._main.get()
                except BaseException as error:  # noqa: BLE001 - of a callback, such as SystemExit
                    self._raise_in_jobs(error)
            self._end_jobs()
        finally:
            self._bell = None
            close_watcher(bell)
            if self._timer is not None:
                close_watcher(self._timer)
            _general.close()
            drop(engine)
            hub.destroy()
            self._end.release()

    def _raise_in_jobs(self, error: BaseException) -> None:
        """What gevent raises in the main greenlet is for the threads that wait for the jobs."""
        for job in [*self._jobs]:
            job.kill(error, block=False)

    def _end_jobs(self) -> None:
        gevent.killall([*self._jobs], timeout=_PATIENCE)
        gevent.sleep(0)  # links are called


def enter(key: Any, is_over: Callable[[], bool], *, keeps: bool = False) -> HubThread:
    """The thread of a loop, started if there is none.

    Args:
        key: of the loop.
        is_over: whether the loop is; called in any thread.
        keeps: whether it is entered to keep something in it, until `HubThread.release`; else for
            a job, until `HubThread.leave`.
    """
    with _lock:
        thread = _threads.get(key)
        is_new = thread is None
        if thread is None:
            thread = _threads[key] = HubThread(key, is_over)
        if keeps:
            thread._keepers += 1
        else:
            thread._users += 1
    if is_new:
        thread.start()
    return thread


@atexit.register
def _end_at_exit() -> None:
    """End all of them: the interpreter may crash when it ends while daemons are in a hub."""
    for thread in [*_threads.values()]:
        thread.end(_PATIENCE)


def _after_fork() -> None:
    """In a forked child, which has none of these threads, and maybe a lock that one held."""
    global _lock  # noqa: PLW0603
    _lock = _allocate_lock()
    _threads.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
