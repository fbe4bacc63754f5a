"""Spans and metrics as their receivers get them."""

from __future__ import annotations

import contextlib
import errno
import importlib
import socket
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import requests
from opentelemetry import trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode
from seeing import FakeResult, attempt
from servers import Server, answer

import grequests
from grequests import Finished, HostPaused, Retried, Started
from grequests.opentelemetry import OpenTelemetryListener

REFUSED = requests.ConnectionError(ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused"))
HOST = "http://example.test"
AT = {"server.address": "example.test", "server.port": 80}


class Clock:
    """It is the year 2001, and the machine runs for a hundred seconds."""

    def now(self) -> float:
        return 100.0

    def wall(self) -> float:
        return 1_000_000_000.0


def nanoseconds(at: float) -> int:
    return round((1_000_000_000.0 - 100.0 + at) * 1e9)


@dataclass
class Telemetry:
    """Where it all goes."""

    spans: InMemorySpanExporter
    reader: InMemoryMetricReader
    tracers: TracerProvider
    meters: MeterProvider

    def listener(self, **kwargs: Any) -> OpenTelemetryListener:
        kwargs.setdefault("clock", Clock())
        return OpenTelemetryListener(self.tracers, self.meters, **kwargs)

    def span(self) -> Any:
        [one] = self.spans.get_finished_spans()
        return one

    def metric(self, name: str) -> dict[tuple[tuple[str, Any], ...], Any]:
        """The points of a metric, by their attributes."""
        data = self.reader.get_metrics_data()
        found = [
            metric
            for resource in (data.resource_metrics if data else ())
            for scope in resource.scope_metrics
            for metric in scope.metrics
            if metric.name == name
        ]
        return {
            tuple(sorted(point.attributes.items())): getattr(point, "value", point)
            for metric in found
            for point in metric.data.data_points
        }

    def total(self, name: str) -> int:
        return sum(self.metric(name).values())


@pytest.fixture
def telemetry() -> Iterator[Telemetry]:
    spans, reader = InMemorySpanExporter(), InMemoryMetricReader()
    tracers = TracerProvider()
    tracers.add_span_processor(SimpleSpanProcessor(spans))
    meters = MeterProvider([reader])
    yield Telemetry(spans, reader, tracers, meters)
    tracers.shutdown()
    meters.shutdown()


def tell(listener: Any, result: Any, at: float = 110.0) -> None:
    """The life of a request, as the client tells it."""
    common = (result.request, result.index, result.tag, result.host)
    for each in result.attempts:
        listener.on_started(Started(*common, each.number, at - 5.0))
        if each is not result.attempts[-1]:
            listener.on_retried(Retried(*common, each, 1.0, at - 4.0))
    listener.on_finished(Finished(result, at))


# Spans


def test_an_answer(telemetry: Telemetry) -> None:
    tell(telemetry.listener(), FakeResult(status=204, attempts=(attempt(status=204),)))
    span = telemetry.span()
    assert (span.name, span.kind, span.parent) == ("GET", SpanKind.CLIENT, None)
    assert span.instrumentation_scope.name == "grequests"
    assert dict(span.attributes) == {
        "http.request.method": "GET",
        "url.full": "http://example.test/",
        "http.response.status_code": 204,
        **AT,
    }
    assert (span.status.status_code, span.status.description) == (StatusCode.UNSET, None)
    assert span.events == ()


def test_times_are_those_of_the_request(telemetry: Telemetry) -> None:
    tell(telemetry.listener(), FakeResult(status=200, attempts=(attempt(),), seconds=0.25), 110.0)
    span = telemetry.span()
    assert abs(span.start_time - nanoseconds(109.75)) < 1000
    assert abs(span.end_time - nanoseconds(110.0)) < 1000


def test_an_answer_that_is_an_error_to_clients(telemetry: Telemetry) -> None:
    for status in (399, 400, 503):
        tell(telemetry.listener(), FakeResult(status=status, attempts=(attempt(),)))
    fine, *errors = telemetry.spans.get_finished_spans()
    assert fine.status.status_code is StatusCode.UNSET
    assert "error.type" not in fine.attributes
    assert [each.status.status_code for each in errors] == [StatusCode.ERROR] * 2
    assert [each.attributes["error.type"] for each in errors] == ["400", "503"]


def test_a_failure(telemetry: Telemetry) -> None:
    tell(telemetry.listener(), FakeResult(REFUSED, attempts=(attempt(error=REFUSED),)))
    span = telemetry.span()
    assert span.attributes["error.type"] == "refused"
    assert "http.response.status_code" not in span.attributes
    assert span.status.status_code is StatusCode.ERROR
    assert span.status.description == "ConnectionRefusedError: [Errno 111] Connection refused"


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (requests.ReadTimeout("x"), "read_timeout"),
        (requests.exceptions.SSLError("x"), "tls"),
        (KeyError("x"), "_OTHER"),
    ],
)
def test_types_of_errors(telemetry: Telemetry, error: Exception, told: str) -> None:
    tell(telemetry.listener(), FakeResult(error, attempts=(attempt(error=error),)))
    assert telemetry.span().attributes["error.type"] == told


