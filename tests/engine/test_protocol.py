"""The reader of responses, without sockets: however the bytes are cut, the answer is the same."""

from __future__ import annotations

import io
import tracemalloc
from http.client import (
    BadStatusLine,
    UnknownProtocol,
    HTTPException,
    HTTPResponse,
    IncompleteRead,
    LineTooLong,
    RemoteDisconnected,
)
from typing import Any, NamedTuple

import h11
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from grequests._engine import ConflictingLengths, MalformedResponse, ResponseReader
from grequests._engine._protocol import BYPASS, MAX_HEAD, MAX_HEADERS, MAX_INTERIM, MAX_LINE

OK = b"HTTP/1.1 200 OK\r\n"
SIZED = OK + b"Content-Length: 2\r\n\r\nhi"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"


class Read(NamedTuple):
    status: int
    head: bytes
    body: bytes


def feed(pieces: list[bytes], method: str = "GET") -> tuple[ResponseReader, Any]:
    """A reader that was given the pieces and, if they were not enough, the end of the stream.

    As a connection does, it stops at the piece that completes the response.
    """
    reader = ResponseReader()
    reader.expect(method)
    try:
        if not any(reader.feed(piece) for piece in pieces):
            reader.end()
    except HTTPException as error:
        return reader, type(error)
    assert reader.complete
    assert reader.head is not None
    return reader, Read(reader.status, reader.head, reader.take_body())


def cuts(data: bytes) -> list[list[bytes]]:
    """Whole, byte by byte, and in two pieces at every offset."""
    halves = [[data[:at], data[at:]] for at in range(1, len(data))]
    return [[data], [data[at : at + 1] for at in range(len(data))], *halves]


def read(data: bytes, method: str = "GET") -> tuple[Any, bool]:
    """What every way to cut the data gives, and whether all of them let the connection live."""
    outcomes, lives = set(), set()
    for pieces in cuts(data):
        reader, outcome = feed(pieces, method)
        outcomes.add(outcome)
        lives.add(reader.reusable)
    assert len(outcomes) == 1, outcomes
    return outcomes.pop(), lives == {True}


