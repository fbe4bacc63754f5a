"""A Location in Latin-1, of which Requests makes a UnicodeDecodeError: nothing is left open by it."""

from __future__ import annotations

import contextlib
import gc
import ssl
import threading
from collections.abc import Iterator

import gevent
import psutil
import pytest
from engine.raw import Peer, RawServer, answer
from requests import exceptions

import grequests
from grequests import Client, Timeout, was_sent

from .harness import Odd

pytestmark = pytest.mark.usefixtures("no_leaks")

PATIENCE = 10.0
BODIES = {"no body": b"", "a body": b"there", "a large body": b"x" * 300_000}


@contextlib.contextmanager
def no_collection() -> Iterator[None]:
    """What goes now goes by itself."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def sockets_to(port: int) -> int:
    """How many of this process's own sockets are connected to a port."""
    found = psutil.Process().net_connections("tcp")
    return sum(bool(each.raddr) and each.raddr.port == port for each in found)


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("lane", ["fast", "general"])
def test_slot_and_socket_are_back_at_once(
    tls: ssl.SSLContext, ca_file: str, lane: str, scheme: str, body: str, stream: bool
) -> None:
    left = threading.Event()

    def serve(peer: Peer) -> None:
        try:
            while (target := peer.request()) is not None:
                said = answer(target.encode())
                if target == "/start":
                    said = answer(BODIES[body], "302 Found", "Location: /\xe9/next")
                peer.send(said)
        finally:
            if peer.number == 1:
                left.set()

    session = Odd() if lane == "general" else None
    timeout = Timeout(connect=PATIENCE, read=PATIENCE, total=PATIENCE)
    with (
        RawServer(serve, tls=tls if scheme == "https" else None) as server,
        Client(retry=None, circuit=None, timeout=timeout, concurrency=1) as client,
        no_collection(),
    ):

        def ask(path: str) -> grequests.Result:
            url = server.url + path
            request = grequests.get(url, session=session, verify=ca_file, stream=stream)
            with gevent.Timeout(PATIENCE, AssertionError("it hangs")):
                [result] = client.run([request])
            return result

        result = ask("/start")
        # The result is still held, and its error with whatever it leads to.
        error = result.error
        wanted = exceptions.InvalidURL if lane == "fast" else UnicodeDecodeError
        assert isinstance(error, (wanted, exceptions.InvalidURL)), repr(error)
        assert was_sent(error)
        # At most the one that is kept alive, and is used again. (Requests has left it unread.)
        assert sockets_to(server.port) <= (lane == "fast")
        following = ask("/next")
        assert following.error is None, following.error
        assert following.response.text == "/next"
        following.response.close()
        # (Who holds a response of urllib3's, as the error does, holds its pool, and what is idle there.)
        assert sockets_to(server.port) <= 1
        counts = client.statistics()
        assert (counts.in_flight, counts.queued) == (0, 0)
        if session is not None:
            session.close()
    grequests.close()
    assert left.wait(PATIENCE), "the server's end is open"
