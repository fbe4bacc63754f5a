"""Faults of framing: lengths, chunks, both at once, and codings that nobody asked for."""

from __future__ import annotations

from requests import exceptions

from grequests._kinds import BROKEN, MALFORMED, OTHER, TOTAL_TIMEOUT, TRUNCATED

from .harness import Bad, Case, Fin, Fine, Forever, Hold, Reset, Taken

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
INCOMPLETE = Bad(TRUNCATED, exceptions.ChunkedEncodingError)
REJECTED = Bad(MALFORMED)
BAD_CHUNK = Bad(MALFORMED, exceptions.ChunkedEncodingError)
ENDLESS = Bad(TOTAL_TIMEOUT, TimeoutError)
IN_CHUNKS = b"5\r\nhello\r\n0\r\n\r\n"
HELLO = Fine(b"hello")


def with_headers(*lines: bytes, body: bytes = b"hello") -> bytes:
    return OK + b"".join(line + b"\r\n" for line in lines) + b"\r\n" + body


def length(value: bytes, body: bytes = b"hello") -> bytes:
    return with_headers(b"Content-Length: " + value, body=body)


def one(area: str, name: str, *steps: object, **more: object) -> Case:
    fast = more.pop("fast")
    return Case(name, area, steps, fast, **more)


LENGTHS = [
    one("length", "Content-Length 9, 5 bytes, end", length(b"9"), Fin(), fast=INCOMPLETE),
    one(
        "length",
        "reset in the middle of the body",
        length(b"9"),
        Taken(),
        Reset(),
        fast=Bad(BROKEN, exceptions.ChunkedEncodingError),
    ),
    one("length", "bytes beyond Content-Length", length(b"5", b"hello, world"), fast=HELLO),
    one(
        "length",
        "Content-Length twice, equal",
        with_headers(b"Content-Length: 5", b"Content-Length: 5"),
        fast=HELLO,
    ),
    one(
        "length",
        "Content-Length twice, different",
        with_headers(b"Content-Length: 5", b"Content-Length: 6"),
        Hold(),
        fast=REJECTED,
    ),
    one("length", "Content-Length: 5, 5", length(b"5, 5"), Fin(), fast=REJECTED, general=HELLO),
    one("length", "Content-Length: 5, 6", length(b"5, 6"), Hold(), fast=REJECTED),
    *(
        one(
            "length",
            f"Content-Length: {value.decode() or '(nothing)'}",
            length(value),
            Fin(),
            fast=REJECTED,
            general=INCOMPLETE if value == b"1_0" else HELLO,
        )
        for value in (b"-5", b"+5", b"1_0", b"5a", b"1e30", b"0x5", b"", b"5 5")
    ),
    one(
        "length",
        "Content-Length of 30 digits",
        length(b"9" * 30),
        Fin(),
        fast=REJECTED,
        general=INCOMPLETE,
    ),
    one(
        "length",
        "Content-Length of 8 EB, 5 bytes, end",
        length(b"8000000000000000000"),
        Fin(),
        fast=INCOMPLETE,
    ),
]

