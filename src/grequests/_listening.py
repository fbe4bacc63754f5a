"""What listeners that measure have in common: which requests are being sent, and few enough names.

Knows neither events nor whom measurements are for.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final, Generic, NamedTuple, TypeVar
from urllib.parse import urlsplit

T = TypeVar("T")

#: Seconds, for histograms of durations: OpenTelemetry's advice for HTTP, and further up, since
#: retries and their waits are in them.
BUCKETS: Final = (
    *(0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0),
    *(30.0, 60.0, 120.0, 300.0),
)
#: Methods that are no surprise (RFC 9110 section 9, RFC 5789); others could be any number.
METHODS: Final = frozenset(
    {"GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"}
)


class Flights(Generic[T]):
    """The requests that have been started and have no outcome yet, each with a value of its own.

    A request is in the air from its start to its end or, if it is sent again, to the end of the
    attempt; each start and each end counts once, whatever is missed or told twice.
    """

    __slots__ = ("_flying", "_known")

    def __init__(self) -> None:
        #: By identity. (The request is kept, so that nothing else has its identity.)
        self._flying: dict[int, tuple[object, T]] = {}
        self._known: dict[int, object] = {}

    def start(self, request: object, value: T) -> bool:
        """An attempt begins; whether it was on the ground before."""
        key = id(request)
        self._known[key] = request
        if key in self._flying:
            return False
        self._flying[key] = (request, value)
        return True

    def land(self, request: object) -> T | None:
        """An attempt has ended; its value if it was in the air."""
        found = self._flying.pop(id(request), None)
        return None if found is None else found[1]

    def forget(self, request: object) -> bool:
        """A request has its outcome; whether it had ever been started."""
        return self._known.pop(id(request), None) is not None


class Few:
    """Has the first so many names in it, and none of the others.

    Names may be the labels of time series, each of which lives for ever.

    Args:
        limit: how many.
    """

    __slots__ = ("_limit", "_names")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._names: set[str] = set()

    def __contains__(self, name: str) -> bool:
        if name in self._names:
            return True
        if len(self._names) >= self._limit:
            return False
        self._names.add(name)
        return True


class Server(NamedTuple):
    """An origin in parts."""

    address: str
    port: int | None


@lru_cache(maxsize=1024)
def server_of(host: str) -> Server | None:
    """The parts of a host's key, such as ``"https://example.org:8443"``; None if it has none."""
    parts = urlsplit(host)
    if not parts.hostname:
        return None
    return Server(parts.hostname, parts.port or {"http": 80, "https": 443}.get(parts.scheme))
