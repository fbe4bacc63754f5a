"""Content codings: what `decode_body` makes of a body is what Requests makes of it."""

from __future__ import annotations

import gzip
import io
import random
import subprocess
import sys

import pytest
import requests
from requests.exceptions import ContentDecodingError
from urllib3 import HTTPResponse
from urllib3.exceptions import DecodeError

from codings import deflate
from grequests._decode import decode_body, unfold
from grequests._exceptions import BodyTooLargeError
from recording import ENDS_TOO_EARLY

TEXT = b"text " * 5000


def by_requests(coding: str, body: bytes) -> bytes:
    response = requests.Response()
    response.status_code = 200
    response.raw = HTTPResponse(
        io.BytesIO(body), headers={"Content-Encoding": coding}, preload_content=False,
        decode_content=False,
    )  # fmt: skip
    return response.content


def head(*codings: str) -> bytes:
    lines = ["HTTP/1.1 200 OK", "X: y", *(f"Content-Encoding: {coding}" for coding in codings)]
    return "\r\n".join(lines).encode()


def both(coding: str, body: bytes) -> bytes | str:
    """What both make of it: the content, or the text of the error."""
    outcomes = []
    # http.client takes the blanks before a value off, but not those behind it.
    wanted = coding.lstrip(" \t")
    for decode in (lambda: decode_body(head(coding), body), lambda: by_requests(wanted, body)):
        try:
            outcomes.append(decode())
        except ContentDecodingError as error:
            assert isinstance(error.__cause__ or error.args[0], DecodeError)
            outcomes.append(str(error))
    ours, theirs = outcomes
    # Where it ends too early, urllib3 may take what there is for the whole.
    assert ours == theirs or (ours in ENDS_TOO_EARLY and isinstance(theirs, bytes))
    return ours


def test_no_coding():
    assert decode_body(head(), TEXT) is TEXT


def test_an_empty_body_has_no_coding():
    assert decode_body(head("gzip"), b"") == b"" == both("gzip", b"")


@pytest.mark.parametrize("coding", ["gzip", "GZIP", "x-gzip", "  gzip", "\tgzip"])
def test_gzip(coding):
    assert both(coding, gzip.compress(TEXT)) == TEXT


def test_gzip_of_several_members():
    body = gzip.compress(b"a") + gzip.compress(b"") + gzip.compress(TEXT)
    assert both("gzip", body) == b"a" + TEXT


@pytest.mark.parametrize(
    "tail", [b"\0", b"\0" * 512, b"rubbish", b"\x1f\x8b", gzip.compress(b"x", mtime=0)[:-4]]
)
def test_what_follows_gzip(tail):
    assert both("gzip", gzip.compress(TEXT) + tail)


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "zstd", "gzip, gzip", "br, gzip"])
def test_a_body_that_is_cut_is_never_taken_for_whole(coding):
    whole = encoded(coding, bytes(random.Random(1).choices(range(64), k=3000)))
    assert len(decode_body(head(coding), whole)) == 3000
    for cut in [1, 2, 3, *range(5, len(whole), 97), len(whole) - 1]:
        with pytest.raises(ContentDecodingError):
            decode_body(head(coding), whole[:cut])


def test_members_of_gzip_with_next_to_nothing_in_them_are_refused():
    empty = gzip.compress(b"")
    assert decode_body(head("gzip"), empty * 900) == b""
    assert decode_body(head("gzip"), gzip.compress(b"x" * 100) * 5000) == b"x" * 500_000
    with pytest.raises(ContentDecodingError, match="more than 1000 gzip members with 0 bytes"):
        decode_body(head("gzip"), empty * 200_000)
    with pytest.raises(ContentDecodingError, match="gzip members"):
        decode_body(head("gzip"), gzip.compress(b"x") * 50_000, 10_000_000)


@pytest.mark.parametrize("window", [15, -15])
def test_both_forms_of_deflate(window):
    assert both("deflate", deflate(TEXT, window)) == TEXT


