"""The engine of one hub: its origins, its deadlines, its share of the descriptors.

An engine belongs to a gevent hub, and a hub to a thread. It is made when a thread first sends
something, survives from one run to the next so that connections are used again, and is dropped by
`close_engine`, at the end of its thread, at exit and in a forked child.
"""

from __future__ import annotations

import atexit
import contextlib
import errno
import os
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakValueDictionary

import gevent
from gevent.monkey import get_original

from grequests._threads import await_lookup, getaddrinfo

from ._budget import BUDGET, Budget
from ._deadlines import Deadlines
from ._failure import Failure, Phase
from ._parking import park
from ._pool import Origin, OriginKey
from ._resolve import Resolver
from ._watchers import close_watcher

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._connection import Connection
    from ._exchange import Exchange

#: Seconds after which a starved engine that holds nothing itself looks again.
_RETRY: Final = 0.05
#: Origins without a connection that are remembered for their TLS tickets.
_MAX_TICKETS: Final = 1024


@dataclass(frozen=True)
class EngineStatistics:
    """A snapshot of an engine.

    Attributes:
        opened: connections made since the engine was made.
        reused: responses since then for which no connection had to be made.
        open: connections there are now.
        idle: those of them without a request.
        connecting: connections being made.
        waiting: requests that wait for a connection.
        starved: those of them that wait for a descriptor.
        origins: identities with a connection.
        streaming: connections, not counted above, whose response is being read by the user.
    """

    opened: int
    reused: int
    open: int
    idle: int
    connecting: int
    waiting: int
    starved: int
    origins: int
    streaming: int


