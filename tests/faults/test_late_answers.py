"""A request is cancelled while the server has it; the answer comes late, on that very connection.

Nobody gets it: not the request that was cancelled, nor the next one to the same origin.
"""

from __future__ import annotations

import contextlib
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import gevent
import pytest
import requests
from engine.raw import Peer, RawServer, answer
from servers import eventually

import grequests
from grequests import Client, RequestCancelledError, Timeout

from .harness import Odd

pytestmark = pytest.mark.usefixtures("no_leaks")

PATIENCE = 10.0
LATE = answer(b"LATE")
#: What the server has said when the request is cancelled; the rest comes late.
SAID = {
    "nothing": 0,
    "half a head": 20,
    "a head": LATE.index(b"LATE"),
    "half a body": len(LATE) - 2,
}


class Tardy(RawServer):
    """Answers /held in part, and to its end when it is told to; others at once.

    Attributes:
        seen: the connection and the target of each request.
        held: set when it has said of /held what it says at first.
        go_on: to be set when it is to say the rest.
        late: set when it has tried to.
        with_next: whether it says the rest only when the next request is there, before its answer.
    """

    def __init__(self, tls: ssl.SSLContext | None, said: int, *, with_next: bool) -> None:
        super().__init__(self._serve, tls=tls)
        self.said = said
        self.with_next = with_next
        self.seen: list[tuple[int, str]] = []
        self.held, self.go_on, self.late = (threading.Event() for _ in range(3))

    def _serve(self, peer: Peer) -> None:
        while (target := peer.request()) is not None:
            self.seen.append((peer.number, target))
            if target == "/held":
                peer.send(LATE[: self.said])
                self.held.set()
                assert self.go_on.wait(PATIENCE)
                with contextlib.suppress(OSError):  # the client may have gone
                    peer.send(LATE[self.said :])
                    peer.send(LATE)
                self.late.set()
                continue
            if target == "/next" and self.with_next:
                self.go_on.set()
                assert self.late.wait(PATIENCE)
            peer.send(answer(target.encode()))


class Told:
    """All that is told of requests, by hooks and by futures."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def hook(self, response: requests.Response, **_: Any) -> None:
        self.texts.append(response.text)


class Side:
    """The client's side: requests in a lane."""

    def __init__(self, server: Tardy, lane: str, ca_file: str) -> None:
        self.server = server
        self.session = Odd() if lane == "general" else None
        self.ca_file = ca_file
        self.told = Told()
        timeout = Timeout(connect=PATIENCE, read=PATIENCE, total=PATIENCE)
        self.client = Client(retry=None, circuit=None, timeout=timeout, concurrency=1)

    def request(self, path: str, *, hooked: bool = False) -> grequests.AsyncRequest:
        hooks = {"hooks": {"response": self.told.hook}} if hooked else {}
        return grequests.get(
            self.server.url + path,
            session=self.session,
            verify=self.ca_file,
            timeout=PATIENCE,
            **hooks,
        )

    def close(self) -> None:
        self.client.close()
        if self.session is not None:
            self.session.close()
        grequests.close()


@pytest.fixture
def bounded() -> Iterator[None]:
    with gevent.Timeout(2 * PATIENCE, AssertionError("it hangs")):
        yield


def cancelled_by_its_future(side: Side, request: grequests.AsyncRequest) -> None:
    future = side.client.submit(request)
    results = []
    future.add_done_callback(lambda each: results.append(each.result()))
    eventually(side.server.held.is_set, "the server to have it")
    gevent.sleep(0.05)  # what was said is read
    assert future.cancel()
    assert not future.cancel()
    error = future.result(PATIENCE).error
    assert isinstance(error, RequestCancelledError)
    assert grequests.was_sent(error)
    eventually(lambda: results, "the callback")
    assert [each.error for each in results] == [error]


def map_is_killed(side: Side, request: grequests.AsyncRequest) -> None:
    mapping = gevent.spawn(grequests.map, [request])
    eventually(side.server.held.is_set, "the server to have it")
    gevent.sleep(0.05)
    mapping.kill(timeout=PATIENCE)
    assert isinstance(mapping.value, gevent.GreenletExit)


def map_is_out_of_time(side: Side, request: grequests.AsyncRequest) -> None:
    with pytest.raises(gevent.Timeout), gevent.Timeout(0.3):
        grequests.map([request])
    assert side.server.held.is_set()


def run_is_left(side: Side, request: grequests.AsyncRequest) -> None:
    with pytest.raises(gevent.Timeout), gevent.Timeout(0.3):
        list(side.client.run([request]))
    assert side.server.held.is_set()


Cancel = Callable[[Side, grequests.AsyncRequest], None]
CANCELS: tuple[Cancel, ...] = (
    cancelled_by_its_future,
    map_is_killed,
    map_is_out_of_time,
    run_is_left,
)


@pytest.mark.parametrize("with_next", [False, True], ids=["before the next", "with the next"])
@pytest.mark.parametrize("said", SAID)
@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("lane", ["fast", "general"])
@pytest.mark.parametrize("cancel", CANCELS, ids=lambda each: each.__name__)
@pytest.mark.usefixtures("bounded")
def test_an_answer_that_comes_after_the_request_was_cancelled_is_nobodys(
    tls: ssl.SSLContext,
    ca_file: str,
    cancel: Cancel,
    lane: str,
    scheme: str,
    said: str,
    with_next: bool,
) -> None:
    context = tls if scheme == "https" else None
    with Tardy(context, SAID[said], with_next=with_next) as server:
        side = Side(server, lane, ca_file)
        [warm] = side.client.run([side.request("/warm")])
        assert warm.response.text == "/warm"
        request = side.request("/held", hooked=True)

        cancel(side, request)

        if not with_next:
            server.go_on.set()
            assert server.late.wait(PATIENCE)
        began = time.monotonic()
        [first] = side.client.run([side.request("/next", hooked=True)])
        [second] = grequests.map([side.request("/last", hooked=True)])
        assert time.monotonic() - began < PATIENCE
        assert first.error is None, first.error
        assert (first.response.text, second.text) == ("/next", "/last")
        assert side.told.texts == ["/next", "/last"]
        assert request.response is None
        paths = [path for _, path in server.seen]
        assert paths == ["/warm", "/held", "/next", "/last"]
        connections = dict((path, number) for number, path in server.seen)
        assert connections["/next"] != connections["/held"]
        counts = side.client.statistics()
        assert (counts.in_flight, counts.queued) == (0, 0)
        side.close()
