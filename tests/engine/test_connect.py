"""From an origin to a connection: addresses, tunnels, handshakes, and how each of them fails."""

from __future__ import annotations

import contextlib
import errno
import itertools
import socket
import ssl
import sys
from collections.abc import Iterator
from http.client import HTTPConnection
from typing import Any

import gevent
import pytest
import trustme

from grequests._engine import (
    Engine,
    OriginKey,
    Phase,
    _tls,
    connect_request,
    current_engine,
    identity,
)
from grequests._engine._pool import IDLE_SECONDS
from grequests._engine._resolve import Address

from .raw import PATIENCE, Asked, Peer, RawServer, answer, ask, eventually, origin_of

V4, V6 = socket.AF_INET, socket.AF_INET6


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    """The engine, with what must be left of it after each test: nothing."""
    made = current_engine()
    taken = made.budget.taken
    yield made
    eventually(lambda: made.statistics().connecting == 0, "the connecting greenlets")
    made.close()
    eventually(lambda: made.budget.taken <= taken, "all descriptors to come back")


def named(engine: Engine, monkeypatch: pytest.MonkeyPatch, *addresses: tuple[int, str]) -> None:
    """Give `name.test` these addresses, whatever else is asked."""
    found = [
        Address(family, (host, 0, 0, 0)[: 4 if family == V6 else 2]) for family, host in addresses
    ]
    monkeypatch.setattr(type(engine.resolver), "resolve", lambda *_: found)


@contextlib.contextmanager
def black_hole(host: str, port: int) -> Iterator[None]:
    """An address that answers to nothing: a listener whose backlog is full."""
    fillers = []
    with socket.create_server((host, port), backlog=0) as listener:
        try:
            for _ in range(8):
                filler = socket.socket()
                filler.setblocking(False)
                filler.connect_ex((host, port))
                fillers.append(filler)
            yield
        finally:
            for filler in fillers:
                filler.close()
            listener.close()


