"""The fast lane's side: an engine whose connections lead to the script.

Everything above the engine is the real thing, and so are the parsers of responses and of their
streams: what a `FakeConnection` adds is that bytes come from a visit's timetable, called by its
clock. How requests get there is `_sending`'s business; none is answered from within `dispatch`.
"""

from __future__ import annotations

import math
import time
from http.client import RemoteDisconnected
from typing import TYPE_CHECKING, Any, Final

from grequests._engine import BodyStream, Engine, Failure, Origin, OriginKey, Phase, ResponseReader
from grequests._engine import _engine as engine_module
from grequests._engine._limits import excess
from grequests._engine._stream import HeadIsThere, StreamReader

from ._script import DIALLING, Fault
from ._sending import Sending
from ._transport import FakeTransport, current, switches
from ._wire import Way, dial_error, dial_seconds, timetable

if TYPE_CHECKING:
    from collections.abc import Callable

    from grequests._engine import Exchange
    from grequests._engine._connection import Connection

    from ._script import Answer

#: As many connections as anybody could want: none needs a descriptor.
_CAPACITY: Final = 1_000_000
_DIALLING: Final = {
    Fault.REFUSED: Phase.CONNECT,
    Fault.DNS: Phase.RESOLVE,
    Fault.CONNECT_TIMEOUT: Phase.CONNECT_TIMEOUT,
    Fault.TLS: Phase.TLS,
}
#: On the way to the proxy, if there is one.
_REACHING: Final = frozenset({Phase.CONNECT, Phase.RESOLVE, Phase.CONNECT_TIMEOUT})


class FakeEngine(Engine):
    """Sends exchanges to a `FakeTransport`.

    Args:
        hub: whose thread it is for.
        transport: what answers.
    """

    def __init__(self, hub: Any, transport: FakeTransport) -> None:
        super().__init__(hub)
        self.transport = transport
        #: What time it is for those who send by this engine.
        self.clock = transport.clock

    def origin(self, key: OriginKey) -> Origin:
        known = self._all.get(key)
        if known is None:
            known = self._all[key] = FakeOrigin(self, key)
        return known

    def capacity(self) -> int:
        return _CAPACITY


class FakeOrigin(Origin):
    """Whoever it is: each exchange has a connection of its own."""

    __slots__ = ()

    engine: FakeEngine

    @property
    def way(self) -> Way:
        """Where requests to it go."""
        key = self.key
        proxy = None if key.proxy is None else Way("http", *key.proxy).origin
        return Way(key.scheme, key.host, key.port, proxy)

    def dispatch(self, exchange: Exchange) -> None:
        connection = FakeConnection(self, exchange)
        self.engine.opened += 1
        self.engine.origins[self.key] = self
        self.connections.add(connection)  # type: ignore[arg-type]
        try:
            connection.start(exchange)
        except BaseException:  # a clock that is another thread's
            connection.close()
            raise

    def on_detached(self, connection: Connection) -> None:
        self.connections.discard(connection)
        self.engine.detached.add(connection)

    def forget(self, connection: Any) -> None:
        """A connection is closed."""
        self.connections.discard(connection)
        self.engine.detached.discard(connection)
        self._retire()


