"""Metrics of a client's requests, for Prometheus (``grequests[prometheus]``).

Example:
    >>> from grequests.prometheus import PrometheusListener
    >>> listener = PrometheusListener()  # doctest: +SKIP
    >>> with grequests.Client() as client:  # doctest: +SKIP
    ...     client.on(listener)
    ...     for result in client.run(urls):
    ...         ...

It knows events by their attributes; nothing of clients.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeVar

from ._exceptions import MissingExtraError
from ._kinds import kind_of
from ._listening import BUCKETS, Few, Flights

try:
    from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram
except ImportError as _error:
    raise MissingExtraError(__name__, "prometheus") from _error

if TYPE_CHECKING:
    from ._events import CircuitClosed, CircuitOpened, Finished, HostPaused, Retried, Started
    from ._results import Result

__all__ = ["PrometheusListener"]

M = TypeVar("M", Counter, Histogram)

#: Hosts that are told apart by ``hosts=True``.
_HOSTS: Final = 100
#: The label of all others.
_OTHERS: Final = "other"


class PrometheusListener:
    """Counts what happens in clients: ``client.on(PrometheusListener())``.

    One listener may listen to many clients. A second one with the same prefix needs a registry of
    its own, since the names of metrics are taken then.

    ============================================  ============================================
    metric                                        what it is
    ============================================  ============================================
    ``grequests_requests_total``                  requests with their outcome, by ``outcome``
                                                  (``answered`` or a kind of failure, such as
                                                  ``name not resolved``) and ``status`` (``2xx``)
    ``grequests_request_duration_seconds``        of those that were sent, over all attempts
    ``grequests_retries_total``                   by ``reason``: a kind of failure, or ``5xx``
    ``grequests_in_flight``                       requests that are being sent
    ``grequests_host_pauses_total``               pauses that hosts have asked for
    ``grequests_host_paused_seconds_total``       how long they are in all
    ``grequests_circuits_opened_total``           how often a host was left alone for failing
    ``grequests_circuits_open``                   hosts that are left alone now
    ============================================  ============================================

    Args:
        registry: where metrics are registered.
        prefix: of their names.
        hosts: True for a label ``host`` on counters and the histogram, or a number of hosts that
            have a value of their own (True is 100); others are ``other``. Each is a time series for
            every value of the other labels, for ever.

    Raises:
        MissingExtraError: (at the import) prometheus-client is not installed.
        ValueError: the registry has metrics of these names.

    Example:
        >>> listener = PrometheusListener(prefix="crawler", hosts=20)  # doctest: +SKIP
    """

    def __init__(
        self,
        registry: CollectorRegistry = REGISTRY,
        prefix: str = "grequests",
        *,
        hosts: bool | int = False,
    ) -> None:
        limit = _HOSTS if hosts is True else int(hosts)
        self._hosts = Few(limit) if limit else None
        self._flights: Flights[bool] = Flights()
        self._open: set[str] = set()
        labels = ("host",) if limit else ()

        def counter(name: str, text: str, *more: str) -> Counter:
            return Counter(f"{prefix}_{name}", text, (*more, *labels), registry=registry)

        def gauge(name: str, text: str) -> Gauge:
            # (Workers of one service are added up, those that are gone are not.)
            return Gauge(f"{prefix}_{name}", text, registry=registry, multiprocess_mode="livesum")

        self._requests = counter("requests", "Requests with their outcome.", "outcome", "status")
        self._durations = Histogram(
            f"{prefix}_request_duration_seconds",
            "From the first start of a request to its end.",
            labels,
            registry=registry,
            buckets=BUCKETS,
        )
        self._retries = counter("retries", "Attempts that were followed by another.", "reason")
        self._pauses = counter("host_pauses", "Pauses that hosts have asked for.")
        self._paused = counter("host_paused_seconds", "How long these are in all.")
        self._opened = counter("circuits_opened", "How often a host was left alone for failing.")
        self._in_flight = gauge("in_flight", "Requests that are being sent.")
        self._circuits = gauge("circuits_open", "Hosts that are left alone.")

    def on_started(self, event: Started) -> None:
        """An attempt begins."""
        if self._flights.start(event.request, True):  # noqa: FBT003 - that it flies is all there is
            self._in_flight.inc()

    def on_retried(self, event: Retried) -> None:
        """An attempt has ended, and another will follow."""
        self._land(event.request)
        attempt = event.attempt
        reason = kind_of(attempt.error) if attempt.error is not None else _class(attempt.status)
        self._at(self._retries, event.host, reason).inc()

    def on_finished(self, event: Finished) -> None:
        """A request has its outcome."""
        result = event.result
        self._land(result.request)
        self._at(self._requests, result.host, *_outcome(result)).inc()
        if self._flights.forget(result.request):
            self._at(self._durations, result.host).observe(result.timings.total)

    def on_host_paused(self, event: HostPaused) -> None:
        """A host has asked for a pause."""
        self._at(self._pauses, event.host).inc()
        self._at(self._paused, event.host).inc(event.seconds)

    def on_circuit_opened(self, event: CircuitOpened) -> None:
        """A host is left alone, or still is."""
        self._at(self._opened, event.host).inc()
        self._open.add(event.host)
        self._circuits.set(len(self._open))

    def on_circuit_closed(self, event: CircuitClosed) -> None:
        """A host answers again."""
        self._open.discard(event.host)
        self._circuits.set(len(self._open))

    def _land(self, request: object) -> None:
        if self._flights.land(request) is not None:
            self._in_flight.dec()

    def _at(self, metric: M, host: str, *values: str) -> M:
        """The time series of a metric for a host and the values of its other labels."""
        if self._hosts is not None:
            values = (*values, host if host in self._hosts else _OTHERS)
        return metric.labels(*values) if values else metric


def _outcome(result: Result) -> tuple[str, str]:
    if result.error is not None:
        return kind_of(result.error), ""
    return "answered", _class(None if result.response is None else result.response.status_code)


def _class(status: int | None) -> str:
    """``"2xx"`` for 204; "" for what is none."""
    return f"{status // 100}xx" if status is not None and 100 <= status < 600 else ""  # noqa: PLR2004
