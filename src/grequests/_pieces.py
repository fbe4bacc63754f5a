"""Streamed bodies, piece by piece as they come.

Knows responses; nothing of what pieces are for.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Final

import requests
from requests.exceptions import ChunkedEncodingError, ContentDecodingError, SSLError
from requests.exceptions import ConnectionError as RequestsConnectionError
from urllib3.exceptions import DecodeError, ProtocolError, ReadTimeoutError
from urllib3.exceptions import SSLError as UrllibSSLError

from ._partial import is_coded, length_of

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Bytes read at a time: larger pieces cost no less, smaller ones more.
PIECE: Final = 128 * 1024
#: Bytes of an answer that is no file and is read nevertheless, so that its connection lives on.
_SMALL: Final = 64 * 1024


class Broken(Exception):  # noqa: N818 - users never see it
    """What reading a body has raised, which is another matter than what writing it may raise."""

    def __init__(self, error: Exception) -> None:
        self.error = error


def drain(response: requests.Response) -> None:
    """Read what is no file, if it is small."""
    length = length_of(response.headers)
    if length is not None and length <= _SMALL:
        with contextlib.suppress(requests.RequestException, OSError):
            _ = response.content


def pieces(response: requests.Response) -> Iterator[bytes]:
    """The body as it comes, decoded. Errors are those that `iter_content` raises.

    `iter_content` itself fills its pieces, and loses one that is cut short.

    Raises:
        Broken: with the error inside.
    """
    raw = response.raw
    try:
        is_plain = hasattr(raw, "read1") and not is_coded(response.headers)
        if response._content_consumed or not is_plain:
            yield from response.iter_content(PIECE)
            return
        while piece := raw.read1(PIECE):
            yield piece
    except ProtocolError as error:
        raise Broken(ChunkedEncodingError(error)) from error
    except DecodeError as error:
        raise Broken(ContentDecodingError(error)) from error
    except ReadTimeoutError as error:
        raise Broken(RequestsConnectionError(error)) from error
    except UrllibSSLError as error:
        raise Broken(SSLError(error)) from error
    except requests.RequestException as error:
        raise Broken(error) from error
