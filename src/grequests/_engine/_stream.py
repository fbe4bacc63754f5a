"""A response whose body is read by whoever has it, at their own pace.

Two halves. `StreamReader` is the reader of responses for such an exchange: it takes bytes until
the head is there, and from then on only watches the framing of what passes. `BodyStream` is what
passes: the bytes behind the head as they came, chunk sizes and all, in the shape that `http.client`
reads from. So what `iter_content`, `raw.read` and the like make of them is what they make of them
in Requests, while a connection is used again only if our own, stricter parser has seen the message
end.

Nothing is read before it is asked for: a reader who stops makes the server's socket stop. A stream
can be read in any thread; its connection goes back to its origin only in the thread of its engine.
Knows connections by four methods; nothing of HTTP's semantics.
"""

from __future__ import annotations

import io
import math
from time import monotonic
from typing import TYPE_CHECKING, Final

import gevent
import gevent.socket
from gevent.monkey import get_original

from ._mend import RaggedEOF
from ._protocol import ResponseReader

if TYPE_CHECKING:
    from collections.abc import Callable

    from typing_extensions import Buffer

    from ._connection import Connection

#: What is read at once, unless more is asked for.
_CHUNK: Final = 65536
_READ: Final = 1
#: Seconds for which a stream is read without a wait, after which others have their turn, and for
#: how long. A server that is faster than its reader would else hold the hub, with all deadlines.
_TURN: Final = 0.01
_PAUSE: Final = 0.0001
_END_OF_HEAD: Final = 4
_make_poll = get_original("select", "poll")


class HeadIsThere(Exception):  # noqa: N818 - a signal, not an error
    """The connection's part is done: the rest of the response is its reader's to fetch."""


class StreamReader(ResponseReader):
    """Reads a head, then follows the framing of a body that somebody else reads.

    Args:
        is_streamable: asked once, with the status and the head; if it says no, the whole response
            is waited for, and can then be read from memory.
    """

    __slots__ = ("_is_streamable", "_last", "_passed", "_raw")

    def __init__(self, is_streamable: Callable[[int, bytes], bool]) -> None:
        super().__init__()
        #: None once it was asked: it leads to the exchange, and that to the stream and back here.
        self._is_streamable: Callable[[int, bytes], bool] | None = is_streamable
        self._last = False
        self._passed = 0
        self._raw = bytearray()

    def feed(self, data: bytes) -> bool:
        """Take bytes until the response can be handed over.

        Raises:
            HeadIsThere: it can.
            http.client.HTTPException: as `ResponseReader.feed`.
        """
        self._raw += data
        whole = super().feed(data)
        is_streamable = self._is_streamable
        if self.head is not None and is_streamable is not None:
            self._is_streamable = None
            if not whole:
                self.status = self._status()
            del self._raw[: len(self._raw) - self._received + len(self.head) + _END_OF_HEAD]
            if is_streamable(self.status, self.head):
                raise HeadIsThere
        if whole:
            raise HeadIsThere
        return False

    def end(self) -> None:
        """As `ResponseReader.end`; a response that ends with its stream is whole.

        Raises:
            HeadIsThere: it is.
        """
        super().end()
        raise HeadIsThere

    def take_raw(self) -> bytes:
        """What came behind the head."""
        raw, self._raw = bytes(self._raw), bytearray()
        self._pass_on()
        return raw

    def follow(self, data: bytes) -> bool:
        """Watch bytes pass.

        Returns:
            True once the response is whole.

        Raises:
            http.client.HTTPException: the framing is broken.
        """
        whole = super().feed(data)
        self._pass_on()
        return whole

    def spend(self) -> None:
        """The connection is not to be used again."""
        self._last = True

    @property
    def is_last(self) -> bool:
        """Whether the connection cannot be used again."""
        return self._last or not (self.complete and self.reusable)

    def _pass_on(self) -> None:
        self._passed += sum(map(len, self._chunks))
        self._chunks.clear()

    def _body_size(self) -> int:
        return self._passed + super()._body_size()

    def body_size(self) -> int:
        """Bytes of the body that have passed, or are here."""
        return self._body_size()