def test_attempts_are_events_if_there_was_more_than_one(telemetry: Telemetry) -> None:
    attempts = (
        attempt(1, error=REFUSED, retried="ConnectionError"),
        attempt(2, status=503, retried="status 503"),
        attempt(3, status=200),
    )
    tell(telemetry.listener(), FakeResult(status=200, attempts=attempts, seconds=2.1), 110.0)
    span = telemetry.span()
    assert span.attributes["http.request.resend_count"] == 2
    assert [(each.name, dict(each.attributes)) for each in span.events] == [
        (
            "attempt",
            {
                "grequests.attempt": 1,
                "grequests.seconds": 0.1,
                "error.type": "refused",
                "grequests.retried": "ConnectionError",
            },
        ),
        (
            "attempt",
            {
                "grequests.attempt": 2,
                "grequests.seconds": 0.1,
                "http.response.status_code": 503,
                "error.type": "503",
                "grequests.retried": "status 503",
            },
        ),
        (
            "attempt",
            {"grequests.attempt": 3, "grequests.seconds": 0.1, "http.response.status_code": 200},
        ),
    ]
    ends = [nanoseconds(at) for at in (108.0, 109.0, 110.0)]
    for each, end in zip(span.events, ends, strict=True):
        assert abs(each.timestamp - end) < 1000


def test_no_secrets(telemetry: Telemetry) -> None:
    url = "http://me:hush@example.test/?a=b&token=hush"
    error = ValueError(f"no, not {url}")
    tell(telemetry.listener(), FakeResult(error, url=url, attempts=(attempt(error=error),)))
    assert telemetry.span().attributes["url.full"] == "http://example.test/?a=b&token=..."
    assert "hush" not in telemetry.span().to_json()


def test_what_was_never_sent_has_no_length(telemetry: Telemetry) -> None:
    error = grequests.CircuitOpenError(HOST, 30.0)
    tell(telemetry.listener(), FakeResult(error, seconds=0.0), 110.0)
    span = telemetry.span()
    assert span.start_time == span.end_time
    assert span.attributes["error.type"] == "circuit_open"
    assert telemetry.metric("http.client.request.duration") == {}


def test_a_duplicate_that_was_not_sent_has_no_span(telemetry: Telemetry) -> None:
    result = FakeResult(status=200, attempts=(attempt(status=200),))
    telemetry.listener().on_finished(Finished(result, 110.0))
    assert telemetry.spans.get_finished_spans() == ()
    assert telemetry.metric("http.client.request.duration") == {}


def test_what_was_no_request(telemetry: Telemetry) -> None:
    tell(telemetry.listener(), FakeResult(grequests.NotARequestError(0, 7), request=7, host=""))
    span = telemetry.span()
    assert span.name == "HTTP"
    assert dict(span.attributes) == {
        "http.request.method": "_OTHER",
        "error.type": "not_a_request",
    }


