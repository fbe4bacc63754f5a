"""A raw epoll server: the slow endpoint, and a stand-in where nginx is not installed.

    python -m servers.raw PORT [FOLDER]

It knows three kinds of path and nothing else of HTTP:

``/slow/N``   is answered when N such requests are open at once, then all of them are;
              after ``PATIENCE`` seconds without that, those open get a 503
``/name``     the file of that name in FOLDER, read once at the start
anything else a 1 KB body at once

Requests carry no body. A client may not pipeline.
"""

from __future__ import annotations

import select
import socket
import sys
import time
from pathlib import Path

PATIENCE = 90.0
END = b"\r\n\r\n"


def response(body: bytes, content_type: str = "text/plain", status: str = "200 OK") -> bytes:
    """A whole response."""
    head = (
        f"HTTP/1.1 {status}\r\nServer: raw\r\nContent-Type: {content_type}\r\n"
        f"Content-Length: {len(body)}\r\nConnection: keep-alive\r\n\r\n"
    )
    return head.encode() + body


class Connection:
    """One accepted socket: what has come in, what is still to go out."""

    __slots__ = ("blocked", "incoming", "outgoing", "sock")

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.incoming = b""
        self.outgoing = memoryview(b"")
        self.blocked = False


class Server:
    """All connections of one listening socket, on one epoll."""

    def __init__(self, port: int, folder: Path | None) -> None:
        self.plain = response(b"x" * 1024)
        self.refusal = response(b"too few came", status="503 Service Unavailable")
        self.files = (
            {
                b"/" + path.name.encode(): response(path.read_bytes(), _type_of(path))
                for path in sorted(folder.iterdir())
            }
            if folder
            else {}
        )
        self.connections: dict[int, Connection] = {}
        self.waiting: dict[int, Connection] = {}
        self.oldest = 0.0
        self.listener = socket.create_server(("127.0.0.1", port), backlog=16384)
        self.listener.setblocking(False)
        self.epoll = select.epoll()
        self.epoll.register(self.listener, select.EPOLLIN)

    def serve(self) -> None:
        """Serve until the process is ended."""
        listener = self.listener.fileno()
        while True:
            for number, event in self.epoll.poll(1.0):
                if number == listener:
                    self.accept()
                elif (connection := self.connections.get(number)) is not None:
                    if event & select.EPOLLOUT:
                        self.flush(connection)
                    if event & ~select.EPOLLOUT:
                        self.receive(connection)
            if self.waiting and time.monotonic() - self.oldest > PATIENCE:
                self.release(self.refusal)

    def accept(self) -> None:
        """Accept everything that is in the backlog."""
        while True:
            try:
                sock, _ = self.listener.accept()
            except BlockingIOError:
                return
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.connections[sock.fileno()] = Connection(sock)
            self.epoll.register(sock, select.EPOLLIN)

    def receive(self, connection: Connection) -> None:
        """Read what has come and answer it if it is a whole request."""
        try:
            data = connection.sock.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.drop(connection)
            return
        connection.incoming += data
        if connection.incoming.endswith(END):
            path = connection.incoming.split(b" ", 2)[1].partition(b"?")[0]
            connection.incoming = b""
            self.answer(connection, path)

    def answer(self, connection: Connection, path: bytes) -> None:
        """Answer now, or with the others that are waiting."""
        if not path.startswith(b"/slow/"):
            self.send(connection, self.files.get(path, self.plain))
            return
        if not self.waiting:
            self.oldest = time.monotonic()
        self.waiting[connection.sock.fileno()] = connection
        if len(self.waiting) >= int(path[6:]):
            self.release(self.plain)

    def release(self, answer: bytes) -> None:
        """Send the same answer to all that wait."""
        waiting, self.waiting = list(self.waiting.values()), {}
        for connection in waiting:
            self.send(connection, answer)

    def send(self, connection: Connection, data: bytes) -> None:
        """Send, and have the rest sent when the socket takes more."""
        connection.outgoing = memoryview(data)
        self.flush(connection)

    def flush(self, connection: Connection) -> None:
        """Send what the socket takes."""
        try:
            while connection.outgoing:
                sent = connection.sock.send(connection.outgoing)
                connection.outgoing = connection.outgoing[sent:]
        except BlockingIOError:
            self.wait_to_send(connection, blocked=True)
        except OSError:
            self.drop(connection)
        else:
            self.wait_to_send(connection, blocked=False)

    def wait_to_send(self, connection: Connection, *, blocked: bool) -> None:
        """Ask epoll for writability only while a send is stuck."""
        if blocked is not connection.blocked:
            connection.blocked = blocked
            events = select.EPOLLIN | select.EPOLLOUT if blocked else select.EPOLLIN
            self.epoll.modify(connection.sock, events)

    def drop(self, connection: Connection) -> None:
        """Forget a connection."""
        number = connection.sock.fileno()
        self.connections.pop(number, None)
        self.waiting.pop(number, None)
        connection.sock.close()


def _type_of(path: Path) -> str:
    return "application/json" if path.suffix == ".json" else "application/octet-stream"


if __name__ == "__main__":
    Server(int(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) > 2 else None).serve()