class Engine:
    """Sends exchanges over HTTP/1.1 connections, in the callbacks of one hub."""

    def __init__(self, hub: Any, budget: Budget = BUDGET) -> None:
        self.hub = hub
        self.loop = hub.loop
        self.budget = budget
        self.pid = os.getpid()
        self.deadlines = Deadlines(lambda delay: hub.loop.timer(delay, ref=False), time.monotonic)
        self.resolver = Resolver(getaddrinfo, turn=await_lookup)
        self.origins: dict[OriginKey, Origin] = {}
        # An origin that has been retired may still be in somebody's hands and come back: there
        # must never be two for one key, or one of them would be out of reach.
        self._all: WeakValueDictionary[OriginKey, Origin] = WeakValueDictionary()
        self.starved: dict[Exchange, Origin] = {}
        #: Connections that others read responses from. They outlive the engine.
        self.detached: set[Connection] = set()
        self.opened = 0
        #: What `EngineStatistics.reused` counts, of the connections that are not the origins' now.
        self.reuses = 0
        self._tickets: dict[OriginKey, Any] = {}
        self._retry: Any = None
        self._relieving = False

    def __repr__(self) -> str:
        counts = self.statistics()
        return f"<Engine open={counts.open} idle={counts.idle} waiting={counts.waiting}>"

    # The transport's face: origin, send, abort, close, statistics

    def origin(self, key: OriginKey) -> Origin:
        """The connections to an identity, kept or new."""
        known = self.origins.get(key) or self._all.get(key)
        if known is None:
            known = self._all[key] = Origin(self, key)
        if known.ticket is None:
            known.ticket = self._tickets.pop(key, None)
        return known

    def send(self, exchange: Exchange) -> None:
        """Begin an exchange. Its `on_response` or `on_failure` is called later, once."""
        exchange.origin.dispatch(exchange)

    def abort(self, exchange: Exchange) -> None:
        """End an exchange without calling either; its connection, if it has one, is closed."""
        connection = exchange.connection
        if connection is not None:
            exchange.connection = None
            connection.abort()
        else:
            exchange.origin.withdraw(exchange)

    def close(self) -> None:
        """Close every connection and forget everything. The engine can be used again."""
        for origin in list(self.origins.values()):
            origin.close()
        self.origins.clear()
        self.starved.clear()
        self._tickets.clear()
        self.deadlines.close()
        self._stop_retrying()

    def close_idle(self) -> None:
        """Close the connections that nobody uses."""
        for origin in list(self.origins.values()):
            origin.close_idle()
        if not self.deadlines:
            self.deadlines.close()  # its timer would go on for a few seconds

    def statistics(self) -> EngineStatistics:
        """A snapshot of the counts."""
        origins = self.origins.values()
        return EngineStatistics(
            opened=self.opened,
            reused=self.reuses
            + sum(each.reuses for origin in origins for each in origin.connections),
            open=sum(len(origin.connections) for origin in origins),
            idle=sum(len(origin.idle) for origin in origins),
            connecting=sum(len(origin.connecting) for origin in origins),
            waiting=sum(len(origin.waiting) for origin in origins),
            starved=len(self.starved),
            origins=len(self.origins),
            streaming=len(self.detached),
        )

    def capacity(self) -> int:
        """How many connections there may be at once, as far as is known now."""
        self.budget.refresh()
        return self.budget.limit

    # Descriptors

    def take_descriptor(self) -> bool:
        """Reserve one, if need be by closing idle connections elsewhere."""
        while not self.budget.take():
            if not self._evict_idle():
                return False
        return True

    def give_descriptor(self) -> None:
        self.budget.give()
        if self.starved:
            self.relieve()

    def starve(self, origin: Origin, exchange: Exchange) -> None:
        """Have an exchange wait for a descriptor."""
        self.origins[origin.key] = origin
        self.starved[exchange] = origin
        self.keep_trying()

    def keep_trying(self) -> None:
        """Look after the starved from time to time, if no connection's end will tell when."""
        if self._retry is None and not self.has_others(None):
            # All descriptors are in others' hands: nothing of ours will wake us.
            self._retry = self.loop.timer(_RETRY, _RETRY)
            self._retry.start(self._try_again)

    def _try_again(self) -> None:
        self._feed_starved()
        if self.detached and not self.has_others(None):
            self._fail_stuck()

    def _fail_stuck(self) -> None:
        """Who reads streamed responses waits for others to end, which wait for a descriptor."""
        for exchange, origin in list(self.starved.items()):
            if exchange.is_stuck():
                origin.withdraw(exchange)
                cause = OSError(errno.EMFILE, os.strerror(errno.EMFILE))
                exchange.on_failure(Failure(Phase.CONNECT, cause))

    def relieve(self) -> None:
        """A connection is idle or closed while others starve: see to them, in a callback."""
        if not self._relieving:
            self._relieving = True
            self.loop.run_callback(self._feed_starved)

    def has_others(self, origin: Origin | None) -> bool:
        """Whether there is a connection whose end will free a descriptor."""
        return any(
            each.connections or (each.connecting and each is not origin)
            for each in self.origins.values()
        )

    def retire(self, origin: Origin) -> None:
        """Forget an origin that has no connection."""
        if self.origins.get(origin.key) is origin:
            del self.origins[origin.key]
        if origin.ticket is not None:
            if len(self._tickets) >= _MAX_TICKETS:
                del self._tickets[next(iter(self._tickets))]
            self._tickets[origin.key] = origin.ticket

    def _feed_starved(self) -> None:
        self._relieving = False
        while self.starved and self.take_descriptor():
            self.budget.give()
            exchange, origin = next(iter(self.starved.items()))
            del self.starved[exchange]
            if exchange in origin.waiting:
                origin.grow(exchange)
        if self.starved:
            self.keep_trying()
        else:
            self._stop_retrying()

    def _stop_retrying(self) -> None:
        if self._retry is not None:
            close_watcher(self._retry)
            self._retry = None

    def _evict_idle(self) -> bool:
        """Close an eighth of the idle connections, at least one: constant work on average.

        Returns:
            Whether there was any.
        """
        idle = [origin for origin in self.origins.values() if origin.idle]
        quota = 1 + sum(len(origin.idle) for origin in idle) // 8
        for origin in idle:
            while origin.idle and quota:
                quota -= 1
                origin.idle.pop(0).close()
        return bool(idle)

    def forked(self) -> None:
        """In a child: drop the parent's connections. No byte is sent on them.

        Closing our copy of a descriptor says nothing to the server; the parent's lives on.
        """
        self.budget = Budget.__new__(Budget)  # on_closed gives back to a budget that is nobody's
        Budget.__init__(self.budget)
        self.close()
        for connection in list(self.detached):
            connection.leave(reusable=False)

    # Connections that are read from elsewhere

    def is_here(self) -> bool:
        """Whether this is the engine's thread, and its hub is alive."""
        return self.pid == os.getpid() and gevent.hub._get_hub() is self.hub  # type: ignore[attr-defined]

    def call(self, function: Callable[[], None]) -> None:
        """Call a function where connections may be touched. To be called in any thread.

        That is here and now in the engine's own thread; from another one, when its hub runs next.
        In a forked child, and once the hub is gone, there is no such connection, and no call.
        """
        if self.is_here():
            function()
            return
        loop = self.hub.loop
        if self.pid == os.getpid() and loop is not None:
            with contextlib.suppress(ValueError):  # it was destroyed meanwhile
                loop.run_callback_threadsafe(function)

    def forget_detached(self, connection: Connection) -> None:
        """A detached connection was closed in another thread. Safe to call in any."""
        self.detached.discard(connection)
        self.budget.give()


