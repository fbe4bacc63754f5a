"""The requests of a download: the user's, with what whole files and parts of files take.

Pure functions. It may not know: how they are sent.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit, urlunsplit

import requests

from ._exceptions import PolicyError

if TYPE_CHECKING:
    from ._asyncrequest import AsyncRequest
    from ._partial import Record

#: Headers that are ours to send.
_OURS: Final = frozenset({"accept-encoding", "range", "if-range"})


def refuse_ranges(request: AsyncRequest) -> None:
    """See that a request is for a whole file.

    Raises:
        PolicyError: it is not.
    """
    for name, value in _headers_of(request).items():
        if _text(name).lower() == "range":
            raise PolicyError(_text(name), value, "left out: a download is of whole files")


def asking(request: AsyncRequest, record: Record | None, offset: int) -> AsyncRequest:
    """A copy of a user's request, to be streamed.

    Args:
        request: the user's.
        record: of the part that is there already, or None.
        offset: bytes of it.
    """
    made = copy.copy(request)
    made._in_flight = False  # what came of the user's is forgotten when this one is sent
    headers = {
        name: value
        for name, value in _headers_of(request).items()
        if _text(name).lower() not in _OURS
    }
    # Ranges and lengths are of what is on the wire: let that be the file.
    headers["Accept-Encoding"] = "identity"
    if record is not None:
        headers["Range"] = f"bytes={offset}-"
        headers["If-Range"] = record.validator
    made.kwargs = {**request.kwargs, "headers": headers, "stream": True}
    return made


def _headers_of(request: AsyncRequest) -> dict[Any, Any]:
    return dict(request.kwargs.get("headers") or {})


def _text(name: Any) -> str:
    return name.decode("latin-1") if isinstance(name, bytes) else str(name)


def bare_url(request: AsyncRequest) -> str:
    """Where a request leads, with its parameters and without credentials."""
    prepared = requests.PreparedRequest()
    try:
        prepared.prepare_url(request.url, request.kwargs.get("params"))
        parts = urlsplit(prepared.url or "")
    except (ValueError, requests.RequestException):
        return ""  # sending it will say what is wrong
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2], fragment=""))
