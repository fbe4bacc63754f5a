"""`Response`: a `requests.Response` whose costly parts are built when they are touched.

Knows Requests' and urllib3's data types and the bytes of a response's head; nothing of connections
in use. What each part contains is what Requests would have put there, built by Requests', urllib3's
and http.client's own code where that is not in the way of speed (headers, reason).
"""

from __future__ import annotations

import http.client
import io
from collections import OrderedDict
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar, overload

import requests
from requests.cookies import RequestsCookieJar, extract_cookies_to_jar
from requests.models import PreparedRequest
from requests.structures import CaseInsensitiveDict
from requests.utils import get_encoding_from_headers
from urllib3 import HTTPHeaderDict, HTTPResponse

from ._decode import unfold
from ._framing import settle_framing
from ._strict import expect_whole

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._engine import BodyStream
    from ._options import Options

T = TypeVar("T")

#: What `raw.version_string` says. urllib3 has it since 2.3.
_VERSION_STRING: Final[dict[str, Any]] = (
    {"version_string": "HTTP/1.1"}
    if "version_string" in HTTPResponse.__init__.__code__.co_varnames
    else {}
)


class lazy(Generic[T]):  # noqa: N801 - used like `property`
    """An attribute built at its first use, which can be assigned and deleted like any other."""

    def __init__(self, build: Callable[[Any], T]) -> None:
        self._build = build
        self.__doc__ = build.__doc__

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    @overload
    def __get__(self, instance: None, owner: type) -> lazy[T]: ...
    @overload
    def __get__(self, instance: object, owner: type) -> T: ...
    def __get__(self, instance: object | None, owner: type) -> lazy[T] | T:
        if instance is None:
            return self
        value = instance.__dict__[self._name] = self._build(instance)
        return value


class Response(requests.Response):
    """The answer to a request that took the fast lane.

    A `requests.Response` in every respect; `isinstance`, pickling, copying and all attributes work.
    `headers`, `cookies`, `raw`, `request`, `elapsed` and the like are built at their first use.
    """

    # Filled in by `Call`, which makes instances without calling __init__.
    _head: bytes
    _seconds: float
    _options: Options | None
    _source: tuple[Any, ...]

    _content_consumed = True
    _stream: BodyStream | None = None

    @property
    def is_streamed(self) -> bool:
        """Whether the body is (or was) the user's to read."""
        return self._stream is not None

    def stream_from(self, stream: BodyStream) -> None:
        """Leave the body to the user. Called by `Call`, before anybody else has the response."""
        self._stream = stream
        self._content = False
        self._content_consumed = False

    @lazy
    def headers(self) -> CaseInsensitiveDict[str]:
        headers: CaseInsensitiveDict[str] = CaseInsensitiveDict()
        headers._store = parse_headers(self._head)
        return headers

    @lazy
    def reason(self) -> str:
        line = self._head.split(b"\r\n", 1)[0].decode("latin-1")
        return [*line.split(None, 2), "", "", ""][2].strip()

    @lazy
    def encoding(self) -> str | None:
        return get_encoding_from_headers(self.headers)

    @lazy
    def elapsed(self) -> timedelta:
        return timedelta(seconds=self._seconds)

    @lazy
    def history(self) -> list[requests.Response]:
        return []

    @lazy
    def request(self) -> PreparedRequest:
        prepared, method, _, _, _, headers = self._source
        if prepared is None:
            prepared = PreparedRequest()
            prepared.method = method
            prepared.url = self.url
            prepared.headers = headers.copy()
        return with_jar(prepared)

    @lazy
    def cookies(self) -> RequestsCookieJar:
        jar = RequestsCookieJar()
        if b"\nset-cookie" in self._head.lower():
            extract_cookies_to_jar(jar, self.request, self.raw)
        return jar

    @lazy
    def raw(self) -> HTTPResponse:
        if self._stream is not None:
            return build_streamed_raw(self._head, self._source, self._stream)
        return build_raw(self._head, self._source)

    @lazy
    def connection(self) -> Any:
        from ._general import shared_adapter  # noqa: PLC0415 - the other lane, only if asked for

        return self._source[2].adapter or shared_adapter()

    @lazy
    def _next(self) -> PreparedRequest | None:
        from ._redirect import next_request  # noqa: PLC0415 - needs this module

        options = self._source[2]
        # In Requests all but the first response of a chain know where they lead.
        if not self.is_redirect or (options.allow_redirects and not self.history):
            return None
        history = self.history
        try:
            return next_request(self, options)
        finally:
            self.history = history

    def close(self) -> None:
        """Release the connection, if the body was not read to its end.

        Without `stream=True` there is nothing to release: the body is here and the connection was
        returned with it.
        """
        if self._stream is not None or ("raw" in self.__dict__ and self.raw is not None):
            super().close()

    def __getstate__(self) -> dict[str, Any]:
        if not self._content_consumed:
            _ = self.content
        return {name: getattr(self, name, None) for name in self.__attrs__}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._next = None


Response.__module__ = "grequests"


def with_jar(prepared: PreparedRequest) -> PreparedRequest:
    """A request for the user's eyes: its jar is there, empty if it was not needed so far.

    `Session.send` puts the cookies of redirects into it.
    """
    if prepared._cookies is None:
        prepared._cookies = RequestsCookieJar()
    return prepared


