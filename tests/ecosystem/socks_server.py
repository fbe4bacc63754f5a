"""A SOCKS5 proxy (RFC 1928, and RFC 1929 for names and passwords), one thread a connection.

Its sockets are of the C class: `socket.socket` may be somebody else's while it runs.
"""

from __future__ import annotations

import _socket
import select
import socket
import threading
from collections.abc import Callable


class SocksServer:
    """Connects where it is told to, and keeps what it was told as "host:port" in `asked`."""

    def __init__(self, login: tuple[str, str] | None = None) -> None:
        self.asked: list[str] = []
        self._login = login
        self._class = socket.socket
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._stop, self._stopper = socket.socketpair()
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> SocksServer:
        self._start(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        self._stopper.close()
        for thread in self._threads:
            thread.join(5)
        self._listener.close()
        self._stop.close()

    def _start(self, function: Callable[..., None], *args: object) -> None:
        thread = threading.Thread(target=function, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while self._listener in select.select([self._listener, self._stop], [], [])[0]:
            descriptor, _ = self._listener._accept()
            self._start(self._serve, self._class(fileno=descriptor))

    def _serve(self, client: socket.socket) -> None:
        with client:
            try:
                target = self._greet(client)
            except (EOFError, OSError):
                return
            if target is None:
                return
            raw = _socket.socket(_socket.AF_INET, _socket.SOCK_STREAM)
            raw.connect(target)
            with self._class(fileno=raw.detach()) as upstream:
                client.sendall(b"\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00")
                self._relay(client, upstream)

    def _greet(self, client: socket.socket) -> tuple[str, int] | None:
        _, count = _exactly(client, 2)
        _exactly(client, count)
        if self._login is None:
            client.sendall(b"\x05\x00")
        else:
            client.sendall(b"\x05\x02")
            _, length = _exactly(client, 2)
            name = _exactly(client, length).decode()
            password = _exactly(client, _exactly(client, 1)[0]).decode()
            good = (name, password) == self._login
            client.sendall(b"\x01\x00" if good else b"\x01\x01")
            if not good:
                return None
        kind = _exactly(client, 4)[3]
        if kind == 1:
            host = ".".join(map(str, _exactly(client, 4)))
        else:
            host = _exactly(client, _exactly(client, 1)[0]).decode()
        port = int.from_bytes(_exactly(client, 2), "big")
        self.asked.append(f"{host}:{port}")
        return host, port

    def _relay(self, client: socket.socket, upstream: socket.socket) -> None:
        other = {client: upstream, upstream: client}
        while True:
            ready, _, _ = select.select([client, upstream, self._stop], [], [])
            if self._stop in ready:
                return
            for sock in ready:
                try:
                    data = sock.recv(65536)
                    other[sock].sendall(data)
                except OSError:
                    return
                if not data:
                    return


def _exactly(sock: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        more = sock.recv(count - len(data))
        if not more:
            raise EOFError
        data += more
    return data
