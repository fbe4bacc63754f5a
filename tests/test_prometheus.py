"""What a scrape would find."""

from __future__ import annotations

import errno
import importlib
import sys
from pathlib import Path
from typing import Any

import prometheus_client
import pytest
import requests
from prometheus_client import CollectorRegistry
from seeing import FakeResult, attempt
from servers import Server, answer

import grequests
from grequests import CircuitClosed, CircuitOpened, Finished, HostPaused, Retried, Started
from grequests.prometheus import PrometheusListener

REFUSED = requests.ConnectionError(ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused"))
HOST = "http://example.test"


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


def scraped(registry: CollectorRegistry, name: str) -> dict[tuple[str, ...], float]:
    """The values of a metric by the values of its labels."""
    return {
        tuple(sample.labels.values()): sample.value
        for metric in registry.collect()
        for sample in metric.samples
        if sample.name == name
    }


def tell(listener: Any, result: Any) -> None:
    """The life of a request, as the client tells it."""
    common = (result.request, result.index, result.tag, result.host)
    for each in result.attempts:
        listener.on_started(Started(*common, each.number, 100.0))
        if each is not result.attempts[-1]:
            listener.on_retried(Retried(*common, each, 1.0, 101.0))
    listener.on_finished(Finished(result, 102.0))


def test_requests_by_outcome_and_class_of_status(registry: CollectorRegistry) -> None:
    listener = PrometheusListener(registry)
    for status in (200, 204, 404, 503, 999):
        tell(listener, FakeResult(status=status, attempts=(attempt(status=status),)))
    tell(listener, FakeResult(REFUSED, attempts=(attempt(error=REFUSED),)))
    tell(listener, FakeResult(grequests.NotARequestError(0, 7), request=7, host=""))
    assert scraped(registry, "grequests_requests_total") == {
        ("answered", "2xx"): 2,
        ("answered", "4xx"): 1,
        ("answered", "5xx"): 1,
        ("answered", ""): 1,
        ("refused", ""): 1,
        ("not a request", ""): 1,
    }


def test_durations_of_what_was_sent(registry: CollectorRegistry) -> None:
    listener = PrometheusListener(registry)
    tell(listener, FakeResult(status=200, attempts=(attempt(),), seconds=0.25))
    tell(listener, FakeResult(REFUSED, attempts=(attempt(), attempt(2)), seconds=20.0))
    tell(listener, FakeResult(grequests.CircuitOpenError(HOST, 30.0)))  # never sent
    duplicate = FakeResult(status=200, attempts=(attempt(),))
    listener.on_finished(Finished(duplicate, 102.0))
    assert scraped(registry, "grequests_request_duration_seconds_count") == {(): 2}
    assert scraped(registry, "grequests_request_duration_seconds_sum") == {(): 20.25}
    buckets = scraped(registry, "grequests_request_duration_seconds_bucket")
    assert (buckets[("0.1",)], buckets[("0.25",)], buckets[("10.0",)]) == (0, 1, 1)
    assert (buckets[("30.0",)], buckets[("+Inf",)]) == (2, 2)


def test_retries_by_reason(registry: CollectorRegistry) -> None:
    listener = PrometheusListener(registry)
    attempts = (attempt(status=503), attempt(2, status=429), attempt(3, error=REFUSED), attempt(4))
    tell(listener, FakeResult(status=200, attempts=attempts))
    assert scraped(registry, "grequests_retries_total") == {
        ("5xx",): 1,
        ("4xx",): 1,
        ("refused",): 1,
    }


def test_requests_are_in_flight_while_they_are_sent_and_not_between(
    registry: CollectorRegistry,
) -> None:
    listener = PrometheusListener(registry)
    request = grequests.get("http://example.test/")
    common = (request, 0, None, HOST)
    counts = []
    for tell_of, event in [
        (listener.on_started, Started(*common, 1, 100.0)),
        (listener.on_retried, Retried(*common, attempt(), 1.0, 101.0)),
        (listener.on_started, Started(*common, 2, 102.0)),
        (
            listener.on_finished,
            Finished(FakeResult(status=200, request=request, attempts=(attempt(),)), 103.0),
        ),
    ]:
        tell_of(event)
        counts.append(registry.get_sample_value("grequests_in_flight"))
    assert counts == [1, 0, 1, 0]


def test_pauses_and_circuits(registry: CollectorRegistry) -> None:
    listener = PrometheusListener(registry)
    value = registry.get_sample_value
    listener.on_host_paused(HostPaused(HOST, 30.0, 100.0))
    listener.on_host_paused(HostPaused("http://other", 2.5, 100.0))
    assert value("grequests_host_pauses_total") == 2
    assert value("grequests_host_paused_seconds_total") == 32.5
    listener.on_circuit_opened(CircuitOpened(HOST, 10, 30.0, 100.0))
    listener.on_circuit_opened(CircuitOpened(HOST, 11, 30.0, 130.0))  # it still fails
    assert value("grequests_circuits_opened_total") == 2
    assert value("grequests_circuits_open") == 1
    listener.on_circuit_closed(CircuitClosed(HOST, 160.0))
    assert value("grequests_circuits_open") == 0


@pytest.mark.parametrize("hosts", [True, 2])
def test_hosts_as_a_label_are_bounded(registry: CollectorRegistry, hosts: Any) -> None:
    listener = PrometheusListener(registry, hosts=hosts)
    for number in range(103):
        tell(listener, FakeResult(status=200, host=f"http://h{number}", attempts=(attempt(),)))
    limit = 100 if hosts is True else hosts
    labels = [*((f"http://h{number}",) for number in range(limit)), ("other",)]
    assert [*scraped(registry, "grequests_request_duration_seconds_count")] == labels
    found = scraped(registry, "grequests_requests_total")
    assert [each[2:] for each in found] == labels
    assert found["answered", "2xx", "other"] == 103 - limit


def test_without_hosts_none_is_named(registry: CollectorRegistry) -> None:
    listener = PrometheusListener(registry)
    tell(listener, FakeResult(REFUSED, attempts=(attempt(error=REFUSED), attempt(2))))
    listener.on_host_paused(HostPaused(HOST, 30.0, 100.0))
    assert b"example.test" not in prometheus_client.generate_latest(registry)


def test_a_prefix_of_ones_own(registry: CollectorRegistry) -> None:
    PrometheusListener(registry)
    PrometheusListener(registry, "crawler")
    assert registry.get_sample_value("crawler_in_flight") == 0
    with pytest.raises(ValueError, match="Duplicated"):
        PrometheusListener(registry, "crawler")


def test_the_names_are_those_of_the_documentation(registry: CollectorRegistry) -> None:
    PrometheusListener(registry)
    names = {
        sample.name.removesuffix("_bucket").removesuffix("_count").removesuffix("_sum")
        for metric in registry.collect()
        for sample in metric.samples
        if not sample.name.endswith("_created")
    }
    names |= {"grequests_requests_total", "grequests_retries_total"}  # have labels: no value yet
    page = (Path(__file__).parents[1] / "docs" / "observability.md").read_text()
    assert [name for name in sorted(names) if f"`{name}`" not in page] == []
    documented = PrometheusListener.__doc__ or ""
    assert {
        each.strip("`") for each in documented.split() if each.startswith("``grequests_")
    } == names


def test_a_run_of_a_client(no_leaks: None, registry: CollectorRegistry, server: Server) -> None:
    answers = iter([answer(b"", "503 Busy"), answer(b"fine")])
    server.on("/once", lambda _: next(answers)).hold("/slow")
    with grequests.Client(retry=grequests.Retry(backoff=0)) as client:
        client.on(PrometheusListener(registry))
        list(client.run([server.url("/a"), server.url("/a"), server.url("/once"), "nonsense"]))
        for _ in client.run([server.url("/a"), server.url("/slow")]):
            break
    assert scraped(registry, "grequests_requests_total") == {
        ("answered", "2xx"): 4,
        ("invalid request", ""): 1,
        ("cancelled", ""): 1,
    }
    assert scraped(registry, "grequests_retries_total") == {("5xx",): 1}
    assert registry.get_sample_value("grequests_in_flight") == 0


def test_without_the_package_the_import_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delitem(sys.modules, "grequests.prometheus")
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    with pytest.raises(grequests.MissingExtraError) as caught:
        importlib.import_module("grequests.prometheus")
    assert caught.value.extra == "prometheus"
    assert "pip install 'grequests[prometheus]'" in str(caught.value)
