"""A server of TLS that fails in the handshake, record by record, and what is asked of each failure.

The server's side of TLS runs between two memory BIOs, so that which bytes go out, when, and whether
they are the right ones is the fault's to say. A server is bad until it is told to be good: then it
answers any request with its target. `Handshake.once` asks the four questions of `harness`, and a
fifth: not a byte of the request was sent to a server whose handshake did not succeed.
"""

from __future__ import annotations

import _ssl
import contextlib
import select
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from ctypes import CDLL, c_void_p
from dataclasses import dataclass, field
from typing import Any

import gevent
from engine.raw import Peer, RawServer, answer
from servers import eventually

import grequests
from grequests import Client, Result, Timeout

from .certificates import Papers
from .growth import assert_steady, settle
from .harness import LATE, TOTAL, WAITS, Odd, Outcome, Way, check

#: With the functions of the libssl that it is linked with.
LIBRARY = CDLL(_ssl.__file__)
HANDSHAKE, APPLICATION = 0x16, 0x17
#: The longest record of a client that is in a handshake: TLS 1.3 hides its type. (Finished is 69.)
_FINISHED = 100

WAYS = (
    *(Way("fast", tls=True), Way("fast", tls=True, proxy=True), Way("fast", tls=True, step=1)),
    *(Way("general", tls=True), Way("general", tls=True, proxy=True)),
    Way("general", tls=True, step=1),
)
#: For faults that are no matter of bytes.
WHOLE = tuple(way for way in WAYS if way.step is None)


def records_of(data: bytes) -> list[bytes]:
    """The TLS records in some bytes; the last one may be a part of one."""
    records = []
    while data:
        size = 5 + int.from_bytes(data[3:5], "big")
        records.append(data[:size])
        data = data[size:]
    return records


class Link:
    """The server's end of a connection that is to fail.

    Attributes:
        raw: what came from the client, the ClientHello first.
        plain: what of it could be deciphered.
        sent: how many records of its own it has sent.
        over: set when it has done what it was to do, and the client has closed.
    """

    def __init__(self, peer: Peer, step: int | None) -> None:
        self.peer = peer
        self.raw = self.plain = b""
        self.sent = 0
        self.over = threading.Event()
        self._step = step
        self._object: Any = None
        self._context: Any = None
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()

    def send(self, data: bytes) -> None:
        """Bytes as they are, piece by piece."""
        size = self._step or max(len(data), 1)
        if len(data) > 10_000:
            size = max(size, 997)
        for start in range(0, len(data), size):
            self.peer.send(data[start : start + size])

    def receive(self) -> bytes:
        """Bytes as they come.

        Raises:
            OSError: there are no more.
        """
        data = self.peer.sock.recv(65536)
        if not data:
            raise ConnectionError("the client has closed")
        self.raw += data
        return data

    def hello(self) -> None:
        """Wait for the whole ClientHello."""
        while len(self.raw) < 5 or len(self.raw) < 5 + int.from_bytes(self.raw[3:5], "big"):
            self.receive()

    def shake(
        self, context: ssl.SSLContext, *, send: Callable[[bytes], None] | None = None
    ) -> bool:
        """Shake hands; whether the client did, too.

        Args:
            context: of this server.
            send: is given each record, in place of `send`.
        """
        self._context = context
        self._object = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._incoming.write(self.raw)
        send = send or self.send
        while True:
            done = failed = False
            try:
                self._object.do_handshake()
                done = True
            except ssl.SSLWantReadError:
                pass
            except ssl.SSLError:
                failed = True
            for record in records_of(self._outgoing.read()):
                send(record)
                self.sent += 1
            if done or failed:
                return done
            self._incoming.write(self.receive())

    def read(self, mark: bytes = b"\r\n\r\n") -> None:
        """Decipher up to a mark."""
        while mark not in self.plain:
            try:
                self.plain += self._object.read(65536)
            except ssl.SSLWantReadError:
                self._incoming.write(self.receive())

    def say(self, data: bytes) -> None:
        """Cipher and send."""
        self._object.write(data)
        self.send(self._outgoing.read())

    def goodbye(self) -> None:
        """TLS's own end, close_notify; the socket stays open."""
        with contextlib.suppress(ssl.SSLWantReadError):
            self._object.unwrap()
        self.send(self._outgoing.read())

    def call(self, name: str, *args: int) -> None:
        """A function of OpenSSL that Python's ssl does not have; what it says is sent."""
        assert getattr(LIBRARY, name)(c_void_p(self._pointer()), *args) == 1
        with contextlib.suppress(ssl.SSLWantReadError):
            self._object.do_handshake()
        self.send(self._outgoing.read())

    def _pointer(self) -> int:
        """OpenSSL's own SSL, the second field of the object that holds it, before its context."""
        place = id(self._object._sslobj) + object.__basicsize__
        fields = (c_void_p * 3).from_address(place)
        assert fields[2] == id(self._context), "Python keeps it elsewhere by now"
        return fields[1]

    def fin(self) -> None:
        """End the stream; the client hears of nothing worse."""
        self.peer.sock.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        self.peer.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.peer.sock.close()

    def for_ever(self, data: bytes, every: float = 0.0) -> None:
        """The same bytes again and again, until the client has closed."""
        poller = select.poll()
        poller.register(self.peer.sock, select.POLLRDHUP | select.POLLHUP | select.POLLERR)
        while not poller.poll(every * 1000):
            self.send(data)

    def drain(self) -> None:
        """Read until the client has closed: what is lost in a socket's buffer becomes a reset."""
        with contextlib.suppress(OSError):
            while True:
                self.receive()


