"""Content codings: a fast way for the usual, urllib3's own for everything else.

Knows bytes, urllib3's decoders and how to bound them; nothing of responses.
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

from ._body_limit import body_limit, bound
from ._exceptions import BodyTooLargeError

_CODING: Final = re.compile(rb"\ncontent-encoding:[ \t]*([^\r\n]*)", re.IGNORECASE)
_CHUNKED: Final = re.compile(rb"\ntransfer-encoding:[^\r\n]*\bchunked\b", re.IGNORECASE)
_FOLD: Final = re.compile(r"[ \t]*\r\n[ \t]+")
#: zlib's window for gzip, and only gzip.
_GZIP: Final = 16 + zlib.MAX_WBITS


def decode_body(head: bytes, body: bytes, limit: int | None = None) -> bytes:
    """The body without its content codings.

    Args:
        head: status line and header lines.
        body: as it came.
        limit: bytes that it may have without its codings, or None for any number.

    Raises:
        requests.exceptions.ContentDecodingError: it is not what its headers say.
        BodyTooLargeError: it is larger than the limit. No more of it was decoded.
    """
    found = _CODING.findall(head)
    if found and body:
        coding = b", ".join(found).decode("latin-1").lower()
        whole = None
        if coding in ("gzip", "x-gzip"):
            whole = _gunzip(body, 0 if limit is None else limit + 1)
        if whole is None:
            was_chunked = _CHUNKED.search(head) is not None
            whole = _as_urllib3(coding, body, limit, was_chunked=was_chunked)
        body = whole
    if limit is not None and len(body) > limit:
        raise BodyTooLargeError(limit)
    return body


def _gunzip(body: bytes, most: int) -> bytes | None:
    """A single, whole gzip member, or `most` bytes of it if that is not 0; else None."""
    inflater = zlib.decompressobj(_GZIP)
    try:
        whole = inflater.decompress(body, most)
    except zlib.error:
        return None
    if inflater.eof:
        return None if inflater.unused_data else whole
    return whole if most and len(whole) == most else None


def _as_urllib3(coding: str, body: bytes, limit: int | None, *, was_chunked: bool) -> bytes:
    """Multiple members, deflate's two forms, br, zstd, chains, faults: as Requests has them."""
    raw = HTTPResponse(
        io.BytesIO(body), headers={"content-encoding": coding}, preload_content=False
    )
    if limit is not None:
        bound(raw)
    try:
        with body_limit(limit):
            pieces = list(raw.stream(CONTENT_CHUNK_SIZE, decode_content=True))
            if was_chunked:  # urllib3 looks for what is missing behind chunks only
                pieces.append(raw._flush_decoder())
        return b"".join(pieces)
    except DecodeError as error:
        raise ContentDecodingError(error) from error


def unfold(value: str) -> str:
    """A header value in one line (RFC 9112 section 5.2)."""
    return _FOLD.sub(" ", value) if "\n" in value else value
