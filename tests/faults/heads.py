"""Faults of heads: broken syntax, floods, ends that come early, interim responses."""

from __future__ import annotations

from requests import exceptions

from grequests._kinds import BROKEN, TRUNCATED

from .framing import HELLO, INCOMPLETE, OK, REJECTED, one, with_headers
from .harness import CUT, WAYS, Bad, Case, Fin, Fine, Forever, Ragged, Reset, Taken

LENGTH = b"Content-Length: 5"


def status_line(line: bytes) -> bytes:
    return line + b"\r\nContent-Length: 5\r\n\r\nhello"


#: Status lines that `http.client` takes.
TAKEN = {"HTTP/1.10", "HTTP/0.9 by name", "status +200", "two spaces"}

SYNTAX = [
    *(
        one("syntax", name, with_headers(LENGTH, line), Fin(), fast=REJECTED, general=HELLO)
        for name, line in (
            ("bare CR in a value", b"A: b\rc"),
            ("bare CR for a line's end", b"A: b\rX: y"),
            ("NUL in a value", b"A: b\0c"),
            ("NUL in a name", b"A\0: b"),
            ("no colon", b"A b"),
            ("no name", b": b"),
            ("space before the colon", b"A : b"),
            ("tab before the colon", b"A\t: b"),
            ("space in a name", b"A B: c"),
            ("a name in Latin-1", b"\xc4: b"),
        )
    ),
    *(
        one(
            "syntax",
            name,
            status_line(line),
            Fin(),
            fast=REJECTED,
            general=HELLO if name in TAKEN else None,
        )
        for name, line in (
            ("HTTP/9.9", b"HTTP/9.9 200 OK"),
            ("HTTP/2", b"HTTP/2 200 OK"),
            ("HTTP/1.10", b"HTTP/1.10 200 OK"),
            ("HTTP/0.9 by name", b"HTTP/0.9 200 OK"),
            ("http/1.1 in lower case", b"http/1.1 200 OK"),
            ("status 1000", b"HTTP/1.1 1000 OK"),
            ("status 99", b"HTTP/1.1 99 OK"),
            ("status 099", b"HTTP/1.1 099 OK"),
            ("status -20", b"HTTP/1.1 -20 OK"),
            ("status 2x0", b"HTTP/1.1 2x0 OK"),
            ("status +200", b"HTTP/1.1 +200 OK"),
            ("no status", b"HTTP/1.1 OK"),
            ("ICY", b"ICY 200 OK"),
            ("two spaces", b"HTTP/1.1  200 OK"),
        )
    ),
    one(
        "syntax",
        "garbage",
        b"\x16\x03\x01\x02\x00\x01\x00" * 20 + b"\r\n\r\n",
        Fin(),
        fast=REJECTED,
    ),
    one("syntax", "garbage without a line", b"garbage", Fin(), fast=REJECTED),
    one(
        "syntax", "HTTP/0.9: a body and nothing else", b"<html>hello</html>\n", Fin(), fast=REJECTED
    ),
    one("syntax", "blank lines first", b"\r\n\r\n" + with_headers(LENGTH), Fin(), fast=REJECTED),
    one("syntax", "no reason", status_line(b"HTTP/1.1 200"), fast=HELLO, reused=None),
    one(
        "syntax",
        "status 600",
        status_line(b"HTTP/1.1 600 Odd"),
        fast=Fine(b"hello", 600),
        reused=None,
    ),
    one(
        "syntax",
        "bare LF",
        with_headers(LENGTH).replace(b"\r\n", b"\n"),
        fast=HELLO,
        spares=True,
    ),
    one(
        "syntax",
        "a folded line",
        with_headers(LENGTH, b"A: b\r\n  c"),
        fast=HELLO,
        value="b c",
    ),
    one(
        "syntax",
        "Latin-1 in a value",
        with_headers(LENGTH, b"A: \xe9\xff"),
        fast=HELLO,
        reused=True,
        value="\xe9\xff",
    ),
    one(
        "syntax",
        "other control characters in a value",
        with_headers(LENGTH, b"A: \x01\x7f"),
        fast=HELLO,
        value="\x01\x7f",
    ),
    one("syntax", "101 headers", with_headers(LENGTH, *[b"A: b"] * 100), fast=REJECTED),
    one("syntax", "endless headers", OK, Forever(b"A: b\r\n" * 50), fast=REJECTED),
    one("syntax", "a line of 100 KB", with_headers(LENGTH, b"A: " + b"b" * 100_000), fast=REJECTED),
    one("syntax", "an endless line", OK + b"A: ", Forever(b"b" * 1000), fast=REJECTED),
    one("syntax", "an endless status line", b"HTTP/1.1 200 ", Forever(b"b" * 1000), fast=REJECTED),
    one(
        "syntax",
        "300 KB in 60 lines",
        with_headers(LENGTH, *[b"A: " + b"b" * 5_000] * 60),
        Fin(),
        fast=REJECTED,
        general=HELLO,
    ),
]

