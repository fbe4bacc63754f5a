"""Bodies that Requests' own code reads, bounded: in each shape, by each way to read, on the way."""

from __future__ import annotations

import contextvars
import gzip
import io
import random
import threading
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import gevent
import pytest
import requests
import urllib3
from engine.raw import PATIENCE, Peer, RawServer, answer, eventually
from requests.adapters import HTTPAdapter
from requests.auth import HTTPDigestAuth
from requests.exceptions import ContentDecodingError
from urllib3.util.retry import Retry

from grequests import _general
from grequests._body_limit import body_limit, bound, is_limited, raw_limit
from grequests._exceptions import BodyTooLargeError

pytestmark = [pytest.mark.timeout(60), pytest.mark.usefixtures("no_leaks")]

LIMIT = 10_000
MIB = 1024 * 1024
HEAD = b"HTTP/1.1 200 OK\r\n"


@pytest.fixture(autouse=True)
def _nothing_is_kept() -> Iterator[None]:
    yield
    _general.close()


def fetch(
    url: str, limit: int | None = LIMIT, session: requests.Session | None = None, **kwargs: Any
) -> Any:
    """One request of the general lane: its response, or what it raised."""

    def run() -> Any:
        try:
            with body_limit(limit):
                return _general.perform(session, kwargs.pop("method", "GET"), url, kwargs)
        except Exception as error:
            return error

    return gevent.spawn(run).get(timeout=PATIENCE)


def is_refused(outcome: Any, limit: int = LIMIT) -> bool:
    return type(outcome) is BodyTooLargeError and outcome.limit == limit


class Saying:
    """A script that answers each request with bytes, and notes how connections end.

    Attributes:
        left: how many connections the client has closed.
    """

    def __init__(self, *says: bytes, then: Callable[[Peer], None] | None = None) -> None:
        self._says = says
        self._then = then
        self.left = threading.Semaphore(0)

    def __call__(self, peer: Peer) -> None:
        try:
            while peer.request() is not None:
                for each in self._says:
                    peer.send(each)
                if self._then is not None:
                    self._then(peer)
        finally:
            self.left.release()

    def is_left(self) -> bool:
        """Whether a connection has been closed since this was asked last."""
        return self.left.acquire(blocking=False)


def endless(peer: Peer) -> None:
    while True:
        peer.send(bytes(65536))


def endless_chunks(peer: Peer) -> None:
    while True:
        peer.send(b"400\r\n" + bytes(0x400) + b"\r\n")


def chunked(body: bytes, *headers: bytes, size: int = 4096) -> bytes:
    pieces = [body[start : start + size] for start in range(0, len(body), size)]
    head = b"".join([HEAD, *(each + b"\r\n" for each in headers)])
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(each), each) for each in pieces)
    return head + b"Transfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n"


def squeeze(data: bytes) -> bytes:
    deflater = zlib.compressobj()
    return deflater.compress(data) + deflater.flush()


# --- one body ------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, LIMIT - 1, LIMIT])
@pytest.mark.parametrize("shape", [answer, chunked])
def test_what_is_within_the_limit_is_as_it_was(size: int, shape: Callable[[bytes], bytes]) -> None:
    with RawServer(Saying(shape(bytes(size)))) as server:
        for _ in range(2):
            assert fetch(server.url).content == bytes(size)
        assert server.opened == 1, "the connection was used again"


@pytest.mark.parametrize("shape", [answer, chunked])
def test_one_byte_more_is_too_much(shape: Callable[[bytes], bytes]) -> None:
    script = Saying(shape(bytes(LIMIT + 1)))
    with RawServer(script) as server:
        assert is_refused(fetch(server.url))
        eventually(script.is_left, "the connection to be closed")


def test_a_length_that_promises_too_much_is_not_waited_for() -> None:
    script = Saying(HEAD + b"Content-Length: 1000000000\r\n\r\nnever more than this")
    with RawServer(script) as server:
        assert is_refused(fetch(server.url))
        eventually(script.is_left, "the connection to be closed")


