"""`response.connection` in the hooks of `HTTPDigestAuth`: the adapter, sending through the engine.

Hooks send again what has to be sent again (with credentials, mostly) by `response.connection.send`.
What digest is given there looks like the session's adapter, sends by the engine, and lets other
greenlets run meanwhile. What the engine cannot send, the adapter itself sends by the general lane.

Knows both lanes' ways to send one prepared request; nothing of redirects, cookies and hooks.
"""

from __future__ import annotations

import io
import os
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import gevent
from gevent.hub import Waiter
from requests import PreparedRequest
from requests.adapters import HTTPAdapter
from requests.exceptions import ContentDecodingError

from . import _general, _stock
from ._body import Source
from ._decode import decode_body
from ._engine import Exchange, Failure
from ._exceptions import SENT, GRequestsError
from ._lane import is_plain_delivery
from ._options import NO_RETRIES
from ._prepare import PLAIN_URL, NotPlainError, Prepared, address
from ._recheck import recheck, refuse
from ._response import Response, build_raw
from ._retries import after_failure, after_status, is_to_retry
from ._strict import expect_whole
from ._translate import warn_unverified

if TYPE_CHECKING:
    from requests import Response as AnyResponse

    from ._engine import BodyStream
    from ._options import Options

#: Methods that may be sent twice when a kept-alive connection was dead (RFC 9110 section 9.2.2).
IDEMPOTENT: Final = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE"})


_Outcome: TypeAlias = "tuple[int, bytes, bytes | BodyStream] | Failure | Exception"


class EngineAdapter(HTTPAdapter):
    """An adapter's twin: whatever it is asked for is the adapter's, but for `send` and `close`."""

    _response: Response
    _adapter: HTTPAdapter
    _suppress_ragged_eofs: bool

    def __init__(self, response: Response, *, suppress_ragged_eofs: bool = False) -> None:
        """Stand in for the adapter of a response of the fast lane."""
        fields = self.__dict__
        fields["_suppress_ragged_eofs"] = suppress_ragged_eofs
        fields["_response"] = response
        fields["_adapter"] = adapter_of(response)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} for {self._adapter!r}>"

    def __getattr__(self, name: str) -> Any:
        return getattr(self._adapter, name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._adapter, name, value)

    def __reduce__(self) -> Any:
        return _itself, (self._adapter,)

    def send(  # noqa: PLR0913, PLR0917 - the signature of HTTPAdapter
        self,
        request: PreparedRequest,
        stream: bool = False,  # noqa: FBT001, FBT002
        timeout: Any = None,
        verify: Any = True,  # noqa: FBT002
        cert: Any = None,
        proxies: Any = None,
    ) -> AnyResponse:
        """Send a prepared request and wait for the response, as `HTTPAdapter.send` does."""
        options: Options = self._response._source[2]
        kwargs = {"timeout": timeout, "verify": verify, "cert": cert, "proxies": proxies}
        if _is_here(options) and is_plain_delivery(**kwargs):
            options = options.resent(stream=bool(stream), **kwargs)
            try:
                ready = self._address(request, options)
            except NotPlainError:
                pass
            else:
                return _Resending(ready, options, self).response()
        kwargs["stream"] = stream
        sent: AnyResponse = _general.inside(
            self._adapter, lambda: self._adapter.send(request, **kwargs)
        )
        return sent

    def _address(self, request: PreparedRequest, options: Options) -> Prepared:
        url = request.url
        if type(request) is not PreparedRequest or type(url) is not str:
            refuse("request")
        if url != self._response.url and not PLAIN_URL.fullmatch(url):
            refuse("url")
        recheck(request)
        return address(request, options)

    def close(self) -> None:
        """Close the adapter's connections, and the engine's to the origin of the response."""
        self._adapter.close()
        self._response._source[4].close_idle()


def adapter_of(response: Response) -> HTTPAdapter:
    """The adapter that would have sent a response's request in Requests."""
    return response._source[2].adapter or _general.shared_adapter()


def _itself(adapter: HTTPAdapter) -> HTTPAdapter:
    return adapter


def _is_here(options: Options) -> bool:
    """Whether the running greenlet may wait for the engine, and nobody looks on."""
    engine = options.context.engine
    return (
        engine.pid == os.getpid()
        and gevent.get_hub() is engine.hub
        and gevent.getcurrent() is not engine.hub
        and _stock.untouched()
    )


