"""Who gets which connection, and what is left when nobody wants one."""

from __future__ import annotations

import itertools
import shutil
import ssl
import threading
from collections.abc import Iterator
from typing import Any

import gevent
import pytest
import trustme

from grequests._engine import Engine, EngineStatistics, OriginKey, Phase, identity
from grequests._engine._budget import Budget

from .raw import PATIENCE, Asked, Peer, RawServer, answer, ask, eventually, origin_of


@pytest.fixture
def engine() -> Iterator[Engine]:
    """An engine with a budget of its own."""
    budget = Budget()
    budget.limit = 1000
    made = Engine(gevent.get_hub(), budget)
    yield made
    made.close()
    eventually(lambda: budget.taken == 0, "all descriptors to come back")
    counts = made.statistics()
    assert counts == EngineStatistics(made.opened, counts.reused, 0, 0, 0, 0, 0, 0, 0)


def limited(engine: Engine, limit: int) -> None:
    engine.budget.limit = limit


# Reuse


def test_the_connection_used_last_is_used_next(engine: Engine) -> None:
    together = threading.Barrier(3)

    def script(peer: Peer) -> None:
        peer.request()
        together.wait(PATIENCE)
        peer.send(answer(b"%d" % peer.number))
        while peer.request():
            peer.send(answer(b"%d" % peer.number))

    with RawServer(script) as server:
        origin = origin_of(server, engine=engine)
        first = [Asked(origin, "/").send() for _ in range(3)]
        for asked in first:
            asked.wait()
        last = {ask(origin)[1] for _ in range(10)}
        assert len(last) == 1
        assert engine.statistics().idle == 3
        assert server.opened == 3


def test_a_quiet_connection_is_dropped(engine: Engine) -> None:
    with RawServer(Peer.serve) as server:
        origin = origin_of(server, engine=engine)
        ask(origin)
        origin.idle[0].expire()  # as the deadlines do
        assert engine.statistics().open == 0
        eventually(lambda: server.open == 0, "the server to see it")
        assert ask(origin, "/2")[1] == b"/2"


def test_a_retired_origin_that_comes_back_is_the_same(engine: Engine) -> None:
    with RawServer(Peer.serve) as server:
        origin = origin_of(server, engine=engine)
        ask(origin)
        engine.close_idle()
        assert not engine.origins
        assert origin_of(server, engine=engine) is origin
        ask(origin)
        assert engine.statistics().open == 1


