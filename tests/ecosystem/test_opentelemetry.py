"""OpenTelemetry: instrumentation of Requests (`Session.send`) and of urllib3 (`urlopen`)."""

from __future__ import annotations

import threading
from typing import Any

import pytest
import requests
from opentelemetry import trace
from opentelemetry.instrumentation.requests import RequestsInstrumentor
from opentelemetry.instrumentation.urllib3 import URLLib3Instrumentor
from opentelemetry.instrumentation.utils import suppress_http_instrumentation
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import grequests
from servers import Server, answer, echo

from .support import fetch, gets, in_process, lanes, reraise

INSTRUMENTORS = [RequestsInstrumentor, URLLib3Instrumentor]


class Traced:
    """A provider of its own, and what was exported."""

    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()
        self.provider = TracerProvider()
        self.provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.tracer = self.provider.get_tracer("tests")

    def spans(self) -> list[Any]:
        found = self.exporter.get_finished_spans()
        self.exporter.clear()
        return list(found)


def spans_have_their_parent(instrumentor_of: type) -> None:
    """On and off twice in one process; the spans' parent is the caller's, the header arrives."""
    traced = Traced()
    instrumentor = instrumentor_of()
    with Server() as server:
        server.on("/echo/*", echo)
        urls = [server.url(f"/echo/{n}") for n in range(6)]
        assert lanes(fetch(urls)) == {"fast"}
        for _ in range(2):
            instrumentor.instrument(tracer_provider=traced.provider)
            try:
                with traced.tracer.start_as_current_span("caller") as caller:
                    found = fetch(urls)
                    found += grequests.imap(gets(urls), size=3, exception_handler=reraise)
                    with requests.Session() as session:
                        found += fetch(urls, session=session)
            finally:
                instrumentor.uninstrument()
            *children, own = traced.spans()
            assert own.name == "caller"
            assert len(children) == 18
            parent = caller.get_span_context()
            assert {each.parent.span_id for each in children} == {parent.span_id}
            assert {each.context.trace_id for each in children} == {parent.trace_id}
            assert {(each.name, each.kind.name) for each in children} == {("GET", "CLIENT")}
            arrived = {each.json()["headers"]["traceparent"][:-3] for each in found}
            assert arrived == {
                f"00-{each.context.trace_id:032x}-{each.context.span_id:016x}" for each in children
            }
        found = fetch(urls)
        assert lanes(found) == {"fast"}
        assert not any("traceparent" in each.json()["headers"] for each in found)
        assert traced.spans() == []


@pytest.mark.parametrize("instrumentor", INSTRUMENTORS)
def test_on_and_off(no_leaks, instrumentor):
    spans_have_their_parent(instrumentor)


def requests_instrumented() -> None:
    spans_have_their_parent(RequestsInstrumentor)


def urllib3_instrumented() -> None:
    spans_have_their_parent(URLLib3Instrumentor)


def test_requests_whichever_is_imported_first(order):
    in_process(order, "opentelemetry.instrumentation.requests", requests_instrumented)


def test_urllib3_whichever_is_imported_first(order):
    in_process(order, "opentelemetry.instrumentation.urllib3", urllib3_instrumented)


