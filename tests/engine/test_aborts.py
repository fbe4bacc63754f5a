"""Exchanges that are cut: wherever they are, nobody is told and nothing is left."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from typing import Any

import gevent
import pytest
import trustme
from gevent.event import Event

from grequests._engine import Body, Engine, Origin, TLSIdentity, Upload, identity
from grequests._engine._budget import Budget
from grequests._engine._connect import Connector
from grequests._engine._resolve import Address

from .raw import PATIENCE, Asked, Peer, RawServer, answer, ask, eventually, origin_of

pytestmark = [pytest.mark.timeout(60), pytest.mark.usefixtures("no_leaks")]

MIB = 1024 * 1024
HEAD = b"HTTP/1.1 200 OK\r\n"

Secure = tuple["ssl.SSLContext | None", "TLSIdentity | None"]


@pytest.fixture
def engine() -> Iterator[Engine]:
    """An engine with a budget of its own."""
    budget = Budget()
    budget.limit = 1000
    made = Engine(gevent.get_hub(), budget)
    yield made
    made.close()
    eventually(lambda: budget.taken == 0, "all descriptors to come back")


@pytest.fixture
def tls_context(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    return context


@pytest.fixture(params=["http", "https"])
def secure(request: pytest.FixtureRequest, tls_context: ssl.SSLContext, ca_file: str) -> Secure:
    """What the server and what the client needs."""
    if request.param == "http":
        return None, None
    return tls_context, identity(ca_file, None, "")


@pytest.fixture(params=["by a greenlet", "by the hub"])
def cut(request: pytest.FixtureRequest) -> Callable[[Asked], None]:
    """Aborts an exchange and looks at what is left of it."""

    def abort_and_look(asked: Asked) -> None:
        engine = asked.origin.engine
        if request.param == "by a greenlet":
            asked.abort()
        else:
            done = Event()
            engine.loop.run_callback(lambda: (asked.abort(), done.set()))
            assert done.wait(PATIENCE)
        counts = engine.statistics()
        assert (counts.open, counts.connecting, counts.waiting, counts.starved) == (0, 0, 0, 0)
        for _ in range(3):
            gevent.sleep(0)  # whoever was waiting for a socket ends at the next turn of the loop
        assert engine.budget.taken == 0
        assert not engine.origins
        assert asked.connection is None
        assert not asked.outcomes
        asked.abort()  # once more is nothing
        assert engine.budget.taken == 0

    return abort_and_look


class Scene:
    """A server that comes to a certain point, and sees what becomes of the connection.

    Attributes:
        reached: whether it is there.
        deserted: whether its client has gone.
    """

    def __init__(self, act: Callable[[Peer], None], *, patience: float = PATIENCE) -> None:
        self._act = act
        self.reached = threading.Event()
        self.deserted = threading.Event()

    def __call__(self, peer: Peer) -> None:
        if self.reached.is_set():  # the others find a server that does as it should
            peer.serve()
            return
        with contextlib.suppress(OSError):
            self._act(peer)
            self.reached.set()
            peer.wait_end()
        self.deserted.set()


def looks_after_others(origin: Origin) -> None:
    """Whether the next one finds all as it should be."""
    assert ask(origin, "/next") == (200, b"/next")


# Before there is a connection


def named(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, resolve: Callable[..., list[Address]]
) -> None:
    monkeypatch.setattr(type(engine.resolver), "resolve", resolve)


def test_before_its_greenlet_has_begun(engine: Engine, cut: Callable[[Asked], None]) -> None:
    with RawServer(Peer.serve) as server:
        origin = origin_of(server, engine=engine)
        cut(Asked(origin).send())
        assert server.opened in {0, 1}
        looks_after_others(origin)


def test_while_its_name_is_looked_up(
    engine: Engine, cut: Callable[[Asked], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lookup itself cannot be ended. It goes on for whoever wants to know next."""
    asking, go_on = Event(), Event()

    def look_up(*_: Any) -> list[Any]:
        asking.set()
        go_on.wait()
        return [(socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", 0))]

    monkeypatch.setattr(engine.resolver, "_lookup", look_up, raising=False)
    with RawServer(Peer.serve) as server:
        server.host = "name.test"
        origin = origin_of(server, engine=engine)
        asked = Asked(origin).send()
        assert asking.wait(PATIENCE)
        cut(asked)
        following = Asked(origin, "/next").send()
        go_on.set()
        assert following.body == b"/next"
        assert server.opened == 1


@contextlib.contextmanager
def black_hole(host: str) -> Iterator[int]:
    """The port of an address that answers to nothing: a listener whose backlog is full."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.create_server((host, 0), backlog=0))
        port: int = listener.getsockname()[1]
        for _ in range(8):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex((host, port))
        yield port


@pytest.mark.parametrize("addresses", [1, 3])
def test_while_its_addresses_are_tried(
    engine: Engine,
    cut: Callable[[Asked], None],
    monkeypatch: pytest.MonkeyPatch,
    addresses: int,
) -> None:
    found = [Address(socket.AF_INET, ("127.0.0.1", 0))] * addresses
    named(engine, monkeypatch, lambda *_: found)
    tried = []
    attempt = Connector._attempt
    monkeypatch.setattr(
        Connector, "_attempt", lambda *args: (tried.append(args), attempt(*args))[1]
    )
    with RawServer(Peer.serve) as server, black_hole("127.0.0.1") as port:
        server.port, real = port, server.port
        asked = Asked(origin_of(server, engine=engine)).send()
        server.port = real
        eventually(lambda: len(tried) == addresses, "all addresses to be tried")
        cut(asked)


def test_while_a_proxy_is_asked_for_a_tunnel(
    engine: Engine, cut: Callable[[Asked], None], ca_file: str
) -> None:
    scene = Scene(lambda peer: peer.until(b"\r\n\r\n"))
    with RawServer(scene) as server:
        proxy = ("127.0.0.1", server.port)
        asked = Asked(
            origin_of(server, engine=engine, tls=identity(ca_file, None, ""), proxy=proxy)
        ).send()
        eventually(scene.reached.is_set)
        cut(asked)
        eventually(scene.deserted.is_set)


@pytest.mark.parametrize("verify", [True, False])
def test_in_the_handshake(
    engine: Engine, cut: Callable[[Asked], None], ca_file: str, verify: bool
) -> None:
    scene = Scene(lambda peer: peer.sock.recv(1))
    with RawServer(scene) as server:
        trusted = identity(ca_file if verify else False, None, "")
        asked = Asked(origin_of(server, engine=engine, tls=trusted)).send()
        eventually(scene.reached.is_set)
        cut(asked)
        eventually(scene.deserted.is_set)


def test_while_others_have_all_descriptors(engine: Engine, cut: Callable[[Asked], None]) -> None:
    engine.budget.limit = 1
    engine.budget.take()
    with RawServer(Peer.serve) as server:
        origin = origin_of(server, engine=engine)
        first, second = Asked(origin, "/1").send(), Asked(origin, "/2").send()
        assert engine.statistics().starved == 2
        first.abort()
        assert engine.statistics().starved == 1
        engine.budget.give()
        assert second.body == b"/2"
        engine.close_idle()
        engine.budget.take()
        third = Asked(origin).send()
        engine.budget.give()  # `cut` looks at it
        cut(third)
        looks_after_others(origin)
        assert server.opened == 2


def test_as_its_connection_is_ready(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, tls_context: ssl.SSLContext
) -> None:
    """What was being made for it is closed: its greenlet is about to end.

    Were it to look after another exchange first, it might end in there.
    """
    waiting = []

    class Told(Asked):
        def on_unverified(self) -> bool:
            waiting.append(self)
            gevent.sleep(0.001)
            return True

    connect = Connector.connect

    def connect_and_cut(connector: Connector) -> None:
        connect(connector)
        if not first.outcomes and first.connection is None and first not in cut_off:
            cut_off.append(first)
            first.abort()

    monkeypatch.setattr(Connector, "connect", connect_and_cut)
    cut_off: list[Asked] = []
    with RawServer(Peer.serve, tls=tls_context) as server:
        origin = origin_of(server, engine=engine, tls=identity(False, None, ""))
        first = Told(origin, "/1").send()
        second = Told(origin, "/2").send()
        assert second.body == b"/2"
        assert cut_off == [first]
        assert not first.outcomes
        assert waiting == [second]
        eventually(lambda: engine.budget.taken == 1, "one descriptor to be left")


# Before it is sent: nobody has looked at the certificate


class Warned(Asked):
    """Is told, and takes its time."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.told = Event()
        self.go_on = Event()

    def on_unverified(self) -> bool:
        self.told.set()
        self.go_on.wait()
        return True


@pytest.mark.parametrize("is_kept", [False, True])
def test_while_it_is_told_of_the_certificate(
    engine: Engine, cut: Callable[[Asked], None], tls_context: ssl.SSLContext, is_kept: bool
) -> None:
    """What it does then is its own code, which is left to end."""
    with RawServer(Peer.serve, tls=tls_context) as server:
        origin = origin_of(server, engine=engine, tls=identity(False, None, ""))
        if is_kept:
            looks_after_others(origin)
        asked = Warned(origin)
        engine.loop.run_callback(asked.send)
        assert asked.told.wait(PATIENCE)
        cut(asked)
        asked.go_on.set()
        looks_after_others(origin)
        assert not asked.outcomes
        assert server.opened == 2


def test_before_it_is_told_of_the_certificate(engine: Engine, tls_context: ssl.SSLContext) -> None:
    with RawServer(Peer.serve, tls=tls_context) as server:
        origin = origin_of(server, engine=engine, tls=identity(False, None, ""))
        looks_after_others(origin)
        asked = Warned(origin)
        engine.loop.run_callback(lambda: (asked.send(), asked.abort()))
        gevent.sleep(0)
        assert engine.budget.taken == 0
        looks_after_others(origin)
        assert not asked.told.is_set()
        assert not asked.outcomes


# While it is being sent


class Written(Body):
    """Written by a greenlet. `greenlet` is that, once it has begun."""

    def __init__(self, write: Callable[[Upload], object], *, expects: bool = False) -> None:
        super().__init__(None, expects=expects)
        self.greenlet: Any = None
        self._write = write

    def begin(self, upload: Upload) -> None:
        self.greenlet = gevent.spawn(self._run, upload)

    def cancel(self) -> None:
        self.greenlet.kill(block=False)

    def _run(self, upload: Upload) -> None:
        self._write(upload)
        upload.finish()


def endless(upload: Upload) -> None:
    while upload.write(bytes(65536)):
        pass


BODIES: dict[str, Callable[[], Body]] = {
    "bytes that are not taken": lambda: Body(bytes(40 * MIB)),
    "a writer whose bytes are not taken": lambda: Written(endless),
    "a writer that thinks": lambda: Written(lambda _: Event().wait()),
    "a writer that is held back": lambda: Written(endless, expects=True),
}


def sending(origin: Origin, body: Body) -> Asked:
    asked = Asked(origin, method="PUT", replayable=False, connect_timeout=None)
    asked.wire = f"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: {40 * MIB}\r\n\r\n".encode()
    asked.payload = body
    return asked.send()


@pytest.mark.parametrize(
    ("what", "is_answered"),
    # An answer ends what is held back.
    [(what, early) for what in BODIES for early in (False, True) if not (early and "held" in what)],
)
def test_while_its_body_is_sent(
    engine: Engine,
    cut: Callable[[Asked], None],
    secure: Secure,
    what: str,
    is_answered: bool,
) -> None:
    """Whether an answer is here already, which is kept until all is sent, or not."""
    go_on = threading.Event()

    def act(peer: Peer) -> None:
        peer.until(b"\r\n\r\n")
        if is_answered:
            peer.send(answer(b"early"))

    def script(peer: Peer) -> None:
        act(peer)
        go_on.wait(PATIENCE)

    with RawServer(script, tls=secure[0]) as server:
        body = BODIES[what]()
        asked = sending(origin_of(server, engine=engine, tls=secure[1]), body)
        eventually(lambda: asked.connection is not None and asked.connection._upload)
        upload = asked.connection._upload
        eventually(lambda: upload.answered == is_answered)
        if "writer" in what and "held back" not in what:
            eventually(lambda: body.greenlet)
        if "not taken" in what:
            eventually(lambda: upload._blocked)
        cut(asked)
        if isinstance(body, Written):
            eventually(lambda: body.greenlet is None or body.greenlet.dead)
        go_on.set()


def test_while_its_head_is_not_taken(
    engine: Engine, cut: Callable[[Asked], None], secure: Secure
) -> None:
    go_on = threading.Event()
    with RawServer(lambda _: go_on.wait(PATIENCE), tls=secure[0]) as server:
        origin = origin_of(server, engine=engine, tls=secure[1])
        asked = Asked(origin, method="POST", body=bytes(40 * MIB)).send()
        eventually(lambda: asked.connection is not None and asked.connection._upload)
        cut(asked)
        go_on.set()


def test_by_the_one_who_writes_its_body(engine: Engine, secure: Secure) -> None:
    def write(upload: Upload) -> None:
        asked.abort()
        wanted.append(upload.write(b"more"))

    wanted: list[bool] = []
    scene = Scene(lambda peer: peer.until(b"\r\n\r\n"))
    with RawServer(scene, tls=secure[0]) as server:
        body = Written(write)
        body.cancel = lambda: None  # as those do that are cancelled by their own greenlet
        asked = sending(origin_of(server, engine=engine, tls=secure[1]), body)
        eventually(lambda: wanted)
        assert wanted == [False]
        assert engine.budget.taken == 0
        assert not asked.outcomes


# While its response is waited for, or read

POINTS: dict[str, bytes] = {
    "nothing is said": b"",
    "an interim response": b"HTTP/1.1 103 Early Hints\r\n\r\n",
    "half a head": b"HTTP/1.1 200 OK\r\nContent-Le",
    "a head": HEAD + b"Content-Length: 10\r\n\r\n",
    "half a body": HEAD + b"Content-Length: 10\r\n\r\n12345",
    "some of a long body": HEAD + b"Content-Length: 10000000\r\n\r\n" + bytes(300_000),
    "half a chunk": HEAD + b"Transfer-Encoding: chunked\r\n\r\na\r\n12345",
    "a body until the end": HEAD + b"\r\n" + bytes(300_000),
}


@pytest.mark.parametrize("point", POINTS)
def test_when_there_is(
    engine: Engine, cut: Callable[[Asked], None], secure: Secure, point: str
) -> None:
    said = POINTS[point]

    def act(peer: Peer) -> None:
        peer.request()
        peer.send(said)

    scene = Scene(act)
    with RawServer(scene, tls=secure[0]) as server:
        origin = origin_of(server, engine=engine, tls=secure[1])
        asked = Asked(origin).send()
        eventually(scene.reached.is_set)
        if said and "interim" not in point:
            eventually(lambda: asked.connection.reader.started)
        cut(asked)
        eventually(scene.deserted.is_set)
        looks_after_others(origin)
        assert server.opened == 2


@pytest.mark.parametrize("point", ["nothing is said", "half a head", "a redirect"])
def test_when_its_response_is_to_be_streamed(
    engine: Engine, cut: Callable[[Asked], None], secure: Secure, point: str
) -> None:
    class Streamed(Asked):
        def is_streamable(self, status: int, head: bytes) -> bool:
            return False

    redirect = b"HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 10\r\n\r\n123"
    said = {**POINTS, "a redirect": redirect}[point]

    def act(peer: Peer) -> None:
        peer.request()
        peer.send(said)

    scene = Scene(act)
    with RawServer(scene, tls=secure[0]) as server:
        asked = Streamed(origin_of(server, engine=engine, tls=secure[1]))
        asked.streamed = True
        asked.send()
        eventually(scene.reached.is_set)
        cut(asked)
        eventually(scene.deserted.is_set)


def test_on_a_connection_that_was_used_before(
    engine: Engine, cut: Callable[[Asked], None], secure: Secure
) -> None:
    def script(peer: Peer) -> None:
        while target := peer.request():
            if target == "/hold":
                held.set()
                peer.wait_end()
                return
            peer.send(answer(target.encode()))

    held = threading.Event()
    with RawServer(script, tls=secure[0]) as server:
        origin = origin_of(server, engine=engine, tls=secure[1])
        looks_after_others(origin)
        asked = Asked(origin, "/hold").send()
        eventually(held.is_set)
        cut(asked)
        looks_after_others(origin)
        assert server.opened == 2


# Others


def test_others_of_its_origin_go_on(engine: Engine, secure: Secure) -> None:
    go_on = threading.Event()

    def script(peer: Peer) -> None:
        while target := peer.request():
            go_on.wait(PATIENCE)
            peer.send(answer(target.encode()))

    with RawServer(script, tls=secure[0]) as server:
        origin = origin_of(server, engine=engine, tls=secure[1])
        asked = [Asked(origin, f"/{number}").send() for number in range(20)]
        asked[0].abort()  # its greenlet has not begun
        eventually(lambda: asked[7].connection)
        for each in asked[::7]:
            each.abort()
        go_on.set()
        rest = [each for each in asked if each not in asked[::7]]
        assert [each.body for each in rest] == [each.wire.split()[1] for each in rest]
        assert [each.outcomes for each in asked[::7]] == [[], [], []]


def test_what_was_cut_can_be_sent_again(engine: Engine, secure: Secure) -> None:
    with RawServer(Peer.serve, tls=secure[0]) as server:
        origin = origin_of(server, engine=engine, tls=secure[1])
        asked = Asked(origin, "/again").send()
        asked.abort()
        asked.send()
        gevent.sleep(0)
        asked.abort()
        assert asked.send().body == b"/again"


def test_a_descriptor_that_is_freed_goes_to_who_waits_for_one(engine: Engine) -> None:
    engine.budget.limit = 1
    scene = Scene(Peer.request)
    with RawServer(scene) as server, RawServer(Peer.serve) as other:
        asked = Asked(origin_of(server, engine=engine)).send()
        eventually(scene.reached.is_set)
        starved = Asked(origin_of(other, engine=engine), "/starved").send()
        assert engine.statistics().starved == 1
        asked.abort()
        assert starved.body == b"/starved"
        assert not asked.outcomes
