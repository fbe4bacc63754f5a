"""What a failure is, in a few words, so that failures can be counted.

Errors come wrapped: Requests' around urllib3's around the operating system's. A table says of each
class what it tells, and the first that is sure is believed, from the outside in. Knows exceptions
only, and looks at texts where there is nothing else: the fast lane's errors carry the system's
number in theirs, as urllib3's do.
"""

from __future__ import annotations

import errno
import re
import socket
import ssl
from functools import lru_cache
from http.client import HTTPException, RemoteDisconnected
from http.client import IncompleteRead as ShortRead
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from gevent import GreenletExit
from requests import exceptions as requests_errors
from urllib3 import exceptions as urllib3_errors
from urllib3.util.ssl_match_hostname import CertificateError

from . import _exceptions as own_errors

if TYPE_CHECKING:
    from collections.abc import Callable

#: No address for the name: DNS, or a name that does not exist.
NAME: Final = "name not resolved"
#: Nobody listens there.
REFUSED: Final = "refused"
#: There is no way to the address, or no connection for another reason.
UNREACHABLE: Final = "unreachable"
#: No TCP connection in time.
CONNECT_TIMEOUT: Final = "connect timeout"
#: Nothing came from the server for too long, or it took nothing of an upload; TLS counts here.
READ_TIMEOUT: Final = "read timeout"
#: `Timeout(total=...)` or `Timeout(request=...)` was over.
TOTAL_TIMEOUT: Final = "total timeout"
#: The deadline of the run was over.
DEADLINE: Final = "deadline"
#: The certificate was not accepted: its authority is unknown, it is another host's, or too old.
CERTIFICATE: Final = "certificate"
#: Anything else in TLS.
TLS: Final = "TLS"
#: The proxy could not be reached, or would not; or what was given is none.
PROXY: Final = "proxy"
#: The connection ended or was reset before the answer had ended.
BROKEN: Final = "connection broken"
#: The body ended before its framing said so.
TRUNCATED: Final = "truncated body"
#: The body is not in the coding that its headers name.
ENCODING: Final = "bad encoding"
#: Body or headers are larger than they may be.
TOO_LARGE: Final = "too large"
#: More redirects than the session follows.
REDIRECTS: Final = "too many redirects"
#: Statuses that the Retry of a session's adapter gave up on, or `raise_for_status` in a hook.
STATUS: Final = "bad status"
#: URL, headers or body that no request can be made of.
INVALID: Final = "invalid request"
#: The host keeps failing and is left alone.
CIRCUIT: Final = "circuit open"
#: Cancelled, or its client closed.
CANCELLED: Final = "cancelled"
#: What came is no HTTP.
MALFORMED: Final = "malformed response"
#: The item was nothing that can be sent.
NOT_A_REQUEST: Final = "not a request"
#: The address policy does not permit it.
DENIED: Final = "address denied"
#: This machine has no descriptor, port or memory for another connection.
RESOURCES: Final = "out of resources"
#: Anything else, such as what a hook has raised.
OTHER: Final = "other"

#: All of them.
KINDS: Final = (
    *(NAME, REFUSED, UNREACHABLE, CONNECT_TIMEOUT, READ_TIMEOUT, TOTAL_TIMEOUT, DEADLINE),
    *(CERTIFICATE, TLS, PROXY, BROKEN, TRUNCATED, ENCODING, TOO_LARGE, REDIRECTS, STATUS),
    *(INVALID, CIRCUIT, CANCELLED, MALFORMED, NOT_A_REQUEST, DENIED, RESOURCES, OTHER),
)

#: How deep errors are wrapped at most. Requests, urllib3 twice, http.client, the system: five.
_DEPTH: Final = 8


def kind_of(error: BaseException) -> str:
    """What a failure is, in the words of this module's constants.

    Args:
        error: what Requests, the system, this library or a hook has raised.

    Example:
        >>> kind_of(ConnectionRefusedError(111, "Connection refused"))
        'refused'
    """
    guess = OTHER
    each: BaseException | None = error
    for _ in range(_DEPTH):
        if each is None:
            break
        rule = _rule_of(type(each))  # type: ignore[arg-type]  # to mypy, no exception is hashable
        if rule is not None:
            kind = rule.look(each) if rule.look else rule.kind
            if kind and rule.is_sure:
                return kind
            guess = kind or guess
        each = inside(each)
    return guess


