"""The general lane's side: urllib3's pools, whose connections lead to the script.

Everything of Requests and urllib3 runs as it is, down to `http.client`, which writes its request to
something like a socket and reads the answer from it. Only connecting is replaced: no name is
resolved, no proxy asked for a tunnel, nobody shakes hands. What goes wrong there is raised where it
would be, by urllib3's own code.
"""

from __future__ import annotations

import io
import ssl
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any
from weakref import ref

import urllib3.connection
import urllib3.util.connection
from urllib3.util.ssl_ import resolve_cert_reqs

import grequests._green_pool as pools
from grequests._green_dial import _hub
from grequests._green_pool import _GreenPool
from grequests._green_twin import Names, twin

from ._script import DIALLING, Fault
from ._transport import FakeTransport, current, switches
from ._wire import Way, dial_error, dial_seconds, origin_of, read_request, timetable, unsent_request

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from ._script import Answer
    from ._visit import Visit

#: Method and target of the request that the running greenlet makes.
_asked: ContextVar[tuple[str, str]] = ContextVar("asked")


class FakePool(_GreenPool):
    """What a pool of the fake network adds to the class it stands in for.

    Its connections carry one request each.
    """

    def _new_conn(self) -> Any:
        conn = super(_GreenPool, self)._new_conn()  # type: ignore[misc]
        real = getattr(conn, "real_connection", conn)  # vcrpy's stand-ins dial through another
        real.connect = _Connect(real)
        return conn

    def urlopen(self, method: str, url: str, *args: Any, **kwargs: Any) -> Any:
        token = _asked.set((method, url))
        try:
            return super().urlopen(method, url, *args, **kwargs)
        finally:
            _asked.reset(token)

    def _put_conn(self, conn: Any) -> None:
        if conn is not None:
            conn.close()
        super()._put_conn(conn)


class _Connect:
    """In the place of a connection's `connect`. It does not keep the connection alive."""

    __slots__ = ("_conn",)

    def __init__(self, conn: Any) -> None:
        self._conn = ref(conn)

    def __call__(self) -> None:
        conn: Any = self._conn()
        transport = current()
        if transport is None:
            msg = "the FakeTransport is not active any more"
            raise ConnectionAbortedError(msg)
        conn.sock = FakeSocket(conn, transport)
        conn.sock.dial(*_asked.get())
        conn._has_connected_to_proxy = conn.proxy is not None
        if hasattr(conn, "ssl_context"):
            mode = resolve_cert_reqs(conn.cert_reqs)
            conn.is_verified = mode == ssl.CERT_REQUIRED or bool(conn.assert_fingerprint)
        if conn.proxy is not None:
            conn.proxy_is_verified = conn.proxy.scheme == "https"


def way_of(conn: Any) -> Way:
    """Where a connection leads, as far as it knows: a proxy of plain http is told by each URL."""
    proxy = None
    if conn.proxy is not None:
        proxy = Way(conn.proxy.scheme, conn.proxy.host, conn.proxy.port).origin
    scheme = "https" if hasattr(conn, "ssl_context") else "http"
    if conn._tunnel_host is not None:
        return Way(scheme, conn._tunnel_host.strip("[]"), conn._tunnel_port, proxy)
    return Way(scheme, conn.host.strip("[]"), conn.port, proxy)


class FakeSocket:
    """What `http.client` takes for a socket.

    Args:
        conn: the connection it is of.
        transport: what answers.
    """

    def __init__(self, conn: Any, transport: FakeTransport) -> None:
        self._conn = ref(conn)
        self._transport = transport
        self._way = way_of(conn)
        self._connect_timeout: float | None = conn.timeout
        self._timeout: float | None = conn.timeout
        self._wire = bytearray()
        self._visit: Visit
        self._is_heard = False
        #: What of it is open. The last to be closed ends the visit.
        self._open = {"socket"}

    def __repr__(self) -> str:
        return f"<FakeSocket to {self._way.origin} {'open' if self._open else 'closed'}>"

    def dial(self, method: str, target: str) -> None:
        """Set out with a request.

        Raises:
            urllib3.exceptions.HTTPError, ssl.SSLError: it never gets there.
        """
        host = origin_of(self._way.url(target))
        # Whose loop it is, in whatever thread this runs.
        self._visit = visit = self._transport.enter(host, _hub.get())
        asked = unsent_request(method, target, self._way, visit.clock.now())
        fault = self._transport.early(asked)
        if fault is not None:
            self._refuse(fault)

    def _refuse(self, answer: Answer) -> None:
        self._visit.wait(dial_seconds(answer, self._connect_timeout))
        fault: Any = answer.error
        error = dial_error(fault)
        conn: Any = self._conn()
        # A proxy that was reached is not what urllib3 puts the blame on.
        conn._has_connected_to_proxy = fault is Fault.TLS and conn.proxy is not None
        if fault is Fault.TLS:
            raise error
        conn.timeout = self._connect_timeout
        _fail_to_dial(conn, error)

    # What http.client calls

    def settimeout(self, seconds: float | None) -> None:
        """Say how long to wait for a byte."""
        self._timeout = seconds

    def sendall(self, data: Buffer) -> None:
        """Take bytes of the request."""
        self._wire += memoryview(data).cast("B")

    def makefile(self, *_args: Any, **_kwargs: Any) -> io.BufferedReader:
        """What the answer is read from."""
        self._open.add("file")
        return io.BufferedReader(_File(self))

    def shutdown(self, _how: int) -> None:
        """Nothing that anybody would notice."""

    def close(self, what: str = "socket") -> None:
        """Close it, or the file."""
        self._open.discard(what)
        if not self._open and hasattr(self, "_visit"):
            self._visit.end()

    # The answer

    def receive(self) -> bytes:
        """What comes next.

        Raises:
            TimeoutError: nothing came in time.
            Exception: what was scripted, or a function of the user's has raised.
        """
        if not self._is_heard:
            self._is_heard = True
            self._hear()
        return self._visit.receive(self._timeout)

    def _hear(self) -> None:
        """The request is here, since an answer is asked for."""
        visit = self._visit
        request = read_request(bytes(self._wire), self._way, visit.clock.now())
        answer = self._transport.take(request)
        if callable(answer):
            answer = answer()
        if answer.error in DIALLING:
            self._refuse(answer)
        visit.answer(timetable(answer, request.method))


def _fail_to_dial(conn: Any, error: OSError) -> None:
    """Raise what urllib3 makes of an error of the system's while it connects."""

    def create_connection(*_args: Any, **_kwargs: Any) -> None:
        raise error

    dial = twin(
        urllib3.connection.HTTPConnection._new_conn,
        connection=Names(urllib3.util.connection, create_connection=create_connection),
    )
    dial(conn)


class _File(io.RawIOBase):
    """The bytes of an answer."""

    def __init__(self, sock: FakeSocket) -> None:
        super().__init__()
        self._sock = sock
        self._data = memoryview(b"")

    def readable(self) -> bool:
        """Always."""
        return True

    def readinto(self, buffer: Buffer) -> int:
        """Read what there is, waiting if there is nothing."""
        target = memoryview(buffer).cast("B")
        if not self._data:
            self._data = memoryview(self._sock.receive())
        count = min(len(target), len(self._data))
        target[:count] = self._data[:count]
        self._data = self._data[count:]
        return count

    def close(self) -> None:
        """Close it; twice is once."""
        if not self.closed:
            self._sock.close("file")
        super().close()


# --- activation ----------------------------------------------------------------------------------


def _switch(on: bool) -> None:  # noqa: FBT001
    pools.substitute = FakePool if on else None


switches.append(_switch)
