"""Names to addresses: the hub's resolver, cached for a short while, each name asked for once.

Knows gevent's resolver and a clock; nothing of connections.
"""

from __future__ import annotations

import _socket
import time
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import gevent
from gevent.event import AsyncResult
from urllib3.util.connection import allowed_gai_family

if TYPE_CHECKING:
    from collections.abc import Callable

#: Seconds an answer is used again. The system's resolver does not tell how long it is good.
TTL: Final = 30.0
#: Names remembered at most.
MAX_NAMES: Final = 4096


class Address(NamedTuple):
    """One way to reach a host; the port is filled in by `at`."""

    family: int
    sockaddr: tuple[Any, ...]

    def at(self, port: int) -> tuple[Any, ...]:
        return (self.sockaddr[0], port, *self.sockaddr[2:])


class Resolver:
    """Addresses of host names, for one hub.

    Args:
        lookup: `getaddrinfo(host, port, family, type)`, cooperative.
        clock: seconds, monotonic.
    """

    __slots__ = ("_clock", "_known", "_lookup", "_running")

    def __init__(
        self, lookup: Callable[..., list[Any]], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._lookup = lookup
        self._clock = clock
        self._known: dict[str, tuple[float, list[Address]]] = {}
        self._running: dict[str, AsyncResult[list[Address]]] = {}

    def __repr__(self) -> str:
        return f"<Resolver {len(self._known)} known, {len(self._running)} running>"

    def resolve(self, host: str) -> list[Address]:
        """The addresses of a host in the order to try them; blocks this greenlet only.

        Raises:
            OSError: socket.gaierror as the system's resolver gave it.
        """
        literal = parse_literal(host)
        if literal is not None:
            return [literal]
        known = self._known.get(host)
        if known is not None and known[0] > self._clock():
            return known[1]
        running = self._running.get(host) or self._ask(host)
        return running.get()  # type: ignore[return-value]

    def _ask(self, host: str) -> AsyncResult[list[Address]]:
        """Start asking, in a greenlet that lives on if whoever asked first gives up."""
        running: AsyncResult[list[Address]] = AsyncResult()
        self._running[host] = running
        gevent.spawn(self._look_up, host, running)
        return running

    def _look_up(self, host: str, running: AsyncResult[list[Address]]) -> None:
        try:
            answers = self._lookup(host, 0, allowed_gai_family(), _socket.SOCK_STREAM)
            addresses = interleave([Address(a[0], a[4]) for a in answers])
        except BaseException as error:
            # It belongs to those who wait, who are not to die of what killed this greenlet.
            if isinstance(error, Exception):
                running.set_exception(error)
                return
            running.set_exception(_socket.gaierror(_socket.EAI_AGAIN, "the lookup was ended"))
            raise
        else:
            if len(self._known) >= MAX_NAMES:
                self._known.clear()
            self._known[host] = (self._clock() + TTL, addresses)
            running.set(addresses)
        finally:
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
