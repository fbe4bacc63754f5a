"""The sending half: bodies at the pace of the socket, servers that answer, stop or go meanwhile."""

from __future__ import annotations

import gc
import select
import socket
import ssl
import struct
import threading
import time
import tracemalloc
from collections.abc import Callable
from http.client import HTTPException, IncompleteRead, RemoteDisconnected
from typing import Any

import gevent
import pytest
import trustme
from gevent.event import Event

from grequests._engine import Body, Phase, TLSIdentity, Upload, identity
from grequests._engine import _pool as pool_module
from grequests._engine import _upload as upload_module
from grequests._engine._deadlines import NEVER
from grequests._engine._protocol import MAX_INTERIM

from .raw import PATIENCE, Asked, Peer, RawServer, answer, ask, eventually, origin_of

pytestmark = [pytest.mark.timeout(60), pytest.mark.usefixtures("no_leaks")]

KIB = 1024
MIB = 1024 * KIB
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
REFUSAL = answer(b"too large", "413 No")


class Written(Body):
    """A body that a function writes in a greenlet.

    Attributes:
        written: how many bytes were taken.
        begun, cancelled: how often.
    """

    def __init__(self, write: Callable[[Written], None], *, expects: bool = False) -> None:
        super().__init__(None, expects=expects)
        self.written = self.begun = self.cancelled = 0
        self.upload: Upload
        self.greenlet: Any = None
        self._write = write

    def begin(self, upload: Upload) -> None:
        self.begun += 1
        self.upload = upload
        self.greenlet = gevent.spawn(self._run)

    def cancel(self) -> None:
        self.cancelled += 1
        if self.greenlet is not gevent.getcurrent():
            self.greenlet.kill(block=False)

    def _run(self) -> None:
        try:
            self._write(self)
            self.upload.finish()
        except Exception as error:
            self.upload.fail(error)

    def write(self, data: bytes) -> bool:
        wanted = self.upload.write(data)
        self.written += len(data)
        return wanted


def endless(body: Written) -> None:
    while body.write(bytes(64 * KIB)):
        pass


def pieces(count: int, size: int = 64 * KIB) -> Callable[[Written], None]:
    def write(body: Written) -> None:
        for number in range(count):
            body.write(bytes([number % 256]) * size)

    return write


class Sent(Asked):
    """A request whose body follows its head."""

    def __init__(self, origin: Any, payload: Body, length: int, **kwargs: Any) -> None:
        super().__init__(origin, "/up", **{"method": "PUT", "replayable": False, **kwargs})
        head = f"{self.method} /up HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n"
        self.wire = head.encode()
        self.payload = payload


def read(peer: Peer, count: int) -> bytes:
    """So many bytes of a body, or all there are."""
    data = bytearray(peer._buffer)
    peer._buffer = b""
    while len(data) < count:
        piece = peer.sock.recv(65536)
        if not piece:
            break
        data += piece
    peer._buffer = bytes(data[count:])
    return bytes(data[:count])


def reset(peer: Peer) -> None:
    peer.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    peer.sock.close()


@pytest.fixture(params=["http", "https"])
def secure(
    request: pytest.FixtureRequest, authority: trustme.CA, ca_file: str
) -> tuple[ssl.SSLContext | None, TLSIdentity | None]:
    """What the server and what the client needs."""
    if request.param == "http":
        return None, None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    return context, identity(ca_file, None, "")


Secure = tuple[ssl.SSLContext | None, TLSIdentity | None]


# What goes over the wire


def test_pieces_arrive_in_order_and_the_connection_stays(secure: Secure) -> None:
    seen = []

    def script(peer: Peer) -> None:
        peer.until(b"\r\n\r\n")
        seen.append(read(peer, 100 * 1000))
        peer.send(answer())
        peer.serve()

    with RawServer(script, tls=secure[0]) as server:
        origin = origin_of(server, tls=secure[1])
        body = Written(pieces(100, 1000))
        assert Sent(origin, body, 100_000).send().wait() == (200, b"ok")
        assert seen == [b"".join(bytes([n]) * 1000 for n in range(100))]
        assert (body.begun, body.cancelled) == (1, 0)
        assert ask(origin, "/next") == (200, b"/next")
        assert server.opened == 1


