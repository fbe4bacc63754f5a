"""Bodies that are decoded as they are read: whole, or an error where they end."""

from __future__ import annotations

import gzip
import io
import random
import zlib
from typing import Any

import brotli
import pytest
import requests
from backports import zstd
from codings import deflate
from requests.exceptions import ContentDecodingError
from servers import Server, answer
from urllib3 import HTTPResponse
from urllib3.exceptions import DecodeError

import grequests
from grequests import _strict
from grequests._decode import PIECE, decode_body
from grequests._strict import _Gunzip, expect_whole

pytestmark = pytest.mark.usefixtures("no_leaks")

TEXT = b"".join(b"%d bottles of beer; " % number for number in range(2000))


CODERS = {
    "gzip": gzip.compress,
    "x-gzip": gzip.compress,
    "deflate": zlib.compress,
    "br": brotli.compress,
    "zstd": zstd.compress,
    "gzip, deflate": lambda data: zlib.compress(gzip.compress(data)),
    "br, gzip": lambda data: gzip.compress(brotli.compress(data)),
    "gzip, zstd": lambda data: zstd.compress(gzip.compress(data)),
}
CODINGS = [*CODERS, "raw deflate"]
SIZES = [1, 7, 1000, 10240, 1_000_000, None]


def encoded(coding: str, data: bytes) -> tuple[str, bytes]:
    """What Content-Encoding says, and the body."""
    if coding == "raw deflate":
        return "deflate", deflate(data, -zlib.MAX_WBITS)
    return coding, CODERS[coding](data)


def plain(coding: str, body: bytes) -> HTTPResponse:
    headers = {"content-encoding": coding}
    return HTTPResponse(io.BytesIO(body), headers=headers, preload_content=False)


def strict(coding: str, body: bytes) -> HTTPResponse:
    raw = plain(coding, body)
    expect_whole(raw)
    return raw


def read(raw: HTTPResponse, size: int | None) -> bytes:
    """All of it, so much at a time; None for at once."""
    if size is None:
        return raw.read(decode_content=True)
    return b"".join(raw.stream(size, decode_content=True))


def serve(coding: str, body: bytes, framing: str) -> Any:
    line = f"Content-Encoding: {coding}"
    if framing == "length":
        return lambda _: answer(body, "200 OK", line)
    head = f"HTTP/1.1 200 OK\r\n{line}\r\n"
    if framing == "close":
        return lambda _: f"{head}Connection: close\r\n\r\n".encode() + body
    pieces = [body[at : at + 300] for at in range(0, len(body), 300)]
    framed = b"".join(b"%x\r\n%b\r\n" % (len(each), each) for each in pieces)
    return lambda _: f"{head}Transfer-Encoding: chunked\r\n\r\n".encode() + framed + b"0\r\n\r\n"


@pytest.mark.parametrize("framing", ["length", "chunked", "close"])
@pytest.mark.parametrize("coding", CODINGS)
def test_streams(server: Server, coding: str, framing: str) -> None:
    name, body = encoded(coding, TEXT)
    server.on("/whole", serve(name, body, framing))
    server.on("/cut", serve(name, body[:-5], framing))
    for size in SIZES:
        [whole, cut] = grequests.map(
            [grequests.get(server.url(path), stream=True) for path in ("/whole", "/cut")]
        )
        assert type(cut) is grequests.Response
        assert b"".join(whole.iter_content(size)) == TEXT
        pieces = []
        with pytest.raises(ContentDecodingError):  # noqa: PT012
            for piece in cut.iter_content(size):
                pieces.append(piece)  # noqa: PERF402 - it fails in the middle
        assert TEXT.startswith(b"".join(pieces))
        cut.close()


READERS = {
    "read": lambda raw, size: raw.read(size, decode_content=True),
    "read1": lambda raw, size: raw.read1(size, decode_content=True),
}


@pytest.mark.parametrize("size", [1, 1000, 1_000_000])
@pytest.mark.parametrize("framing", ["length", "chunked", "close"])
@pytest.mark.parametrize("coding", CODINGS)
@pytest.mark.parametrize("reader", READERS)
def test_who_reads_from_raw(
    server: Server, reader: str, coding: str, framing: str, size: int
) -> None:
    name, body = encoded(coding, TEXT)
    server.on("/whole", serve(name, body, framing))
    server.on("/cut", serve(name, body[:-5], framing))
    server.on("/hardly", serve(name, body[:2], framing))
    read = READERS[reader]
    for path in ("/whole", "/cut", "/hardly"):
        [found] = grequests.map([grequests.get(server.url(path), stream=True)])
        pieces = iter(lambda raw=found.raw: read(raw, size), b"")  # type: ignore[misc]
        if path == "/whole":
            assert b"".join(pieces) == TEXT
            continue
        with pytest.raises(DecodeError):
            b"".join(pieces)
        found.close()


@pytest.mark.parametrize("coding", CODINGS)
def test_content_of_a_stream(server: Server, coding: str) -> None:
    name, body = encoded(coding, TEXT)
    server.on("/cut", serve(name, body[:-1], "length"))
    [cut] = grequests.map([grequests.get(server.url("/cut"), stream=True)])
    with pytest.raises(ContentDecodingError):
        _ = cut.content


