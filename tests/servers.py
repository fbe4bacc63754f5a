"""Local HTTP servers for the tests: blocking sockets, one thread a connection.

They run in other threads than the client's hub and listen on loopback with ports of the system's
choice. What a path answers is a function from `Request` to bytes; `Gate` is such a function that
holds its requests until it is opened, or until so many of them are there, so that tests wait for
events and never for time.
"""

from __future__ import annotations

import contextlib
import json
import select
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import gevent

#: Seconds after which a test that waits for something in vain fails.
PATIENCE = 5.0
#: The client has gone, by goodbye or by force.
GONE = select.POLLRDHUP | select.POLLHUP | select.POLLERR


@dataclass(frozen=True)
class Request:
    """One request as the server saw it. `connection` numbers the connections from 1."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes
    connection: int
    sock: socket.socket = field(repr=False, compare=False)

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]


Handler = Callable[[Request], "bytes | None"]


def answer(body: bytes = b"ok", status: str = "200 OK", *headers: str) -> bytes:
    """A whole response."""
    head = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(head).encode("latin-1") + b"\r\n\r\n" + body


def say_target(request: Request) -> bytes:
    """Answer with the request's target."""
    return answer(request.target.encode())


def echo(request: Request) -> bytes:
    """Answer with what was asked, as JSON."""
    seen = {
        "method": request.method,
        "target": request.target,
        "headers": request.headers,
        "body": request.body.decode("latin-1"),
    }
    return answer(json.dumps(seen).encode(), "200 OK", "Content-Type: application/json")


def status(request: Request) -> bytes:
    """Answer `/status/418` with that status."""
    code = request.path.rpartition("/")[2]
    return answer(b"" if code == "204" else b"as you wish", f"{code} Said")


def hang_up(_: Request) -> None:
    """Close the connection without an answer."""


class Gate:
    """Holds its requests until it is opened, or until `count` of them wait.

    Who has been held for `patience` seconds is hung up on.

    Attributes:
        arrived: how many requests have come.
        deserted: how many clients closed the connection rather than wait.
    """

    def __init__(
        self, count: int = 0, then: Handler = say_target, patience: float = PATIENCE
    ) -> None:
        self.arrived = 0
        self.deserted = 0
        self._count = count
        self._then = then
        self._patience = patience
        self._lock = threading.Lock()
        self._inside, self._outside = socket.socketpair()

    def __call__(self, request: Request) -> bytes | None:
        with self._lock:
            self.arrived += 1
            full = self.arrived == self._count
        if full:
            self.open()
        poller = select.poll()
        poller.register(self._inside, select.POLLIN | GONE)
        poller.register(request.sock, GONE)
        descriptors = [descriptor for descriptor, _ in poller.poll(self._patience * 1000)]
        if self._inside.fileno() in descriptors:
            return self._then(request)
        with self._lock:
            self.deserted += 1
        return None

    def open(self) -> None:
        """Let all through, now and later."""
        self._outside.close()

    def close(self) -> None:
        self.open()
        self._inside.close()


