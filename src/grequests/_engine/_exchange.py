"""One request on the wire and what comes of it: the engine's side of a call.

Whoever wants something sent subclasses `Exchange`, fills in the request and implements the
methods that end it. Exactly one of them is called, once, in a hub callback or in a connecting
greenlet; none may block.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ._connect import ConnectTimes
    from ._connection import Connection
    from ._failure import Failure
    from ._pool import Origin
    from ._stream import BodyStream
    from ._upload import Body


class Exchange:
    """A request for the engine.

    Attributes:
        origin: whom to ask.
        method: the method, upper case.
        wire: the request's bytes, head and body, or the head alone.
        payload: what follows `wire`; None for nothing. It is used once, unless it is `replayable`.
        connect_timeout: seconds in which to connect, and for which the server may keep what it is
            sent waiting; or None. Requests has one value for both.
        read_timeout: seconds without a byte, or None.
        replayable: whether it may be sent once more if a kept-alive connection turns out dead.
        close_after: whether the request asked for the connection to be closed.
        streamed: whether the body is to be read by whoever gets the response. `is_streamable` is
            asked.
        connection: what it is being sent on, while it is.
        head_at: when the head of the response was there, in seconds of `time.monotonic`.
        max_body: bytes of a body beyond which the engine stops reading it; None for any number. Not
            for a body that is somebody else's to read. What comes whole with its head, or with a
            last read, is handed over as it is: whoever gets it looks at its size.
        max_head: the same for status line and headers.
        wants_times: whether `times` is to be set.
        suppress_ragged_eofs: whether a body without a length may end without TLS's close_notify.
        times: how long its connection took to be made; None if it got one that was there.
    """

    __slots__ = (
        "close_after",
        "connect_timeout",
        "connection",
        "head_at",
        "method",
        "origin",
        "read_timeout",
        "replayable",
        "streamed",
        "wire",
    )

    # Not slots: most exchanges have none of them. A subclass may have slots or properties instead.
    payload: Body | None = None
    max_body: int | None = None
    max_head: int | None = None
    wants_times: bool = False
    suppress_ragged_eofs: bool = False
    times: ConnectTimes | None = None

    origin: Origin
    method: str
    wire: bytes
    connect_timeout: float | None
    read_timeout: float | None
    replayable: bool
    close_after: bool
    streamed: bool
    connection: Connection | None
    head_at: float

    def on_response(
        self, status: int, head: bytes, body: bytes, stream: BodyStream | None = None
    ) -> None:
        """The response is whole; or, if it is streamed, its head is.

        Args:
            status: its code.
            head: status line and header lines, CRLF between them, without the blank line.
            body: as it came, content codings still on it; nothing if it is streamed.
            stream: what can be read behind the head, framing and all, if it is streamed. If
                `is_streamable` said no, all of it can be read without waiting.
        """
        raise NotImplementedError

    def on_unverified(self) -> bool:
        """It is about to be sent to somebody whose certificate nobody has looked at.

        Never called in a hub callback.

        Returns:
            Whether to send it. If not, it has ended, and neither of the other two is called.
        """
        return True

    def is_streamable(self, status: int, head: bytes) -> bool:
        """Whether the response is handed over now, or once it is whole."""
        raise NotImplementedError

    def is_stuck(self) -> bool:
        """Whether whoever could free a descriptor waits for this exchange to end.

        Asked while all descriptors are held by responses that are being streamed.
        """
        return False

    def on_failure(self, failure: Failure) -> None:
        """There will be no response."""
        raise NotImplementedError
