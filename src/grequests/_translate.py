"""Engine failures into the exceptions that Requests raises for the same fault.

Two steps, as in Requests: a failure becomes the urllib3 exception that urllib3 would have raised at
that point; then urllib3's own `Retry` decides whether to go on; if not, its exception becomes
Requests', by the table of `HTTPAdapter.send`. Knows exceptions, and one warning, only. Errors are
rare: this builds urllib3's own objects, so that texts and attributes are those its users know.
"""

from __future__ import annotations

import ssl
from http.client import HTTPException, IncompleteRead
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from requests import exceptions as requests_errors
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection, _wrap_proxy_error
from urllib3.exceptions import (
    ConnectTimeoutError,
    InvalidHeader,
    MaxRetryError,
    NameResolutionError,
    NewConnectionError,
    ProtocolError,
    ProxyError,
    ReadTimeoutError,
    ResponseError,
    SSLError,
)
from urllib3.exceptions import (
    TimeoutError as UrllibTimeoutError,
)

from ._engine import ConflictingLengths, EncryptedKeyError, Failure, Phase
from ._response import with_jar

if TYPE_CHECKING:
    from collections.abc import Callable

    from requests import PreparedRequest

    from ._engine import Origin


def pool_of(origin: Origin) -> HTTPConnectionPool:
    """The urllib3 pool that error texts speak of. It never connects.

    Plain http through a proxy is, to urllib3, spoken to the proxy.
    """
    if origin.key.scheme == "https":
        return HTTPSConnectionPool(origin.host, origin.port)
    return HTTPConnectionPool(origin.peer_host, origin.peer_port)


def _connection_of(origin: Origin) -> HTTPConnection:
    cls = HTTPSConnection if origin.key.scheme == "https" else HTTPConnection
    return cls(_peer_of(origin), origin.peer_port)


def _peer_of(origin: Origin) -> str:
    """The host that is connected to; for tunnels urllib3 leaves the brackets of an address."""
    host = origin.peer_host
    return f"[{host}]" if origin.tunnel and ":" in host else host


class Fault:
    """A failure with what its translation needs.

    Args:
        failure: the engine's.
        origin: whom the request was for.
        target: the request's target, as in its first line.
        connect_timeout, read_timeout: seconds or None, for the texts.
    """

    __slots__ = ("connect_timeout", "failure", "origin", "read_timeout", "target")

    def __init__(
        self,
        failure: Failure,
        origin: Origin,
        target: str,
        connect_timeout: float | None,
        read_timeout: float | None,
    ) -> None:
        self.failure = failure
        self.origin = origin
        self.target = target
        self.connect_timeout = connect_timeout
        self.read_timeout = read_timeout

    def as_urllib3(self) -> Exception:
        """What urllib3 would have raised, and passed to `Retry.increment`."""
        error = _TABLE[self.failure.phase](self)
        if self.failure.proxy and self.failure.phase in _REACHING:
            return _wrap_proxy_error(error, "http")
        return error

    def _name(self) -> Exception:
        return NameResolutionError(
            _peer_of(self.origin),
            _connection_of(self.origin),
            self.failure.cause,  # type: ignore[arg-type]
        )

    def _connect(self) -> Exception:
        return NewConnectionError(
            _connection_of(self.origin),
            f"Failed to establish a new connection: {self.failure.cause}",
        )

    def _connect_timeout(self) -> Exception:
        return ConnectTimeoutError(
            _connection_of(self.origin),
            f"Connection to {_peer_of(self.origin)} timed out. "
            f"(connect timeout={self.connect_timeout})",
        )

    def _tunnel(self) -> Exception:
        # Also where it said something else than no, or nothing: urllib3 says it of a refusal only,
        # and of a cut or malformed reply that the connection was aborted, whosever it was.
        return _wrap_proxy_error(self.failure.cause, "http")  # type: ignore[arg-type]

    def _tls(self) -> Exception:
        cause = self.failure.cause
        if isinstance(cause, EncryptedKeyError):
            return SSLError(*cause.args)
        if isinstance(cause, ssl.SSLError):
            return SSLError(cause)
        return ProtocolError("Connection aborted.", cause)

    def _tls_timeout(self) -> Exception:
        return self._read_timed_out(self.connect_timeout)

    def _send(self) -> Exception:
        cause = self.failure.cause
        if isinstance(cause, (ssl.SSLError, ssl.CertificateError)):
            return SSLError(cause)
        if isinstance(cause, (OSError, HTTPException)):
            return ProtocolError("Connection aborted.", cause)
        return cause  # type: ignore[return-value]

    def _head(self) -> Exception:
        cause = self.failure.cause
        if isinstance(cause, ssl.SSLError):
            return SSLError(cause)
        if self.origin.proxied and isinstance(cause, ConnectionError):
            # http.client closes the connection then, and urllib3 takes it for one never made.
            return _wrap_proxy_error(cause, "http")
        if isinstance(cause, ConflictingLengths):
            return InvalidHeader(f"Content-Length contained multiple unmatching values ({cause})")
        if isinstance(cause, (OSError, HTTPException)):
            return ProtocolError("Connection aborted.", cause)
        return cause  # type: ignore[return-value]

    def _head_timeout(self) -> Exception:
        return self._read_timed_out(self.read_timeout)

    def _read_timed_out(self, seconds: float | None) -> Exception:
        return ReadTimeoutError(
            pool_of(self.origin), self.target, f"Read timed out. (read timeout={seconds})"
        )

    def _body(self) -> Exception:
        cause = self.failure.cause
        if isinstance(cause, ssl.SSLError):
            return SSLError(cause)
        if type(cause) is IncompleteRead and cause.expected is None:
            return ProtocolError("Response ended prematurely")
        if isinstance(cause, (OSError, HTTPException)):
            return ProtocolError(f"Connection broken: {cause!r}", cause)
        return cause  # type: ignore[return-value]

    def _body_timeout(self) -> Exception:
        return ReadTimeoutError(pool_of(self.origin), None, "Read timed out.")


