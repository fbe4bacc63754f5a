"""What has failed is freed when its result is dropped, without the garbage collector.

An error leads by its traceback to frames that know bodies, parsers and sockets, and to the call. Did
that lead on to the request, which has the error, all of it would wait for the collector; many
failures with large bodies would fill the memory meanwhile.
"""

from __future__ import annotations

import gc
import tracemalloc
import weakref
import zlib
from collections.abc import Callable, Iterator
from threading import Event

import gevent
import pytest
import requests
from conftest import descriptors
from engine.raw import Peer, RawServer, answer
from servers import eventually
from torture.bad import KINDS, MAX_BODY, BadServer
from torture.scenario import Odd

import grequests
from grequests import AsyncRequest, Client, Retry, Timeout

#: Seconds of silence that a request bears, if there will be nothing else.
SILENCE = 0.05
#: All but those that are answered, and one that needs a limit. What cannot even be prepared ("no-url")
#: fails in frames that were called by those of its sender, which know it; it has no body or socket.
FAILING = [kind for kind in KINDS if kind not in {"surplus", "error", "large", "no-url"}]
#: What Requests takes for a response.
LENIENT = {"half-a-head", "bad-header", "cut-gzip"}

Way = Callable[[AsyncRequest], "BaseException | None"]

pytestmark = pytest.mark.usefixtures("no_leaks")


def client(retry: Retry | None = None) -> Client:
    timeout = Timeout(connect=10, read=10)
    return Client(retry=retry, circuit=None, max_body=MAX_BODY, timeout=timeout)


def run(asked: AsyncRequest) -> BaseException | None:
    with client() as sender:
        (error,) = [result.error for result in sender.run([asked])]
    return error


def retry(asked: AsyncRequest) -> BaseException | None:
    with client(Retry(attempts=2, backoff=0.0)) as sender:
        (error,) = [result.error for result in sender.run([asked])]
    return error


def submit(asked: AsyncRequest) -> BaseException | None:
    with client() as sender:
        return sender.submit(asked).result().error


def error_of(asked: AsyncRequest) -> BaseException | None:
    return vars(asked).get("exception")


def map_(asked: AsyncRequest) -> BaseException | None:
    other = grequests.get(asked.url, session=asked._session, **asked.kwargs)
    assert grequests.map([asked, other]) == [None, None]
    return error_of(asked)


def imap(asked: AsyncRequest) -> BaseException | None:
    assert list(grequests.imap(iter([asked]))) == []
    return error_of(asked)


def unread(asked: AsyncRequest) -> BaseException | None:
    """Nobody reads the outcome."""
    other = grequests.get(asked.url, session=asked._session, **asked.kwargs)
    results = grequests.imap_enumerated(iter([other, asked]), size=2)
    next(results)
    with gevent.Timeout(10):
        while error_of(asked) is None or error_of(other) is None:
            gevent.sleep(0.001)
    results.close()
    return error_of(other) or error_of(asked)


WAYS: list[Way] = [run, retry, submit, map_, imap, unread]


class World:
    """A server that fails."""

    def __init__(self, server: BadServer) -> None:
        self._server = server

    def fail(self, way: Way, kind: str, session: Odd | None = None) -> weakref.ref[BaseException]:
        """Have a request fail; drop it and its outcome."""
        timeout = {"timeout": SILENCE} if kind == "silence" else {}
        error = way(grequests.get(self._server.url(kind), session=session, **timeout))
        assert isinstance(error, Exception), f"it has not failed: {error!r}"
        return weakref.ref(error)

    def sockets(self) -> int:
        """Sockets of this process, both ends, once the server has closed what it closes."""
        return sum(n for name, n in descriptors().items() if name.startswith("socket"))


@pytest.fixture
def world(no_leaks: None) -> Iterator[World]:
    with BadServer() as server:
        gc.collect()
        gc.disable()
        yield World(server)
        gc.enable()
        gc.collect()


@pytest.mark.parametrize("kind", FAILING)
@pytest.mark.parametrize("way", WAYS)
def test_an_error_of_the_fast_lane_ends_with_its_result(world, way, kind):
    error = world.fail(way, kind)
    eventually(lambda: error() is None, "the end of the error")


@pytest.mark.parametrize("way", [run, submit])
def test_a_body_that_is_too_large_ends_with_its_result(world, way):
    error = world.fail(way, "large")
    eventually(lambda: error() is None, "the end of the error")


@pytest.mark.parametrize("kind", [kind for kind in FAILING if kind not in LENIENT])
@pytest.mark.parametrize("way", [run, submit, map_, imap])
def test_a_failure_of_the_general_lane_leaves_no_socket(world, way, kind):
    before = world.sockets()
    session = Odd()
    world.fail(way, kind, session)
    session.close()
    eventually(lambda: world.sockets() <= before, "the sockets to be closed")


def test_what_cannot_be_decoded_holds_no_socket_while_its_error_is_kept(no_leaks):
    closed = Event()

    def rubbish(peer: Peer) -> None:
        peer.request()
        peer.send(answer(b"no gzip" * 20_000, "200 OK", "Content-Encoding: gzip"))
        peer.wait_end()
        closed.set()

    with RawServer(rubbish) as server, Odd() as session:
        asked = grequests.get(server.url, session=session).send()
        assert isinstance(asked.exception, requests.exceptions.ContentDecodingError)
        eventually(closed.is_set, "the connection to be closed")
    assert asked.exception.__traceback__ is not None


@pytest.mark.parametrize("session", [None, Odd])
def test_a_failed_request_tells_all_that_it_told(world, session):
    asked = grequests.get(world._server.url("error"), hooks={"response": _raise_for_status})
    asked.session = session and session()
    assert list(grequests.imap([asked])) == []
    error = asked.exception
    assert isinstance(error, requests.HTTPError)
    assert error.response.text == "no"
    assert error.__traceback__ is not None
    assert "in _raise_for_status" in asked.traceback
    assert asked._in_flight is False


def _raise_for_status(response, **_):
    response.raise_for_status()


def bomb(size: int) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    return packer.compress(bytes(size)) + packer.flush()


@pytest.mark.parametrize("lane", ["fast", "general"])
def test_many_bombs_take_no_more_memory_than_those_at_once(no_leaks, lane):
    limit, count, at_once = 2_000_000, 30, 2
    body = bomb(10 * limit)

    def explode(peer: Peer) -> None:
        while peer.request() is not None:
            head = (
                f"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {len(body)}\r\n\r\n"
            )
            peer.send(head.encode() + body)

    session = Odd() if lane == "general" else None
    gc.collect()
    gc.disable()
    tracemalloc.start()
    try:
        with RawServer(explode) as server:
            wanted = (grequests.get(f"{server.url}/{n}", session=session) for n in range(count))
            before = tracemalloc.get_traced_memory()[0]
            options = {"concurrency": at_once, "max_body": limit, "retry": None}
            errors = [type(each.error) for each in grequests.run(wanted, **options)]
            peak = tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()
        gc.enable()
        if session is not None:
            session.close()
    assert errors == [grequests.BodyTooLargeError] * count
    assert peak < 4 * at_once * limit, f"{peak:,} bytes"
