"""Findings of the second review of issue 5: each test failed when it was written."""

from __future__ import annotations

import contextlib
import socket

import time
import traceback
from typing import Any

import gevent
import pytest
import requests
import urllib3
from engine.raw import Peer, RawServer, answer
from requests.adapters import HTTPAdapter
from requests.auth import HTTPDigestAuth

import grequests
from grequests import BodyTooLargeError, Client, Retry, Timeout, was_sent

from .harness import Odd

pytestmark = pytest.mark.usefixtures("no_leaks")

OK = b"HTTP/1.1 200 OK\r\n"
LENGTH = b"Content-Length: 5\r\n"


def is_reused(response: bytes, session: Odd | None) -> bool:
    """Whether two requests come on one connection."""
    with RawServer(lambda peer: say(peer, response)) as server:
        for _ in range(2):
            [got] = grequests.map([grequests.get(server.url, session=session)])
            assert got is not None
        grequests.close()
        if session is not None:
            session.close()
    return server.opened == 1


def say(peer: Peer, response: bytes) -> None:
    while peer.request() is not None:
        peer.send(response)


@pytest.mark.parametrize(
    "response",
    [
        b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"5\r\nhello\r\n0\r\n\r\n",
        b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n",
        b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n",
    ],
    ids=["a coding in HTTP/1.0", "a length of 204", "two lengths"],
)
def test_what_others_may_understand_otherwise_is_not_used_again(session, response: bytes) -> None:
    assert not is_reused(response, session)


@pytest.mark.parametrize("length", [b"+5", b"0_5"])
def test_a_length_that_is_no_number_is_not_used_again(length: bytes) -> None:
    with Odd() as session:
        assert not is_reused(OK + b"Content-Length: " + length + b"\r\n\r\nhello", session)
        assert is_reused(OK + LENGTH + b"\r\nhello", session)


def test_a_head_that_http_client_would_refuse_is_refused(session) -> None:
    """The same number of lines, and the same length, whoever reads them."""
    for count, line, is_fine in (
        (98, b"A: b\r\n", True),
        (99, b"A: b\r\n", False),
        (1, b"A: " + b"b" * 65531 + b"\r\n", True),
        (1, b"A: " + b"b" * 65532 + b"\r\n", False),
    ):
        response = OK + LENGTH + line * count + b"\r\nhello"
        with RawServer(lambda peer, said=response: say(peer, said)) as server:
            request = grequests.get(server.url, session=session)
            grequests.map([request])
            grequests.close()
            if session is not None:
                session.close()
        assert (request.response is not None) is is_fine, (count, len(line))
        if request.response is not None:
            assert not request.response.cookies


def test_a_redirects_body_is_bounded_in_downloads(session, tmp_path: Any) -> None:
    def serve(peer: Peer) -> None:
        while (target := peer.request()) is not None:
            if target == "/file":
                peer.send(answer(b"f" * 5000))
            elif target == "/small":
                peer.send(answer(b"x", "302 Found", "Location: /file"))
            else:
                peer.send(answer(b"x" * 5000, "302 Found", "Location: /file"))

    with RawServer(serve) as server:
        client = Client(max_body=1000, retry=Retry(attempts=1), timeout=Timeout(total=5))
        with client:
            requests = [
                grequests.get(f"{server.url}/{name}", session=session) for name in ("big", "small")
            ]
            found = client.download(requests, tmp_path)
            big, small = sorted(found, key=lambda each: each.index)
        grequests.close()
        if session is not None:
            session.close()
    assert isinstance(big.error, BodyTooLargeError)
    assert small.error is None
    assert [each.stat().st_size for each in tmp_path.iterdir()] == [5000]


def test_a_password_is_in_no_traceback(session) -> None:
    request = grequests.get("http://me:hunter2@host:99999/", session=session)
    grequests.map([request])
    assert request.exception is not None
    assert "hunter2" not in "".join(traceback.format_exception(request.exception))


def test_a_digest_does_not_forget_that_ragged_ends_are_borne(tls, ca_file) -> None:
    with RaggedDigest(tls) as server:
        request = grequests.get(
            server.url,
            auth=HTTPDigestAuth("me", "pw"),
            verify=ca_file,
            suppress_ragged_eofs=True,
        )
        grequests.map([request])
        grequests.close()
    assert request.response is not None, request.exception
    assert request.response.text == "hello"


RETRIED = {
    "an answer": (b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", None),
    "a cut": (b"", None),
    "a challenge": (
        b'HTTP/1.1 401 No\r\nWWW-Authenticate: Digest realm="r", nonce="n", qop="auth"\r\n'
        b"Content-Length: 0\r\nConnection: close\r\n\r\n",
        HTTPDigestAuth("me", "pw"),
    ),
}


@pytest.mark.parametrize("name", RETRIED)
def test_what_was_sent_in_a_try_before_the_last_was_sent(name: str) -> None:
    reply, auth = RETRIED[name]

    def serve(peer: Peer) -> None:
        peer.request()
        server._listener.shutdown(socket.SHUT_RDWR)  # nobody listens to the next try
        server._listener.close()
        peer.send(reply)

    session = requests.Session()
    retry = urllib3.Retry(2, allowed_methods=None, status_forcelist=[503])
    session.mount("http://", HTTPAdapter(max_retries=retry))
    with contextlib.suppress(OSError), RawServer(serve) as server:
        url = f"http://127.0.0.1:{server.port}/"
        request = grequests.post(url, data="x", session=session, auth=auth)
        grequests.map([request])
    assert isinstance(request.exception, requests.ConnectionError)
    assert was_sent(request.exception)
    session.close()
    grequests.close()


def test_a_server_that_is_faster_than_its_reader_does_not_keep_others_waiting(session) -> None:
    def serve(peer: Peer) -> None:
        peer.request()
        peer.send(OK + b"\r\n")
        with contextlib.suppress(OSError):
            while True:
                peer.send(bytes(1 << 20))

    ticks = []

    def tick() -> None:
        while True:
            gevent.sleep(0.01)
            ticks.append(time.monotonic())

    with RawServer(serve) as server:
        request = grequests.get(server.url, session=session, stream=True)
        [response] = grequests.map([request], stream=True)
        ticking = gevent.spawn(tick)
        for count, _ in enumerate(response.iter_content(65536)):
            end = time.monotonic() + 0.003
            while time.monotonic() < end:  # (busy: the server is ahead)
                pass
            if count == 200:
                break
        response.close()
        ticking.kill()
        grequests.close()
    assert len(ticks) >= 10


class RaggedDigest(RawServer):
    """Asks for a digest, and ends its answer without a goodbye."""

    def __init__(self, tls: Any) -> None:
        super().__init__(self._serve, tls=tls)

    def _serve(self, peer: Peer) -> None:
        while (head := peer.until(b"\r\n\r\n")) is not None:
            if b"Authorization" in head:
                peer.send(OK + b"\r\nhello")
                return  # which closes the socket, as it is
            challenge = 'WWW-Authenticate: Digest realm="r", nonce="n", qop="auth"'
            peer.send(answer(b"", "401 Unauthorized", challenge))
