"""The server of the soak: one epoll, sockets with TLS and without, right answers and wrong ones.

    python -m soaking.server

Says its ports, and whom to trust, on stdout as JSON, serves until its stdin ends, then says what it
has seen. It knows each request by its number (`plan`), so it also checks the client: a connection on which
something stood behind a response must not carry another request.
"""

from __future__ import annotations

import contextlib
import heapq
import json
import select
import socket
import ssl
import struct
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from soaking import faults, limits, secure
from soaking.answers import head, whole
from soaking.plan import HANDSHAKES, MANY, POSTS, QUIET, body_of, fault_of, is_general

END = b"\r\n\r\n"
#: Closes with a reset rather than an end.
_RESET = struct.pack("ii", 1, 0)
_NOTHING = memoryview(b"")
#: What says that a socket, or TLS on it, has to wait.
WOULD_BLOCK = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)
#: Seconds between two looks at what is due, and how many looks answers may be ahead.
TICK, RING = 0.01, 128


class Connection:
    """One accepted socket: what has come in, what is still to go out."""

    __slots__ = ("asked", "closed", "incoming", "manner", "number", "outgoing", "sock", "spoilt")

    def __init__(self, sock: socket.socket, manner: str) -> None:
        self.sock = sock
        self.manner = manner
        self.number = sock.fileno()
        self.incoming = b""
        self.outgoing = _NOTHING
        #: Requests so far.
        self.asked = 0
        #: Whether it has something on it that is nobody's answer.
        self.spoilt = False
        self.closed = False


