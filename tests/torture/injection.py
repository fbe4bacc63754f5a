"""Where the library makes its calls: stand-ins that count them and have one fail.

The stock functions stay where they are, or everything would take the general lane: what is replaced are
names in modules of ours, and attributes of our objects. Sockets are subclasses, so that nothing of the
servers, which live in the same process, is touched.
"""

from __future__ import annotations

import _socket
import contextlib
import os
import socket
import weakref
from collections.abc import Iterator
from typing import Any

import gevent
import pytest

from grequests import _green_dial, _green_socket, _green_tls
from grequests._engine import (
    _budget,
    _connect,
    _connection,
    _pool,
    _resolve,
    _tls,
    _unverified,
    current_engine,
)

from .faults import Injector

#: Bytes that a client's socket takes at once; the system doubles it.
SEND_BUFFER = 16_384

#: Names that only this resolver knows: one with a first address at which nobody listens, and one
#: with nothing odd about it.
NAMES = {"several.test": ("127.0.0.9", "127.0.0.1"), "single.test": ("127.0.0.1",)}


class Stand:
    """Stands for a module or an object: some names are others, the rest is as it is."""

    def __init__(self, real: Any, **other: Any) -> None:
        self.__dict__.update(other)
        self._real = real

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


def sockets(injector: Injector, base: type) -> tuple[type, list[Any]]:
    """A subclass of a class of sockets whose calls can fail, and references to those made of it."""
    made: list[Any] = []
    call = injector.call

    class Tortured(base):  # type: ignore[misc, valid-type]
        __slots__ = () if hasattr(base, "__weakref__") else ("__weakref__",)

        def __init__(self, *args):
            call("socket", super().__init__, args, None)
            made.append(weakref.ref(self))
            _socket.socket.setsockopt(self, socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)

        def setblocking(self, flag):
            return call("setblocking", super().setblocking, (flag,), self)

        def setsockopt(self, *args):
            return call("setsockopt", super().setsockopt, args, self)

        def connect_ex(self, address):
            return call("connect_ex", super().connect_ex, (address,), self)

        def getsockopt(self, *args):
            return call("getsockopt", super().getsockopt, args, self)

        def send(self, *args):
            return call("send", super().send, args, self)

        def recv(self, *args):
            return call("recv", super().recv, args, self)

        def recv_into(self, *args):
            return call("recv_into", super().recv_into, args, self)

    return Tortured, made


def watchers(injector: Injector, loop: Any) -> type:
    """The loop's class of watchers of sockets, which can fail to be made and to start."""
    spare = loop.io(0, 1)
    base = type(spare)
    spare.close()

    class Watcher(base):  # type: ignore[misc, valid-type]
        def start(self, callback, *args, **kwargs):
            start = super().start
            return injector.call(
                "watcher.start", lambda: start(callback, *args, **kwargs), (), None
            )

    return Watcher


def resolving(injector: Injector, real: Any) -> Any:
    """A `getaddrinfo` that knows our names, and asks nobody else."""

    def look_up(host, port, family=0, kind=0, proto=0, flags=0):
        if isinstance(host, bytes):
            host = host.decode()
        found = []
        for address in NAMES.get(host, ("127.0.0.1",)):
            found += _socket.getaddrinfo(address, port, family, kind, proto, flags)
        return found

    return lambda *args, **kwargs: injector.call(
        "getaddrinfo", lambda: look_up(*args, **kwargs), (), None
    )


def counted(injector: Injector, kind: str, real: Any) -> Any:
    """A function whose calls can fail."""
    return lambda *args, **kwargs: injector.call(kind, lambda: real(*args, **kwargs), (), None)


