"""What goes on the wire, by GRequests and by Requests, without a wire.

Each request is answered by an empty 200. In the fast lane an engine of our own takes what the call
has made of it; Requests' own adapter sends over urllib3 connections that have no socket.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import gevent
import requests
from requests.adapters import HTTPAdapter
from requests.exceptions import InvalidHeader
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

import grequests
from grequests import _general
from grequests._engine import Engine, Exchange, Origin, OriginKey
from grequests._engine import _engine as engine_module
from grequests._safe_error import hide_secrets

HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 0"
#: Seconds after which a request that hangs is no longer waited for.
PATIENCE = 20.0
_PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")
_MEDDLING = (*_PROXIES, *map(str.upper, _PROXIES), "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "NETRC")
_NOWHERE = "/nonexistent/netrc"
_ADDRESS = re.compile(r"0x[0-9a-f]+")


class Sent(NamedTuple):
    """What came of a request.

    Attributes:
        wire: what was written.
        error: its type and text, or None.
        headers: those of the response's request.
    """

    wire: bytes
    error: tuple[type, str] | None
    headers: list[tuple[str, str]]


class WentGeneral(BaseException):
    """A request that took the general lane: Requests itself, nothing to compare."""


@contextlib.contextmanager
def sealed() -> Iterator[None]:
    """An environment that says nothing about requests."""
    before = {name: os.environ.pop(name) for name in _MEDDLING if name in os.environ}
    os.environ["NETRC"] = _NOWHERE
    try:
        yield
    finally:
        del os.environ["NETRC"]
        os.environ.update(before)


# --- ours ----------------------------------------------------------------------------------------


class _Engine(Engine):
    """Notes what it is to send, and answers."""

    def __init__(self, hub: Any) -> None:
        super().__init__(hub)
        self.sent: list[bytes] = []

    def origin(self, key: OriginKey) -> Origin:
        return _Origin(self, key)


class _Origin(Origin):
    __slots__ = ()

    engine: _Engine

    def dispatch(self, exchange: Exchange) -> None:
        payload = exchange.payload
        rest = b"" if payload is None else bytes(payload.data or b"")
        self.engine.sent.append(exchange.wire + rest)
        exchange.connection = None
        exchange.head_at = 1.0
        self.engine.loop.run_callback(exchange.on_response, 200, HEAD, b"")


def _refuse(*_: Any) -> Any:
    raise WentGeneral


@contextlib.contextmanager
def _engine() -> Iterator[_Engine]:
    """An engine in the place of the real one, and nobody in the place of the general lane."""
    engine = _Engine(gevent.get_hub())
    names = ("perform", "perform_prepared", "perform_signed")
    before = [getattr(_general, name) for name in names]
    engine_module.substitute = lambda _real: engine
    for name in names:
        setattr(_general, name, _refuse)
    try:
        with gevent.Timeout(PATIENCE, AssertionError("it hangs")):
            yield engine
    finally:
        engine_module.substitute = None
        for name, function in zip(names, before):
            setattr(_general, name, function)


def ours(make: Any) -> Sent | None:
    """Send by GRequests, once, and two of its kind in one run, which must be the same.

    Args:
        make: makes session or None, method, URL and keywords.

    Returns:
        None if it took the general lane.
    """
    session, method, url, kwargs = make()
    alike = [grequests.request(method, url, session=session, **kwargs) for _ in range(3)]
    with _engine() as engine:
        try:
            grequests.map(alike[:1])
        except WentGeneral:
            return None
        found = _sent(alike[0], engine)
        grequests.map(alike[1:], size=1)
    for each in alike[1:]:
        assert _sent(each, engine) == found
    assert not engine.sent  # nothing of what was refused
    return found


def _sent(request: grequests.AsyncRequest, engine: _Engine) -> Sent:
    if request.response is None:
        return Sent(b"", described(request.exception), [])
    return Sent(engine.sent.pop(0), None, list(request.response.request.headers.items()))


# --- Requests' -----------------------------------------------------------------------------------


class _Socket:
    """What `http.client` takes for a socket."""

    def __init__(self, written: list[bytes]) -> None:
        self._written = written

    def sendall(self, data: Any) -> None:
        self._written.append(bytes(data))

    def makefile(self, *_: Any) -> io.BytesIO:
        return io.BytesIO(HEAD + b"\r\n\r\n")

    def settimeout(self, _seconds: Any) -> None:
        pass

    def close(self) -> None:
        pass


#: What was written since `theirs` began.
_written: list[bytes] = []


class _Plain(HTTPConnection):
    def connect(self) -> None:
        self.sock = _Socket(_written)  # type: ignore[assignment]


class _Secure(HTTPSConnection):
    def connect(self) -> None:
        self.sock = _Socket(_written)  # type: ignore[assignment]
        self.is_verified = True


class _PlainPool(HTTPConnectionPool):
    ConnectionCls = _Plain


class _SecurePool(HTTPSConnectionPool):
    ConnectionCls = _Secure


def _adapter() -> HTTPAdapter:
    adapter = HTTPAdapter()
    adapter.poolmanager.pool_classes_by_scheme = {"http": _PlainPool, "https": _SecurePool}
    return adapter


def theirs(make: Any) -> Sent:
    """Send by plain Requests."""
    session, method, url, kwargs = make()
    session = session or requests.Session()
    adapter = _adapter()
    session.mount("http://", adapter)
    session.mount("https://", adapter)
    _written.clear()
    error = None
    headers: list[tuple[str, str]] = []
    try:
        response = session.request(method, url, **kwargs)
        headers = list(response.request.headers.items())
    except Exception as raised:  # noqa: BLE001 - it is what is compared
        error = described(raised)
    finally:
        session.close()
    return Sent(b"".join(_written), error, headers)


def is_refused_header(error: tuple[type, str]) -> bool:
    """Whether we have refused a NUL or a fold, which Requests sends."""
    kind, text = error
    return issubclass(kind, InvalidHeader) and "it has a NUL or a line break" in text


def described(error: BaseException | None) -> tuple[type, str]:
    if "Location of the redirect is no URL" in str(error) and error is not None:
        error = error.__cause__  # what Requests stumbles over; with us it has a type
    if error is not None:
        hide_secrets(error)  # which Requests quotes
    return type(error), _ADDRESS.sub("0x", str(error))
