"""Scripted servers and bare exchanges: what the engine is tested with.

A `Script` is a function from a `Peer` (one accepted connection) to nothing. The server runs each in
a thread of its own, so that a test's hub is the only one there is.
"""

from __future__ import annotations

import contextlib
import errno
import socket
import ssl
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

import gevent
from gevent.event import Event

from grequests._engine import Engine, Exchange, Failure, Origin, OriginKey, current_engine

#: Seconds after which a test that waits in vain fails.
PATIENCE = 10.0


def answer(body: bytes = b"ok", status: str = "200 OK", *headers: str) -> bytes:
    """A whole response."""
    head = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(head).encode("latin-1") + b"\r\n\r\n" + body


class Peer:
    """The server's end of one connection. `number` counts the connections from 1."""

    def __init__(
        self, sock: socket.socket, number: int, watch: Callable[[socket.socket], None]
    ) -> None:
        self.sock = sock
        self.number = number
        self._watch = watch
        watch(sock)
        self._buffer = b""

    def request(self) -> str | None:
        """The target of the next request, read with its body; None at the end."""
        head = self.until(b"\r\n\r\n")
        if head is None:
            return None
        length = 0
        for line in head.split(b"\r\n")[1:]:
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
        while len(self._buffer) < length:
            piece = self.sock.recv(65536)
            if not piece:
                return None
            self._buffer += piece
        self._buffer = self._buffer[length:]
        return head.split(b" ")[1].decode()

    def start_tls(self, context: ssl.SSLContext) -> None:
        """Go on through TLS."""
        self.sock = context.wrap_socket(self.sock, server_side=True, do_handshake_on_connect=False)
        self._watch(self.sock)
        self.sock.do_handshake()

    def until(self, mark: bytes) -> bytes | None:
        """What comes before a mark, which is taken off; None at the end."""
        while mark not in self._buffer:
            piece = self.sock.recv(65536)
            if not piece:
                return None
            self._buffer += piece
        found, _, self._buffer = self._buffer.partition(mark)
        return found

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def serve(self) -> None:
        """Answer each request with its target until the client goes."""
        while (target := self.request()) is not None:
            self.send(answer(target.encode()))

    def wait_end(self) -> None:
        """Read until the client closes."""
        with contextlib.suppress(OSError):
            while self.sock.recv(65536):
                pass


Script = Callable[[Peer], None]


class RawServer:
    """Runs a script for each connection.

    Attributes:
        opened: connections accepted, handshakes failed included.
        peak: how many of them were open at once.
        errors: what scripts raised, other than OSError.
    """

    def __init__(
        self,
        script: Script,
        *,
        tls: ssl.SSLContext | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        self.opened = self.open = self.peak = 0
        self.errors: list[BaseException] = []
        self._script = script
        self._tls = tls
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._listener = socket.create_server((host, port), family=family, backlog=512)
        self.host = host
        self.port: int = self._listener.getsockname()[1]
        self._lock = threading.Lock()
        self._socks: set[socket.socket] = set()
        self._is_over = False
        self._threads: list[threading.Thread] = []

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://{self.host}:{self.port}"

    def __enter__(self) -> RawServer:
        self._start(self._accept)
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        with self._lock:
            self._is_over = True
            for sock in self._socks:
                self._end(sock)
        for thread in self._threads:
            thread.join(PATIENCE)
        self._listener.close()
        if kind is None:
            assert not self.errors, self.errors

    def _watch(self, sock: socket.socket) -> None:
        """A socket to be ended with the server, which may be over by now."""
        with self._lock:
            self._socks.add(sock)
            if self._is_over:
                self._end(sock)

    @staticmethod
    def _end(sock: socket.socket) -> None:
        with contextlib.suppress(OSError):
            # Not SSLSocket's, which takes TLS away from the thread that is reading.
            socket.socket.shutdown(sock, socket.SHUT_RDWR)

    def _start(self, function: Callable[..., None], *args: Any) -> None:
        thread = threading.Thread(target=function, args=args, daemon=True)
        # (Tests ask whether memory grows.)
        self._threads = [each for each in self._threads if each.is_alive()]
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._lock:
                self.opened += 1
                self.open += 1
                self.peak = max(self.peak, self.open)
                number = self.opened
            self._start(self._run, sock, number)

    def _run(self, sock: socket.socket, number: int) -> None:
        peer = Peer(sock, number, self._watch)
        try:
            if self._tls is not None:
                peer.start_tls(self._tls)
            self._script(peer)
        except OSError:
            pass
        except BaseException as error:  # the test will show it
            self.errors.append(error)
        finally:
            with self._lock:
                self.open -= 1
                self._socks -= {sock, peer.sock}
            peer.sock.close()


class Asked(Exchange):
    """One exchange, and what came of it.

    Attributes:
        outcomes: what it was told; a test's first concern is that there is one.
    """

    def __init__(
        self,
        origin: Origin,
        target: str = "/",
        *,
        method: str = "GET",
        body: bytes | None = None,
        connect_timeout: float | None = PATIENCE,
        read_timeout: float | None = PATIENCE,
        replayable: bool | None = None,
    ) -> None:
        self.origin = origin
        self.method = method
        head = f"{method} {target} HTTP/1.1\r\nHost: {origin.host}\r\n"
        if body is not None:
            head += f"Content-Length: {len(body)}\r\n"
        self.wire = head.encode() + b"\r\n" + (body or b"")
        self.connect_timeout = connect_timeout
        self.read_timeout = read_timeout
        self.replayable = method != "POST" if replayable is None else replayable
        self.close_after = self.streamed = False
        self.connection = None
        self.head_at = 0.0
        self.outcomes: list[Any] = []
        self._over = Event()

    def on_response(self, status: int, head: bytes, body: bytes) -> None:
        self.outcomes.append((status, body))
        self._over.set()

    def on_failure(self, failure: Failure) -> None:
        self.outcomes.append(failure)
        self._over.set()

    def send(self) -> Asked:
        self.origin.engine.send(self)
        return self

    def abort(self) -> None:
        self.origin.engine.abort(self)

    def wait(self) -> Any:
        """The outcome: (status, body) or a Failure."""
        assert self._over.wait(PATIENCE), f"no outcome: {self.origin!r}"
        assert len(self.outcomes) == 1
        return self.outcomes[0]

    @property
    def body(self) -> bytes:
        outcome = self.wait()
        assert isinstance(outcome, tuple), outcome
        return outcome[1]

    @property
    def failure(self) -> Failure:
        outcome = self.wait()
        assert isinstance(outcome, Failure), outcome
        return outcome


Opened = TypeVar("Opened")


def at_same_port(
    open_first: Callable[[], Opened], open_second: Callable[[int], Opened]
) -> tuple[Opened, Opened]:
    """Two servers of two hosts at the same port, which nobody else has at the second."""
    for _ in range(20):
        first = open_first()
        try:
            return first, open_second(first.port)  # type: ignore[attr-defined]
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
    raise AssertionError("no port is free at both")


def origin_of(server: RawServer, *, engine: Engine | None = None, **key: Any) -> Origin:
    scheme = "https" if key.get("tls") else "http"
    full = {"scheme": scheme, "host": server.host, "port": server.port, **key}
    return (engine or current_engine()).origin(OriginKey(**full))


def ask(origin: Origin, target: str = "/", **kwargs: Any) -> Any:
    """Send one request and wait for its outcome."""
    return Asked(origin, target, **kwargs).send().wait()


def eventually(condition: Callable[[], Any], what: str = "the condition") -> None:
    """Let the hub run until the condition holds."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        gevent.sleep(0.001)