@pytest.mark.parametrize(
    ("data", "status", "body", "lives"),
    [
        (SIZED, 200, b"hi", True),
        (OK + b"Content-Length: 0\r\n\r\n", 200, b"", True),
        (OK + b"content-LENGTH:2\r\n\r\n\r\n", 200, b"\r\n", True),
        (OK + b"Content-Length: 2\r\nConnection: close\r\n\r\nhi", 200, b"hi", False),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nhi", 200, b"hi", False),
        (
            b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nhi",
            200,
            b"hi",
            True,
        ),
        (OK + b"\r\nuntil the end", 200, b"until the end", False),
        (OK + b"\r\n", 200, b"", False),
        (OK + b"Transfer-Encoding: identity\r\n\r\nhi", 200, b"hi", False),
        (b"HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nhi", 200, b"hi", True),
        (b"HTTP/1.1 200 \r\nContent-Length: 2\r\n\r\nhi", 200, b"hi", True),
        ("HTTP/1.1 404 Não é\r\nContent-Length: 0\r\n\r\n".encode(), 404, b"", True),
        (b"HTTP/1.1 999 Odd\r\nContent-Length: 0\r\n\r\n", 999, b"", True),
        (b"HTTP/1.1 204 No\r\n\r\n", 204, b"", True),
        (b"HTTP/1.1 204 No\r\nContent-Length: 5\r\n\r\n", 204, b"", False),
        (b"HTTP/1.1 304 Same\r\nContent-Length: 5\r\nETag: x\r\n\r\n", 304, b"", True),
        (b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", 101, b"", False),
        (
            OK + b"Upgrade: h2c\r\nConnection: upgrade\r\nContent-Length: 2\r\n\r\nhi",
            200,
            b"hi",
            True,
        ),
    ],
)
def test_a_response_is_read(data: bytes, status: int, body: bytes, lives: bool) -> None:
    outcome, reusable = read(data)
    assert outcome == Read(status, data.partition(b"\r\n\r\n")[0], body)
    assert reusable is lives


@pytest.mark.parametrize(
    ("coded", "body"),
    [
        (b"0\r\n\r\n", b""),
        (b"2\r\nhi\r\n0\r\n\r\n", b"hi"),
        (b"1\r\nh\r\n1\r\ni\r\n000\r\n\r\n", b"hi"),
        (b"A\r\n0123456789\r\n0\r\n\r\n", b"0123456789"),
        (b"a\r\n0123456789\r\n0\r\n\r\n", b"0123456789"),
        (b'2;a=b;c="d e"\r\nhi\r\n0;last\r\n\r\n', b"hi"),
        (b"2\r\nhi\r\n0\r\nETag: x\r\nExpires: 0\r\n\r\n", b"hi"),
    ],
)
def test_a_chunked_body_is_put_together(coded: bytes, body: bytes) -> None:
    outcome, _ = read(CHUNKED + coded)
    assert outcome.body == body
    assert feed([CHUNKED + coded])[0].reusable, "the usual case, all in one packet"
    assert feed([CHUNKED, coded])[0].reusable, "and the other usual case"


@pytest.mark.parametrize(
    "headers",
    [
        b"Content-Length: 5\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: gzip\r\n",
        b"",
    ],
)
def test_the_response_to_head_ends_with_its_head(headers: bytes) -> None:
    outcome, lives = read(OK + headers + b"\r\n", "HEAD")
    assert outcome == Read(200, (OK + headers)[:-2], b"")
    assert lives
    outcome, lives = read(OK + headers + b"\r\nhello", "HEAD")
    assert outcome.body == b""
    outcome, lives = read(OK + b"Connection: foo, Close\r\n" + headers + b"\r\n", "HEAD")
    assert not lives
    assert not read(b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\n\r\n", "HEAD")[1]


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(
    "interim",
    [
        b"HTTP/1.1 100 Continue\r\n\r\n",
        b"HTTP/1.1 100\r\n\r\n",
        b"HTTP/1.0 100 Continue\r\n\r\n",
        b"HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\n\r\n",
        b"HTTP/1.1 103\r\nLink: a b\r\n\r\n",
        b"HTTP/1.1 102 Processing\r\nConnection: close\r\n\r\n",
        b"HTTP/1.1 199 Odd\r\nContent-Length: 7\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n",
    ],
)
def test_interim_responses_are_forgotten(interim: bytes, method: str) -> None:
    final = SIZED if method == "GET" else SIZED[:-2]
    outcome, _ = read(interim + final, method)
    assert outcome == Read(200, SIZED[: -len("\r\n\r\nhi")], b"hi" if method == "GET" else b"")


def test_endless_interim_responses_end() -> None:
    interim = b"HTTP/1.1 102 Wait\r\n\r\n"
    assert feed([interim * MAX_INTERIM + SIZED])[1].body == b"hi"
    assert feed([interim] * MAX_INTERIM + [SIZED])[1].body == b"hi"
    assert feed([interim * (MAX_INTERIM + 1) + SIZED])[1] is HTTPException
    assert feed([interim] * (MAX_INTERIM + 1) + [SIZED])[1] is HTTPException
    reader, _ = feed([interim * MAX_INTERIM + SIZED])
    reader.expect("GET")
    assert reader.feed(interim * MAX_INTERIM + SIZED), "the count begins anew with each request"


@pytest.mark.parametrize(
    ("sent", "head"),
    [
        (b"A: b\r\n  c\r\nContent-Length: 2\r\n\r\n", b"A: b c\r\nContent-Length: 2"),
        (b"A: b\r\n \r\n  c\r\nContent-Length: 2\r\n\r\n", b"A: b  c\r\nContent-Length: 2"),
        (b"Content-Length:\r\n 2\r\n\r\n", b"Content-Length: 2"),
        (b"A: b\nContent-Length: 2\n\n", b"A: b\r\nContent-Length: 2"),
        (b"A: b\nContent-Length: 2\r\n\r\n", b"A: b\r\nContent-Length: 2"),
        (b"A: b\x01\x7fc\r\nContent-Length: 2\r\n\r\n", b"A: b\x01\x7fc\r\nContent-Length: 2"),
    ],
)
@pytest.mark.parametrize("interim", [b"", b"HTTP/1.1 100 Continue\r\n\r\n"])
def test_what_a_client_may_mend_is_mended(sent: bytes, head: bytes, interim: bytes) -> None:
    outcome, _ = read(interim + OK + sent + b"hi")
    assert outcome == Read(200, OK + head, b"hi")
    for pieces in cuts(interim + OK + sent + b"hi"):
        assert not feed(pieces)[0].reusable, "such a server is not asked twice over a connection"
    outcome, _ = read(interim + OK + sent, "HEAD")
    assert outcome == Read(200, OK + head, b"")
    assert read(interim + OK + sent + b"h")[0] is IncompleteRead


@pytest.mark.parametrize(
    "headers",
    [
        b"Content-Length: 2\r\nTransfer-Encoding: gzip, chunked\r\n",
        b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        b"Content-Length: 2, 2\r\n",
        b"Content-Length: +2\r\n",
        b"Content-Length: -2\r\n",
        b"Content-Length: 0x2\r\n",
        b"Content-Length: 2_0\r\n",
        b"Content-Length:\r\n",
        b"Content-Length: 2 2\r\n",
        b"Content-Length: 99999999999999999999999\r\n",
        b"no colon\r\nContent-Length: 2\r\n",
        b": no name\r\nContent-Length: 2\r\n",
        b"A: b\rContent-Length: 2\r\n",
    ],
)
def test_a_head_that_can_be_read_in_two_ways_is_not_read(headers: bytes) -> None:
    assert read(OK + headers + b"\r\nhi")[0] is MalformedResponse


@pytest.mark.parametrize(
    ("headers", "told"),
    [
        (b"Content-Length: 2\r\nContent-Length: 3\r\n", "2, 3"),
        (b"Content-Length: 2, 3\r\n", "2, 3"),
        (b"A: b\r\nContent-Length: 2\r\nB: c\r\nContent-length:  2 , 4\r\n", "2, 2 , 4"),
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_lengths_that_differ_are_told(headers: bytes, told: str, method: str) -> None:
    for pieces in cuts(OK + headers + b"\r\n"):
        reader = ResponseReader()
        reader.expect(method)
        with pytest.raises(ConflictingLengths, match=rf"^{told}$"):
            for piece in pieces:
                reader.feed(piece)
        assert reader.head is None, "it is the head that is at fault"


@pytest.mark.parametrize(
    ("headers", "sent"),
    [
        (b"Content-Length: 2\r\nA: b\r\nContent-Length: 2", b"hi"),
        (b"Content-Length: 2\r\ncontent-length: 2, 2", b"hi"),
        (b"Content-Length: 9\r\nTransfer-Encoding: Chunked", b"2\r\nhi\r\n0\r\n\r\n"),
        (
            b"Transfer-Encoding: chunked\r\nContent-Length: 1\r\nContent-Length: 9",
            b"2\r\nhi\r\n0\r\n\r\n",
        ),
    ],
)
def test_of_two_lengths_the_one_counts_that_http_client_goes_by(
    headers: bytes, sent: bytes
) -> None:
    for pieces in cuts(OK + headers + b"\r\n\r\n" + sent):
        reader, outcome = feed(pieces)
        assert outcome == Read(200, OK + headers, b"hi"), "and both are shown"
        assert not reader.reusable, "such a server is not asked twice over a connection"
    assert read(OK + headers + b"\r\n\r\n" + sent[:1])[0] is IncompleteRead


def test_a_long_body_with_its_length_told_twice_is_read() -> None:
    body = b"x" * 300_000
    headers = b"Content-Length: 300000\r\nContent-Length: 300000"
    data = OK + headers + b"\r\n\r\n" + body
    for pieces in (
        [data],
        [data[:100_000], data[100_000:]],
        [data[:60], data[60:70_000], data[70_000:]],
    ):
        assert feed(pieces)[1] == Read(200, OK + headers, body)


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(
    "cut",
    [
        b"HTTP/1.1 200 O",
        b"HTTP/1.1 200 OK\r",
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 200 OK\r\n\r",
        b"HTTP/1.1 200 OK\r\nA: b\r\nContent-Le",
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n",
        b"HTTP/1.1 204 No Content\r\n",
        b"HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nA: b",
    ],
)
def test_the_end_of_the_stream_ends_no_head(cut: bytes, method: str) -> None:
    for pieces in cuts(cut):
        assert feed(pieces, method)[1] is RemoteDisconnected


@pytest.mark.parametrize(
    ("method", "error"), [("GET", IncompleteRead), ("HEAD", RemoteDisconnected)]
)
def test_the_end_of_the_stream_ends_no_head_that_promised_a_body(method: str, error: type) -> None:
    for pieces in cuts(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n"):
        assert feed(pieces, method)[1] is error


@pytest.mark.parametrize(
    "data", [b"", b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 Early\r\nA: b"]
)
def test_nothing_but_interim_responses_is_no_response(data: bytes) -> None:
    assert read(data)[0] is RemoteDisconnected


@pytest.mark.parametrize(
    "coded",
    [
        b"xyz\r\nhi\r\n0\r\n\r\n",
        b"\r\nhi\r\n0\r\n\r\n",
        b"-2\r\nhi\r\n0\r\n\r\n",
        b"+2\r\nhi\r\n0\r\n\r\n",
        b"0x2\r\nhi\r\n0\r\n\r\n",
        b"2 2\r\nhi\r\n0\r\n\r\n",
        b"2\nhi\r\n0\r\n\r\n",
        b"2\r\nhi0\r\n\r\n",
        b"2\r\nhigh\r\n0\r\n\r\n",
        b"2\r\nhi\r\n" + b"f" * 17 + b"\r\nhi\r\n",
        b"2\r\nhi\r\n0\r\nContent-Length: 99\r\n\r\n",
    ],
)
def test_a_chunk_that_is_none_is_refused(coded: bytes) -> None:
    assert read(CHUNKED + coded)[0] is MalformedResponse


@pytest.mark.parametrize(
    "data",
    [
        b"\r\n" + SIZED,
        b"\r\n\r\n" + SIZED,
        b"\n" + SIZED,
        b"x\r\n\r\n",
        b"\0\r\n\r\n",
        b"garbage\r\n\r\n",
        b"<html>HTTP/0.9 would be this</html>",
        b"HTTP/0.9 200 OK\r\n\r\nhi",
        b"HTTP/2.0 twohundred\r\nContent-Length: 2\r\n\r\nhi",
        b"http/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi",
        b"HTTP/1.1 099 Odd\r\nContent-Length: 2\r\n\r\nhi",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x16\x03\x03\0\x31",
        b"HTT",
    ],
)
def test_what_does_not_begin_as_http_1_has_a_bad_status_line(data: bytes) -> None:
    assert read(data)[0] is BadStatusLine


@pytest.mark.parametrize("version", ["HTTP/2.0", "HTTP/9.9", "HTTP/", "HTTP/3"])
def test_another_version_of_http_is_an_unknown_protocol(version: str) -> None:
    data = f"{version} 200 OK\r\nContent-Length: 2\r\n\r\nhi".encode()
    assert read(data)[0] is UnknownProtocol


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.2 200 OK\r\nContent-Length: 2\r\n\r\nhi",
        b"HTTP/1.1  200 OK\r\nContent-Length: 2\r\n\r\nhi",
        b"HTTP/1.1 20 OK\r\nContent-Length: 2\r\n\r\nhi",
        b"HTTP/1.1 2000 OK\r\nContent-Length: 2\r\n\r\nhi",
        b"HTTP/1.1 abc OK\r\nContent-Length: 2\r\n\r\nhi",
    ],
)
def test_a_status_line_that_is_none_is_refused(data: bytes) -> None:
    outcome = read(data)[0]
    assert issubclass(outcome, MalformedResponse | BadStatusLine)


@pytest.mark.parametrize(
    "data",
    [
        OK + b"Content-Length: 3\r\n\r\nhi",
        OK + b"Content-Length: 3\r\n\r\n",
        CHUNKED,
        CHUNKED + b"2\r\nhi",
        CHUNKED + b"2\r\nhi\r\n0\r\n",
        CHUNKED + b"2\r\nhi\r\n0\r\nA: b\r\n",
    ],
)
def test_a_body_that_is_cut_is_incomplete(data: bytes) -> None:
    assert read(data)[0] is IncompleteRead


def test_an_incomplete_body_is_kept_and_counted() -> None:
    reader = ResponseReader()
    reader.expect("GET")
    reader.feed(OK + b"Content-Length: 5\r\n\r\nhi")
    with pytest.raises(IncompleteRead) as caught:
        reader.end()
    assert (caught.value.partial, caught.value.expected) == (b"hi", 3)


def test_nothing_is_allocated_because_a_header_promised_it() -> None:
    for promise in (b"Content-Length: 1" + b"0" * 15, b"Transfer-Encoding: chunked"):
        tracemalloc.start()
        _, outcome = feed([OK + promise + b"\r\n\r\nffffffffffff\r\n", b"x" * 10])
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert outcome is IncompleteRead
        assert peak < 100_000


# Bounds


def test_a_head_has_so_many_headers_at_most() -> None:
    for line in (b"A:\r\n", b"Name: value\r\n"):
        # The blank line is one of them, as http.client counts.
        most = OK + line * (MAX_HEADERS - 2) + b"Content-Length: 2\r\n\r\nhi"
        more = OK + line * (MAX_HEADERS - 1) + b"Content-Length: 2\r\n\r\nhi"
        for size in (len(most), 1, 7):
            pieces = [most[at : at + size] for at in range(0, len(most), size)]
            assert feed(pieces)[1].body == b"hi"
            pieces = [more[at : at + size] for at in range(0, len(more), size)]
            assert feed(pieces)[1] is HTTPException


def test_a_line_has_so_many_bytes_at_most() -> None:
    def response(size: int) -> bytes:
        return OK + b"A: " + b"x" * (size - 5) + b"\r\nContent-Length: 2\r\n\r\nhi"

    for size in (1 << 20, 4096, 1000):
        data = response(MAX_LINE)
        assert feed([data[at : at + size] for at in range(0, len(data), size)])[1].body == b"hi"
        data = response(MAX_LINE + 1)
        assert feed([data[at : at + size] for at in range(0, len(data), size)])[1] is LineTooLong


@pytest.mark.parametrize("filling", [b"A: " + b"x" * 997 + b"\r\n", b"A: b\n\tc\r\n" * 100, b"x"])
def test_a_head_that_does_not_end_is_given_up(filling: bytes) -> None:
    reader = ResponseReader()
    reader.expect("GET")
    reader.feed(OK + b"A: ")
    sent = 0
    with pytest.raises(HTTPException):  # LineTooLong, or too many headers
        while sent < 3 * MAX_HEAD:
            reader.feed(filling * 20)
            sent += 20 * len(filling)
    assert sent <= MAX_HEAD + 20 * len(filling)


# Long bodies, past the parser


@pytest.mark.parametrize("surplus", [b"", b"x", b"\r\n", SIZED])
@pytest.mark.parametrize("first", [0, 1, 4096, BYPASS, BYPASS + 1, 2 * BYPASS])
def test_a_long_body_is_taken_past_the_parser(first: int, surplus: bytes) -> None:
    body = bytes(range(256)) * (4 * BYPASS // 256)
    head = OK + b"Content-Length: %d\r\n\r\n" % len(body)
    data = head + body + surplus
    start = len(head) + first
    for step in (1 << 20, 65536, 50_001):
        pieces = [data[:start], *(data[at : at + step] for at in range(start, len(data), step))]
        whole = [piece for piece in pieces if piece]
        reader, outcome = feed(whole)
        assert outcome.body == body
        if not surplus or len(whole[-1]) > len(surplus):  # else it was never fed
            assert reader.reusable is (not surplus)


def test_a_long_body_of_a_connection_that_closes_closes_it() -> None:
    body = b"x" * (3 * BYPASS)
    for line, lives in ((b"Connection: close", False), (b"A: b", True), (b"A: \x01", False)):
        head = OK + line + b"\r\nContent-Length: %d\r\n\r\n" % len(body)
        reader, outcome = feed([head, body])
        assert outcome.body == body
        assert reader.reusable is lives
    assert feed([head, body[:-1]])[1] is IncompleteRead


def test_a_body_in_small_pieces_costs_the_same_for_each() -> None:
    reader = ResponseReader()
    reader.expect("GET")
    reader.feed(OK + b"Content-Length: 60000\r\n\r\n")
    done = [reader.feed(b"x") for _ in range(60000)]
    assert done.index(True) == 59999
    assert reader.take_body() == b"x" * 60000
    assert reader.reusable


# Surplus


ANSWERS = [
    ("GET", SIZED, b"hi"),
    ("GET", OK + b"Content-Length: 2\r\n\r\n\r\n", b"\r\n"),
    ("GET", OK + b"Content-Length: 0\r\n\r\n", b""),
    ("GET", CHUNKED + b"2\r\nhi\r\n0\r\n\r\n", b"hi"),
    ("GET", CHUNKED + b"2\r\nhi\r\n0\r\nA: b\r\n\r\n", b"hi"),
    ("GET", b"HTTP/1.1 204 No\r\n\r\n", b""),
    ("GET", b"HTTP/1.1 304 Same\r\nContent-Length: 5\r\n\r\n", b""),
    ("GET", b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\n\r\n", b""),
    ("GET", b"HTTP/1.1 100 Continue\r\n\r\n" + SIZED, b"hi"),
    ("HEAD", OK + b"Content-Length: 5\r\n\r\n", b""),
    ("HEAD", CHUNKED, b""),
    ("HEAD", b"HTTP/1.1 100 Continue\r\n\r\n" + OK + b"Content-Length: 5\r\n\r\n", b""),
]


@pytest.mark.parametrize(("method", "data", "body"), ANSWERS)
@pytest.mark.parametrize(
    "surplus",
    [b"\r", b"\n", b"\r\n", b"\r\n\r\n", b"\0", b"H", b"x", b"hello", b"HTTP/1.1 ", SIZED, CHUNKED],
)
def test_surplus_is_never_in_the_body_and_ends_the_connection(
    method: str, data: bytes, body: bytes, surplus: bytes
) -> None:
    for pieces in cuts(data + surplus):
        before = 0
        reader = ResponseReader()
        reader.expect(method)
        for piece in pieces:
            before += len(piece)
            if reader.feed(piece):
                break
        assert reader.complete
        assert reader.take_body() == body
        if before > len(data):  # what the reader is not given, the connection has to see
            assert not reader.reusable


@pytest.mark.parametrize(("method", "data", "body"), ANSWERS)
def test_one_reader_reads_one_response_after_the_other(
    method: str, data: bytes, body: bytes
) -> None:
    reader = ResponseReader()
    for _ in range(2):
        for each, wire, expected in (*ANSWERS, (method, data, body)):
            reader.expect(each)
            assert not reader.started
            assert reader.feed(wire)
            assert reader.take_body() == expected
            if not reader.reusable:
                assert wire.startswith(b"HTTP/1.1 101")
                reader = ResponseReader()


# Against others


TOKEN = st.text("abcdefghijklmnopqrstuvwxyz0123456789-_", min_size=1, max_size=8)
VALUE = st.text('abc XYZ,;="/\xe9', max_size=12).map(str.strip)
HEADERS = st.lists(st.tuples(TOKEN.map("X-{}".format), VALUE), max_size=5)
BODY = st.binary(max_size=300)


@st.composite
def responses(draw: st.DrawFn) -> bytes:
    """Valid responses of every framing."""
    status = draw(st.sampled_from([200, 201, 301, 404, 500, 204, 304]))
    lines = [f"HTTP/1.1 {status} {draw(VALUE)}", *(f"{n}: {v}" for n, v in draw(HEADERS))]
    body = draw(BODY) if status not in (204, 304) else b""
    framing = draw(st.sampled_from(["sized", "chunked", "closed"]))
    if status in (204, 304):
        framing = "none"
    if framing == "sized":
        lines.insert(draw(st.integers(1, len(lines))), f"Content-Length: {len(body)}")
    elif framing == "chunked":
        lines.insert(draw(st.integers(1, len(lines))), "Transfer-Encoding: chunked")
        at, coded = 0, b""
        while at < len(body):
            size = draw(st.integers(1, 100))
            piece = body[at : at + size]
            coded += b"%x\r\n%b\r\n" % (len(piece), piece)
            at += size
        body = coded + b"0\r\n\r\n"
    head = "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n"
    interim = draw(st.sampled_from([b"", b"", b"HTTP/1.1 100 Continue\r\n\r\n"]))
    return interim + head + body


class _Sock:
    def __init__(self, data: bytes) -> None:
        self._data = data

    def makefile(self, *_: Any) -> io.BytesIO:
        return io.BytesIO(self._data)


def stdlib(data: bytes, method: str) -> tuple[int, list[tuple[str, str]], bytes]:
    response = HTTPResponse(_Sock(data), method=method)  # type: ignore[arg-type]
    response.begin()
    with response:
        return response.status, response.getheaders(), response.read()


def by_h11(data: bytes, method: str) -> tuple[int, bytes]:
    ours = h11.Connection(h11.CLIENT)
    ours.send(h11.Request(method=method, target="/", headers=[("Host", "x")]))
    ours.send(h11.EndOfMessage())
    ours.receive_data(data)
    ours.receive_data(b"")
    status, body = 0, b""
    while not isinstance(event := ours.next_event(), h11.EndOfMessage):
        if isinstance(event, h11.Response):
            status = event.status_code
        elif isinstance(event, h11.Data):
            body += event.data
    return status, bytes(body)


def pairs(head: bytes) -> list[tuple[str, str]]:
    lines = head.decode("latin-1").split("\r\n")[1:]
    return [(n, v.strip(" \t")) for n, _, v in (line.partition(":") for line in lines)]


@settings(max_examples=300, deadline=None)
@given(data=responses(), method=st.sampled_from(["GET", "HEAD"]), cut=st.data())
def test_it_reads_what_the_standard_library_and_h11_read(
    data: bytes, method: str, cut: st.DataObject
) -> None:
    if method == "HEAD":
        final = data.rindex(b"HTTP/1.1 ") if data.startswith(b"HTTP/1.1 100") else 0
        data = data[: data.index(b"\r\n\r\n", final) + 4]
    places = sorted(cut.draw(st.lists(st.integers(0, len(data)), max_size=6)))
    edges = [0, *places, len(data)]
    pieces = [data[a:b] for a, b in zip(edges, edges[1:], strict=False) if b > a]
    _, outcome = feed(pieces, method)
    status, headers, body = stdlib(data, method)
    assert (outcome.status, outcome.body) == (status, body) == by_h11(data, method)
    assert pairs(outcome.head) == headers
