"""How long a connection took to be made: told to who got it fresh, and to who got none."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import trustme
from gevent.event import Event

from grequests._engine import ConnectTimes, Engine, Exchange, Phase, current_engine, identity
from grequests._engine import _connect as connect_module
from grequests._engine._connect import Connector
from grequests._engine._resolve import Address

from .raw import PATIENCE, Asked, Peer, RawServer, answer, eventually, origin_of

#: Seconds that each step takes by the clock of these tests, if it takes any.
DNS, TCP, TLS = 1.0, 2.0, 4.0


class Clock:
    """Stands still, but for the steps that are told to take time."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


class Timed(Asked):
    """Wants to know."""

    wants_times = True


@pytest.fixture
def engine() -> Iterator[Engine]:
    made = current_engine()
    yield made
    eventually(lambda: made.statistics().connecting == 0, "the connecting greenlets")
    made.close()


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(connect_module, "time", made)
    return made


@pytest.fixture
def tls_context(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    return context


@pytest.fixture
def slow_names(engine: Engine, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> list[Exception]:
    """A resolver that takes its time; then it raises what is put here."""
    errors: list[Exception] = []

    def resolve(*_: Any) -> list[Address]:
        clock.now += DNS
        if errors:
            raise errors[0]
        return [Address(socket.AF_INET, ("127.0.0.1", 0))]

    monkeypatch.setattr(type(engine.resolver), "resolve", resolve)
    return errors


@pytest.fixture
def slow_tcp(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> list[Exception]:
    """Addresses that take their time; then they raise what is put here."""
    errors: list[Exception] = []
    attempt = Connector._attempt

    def slowly(connector: Connector, address: Address, port: int) -> Any:
        clock.now += TCP
        if errors:
            raise errors[0]
        return attempt(connector, address, port)

    monkeypatch.setattr(Connector, "_attempt", slowly)
    return errors


def test_nothing_takes_time_here(engine: Engine) -> None:
    with RawServer(Peer.serve) as server:
        asked = Timed(origin_of(server)).send()
        assert asked.body == b"/"
        assert asked.times == ConnectTimes(dns=0.0, connect=0.0, tls=0.0)


@pytest.mark.usefixtures("slow_names")
def test_names(engine: Engine) -> None:
    with RawServer(Peer.serve) as server:
        asked = Timed(origin_of(server)).send()
        assert asked.body == b"/"
        assert asked.times == (DNS, 0.0, 0.0)


@pytest.mark.usefixtures("slow_tcp")
def test_tcp(engine: Engine) -> None:
    with RawServer(Peer.serve) as server:
        asked = Timed(origin_of(server)).send()
        assert asked.body == b"/"
        assert asked.times == (0.0, TCP, 0.0)


@pytest.mark.usefixtures("slow_tcp")
def test_addresses_that_are_tried_in_vain_count(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    with RawServer(Peer.serve) as server:
        found = [Address(socket.AF_INET, (host, 0)) for host in ("127.0.0.9", "127.0.0.1")]
        monkeypatch.setattr(type(engine.resolver), "resolve", lambda *_: found)
        asked = Timed(origin_of(server)).send()
        assert asked.body == b"/"
        assert asked.times == (0.0, 2 * TCP, 0.0)


@pytest.mark.usefixtures("slow_names", "slow_tcp")
def test_all_of_it(engine: Engine, clock: Clock, tls_context: ssl.SSLContext, ca_file: str) -> None:
    def script(peer: Peer) -> None:
        clock.now += TLS
        peer.start_tls(tls_context)
        peer.serve()

    with RawServer(script) as server:
        # The server may be there before its client knows: until then it is TCP's time.
        asked = Timed(origin_of(server, tls=identity(ca_file, None, ""))).send()
        assert asked.body == b"/"
        assert asked.times.dns == DNS
        assert asked.times.connect in {TCP, TCP + TLS}
        assert sum(asked.times) == DNS + TCP + TLS


def test_the_handshake(
    engine: Engine, clock: Clock, tls_context: ssl.SSLContext, ca_file: str
) -> None:
    def script(peer: Peer) -> None:
        peer.sock.recv(1, socket.MSG_PEEK)  # the client has begun with it
        clock.now += TLS
        peer.start_tls(tls_context)
        peer.serve()

    with RawServer(script) as server:
        asked = Timed(origin_of(server, tls=identity(ca_file, None, ""))).send()
        assert asked.body == b"/"
        assert asked.times == (0.0, 0.0, TLS)


def test_a_proxys_tunnel_counts_as_tls(
    engine: Engine, clock: Clock, tls_context: ssl.SSLContext, ca_file: str
) -> None:
    def script(peer: Peer) -> None:
        peer.until(b"\r\n\r\n")
        clock.now += TLS
        peer.send(b"HTTP/1.1 200 OK\r\n\r\n")
        peer.start_tls(tls_context)
        peer.serve()

    with RawServer(script) as server:
        trusted = identity(ca_file, None, "")
        origin = origin_of(server, tls=trusted, proxy=("127.0.0.1", server.port))
        asked = Timed(origin).send()
        assert asked.body == b"/"
        assert asked.times == (0.0, 0.0, TLS)


# Who is told


def test_who_gets_a_connection_that_was_there_is_told_nothing(engine: Engine) -> None:
    with RawServer(Peer.serve) as server:
        origin = origin_of(server)
        assert Timed(origin).send().body == b"/"
        second = Timed(origin).send()
        assert second.body == b"/"
        assert second.times is None
        assert server.opened == 1


def test_who_gets_another_ones_connection_is_told_nothing(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its own is still being made when one becomes idle."""
    go_on = threading.Event()
    slow = Event()

    def script(peer: Peer) -> None:
        while target := peer.request():
            go_on.wait(PATIENCE)
            peer.send(answer(target.encode()))

    with RawServer(script) as server:
        origin = origin_of(server)
        first = Timed(origin, "/1").send()
        eventually(lambda: first.connection, "the connection")
        monkeypatch.setattr(type(engine.resolver), "resolve", lambda *_: slow.wait())
        second = Timed(origin, "/2").send()
        go_on.set()
        assert second.body == b"/2"
        assert second.times is None
        assert first.times is not None
        engine.close()


def test_who_does_not_ask_is_not_told(engine: Engine) -> None:
    class Bare(Asked):
        """Has nowhere to put it."""

        times = property()

    with RawServer(Peer.serve) as server:
        assert not Exchange.wants_times
        assert Bare(origin_of(server)).send().body == b"/"


def test_the_last_connection_counts_if_the_first_was_dead(engine: Engine) -> None:
    def script(peer: Peer) -> None:
        peer.request()
        peer.send(answer())
        peer.request()  # and no answer

    with RawServer(script) as server:
        origin = origin_of(server)
        assert Timed(origin).send().body == b"ok"
        second = Timed(origin).send()
        assert second.body == b"ok"
        assert second.times is not None
        assert server.opened == 2


# Failures


def test_a_name_that_is_not_found(engine: Engine, slow_names: list[Exception]) -> None:
    slow_names.append(socket.gaierror(socket.EAI_NONAME, "unknown"))
    with RawServer(Peer.serve) as server:
        asked = Timed(origin_of(server)).send()
        assert asked.failure.phase is Phase.RESOLVE
        assert asked.times == (DNS, 0.0, 0.0)


def test_an_address_that_refuses(engine: Engine, slow_tcp: list[Exception]) -> None:
    slow_tcp.append(ConnectionRefusedError("no"))
    with RawServer(Peer.serve) as server:
        asked = Timed(origin_of(server)).send()
        assert asked.failure.phase is Phase.CONNECT
        assert asked.times == (0.0, TCP, 0.0)


def test_a_handshake_that_fails(engine: Engine, clock: Clock, ca_file: str) -> None:
    def script(peer: Peer) -> None:
        peer.sock.recv(1, socket.MSG_PEEK)
        clock.now += TLS

    with RawServer(script) as server:
        asked = Timed(origin_of(server, tls=identity(ca_file, None, ""))).send()
        assert asked.failure.phase is Phase.TLS
        assert asked.times == (0.0, 0.0, TLS)


# Reuse, counted


def test_responses_for_which_no_connection_had_to_be_made(engine: Engine) -> None:
    before = engine.statistics()
    closing = {"/close": ["Connection: close"]}

    def counted() -> tuple[int, int]:
        now = engine.statistics()
        return now.opened - before.opened, now.reused - before.reused

    def script(peer: Peer) -> None:
        while target := peer.request():
            peer.send(answer(target.encode(), "200 OK", *closing.get(target, [])))

    with RawServer(script) as server:
        origin = origin_of(server)
        assert counted() == (0, 0)
        for number in range(5):
            assert Asked(origin).send().body == b"/"
            assert counted() == (1, number)
        assert Asked(origin, "/close").send().body == b"/close"
        assert counted() == (1, 5)
        assert Asked(origin).send().body == b"/"
        assert counted() == (2, 5)
        engine.close_idle()
        assert counted() == (2, 5)


class Streamed(Asked):
    """Reads its response itself."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.streamed = True

    def is_streamable(self, status: int, head: bytes) -> bool:
        return True

    def on_response(self, status: int, head: bytes, body: bytes, stream: Any = None) -> None:
        self.stream = stream
        super().on_response(status, head, body)


@pytest.mark.parametrize("closed", ["read", "here", "in a thread"])
def test_a_response_that_is_streamed_counts_once_wherever_it_ends(
    engine: Engine, closed: str
) -> None:
    before = engine.statistics().reused

    def script(peer: Peer) -> None:
        while target := peer.request():
            body = bytes(200_000) if target == "/large" else b""
            peer.send(answer(body))

    def reused() -> int:
        return engine.statistics().reused - before

    with RawServer(script) as server:
        origin = origin_of(server)
        for _ in range(3):
            assert Asked(origin).send().body == b""
        asked = Streamed(origin, "/large").send()
        asked.wait()
        assert reused() == 3
        if closed == "read":
            while asked.stream.read(65536):
                pass
            assert engine.statistics().idle == 1
        elif closed == "here":
            asked.stream.close()
        else:
            thread = threading.Thread(target=asked.stream.close)
            thread.start()
            thread.join(PATIENCE)
        assert reused() == 3
        engine.close_idle()
        assert reused() == 3
