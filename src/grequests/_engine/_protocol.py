"""HTTP/1.1 responses, sans I/O: bytes go in, at most one response comes out.

A `ResponseReader` belongs to one connection and is used for one response after another. It knows
nothing of sockets, time, requests' meaning or gevent. The grammar is llhttp's, in its strict mode;
on top of it stand the rules llhttp leaves to its user:

* llhttp carries on with a next message by itself. Ours ends at the first final one: whatever
  follows is *surplus*, is never kept, and makes the connection unfit for another request.
* The response to HEAD has no body, whatever its headers say (RFC 9112 section 6.3, rule 1).
* Interim responses (1xx except 101) are dropped before llhttp sees them, a bounded number of them:
  it takes some of them to have a body.
* llhttp never ends a message at the end of the stream: whether that end was legal is decided here
  (RFC 9112 section 8). In a head it never is.
* The only transfer coding is chunked, once (RFC 9112 section 6.1): we ask for no other.
* Headers are bounded in size and number, and nothing is allocated because a header promised it.
  What stands around chunks is bounded as well: sizes, extensions, trailers.
* Heads that llhttp refuses and RFC 9112 lets a client mend are mended (`_mend`): folds, bare LF.
  Control characters in a header's value stay there, but for NUL and a bare CR, which are refused
  (RFC 9110 section 5.5). Such a connection is not used again.
"""

from __future__ import annotations

import contextlib
import re
from http.client import (
    HTTPException,
    IncompleteRead,
    LineTooLong,
    RemoteDisconnected,
)
from typing import Final

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from grequests._signals import struck

from ._mend import (
    MalformedResponse,
    framed_head,
    is_status_line,
    refused_status,
    shown_head,
)

#: The whole head of a response, in bytes. Browsers and curl stop between 256 and 300 KiB.
MAX_HEAD: Final = 256 * 1024
#: One header line, as `http.client` has it.
MAX_LINE: Final = 65536
#: Header lines in a response, as `http.client` has it.
MAX_HEADERS: Final = 100
#: Interim responses before a final one. RFC 9110 sets no limit, curl has none, a server could
#: send them for ever.
MAX_INTERIM: Final = 32
#: Bytes around chunks, beyond what small chunks need: extensions and trailers. `http.client` takes
#: any number of trailers.
MAX_CHUNK_FRAMING: Final = 65536
#: Digits of a length, zeros in front included: `int` refuses thousands of them.
_DIGITS: Final = 100
#: Bytes around chunks for each byte in them. A chunk of one byte has five; who pads sizes, twelve.
_PER_BYTE: Final = 16
#: A body with more than this still to come is taken from the socket without the parser.
BYPASS: Final = 65536

#: So many pieces of a body are joined, if they are smaller than so many bytes on average: a `bytes`
#: takes 33 bytes beside its own, and 8 in the list.
_MANY: Final = 64
_TINY: Final = 1024

_BLANK_LINE: Final = b"\r\n\r\n"
#: A head of up to so many bytes cannot have too many headers: each takes four.
_FEW: Final = 4 * MAX_HEADERS
_CR: Final = 0x0D  # and LF is less
_ONE: Final = 0x31
_HTTP: Final = b"HTTP/1."
_ANY_HTTP: Final = b"HTTP/"
#: An interim response, that is, any of 1xx but 101.
_INTERIM: Final = re.compile(rb"HTTP/1\.[01] 1(?!01)[0-9][0-9](?![^ \r\n])")
#: Where the status stands in a status line.
_STATUS: Final = len(b"HTTP/1.1 ")
_CONTENT_LENGTH: Final = re.compile(rb"\ncontent-length:[ \t]*([0-9]+)", re.IGNORECASE)
_FRAMED: Final = re.compile(
    rb"\n(?:content-length:[ \t]*0*[1-9]|transfer-encoding:)", re.IGNORECASE
)
_NO_CONTENT: Final = 204
_BODILESS: Final = re.compile(rb"HTTP/1\.[01] (?:204|304)")
_TRANSFER_CODED: Final = re.compile(rb"\ntransfer-encoding:", re.IGNORECASE)
#: "identity", of RFC 2616, says nothing. (With a tab behind it, it is not chunked to llhttp.)
_PLAIN_CODING: Final = re.compile(
    rb"\ntransfer-encoding:[ \t]*(chunked|identity) *(?:\r|\Z)", re.IGNORECASE
)
_ANY_BLANK_LINE: Final = re.compile(rb"\r?\n\r?\n")
#: What a head cannot contain, whoever reads it: NUL, a bare CR, a fold of the status line.
_DANGEROUS: Final = re.compile(rb"\0|\r(?!\n)|\A[^\n]*\n[ \t]")
#: llhttp takes blanks behind the names that it knows, once it is lenient.
_BLANK_IN_NAME: Final = re.compile(rb"\n[^:\r\n \t]*[ \t][^:\r\n]*:")


