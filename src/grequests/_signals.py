"""What handlers of signals raise: whom it is for, and how it gets there.

CPython runs a handler between two instructions of whatever the main thread runs just then. Under a
hub that is seldom the code that waits: it is a callback, the feeder or some request's greenlet,
which would take the exception for a failure of its own; or nothing at all runs, and gevent prints
the exception before it raises it. Requests' users know Ctrl-C, and the alarms and soft time limits
that test runners and task queues set, to come out of the call that they are waiting in.

It may not know: requests, schedulers, the engine.
"""

from __future__ import annotations

import contextlib
import threading
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

import gevent
from gevent.exceptions import HubDestroyed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

__all__ = ["heard", "raise_in_main", "struck"]


def struck(error: BaseException) -> bool:
    """Whether a signal's handler raised this, in code that has nothing to do with it.

    A handler is the one function that is called with a number and its caller's frame; it shows in
    the traceback. `KeyboardInterrupt` and `SystemExit` are for the caller wherever they come from.
    """
    if isinstance(error, (KeyboardInterrupt, SystemExit)):
        return True
    entry = error.__traceback__
    while entry is not None and entry.tb_next is not None:
        if _is_handler(entry.tb_next.tb_frame, entry.tb_frame):
            return True
        entry = entry.tb_next
    return False


def _is_handler(frame: FrameType, caller: FrameType) -> bool:
    code = frame.f_code
    names = code.co_varnames[: code.co_argcount + bool(code.co_flags & _HAS_VARARGS)]
    given: list[Any] = []
    for name in names:
        value = frame.f_locals.get(name)
        given += value if type(value) is tuple else [value]
    return any(isinstance(number, int) and each is caller for number, each in pairwise(given))


#: CO_VARARGS of CPython's code objects.
_HAS_VARARGS = 0x04


def raise_in_main(error: BaseException) -> None:
    """Raise what a handler raised in the main greenlet, from a greenlet that nobody waits for."""
    gevent.get_hub().handle_error(None, type(error), error, error.__traceback__)


@contextlib.contextmanager
def heard(hub: Any) -> Iterator[None]:
    """Meanwhile what a handler raises in the hub is raised in the main greenlet, and not printed.

    gevent raises it there, too, if the hub had nothing to do or if it is a KeyboardInterrupt or a
    SystemExit, but prints it first; else it only prints it. `handle_error` of a hub is its owner's
    to set (gevent's documentation says how): one that is set already stays.
    """
    ear = _ear(hub)
    handler = vars(hub).get("handle_error")
    if handler is None:
        hub.handle_error = handler = _Handler(hub)
    if type(handler) is _Handler:
        handler.runs += 1
    try:
        yield
    finally:
        if ear is not None:
            with contextlib.suppress(ValueError):  # its loop was destroyed meanwhile
                ear.close()
        if type(handler) is _Handler:
            handler.leave()


#: Seconds after which a signal is noticed in the main thread at the latest.
_PROMPTLY: Final = 0.1


def _ear(hub: Any) -> Any:
    """A timer that lets handlers run where gevent would let them wait, or None.

    gevent looks after signals in its default loop only, and there just before it polls: what comes
    between the two waits for the next event, whenever that is. The main thread has another loop if
    gevent was imported in a thread, and in a child that was forked in a thread.
    """
    if hub.thread_ident != threading.main_thread().ident:
        return None
    timer = hub.loop.timer(_PROMPTLY, _PROMPTLY, ref=False)
    timer.start(_listen)
    return timer


def _listen() -> None:
    """CPython runs handlers as soon as any function begins."""


class _Handler:
    """In the place of a hub's `handle_error`.

    Attributes:
        runs: how many want it there.
    """

    __slots__ = ("_hub", "runs")

    def __init__(self, hub: Any) -> None:
        self._hub = hub
        self.runs = 0

    def leave(self) -> None:
        self.runs -= 1
        if not self.runs and vars(self._hub).get("handle_error") is self:
            del self._hub.handle_error

    def __call__(self, context: Any, kind: Any, error: Any, traceback: Any) -> None:
        hub = self._hub
        # gevent stops a watcher of a socket whose callback has raised: its owner has to know.
        owner: Any = getattr(getattr(context, "callback", None), "__self__", None)
        if hasattr(owner, "on_signal"):
            owner.on_signal(error)
        if isinstance(error, BaseException) and _is_for_main(hub, context, error):
            hub.handle_system_error(kind, error, traceback)
        else:
            type(hub).handle_error(hub, context, kind, error, traceback)


def _is_for_main(hub: Any, context: Any, error: BaseException) -> bool:
    if isinstance(error, HubDestroyed):
        return False
    if context is None or isinstance(error, hub.SYSTEM_ERROR):
        return True
    # A greenlet's exception belongs to who waits for it, if anybody does.
    return struck(error) and not (isinstance(context, gevent.Greenlet) and context.has_links())