def test_methods_that_are_a_surprise_have_no_name(telemetry: Telemetry) -> None:
    tell(telemetry.listener(), FakeResult(status=200, method="post"))
    tell(telemetry.listener(), FakeResult(status=200, method="X-4711"))
    assert [each.name for each in telemetry.spans.get_finished_spans()] == ["POST", "HTTP"]


def test_the_parent_is_the_span_in_which_the_listener_was_made(telemetry: Telemetry) -> None:
    tracer = telemetry.tracers.get_tracer("test")
    with tracer.start_as_current_span("crawl") as parent:
        listener = telemetry.listener()
    with tracer.start_as_current_span("something else"):
        tell(listener, FakeResult(status=200, attempts=(attempt(),)))
    [span] = [each for each in telemetry.spans.get_finished_spans() if each.name == "GET"]
    assert span.parent.span_id == parent.get_span_context().span_id
    assert span.context.trace_id == parent.get_span_context().trace_id


def test_without_a_provider_nothing_happens() -> None:
    assert isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider)
    tell(OpenTelemetryListener(), FakeResult(REFUSED, attempts=(attempt(), attempt(2))))


# Metrics


def test_durations_with_method_server_and_outcome(telemetry: Telemetry) -> None:
    listener = telemetry.listener()
    tell(listener, FakeResult(status=200, attempts=(attempt(),), seconds=0.25))
    tell(listener, FakeResult(status=200, attempts=(attempt(),), seconds=0.5))
    tell(listener, FakeResult(REFUSED, attempts=(attempt(),), seconds=4.0, method="POST"))
    points = telemetry.metric("http.client.request.duration")
    common = {"http.request.method": "GET", **AT}
    [(first, fine), (second, failed)] = points.items()
    assert dict(first) == {**common, "http.response.status_code": 200}
    assert dict(second) == {**common, "http.request.method": "POST", "error.type": "refused"}
    assert (fine.count, fine.sum, failed.count, failed.sum) == (2, 0.75, 1, 4.0)
    assert fine.explicit_bounds[0] == 0.005
    assert fine.explicit_bounds[-1] == 300.0


def test_requests_are_active_while_they_are_sent_and_not_between(telemetry: Telemetry) -> None:
    listener = telemetry.listener()
    request = grequests.get("http://example.test/")
    started = Started(request, 0, None, HOST, 1, 100.0)
    counts = []

    def count() -> None:
        counts.append(telemetry.total("http.client.active_requests"))

    listener.on_started(started)
    count()
    listener.on_retried(Retried(request, 0, None, HOST, attempt(), 1.0, 101.0))
    count()
    listener.on_started(Started(request, 0, None, HOST, 2, 102.0))
    count()
    result = FakeResult(status=200, request=request, attempts=(attempt(), attempt(2)))
    listener.on_finished(Finished(result, 103.0))
    count()
    assert counts == [1, 0, 1, 0]
    [attributes] = telemetry.metric("http.client.active_requests")
    assert dict(attributes) == {"http.request.method": "GET", **AT}


def test_a_request_that_is_cancelled_between_attempts_ends_once(telemetry: Telemetry) -> None:
    listener = telemetry.listener()
    request = grequests.get("http://example.test/")
    listener.on_started(Started(request, 0, None, HOST, 1, 100.0))
    listener.on_retried(Retried(request, 0, None, HOST, attempt(), 1.0, 101.0))
    error = grequests.RequestCancelledError(sent=True)
    listener.on_finished(Finished(FakeResult(error, request=request, attempts=(attempt(),)), 102.0))
    assert telemetry.total("http.client.active_requests") == 0
    assert telemetry.span().attributes["error.type"] == "cancelled"