@pytest.mark.parametrize("size", [0, 1, 16 * KIB, 5 * MIB])
def test_bytes_are_sent_from_where_they_are(secure: Secure, size: int) -> None:
    data = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    seen = []

    def script(peer: Peer) -> None:
        peer.until(b"\r\n\r\n")
        seen.append(read(peer, size))
        peer.send(answer())
        peer.serve()

    with RawServer(script, tls=secure[0]) as server:
        origin = origin_of(server, tls=secure[1])
        assert Sent(origin, Body(data), size).send().wait() == (200, b"ok")
        assert seen == [data]
        assert ask(origin, "/next") == (200, b"/next")
        assert server.opened == 1


def test_a_hundred_megabytes_take_no_memory(secure: Secure) -> None:
    size = 100 * MIB
    data = bytes(size)

    def script(peer: Peer) -> None:
        peer.until(b"\r\n\r\n")
        left = size - len(peer._buffer)
        place = bytearray(MIB)
        while left:
            left -= peer.sock.recv_into(place)
        peer.send(answer())
        peer.wait_end()

    with RawServer(script, tls=secure[0]) as server:
        origin = origin_of(server, tls=secure[1])
        gc.collect()
        tracemalloc.start()
        try:
            assert Sent(origin, Body(data), size).send().wait() == (200, b"ok")
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert peak < 3 * MIB


def test_a_body_of_another_length_than_said_ends_the_connection() -> None:
    def script(peer: Peer) -> None:
        peer.request()
        peer.send(answer(b"%d" % peer.number))
        peer.serve()

    with RawServer(script) as server:
        origin = origin_of(server)

        def write(body: Written) -> None:
            body.write(b"four")
            body.upload.finish(reusable=False)

        assert Sent(origin, Written(write), 4).send().wait() == (200, b"1")
        assert ask(origin) == (200, b"2")


# Flow


