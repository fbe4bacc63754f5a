"""A server that does what it is told, byte by byte, and the four questions asked of each fault.

A `Case` says what the server does with the request it is to fail, as a list of steps, and what is to
come of it in the fast lane and in the general one. `suffer` runs a case by one `Way` (lane, TLS,
proxy) and asks:

1. Is the outcome what the case says, and is it the only one?
2. Does the next request to the same origin get its own answer?
3. Are the slot, the socket and the memory back? (`traces` of the fixtures, the engine's counts.)
4. Did it end within the deadline that was set?

The server answers any request but the one for `/fault` with the request's target.
"""

from __future__ import annotations

import contextlib
import pathlib
import socket
import ssl
import struct
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import gevent
import pytest
import requests
from engine.raw import Peer, RawServer, answer

import grequests
from grequests import Client, Result, Timeout
from grequests._engine._connection import Connection
from grequests._green_socket import GreenSocket
from grequests._kinds import BROKEN, PROXY, kind_of

from .growth import assert_steady, settle
from .sending import PAUSE, Forever, say, say_for_ever

#: Seconds that a request may take in all, unless the case is about how long it takes.
TOTAL = 10.0
#: Seconds by which a loaded machine may be late.
LATE = 5.0
#: The step is done when the client has had its answer.
WAITS = 10.0


class Odd(requests.Session):
    """Its requests take the general lane."""


# Steps: what a server does. Bytes are sent.


@dataclass(frozen=True)
class Fin:
    """Close: with TLS's goodbye, if there is TLS."""


@dataclass(frozen=True)
class Ragged:
    """Close the socket, without TLS's goodbye."""


@dataclass(frozen=True)
class Reset:
    """Close by a TCP reset."""


@dataclass(frozen=True)
class Hold:
    """Say nothing more, until the client has gone."""


@dataclass(frozen=True)
class Answered:
    """Wait until the client has its outcome."""


@dataclass(frozen=True)
class Taken:
    """Wait until the client has read all that was sent."""


@dataclass(frozen=True)
class Fine:
    """There is a response.

    Attributes:
        body: its body.
        status: its code.
    """

    body: bytes
    status: int = 200


@dataclass(frozen=True)
class Part:
    """There is a response, and nothing says that its body is cut.

    Attributes:
        whole: what the body is a beginning of.
    """

    whole: bytes


@dataclass(frozen=True)
class Bad:
    """There is an error.

    Attributes:
        kind: of `grequests._kinds`.
        error: its class, or one of its bases.
        text: what its text contains.
    """

    kind: str
    error: type[BaseException] = requests.RequestException
    text: str = ""


Outcome = Fine | Part | Bad

#: The connection ended before there was a whole head.
CUT = Bad(BROKEN, requests.exceptions.ConnectionError)


@dataclass(frozen=True)
class Case:
    """A fault and what comes of it.

    Attributes:
        name: in the words of the table in docs/reliability.md.
        area: the row of that table.
        steps: what the server does once it has read the request.
        fast: the outcome in the fast lane.
        general: the outcome in the general lane, if Requests has another.
        method: of the request.
        before: what the server does before it has read the request; on the first connection.
        warm: whether the connection has served a request before.
        once: whether only the first connection fails; the others answer with the target.
        reused: whether the next request may come on the same connection; None if that is left open.
        spares: whether the general lane uses a connection again that the fast lane does not.
        total: seconds the request may take.
        timeout: seconds of silence it bears.
        max_body: bytes of a body at most.
        ways: ids of the ways that are tried; all of them if there are none.
        sends: how often the request is sent; None if that is left open.
        value: of the header ``A``, where that is what the case is about.
        leads_to: the whole target that is asked for in the end, if the case is about that.
    """

    name: str
    area: str
    steps: tuple[Any, ...]
    fast: Outcome
    general: Outcome | None = None
    method: str = "GET"
    before: tuple[Any, ...] = ()
    warm: bool = False
    once: bool = False
    reused: bool | None = False
    spares: bool = False
    total: float = TOTAL
    timeout: float = TOTAL
    max_body: int | None = None
    ways: tuple[str, ...] = ()
    sends: int | None = None
    value: str | None = None
    leads_to: str | None = None

    def __str__(self) -> str:
        return self.name.replace(" ", "-")


@dataclass(frozen=True)
class Way:
    """How a request gets to the server.

    Attributes:
        lane: fast or general.
        tls: whether through TLS.
        proxy: whether the server is spoken to as a proxy; with TLS, through a tunnel.
        step: bytes that the server sends at once; None for all.
    """

    lane: str
    tls: bool = False
    proxy: bool = False
    step: int | None = None

    def __str__(self) -> str:
        words = [self.lane, "tls" * self.tls, "proxy" * self.proxy, "bytes" if self.step else ""]
        return "-".join(filter(None, words))

    def outcome(self, case: Case) -> Outcome:
        """What the case says of this way."""
        said = case.fast if self.lane == "fast" or case.general is None else case.general
        if self.proxy and said == CUT:  # Requests takes it for a proxy that cannot be reached
            return Bad(PROXY, requests.exceptions.ProxyError)
        return said


