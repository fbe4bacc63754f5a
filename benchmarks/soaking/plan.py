"""What each request of a soak is, by its number alone: client and server both know it.

The number says where it goes, what comes back, and which fault strikes, if any. So nobody has to
tell anybody, and both can check the other.
"""

from __future__ import annotations

import zlib

#: One request in so many meets a fault.
EVERY = 100
#: Which of them.
_AT = 37
#: The same for the general lane: of those that meet none, and of those that do.
_GENERAL, _GENERAL_FAULT = 499, 23
#: One in so many goes through TLS, and which; the same for those that meet a fault, and for POSTs.
SECURE, SECURE_AT = 50, 3
_SECURE_FAULT, _SECURE_POST = 7, 8

#: Faults of TLS's handshake: each has a port of its own, for nobody has said a number by then.
HANDSHAKES = ("TLS garbage", "TLS cut", "TLS stranger")
#: Every fault there is; they come in turns.
FAULTS = (
    "reset before",
    "reset in head",
    "reset in body",
    "cut by length",
    "empty",
    "garbage",
    "bad chunk",
    "cut in chunk",
    "silence",
    "silence in body",
    "close while idle",
    "close at once",
    "surplus",
    "second response",
    "unsolicited",
    "wrong gzip",
    "cut gzip",
    "bomb",
    "promised bomb",
    "redirect loop",
    "1xx flood",
    "refused",
    "drip",
    "header flood",
    "long header",
    "two lengths",
    "body after 204",
    "busy once",
    "cut once",
    *HANDSHAKES,
    "TLS ragged",
)
#: Faults that strike an idle connection: they have hosts of their own, where there are such.
IDLE = frozenset({"close while idle", "unsolicited"})

#: Addresses for the many, for POSTs (which may not meet a connection that another one has left
#: half dead: they are not sent twice), and for what happens on idle connections.
MANY = tuple(f"127.0.0.{number}" for number in range(1, 11))
POSTS = tuple(f"127.0.0.{number}" for number in range(11, 13))
QUIET = tuple(f"127.0.1.{number}" for number in range(1, 65))

#: Bytes of a decoded body that the client takes; bombs have more, nothing else has.
MAX_BODY = 1_000_000
#: Redirects that it follows in the loop.
HOPS = 4
#: The client's patience in seconds: between two bytes of what is silent, and for what drips.
SILENCE, TOTAL = 0.3, 20.0


def fault_of(number: int) -> str | None:
    """The fault that a request meets."""
    if number % EVERY != _AT:
        return None
    return FAULTS[number // EVERY % len(FAULTS)]


def is_secure(number: int) -> bool:
    """Whether a request goes through TLS."""
    fault = fault_of(number)
    if fault is not None:
        is_meant = number // EVERY % _SECURE_FAULT == 1 and fault not in {*IDLE, "refused"}
        return is_meant or fault.startswith("TLS")
    if number % 200 == 21:
        return number // 200 % _SECURE_POST == 5  # noqa: PLR2004
    return number % SECURE == SECURE_AT


def port_of(number: int) -> str:
    """The name of the server's port that a request goes to."""
    fault = fault_of(number)
    if fault in {"refused", *HANDSHAKES}:
        return str(fault)
    return "TLS" if is_secure(number) else "plain"


def is_general(number: int) -> bool:
    """Whether a request takes the general lane."""
    if number % EVERY == _AT:
        return number // EVERY % _GENERAL_FAULT == 0
    return number % _GENERAL == 0


def method_of(number: int) -> str:
    """The method of a request."""
    if number % 200 == 21:
        return "POST"
    return "HEAD" if number % 200 == 113 else "GET"


def host_of(number: int) -> str:
    """The address that a request goes to."""
    if number % 200 == 21:
        return POSTS[number // 200 % len(POSTS)]
    fault = fault_of(number)
    if fault == "refused":
        return MANY[0]
    if fault in IDLE:
        return QUIET[number // EVERY % len(QUIET)]
    return MANY[number % len(MANY)]


def body_of(number: int) -> bytes:
    """The body that belongs to a request, and to no other: its number, a checksum, repeated."""
    name = b"%d" % number
    many = 3000 if number % 1000 == 7 else 1 + number % 37
    return b"%s:%08x " % (name, zlib.crc32(name)) * many
