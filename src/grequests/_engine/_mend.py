"""Heads of responses that llhttp refuses and `http.client` takes, put into a form llhttp reads.

Folded header lines become one line (RFC 9112 section 5.2), a bare LF ends a line (section 2.2). A
length that stands beside the chunked coding does not count (section 6.3, rule 3), nor does its own
repetition (RFC 9110 section 8.6). Knows bytes only.
"""

from __future__ import annotations

import re
from http.client import BadStatusLine, HTTPException, IncompleteRead, UnknownProtocol
from typing import Final

_LINE_END: Final = re.compile(rb"\r?\n")
# None of these may take more than a look or two at each byte: a head may have 256 KiB of blanks.
_FOLDS: Final = re.compile(rb"(?<![ \t])[ \t]*((?:\r\n[ \t]+)+)")
_LENGTH: Final = re.compile(rb"\r\ncontent-length:([^\r]*)", re.IGNORECASE)
_CODING: Final = re.compile(rb"\r\ntransfer-encoding:([^\r]*)", re.IGNORECASE)
_STATUS_LINE: Final = re.compile(rb"HTTP/1\.[01] [1-9][0-9]{2}(?: |\r?\n|\Z)")
#: What `http.client` takes, `int()` and all.
_STATUSES: Final = range(100, 1000)
_VERSIONS: Final = ("HTTP/1.", "HTTP/0.9")


class MalformedResponse(HTTPException):
    """The bytes after the status line break the grammar of HTTP/1.1."""


class ConflictingLengths(MalformedResponse):
    """Content-Length says different things. `args` has its value, as urllib3 shows it."""


class UnsolicitedResponse(MalformedResponse):
    """A server has spoken before it was asked.

    Args:
        early: what it has said.
    """

    def __init__(self, early: bytes) -> None:
        super().__init__(f"the server spoke before it was asked: {early[:100]!r}")


class RaggedEOF(IncompleteRead):
    """A body that only the end of the stream can end was ended without TLS's close_notify.

    Args:
        body: what there was of it.
    """

    def __init__(self, body: bytes) -> None:
        super().__init__(body)

    def __repr__(self) -> str:
        return (
            f"RaggedEOF({len(self.partial)} bytes read, and the end of the connection without "
            "close_notify: there may have been more)"
        )

    __str__ = __repr__


def _blanks(folds: re.Match[bytes]) -> bytes:
    """One for each fold."""
    return b" " * folds[1].count(b"\n")


def shown_head(head: bytes) -> bytes:
    """A head with whole lines, as `http.client` understands it."""
    return _FOLDS.sub(_blanks, _LINE_END.sub(b"\r\n", head))


def framed_head(head: bytes) -> bytes:
    """The same with no more than one framing in it, the one that `http.client` goes by.

    Raises:
        ConflictingLengths: there is no telling.
    """
    lengths: list[bytes] = [each.strip(b" \t") for each in _LENGTH.findall(head)]
    codings = [each.strip(b" \t") for each in _CODING.findall(head)]
    if lengths and [coding.lower() for coding in codings] == [b"chunked"]:
        return _LENGTH.sub(b"", head)
    values = b", ".join(lengths)
    numbers = [value.strip() for value in values.split(b",")]
    if len(numbers) < 2 or codings or not all(map(bytes.isdigit, numbers)):  # noqa: PLR2004
        return head
    if len({number.lstrip(b"0") for number in numbers}) > 1:
        raise ConflictingLengths(values.decode("ascii"))
    if not lengths[0].isdigit():
        return head  # "2, 2" is no number to http.client
    return _LENGTH.sub(b"", head) + b"\r\nContent-Length: " + lengths[0]


def refused_status(data: bytes) -> HTTPException:
    """What `http.client` says of a status line that neither it nor we take.

    Of one that it would take, such as of HTTP/0.9, this is what we say.
    """
    line = data[: data.find(b"\n") + 1 or None][:200].decode("latin-1")
    version, status, _ = [*line.split(None, 2), "", "", ""][:3]
    try:
        is_status = version.startswith("HTTP/") and int(status) in _STATUSES
    except ValueError:
        is_status = False
    if is_status and not version.startswith(_VERSIONS):
        return UnknownProtocol(version)
    return BadStatusLine(line)


def is_status_line(head: bytes) -> bool:
    """Whether the fault of a head is not in its first line."""
    return _STATUS_LINE.match(head) is not None
