"""Connections by origin: who gets which, when one is opened, when one is closed.

Knows connections and the budget of descriptors; nothing of what requests mean. An `Origin` is one
identity to talk to, everything that decides who is spoken to and how is in its key: two requests
share a connection only if their keys are equal.

Invariant: each waiting exchange has a connection being made for it (`connecting`) or is starved
(the engine's `starved`), until an idle connection or an abort takes it off the list.
"""

from __future__ import annotations

import _socket
import errno
from time import monotonic
from typing import TYPE_CHECKING, Final, NamedTuple

import gevent

from grequests._signals import raise_in_main, struck

from ._connect import Connector
from ._connection import Connection
from ._failure import Failure, Phase
from ._tls_connection import TLSConnection
from ._unverified import UnverifiedConnection

if TYPE_CHECKING:
    import ssl

    from grequests._addresses import AddressPolicy

    from ._engine import Engine
    from ._exchange import Exchange
    from ._tls import TLSIdentity

#: Seconds a connection is kept without a request. Servers give 5 s (Node, uvicorn, Apache) and
#: more; whoever sends just as the other side closes has to send twice.
IDLE_SECONDS: Final = 4.0

#: Seconds after its last response in which a connection may carry a request that must not be sent
#: twice. If a server closes as such a request comes, nobody knows whether it was heard (RFC 9110
#: section 9.2.2: do not guess). A connection of its own cannot meet with that, and Requests gives
#: one to each request without a session. Servers keep connections for 2 s (gunicorn), 5 or more. A
#: run of such requests goes on with the connections it has; the first one after a pause pays for a
#: new one: some 150 us of CPU and a round trip, or three with TLS.
FRESH_SECONDS: Final = 1.0

#: Exchanges after which a connection makes room if another origin cannot have one.
TURN: Final = 64

#: What `socket()` and `connect()` say when the system has nothing left to give.
_EXHAUSTED: Final = frozenset(
    {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.EADDRNOTAVAIL, errno.ENOMEM}
)


class OriginKey(NamedTuple):
    """The identity of an origin.

    Attributes:
        scheme: http or https.
        host: as it is resolved, shown to TLS and sent to a proxy.
        port: always a number.
        tls: what the handshake trusts and shows; None for http.
        proxy: host and port of an http proxy, or None.
        proxy_auth: the value of Proxy-Authorization for that proxy, or None.
        policy: says which addresses may be connected to (`permits`); None for any.
    """

    scheme: str
    host: str
    port: int
    tls: TLSIdentity | None = None
    proxy: tuple[str, int] | None = None
    proxy_auth: str | None = None
    policy: AddressPolicy | None = None


