"""`suppress_ragged_eofs`: whether TLS that ends without close_notify may end a body without a length.

In the general lane it always may, as in Requests. It never ends a head, nor a body that was promised
a length or chunks: the keyword changes nothing there, in either lane.
"""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Iterator
from typing import Any

import gevent
import pytest
import requests
from engine.raw import Peer, RawServer, answer
from requests import exceptions
from servers import eventually

import grequests
from grequests import was_sent
from grequests._engine import current_engine
from grequests._kinds import TRUNCATED, kind_of

from .framing import CHUNKED, OK
from .harness import Odd, Ragged, end

pytestmark = pytest.mark.usefixtures("no_leaks")

PATIENCE = 10.0
LANES = ("fast", "general")
ENDLESS = OK + b"\r\nhello"
#: What is cut although its own end was promised; whether that is said of the body. (Of a head that
#: promised one, too, as in Requests.)
PROMISED = {
    "a length": (OK + b"Content-Length: 9\r\n\r\nhello", True),
    "a length, and nothing": (OK + b"Content-Length: 9\r\n\r\n", True),
    "no last chunk": (CHUNKED + b"5\r\nhello\r\n", True),
    "half a chunk": (CHUNKED + b"9\r\nhello", True),
    "half a chunk's size": (CHUNKED + b"5\r\nhello\r\n1", True),
    "nothing": (b"", False),
    "half a status line": (b"HTTP/1.1 200", False),
    "a status line": (OK, False),
    "half a header line": (OK + b"A: b", False),
    "a header line": (OK + b"A: b\r\n", False),
    "a head without its last line": (OK + b"Content-Length: 5\r\n", True),
}

lanes = pytest.mark.parametrize("lane", LANES)
streams = pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
leniences = pytest.mark.parametrize("lenient", [False, True], ids=["off", "on"])
ends = pytest.mark.parametrize("step", [1, None], ids=["byte by byte", "at once"])


class Rude(RawServer):
    """Says something and closes without TLS's goodbye; to others than /fault, whatever is theirs.

    Attributes:
        seen: the targets.
    """

    def __init__(self, tls: ssl.SSLContext, said: bytes, step: int | None = None) -> None:
        super().__init__(self._serve, tls=tls)
        self.said = said
        self.step = step or 1_000_000
        #: Answers that are followed by such an end, too.
        self.others: dict[str, bytes] = {}
        self.polite: dict[str, bytes] = {}
        self.seen: list[str] = []
        self._lock = threading.Lock()

    def _serve(self, peer: Peer) -> None:
        while (target := peer.request()) is not None:
            with self._lock:
                self.seen.append(target)
            rude = self.said if target == "/fault" else self.others.get(target)
            if rude is None:
                peer.send(self.polite.get(target, answer(target.encode())))
                continue
            for start in range(0, len(rude), self.step):
                peer.send(rude[start : start + self.step])
            end(peer, Ragged())
            return


@pytest.fixture
def ask(ca_file: str) -> Iterator[Any]:
    """Asks for a URL in a lane: the response with its body read, or raises."""

    def send(lane: str, url: str, *, lenient: bool, **keywords: Any) -> requests.Response:
        session = Odd() if lane == "general" else None
        request = grequests.get(
            url,
            session=session,
            verify=ca_file,
            timeout=PATIENCE,
            suppress_ragged_eofs=lenient,
            **keywords,
        )
        began = time.monotonic()
        try:
            with gevent.Timeout(PATIENCE + 5, AssertionError("it hangs")):
                request.send()
                if request.response is None:
                    raise request.exception
                assert request.response.content is not None
        finally:
            assert time.monotonic() - began < PATIENCE
            if session is not None:
                session.close()
        eventually(lambda: current_engine().statistics().streaming == 0, "the connection's end")
        return request.response

    yield send
    grequests.close()


def is_followed(ask: Any, lane: str, server: Rude) -> None:
    """Whether the next request gets its own answer."""
    following = ask(lane, f"{server.url}/next", lenient=False)
    assert following.text == "/next"


