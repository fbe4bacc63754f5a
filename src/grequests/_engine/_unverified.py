"""A TLS connection whose peer's certificate nobody has looked at.

Whoever sends on it is told each time, when the connection is there and before a byte is sent, as by
urllib3. What the exchange does then may run the user's code (`warnings.showwarning`, a filter that
makes an error of the warning), so it never runs in a hub callback.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import gevent

from ._deadlines import NEVER
from ._tls_connection import TLSConnection

if TYPE_CHECKING:
    from ._exchange import Exchange


class UnverifiedConnection(TLSConnection):
    """The same as `TLSConnection`, with a word of warning before each exchange."""

    __slots__ = ()

    def start(self, exchange: Exchange) -> None:
        # From here on it is busy: an abort of the exchange closes it.
        self.exchange = exchange
        exchange.connection = self
        self.deadline = NEVER
        self._watcher.stop()
        try:
            if gevent.getcurrent() is self.origin.engine.hub:
                gevent.spawn(self._warn_and_start, exchange)
            else:
                self._warn_and_start(exchange)
        except MemoryError as error:
            self._on_error(error)

    def _warn_and_start(self, exchange: Exchange) -> None:
        try:
            self._start(exchange)
        except Exception as error:  # noqa: BLE001 - it is this exchange's outcome
            self._on_error(error)

    def _start(self, exchange: Exchange) -> None:
        if self.closed:
            return  # it was aborted before this greenlet began
        goes_on = exchange.on_unverified()
        if self.closed:
            return  # it was aborted meanwhile
        if not goes_on:
            self.abort()
        elif self.served and not self.is_silent():
            # Something came while the warning was shown: it is no answer to this.
            self.abort()
            exchange.connection = None
            self.origin.dispatch(exchange)
        elif self.served or not self._has_spoken(exchange):
            self.watch(write=False)
            super().start(exchange)