def test_a_chunk_that_promises_too_much_is_not_waited_for() -> None:
    script = Saying(HEAD + b"Transfer-Encoding: chunked\r\n\r\n3b9aca00\r\nnever more than this")
    with RawServer(script) as server:
        assert is_refused(fetch(server.url))
        eventually(script.is_left, "the connection to be closed")


@pytest.mark.parametrize(
    ("header", "then"),
    [
        (b"", endless),
        (b"Content-Encoding: unknown\r\n", endless),
        (b"Transfer-Encoding: chunked\r\n", endless_chunks),
    ],
)
def test_a_body_without_end(header: bytes, then: Callable[[Peer], None]) -> None:
    with RawServer(Saying(HEAD + header + b"\r\n", then=then)) as server:
        assert is_refused(fetch(server.url))


def test_a_response_to_head_may_promise_what_it_likes() -> None:
    with RawServer(Saying(HEAD + b"Content-Length: 1000000000\r\n\r\n")) as server:
        assert fetch(server.url, method="HEAD").headers["Content-Length"] == "1000000000"
        assert fetch(server.url, method="HEAD").status_code == 200
        assert server.opened == 1


def test_a_body_that_is_cut_fails_as_in_requests() -> None:
    def cut(peer: Peer) -> None:
        peer.request()
        peer.send(HEAD + b"Content-Length: 100\r\n\r\n" + bytes(40))

    with RawServer(cut) as server:
        assert str(fetch(server.url)) == str(fetch(server.url, None))
        assert "40 bytes read, 60 more expected" in str(fetch(server.url))


# --- content codings -----------------------------------------------------------------------------


def encoded(coding: str, data: bytes) -> bytes:
    for each in coding.split(", "):
        if each == "br":
            data = pytest.importorskip("brotli", "1.2").compress(data, quality=3)
        elif each == "zstd":
            data = pytest.importorskip("backports.zstd").compress(data)
        else:
            data = {"gzip": gzip.compress, "deflate": squeeze}[each](data)
    return data


CODINGS = ["gzip", "deflate", "br", "zstd", "gzip, gzip", "deflate, gzip", "gzip, deflate, gzip"]


@pytest.mark.parametrize("coding", CODINGS)
def test_it_is_decoded_bytes_that_count(coding: str) -> None:
    header = f"Content-Encoding: {coding}"
    just, above = encoded(coding, b"x" * LIMIT), encoded(coding, b"x" * (LIMIT + 1))
    for shape in (
        lambda body: answer(body, "200 OK", header),
        lambda body: chunked(body, header.encode()),
    ):
        with RawServer(Saying(shape(just))) as server:
            for _ in range(2):
                assert fetch(server.url).content == b"x" * LIMIT
            assert server.opened == 1
        with RawServer(Saying(shape(above))) as server:
            assert is_refused(fetch(server.url))
            assert fetch(server.url, None).content == b"x" * (LIMIT + 1)


def test_what_does_not_get_smaller_may_be_a_little_larger() -> None:
    deflater = zlib.compressobj(0, wbits=31)
    body = deflater.compress(bytes(LIMIT)) + deflater.flush()
    assert LIMIT < len(body) < raw_limit(LIMIT)
    with RawServer(Saying(answer(body, "200 OK", "Content-Encoding: gzip"))) as server:
        assert fetch(server.url).content == bytes(LIMIT)


def test_what_is_wrongly_coded_fails_as_in_requests() -> None:
    says = Saying(answer(b"no gzip at all", "200 OK", "Content-Encoding: gzip"))
    with RawServer(says) as server:
        outcome = fetch(server.url)
        assert type(outcome) is ContentDecodingError
        assert str(outcome) == str(fetch(server.url, None))


