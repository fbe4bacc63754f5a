"""Proxies that refuse, lie, stall or die, and what is said of it: the faults of `test_proxy_faults`.

A `ProxyFault` says what a proxy does with the first request that reaches it, CONNECT for https. All
are asked for with a password, which nothing may show. Knows servers; of the library, kinds of errors.
"""

from __future__ import annotations

import ssl
import threading
from dataclasses import dataclass
from typing import Any

from engine.raw import Peer, RawServer, answer
from requests import exceptions

import grequests
from grequests._engine._connect import _MODERN_CONNECT
from grequests._kinds import BROKEN, MALFORMED, PROXY, READ_TIMEOUT, TLS, TOTAL_TIMEOUT

from .harness import TOTAL, Bad, Fin, Fine, Hold, Reset, end
from .sending import Forever, say, say_for_ever

AREA = "proxies"
USER, PASSWORD = "mallory", "hunter2/ %"
#: As it stands in the proxy's URL.
CREDENTIALS = "mallory:hunter2%2F%20%25"


@dataclass(frozen=True)
class ProxyFault:
    """What a proxy does, and what comes of it.

    Attributes:
        name: in the words of the table in docs/reliability.md.
        steps: what it does once it has read the request; as of `harness`.
        fast: the outcome in the fast lane.
        general: in the general lane, if Requests has another.
        later: in both, if what came too early comes a byte at a time, and so at its time.
        scheme: of the URL that is asked for: https goes through a tunnel.
        tls: whether the tunnel opens and it is in the handshake that it goes wrong.
        timeout: seconds of silence, and for connecting.
        total: seconds for all.
    """

    name: str
    steps: tuple[Any, ...]
    fast: Bad | Fine
    general: Bad | Fine | None = None
    later: Bad | Fine | None = None
    scheme: str = "https"
    timeout: float = TOTAL
    total: float = TOTAL
    area: str = AREA

    def __str__(self) -> str:
        return f"{self.name} ({self.scheme})".replace(" ", "-")

    def outcome(self, lane: str, step: int | None = None) -> Bad | Fine:
        if step and self.later is not None:
            return self.later
        return self.fast if lane == "fast" or self.general is None else self.general


@dataclass(frozen=True)
class After:
    """Read what the client says first, and then send this."""

    data: bytes


class FaultyProxy(RawServer):
    """A proxy that fails until it is `well`; then it is itself the server at the tunnel's end.

    Args:
        fault: what it does.
        tls: what the server at the tunnel's end shows.
        step: bytes that it sends at once; None for all.

    Attributes:
        well: set once it is to do as it should.
        asked: the head of each request that came in the clear.
    """

    def __init__(self, fault: ProxyFault, tls: ssl.SSLContext, step: int | None = None) -> None:
        super().__init__(self._serve)
        self.fault = fault
        self.step = step
        self.well = threading.Event()
        self.asked: list[bytes] = []
        self._context = tls

    def _serve(self, peer: Peer) -> None:
        while (head := peer.until(b"\r\n\r\n")) is not None:
            self.asked.append(head)
            target = head.split(b" ")[1]
            if not self.well.is_set():
                if not self._fail(peer):
                    return
            elif head.startswith(b"CONNECT "):
                peer.send(b"HTTP/1.1 200 Connection established\r\n\r\n")
                peer.start_tls(self._context)
                peer.serve()
                return
            else:
                peer.send(answer(b"/" + target.rpartition(b"/")[2]))

    def _fail(self, peer: Peer) -> bool:
        """Whether the connection goes on."""
        for step in self.fault.steps:
            if isinstance(step, bytes):
                say(peer, step, self.step)
            elif isinstance(step, Forever):
                say_for_ever(peer, step)
            elif isinstance(step, After):
                peer.sock.recv(65536)
                say(peer, step.data, self.step)
            elif isinstance(step, Hold):
                peer.wait_end()
                return False
            else:
                end(peer, step)
                return False
        return True


def head(line: str, *lines: str) -> bytes:
    return "\r\n".join([f"HTTP/1.1 {line}", *lines, "", ""]).encode("latin-1")