CHUNKS = [
    one(
        "chunks",
        "extensions and trailers",
        CHUNKED + b'5 ;a=b;c="d; e"\r\nhello\r\n0;x\r\nTrailer: yes\r\n\r\n',
        fast=HELLO,
        reused=None,
    ),
    one("chunks", "no last chunk", CHUNKED + b"5\r\nhello\r\n", Fin(), fast=INCOMPLETE),
    one("chunks", "end within a chunk", CHUNKED + b"9\r\nhello", Fin(), fast=INCOMPLETE),
    one("chunks", "end within a size", CHUNKED + b"5\r\nhello\r\n1", Fin(), fast=INCOMPLETE),
    one(
        "chunks",
        "no end of the last chunk",
        CHUNKED + b"5\r\nhello\r\n0\r\n",
        Fin(),
        fast=INCOMPLETE,
        general=HELLO,
    ),
    one(
        "chunks",
        "reset within a chunk",
        CHUNKED + b"9\r\nhello",
        Taken(),
        Reset(),
        fast=Bad(BROKEN, exceptions.ChunkedEncodingError),
    ),
    *(
        one(
            "chunks",
            f"size {size.decode() or '(nothing)'}",
            CHUNKED + size + b"\r\nhello\r\n0\r\n\r\n",
            Fin(),
            fast=BAD_CHUNK,
            general=general,
        )
        for size, general in (
            *((b"zz", None), (b"-5", Bad(OTHER, ValueError)), (b"+5", HELLO), (b"0x5", HELLO)),
            *((b"5 5", None), (b"1_0", INCOMPLETE), (b"f" * 17, INCOMPLETE), (b"", None)),
        )
    ),
    one(
        "chunks",
        "bad end of a chunk",
        CHUNKED + b"5\r\nhelloXX0\r\n\r\n",
        Fin(),
        fast=BAD_CHUNK,
        general=HELLO,
    ),
    one(
        "chunks",
        "endless size",
        CHUNKED,
        Forever(b"0" * 1000),
        fast=BAD_CHUNK,
        general=INCOMPLETE,
    ),
    one(
        "chunks",
        "endless extension",
        CHUNKED + b"5;",
        Forever(b"x" * 1000),
        fast=BAD_CHUNK,
        general=INCOMPLETE,
    ),
    one(
        "chunks",
        "flood of extensions",
        CHUNKED,
        Forever(b"1;" + b"x" * 1000 + b"\r\nh\r\n"),
        total=1,
        fast=BAD_CHUNK,
        general=ENDLESS,
    ),
    one(
        "chunks",
        "flood of trailers",
        CHUNKED + b"5\r\nhello\r\n0\r\n",
        Forever(b"A: b\r\n" * 100),
        total=1,
        fast=BAD_CHUNK,
        general=ENDLESS,
    ),
    one(
        "chunks",
        "endless trailer",
        CHUNKED + b"5\r\nhello\r\n0\r\nA: ",
        Forever(b"b" * 1000),
        fast=BAD_CHUNK,
        general=INCOMPLETE,
    ),
]

BOTH = [
    one(
        "both, unknown",
        "Content-Length beside chunked",
        with_headers(b"Content-Length: 3", b"Transfer-Encoding: chunked", body=IN_CHUNKS),
        fast=HELLO,
    ),
    *(
        one(
            "both, unknown",
            f"Transfer-Encoding: {coding.decode()}",
            with_headers(b"Transfer-Encoding: " + coding, body=IN_CHUNKS),
            Fin(),
            fast=REJECTED,
            general=HELLO if b", " in coding else Fine(IN_CHUNKS),
        )
        for coding in (
            *(b"gzip", b"gzip, chunked", b"chunked, gzip", b"chunked, chunked", b"xchunked"),
            *(b"chunkedx", b"chunked;q=1", b'"chunked"', b"cow"),
        )
    ),
    one(
        "both, unknown",
        "Transfer-Encoding twice",
        with_headers(
            b"Transfer-Encoding: chunked",
            b"Transfer-Encoding: gzip",
            body=IN_CHUNKS,
        ),
        Fin(),
        fast=REJECTED,
        general=HELLO,
    ),
    one(
        "both, unknown",
        "Transfer-Encoding: gzip, with a length",
        with_headers(b"Transfer-Encoding: gzip", b"Content-Length: 5"),
        Fin(),
        fast=REJECTED,
        general=HELLO,
    ),
    one(
        "both, unknown",
        "Transfer-Encoding: CHUNKED",
        with_headers(b"Transfer-Encoding: CHUNKED", body=IN_CHUNKS),
        fast=HELLO,
        reused=None,
    ),
    one(
        "both, unknown",
        "chunked in HTTP/1.0",
        b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        Fin(),
        fast=HELLO,
    ),
]

CASES = [*LENGTHS, *CHUNKS, *BOTH]