def test_brotli_and_zstd_where_there_are_packages():
    brotli = pytest.importorskip("brotli")
    assert both("br", brotli.compress(TEXT)) == TEXT
    zstd = pytest.importorskip("backports.zstd")
    assert both("zstd", zstd.compress(TEXT)) == TEXT
    assert both("zstd", zstd.compress(TEXT) + zstd.compress(b"more")) == TEXT + b"more"


@pytest.mark.parametrize("coding", ["deflate, gzip", "deflate,gzip", "deflate , GZIP"])
def test_codings_upon_codings(coding):
    assert both(coding, gzip.compress(deflate(TEXT))) == TEXT


def test_codings_in_several_lines():
    assert decode_body(head("deflate", "gzip"), gzip.compress(deflate(TEXT))) == TEXT


@pytest.mark.parametrize(
    "coding", ["identity", "unknown", "", "gzip ", "gzip;q=1", "compress", ",", "gzip gzip"]
)
def test_codings_that_nobody_knows(coding):
    assert both(coding, TEXT) == TEXT


def test_more_codings_than_urllib3_takes():
    body = TEXT
    for _ in range(7):
        body = gzip.compress(body)
    assert isinstance(both(", ".join(["gzip"] * 7), body), (str, bytes))


def test_a_bomb_is_as_large_as_with_requests():
    assert both("gzip", gzip.compress(bytes(30_000_000))) == bytes(30_000_000)


CODINGS = [
    "gzip",
    "x-gzip",
    "deflate",
    "br",
    "zstd",
    "gzip, deflate",
    "deflate, gzip",
    "gzip, zstd",
]
CHANGES = ["cut", "flip", "drop", "add"]


def changed(body: bytes, seed: int, change: str) -> bytes:
    """It, but for one place."""
    randomness = random.Random(seed)
    place = randomness.randrange(len(body))
    before, after = body[:place], body[place:]
    return {
        "none": body,
        "cut": before,
        "flip": before + bytes([after[0] ^ 1 << randomness.randrange(8)]) + after[1:],
        "drop": before + after[1:],
        "add": before + randomness.randbytes(3) + after,
    }[change]


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("coding", CODINGS)
def test_bodies_that_are_damaged(coding: str, change: str):
    for seed in range(60):
        data = random.Random(seed).randbytes(5 * seed) + b"text " * 20
        both(coding, changed(encoded(coding, data), seed, change))


# With a limit


def encoded(coding: str, data: bytes) -> bytes:
    for each in coding.split(", "):
        if each == "br":
            data = pytest.importorskip("brotli", "1.2").compress(data)
        elif each == "zstd":
            data = pytest.importorskip("backports.zstd").compress(data)
        else:
            data = deflate(data) if each == "deflate" else gzip.compress(data, mtime=0)
    return data


LIMITED = ["gzip", "deflate", "br", "zstd", "gzip, gzip", "deflate, gzip", "br, gzip", "gzip, zstd"]