@contextlib.contextmanager
def fast_lane(injector: Injector) -> Iterator[list[Any]]:
    """The engine's calls go by the injector. Gives references to the sockets that are made."""
    engine, hub = current_engine(), gevent.get_hub()
    kind, made = sockets(injector, _socket.socket)
    watcher = watchers(injector, hub.loop)
    io = counted(injector, "loop.io", lambda fileno, events: watcher(hub.loop, fileno, events))
    loop = Stand(hub.loop, io=io)
    view = Stand(hub, loop=loop)

    def connector(_hub, *args):
        return _connect.Connector(view, *args)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_connect, "_socket", Stand(_socket, socket=kind))
        patch.setattr(_pool, "Connector", connector)
        patch.setattr(engine, "loop", loop)
        patch.setattr(engine.resolver, "_lookup", resolving(injector, None))
        patch.setattr(_connection, "_make_poll", _polls(injector))
        patch.setattr(_connect, "TLSSession", _tls_session(injector))
        patch.setattr(_tls, "_make_context", counted(injector, "load context", _tls._make_context))
        listdir = counted(injector, "listdir", os.listdir)
        patch.setattr(_budget, "os", Stand(os, listdir=listdir))
        timer = counted(injector, "loop.timer", engine.deadlines._make_timer)
        patch.setattr(engine.deadlines, "_make_timer", timer)
        for module in (_pool, _resolve, _connect, _unverified):
            spawn = counted(injector, "spawn", gevent.spawn)
            patch.setattr(module, "gevent", Stand(gevent, spawn=spawn))
        yield made


def _polls(injector: Injector) -> Any:
    real = _connection._make_poll

    class Poll:
        def __init__(self):
            self._real = injector.call("poll object", real, (), None)
            self.register = self._real.register

        def poll(self, milliseconds):
            return injector.call("poll", self._real.poll, (milliseconds,), None)

    return Poll


def _tls_session(injector: Injector) -> Any:
    class Session(_tls.TLSSession):
        __slots__ = ()

        def __init__(self, *args):
            injector.call("wrap_bio", super().__init__, args, None)
            self._read = counted(injector, "tls read", self._read)
            self._write = counted(injector, "tls write", self._write)

        def handshake(self):
            return injector.call("do_handshake", super().handshake, (), None)

    return Session


@contextlib.contextmanager
def general_lane(injector: Injector) -> Iterator[list[Any]]:
    """The calls of green sockets go by the injector. Gives references to the sockets that are made."""
    hub = gevent.get_hub()
    beneath, made = sockets(injector, socket.socket)
    watcher = watchers(injector, hub.loop)

    class Green(_green_socket.GreenSocket, beneath):  # type: ignore[misc, valid-type]
        """Its `super()` is the tortured one."""

    class Wait(_green_socket._Wait):
        __slots__ = ()

        def __init__(self, fileno, events):
            injector.call("loop.io", super().__init__, (fileno, events), None)
            self.watcher.close()
            self.watcher = watcher(self.hub.loop, fileno, events)

    class TLS(_green_tls.GreenTLS):
        def __init__(self, *args):
            injector.call("wrap_bio", super().__init__, args, None)

        def _ssl_io_loop(self, function, *args):
            kind = {"read": "tls read", "write": "tls write"}.get(function.__name__, "do_handshake")
            return super()._ssl_io_loop(counted(injector, kind, function), *args)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_green_dial, "GreenSocket", Green)
        patch.setattr(_green_socket, "_Wait", Wait)
        patch.setattr(_green_tls, "GreenTLS", TLS)
        patch.setattr(_green_tls, "_build", counted(injector, "load context", _green_tls._build))
        once = _green_tls.TLSContext._once
        patch.setattr(
            _green_tls.TLSContext,
            "_once",
            lambda self, *args: injector.call("load context", once, (self, *args), None),
        )
        patch.setattr(hub, "resolver", Stand(hub.resolver, getaddrinfo=resolving(injector, None)))
        _green_dial._green_new_conn.cache_clear()
        yield made
    _green_dial._green_new_conn.cache_clear()


def forget() -> None:
    """What was learned in an earlier run is to be learned again."""
    current_engine().resolver._known.clear()
    _tls._contexts.clear()
    _green_tls._contexts.clear()