THROUGH_TLS = tuple(str(way) for way in WAYS if way.tls)
EARLY = [
    one("early end", "nothing", Fin(), fast=CUT),
    one("early end", "nothing, by a reset", Reset(), fast=CUT),
    *(
        one("early end", f"end after {name}", data, Fin(), fast=CUT, general=general)
        for name, data, general in (
            ("'HTTP/1.1 200'", b"HTTP/1.1 200", Fine(b"")),
            ("the status line", OK, Fine(b"")),
            ("a header", OK + b"Content-Length: 0\r\n", Fine(b"")),
            ("half a header", OK + b"Content-Length: 0\r\nSet-Coo", Fine(b"")),
            ("100 Continue", b"HTTP/1.1 100 Continue\r\n\r\n", None),
            ("100 and a status line", b"HTTP/1.1 100 Continue\r\n\r\n" + OK, Fine(b"")),
        )
    ),
    one("early end", "end after a length", OK + LENGTH + b"\r\n", Fin(), fast=INCOMPLETE),
    one("early end", "end after 'HT'", b"HT", Fin(), fast=REJECTED),
    one("early end", "no length, then the end", OK + b"\r\nhello", Fin(), fast=HELLO),
    one(
        "early end",
        "no length, then the end without close_notify",
        OK + b"\r\nhello",
        Ragged(),
        fast=Bad(TRUNCATED, exceptions.ChunkedEncodingError, "close_notify"),
        general=HELLO,
        ways=THROUGH_TLS,
    ),
    one(
        "early end",
        "a length, then the end without close_notify",
        with_headers(LENGTH),
        Ragged(),
        fast=HELLO,
        ways=THROUGH_TLS,
    ),
    one(
        "early end",
        "no length, then a reset",
        OK + b"\r\nhello",
        Taken(),
        Reset(),
        fast=Bad(BROKEN, exceptions.ChunkedEncodingError),
    ),
]

HINTS = b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\nContent-Length: 3\r\n\r\n"
INFORMATIONAL = [
    one(
        "informational",
        "103, then 200",
        HINTS + with_headers(LENGTH),
        fast=HELLO,
        reused=True,
    ),
    one(
        "informational",
        "100 unasked, then 200",
        b"HTTP/1.1 100 Continue\r\n\r\n" + with_headers(LENGTH),
        fast=HELLO,
        reused=True,
    ),
    one(
        "informational",
        "102, 103, 199, then 200",
        b"HTTP/1.1 102 Processing\r\n\r\n"
        + HINTS
        + b"HTTP/1.1 199 Odd\r\n\r\n"
        + with_headers(LENGTH),
        fast=HELLO,
        reused=True,
    ),
    one(
        "informational",
        "endless 103",
        Forever(b"HTTP/1.1 103 Early Hints\r\n\r\n"),
        fast=REJECTED,
    ),
    one(
        "informational",
        "endless 100 in one packet",
        Forever(b"HTTP/1.1 100 Continue\r\n\r\n" * 100),
        total=1,
        fast=REJECTED,
    ),
    one(
        "informational",
        "101 unasked",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\nhello",
        fast=Fine(b"", 101),
        reused=False,
    ),
    one(
        "informational",
        "an endless interim head",
        b"HTTP/1.1 103 Early Hints\r\n",
        Forever(b"A: b\r\n" * 50),
        fast=REJECTED,
    ),
]

CASES: list[Case] = [*SYNTAX, *EARLY, *INFORMATIONAL]