@ends
@streams
@leniences
@lanes
def test_a_body_without_a_length_ends_without_goodbye_if_it_may(
    tls: ssl.SSLContext, ask: Any, lane: str, lenient: bool, stream: bool, step: int | None
) -> None:
    with Rude(tls, ENDLESS, step) as server:
        url = f"{server.url}/fault"
        if lane == "general" or lenient:
            assert ask(lane, url, lenient=lenient, stream=stream).content == b"hello"
        else:
            with pytest.raises(exceptions.ChunkedEncodingError, match="close_notify") as caught:
                ask(lane, url, lenient=lenient, stream=stream)
            assert kind_of(caught.value) == TRUNCATED
            assert was_sent(caught.value)
        is_followed(ask, lane, server)
        assert server.seen == ["/fault", "/next"]
        assert server.opened == 2


@streams
@lanes
def test_an_empty_body_without_a_length_is_no_other(
    tls: ssl.SSLContext, ask: Any, lane: str, stream: bool
) -> None:
    with Rude(tls, OK + b"\r\n") as server:
        url = f"{server.url}/fault"
        assert ask(lane, url, lenient=True, stream=stream).content == b""
        if lane == "fast":
            with pytest.raises(exceptions.ChunkedEncodingError, match="close_notify"):
                ask(lane, url, lenient=False, stream=stream)


@streams
@leniences
@lanes
def test_the_keyword_holds_for_what_a_redirect_leads_to(
    tls: ssl.SSLContext, ask: Any, lane: str, lenient: bool, stream: bool
) -> None:
    with Rude(tls, ENDLESS) as server:
        server.polite["/start"] = answer(b"there", "302 Found", "Location: /fault")
        url = f"{server.url}/start"
        if lane == "general" or lenient:
            response = ask(lane, url, lenient=lenient, stream=stream)
            assert response.content == b"hello"
            assert [each.status_code for each in response.history] == [302]
        else:
            with pytest.raises(exceptions.ChunkedEncodingError, match="close_notify"):
                ask(lane, url, lenient=lenient, stream=stream)
        is_followed(ask, lane, server)
        assert server.seen == ["/start", "/fault", "/next"]


@streams
@lanes
def test_a_redirect_may_itself_end_so(
    tls: ssl.SSLContext, ask: Any, lane: str, stream: bool
) -> None:
    with Rude(tls, b"HTTP/1.1 302 Found\r\nLocation: /there\r\n\r\nthere") as server:
        response = ask(lane, f"{server.url}/fault", lenient=True, stream=stream)
        assert response.text == "/there"
        assert [each.content for each in response.history] == [b"there"]
        assert server.seen == ["/fault", "/there"]


@streams
@leniences
@lanes
@pytest.mark.parametrize("what", PROMISED)
def test_it_ends_nothing_that_has_an_end_of_its_own(
    tls: ssl.SSLContext, ask: Any, what: str, lane: str, lenient: bool, stream: bool
) -> None:
    said, is_body = PROMISED[what]
    with Rude(tls, said) as server:
        url = f"{server.url}/fault"
        # To http.client, the end of the stream ends a head whose status line is whole enough.
        if lane == "general" and not is_body and said:
            assert ask(lane, url, lenient=lenient, stream=stream).content == b""
        else:
            with pytest.raises(exceptions.RequestException) as caught:
                ask(lane, url, lenient=lenient, stream=stream)
            wanted = exceptions.ChunkedEncodingError if is_body else exceptions.ConnectionError
            assert type(caught.value) is wanted, repr(caught.value)
            assert was_sent(caught.value)
        is_followed(ask, lane, server)
        assert server.seen == ["/fault", "/next"]


@lanes
def test_a_whole_body_needs_no_goodbye(tls: ssl.SSLContext, ask: Any, lane: str) -> None:
    with Rude(tls, answer(b"hello")) as server:
        for lenient in (False, True):
            assert ask(lane, f"{server.url}/fault", lenient=lenient).content == b"hello"
        assert server.opened == 2


def test_the_others_of_a_map_are_no_less_strict(tls: ssl.SSLContext, ca_file: str) -> None:
    with Rude(tls, ENDLESS) as server:
        url = f"{server.url}/fault"
        first, second = (
            grequests.get(url, verify=ca_file, timeout=PATIENCE, suppress_ragged_eofs=each)
            for each in (True, False)
        )
        lenient, strict = grequests.map([first, second])
    assert lenient.content == b"hello"
    assert strict is None
    assert isinstance(second.exception, exceptions.ChunkedEncodingError)