class Server:
    """Answers by path.

    Args:
        tls: the context of an https server.
        hosts: loopback addresses to listen on, each with a port of its own.
        keep: whether to keep the requests it saw.

    Attributes:
        requests: what it was asked, in the order of arrival.
        count: how many requests.
        opened: how many connections clients made.
        closed: how many of them have ended.
        peak: how many requests it held at the same time.
    """

    def __init__(
        self,
        tls: ssl.SSLContext | None = None,
        hosts: Sequence[str] = ("127.0.0.1",),
        *,
        keep: bool = True,
    ) -> None:
        self.requests: list[Request] = []
        self.count = self.opened = self.closed = self.active = self.peak = 0
        self._tls = tls
        self._keep = keep
        self._routes: dict[str, Handler] = {"/echo": echo}
        self._lock = threading.Lock()
        self._socks: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._listeners = [socket.create_server((host, 0), backlog=1024) for host in hosts]
        scheme = "https" if tls else "http"
        self.ports = [listener.getsockname()[1] for listener in self._listeners]
        self.roots = [f"{scheme}://{h}:{p}" for h, p in zip(hosts, self.ports, strict=True)]
        self._stop, self._stopper = socket.socketpair()

    def url(self, path: str = "/") -> str:
        return self.roots[0] + path

    def on(self, path: str, handler: Handler) -> Server:
        """Say who answers a path, or all paths below one that ends with `/*`."""
        self._routes[path] = handler
        return self

    def hold(
        self,
        path: str,
        count: int = 0,
        then: Handler = say_target,
        patience: float = PATIENCE,
    ) -> Gate:
        """Put a gate before a path."""
        gate = Gate(count, then, patience)
        self.on(path, gate)
        return gate

    def targets(self) -> list[str]:
        return [request.target for request in self.requests]

    def __enter__(self) -> Server:
        self._start(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        self._stopper.close()
        for handler in self._routes.values():
            if isinstance(handler, Gate):
                handler.open()
        self._threads[0].join(PATIENCE)  # nobody is accepted from here on
        with self._lock:
            for sock in self._socks:
                with contextlib.suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(PATIENCE)
        for each in (self._stop, *self._listeners, *self._routes.values()):
            if hasattr(each, "close"):
                each.close()

    def _start(self, function: Callable[..., None], *args: Any) -> None:
        thread = threading.Thread(target=function, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        poller = select.poll()
        listeners = {each.fileno(): each for each in self._listeners}
        for descriptor in (*listeners, self._stop.fileno()):
            poller.register(descriptor, select.POLLIN)
        while True:
            for descriptor, _ in poller.poll():
                if descriptor not in listeners:
                    return
                sock, _ = listeners[descriptor].accept()
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                if self._tls is not None:
                    sock = self._tls.wrap_socket(
                        sock, server_side=True, do_handshake_on_connect=False
                    )
                with self._lock:
                    self.opened += 1
                    number = self.opened
                    self._socks.add(sock)
                self._start(self._serve, sock, number)

    def _serve(self, sock: socket.socket, number: int) -> None:
        try:
            if self._tls is not None:
                sock.do_handshake()
            with sock.makefile("rb") as stream:
                while request := _read(stream, sock, number):
                    reply = self._reply(request)
                    if reply is None:
                        break
                    sock.sendall(reply)
                    if b"connection: close" in reply.partition(b"\r\n\r\n")[0].lower():
                        break
        except OSError:
            pass
        finally:
            sock.close()
            with self._lock:
                self.closed += 1
                self._socks.discard(sock)

    def _reply(self, request: Request) -> bytes | None:
        with self._lock:
            self.count += 1
            self.active += 1
            self.peak = max(self.peak, self.active)
            if self._keep:
                self.requests.append(request)
        try:
            return self._handler(request.path)(request)
        finally:
            with self._lock:
                self.active -= 1

    def _handler(self, path: str) -> Handler:
        # The target of a request to a proxy is a whole URL.
        if "://" in path:
            path = "/" + path.split("/", 3)[3]
        above = path.rpartition("/")[0] + "/*"
        return self._routes.get(path) or self._routes.get(above) or say_target


def _read(stream: Any, sock: socket.socket, number: int) -> Request | None:
    line = stream.readline().decode("latin-1")
    if not line.endswith("\r\n"):
        return None
    method, target, _ = line.split(" ")
    headers: dict[str, str] = {}
    while line := stream.readline().decode("latin-1").rstrip("\r\n"):
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
    body = stream.read(int(headers.get("content-length", 0)))
    return Request(method, target, headers, body, number, sock)


@contextlib.contextmanager
def full_backlog() -> Iterator[tuple[str, int]]:
    """The address of a listener whose backlog is full: it neither takes nor refuses connections."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        address: tuple[str, int] = listener.getsockname()
        for _ in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(address)
        yield address


def eventually(condition: Callable[[], Any], what: str = "the condition") -> None:
    """Let the hub run until the condition holds."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        gevent.sleep(0.002)
