"""The reader of responses: whatever comes, and in whatever pieces.

* Nothing but an `HTTPException` comes out, and a response has a status, a head and a body that fit
  together.
* The outcome is the same for all bytes at once, one by one, and cut at each place.
* After a response whose connection may be used again, the next one is read right.
* A reader that only follows a stream says the same of the connection.
* All that holds for long bodies, which go past the parser: in a ``B``, each ``~`` is 70,000 bytes.
* What is kept is what was sent: a flood (``F``, then what comes first, then ``|`` and what is
  repeated) does not fill the memory, whatever it repeats.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator
from http.client import HTTPException
from random import Random
from typing import Any, NamedTuple
from zlib import crc32

from grequests._engine import ResponseReader
from grequests._engine._protocol import MAX_HEAD
from grequests._engine._stream import HeadIsThere, StreamReader

from .mutating import Kit
from .responses import KIT as RESPONSES

#: Up to so many bytes are cut at each place, more of them at some.
SHORT = 160
#: What a flood may come to, and what may be kept of it beside a body.
FLOOD = 1_500_000
KEPT = 2 * MAX_HEAD + 65536

#: What a connection reads at once, and what stands for a ``~``.
READ = 65536
LONG = b"x" * 70_000
BIG = [
    b"BHTTP/1.1 200 OK\r\nContent-Length: 70002\r\n\r\n~hi",
    b"BHTTP/1.1 200 OK\r\nContent-Length: 140000\r\n\r\n~~HTTP/1.1 200 OK\r\n\r\n",
    b"BHTTP/1.1 200 OK\r\nContent-Length: 140000\r\nConnection: close\r\n\r\n~~",
    b"BHTTP/1.0 200 OK\nContent-Length: 70000\n\n~",
    b"BHTTP/1.1 200 OK\r\nContent-Length: 70001\r\n\r\n~",
    b"BHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n11170\r\n~\r\n0\r\n\r\n",
    b"BHTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n~~",
    b"BHTTP/1.1 200 OK\r\nA: ~\r\nContent-Length: 0\r\n\r\n",
]

NEXT = b"HTTP/1.1 201 Created\r\nContent-Length: 4\r\n\r\nnext"

FLOODS = [
    b"FHTTP/1.1 200 OK\r\n|A: b\r\n",
    b"FHTTP/1.1 200 OK\r\nA: |b",
    b"FHTTP/1.1 200 OK\r\nA|b",
    b"F|HTTP/1.1 100 Continue\r\n\r\n",
    b"FHTTP/1.1 100 |Continue",
    b"FHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n|1\r\nx\r\n",
    b"FHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;|x=y;",
    b"FHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n|0",
    b"FHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n|A: b\r\n",
    b"FHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nA: |b",
    b"FHTTP/1.1 200 OK\r\n\r\n|body",
    b"FHTTP/1.1 200 OK\r\nContent-Length: 9999999999\r\n\r\n|body",
    b"FHTTP/1.0 200 OK\n|A: b\n c\n",
    b"F|\r\n",
    b"F|H",
    b"FHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi|more",
]
KIT = Kit(
    seeds=[*RESPONSES.seeds, *FLOODS, *BIG],
    separator=b"\r\n",
    pieces=[*RESPONSES.pieces, b"|", b"~", b"70000", b"11170"],
    parts=RESPONSES.parts,
    moves=RESPONSES.moves,
)


#: A line of a head without a name: nobody would know it for what it is, framing among others.
_NO_NAME = re.compile(rb"\n(?![^\x00-\x20\x7f:]+:)")


class Outcome(NamedTuple):
    """What the reader made of a stream.

    Attributes:
        error: whether it refused.
        reusable: whether the connection could be used again: nothing is left over.
    """

    error: bool
    status: int = 0
    head: bytes | None = None
    body: bytes = b""
    reusable: bool = False


REFUSED = Outcome(error=True)


def check(data: bytes) -> None:
    """Hold all of it against one input."""
    stream = data[1:]
    if data[:1] == b"F":
        check_flood(stream)
        return
    if data[:1] == b"B":
        stream = stream.replace(b"~", LONG, 3)
    method = "HEAD" if data[:1] == b"H" else "GET"
    reader = ResponseReader()
    whole = read(reader, method, in_steps(stream, READ))
    check_sense(method, whole, stream)
    for pieces in cuttings(stream):
        outcome = read(ResponseReader(), method, pieces)
        if is_bounded_by_chance(whole, outcome, stream):
            return
        if whole.reusable and not outcome.reusable and is_cut_at_its_end(whole, pieces):
            outcome = outcome._replace(reusable=True)
        assert outcome == whole, (method, outcome, whole)
    if whole.reusable:
        check_next(reader, method, stream, whole)
    check_followed(method, stream, whole)


def read(reader: ResponseReader, method: str, pieces: Iterable[bytes]) -> Outcome:
    """What a connection would make of a stream that ends after these pieces."""
    pieces = list(pieces)
    total = sum(map(len, pieces))
    fed = 0
    reader.expect(method)
    try:
        for piece in pieces:
            fed += len(piece)
            if reader.feed(piece):
                break
        else:
            if not reader.started:
                return REFUSED
            reader.end()
    except HTTPException:
        return REFUSED
    assert reader.complete
    reusable = reader.reusable and fed == total
    return Outcome(False, reader.status, reader.head, reader.take_body(), reusable)


def cuttings(stream: bytes) -> Iterator[list[bytes]]:
    """Ways in which a stream may come."""
    size = len(stream)
    if size < 2:
        return
    yield in_steps(stream, 1 if size <= 2000 else 7 if size < READ else 997)
    if size <= SHORT:
        for at in range(1, size):
            yield [stream[:at], stream[at:]]
        return
    chance = Random(crc32(stream))
    for _ in range(6):
        places = sorted(
            {0, size, *(chance.randrange(1, size) for _ in range(chance.choice((1, 3))))}
        )
        yield [stream[a:b] for a, b in zip(places, places[1:])]
    ends = [match.end() for match in re.finditer(rb"\r|\n", stream)][:24]
    yield [stream[a:b] for a, b in zip([0, *ends], [*ends, size]) if a < b]


def in_steps(stream: bytes, step: int) -> list[bytes]:
    return [stream[at : at + step] for at in range(0, len(stream), step)]


def is_bounded_by_chance(one: Outcome, other: Outcome, stream: bytes) -> bool:
    """Whether one of two outcomes may be that there was too much of something (heads, chunks' sizes).

    What is whole by the time it is looked at may be a little larger than what is not.
    """
    return one.error != other.error and len(stream) > READ


def is_cut_at_its_end(whole: Outcome, pieces: list[bytes]) -> bool:
    """Whether the reader may give up a connection that was fit for more.

    Of chunks whose last few bytes come by themselves it cannot tell whether the last of them is the
    last of the response.
    """
    return len(pieces[-1]) < 6 and b"\ntransfer-encoding:" in (whole.head or b"").lower()


def check_sense(method: str, outcome: Outcome, stream: bytes) -> None:
    """A response has parts that fit together, and nothing that was not sent."""
    if outcome.error:
        return
    head = outcome.head
    assert head is not None
    assert head.startswith(b"HTTP/1.")
    assert b"\n\r\n" not in head and b"\n\n" not in head
    assert not _NO_NAME.search(head)
    assert outcome.status == int(head[9:12])
    assert 200 <= outcome.status <= 999 or outcome.status == 101
    assert len(outcome.body) <= len(stream)
    if method == "HEAD" or outcome.status in (101, 204, 304):
        assert outcome.body == b""
    if outcome.reusable:
        assert outcome.status != 101
        framed = re.search(rb"(?i)\n(content-length|transfer-encoding)[ \t]*:", head)
        assert framed or method == "HEAD" or outcome.status in (204, 304)


def check_next(reader: ResponseReader, method: str, stream: bytes, first: Outcome) -> None:
    """The same reader reads the next response, and the same response once more."""
    created = Outcome(False, 201, NEXT.partition(b"\r\n\r\n")[0], b"next", True)
    for pieces in ([NEXT], in_steps(NEXT, 1)):
        assert read(reader, "GET", pieces) == created
        assert read(reader, method, in_steps(stream, READ)) == first
    assert read(reader, method, [stream[:1], stream[1:]])[:4] == first[:4]


def check_followed(method: str, stream: bytes, whole: Outcome) -> None:
    """The reader behind ``stream=True`` agrees on the head and on the connection."""
    for pieces in (in_steps(stream, READ), in_steps(stream, 5 if len(stream) < READ else 4099)):
        reader = StreamReader(lambda _status, _head: True)
        reader.expect(method)
        rest = iter(pieces)
        fed = 0
        is_over = False
        try:
            for piece in rest:
                fed += len(piece)
                reader.feed(piece)
            is_over = True
            if reader.started:
                reader.end()
        except HeadIsThere:
            pass
        except HTTPException:
            assert whole.error or len(stream) > READ
            continue
        else:
            assert whole.error and not stream
            continue
        raw = reader.take_raw()
        ended = reader.complete
        try:
            while not ended and (piece := next(rest, b"")):
                fed += len(piece)
                raw += piece
                ended = reader.follow(piece)
        except HTTPException:
            assert whole.error or len(stream) > READ
            continue
        assert stream[:fed].endswith(raw)
        if is_over:
            assert not whole.reusable
        elif ended and not reader.is_last and fed == len(stream):
            assert whole.reusable
        else:
            assert not whole.reusable or is_cut_at_its_end(whole, [stream[fed - 5 : fed]])
        if not whole.error:
            assert (reader.status, reader.head) == (whole.status, whole.head)


def check_flood(stream: bytes) -> None:
    """What is kept is bounded, if it is asked for its size as a connection with limits asks."""
    first, _, again = stream.partition(b"|")
    if not again:
        return
    block = again * (16384 // len(again) + 1)
    reader = ResponseReader()
    reader.expect("GET")
    fed = 0
    try:
        for piece in (first, *[block] * (FLOOD // len(block))):
            if piece and reader.feed(piece):
                break
            fed += len(piece)
            size = reader.body_size()
            assert size <= fed
            assert kept(reader) <= 2 * size + KEPT, (kept(reader), size, fed)
    except HTTPException:
        pass
    # Whatever became of it: nothing but a head and what could be taken as a body is here.
    assert kept(reader) <= 2 * sum(map(len, reader._chunks)) + KEPT + len(block)


def kept(reader: ResponseReader) -> int:
    """Bytes that a reader holds on to."""
    chunks = reader._chunks
    found: list[Any] = [chunks, *chunks, reader.head, reader._partial]
    return sum(sys.getsizeof(each) for each in found if each is not None)
