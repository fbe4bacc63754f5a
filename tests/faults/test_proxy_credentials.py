"""Control characters in a proxy's user and password, for targets that are reached by CONNECT.

They go out in Base64, as in Requests, so that no line of the head is theirs; what Latin-1 cannot hold is
refused before a byte is sent. What is tunnelled knows nothing of them, and no text shows them.
"""

from __future__ import annotations

import base64
import logging
import re
import ssl
import time
from typing import Any
from urllib.parse import quote

import gevent
import pytest
import requests
from engine.raw import Peer, RawServer

import grequests
from grequests import Client, Timeout
from grequests._kinds import PROXY, kind_of

from .harness import Odd
from .test_proxy_faults import texts

pytestmark = pytest.mark.usefixtures("no_leaks")

PATIENCE = 10.0
CONTROLS = {
    "CRLF": "\r\nX-Evil: y",
    "two CRLF": "\r\n\r\nCONNECT evil.test:9",
    "LF": "\nX-Evil: y",
    "CR": "\rX-Evil: y",
    "a fold": "\r\n X-Evil: y",
    "NUL": "\0",
    "SOH": "\1",
    "tab": "\t",
    "DEL": "\x7f",
    "NEL": "\x85",
}

lanes = pytest.mark.parametrize("lane", ["fast", "general"])
forms = pytest.mark.parametrize("form", ["raw", "encoded"])


class Proxy(RawServer):
    """Opens tunnels, or refuses to, and is itself at their end.

    Attributes:
        asked: the heads that came in the clear.
        inner: those that came through tunnels.
    """

    def __init__(self, tls: ssl.SSLContext) -> None:
        super().__init__(self._serve)
        self.asked: list[str] = []
        self.inner: list[str] = []
        self.is_willing = True
        self._context = tls

    def _serve(self, peer: Peer) -> None:
        head = peer.until(b"\r\n\r\n")
        if head is None:
            return
        self.asked.append(head.decode("latin-1"))
        if not self.is_willing:
            peer.send(b"HTTP/1.1 407 Who\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            peer.wait_end()
            return
        peer.send(b"HTTP/1.1 200 Fine\r\n\r\n")
        peer.start_tls(self._context)
        while (head := peer.until(b"\r\n\r\n")) is not None:
            self.inner.append(head.decode("latin-1"))
            peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")


class Asker:
    """Sends requests through a proxy in a lane, and keeps all that is said of them."""

    def __init__(self, lane: str, ca_file: str) -> None:
        self.session = Odd() if lane == "general" else None
        self.ca_file = ca_file
        self.told: list[str] = []
        timeout = Timeout(connect=PATIENCE, read=PATIENCE, total=PATIENCE)
        self.client = Client(retry=None, circuit=None, timeout=timeout, concurrency=1)
        for event in ("started", "finished"):
            self.client.on(event, lambda each: self.told.append(f"{each!r} {each!s}"))

    def ask(self, proxy: str) -> grequests.Result:
        request = grequests.get(
            "https://localhost:9/a",
            session=self.session,
            verify=self.ca_file,
            proxies={"https": proxy},
        )
        began = time.monotonic()
        with gevent.Timeout(2 * PATIENCE, AssertionError("it hangs")):
            [result] = self.client.run([request])
        assert time.monotonic() - began < PATIENCE
        self.told += [f"{request!r} {request!s}", f"{result!r} {result!s} {result.attempts!r}"]
        return result

    def forget_connections(self) -> None:
        grequests.close()
        if self.session is not None:
            self.session.close()

    def close(self) -> None:
        counts = self.client.statistics()
        assert (counts.in_flight, counts.queued) == (0, 0)
        self.told.append(f"{counts!r} {self.client!r}")
        self.client.close()
        self.forget_connections()


def assert_harmless(heads: list[str], line: str) -> None:
    """That each head has this line, and no other that is not the client's own."""
    for head in heads:
        first, *lines = re.split("[\r\n\x85]+", head)
        assert first.startswith("CONNECT localhost:9 HTTP/1.")
        assert [each for each in lines if not each.startswith("Host: ")] == [line]


@forms
@lanes
@pytest.mark.parametrize("name", CONTROLS)
def test_they_reach_the_proxy_in_base64_and_nobody_else(
    tls: ssl.SSLContext, ca_file: str, caplog: Any, name: str, lane: str, form: str
) -> None:
    caplog.set_level(logging.DEBUG, logger="grequests")
    secrets = [f"mallory{CONTROLS[name]}", f"hunter2{CONTROLS[name]}"]
    encoded = base64.b64encode(":".join(secrets).encode("latin-1")).decode()
    line = f"Proxy-Authorization: Basic {encoded}"
    user, password = secrets if form == "raw" else (quote(each, safe="") for each in secrets)
    one = Asker(lane, ca_file)
    with Proxy(tls) as proxy:
        url = f"http://{user}:{password}@127.0.0.1:{proxy.port}"
        assert one.ask(url).unwrap().text == "ok"
        assert_harmless(proxy.asked, line)
        [inner] = proxy.inner
        assert "Proxy-Authorization" not in inner
        assert encoded not in inner
        one.forget_connections()

        proxy.is_willing = False
        result = one.ask(url)
        assert kind_of(result.error) == PROXY, repr(result.error)
        one.told += texts(result.error)
        with requests.Session() as session, pytest.raises(requests.exceptions.ProxyError):
            session.get("https://localhost:9/a", proxies={"https": url}, timeout=PATIENCE)
        assert len(proxy.asked) == 3
        assert_harmless(proxy.asked, line)
        one.close()
    for text in [*one.told, *caplog.messages]:
        for secret in ("hunter2", "mallory", encoded, "X-Evil"):
            assert secret not in text


@forms
@pytest.mark.parametrize("which", ["user", "password"])
@lanes
def test_what_latin_1_cannot_hold_is_refused_before_a_byte_is_sent(
    tls: ssl.SSLContext, ca_file: str, caplog: Any, lane: str, which: str, form: str
) -> None:
    caplog.set_level(logging.DEBUG, logger="grequests")
    euro = "\u20ac" if form == "raw" else quote("\u20ac")
    user, password = ("mallory" + euro, "hunter2") if which == "user" else ("u", "hunter2" + euro)
    one = Asker(lane, ca_file)
    with Proxy(tls) as proxy:
        result = one.ask(f"http://{user}:{password}@127.0.0.1:{proxy.port}")
        assert type(result.error) is UnicodeEncodeError
        assert proxy.opened == 0
        assert one.ask(f"http://u:p@127.0.0.1:{proxy.port}").unwrap().text == "ok"
        one.close()
    for text in [str(result.error), *caplog.messages]:
        assert "hunter2" not in text
        assert "mallory" not in text
