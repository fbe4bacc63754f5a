"""The servers of the torture: an origin, the same behind TLS, and a proxy. They run in threads.

What a path answers is a function of the request alone, and names it: `answered` says what a client
must get, whatever became of its connections.
"""

from __future__ import annotations

import contextlib
import gzip
import ssl
import threading
import zlib
from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

from engine.raw import Peer, RawServer

#: Bytes of a large body: more than the client reads at once, more than its socket takes at once.
LARGE = 200_000
#: Bytes in a chunk of a chunked one.
CHUNK = 7_000


class Asked(NamedTuple):
    """A request as a server read it."""

    method: str
    path: str
    body: bytes

    @property
    def kind(self) -> str:
        return self.path.split("/")[1]


def read(peer: Peer) -> Asked | None:
    """The next request on a connection; None if it does not come, or not to its end."""
    head = peer.until(b"\r\n\r\n")
    if head is None:
        return None
    lines = head.split(b"\r\n")
    method, target, _ = lines[0].decode().split(" ")
    fields = dict(line.lower().split(b": ", 1) for line in lines[1:])
    body: bytes | None = b""
    if b"content-length" in fields:
        body = take(peer, int(fields[b"content-length"]))
    elif b"transfer-encoding" in fields:
        body = read_chunks(peer)
    path = target if method == "CONNECT" else "/" + target.split("://")[-1].split("/", 1)[1]
    return None if body is None else Asked(method, path, body)


def take(peer: Peer, count: int) -> bytes | None:
    """So many bytes."""
    while len(peer._buffer) < count:
        piece = peer.sock.recv(65536)
        if not piece:
            return None
        peer._buffer += piece
    data, peer._buffer = peer._buffer[:count], peer._buffer[count:]
    return data


def read_chunks(peer: Peer) -> bytes | None:
    """A chunked body."""
    pieces = []
    while size := peer.until(b"\r\n"):
        piece = take(peer, int(size, 16) + 2)
        if piece is None:
            return None
        if int(size, 16) == 0:
            return b"".join(pieces)
        pieces.append(piece[:-2])
    return None


def named(asked: Asked) -> bytes:
    """A body that says which request it is the answer to, and what that brought."""
    word = f"{asked.method} {asked.path} {len(asked.body)} {zlib.crc32(asked.body):08x}; ".encode()
    if asked.kind in {"large", "chunked", "until-close", "gzip"}:
        return word * (LARGE // len(word))
    return word


def answered(method: str, path: str, body: bytes = b"") -> bytes:
    """What the client of a request must get."""
    asked = Asked(method, path, body)
    if asked.kind == "redirect":
        asked = Asked(method, path.replace("/redirect/", "/plain/"), b"")
    return b"" if method == "HEAD" or asked.kind == "empty" else named(asked)


class World:
    """Servers that answer whatever the paths say.

    Attributes:
        origin, secure, proxy: the servers.
        asked: how often each request was read whole, by method and path.
        resumed: TLS connections that took up where an earlier one had ended.
    """

    def __init__(self, tls: ssl.SSLContext) -> None:
        self.asked: Counter[tuple[str, str]] = Counter()
        self.resumed = 0
        self._lock = threading.Lock()
        self._tls = tls
        self.origin = _Server(self._serve)
        self.secure = _Server(self._serve_tls)
        self.proxy = _Server(self._serve_proxy)

    @contextlib.contextmanager
    def running(self) -> Iterator[World]:
        with self.origin, self.secure, self.proxy:
            yield self

    def urls(self) -> tuple[str, str]:
        """Where origin and secure are, by name."""
        return f"http://localhost:{self.origin.port}", f"https://localhost:{self.secure.port}"

    def _serve_tls(self, peer: Peer) -> None:
        peer.start_tls(self._tls)
        with self._lock:
            self.resumed += bool(peer.sock.session_reused)  # type: ignore[attr-defined]
        self._serve(peer)
        peer.sock.setblocking(False)
        with contextlib.suppress(OSError, ValueError):
            peer.sock.unwrap()  # says goodbye, and does not wait for an answer

    def _serve_proxy(self, peer: Peer) -> None:
        """Be proxy and origin in one: what would be forwarded is answered here."""
        asked = read(peer)
        if asked is None:
            return
        if asked.method == "CONNECT":
            peer.send(b"HTTP/1.1 200 Connection established\r\n\r\n")
            self._serve_tls(peer)
        elif self._answer(peer, asked):
            self._serve(peer)

    def _serve(self, peer: Peer) -> None:
        while (asked := read(peer)) is not None:
            if not self._answer(peer, asked):
                return

    def _answer(self, peer: Peer, asked: Asked) -> bool:
        """Answer; whether the connection goes on."""
        with self._lock:
            self.asked[asked.method, asked.path] += 1
        goes_on = asked.kind not in {"until-close", "last"}
        fields = ["HTTP/1.1 " + _STATUS.get(asked.kind, "200 OK")]
        body = named(asked)
        if not goes_on:
            fields.append("Connection: close")
        if asked.kind == "redirect":
            fields.append(f"Location: {asked.path.replace('/redirect/', '/plain/')}")
        if asked.kind == "gzip":
            body = gzip.compress(body)
            fields.append("Content-Encoding: gzip")
        if asked.kind == "chunked":
            fields.append("Transfer-Encoding: chunked")
            pieces = [body[at : at + CHUNK] for at in range(0, len(body), CHUNK)]
            body = b"".join(b"%x\r\n%b\r\n" % (len(each), each) for each in [*pieces, b""])
        elif asked.kind not in {"until-close", "empty"}:
            fields.append(f"Content-Length: {len(body)}")
        if asked.method == "HEAD" or asked.kind == "empty":
            body = b""
        peer.send("\r\n".join([*fields, "", ""]).encode() + body)
        return goes_on


_STATUS = {"empty": "204 No Content", "missing": "404 Not Found", "redirect": "302 Found"}


class _Server(RawServer):
    """Forgets the threads that have ended: there are thousands of connections."""

    def _start(self, function, *args):
        self._threads[:] = [each for each in self._threads if each.is_alive()]
        super()._start(function, *args)