def test_instrumented_before_import():
    """As `opentelemetry-instrument` does it: before the program's first line."""
    import os
    import subprocess
    import sys

    from .support import TESTS

    program = (
        "import sys\n"
        "from opentelemetry.instrumentation.requests import RequestsInstrumentor\n"
        "from opentelemetry.instrumentation.urllib3 import URLLib3Instrumentor\n"
        "RequestsInstrumentor().instrument()\n"
        "URLLib3Instrumentor().instrument()\n"
        "assert 'grequests' not in sys.modules\n"
        "import grequests\n"
        "from ecosystem.support import fetch, lanes\n"
        "from servers import Server, echo\n"
        "with Server() as server:\n"
        "    server.on('/echo', echo)\n"
        "    found = fetch([server.url('/echo')] * 3)\n"
        "    assert lanes(found) == {'general'}\n"
        "    RequestsInstrumentor().uninstrument()\n"
        "    URLLib3Instrumentor().uninstrument()\n"
        "    assert lanes(fetch([server.url('/echo')] * 3)) == {'fast'}\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "PYTHONPATH": str(TESTS)},
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.fixture
def traced():
    one = Traced()
    RequestsInstrumentor().instrument(tracer_provider=one.provider)
    yield one
    RequestsInstrumentor().uninstrument()


def test_both_at_once_make_one_span_below_the_other(no_leaks, traced):
    URLLib3Instrumentor().instrument(tracer_provider=traced.provider)
    try:
        with Server() as server:
            fetch([server.url("/a")] * 3)
    finally:
        URLLib3Instrumentor().uninstrument()
    # Requests' instrumentation suppresses that of what is below it.
    assert [each.instrumentation_scope.name.rpartition(".")[2] for each in traced.spans()] == [
        "requests"
    ] * 3


def test_each_thread_that_maps_has_its_own_parent(no_leaks, traced):
    parents, found = {}, {}

    def work(name: str) -> None:
        with traced.tracer.start_as_current_span(name) as own:
            parents[name] = own.get_span_context().span_id
            found[name] = fetch([server.url(f"/{name}/{n}") for n in range(10)])
        grequests.close()

    with Server() as server:
        threads = [threading.Thread(target=work, args=(name,)) for name in ("a", "b")]
        for each in threads:
            each.start()
        for each in threads:
            each.join(20)
    spans = [each for each in traced.spans() if each.parent is not None]
    assert len(spans) == 20
    for each in spans:
        name = each.attributes.get("http.url", each.attributes.get("url.full")).split("/")[3]
        assert each.parent.span_id == parents[name]


def test_a_span_of_the_iterators_own_is_the_parent_of_what_it_yields(no_leaks, traced):
    """A span that is current when a request is pulled, in the caller's context."""

    def work():
        for n in range(4):
            with traced.tracer.start_as_current_span(f"item {n}"):
                yield grequests.get(server.url(f"/{n}"))

    with Server() as server:
        list(grequests.imap(work(), size=1, exception_handler=reraise))
    spans = traced.spans()
    items = {each.context.span_id: each.name for each in spans if each.name != "GET"}
    sent = [each for each in spans if each.name == "GET"]
    assert len(sent) == 4
    assert {items[each.parent.span_id] for each in sent} == {f"item {n}" for n in range(4)}


def test_redirects_errors_and_hooks(no_leaks):
    seen = []
    traced = Traced()
    RequestsInstrumentor().instrument(
        tracer_provider=traced.provider,
        request_hook=lambda span, request: seen.append(request.url),
        response_hook=lambda span, request, response: seen.append(response.status_code),
    )
    try:
        with Server() as server:
            server.on("/hop", lambda _: answer(b"", "302 Found", "Location: /end"))
            fetch([server.url("/hop")])
            by_us, seen[:] = list(seen), []
            requests.get(server.url("/hop"))
            assert by_us == seen == [server.url("/hop"), 200]
            closed = server.url("/")
        assert grequests.map(gets([closed])) == [None]
    finally:
        RequestsInstrumentor().uninstrument()
    ours, plain, failed = traced.spans()
    assert ours.attributes == plain.attributes
    assert (ours.status.status_code, failed.status.status_code.name) == (
        plain.status.status_code,
        "ERROR",
    )


def test_suppressed_instrumentation_stays_suppressed(no_leaks, traced):
    """A value of the caller's context, which the greenlets run in."""
    with Server() as server, suppress_http_instrumentation():
        found = fetch([server.url("/a")] * 4)
    assert lanes(found) == {"general"}
    assert traced.spans() == []


def test_the_current_span_is_the_callers_in_its_callbacks(no_leaks, traced):
    seen = []

    def note(*_: Any, **__: Any) -> None:
        seen.append(trace.get_current_span().get_span_context().span_id)

    with Server() as server, traced.tracer.start_as_current_span("caller") as caller:
        grequests.map(gets([server.url("/a")] * 3, callback=note), exception_handler=reraise)
        RequestsInstrumentor().uninstrument()
        grequests.map(gets([server.url("/a")] * 3, callback=note), exception_handler=reraise)
    own = caller.get_span_context().span_id
    assert len(seen) == 6
    assert seen[3:] == [own] * 3