@pytest.mark.parametrize("size", [1, 1000, 65536, 300_000])
@pytest.mark.parametrize("coding", LIMITED)
def test_it_is_decoded_bytes_that_a_limit_counts(coding: str, size: int):
    body = encoded(coding, b"x" * size)
    for limit in (size, size + 1, 2 * size):
        assert decode_body(head(coding), body, limit) == b"x" * size
    for limit in (0, size // 2, size - 1):
        with pytest.raises(BodyTooLargeError) as caught:
            decode_body(head(coding), body, limit)
        assert caught.value.limit == limit


@pytest.mark.parametrize("limit", [0, 1, 24_999])
def test_several_members_count_together(limit: int):
    body = gzip.compress(TEXT[:10_000]) + gzip.compress(b"") + gzip.compress(TEXT[10_000:])
    assert decode_body(head("gzip"), body, 25_000) == TEXT
    with pytest.raises(BodyTooLargeError):
        decode_body(head("gzip"), body, limit)


@pytest.mark.parametrize("coding", [[], ["identity"], ["unknown"], ["gzip;q=1"]])
def test_what_is_not_coded_counts_as_it_is(coding: list[str]):
    assert decode_body(head(*coding), TEXT, len(TEXT)) == TEXT
    with pytest.raises(BodyTooLargeError):
        decode_body(head(*coding), TEXT, len(TEXT) - 1)


def test_an_empty_body_is_within_any_limit():
    assert decode_body(head("gzip"), b"", 0) == decode_body(head(), b"", 0) == b""


def test_a_chain_that_comes_to_nothing_is_bounded_on_its_way():
    """Ten megabytes of empty members: more of them would take their time."""
    empty = gzip.compress(b"") * 500_000
    with pytest.raises(BodyTooLargeError):
        decode_body(head("gzip, gzip"), gzip.compress(empty, 1), 10_000)


BOMBS = """
import resource, sys, zlib
from grequests._decode import decode_body
from grequests._exceptions import BodyTooLargeError

MIB = 1024 * 1024

def by(compressor):
    pieces = [compressor(bytes(MIB)) for _ in range(1024)]
    return b"".join(pieces)

if sys.argv[1] == "deflate":
    deflater = zlib.compressobj(1)
    body = by(deflater.compress) + deflater.flush()
elif sys.argv[1] == "br":
    import brotli
    deflater = brotli.Compressor(quality=1)
    body = by(deflater.process) + deflater.finish()
elif sys.argv[1] == "zstd":
    from backports import zstd
    deflater = zstd.ZstdCompressor()
    body = by(deflater.compress) + deflater.flush()
else:
    deflater = zlib.compressobj(1, wbits=31)
    body = by(deflater.compress) + deflater.flush()
    for coding in sys.argv[1].split(", ")[1:]:
        deflater = zlib.compressobj(9, wbits=31)
        body = deflater.compress(body) + deflater.flush()

head = f"HTTP/1.1 200 OK\\r\\nContent-Encoding: {sys.argv[1]}".encode()
for _ in range(2):  # once to load what is needed
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try:
        decode_body(head, body, MIB)
    except BodyTooLargeError as error:
        assert error.limit == MIB
    else:
        raise SystemExit("not refused")
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.parametrize(
    "coding", ["gzip", "deflate", "br", "zstd", "gzip, gzip", "gzip, gzip, gzip"]
)
def test_a_gigabyte_in_a_small_body_takes_a_few_megabytes(coding: str):
    if coding in ("br", "zstd"):
        encoded(coding, b"")
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", BOMBS, coding],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    kilobytes = [int(line) for line in done.stdout.split()]
    assert sum(kilobytes) < 8 * 1024


def outcome(coding: str, body: bytes, limit: int | None) -> bytes | str | type[BodyTooLargeError]:
    try:
        return decode_body(head(coding), body, limit)
    except ContentDecodingError as error:
        return str(error)
    except BodyTooLargeError:
        return BodyTooLargeError


@pytest.mark.parametrize("size", [0, 100, 3000, 40_000])
@pytest.mark.parametrize("change", ["none", *CHANGES])
@pytest.mark.parametrize("coding", CODINGS)
def test_with_a_limit_that_is_kept_nothing_else_differs(coding: str, change: str, size: int):
    for seed in range(20):
        data = random.Random(seed).randbytes(size) + b"text " * size
        body = changed(encoded(coding, data), seed, change)
        free = outcome(coding, body, None)
        for spare in (0, 1, 100_000):
            limit = max(len(data), len(body)) + spare
            bound = outcome(coding, body, limit)
            if bound is BodyTooLargeError:  # damage can make it so
                assert change in ("flip", "drop", "add")
                assert isinstance(free, str) or len(free) > limit
            elif "zstd" in coding and isinstance(free, str):
                # libzstd compares sizes, and says so otherwise, where there is room for a frame.
                assert isinstance(bound, str) or len(bound) <= limit
            else:
                assert bound == free


# Header values


@pytest.mark.parametrize(
    ("value", "expected"),
    [("a", "a"), ("a\r\n b", "a b"), ("a \r\n\t b\r\n c", "a b c"), ("", "")],
)
def test_unfolding(value, expected):
    assert unfold(value) == expected