class Server:
    """All connections of all addresses, on one epoll."""

    def __init__(self) -> None:
        self.epoll = select.epoll()
        self.connections: dict[int, Connection] = {}
        self.listeners: dict[int, tuple[socket.socket, str]] = {}
        self.authority, self._contexts = secure.authorities()
        #: Ports by what is spoken there.
        self.ports = {"plain": self._listen("plain", (*MANY, *POSTS, *QUIET))}
        self.ports |= {
            manner: self._listen(manner, (*MANY, *POSTS))
            for manner in ("TLS", *HANDSHAKES)
        }
        # Bound and not listened on: nobody else gets the port, and who connects is refused.
        self._closed_port = socket.socket()
        self._closed_port.bind((MANY[0], 0))
        self.ports["refused"] = self._closed_port.getsockname()[1]
        self.counts: Counter[str] = Counter()
        self.peak = 0
        #: Answers by the hundredth of a second in which they go out, a ring of them.
        self._answers: list[list[tuple[Connection, int]]] = [[] for _ in range(RING)]
        self._tick = _now()
        self._due: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._made = 0
        #: Requests whose first answer was a bad one, and whose second will be good.
        self.once: set[int] = set()
        self.zeros = faults.bomb()

    def _listen(self, manner: str, hosts: tuple[str, ...]) -> int:
        port = 0
        for host in hosts:
            listener = socket.create_server((host, port), backlog=4096)
            port = listener.getsockname()[1]
            listener.setblocking(False)
            self.listeners[listener.fileno()] = listener, manner
            self.epoll.register(listener, select.EPOLLIN)
        return port

    def serve(self) -> None:
        """Serve until stdin ends."""
        control = sys.stdin.fileno()
        self.epoll.register(control, select.EPOLLIN | select.EPOLLHUP)
        connections, listeners, due = self.connections, self.listeners, self._due
        receive, poll = self.receive, self.epoll.poll
        while True:
            for number, event in poll(TICK, 4096):
                connection = connections.get(number)
                if connection is not None:
                    if event & select.EPOLLOUT:
                        self.flush(connection)
                    if event & ~select.EPOLLOUT and not connection.closed:
                        receive(connection)
                elif number in listeners:
                    self.accept(*listeners[number])
                elif number == control:
                    return
            if self._tick < _now():
                self._send_due()
            if due:
                self._ring()

    def _send_due(self) -> None:
        now = _now()
        while self._tick < now:
            self._tick += 1
            due = self._answers[self._tick % RING]
            for connection, number in due:
                self.send(connection, whole(number))
            due.clear()

    def later(self, seconds: float, function: Callable[..., None], *args: Any) -> None:
        """Call a function in a while."""
        self._made += 1
        heapq.heappush(self._due, (time.monotonic() + seconds, self._made, function, args))

    def _ring(self) -> None:
        due, now = self._due, time.monotonic()
        while due and due[0][0] <= now:
            _, _, function, args = heapq.heappop(due)
            function(*args)

    def accept(self, listener: socket.socket, manner: str) -> None:
        """Accept everything that is in the backlog."""
        while True:
            try:
                sock, _ = listener.accept()
            except BlockingIOError:
                return
            except OSError:
                self.counts["not accepted"] += 1
                return
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if manner in self._contexts:
                sock = self._contexts[manner].wrap_socket(
                    sock, server_side=True, do_handshake_on_connect=False
                )
            connection = Connection(sock, manner)
            self.connections[connection.number] = connection
            self.epoll.register(connection.number, select.EPOLLIN)
            self.counts["accepted"] += 1
            self.peak = max(self.peak, len(self.connections))

    def receive(self, connection: Connection) -> None:
        """Read what has come and answer it if it is a whole request."""
        try:
            data = connection.sock.recv(65536)
        except WOULD_BLOCK:
            return
        except OSError:
            data = b""
        if not data:
            self.drop(connection)
            return
        if connection.manner in secure.REPLIES:
            self.send(connection, secure.REPLIES[connection.manner])
            self.drop(connection)
            return
        if connection.incoming or not data.endswith(END) or not data.startswith(b"GET /"):
            self._collect(connection, data)
            return
        self.answer(connection, int(data[5 : data.index(b" ", 5)]))

    def _collect(self, connection: Connection, data: bytes) -> None:
        """What is no GET, or did not come in one piece."""
        connection.incoming += data
        head, end, body = connection.incoming.partition(END)
        if not end:
            return
        method, path = head.split(b" ", 2)[:2]
        number = int(path[1:])
        if method == b"POST":
            if len(body) < len(body_of(number)):
                return
            if body != body_of(number):
                self.counts["wrong uploads"] += 1
        connection.incoming = b""
        self.answer(connection, number, is_head=method == b"HEAD")

    def answer(self, connection: Connection, number: int, *, is_head: bool = False) -> None:
        """Answer now or a little later, as the number has it."""
        self.counts["requests"] += 1
        connection.asked += 1
        if connection.spoilt:
            self.counts["requests on spoilt connections"] += 1
        fault = fault_of(number)
        if fault is not None:
            self.counts["faults"] += 1
            faults.TABLE[fault](self, connection, number)
        elif is_head:
            self.send(connection, head(b"Content-Length: %d" % len(body_of(number))))
        elif number % 128 == 14:
            data = whole(number)
            self.send(connection, data[: number % 200])
            self.later(0.005, self.send, connection, data[number % 200 :])
        else:
            # After 0.2 to 0.6 s, out of their order: so 10,000 of them are here at any time if
            # the client sends no more than 25,000 a second.
            self._answers[(self._tick + 20 + number % 41) % RING].append((connection, number))

    def send(self, connection: Connection, data: bytes) -> None:
        """Send, and have the rest sent when the socket takes more."""
        if connection.closed:
            return
        if connection.outgoing:
            connection.outgoing = memoryview(bytes(connection.outgoing) + data)
            return
        try:
            count = connection.sock.send(data)
        except WOULD_BLOCK:
            count = 0
        except OSError:
            self.drop(connection)
            return
        if count < len(data):
            connection.outgoing = memoryview(data)[count:]
            self.epoll.modify(connection.number, select.EPOLLIN | select.EPOLLOUT)

    def flush(self, connection: Connection) -> None:
        """Send what the socket takes now."""
        try:
            count = connection.sock.send(connection.outgoing)
        except WOULD_BLOCK:
            return
        except OSError:
            self.drop(connection)
            return
        connection.outgoing = connection.outgoing[count:]
        if not connection.outgoing:
            self.epoll.modify(connection.number, select.EPOLLIN)

    def spoil(self, connection: Connection, number: int) -> None:
        """Something on this connection is nobody's answer.

        (`http.client`, in the general lane, has read what stands directly behind a response into a
        buffer and dropped it: such a connection may go on.)
        """
        connection.spoilt = not is_general(number)

    def drop(self, connection: Connection, *, reset: bool = False, ragged: bool = False) -> None:
        """Close a connection and forget it; ragged: without a goodbye in TLS."""
        if connection.closed:
            return
        connection.closed = True
        self.connections.pop(connection.number, None)
        if reset:
            with contextlib.suppress(OSError):
                connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        elif isinstance(connection.sock, ssl.SSLSocket) and not ragged:
            with contextlib.suppress(OSError, ValueError):
                connection.sock.unwrap()
        connection.sock.close()

    def report(self) -> dict[str, Any]:
        """What it has seen."""
        return {**self.counts, "peak": self.peak, "rss": limits.resident()}


def _now() -> int:
    """The time in ticks."""
    return int(time.monotonic() / TICK)


def main() -> None:
    """Serve."""
    limits.raise_limit()
    server = Server()
    with tempfile.NamedTemporaryFile(suffix=".pem") as file:
        file.write(server.authority)
        file.flush()
        print(json.dumps({"ports": server.ports, "authority": file.name}), flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            server.serve()
    print(json.dumps(server.report()), flush=True)


if __name__ == "__main__":
    main()
