"""Ports at the edges: what Requests does with port 0, we do; port 65536 is refused unsent.

urllib3 takes port 0 in a URL for none, and tries the scheme's own. Nobody may listen there in a test:
where a request went shows in the error's text, or to a proxy.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests
from engine.raw import Peer, RawServer, answer
from requests import exceptions
from ways import Make, Ways

import grequests

from .harness import Odd

pytestmark = pytest.mark.usefixtures("no_leaks")

#: An address of this machine that nobody listens at, if not at all of them.
NOBODY = "127.9.9.9"
TIMEOUT = 10.0
#: Sessions and the lane that their requests are to take; None if either will do.
LANES: dict[str, tuple[Callable[[], Any], str | None]] = {
    "none": (lambda: None, None),
    "plain": (requests.Session, None),
    "general": (Odd, "general"),
}
lanes = pytest.mark.parametrize("lane", LANES)


class Ear(RawServer):
    """Keeps the heads of what it is asked; refuses tunnels, leads /start elsewhere, answers others."""

    def __init__(self) -> None:
        super().__init__(self._serve)
        self.heads: list[str] = []
        self.location = ""

    def _serve(self, peer: Peer) -> None:
        while (head := peer.until(b"\r\n\r\n")) is not None:
            self.heads.append(head.decode("latin-1"))
            target = head.split(b" ")[1]
            if head.startswith(b"CONNECT"):
                peer.send(b"HTTP/1.1 403 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                return
            if target.endswith(b"/start"):
                peer.send(answer(b"", "302 Found", f"Location: {self.location}"))
            else:
                peer.send(answer(target))

    def taken(self) -> list[str]:
        heads, self.heads = self.heads, []
        return heads


@pytest.fixture
def ear() -> Iterator[Ear]:
    with Ear() as one:
        yield one
        grequests.close()


def of(outcome: dict[str, Any]) -> dict[str, Any]:
    """An outcome without the addresses of objects."""
    if outcome["error"] is not None:
        outcome["error"]["text"] = re.sub(r" at 0x[0-9a-f]+", "", outcome["error"]["text"])
    return outcome


def same(ear: Ear, lane: str, url: str, **keywords: Any) -> dict[str, Any]:
    make, taken = LANES[lane]
    keywords.setdefault("timeout", TIMEOUT)
    wanted: Make = lambda: (make(), "GET", url, dict(keywords))  # noqa: E731
    return Ways(taken=ear.taken, cleaned=of).same(wanted, taken)


def nobody_listens(port: int) -> None:
    with socket.socket() as sock:
        if not sock.connect_ex((NOBODY, port)):
            pytest.skip(f"somebody listens at port {port}")


@lanes
@pytest.mark.parametrize(("scheme", "port"), [("http", 80), ("https", 443)])
@pytest.mark.parametrize("zero", ["0", "00", "000000"])
def test_port_zero_is_the_schemes_own(
    ear: Ear, lane: str, scheme: str, port: int, zero: str
) -> None:
    nobody_listens(port)
    outcome = same(ear, lane, f"{scheme}://{NOBODY}:{zero}/a")
    assert f"host='{NOBODY}', port={port}" in outcome["error"]["text"], outcome


@lanes
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_what_a_proxy_is_asked_for_then(ear: Ear, lane: str, scheme: str) -> None:
    url = f"{scheme}://a.test:0/a"
    outcome = same(ear, lane, url, proxies={scheme: ear.url})
    [head] = outcome["taken"]
    first, *lines = head.split("\r\n")
    if scheme == "http":
        assert first == "GET http://a.test/a HTTP/1.1"
        assert "Host: a.test" in lines
    else:
        assert first.startswith("CONNECT a.test:443 ")


@lanes
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_redirect_to_port_zero(ear: Ear, lane: str, scheme: str) -> None:
    ear.location = f"{scheme}://{NOBODY}:0/there"
    outcome = same(ear, lane, f"{ear.url}/start")
    # The Location is not parsed by urllib3, and so port 0 it is, where nobody can listen.
    assert f"host='{NOBODY}', port=0" in outcome["error"]["text"], outcome
    assert outcome["error"]["type"] is exceptions.ConnectionError
    assert len(outcome["taken"]) == 1


@lanes
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_at_port_zero(ear: Ear, lane: str, scheme: str) -> None:
    outcome = same(ear, lane, f"{scheme}://a.test/a", proxies={scheme: f"http://{NOBODY}:0"})
    assert f"host='{NOBODY}', port=0" in outcome["error"]["text"], outcome
    assert outcome["error"]["type"] is exceptions.ProxyError
    assert outcome["taken"] == []


# 65536: there is no such port.


def refused(ear: Ear, lane: str, url: str, error: type, **keywords: Any) -> None:
    """Hold that nothing of a request was sent."""
    outcome = same(ear, lane, url, **keywords)
    assert outcome["error"] is not None, outcome
    assert outcome["error"]["type"] is error
    make, _ = LANES[lane]
    session = make()
    request = grequests.get(url, session=session, **keywords)
    [result] = grequests.run([request], retry=None)
    assert type(result.error) is error
    if session is not None:
        session.close()


@lanes
@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("port", ["65536", "99999", "065536", "4294967376"])
def test_a_port_that_is_none_is_refused(ear: Ear, lane: str, scheme: str, port: str) -> None:
    refused(ear, lane, f"{scheme}://127.0.0.1:{port}/a", exceptions.InvalidURL)
    assert ear.opened == 0


@lanes
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_is_not_asked_for_it(ear: Ear, lane: str, scheme: str) -> None:
    url = f"{scheme}://a.test:65536/a"
    refused(ear, lane, url, exceptions.InvalidURL, proxies={scheme: ear.url})
    assert ear.opened == 0


@lanes
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_at_a_port_that_is_none(ear: Ear, lane: str, scheme: str) -> None:
    proxies = {scheme: "http://127.0.0.1:65536"}
    refused(ear, lane, f"{scheme}://a.test/a", exceptions.InvalidURL, proxies=proxies)
    assert ear.opened == 0


@lanes
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_redirect_to_a_port_that_is_none(ear: Ear, lane: str, scheme: str) -> None:
    ear.location = f"{scheme}://127.0.0.1:65536/there"
    outcome = same(ear, lane, f"{ear.url}/start")
    assert outcome["error"]["type"] is exceptions.InvalidURL
    assert len(outcome["taken"]) == 1
