"""GRequests: many HTTP requests at once from plain synchronous Python.

    >>> import grequests
    >>> urls = ["http://example.org/", "http://example.com/"]
    >>> grequests.map(grequests.get(url) for url in urls)  # doctest: +SKIP
    [<Response [200]>, <Response [200]>]

The call shapes are those of Requests, the answers `requests.Response` objects, the errors
`requests.exceptions`. gevent waits underneath; nothing is patched.
"""

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
    GRequestsError,
    InvalidSizeError,
    NotARequestError,
    RequestInFlightError,
)
from ._response import Response

__version__ = "1.0.0.dev0"

__all__ = [
    "AsyncRequest",
    "GRequestsError",
    "InvalidSizeError",
    "NotARequestError",
    "RequestInFlightError",
    "Response",
    "close",
    "delete",
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
    "send",
]
