"""What a client may be told: rates, retries, times, circuits. Frozen values that check themselves.

Each is a number or a set of them with a meaning; deciding by them is done by pure functions
elsewhere (`_retry`, `_admission`). It may not know: requests, clocks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from requests.exceptions import (
    ChunkedEncodingError,
    ContentDecodingError,
)
from requests.exceptions import (
    ConnectionError as RequestsConnectionError,
)
from requests.exceptions import (
    Timeout as RequestsTimeout,
)

from ._checks import check_count, check_number, check_positive, check_seconds
from ._exceptions import PolicyError, TotalTimeoutError

if TYPE_CHECKING:
    from collections.abc import Collection

#: RFC 9110 section 9.2.2.
IDEMPOTENT: Final = frozenset({"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"})
#: Request timeout, too early, too many requests, and what servers and gateways say in trouble.
TRANSIENT: Final = frozenset({408, 425, 429, 500, 502, 503, 504})
#: Seconds of a rate that are made good if nothing else is said: timers ring late, by 3 ms and more
#: on a busy machine, which is 6 % of a rate of 20 per second.
_BURST_SECONDS: Final = 0.05


@dataclass(frozen=True)
class Rate:
    """How many requests may be started in how much time: a token bucket.

    In any stretch of t seconds no more than ``burst + count / per * t`` are started. Attempts
    count, redirects do not.

    Args:
        count: how many (requests, or the sum of their ``cost=``).
        per: in so many seconds.
        burst: how many may go at once when none went for a while; None for one and what 50 ms
            allow, so that what timers that ring late cost is made good. (With 1, nothing is.)

    Raises:
        PolicyError: a value is not a number above 0.

    Example:
        >>> grequests.Rate(100, per=60)
        Rate(count=100, per=60, burst=None)
    """

    count: float
    per: float = 1.0
    burst: float | None = None

    def __post_init__(self) -> None:
        check_positive("count", self.count)
        check_positive("per", self.per)
        if self.burst is not None:
            check_positive("burst", self.burst)

    @property
    def per_second(self) -> float:
        """How many in a second."""
        return self.count / self.per

    @property
    def capacity(self) -> float:
        """How many may go at once."""
        if self.burst is not None:
            return max(self.burst, 1.0)
        return 1.0 + self.per_second * _BURST_SECONDS


@dataclass(frozen=True, kw_only=True)
class Timeout:
    """How long things may take, in seconds; None for ever. Clocks start at the dispatch.

    Args:
        connect: for the name and the TCP connection, and again for proxy tunnel and TLS; Requests'
            first value. A request's own ``timeout=`` takes precedence over this and the next.
        read: without a byte from the server; Requests' second value.
        total: for an attempt, from its dispatch to the end of its body: names, TLS and redirects
            are in it. A server that drips a byte a second is cut off by it.
        request: for the request, over all of its attempts and the waits between them.

    Raises:
        PolicyError: a value is neither a number above 0 nor None.

    Example:
        >>> grequests.Timeout(connect=5, read=20, total=60)
        Timeout(connect=5, read=20, total=60, request=None)
    """

    connect: float | None = 10.0
    read: float | None = 30.0
    total: float | None = 300.0
    request: float | None = None

    def __post_init__(self) -> None:
        for name in ("connect", "read", "total", "request"):
            check_seconds(name, getattr(self, name))

    @property
    def keyword(self) -> tuple[float | None, float | None] | None:
        """The same as Requests' ``timeout=``."""
        if self.connect is None and self.read is None:
            return None
        return (self.connect, self.read)