Script = Callable[[Link], None]


def shows(context: ssl.SSLContext) -> Script:
    """Shake hands by this context, and then answer whatever is asked: nothing should be."""

    def script(link: Link) -> None:
        if link.shake(context):
            link.read()
            link.say(answer(b"STOLEN"))

    return script


@dataclass(frozen=True)
class Fault:
    """A handshake that fails, or whatever comes in place of one.

    Attributes:
        name: in the words of the table in docs/reliability.md.
        script: what the server does; made of the papers, for each test anew.
        outcome: in both lanes.
        general: in the general lane, if Requests has another.
        host: by what name the server is asked.
        scheme: how it is asked.
        good: makes the context of the server once it is good; None if it is to speak plainly.
        keywords: more of the request, made of the papers.
        reaches: whether the client is right to send its request: its own handshake has succeeded.
        connect: seconds that a handshake may take.
        total: seconds that the request may take.
        check: compares an outcome with the one that was expected.
        ways: how the server is reached.
    """

    name: str
    script: Callable[[Papers], Script]
    outcome: Outcome
    general: Outcome | None = None
    host: str = "127.0.0.1"
    scheme: str = "https"
    good: Callable[[Papers], ssl.SSLContext | None] = Papers.context
    keywords: Callable[[Papers], dict[str, Any]] = field(default=lambda papers: {})
    reaches: bool = False
    connect: float = TOTAL
    total: float = TOTAL
    check: Callable[[Result, Outcome], None] = staticmethod(check)
    ways: Sequence[Way] = WAYS

    def __str__(self) -> str:
        return self.name.replace(" ", "-")

    def expected(self, way: Way) -> Outcome:
        return self.outcome if way.lane == "fast" or self.general is None else self.general


