"""One socket, one watcher, one exchange at a time. Runs in hub callbacks, never blocks.

Knows the socket, the reader of responses and its origin, to whom it returns. Whatever a callback
raises becomes the outcome of the exchange: gevent would print and swallow it.
"""

from __future__ import annotations

import _socket
import contextlib
import ssl
from http.client import RemoteDisconnected
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

from gevent.monkey import get_original

from grequests._signals import struck

from ._allocator import allocator
from ._deadlines import NEVER
from ._failure import Failure, Phase
from ._limits import excess
from ._mend import UnsolicitedResponse
from ._protocol import ResponseReader
from ._stream import BodyStream, HeadIsThere, StreamReader
from ._upload import CLOSED, Upload
from ._watchers import close_watcher

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._exchange import Exchange
    from ._pool import Origin

READ: Final = 1
WRITE: Final = 2
#: What is read at once on a connection that has not filled it yet. The allocation is cut to what
#: came; with a thousand connections, 64 KiB each time cost a quarter more CPU per request.
SMALL_CHUNK: Final = 4096
#: What is read at once. 256 KiB doubled the CPU per small response: such an allocation is mapped
#: and unmapped each time.
CHUNK: Final = 65536
#: What is read at once of a body known to be long.
LARGE_CHUNK: Final = 131072


_NO_RESPONSE: Final = "Remote end closed connection without response"

_make_poll = get_original("select", "poll")


