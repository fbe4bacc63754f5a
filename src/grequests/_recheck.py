"""Prepared requests that somebody else has had in hand: whether the fast lane may send them.

Preparation makes only what the engine can write. Auth and hooks may have put anything into method,
headers and body since. Knows requests and the lanes' rules; nothing of sending.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NoReturn

from requests.structures import CaseInsensitiveDict
from urllib3.util import SKIP_HEADER

from ._lane import FRAMING, METHOD
from ._prepare import NotPlainError

if TYPE_CHECKING:
    from requests import PreparedRequest

_TEXT: Final = frozenset({str, bytes})


def recheck(request: PreparedRequest) -> None:
    """Refuse a method or header of which only http.client knows what to do with it.

    Raises:
        NotPlainError: there is one.
    """
    method, headers = request.method, request.headers
    if type(method) is not str or not METHOD.fullmatch(method) or not method.isupper():
        refuse("method")
    if method == "CONNECT" or type(headers) is not CaseInsensitiveDict:
        refuse("method or headers")
    for name, value in headers._store.values():
        if type(name) is not str or type(value) not in _TEXT or value == SKIP_HEADER:
            refuse("header")
    for key in FRAMING.intersection(headers._store):
        if not _is_framed(*headers._store[key], request):
            refuse("framing")


def _is_framed(name: str, value: Any, request: PreparedRequest) -> bool:
    """Whether a header says of the body's length what preparation would have said."""
    body: Any = request.body
    if body is None or isinstance(body, (str, bytes)):
        data = body.encode() if isinstance(body, str) else body or b""
        length = str(len(data))  # as bytes, too: requests-oauthlib leaves all values so
        return name.lower() == "content-length" and value in (length, length.encode())
    if name.lower() == "content-length":
        return type(value) is str and value.isdecimal()
    return (
        name == "Transfer-Encoding"
        and value == "chunked"
        and "Content-Length" not in request.headers
    )


def refuse(what: str) -> NoReturn:
    """Have the general lane do it.

    Raises:
        NotPlainError: always.
    """
    raise NotPlainError(what)