def test_a_server_that_stops_reading_makes_the_writer_stop(secure: Secure) -> None:
    go, total = threading.Event(), 40 * MIB
    seen = []

    def script(peer: Peer) -> None:
        peer.until(b"\r\n\r\n")
        assert go.wait(PATIENCE)
        seen.append(len(read(peer, total)))
        peer.send(answer())
        peer.wait_end()

    with RawServer(script, tls=secure[0]) as server:
        body = Written(pieces(total // (64 * KIB)))
        sent = Sent(origin_of(server, tls=secure[1]), body, total).send()
        marks = [-1]

        def has_stopped() -> bool:
            marks.append(body.written)
            return body.begun == 1 and body.upload._blocked and marks[-1] == marks[-20:][0] > 0

        eventually(has_stopped, "the writer to stop")
        assert body.written < total / 2
        go.set()
        assert sent.wait() == (200, b"ok")
        assert seen == [total]
        assert body.written == total


def test_a_writer_that_waits_for_something_else_keeps_nothing_else_waiting() -> None:
    more = Event()

    def write(body: Written) -> None:
        body.write(b"one")
        assert more.wait(PATIENCE)
        body.write(b"two")

    with RawServer(Peer.serve) as server:
        origin = origin_of(server)
        sent = Sent(origin, Written(write), 6).send()
        eventually(lambda: sent.connection is not None)
        for number in range(20):
            assert ask(origin, f"/{number}") == (200, b"/%d" % number)
        assert not sent.outcomes
        assert sent.connection is not None
        assert sent.connection.deadline == NEVER, "no clock runs, as in Requests"
        more.set()
        assert sent.wait() == (200, b"/up")


def test_a_fast_upload_leaves_turns_to_others() -> None:
    order = []

    def script(peer: Peer) -> None:
        peer.until(b"\r\n\r\n")
        place, left = bytearray(MIB), 200 * MIB - len(peer._buffer)
        while left:
            left -= peer.sock.recv_into(place)
        peer.send(answer())
        peer.wait_end()

    with RawServer(script) as fast, RawServer(Peer.serve) as server:
        sent = Sent(origin_of(fast), Body(bytes(200 * MIB)), 200 * MIB).send()
        for _ in range(20):
            ask(origin_of(server))
            order.append(bool(sent.outcomes))
        assert sent.wait() == (200, b"ok")
    assert order == [False] * 20


def test_a_server_that_never_reads_runs_into_the_timeout(secure: Secure) -> None:
    over = threading.Event()

    def script(peer: Peer) -> None:
        peer.until(b"\r\n\r\n")
        over.wait(PATIENCE)

    with RawServer(script, tls=secure[0]) as server:
        origin = origin_of(server, tls=secure[1])
        ask_for = {"connect_timeout": 0.3, "read_timeout": None}
        for body in (Body(bytes(40 * MIB)), Written(endless)):
            failure = Sent(origin, body, 40 * MIB, **ask_for).send().failure
            assert failure.phase is Phase.SEND_TIMEOUT
            said = "The write operation timed out" if secure[1] else "timed out"
            assert (type(failure.cause), str(failure.cause)) == (TimeoutError, said)
        assert body.cancelled == 1
        over.set()


def test_the_read_timeout_begins_when_all_is_sent() -> None:
    def script(peer: Peer) -> None:
        peer.request()
        peer.wait_end()

    with RawServer(script) as server:
        body = Written(pieces(3, 10))
        failure = Sent(origin_of(server), body, 30, read_timeout=0.05).send().failure
        assert failure.phase is Phase.HEAD_TIMEOUT
        assert body.written == 30


# 100 Continue


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bodies are held back for as long as it takes."""
    monkeypatch.setattr(upload_module, "CONTINUE_SECONDS", PATIENCE * 10)


def body_of(kind: str) -> Body:
    return Body(b"body", expects=True) if kind == "bytes" else written()


def written() -> Written:
    return Written(lambda body: body.write(b"body") and None, expects=True)


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize("kind", ["bytes", "written"])
@pytest.mark.parametrize(
    "said",
    [
        [CONTINUE],
        [b"HTTP/1.1 100\r\n\r\n"],
        [b"HTTP/1.1 100 Continue\r\nA: b\r\n\r\n"],
        [CONTINUE[:9], CONTINUE[9:20], CONTINUE[20:]],
        [b"HTTP/1.1 102 Processing\r\n\r\n", CONTINUE],
        [b"HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n" + CONTINUE],
        [CONTINUE + CONTINUE],
        [CONTINUE, CONTINUE],
    ],
)
def test_a_body_that_waits_for_a_word(secure: Secure, kind: str, said: list[bytes]) -> None:
    seen: list[Any] = []
    held = threading.Event()

    def script(peer: Peer) -> None:
        peer.until(b"\r\n\r\n")
        assert held.wait(PATIENCE)
        seen.append((peer._buffer, select.select([peer.sock], [], [], 0)[0]))
        for each in said:
            peer.send(each)
        seen.append(read(peer, 4))
        peer.send(answer())
        peer.serve()

    with RawServer(script, tls=secure[0]) as server:
        origin = origin_of(server, tls=secure[1])
        sent = Sent(origin, body_of(kind), 4).send()
        eventually(lambda: sent.connection and sent.connection._upload)
        held.set()
        assert sent.wait() == (200, b"ok")
        assert seen == [(b"", []), b"body"]
        assert ask(origin, "/next") == (200, b"/next")
        assert server.opened == 1


@pytest.mark.parametrize("kind", ["bytes", "written"])
def test_the_word_does_not_come(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    monkeypatch.setattr(upload_module, "CONTINUE_SECONDS", 0.05)
    with RawServer(Peer.serve) as server:
        sent = Sent(origin_of(server), body_of(kind), 4, read_timeout=PATIENCE)
        assert sent.send().wait() == (200, b"/up")


def test_the_word_comes_late(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upload_module, "CONTINUE_SECONDS", 0.05)

    def script(peer: Peer) -> None:
        peer.request()
        peer.send(CONTINUE + answer())
        peer.serve()

    with RawServer(script) as server:
        origin = origin_of(server)
        assert Sent(origin, written(), 4).send().wait() == (200, b"ok")
        assert ask(origin, "/next") == (200, b"/next")
        assert server.opened == 1


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize("status", ["200 OK", "302 Found", "401 No", "413 No", "417 No"])
def test_a_final_answer_instead_of_the_word(secure: Secure, status: str) -> None:
    seen = []

    def script(peer: Peer) -> None:
        peer.until(b"\r\n\r\n")
        peer.send(answer(b"final", status))
        seen.append(peer.sock.recv(100))

    with RawServer(script, tls=secure[0]) as server:
        origin = origin_of(server, tls=secure[1])
        body = written()
        assert Sent(origin, body, 4).send().wait() == (int(status[:3]), b"final")
        eventually(lambda: seen)
        assert seen == [b""], "not a byte of the body"
        assert (body.begun, body.cancelled) == (0, 0)
        assert origin.engine.statistics().open == 0


@pytest.mark.usefixtures("patient")
def test_a_final_answer_in_pieces_instead_of_the_word() -> None:
    go = threading.Event()

    def script(peer: Peer) -> None:
        peer.until(b"\r\n\r\n")
        peer.send(REFUSAL[:-4])
        assert go.wait(PATIENCE)
        peer.send(CONTINUE[:0] + REFUSAL[-4:])
        assert peer.sock.recv(100) == b""

    with RawServer(script) as server:
        body = written()
        sent = Sent(origin_of(server), body, 4).send()
        eventually(lambda: sent.connection and sent.connection.reader.head)
        assert sent.connection is not None
        assert sent.connection._upload is None
        go.set()
        assert sent.wait() == (413, b"too large")
        assert body.begun == 0


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize("begun", [False, True])
def test_interim_responses_without_end(begun: bool) -> None:
    def script(peer: Peer) -> None:
        peer.until(b"\r\n\r\n")
        peer.send((CONTINUE if begun else b"HTTP/1.1 102 Wait\r\n\r\n") * (MAX_INTERIM + 1))
        peer.wait_end()

    with RawServer(script) as server:
        body = Written(endless, expects=True)
        failure = Sent(origin_of(server), body, 100 * MIB).send().failure
        assert isinstance(failure.cause, HTTPException)
        assert body.begun == body.cancelled


@pytest.mark.usefixtures("patient")
def test_the_word_behind_the_answer_is_heard_by_nobody() -> None:
    def script(peer: Peer) -> None:
        peer.until(b"\r\n\r\n")
        if peer.number == 1:
            peer.send(CONTINUE)
            read(peer, 4)
            peer.send(answer(b"1") + CONTINUE)
            peer.wait_end()
        peer.send(answer(b"2"))

    with RawServer(script) as server:
        origin = origin_of(server)
        assert Sent(origin, written(), 4).send().wait() == (200, b"1")
        assert ask(origin) == (200, b"2")


@pytest.mark.usefixtures("patient")
def test_a_server_that_goes_instead_of_the_word() -> None:
    with RawServer(lambda peer: peer.until(b"\r\n\r\n") and None) as server:
        failure = Sent(origin_of(server), written(), 4).send().failure
        assert (failure.phase, type(failure.cause)) == (Phase.HEAD, RemoteDisconnected)


# Early answers


@pytest.mark.parametrize("kind", ["bytes", "written"])
@pytest.mark.parametrize("then", ["close", "reset", "hold"])
def test_a_refusal_ends_the_sending(secure: Secure, kind: str, then: str) -> None:
    over, heard = threading.Event(), threading.Event()

    def script(peer: Peer) -> None:
        peer.until(b"\r\n\r\n")
        peer.send(REFUSAL)
        if then == "hold":
            over.wait(PATIENCE)
        elif then == "reset":
            heard.wait(PATIENCE)  # a reset may overtake an answer, whoever the client is
            reset(peer)

    with RawServer(script, tls=secure[0]) as server:
        origin = origin_of(server, tls=secure[1])
        body = Body(bytes(40 * MIB)) if kind == "bytes" else Written(endless)
        sent = Sent(origin, body, 40 * MIB).send()
        assert sent.wait() == (413, b"too large")
        heard.set()
        assert origin.engine.statistics().open == 0
        if isinstance(body, Written):
            assert body.cancelled == 1
            eventually(lambda: body.greenlet.dead)
        over.set()


def test_a_refusal_reaches_a_writer_that_waits_for_something_else() -> None:
    with RawServer(lambda peer: peer.until(b"\r\n\r\n") and peer.send(REFUSAL)) as server:
        body = Written(lambda _: Event().wait())
        assert Sent(origin_of(server), body, 4).send().wait() == (413, b"too large")
        eventually(lambda: body.greenlet.dead)


def test_any_other_early_answer_waits_for_the_end_of_the_request(secure: Secure) -> None:
    total, answered, seen = 20 * MIB, threading.Event(), []

    def script(peer: Peer) -> None:
        peer.until(b"\r\n\r\n")
        peer.send(answer(b"early"))
        assert answered.wait(PATIENCE)
        seen.append(len(read(peer, total)))
        peer.serve()

    with RawServer(script, tls=secure[0]) as server:
        origin = origin_of(server, tls=secure[1])
        sent = Sent(origin, Written(pieces(total // (64 * KIB))), total).send()
        eventually(lambda: sent.connection and sent.connection._upload.answered)
        assert not sent.outcomes
        answered.set()
        assert sent.wait() == (200, b"early")
        eventually(lambda: seen)
        assert seen == [total]
        assert ask(origin, "/next") == (200, b"/next")
        assert server.opened == 1


def test_an_early_answer_and_a_server_that_goes() -> None:
    def script(peer: Peer) -> None:
        peer.until(b"\r\n\r\n")
        peer.send(answer(b"early"))
        answered.wait(PATIENCE)

    answered = threading.Event()
    with RawServer(script) as server:
        origin = origin_of(server)
        body = Written(endless)
        sent = Sent(origin, body, 100 * MIB).send()
        eventually(lambda: sent.connection and sent.connection._upload.answered)
        answered.set()
        assert sent.wait() == (200, b"early")
        assert origin.engine.statistics().open == 0
        assert body.cancelled == 1


def test_an_early_answer_and_a_server_that_stops_reading() -> None:
    """Requests fails here: it sends for as long as it may, and never looks at the answer."""
    over = threading.Event()

    def script(peer: Peer) -> None:
        peer.until(b"\r\n\r\n")
        peer.send(answer(b"early"))
        over.wait(PATIENCE)

    with RawServer(script) as server:
        body = Written(endless)
        sent = Sent(origin_of(server), body, 100 * MIB, connect_timeout=0.2)
        assert sent.send().wait() == (200, b"early")
        over.set()


def test_what_follows_an_early_answer_ends_the_connection() -> None:
    def script(peer: Peer) -> None:
        peer.until(b"\r\n\r\n")
        if peer.number == 2:
            peer.send(answer(b"2"))
            return
        peer.send(answer(b"1"))
        assert go.wait(PATIENCE)
        peer.send(b"HTTP/1.1 200 Smuggled\r\nContent-Length: 0\r\n\r\n")
        smuggled.set()
        peer.wait_end()

    go, smuggled = threading.Event(), threading.Event()

    def write(body: Written) -> None:
        body.write(b"a")
        eventually(lambda: body.upload.answered)
        go.set()
        eventually(smuggled.is_set)
        body.write(b"b")

    with RawServer(script) as server:
        origin = origin_of(server)
        assert Sent(origin, Written(write), 2).send().wait() == (200, b"1")
        assert ask(origin) == (200, b"2")


def test_a_server_that_speaks_before_it_is_asked() -> None:
    def script(peer: Peer) -> None:
        peer.send(answer(b"overloaded", "503 No"))
        peer.wait_end()

    with RawServer(script) as server:
        body = Written(endless)
        assert Sent(origin_of(server), body, 100 * MIB).send().wait() == (503, b"overloaded")
        assert body.begun == body.cancelled


# Servers that go


@pytest.mark.parametrize("kind", ["bytes", "written"])
@pytest.mark.parametrize("how", ["close", "reset"])
def test_a_server_that_goes_in_the_middle(secure: Secure, kind: str, how: str) -> None:
    def script(peer: Peer) -> None:
        peer.until(b"\r\n\r\n")
        read(peer, MIB)
        if how == "reset":
            reset(peer)

    with RawServer(script, tls=secure[0]) as server:
        body = Body(bytes(40 * MIB)) if kind == "bytes" else Written(endless)
        failure = Sent(origin_of(server, tls=secure[1]), body, 40 * MIB).send().failure
        assert (failure.phase, type(failure.cause)) == (Phase.HEAD, RemoteDisconnected)


@pytest.mark.parametrize("how", ["close", "reset"])
def test_a_server_that_goes_in_the_middle_of_its_answer(how: str) -> None:
    def script(peer: Peer) -> None:
        peer.until(b"\r\n\r\n")
        peer.send(answer(b"four")[:-2])
        read(peer, MIB)
        if how == "reset":
            reset(peer)

    with RawServer(script) as server:
        body = Written(endless)
        failure = Sent(origin_of(server), body, 40 * MIB).send().failure
        assert (failure.phase, type(failure.cause)) == (Phase.BODY, IncompleteRead)
        assert body.cancelled == 1


def test_a_server_that_has_heard_enough_and_says_no_more() -> None:
    """It shuts down its half: Requests sends on, and then finds no answer."""

    def script(peer: Peer) -> None:
        peer.until(b"\r\n\r\n")
        peer.sock.shutdown(socket.SHUT_WR)
        peer.wait_end()

    with RawServer(script) as server:
        failure = Sent(origin_of(server), Written(endless), 40 * MIB).send().failure
        assert (failure.phase, type(failure.cause)) == (Phase.HEAD, RemoteDisconnected)


@pytest.mark.parametrize("kind", ["bytes", "written"])
def test_only_bytes_are_sent_again_when_an_idle_connection_was_dead(kind: str) -> None:
    def script(peer: Peer) -> None:
        peer.until(b"\r\n\r\n")
        if peer.number == 1:
            peer.send(answer(b"first"))
            peer.until(b"\r\n\r\n")
            return
        read(peer, 4)
        peer.send(answer(b"second"))

    with RawServer(script) as server:
        origin = origin_of(server)
        assert ask(origin) == (200, b"first")
        if kind == "bytes":
            again = Sent(origin, Body(b"body"), 4, replayable=True).send()
            assert again.wait() == (200, b"second")
        else:
            body = Written(lambda body: body.write(b"body") and None)
            assert Sent(origin, body, 4).send().failure.phase is Phase.HEAD
            assert (server.opened, body.begun) == (1, 1)


def test_what_may_not_be_sent_twice_gets_a_connection_that_was_used_just_now(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with RawServer(Peer.serve) as server:
        origin = origin_of(server)
        for _ in range(5):
            ask(origin, method="POST", body=b"x")
        assert server.opened == 1
        monkeypatch.setattr(pool_module, "monotonic", lambda: time.monotonic() + 1.5)
        ask(origin)
        assert server.opened == 1, "anything else may be sent twice"
        monkeypatch.setattr(pool_module, "monotonic", lambda: time.monotonic() + 3)
        ask(origin, method="POST", body=b"x")
        assert server.opened == 2
        assert origin.engine.statistics().idle == 2, "the old one is still good for others"


# Writers that go


def test_what_a_writer_raises_is_the_failure(secure: Secure) -> None:
    error = ZeroDivisionError("mine")
    seen = []

    def write(body: Written) -> None:
        body.write(b"some")
        raise error

    def script(peer: Peer) -> None:
        peer.until(b"\r\n\r\n")
        seen.append(read(peer, 100))

    with RawServer(script, tls=secure[0]) as server:
        origin = origin_of(server, tls=secure[1])
        body = Written(write)
        failure = Sent(origin, body, 100).send().failure
        assert failure.phase is Phase.SEND
        assert failure.cause is error
        assert body.cancelled == 0
        eventually(lambda: seen)
        assert seen == [b"some"]
        assert origin.engine.statistics().open == 0


@pytest.mark.parametrize("where", ["thinking", "blocked", "held", "bytes"])
def test_an_abort_ends_the_writer(secure: Secure, where: str) -> None:
    over = threading.Event()

    def script(peer: Peer) -> None:
        peer.until(b"\r\n\r\n")
        over.wait(PATIENCE)

    bodies: dict[str, Body] = {
        "thinking": Written(lambda _: Event().wait()),
        "blocked": Written(endless),
        "held": written(),
        "bytes": Body(bytes(40 * MIB)),
    }
    with RawServer(script, tls=secure[0]) as server:
        origin = origin_of(server, tls=secure[1])
        body = bodies[where]
        sent = Sent(origin, body, 40 * MIB, connect_timeout=None, read_timeout=None).send()
        eventually(lambda: sent.connection is not None and sent.connection._upload)
        gevent.sleep(0.01)
        sent.abort()
        over.set()
        assert origin.engine.statistics().open == 0
        if isinstance(body, Written):
            assert body.begun == body.cancelled == (where != "held")
            eventually(lambda: body.greenlet is None or body.greenlet.dead)
            assert where == "held" or body.upload.write(b"more") is False
        assert sent.outcomes == []


# TLS


def test_tls_says_something_of_its_own_while_we_are_sending(
    authority: trustme.CA, ca_file: str
) -> None:
    """The server asks for a certificate late; the answer goes out between two pieces."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    context.post_handshake_auth = True
    context.verify_mode = ssl.CERT_OPTIONAL
    total = 4 * MIB
    seen, asked = [], threading.Event()

    def script(peer: Peer) -> None:
        peer.until(b"\r\n\r\n")
        peer.sock.verify_client_post_handshake()  # type: ignore[attr-defined]
        peer.send(CONTINUE)
        asked.set()
        seen.append(len(read(peer, total)))
        peer.send(answer())
        peer.serve()

    def write(body: Written) -> None:
        body.write(bytes(MIB))
        eventually(asked.is_set)
        eventually(lambda: sent.connection.reader.continued)
        for _ in range(3):
            body.write(bytes(MIB))

    with RawServer(script, tls=context) as server:
        origin = origin_of(server, tls=identity(ca_file, None, ""))
        sent = Sent(origin, Written(write), total).send()
        assert sent.wait() == (200, b"ok")
        assert seen == [total]
        assert ask(origin, "/next") == (200, b"/next")
