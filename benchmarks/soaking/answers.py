"""Right answers, as bytes, in the forms that answers have."""

from __future__ import annotations

import zlib

from soaking.plan import body_of


def head(*lines: bytes, status: bytes = b"200 OK") -> bytes:
    """Status line and headers."""
    return b"\r\n".join((b"HTTP/1.1 " + status, b"Content-Type: text/plain", *lines, b"", b""))


def whole(number: int) -> bytes:
    """The right answer to a request, in one of the forms that answers have."""
    body = body_of(number)
    if number % 16 == 5:
        third = len(body) // 3 or 1
        pieces = [body[:third], body[third : 2 * third], body[2 * third :]]
        framed = b"".join(b"%x\r\n%s\r\n" % (len(each), each) for each in pieces if each)
        return head(b"Transfer-Encoding: chunked") + framed + b"0\r\n\r\n"
    if number % 64 == 9:
        return packed(body)
    return b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n%s" % (
        len(body),
        body,
    )


def packed(body: bytes, *, cut: int = 0) -> bytes:
    """An answer in gzip."""
    coder = zlib.compressobj(1, zlib.DEFLATED, 31)
    data = coder.compress(body) + coder.flush()
    data = data[: len(data) - cut]
    return head(b"Content-Encoding: gzip", b"Content-Length: %d" % len(data)) + data
