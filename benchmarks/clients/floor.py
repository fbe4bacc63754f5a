"""The floor: raw non-blocking sockets, one epoll, ``partition`` for a parser.

As little as Python can do for an answer: no timeouts, no retries, no redirects, no chunks, no
checks of what comes back but its length. What a library costs above this is what it is worth.
"""

from __future__ import annotations

import json
import select
import socket
import ssl
import time
from collections.abc import Iterable, Iterator
from urllib.parse import urlsplit

from clients._common import Fetch, Job, main

READ = 65536


class Connection:
    """One socket and what of its answer has come in."""

    __slots__ = ("began", "chunks", "missing", "sock")

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.chunks: list[bytes] = []
        self.missing = 0
        self.began = 0.0


class Fetcher:
    """All connections, on one epoll."""

    def __init__(self, job: Job) -> None:
        self.job = job
        parts = urlsplit(job.addresses[0])
        self.address = (parts.hostname, parts.port)
        self.tail = f" HTTP/1.1\r\nHost: {parts.netloc}\r\nAccept: */*\r\n\r\n"
        self.origin = len(f"{parts.scheme}://{parts.netloc}")
        self.context = ssl.create_default_context(cafile=job.ca) if job.tls else None
        self.read_size = READ if job.size < READ else 1 << 20
        self.epoll = select.epoll()
        self.connections: dict[int, Connection] = {}
        for _ in range(job.concurrency):
            self.connect()

    def connect(self) -> None:
        """Open one connection, blocking: it is open before anything is measured."""
        sock = socket.create_connection(self.address)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self.context is not None:
            sock = self.context.wrap_socket(sock, server_hostname=self.address[0])
        sock.setblocking(False)
        self.connections[sock.fileno()] = Connection(sock)
        self.epoll.register(sock, select.EPOLLIN)

    def fetch(self, urls: Iterable[str]) -> None:
        """Keep every connection busy until the URLs are used up."""
        source = iter(urls)
        running = sum(self.begin(connection, source) for connection in self.connections.values())
        connections, poll = self.connections, self.epoll.poll
        while running:
            for number, _ in poll():
                connection = connections[number]
                if self.receive(connection) and not self.begin(connection, source):
                    running -= 1

    def begin(self, connection: Connection, source: Iterator[str]) -> bool:
        """Send the next request; a small one always fits into the socket's buffer."""
        url = next(source, None)
        if url is None:
            return False
        if self.job.latency:
            connection.began = time.perf_counter()
        connection.sock.send(f"GET {url[self.origin :]}{self.tail}".encode())
        return True

    def receive(self, connection: Connection) -> bool:
        """Read what there is; true when the answer is whole."""
        try:
            data = connection.sock.recv(self.read_size)
        except (BlockingIOError, ssl.SSLWantReadError):
            return False
        if connection.missing:
            connection.chunks.append(data)
            connection.missing -= len(data)
        else:
            head, _, body = data.partition(b"\r\n\r\n")
            length = int(head.partition(b"\r\nContent-Length: ")[2].partition(b"\r\n")[0])
            connection.missing = length - len(body)
            if not connection.missing:
                self.end(connection, head, body)
                return True
            connection.chunks = [head, body]
        if connection.missing:
            return False
        head, *chunks = connection.chunks
        self.end(connection, head, b"".join(chunks))
        return True

    def end(self, connection: Connection, head: bytes, body: bytes) -> None:
        """Read the answer."""
        job = self.job
        status = int(head[9:12])
        if job.latency:
            job.latencies.append(time.perf_counter() - connection.began)
        if job.json:
            headers = dict(line.split(": ", 1) for line in head.decode("latin-1").split("\r\n")[1:])
            job.check_json(status, headers["Content-Type"], body.decode(), json.loads(body))
        else:
            job.check(status, body)


def start(job: Job) -> Fetch:
    """All connections open."""
    return Fetcher(job).fetch


if __name__ == "__main__":
    main(start)
