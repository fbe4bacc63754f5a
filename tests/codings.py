"""What bodies look like with a coding on them."""

from __future__ import annotations

import zlib


def deflate(data: bytes, window: int = zlib.MAX_WBITS) -> bytes:
    """zlib's format; below 0 the bare one, with no trailer, that some servers send in its place."""
    deflater = zlib.compressobj(wbits=window)
    return deflater.compress(data) + deflater.flush()
