"""Statistics and results for the tests of those who show them."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import grequests
from grequests import Attempt, HostStatistics, Latency, Statistics, Timings

NONE = Latency(0, *[math.nan] * 7)


def statistics(**values: Any) -> Statistics:
    """Statistics in which only what matters has a value; `done` adds up if it is not given."""
    failed = values.setdefault("failed", {})
    values.setdefault("succeeded", 0)
    values.setdefault("done", values["succeeded"] + sum(failed.values()))
    defaults: dict[str, Any] = {
        **dict.fromkeys(("queued", "in_flight", "retries", "received"), 0),
        **dict.fromkeys(("opened", "reused", "idle"), 0),
        "statuses": {},
        "hosts": {},
        "latency": NONE,
        "paused": (),
        "open_circuits": (),
        "elapsed": 0.0,
        "expected": None,
    }
    return Statistics(**defaults | values)


def hosts(**failed: int) -> dict[str, HostStatistics]:
    """A table of hosts: `a=3` stands for ``http://a`` with three failures."""
    return {f"http://{name}": HostStatistics(0, 0, n, n, 8) for name, n in failed.items()}


@dataclass(frozen=True)
class FakeResult:
    """A `Result` without a client. `attempts` is how many there were, a tenth of a second each."""

    error: BaseException | None = None
    status: int | None = None
    url: Any = "http://example.test/"
    method: str = "GET"
    host: str = "http://example.test"
    index: int = 0
    attempts: tuple[Attempt, ...] = ()
    seconds: float = 0.25
    request: Any = field(default=None)
    tag: Any = None

    def __post_init__(self) -> None:
        if self.request is None:
            object.__setattr__(self, "request", grequests.request(self.method, self.url))

    @property
    def response(self) -> Any:
        if self.error is not None:
            return None
        response = grequests.Response.__new__(grequests.Response)
        response.__dict__["status_code"] = self.status
        return response

    @property
    def timings(self) -> Timings:
        return Timings(0.0, 0.0, 0.0, 0.0, 0.0, self.seconds)


def attempt(number: int = 1, **values: Any) -> Attempt:
    """An attempt of 0.1 s; the n-th starts n - 1 seconds after the first, at second 5."""
    defaults: dict[str, Any] = {
        "started": 4.0 + number,
        "seconds": 0.1,
        "status": None,
        "error": None,
        "retried": None,
    }
    return Attempt(number, **defaults | values)
