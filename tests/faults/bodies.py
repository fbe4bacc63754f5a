"""Faults of content codings: bombs, bodies that are cut, changed, or in no coding at all."""

from __future__ import annotations

import gzip
import zlib
from dataclasses import replace

import brotli
from codings import deflate
from requests import exceptions

from grequests._kinds import ENCODING, TOO_LARGE

from .framing import OK, one
from .harness import Bad, Case, Fin, Fine, Part

try:
    from compression import zstd
except ImportError:
    from backports import zstd

LIMIT = 1_000_000
TEXT = b"0123456789" * 1000
SPOILED = Bad(ENCODING, exceptions.ContentDecodingError)
LARGE = Bad(TOO_LARGE, ValueError)


def coded(coding: str, body: bytes, *lines: bytes, status: bytes = OK) -> bytes:
    head = [b"Content-Encoding: " + coding.encode(), b"Content-Length: %d" % len(body), *lines]
    return status + b"\r\n".join(head) + b"\r\n\r\n" + body


CODINGS = {
    "gzip": gzip.compress,
    "deflate": zlib.compress,
    "br": brotli.compress,
    "zstd": zstd.compress,
}
ZEROS = bytes(50_000_000)
BOMBS = {
    "gzip": gzip.compress(ZEROS),
    "deflate": zlib.compress(ZEROS),
    "br": brotli.compress(ZEROS, quality=5),
    "zstd": zstd.compress(ZEROS),
    "gzip, gzip": gzip.compress(gzip.compress(ZEROS)),
    "br, gzip": gzip.compress(brotli.compress(ZEROS, quality=5)),
    "gzip, br, gzip": gzip.compress(brotli.compress(gzip.compress(ZEROS))),
}
del ZEROS

SOUND = [
    *(
        one("bodies", f"{coding}", coded(coding, squeeze(TEXT)), fast=Fine(TEXT), reused=True)
        for coding, squeeze in CODINGS.items()
    ),
    one(
        "bodies",
        "deflate without zlib's frame",
        coded("deflate", deflate(TEXT, -zlib.MAX_WBITS)),
        fast=Fine(TEXT),
    ),
    one(
        "bodies",
        "gzip in two members",
        coded("gzip", gzip.compress(TEXT) + gzip.compress(TEXT)),
        fast=Fine(TEXT * 2),
    ),
    one(
        "bodies",
        "rubbish behind gzip",
        coded("gzip", gzip.compress(TEXT) + b"rubbish"),
        fast=Fine(TEXT),
    ),
    one("bodies", "a coding that nobody knows", coded("cow", b"moo"), fast=Fine(b"moo")),
]

#: urllib3 takes what there is for all there is.
SPOILT = [
    *(
        one(
            "bodies",
            f"{coding}, cut",
            coded(coding, squeeze(TEXT)[:-5]),
            fast=SPOILED,
            general=Part(TEXT),
        )
        for coding, squeeze in CODINGS.items()
        if coding != "br"
    ),
    one(
        "bodies",
        "br, cut",
        coded("br", brotli.compress(TEXT, quality=0)[:-1]),
        fast=SPOILED,
        general=Part(TEXT),
    ),
    one(
        "bodies",
        "gzip, a wrong checksum",
        coded("gzip", gzip.compress(TEXT)[:-8] + b"\0" * 8),
        fast=SPOILED,
    ),
    *(
        one("bodies", f"{coding} by name only", coded(coding, b"hello, world"), fast=SPOILED)
        for coding in CODINGS
    ),
    one(
        "bodies",
        "one coding more than there is",
        coded("gzip, gzip", gzip.compress(TEXT)),
        fast=SPOILED,
    ),
]

TOO_MUCH = [
    one("bodies", "six codings", coded(", ".join(["gzip"] * 6), gzip.compress(TEXT)), fast=SPOILED),
    *(
        one("bodies", f"{coding} bomb", coded(coding, bomb), fast=LARGE, max_body=LIMIT)
        for coding, bomb in BOMBS.items()
    ),
    *(
        one(
            "bodies",
            f"{coding} bomb, bytes without an end behind it",
            coded(coding, bomb) + b"x" * 1000,
            fast=LARGE,
            max_body=LIMIT,
        )
        for coding, bomb in [*BOMBS.items()][:1]
    ),
    one(
        "bodies",
        "a larger body than may be",
        OK + b"Content-Length: 2000000\r\n\r\n" + bytes(2_000_000),
        fast=LARGE,
        max_body=LIMIT,
    ),
    one(
        "bodies",
        "a larger body than may be, without a length",
        OK + b"\r\n" + bytes(2_000_000),
        Fin(),
        fast=LARGE,
        max_body=LIMIT,
    ),
    one(
        "bodies",
        "a larger body than may be, in chunks",
        OK
        + b"Transfer-Encoding: chunked\r\n\r\n"
        + b"1000\r\n"
        + bytes(4096)
        + b"\r\n"
        + b"1000\r\n"
        + bytes(4096)
        + b"\r\n0\r\n\r\n",
        fast=LARGE,
        max_body=5000,
    ),
    one(
        "bodies",
        "empty members of gzip, 2 MB of them",
        coded("gzip", gzip.compress(b"") * 100_000),
        fast=SPOILED,
        general=Fine(b""),
        ways=("fast", "fast-tls", "fast-proxy", "general"),
    ),
]

#: Framing and connection are in order.
CASES: list[Case] = [
    *(replace(each, reused=True) for each in (*SOUND, *SPOILT)),
    *(replace(each, reused=None) for each in TOO_MUCH),
]
