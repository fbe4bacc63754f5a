"""What can fail, and how: a table of faults for each kind of call, and who makes one call fail.

A *kind* is a function of the operating system, of OpenSSL or of the event loop. The `Injector` counts the
calls of each kind and has one of them fail. Knows nothing of who makes the calls.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import socket
import ssl
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Fault:
    """One way in which a call can fail.

    Attributes:
        name: for reports.
        act: does it: takes the real call, the object that it is a method of (or None), and its
            arguments, and returns or raises what the caller gets.
        harmless: whether no request may suffer from it.
    """

    name: str
    act: Callable[[Callable[..., Any], Any, tuple[Any, ...]], Any]
    harmless: bool = False


def raising(make: Callable[[], BaseException], *, harmless: bool = False, name: str = "") -> Fault:
    """The call raises."""

    def act(real: Any, owner: Any, args: Any) -> Any:
        raise make()

    return Fault(name or type(make()).__name__, act, harmless)


def failing(code: int, *, harmless: bool = False) -> Fault:
    """The system says no; the socket, if there is one, lives on."""
    name = errno.errorcode[code]
    return raising(lambda: OSError(code, os.strerror(code)), harmless=harmless, name=name)


def breaking(code: int) -> Fault:
    """The system says that the connection is gone, and it is."""

    def act(real: Any, owner: Any, args: Any) -> Any:
        with contextlib.suppress(OSError):
            socket.socket.shutdown(owner, socket.SHUT_RDWR)
        raise OSError(code, os.strerror(code))

    return Fault(errno.errorcode[code], act)


def saying(code: int) -> Fault:
    """The call returns the number of an error."""
    return Fault(f"= {errno.errorcode[code]}", lambda real, owner, args: code)


def returning(name: str, value: Any, *, harmless: bool = False) -> Fault:
    """The call returns this."""
    return Fault(f"= {name}", lambda real, owner, args: value, harmless)


def _send_one(real: Any, owner: Any, args: Any) -> Any:
    return real(memoryview(args[0]).cast("B")[:1], *args[1:])


def _ready(events: int) -> Callable[..., Any]:
    return lambda real, owner, args: [(0, events)]


_MEMORY = raising(MemoryError)
_AGAIN = failing(errno.EAGAIN, harmless=True)
_TLS = raising(lambda: ssl.SSLError(1, "[SSL] injected"), name="SSLError")
_TLS_EOF = raising(lambda: ssl.SSLEOFError(8, "injected EOF"), name="SSLEOFError")

FAULTS: dict[str, tuple[Fault, ...]] = {
    "socket": (
        *map(failing, (errno.EMFILE, errno.ENOBUFS, errno.EACCES, errno.EINTR)),
        _MEMORY,
    ),
    "setblocking": (failing(errno.EBADF), _MEMORY),
    "setsockopt": (*map(failing, (errno.EINVAL, errno.ENOBUFS, errno.EINTR)), _MEMORY),
    "connect_ex": (
        *map(saying, (errno.ECONNREFUSED, errno.ETIMEDOUT, errno.EADDRNOTAVAIL, errno.EINTR)),
        _MEMORY,
    ),
    "getsockopt": (
        *map(saying, (errno.ECONNRESET, errno.ETIMEDOUT, errno.EHOSTUNREACH)),
        failing(errno.ENOBUFS),
        _MEMORY,
    ),
    "send": (
        *map(breaking, (errno.ECONNRESET, errno.EPIPE, errno.ETIMEDOUT)),
        *map(failing, (errno.ENOBUFS, errno.EINTR)),
        Fault("one byte", _send_one, harmless=True),
        _AGAIN,
        _MEMORY,
    ),
    "recv": (
        *map(breaking, (errno.ECONNRESET, errno.ETIMEDOUT)),
        *map(failing, (errno.ENOBUFS, errno.EINTR)),
        returning("b''", b""),
        Fault("one byte", lambda real, owner, args: real(1), harmless=True),
        _AGAIN,
        _MEMORY,
    ),
    "recv_into": (
        *map(breaking, (errno.ECONNRESET, errno.ETIMEDOUT)),
        *map(failing, (errno.ENOBUFS, errno.EINTR)),
        returning("0", 0),
        Fault("one byte", lambda real, owner, args: real(args[0], 1), harmless=True),
        _AGAIN,
        _MEMORY,
    ),
    "poll": (
        Fault("= POLLIN", _ready(select.POLLIN), harmless=True),
        Fault("= POLLERR", _ready(select.POLLERR | select.POLLHUP), harmless=True),
        failing(errno.ENOMEM),
        _MEMORY,
    ),
    "getaddrinfo": (
        raising(lambda: socket.gaierror(socket.EAI_NONAME, "no such name"), name="EAI_NONAME"),
        raising(lambda: socket.gaierror(socket.EAI_AGAIN, "try again"), name="EAI_AGAIN"),
        failing(errno.EMFILE),
        returning("[]", []),
        _MEMORY,
    ),
    "load context": (failing(errno.EMFILE), failing(errno.ENOENT), _TLS, _MEMORY),
    "wrap_bio": (_TLS, _MEMORY),
    "do_handshake": (
        raising(lambda: ssl.SSLCertVerificationError(1, "injected"), name="SSLCertVerification"),
        *(_TLS, _TLS_EOF, _MEMORY),
    ),
    "tls read": (_TLS, _TLS_EOF, _MEMORY),
    "tls write": (_TLS, _TLS_EOF, _MEMORY),
    "loop.io": (failing(errno.EMFILE), _MEMORY),
    "watcher.start": (failing(errno.EBADF), _MEMORY),
    "listdir": (
        failing(errno.EMFILE, harmless=True),
        failing(errno.ENOENT, harmless=True),
        _MEMORY,
    ),
    "poll object": (_MEMORY,),
    "spawn": (_MEMORY,),
    "loop.timer": (_MEMORY,),
}
#: Kinds of which one call serves several requests.
SHARED = frozenset({"getaddrinfo", "listdir"})


class Injector:
    """Counts calls, and has one of them fail.

    Attributes:
        counts: calls of each kind since `reset`.
        hit: whether the call that was to fail has been made.
    """

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.hit = False
        self._on = False
        self._target: tuple[str, int] | None = None
        self._fault: Fault | None = None

    def arm(self, kind: str = "", number: int = 0, fault: Fault | None = None) -> None:
        """Count from 1 again; the call with this number is to fail, if there is a fault."""
        self.counts.clear()
        self.hit = False
        self._on = True
        self._target = (kind, number)
        self._fault = fault

    def disarm(self) -> None:
        """Neither count nor fail."""
        self._on = False

    def call(self, kind: str, real: Callable[..., Any], args: tuple[Any, ...], owner: Any) -> Any:
        """Make a call, or have it fail."""
        if not self._on:
            return real(*args)
        self.counts[kind] += 1
        if self._fault is None or (kind, self.counts[kind]) != self._target:
            return real(*args)
        self.hit = True
        return self._fault.act(real, owner, args)