_REFUSED = Bad(PROXY, exceptions.ProxyError, "Tunnel connection failed: ")
_BLAMED = Bad(PROXY, exceptions.ProxyError, "Unable to connect to proxy")
#: What Requests says of the same.
_ABORTED = Bad(BROKEN, exceptions.ConnectionError, "Connection aborted.")
_NO_HTTP = Bad(MALFORMED, exceptions.ConnectionError, "Connection aborted.")
#: A reset may overtake what was sent before it.
_RESET = Bad(f"{BROKEN} or {MALFORMED} or {TLS}", exceptions.ConnectionError)
_TLS = Bad(TLS, exceptions.SSLError)
_READ_TIMEOUT = Bad(READ_TIMEOUT, exceptions.ReadTimeout)
_TOTAL = Bad(TOTAL_TIMEOUT, grequests.TotalTimeoutError)
_BASIC = 'Proxy-Authenticate: Basic realm="x"'
_OK = b"HTTP/1.1 200 OK\r\n"


def _refusals() -> list[ProxyFault]:
    """It says no."""
    replies = {
        "407": head("407 Proxy Authentication Required", _BASIC, "Content-Length: 0"),
        "407 with a body": head("407 Who", _BASIC, "Content-Length: 4") + b"body",
        "403": head("403 Forbidden", "Content-Length: 0"),
        "502": head("502 Bad Gateway", "Content-Length: 3") + b"bad",
        "302 to elsewhere": head("302 Found", "Location: http://127.0.0.1:1/", "Content-Length: 0"),
        "204": head("204 No Content"),
        "100 before the 200": head("100 Continue") + head("200 OK"),
        "103 before the 200": head("103 Early Hints", "Link: </x>") + head("200 OK"),
    }
    return [
        ProxyFault(f"CONNECT: {name}", (reply, Fin()), _REFUSED) for name, reply in replies.items()
    ]


def _cuts() -> list[ProxyFault]:
    """It dies within its reply."""
    found = []
    for how, ending in (("FIN", Fin()), ("RST", Reset())):
        early = [("nothing", b"", _ABORTED), ("half a status line", b"HTTP/1.1 20", _NO_HTTP)]
        if how == "RST":
            early = [(name, data, _RESET) for name, data, _ in early]
        found += [
            ProxyFault(f"CONNECT: {how} after {name}", (data, ending), _BLAMED, general)
            for name, data, general in early
        ]
        # To http.client, the end of the stream is the end of the head: TLS fails, or its first bytes
        # are answered by a reset.
        late = [("a status without an end", _OK[:-2]), ("the status line", _OK)]
        late += [("half a header line", _OK + b"X: y"), ("a header line", _OK + b"X: y\r\n")]
        found += [
            ProxyFault(f"CONNECT: {how} after {name}", (data, ending), _BLAMED, _RESET)
            for name, data in late
        ]
    return found