class Origin:
    """The connections to one identity. Made by `Engine.origin`."""

    __slots__ = (
        "__weakref__",
        "connecting",
        "connections",
        "dials_anew",
        "engine",
        "host",
        "idle",
        "key",
        "peer_host",
        "peer_port",
        "port",
        "proxied",
        "proxy_auth",
        "ticket",
        "tls",
        "tunnel",
        "waiting",
    )

    def __init__(self, engine: Engine, key: OriginKey) -> None:
        self.engine = engine
        self.key = key
        self.host = key.host
        self.port = key.port
        self.tls = key.tls
        self.proxied = key.proxy is not None
        self.tunnel = self.proxied and key.scheme == "https"
        #: Whether each request is one more question to the policy: a proxy resolves names anew.
        self.dials_anew = self.proxied and key.policy is not None
        self.peer_host, self.peer_port = key.proxy or (key.host, key.port)
        self.proxy_auth = key.proxy_auth
        self.ticket: ssl.SSLSession | None = None
        self.idle: list[Connection] = []
        self.connections: set[Connection] = set()
        self.waiting: dict[Exchange, None] = {}
        self.connecting: dict[Exchange, gevent.Greenlet[..., None]] = {}

    def __str__(self) -> str:
        through = " by proxy" if self.proxied else ""
        return f"{self.key.scheme}://{self.host}:{self.port}{through}"

    def __repr__(self) -> str:
        return (
            f"<Origin {self} open={len(self.connections)} idle={len(self.idle)} "
            f"connecting={len(self.connecting)} waiting={len(self.waiting)}>"
        )

    # Requests in

    def dispatch(self, exchange: Exchange) -> None:
        """Send on an idle connection, or have one made."""
        idle = self.idle
        while idle and (exchange.replayable or _is_fresh(idle[-1])):
            connection = idle.pop()
            if connection.is_silent():
                connection.start(exchange)
                return
            connection.close()
        self.waiting[exchange] = None
        if exchange in self.connecting:
            return  # one is still being made since the exchange was here last
        if self.engine.starved:
            # Others have waited longer for a descriptor.
            self.engine.starve(self, exchange)
            self.engine.relieve()
        else:
            self.grow(exchange)

    def restart(self, exchange: Exchange) -> None:
        """Send again on a fresh connection what a dead one did not deliver."""
        for connection in self.idle[:]:
            # Its siblings are as old: do not try them one after the other.
            self.idle.remove(connection)
            connection.close()
        self.dispatch(exchange)

    def grow(self, exchange: Exchange) -> None:
        """Have a connection made for a waiting exchange, as soon as there is a descriptor."""
        if exchange in self.connecting:
            return  # one is still being made since the exchange was here last
        if not self.engine.take_descriptor():
            self.engine.starve(self, exchange)
            return
        self.engine.origins[self.key] = self
        try:
            self.connecting[exchange] = gevent.spawn(self._connect, exchange)
        except MemoryError as error:
            self._on_connect_failed(exchange, None, error)

    def withdraw(self, exchange: Exchange) -> None:
        """Forget a waiting exchange and whatever is under way for it."""
        self.waiting.pop(exchange, None)
        self.engine.starved.pop(exchange, None)
        self._stop_connecting(exchange)
        self._retire()

    def close(self) -> None:
        """Close everything, and forget who waits without telling them."""
        self.idle.clear()
        self.waiting.clear()
        for exchange in list(self.connecting):
            self._stop_connecting(exchange)
        for connection in list(self.connections):
            connection.abort()

    # Connections in

    def on_idle(self, connection: Connection, now: float) -> None:
        """A connection has finished an exchange and can take another.

        Args:
            connection: it.
            now: seconds of the monotonic clock.
        """
        if self.dials_anew:
            connection.close()
            return
        if self.waiting:
            self._serve(connection)
            return
        deadline = now + IDLE_SECONDS
        connection.deadline = deadline
        if connection.slot > deadline:
            try:
                self.engine.deadlines.watch(connection, deadline)
            except MemoryError:
                connection.close()  # nobody would end it
                return
        self.idle.append(connection)
        if self.engine.starved:
            self.engine.relieve()

    def on_idle_closed(self, connection: Connection) -> None:
        """An idle connection ended, spoke unasked or was quiet for long: it has had its day."""
        if connection in self.idle:
            self.idle.remove(connection)
        connection.close()

    def on_detached(self, connection: Connection) -> None:
        """A connection is read from by somebody else, in a thread of their choice."""
        self.engine.reuses += connection.reuses  # here: it may be closed in that thread
        self.connections.discard(connection)
        self.engine.detached.add(connection)
        self._retire()
        if self.engine.starved:
            self.engine.keep_trying()

    def on_attached(self, connection: Connection) -> None:
        """A detached connection is back, and idle."""
        self.engine.detached.discard(connection)
        self.engine.reuses -= connection.reuses
        self.engine.origins[self.key] = self
        self.connections.add(connection)
        self.on_idle(connection, monotonic())

    def on_closed(self, connection: Connection) -> None:
        """A connection is closed, whoever closed it."""
        if connection in self.connections:
            self.connections.remove(connection)
            self.engine.reuses += connection.reuses
        self.engine.detached.discard(connection)
        self.engine.give_descriptor()
        self._retire()

    def close_idle(self) -> None:
        """Close what nobody uses, and make no more of it."""
        for exchange in [each for each in self.connecting if each not in self.waiting]:
            self._stop_connecting(exchange)
        idle, self.idle = self.idle, []
        for connection in idle:
            connection.close()

    def _serve(self, connection: Connection) -> None:
        """Give the connection to who has waited longest."""
        exchange = next(iter(self.waiting))
        if not connection.is_silent() or self._is_turn_over(connection):
            connection.close()
            return
        del self.waiting[exchange]
        self.engine.starved.pop(exchange, None)
        connection.start(exchange)

    def _is_turn_over(self, connection: Connection) -> bool:
        """Whether another origin, which has no descriptor, has waited for long enough."""
        starved = self.engine.starved
        if connection.served % TURN or not starved:
            return False
        return next(iter(starved.values())) is not self

    def _retire(self) -> None:
        """Without connections an origin is not worth remembering, save for its TLS ticket."""
        if not (self.connections or self.connecting or self.waiting):
            self.engine.retire(self)

    # Connecting, in a greenlet

    def _stop_connecting(self, exchange: Exchange) -> None:
        worker = self.connecting.pop(exchange, None)
        if worker is None:
            return
        worker.kill(block=False)
        if worker.ready():
            # It had not begun, and will not: `_connect` cannot tidy up.
            self.engine.give_descriptor()
            self._retire()

    def _leave(self, exchange: Exchange) -> bool:
        """The running worker has done its work; whether it is still wanted."""
        if self.connecting.get(exchange) is not gevent.getcurrent():
            return False
        del self.connecting[exchange]
        return True

    def _connect(self, exchange: Exchange) -> None:
        connector = Connector(self.engine.hub, self.engine.resolver, self, exchange.connect_timeout)
        try:
            connector.connect()
            connection = self._connection_of(connector)
        except BaseException as error:
            connector.close()
            self._leave(exchange)
            is_told = self._on_connect_failed(exchange, connector, error)
            if isinstance(error, gevent.GreenletExit):
                raise
            if not is_told and struck(error):
                raise_in_main(error)
            return
        if not self._leave(exchange):
            # Stopped as it came to its end: this greenlet dies the next time that it waits, which
            # is not to be while it looks after somebody else.
            connection.close()
            return
        try:
            self._on_connected(exchange, connection, connector)
        except BaseException as error:
            if not struck(error):
                raise
            raise_in_main(error)

    def _connection_of(self, connector: Connector) -> Connection:
        sock: _socket.socket = connector.sock  # type: ignore[assignment]
        tls = connector.tls
        if tls is None:
            return Connection(self, sock)
        kind = TLSConnection if self.tls and self.tls.verify else UnverifiedConnection
        return kind(self, sock, tls)

    def _on_connected(
        self, exchange: Exchange, connection: Connection, connector: Connector
    ) -> None:
        self.connections.add(connection)
        self.engine.opened += 1
        if exchange in self.waiting:
            del self.waiting[exchange]
            if exchange.wants_times:
                exchange.times = connector.times  # type: ignore[misc]  # who wants it has it
            connection.begin(exchange, connector.early)
        elif connector.early:
            connection.close()
        else:
            self.on_idle(connection, monotonic())

    def _on_connect_failed(
        self, exchange: Exchange, connector: Connector | None, error: BaseException
    ) -> bool:
        """Tell the exchange, if it still waits for this; whether it was told.

        Args:
            exchange: that was to be sent.
            connector: that has failed, if there was any.
            error: why.
        """
        is_told = False
        self.engine.give_descriptor()
        if exchange in self.waiting and exchange not in self.connecting:
            if isinstance(error, gevent.GreenletExit):  # by who ends all greenlets, not by us
                error = ConnectionAbortedError("the connecting greenlet was killed")
            if _is_exhaustion(error, self.key) and self.engine.has_others(self):
                self.engine.budget.exhausted()
                self.engine.starve(self, exchange)
                if _errno_of(error) != errno.EADDRNOTAVAIL:
                    # Idle connections make room at once. (A port would be in use for a while yet.)
                    self.engine.relieve()
                return False
            del self.waiting[exchange]
            if exchange.wants_times and connector is not None:
                exchange.times = connector.times  # type: ignore[misc]  # who wants it has it
            failure = error if isinstance(error, Failure) else Failure(Phase.CONNECT, error)
            exchange.on_failure(failure)
            is_told = True
        self._retire()
        return is_told


def _is_fresh(connection: Connection) -> bool:
    """Whether a connection became idle a moment ago. The last of a list is the freshest."""
    return connection.deadline - monotonic() > IDLE_SECONDS - FRESH_SECONDS


def _is_exhaustion(error: BaseException, key: OriginKey) -> bool:
    number = _errno_of(error)
    if number not in _EXHAUSTED:
        return False
    return number != errno.EADDRNOTAVAIL or _has_source(*(key.proxy or (key.host, key.port)))


def _errno_of(error: BaseException) -> int | None:
    cause = error.cause if isinstance(error, Failure) else error
    return cause.errno if isinstance(cause, OSError) else None


def _has_source(host: str, port: int) -> bool:
    """Whether this machine has an address from which to connect to an IPv6 address.

    If not, it is no port that lacks. A datagram socket is asked, which sends nothing, and does not
    need a port that others may have.
    """
    if ":" not in host:
        return True
    try:
        probe = _socket.socket(_socket.AF_INET6, _socket.SOCK_DGRAM)
    except OSError:
        return False
    try:
        probe.connect((host.strip("[]"), port or 1))
    except OSError:
        return False
    finally:
        probe.close()
    return True
