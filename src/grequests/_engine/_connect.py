"""From an origin to a connected socket: names, addresses, proxy tunnel, TLS handshake.

Runs in a greenlet of its own, one per new connection, and waits cooperatively. Knows the hub and
sockets; knows of HTTP only the CONNECT request. Connecting is rare beside requesting, so this part
is written as plain sequential code.
"""

from __future__ import annotations

import _socket
import contextlib
import errno
import os
import ssl
import sys
import time
from http import HTTPStatus
from http.client import HTTPException, HTTPResponse, LineTooLong, _read_headers  # type: ignore[attr-defined]
from typing import TYPE_CHECKING, Any, Final, NamedTuple, NoReturn

import gevent
from gevent import Timeout
from gevent.queue import Empty, SimpleQueue

from grequests._exceptions import AddressDeniedError

from ._failure import Failure, Phase
from ._tls import TLSSession
from ._tls import context as tls_context

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._pool import Origin
    from ._resolve import Address, Resolver

READ: Final = 1
WRITE: Final = 2
#: Seconds before the next address is tried beside the last (RFC 8305 section 5).
ATTEMPT_DELAY: Final = 0.25
#: The longest line of a reply to CONNECT, as `http.client` has it.
MAX_LINE: Final = 65536
#: Header lines of a reply to CONNECT: a proxy could send them for ever.
MAX_LINES: Final = 1000
_LAST_LINES: Final = frozenset({b"\r\n", b"\n", b""})

_IN_PROGRESS: Final = frozenset({errno.EINPROGRESS, errno.EWOULDBLOCK})
#: `http.client` spoke HTTP/1.0 to proxies, without a Host, until Python 3.12.
_MODERN_CONNECT: Final = sys.version_info >= (3, 12)


class _Expired(Exception):  # noqa: N818 - never leaves this module
    """The connect timeout is over."""


class ConnectTimes(NamedTuple):
    """How long the making of a connection took, in seconds; of one that failed, as far as it came.

    Attributes:
        dns: for the name's addresses, or the proxy's.
        connect: for TCP, over all addresses that were tried.
        tls: for the proxy's tunnel, if there is one, and the TLS handshake.
    """

    dns: float
    connect: float
    tls: float


_DNS, _TCP, _TLS = range(3)


