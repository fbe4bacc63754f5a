"""Responses that are larger than their exchange allows: refused early, and never kept meanwhile."""

from __future__ import annotations

import gzip
import ssl
import threading
import tracemalloc
from collections.abc import Callable
from http.client import IncompleteRead
from typing import Any

import pytest
import trustme

from grequests._body_limit import raw_limit
from grequests._engine import (
    Body,
    BodyStream,
    Failure,
    Origin,
    Phase,
    ResponseReader,
    TLSIdentity,
    identity,
)
from grequests._exceptions import BodyTooLargeError, HeadersTooLargeError

from .raw import Asked, Peer, RawServer, answer, ask, eventually, origin_of

pytestmark = [pytest.mark.timeout(60), pytest.mark.usefixtures("no_leaks")]

LIMIT = 200_000
MIB = 1024 * 1024
HEAD = b"HTTP/1.1 200 OK\r\n"
#: More than one read takes.
LARGE = 150_000

Secure = tuple["ssl.SSLContext | None", "TLSIdentity | None"]


@pytest.fixture(params=["http", "https"])
def secure(request: pytest.FixtureRequest, authority: trustme.CA, ca_file: str) -> Secure:
    """What the server and what the client needs."""
    if request.param == "http":
        return None, None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    return context, identity(ca_file, None, "")


