"""A network in this process, for an engine in this process: nothing happens by itself.

Connections are pairs of Unix sockets: what is sent on one side is there on the other at once. They
are made when the test says so, answered when it says so, and time passes when it says so. The
engine, its pool, its connections and its reader are the real ones. Knows nothing of what is tested.
"""

from __future__ import annotations

import contextlib
import socket
from typing import Any

import gevent
import pytest
from gevent.event import AsyncResult

from engine.raw import Asked, answer
from grequests._engine import Engine, Failure, Phase, _connection, _pool, _upload
from grequests._engine._budget import Budget
from grequests._engine._connect import ConnectTimes
from grequests._engine._deadlines import Deadlines

#: What stands in a response that nobody has asked for.
STOLEN = b"nobody's"


class Clock:
    """Time and its timers. One for all tests: modules of the engine have its `now` by name."""

    def __init__(self) -> None:
        self.seconds = 1000.0
        self.timers: list[Timer] = []

    def now(self) -> float:
        return self.seconds

    def timer(self, delay: float, repeat: float = 0.0, **_: Any) -> Timer:
        return Timer(self, delay, repeat)

    def advance(self, seconds: float) -> None:
        """Let time pass; what is due on the way is called in the hub, in order."""
        end = self.seconds + seconds
        while due := [each for each in self.timers if each.at <= end]:
            timer = min(due, key=lambda each: each.at)
            # A moment later each time: what rings too early by a rounding error is set again.
            self.seconds = max(self.seconds + 1e-6, timer.at)
            timer.ring()
            settle()
        self.seconds = max(self.seconds, end)

    def reset(self) -> None:
        self.timers.clear()


class Timer:
    """What `loop.timer` gives, over a clock that is not the system's."""

    def __init__(self, clock: Clock, delay: float, repeat: float) -> None:
        self._clock, self._delay, self._repeat = clock, delay, repeat
        self._call: Any = None
        self.at = 0.0

    def start(self, function: Any, *args: Any) -> None:
        self._call = (function, *args)
        self.at = self._clock.now() + self._delay
        self._clock.timers.append(self)

    def ring(self) -> None:
        if self._repeat:
            self.at += self._repeat
        else:
            self.close()
        gevent.get_hub().loop.run_callback(*self._call)

    def close(self) -> None:
        if self in self._clock.timers:
            self._clock.timers.remove(self)

    stop = close


CLOCK = Clock()


class _Loop:
    """The hub's loop, with our time."""

    def __init__(self, real: Any) -> None:
        self.io, self.run_callback = real.io, real.run_callback
        self.timer = CLOCK.timer


class Dialling:
    """Stands in for `Connector`: a connection that is being made until the test says otherwise."""

    tls = None
    times = ConnectTimes(0.0, 0.0, 0.0)

    def __init__(self, _hub: Any, _resolver: Any, origin: Any, _timeout: float | None) -> None:
        self.sock: Any = None
        self.early = b""
        self.world: World = origin.engine.world
        self._verdict: AsyncResult[Any] = AsyncResult()

    def connect(self) -> None:
        self.world.dialling.append(self)
        try:
            self.sock = self._verdict.get()
        finally:
            self.world.dialling.remove(self)

    def close(self) -> None:
        if self.sock is not None:
            self.sock.close()

    # The test's side

    def succeed(self, first_words: bytes = b"") -> None:
        ours, theirs = socket.socketpair()
        for each in (ours, theirs):
            each.setblocking(False)
        if first_words:
            theirs.send(first_words)
        self.world.peers.append(Peer(ours, theirs, spoilt=bool(first_words)))
        self._verdict.set(ours)

    def fail(self, phase: Phase) -> None:
        self._verdict.set_exception(Failure(phase, OSError(111, "it is a test")))


