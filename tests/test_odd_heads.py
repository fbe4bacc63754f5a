"""Heads of responses that are cut or say two things: the answer is the one of plain Requests.

But for those that are cut, which are no answer.
"""

from __future__ import annotations

from typing import Any

import pytest
import requests
from recording import Answer, Lanes, Recorder, sealed_environment
from requests import exceptions
from requests.adapters import HTTPAdapter
from urllib3.util.retry import Retry

import grequests

OK = b"HTTP/1.1 200 OK\r\n"


@pytest.fixture(autouse=True)
def sealed(tmp_path):
    with sealed_environment(tmp_path) as patch:
        yield patch


@pytest.fixture
def server():
    with Recorder() as one:
        yield one


@pytest.fixture(params=[False, True], ids=["", "stream"])
def compare(server, request):
    """Sends a request by plain Requests and in the fast lane; all there is to see must be equal."""
    lanes = Lanes(server)

    def compare(data: bytes, method: str = "GET", session: Any = None) -> Any:
        server.default = Answer(data, close=True)
        outcome = lanes.compare(
            lambda: (session, method, "http://example.test/", {"stream": request.param})
        )
        assert outcome is not None, "the fast lane took it"
        return outcome

    return compare


CUT = [
    b"HTTP/1.1 200",
    b"HTTP/1.1 404 Not Fo",
    b"HTTP/1.1 200 OK\r\n",
    b"HTTP/1.1 200 OK\r\nA: b",
    b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n",
    b"HTTP/1.1 200 OK\r\nSet-Cookie: a=b\r\nB: ",
    b"HTTP/1.1 204 No Content\r\nContent-Length: 1",
    b"HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nA: b\r\n",
]
#: As these, but they promise a body.
CUT_WITH_BODY = [
    b"HTTP/1.1 200 OK\r\nContent-Length: 5",
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nA: b",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\nA: b\r\n",
]


@pytest.mark.parametrize("stream", [False, True], ids=["", "stream"])
@pytest.mark.parametrize(
    ("method", "cut"),
    [*[("GET", each) for each in CUT], *[("HEAD", each) for each in CUT + CUT_WITH_BODY]],
)
def test_a_head_that_the_end_of_the_stream_cuts_is_none(server, cut, method, stream):
    """Here we part with Requests, to which an empty answer is one, and half a header is none."""
    server.default = Answer(cut, close=True)
    request = grequests.request(method, server.url, stream=stream).send()
    assert type(request.exception) is exceptions.ConnectionError
    assert "Remote end closed connection in the head of the response" in str(request.exception)


@pytest.mark.parametrize("stream", [False, True], ids=["", "stream"])
@pytest.mark.parametrize("cut", CUT_WITH_BODY)
def test_a_cut_head_that_promised_a_body_is_a_cut_body(server, cut, stream):
    """Requests finds out when it reads the body; we say so at once, by the same class."""
    server.default = Answer(cut, close=True)
    with pytest.raises(exceptions.ChunkedEncodingError):
        requests.get(server.url)
    request = grequests.get(server.url, stream=stream).send()
    assert type(request.exception) is exceptions.ChunkedEncodingError
    assert request.response is None


def test_nothing_but_an_interim_response(compare):
    error = compare(b"HTTP/1.1 100 Continue\r\n\r\n").error
    assert error["type"] is exceptions.ConnectionError
    assert "Remote end closed connection without response" in error["text"]


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(
    "headers",
    [
        b"Content-Length: 2\r\nA: b\r\nContent-Length: 2\r\n",
        b"Content-Length: 2\r\ncontent-length: 2 , 2\r\n",
    ],
)
def test_a_length_told_twice(compare, headers, method):
    assert compare(OK + headers + b"\r\nhi", method).error is None


@pytest.mark.parametrize(
    "headers",
    [
        b"Content-Length: 99\r\nTransfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: Chunked\r\nA: b\r\nContent-Length: 1\r\nContent-Length: 2\r\n",
    ],
)
def test_a_length_beside_chunks_does_not_count(compare, headers):
    outcome = compare(OK + headers + b"\r\n2\r\nhi\r\n0\r\n\r\n")
    assert outcome.response["content"] == b"hi"


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(
    "headers", [b"Content-Length: 2\r\nContent-Length: 3\r\n", b"Content-Length: 2, 3\r\n"]
)
def test_lengths_that_differ_are_an_invalid_header(compare, headers, method):
    error = compare(OK + headers + b"\r\nhigh", method).error
    assert error["type"] is exceptions.InvalidHeader
    assert error["text"] == "Content-Length contained multiple unmatching values (2, 3)"


def test_lengths_that_differ_are_not_asked_for_again(compare):
    session = requests.Session()
    session.mount("http://", HTTPAdapter(max_retries=Retry(3, backoff_factor=0)))
    outcome = compare(OK + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\nhi", session=session)
    assert outcome.error["type"] is exceptions.InvalidHeader
    assert len(outcome.wire) == 1