def test_what_must_be_equal_to_share_a_connection(
    engine: Engine, authority: trustme.CA, ca_file: str, tmp_path: Any
) -> None:
    """Any two keys that differ in one thing share nothing; equal ones share all."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1", "localhost").configure_cert(context)
    other_ca = tmp_path / "same.pem"
    shutil.copy(ca_file, other_ca)
    cert = str(tmp_path / "client.pem")
    authority.issue_cert("client.test").private_key_and_cert_chain_pem.write_to_path(cert)

    def numbered(peer: Peer) -> None:
        start = peer.sock.recv(8, 2) if not isinstance(peer.sock, ssl.SSLSocket) else b""
        if start.startswith(b"CONNECT"):
            peer.until(b"\r\n\r\n")
            peer.send(b"HTTP/1.1 200 OK\r\n\r\n")
            peer.start_tls(context)
        elif start.startswith(b"\x16"):
            peer.start_tls(context)
        while peer.request():
            peer.send(answer(b"%d/%d" % (id(server_of[peer.sock.getsockname()[1]]), peer.number)))

    server_of: dict[int, RawServer] = {}
    with RawServer(numbered) as one, RawServer(numbered) as two:
        server_of |= {one.port: one, two.port: two}
        trusted = identity(ca_file, None, "")
        keys = [
            OriginKey("http", "127.0.0.1", one.port),
            OriginKey("http", "localhost", one.port),
            OriginKey("http", "127.0.0.1", two.port),
            OriginKey("http", "127.0.0.1", one.port, proxy=("127.0.0.1", one.port)),
            OriginKey("http", "127.0.0.1", one.port, proxy=("127.0.0.1", two.port)),
            OriginKey("http", "127.0.0.1", one.port, None, ("127.0.0.1", one.port), "Basic eDp5"),
            OriginKey("http", "127.0.0.1", one.port, None, ("127.0.0.1", one.port), "Basic eDp6"),
            OriginKey("https", "127.0.0.1", one.port, trusted),
            OriginKey("https", "localhost", one.port, trusted),
            OriginKey("https", "127.0.0.1", two.port, trusted),
            OriginKey("https", "127.0.0.1", one.port, identity(str(other_ca), None, "")),
            OriginKey("https", "127.0.0.1", one.port, identity(False, None, "")),
            OriginKey("https", "127.0.0.1", one.port, identity(ca_file, cert, "")),
            OriginKey("https", "127.0.0.1", one.port, trusted, ("127.0.0.1", one.port)),
            OriginKey("https", "127.0.0.1", one.port, trusted, ("127.0.0.1", two.port)),
            OriginKey(
                "https", "127.0.0.1", one.port, trusted, ("127.0.0.1", one.port), "Basic eDp5"
            ),
        ]
        used = {key: ask(engine.origin(key)) for key in keys}
        assert {outcome[0] for outcome in used.values()} == {200}
        for left, right in itertools.combinations(keys, 2):
            assert used[left] != used[right]
        for key in keys:
            same = OriginKey(*key)
            assert ask(engine.origin(same)) == used[key]
        assert one.opened + two.opened == len(keys)


# Budget


@pytest.mark.parametrize("closing", [False, True])
def test_two_descriptors_serve_many_origins(engine: Engine, closing: bool) -> None:
    limited(engine, 2)
    lock, counts = threading.Lock(), {"open": 0, "peak": 0}
    header = ["Connection: close"] if closing else []

    def script(peer: Peer) -> None:
        while target := peer.request():
            with lock:
                counts["open"] += 1
                counts["peak"] = max(counts["peak"], counts["open"])
            with lock:
                counts["open"] -= 1
            peer.send(answer(target.encode(), "200 OK", *header))

    most = 0
    servers = [RawServer(script) for _ in range(6)]
    for server in servers:
        server.__enter__()
    try:
        origins = [origin_of(server, engine=engine) for server in servers]
        asked = []
        for number in range(120):
            asked.append(Asked(origins[number % 6], f"/{number}").send())
            most = max(most, engine.statistics().open + engine.statistics().connecting)
        for number, each in enumerate(asked):
            assert each.body == f"/{number}".encode()
            most = max(most, engine.statistics().open + engine.statistics().connecting)
        assert most <= 2
        assert engine.budget.taken <= 2
    finally:
        for server in servers:
            server.__exit__(None, None, None)


def test_one_busy_origin_does_not_starve_another(engine: Engine) -> None:
    limited(engine, 1)
    with RawServer(Peer.serve) as busy, RawServer(Peer.serve) as other:
        crowd = origin_of(busy, engine=engine)
        served: list[int] = []

        class Endless(Asked):
            def on_response(self, status: int, head: bytes, body: bytes) -> None:
                served.append(status)
                if not rare.outcomes and len(served) < 5000:
                    Endless(crowd).send()

        # Two at a time, so that whenever one ends another waits.
        first = [Endless(crowd).send() for _ in range(2)]
        rare = Asked(origin_of(other, engine=engine), "/rare").send()
        assert rare.body == b"/rare"
        assert len(served) < 500
        assert first
        eventually(lambda: not engine.statistics().waiting, "the rest")
        eventually(lambda: engine.statistics().open == engine.statistics().idle, "the rest")


def test_another_thread_may_hold_all_descriptors(engine: Engine) -> None:
    limited(engine, 1)
    assert engine.budget.take()  # another thread's engine
    with RawServer(Peer.serve) as server:
        asked = [Asked(origin_of(server, engine=engine), f"/{n}").send() for n in range(3)]
        gevent.sleep(0)
        assert engine.statistics().starved == 3
        engine.budget.give()
        assert [each.body for each in asked] == [b"/0", b"/1", b"/2"]


def test_another_thread_may_snatch_the_last_descriptor(engine: Engine) -> None:
    """Ours was freed, theirs by the time we look: nobody of ours is left to wake us."""
    limited(engine, 1)

    def script(peer: Peer) -> None:
        peer.request()
        peer.send(answer(b"1", "200 OK", "Connection: close"))

    with RawServer(script) as server:
        origin = origin_of(server, engine=engine)
        snatched: list[bool] = []

        class First(Asked):
            def on_response(self, *args: Any) -> None:
                snatched.append(engine.budget.take())
                super().on_response(*args)

        first = First(origin).send()
        second = Asked(origin).send()
        assert first.body == b"1"
        assert snatched == [True]
        gevent.sleep(0)
        gevent.sleep(0)
        assert engine.statistics().starved == 1
        engine.budget.give()
        assert second.body == b"1"


# Aborts


def test_abort_before_the_connecting_greenlet_has_run(engine: Engine) -> None:
    with RawServer(Peer.serve) as server:
        origin = origin_of(server, engine=engine)
        asked = Asked(origin).send()
        asked.abort()
        assert engine.statistics().connecting == 0
        assert engine.budget.taken == 0
        assert not engine.origins
        assert ask(origin, "/next")[1] == b"/next"
        assert not asked.outcomes
        assert server.opened == 1


def test_abort_while_connecting(engine: Engine, ca_file: str) -> None:
    accepted = threading.Event()

    def silent(peer: Peer) -> None:
        accepted.set()
        peer.wait_end()

    with RawServer(silent) as server:
        asked = Asked(origin_of(server, engine=engine, tls=identity(ca_file, None, ""))).send()
        eventually(accepted.is_set, "the connection")
        asked.abort()
        eventually(lambda: engine.budget.taken == 0, "the descriptor")
        eventually(lambda: server.open == 0, "the server to see it")
        assert not asked.outcomes


def test_abort_in_flight_and_after(engine: Engine) -> None:
    received = threading.Event()

    def script(peer: Peer) -> None:
        while target := peer.request():
            received.set()
            if target == "/hold":
                peer.wait_end()
                return
            peer.send(answer(target.encode()))

    with RawServer(script) as server:
        origin = origin_of(server, engine=engine)
        asked = Asked(origin, "/hold").send()
        eventually(received.is_set, "the request")
        asked.abort()
        assert (engine.budget.taken, engine.statistics().open) == (0, 0)
        assert not asked.outcomes
        done = Asked(origin, "/done").send()
        assert done.body == b"/done"
        done.abort()
        assert engine.statistics().idle == 1, "its connection is no longer its own"


def test_abort_while_starved(engine: Engine) -> None:
    limited(engine, 1)
    engine.budget.take()
    with RawServer(Peer.serve) as server:
        asked = Asked(origin_of(server, engine=engine)).send()
        asked.abort()
        engine.budget.give()
        assert engine.statistics().starved == engine.statistics().waiting == 0
        gevent.sleep(0)
        assert server.opened == 0


def test_a_connecting_greenlet_that_others_kill_fails_its_request(engine: Engine) -> None:
    """`gevent.killall` of all there are is what some programs do at their end."""
    with RawServer(Peer.wait_end) as server:
        tls = identity(False, None, "")
        asked = Asked(origin_of(server, engine=engine, tls=tls)).send()
        eventually(lambda: server.opened, "the connection")
        gevent.killall(list(asked.origin.connecting.values()))
        assert asked.failure.phase is Phase.CONNECT


def test_close_idle_leaves_those_under_way(engine: Engine) -> None:
    go = threading.Event()

    def script(peer: Peer) -> None:
        while target := peer.request():
            if target == "/slow":
                go.wait(PATIENCE)
            peer.send(answer(target.encode()))

    with RawServer(script) as server:
        origin = origin_of(server, engine=engine)
        slow, quick = Asked(origin, "/slow").send(), Asked(origin, "/quick").send()
        quick.wait()
        engine.close_idle()
        go.set()
        assert slow.body == b"/slow"


def test_a_request_that_comes_back_while_its_connection_is_still_being_made(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was served by an idle connection, redirected, and has to wait again."""
    gate = gevent.event.Event()
    with RawServer(Peer.serve) as server:
        origin = origin_of(server, engine=engine)
        assert ask(origin, "/warm")[1] == b"/warm"
        idle = origin.idle.pop()
        again = Asked(origin, "/again")
        resolve = type(engine.resolver).resolve
        monkeypatch.setattr(
            type(engine.resolver), "resolve", lambda *args: gate.wait() and resolve(*args)
        )
        again.send()
        gevent.sleep(0)
        origin.on_idle(idle, 0.0)  # an idle connection turns up and serves it
        assert again.body == b"/again"
        origin.idle.clear()
        again.outcomes.clear()
        again._over.clear()
        again.send()
        assert len(origin.connecting) == 1
        gate.set()
        assert again.body == b"/again"
        eventually(lambda: not origin.connecting, "all workers")
        origin.idle.append(idle)