def test_retries_pauses_and_circuits_are_counted(telemetry: Telemetry) -> None:
    listener = telemetry.listener()
    request = grequests.get("http://example.test/")
    for each in (attempt(status=503), attempt(2, error=REFUSED)):
        listener.on_retried(Retried(request, 0, None, HOST, each, 1.0, 101.0))
    listener.on_host_paused(HostPaused(HOST, 30.0, 101.0))
    listener.on_circuit_opened(grequests.CircuitOpened(HOST, 10, 30.0, 101.0))
    reasons = [dict(each)["error.type"] for each in telemetry.metric("grequests.retries")]
    assert reasons == ["503", "refused"]
    assert telemetry.metric("grequests.host.pauses") == {tuple(sorted(AT.items())): 1}
    assert telemetry.metric("grequests.circuits.opened") == {tuple(sorted(AT.items())): 1}


def test_metrics_tell_only_so_many_servers_apart(telemetry: Telemetry) -> None:
    listener = telemetry.listener(hosts=2)
    for number in range(5):
        result = FakeResult(status=200, host=f"http://h{number}", attempts=(attempt(),))
        tell(listener, result)
    points = telemetry.metric("http.client.request.duration")
    servers = {dict(each).get("server.address"): point.count for each, point in points.items()}
    assert servers == {"h0": 1, "h1": 1, None: 3}
    spans = telemetry.spans.get_finished_spans()
    assert [each.attributes["server.address"] for each in spans] == ["h0", "h1", "h2", "h3", "h4"]


# With a client


@contextlib.contextmanager
def nobody() -> Iterator[str]:
    """The URL of a port at which nobody listens."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{sock.getsockname()[1]}/"


def test_a_run_of_a_client(no_leaks: None, telemetry: Telemetry, server: Server) -> None:
    answers = iter([answer(b"", "503 Busy"), answer(b"fine")])
    server.on("/once", lambda _: next(answers))
    with nobody() as closed, grequests.Client(retry=grequests.Retry(backoff=0)) as client:
        off = client.on(telemetry.listener(clock=None))
        items = [server.url("/a"), server.url("/once"), closed, "nonsense", 7]
        results = [*client.run(items)]
        off()
        list(client.run([server.url("/a")]))
    assert len(results) == 5
    spans = {
        each.attributes.get("url.full", "7"): each for each in telemetry.spans.get_finished_spans()
    }
    assert len(spans) == 5
    told = {
        url.removeprefix(server.url("")): (
            each.attributes.get("http.response.status_code"),
            each.attributes.get("error.type"),
            each.attributes.get("http.request.resend_count"),
        )
        for url, each in spans.items()
    }
    assert told == {
        "/a": (200, None, None),
        "/once": (200, None, 1),
        closed: (None, "refused", 2),
        "nonsense": (None, "invalid_request", None),
        "7": (None, "not_a_request", None),
    }
    assert telemetry.total("http.client.active_requests") == 0
    assert telemetry.total("grequests.retries") == 3
    assert all(each.start_time <= each.end_time for each in spans.values())
    assert all(abs(each.end_time / 1e9 - time.time()) < 60 for each in spans.values())


def test_duplicates_of_a_run_have_one_span(telemetry: Telemetry, server: Server) -> None:
    with grequests.Client() as client:
        client.on(telemetry.listener(clock=None))
        results = [*client.run([server.url("/a")] * 5, coalesce=True)]
    assert len(results) == 5
    assert len(telemetry.spans.get_finished_spans()) == server.count == 1
    assert telemetry.total("http.client.active_requests") == 0


def test_what_is_cancelled_is_active_no_more(telemetry: Telemetry, server: Server) -> None:
    server.hold("/slow")
    with grequests.Client() as client:
        client.on(telemetry.listener(clock=None))
        for _ in client.run([server.url("/a"), *[server.url("/slow")] * 3]):
            break
    told = [each.attributes.get("error.type") for each in telemetry.spans.get_finished_spans()]
    assert told == [None, *["cancelled"] * 3]
    assert list(telemetry.metric("http.client.active_requests").values()) == [0]


def test_without_the_package_the_import_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delitem(sys.modules, "grequests.opentelemetry")
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    with pytest.raises(grequests.MissingExtraError) as caught:
        importlib.import_module("grequests.opentelemetry")
    assert caught.value.extra == "opentelemetry"
    assert "pip install 'grequests[opentelemetry]'" in str(caught.value)