def _strange() -> list[ProxyFault]:
    """What it says is no HTTP, too much, or more than was asked for."""
    long_line = _OK + b"X: " + b"y" * 100_000 + b"\r\n\r\n"
    # http.client counts header lines here only from Python 3.12 on; then nobody speaks TLS.
    uncounted = _NO_HTTP if _MODERN_CONNECT else _READ_TIMEOUT
    many = _OK + b"X: y\r\n" * 2000 + b"\r\n"
    return [
        ProxyFault("CONNECT: garbage", (b"\x00\xff garbage\r\n\r\n", Fin()), _BLAMED, _NO_HTTP),
        ProxyFault("CONNECT: another protocol", (b"SSH-2.0-x\r\n", Fin()), _BLAMED, _NO_HTTP),
        ProxyFault("CONNECT: HTTP/0.9", (b"<html>hello</html>\r\n", Fin()), _BLAMED, _NO_HTTP),
        ProxyFault("CONNECT: a blank line", (b"\r\n\r\n", Fin()), _BLAMED, _NO_HTTP),
        ProxyFault("CONNECT: status abc", (b"HTTP/1.1 abc\r\n\r\n", Fin()), _BLAMED, _NO_HTTP),
        ProxyFault("CONNECT: a line of 100 KB", (long_line, Fin()), _BLAMED, _NO_HTTP),
        ProxyFault("CONNECT: 2000 header lines", (many, Hold()), _BLAMED, uncounted, timeout=0.4),
        ProxyFault("CONNECT: an endless line", (_OK, Forever(b"y" * 4096)), _BLAMED, _NO_HTTP),
        ProxyFault(
            "CONNECT: endless header lines",
            (_OK, Forever(b"X: y\r\n" * 100)),
            _BLAMED,
            _NO_HTTP if _MODERN_CONNECT else _TOTAL,
            total=1.0,
        ),
        ProxyFault(
            "CONNECT: an answer in the reply's tail",
            (_OK + b"\r\n" + answer(b"theirs"), Hold()),
            Bad(PROXY, exceptions.ProxyError, "Tunnel connection failed: the reply has a tail"),
            # Dropped, and so the handshake goes on; here there is nobody at its other end.
            _READ_TIMEOUT,
            _TLS,
            timeout=0.4,
        ),
        ProxyFault(
            "CONNECT: 200 with a body",
            (head("200 OK", "Content-Length: 4") + b"body", Hold()),
            Bad(PROXY, exceptions.ProxyError, "Tunnel connection failed: the reply has a tail"),
            _READ_TIMEOUT,
            _READ_TIMEOUT,
            timeout=0.4,
        ),
        # (RFC 9110 section 9.3.6: there is no body, whatever the head says.)
        ProxyFault(
            "CONNECT: 200 that announces a body",
            (head("200 OK", "Content-Length: 4"), Hold()),
            _READ_TIMEOUT,
            timeout=0.4,
        ),
        ProxyFault("tunnel: garbage for TLS", (_OK + b"\r\n", After(b"garbage\r\n" * 9)), _TLS),
        ProxyFault("tunnel: an answer in the clear", (_OK + b"\r\n", After(answer(b"x"))), _TLS),
        ProxyFault("tunnel: FIN as it opens", (_OK + b"\r\n", After(b""), Fin()), _TLS),
    ]


def _slow() -> list[ProxyFault]:
    """It takes its time: the outcome is a timeout, as ever."""
    found = [
        ProxyFault("CONNECT: silence", (Hold(),), _READ_TIMEOUT, timeout=0.4),
        ProxyFault("CONNECT: silence after half", (_OK, Hold()), _READ_TIMEOUT, timeout=0.4),
        # The fast lane has one deadline for tunnel and handshake, urllib3 one for each read.
        ProxyFault(
            "CONNECT: drip",
            (_OK, Forever(b"y", 0.05)),
            _READ_TIMEOUT,
            _TOTAL,
            timeout=0.6,
            total=2.0,
        ),
    ]
    plain = {"scheme": "http", "timeout": 0.4}
    return [*found, ProxyFault("silence", (Hold(),), _READ_TIMEOUT, **plain)]  # type: ignore[arg-type]


def _plain() -> list[ProxyFault]:
    """Without a tunnel its refusals are responses, and its faults those of any server."""
    empty = "Content-Length: 0"
    cases = [
        ("407", (head("407 Proxy Authentication Required", _BASIC, empty),), Fine(b"", 407)),
        ("403", (head("403 Forbidden", empty),), Fine(b"", 403)),
        ("502", (head("502 Bad Gateway", "Content-Length: 3") + b"bad",), Fine(b"bad", 502)),
        ("garbage", (b"\x00\xff garbage\r\n\r\n", Fin()), _NO_HTTP),
        ("HTTP/0.9", (b"<html>hello</html>\r\n", Fin()), _NO_HTTP),
        ("FIN after nothing", (Fin(),), _BLAMED),
        ("RST after nothing", (Reset(),), _BLAMED),
    ]
    return [ProxyFault(name, steps, outcome, scheme="http") for name, steps, outcome in cases]


FAULTS = (*_refusals(), *_cuts(), *_strange(), *_slow(), *_plain())