class Peer:
    """The other side of a connection.

    Attributes:
        ours: the engine's socket.
        spoilt: whether something was sent that is no answer: nothing may be asked here any more.
        rest: what is left of an answer of which a part was sent.
    """

    def __init__(self, ours: socket.socket, theirs: socket.socket, *, spoilt: bool) -> None:
        self.ours = ours
        self.sock = theirs
        self.spoilt = spoilt
        self.rest = b""
        self.read = b""

    @property
    def is_gone(self) -> bool:
        """Whether the engine has closed its side."""
        return self.ours.fileno() == -1

    def asked(self) -> int | None:
        """The number of the request that waits here for its answer, left unread."""
        seen = self.read
        with contextlib.suppress(BlockingIOError):
            seen += self.sock.recv(100, socket.MSG_PEEK)
        return int(seen.split(b" ", 2)[1][1:]) if seen else None

    def take(self) -> None:
        """Read the request, and see that it is one."""
        while True:
            try:
                data = self.sock.recv(1 << 20)
            except BlockingIOError:
                data = b""
            if not data:
                break
            self.read += data
            settle()
        head, _, body = self.read.partition(b"\r\n\r\n")
        length = int(
            (head.lower() + b"content-length: 0\r\n").split(b"content-length: ")[1].split()[0]
        )
        assert len(body) == length, "more than one request at once"

    def send(self, data: bytes) -> None:
        """Send. (It may be that nobody listens any more.)"""
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            assert self.sock.send(data) == len(data)

    def close(self) -> None:
        """An end; a reset, if there is something here that was not read."""
        self.sock.close()


class Wanted(Asked):
    """An exchange that knows its number, and may have another one follow it from its callback."""

    def __init__(
        self, world: World, origin: Any, number: int, *, then: bool, **request: Any
    ) -> None:
        super().__init__(origin, f"/{number}", **request)
        self.world = world
        self.number = number
        self.then = then
        #: Whether nobody wants to hear of it any more.
        self.aborted = False
        #: Whether it was answered before it was asked, as servers do that have no room.
        self.may_be_early = False

    def on_response(self, *args: Any) -> None:
        super().on_response(*args)
        if self.then:
            self.world.submit(self.origin, then=False)


class World:
    """An engine and everybody it talks to."""

    def __init__(self, limit: int) -> None:
        self.budget = Budget()
        self.budget.limit = limit
        self.engine = Engine(gevent.get_hub(), self.budget)
        self.engine.world = self
        self.engine.loop = _Loop(self.engine.hub.loop)
        self.engine.deadlines = Deadlines(CLOCK.timer, CLOCK.now)
        self.origins = [
            self.engine.origin(_pool.OriginKey("http", f"h{number}.test", 80))
            for number in range(3)
        ]
        self.dialling: list[Dialling] = []
        self.peers: list[Peer] = []
        self.wanted: list[Wanted] = []

    def submit(self, origin: Any, **request: Any) -> Wanted:
        made = Wanted(self, origin, len(self.wanted), **request)
        self.wanted.append(made)
        made.send()
        return made

    def live(self) -> list[Wanted]:
        """Exchanges without an outcome that somebody waits for."""
        return [each for each in self.wanted if not each.outcomes and not each.aborted]

    def over(self) -> list[Wanted]:
        return [each for each in self.wanted if each.outcomes]

    def connections(self) -> list[Any]:
        return [each for origin in self.origins for each in origin.connections]

    def asked(self) -> list[Peer]:
        return [each for each in self.peers if each.asked() is not None]

    def asked_for_all(self) -> list[Peer]:
        """The same, where no part of the answer was sent."""
        return [each for each in self.asked() if not each.rest]

    def silent(self) -> list[Peer]:
        """Connections on which nothing was asked."""
        return [each for each in self.peers if each.asked() is None]

    def tidy(self) -> None:
        """Let everything come to rest, and forget who has been left."""
        settle()
        for each in [each for each in self.peers if each.is_gone]:
            self.peers.remove(each)
            each.close()

    def close(self) -> None:
        self.engine.close()
        self.tidy()
        for each in self.peers:
            each.close()
        CLOCK.reset()


def settle() -> None:
    """Let the hub do whatever it can do."""
    for _ in range(4):
        gevent.idle()


def whole(number: int, *headers: str) -> bytes:
    """The answer to a request, which names it."""
    return answer(b"%d" % number, "200 OK", *headers)


@contextlib.contextmanager
def unplugged() -> Any:
    """The engine has our network and our time in place of the system's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_pool, "Connector", Dialling)
        for module in (_pool, _connection, _upload):
            patch.setattr(module, "monotonic", CLOCK.now)
        yield