class _Resending(Exchange):
    """One request that a greenlet waits for, with its retries."""

    __slots__ = ("_adapter", "_options", "_outcome", "_ready", "_retries", "_waiter", "payload")

    def __init__(self, ready: Prepared, options: Options, adapter: EngineAdapter) -> None:
        self._ready = ready
        self._options = options
        self._adapter = adapter
        self._retries: Any = options.retries
        self._outcome: _Outcome
        self._waiter: Any
        self.origin = ready.origin
        self.method = ready.request.method  # type: ignore[assignment]
        self.wire = ready.wire
        self.connect_timeout = options.connect_timeout
        self.read_timeout = options.read_timeout
        self.payload = ready.payload
        self.replayable = self.method in IDEMPOTENT and not isinstance(ready.payload, Source)
        self.close_after = ready.close_after
        self.streamed = options.stream
        self.connection = None

    @property
    def suppress_ragged_eofs(self) -> bool:  # type: ignore[override]
        return self._adapter._suppress_ragged_eofs

    @property
    def max_body(self) -> int | None:  # type: ignore[override]
        return self._options.context.max_body

    @property
    def max_head(self) -> int | None:  # type: ignore[override]
        return self._options.context.max_head

    def response(self) -> Response:
        """Send, again if need be, and wait.

        Raises:
            Exception: what `HTTPAdapter.send` raises.
        """
        ready = self._ready
        was_sent = False
        while True:
            outcome = self._attempt()
            again: tuple[Any, float] | None
            if isinstance(outcome, Failure):
                cause = outcome.cause
                if not isinstance(cause, Exception) or isinstance(cause, GRequestsError):
                    # KeyboardInterrupt in what reads the body; or a limit of ours.
                    raise cause
                try:
                    again = after_failure(self, outcome, ready.target, self._retries, ready.request)
                except Exception as error:
                    if was_sent:
                        setattr(error, SENT, True)
                    raise
                was_sent = was_sent or outcome.sent
            elif isinstance(outcome, Exception):
                raise outcome
            else:
                response = self._build(*outcome)
                was_sent = True
                again = None
                if self._retries is not NO_RETRIES:
                    again = after_status(
                        self, response, ready.target, self._retries, lambda: ready.request
                    )
                if again is None:
                    return response
            self._retries, seconds = again
            self._options = self._options.retried(self._retries)
            gevent.sleep(seconds)

    def _attempt(self) -> _Outcome:
        if isinstance(self.payload, Source):
            self.payload.rewind()
        self.head_at = 0.0
        self._waiter = Waiter()
        self.origin.dispatch(self)
        try:
            self._waiter.get()
        except BaseException:
            self.origin.engine.abort(self)
            raise
        return self._outcome

    def on_response(
        self, status: int, head: bytes, body: bytes, stream: BodyStream | None = None
    ) -> None:
        self._end((status, head, body if stream is None else stream))

    def is_streamable(self, status: int, head: bytes) -> bool:
        return not is_to_retry(self.method, status, head, self._retries)

    def is_stuck(self) -> bool:
        return self._options.context.is_awaited()

    def on_unverified(self) -> bool:
        try:
            warn_unverified(self.origin)
        except Exception as error:  # noqa: BLE001 - the user's filters make an error of it
            self._end(error)
            return False
        return True

    def on_failure(self, failure: Failure) -> None:
        self._end(failure)

    def _end(self, outcome: Any) -> None:
        """Wake who waits, from the loop: this may be another greenlet than the hub."""
        self._outcome = outcome
        self.origin.engine.loop.run_callback(self._waiter.switch, None)

    def _build(self, status: int, head: bytes, body: bytes | BodyStream) -> Response:
        ready = self._ready
        response = Response.__new__(Response)
        response.status_code = status
        response.url = ready.request.url  # type: ignore[assignment]
        response._head = head
        response._seconds = 0.0  # it is the session that takes the time
        response._source = (
            *(ready.request, self.method, self._options, ready.target),
            *(self.origin, None),
        )
        response.connection = self._adapter
        if not isinstance(body, bytes):
            response.stream_from(body)
            return response
        try:
            response._content = decode_body(head, body, self.max_body)
        except ContentDecodingError:
            leave_undecoded(response, body)
        return response


def leave_undecoded(response: Response, body: bytes) -> None:
    """Have a body fail to be decoded when it is read, as a body that is still to come would."""
    raw = build_raw(response._head, response._source)
    raw._fp = io.BytesIO(body)  # type: ignore[assignment]
    raw.length_remaining = len(body)
    expect_whole(raw)
    response.raw = raw
    response._content = False
    response._content_consumed = False


def give_back(*responses: Any) -> None:
    """After the hooks: `connection` is the adapter itself again."""
    for response in responses:
        if isinstance(response, Response) and "connection" in vars(response):
            del response.connection


__all__ = ["IDEMPOTENT", "EngineAdapter", "adapter_of", "give_back", "leave_undecoded"]
