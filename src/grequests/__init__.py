"""GRequests: many HTTP requests at once from plain synchronous Python.

    >>> import grequests
    >>> urls = ["http://example.org/", "http://example.com/"]
    >>> grequests.map(grequests.get(url) for url in urls)  # doctest: +SKIP
    [<Response [200]>, <Response [200]>]

The call shapes are those of Requests, the answers `requests.Response` objects, the errors
`requests.exceptions`. gevent waits underneath; nothing is patched.

`map` and `imap` are those of grequests 0.7. For a result of every request, retries, limits of rate
and time, and all else that sending in bulk takes, there are `run` and `Client`.
"""

import typing as _types
from importlib import import_module as _import_module

from ._api import (
    close,
    delete,
    get,
    head,
    imap,
    imap_enumerated,
    map,  # noqa: A004 - the name of 0.7
    options,
    patch,
    post,
    put,
    request,
    send,
)
from ._asyncrequest import AsyncRequest
from ._exceptions import (
    AddressDeniedError,
    BodyTooLargeError,
    CircuitOpenError,
    ClientClosedError,
    DeadlineError,
    GRequestsError,
    HeadersTooLargeError,
    InvalidSizeError,
    MissingExtraError,
    NotARequestError,
    NotIterableError,
    PolicyError,
    RequestCancelledError,
    RequestInFlightError,
    TotalTimeoutError,
)
from ._response import Response

if _types.TYPE_CHECKING:
    from ._adaptive import Auto
    from ._addresses import AddressPolicy
    from ._aio import AsyncResults, amap, arun
    from ._client import Client, Results, run
    from ._download import (
        ChecksumError,
        Download,
        DownloadItem,
        DownloadProgress,
        Downloads,
        LengthError,
        RangeError,
        download,
    )
    from ._events import CircuitClosed, CircuitOpened, Finished, HostPaused, Retried, Started
    from ._feed import Feed
    from ._future import Future
    from ._policies import Circuit, Rate, Retry, Timeout
    from ._proxies import ProxyPool, ProxyStatistics
    from ._results import Attempt, Result, Timings
    from ._retry import was_sent
    from ._statistics import HostStatistics, Latency, Statistics

__version__ = "1.0.0.dev0"

#: Where the names of the bulk layer are. It is loaded when one of them is first used: who wants no
#: more than `map` does not wait for it.
_BULK = {
    name: module
    for module, names in {
        "_adaptive": ["Auto"],
        "_addresses": ["AddressPolicy"],
        "_aio": ["AsyncResults", "amap", "arun"],
        "_client": ["Client", "Results", "run"],
        "_download": [
            *("ChecksumError", "Download", "DownloadItem", "DownloadProgress", "Downloads"),
            *("LengthError", "RangeError", "download"),
        ],
        "_events": [
            *("CircuitClosed", "CircuitOpened", "Finished", "HostPaused", "Retried", "Started"),
        ],
        "_feed": ["Feed"],
        "_future": ["Future"],
        "_policies": ["Circuit", "Rate", "Retry", "Timeout"],
        "_proxies": ["ProxyPool", "ProxyStatistics"],
        "_results": ["Attempt", "Result", "Timings"],
        "_retry": ["was_sent"],
        "_statistics": ["HostStatistics", "Latency", "Statistics"],
    }.items()
    for name in names
}


if not _types.TYPE_CHECKING:  # else every name would be one of ours

    def __getattr__(name: str) -> object:
        module = _BULK.get(name)
        if module is None:
            message = f"module 'grequests' has no attribute {name!r}"
            raise AttributeError(message)
        found: object = getattr(_import_module(f"grequests.{module}"), name)
        globals()[name] = found
        return found


def __dir__() -> list[str]:
    return sorted({*globals(), *_BULK})


__all__ = [
    "AddressDeniedError",
    "AddressPolicy",
    "AsyncRequest",
    "AsyncResults",
    "Attempt",
    "Auto",
    "BodyTooLargeError",
    "ChecksumError",
    "Circuit",
    "CircuitClosed",
    "CircuitOpenError",
    "CircuitOpened",
    "Client",
    "ClientClosedError",
    "DeadlineError",
    "Download",
    "DownloadItem",
    "DownloadProgress",
    "Downloads",
    "Feed",
    "Finished",
    "Future",
    "GRequestsError",
    "HeadersTooLargeError",
    "HostPaused",
    "HostStatistics",
    "InvalidSizeError",
    "Latency",
    "LengthError",
    "MissingExtraError",
    "NotARequestError",
    "NotIterableError",
    "PolicyError",
    "ProxyPool",
    "ProxyStatistics",
    "RangeError",
    "Rate",
    "RequestCancelledError",
    "RequestInFlightError",
    "Response",
    "Result",
    "Results",
    "Retried",
    "Retry",
    "Started",
    "Statistics",
    "Timeout",
    "Timings",
    "TotalTimeoutError",
    "amap",
    "arun",
    "close",
    "delete",
    "download",
    "get",
    "head",
    "imap",
    "imap_enumerated",
    "map",
    "options",
    "patch",
    "post",
    "put",
    "request",
    "run",
    "send",
    "was_sent",
]