WAYS = (
    *(Way("fast"), Way("fast", step=1), Way("fast", tls=True), Way("fast", proxy=True)),
    *(Way("fast", tls=True, proxy=True), Way("fast", tls=True, step=1)),
    *(Way("general"), Way("general", step=1), Way("general", tls=True), Way("general", proxy=True)),
    *(Way("general", tls=True, proxy=True), Way("general", tls=True, step=1)),
)


class FaultyServer(RawServer):
    """Does what a case says.

    Attributes:
        seen: the connection and the target of each request.
        target: what was asked for last, whole.
        answered: set when the client has its outcome.
        done: set when the server has done what it is to do.
        patient: whether who sends single bytes waits in between.
    """

    def __init__(self, case: Case, way: Way, tls: ssl.SSLContext | None) -> None:
        super().__init__(self._serve)
        self.case = case
        self.way = way
        self.context = tls if way.tls else None
        self.seen: list[tuple[int, str]] = []
        self.target = ""
        self.patient = True
        self.answered = threading.Event()
        self.done = threading.Event()
        #: The last connection there was before this time.
        self.first = 1
        self.spoke = threading.Event()

    def _serve(self, peer: Peer) -> None:
        if self.context is not None:
            if self.way.proxy:
                assert peer.request() is not None
                peer.send(b"HTTP/1.1 200 Connection established\r\n\r\n")
            peer.start_tls(self.context)
        if peer.number == 1 and self.case.before:
            self._perform(peer, self.case.before)
            self.spoke.set()
        while (target := peer.request()) is not None:
            path = "/" + target.rpartition("/")[2]
            self.target = target
            self.seen.append((peer.number, path))
            if path == "/fault" and not (self.case.once and peer.number > self.first):
                try:
                    if not self._perform(peer, self.case.steps):
                        return
                finally:
                    self.done.set()
            else:
                peer.send(answer(path.encode()))

    def _perform(self, peer: Peer, steps: tuple[Any, ...]) -> bool:
        """Whether the connection goes on."""
        for step in steps:
            if isinstance(step, bytes):
                say(peer, step, self.way.step, PAUSE if self.patient else 0)
            elif isinstance(step, Forever):
                say_for_ever(peer, step)
            elif isinstance(step, Hold):
                peer.wait_end()
                return False
            elif isinstance(step, Taken):
                wait_taken(peer)
            elif isinstance(step, Answered):
                assert self.answered.wait(WAITS), "the client has no outcome"
            else:
                end(peer, step)
                return False
        return True


def wait_taken(peer: Peer) -> None:
    """Wait until nothing lies in the client's receive buffer."""
    port = f":{peer.sock.getpeername()[1]:04X}"
    deadline = time.monotonic() + WAITS
    while time.monotonic() < deadline:
        for line in pathlib.Path("/proc/net/tcp").read_text().splitlines()[1:]:
            _, local, _, _, queues, *_ = line.split()
            if local.endswith(port) and queues.endswith(":00000000"):
                return
        time.sleep(0.001)
    raise AssertionError("the client does not read")


def end(peer: Peer, step: Any) -> None:
    """Close a peer's socket in one of three ways."""
    sock = peer.sock
    if isinstance(step, Reset):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    elif isinstance(step, Fin) and isinstance(sock, ssl.SSLSocket):
        sock.setblocking(False)
        with contextlib.suppress(OSError, ValueError):
            sock.unwrap()
    sock.close()


# The client's side


