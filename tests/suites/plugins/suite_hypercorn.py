"""pytest plugin: what urllib3's test server wants of a Hypercorn that PyPI does not have.

Its authors test with a branch of their own. Of that, their applications use two extensions of the
ASGI scope: `tls` (protocol and client certificate) and `_transport`, the stream itself, which the
proxy goes on with after CONNECT. Loaded in every way of running, plain too.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any

import hypercorn.trio.task_group
import trio
from hypercorn.events import RawData
from hypercorn.trio.tcp_server import TCPServer

_server: ContextVar[Any] = ContextVar("server")

_run = TCPServer.run
_read_data = TCPServer._read_data
_handle = hypercorn.trio.task_group._handle


async def run(self: Any) -> None:
    _server.set(self)
    self.real_stream = self.stream
    self.app_is_done = trio.Event()
    await _run(self)


async def handle(app: Any, config: Any, scope: Any, *rest: Any) -> None:
    server = _server.get()
    scope["extensions"]["_transport"] = server.real_stream
    scope["extensions"]["tls"] = _tls(server.real_stream)
    try:
        await _handle(app, config, scope, *rest)
    finally:
        server.app_is_done.set()


async def read_data(self: Any) -> None:
    """After CONNECT it is the application that reads, until it ends."""
    first = _First(self.real_stream)
    data = await first.peek()
    if data.startswith(b"CONNECT "):
        await self.protocol.handle(RawData(data))
        await self.app_is_done.wait()
        return
    self.stream = first
    try:
        await _read_data(self)
    finally:
        self.stream = self.real_stream


class _First:
    """A stream of which the first bytes were read already."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self._data: bytes | None = None

    async def peek(self) -> bytes:
        try:
            self._data = await self._stream.receive_some(65536)
        except (trio.ClosedResourceError, trio.BrokenResourceError):
            self._data = b""
        return self._data

    async def receive_some(self, size: int) -> bytes:
        if self._data is not None:
            data, self._data = self._data, None
            return data
        return await self._stream.receive_some(size)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def _tls(stream: Any) -> dict[str, Any]:
    if not isinstance(stream, trio.SSLStream):
        return {}
    certificate = stream.getpeercert() or {}
    parts = [pair for name in certificate.get("subject", ()) for pair in name]
    return {
        "alpn_protocol": stream.selected_alpn_protocol(),
        "client_cert_name": ", ".join(f"{k}={v}" for k, v in parts) or None,
    }


def pytest_configure() -> None:
    TCPServer.run = run
    TCPServer._read_data = read_data
    hypercorn.trio.task_group._handle = handle
