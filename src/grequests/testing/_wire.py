"""Bytes of HTTP/1.1 as a server sees them: requests read, answers written as a timetable.

The requests come from our own code, urllib3's and http.client's, so they are known to be well
formed. The answers go to real parsers, llhttp and http.client. Knows values and bytes only.
"""

from __future__ import annotations

import errno
import http
import math
import os
import socket
import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias
from urllib.parse import urlsplit

from requests.structures import CaseInsensitiveDict

from grequests._options import host_header

from ._script import IN_BODY, Answer, Fault, SentRequest

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Answers that have no body whatever their headers say (RFC 9112 section 6.3, rule 1).
_BODILESS: Final = frozenset({204, 304})
#: What is cut in half if a fault strikes a body that is empty.
_FILLER: Final = b"." * 100
#: Seconds after which Linux gives up connecting (tcp_syn_retries of 6).
PATIENCE: Final = 127.0

#: Seconds after what came before, and what comes then: bytes, b"" for the end, or an error.
Step: TypeAlias = "tuple[float, bytes | BaseException]"


@dataclass(frozen=True)
class Way:
    """Where a request goes.

    Attributes:
        scheme, host, port: of whom it is for.
        proxy: where it goes through, or None.
    """

    scheme: str
    host: str
    port: int | None
    proxy: str | None = None

    def url(self, target: str) -> str:
        """The URL of a target, which is whole already if a proxy of plain http is asked."""
        return f"{self.origin}{target}" if target.startswith(("/", "*")) else target

    @property
    def origin(self) -> str:
        """Scheme and authority, without the default port."""
        return f"{self.scheme}://{host_header(self.scheme, self.host, self.port)}"


# --- requests ------------------------------------------------------------------------------------


def read_request(wire: bytes, way: Way, at: float) -> SentRequest:
    """What these bytes ask for."""
    head, _, rest = wire.partition(b"\r\n\r\n")
    line, *lines = head.decode("latin-1").split("\r\n")
    method, target, _ = line.split(" ")
    headers: CaseInsensitiveDict[str] = CaseInsensitiveDict()
    for each in lines:
        name, _, value = each.partition(":")
        value = value.strip(" \t")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    if "chunked" in headers.get("Transfer-Encoding", "").lower():
        rest = b"".join(_chunks(rest))
    url = way.url(target)
    return SentRequest(method, url, headers, rest, at, origin_of(url), way.proxy)


def unsent_request(method: str, target: str, way: Way, at: float) -> SentRequest:
    """The same of a request that was to be sent."""
    url = way.url(target)
    return SentRequest(method, url, CaseInsensitiveDict(), b"", at, origin_of(url), way.proxy)


def target_of(wire: bytes) -> tuple[str, str]:
    """Method and target of a request of which the head is there."""
    method, target, _ = wire.split(b" ", 2)
    return method.decode("latin-1"), target.decode("latin-1")


def origin_of(url: str) -> str:
    """The origin of a URL, as hosts are named: lower case, without the default port."""
    parts = urlsplit(url)
    return Way(parts.scheme, parts.hostname or "", parts.port).origin


def _chunks(framed: bytes) -> Iterator[bytes]:
    """Chunks without their framing (RFC 9112 section 7.1)."""
    while framed:
        line, _, framed = framed.partition(b"\r\n")
        size = int(line.partition(b";")[0], 16)
        yield framed[:size]
        framed = framed[size + 2 :]


# --- answers -------------------------------------------------------------------------------------


def timetable(answer: Answer, method: str) -> list[Step]:
    """What comes, and when. At its end the connection is closed.

    Args:
        answer: with no fault, or with one behind the request.
        method: of the request.
    """
    fault = answer.error
    if fault is not None and fault not in IN_BODY:
        return [_strike(fault, answer.latency)]
    pieces, rest = _timed(answer)
    head: Step = (answer.latency, _head(answer, sum(len(data) for _, data in pieces)))
    if method == "HEAD" or answer.status in _BODILESS:
        return [head]
    if "chunked" in _header(answer, "transfer-encoding").lower():
        pieces = [(seconds, b"%x\r\n%b\r\n" % (len(data), data)) for seconds, data in pieces]
        pieces.append((rest, b"0\r\n\r\n"))
        rest = 0.0
    if fault is None:
        return [head, *pieces, (rest, b"")]
    half = sum(len(data) for _, data in pieces) // 2
    return [head, *_cut(pieces, half), _strike(fault, 0.0)]


def _timed(answer: Answer) -> tuple[list[tuple[float, bytes]], float]:
    """The pieces of a body, each with the seconds before it, and the seconds behind them."""
    timed: list[tuple[float, bytes]] = []
    seconds = 0.0
    for piece in answer.pieces:
        if not isinstance(piece, bytes):
            seconds += piece
        elif piece:
            timed.append((seconds, piece))
            seconds = 0.0
    if not timed and answer.error is not None:
        timed.append((seconds, _FILLER))
    return timed, seconds


def _cut(pieces: list[tuple[float, bytes]], size: int) -> Iterator[Step]:
    """The first bytes of a body."""
    for seconds, data in pieces:
        if size > 0:
            yield seconds, data[:size]
        size -= len(data)


def _head(answer: Answer, length: int) -> bytes:
    reason = answer.reason
    if reason is None:
        reason = _PHRASES.get(answer.status, "")
    lines = [f"HTTP/1.1 {answer.status} {reason}"]
    lines += [f"{name}: {value}" for name, value in answer.fields]
    framed = answer.has("content-length") or answer.has("transfer-encoding")
    if not framed and answer.status not in _BODILESS:
        lines.append(f"Content-Length: {length}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def _header(answer: Answer, name: str) -> str:
    return next((value for each, value in answer.fields if each.lower() == name), "")


_PHRASES: Final = {int(each): each.phrase for each in http.HTTPStatus}

# --- faults --------------------------------------------------------------------------------------


def dial_error(fault: Fault) -> OSError:
    """What the system or OpenSSL says, of faults on the way to the server."""
    if fault is Fault.REFUSED:
        return ConnectionRefusedError(errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED))
    if fault is Fault.DNS:
        return socket.gaierror(socket.EAI_NONAME, "Name or service not known")
    if fault is Fault.TLS:
        return ssl.SSLCertVerificationError(1, _DISTRUST)
    return TimeoutError("timed out")


def dial_seconds(answer: Answer, timeout: float | None) -> float:
    """Seconds until such a fault strikes.

    Args:
        answer: with the fault.
        timeout: for connecting, or None: then the system gives up at some time.
    """
    if answer.error is Fault.CONNECT_TIMEOUT:
        return PATIENCE if timeout is None else timeout
    return answer.latency


_DISTRUST: Final = (
    "[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: self-signed certificate"
)


def _strike(fault: Fault, seconds: float) -> Step:
    """The end of an answer, or of there being none."""
    if fault in {Fault.READ_TIMEOUT, Fault.BODY_TIMEOUT}:
        return math.inf, b""
    if fault in {Fault.RESET, Fault.BODY_RESET}:
        return seconds, ConnectionResetError(errno.ECONNRESET, os.strerror(errno.ECONNRESET))
    return seconds, b""