READERS: dict[str, Callable[[requests.Response], Any]] = {
    "content": lambda response: response.content,
    "iter_content": lambda response: b"".join(response.iter_content(1000)),
    "iter_content(None)": lambda response: b"".join(response.iter_content(None)),
    "iter_lines": lambda response: b"".join(response.iter_lines()),
    "raw.read(True)": lambda response: response.raw.read(decode_content=True),
    "raw.read(n, True)": lambda response: response.raw.read(10**9, decode_content=True),
    "raw.stream": lambda response: b"".join(response.raw.stream(100, decode_content=True)),
    "raw.data": lambda response: _with_decoding(response).data,
}


def _with_decoding(response: requests.Response) -> Any:
    response.raw.decode_content = True
    return response.raw


def read_in_a_hook(url: str, read: Callable[[requests.Response], Any]) -> Any:
    """Read it by code of the user's, which runs within the request."""
    results = []
    hook = {"response": lambda response, **_: results.append(read(response))}
    outcome = fetch(url, hooks=hook, stream=True)
    return results[0] if results else outcome


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("coding", ["gzip", "gzip, gzip", "br", "zstd"])
@pytest.mark.parametrize("shape", ["length", "chunks"])
def test_a_bomb_by_each_way_to_read(reader: str, coding: str, shape: str) -> None:
    bomb = encoded(coding, bytes(32 * MIB))
    header = f"Content-Encoding: {coding}"
    says = answer(bomb, "200 OK", header) if shape == "length" else chunked(bomb, header.encode())
    with RawServer(Saying(says)) as server:
        tracemalloc.start()
        try:
            outcome = read_in_a_hook(server.url, READERS[reader])
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert is_refused(outcome), outcome
        assert peak < 2 * MIB


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("coding", ["gzip", "br", "gzip, gzip"])
@pytest.mark.parametrize("shape", ["length", "chunks"])
def test_by_each_way_what_is_within_the_limit_is_as_it_was(
    reader: str, coding: str, shape: str
) -> None:
    text = b"some text " * 999
    body = encoded(coding, text)
    header = f"Content-Encoding: {coding}"
    says = answer(body, "200 OK", header) if shape == "length" else chunked(body, header.encode())
    with RawServer(Saying(says)) as server:
        assert read_in_a_hook(server.url, READERS[reader]) == text


@pytest.mark.parametrize("amount", [None, 100, 10**9])
def test_bytes_as_they_come_are_bounded_as_well(amount: int | None) -> None:
    def read(response: requests.Response) -> bytes:
        pieces = []
        while piece := response.raw.read(amount, decode_content=False):
            pieces.append(piece)
        return b"".join(pieces)

    with RawServer(Saying(HEAD + b"\r\n", then=endless)) as server:
        assert is_refused(read_in_a_hook(server.url, read))
    with RawServer(Saying(answer(bytes(LIMIT)))) as server:
        assert read_in_a_hook(server.url, read) == bytes(LIMIT)


# --- on the way ----------------------------------------------------------------------------------


def test_the_body_of_a_redirect() -> None:
    script = Saying(b"HTTP/1.1 302 Found\r\nLocation: /next\r\n\r\n", then=endless)
    with RawServer(script) as server:
        for stream in (False, True):
            assert is_refused(fetch(server.url, stream=stream))
            eventually(script.is_left, "the connection to be closed")
        assert server.opened == 2


def test_the_body_of_a_challenge() -> None:
    challenge = b'WWW-Authenticate: Digest realm="r", nonce="n", qop="auth"\r\n'
    script = Saying(b"HTTP/1.1 401 No\r\n" + challenge + b"\r\n", then=endless)
    with RawServer(script) as server:
        assert is_refused(fetch(server.url, auth=HTTPDigestAuth("a", "b")))


def test_the_body_of_a_status_that_is_retried() -> None:
    script = Saying(b"HTTP/1.1 503 No\r\n\r\n", then=endless)
    with RawServer(script) as server, requests.Session() as session:
        session.mount("http://", HTTPAdapter(max_retries=Retry(3, status_forcelist=[503])))
        assert is_refused(fetch(server.url, session=session))
        assert server.opened == 1


