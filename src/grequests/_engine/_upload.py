"""The sending half of a connection: what of a request did not go out at once.

An `Upload` exists from the moment in which a request's head did not fit into the socket, or is to
be followed by a `Body`, until all is sent. It sends at the pace of the socket, never more than one
piece ahead, and looks after what may happen meanwhile: the server says `100 Continue`, answers
before it has read everything, stops reading, or goes. Knows its connection's socket and deadline;
nothing of what a body is made of.
"""

from __future__ import annotations

import errno
import ssl
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

from gevent.hub import Waiter

from ._deadlines import NEVER
from ._failure import Failure, Phase

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from ._connection import Connection

#: What is encrypted and given to the socket at once, in bytes.
PIECE: Final = 65536
#: What is sent before others have a turn, in bytes: a fast server would keep the hub for ever.
TURN: Final = 4 * PIECE
#: Seconds to wait for `100 Continue` before the body is sent all the same, as in curl (RFC 9110
#: section 10.1.1 asks for a limit and leaves it to the client).
CONTINUE_SECONDS: Final = 1.0
#: A response that says no (RFC 9112 section 9.5: stop sending).
_FIRST_ERROR: Final = 400
#: What `send` says when the other side has closed. It may have answered before: the read will tell.
CLOSED: Final = frozenset({errno.EPIPE, errno.ECONNRESET, errno.EPROTOTYPE, errno.ESHUTDOWN})
_NOTHING: Final = memoryview(b"")


class Body:
    """What follows the head of a request.

    This one is bytes, which are sent from where they are. Whoever makes a body as it is sent
    subclasses it and implements `begin` and `cancel`; neither may wait.

    Attributes:
        expects: whether it is held back until the server says `100 Continue`.
        data: the bytes, or None.
    """

    __slots__ = ("data", "expects")

    def __init__(self, data: Buffer | None, *, expects: bool = False) -> None:
        self.data = data
        self.expects = expects

    def begin(self, upload: Upload) -> None:
        """The way is free: from now on a greenlet may call `upload.write`, then `finish`."""
        raise NotImplementedError

    def cancel(self) -> None:
        """No more is wanted. Called at most once, after `begin` and instead of what is left."""