class Trial:
    """A case under way: a server, a client, and the requests that go from one to the other."""

    def __init__(self, server: FaultyServer, ca_file: str) -> None:
        self.server = server
        self.case = case = server.case
        self.way = way = server.way
        scheme = "https" if way.tls else "http"
        place = f"127.0.0.1:{server.port}"
        # A name of no network: only the proxy can be reached.
        self.root = f"{scheme}://{'localhost:9' if way.proxy else place}"
        self.keywords: dict[str, Any] = {}
        if way.tls:
            self.keywords["verify"] = ca_file
        if way.proxy:
            self.keywords["proxies"] = {scheme: f"http://{place}"}
        self.session = Odd() if way.lane == "general" else None
        self.client = Client(
            retry=None,
            circuit=None,
            max_body=case.max_body,
            timeout=Timeout(connect=case.timeout, read=case.timeout, total=case.total),
        )

    def ask(self, path: str, method: str = "GET") -> Result:
        """The one outcome of a request."""
        request = grequests.request(method, self.root + path, session=self.session, **self.keywords)
        bound = gevent.Timeout(self.case.total + LATE, AssertionError(f"{path} hangs"))
        with bound:
            results = list(self.client.run([request]))
        assert len(results) == 1
        return results[0]

    def once(self) -> None:
        """The four questions; of the third, what the engine knows."""
        server, case = self.server, self.case
        server.seen.clear()
        server.answered.clear()
        server.done.clear()
        server.first = server.opened + 1
        if case.warm:
            assert self.ask("/warm").response.text == "/warm"
        began = time.monotonic()
        with self._late() if case.before else contextlib.nullcontext():
            result = self.ask("/fault", case.method)
        took = time.monotonic() - began
        server.answered.set()
        check(result, self.way.outcome(case))
        self._check_response(result.response)
        assert took < min(case.total, case.timeout) + LATE
        if not case.before:
            # (What Requests leaves open ends with the next request.)
            is_sure = self.way.lane == "fast" or Answered() in case.steps
            assert server.done.wait(WAITS if is_sure else 1) or not is_sure
        sends = [number for number, path in server.seen if path == "/fault"]
        assert case.sends is None or len(sends) == case.sends, server.seen
        following = self.ask("/next")
        assert following.error is None, following.error
        assert (following.response.status_code, following.response.text) == (200, "/next")
        if case.reused is not None and sends:
            is_reused = case.reused or (case.spares and self.way.lane == "general")
            assert (server.seen[-1][0] == sends[-1]) is is_reused, server.seen
        assert case.before or server.done.wait(WAITS), "(Requests keeps some for the next request)"
        counts = self.client.statistics()
        assert (counts.in_flight, counts.queued) == (0, 0)

    def _check_response(self, response: requests.Response | None) -> None:
        """Of an answer: by which lane it came, and what else the case says of it."""
        case, is_fast = self.case, self.way.lane == "fast"
        if response is None:
            return
        assert (type(response) is grequests.Response) is is_fast
        assert case.value is None or response.headers["A"] == case.value
        if case.leads_to is not None:
            begin = self.root if self.way.proxy and not self.way.tls else ""
            assert self.server.target == begin + case.leads_to

    @contextlib.contextmanager
    def _late(self) -> Iterator[None]:
        """The first request comes when the server has spoken, and what it said is here."""
        begin, send = Connection.begin, GreenSocket.sendall
        server = self.server

        def waiting(function: Any) -> Any:
            def wait(*args: Any, **kwargs: Any) -> Any:
                assert server.spoke.wait(WAITS)
                time.sleep(0.05)  # (loopback needs no time, but a TLS record may come in two)
                return function(*args, **kwargs)

            return wait

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Connection, "begin", waiting(begin))
            if self.way.lane == "general":
                patch.setattr(GreenSocket, "sendall", waiting(send))
            yield

    def again(self) -> None:
        """Once more, on connections of its own."""
        self.once()
        grequests.close()
        self.server.patient = False

    def close(self) -> None:
        self.client.close()
        if self.session is not None:
            self.session.close()
        grequests.close()


def check(result: Result, expected: Outcome) -> None:
    """Whether an outcome is the one that was expected."""
    if isinstance(expected, Fine):
        assert result.error is None, repr(result.error)
        response = result.response
        assert (response.status_code, response.content) == (expected.status, expected.body)
        return
    if isinstance(expected, Part):
        assert result.error is None, repr(result.error)
        assert result.response.status_code == 200
        assert expected.whole.startswith(result.response.content)
        return
    error = result.error
    assert error is not None, (result.response, result.response.content[:200])
    assert isinstance(error, expected.error), repr(error)
    typed = (requests.RequestException, grequests.GRequestsError)
    assert isinstance(error, typed) or issubclass(expected.error, ValueError), repr(error)
    assert kind_of(error) == expected.kind, (kind_of(error), error)
    assert expected.text in str(error), error


@contextlib.contextmanager
def trial(case: Case, way: Way, tls: ssl.SSLContext, ca_file: str) -> Iterator[Trial]:
    """A server that behaves like this, and who asks it."""
    with FaultyServer(case, way, tls) as server:
        one = Trial(server, ca_file)
        try:
            yield one
        finally:
            server.answered.set()
            one.close()


def suffer(case: Case, way: Way, tls: ssl.SSLContext, ca_file: str) -> None:
    """Ask the four questions of a case, and ask again whether memory grows."""
    with trial(case, way, tls, ca_file) as one:
        one.again()
        if case.before:
            return  # that was for the first connection
        settle()
        threads = threading.active_count()
        assert_steady(one.again)
        assert threading.active_count() <= threads + 2  # the server's end by themselves