class FakeConnection:
    """The connection of one exchange.

    Attributes:
        origin: whose it is.
        transport: what answers.
        way: where it leads.
        exchange: as long as it has not ended.
        closed: whether it is.
    """

    __slots__ = (
        *("_began", "_reader", "_sending", "_timeout", "_timer", "_visit"),
        *("closed", "exchange", "origin", "transport", "way"),
    )

    #: How often it has served before: each exchange has one of its own.
    reuses = 0
    #: No TLS, no end of it that is missing.
    is_ragged = False

    def __init__(self, origin: FakeOrigin, exchange: Exchange) -> None:
        self.origin = origin
        self.exchange: Exchange | None = exchange
        self.closed = False
        self.way = origin.way
        self.transport = origin.engine.transport
        self._visit = self.transport.enter(self.way.origin, origin.engine.hub)
        self._visit.on_cut = self._on_cut
        self._timeout = exchange.read_timeout
        self._began = time.monotonic() - self.now()
        self._reader = ResponseReader()
        self._timer: Any = None
        self._sending = Sending(exchange, self)

    def __repr__(self) -> str:
        return f"<FakeConnection to {self.origin} {'closed' if self.closed else 'busy'}>"

    def start(self, exchange: Exchange) -> None:
        """Send the exchange."""
        exchange.connection = self  # type: ignore[assignment]
        self._sending.start()

    def now(self) -> float:
        """Seconds of the clock by which the answer comes."""
        return self._visit.clock.now()

    # The response

    def reply(self, answer: Answer) -> None:
        """This is the answer: let it come in its time."""
        exchange = self.exchange
        if exchange is None:
            return
        if answer.error in DIALLING:
            self._refuse(answer, exchange)
            return
        self._visit.answer(timetable(answer, exchange.method))
        if exchange.streamed:
            self._reader = StreamReader(exchange.is_streamable)
        self._reader.expect(exchange.method)
        self._wait()

    def _wait(self) -> None:
        """Have the clock call when there is something, or when it is too late."""
        seconds = self._visit.next_in()
        if self._timeout is not None and seconds > self._timeout:
            self._call_later(self._timeout, self._expire)
        elif seconds < math.inf:
            self._call_later(seconds, self._receive)

    def _receive(self) -> None:
        """Take what there is by now."""
        try:
            while not self._feed(self._visit.take()):
                if self._visit.next_in() > 0:
                    self._wait()
                    return
        except HeadIsThere:
            self._hand_over()
        except Failure as failure:
            self._end(failure)
        except BaseException as error:  # noqa: BLE001 - it is this exchange's outcome
            self._fail(self._phase(), error)
        else:
            self._finish()

    def _feed(self, what: bytes | BaseException) -> bool:
        """Give the parser what came; whether the response is whole."""
        reader, exchange = self._reader, self.exchange
        if exchange is None:
            return False
        if isinstance(what, BaseException):
            raise what
        if what:
            whole = reader.feed(what)
            is_new = self._note_head(exchange)
            failure = None if whole else excess(exchange, reader, is_new=is_new)
            if failure is not None:
                raise failure
            return whole
        if not reader.started:
            msg = "Remote end closed connection without response"
            raise RemoteDisconnected(msg)
        reader.end()
        return True

    def _note_head(self, exchange: Exchange) -> bool:
        """Note when the head came; whether that is now."""
        if exchange.head_at or self._reader.head is None:
            return False
        # By the visit's clock, which is not the one that it was dispatched by.
        exchange.head_at = self._began + self.now()
        return True

    def _expire(self) -> None:
        phase = Phase.HEAD_TIMEOUT if self._reader.head is None else Phase.BODY_TIMEOUT
        self._fail(phase, TimeoutError("timed out"))

    def _phase(self) -> Phase:
        return Phase.HEAD if self._reader.head is None else Phase.BODY

    def _call_later(self, seconds: float, function: Callable[..., None], *args: Any) -> None:
        self._timer = self._visit.clock.call_later(seconds, function, *args)

    # Ends

    def _finish(self) -> None:
        reader, exchange = self._reader, self.exchange
        if exchange is None:
            return
        self._note_head(exchange)
        body = reader.take_body()
        head: bytes = reader.head  # type: ignore[assignment]
        self.close()
        self._tell(exchange, reader.status, head, body)

    def _hand_over(self) -> None:
        """The head is there, and the body is for whoever gets the response."""
        reader, exchange = self._reader, self.exchange
        if exchange is None:
            return
        assert isinstance(reader, StreamReader)
        self._note_head(exchange)
        stream = BodyStream(reader.take_raw())
        head: bytes = reader.head  # type: ignore[assignment]
        if reader.complete:
            self.close()
        else:
            self.exchange = exchange.connection = None
            self._visit.on_cut = None
            self.origin.on_detached(self)  # type: ignore[arg-type]
            stream.attach(self, reader, None)  # type: ignore[arg-type]
        self._tell(exchange, reader.status, head, b"", stream)

    def _tell(self, exchange: Exchange, *response: Any) -> None:
        try:
            exchange.on_response(*response)
        except BaseException as error:  # noqa: BLE001 - gevent would swallow it
            exchange.on_failure(Failure(Phase.BODY, error, sent=True))

    def _refuse(self, answer: Answer, exchange: Exchange) -> None:
        """It never gets as far as being sent."""
        fault: Any = answer.error
        phase = _DIALLING[fault]
        seconds = dial_seconds(answer, exchange.connect_timeout)
        self._call_later(seconds, self._fail, phase, dial_error(fault))

    def _on_cut(self, error: BaseException) -> None:
        self._fail(Phase.HEAD, error)

    def fail_soon(self, phase: Phase, error: BaseException) -> None:
        """There will be no answer, which is told from the loop."""
        self._call_later(0.0, self._fail, phase, error)

    def _fail(self, phase: Phase, error: BaseException) -> None:
        dials = phase in _REACHING
        sent = not (dials or phase is Phase.TLS)
        self._end(Failure(phase, error, proxy=dials and self.origin.proxied, sent=sent))

    def _end(self, failure: Failure) -> None:
        exchange = self.exchange
        if exchange is not None:
            self.close()
            exchange.on_failure(failure)

    def abort(self) -> None:
        """Close, and forget the exchange without telling it."""
        self.close()

    def close(self) -> None:
        """Nothing more will come of it."""
        if self.closed:
            return
        self.closed = True
        exchange, self.exchange = self.exchange, None
        if exchange is not None:
            exchange.connection = None
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.close()
        self._reader.close()
        self._sending.cancel()
        self._visit.on_cut = None
        self._visit.end()
        self.origin.forget(self)

    # For a stream

    def fileno(self) -> int:
        """There is no descriptor."""
        return -1

    def sockets(self) -> tuple[Any, ...]:
        """There is none that could be asked about."""
        return ()

    def pull(self, _size: int) -> bytes:
        """What comes next; it is waited for.

        Raises:
            TimeoutError: nothing came in time.
            OSError: what was scripted.
        """
        return self._visit.receive(self._timeout)

    def leave(self, *, reusable: bool) -> None:  # noqa: ARG002 - of `Connection`
        """The reader of the stream is done with it."""
        self.close()


# --- activation ----------------------------------------------------------------------------------


def _fake_of(real: Engine) -> Engine:
    """The engine to use in the place of a real one."""
    transport = current()
    if transport is None:
        return real
    known = transport.engines.get(real)
    if known is None:
        known = transport.engines[real] = FakeEngine(real.hub, transport)
    return known


def _switch(on: bool) -> None:  # noqa: FBT001
    engine_module.substitute = _fake_of if on else None


switches.append(_switch)