# Stale connections


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("how", ["end", "reset"])
def test_a_kept_alive_connection_that_the_server_closes_as_we_write(
    engine: Engine, method: str, how: str
) -> None:
    def script(peer: Peer) -> None:
        peer.request()
        peer.send(answer(b"first"))
        if peer.number == 1:
            peer.request()
            if how == "reset":
                linger = b"\1\0\0\0\0\0\0\0"
                peer.sock.setsockopt(1, 13, linger)
            return
        peer.serve()

    with RawServer(script) as server:
        origin = origin_of(server, engine=engine)
        ask(origin)
        asked = Asked(origin, "/second", method=method, body=b"x" if method == "POST" else None)
        outcome = asked.send().wait()
        if method == "GET":
            assert outcome == (200, b"first")
            assert server.opened == 2
        else:
            assert outcome.phase is Phase.HEAD
            assert outcome.sent
            assert isinstance(outcome.cause, ConnectionError)
            assert server.opened == 1


def test_it_is_sent_again_once_only(engine: Engine) -> None:
    def script(peer: Peer) -> None:
        peer.request()
        if peer.number == 1:
            peer.send(answer(b"first"))
            peer.request()

    with RawServer(script) as server:
        origin = origin_of(server, engine=engine)
        ask(origin)
        assert ask(origin).phase is Phase.HEAD
        assert server.opened == 2