_TABLE: Final[dict[Phase, Callable[[Fault], Exception]]] = {
    Phase.RESOLVE: Fault._name,
    Phase.CONNECT: Fault._connect,
    Phase.CONNECT_TIMEOUT: Fault._connect_timeout,
    Phase.TUNNEL: Fault._tunnel,
    Phase.TLS: Fault._tls,
    Phase.TLS_TIMEOUT: Fault._tls_timeout,
    Phase.SEND: Fault._send,
    Phase.SEND_TIMEOUT: Fault._send,
    Phase.HEAD: Fault._head,
    Phase.HEAD_TIMEOUT: Fault._head_timeout,
    Phase.BODY: Fault._body,
    Phase.BODY_TIMEOUT: Fault._body_timeout,
}

#: Failures on the way to the proxy, if there is one.
_REACHING: Final = frozenset({Phase.RESOLVE, Phase.CONNECT, Phase.CONNECT_TIMEOUT})
#: Failures after the head: urllib3 has returned the response by then and retries no more.
IN_BODY: Final = frozenset({Phase.BODY, Phase.BODY_TIMEOUT})


class _UnverifiedConnection(NamedTuple):
    """A connection as `_validate_conn` looks at it."""

    host: str
    is_closed: bool = False
    is_verified: bool = False
    proxy_is_verified: bool | None = None


def warn_unverified(origin: Origin) -> None:
    """Warn as urllib3 does before a request to a host whose certificate was not looked at.

    By urllib3's own code, so that filters by text, category and module find what they look for. It
    names whom it is connected to, which may be a proxy.
    """
    pool_of(origin)._validate_conn(_UnverifiedConnection(_peer_of(origin)))  # type: ignore[arg-type]


def is_network_error(error: BaseException) -> bool:
    """Whether urllib3 takes this, raised by a body as it is sent, for a fault of the connection."""
    return isinstance(error, (UrllibTimeoutError, ProtocolError, SSLError, ProxyError))


def body_error(error: Exception, request: PreparedRequest) -> Exception:
    """What `Response.iter_content` makes of a urllib3 exception."""
    made: Exception
    with_jar(request)
    if isinstance(error, ProtocolError):
        made = requests_errors.ChunkedEncodingError(error, request=request)
    elif isinstance(error, ReadTimeoutError):
        made = requests_errors.ConnectionError(error, request=request)
    elif isinstance(error, SSLError):
        made = requests_errors.SSLError(error, request=request)
    else:
        return error
    made.__cause__ = error
    return made


def send_error(error: Exception, request: PreparedRequest) -> Exception:
    """What `HTTPAdapter.send` makes of a urllib3 exception."""
    made = _send_error(error, with_jar(request))
    if made is not error:
        made.__cause__ = error
    return made


def _send_error(error: Exception, request: PreparedRequest) -> Exception:
    if isinstance(error, (ProtocolError, OSError)):
        return requests_errors.ConnectionError(error, request=request)
    if isinstance(error, MaxRetryError):
        return _give_up_error(error, request)
    for kind, make in _SEND_TABLE:
        if isinstance(error, kind):
            return make(error, request=request)
    return error


def _give_up_error(error: MaxRetryError, request: PreparedRequest) -> Exception:
    reason: Any = error.reason
    if isinstance(reason, ConnectTimeoutError) and not isinstance(reason, NewConnectionError):
        return requests_errors.ConnectTimeout(error, request=request)
    for kind, make in _GIVE_UP_TABLE:
        if isinstance(reason, kind):
            return make(error, request=request)
    return requests_errors.ConnectionError(error, request=request)


_GIVE_UP_TABLE: Final[tuple[tuple[type[Exception], Callable[..., Exception]], ...]] = (
    (ResponseError, requests_errors.RetryError),
    (ProxyError, requests_errors.ProxyError),
    (SSLError, requests_errors.SSLError),
)

#: What urllib3 says of a head it could read, and so does not ask its `Retry` about.
NOT_RETRIED: Final = InvalidHeader

_SEND_TABLE: Final[tuple[tuple[type[Exception], Callable[..., Exception]], ...]] = (
    (ProxyError, requests_errors.ProxyError),
    (SSLError, requests_errors.SSLError),
    (ReadTimeoutError, requests_errors.ReadTimeout),
    (InvalidHeader, requests_errors.InvalidHeader),
)

__all__ = [
    "IN_BODY",
    "NOT_RETRIED",
    "Fault",
    "body_error",
    "is_network_error",
    "pool_of",
    "send_error",
    "warn_unverified",
]