class Upload:
    """A request that is being sent.

    Args:
        connection: on which.
        body: what follows, or None.
        unsent: what is left of the head, as it goes over the wire.
        seconds: for which the server may not read, or None.
    """

    __slots__ = (
        "_began",
        "_blocked",
        "_body",
        "_connection",
        "_encrypt",
        "_outgoing",
        "_rest",
        "_seconds",
        "_send",
        "_turn",
        "_waiter",
        "answered",
        "held",
        "over",
    )

    def __init__(
        self, connection: Connection, body: Body | None, unsent: memoryview, seconds: float | None
    ) -> None:
        self._connection = connection
        self._body = body
        self._seconds = seconds
        self._send, self._encrypt = connection.channel()
        self._outgoing = unsent
        self._rest = _NOTHING
        self._turn = 0
        self._blocked = False
        self._waiter: Waiter[None] | None = None
        self._began = body is None
        #: Whether the body waits for a word of the server.
        self.held = body is not None and body.expects
        #: Whether the whole response is here already.
        self.answered = False
        #: Whether nothing more is to be sent.
        self.over = False

    def __repr__(self) -> str:
        state = "over" if self.over else "held" if self.held else "sending"
        return f"<Upload {state} on {self._connection!r}>"

    def start(self) -> None:
        """Send what can be sent now."""
        if self._outgoing:
            self._block()
        else:
            self._go_on()

    # The body's side, in a greenlet

    def write(self, data: Buffer) -> bool:
        """Send, and wait until the socket has taken all of it.

        Args:
            data: contiguous bytes; they are not copied, save by TLS.

        Returns:
            False if no more is wanted.
        """
        if self.over:
            return False
        self._rest = memoryview(data).cast("B")
        if not self._push() and not self.over:
            self._wait()
        return not self.over

    def finish(self, *, reusable: bool = True) -> None:
        """All is written.

        Args:
            reusable: whether it was as long as the head said: if not, server and client no longer
                agree on where the next request begins.
        """
        if self.over:
            return
        if not reusable:
            self._connection.spend()
        self._done()

    def fail(self, error: BaseException) -> None:
        """There is no more, for this reason. It is the outcome of the exchange."""
        if not self.over:
            self._end()
            self._connection.on_upload_failed(Failure(Phase.SEND, error, sent=True))

    def _wait(self) -> None:
        self._block()
        waiter: Waiter[None] = Waiter(self._connection.origin.engine.hub)
        self._waiter = waiter
        try:
            waiter.get()
        finally:
            self._waiter = None

    # The connection's side, in hub callbacks

    def on_writable(self) -> None:
        """The socket takes more."""
        self._turn = 0
        if self._push():
            self._unblock()
            self._go_on()
        elif not self.over:
            self._set_deadline(self._seconds)

    def on_heard(self, head: bytes | None, *, continued: bool) -> None:
        """Something of the response has come.

        Args:
            head: the response's, if it is whole.
            continued: whether the server said `100 Continue`.
        """
        if head is not None:
            if self.held or _is_refusal(head):
                self.stop()
        elif continued and self.held:
            self._release()

    def defers(self, head: bytes | None) -> bool:
        """The whole response is here: whether it is kept until the request is sent.

        A refusal ends the sending. Anything else does not: the server may go on reading, and
        Requests sends everything before it looks for an answer.
        """
        if self.over:
            return False
        if self.held or head is None or _is_refusal(head):
            self.stop()
            return False
        self.answered = True
        self._connection.watch(write=self._blocked, read=False)
        return True

    def on_expired(self) -> bool:
        """The connection's deadline is over.

        Returns:
            True if that is settled; False if the server has stopped reading.
        """
        if self.held:
            self._release()
            return True
        if not self._blocked:
            return True
        left = len(self._rest) + len(self._outgoing)
        self.on_writable()  # perhaps it was the hub that was kept from sending
        return not self._blocked or len(self._rest) + len(self._outgoing) < left

    def interject(self, data: bytes) -> None:
        """Send what TLS itself has to say, behind what it has been given already."""
        self._outgoing = memoryview(bytes(self._outgoing) + data)
        if not self._push() and not self.over:
            self._block()

    def stop(self) -> None:
        """The server wants no more of it: the connection ends with the response."""
        if not self.over:
            self._connection.spend()
            self._cancel()
            self._connection.on_sent()

    def abandon(self) -> None:
        """The connection is closed."""
        if not self.over:
            self._cancel()

    # Sending

    def _push(self) -> bool:
        """Give the socket what it takes; True once there is nothing left and nobody had to wait."""
        try:
            while self._outgoing or self._rest:
                if self._turn >= TURN:
                    return False
                if not self._outgoing:
                    piece, self._rest = self._rest[:PIECE], self._rest[PIECE:]
                    self._outgoing = piece if self._encrypt is None else _view(self._encrypt(piece))
                count = self._send(self._outgoing)
                self._turn += count
                self._outgoing = self._outgoing[count:]
        except BlockingIOError:
            return False
        except OSError as error:
            self._on_broken(error)
            return False
        return self._turn < TURN

    def _on_broken(self, error: OSError) -> None:
        """Nothing can be sent any more."""
        connection = self._connection
        self._cancel()
        if isinstance(error, ssl.SSLError):
            connection.end()
        if error.errno in CLOSED or isinstance(error, ssl.SSLError) or self.answered:
            connection.spend()
            connection.on_sent()
        else:
            connection.on_upload_failed(Failure(Phase.SEND, error, sent=True))

    def _go_on(self) -> None:
        """All that was given has been taken: what next?"""
        if self._waiter is not None:
            self._connection.origin.engine.loop.run_callback(self._waiter.switch, None)
            self._waiter = None
        elif self.held:
            self._set_deadline(CONTINUE_SECONDS)
        elif not self._began:
            self._begin()
        elif self._body is None or self._body.data is not None:
            self._done()

    def _release(self) -> None:
        """The body has been held back for long enough."""
        self.held = False
        if not self._blocked:
            self._begin()

    def _begin(self) -> None:
        body = self._body
        assert body is not None
        self._began = True
        if body.data is None:
            self._set_deadline(None)
            body.begin(self)
            return
        self._rest = memoryview(body.data).cast("B")
        if self._push():
            self._done()
        elif not self.over:
            self._block()

    def _block(self) -> None:
        self._blocked = True
        self._connection.watch(write=True, read=not self.answered)
        self._set_deadline(self._seconds)

    def _unblock(self) -> None:
        self._blocked = False
        self._connection.watch(write=False, read=not self.answered)
        self._set_deadline(None)

    def _set_deadline(self, seconds: float | None) -> None:
        connection = self._connection
        if seconds is None:
            connection.deadline = NEVER
        else:
            connection.origin.engine.deadlines.watch(connection, monotonic() + seconds)

    # Ending

    def _done(self) -> None:
        self._end()
        self._connection.on_sent()

    def _cancel(self) -> None:
        began, body = self._began, self._body
        self._end()
        if began and body is not None:
            body.cancel()

    def _end(self) -> None:
        self.over = True
        self.held = self._blocked = False
        self._outgoing = self._rest = _NOTHING
        waiter, self._waiter = self._waiter, None
        if waiter is not None:
            self._connection.origin.engine.loop.run_callback(waiter.switch, None)


def _view(data: bytes) -> memoryview:
    return memoryview(data)


def _is_refusal(head: bytes) -> bool:
    status: Any = head[9:12]
    return status.isdigit() and int(status) >= _FIRST_ERROR


__all__ = ["CLOSED", "Body", "Upload"]