def test_what_has_been_answered_in_part_is_not_sent_again(engine: Engine) -> None:
    def script(peer: Peer) -> None:
        peer.request()
        peer.send(answer(b"first"))
        peer.request()
        peer.send(answer(b"second")[:-3])

    with RawServer(script) as server:
        origin = origin_of(server, engine=engine)
        ask(origin)
        assert ask(origin).phase is Phase.BODY
        assert server.opened == 1


# Uploads


@pytest.mark.parametrize("secure", [False, True])
def test_a_large_body_to_a_slow_reader(
    engine: Engine, authority: trustme.CA, ca_file: str, secure: bool
) -> None:
    body = bytes(range(256)) * 40_000
    received: list[int] = []

    def script(peer: Peer) -> None:
        peer.until(b"\r\n\r\n")
        total = len(peer._buffer)
        while total < len(body):
            total += len(peer.sock.recv(20_000))
        received.append(total)
        peer.send(answer())
        peer._buffer = b""
        peer.serve()

    context = tls = None
    if secure:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("127.0.0.1").configure_cert(context)
        tls = identity(ca_file, None, "")
    with RawServer(script, tls=context) as server:
        origin = origin_of(server, engine=engine, tls=tls)
        assert ask(origin, method="POST", body=body) == (200, b"ok")
        assert received == [len(body)]
        assert ask(origin, "/next")[1] == b"/next"
        assert server.opened == 1


def test_an_answer_before_the_upload_is_over_ends_the_connection(engine: Engine) -> None:
    def script(peer: Peer) -> None:
        peer.until(b"\r\n\r\n")
        if peer.number == 1:
            peer.send(answer(b"too large", "413 No"))
            over.wait(PATIENCE)
        else:
            peer.send(answer())

    over = threading.Event()
    with RawServer(script) as server:
        origin = origin_of(server, engine=engine)
        assert ask(origin, method="POST", body=b"x" * 20_000_000) == (413, b"too large")
        assert engine.statistics().open == 0
        over.set()
        assert ask(origin)[1] == b"ok"
        assert server.opened == 2


def test_a_reader_that_stops_runs_into_the_timeout(engine: Engine) -> None:
    over = threading.Event()

    def script(_: Peer) -> None:
        over.wait(PATIENCE)

    with RawServer(script) as server:
        origin = origin_of(server, engine=engine)
        failure = ask(origin, method="POST", body=b"x" * 20_000_000, connect_timeout=0.1)
        over.set()
        assert failure.phase is Phase.SEND_TIMEOUT


# Timeouts


def test_an_answer_that_is_there_is_not_too_late(engine: Engine) -> None:
    """The hub was kept from reading it, by a computation of the user's, say."""
    received, go, sent = threading.Event(), threading.Event(), threading.Event()

    def script(peer: Peer) -> None:
        peer.request()
        received.set()
        go.wait(PATIENCE)
        peer.send(answer())
        sent.set()
        peer.wait_end()

    with RawServer(script) as server:
        asked = Asked(origin_of(server, engine=engine)).send()
        eventually(received.is_set, "the request")
        go.set()
        assert sent.wait(PATIENCE)
        asked.connection.expire()  # the timer's callback comes first
        assert asked.body == b"ok"


def test_the_timeout_counts_from_the_last_byte(engine: Engine) -> None:
    def script(peer: Peer) -> None:
        peer.request()
        peer.send(answer(b"whole")[:-1])
        peer.wait_end()

    with RawServer(script) as server:
        failure = ask(origin_of(server, engine=engine), read_timeout=0.05)
        assert failure.phase is Phase.BODY_TIMEOUT