class Connector:
    """Makes one connected socket for an origin.

    Args:
        hub: the gevent hub of this thread.
        resolver: names to addresses.
        origin: where to connect.
        timeout: seconds for each of (name and TCP) and (tunnel and TLS), or None. While a lookup
            waits for its turn, no clock runs.
    """

    __slots__ = (
        *("_deadline", "_hub", "_origin", "_resolver", "_seconds", "_since", "_step", "_timeout"),
        *("early", "sock", "tls"),
    )

    def __init__(self, hub: Any, resolver: Resolver, origin: Origin, timeout: float | None) -> None:
        self._hub = hub
        self._resolver = resolver
        self._origin = origin
        self._timeout = timeout
        self._deadline: float | None = None
        self.sock: _socket.socket | None = None
        self.tls: TLSSession | None = None
        #: What the server said through TLS before it was asked anything.
        self.early = b""
        self._seconds = [0.0, 0.0, 0.0]
        self._step = _DNS
        self._since = 0.0

    @property
    def times(self) -> ConnectTimes:
        """How long it took, once `connect` has returned or raised."""
        return ConnectTimes(*self._seconds)

    def connect(self) -> None:
        """Set `sock` and, for https, `tls` and `early`.

        Raises:
            Failure: whatever went wrong; no socket stays open.
        """
        origin = self._origin
        self._since = time.monotonic()
        try:
            self._start_clock()
            self.sock = self._dial(origin.peer_host, origin.peer_port)
            self._start_clock()
            if origin.tunnel or origin.tls is not None:
                self._enter(_TLS)
            if origin.tunnel:
                self._tunnel()
            if origin.tls is not None:
                self._handshake()
        except BaseException:
            self.close()
            raise
        finally:
            self._enter(self._step)

    def close(self) -> None:
        if self.sock is not None:
            self.sock.close()
            self.sock = None

    def _enter(self, step: int) -> None:
        """What comes now is another step."""
        now = time.monotonic()
        self._seconds[self._step] += now - self._since
        self._step, self._since = step, now

    # Waiting

    def _start_clock(self) -> None:
        self._deadline = None if self._timeout is None else time.monotonic() + self._timeout

    def _wait(self, sock: _socket.socket, events: int) -> None:
        watcher = self._hub.loop.io(sock.fileno(), events)
        try:
            if self._deadline is None:
                self._hub.wait(watcher)
                return
            with Timeout(max(self._deadline - time.monotonic(), 0), _Expired):
                self._hub.wait(watcher)
        finally:
            watcher.close()

    # TCP

    def _dial(self, host: str, port: int) -> _socket.socket:
        proxied = self._origin.proxied
        try:
            if proxied and self._origin.key.policy is not None:
                self._check_target(self._origin.host)
            addresses = self._permitted(host)
            self._enter(_TCP)
            if len(addresses) == 1:
                return self._attempt(addresses[0], port)
            return self._race(addresses, port)
        except _Expired as error:
            self._resolver.forget(host)
            raise Failure(Phase.CONNECT_TIMEOUT, error, proxy=proxied) from None
        except _socket.gaierror as error:
            raise Failure(Phase.RESOLVE, error, proxy=proxied) from None
        except OSError as error:
            self._resolver.forget(host)
            raise Failure(Phase.CONNECT, error, proxy=proxied) from None

    def _check_target(self, host: str) -> None:
        """Refuse what the proxy may not connect to on our behalf."""
        try:
            addresses = self._resolve(host)
        except _socket.gaierror:
            addresses = []
        policy = self._origin.key.policy
        assert policy is not None
        try:
            policy.check_all(host, [each.sockaddr[0] for each in addresses])
        except AddressDeniedError as error:
            raise Failure(Phase.CONNECT, error) from None

    def _permitted(self, host: str) -> list[Address]:
        """The addresses of a host that may be connected to."""
        addresses = self._resolve(host)
        policy = self._origin.key.policy
        if policy is None:
            return addresses
        try:
            policy.check_some(host, [each.sockaddr[0] for each in addresses])
        except AddressDeniedError as error:
            raise Failure(Phase.CONNECT, error) from None
        return [each for each in addresses if policy.permits(each.sockaddr[0])]

    def _resolve(self, host: str) -> list[Address]:
        if self._timeout is None:
            return self._resolver.resolve(host)
        limit = Timeout(self._timeout, _Expired)

        def begun() -> None:
            # What came before was waiting for others' lookups, and is not the name's fault.
            self._start_clock()
            limit.start()

        try:
            return self._resolver.resolve(host, begun)
        finally:
            limit.close()

    def _attempt(self, address: Address, port: int) -> _socket.socket:
        sock = _socket.socket(address.family, _socket.SOCK_STREAM)
        try:
            sock.setblocking(False)  # noqa: FBT003
            sock.setsockopt(_socket.IPPROTO_TCP, _socket.TCP_NODELAY, 1)
            code = sock.connect_ex(address.at(port))
            if code in _IN_PROGRESS:
                self._wait(sock, WRITE)
                code = sock.getsockopt(_socket.SOL_SOCKET, _socket.SO_ERROR)
            if code:
                raise OSError(code, os.strerror(code))  # noqa: TRY301
        except BaseException:
            sock.close()
            raise
        return sock

    def _race(self, addresses: list[Address], port: int) -> _socket.socket:
        """Try the addresses one after the other, each a little later, and take the first."""
        outcomes: SimpleQueue[Any] = SimpleQueue()
        workers: list[gevent.Greenlet[..., None]] = []

        over = False

        def attempt(address: Address) -> None:
            try:
                sock = self._attempt(address, port)
            except Exception as error:  # noqa: BLE001 - it is this address's outcome
                outcomes.put(error)
                return
            if over:
                sock.close()
            else:
                outcomes.put(sock)

        remaining = list(addresses)
        failed: Any = OSError("getaddrinfo returns an empty list")
        running = 0
        try:
            while remaining or running:
                if remaining:
                    workers.append(gevent.spawn(attempt, remaining.pop(0)))
                    running += 1
                try:
                    outcome = outcomes.get(timeout=ATTEMPT_DELAY if remaining else None)
                except Empty:
                    continue
                running -= 1
                if isinstance(outcome, _socket.socket):
                    return outcome
                failed = outcome
            raise failed
        finally:
            over = True
            gevent.killall(workers, block=False)
            while not outcomes.empty():
                late = outcomes.get()
                if isinstance(late, _socket.socket):
                    late.close()

    # Proxy

    def _tunnel(self) -> None:
        try:
            self._send(connect_request(self._origin))
            self._read_reply()
        except _Expired as error:
            raise Failure(Phase.TLS_TIMEOUT, error, proxy=True) from None
        except (OSError, HTTPException) as error:
            raise Failure(Phase.TUNNEL, error, proxy=True) from None

    def _read_reply(self) -> None:
        """Read the answer to CONNECT as `http.client` does, by its own code where it has some.

        It has to be whole, and nothing may come with it: a server of TLS speaks second, so that
        what is there is the proxy's, or an attacker's. (`http.client` drops it, and takes the
        end of the stream for the end of the head.)
        """
        lines = _Lines(self._receive)
        _, code, reason = HTTPResponse(lines, method="GET")._read_status()  # type: ignore[arg-type, attr-defined]
        if _MODERN_CONNECT:
            _read_headers(lines)
        else:
            _check_tunnel(code, reason)
            lines.skip_headers()
        _check_tunnel(code, reason)
        if lines.ended:
            _refuse_tunnel("the reply was cut")
        if lines.rest:
            _refuse_tunnel("the reply has a tail")

    # TLS

    def _handshake(self) -> None:
        origin = self._origin
        assert origin.tls is not None
        host = origin.host.rstrip(".").partition("%")[0]
        session, ticket = None, origin.ticket
        try:
            session = self._make_session(tls_context(origin.tls), host)
            while not session.handshake():
                self._send(session.drain())
                data = self._receive()
                if data:
                    session.feed(data)
                else:
                    session.feed_eof()
            self._send(session.drain())
            self.early = session.decrypt(b"")
        except _Expired as error:
            raise Failure(Phase.TLS_TIMEOUT, error) from None
        except (ssl.SSLError, OSError) as error:
            origin.ticket = None
            self._send_alert(session)
            raise Failure(Phase.TLS, error) from None
        if ticket is not None and origin.ticket is ticket and not session.is_resumed:
            origin.ticket = None  # it is no longer any good
        self.tls = session

    def _make_session(self, context: ssl.SSLContext, host: str) -> TLSSession:
        ticket = self._origin.ticket
        if ticket is not None:
            try:
                return TLSSession(context, host, ticket)
            except ValueError:  # from a context that has been dropped and made again since
                self._origin.ticket = None
        return TLSSession(context, host)

    def _send_alert(self, session: TLSSession | None) -> None:
        """Tell the peer why, if OpenSSL has written it and the socket takes it at once."""
        if session is not None and self.sock is not None:
            with contextlib.suppress(OSError):
                self.sock.send(session.drain())

    # Bytes

    def _send(self, data: bytes) -> None:
        assert self.sock is not None
        view = memoryview(data)
        while view:
            try:
                view = view[self.sock.send(view) :]
            except BlockingIOError:
                self._wait(self.sock, WRITE)

    def _receive(self) -> bytes:
        assert self.sock is not None
        while True:
            try:
                return self.sock.recv(65536)
            except BlockingIOError:
                self._wait(self.sock, READ)


