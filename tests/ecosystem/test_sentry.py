"""sentry-sdk: http.client's putrequest, putheader and getresponse, and the scope of the caller."""

from __future__ import annotations

from typing import Any

import pytest
import requests
import sentry_sdk
from sentry_sdk.integrations.stdlib import StdlibIntegration
from sentry_sdk.transport import Transport

import grequests
from servers import Server, echo

from .support import fetch, gets, in_process, lanes, reraise


class Kept(Transport):
    """Sends nothing anywhere."""

    def __init__(self) -> None:
        super().__init__()
        self.events: list[dict[str, Any]] = []

    def capture_envelope(self, envelope: Any) -> None:
        for item in envelope.items:
            event = item.get_event() or item.get_transaction_event()
            if event is not None:
                self.events.append(event)


def initialized() -> Kept:
    transport = Kept()
    sentry_sdk.init(
        dsn="http://key@127.0.0.1:9/1",
        transport=transport,
        traces_sample_rate=1.0,
        default_integrations=False,
        integrations=[StdlibIntegration()],
        trace_propagation_targets=[".*"],
    )
    return transport


def spans_and_breadcrumbs() -> None:
    """Before and after `init`, whose patches stay for the life of a process."""
    with Server() as server:
        server.on("/echo/*", echo)
        urls = [server.url(f"/echo/{n}") for n in range(5)]
        assert lanes(fetch(urls)) == {"fast"}
        transport = initialized()
        with sentry_sdk.start_transaction(name="caller", op="task") as transaction:
            sentry_sdk.get_isolation_scope().set_tag("who", "caller")
            found = fetch(urls)
            found += grequests.imap(gets(urls), size=2, exception_handler=reraise)
            sentry_sdk.capture_message("done")
        assert lanes(found) == {"general"}
        message, trace = transport.events
        assert message["message"] == "done"
        crumbs = message["breadcrumbs"]["values"]
        assert sorted(each["data"]["url"] for each in crumbs) == sorted(urls * 2)
        key = "http.response.status_code"
        assert {(each["type"], each["data"][key]) for each in crumbs} == {("http", 200)}
        spans = trace["spans"]
        assert sorted(each["description"] for each in spans) == sorted(f"GET {u}" for u in urls * 2)
        assert {each["parent_span_id"] for each in spans} == {transaction.span_id}
        assert {each["trace_id"] for each in spans} == {transaction.trace_id}
        assert trace["tags"] == {"who": "caller"}
        arrived = {each.json()["headers"]["sentry-trace"] for each in found}
        assert arrived == {f"{transaction.trace_id}-{each['span_id']}-1" for each in spans}
        assert all("baggage" in each.json()["headers"] for each in found)


def test_whichever_is_imported_first(order):
    in_process(order, "sentry_sdk", spans_and_breadcrumbs)


def as_with_requests() -> None:
    """Each request by Requests and by us leaves the same behind."""
    transport = initialized()
    seen = []
    with Server() as server:
        server.on("/echo/*", echo)
        url = server.url("/echo/a?b=c")
        for send in (requests.get, lambda url: fetch([url])[0]):
            with sentry_sdk.isolation_scope(), sentry_sdk.start_transaction(name="caller"):
                headers = send(url).json()["headers"]
                sentry_sdk.capture_message("done")
            message, event = transport.events
            transport.events.clear()
            (span,) = event["spans"]
            (crumb,) = message["breadcrumbs"]["values"]
            data = {k: v for k, v in span["data"].items() if not k.startswith(("thread", "code"))}
            seen.append((span["op"], span["description"], data, crumb["data"], sorted(headers)))
    assert seen[0] == seen[1]


def test_the_same_is_left_behind_as_by_requests():
    in_process("package first", "sentry_sdk", as_with_requests)


def an_exception_has_the_callers_scope() -> None:
    transport = initialized()
    with Server() as server:

        def fail(response: Any, **_: Any) -> None:
            sentry_sdk.set_tag("status", response.status_code)
            raise ValueError(response.url)

        with sentry_sdk.isolation_scope() as scope:
            scope.set_tag("job", "7")
            grequests.map(
                gets([server.url("/a"), server.url("/b")], callback=fail),
                exception_handler=lambda _, error: sentry_sdk.capture_exception(error),
            )
        urls = {each["exception"]["values"][0]["value"] for each in transport.events}
        assert urls == {server.url("/a"), server.url("/b")}
        assert {each["tags"]["job"] for each in transport.events} == {"7"}


def test_what_callbacks_raise_is_captured_in_the_callers_scope():
    # A hook that raises leaves the body unread, and the socket to the collector, as in Requests.
    ignored = ("-W", "ignore::ResourceWarning")
    in_process("package first", "sentry_sdk", an_exception_has_the_callers_scope, *ignored)


@pytest.mark.parametrize("module", ["sentry_sdk"])
def test_importing_it_alone_costs_no_lane(module):
    in_process("package first", module, still_fast)


def still_fast() -> None:
    with Server() as server:
        assert lanes(fetch([server.url("/a")] * 3)) == {"fast"}
