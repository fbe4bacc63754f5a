"""What a Location may hold: another host without a scheme, and line ends in all their forms.

The general lane follows where Requests does. Wherever it leads: nothing of a Location becomes a header
line of the next request, and the next request but one to the same origin gets its own answer.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gevent
import pytest
import requests
from engine.raw import Peer, RawServer, answer

import grequests
from grequests import Client, Timeout
from grequests._kinds import MALFORMED, kind_of

from .harness import Odd

pytestmark = pytest.mark.usefixtures("no_leaks")

PATIENCE = 10.0


class Sign(RawServer):
    """Answers /start with a redirect, and others with their target.

    Attributes:
        location: where it leads, byte by byte as it stands in the head.
        heads: of the requests.
    """

    def __init__(self, tls: ssl.SSLContext | None = None, step: int | None = None, **key: Any):
        super().__init__(self._serve, tls=tls, **key)
        self.step = step or 1_000_000
        self.location = b""
        self.heads: list[list[str]] = []

    def _serve(self, peer: Peer) -> None:
        while (head := peer.until(b"\r\n\r\n")) is not None:
            lines = head.decode("latin-1").split("\r\n")
            self.heads.append(lines)
            target = lines[0].split(" ", 1)[1].rpartition(" ")[0]
            said = answer(target.encode())
            if target == "/start":
                lead = b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: "
                said = lead + self.location + b"\r\n\r\n"
            for start in range(0, len(said), self.step):
                peer.send(said[start : start + self.step])

    def targets(self) -> list[str]:
        """The targets since this was last called, of requests without a line too many."""
        heads, self.heads = self.heads, []
        for _, *lines in heads:
            names = {line.partition(":")[0].lower() for line in lines}
            assert names == {"host", "user-agent", "accept", "accept-encoding", "connection"}
        return [first.split(" ", 1)[1].rpartition(" ")[0] for first, *_ in heads]


@dataclass(frozen=True)
class Led:
    """A Location, and where it leads.

    Attributes:
        name: what is special about it.
        location: made of the server's host and port.
        fast: the target that is asked for then in the fast lane, or the kind of error.
        general: the same of the general lane, if Requests has another.
    """

    name: str
    location: Callable[[str], str]
    fast: str
    general: str | None = None

    def __str__(self) -> str:
        return self.name.replace(" ", "-")

    def wanted(self, lane: str) -> str:
        return self.general if lane == "general" and self.general is not None else self.fast


def exactly(text: str) -> Callable[[str], str]:
    return lambda _: text


LOCATIONS = [
    Led("no scheme", lambda place: f"//{place}/there?a=b", "/there?a=b"),
    Led("no scheme and no path", lambda place: f"//{place}", "/"),
    Led("no scheme and a user", lambda place: f"//u:p@{place}/there", "/there"),
    Led("three slashes", exactly("///there"), "/there"),
    Led("a fold", exactly("/a\r\n b"), "/a%20b"),
    Led("a fold with a tab", exactly("/a\r\n\tb"), "/a%20b"),
    Led("a fold first", exactly("\r\n /there"), "/there"),
    Led("a bare CR and a header", exactly("/a\rX-Evil: y"), MALFORMED, "/a"),
    Led("a bare CR", exactly("/a\rb"), MALFORMED, "/a"),
    Led("a bare LF and a header", exactly("/a\nX-Evil: y"), "/a"),
    Led("a bare LF and a fold", exactly("/a\n b"), "/a%20b"),
    Led(
        "%0d%0a",
        exactly("/a%0d%0aX-Evil:%20y%0d%0a%0d%0aGET%20/x"),
        "/a%0D%0AX-Evil:%20y%0D%0A%0D%0AGET%20/x",
    ),
    Led("%0d%0a in the query", exactly("/a?b%0d%0aX-Evil:%20y"), "/a?b%0D%0AX-Evil:%20y"),
]


def plainly(url: str, ca_file: str) -> str:
    """What Requests makes of it."""
    with requests.Session() as session:
        return session.get(url, verify=ca_file, timeout=PATIENCE).text


@pytest.mark.parametrize("step", [None, 1], ids=["at once", "byte by byte"])
@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("lane", ["fast", "general"])
@pytest.mark.parametrize("led", LOCATIONS, ids=str)
def test_where_a_location_leads(
    tls: ssl.SSLContext, ca_file: str, led: Led, lane: str, scheme: str, step: int | None
) -> None:
    session = Odd() if lane == "general" else None
    timeout = Timeout(connect=PATIENCE, read=PATIENCE, total=PATIENCE)
    wanted = led.wanted(lane)
    with (
        Sign(tls if scheme == "https" else None, step) as server,
        Client(retry=None, circuit=None, timeout=timeout, concurrency=1) as client,
    ):
        server.location = led.location(f"127.0.0.1:{server.port}").encode("latin-1")

        def ask(path: str) -> grequests.Result:
            request = grequests.get(server.url + path, session=session, verify=ca_file)
            with gevent.Timeout(2 * PATIENCE, AssertionError("it hangs")):
                [result] = client.run([request])
            return result

        began = time.monotonic()
        result = ask("/start")
        assert time.monotonic() - began < PATIENCE
        if wanted.startswith("/"):
            assert result.error is None, repr(result.error)
            assert result.response.text == wanted
            assert server.targets() == ["/start", wanted]
        else:
            assert kind_of(result.error) == wanted, repr(result.error)
            assert server.targets() == ["/start"]
        assert ask("/next").response.text == "/next"
        assert server.targets() == ["/next"]
        counts = client.statistics()
        assert (counts.in_flight, counts.queued) == (0, 0)
        if lane == "general":
            assert plainly(f"{server.url}/start", ca_file) == wanted
        if session is not None:
            session.close()
        grequests.close()


@pytest.mark.parametrize("lane", ["fast", "general"])
def test_a_location_without_a_scheme_leads_to_another_host_by_the_same_scheme(
    tls: ssl.SSLContext, ca_file: str, lane: str
) -> None:
    session = Odd() if lane == "general" else None
    with Sign(tls) as first, Sign(tls) as other:
        first.location = f"//localhost:{other.port}/there".encode()
        request = grequests.get(
            f"{first.url}/start", session=session, verify=ca_file, auth=("user", "secret")
        )
        request.send()
        assert request.response is not None, request.exception
        assert request.response.url == f"https://localhost:{other.port}/there"
        # (And what was meant for the first stays there.)
        assert other.targets() == ["/there"]
        if session is not None:
            session.close()
        grequests.close()