def parse_headers(head: bytes) -> OrderedDict[str, tuple[str, str]]:
    """Header lines as `CaseInsensitiveDict` keeps them; repeated ones joined by a comma.

    Args:
        head: the status line and the header lines, CRLF between them.
    """
    store: OrderedDict[str, tuple[str, str]] = OrderedDict()
    lines = iter(head.decode("latin-1").split("\r\n"))
    next(lines)
    for line in lines:
        name, _, value = line.partition(":")
        value = value.lstrip(" \t")
        key = name.lower()
        if key in store:
            first, others = store[key]
            store[key] = (first, f"{others}, {value}")
        else:
            store[key] = (name, value)
    return store


class _FileSocket:
    """What http.client takes for a socket, and reads a response from."""

    def __init__(self, file: io.BufferedIOBase) -> None:
        self._file = file

    def makefile(self, _mode: str) -> io.BufferedIOBase:
        return self._file


def build_raw(head: bytes, source: tuple[Any, ...]) -> HTTPResponse:
    """The urllib3 response under a Requests response whose body has been read."""
    original = _begin(io.BytesIO(head + b"\r\n\r\n"), source)
    original.close()
    raw = _wrap(original, source)
    if raw.length_remaining:
        raw.length_remaining = 0
    return raw


def build_streamed_raw(head: bytes, source: tuple[Any, ...], stream: BodyStream) -> HTTPResponse:
    """The urllib3 response under a Requests response whose body is still to be read."""
    connection = stream.connection
    stream.put_back(head + b"\r\n\r\n")
    original = _begin(io.BufferedReader(stream), source)
    raw = _wrap(original, source)
    if connection is not None and not original.isclosed():
        raw._connection = _StreamedConnection(connection)  # type: ignore[assignment]
    expect_whole(raw)
    return raw


def _begin(file: Any, source: tuple[Any, ...]) -> http.client.HTTPResponse:
    original = http.client.HTTPResponse(_FileSocket(file), method=source[1])  # type: ignore[arg-type]
    original.begin()
    settle_framing(original)
    return original


def _wrap(original: http.client.HTTPResponse, source: tuple[Any, ...]) -> HTTPResponse:
    _, method, options, target, origin, _ = source
    return HTTPResponse(
        body=original,
        headers=HTTPHeaderDict((name, unfold(value)) for name, value in original.msg.items()),
        status=original.status,
        version=original.version,
        **_VERSION_STRING,
        reason=original.reason,
        preload_content=False,
        decode_content=False,
        original_response=original,
        pool=PoolView(origin),  # type: ignore[arg-type]
        retries=options.retries,
        request_method=method,
        request_url=target,
    )


class PoolView:
    """What `response.raw._pool` is: a look at the connections to the response's origin.

    Grequests 0.7's users close their connections by `response.raw._pool.close()` and look at
    them by `response.raw._pool.pool.queue`. Both work; neither is needed.
    """

    def __init__(self, origin: Any) -> None:
        self._origin = origin
        self.scheme: str = origin.key.scheme
        self.host: str = origin.host
        self.port: int = origin.port

    def __repr__(self) -> str:
        name = "HTTPSConnectionPool" if self.scheme == "https" else "HTTPConnectionPool"
        return f"{name}(host={self.host!r}, port={self.port!r})"

    @property
    def pool(self) -> _QueueView:
        """The idle connections, as a queue has them."""
        return _QueueView(self._origin)

    @property
    def num_connections(self) -> int:
        """How many connections are open."""
        return len(self._origin.connections)

    def close(self) -> None:
        """Close the idle connections. The next request opens a new one.

        Those of another thread are closed as soon as that thread's event loop runs.
        """
        self._origin.engine.call(self._origin.close_idle)

    def _put_conn(self, _connection: Any) -> None:
        """What urllib3 calls when a streamed response has been read: the connection is back."""


class _QueueView:
    def __init__(self, origin: Any) -> None:
        self.queue = [_ConnectionView(each) for each in origin.idle]

    def qsize(self) -> int:
        return len(self.queue)


class _StreamedConnection:
    """The connection of a response that is being read, as urllib3 shows it (`raw.connection`)."""

    def __init__(self, connection: Any) -> None:
        self.sock = _SocketView(connection)
        self.host: str = connection.origin.host
        self.port: int = connection.origin.port

    def close(self) -> None:
        """Closing the response is what closes it."""


class _SocketView:
    """What can be asked of a connected socket: `getpeername`, `fileno`, `getpeercert`, ..."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    def __getattr__(self, name: str) -> Any:
        for each in self._connection.sockets():
            if hasattr(each, name):
                return getattr(each, name)
        raise AttributeError(name)


class _ConnectionView:
    """An idle connection as urllib3 shows one."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self.host: str = connection.origin.host
        self.port: int = connection.origin.port

    @property
    def sock(self) -> Any:
        """What has a `fileno()`, or None once closed."""
        return None if self._connection.closed else self._connection

    def close(self) -> None:
        """Close it, once it has given the response that somebody may be waiting for by now."""
        self._connection.origin.engine.call(self._connection.retire)
