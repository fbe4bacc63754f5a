"""Content codings: gzip and deflate here, urllib3's decoders for everything else.

A body that ends before its coding does is an error, unlike in urllib3: it would be taken for whole.
Nor may a body consist of many gzip members with next to nothing in them: 20 bytes each, they take
0.4 s per MB to unpack. Knows bytes, urllib3's decoders and how to bound them; nothing of responses.
"""

from __future__ import annotations

import io
import re
import zlib
from typing import TYPE_CHECKING, Any, Final

from requests.exceptions import ContentDecodingError
from requests.models import CONTENT_CHUNK_SIZE
from urllib3 import HTTPResponse
from urllib3.exceptions import DecodeError

from ._body_limit import body_limit, bound, raw_limit
from ._exceptions import BodyTooLargeError

if TYPE_CHECKING:
    from collections.abc import Callable

_CODING: Final = re.compile(rb"\ncontent-encoding:[ \t]*([^\r\n]*)", re.IGNORECASE)
_FOLDS: Final = re.compile(r"(?<![ \t])[ \t]*((?:\r\n[ \t]+)+)")
#: zlib's window for gzip, and only gzip.
GZIP: Final = 16 + zlib.MAX_WBITS
#: Members that a gzip stream may have, and for how many bytes in them it may have one more. Those
#: who write many (bgzip, logs that are appended to) put kilobytes into each.
_MEMBERS: Final = 1000
_PER_MEMBER: Final = 64
#: Bytes that zlib is given at once of what may be many members: it copies what follows each.
PIECE: Final = 16384
MEMBER: Final = b"\x1f\x8b\x08"
#: Frames, and those to be skipped.
_FRAME: Final = re.compile(rb"\x28\xb5\x2f\xfd|[\x50-\x5f]\x2a\x4d\x18")
#: As urllib3 has it.
_LINKS: Final = 5
CUT: Final = "the compressed data ends too early"


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
    coding = b", ".join(found).decode("latin-1").lower()
    if coding and (body or "," in coding):  # (urllib3 counts codings whatever there is to decode)
        try:
            body = _decoded(coding, body, limit)
        except DecodeError as error:
            raise ContentDecodingError(error) from error
    if limit is not None and len(body) > limit:
        raise BodyTooLargeError(limit)
    return body


def _decoded(coding: str, body: bytes, limit: int | None) -> bytes:
    """A body without a coding, or a chain of them.

    Raises:
        DecodeError: as of urllib3, in whose words; or it ends too early.
    """
    try:
        if "," in coding and body:
            return _unchained(coding, body, limit)
        inflate = _INFLATE.get(coding)
        if inflate is not None:
            return inflate(body, 0 if limit is None else limit + 1)
    except _FloodError:
        raise
    except (zlib.error, DecodeError) as error:
        # It says it in its own words, but for what is cut and what is broken in later members.
        _read(coding, body, limit)
        raise DecodeError(str(error)) from error
    if coding == "zstd":
        _check_frames(body)
    return _as_urllib3(coding, body, limit)


class _FloodError(DecodeError):
    """A body of next to nothing but the frames around it."""


def _unchained(coding: str, body: bytes, limit: int | None) -> bytes:
    """A body without a chain of codings, taken off one by one; what is between is bounded, too.

    Raises:
        zlib.error, DecodeError, BodyTooLargeError: as for one coding.
    """
    links = [each.strip() for each in coding.split(",")]
    if len(links) > _LINKS or not {*links} <= {*HTTPResponse.CONTENT_DECODERS}:
        # It refuses the many, and takes what nobody knows for deflate.
        return _as_urllib3(coding, body, limit)
    for left in range(len(links) - 1, -1, -1):
        bound_ = raw_limit(limit) if left and limit is not None else limit
        body = _decoded(links[left], body, bound_) if body else body
        if bound_ is not None and len(body) > bound_:
            raise BodyTooLargeError(limit or 0)
    return body


def _check_frames(body: bytes) -> None:
    """Refuse a flood of zstd's frames (RFC 8878 section 3.1), which urllib3 takes one by one.

    Raises:
        DecodeError: it is one.
    """
    frames = sum(1 for _ in _FRAME.finditer(body))
    if frames > _MEMBERS and frames * _PER_MEMBER > len(body):
        msg = f"{frames} zstd frames in {len(body)} bytes"
        raise _FloodError(msg)