class _Lines:
    """What a socket says, line by line, for `http.client`.

    Attributes:
        rest: what has been received and is not read.
        ended: whether a line was wanted when there was nothing more.
    """

    def __init__(self, receive: Callable[[], bytes]) -> None:
        self._receive = receive
        self.rest = b""
        self.ended = False

    def makefile(self, _mode: str) -> _Lines:
        """Be the file of a socket as well."""
        return self

    def readline(self, limit: int) -> bytes:
        """The next line with its end, or as much of it as there is up to the limit."""
        while b"\n" not in self.rest and len(self.rest) < limit:
            piece = self._receive()
            if not piece:
                self.ended = True
                break
            self.rest += piece
        end = min(self.rest.find(b"\n") + 1 or limit, limit)
        line, self.rest = self.rest[:end], self.rest[end:]
        return line

    def skip_headers(self) -> None:
        """Read up to the blank line, or the end; `http.client` takes any number of lines."""
        for _ in range(MAX_LINES):
            line = self.readline(MAX_LINE + 1)
            if len(line) > MAX_LINE:
                msg = "header line"
                raise LineTooLong(msg)
            if line in _LAST_LINES:
                return
        msg = f"got more than {MAX_LINES} headers"
        raise HTTPException(msg)

    def close(self) -> None:
        """The socket is closed by whoever opened it."""

    def flush(self) -> None:
        """Nothing to write."""


def _check_tunnel(code: int, reason: str) -> None:
    if code != HTTPStatus.OK:
        _refuse_tunnel(f"{code} {reason.strip()}")


def _refuse_tunnel(why: str) -> NoReturn:
    msg = f"Tunnel connection failed: {why}"
    raise OSError(msg)


def connect_request(origin: Origin) -> bytes:
    """The bytes that ask a proxy for a tunnel, as `http.client` would send them."""
    host = f"[{origin.host}]" if ":" in origin.host else origin.host
    target = f"{host}:{origin.port}"
    lines = [f"CONNECT {target} HTTP/1.{'1' if _MODERN_CONNECT else '0'}"]
    if _MODERN_CONNECT:
        lines.append(f"Host: {target}")
    if origin.proxy_auth:
        lines.append(f"Proxy-Authorization: {origin.proxy_auth}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1")
