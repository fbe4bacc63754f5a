"""What the soak's server does wrong: a function for each of `plan.FAULTS`.

Each gets the server, the connection that a request has come on, and the request's number.
"""

from __future__ import annotations

import contextlib
import socket
import zlib
from collections.abc import Callable
from typing import TYPE_CHECKING

from soaking import answers as right
from soaking.plan import MAX_BODY, body_of

if TYPE_CHECKING:
    from soaking.server import Connection, Server

#: Seconds after which something happens on an idle connection. Its host is asked again later, but
#: not much: there is one such request in some thousands.
_WHILE = 0.05
#: Bytes of a bomb, unpacked.
_BOMB = 50 * MAX_BODY


def bomb() -> bytes:
    """Little that becomes much."""
    coder = zlib.compressobj(9, zlib.DEFLATED, 31)
    return coder.compress(bytes(_BOMB)) + coder.flush()


def stolen(number: int) -> bytes:
    """A whole response that nobody has asked for."""
    body = b"nobody's: " + body_of(number + 1)
    return right.head(b"Content-Length: %d" % len(body)) + body


# The connection ends


def reset_before(server: Server, connection: Connection, _: int) -> None:
    """Not a word."""
    server.drop(connection, reset=True)


def reset_in_head(server: Server, connection: Connection, _: int) -> None:
    """A status line."""
    server.send(connection, b"HTTP/1.1 200 OK\r\nContent-")
    server.drop(connection, reset=True)


def reset_in_body(server: Server, connection: Connection, number: int) -> None:
    """Half a body."""
    server.send(connection, halved(number))
    server.drop(connection, reset=True)


def cut_by_length(server: Server, connection: Connection, number: int) -> None:
    """Half a body, and a polite end."""
    server.send(connection, halved(number))
    server.drop(connection)


def empty(server: Server, connection: Connection, _: int) -> None:
    """A polite end at once."""
    server.drop(connection)


def close_while_idle(server: Server, connection: Connection, number: int) -> None:
    """A right answer; the end comes when nobody asks."""
    server.send(connection, right.whole(number))
    server.later(_WHILE, server.drop, connection)


def close_at_once(server: Server, connection: Connection, number: int) -> None:
    """A right answer and an end that nothing has announced."""
    server.send(connection, right.whole(number))
    server.drop(connection)


# What came is no answer


def garbage(server: Server, connection: Connection, number: int) -> None:
    """Bytes."""
    server.send(connection, b"\x16\x03\x01 SSH-2.0 %d\r\n\r\n" % number)
    server.drop(connection)


def bad_chunk(server: Server, connection: Connection, number: int) -> None:
    """A chunk's size that is none."""
    body = body_of(number)
    data = b"%x\r\n%s\r\nzz\r\n%s\r\n0\r\n\r\n" % (len(body), body, body)
    server.send(connection, right.head(b"Transfer-Encoding: chunked") + data)


def cut_in_chunk(server: Server, connection: Connection, number: int) -> None:
    """An end before the last chunk."""
    body = body_of(number)
    data = b"%x\r\n%s\r\n" % (len(body), body)
    server.send(connection, right.head(b"Transfer-Encoding: chunked") + data)
    server.drop(connection)


def two_lengths(server: Server, connection: Connection, number: int) -> None:
    """Lengths that contradict each other."""
    body = body_of(number)
    lines = (b"Content-Length: %d" % len(body), b"Content-Length: %d" % (len(body) + 5))
    server.send(connection, right.head(*lines) + body)


def header_flood(server: Server, connection: Connection, number: int) -> None:
    """More headers than anybody takes."""
    lines = [b"X-%d: %d" % (line, number) for line in range(300)]
    server.send(connection, right.head(*lines, b"Content-Length: 0"))


def long_header(server: Server, connection: Connection, _: int) -> None:
    """One that is too long."""
    server.send(connection, right.head(b"X: " + b"x" * 100_000, b"Content-Length: 0"))


def interim_flood(server: Server, connection: Connection, number: int) -> None:
    """A hundred times "go on", then a right answer."""
    server.send(connection, b"HTTP/1.1 100 Continue\r\n\r\n" * 100 + right.whole(number))


def redirect_loop(server: Server, connection: Connection, number: int) -> None:
    """Over to where it is."""
    lines = (b"Location: /%d" % number, b"Content-Length: 0")
    server.send(connection, right.head(*lines, status=b"302 Found"))


# Too slow


def silence(_server: Server, _connection: Connection, _: int) -> None:
    """Nothing ever."""


def silence_in_body(server: Server, connection: Connection, number: int) -> None:
    """Half a body, then nothing."""
    server.send(connection, halved(number))