def test_raw_reads_what_came(server: Server) -> None:
    """Who does not decode is told nothing."""
    _, body = encoded("gzip", TEXT)
    server.on("/cut", serve("gzip", body[:-5], "length"))
    [cut, again] = grequests.map([grequests.get(server.url("/cut"), stream=True) for _ in "12"])
    assert cut.raw.read() == body[:-5]
    assert b"".join(again.raw.stream(100, decode_content=False)) == body[:-5]


@pytest.mark.parametrize("reads", [True, False])
@pytest.mark.parametrize("coding", CODINGS)
def test_with_a_hook(server: Server, coding: str, reads: bool) -> None:  # noqa: FBT001
    name, body = encoded(coding, TEXT)
    server.on("/cut", serve(name, body[:-5], "length"))
    server.on("/whole", serve(name, body, "length"))
    seen: list[Any] = []

    def hook(response: requests.Response, **_: Any) -> None:
        seen.append(type(response))
        if reads:
            seen.append(response.content)

    hooks = {"response": hook}
    cut = grequests.get(server.url("/cut"), hooks=hooks).send()
    assert type(cut.exception) is ContentDecodingError
    assert cut.response is None
    assert seen == [grequests.Response]
    whole = grequests.get(server.url("/whole"), hooks=hooks).send()
    assert whole.response.content == TEXT
    assert seen[-1] == (TEXT if reads else grequests.Response)


def test_a_download_of_what_is_cut(server: Server, tmp_path: Any) -> None:
    _, body = encoded("gzip", TEXT)
    server.on("/cut", serve("gzip", body[:-5], "length"))
    with grequests.Client(retry=None) as client:
        [found] = client.download([grequests.get(server.url("/cut"))], tmp_path)
    assert isinstance(found.error, ContentDecodingError)
    assert list(tmp_path.iterdir()) == []


GZIP = gzip.compress(TEXT, mtime=0)
SMALL = gzip.compress(b"small", mtime=0)
#: Bodies in gzip that may end as they do, and such as may not.
ENDS = {
    "whole": (GZIP, True),
    "two": (GZIP + SMALL, True),
    "many": (SMALL * 50, True),
    "empty members": (gzip.compress(b"") * 3 + SMALL, True),
    "rubbish": (GZIP + b"rubbish", True),
    "zeros": (GZIP + bytes(600), True),
    "one zero": (GZIP + b"\0", True),
    "half a beginning": (GZIP + b"\x1f\x8b", True),
    "a second one cut in its head": (GZIP + SMALL[:3], False),
    "a second one cut": (GZIP + SMALL[:-1], False),
    "rubbish, then one": (GZIP + b"rubbish" + SMALL, True),
    "a second one with a wrong sum": (GZIP + SMALL[:-8] + bytes(8), False),
    "a second one that is broken": (GZIP + SMALL[:10] + b"\xff" * 20, False),
    "cut": (GZIP[:-1], False),
    "cut in its head": (GZIP[:5], False),
    "nothing": (b"", True),
}


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", ENDS)
def test_the_ends_of_gzip(name: str, size: int | None) -> None:
    """As a body that is decoded at once has them; as urllib3 has them, but for what is cut or broken."""
    body, is_whole = ENDS[name]
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip"
    raw = strict("gzip", body)
    if not is_whole:
        why = "ends too early" if "cut" in name else "failed to decode"
        with pytest.raises(DecodeError, match=why):
            read(raw, size)
        why = "ends too early" if "cut" in name else "Error -3 while decompressing data"
        with pytest.raises(ContentDecodingError, match=why):
            decode_body(head, body)
        return
    found = read(raw, size)
    assert found == decode_body(head, body)
    assert found == plain("gzip", body).read(decode_content=True)


@pytest.mark.parametrize("coding", CODINGS)
def test_every_place_at_which_it_may_be_cut(coding: str) -> None:
    name, body = encoded(coding, TEXT[:300])
    for end in range(1, len(body)):
        raw = strict(name, body[:end])
        with pytest.raises(DecodeError):
            b"".join(raw.stream(50, decode_content=True))


@pytest.mark.parametrize("size", [0, 1, 2, 3, 100, -1])
@pytest.mark.parametrize("step", [1, 2, 3, 1000])
def test_so_much_at_most(size: int, step: int) -> None:
    """However little goes in and comes out at a time, nothing is lost."""
    decoder, made = _Gunzip(), []
    body = SMALL + gzip.compress(bytes(5000)) + SMALL
    for start in range(0, len(body), step):
        made.append(decoder.decompress(body[start : start + step], size))
        assert size < 0 or len(made[-1]) <= size
    made.append(decoder.decompress(b""))
    assert b"".join(made) == b"small" + bytes(5000) + b"small"
    assert not decoder.has_unconsumed_tail