class Limited(Asked):
    """An exchange with limits."""

    def __init__(
        self,
        origin: Origin,
        target: str = "/",
        *,
        max_body: int | None = None,
        max_head: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(origin, target, **kwargs)
        self.max_body = max_body
        self.max_head = max_head


def within(origin: Origin, max_body: int | None = LIMIT, **kwargs: Any) -> Any:
    """The outcome of one exchange with limits."""
    return Limited(origin, max_body=max_body, **kwargs).send().wait()


def is_refused(outcome: Any, limit: int = LIMIT) -> bool:
    assert isinstance(outcome, Failure), outcome
    assert outcome.phase is Phase.BODY
    assert outcome.sent
    assert type(outcome.cause) is BodyTooLargeError
    return outcome.cause.limit == limit


def chunks(body: bytes, size: int = 1000) -> bytes:
    pieces = [body[start : start + size] for start in range(0, len(body), size)]
    return b"".join(b"%x\r\n%b\r\n" % (len(each), each) for each in pieces)


def chunked(body: bytes, size: int = 1000) -> bytes:
    return HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + chunks(body, size) + b"0\r\n\r\n"


def until_the_end(peer: Peer, said: bytes, more: bytes) -> None:
    """Say something, and more of the same until the client goes."""
    peer.request()
    peer.send(said)
    while True:
        peer.send(more)


# Bodies


@pytest.mark.parametrize("shape", [answer, chunked])
def test_a_body_of_just_the_limit_is_read(shape: Callable[[bytes], bytes], secure: Secure) -> None:
    def script(peer: Peer) -> None:
        while peer.request():
            peer.send(shape(b"x" * LIMIT))

    with RawServer(script, tls=secure[0]) as server:
        origin = origin_of(server, tls=secure[1])
        for _ in range(3):
            assert within(origin) == (200, b"x" * LIMIT)
        assert server.opened == 1


def test_a_length_that_promises_too_much_is_not_waited_for(secure: Secure) -> None:
    left = threading.Event()

    def script(peer: Peer) -> None:
        peer.request()
        peer.send(HEAD + b"Content-Length: %d\r\n\r\nx" % (LIMIT + 1))
        peer.wait_end()
        left.set()

    with RawServer(script, tls=secure[0]) as server:
        origin = origin_of(server, tls=secure[1])
        assert is_refused(within(origin))
        assert origin.engine.statistics().open == 0
        eventually(left.is_set, "the connection to be closed")


def test_a_length_is_believed_with_a_coding_on_the_body_as_well() -> None:
    def script(peer: Peer) -> None:
        size = int(peer.request()[1:])
        peer.send(HEAD + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\nx" % size)

    most = raw_limit(LIMIT)
    with RawServer(script) as server:
        origin = origin_of(server)
        assert is_refused(within(origin, target=f"/{most + 1}"))
        outcome = within(origin, target=f"/{most}")
        assert isinstance(outcome, Failure)
        assert isinstance(outcome.cause, IncompleteRead)


@pytest.mark.parametrize("limit", [0, 10, LIMIT])
@pytest.mark.parametrize(
    ("header", "more"),
    [
        (b"", bytes(65536)),
        (b"Transfer-Encoding: chunked\r\n", chunks(bytes(65536))),
        (b"Transfer-Encoding: chunked\r\n", chunks(bytes(65536), 2)),
        (b"Content-Encoding: gzip\r\n", bytes(65536)),
    ],
)
def test_a_body_without_end(header: bytes, more: bytes, limit: int, secure: Secure) -> None:
    with RawServer(
        lambda peer: until_the_end(peer, HEAD + header + b"\r\n", more), tls=secure[0]
    ) as server:
        origin = origin_of(server, tls=secure[1])
        assert is_refused(within(origin, limit), limit)
        assert origin.engine.statistics().open == 0


def test_what_a_coding_adds_is_allowed_for() -> None:
    body = gzip.compress(bytes(range(256)) * (LIMIT // 256), compresslevel=0)
    assert LIMIT - 256 < len(body) < raw_limit(LIMIT)
    head = f"Content-Length: {len(body)}\r\n\r\n".encode()

    def script(peer: Peer) -> None:
        while target := peer.request():
            peer.send(HEAD + (b"Content-Encoding: gzip\r\n" if "gzip" in target else b"") + head)
            peer.send(body)

    with RawServer(script) as server:
        origin = origin_of(server)
        small = len(body) - 1
        assert within(origin, small, target="/gzip") == (200, body)
        assert is_refused(within(origin, small, target="/plain"), small)


def test_what_is_whole_with_the_head_is_the_callers_to_look_at() -> None:
    with RawServer(Peer.serve) as server:
        assert within(origin_of(server), 1, target="/long") == (200, b"/long")


def test_a_response_to_head_and_one_without_a_body_may_promise_what_they_like() -> None:
    def script(peer: Peer) -> None:
        while target := peer.request():
            peer.send(f"HTTP/1.1 {target[1:]} Said\r\n".encode())
            peer.send(b"Content-Length: 1000000000\r\n\r\n")

    with RawServer(script) as server:
        origin = origin_of(server)
        assert within(origin, 10, target="/200", method="HEAD") == (200, b"")
        assert within(origin, 10, target="/304") == (304, b"")
        assert within(origin, 10, target="/204") == (204, b"")


def test_each_response_of_a_connection_counts_by_itself() -> None:
    sizes = [LARGE, LIMIT, 10, LARGE, LIMIT, LARGE]

    def script(peer: Peer) -> None:
        while target := peer.request():
            body = b"x" * int(target[2:])
            peer.send(chunked(body) if target[1] == "c" else answer(body))

    with RawServer(script) as server:
        origin = origin_of(server)
        for shape in ("c", "l", "c"):
            for size in sizes:
                assert within(origin, target=f"/{shape}{size}") == (200, b"x" * size)
        assert server.opened == 1


def test_no_more_is_kept_than_the_limit_and_one_read() -> None:
    """Of the tiniest pieces, too: of `bytes` of two, each takes 35, and 8 in a list."""
    more = chunks(bytes(200_000), 2)

    def script(peer: Peer) -> None:
        head = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
        until_the_end(peer, head, more)

    with RawServer(script) as server:
        origin = origin_of(server)
        tracemalloc.start()
        try:
            assert is_refused(within(origin, MIB), MIB)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    # Pieces are joined (so twice the limit for a moment), and one read is pieces.
    assert peak < 4 * MIB


def test_a_body_in_tiny_pieces_is_the_same_in_the_end() -> None:
    body = bytes(range(256)) * 300
    reader = ResponseReader()
    for size, step in ((1, 7), (3, 1000), (700, 5), (70, 65536)):
        reader.expect("GET")
        wire = chunked(body, size)
        for start in range(0, len(wire), step):
            whole = reader.feed(wire[start : start + step])
            if not whole and reader.head is not None:
                assert reader.body_size() == sum(map(len, reader._chunks))
                assert len(reader._chunks) <= max(64, reader.body_size() // 1024 + 1, step)
        assert whole
        assert reader.take_body() == body


class Streamed(Limited):
    """Streamed, unless it is a redirect."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.streamed = True
        self.stream: BodyStream | None = None

    def is_streamable(self, status: int, head: bytes) -> bool:
        return status != 302

    def on_response(
        self, status: int, head: bytes, body: bytes, stream: BodyStream | None = None
    ) -> None:
        self.stream = stream
        super().on_response(status, head, body)


def test_what_is_streamed_has_no_limit(secure: Secure) -> None:
    def script(peer: Peer) -> None:
        while peer.request():
            peer.send(answer(bytes(2 * LIMIT)))

    with RawServer(script, tls=secure[0]) as server:
        asked = Streamed(origin_of(server, tls=secure[1]), max_body=LIMIT).send()
        assert asked.wait() == (200, b"")
        assert asked.stream is not None
        with asked.stream:
            assert len(asked.stream.read(2 * LIMIT)) > 0


def test_what_is_read_on_the_way_to_a_streamed_response_has(secure: Secure) -> None:
    head = b"HTTP/1.1 302 Found\r\nLocation: /\r\n\r\n"
    with RawServer(lambda peer: until_the_end(peer, head, bytes(65536)), tls=secure[0]) as server:
        asked = Streamed(origin_of(server, tls=secure[1]), max_body=LIMIT).send()
        assert is_refused(asked.wait())


# While a request is being sent


class Sending(Limited):
    """With a body that does not go out at once."""

    def __init__(self, origin: Origin, length: int, **kwargs: Any) -> None:
        super().__init__(origin, method="PUT", replayable=False, **kwargs)
        self.payload = Body(bytes(length))
        self.wire = f"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n".encode()


@pytest.mark.parametrize("status", [b"200 OK", b"400 No"])
def test_an_early_answer_without_end(status: bytes, secure: Secure) -> None:
    """It is heard while the request is on its way, and ends both."""

    def script(peer: Peer) -> None:
        peer.until(b"\r\n\r\n")
        peer.send(b"HTTP/1.1 %b\r\n\r\n" % status)
        while True:
            peer.send(bytes(65536))

    with RawServer(script, tls=secure[0]) as server:
        origin = origin_of(server, tls=secure[1])
        outcome = Sending(origin, 40 * MIB, max_body=LIMIT).send().wait()
        assert is_refused(outcome)
        assert origin.engine.statistics().open == 0


def test_an_early_answer_that_is_whole_waits_for_the_request(secure: Secure) -> None:
    said = threading.Event()

    def script(peer: Peer) -> None:
        peer.until(b"\r\n\r\n")
        peer.send(answer(bytes(LIMIT)))
        said.set()
        left = 40 * MIB - len(peer._buffer)
        while left > 0:
            left -= len(peer.sock.recv(min(left, 65536)))
        peer._buffer = b""
        peer.serve()

    with RawServer(script, tls=secure[0]) as server:
        origin = origin_of(server, tls=secure[1])
        assert Sending(origin, 40 * MIB, max_body=LIMIT).send().wait() == (200, bytes(LIMIT))
        assert said.is_set()
        assert ask(origin, "/next") == (200, b"/next")


# Heads


def large_head(size: int) -> bytes:
    """A head of that many bytes, without its blank line."""
    lines = [b"HTTP/1.1 200 OK", b"Content-Length: 100000"]
    lines += [b"X-%d: %b" % (number, b"x" * 1000) for number in range((size - 100) // 1010)]
    left = size - len(b"\r\n".join(lines)) - 2
    return b"\r\n".join([*lines, b"Y: " + b"y" * (left - 3)])


def is_refused_head(outcome: Any, limit: int) -> int:
    assert isinstance(outcome, Failure), outcome
    assert outcome.phase is Phase.HEAD
    assert type(outcome.cause) is HeadersTooLargeError
    assert outcome.cause.limit == limit
    return outcome.cause.size


def test_a_head_of_just_the_limit_is_read(secure: Secure) -> None:
    def script(peer: Peer) -> None:
        while peer.request():
            peer.send(large_head(20_000) + b"\r\n\r\n")
            peer.send(bytes(100_000))

    with RawServer(script, tls=secure[0]) as server:
        origin = origin_of(server, tls=secure[1])
        assert within(origin, None, max_head=20_000) == (200, bytes(100_000))
        assert is_refused_head(within(origin, None, max_head=19_999), 19_999) == 20_000
        assert origin.engine.statistics().open == 0


def test_a_head_without_end(secure: Secure) -> None:
    with RawServer(
        lambda peer: until_the_end(peer, HEAD, b"X: y\r\n" * 1000), tls=secure[0]
    ) as server:
        outcome = within(origin_of(server, tls=secure[1]), None, max_head=20_000)
        assert 20_000 < is_refused_head(outcome, 20_000) <= 20_000 + 65536


def test_interim_responses_count_by_themselves() -> None:
    interim = b"HTTP/1.1 103 Early Hints\r\nLink: " + b"x" * 900 + b"\r\n\r\n"

    def script(peer: Peer) -> None:
        peer.request()
        for _ in range(20):
            peer.send(interim)
        peer.send(answer(bytes(LARGE)))

    with RawServer(script) as server:
        assert within(origin_of(server), LIMIT, max_head=1000) == (200, bytes(LARGE))


def test_a_head_that_is_whole_with_its_body_is_the_callers_to_look_at() -> None:
    with RawServer(Peer.serve) as server:
        assert within(origin_of(server), None, max_head=1, target="/x") == (200, b"/x")


def test_there_is_no_limit_unless_one_is_set() -> None:
    def script(peer: Peer) -> None:
        peer.request()
        peer.send(large_head(20_000) + b"\r\n\r\n")
        peer.send(bytes(100_000))

    with RawServer(script) as server:
        assert ask(origin_of(server)) == (200, bytes(100_000))
