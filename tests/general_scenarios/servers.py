"""Servers for the general lane's tests: plain blocking sockets, one thread a connection.

They run in other threads than the client's, listen on 127.0.0.1 with a port of the system's choice,
and count how many requests they hold at once, which is what the tests assert instead of seconds.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import time
from collections.abc import Callable, Iterator

# A process under test may be patched by gevent; the servers must go on blocking threads only.
try:
    from gevent.monkey import get_original
except ImportError:  # pragma: no cover

    def get_original(module: str, name: str):
        return getattr(__import__(module), name)


_sleep = get_original("time", "sleep")
_Socket = get_original("socket", "socket")
_start = get_original("_thread", "start_new_thread")
_Lock = get_original("_thread", "allocate_lock")


class Request:
    """What a handler sees of one request."""

    def __init__(self, head: bytes, body: bytes, number: int) -> None:
        self.line, *lines = head.decode("latin-1").split("\r\n")
        self.method, self.target, _ = self.line.split(" ")
        self.headers = {k.lower(): v.strip() for k, v in (line.split(":", 1) for line in lines)}
        self.body = body
        self.connection = number


def answer(body: bytes = b"ok", status: str = "200 OK", *headers: str) -> bytes:
    """A whole response."""
    head = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body


class Server:
    """Answers each request with `handler(request)` after `delay` seconds."""

    def __init__(
        self,
        handler: Callable[[Request], bytes] = lambda _: answer(),
        delay: float = 0.0,
        context: ssl.SSLContext | None = None,
        expect: int = 0,
    ) -> None:
        self.handler, self.delay, self.context = handler, delay, context
        #: Requests are answered only when this many are held at once, or after 20 s.
        self.expect = expect
        self.lock = _Lock()
        self.now = self.peak = self.connections = self.requests = 0
        self._socks: list[socket.socket] = []
        self.listener = _Socket(socket.AF_INET, socket.SOCK_STREAM)
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind(("127.0.0.1", 0))
        self.listener.listen(512)
        self.port = self.listener.getsockname()[1]
        self.url = f"{'https' if context else 'http'}://127.0.0.1:{self.port}/"

    def __enter__(self) -> Server:
        _start(self._accept, ())
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        with self.lock:
            socks = list(self._socks)
        for sock in socks:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        while True:
            try:
                fd, _ = self.listener._accept()  # never the patched accept()
            except OSError:
                return
            sock = _Socket(fileno=fd)
            sock.setblocking(True)
            with self.lock:
                self.connections += 1
                number = self.connections
                self._socks.append(sock)
            _start(self._serve, (sock, number))

    def _serve(self, sock: socket.socket, number: int) -> None:
        try:
            with sock:
                if self.context is not None:
                    sock = self.wrap(sock)
                self.talk(sock, number)
        except (OSError, ValueError):
            pass
        finally:
            sock.close()
            with self.lock:
                self._socks = [one for one in self._socks if one.fileno() != -1]

    def wrap(self, sock: socket.socket) -> socket.socket:
        return self.context.wrap_socket(sock, server_side=True)

    def talk(self, sock: socket.socket, number: int) -> None:
        data = b""
        while True:
            while b"\r\n\r\n" not in data:
                more = sock.recv(65536)
                if not more:
                    return
                data += more
            head, data = data.split(b"\r\n\r\n", 1)
            request = Request(head, b"", number)
            length = int(request.headers.get("content-length", 0))
            while len(data) < length:
                data += sock.recv(65536)
            request.body, data = data[:length], data[length:]
            reply = self.reply(request)
            sock.sendall(reply)
            if b"connection: close" in reply.split(b"\r\n\r\n")[0].lower():
                return

    def reply(self, request: Request) -> bytes:
        with self.lock:
            self.now += 1
            self.requests += 1
            self.peak = max(self.peak, self.now)
        try:
            self._hold()
            return self.handler(request)
        finally:
            with self.lock:
                self.now -= 1

    def _hold(self) -> None:
        if self.delay:
            _sleep(self.delay)
        waited = 0.0
        while self.expect and self.peak < self.expect and waited < 20:
            _sleep(0.02)
            waited += 0.02


class TunnelServer(Server):
    """A proxy: CONNECT opens a tunnel to wherever it says."""

    def talk(self, sock: socket.socket, number: int) -> None:
        data = b""
        while b"\r\n\r\n" not in data:
            more = sock.recv(65536)
            if not more:
                return
            data += more
        target = data.split(b" ")[1].decode()
        self.requests += 1
        host, _, port = target.rpartition(":")
        upstream = _Socket(socket.AF_INET, socket.SOCK_STREAM)
        upstream.connect((host, int(port)))
        sock.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        pump(sock, upstream)


class SocksServer(Server):
    """SOCKS5 without authentication, CONNECT only; holds each dial for `delay` seconds."""

    def talk(self, sock: socket.socket, number: int) -> None:
        _, methods = exactly(sock, 2)
        exactly(sock, methods)
        sock.sendall(b"\x05\x00")
        _, command, _, kind = exactly(sock, 4)
        assert command == 1
        host = (
            socket.inet_ntoa(exactly(sock, 4))
            if kind == 1
            else exactly(sock, exactly(sock, 1)[0]).decode()
        )
        (port,) = struct.unpack("!H", exactly(sock, 2))
        self.requests += 1
        if self.delay:
            _sleep(self.delay)
        upstream = _Socket(socket.AF_INET, socket.SOCK_STREAM)
        upstream.connect((host, port))
        sock.sendall(b"\x05\x00\x00\x01\x7f\x00\x00\x01\x00\x00")
        pump(sock, upstream)


def exactly(sock: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        more = sock.recv(size - len(data))
        if not more:
            raise OSError("closed")
        data += more
    return data


def pump(one: socket.socket, other: socket.socket) -> None:
    """Copy both ways until either side ends."""
    _start(_copy, (other, one))
    _copy(one, other)
    other.close()


def _copy(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    for sock in (source, target):
        with contextlib.suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def serving(server: Server) -> Iterator[Server]:
    with server:
        yield server


def now() -> float:
    return time.monotonic()
