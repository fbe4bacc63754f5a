"""Requests that get so far and no further, by the phase in which a server leaves them.

Each phase has a place of its own: a name nobody answers for, an address that swallows, a server that
goes silent in the handshake, while it is sent to, before its head, in its body; and a run that
waits for its input, between two requests. `Stuck` tells when a request has got there. Used by the
tests and, in a process of its own, by `interrupted`.
"""

from __future__ import annotations

import contextlib
import itertools
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import gevent
import gevent.event
from engine.raw import PATIENCE, Peer, RawServer, answer
from servers import eventually

import grequests
from grequests import Client, Result, Timeout
from grequests._engine import current_engine

from .harness import Odd

PHASES = ("resolve", "connect", "TLS", "send", "head", "body", "between")
#: More than two sockets' buffers hold.
LARGE = b"x" * 20_000_000


class Stuck:
    """A place where a request gets stuck in a phase.

    Args:
        phase: of `PHASES`.

    Attributes:
        reached: set when a request is there.
        deserted: set when the client has gone; at once where there is no connection.
        struck: to be set once the request has been interrupted.
        url: what to ask for.
    """

    def __init__(self, phase: str) -> None:
        self.phase = phase
        self.reached = threading.Event()
        self.deserted = threading.Event()
        self.struck = threading.Event()
        self.url = ""
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Stuck:
        with contextlib.ExitStack() as stack:
            getattr(self, f"_in_{self.phase.lower()}")(stack)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def items(self, session: Any) -> Iterator[Any]:
        """The requests of a run: one that gets stuck, or an input that does not go on."""
        if self.phase == "between":
            self.reached.set()
            gevent.event.Event().wait()
        data = {"data": LARGE} if self.phase == "send" else {}
        method = "PUT" if self.phase == "send" else "GET"
        yield grequests.request(method, self.url, session=session, verify=False, **data)

    # The phases

    def _in_resolve(self, stack: contextlib.ExitStack) -> None:
        hub, resolver = gevent.get_hub(), current_engine().resolver
        unanswered = Unanswered(hub.resolver, self.reached)
        stack.callback(setattr, hub, "resolver", hub.resolver)
        stack.callback(setattr, resolver, "_lookup", resolver._lookup)
        stack.callback(unanswered.give_up.set)
        # (One for each lane.)
        hub.resolver, resolver._lookup = unanswered, unanswered.getaddrinfo
        self.url = "http://hangs.test/"
        self.deserted.set()  # there is nothing to be left

    def _in_connect(self, stack: contextlib.ExitStack) -> None:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        port = listener.getsockname()[1]
        for _ in range(8):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", port))
        self.url = f"http://127.0.0.1:{port}/"
        threading.Thread(
            target=self._await_attempt, args=(port, self._attempts(port)), daemon=True
        ).start()
        self.deserted.set()

    def _await_attempt(self, port: int, fillers: int) -> None:
        """Wait until one more socket is being connected than the fillers."""
        pause = threading.Event()
        for _ in range(1000):
            if self._attempts(port) > fillers:
                self.reached.set()
                return
            pause.wait(0.03)

    @staticmethod
    def _attempts(port: int) -> int:
        """Sockets in the state SYN_SENT, by the kernel's table."""
        wanted = f":{port:04X} 02 "
        with open("/proc/net/tcp") as table:
            return sum(wanted in line for line in table)

    def _serve(self, stack: contextlib.ExitStack, script: Any, scheme: str = "http") -> None:
        def serve(peer: Peer) -> None:
            with contextlib.suppress(OSError):
                script(peer)
                self.reached.set()
                peer.wait_end()
            self.deserted.set()

        server = stack.enter_context(RawServer(serve))
        self.url = f"{scheme}://127.0.0.1:{server.port}/"

    def _in_tls(self, stack: contextlib.ExitStack) -> None:
        self._serve(stack, lambda peer: peer.sock.recv(65536), "https")

    def _in_send(self, stack: contextlib.ExitStack) -> None:
        def script(peer: Peer) -> None:
            peer.until(b"\r\n\r\n")
            self.reached.set()
            # The client's end comes behind what is not read.
            self.struck.wait(PATIENCE)

        self._serve(stack, script)

    def _in_head(self, stack: contextlib.ExitStack) -> None:
        self._serve(stack, Peer.request)

    def _in_body(self, stack: contextlib.ExitStack) -> None:
        def script(peer: Peer) -> None:
            peer.request()
            peer.send(answer(b"whole")[:-3])

        self._serve(stack, script)

    def _in_between(self, stack: contextlib.ExitStack) -> None:
        self._serve(stack, Peer.request)
        self.deserted.set()


class Unanswered:
    """A resolver that says nothing of one name until it is told to give up."""

    def __init__(self, resolver: Any, reached: threading.Event) -> None:
        self.give_up = gevent.event.Event()
        self._resolver = resolver
        self._reached = reached

    def getaddrinfo(self, host: Any, *args: Any, **kwargs: Any) -> Any:
        if host in ("hangs.test", b"hangs.test"):
            self._reached.set()
            self.give_up.wait()
            raise socket.gaierror(socket.EAI_AGAIN, "given up")
        return self._resolver.getaddrinfo(host, *args, **kwargs)


# What interrupts, and what is left


#: Reads what there is, and is interrupted when a request is stuck; raises what it is interrupted by.
Strike = Callable[[Callable[[], None], Stuck], None]


def interrupt(phase: str, lane: str, strike: Strike) -> dict[str, Any]:
    """Interrupt a run in a phase, and say what became of it and of the next."""
    session = Odd() if lane == "general" else None
    rest: list[Result] = []
    with RawServer(Peer.serve) as quick, Stuck(phase) as stuck:
        client = Client(retry=None, circuit=None, timeout=Timeout(total=3600))
        first = grequests.get(f"{quick.url}/first", session=session)
        results = client.run(itertools.chain([first], stuck.items(session)))
        found = [next(results)]
        raised = "nothing"
        try:
            strike(lambda: found.extend(results), stuck)
        except BaseException as error:
            raised = type(error).__name__
        stuck.struck.set()
        rest += results
        eventually(stuck.deserted.is_set, "the connection to be closed")
        [following] = client.run([grequests.get(f"{quick.url}/next", session=session)])
        counts = client.statistics()
        client.close()
        if session is not None:
            session.close()
        grequests.close()
    return {
        "reached": stuck.reached.is_set(),
        "raised": raised,
        "found": [each.error is None and each.response.text for each in found],
        "rest": [type(each.error).__name__ for each in rest],
        "next": following.error is None and following.response.text,
        "counts": [counts.in_flight, counts.queued],
    }


def expected(phase: str, raised: str) -> dict[str, Any]:
    """What `interrupt` is to say: what was under way is cancelled, what was not pulled is not there."""
    return {
        "reached": True,
        "raised": raised,
        "found": ["/first"],
        "rest": [] if phase == "between" else ["RequestCancelledError"],
        "next": "/next",
        "counts": [0, 0],
    }