def inside(error: BaseException) -> BaseException | None:
    """What an error is wrapped around, or None."""
    reason = getattr(error, "reason", None)
    if isinstance(reason, BaseException):
        return reason  # urllib3's MaxRetryError
    for each in error.args:
        if isinstance(each, BaseException):
            return each
    return error.__cause__


# The tables


class _Rule(NamedTuple):
    """What a class tells.

    Attributes:
        kind: what its errors are.
        is_sure: whether to believe it. Else what is inside may know better.
        look: finds the kind of one such error, or None.
    """

    kind: str | None
    is_sure: bool = True
    look: Callable[[Any], str | None] | None = None


def _guess(kind: str) -> _Rule:
    return _Rule(kind, is_sure=False)


def _look(function: Callable[[Any], str | None]) -> _Rule:
    return _Rule(None, is_sure=True, look=function)


_NUMBERS: Final = {
    errno.ECONNREFUSED: REFUSED,
    **dict.fromkeys(
        (errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ENETDOWN, errno.EHOSTDOWN), UNREACHABLE
    ),
    # EADDRNOTAVAIL: all ports of this side are in use, or wait for their connection's last packets.
    **dict.fromkeys(
        (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EADDRNOTAVAIL), RESOURCES
    ),
}
#: What `connect` says, but not only `connect`.
_CONNECTING: Final = {**_NUMBERS, errno.ETIMEDOUT: CONNECT_TIMEOUT}
_ERRNO: Final = re.compile(r"\[Errno (-?\d+)\]")


def _new_connection(error: urllib3_errors.NewConnectionError) -> str:
    """No connection: why is in its cause or, in the fast lane, in its text only.

    PySocks does not tell a proxy that is not reached from one that does not reach the host.
    """
    if type(error.conn).__name__.startswith("SOCKS"):
        return PROXY
    number = getattr(error.__cause__, "errno", None)
    if number is None:
        told = _ERRNO.search(str(error))
        number = int(told[1]) if told else 0
    return _CONNECTING.get(number, UNREACHABLE)


def _system(error: OSError) -> str | None:
    """An error of the system; without a number it is Requests' own, of files of certificates."""
    if type(error) is OSError and error.errno is None:
        return TLS if "TLS" in str(error) else None
    return None if error.errno is None else _NUMBERS.get(error.errno)


def _chunk_length(error: urllib3_errors.InvalidChunkLength) -> str:
    """A line that is no chunk's length; nothing at all is the end of the stream."""
    return MALFORMED if error.length else TRUNCATED


def _header(error: requests_errors.InvalidHeader) -> str:
    """A header of ours, or the server's Content-Length that contradicts itself."""
    return MALFORMED if isinstance(inside(error), urllib3_errors.InvalidHeader) else INVALID


def _schema(error: requests_errors.InvalidSchema) -> str:
    """A scheme nobody speaks; Requests says it of SOCKS proxies without PySocks as well."""
    return PROXY if str(error).startswith("Missing dependencies for SOCKS") else INVALID


def _value(error: ValueError) -> str | None:
    """What http.client and urllib3 refuse to send, by their words; any other may be a hook's."""
    return INVALID if str(error).startswith(_REFUSALS) else None


_REFUSALS: Final = ("Invalid header ", "Method cannot contain non-token characters")

