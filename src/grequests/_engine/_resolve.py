"""Names to addresses: cached for a short while, each name asked for once.

Knows gevent and a clock; nothing of connections, nor who looks names up.
"""

from __future__ import annotations

import _socket
import time
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import gevent
from gevent.event import AsyncResult, Event
from urllib3.util.connection import allowed_gai_family

if TYPE_CHECKING:
    from collections.abc import Callable

#: Seconds an answer is used again. The system's resolver does not tell how long it is good.
TTL: Final = 30.0
#: Names remembered at most.
MAX_NAMES: Final = 4096
#: Seconds after which a lookup is taken to hang, and the name is asked for once more. The C library
#: gives up after 2 tries of 5 seconds with each of 3 name servers, unless it is told otherwise.
PATIENCE: Final = 30.0


class Address(NamedTuple):
    """One way to reach a host; the port is filled in by `at`."""

    family: int
    sockaddr: tuple[Any, ...]

    def at(self, port: int) -> tuple[Any, ...]:
        return (self.sockaddr[0], port, *self.sockaddr[2:])


def _at_once() -> None:
    """A lookup waits for nothing before it begins."""


class _Lookup:
    """A name that is being asked for.

    Attributes:
        begun: set when it no longer waits for its turn.
        since: when that was.
        outcome: the addresses, or what was raised.
        askers: how many wait for it.
        worker: the greenlet that asks.
        before: a lookup of the same name that hangs, if this is the second.
    """

    __slots__ = ("askers", "before", "begun", "outcome", "since", "worker")

    def __init__(self, before: _Lookup | None) -> None:
        self.begun = Event()
        self.since = 0.0
        self.outcome: AsyncResult[list[Address]] = AsyncResult()
        self.askers = 0
        self.worker: gevent.Greenlet[..., None]
        self.before = before

    def hangs(self, now: float) -> bool:
        """Whether it is time to ask once more. Two at a time are the most, or threads run out."""
        is_late = self.begun.is_set() and now - self.since > PATIENCE
        return is_late and (self.before is None or self.before.outcome.ready())


class Resolver:
    """Addresses of host names, for one hub.

    Args:
        lookup: `getaddrinfo(host, port, family, type)`, cooperative.
        clock: seconds, monotonic.
        turn: returns when a lookup would begin at once; cooperative.
    """

    __slots__ = ("_clock", "_known", "_lookup", "_running", "_turn")

    def __init__(
        self,
        lookup: Callable[..., list[Any]],
        clock: Callable[[], float] = time.monotonic,
        turn: Callable[[], None] = _at_once,
    ) -> None:
        self._lookup = lookup
        self._clock = clock
        self._turn = turn
        self._known: dict[str, tuple[float, list[Address]]] = {}
        self._running: dict[str, _Lookup] = {}

    def __repr__(self) -> str:
        return f"<Resolver {len(self._known)} known, {len(self._running)} running>"

    def resolve(self, host: str, begun: Callable[[], object] = _at_once) -> list[Address]:
        """The addresses of a host in the order to try them; blocks this greenlet only.

        A lookup that was begun goes on when nobody waits for it any more (it cannot be ended), and
        who asks for the same name joins it, its failure included.

        Args:
            host: a name, or an address.
            begun: is called when the lookup has begun, if one is needed.

        Raises:
            OSError: socket.gaierror as the system's resolver gave it.
        """
        literal = parse_literal(host)
        if literal is not None:
            return [literal]
        known = self._known.get(host)
        if known is not None and known[0] > self._clock():
            return known[1]
        lookup = self._running.get(host)
        if lookup is None or lookup.hangs(self._clock()):
            lookup = self._ask(host, lookup)
        lookup.askers += 1
        try:
            lookup.begun.wait()
            begun()
            return lookup.outcome.get()  # type: ignore[return-value]
        finally:
            lookup.askers -= 1
            if not (lookup.askers or lookup.begun.is_set()):
                self._withdraw(host, lookup)

    def _ask(self, host: str, before: _Lookup | None) -> _Lookup:
        """Start asking, in a greenlet that lives on if whoever asked first gives up."""
        lookup = _Lookup(before)
        lookup.worker = gevent.spawn(self._look_up, host, lookup)
        self._running[host] = lookup
        return lookup

    def _withdraw(self, host: str, lookup: _Lookup) -> None:
        """Nobody wants to know any more: whoever asks for other names has the turn."""
        lookup.worker.kill(block=False)
        self._end(host, lookup)

    def _look_up(self, host: str, lookup: _Lookup) -> None:
        try:
            self._turn()
            lookup.since = self._clock()
            lookup.begun.set()
            answers = self._lookup(host, 0, allowed_gai_family(), _socket.SOCK_STREAM)
            addresses = interleave([Address(a[0], a[4]) for a in answers])
        except BaseException as error:
            # It belongs to those who wait, who are not to die of what killed this greenlet.
            if isinstance(error, Exception):
                lookup.outcome.set_exception(error)
                return
            ended = _socket.gaierror(_socket.EAI_AGAIN, "the lookup was ended")
            lookup.outcome.set_exception(ended)
            raise
        else:
            if len(self._known) >= MAX_NAMES:
                self._known.clear()
            self._known[host] = (self._clock() + TTL, addresses)
            lookup.outcome.set(addresses)
        finally:
            lookup.begun.set()
            self._end(host, lookup)

    def _end(self, host: str, lookup: _Lookup) -> None:
        lookup.before = None
        if self._running.get(host) is lookup:
            del self._running[host]

    def forget(self, host: str) -> None:
        """None of a host's addresses answered: ask anew next time."""
        self._known.pop(host, None)


def parse_literal(host: str) -> Address | None:
    """The address that a host written as an IP address is, else None."""
    if ":" in host:
        try:
            packed = _socket.inet_pton(_socket.AF_INET6, host)
        except OSError:
            return None  # a scope id, or nonsense: the resolver's business
        return Address(_socket.AF_INET6, (_socket.inet_ntop(_socket.AF_INET6, packed), 0, 0, 0))
    if not host[-1:].isdigit():
        return None
    try:
        _socket.inet_pton(_socket.AF_INET, host)
    except OSError:
        return None
    return Address(_socket.AF_INET, (host, 0))


def interleave(addresses: list[Address]) -> list[Address]:
    """Alternate the families, beginning with the first one's (RFC 8305 section 4)."""
    if not addresses:
        return addresses
    first = [a for a in addresses if a.family == addresses[0].family]
    other = [a for a in addresses if a.family != addresses[0].family]
    mixed: list[Address] = []
    for index in range(max(len(first), len(other))):
        mixed += first[index : index + 1]
        mixed += other[index : index + 1]
    return mixed