def drip(server: Server, connection: Connection, number: int) -> None:
    """A byte a second, for ever."""
    server.send(connection, right.head(b"Content-Length: 100000"))
    _drip_on(server, connection, number)


def _drip_on(server: Server, connection: Connection, number: int) -> None:
    if not connection.closed:
        server.send(connection, b"x")
        server.later(1.0, _drip_on, server, connection, number)


# Too much


def surplus(server: Server, connection: Connection, number: int) -> None:
    """Bytes behind a right answer."""
    server.spoil(connection, number)
    server.send(connection, right.whole(number) + b"surplus %d" % number)


def second_response(server: Server, connection: Connection, number: int) -> None:
    """A right answer and another one."""
    server.spoil(connection, number)
    server.send(connection, right.whole(number) + stolen(number))


def unsolicited(server: Server, connection: Connection, number: int) -> None:
    """A right answer; another one comes when nobody asks."""
    server.send(connection, right.whole(number))
    server.later(_WHILE, _speak_unasked, server, connection, number, connection.asked)


def _speak_unasked(server: Server, connection: Connection, number: int, asked: int) -> None:
    if connection.closed or connection.asked != asked:
        return  # somebody asks by now, and would have to take it for the answer
    with contextlib.suppress(BlockingIOError):
        if connection.sock.recv(1, socket.MSG_PEEK):
            return
    server.counts["spoken unasked"] += 1
    connection.spoilt = True
    server.send(connection, stolen(number))


def body_after_204(server: Server, connection: Connection, number: int) -> None:
    """A body where there is none."""
    server.spoil(connection, number)
    server.send(connection, b"HTTP/1.1 204 No Content\r\n\r\n" + stolen(number))


def bomb_in_gzip(server: Server, connection: Connection, _: int) -> None:
    """50 MB in 50 KB."""
    lines = (b"Content-Encoding: gzip", b"Content-Length: %d" % len(server.zeros))
    server.send(connection, right.head(*lines) + server.zeros)


def promised_bomb(server: Server, connection: Connection, number: int) -> None:
    """The beginning of 10 GB."""
    server.send(connection, right.head(b"Content-Length: 10000000000") + body_of(number))


# In a coding that it is not


def wrong_gzip(server: Server, connection: Connection, number: int) -> None:
    """It says gzip and is text."""
    body = body_of(number)
    lines = (b"Content-Encoding: gzip", b"Content-Length: %d" % len(body))
    server.send(connection, right.head(*lines) + body)


def cut_gzip(server: Server, connection: Connection, number: int) -> None:
    """As long as its header says, and not at its end."""
    server.send(connection, right.packed(body_of(number), cut=12))


# Better the second time


def busy_once(server: Server, connection: Connection, number: int) -> None:
    """A 503, then a right answer."""
    if number in server.once:
        server.once.discard(number)
        server.send(connection, right.whole(number))
        return
    server.once.add(number)
    server.send(connection, right.head(b"Content-Length: 0", status=b"503 Service Unavailable"))


def cut_once(server: Server, connection: Connection, number: int) -> None:
    """Half an answer, then a right one."""
    if number in server.once:
        server.once.discard(number)
        server.send(connection, right.whole(number))
        return
    server.once.add(number)
    cut_by_length(server, connection, number)


# In TLS. (Faults of handshakes have ports of their own: there nobody says a number.)


def ragged(server: Server, connection: Connection, number: int) -> None:
    """A body that only the end of the stream ends, which anybody on the way might have ended."""
    server.send(connection, right.head(b"Connection: close") + body_of(number))
    server.drop(connection, ragged=True)


def halved(number: int) -> bytes:
    """A right answer, as far as it goes."""
    body = body_of(number)
    return right.head(b"Content-Length: %d" % len(body)) + body[: len(body) // 2]


TABLE: dict[str, Callable[[Server, Connection, int], None]] = {
    "reset before": reset_before,
    "reset in head": reset_in_head,
    "reset in body": reset_in_body,
    "cut by length": cut_by_length,
    "empty": empty,
    "garbage": garbage,
    "bad chunk": bad_chunk,
    "cut in chunk": cut_in_chunk,
    "silence": silence,
    "silence in body": silence_in_body,
    "close while idle": close_while_idle,
    "close at once": close_at_once,
    "surplus": surplus,
    "second response": second_response,
    "unsolicited": unsolicited,
    "wrong gzip": wrong_gzip,
    "cut gzip": cut_gzip,
    "bomb": bomb_in_gzip,
    "promised bomb": promised_bomb,
    "redirect loop": redirect_loop,
    "1xx flood": interim_flood,
    "drip": drip,
    "header flood": header_flood,
    "long header": long_header,
    "two lengths": two_lengths,
    "body after 204": body_after_204,
    "busy once": busy_once,
    "cut once": cut_once,
    "TLS ragged": ragged,
}
