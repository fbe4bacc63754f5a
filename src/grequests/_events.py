"""What happens in a run, as those who listen are told. Frozen values; nothing of who tells."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ._asyncrequest import AsyncRequest
    from ._results import Attempt, Result


@dataclass(frozen=True)
class Started:
    """A request is being sent.

    Attributes:
        request: which one.
        index: its position in its run, from 0.
        tag: what it was tagged with, or None.
        host: its origin, such as ``"https://example.org"``.
        attempt: the number of the attempt, from 1.
        at: seconds of the run's clock.
    """

    request: AsyncRequest
    index: int
    tag: Any
    host: str
    attempt: int
    at: float


@dataclass(frozen=True)
class Finished:
    """A request has its outcome.

    Attributes:
        result: the outcome.
        at: seconds of the run's clock.
    """

    result: Result
    at: float


@dataclass(frozen=True)
class Retried:
    """An attempt did not do, and another will follow.

    Attributes:
        request, index, tag, host: as of `Started`.
        attempt: the one that has ended.
        delay: seconds until the next, at least.
        at: seconds of the run's clock.
    """

    request: AsyncRequest
    index: int
    tag: Any
    host: str
    attempt: Attempt
    delay: float
    at: float


@dataclass(frozen=True)
class HostPaused:
    """A host has asked for a pause (429 or 503 with Retry-After).

    Attributes:
        host: its origin.
        seconds: for how long nothing is sent to it.
        at: seconds of the run's clock.
    """

    host: str
    seconds: float
    at: float


@dataclass(frozen=True)
class CircuitOpened:
    """So many attempts at a host have failed in a row that it is left alone for a while.

    Attributes:
        host: its origin.
        failures: how many.
        seconds: until a single request tries it again.
        at: seconds of the run's clock.
    """

    host: str
    failures: int
    seconds: float
    at: float


@dataclass(frozen=True)
class CircuitClosed:
    """A host that was left alone answers again.

    Attributes:
        host: its origin.
        at: seconds of the run's clock.
    """

    host: str
    at: float


for _class in (Started, Finished, Retried, HostPaused, CircuitOpened, CircuitClosed):
    _class.__module__ = "grequests"