def test_each_body_counts_by_itself() -> None:
    def script(peer: Peer) -> None:
        while target := peer.request():
            number = int(target[1:] or 0)
            more = ["302 Found", f"Location: /{number + 1}"] if number < 5 else ["200 OK"]
            peer.send(answer(bytes(LIMIT), *more))

    with RawServer(script) as server:
        response = fetch(f"{server.url}/0")
        assert [len(each.content) for each in (*response.history, response)] == [LIMIT] * 6
        assert server.opened == 1


# --- who reads -----------------------------------------------------------------------------------


def test_a_streamed_body_is_its_readers_own_business() -> None:
    with RawServer(Saying(answer(bytes(5 * LIMIT)))) as server:
        response = fetch(server.url, stream=True)
        assert gevent.spawn(lambda: response.content).get() == bytes(5 * LIMIT)
        assert fetch(server.url).limit == LIMIT


def test_so_is_one_of_which_some_was_read_within() -> None:
    data = random.Random(1).randbytes(5 * LIMIT)
    body = gzip.compress(data)
    first = []

    def read(response: requests.Response, **_: Any) -> None:
        first.append(response.raw.read(100, decode_content=True))

    def script(peer: Peer) -> None:
        peer.request()
        peer.send(HEAD + b"Content-Encoding: gzip\r\n\r\n" + body)

    with RawServer(script) as server:
        response = fetch(server.url, stream=True, hooks={"response": read})
        rest = b"".join(response.raw.stream(decode_content=True))
        assert first[0] + rest == data


def test_what_was_read_outside_counts_within() -> None:
    raw = urllib3.HTTPResponse(io.BytesIO(bytes(LIMIT + 1)), preload_content=False)
    bound(raw)
    assert len(raw.read(1000)) == 1000
    with body_limit(LIMIT):
        assert len(raw.read(LIMIT - 1000)) == LIMIT - 1000
        with pytest.raises(BodyTooLargeError):
            raw.read(1)


def test_a_limit_is_of_its_context() -> None:
    assert not is_limited()
    with body_limit(1):
        assert is_limited()
        within = contextvars.copy_context()
        with body_limit(None):
            assert not is_limited()
        assert is_limited()
    assert not is_limited()
    assert within.run(is_limited)


# --- what is seen of it --------------------------------------------------------------------------


def test_a_response_looks_as_it_did() -> None:
    with RawServer(Saying(answer())) as server:
        bounded, plain = fetch(server.url).raw, fetch(server.url, None).raw
    assert type(plain) is urllib3.HTTPResponse
    assert isinstance(bounded, urllib3.HTTPResponse)
    assert repr(type(bounded)) == repr(type(plain))
    assert repr(bounded).partition(" at ")[0] == repr(plain).partition(" at ")[0]
    assert type(bounded).__doc__ == type(plain).__doc__
    assert bounded.tell() == plain.tell() == 2
    assert vars(bounded).keys() - vars(plain).keys() == {"_grequests_read"}


def test_bounding_twice_is_bounding_once() -> None:
    raw = urllib3.HTTPResponse(b"body")
    bound(raw)
    cls = type(raw)
    bound(raw)
    assert type(raw) is cls
    other = object()
    bound(other)
    assert type(other) is object


def test_a_connection_goes_back_to_a_pool_that_blocks() -> None:
    """urllib3 gives a place back with its connection, closed or not."""

    def script(peer: Peer) -> None:
        while target := peer.request():
            peer.send(answer(bytes(LIMIT * (2 if target == "/large" else 1))))

    with RawServer(script) as server, requests.Session() as session:
        session.mount("http://", HTTPAdapter(pool_maxsize=1, pool_block=True))
        for _ in range(3):
            assert is_refused(fetch(f"{server.url}/large", session=session))
            assert len(fetch(f"{server.url}/small", session=session).content) == LIMIT
        assert server.opened == 4