def _gunzip(body: bytes, most: int) -> bytes:
    """All members of a gzip stream (RFC 1952 section 2.2), or `most` bytes if that is not 0.

    What follows a member and does not begin as one is dropped, as everybody does.

    Raises:
        zlib.error: a member is none, is broken or is cut.
        DecodeError: there are too many of them.
    """
    inflater = zlib.decompressobj(GZIP)
    whole = inflater.decompress(body, most)
    if (inflater.eof and not inflater.unused_data) or (most and len(whole) == most):
        return whole
    if not inflater.eof:
        raise zlib.error(CUT)
    return _gunzip_members(body, len(body) - len(inflater.unused_data), whole, most)


def _gunzip_members(body: bytes, start: int, first: bytes, most: int) -> bytes:
    """What the members from `start` on add to the first one.

    A member is given a piece at a time: what is left of a piece is copied for each.
    """
    pieces, size, members = [first], len(first), 1
    while body.startswith(MEMBER, start) and not (most and size >= most):
        inflater = zlib.decompressobj(GZIP)
        members += 1
        if members > _MEMBERS + size // _PER_MEMBER:
            msg = f"more than {members - 1} gzip members with {size} bytes in them"
            raise _FloodError(msg)
        while not inflater.eof and start < len(body) and not (most and size >= most):
            piece = body[start : start + PIECE]
            made = inflater.decompress(inflater.unconsumed_tail + piece, most - size if most else 0)
            start += len(piece) - len(inflater.unused_data)
            pieces.append(made)
            size += len(made)
        if not (inflater.eof or (most and size >= most)):
            raise zlib.error(CUT)
    return b"".join(pieces)


def _inflate(body: bytes, most: int) -> bytes:
    """A zlib stream, or a bare one, which some servers send in its place; or `most` bytes of it.

    Raises:
        zlib.error: it is neither, or is cut.
    """
    inflater = zlib.decompressobj()
    try:
        whole = inflater.decompress(body, most)
    except zlib.error:
        inflater = zlib.decompressobj(-zlib.MAX_WBITS)
        whole = inflater.decompress(body, most)
    if not (inflater.eof or (most and len(whole) == most)):
        raise zlib.error(CUT)
    return whole


_INFLATE: Final[dict[str, Callable[[bytes, int], bytes]]] = {
    "gzip": _gunzip,
    "x-gzip": _gunzip,
    "deflate": _inflate,
}


def _as_urllib3(coding: str, body: bytes, limit: int | None) -> bytes:
    """Other codings, and chains of them: as Requests has them, but that nothing may be missing.

    Raises:
        DecodeError: it is not what it should be, or is cut.
    """
    decoded, decoder = _read(coding, body, limit)
    if body and is_unfinished(decoder):
        raise DecodeError(CUT)
    return decoded


def _read(coding: str, body: bytes, limit: int | None) -> tuple[bytes, Any]:
    """What urllib3 makes of a body, and the decoder that was asked.

    Raises:
        DecodeError: it is not what it should be.
    """
    raw = HTTPResponse(
        io.BytesIO(body), headers={"content-encoding": coding}, preload_content=False
    )
    if limit is not None:
        bound(raw)
    with body_limit(limit):
        pieces = list(raw.stream(CONTENT_CHUNK_SIZE, decode_content=True))
        pieces.append(raw._flush_decoder())
    return b"".join(pieces), raw._decoder


def is_unfinished(decoder: Any) -> bool:
    """Whether a decoder of urllib3's, bounded or not, waits for more."""
    inner: Any = getattr(getattr(decoder, "_decoder", decoder), "_obj", None)
    is_finished = getattr(inner, "is_finished", None)
    return not (getattr(inner, "eof", True) if is_finished is None else is_finished())


def unfold(value: str) -> str:
    """A header value in one line (RFC 9112 section 5.2)."""
    return _FOLDS.sub(lambda folds: " " * folds[1].count("\n"), value) if "\n" in value else value
