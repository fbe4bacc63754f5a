"""A server that fails in all the ways that cost nothing to have, and requests to meet with each."""

from __future__ import annotations

import gzip
import socket
import struct

from engine.raw import Peer, answer

from .world import _Server, read

_OK = b"HTTP/1.1 200 OK\r\n"
_ZIP = gzip.compress(b"all of it" * 500)

#: What is sent for a path, after which the server closes; "reset" does so by force.
REPLIES: dict[str, bytes] = {
    "nothing": b"",
    "reset": b"",
    "half-a-head": _OK + b"Content-Le",
    "no-http": b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
    "bad-header": _OK + b"Content-Length : 5\r\n\r\nhello",
    "two-lengths": _OK + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
    "short": _OK + b"Content-Length: 5000\r\n\r\nhello",
    "reset-in-body": _OK + b"Content-Length: 5000\r\n\r\nhello",
    "bad-chunk": _OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nzz\r\n",
    "cut-chunk": _OK + b"Transfer-Encoding: chunked\r\n\r\n500\r\nhello",
    "cut-gzip": answer(_ZIP[:-10], "200 OK", "Content-Encoding: gzip"),
    "no-gzip": answer(b"not zipped", "200 OK", "Content-Encoding: gzip"),
    "loop": answer(b"", "302 Found", "Location: /loop"),
    "nowhere": answer(b"", "302 Found", "Location: nowhere://example.test/"),
    "surplus": answer(b"fine") + b"HTTP/1.1 200 OK\r\n\r\n",
    "error": answer(b"no", "500 No"),
}
#: The rest are not the server's doing, or take time.
OTHERS = ("refused", "no-name", "silence", "no-url", "large")
KINDS = (*REPLIES, *OTHERS)
#: Bytes that a body may have.
MAX_BODY = 100_000


def serve(peer: Peer) -> None:
    while (asked := read(peer)) is not None:
        kind = asked.kind
        if kind == "silence":
            peer.wait_end()
            return
        if kind == "large":
            peer.send(answer(bytes(3 * MAX_BODY)))
            return
        if kind.startswith("reset"):
            peer.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        peer.send(REPLIES[kind])
        if kind not in {"loop", "error", "cut-gzip", "no-gzip"}:
            return


class BadServer(_Server):
    """Answers badly."""

    def __init__(self) -> None:
        super().__init__(serve)

    def url(self, kind: str) -> str:
        """Where a request meets with this."""
        if kind == "refused":
            return f"http://127.0.0.9:{self.port}/"
        return {"no-name": "http://nobody.invalid/", "no-url": "http://"}.get(
            kind, f"http://127.0.0.1:{self.port}/{kind}"
        )