#: The first class that fits counts: subclasses stand before their bases.
_TABLE: Final[tuple[tuple[type[BaseException], _Rule], ...]] = (
    # Our own.
    (own_errors.NotARequestError, _Rule(NOT_A_REQUEST)),
    (own_errors.RequestInFlightError, _Rule(INVALID)),
    (own_errors.TotalTimeoutError, _Rule(TOTAL_TIMEOUT)),
    (own_errors.DeadlineError, _Rule(DEADLINE)),
    (own_errors.BodyTooLargeError, _Rule(TOO_LARGE)),
    (own_errors.HeadersTooLargeError, _Rule(TOO_LARGE)),
    (own_errors.AddressDeniedError, _Rule(DENIED)),
    (own_errors.CircuitOpenError, _Rule(CIRCUIT)),
    (own_errors.RequestCancelledError, _Rule(CANCELLED)),
    (own_errors.ClientClosedError, _Rule(CANCELLED)),
    (GreenletExit, _Rule(CANCELLED)),
    # Requests'.
    (requests_errors.ConnectTimeout, _Rule(CONNECT_TIMEOUT)),
    (requests_errors.ReadTimeout, _Rule(READ_TIMEOUT)),
    (requests_errors.ProxyError, _Rule(PROXY)),
    (requests_errors.InvalidProxyURL, _Rule(PROXY)),
    (requests_errors.SSLError, _guess(TLS)),
    (requests_errors.ChunkedEncodingError, _guess(TRUNCATED)),
    (requests_errors.ContentDecodingError, _Rule(ENCODING)),
    (requests_errors.TooManyRedirects, _Rule(REDIRECTS)),
    (requests_errors.RetryError, _Rule(STATUS)),
    (requests_errors.HTTPError, _Rule(STATUS)),
    (requests_errors.InvalidHeader, _look(_header)),
    (requests_errors.InvalidSchema, _look(_schema)),
    (requests_errors.InvalidURL, _guess(INVALID)),  # of a proxy, urllib3 knows better
    (requests_errors.MissingSchema, _Rule(INVALID)),
    (requests_errors.URLRequired, _Rule(INVALID)),
    (requests_errors.JSONDecodeError, _Rule(OTHER)),  # of a hook that read the answer
    (requests_errors.InvalidJSONError, _Rule(INVALID)),
    (requests_errors.UnrewindableBodyError, _Rule(INVALID)),
    (requests_errors.Timeout, _guess(READ_TIMEOUT)),
    (requests_errors.ConnectionError, _guess(BROKEN)),
    # urllib3's.
    (urllib3_errors.NameResolutionError, _Rule(NAME)),
    (urllib3_errors.NewConnectionError, _look(_new_connection)),
    (urllib3_errors.ConnectTimeoutError, _Rule(CONNECT_TIMEOUT)),
    (urllib3_errors.ReadTimeoutError, _Rule(READ_TIMEOUT)),
    (urllib3_errors.ProxyError, _Rule(PROXY)),
    (urllib3_errors.ProxySchemeUnknown, _Rule(PROXY)),
    (urllib3_errors.ProxySchemeUnsupported, _Rule(PROXY)),
    (urllib3_errors.SSLError, _guess(TLS)),
    (urllib3_errors.DecodeError, _Rule(ENCODING)),
    (urllib3_errors.InvalidChunkLength, _look(_chunk_length)),
    (urllib3_errors.InvalidHeader, _Rule(MALFORMED)),
    (urllib3_errors.LocationValueError, _Rule(INVALID)),
    (urllib3_errors.ResponseError, _Rule(STATUS)),
    # The standard library's, and what is no more than a hint.
    (socket.gaierror, _Rule(NAME)),
    (socket.herror, _Rule(NAME)),
    (ssl.SSLCertVerificationError, _Rule(CERTIFICATE)),
    (CertificateError, _Rule(CERTIFICATE)),
    (ssl.SSLError, _Rule(TLS)),
    (RemoteDisconnected, _Rule(BROKEN)),
    (ShortRead, _Rule(TRUNCATED)),
    (HTTPException, _Rule(MALFORMED)),
    (TimeoutError, _Rule(READ_TIMEOUT)),
    (ConnectionRefusedError, _Rule(REFUSED)),
    (ConnectionError, _Rule(BROKEN)),
    # Of a file that a body is read from; to urllib3 they are the connection's.
    (PermissionError, _Rule(OTHER)),
    (FileNotFoundError, _Rule(OTHER)),
    (OSError, _look(_system)),
    (MemoryError, _Rule(RESOURCES)),
    (UnicodeEncodeError, _Rule(INVALID)),  # of a header or a name
    (ValueError, _look(_value)),
)


@lru_cache(maxsize=256)
def _rule_of(cls: type[BaseException]) -> _Rule | None:
    return next((rule for kind, rule in _TABLE if issubclass(cls, kind)), None)
