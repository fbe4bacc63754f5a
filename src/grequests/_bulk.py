"""The contract of grequests 0.7 on top of calls and the scheduler: order, handlers, deadlines."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import gevent
from gevent.hub import Waiter

from ._address_guard import current_policy
from ._asyncrequest import AsyncRequest
from ._body_limit import current_limit
from ._call import Call
from ._exceptions import InvalidSizeError, NotARequestError, RequestInFlightError
from ._run import Run
from ._scheduler import Scheduler
from ._signals import heard
from ._stock import glance

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator

    from requests import Response

    Handler = Callable[[AsyncRequest, BaseException | None], Any]


def check_size(size: object) -> None:
    """Refuse a size that is not one.

    Raises:
        InvalidSizeError: it is not None and not an integer of at least 1.
    """
    if size is None:
        return
    if not isinstance(size, int) or isinstance(size, bool) or size < 1:
        raise InvalidSizeError(size)


def take(request: object, index: int) -> AsyncRequest:
    """A request that can be sent, without the outcome of the time before.

    It is marked as being sent by the call that sends it: between the two a signal may strike.

    Raises:
        NotARequestError: it is something else.
        RequestInFlightError: it is being sent already.
    """
    if not isinstance(request, AsyncRequest):
        raise NotARequestError(index, request)
    if request._in_flight:
        raise RequestInFlightError(request.url, index)
    forget_outcome(request)
    return request


def forget_outcome(request: AsyncRequest) -> None:
    """Make a request that has been sent before as it was then."""
    if type(request) is AsyncRequest and request._in_flight is None:
        return  # (what is somebody's own may have sent itself)
    fields = request.__dict__
    if "response" in fields or "exception" in fields:
        fields.pop("exception", None)
        fields.pop("_traceback", None)
        fields["response"] = None


class _ReadCall(Call):
    """A call that is read when it has ended; if it has failed, another one in its place is."""

    __slots__ = ()

    def _let_go(self) -> None:
        # No traceback leads to the other one, which may have the request, and so the error.
        finished = self.run.sink._finished  # type: ignore[attr-defined]
        if finished and finished[-1] is self:
            finished[-1] = Call(self.run, self.request, self.index)
        super()._let_go()


def calls(run: Run, requests: Iterable[Any]) -> Iterator[Call]:
    """The requests as jobs, checked one by one as they are pulled."""
    for index, request in enumerate(requests):
        if run.looked and not glance():
            # The iterator, or who reads the results, has just switched something on.
            run.looked = False
        if type(request) is not AsyncRequest or request._in_flight is not None:
            take(request, index)  # there is nothing to it for those never sent before
        yield _ReadCall(run, request, index)


def iterate(
    requests: Iterable[Any],
    *,
    stream: bool,
    size: int | None,
    unread: float | None = None,
    timeout: float | None = None,
) -> Generator[Call, None, None]:
    """Send requests and yield their calls as they end.

    Args:
        requests: pulled as slots become free.
        stream: as in `map`.
        size: how many at once; None for as many as the process may open sockets.
        unread: how many may be finished and not yet read; None for as many as at once.
        timeout: seconds after which to give up on the rest, or None.
    """
    run = Run(stream=stream)
    limit = size or run.engine.capacity()
    scheduler = Scheduler(calls(run, requests), limit, limit if unread is None else unread)
    run.sink = scheduler
    return scheduler.results(timeout)


def collect(requests: list[Any], *, stream: bool, size: int | None, gtimeout: float | None) -> None:
    """Send all requests and return when they have ended, or time is up.

    Their outcomes are in the requests.
    """
    check_all(requests)
    for request in requests:
        # Else one that is not even started in time would show the outcome of the time before.
        forget_outcome(request)
    if len(requests) == 1 and gtimeout is None:
        # In the caller's own greenlet, which is where thread-local mocks look for it.
        _send_here(requests[0], Run(stream=stream))
        return
    for _ in iterate(requests, stream=stream, size=size, unread=math.inf, timeout=gtimeout):
        pass


def check_one(request: object) -> None:
    """Find out that a request cannot be sent, before a greenlet has to.

    Raises:
        NotARequestError, RequestInFlightError: as `take`.
    """
    if not isinstance(request, AsyncRequest):
        raise NotARequestError(None, request)
    if request._in_flight:
        raise RequestInFlightError(request.url)


def check_all(requests: list[Any]) -> None:
    """Find wrong items before anything is sent.

    Raises:
        NotARequestError, RequestInFlightError: as `take`; also for a request that stands twice.
    """
    seen = set()
    for index, request in enumerate(requests):
        if not isinstance(request, AsyncRequest):
            raise NotARequestError(index, request)
        if request._in_flight or id(request) in seen:
            raise RequestInFlightError(request.url, index)
        seen.add(id(request))


class _OneSink:
    """Waits for the outcome of a single call."""

    def __init__(self) -> None:
        self._hub: Any = gevent.get_hub()
        self._waiter: Waiter[None] = Waiter(self._hub)
        self._error: BaseException | None = None
        self._ended = False
        self._timer: Any = None

    def done(self, _call: Call) -> None:
        self._ended = True
        self._hub.loop.run_callback(self._waiter.switch, None)

    def again(self, call: Call, seconds: float) -> None:
        self._timer = self._hub.loop.timer(seconds)
        self._timer.start(call.start)

    def interrupt(self, error: BaseException) -> None:
        self._error = error
        self._hub.loop.run_callback(self._waiter.switch, None)

    def is_awaited(self) -> bool:
        return True

    def wait(self, call: Call) -> None:
        try:
            if not self._ended:
                self._waiter.get()
        except BaseException:
            call.abort()
            raise
        finally:
            if self._timer is not None:
                self._timer.close()
        if self._error is not None:
            raise self._error


def send_one(request: AsyncRequest, overrides: dict[str, Any]) -> None:
    """Send a request in this greenlet and return when it has ended.

    This is what `AsyncRequest.send` does, and never leads back there, as subclasses call it.
    """
    stream = bool(overrides.get("stream"))
    rest = {name: value for name, value in overrides.items() if name != "stream"}
    # (By a class of the user's, it may be sent within a run.)
    run = Run(
        stream=stream,
        overrides=rest,
        max_body=current_limit(),
        address_policy=current_policy(),
    )
    _send_here(request, run)


def _send_here(request: AsyncRequest, run: Run) -> None:
    if request._in_flight:
        raise RequestInFlightError(request.url)
    run.sink = sink = _OneSink()
    call = Call(run, take(request, 0), 0)
    with heard(run.engine.hub):
        call.run_here()
        sink.wait(call)


def outcome(request: AsyncRequest, handler: Handler | None) -> Response | Any | None:
    """What `map` returns for a request."""
    if request.response is not None:
        return request.response
    if handler is None:
        return None
    return handler(request, request.__dict__.get("exception"))
