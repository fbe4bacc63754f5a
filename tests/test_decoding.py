"""Content codings: what `decode_body` makes of a body is what Requests makes of it."""

from __future__ import annotations

import gzip
import io
import random
import zlib

import pytest
import requests
from hypothesis import given, settings
from hypothesis import strategies as st
from requests.exceptions import ContentDecodingError
from urllib3 import HTTPResponse
from urllib3.exceptions import DecodeError

from grequests._decode import decode_body, unfold

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
    assert outcomes[0] == outcomes[1]
    return outcomes[0]


def squeeze(data: bytes, window: int = 15) -> bytes:
    deflater = zlib.compressobj(wbits=window)
    return deflater.compress(data) + deflater.flush()


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
    "tail", [b"\0", b"\0" * 512, b"rubbish", b"\x1f\x8b", gzip.compress(b"x")[:-4]]
)
def test_what_follows_gzip(tail):
    assert both("gzip", gzip.compress(TEXT) + tail)


@pytest.mark.parametrize("window", [15, -15])
def test_both_forms_of_deflate(window):
    assert both("deflate", squeeze(TEXT, window)) == TEXT


def test_brotli_and_zstd_where_there_are_packages():
    brotli = pytest.importorskip("brotli")
    assert both("br", brotli.compress(TEXT)) == TEXT
    zstd = pytest.importorskip("backports.zstd")
    assert both("zstd", zstd.compress(TEXT)) == TEXT
    assert both("zstd", zstd.compress(TEXT) + zstd.compress(b"more")) == TEXT + b"more"


@pytest.mark.parametrize("coding", ["deflate, gzip", "deflate,gzip", "deflate , GZIP"])
def test_codings_upon_codings(coding):
    assert both(coding, gzip.compress(squeeze(TEXT))) == TEXT


def test_codings_in_several_lines():
    assert decode_body(head("deflate", "gzip"), gzip.compress(squeeze(TEXT))) == TEXT


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


CODINGS = st.sampled_from(
    ["gzip", "deflate", "br", "zstd", "gzip, deflate", "deflate, gzip", "x-gzip"]
)


@settings(max_examples=300, deadline=None, derandomize=True, database=None)
@given(
    coding=CODINGS,
    seed=st.integers(0, 1000),
    change=st.sampled_from(["cut", "flip", "drop", "add"]),
)
def test_bodies_that_are_damaged(coding, seed, change):
    randomness = random.Random(seed)
    data = randomness.randbytes(randomness.randrange(300)) + b"text " * 20
    body = {
        "gzip": gzip.compress, "x-gzip": gzip.compress, "deflate": squeeze,
        "deflate, gzip": lambda data: gzip.compress(squeeze(data)),
        "gzip, deflate": lambda data: squeeze(gzip.compress(data)),
    }.get(coding, bytes)(data)  # fmt: skip
    place = randomness.randrange(len(body))
    damaged = {
        "cut": body[:place],
        "flip": body[:place]
        + bytes([body[place] ^ 1 << randomness.randrange(8)])
        + body[place + 1 :],
        "drop": body[:place] + body[place + 1 :],
        "add": body[:place] + randomness.randbytes(3) + body[place:],
    }[change]
    both(coding, damaged)


@pytest.mark.parametrize(
    ("value", "expected"),
    [("a", "a"), ("a\r\n b", "a b"), ("a \r\n\t b\r\n c", "a b c"), ("", "")],
)
def test_unfolding(value, expected):
    assert unfold(value) == expected
