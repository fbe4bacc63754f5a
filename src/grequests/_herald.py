"""Tells listeners what happens: in order, in a greenlet, whatever they raise.

Knows greenlets and listeners; nothing of what the events mean.
"""

from __future__ import annotations

import logging
import sys
from collections import deque
from typing import TYPE_CHECKING, Any, Final

import gevent
from gevent.event import Event

from ._checks import check_choice

if TYPE_CHECKING:
    from collections.abc import Callable

#: What can be listened to: the part of a method's name after "on_".
EVENTS: Final = (
    "started",
    "finished",
    "retried",
    "host_paused",
    "circuit_opened",
    "circuit_closed",
)


class Herald:
    """The listeners of one client, and what they have not been told yet."""

    __slots__ = ("_greenlet", "_heard", "_silence", "_teller", "_untold")

    def __init__(self) -> None:
        self._heard: dict[str, list[Callable[[Any], Any]]] = {name: [] for name in EVENTS}
        #: To whom, all that hear of a kind of event or a single one, and what.
        self._untold: deque[tuple[str | Callable[[Any], Any], Any]] = deque()
        self._greenlet: Any = None
        #: The greenlet that is telling, and what others wait for to do so.
        self._teller: Any = None
        self._silence: Event | None = None

    def __bool__(self) -> bool:
        """Whether anybody listens."""
        return any(self._heard.values())

    def add(self, name: str, callback: Callable[[Any], Any]) -> Callable[[], None]:
        """Have a callback told of one kind of event.

        Raises:
            PolicyError: there is no such event.
        """
        check_choice("event", name, EVENTS)
        callbacks = self._heard[name]
        callbacks.append(callback)

        def off() -> None:
            if callback in callbacks:
                callbacks.remove(callback)

        return off

    def add_listener(self, listener: object) -> Callable[[], None]:
        """Have an object's `on_...` methods told."""
        found = [
            self.add(name, method)
            for name in EVENTS
            if callable(method := getattr(listener, f"on_{name}", None))
        ]

        def off() -> None:
            for each in found:
                each()

        return off

    def tell(self, name: str, make: Callable[[], Any]) -> None:
        """Something has happened. What it is is made if somebody wants to know."""
        if not self._heard[name]:
            return
        self._untold.append((name, make()))
        self._call_soon()

    def tell_one(self, listener: Callable[[Any], Any], event: Any) -> None:
        """Tell somebody of something that nobody else hears of, in its turn."""
        self._untold.append((listener, event))
        self._call_soon()

    def flush(self) -> None:
        """Tell what has not been told yet; what is being told has been when this returns.

        In the hub, where nobody can wait, it is left to a greenlet.
        """
        if sys.is_finalizing():
            return  # a run that nobody ended: greenlets can be told nothing any more
        me = gevent.getcurrent()
        if me is gevent.get_hub():
            self._call_soon()
            return
        while self._teller is not None and self._teller is not me and not self._teller.dead:
            if self._silence is None:
                self._silence = Event()
            self._silence.wait()
        before, self._teller = self._teller, me
        try:
            self._tell_all()
        finally:
            self._teller = before if before is me else None  # a listener may have called
            silence, self._silence = self._silence, None
            if silence is not None:
                silence.set()

    def _call_soon(self) -> None:
        if self._greenlet is None and self._untold:
            self._greenlet = gevent.spawn(self._run)

    def _run(self) -> None:
        try:
            self.flush()
        finally:
            self._greenlet = None

    def _tell_all(self) -> None:
        untold = self._untold
        while untold:
            whom, event = untold.popleft()
            for callback in [*self._heard[whom]] if isinstance(whom, str) else [whom]:
                self._call(callback, event)

    def _call(self, callback: Callable[[Any], Any], event: Any) -> None:
        try:
            callback(event)
        except Exception:
            logging.getLogger("grequests").exception("a listener failed on %r", event)