class BodyStream(io.RawIOBase):
    """The bytes behind a head, as a raw, readable, blocking file.

    Blocking means that other greenlets run while it waits.

    Args:
        data: what is here already.
    """

    def __init__(self, data: bytes) -> None:
        super().__init__()
        self._data = memoryview(data)
        self._reader: StreamReader | None = None
        self._timeout: float | None = None
        self._lenient = False
        self._turn_ends = monotonic() + _TURN
        #: Where the rest comes from; None once nothing more will come.
        self.connection: Connection | None = None

    def __repr__(self) -> str:
        state = "closed" if self.closed else "open" if self.connection else "ended"
        return f"<BodyStream {state} buffered={len(self._data)}>"

    def attach(
        self,
        connection: Connection,
        reader: StreamReader,
        timeout: float | None,
        *,
        lenient: bool = False,
    ) -> None:
        """Say where the rest comes from.

        Args:
            connection: it, detached.
            reader: what has read the head.
            timeout: seconds to wait for a byte, or None.
            lenient: whether the end may come without TLS's close_notify.
        """
        self.connection, self._reader, self._timeout = connection, reader, timeout
        self._lenient = lenient

    def put_back(self, data: bytes) -> None:
        """Have something read before everything else."""
        self._data = memoryview(data + self._data)

    def readable(self) -> bool:
        """Always."""
        return True

    def fileno(self) -> int:
        """The descriptor of the socket, while there is one.

        Raises:
            OSError: there is none any more.
        """
        return self.connection.fileno() if self.connection is not None else super().fileno()

    def readinto(self, buffer: Buffer) -> int:
        """Read what there is, waiting if there is nothing.

        Returns:
            The number of bytes; 0 at the end of the stream.

        Raises:
            TimeoutError: no byte came in time.
            OSError, http.client.HTTPException: the connection or the framing broke.
        """
        target = memoryview(buffer).cast("B")
        if not self._data:
            if self.connection is None:
                return 0
            self._data = memoryview(self._fetch(self.connection, max(len(target), _CHUNK)))
        count = min(len(target), len(self._data))
        target[:count] = self._data[:count]
        self._data = self._data[count:]
        return count

    def close(self) -> None:
        """Close; a connection in the middle of its response is of no more use."""
        connection, self.connection = self.connection, None
        if connection is not None:
            connection.leave(reusable=False)
        super().close()

    def _fetch(self, connection: Connection, size: int) -> bytes:
        reader = self._reader
        assert reader is not None
        try:
            data = self._receive(connection, size)
            if not data and connection.is_ragged and reader.ends_with_stream and not self._lenient:
                raise RaggedEOF(b"")  # noqa: TRY301, EM101
            whole = not data or reader.follow(data)
        except BaseException:
            self.connection = None
            connection.leave(reusable=False)
            raise
        if whole:
            self.connection = None
            connection.leave(reusable=bool(data) and not reader.is_last)
        return data

    def _receive(self, connection: Connection, size: int) -> bytes:
        self._take_turns()
        while True:
            try:
                return connection.pull(size)
            except BlockingIOError:
                self._wait(connection.fileno())
                self._turn_ends = monotonic() + _TURN

    def _take_turns(self) -> None:
        """Let others run now and then, though there may be nothing to wait for.

        By a timer, so that the loop looks at what it waits for: to wait for the socket would be to
        wait in vain if TLS has taken all there is.
        """
        now = monotonic()
        if now > self._turn_ends:
            hub = gevent.hub._get_hub()  # type: ignore[attr-defined]
            if hub is not None and gevent.getcurrent() is not hub:
                gevent.sleep(_PAUSE)
            self._turn_ends = monotonic() + _TURN

    def _wait(self, fileno: int) -> None:
        hub = gevent.hub._get_hub()  # type: ignore[attr-defined]
        if hub is None:
            self._block(fileno)
            return
        watcher = hub.loop.io(fileno, _READ)
        try:
            gevent.socket.wait(watcher, self._timeout, TimeoutError("timed out"))
        finally:
            watcher.close()

    def _block(self, fileno: int) -> None:
        """Wait in a thread without greenlets; a hub made for this would outlive the thread."""
        poller = _make_poll()
        poller.register(fileno, _READ)
        milliseconds = None if self._timeout is None else math.ceil(self._timeout * 1000)
        if not poller.poll(milliseconds):
            msg = "timed out"
            raise TimeoutError(msg)