@pytest.mark.parametrize("beside", [-1, 0, 1])
@pytest.mark.parametrize("size", [-1, 1000, 70_000])
def test_members_and_the_pieces_that_zlib_is_given(beside: int, size: int) -> None:
    """Members that end at a piece, beside it, and begin across it."""
    for before in range(PIECE + beside - 20, PIECE + beside):
        noise = random.Random(before).randbytes(before)
        first = gzip.compress(noise, 0, mtime=0)
        body = first + gzip.compress(b"", mtime=0) * 900 + GZIP + first + SMALL
        decoder = _Gunzip()
        found = [decoder.decompress(body, size)]
        while decoder.has_unconsumed_tail:
            found.append(decoder.decompress(b"", size))
            assert size < 0 or len(found[-1]) <= size
        assert b"".join(found) == noise + TEXT + noise + b"small"


def test_a_flood_of_members_at_once_is_not_copied_over_and_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given = []

    class Zlib:
        def decompressobj(self, bits: int) -> Any:
            inner = zlib.decompressobj(bits)

            class Inflater:
                def __getattr__(self, name: str) -> Any:
                    return getattr(inner, name)

                def decompress(self, data: bytes, size: int) -> bytes:
                    given.append(len(data))
                    return inner.decompress(data, size)

            return Inflater()

    monkeypatch.setattr(_strict, "zlib", Zlib())
    assert _Gunzip().decompress(gzip.compress(b"", mtime=0) * 10_000 + SMALL) == b"small"
    assert len(given) <= 10_001 + 20
    assert max(given) <= PIECE


@pytest.mark.parametrize("body", [GZIP[:-5], b"no gzip at all", GZIP[:-8] + bytes(8)])
@pytest.mark.parametrize("follows", [True, False])
def test_the_body_of_a_redirect(server: Server, body: bytes, follows: bool) -> None:  # noqa: FBT001
    """Nobody reads it, hooks or not: it leads on nevertheless, as in Requests."""
    lines = ("Content-Encoding: gzip", "Location: /end")
    server.on("/start", lambda _: answer(body, "302 Found", *lines))
    seen: list[Any] = []
    hooks = {"response": lambda response, **_: seen.append(response.status_code)}
    asked = grequests.get(server.url("/start"), hooks=hooks, allow_redirects=follows).send()
    if follows:
        assert asked.response.text == "/end"
        assert seen == [302, 200]
    else:
        assert asked.response.status_code == 302
        assert asked.response.content == b""


@pytest.mark.parametrize("size", [1, 512, 1000])
def test_what_zlib_has_still_to_give(server: Server, size: int) -> None:
    """Raw deflate has no trailer: its last bytes may be pending when there is no more input.

    (urllib3 loses them, but for `read1`.)
    """
    data = bytes(62_000)
    server.on("/x", serve(*encoded("raw deflate", data), "length"))
    asked = [grequests.get(server.url("/x"), stream=True) for _ in "123"]
    one, two, three = grequests.map(asked)
    assert b"".join(one.iter_content(size)) == data
    pieces = iter(lambda: two.raw.read1(size, decode_content=True), b"")
    assert b"".join(pieces) == data
    pieces = iter(lambda: three.raw.read(size, decode_content=True), b"")
    assert b"".join(pieces) == data


def then_on(response: requests.Response, read: Any) -> Any:
    """What somebody gets who reads something, closes the response and reads on."""
    found = []
    try:
        for piece in read(response):
            found.append(piece)
            if len(found) == 3:
                response.close()
    except Exception as error:  # noqa: BLE001
        found.append(type(error))
    return found


@pytest.mark.parametrize("framing", ["length", "chunked", "close"])
@pytest.mark.parametrize("coding", CODINGS)
def test_a_response_that_is_closed_before_its_end(
    server: Server, coding: str, framing: str
) -> None:
    """It is as in Requests: nobody says that something is missing of what was given up."""
    name, body = encoded(coding, TEXT)
    server.on("/whole", serve(name, body, framing))
    for read in (
        lambda response: response.iter_content(100),
        lambda response: response.iter_lines(100, delimiter=b";"),
        lambda response: (response.raw.read(100, decode_content=True) for _ in range(9)),
        lambda response: (response.raw.read1(100, decode_content=True) for _ in range(9)),
    ):
        with requests.get(server.url("/whole"), stream=True) as response:
            theirs = then_on(response, read)
        [ours] = grequests.map([grequests.get(server.url("/whole"), stream=True)])
        assert then_on(ours, read) == theirs


def test_rubbish_is_not_pending(server: Server) -> None:
    server.on("/x", serve("gzip", GZIP + b"garbage!!", "close"))
    [found] = grequests.map([grequests.get(server.url("/x"), stream=True)])
    pieces = iter(lambda: found.raw.read1(1_000_000, decode_content=True), b"")
    assert b"".join(pieces) == TEXT
    assert found.raw.data == b""


def test_too_many_codings(server: Server) -> None:
    """It fails when it is read, as ever."""
    server.on("/many", serve(", ".join(["gzip"] * 9), GZIP, "length"))
    [many] = grequests.map([grequests.get(server.url("/many"), stream=True)])
    with pytest.raises(ContentDecodingError, match="Too many content encodings"):
        _ = many.content
