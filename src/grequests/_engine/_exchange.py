"""One request on the wire and what comes of it: the engine's side of a call.

Whoever wants something sent subclasses `Exchange`, fills in the request and implements the two
methods that end it. Exactly one of them is called, once, in a hub callback or in a connecting
greenlet; neither may block.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ._connection import Connection
    from ._failure import Failure
    from ._pool import Origin
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
        connection: what it is being sent on, while it is.
        head_at: when the head of the response was there, in seconds of `time.monotonic`.
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
        "wire",
    )

    #: Not a slot: most exchanges have none.
    payload: Body | None = None

    origin: Origin
    method: str
    wire: bytes
    connect_timeout: float | None
    read_timeout: float | None
    replayable: bool
    close_after: bool
    connection: Connection | None
    head_at: float

    def on_response(self, status: int, head: bytes, body: bytes) -> None:
        """The response is whole.

        Args:
            status: its code.
            head: status line and header lines, CRLF between them, without the blank line.
            body: as it came, content codings still on it.
        """
        raise NotImplementedError

    def on_unverified(self) -> bool:
        """It is about to be sent to somebody whose certificate nobody has looked at.

        Never called in a hub callback.

        Returns:
            Whether to send it. If not, it has ended, and neither of the other two is called.
        """
        return True

    def on_failure(self, failure: Failure) -> None:
        """There will be no response."""
        raise NotImplementedError