class _HeadOfHead(Exception):  # noqa: N818 - a signal, not an error
    """The head of a response to HEAD is whole: stop llhttp before it looks for a body."""


class _HeadSink:
    """What llhttp calls while it reads the response to HEAD."""

    __slots__ = ("_reader",)

    def __init__(self, reader: ResponseReader) -> None:
        self._reader = reader

    def on_headers_complete(self) -> None:
        self._reader.on_head_of_head()


class _MendedSink:
    """What llhttp calls while it reads a response whose head was mended."""

    __slots__ = ("_reader", "on_body")

    def __init__(self, reader: ResponseReader) -> None:
        self._reader = reader
        self.on_body = reader.on_body

    def on_message_begin(self) -> None:
        self._reader.on_message_begin()

    def on_message_complete(self) -> None:
        self._reader.on_message_complete()
        self._reader.reusable = False


class ResponseReader:
    r"""Reads the responses of one connection, one at a time.

    Call `expect` before each request, `feed` with what arrived until it returns True, `end` when
    the stream ended. `wanted` is how many bytes of a long body are still to come, or negative.
    Then `status`, `head` (status line and header lines, without the blank line),
    `take_body()` and `reusable` tell the response.

    Example:
        >>> reader = ResponseReader()
        >>> reader.expect("GET")
        >>> reader.feed(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")
        True
        >>> reader.status, reader.take_body(), reader.reusable
        (200, b'hi', True)
    """

    __slots__ = (
        "_chunks",
        "_coding",
        "_count",
        "_counted",
        "_counted_head",
        "_counted_size",
        "_interim",
        "_is_head",
        "_mended",
        "_parser",
        "_partial",
        "_received",
        "complete",
        "continued",
        "head",
        "on_body",
        "reusable",
        "status",
        "wanted",
    )

    def __init__(self) -> None:
        self._chunks: list[bytes] = []
        # llhttp appends straight to the list: no Python frame per piece of a body.
        self.on_body = self._chunks.append
        self._parser: HttpResponseParser | None = None
        self._is_head = False
        self._partial: bytearray | None = None
        self._received = 0
        self.wanted = _BY_PARSER
        #: The transfer coding, in lower case; None before anybody has asked.
        self._coding: bytes | None = None
        self._interim = 0
        self._count = 0
        # How many pieces have been counted, of which response, and what they are together.
        self._counted = 0
        self._counted_head: bytes | None = None
        self._counted_size = 0
        self._mended = False
        self.complete = False
        #: Whether the server said `100 Continue`.
        self.continued = False
        self.reusable = False
        self.status = 0
        self.head: bytes | None = None

    def __repr__(self) -> str:
        state = "complete" if self.complete else "reading" if self._received else "waiting"
        return f"<ResponseReader {state} status={self.status}>"

    def expect(self, method: str) -> None:
        """Make ready for the response to a request of this method."""
        self.complete = False
        self.head = self._coding = None
        self._received = 0
        if self._interim:
            self._interim = 0
            self.continued = False
        if method == "HEAD":
            self._is_head = True
            self._parser = HttpResponseParser(_HeadSink(self))
        elif self._parser is None:
            self._is_head = self._mended = False
            self._parser = parser = HttpResponseParser(self)
            # Some servers pad the size (RFC 9112 section 7.1.1: bad whitespace must be parsed).
            parser.set_dangerous_leniencies(lenient_spaces_after_chunk_size=True)

    def close(self) -> None:
        """Let go of the parser, whose callbacks are this object's methods."""
        self._parser = None
        self.on_body = None  # type: ignore[assignment]

    @property
    def started(self) -> bool:
        """Whether any byte of the response has arrived."""
        return self._received > 0

    def head_size(self) -> int:
        """Bytes of the head, or of what is here of it."""
        return len(self._partial or b"" if self.head is None else self.head)

    def body_size(self) -> int:
        """Bytes of the body that are here, while more are to come.

        To be asked after each `feed`, it costs what was fed since, and sees to it that a server
        that sends its body in tiny pieces does not take many times its size.
        """
        chunks = self._chunks
        if self._counted_head is not self.head:
            self._counted_head = self.head
            self._counted = self._counted_size = 0
        size = self._counted_size + sum(map(len, chunks[self._counted :]))
        if len(chunks) > _MANY and len(chunks) * _TINY > size:
            chunks[:] = [b"".join(chunks)]
        self._counted = len(chunks)
        self._counted_size = size
        return size

    def promised_size(self) -> int:
        """Bytes of the body that the head promises, as far as it does."""
        return self._expected_length() or 0

    def take_body(self) -> bytes:
        """The body as it came, content codings still on it. It is not kept here any longer."""
        chunks = self._chunks
        if len(chunks) == 1:
            return chunks.pop()
        whole = b"".join(chunks)
        chunks.clear()
        return whole

    def feed(self, data: bytes) -> bool:  # noqa: C901 - the hot path, in one frame
        """Take bytes from the server.

        Returns:
            True once the response is whole.

        Raises:
            http.client.HTTPException: what came is not HTTP/1.x or breaks a bound.
        """
        if self.wanted >= 0:
            return self._feed_direct(data)
        before = self._received
        self._received = before + len(data)
        if self.head is None:
            end = data.find(_BLANK_LINE) if before == 0 else -1
            if end >= _STATUS and data[_STATUS] > _ONE and data.startswith(_HTTP):
                self.head = data[:end]
                if end > _FEW:
                    self._check_bounds()
            else:
                data = self._collect_head(data)
                if not data:
                    return False
        try:
            self._parser.feed_data(data)  # type: ignore[union-attr]
        except HttpParserUpgrade:
            self._on_upgrade()
        except HttpParserError as error:
            self._on_error(data, error)
        if self.complete:
            # Whole, kept alive, and not ending in what could be a line: nothing to look into.
            if self.complete is not True or not self.reusable or data[-1] <= _CR or self._is_head:
                self._settle(data)
            return True
        if self.head is not None:
            self._look_at_framing()
        return False

    def end(self) -> None:
        """The stream ended: complete the response, or say why it cannot be.

        Raises:
            http.client.IncompleteRead: the body is shorter than its framing said.
            http.client.HTTPException: what came is no head, not even one that was cut.
        """
        if self.complete:
            self.reusable = False
            return
        if self.head is None:
            raise self._cut_head()
        expected = self._expected_length()
        if expected is not None or self._transfer_coding() == b"chunked":
            body = self.take_body()
            raise IncompleteRead(body, None if expected is None else expected - len(body))
        self.status = self._status()
        self.complete = True
        self.reusable = False
        self._parser = None

    @property
    def ends_with_stream(self) -> bool:
        """Whether nothing but the end of the stream says where the body of a response ended."""
        return (
            self.head is not None
            and not self.complete
            and self._expected_length() is None
            and self._transfer_coding() != b"chunked"
        )

    def _cut_head(self) -> HTTPException:
        """Why the end of the stream is none of the response.

        `http.client` takes it for the end of the head: a response without most of it, and without
        its body if that is not missed.
        """
        partial, self._partial = bytes(self._partial or b""), None
        if not partial:  # all there was were interim responses
            return RemoteDisconnected("Remote end closed connection without response")
        if not partial.startswith(_HTTP):
            return refused_status(partial)
        if not self._is_head and _FRAMED.search(partial) and not _BODILESS.match(partial):
            self.head = partial  # a body was promised: as Requests has it, that is what was cut
            return IncompleteRead(b"")
        return RemoteDisconnected("Remote end closed connection in the head of the response")

    # What llhttp calls.

    def on_message_begin(self) -> None:
        if self.complete:
            self.reusable = False
            self.complete = _SURPLUS  # type: ignore[assignment]

    def on_message_complete(self) -> None:
        if self.complete:
            return
        self.status = self._parser.get_status_code()  # type: ignore[union-attr]
        self.reusable = self._parser.should_keep_alive()  # type: ignore[union-attr]
        self._count = len(self._chunks)
        self.complete = True

    def on_head_of_head(self) -> None:
        self.status = status = self._parser.get_status_code()  # type: ignore[union-attr]
        self._count = 0
        # With no body to end it, keep-alive is a matter of the headers alone.
        self.reusable = status != 101 and not self._mended and _asks_to_stay(self.head or b"")  # noqa: PLR2004
        self.complete = True
        raise _HeadOfHead

    # The rest is ours.

    def _settle(self, data: bytes) -> None:
        """The response is whole: see whether its last byte was the last byte that came."""
        if self._transfer_coding() and (self.head or b"").startswith(b"HTTP/1.0"):
            self.reusable = (
                False  # who coded it may not know what that means (RFC 9112 section 6.1)
            )
        if self.complete is not True:  # llhttp saw another message begin
            self.complete = True
            self.reusable = False
            del self._chunks[self._count :]
        elif self._is_head:
            if self._received != len(self.head or b"") + 4:
                self.reusable = False
        elif self.reusable and not self._ended_exactly(data):
            # llhttp skips blank lines between messages without a word.
            self.reusable = False
        if self.status == _NO_CONTENT and _FRAMED.search(self.head or b""):
            self.reusable = False  # a body is promised that cannot be: it may yet come
        if self._is_head or not self.reusable:
            self._parser = None

    def _ended_exactly(self, data: bytes) -> bool:
        if self._coding:
            if len(data) < 6:  # noqa: PLR2004
                # (An LF has ended it: if there is but one in these bytes, that one.)
                return data in (b"\n", b"\r\n") or data.endswith(b"0\r\n\r\n")
            return data.endswith(b"\r\n\r\n") and data[-5:-4] != b"\n"
        return self._received == len(self.head or b"") + 4 + self._body_size()

    def _body_size(self) -> int:
        return sum(map(len, self._chunks))

    def _collect_head(self, data: bytes) -> bytes:  # noqa: C901 - a table of what may stand there
        """The head did not come in one piece, or interim responses stand before it.

        llhttp never sees an interim response: it believes the length that some of them promise.

        Returns:
            All there is of the final response, or nothing as long as its head is not whole.
        """
        if self._partial is None:
            self._partial = bytearray()
        partial = self._partial
        start = max(len(partial) - 3, 0)
        partial += data
        while match := _ANY_BLANK_LINE.search(partial, start):
            if match.start() > MAX_HEAD:
                break
            head = bytes(partial[: match.start()])
            if not head.startswith(_HTTP) or head[_STATUS : _STATUS + 1] == b"0":
                raise refused_status(bytes(partial))
            if not _INTERIM.match(head):
                whole = bytes(partial)
                self._partial = None
                # From here on `_received` counts this response alone.
                self._received = len(whole)
                if match[0] == _BLANK_LINE:
                    self.head = head
                    self._check_bounds()
                return whole
            self._count_interim()
            if head[_STATUS : _STATUS + 3] == b"100":
                self.continued = True
            del partial[: match.end()]
            start = 0
        if b"\n" in partial:
            hopeless = not partial.startswith(_HTTP)
        else:
            hopeless = not (partial.startswith(_ANY_HTTP) or _ANY_HTTP.startswith(partial))
        if hopeless:
            # Among others, blank lines, which llhttp skips and `http.client` refuses.
            raise refused_status(bytes(partial))
        if len(partial) > MAX_HEAD:
            msg = f"got more than {MAX_HEAD} bytes of headers"
            raise HTTPException(msg)
        return b""

    def _look_at_framing(self) -> None:
        """More of the body is to come: see to its framing."""
        coding = self._coding
        if coding is None:
            coding = self._transfer_coding()
            if not coding:
                self._try_direct()
                return
        if coding == b"chunked":
            size = self.body_size()
            if self._received - len(self.head or b"") > MAX_CHUNK_FRAMING + (1 + _PER_BYTE) * size:
                msg = f"{size} bytes of a body in chunks of {self._received} bytes"
                raise MalformedResponse(msg)

    def _transfer_coding(self) -> bytes:
        """The transfer coding, nothing if there is none.

        Raises:
            MalformedResponse: it is none that we can take off, or not the only one.
        """
        coding = self._coding
        if coding is None:
            head = self.head or b""
            coding = b""
            if _TRANSFER_CODED.search(head) and not self._is_head:
                known = _PLAIN_CODING.findall(head)
                if len(known) != 1 or len(_TRANSFER_CODED.findall(head)) != 1:
                    msg = "Transfer-Encoding is not just chunked"
                    raise MalformedResponse(msg)
                coding = known[0].lower()
            self._coding = coding
        return coding

    def _try_direct(self) -> None:
        """Most of a long body is still to come: no need to have llhttp look at it."""
        expected = self._expected_length()
        if expected is None or self._is_head:
            return
        missing = expected - (self._received - len(self.head or b"") - len(_BLANK_LINE))
        if missing > BYPASS:
            self.status = self._status()
            self.wanted = missing

    def _feed_direct(self, data: bytes) -> bool:
        self._received += len(data)
        missing = self.wanted - len(data)
        if missing > 0:
            self.wanted = missing
            self._chunks.append(data)
            return False
        self.reusable = (
            missing == 0 and not self._mended and self._parser.should_keep_alive()  # type: ignore[union-attr]
        )
        self._chunks.append(data if missing == 0 else data[:missing])
        self.wanted = _BY_PARSER
        self._parser = None
        self.complete = True
        return True

    def _expected_length(self) -> int | None:
        head = self.head or b""
        if _TRANSFER_CODED.search(head):
            return None
        match = _CONTENT_LENGTH.search(head)
        if match is None:
            return None
        if len(match[1]) > _DIGITS:
            msg = f"a Content-Length of {len(match[1])} digits"
            raise MalformedResponse(msg)
        return int(match[1])

    def _status(self) -> int:
        return self._parser.get_status_code() if self._parser is not None else 0

    def _check_bounds(self) -> None:
        head = self.head or b""
        if _ANY_BLANK_LINE.search(head):
            return  # the head ends there, and is mended and looked at again
        error: HTTPException | None = None
        # (http.client, which parses a head whose message is wanted, counts line ends as well.)
        if head.count(b"\r\n") >= MAX_HEADERS:
            error = HTTPException(f"got more than {MAX_HEADERS} headers")
        elif len(head) >= MAX_LINE - 1 and max(map(len, head.split(b"\r\n"))) + 2 > MAX_LINE:
            error = LineTooLong("header line")
        if error is not None:
            self.head = None  # it is the head that is at fault, not what follows
            raise error

    def _count_interim(self) -> None:
        self._interim += 1
        if self._interim > MAX_INTERIM:
            msg = f"more than {MAX_INTERIM} interim responses"
            raise HTTPException(msg)

    def _on_upgrade(self) -> None:
        """101: we never ask for it. Its head is the answer; the connection is spent."""
        if self.complete:  # it is the surplus that says so
            self.reusable = False
            return
        self.status = self._status()
        self.complete = True
        self.reusable = False

    def _on_error(self, data: bytes, error: HttpParserError) -> None:
        cause = error.__context__
        if cause is not None and struck(cause):
            raise cause
        if self.complete:
            # The response stands, what follows it is no response.
            if not isinstance(cause, _HeadOfHead):
                self.reusable = False
            return
        if isinstance(cause, HTTPException):
            raise cause
        if self.head is not None and (self._chunks or _is_head(self.head)):
            raise MalformedResponse(str(error)) from error  # the fault is in the body
        if not self._mend(data):
            head, self.head = self.head or data, None
            if not is_status_line(head):
                raise refused_status(data) from error
            raise MalformedResponse(str(error)) from error

    def _mend(self, data: bytes) -> bool:
        """Put the head into a form that llhttp takes, and read it again."""
        match = _ANY_BLANK_LINE.search(data)
        if self._mended or match is None or self._received != len(data):
            return False
        if _DANGEROUS.search(data, 0, match.start()):
            return False
        shown = shown_head(data[: match.start()])
        if _BLANK_IN_NAME.search(shown):
            return False
        self._mended = True
        self.head = None
        self._received = 0
        framed = framed_head(shown)
        self._parser = HttpResponseParser(_HeadSink(self) if self._is_head else _MendedSink(self))
        # Control characters in values, which http.client takes as well.
        self._parser.set_dangerous_leniencies(
            lenient_headers=True, lenient_spaces_after_chunk_size=True
        )
        ResponseReader.feed(self, framed + _BLANK_LINE + data[match.end() :])
        self.reusable = False
        if self.head is not None:
            self._received += len(shown) - len(self.head)
            self.head = shown
        return True


#: A value of `wanted` that is no number of missing bytes.
_BY_PARSER: Final = -1

#: A truthy value of `complete` that is not True: another message has begun behind the response.
_SURPLUS: Final = 2


def _asks_to_stay(head: bytes) -> bool:
    """Keep-alive by the headers alone (RFC 9112 section 9.3)."""
    lines = head.lower().split(b"\r\n")
    options = b",".join(line[11:] for line in lines if line.startswith(b"connection:"))
    tokens = {token.strip() for token in options.split(b",")}
    if b"close" in tokens:
        return False
    return lines[0].startswith(b"http/1.1") or b"keep-alive" in tokens


class _EndOfHead:
    """Notes whether llhttp comes to the end of a head."""

    def __init__(self) -> None:
        self.reached = False

    def on_headers_complete(self) -> None:
        self.reached = True


def _is_head(head: bytes) -> bool:
    """Whether llhttp has no objection to a head by itself."""
    sink = _EndOfHead()
    with contextlib.suppress(HttpParserError, HttpParserUpgrade):
        HttpResponseParser(sink).feed_data(head + _BLANK_LINE)
    return sink.reached