_engines: list[Engine] = []
_ATTRIBUTE: Final = "_grequests_engine"


class _ThreadEnd(get_original("_thread", "_local")):  # type: ignore[misc]
    """Closes the engine of a thread that ends."""

    engine: _Closer


class _Closer:
    __slots__ = ("_engine",)

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def __del__(self, is_finalizing: Any = sys.is_finalizing) -> None:
        if not is_finalizing():  # at exit, _close_at_exit has seen to it
            drop(self._engine)
            _destroy_hub(self._engine)


def _destroy_hub(engine: Engine) -> None:
    """Release a finished thread's loop, which gevent leaves open: two descriptors each."""
    hub = engine.hub
    if hub.loop is not None and not hub.loop.default and engine.pid == os.getpid():
        hub.destroy()


_thread_end = _ThreadEnd()

#: Gives the engine to use in the place of a real one while the network is faked
#: (`grequests.testing`), or None.
substitute: Callable[[Engine], Engine] | None = None


def current_engine() -> Engine:
    """The engine of this thread's hub, made if there is none."""
    hub = gevent.get_hub()
    engine: Engine | None = getattr(hub, _ATTRIBUTE, None)
    if engine is None or engine.pid != os.getpid():
        engine = Engine(hub)
        setattr(hub, _ATTRIBUTE, engine)
        _engines.append(engine)
        _thread_end.engine = _Closer(engine)
    return engine if substitute is None else substitute(engine)


def drop(engine: Engine) -> None:
    """Close an engine for good."""
    if engine in _engines:
        _engines.remove(engine)
    if engine.pid == os.getpid():
        engine.close()


def close_engine() -> None:
    """Close this thread's idle connections, if it has any. The next request makes new ones.

    Requests that other greenlets wait for go on: without their connection they would wait for ever.
    """
    hub = gevent.hub._get_hub()  # type: ignore[attr-defined]
    engine: Engine | None = getattr(hub, _ATTRIBUTE, None)
    if engine is not None and engine.pid == os.getpid():
        engine.close_idle()
        if not engine.origins and not engine.starved:
            engine.close()  # nothing under way: the timers can go, too


@atexit.register
def _close_at_exit() -> None:
    """Close this thread's connections, and have other threads keep still.

    Their connections stay open: daemons run on until the interpreter is gone, and a loop is not to
    be touched while its thread is in it.
    """
    hub = gevent.hub._get_hub()  # type: ignore[attr-defined]
    engine: Engine | None = getattr(hub, _ATTRIBUTE, None)
    if engine is not None:
        drop(engine)
    pid = os.getpid()
    park(each.hub for each in _engines if each.pid == pid and each.hub.loop is not None)


def _after_fork() -> None:
    """In a forked child: a hub whose loop the parent shares, and connections that are not ours."""
    BUDGET.forked()
    inherited, _engines[:] = list(_engines), []
    for engine in inherited:
        engine.forked()
    if inherited:
        gevent.reinit()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
