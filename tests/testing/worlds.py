"""Where a request can go: over the network or the fake one, in either lane.

A world has one server, which answers by a script of `Answer` values. The real one is a process-local
HTTP server on sockets, to which faults are done by hand; it shares nothing with the fake one but how
an answer is written.
"""

from __future__ import annotations

import contextlib
import socket
import struct
from collections.abc import Callable, Iterator
from typing import Any

from servers import Request, Server
from ways import general_only

import grequests
from grequests.testing import Answer, FakeTransport, Fault, SentRequest
from grequests.testing._wire import timetable

#: A port on which nobody listens.
_NOBODY = 1
#: Close by RST: no lingering.
_ABRUPTLY = struct.pack("ii", 1, 0)

Answering = Callable[[Any], Answer]


class World:
    """Somewhere to send requests to.

    Attributes:
        root: the URL of its server, without a path.
        is_real: whether there are sockets.
    """

    root: str
    is_real: bool

    def on(self, path: str, *answer: Any, make: Answering | None = None, **fields: Any) -> str:
        """Say how a path is answered; its URL."""
        raise NotImplementedError

    def broken(self, fault: Fault) -> str:
        """A URL on whose way this goes wrong."""
        raise NotImplementedError

    def seen(self) -> list[tuple[str, str, bytes]]:
        """Method, target and body of each request that has arrived."""
        raise NotImplementedError

    def headers(self) -> dict[str, str]:
        """The headers of the last one, names in lower case."""
        raise NotImplementedError

    def url(self, path: str = "/") -> str:
        return self.root + path


class FakeWorld(World):
    """`FakeTransport`, in real time."""

    root = "http://server.test"
    is_real = False

    def __init__(self, fake: FakeTransport) -> None:
        self.fake = fake

    def on(self, path: str, *answer: Any, make: Answering | None = None, **fields: Any) -> str:
        url = self.url(path)
        self.fake.add(url, answer=make or Answer(*answer, **fields))
        return url

    def broken(self, fault: Fault) -> str:
        url = f"{'https' if fault is Fault.TLS else 'http'}://{fault.name.lower()}.test/"
        self.fake.add(url, error=fault, body=b"a body of 18 bytes")
        return url

    def seen(self) -> list[tuple[str, str, bytes]]:
        return [
            (each.method, each.url.removeprefix(self.root), each.body)
            for each in self.fake.requests
        ]

    def headers(self) -> dict[str, str]:
        return {name.lower(): value for name, value in self.fake.requests[-1].headers.items()}


class RealWorld(World):
    """A server on loopback."""

    is_real = True

    def __init__(self, server: Server, https_server: Server, stack: contextlib.ExitStack) -> None:
        self.root = server.url("")
        self._server = server
        self._https_server = https_server
        self._stack = stack

    def on(self, path: str, *answer: Any, make: Answering | None = None, **fields: Any) -> str:
        def handler(request: Request) -> bytes:
            made = make(_sent(request)) if make else Answer(*answer, **fields)
            return b"".join(data for _, data in timetable(made, request.method))

        self._server.on(path, handler)
        return self.url(path)

    def broken(self, fault: Fault) -> str:
        if fault is Fault.REFUSED:
            return f"http://127.0.0.1:{_NOBODY}/"
        if fault is Fault.DNS:
            return "http://does-not-exist.invalid/"
        if fault is Fault.TLS:
            return self._https_server.url("/")
        if fault is Fault.CONNECT_TIMEOUT:
            return f"http://127.0.0.1:{self._stack.enter_context(full_backlog())}/"
        path = f"/{fault.name.lower()}"
        if fault is Fault.READ_TIMEOUT:
            self._server.hold(path)
        else:
            self._server.on(path, _breaking(fault, self._server, f"{path}/held"))
        return self.url(path)

    def seen(self) -> list[tuple[str, str, bytes]]:
        return [(each.method, each.target, each.body) for each in self._server.requests]

    def headers(self) -> dict[str, str]:
        return self._server.requests[-1].headers


def _sent(request: Request) -> Any:
    """A request as a function that answers is given it, as far as they need it here."""
    headers: Any = request.headers
    return SentRequest(request.method, request.target, headers, request.body, 0.0, "")


def _breaking(fault: Fault, server: Server, held: str) -> Callable[[Request], None]:
    """Half an answer, or none, and what then happens."""
    gate = server.hold(held)

    def handler(request: Request) -> None:
        sock = request.sock
        if fault in {Fault.BODY_RESET, Fault.BODY_TIMEOUT, Fault.TRUNCATED}:
            sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 18\r\n\r\na body of")
        if fault is Fault.BODY_TIMEOUT:
            gate(request)
        if fault in {Fault.RESET, Fault.BODY_RESET}:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _ABRUPTLY)

    return handler


@contextlib.contextmanager
def full_backlog() -> Iterator[int]:
    """The port of a listener that takes no more connections, and refuses none either."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        port = listener.getsockname()[1]
        for _ in range(8):
            sock = stack.enter_context(socket.socket())
            sock.setblocking(False)
            sock.connect_ex(("127.0.0.1", port))
        yield port


@contextlib.contextmanager
def lane(name: str) -> Iterator[None]:
    """All requests take this lane."""
    if name == "fast":
        yield
    else:
        with general_only():
            yield


def send(request: grequests.AsyncRequest) -> Any:
    """The response, or raise the error."""
    request.send()
    if request.response is None:
        raise request.exception
    return request.response
