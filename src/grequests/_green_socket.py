"""A socket that waits in whatever gevent hub its caller runs in.

The general lane gives urllib3 connections sockets of this class.  It is the standard library's
own `socket.socket` with the five methods that can wait (`connect recv recv_into send sendall`)
made cooperative, so that everything else (`makefile`, `detach`, reference counts of files, options,
`isinstance`) is the standard library's own behaviour.

It may not know: HTTP, urllib3, Requests, TLS, pools.

Why not `gevent.socket.socket`: that one creates its watchers when it is made, on the hub of the
thread that made it, and is of no use in another.  A Session is shared between threads, and a
streamed response is read wherever its owner likes; here the hub is looked up when waiting.
"""

from __future__ import annotations

import _socket
import errno
import os
import socket as _socket_module
from select import POLLIN, POLLOUT
from time import monotonic
from typing import TYPE_CHECKING, Any

import gevent
from gevent import get_hub
from gevent.hub import Waiter
from gevent.monkey import get_original

from . import _threads
from ._stock import original_class

try:
    import resource
except ImportError:  # pragma: no cover
    resource = None  # type: ignore[assignment]

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["GreenSocket", "adopt", "getaddrinfo"]

_make_poll = get_original("select", "poll")
_READ, _WRITE = 1, 2
#: The process, or the system, has no descriptor left.
_EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE})
_IN_PROGRESS = frozenset({errno.EINPROGRESS, errno.EALREADY, errno.EWOULDBLOCK})

#: Seconds for which a socket is read from or written to without a wait, after which others have
#: their turn. A peer that is faster than we are would else hold the hub, and no deadline end it.
_TURN = 0.01
#: So many reads or writes in a row before anybody looks at the clock.
_ROW = 4


if TYPE_CHECKING:
    from socket import socket as _Socket  # noqa: N812
else:
    _Socket = original_class(_socket_module, "socket")


class _Wait:
    """One greenlet that waits for one socket: what is needed to wake it up from elsewhere."""

    __slots__ = ("events", "fileno", "hub", "waiter", "watcher")

    def __init__(self, fileno: int, events: int) -> None:
        self.fileno, self.events = fileno, events
        self.hub: Any = get_hub()
        self.waiter: Any = Waiter(self.hub)
        self.watcher: Any = self.hub.loop.io(fileno, events)

    def run(self, seconds: float | None) -> None:
        """Wait until the socket is ready; raises TimeoutError after `seconds`."""
        timer = None
        try:
            if seconds is not None:
                timer = self.hub.loop.timer(max(seconds, 0.0))
                # update=True: the loop's clock stands still while Python code runs.
                timer.start(self._expire, update=True)
            self.watcher.start(self.waiter.switch, None)
            self.waiter.get()
        finally:
            self.watcher.stop()
            self.watcher.close()
            if timer is not None:
                timer.stop()
                timer.close()

    def _expire(self) -> None:
        """Time is up. What came while the process was suspended, or just busy, still counts."""
        poller = _make_poll()
        poller.register(self.fileno, POLLIN if self.events == _READ else POLLOUT)
        if poller.poll(0):
            self.waiter.switch(None)
        else:
            self.waiter.throw(TimeoutError("timed out"))

    def cancel(self) -> None:
        """Wake the waiting greenlet with EBADF, from whichever thread."""
        gone = OSError(errno.EBADF, "File descriptor was closed in another greenlet")
        if self.hub is gevent.hub._get_hub():  # type: ignore[attr-defined]
            # At once: the number of the descriptor is free for reuse when close() returns.
            self.watcher.stop()
            self.hub.loop.run_callback(self.waiter.throw, gone)
        else:
            self.hub.loop.run_callback_threadsafe(self.waiter.throw, gone)


class Relief:
    """What to do when no descriptor is left: who keeps idle ones says how to close them."""

    def __init__(self) -> None:
        self.bring: Callable[[], None] = lambda: None


relief = Relief()