class HostileServer(RawServer):
    """Follows a script on each connection that comes while it is bad.

    Attributes:
        bad: whether it is.
        links: the connections that came while it was.
    """

    def __init__(self, script: Script, good: ssl.SSLContext | None, way: Way) -> None:
        super().__init__(self._serve)
        self.bad = True
        self.links: list[Link] = []
        self.script = script
        self._good = good
        self._way = way

    def _serve(self, peer: Peer) -> None:
        if self._way.proxy:
            assert peer.request() is not None
            peer.send(b"HTTP/1.1 200 Connection established\r\n\r\n")
        if self.bad:
            self._fail(Link(peer, self._way.step))
            return
        if self._good is not None:
            peer.start_tls(self._good)
        peer.serve()

    def _fail(self, link: Link) -> None:
        self.links.append(link)
        try:
            with contextlib.suppress(OSError):
                self.script(link)
            link.drain()
        finally:
            link.over.set()


class Handshake:
    """A fault under way: a client and the server that it meets with.

    Args:
        fault: what the server does.
        way: how the client gets there; `tls` of it does not count.
        papers: of both.
    """

    def __init__(self, fault: Fault, way: Way, papers: Papers, server: HostileServer) -> None:
        self.fault = fault
        self.way = way
        self.server = server
        port = 9 if way.proxy else server.port  # the proxy alone can be reached
        self.root = f"{fault.scheme}://{fault.host}:{port}"
        self.keywords = {"verify": papers.ca_file, **fault.keywords(papers)}
        if way.proxy:
            self.keywords["proxies"] = {"https": f"http://127.0.0.1:{server.port}"}
        self.session = Odd() if way.lane == "general" else None
        limits = Timeout(connect=fault.connect, read=TOTAL, total=fault.total)
        self.client = Client(retry=None, circuit=None, timeout=limits)

    def ask(self, path: str, **more: Any) -> Result:
        """The one outcome of a request."""
        keywords = {"session": self.session, **self.keywords, **more}
        request = grequests.get(self.root + path, **keywords)
        with gevent.Timeout(self.fault.total + LATE, AssertionError(f"{path} hangs")):
            [result] = self.client.run([request])
        return result

    def once(self) -> None:
        """The five questions."""
        server, fault = self.server, self.fault
        self.disconnect()
        server.bad = True
        server.links.clear()
        began = time.monotonic()
        result = self.ask("/fault")
        took = time.monotonic() - began
        fault.check(result, fault.expected(self.way))
        assert took < fault.total + LATE
        [link] = server.links
        assert link.over.wait(WAITS), "the client keeps a connection that has failed"
        if fault.scheme == "https":
            self._check_untold(link)
        server.bad = False
        assert_answered(self.ask("/next"), "/next")
        counts = self.client.statistics()
        assert (counts.in_flight, counts.queued) == (0, 0)

    def _check_untold(self, link: Link) -> None:
        """Nothing of the request was to be seen, plain or ciphered."""
        assert b"/fault" not in link.raw
        if not self.fault.reaches:
            sizes = [len(each) for each in records_of(link.raw) if each[0] == APPLICATION]
            assert not [size for size in sizes if size > _FINISHED], sizes
            assert link.plain == b""

    def again_and_again(self) -> None:
        """Ask, and ask again whether memory grows, or anything stays behind."""
        self.again()
        assert_steady(self.again)

    def again(self) -> None:
        """Once more, on connections of its own."""
        self.once()
        self.disconnect()

    def disconnect(self) -> None:
        """Close what is idle; nothing else is open, then."""
        if self.session is not None:
            self.session.close()
        grequests.close()
        settle()  # (Requests' connections go with its responses, which refer to themselves.)
        eventually(lambda: self.server.open == 0, "the connections to be closed")

    def close(self) -> None:
        self.client.close()
        self.disconnect()


def assert_answered(result: Result, text: str) -> None:
    assert result.error is None, repr(result.error)
    assert (result.response.status_code, result.response.text) == (200, text)


@contextlib.contextmanager
def handshake(fault: Fault, way: Way, papers: Papers) -> Iterator[Handshake]:
    """A server with this fault, and who meets with it."""
    with HostileServer(fault.script(papers), fault.good(papers), way) as server:
        one = Handshake(fault, way, papers, server)
        try:
            yield one
        finally:
            one.close()
