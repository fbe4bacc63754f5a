"""The fast lane's requests on their way: from an exchange to the answer that the script has for it.

What may run the user's code runs in a greenlet: a body that comes into being while it is sent, a
function that answers, a warning about certificates. It may not know: when answers come.
"""

from __future__ import annotations

import contextvars
from typing import TYPE_CHECKING, Any, Protocol

import gevent

from grequests._engine import Phase

from ._wire import read_request, target_of, unsent_request

if TYPE_CHECKING:
    from collections.abc import Callable

    from typing_extensions import Buffer

    from grequests._engine import Body, Exchange

    from ._script import Answer
    from ._transport import FakeTransport
    from ._wire import Way


class Receiver(Protocol):
    """Who waits for the answer."""

    transport: FakeTransport
    way: Way

    def now(self) -> float: ...
    def reply(self, answer: Answer) -> None: ...
    def fail_soon(self, phase: Phase, error: BaseException) -> None: ...
    def close(self) -> None: ...


class Sending:
    """One exchange that is being sent.

    Args:
        exchange: what is sent.
        receiver: is told of the answer; not before `start` has returned, if it is an error.
    """

    __slots__ = ("_exchange", "_greenlet", "_receiver", "_upload")

    def __init__(self, exchange: Exchange, receiver: Receiver) -> None:
        self._exchange = exchange
        self._receiver = receiver
        self._greenlet: gevent.Greenlet[..., None] | None = None
        self._upload: FakeUpload | None = None

    def start(self) -> None:
        """Begin."""
        receiver, tls = self._receiver, self._exchange.origin.tls
        target = target_of(self._exchange.wire)
        fault = receiver.transport.early(unsent_request(*target, receiver.way, receiver.now()))
        if fault is not None:
            receiver.reply(fault)
        elif tls is not None and not tls.verify:
            self._spawn(self._warn)
        else:
            self._send()

    def cancel(self) -> None:
        """Nobody wants it any more."""
        greenlet, self._greenlet = self._greenlet, None
        if greenlet is not None:
            greenlet.kill(block=False)
        upload, self._upload = self._upload, None
        if upload is not None:
            upload.abandon()

    def _warn(self) -> None:
        """Nobody looks at the certificate: the user is told in a greenlet, as by real ones."""
        goes_on = self._exchange.on_unverified()
        is_cancelled, self._greenlet = self._greenlet is None, None
        if not goes_on:
            self._receiver.close()
        elif not is_cancelled:
            self._send()

    def _send(self) -> None:
        wire, payload = self._exchange.wire, self._exchange.payload
        if payload is None:
            self._on_sent(wire)
        elif payload.data is not None:
            self._on_sent(wire + bytes(payload.data))
        else:
            self._upload = FakeUpload(wire, payload, self)
            payload.begin(self._upload)  # type: ignore[arg-type]

    def on_uploaded(self, wire: bytes) -> None:
        """All of the request is here, its body as well."""
        self._upload = None
        self._on_sent(wire)

    def on_upload_failed(self, error: BaseException) -> None:
        """The rest of the request will not come."""
        self._upload = None
        self._receiver.fail_soon(Phase.SEND, error)

    def _on_sent(self, wire: bytes) -> None:
        receiver = self._receiver
        request = read_request(wire, receiver.way, receiver.now())
        try:
            answer = receiver.transport.take(request)
        except BaseException as error:  # noqa: BLE001 - it is this exchange's outcome
            receiver.fail_soon(Phase.SEND, error)
            return
        if callable(answer):
            self._spawn(self._ask, answer)
        else:
            receiver.reply(answer)

    def _ask(self, make: Callable[[], Answer]) -> None:
        """Have the user's function make the answer."""
        try:
            answer = make()
        except BaseException as error:
            if self._greenlet is not None:  # else it was cancelled
                self._greenlet = None
                self._receiver.fail_soon(Phase.SEND, error)
            if not isinstance(error, Exception):
                raise
            return
        self._greenlet = None
        self._receiver.reply(answer)

    def _spawn(self, function: Callable[..., None], *args: Any) -> None:
        greenlet: gevent.Greenlet[..., None] = gevent.Greenlet(function, *args)
        greenlet.gr_context = contextvars.copy_context()
        self._greenlet = greenlet
        greenlet.start()


class FakeUpload:
    """What a body that comes into being while it is sent writes to.

    Args:
        head: of the request.
        body: what writes.
        sending: is told when all is here.
    """

    __slots__ = ("_body", "_sending", "_wire", "over")

    def __init__(self, head: bytes, body: Body, sending: Sending) -> None:
        self._wire = bytearray(head)
        self._body = body
        self._sending = sending
        self.over = False

    def write(self, data: Buffer) -> bool:
        """Take bytes; whether more is wanted."""
        if not self.over:
            self._wire += memoryview(data).cast("B")
        return not self.over

    def finish(self, *, reusable: bool = True) -> None:  # noqa: ARG002 - of `Upload`
        """All is written."""
        if not self.over:
            self.over = True
            self._sending.on_uploaded(bytes(self._wire))

    def fail(self, error: BaseException) -> None:
        """There is no more, for this reason."""
        if not self.over:
            self.over = True
            self._sending.on_upload_failed(error)

    def abandon(self) -> None:
        """Nobody wants it any more."""
        if not self.over:
            self.over = True
            self._body.cancel()
