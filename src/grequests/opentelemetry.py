"""Spans and metrics of a client's requests, for OpenTelemetry (``grequests[opentelemetry]``).

Example:
    >>> from grequests.opentelemetry import OpenTelemetryListener
    >>> with grequests.Client() as client:  # doctest: +SKIP
    ...     client.on(OpenTelemetryListener())
    ...     for result in client.run(urls):
    ...         ...

Names and attributes are those of the semantic conventions for HTTP (1.23). Where these leave a
choice: a request has one span, over all of its attempts, of which the span has events; and
``error.type`` is a status or one of the kinds of failures, such as ``name_not_resolved``.

It knows events by their attributes; nothing of clients.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

from ._exceptions import MissingExtraError
from ._kinds import OTHER, kind_of
from ._listening import BUCKETS, METHODS, Few, Flights, server_of
from ._log import cause
from ._safe_url import safe_url

try:
    from opentelemetry import context as contexts
    from opentelemetry import metrics, trace
    from opentelemetry.trace import SpanKind, Status, StatusCode
except ImportError as _error:
    raise MissingExtraError(__name__, "opentelemetry") from _error

if TYPE_CHECKING:
    from opentelemetry.metrics import MeterProvider
    from opentelemetry.trace import Span, TracerProvider

    from ._clock import Clock
    from ._events import CircuitOpened, Finished, HostPaused, Retried, Started
    from ._results import Attempt, Result

__all__ = ["OpenTelemetryListener"]

_SCHEMA: Final = "https://opentelemetry.io/schemas/1.23.0"
#: What the conventions have for anything that is not known.
_OTHER: Final = "_OTHER"
#: From this status on, an answer is an error to a client.
_ERROR: Final = 400


class OpenTelemetryListener:
    """Makes spans and metrics of what happens in a client: ``client.on(OpenTelemetryListener())``.

    Spans, one for each request, from its first start to its end: kind client, named for the method,
    with URL (without credentials), server, status, ``http.request.resend_count`` after retries, and
    status ERROR if there is no response or one of 400 and above. If it was sent more than once,
    each attempt is an event. What was never sent (circuit open, deadline, no valid request) has a
    span without length, a duplicate that was not sent (``coalesce=True``) has none. They are made
    when the request has ended; no headers are added to it. Their parent is the span that was
    current when the listener was made: one for a run is given by a listener for that run, which
    the function that `Client.on` returns takes off again.

    Metrics: ``http.client.request.duration`` (of requests that were sent, over all attempts),
    ``http.client.active_requests``, ``grequests.retries``, ``grequests.host.pauses`` and
    ``grequests.circuits.opened``.

    Args:
        tracer_provider: who makes spans; None for the process's.
        meter_provider: who makes metrics; None for the process's.
        hosts: how many servers metrics are told apart by; those of others have no server. Spans
            always have one.
        clock: the client's, if that has one of its own.

    Raises:
        MissingExtraError: (at the import) opentelemetry-api is not installed.

    Example:
        >>> with tracer.start_as_current_span("crawl"):  # doctest: +SKIP
        ...     off = client.on(OpenTelemetryListener())
        ...     results = [*client.run(urls)]
        ...     off()
    """

    def __init__(
        self,
        tracer_provider: TracerProvider | None = None,
        meter_provider: MeterProvider | None = None,
        *,
        hosts: int = 1000,
        clock: Clock | None = None,
    ) -> None:
        self._tracer = trace.get_tracer("grequests", None, tracer_provider, _SCHEMA)
        self._context = contexts.get_current()
        now, wall = (time.monotonic, time.time) if clock is None else (clock.now, clock.wall)
        #: From seconds of the run's clock to those since 1970.
        self._offset = wall() - now()
        self._hosts = Few(hosts)
        self._flights: Flights[dict[str, Any]] = Flights()
        meter = metrics.get_meter("grequests", "", meter_provider, _SCHEMA)
        self._durations = meter.create_histogram(
            "http.client.request.duration",
            "s",
            "Duration of HTTP client requests.",
            explicit_bucket_boundaries_advisory=BUCKETS,
        )
        self._active = meter.create_up_down_counter(
            "http.client.active_requests", "{request}", "Number of active HTTP requests."
        )
        self._retries = meter.create_counter(
            "grequests.retries", "{retry}", "Attempts that were followed by another."
        )
        self._pauses = meter.create_counter(
            "grequests.host.pauses", "{pause}", "Pauses that hosts have asked for (Retry-After)."
        )
        self._circuits = meter.create_counter(
            "grequests.circuits.opened", "{circuit}", "Hosts that were left alone for failing."
        )

    def on_started(self, event: Started) -> None:
        """An attempt begins."""
        attributes = {**_method(event.request), **self._few(event.host)}
        if self._flights.start(event.request, attributes):
            self._active.add(1, attributes)

    def on_retried(self, event: Retried) -> None:
        """An attempt has ended, and another will follow."""
        self._land(event.request)
        self._retries.add(
            1, {**_method(event.request), **self._few(event.host), **_outcome(event.attempt)}
        )

    def on_finished(self, event: Finished) -> None:
        """A request has its outcome."""
        result = event.result
        self._land(result.request)
        was_sent = self._flights.forget(result.request)
        if not was_sent and result.attempts:
            return  # somebody else's attempts: it was a duplicate
        outcome = _outcome_of(result)
        if was_sent:
            self._durations.record(
                result.timings.total,
                {**_method(result.request), **self._few(result.host), **outcome},
            )
        self._trace(result, event.at, outcome)

    def on_host_paused(self, event: HostPaused) -> None:
        """A host has asked for a pause."""
        self._pauses.add(1, self._few(event.host))

    def on_circuit_opened(self, event: CircuitOpened) -> None:
        """A host is left alone."""
        self._circuits.add(1, self._few(event.host))

    def _land(self, request: object) -> None:
        attributes = self._flights.land(request)
        if attributes is not None:
            self._active.add(-1, attributes)

    def _few(self, host: str) -> dict[str, Any]:
        return _server(host) if host in self._hosts else {}

    def _trace(self, result: Result, at: float, outcome: dict[str, Any]) -> None:
        attempts = result.attempts
        begun = at - result.timings.total if attempts else at
        method = _method(result.request)
        name = method["http.request.method"]
        attributes = {**method, **_url(result.request), **_server(result.host), **outcome}
        if len(attempts) > 1:
            attributes["http.request.resend_count"] = len(attempts) - 1
        span = self._tracer.start_span(
            "HTTP" if name == _OTHER else name,
            self._context,
            SpanKind.CLIENT,
            attributes,
            start_time=self._nanoseconds(begun),
        )
        if span.is_recording():
            if len(attempts) > 1:
                self._add_attempts(span, attempts, begun)
            if "error.type" in outcome:
                error, url = result.error, getattr(result.request, "url", None)
                told = None if error is None else cause(error, url)
                span.set_status(Status(StatusCode.ERROR, told))
        span.end(self._nanoseconds(at))

    def _add_attempts(self, span: Span, attempts: tuple[Attempt, ...], begun: float) -> None:
        """An event for each attempt, at its end."""
        for each in attempts:
            ended = begun + each.started - attempts[0].started + each.seconds
            attributes = {
                "grequests.attempt": each.number,
                "grequests.seconds": each.seconds,
                **_outcome(each),
            }
            if each.retried is not None:
                attributes["grequests.retried"] = each.retried
            span.add_event("attempt", attributes, self._nanoseconds(ended))

    def _nanoseconds(self, at: float) -> int:
        """Nanoseconds since 1970, of seconds of the run's clock."""
        return int((at + self._offset) * 1e9)


# Attributes


def _method(request: Any) -> dict[str, Any]:
    method = str(getattr(request, "method", _OTHER)).upper()
    return {"http.request.method": method if method in METHODS else _OTHER}


def _url(request: Any) -> dict[str, Any]:
    return {"url.full": safe_url(request.url)} if hasattr(request, "url") else {}


def _server(host: str) -> dict[str, Any]:
    server = server_of(host)
    if server is None:
        return {}
    if server.port is None:
        return {"server.address": server.address}
    return {"server.address": server.address, "server.port": server.port}


def _outcome_of(result: Result) -> dict[str, Any]:
    response = result.response
    return _attributes(None if response is None else response.status_code, result.error)


def _outcome(attempt: Attempt) -> dict[str, Any]:
    return _attributes(attempt.status, attempt.error)


def _attributes(status: int | None, error: BaseException | None) -> dict[str, Any]:
    if error is not None:
        kind = kind_of(error)
        return {"error.type": _OTHER if kind == OTHER else kind.lower().replace(" ", "_")}
    if status is None:
        return {}
    told: dict[str, Any] = {"http.response.status_code": status}
    if status >= _ERROR:
        told["error.type"] = str(status)
    return told
