"""What the soak's server needs for TLS, and what it says where it does not speak it."""

from __future__ import annotations

import ssl

import trustme

from soaking.plan import MANY, POSTS

#: What comes instead of a handshake: an answer in the clear, the beginning of a ServerHello.
REPLIES = {
    "TLS garbage": b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n",
    "TLS cut": b"\x16\x03\x03\x00\x7a\x02\x00\x00\x76\x03\x03" + bytes(20),
}


def authorities() -> tuple[bytes, dict[str, ssl.SSLContext]]:
    """Whom to trust, as PEM, and the contexts of who is to be trusted and who is not."""
    one = trustme.CA()
    contexts = {"TLS": _context(one), "TLS stranger": _context(trustme.CA())}
    return one.cert_pem.bytes(), contexts


def _context(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*MANY, *POSTS).configure_cert(context)
    return context
