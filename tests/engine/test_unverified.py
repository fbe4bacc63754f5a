"""Connections whose peer's certificate nobody has looked at: each exchange is told, never in the hub."""

from __future__ import annotations

import ssl
import threading

import gevent
import pytest
import trustme

from grequests._engine import current_engine, identity
from grequests._engine._mend import UnsolicitedResponse

from .raw import Asked, Peer, RawServer, answer, origin_of

pytestmark = pytest.mark.usefixtures("no_leaks")


class Told(Asked):
    """Notes where it is told, and takes its time."""

    goes_on = True
    aborts = False

    def on_unverified(self) -> bool:
        self.in_hub = gevent.getcurrent() is gevent.get_hub()
        gevent.sleep(0)
        if self.aborts:
            self.abort()
        return self.goes_on


@pytest.fixture
def server(authority: trustme.CA):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    with RawServer(Peer.serve, tls=context) as one:
        yield one


def from_the_hub(exchange: Told) -> Told:
    """Send it in a hub callback, as a connection does that has become idle."""
    current_engine().loop.run_callback(exchange.send)
    return exchange


def test_it_is_told_outside_of_the_hub(server):
    origin = origin_of(server, tls=identity(False, None, ""))
    for send in (Told.send, Told.send, from_the_hub, from_the_hub):
        exchange = Told(origin)
        assert send(exchange).wait()[0] == 200
        assert not exchange.in_hub
    assert server.opened == 1


def test_verified_connections_say_nothing(server, ca_file):
    exchange = Told(origin_of(server, tls=identity(ca_file, None, "")))
    assert exchange.send().wait()[0] == 200
    assert not hasattr(exchange, "in_hub")


@pytest.mark.parametrize("warm", [False, True])
@pytest.mark.parametrize("send", [Told.send, from_the_hub])
def test_one_that_does_not_go_on(server, warm, send):
    origin = origin_of(server, tls=identity(False, None, ""))
    if warm:
        Told(origin).send().wait()
    exchange = Told(origin)
    exchange.goes_on = False
    send(exchange)
    gevent.sleep(0)
    assert Told(origin).send().wait()[0] == 200
    assert exchange.outcomes == []
    assert server.opened == 2


@pytest.mark.parametrize("send", [Told.send, from_the_hub])
def test_one_that_is_aborted_as_it_is_told(server, send):
    origin = origin_of(server, tls=identity(False, None, ""))
    Told(origin).send().wait()
    exchange = Told(origin)
    exchange.aborts = True
    send(exchange)
    assert Told(origin).send().wait()[0] == 200
    assert exchange.outcomes == []
    assert current_engine().statistics().open == 1


@pytest.mark.parametrize("send", [Told.send, from_the_hub])
@pytest.mark.parametrize("says", ["an answer", "goodbye", "the end"])
def test_what_the_server_says_before_it_is_asked_is_no_answer(authority, send, says):
    """On a fresh connection, as the warning is shown. (Tickets are no speech: see the other tests.)"""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.num_tickets = 0
    authority.issue_cert("127.0.0.1").configure_cert(context)
    may_talk = threading.Event()

    def serve(peer: Peer) -> None:
        if peer.number > 1:
            peer.serve()
            return
        may_talk.wait(10)
        if says == "an answer":
            peer.send(answer(b"bad"))
            peer.wait_end()
        elif says == "goodbye":
            peer.sock.unwrap()

    class Slow(Told):
        def on_unverified(self) -> bool:
            [connection] = self.origin.connections
            may_talk.set()
            assert connection._poll(5000)
            return True

    with RawServer(serve, tls=context) as server:
        origin = origin_of(server, tls=identity(False, None, ""))
        slow = Slow(origin)
        send(slow)
        slow.wait()
        assert Told(origin, "/next").send().body == b"/next"
        failure = slow.failure
        assert isinstance(failure.cause, UnsolicitedResponse if says == "an answer" else OSError)
        assert not failure.sent


def test_what_the_server_says_meanwhile_is_no_answer(authority):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    peers: list[Peer] = []
    may_talk = threading.Event()

    def serve(peer: Peer) -> None:
        is_first = not peers
        peers.append(peer)
        peer.request()
        peer.send(answer(b"good"))
        if is_first:  # (in this thread: TLS of a socket is of one thread at a time)
            may_talk.wait(10)
            peer.send(answer(b"bad"))
        peer.wait_end()

    class Late(Told):
        def on_unverified(self) -> bool:
            [connection] = self.origin.connections
            if connection.served:
                may_talk.set()
                assert connection._poll(5000)
            return True

    with RawServer(serve, tls=context) as server:
        origin = origin_of(server, tls=identity(False, None, ""))
        assert Told(origin).send().body == b"good"
        assert Late(origin).send().body == b"good"
        assert len(peers) == 2
