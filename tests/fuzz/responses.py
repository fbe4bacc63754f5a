r"""Inputs of the two targets that read responses: a byte, and what a server sends.

The byte says what was asked: ``H`` a HEAD, ``F`` a flood (see `protocol`), anything else a GET. The
rest is the stream as it comes, to its end, so an input reads like a response:
``GHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi``.
"""

from __future__ import annotations

import re
from random import Random

from .mutating import Kit

SEEDS = [
    b"GHTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: keep-alive\r\n\r\nhello",
    b"GHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n0\r\nA: b\r\n\r\n",
    b"GHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\na\r\n0123456789\r\n1\r\nx\r\n0\r\n\r\n",
    b"GHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 404 Not\r\nContent-Length: 0\r\n\r\n",
    b"GHTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx",
    b"GHTTP/1.0 200 OK\nA: b\n  c\nContent-Length: 2\n\nhi",
    b"GHTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nhi",
    b"GHTTP/1.1 200 OK\r\nA: b\r\nC: d\r\n\r\nuntil the end",
    b"GHTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n\x81\x05hello",
    b"GHTTP/1.1 204 No\r\nSet-Cookie: a=b\r\n\r\nHTTP/1.1 200 OK\r\n\r\nhello",
    b"GHTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\nETag: x\r\n\r\n",
    b"GHTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + b"x" * 30,
    b"GHTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nhi",
    b"GHTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"GHTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n",
    b"GHTTP/1.1 200 \r\nConnection: close\r\n\r\n",
    b"GHTTP/1.1 200\r\nContent-Length: 0\r\n\r\n",
    b"HHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
    b"HHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"HHTTP/1.0 200 OK\r\nConnection: keep-alive\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
]
PIECES = [
    *(
        b"\r\n",
        b"\n",
        b"\r",
        b"\r\n\r\n",
        b"\n\n",
        b"\0",
        b" ",
        b":",
        b"\t",
        b",",
        b";",
        b"-",
        b'"',
    ),
    *(
        b"0",
        b"1",
        b"9" * 25,
        b"\xff",
        b"\x7f",
        b"\x0b",
        b"\x1f",
        b"\xc3\xa9",
        b"+1",
        b"0x1",
        b"1_0",
    ),
    *(b"HTTP/1.1 ", b"HTTP/1.0 ", b"HTTP/2.0 200", b"HTTP/1.1 100 C\r\n\r\n", b"ICY 200 OK\r\n"),
    *(b"Content-Length: 3\r\n", b"Content-Length:3", b"Transfer-Encoding: chunked\r\n", b"chunked"),
    *(
        b"\r\n x",
        b"\r\n\t",
        b" :",
        b"0\r\n\r\n",
        b"ffffffff\r\n",
        b"1;x\r\n",
        b"\r\nA: b",
        b"x" * 70,
    ),
    *(b"ffffffffffffffff\r\n", b"10000000000000000\r\n", b"00000000001\r\n", b"-1\r\n", b"0 \r\n"),
]
LINES = [
    *(b"HTTP/1.1 200 OK", b"HTTP/1.0 200 OK", b"HTTP/1.1 204 No Content", b"HTTP/1.1 304 Same"),
    *(
        b"HTTP/1.1 100 Continue",
        b"HTTP/1.1 101 Switching",
        b"HTTP/1.1 103 Hints",
        b"HTTP/1.1 099 x",
    ),
    *(b"HTTP/1.1 999 Odd", b"HTTP/1.1 1000 x", b"HTTP/1.1 20 x", b"HTTP/1.1  200 OK", b"HTTP/1.1"),
    *(
        b"HTTP/0.9 200 OK",
        b"HTTP/1.2 200 OK",
        b"HTTP/1.10 200 OK",
        b"http/1.1 200 OK",
        b"HTTP/1.1 200",
    ),
    *(b"Content-Length: 0", b"Content-Length: 1", b"content-length: 5", b"Content-Length:", b""),
    *(
        b"Content-Length: 2, 2",
        b"Content-Length: +5",
        b"Content-Length: 5 ",
        b"Content-Length: 0x5",
    ),
    *(b"Content-Length : 5", b" Content-Length: 5", b"Content-Length\t: 5", b"Content-Length: 1e3"),
    *(b"Content-Length: 18446744073709551616", b"Content-Length: -5", b"Content-Length: 5;a"),
    *(b"Transfer-Encoding: chunked", b"Transfer-Encoding: Chunked", b"transfer-encoding:chunked"),
    *(
        b"Transfer-Encoding: gzip, chunked",
        b"Transfer-Encoding: chunked, gzip",
        b"Transfer-Encoding:",
    ),
    *(
        b"Transfer-Encoding: identity",
        b"Transfer-Encoding: xchunked",
        b"Transfer-Encoding: chunked,",
    ),
    *(
        b"Transfer-Encoding : chunked",
        b"Transfer-Encoding: chunked;a=b",
        b"Transfer-Encoding: gzip",
    ),
    *(b"Transfer-Encoding:\tchunked\t", b"Transfer-Encoding: chunked, chunked", b"TE: chunked"),
    *(
        b"Connection: close",
        b"Connection: keep-alive",
        b"Connection: upgrade",
        b"connection: Close, x",
    ),
    *(
        b"Upgrade: h2c",
        b"Set-Cookie: a=b",
        b"A: b",
        b"A:",
        b"A",
        b": b",
        b" folded",
        b"\tfolded",
        b"A :b",
    ),
    *(
        b"X-\xe9: y",
        b"X: \xe9",
        b"A: b\0c",
        b"A: b\rc",
        b"A\0: b",
        b"A: \x01",
        b"Trailer: A",
        b"a b: c",
    ),
    *(
        b"5",
        b"0",
        b"5;x=y",
        b"0;x",
        b"5 ",
        b"00",
        b"A",
        b"hello",
        b"5\thello",
        b"fffffffff",
        b"g",
        b"0x5",
    ),
    *(b'5;a="b', b"5;\x01", b"5;;", b"Keep-Alive: timeout=5", b"Proxy-Connection: close"),
]
_LENGTH = re.compile(rb"(?i)(\ncontent-length:[ \t]*)[0-9]+")


def set_length(data: bytes, chance: Random) -> bytes:
    """A length that is right, or nearly."""
    head, blank, body = data.partition(b"\r\n\r\n")
    length = b"%d" % max(0, len(body) + chance.choice((0, 0, 0, -1, 1)))
    return _LENGTH.sub(rb"\g<1>" + length, head) + blank + body


def chunk_body(data: bytes, chance: Random) -> bytes:
    """The body in chunks, and the header that says so."""
    head, _, body = data.partition(b"\r\n\r\n")
    head = _LENGTH.sub(rb"\nTransfer-Encoding: chunked", head)
    size = chance.choice((1, 3, 16))
    chunks = [body[at : at + size] for at in range(0, len(body), size)][:40]
    framed = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks)
    return head + b"\r\n\r\n" + framed + b"0\r\n\r\n"


def ask_otherwise(data: bytes, chance: Random) -> bytes:
    return chance.choice((b"G", b"H")) + data[1:]


def one_more(data: bytes, chance: Random) -> bytes:
    """Another response in front or behind."""
    other = chance.choice(SEEDS)[1:]
    return data + other if chance.random() < 0.5 else data[:1] + other + data[1:]


KIT = Kit(
    seeds=SEEDS,
    separator=b"\r\n",
    pieces=PIECES,
    parts=LINES,
    moves=(set_length, set_length, chunk_body, ask_otherwise, one_more),
)