@pytest.fixture
def tls_context(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1", "name.test", "::1").configure_cert(context)
    return context


# Addresses


def test_the_second_address_is_tried_when_the_first_refuses(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    with RawServer(Peer.serve) as server:
        named(engine, monkeypatch, (V4, "127.0.0.9"), (V4, "127.0.0.8"), (V4, "127.0.0.1"))
        assert ask(origin_of(server, host="name.test"), "/x")[1] == b"/x"


def test_the_second_address_is_tried_beside_the_first_that_is_silent(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    with RawServer(Peer.serve) as server, black_hole("127.0.0.9", server.port):
        named(engine, monkeypatch, (V4, "127.0.0.9"), (V4, "127.0.0.1"))
        assert ask(origin_of(server, host="name.test"), "/x")[1] == b"/x"
    with RawServer(Peer.serve) as server, black_hole("127.0.0.9", server.port):
        named(engine, monkeypatch, (V4, "127.0.0.1"), (V4, "127.0.0.9"))
        assert ask(origin_of(server, host="name.test"), "/x")[1] == b"/x"


@pytest.mark.parametrize("host", ["::1", "127.0.0.1"])
def test_both_families(engine: Engine, monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    with RawServer(Peer.serve, host=host) as server:
        assert ask(origin_of(server), "/literal")[1] == b"/literal"
        named(engine, monkeypatch, (V6, "::1"), (V4, "127.0.0.1"))
        assert ask(origin_of(server, host="name.test"), "/name")[1] == b"/name"


def test_no_address_listens(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    with RawServer(Peer.serve) as server:
        port = server.port
    key = OriginKey("http", "name.test", port)
    for addresses in ([(V4, "127.0.0.1")], [(V4, "127.0.0.1"), (V4, "127.0.0.9")]):
        named(engine, monkeypatch, *addresses)
        failure = Asked(engine.origin(key)).send().failure
        assert failure.phase is Phase.CONNECT
        assert isinstance(failure.cause, ConnectionRefusedError)
        assert (failure.proxy, failure.sent) == (False, False)
    named(engine, monkeypatch)
    assert Asked(engine.origin(key)).send().failure.phase is Phase.CONNECT


def test_no_address_answers_in_time(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    with RawServer(Peer.serve) as server:
        port = server.port
    with black_hole("127.0.0.9", port):
        for addresses in ([(V4, "127.0.0.9")], [(V4, "127.0.0.9"), (V4, "127.0.0.9")]):
            named(engine, monkeypatch, *addresses)
            asked = Asked(engine.origin(OriginKey("http", "name.test", port)), connect_timeout=0.1)
            assert asked.send().failure.phase is Phase.CONNECT_TIMEOUT


def test_a_name_that_is_unknown_or_slow(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    unknown = socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    def resolve(_: Any, host: str, begun: Any) -> Any:
        begun()
        if host == "slow.test":
            gevent.sleep(PATIENCE)
        raise unknown

    monkeypatch.setattr(type(engine.resolver), "resolve", resolve)
    failure = Asked(engine.origin(OriginKey("http", "name.test", 80))).send().failure
    assert (failure.phase, failure.cause) == (Phase.RESOLVE, unknown)
    slow = Asked(engine.origin(OriginKey("http", "slow.test", 80)), connect_timeout=0.05).send()
    assert slow.failure.phase is Phase.CONNECT_TIMEOUT
    proxied = OriginKey("http", "x.test", 80, proxy=("name.test", 3128))
    assert Asked(engine.origin(proxied)).send().failure.proxy


def test_the_clock_stands_still_while_a_lookup_waits_for_its_turn(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Others' names, of which nobody answers for some, are not the fault of this one."""
    limit = 0.3

    def resolve(_: Any, host: str, begun: Any) -> Any:
        gevent.sleep(2 * limit)
        begun()
        return [Address(V4, ("127.0.0.1", 0))]

    monkeypatch.setattr(type(engine.resolver), "resolve", resolve)
    with RawServer(Peer.serve) as server:
        origin = origin_of(server, host="name.test")
        assert Asked(origin, "/x", connect_timeout=limit).send().body == b"/x"
        port = server.port
    with black_hole("127.0.0.1", port):
        origin = engine.origin(OriginKey("http", "name.test", port))
        asked = Asked(origin, connect_timeout=limit).send()
        assert asked.failure.phase is Phase.CONNECT_TIMEOUT


def test_losers_of_the_race_are_closed(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    with RawServer(Peer.serve, host="127.0.0.1") as server:
        with socket.create_server(("127.0.0.9", server.port)):
            monkeypatch.setattr("grequests._engine._connect.ATTEMPT_DELAY", 0)
            named(engine, monkeypatch, (V4, "127.0.0.1"), (V4, "127.0.0.9"), (V4, "127.0.0.1"))
            for _ in range(10):
                assert isinstance(
                    ask(origin_of(server, host="name.test"), read_timeout=0.2), object
                )
                engine.close()
        eventually(lambda: server.open == 0, "the server to see them go")


# Tunnels


class Proxy:
    """Answers CONNECT as it is told; afterwards it is the server itself."""

    def __init__(self, reply: bytes, context: ssl.SSLContext | None = None) -> None:
        self.asked: list[bytes] = []
        self._reply = reply
        self._context = context

    def __call__(self, peer: Peer) -> None:
        self.asked.append(peer.until(b"\r\n\r\n") or b"")
        peer.send(self._reply)
        if self._context is None:
            return
        peer.start_tls(self._context)
        peer.serve()


def tunnel(server: RawServer, ca_file: str, host: str = "name.test", **key: Any) -> Any:
    wanted = OriginKey(
        "https", host, 443, identity(ca_file, None, ""), proxy=(server.host, server.port), **key
    )
    return current_engine().origin(wanted)


@pytest.mark.parametrize(
    "reply",
    [
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"HTTP/1.0 200 Connection established\r\nVia: x\r\n\r\n",
        b"HTTP/1.1 200\r\n\r\n",
        b"HTTP/1.1 200 OK\n\n",
    ],
)
def test_a_tunnel(engine: Engine, tls_context: ssl.SSLContext, ca_file: str, reply: bytes) -> None:
    proxy = Proxy(reply, tls_context)
    with RawServer(proxy) as server:
        origin = tunnel(server, ca_file, proxy_auth="Basic eDp5")
        for target in ("/1", "/2"):
            assert ask(origin, target)[1] == target.encode()
    assert len(proxy.asked) == 1
    line, *headers = proxy.asked[0].split(b"\r\n")
    assert line.startswith(b"CONNECT name.test:443 HTTP/1.")
    assert b"Proxy-Authorization: Basic eDp5" in headers


@pytest.mark.parametrize("host", ["name.test", "::1"])
def test_connect_is_asked_for_as_the_standard_library_does(ca_file: str, host: str) -> None:
    """RFC 9112 section 3.2.3, and whatever this Python's http.client makes of it."""
    seen: list[bytes] = []

    class Sock:
        def sendall(self, data: bytes) -> None:
            seen.append(data)

        def makefile(self, _: str) -> Any:
            raise ConnectionError

    ours = connect_request(
        current_engine().origin(
            OriginKey("https", host, 443, proxy=("p", 1), proxy_auth="Basic eDp5")
        )
    )
    connection = HTTPConnection("p", 1)
    connection.set_tunnel(
        f"[{host}]" if ":" in host else host, 443, {"Proxy-Authorization": "Basic eDp5"}
    )
    connection.sock = Sock()  # type: ignore[assignment]
    with pytest.raises(ConnectionError):
        connection._tunnel()  # type: ignore[attr-defined]
    theirs = b"".join(seen)
    if sys.version_info < (3, 12):
        theirs = theirs.replace(b"CONNECT ::1:443", b"CONNECT [::1]:443")
    assert sorted(ours.split(b"\r\n")) == sorted(theirs.split(b"\r\n"))


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n", "407 Proxy"),
        (b"HTTP/1.1 502 Bad Gateway\r\n\r\n<html>", "502 Bad Gateway"),
        (b"garbage\r\n\r\n", ""),
        (b"SSH-2.0-OpenSSH\r\n\r\n", ""),
        (b"HTTP/1.1 abc\r\n\r\n", ""),
        (b"\r\n\r\n", ""),
        (b"", "closed connection without response"),
        (b"HTTP/1.1 200 OK\r\nA: " + b"x" * 200_000, "when reading header line"),
        (b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 2000, "headers"),
        (b"HTTP/1.1 200 OK", "Tunnel connection failed: the reply was cut"),
        (b"HTTP/1.1 200 OK\r\nA: b", "Tunnel connection failed: the reply was cut"),
        (b"HTTP/1.1 200 OK\r\n\r\nmore", "Tunnel connection failed: the reply has a tail"),
        (b"HTTP/1.1 200 OK\r\n\r\n" + answer(), "the reply has a tail"),
    ],
)
def test_a_tunnel_that_fails(engine: Engine, ca_file: str, reply: bytes, words: str) -> None:
    with RawServer(Proxy(reply)) as server:
        failure = Asked(tunnel(server, ca_file)).send().failure
    assert failure.phase is Phase.TUNNEL
    assert failure.proxy
    assert words in str(failure.cause)


def test_a_tunnel_that_ends_as_it_opens(engine: Engine, ca_file: str) -> None:
    with RawServer(Proxy(b"HTTP/1.1 200 OK\r\n\r\n")) as server:
        failure = Asked(tunnel(server, ca_file)).send().failure
    assert failure.phase is Phase.TLS


def test_a_proxy_that_says_nothing(engine: Engine, ca_file: str) -> None:
    with RawServer(Peer.wait_end) as server:
        failure = Asked(tunnel(server, ca_file), connect_timeout=0.1).send().failure
    assert (failure.phase, failure.proxy) == (Phase.TLS_TIMEOUT, True)


def test_a_proxy_that_is_not_there(engine: Engine, ca_file: str) -> None:
    with RawServer(Peer.serve) as server:
        origin = tunnel(server, ca_file)
    failure = Asked(origin).send().failure
    assert (failure.phase, failure.proxy) == (Phase.CONNECT, True)


# TLS


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "name.test"])
def test_a_handshake(
    engine: Engine,
    monkeypatch: pytest.MonkeyPatch,
    tls_context: ssl.SSLContext,
    ca_file: str,
    host: str,
) -> None:
    tls = identity(ca_file, None, "")
    named(engine, monkeypatch, (V6, "::1") if host == "::1" else (V4, "127.0.0.1"))
    with RawServer(
        Peer.serve, tls=tls_context, host="::1" if host == "::1" else "127.0.0.1"
    ) as server:
        origin = origin_of(server, host=host, tls=tls)
        for target in ("/1", "/2"):
            assert ask(origin, target)[1] == target.encode()
        assert server.opened == 1


@pytest.mark.parametrize(
    ("host", "verify", "words"),
    [
        ("127.0.0.1", True, "certificate verify failed"),
        ("wrong.test", None, "ostname mismatch"),
        ("127.0.0.2", None, "IP address mismatch"),
    ],
)
def test_a_certificate_that_will_not_do(
    engine: Engine,
    monkeypatch: pytest.MonkeyPatch,
    tls_context: ssl.SSLContext,
    ca_file: str,
    tmp_path: Any,
    host: str,
    verify: bool | None,
    words: str,
) -> None:
    trustme.CA().cert_pem.write_to_path(str(tmp_path / "other.pem"))
    tls = identity(str(tmp_path / "other.pem") if verify else ca_file, None, "")
    named(engine, monkeypatch, (V4, "127.0.0.1"))
    with RawServer(Peer.serve, tls=tls_context) as server:
        failure = Asked(origin_of(server, host=host, tls=tls)).send().failure
        assert failure.phase is Phase.TLS
        assert isinstance(failure.cause, ssl.SSLCertVerificationError)
        assert words in str(failure.cause)
        anything = identity(verify=False, cert=None, bundle="")
        assert ask(origin_of(server, host=host, tls=anything), "/x")[1] == b"/x"


def test_a_server_without_tls(engine: Engine, ca_file: str) -> None:
    with RawServer(lambda peer: peer.send(b"HTTP/1.1 400 Bad\r\n\r\n")) as server:
        failure = Asked(origin_of(server, tls=identity(ca_file, None, ""))).send().failure
    assert failure.phase is Phase.TLS
    assert isinstance(failure.cause, ssl.SSLError)


@pytest.mark.parametrize("say", [b"", b"\x16\x03\x03"])
def test_a_handshake_that_is_cut(engine: Engine, ca_file: str, say: bytes) -> None:
    def cut(peer: Peer) -> None:
        peer.sock.recv(65536)
        peer.send(say)

    with RawServer(cut) as server:
        failure = Asked(origin_of(server, tls=identity(ca_file, None, ""))).send().failure
    assert failure.phase is Phase.TLS


def test_a_handshake_that_never_ends(engine: Engine, ca_file: str) -> None:
    with RawServer(Peer.wait_end) as server:
        asked = Asked(origin_of(server, tls=identity(ca_file, None, "")), connect_timeout=0.1)
        assert asked.send().failure.phase is Phase.TLS_TIMEOUT


def serve_once(peer: Peer) -> None:
    peer.request()
    peer.send(answer(b"ok", "200 OK", "Connection: close"))


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_the_second_connection_resumes_the_first_ones_session(
    engine: Engine, tls_context: ssl.SSLContext, ca_file: str, version: ssl.TLSVersion
) -> None:
    resumed: list[bool] = []
    tls_context.maximum_version = tls_context.minimum_version = version

    def script(peer: Peer) -> None:
        resumed.append(bool(peer.sock.session_reused))  # type: ignore[attr-defined]
        serve_once(peer)

    tls = identity(ca_file, None, "")
    with RawServer(script, tls=tls_context) as server:
        for _ in range(3):
            assert ask(origin_of(server, tls=tls)) == (200, b"ok")
    assert resumed == [False, True, True]


@pytest.mark.parametrize(("resumes", "most", "taken"), [(True, 9, 1), (False, 9, 8), (False, 3, 3)])
def test_sessions_are_asked_for_sparingly(
    engine: Engine,
    tls_context: ssl.SSLContext,
    ca_file: str,
    monkeypatch: pytest.MonkeyPatch,
    resumes: bool,  # noqa: FBT001
    most: int,
    taken: int,
) -> None:
    """CPython loses 6.6 KB each time, which a soak of ten million requests has shown."""
    found: list[Any] = []
    take = _tls.TLSSession.take_ticket

    def note(session: Any) -> Any:
        ticket = take(session)
        if ticket is not None:
            found.append(ticket)
        return ticket

    monkeypatch.setattr(_tls.TLSSession, "take_ticket", note)
    monkeypatch.setattr(_tls, "MOST_TICKETS", most)
    monkeypatch.setattr(_tls, "_taken", itertools.count(1))
    tls_context.minimum_version = ssl.TLSVersion.TLSv1_3
    if not resumes:
        tls_context.num_tickets = 0  # it has a session nevertheless, which is not resumed
    tls = identity(ca_file, None, "")
    with RawServer(serve_once, tls=tls_context) as server:
        for _ in range(8):
            assert ask(origin_of(server, tls=tls)) == (200, b"ok")
    assert len(found) == taken


def test_a_session_of_a_context_that_is_gone_is_not_offered(
    engine: Engine, tls_context: ssl.SSLContext, ca_file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("grequests._engine._tls._contexts", {})
    tls = identity(ca_file, None, "")
    with RawServer(Peer.serve, tls=tls_context) as server:
        origin = origin_of(server, tls=tls)
        assert ask(origin, "/1")[1] == b"/1"
        engine.close_idle()
        assert origin.ticket is not None
        monkeypatch.setattr("grequests._engine._tls._contexts", {})
        assert ask(origin, "/2")[1] == b"/2"


def test_a_certificate_asked_for_after_the_request(
    engine: Engine, authority: trustme.CA, tls_context: ssl.SSLContext, ca_file: str, tmp_path: Any
) -> None:
    """TLS 1.3 post-handshake authentication, which servers do for single folders."""
    tls_context.verify_mode = ssl.CERT_OPTIONAL
    tls_context.post_handshake_auth = True
    authority.configure_trust(tls_context)
    pem = str(tmp_path / "client.pem")
    authority.issue_cert("client.test").private_key_and_cert_chain_pem.write_to_path(pem)
    shown: list[Any] = []

    def script(peer: Peer) -> None:
        sock: Any = peer.sock
        peer.request()
        sock.verify_client_post_handshake()
        peer.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        sock.settimeout(PATIENCE)
        with contextlib.suppress(ssl.SSLError, TimeoutError):
            # Reads the certificate; the next request comes only after the answer.
            sock.setblocking(False)
            while not sock.getpeercert():
                with contextlib.suppress(ssl.SSLWantReadError):
                    sock.read(1)
        sock.setblocking(True)
        shown.append(sock.getpeercert())
        peer.send(answer())

    with RawServer(script, tls=tls_context) as server:
        origin = origin_of(server, tls=identity(ca_file, pem, ""))
        assert ask(origin) == (200, b"ok")
    assert shown[0]


# When the system has nothing left to give


def test_no_descriptor_left(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    import _socket

    class Exhausted(_socket.socket):
        def __new__(cls, *args: Any) -> Any:
            raise OSError(errno.EMFILE, "Too many open files")

    with RawServer(Peer.serve) as server:
        origin = origin_of(server)
        first = Asked(origin, "/1").send()
        assert first.body == b"/1"
        busy = Asked(origin, "/busy").send()
        with monkeypatch.context() as patch:
            patch.setattr(_socket, "socket", Exhausted)
            second = Asked(origin, "/2").send()
            gevent.sleep(0)
            gevent.sleep(0)
        assert busy.body == b"/busy"
        assert second.body == b"/2", "it waited for a descriptor rather than fail"
        engine.close()
        with monkeypatch.context() as patch:
            patch.setattr(_socket, "socket", Exhausted)
            assert Asked(origin).send().failure.cause.errno == errno.EMFILE  # type: ignore[attr-defined]
        engine.budget.refresh()


def test_no_descriptor_left_but_idle_connections_make_room(engine: Engine) -> None:
    """At once: nobody waits for their quiet time to be over."""
    import _socket

    refused: list[int] = []

    class ExhaustedOnce(_socket.socket):
        def __new__(cls, *args: Any) -> Any:
            if not refused:
                refused.append(engine.statistics().idle)
                raise OSError(errno.EMFILE, "Too many open files")
            return super().__new__(cls)

    with RawServer(Peer.serve) as server, RawServer(Peer.serve) as other:
        assert Asked(origin_of(server)).send().body == b"/"
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(_socket, "socket", ExhaustedOnce)
            asked = Asked(origin_of(other), "/other").send()
            with gevent.Timeout(IDLE_SECONDS / 2):
                assert asked.body == b"/other"
        assert refused == [1]
        assert engine.statistics().idle == 1, "the idle one was closed, and the new one is idle"
        engine.budget.refresh()
