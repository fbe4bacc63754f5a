"""Content codings: a fast way for the usual, urllib3's own for everything else.

Knows bytes and urllib3's decoders; nothing of responses.
"""

from __future__ import annotations

import io
import re
import zlib
from typing import Final

from requests.exceptions import ContentDecodingError
from requests.models import CONTENT_CHUNK_SIZE
from urllib3 import HTTPResponse
from urllib3.exceptions import DecodeError

_CODING: Final = re.compile(rb"\ncontent-encoding:[ \t]*([^\r\n]*)", re.IGNORECASE)
_CHUNKED: Final = re.compile(rb"\ntransfer-encoding:[^\r\n]*\bchunked\b", re.IGNORECASE)
_FOLD: Final = re.compile(r"[ \t]*\r\n[ \t]+")
#: zlib's window for gzip, and only gzip.
_GZIP: Final = 16 + zlib.MAX_WBITS


def decode_body(head: bytes, body: bytes) -> bytes:
    """The body without its content codings.

    Raises:
        requests.exceptions.ContentDecodingError: it is not what its headers say.
    """
    found = _CODING.findall(head)
    if not found or not body:
        return body
    coding = b", ".join(found).decode("latin-1").lower()
    if coding in ("gzip", "x-gzip"):
        whole = _gunzip(body)
        if whole is not None:
            return whole
    return _as_urllib3(coding, body, _CHUNKED.search(head) is not None)


def _gunzip(body: bytes) -> bytes | None:
    """A single, whole gzip member; None for whatever else it is."""
    inflater = zlib.decompressobj(_GZIP)
    try:
        whole = inflater.decompress(body)
    except zlib.error:
        return None
    return whole if inflater.eof and not inflater.unused_data else None


def _as_urllib3(coding: str, body: bytes, was_chunked: bool) -> bytes:  # noqa: FBT001
    """Multiple members, deflate's two forms, br, zstd, chains, faults: as Requests has them."""
    raw = HTTPResponse(
        io.BytesIO(body), headers={"content-encoding": coding}, preload_content=False
    )
    try:
        pieces = list(raw.stream(CONTENT_CHUNK_SIZE, decode_content=True))
        if was_chunked:  # urllib3 looks for what is missing behind chunks only
            pieces.append(raw._flush_decoder())
        return b"".join(pieces)
    except DecodeError as error:
        raise ContentDecodingError(error) from error


def unfold(value: str) -> str:
    """A header value in one line (RFC 9112 section 5.2)."""
    return _FOLD.sub(" ", value) if "\n" in value else value