@dataclass(frozen=True, kw_only=True)
class Retry:
    """When a request is sent once more, and when.

    The wait before the n-th retry is drawn between 0 and ``min(cap, backoff * factor ** (n - 1))``
    ("full jitter"), and at least what Retry-After says. It holds no slot.

    Args:
        attempts: how often it may be sent in all.
        backoff: seconds; 0 for no wait.
        factor: by which the wait grows.
        cap: seconds it does not grow beyond.
        statuses: which answers are no answers.
        methods: which methods may be sent twice. Others are, too, when nothing of the request can
            have reached the server.
        errors: which exceptions may pass by themselves. Of these, `requests.exceptions.SSLError` is
            not retried.
        budget: retries there may be for each request of a run, on average, so that an outage is not
            made worse; 1 for no such bound with two attempts.
        reserve: retries there may be before the budget counts.
        after: the longest Retry-After that is respected, in seconds: an answer asking for more is
            the result. 0 to ignore the header.

    Raises:
        PolicyError: a value makes no sense.

    Example:
        >>> grequests.Retry(attempts=5, methods=grequests.Retry().methods | {"POST"}).attempts
        5
    """

    attempts: int = 3
    backoff: float = 0.5
    factor: float = 2.0
    cap: float = 30.0
    statuses: Collection[int] = TRANSIENT
    methods: Collection[str] = IDEMPOTENT
    errors: tuple[type[BaseException], ...] = (
        RequestsConnectionError,
        RequestsTimeout,
        ChunkedEncodingError,
        ContentDecodingError,
        TotalTimeoutError,
    )
    budget: float = 0.2
    reserve: int = 10
    after: float = 120.0

    def __post_init__(self) -> None:
        check_count("attempts", self.attempts)
        check_count("reserve", self.reserve, least=0)
        for name in ("backoff", "cap", "budget", "after"):
            check_number(
                name, getattr(self, name), "a number of at least 0", lambda number: number >= 0
            )
        check_number("factor", self.factor, "a number of at least 1", lambda number: number >= 1)
        object.__setattr__(self, "statuses", frozenset(self._listed("statuses", int)))
        methods = self._listed("methods", str)
        object.__setattr__(self, "methods", frozenset(each.upper() for each in methods))
        object.__setattr__(self, "errors", self._checked_errors())

    def _listed(self, name: str, kind: type) -> list[Any]:
        value = getattr(self, name)
        try:
            listed = [] if isinstance(value, (str, bytes)) else list(value)
        except TypeError:
            listed = []
        if isinstance(value, (str, bytes)) or not all(isinstance(each, kind) for each in listed):
            raise PolicyError(name, value, f"a collection of {kind.__name__}")
        if not listed and not hasattr(value, "__iter__"):
            raise PolicyError(name, value, f"a collection of {kind.__name__}")
        return listed

    def _checked_errors(self) -> tuple[type[BaseException], ...]:
        errors = self.errors
        listed = tuple(errors) if isinstance(errors, (tuple, list, set, frozenset)) else (errors,)
        if not all(isinstance(each, type) and issubclass(each, Exception) for each in listed):
            name = "errors"
            raise PolicyError(name, errors, "classes of exceptions")
        return listed

    def longest_wait(self, number: int) -> float:
        """The most that is waited after so many attempts, in seconds."""
        try:
            grown = self.backoff * self.factor ** (number - 1)
        except OverflowError:
            return self.cap
        return min(self.cap, grown)


@dataclass(frozen=True, kw_only=True)
class Circuit:
    """When a host that does not answer is left alone.

    Attempts that end without an answer count, refusals of connections as well as timeouts; any
    answer, whatever its status, ends the row. While the circuit is open, requests to the host fail
    at once with `CircuitOpenError`. Then a single one tries, and others wait for what comes of it.

    Args:
        failures: how many in a row open it.
        span: seconds that the row lasts at least: a server that is started anew is no dead host.
        seconds: for which it is open.

    Raises:
        PolicyError: a value makes no sense.

    Example:
        >>> grequests.Circuit(failures=5, span=2, seconds=60)
        Circuit(failures=5, span=2, seconds=60)
    """

    failures: int = 10
    span: float = 10.0
    seconds: float = 30.0

    def __post_init__(self) -> None:
        check_count("failures", self.failures)
        check_number("span", self.span, "a number of at least 0", lambda number: number >= 0)
        check_positive("seconds", self.seconds)


for _class in (Rate, Timeout, Retry, Circuit):
    _class.__module__ = "grequests"
