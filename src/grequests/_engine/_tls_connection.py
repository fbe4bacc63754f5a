"""A connection through TLS: what goes in and comes out is ciphered, the rest is `Connection`'s.

Knows the TLS session and when OpenSSL has something to say by itself; nothing of certificates.
"""

from __future__ import annotations

import ssl
from http.client import RemoteDisconnected
from typing import TYPE_CHECKING, Any

from ._connection import _NO_RESPONSE, CHUNK, Connection
from ._failure import Failure
from ._mend import RaggedEOF
from ._upload import Upload

if TYPE_CHECKING:
    import _socket

    from ._pool import Origin
    from ._tls import TLSSession


class TLSConnection(Connection):
    """The same through TLS."""

    __slots__ = ("_tls",)

    _write_timed_out = "The write operation timed out"

    def __init__(self, origin: Origin, sock: _socket.socket, tls: TLSSession) -> None:
        super().__init__(origin, sock)
        self._tls = tls
        self._encrypt = tls.encrypt

    def close(self) -> None:
        origin = self.origin
        if not (self.closed or self._tls.closed) and self.served and origin.ticket is None:
            origin.ticket = self._tls.take_ticket()
        super().close()

    def is_silent(self) -> bool:
        if super().is_silent():
            return True
        # TLS 1.3 servers send session tickets after the handshake: records, yet no bytes of a
        # response. Let OpenSSL have them; silent is who said nothing else.
        try:
            data = self._receive(CHUNK)
            if not data:
                return False
            return not self._tls.decrypt(data) and not self._tls.closed
        except (OSError, MemoryError):
            return False

    def _overhear(self) -> bytes:
        if not self._poll(0):
            return b""
        wire = self._receive(CHUNK)
        data = self._tls.decrypt(wire) if wire else b""
        if not wire or self._tls.closed:
            raise RemoteDisconnected(_NO_RESPONSE)
        return data

    def _on_readable(self) -> None:
        try:
            self._read()
        except ssl.SSLError as error:
            self._fail_tls(error)
        except BaseException as error:  # noqa: BLE001 - gevent would swallow it
            self._on_error(error)

    def _read(self) -> None:
        size = self._chunk
        wire = self._receive(size)
        if len(wire) == size:
            self._chunk = CHUNK
        tls = self._tls
        exchange = self.exchange
        data = tls.decrypt(wire) if wire else b""
        if exchange is None:
            if not wire or data or tls.closed:
                self.origin.on_idle_closed(self)
            return
        if data and self.reader.feed(data):
            if tls.closed:
                self.reader.reusable = False
            self._finish(exchange, self.reader)
        elif not wire or tls.closed:
            self._on_end()
        else:
            self._reply_in_tls()
            self._go_on(exchange)

    def _on_end(self) -> None:
        exchange = self.exchange
        if (
            exchange is not None
            and self.is_ragged
            and self.reader.ends_with_stream
            and not exchange.suppress_ragged_eofs
        ):
            raise RaggedEOF(self.reader.take_body())
        super()._on_end()

    @property
    def is_ragged(self) -> bool:
        """Whether there was no goodbye: anybody on the way can end a TCP stream."""
        return not self._tls.closed

    def sockets(self) -> tuple[Any, ...]:
        """As `Connection.sockets`."""
        return (self._sock, self._tls.details)

    def pull(self, size: int) -> bytes:
        """As `Connection.pull`, deciphered."""
        tls = self._tls
        data = b""
        while not data and not tls.closed:
            wire = self._receive(max(size, CHUNK))
            if not wire:
                break
            data = tls.decrypt(wire)
            self._reply_in_tls()
        return data

    def _reply_in_tls(self) -> None:
        """Send what TLS itself has to say: new keys, a certificate asked for late."""
        data = self._tls.drain()
        if not data:
            return
        if self._upload is not None:
            self._upload.interject(data)
            return
        try:
            count = self._send(data)
        except BlockingIOError:
            count = 0
        if count < len(data):
            self._upload = Upload(self, None, memoryview(data)[count:], None)
            self._upload.start()

    def _fail_tls(self, error: ssl.SSLError) -> None:
        if self.exchange is None:
            self.origin.on_idle_closed(self)
        elif self.served and not self.reader.started:
            self._broken(error)
        else:
            self._fail(Failure(self._phase(), error, sent=True))
