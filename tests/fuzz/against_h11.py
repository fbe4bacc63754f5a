"""The reader of responses and h11's: what both take, both must understand alike.

h11 plays the client that has asked the same. Where both take a response, status, headers and body
must be equal, and a connection that we would use again must be one that h11 would use again. Where
only one of them takes it, the reason must be in `WE_REFUSE` or `H11_REFUSES`; how often is counted
in `verdicts`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

import h11

from grequests._engine import ResponseReader

from .protocol import Outcome, read
from .responses import KIT

__all__ = ["KIT", "check", "report"]

#: Large enough never to matter: our own bounds are what is tested.
_NO_LIMIT = 1 << 30


class Theirs(NamedTuple):
    """What h11 made of a stream."""

    error: str = ""
    status: int = 0
    headers: tuple[tuple[bytes, bytes], ...] = ()
    body: bytes = b""
    reusable: bool = False


#: How often both, one or neither took a stream, and why.
verdicts: Counter[str] = Counter()


def report() -> str:
    """The verdicts so far."""
    total = sum(verdicts.values())
    return "\n".join(f"{n:9} {n / total:6.1%}  {name}" for name, n in verdicts.most_common())


def check(data: bytes) -> None:
    """Compare the two over one input."""
    method = "HEAD" if data[:1] == b"H" else "GET"
    stream = data[1:]
    ours = read(ResponseReader(), method, [stream] if stream else [])
    theirs = by_h11(method, stream)
    if ours.error and theirs.error:
        verdicts["both refuse"] += 1
    elif ours.error:
        verdicts[f"we refuse: {reason(WE_REFUSE, stream, repr(theirs))}"] += 1
    elif theirs.error:
        verdicts[f"h11 refuses: {reason(H11_REFUSES, stream, theirs.error)}"] += 1
    else:
        verdicts["both take it"] += 1
        compare(ours, theirs)


def compare(ours: Outcome, theirs: Theirs) -> None:
    assert ours.status == theirs.status
    assert ours.body == theirs.body
    assert headers_of(ours.head or b"") == sorted(map(plain, theirs.headers))
    if ours.reusable and not (ours.head or b"").startswith(b"HTTP/1.0"):
        assert theirs.reusable  # (h11 keeps no connection of 1.0)


def by_h11(method: str, stream: bytes) -> Theirs:
    client = h11.Connection(h11.CLIENT, max_incomplete_event_size=_NO_LIMIT)
    client.send(h11.Request(method=method, target="/", headers=[("Host", "a")]))
    client.send(h11.EndOfMessage())
    if stream:
        client.receive_data(stream)
    found = Theirs()
    pieces = []
    ended = False
    try:
        while True:
            event = client.next_event()
            if event is h11.NEED_DATA and not ended:
                client.receive_data(b"")
                ended = True
            elif isinstance(event, h11.Response):
                found = Theirs("", event.status_code, tuple(event.headers))
            elif isinstance(event, h11.Data):
                pieces.append(bytes(event.data))
            elif not isinstance(event, h11.InformationalResponse):
                break
    except h11.RemoteProtocolError as error:
        return Theirs(error=str(error) or "an error")
    if not isinstance(event, h11.EndOfMessage):
        return Theirs(error="ended too early")
    left, _ = client.trailing_data
    reusable = not ended and not left and client.their_state is h11.DONE
    return found._replace(body=b"".join(pieces), reusable=reusable)


# --- what is equal -------------------------------------------------------------------------------


def headers_of(head: bytes) -> list[tuple[bytes, bytes]]:
    """The lines of a head as h11 has them, sorted."""
    pairs = [line.partition(b":")[::2] for line in head.split(b"\r\n")[1:]]
    found = [plain((name, value)) for name, value in pairs]
    # h11 has one of lengths that are equal.
    lengths = {value for name, value in found if name == b"content-length"}
    others = [pair for pair in found if pair[0] != b"content-length"]
    return sorted([*others, *((b"content-length", value) for value in lengths)])


def plain(pair: tuple[bytes, bytes]) -> tuple[bytes, bytes]:
    """A header without the white space that means nothing, folds and all."""
    name, value = pair
    value = b" ".join(re.split(rb"[ \t]+", value.strip(b" \t")))
    if name.lower() == b"content-length":
        value = value.split(b",")[0].strip()
    if name.lower() == b"transfer-encoding":
        value = value.lower()
    return name.lower(), value


# --- what may differ -----------------------------------------------------------------------------

_ANY = re.IGNORECASE
_CONTROL = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]|\r(?!\n)")
_BARE_LF = re.compile(rb"(?<!\r)\n")
_FOLD = re.compile(rb"\r?\n[ \t]")
_LENGTH = re.compile(rb"\ncontent-length[ \t]*:", _ANY)
_LENGTH_VALUE = re.compile(rb"\ncontent-length[ \t]*:([^\r\n]*)", _ANY)
_MANY_DIGITS = re.compile(rb"\ncontent-length[ \t]*:[ \t]*[0-9]{21,}", _ANY)
_LENGTH_LIST = re.compile(rb"\ncontent-length[ \t]*:[^\n]*,", _ANY)
_LONG_NUMBER = re.compile(rb"\ncontent-length[ \t]*:[ \t]*0*[0-9]{16,}|\n[0-9a-f]{15,}", _ANY)
_CODING = re.compile(rb"\ntransfer-encoding[ \t]*:", _ANY)
_TWO_CODINGS = re.compile(
    rb"\ntransfer-encoding[ \t]*:.*\ntransfer-encoding[ \t]*:", _ANY | re.DOTALL
)
_TAB_AND_CODING = re.compile(rb"\ntransfer-encoding:[^\n]*\t", _ANY)
_BLANK_IN_TRAILER = re.compile(rb"\n0+[^\n]*\n(?:[^\n]+\n)*[^:\s]+[ \t]+:")
_EXTENSION = re.compile(rb"\n[0-9a-f]+[ \t]*;[^\n]*[^\x21-\x7e\r\n]", _ANY)
_TOKEN = rb"[\w!#$%&'*+.^`|~-]+"
_ODD_EXTENSION = re.compile(
    rb"\n[0-9a-f]+(?!(?:;" + _TOKEN + rb"(?:=(?:" + _TOKEN + rb'|"[^"\n]*"))?)*\r?\n)[ \t]*;', _ANY
)
_SPACE_AND_SIZE = re.compile(rb"\n[0-9a-f]+[ \t]+[;\r\n]", _ANY)
_OTHER_VERSION = re.compile(rb"(?:\A|\n)HTTP/(?!1\.[01])")
_OLD = re.compile(rb"(?:\A|\n)HTTP/1\.0")
_SWITCHING = re.compile(rb"(?:\A|\n)HTTP/1\.[01] 101")
_INTERIM = re.compile(rb"(?:\A|\n)HTTP/1\.[01] 1")
_MANY_LINES = 100
_MANY_INTERIM = 32
_LARGE = 8192


def found(pattern: re.Pattern[bytes]) -> Callable[[bytes, str], object]:
    return lambda stream, _: pattern.search(stream)


def both(words: str, *patterns: re.Pattern[bytes]) -> Callable[[bytes, str], object]:
    """h11 says these words, and there is this to be found."""
    return lambda stream, error: re.search(words, error) and any(p.search(stream) for p in patterns)


def _lengths(stream: bytes) -> set[int]:
    """The lengths that a head tells, as numbers; -1 for what is none."""
    values = b",".join(_LENGTH_VALUE.findall(stream.partition(b"\r\n\r\n")[0])).split(b",")
    return {int(value) if value.strip().isdigit() else -1 for value in values}


def reason(table: dict[str, Callable[[bytes, str], object]], stream: bytes, error: str) -> str:
    """Why one refuses what the other takes.

    Raises:
        AssertionError: nobody knows.
    """
    for name, applies in table.items():
        if applies(stream, error):
            return name
    raise AssertionError(f"no reason is known: {error}")


#: Why we may refuse what h11 takes: it sees what stands there, and what we say.
WE_REFUSE = {
    "another version": found(_OTHER_VERSION),  # RFC 9112 knows 1.0 and 1.1
    "more than 100 lines": lambda stream, _: stream.count(b"\n") > _MANY_LINES,
    "more than 32 interim responses": lambda stream, _: stream.count(b"HTTP/1.") > _MANY_INTERIM,
    "a long line": lambda stream, _: len(stream) > _LARGE,
    # h11 has integers of any size, llhttp of 64 bits.
    "a number of many digits": found(_LONG_NUMBER),
    # A fault that may be mended (RFC 9110 section 8.6), which http.client does not do.
    "a list of lengths": found(_LENGTH_LIST),
    "a length beside a coding": lambda stream, _: _CODING.search(stream) and _LENGTH.search(stream),
    "more than one coding": found(_TWO_CODINGS),
    "a coding in HTTP/1.0": lambda stream, _: _CODING.search(stream) and _OLD.search(stream),
    "a tab beside the coding": found(_TAB_AND_CODING),  # llhttp takes blanks only
    "control characters": found(_CONTROL),  # h11 minds NUL, VT and FF
    "a bare LF": found(_BARE_LF),
    "a fold": found(_FOLD),
    # h11 takes anything behind the semicolon, and blanks behind the size.
    "an extension of other characters": found(_EXTENSION),
    "an extension of another grammar": found(_ODD_EXTENSION),
    "a blank behind the size of a chunk": found(_SPACE_AND_SIZE),
}
#: Why h11 may refuse what we take: it sees what stands there, and what h11 says.
H11_REFUSES = {
    "101, which nobody asked for": both("SWITCH_UPGRADE", _SWITCHING),
    # Of an interim response nothing is used; its lines are not looked at.
    "lines of an interim response": both("illegal header line|Content-Length", _INTERIM),
    "a fold in an interim response": both("continuation line|illegal status line", _INTERIM),
    # Where there is no body (HEAD, 204, 304), we do not mind how it would have been framed.
    "other codings": both("Only Transfer-Encoding|multiple Transfer-Encoding", _CODING),
    # A small number behind many zeros.
    "a length of many digits": both("bad Content-Length", _MANY_DIGITS),
    "0 and 00": lambda stream, error: "conflicting" in error and len(_lengths(stream)) == 1,
    # RFC 9112 section 6.3, rule 3: the coding overrides the length.
    "a length beside a coding": both("Content-Length", _CODING),
    # Trailers are dropped. llhttp, once it is lenient, takes a blank behind the names that it knows.
    "a blank before a colon in a trailer": both("illegal header line", _BLANK_IN_TRAILER),
    # In a value or a reason, where http.client takes them. (h11 minds VT and FF.)
    "control characters": both("illegal header line|illegal status line", _CONTROL),
}
