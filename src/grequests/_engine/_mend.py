"""Heads of responses that llhttp refuses and `http.client` takes, put into a form llhttp reads.

Folded header lines become one line (RFC 9112 section 5.2), a bare LF ends a line (section 2.2), a
space before a colon goes.  A length that stands beside the chunked coding does not count (section
6.3, rule 3), nor does its own repetition (RFC 9110 section 8.6).  A head that the end of the stream
cuts ends there.  Knows bytes only.
"""

from __future__ import annotations

import re
from http.client import BadStatusLine, HTTPException, UnknownProtocol
from typing import Final

_LINE_END: Final = re.compile(rb"\r?\n")
_FOLD: Final = re.compile(rb"[ \t]*\r\n[ \t]+")
_SPACE_BEFORE_COLON: Final = re.compile(rb"(\n[^:\s]+)[ \t]+:")
_LENGTH: Final = re.compile(rb"\r\ncontent-length:[ \t]*([^\r]*?)[ \t]*(?=\r|\Z)", re.IGNORECASE)
_CODING: Final = re.compile(rb"\r\ntransfer-encoding:[ \t]*([^\r]*?)[ \t]*(?=\r|\Z)", re.IGNORECASE)
#: As `email.feedparser` has it; what is not one ends the header lines.
_HEADER_OR_FOLD: Final = re.compile(rb"[!-9;-~]*:|[\t ]")
_STATUS_LINE: Final = re.compile(rb"HTTP/1\.[01] [1-9][0-9]{2}(?: |\r?\n|\Z)")
#: What `http.client` takes, `int()` and all.
_STATUSES: Final = range(100, 1000)
_VERSIONS: Final = ("HTTP/1.", "HTTP/0.9")


class MalformedResponse(HTTPException):
    """The bytes after the status line break the grammar of HTTP/1.1."""


class ConflictingLengths(MalformedResponse):
    """Content-Length says different things. `args` has its value, as urllib3 shows it."""


def shown_head(head: bytes) -> bytes:
    """A head with whole lines, as `http.client` understands it."""
    whole = _FOLD.sub(b" ", _LINE_END.sub(b"\r\n", head))
    return _SPACE_BEFORE_COLON.sub(rb"\1:", whole)


def framed_head(head: bytes) -> bytes:
    """The same with no more than one framing in it, the one that `http.client` goes by.

    Raises:
        ConflictingLengths: there is no telling.
    """
    lengths: list[bytes] = _LENGTH.findall(head)
    codings: list[bytes] = _CODING.findall(head)
    if lengths and [coding.lower() for coding in codings] == [b"chunked"]:
        return _LENGTH.sub(b"", head)
    values = b", ".join(lengths)
    numbers = [value.strip() for value in values.split(b",")]
    if len(numbers) < 2 or codings or not all(map(bytes.isdigit, numbers)):  # noqa: PLR2004
        return head
    if len({int(number) for number in numbers}) > 1:
        raise ConflictingLengths(values.decode("ascii"))
    if not lengths[0].isdigit():
        return head  # "2, 2" is no number to http.client
    return _LENGTH.sub(b"", head) + b"\r\nContent-Length: " + lengths[0]


def ended_head(cut: bytes) -> bytes:
    """The head that `http.client` sees if the stream ends before its blank line, with that line.

    A line that broke off counts if it has come to its colon, or is the status line.
    """
    whole, newline, last = cut.rpartition(b"\n")
    last = last.rstrip(b"\r")
    if last and (not newline or _HEADER_OR_FOLD.match(last)):
        return whole + newline + last + b"\r\n\r\n"
    return whole + newline + b"\r\n"


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