class Connection:
    """A connected socket in the care of an origin."""

    __slots__ = (
        "_chunk",
        "_encrypt",
        "_poll",
        "_receive",
        "_send",
        "_sock",
        "_upload",
        "_watcher",
        "closed",
        "deadline",
        "exchange",
        "origin",
        "reader",
        "served",
        "slot",
    )

    def __init__(self, origin: Origin, sock: _socket.socket) -> None:
        self.origin = origin
        self.exchange: Exchange | None = None
        self.reader = ResponseReader()
        self.deadline = self.slot = NEVER
        self.served = 0
        self.closed = False
        self._chunk = SMALL_CHUNK
        self._encrypt: Callable[[bytes], bytes] | None = None
        self._sock = sock
        self._receive: Callable[[int], bytes] = sock.recv
        self._send: Callable[[Any], int] = sock.send
        self._upload: Upload | None = None
        poller = _make_poll()
        poller.register(sock.fileno(), READ)
        self._poll: Callable[[int], list[Any]] = poller.poll
        self._listen()

    def __repr__(self) -> str:
        state = "closed" if self.closed else "busy" if self.exchange else "idle"
        return f"<{type(self).__name__} to {self.origin} {state} served={self.served}>"

    def fileno(self) -> int:
        """The descriptor, -1 once closed."""
        return self._sock.fileno()

    @property
    def reuses(self) -> int:
        """How many responses it has given after its first."""
        return max(self.served - 1, 0)

    def is_silent(self) -> bool:
        """Whether the idle connection has nothing to say: no byte, no end."""
        try:
            return not self._poll(0)
        except (OSError, MemoryError):
            return False  # nobody knows

    def begin(self, exchange: Exchange, early: bytes) -> None:
        """Send the first request, unless the server has spoken before it was asked.

        What it has said is no answer to this request: nobody knows to whom it belongs (RFC 9112
        section 9.2). Requests takes it for the answer.

        Args:
            exchange: the request.
            early: what was already read from the connection.
        """
        if not self._has_spoken(exchange, early):
            self.start(exchange)

    def _has_spoken(self, exchange: Exchange, early: bytes = b"") -> bool:
        """Whether the server has spoken, or left, before it was asked; the exchange is told."""
        try:
            early += self._overhear()
            if early:
                raise UnsolicitedResponse(early)  # noqa: TRY301
        except BlockingIOError:
            return False  # nothing after all
        except (OSError, MemoryError, UnsolicitedResponse) as error:
            self.exchange = exchange
            self._fail(Failure(Phase.HEAD, error))
            return True
        return False

    def start(self, exchange: Exchange) -> None:
        """Send a request on this idle connection."""
        self.exchange = exchange
        exchange.connection = self
        try:
            if exchange.streamed:
                self.reader = StreamReader(exchange.is_streamable)
            self.reader.expect(exchange.method)
            self._watcher.ref = True
            timeout = exchange.read_timeout
            if timeout is None:
                self.deadline = NEVER
            else:
                self.deadline = deadline = monotonic() + timeout
                if self.slot > deadline:  # else it is watched already, and will be found to live on
                    self.origin.engine.deadlines.watch(self, deadline)
            wire = exchange.wire
            try:
                if self._encrypt is not None:
                    wire = self._encrypt(wire)
                count = self._send(wire)
            except BlockingIOError:
                count = 0
            if count < len(wire) or exchange.payload is not None:
                unsent = memoryview(wire)[count:]
                self._upload = Upload(self, exchange.payload, unsent, exchange.connect_timeout)
                self._upload.start()
        except ssl.SSLError:
            self.end()
        except BaseException as error:  # noqa: BLE001 - it is this exchange's outcome
            # The server may have answered before it closed: the read will tell.
            if not (isinstance(error, OSError) and error.errno in CLOSED):
                self._on_error(error)

    def abort(self) -> None:
        """Close, and forget the exchange without telling it."""
        self.exchange = None
        self.close()

    def close(self) -> None:
        """Close the socket. An exchange under way is not told."""
        if self.closed:
            return
        self.closed = True
        close_watcher(self._watcher)
        upload, self._upload = self._upload, None
        if upload is not None:
            upload.abandon()
        self._sock.close()
        self.reader.close()
        self.origin.engine.deadlines.forget(self)
        self.origin.on_closed(self)

    def retire(self) -> None:
        """Close once nobody is being served; on a detached connection, that is its reader's."""
        if self.exchange is not None:
            self.spend()
        elif self in self.origin.idle:
            self.origin.on_idle_closed(self)

    def expire(self) -> None:
        """The deadline is over (called by the engine's deadlines)."""
        exchange = self.exchange
        if exchange is None:
            self.origin.on_idle_closed(self)
            return
        upload = self._upload
        if upload is not None:
            if not upload.on_expired():
                self._fail_sending(upload)
            return
        timeout = exchange.read_timeout
        if timeout is not None and self._poll(0):
            # The server was in time, it is the hub that was kept from reading.
            self.origin.engine.deadlines.watch(self, monotonic() + timeout)
            return
        phase = Phase.HEAD_TIMEOUT if self.reader.head is None else Phase.BODY_TIMEOUT
        self._fail(Failure(phase, TimeoutError("timed out"), sent=True))

    def _listen(self) -> None:
        """Have the hub say when there is something to read."""
        self._watcher = self.origin.engine.loop.io(self._sock.fileno(), READ)
        self._watcher.ref = False
        self._watcher.start(self._on_readable)

    # Sending, for the upload

    def channel(self) -> tuple[Callable[[Any], int], Callable[[Any], bytes] | None]:
        """What gives wire bytes to the socket, and what makes wire bytes of plain ones."""
        return self._send, self._encrypt

    def watch(self, *, write: bool, read: bool = True) -> None:
        """Say what of the socket is of interest."""
        watcher = self._watcher
        watcher.stop()
        if write:
            watcher.events = READ | WRITE if read else WRITE
            watcher.start(self._on_event, pass_events=True)
        elif read:
            watcher.events = READ
            watcher.start(self._on_readable)

    def spend(self) -> None:
        """The connection is not to be used again."""
        if self.exchange is not None:
            self.exchange.close_after = True

    def on_sent(self) -> None:
        """Nothing more will be sent: now it is the server's turn."""
        try:
            self._on_sent()
        except BaseException as error:  # noqa: BLE001 - it is this exchange's outcome
            self._on_error(error)

    def _on_sent(self) -> None:
        upload, self._upload = self._upload, None
        exchange = self.exchange
        assert upload is not None
        assert exchange is not None
        self.watch(write=False)
        if upload.answered:
            if not self.is_silent():
                exchange.close_after = True
            if exchange.streamed:
                self._hand_over()
            else:
                self._finish(exchange, self.reader)
        elif exchange.read_timeout is not None:
            self.origin.engine.deadlines.watch(self, monotonic() + exchange.read_timeout)
        else:
            self.deadline = NEVER

    def on_upload_failed(self, failure: Failure) -> None:
        """The rest of the request will not come."""
        self._upload = None
        self._fail(failure)

    def end(self) -> None:
        """Nothing can be sent any more: have the next read tell."""
        with contextlib.suppress(OSError):
            self._sock.shutdown(_socket.SHUT_RDWR)

    def _on_event(self, events: int) -> None:
        try:
            upload = self._upload
            if events & WRITE and upload is not None:
                upload.on_writable()
        except BaseException as error:  # noqa: BLE001 - gevent would swallow it
            self._on_error(error)
        upload = self._upload
        if events & READ and not self.closed and (upload is None or not upload.answered):
            self._on_readable()

    def _fail_sending(self, upload: Upload) -> None:
        """The server has not read for as long as it may."""
        if upload.answered:
            upload.stop()
        else:
            self._fail(Failure(Phase.SEND_TIMEOUT, TimeoutError(self._write_timed_out), sent=True))

    #: As the socket says it.
    _write_timed_out = "timed out"

    # Receiving

    def _overhear(self) -> bytes:
        """What the server has said without being asked.

        Raises:
            OSError: it has ended the connection.
        """
        if not self._poll(0):
            return b""
        data = self._receive(SMALL_CHUNK)
        if not data:
            raise RemoteDisconnected(_NO_RESPONSE)
        return data

    def _on_readable(self) -> None:
        try:
            reader = self.reader
            size = self._chunk
            if reader.wanted > LARGE_CHUNK:
                size = LARGE_CHUNK
                if allocator.is_cold:
                    allocator.warm_up()
            data = self._receive(size)
            exchange = self.exchange
            if exchange is None or not data:
                self._on_end()
                return
            if len(data) == size and size < CHUNK:
                self._chunk = CHUNK
            if reader.feed(data):
                self._finish(exchange, reader)
            else:
                self._go_on(exchange)
        except BaseException as error:  # noqa: BLE001 - gevent would swallow it
            self._on_error(error)

    def _on_error(self, error: BaseException) -> None:
        if isinstance(error, HeadIsThere):
            self._hand_over()
            return
        if isinstance(error, BlockingIOError):
            return  # another callback of this turn of the loop has read what was there
        if struck(error):
            if not self.on_signal(error):
                raise error
        elif isinstance(error, ConnectionError) and self._upload is not None:
            # Who is sending learns it from `send`, and a read then says that this is the end.
            self._on_cut()
        elif isinstance(error, OSError):
            self._broken(error)
        else:
            self._fail(Failure(self._phase(), error, sent=True))

    def on_signal(self, error: BaseException) -> bool:
        """A signal's handler raised in the middle of things: whatever was to be done is not done.

        If it got as far as gevent, this connection's watcher has been stopped.

        Returns:
            Whether an exchange was told.
        """
        exchange, self.exchange = self.exchange, None
        self.origin.on_idle_closed(self)
        if exchange is None:
            return False
        exchange.connection = None
        exchange.on_failure(Failure(self._phase(), error, sent=True))
        return True

    def _go_on(self, exchange: Exchange) -> None:
        """More is to come: the timeout counts from now."""
        is_new = not exchange.head_at and self.reader.head is not None
        if is_new:
            exchange.head_at = monotonic()
        if exchange.max_body is not None or exchange.max_head is not None:
            failure = excess(exchange, self.reader, is_new=is_new)
            if failure is not None:
                self._fail(failure)
                return
        upload = self._upload
        if upload is not None:
            upload.on_heard(self.reader.head, continued=self.reader.continued)
        elif self.deadline is not NEVER:
            self._postpone()

    def _on_end(self) -> None:
        """The stream ended, or an idle connection spoke: in both cases it has had its day."""
        exchange = self.exchange
        if exchange is None:
            self.origin.on_idle_closed(self)
        elif not self.reader.started:
            self._broken(RemoteDisconnected(_NO_RESPONSE))
        else:
            self.reader.end()
            self._finish(exchange, self.reader)

    def _on_cut(self) -> None:
        try:
            self._on_end()
        except BaseException as error:  # noqa: BLE001 - it is this exchange's outcome
            self._on_error(error)

    def _finish(self, exchange: Exchange, reader: ResponseReader) -> None:
        """The response is whole: hand over this connection, then the response."""
        now = monotonic()
        if not exchange.head_at:
            exchange.head_at = now
        status = reader.status
        head = reader.head
        if self._upload is not None and self._upload.defers(head):
            return
        body = reader.take_body()
        exchange.connection = None
        self.exchange = None
        self.served += 1
        if reader.reusable and not exchange.close_after:
            self._watcher.ref = False
            self.origin.on_idle(self, now)
        else:
            self.close()
        try:
            exchange.on_response(status, head, body)  # type: ignore[arg-type]
        except BaseException as error:  # noqa: BLE001 - gevent would swallow it
            exchange.on_failure(Failure(Phase.BODY, error, sent=True))

    def _postpone(self) -> None:
        exchange = self.exchange
        if exchange is not None and exchange.read_timeout is not None:
            self.deadline = monotonic() + exchange.read_timeout

    # Streaming: somebody else reads the body

    def _hand_over(self) -> None:
        """The head is there: end the exchange, and let go of the connection or be read from."""
        exchange, reader = self.exchange, self.reader
        assert exchange is not None
        assert isinstance(reader, StreamReader)
        if not exchange.head_at:
            exchange.head_at = monotonic()
        head: bytes = reader.head  # type: ignore[assignment]
        if self._upload is not None and self._upload.defers(head):
            return
        exchange.connection = None
        self.exchange = None
        self.reader = ResponseReader()
        self.served += 1
        stream = BodyStream(reader.take_raw())
        if exchange.close_after:
            reader.spend()
        if not reader.complete:
            self._detach()
            lenient = exchange.suppress_ragged_eofs
            stream.attach(self, reader, exchange.read_timeout, lenient=lenient)
        elif reader.is_last:
            self.close()
        else:
            self._watcher.ref = False
            self.origin.on_idle(self, monotonic())
        try:
            exchange.on_response(reader.status, head, b"", stream)
        except BaseException as error:  # noqa: BLE001 - gevent would swallow it
            exchange.on_failure(Failure(Phase.BODY, error, sent=True))

    def _detach(self) -> None:
        """Leave the hub: from now on the connection is read from in any thread."""
        close_watcher(self._watcher)
        self.origin.engine.deadlines.forget(self)
        self.origin.on_detached(self)

    def sockets(self) -> tuple[Any, ...]:
        """What can be asked about the connection: its socket, and TLS if there is any."""
        return (self._sock,)

    @property
    def is_ragged(self) -> bool:
        """Whether the end of the stream may be somebody else's doing than the server's."""
        return False

    def pull(self, size: int) -> bytes:
        """What has arrived on a detached connection; nothing at its end.

        Raises:
            BlockingIOError: nothing has.
            OSError: the connection broke.
        """
        return self._receive(size)

    def leave(self, *, reusable: bool) -> None:
        """The reader of a detached connection is done with it. To be called in any thread, once."""
        if self.closed:
            return
        if not self.origin.engine.is_here():
            # Its hub is another thread's, or gone: nothing of that may be touched from here.
            self.closed = True
            self._sock.close()
            self.origin.engine.forget_detached(self)
        elif reusable:
            try:
                self._listen()
                self.origin.on_attached(self)
            except (OSError, MemoryError):
                self.close()
        else:
            self.close()

    # Failing

    def _phase(self) -> Phase:
        return Phase.HEAD if self.reader.head is None else Phase.BODY

    def _broken(self, error: OSError) -> None:
        """The connection ended in the middle, or before anything was said on it."""
        exchange = self.exchange
        if exchange is None:
            self.origin.on_idle_closed(self)
            return
        stale = self.served and not self.reader.started
        failure = Failure(self._phase(), error, sent=True)
        if stale and exchange.replayable:
            # A kept-alive connection that the server closed as we wrote (RFC 9112 section 9.3.1).
            self.exchange = exchange.connection = None
            self.close()
            self.origin.restart(exchange)
        else:
            self._fail(failure)

    def _fail(self, failure: Failure) -> None:
        exchange, self.exchange = self.exchange, None
        self.close()
        if exchange is not None:
            exchange.connection = None
            exchange.on_failure(failure)
