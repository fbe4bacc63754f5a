"""Answers that are nobody's, connections that end at the wrong moment, servers that are slow."""

from __future__ import annotations

from requests import exceptions

from grequests._kinds import BROKEN, MALFORMED, READ_TIMEOUT, TOTAL_TIMEOUT

from .framing import CHUNKED, HELLO, OK, one, with_headers
from .harness import WAYS, CUT, Answered, Bad, Case, Fin, Fine, Forever, Hold, Ragged, Reset

LENGTH = b"Content-Length: 5"
RIGHT = with_headers(LENGTH)
WRONG = with_headers(LENGTH, body=b"WRONG")
BARE = b"\r\nContent-Length: 5\r\n\r\n"

DIRECT = tuple(str(way) for way in WAYS if way.tls or not way.proxy)

MIXED = [
    one(
        "answers mixed up",
        "a hundred responses in the same packet",
        RIGHT + WRONG * 200,
        fast=HELLO,
    ),
    one("answers mixed up", "a second response in the same packet", RIGHT + WRONG, fast=HELLO),
    one(
        "answers mixed up",
        "a second response after the first",
        RIGHT,
        Answered(),
        WRONG,
        fast=HELLO,
    ),
    one("answers mixed up", "a line after the response", RIGHT, Answered(), b"\r\n", fast=HELLO),
    one("answers mixed up", "a blank line in the same packet", RIGHT + b"\r\n", fast=HELLO),
    one(
        "answers mixed up",
        "a response behind the last chunk",
        CHUNKED + b"5\r\nhello\r\n0\r\n\r\n" + WRONG,
        fast=HELLO,
    ),
    one(
        "answers mixed up",
        "a response behind a status without a body",
        b"HTTP/1.1 204 No Content\r\n\r\n" + WRONG,
        fast=Fine(b"", 204),
    ),
    one(
        "answers mixed up",
        "204 with a body",
        b"HTTP/1.1 204 No Content" + BARE + b"WRONG",
        fast=Fine(b"", 204),
    ),
    one(
        "answers mixed up",
        "304 with a body",
        b"HTTP/1.1 304 Not Modified" + BARE + b"WRONG",
        fast=Fine(b"", 304),
    ),
    one("answers mixed up", "HEAD with a body", RIGHT, fast=Fine(b""), method="HEAD"),
    one(
        "answers mixed up",
        "HEAD with a body that comes late",
        OK + LENGTH + b"\r\n\r\n",
        Answered(),
        b"WRONG",
        fast=Fine(b""),
        method="HEAD",
    ),
    one(
        "answers mixed up",
        "HEAD with a second response",
        OK + LENGTH + b"\r\n\r\n" + WRONG,
        fast=Fine(b""),
        method="HEAD",
    ),
    one(
        "answers mixed up",
        "a response before the request",
        RIGHT,
        before=(WRONG,),
        fast=Bad(MALFORMED, exceptions.ConnectionError, "before"),
        general=Fine(b"WRONG"),
        ways=("fast", "fast-tls", "fast-proxy", "fast-tls-proxy", "general"),
    ),
    one(
        "answers mixed up",
        "a response that comes after the timeout",
        Answered(),
        WRONG,
        timeout=0.3,
        fast=Bad(READ_TIMEOUT, exceptions.ReadTimeout),
    ),
    one(
        "answers mixed up",
        "the rest of a body that comes after the timeout",
        OK + b"Content-Length: 10\r\n\r\nhello",
        Answered(),
        WRONG,
        timeout=0.3,
        fast=Bad(READ_TIMEOUT, exceptions.ConnectionError),
    ),
]

KEPT_ALIVE = [
    one("keep-alive", "closed while idle", RIGHT, Answered(), Fin(), fast=HELLO),
    one("keep-alive", "reset while idle", RIGHT, Answered(), Reset(), fast=HELLO),
    one(
        "keep-alive",
        "closed while idle, without close_notify",
        RIGHT,
        Answered(),
        Ragged(),
        fast=HELLO,
    ),
    one(
        "keep-alive",
        "Connection: close, but not closed",
        with_headers(LENGTH, b"Connection: close"),
        fast=HELLO,
    ),
    one("keep-alive", "HTTP/1.0", b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello", fast=HELLO),
]

#: After one that was served: a server may close just as the next one comes.
WARM = [
    *(
        one(
            "keep-alive",
            f"{name} as the request comes",
            step,
            fast=Fine(b"/fault"),
            general=Bad(BROKEN, exceptions.ConnectionError),
            warm=True,
            once=True,
            reused=None,
            ways=DIRECT,
        )
        for name, step in (("closed", Fin()), ("reset", Reset()))
    ),
    one(
        "keep-alive",
        "closed as a POST comes",
        Fin(),
        fast=CUT,
        warm=True,
        once=True,
        sends=1,
        method="POST",
        ways=DIRECT,
    ),
    one(
        "keep-alive",
        "closed in the head of the second response",
        OK + b"Content-",
        Fin(),
        fast=CUT,
        general=Fine(b""),
        warm=True,
        once=True,
        sends=1,
        ways=DIRECT,
    ),
]

SLOW = [
    one(
        "slowness",
        "silence instead of a response",
        Hold(),
        timeout=0.3,
        fast=Bad(READ_TIMEOUT, exceptions.ReadTimeout),
    ),
    one(
        "slowness",
        "silence in the head",
        OK + b"A: ",
        Hold(),
        timeout=0.3,
        fast=Bad(READ_TIMEOUT, exceptions.ReadTimeout),
    ),
    one(
        "slowness",
        "silence in the body",
        OK + b"Content-Length: 9\r\n\r\nhello",
        Hold(),
        timeout=0.3,
        fast=Bad(READ_TIMEOUT, exceptions.ConnectionError),
    ),
    one(
        "slowness",
        "silence in a chunk's size",
        CHUNKED + b"5\r\nhello\r\n1",
        Hold(),
        timeout=0.3,
        fast=Bad(READ_TIMEOUT, exceptions.ConnectionError),
    ),
    one(
        "slowness",
        "a head that drips",
        OK + b"A: ",
        Forever(b"b", every=0.05),
        total=0.5,
        timeout=3,
        fast=Bad(TOTAL_TIMEOUT, TimeoutError),
    ),
    one(
        "slowness",
        "a body that drips",
        OK + b"Content-Length: 99999\r\n\r\n",
        Forever(b"b", every=0.05),
        total=0.5,
        timeout=3,
        fast=Bad(TOTAL_TIMEOUT, TimeoutError),
    ),
    one(
        "slowness",
        "chunks that drip",
        CHUNKED,
        Forever(b"1\r\nb\r\n", every=0.05),
        total=0.5,
        timeout=3,
        fast=Bad(TOTAL_TIMEOUT, TimeoutError),
    ),
    one(
        "slowness",
        "interim responses that drip",
        Forever(b"HTTP/1.1 100 Continue\r\n\r\n", every=0.05),
        total=0.5,
        timeout=3,
        fast=Bad(TOTAL_TIMEOUT, TimeoutError),
    ),
    one(
        "slowness",
        "a body without end",
        OK + b"\r\n",
        Forever(b"b" * 1000),
        total=0.5,
        fast=Bad(TOTAL_TIMEOUT, TimeoutError),
    ),
]

CASES: list[Case] = [*MIXED, *KEPT_ALIVE, *WARM, *SLOW]
