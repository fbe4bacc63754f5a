"""How a response's body is framed, where http.client does not understand its head.

It takes a body for chunked only if the header says so to the letter: with a blank behind it, which
RFC 9110 section 5.5 does not count, it gives the chunks' sizes as a part of the body. urllib3 reads
chunks by itself, but not for `read`. Knows http.client only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import http.client

__all__ = ["settle_framing"]


def settle_framing(response: http.client.HTTPResponse) -> None:
    """Have a response whose head has been read take chunks for what they are."""
    coding = response.headers.get("transfer-encoding")
    if coding is None or response.chunked or coding.strip().lower() != "chunked":
        return
    response.chunked = True
    response.chunk_left = None
    if not response.isclosed():
        response.length = None
        response.will_close = response._check_close()  # type: ignore[attr-defined]