def _ceiling() -> int:
    """The descriptor from which on the rest is left to others; the lowest free one is given out."""
    if resource is None:  # pragma: no cover - Windows has no such limit
        return 1 << 20
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 1 << 20 if soft == resource.RLIM_INFINITY else soft - min(32, soft // 4)


class GreenSocket(_Socket):
    """A stream socket whose waiting lets other greenlets of the thread run.

    Its descriptor is non-blocking from the start; the timeout that `settimeout` sets is kept here
    and has the meaning it has for a standard socket.

    Attributes:
        spoke_first: whether the other end had sent something before anything was sent to it.
    """

    spoke_first = False
    _has_sent = False
    _timeout: float | None
    _waits: set[_Wait]
    _row = 0
    _turn_ends: float

    def __init__(
        self,
        family: int = -1,
        type: int = -1,
        proto: int = -1,
        fileno: int | None = None,
    ) -> None:
        """Make a socket, or take over the descriptor `fileno`."""
        self._waits = set()
        try:
            super().__init__(family, type, proto, fileno)
        except OSError as error:
            if error.errno not in _EXHAUSTED:
                raise
            relief.bring()
            super().__init__(family, type, proto, fileno)
        if self.fileno() >= _ceiling():
            relief.bring()
        self._timeout = _socket_module.getdefaulttimeout()
        super().setblocking(False)  # noqa: FBT003

    # The timeout: ours, because the descriptor itself never blocks.

    @property
    def timeout(self) -> float | None:
        """Seconds an operation may take; None means any time."""
        return self._timeout

    def gettimeout(self) -> float | None:
        """Seconds an operation may take; None means any time."""
        return self._timeout

    def settimeout(self, value: float | None, /) -> None:
        """Set the seconds an operation may take; ValueError if negative."""
        if value is not None:
            value = float(value)
            if value < 0.0:
                msg = "Timeout value out of range"
                raise ValueError(msg)
        self._timeout = value

    def setblocking(self, flag: bool, /) -> None:  # noqa: FBT001
        """True waits for ever, False never."""
        self._timeout = None if flag else 0.0

    def getblocking(self) -> bool:
        """Whether operations may wait."""
        return self._timeout != 0.0

    # What can wait.

    def recv(self, *args: Any) -> bytes:
        """As `socket.recv`, waiting cooperatively."""
        self._take_turns(_READ, self._timeout)
        while True:
            try:
                return super().recv(*args)
            except BlockingIOError:
                if self._timeout == 0.0:
                    raise
            self._wait(_READ, self._timeout)

    def recv_into(self, *args: Any) -> int:
        """As `socket.recv_into`, waiting cooperatively."""
        self._take_turns(_READ, self._timeout)
        while True:
            try:
                return super().recv_into(*args)
            except BlockingIOError:
                if self._timeout == 0.0:
                    raise
            self._wait(_READ, self._timeout)

    def send(self, *args: Any) -> int:
        """As `socket.send`, waiting cooperatively."""
        return self._send(args, self._timeout)

    def sendall(self, data: Any, *flags: Any) -> None:
        """As `socket.sendall`: the timeout covers the whole of it."""
        if not self._has_sent:
            self._has_sent = True
            self.spoke_first = self._has_input()
        deadline = None if self._timeout is None else monotonic() + self._timeout
        try:
            whole = memoryview(data)
        except TypeError:
            msg = f"a bytes-like object is required, not {type(data).__name__!r}"
            raise TypeError(msg) from None
        with whole as view, view.cast("B") as octets:
            sent, total = 0, len(octets)
            while sent < total:
                left = None if deadline is None else deadline - monotonic()
                sent += self._send((octets[sent:], *flags), left)

    def _has_input(self) -> bool:
        try:
            return bool(super().recv(1, _socket_module.MSG_PEEK))
        except OSError:
            return False

    def _send(self, args: tuple[Any, ...], seconds: float | None) -> int:
        self._take_turns(_WRITE, seconds)
        while True:
            try:
                return super().send(*args)
            except BlockingIOError:
                if self._timeout == 0.0:
                    raise
            self._wait(_WRITE, seconds)

    def connect(self, address: Any, /) -> None:
        """As `socket.connect`, waiting cooperatively."""
        code = self.connect_ex(address)
        if code == errno.EWOULDBLOCK and self._timeout != 0.0:
            raise TimeoutError("timed out")  # noqa: EM101, TRY003  (the text is socket.connect's)
        if code:
            raise OSError(code, os.strerror(code))

    def connect_ex(self, address: Any, /) -> int:
        """As `socket.connect_ex`: the error's number instead of an exception."""
        code = super().connect_ex(address)
        if code not in _IN_PROGRESS or self._timeout == 0.0:
            return code
        try:
            self._wait(_WRITE, self._timeout)
        except TimeoutError:
            return errno.EWOULDBLOCK
        except BaseException:
            # The greenlet is being killed; urllib3 closes the socket after an OSError only.
            self.close()
            raise
        return self.getsockopt(_socket.SOL_SOCKET, _socket.SO_ERROR)

    def _take_turns(self, events: int, seconds: float | None) -> None:
        """Let others run now and then, though there may be nothing to wait for."""
        self._row += 1
        if self._row < _ROW:
            return
        now = monotonic()
        if self._row == _ROW:
            self._turn_ends = now + _TURN
        elif now > self._turn_ends and self._timeout != 0.0 and self.fileno() >= 0:
            # By the event loop: after a `sleep(0)` gevent may run others like it 50 times before
            # it looks at any timer.
            self._wait(events, seconds)

    def _wait(self, events: int, seconds: float | None) -> None:
        self._row = 0
        wait = _Wait(self.fileno(), events)
        self._waits.add(wait)
        try:
            wait.run(seconds)
        finally:
            self._waits.discard(wait)

    def wait_readable(self, seconds: float | None) -> None:
        """Wait until there is something to read; TimeoutError after `seconds`."""
        self._wait(_READ, seconds)

    def wait_writable(self, seconds: float | None) -> None:
        """Wait until something can be sent; TimeoutError after `seconds`."""
        self._wait(_WRITE, seconds)

    def _real_close(self, *args: Any) -> None:
        for wait in tuple(self._waits):
            wait.cancel()
        super()._real_close(*args)  # type: ignore[misc]


def adopt(sock: Any) -> GreenSocket:
    """Take the descriptor of a connected blocking socket, which is empty afterwards."""
    timeout = sock.gettimeout()
    green = GreenSocket(fileno=sock.detach())
    green.settimeout(timeout)
    return green


def getaddrinfo(  # noqa: PLR0913, PLR0917 - the signature of socket.getaddrinfo
    host: Any,
    port: Any,
    family: int = 0,
    type: int = 0,
    proto: int = 0,
    flags: int = 0,
) -> list[Any]:
    """As `socket.getaddrinfo`, by the resolver that the user has chosen, or in a thread."""
    try:
        # A number needs no resolver, and so no thread.
        return _socket.getaddrinfo(host, port, family, type, proto, flags | _socket.AI_NUMERICHOST)
    except _socket.gaierror:
        return _threads.getaddrinfo(host, port, family, type, proto, flags)
