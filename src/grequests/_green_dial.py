"""How a green connection comes by its socket.

A connection object keeps its class, whoever made it (recorders and instrumentation bring their
own): only the method that dials, `_new_conn`, is bound anew on the object itself.  Its code stays
urllib3's, run over green sockets, so that errors keep their types and texts.  A class that dials in
a way of its own (PySocks, unix sockets) does so unmodified, in a thread, and the connected
descriptor is then taken over by a green socket.

It may not know: pools, managers, sessions, Requests.
"""

from __future__ import annotations

import socket
import ssl
from contextvars import ContextVar
from functools import cache
from types import FunctionType, MethodType
from typing import TYPE_CHECKING, Any
from weakref import ref

import gevent
import urllib3.connection
import urllib3.util.connection
from gevent._hub_local import get_hub_if_exists

from ._green_socket import GreenSocket, adopt, getaddrinfo, in_thread
from ._green_tls import GreenTLS, ThreadedTLS, TLSContext, context_for, context_for_proxy
from ._green_twin import Names, twin
from ._stock import is_stock, sockets_untouched

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["bind", "close_if_other_kind", "enter", "inside", "is_within", "leave"]

_hub: ContextVar[Any] = ContextVar("grequests_hub", default=None)


def enter() -> Any:
    """From here on the current context is inside; returns what `leave` wants."""
    return _hub.set(gevent.get_hub())


def leave(token: Any) -> None:
    """End what `enter` began."""
    _hub.reset(token)


def inside() -> bool:
    """Whether the caller runs in a greenlet of ours.

    A context can be copied into another thread (`asyncio.to_thread`), which is then outside: the
    hub that is remembered is not that thread's.
    """
    hub = _hub.get()
    return hub is not None and hub is get_hub_if_exists()


def is_within() -> bool:
    """Whether the caller runs on behalf of such a greenlet, in whatever thread."""
    return _hub.get() is not None


def _may_green() -> bool:
    return inside() and sockets_untouched()


# urllib3's own code, over our sockets.  Made when first used: a guard may sit on these names when
# this module is imported, and `sockets_untouched` is asked before.


@cache
def _green_new_conn() -> Callable[[Any], Any]:
    create = twin(
        urllib3.util.connection.create_connection,
        socket=Names(socket, socket=GreenSocket, getaddrinfo=getaddrinfo),
    )
    return twin(
        urllib3.connection.HTTPConnection._new_conn,
        connection=Names(urllib3.util.connection, create_connection=create),
    )


def bind(conn: Any) -> None:
    """Make a urllib3 connection dial green sockets whenever our greenlets use it."""
    # vcrpy's stand-ins dial through another, which alone knows what it was made with: addresses,
    # certificates, whom to trust.
    conn = getattr(conn, "real_connection", conn)
    dial = getattr(conn, "_new_conn", None)
    if not isinstance(dial, MethodType):
        return  # a stand-in of some kind, which does not dial
    conn._new_conn = _Dialler(dial)
    connect = getattr(conn, "connect", None)
    if isinstance(connect, MethodType) and _dials_by_itself(connect.__func__):
        conn.connect = _Connector(connect)


def _dials_by_itself(connect: Any) -> bool:
    """Whether a `connect` neither is urllib3's nor leads there.

    The names in its code tell: somebody who goes on to the parent's method says `super`, the
    parent's class or `_new_conn`; somebody who opens a socket says none of them.  A wrapper that
    is no plain function goes on to what it wraps.
    """
    if not isinstance(connect, FunctionType) or is_stock(connect, urllib3.connection):
        return False
    if hasattr(connect, "__wrapped__"):
        return False
    names = connect.__code__.co_names
    return "socket" in names and not {"super", "_new_conn", "HTTPConnection", "HTTPSConnection"} & {
        *names
    }


class _Bound:
    """A method bound anew on one connection, without keeping it alive.

    Weak: else a connection would refer to itself, and an abandoned one would stay open until the
    garbage collector comes by.
    """

    __slots__ = ("_conn", "_method")

    def __init__(self, method: MethodType) -> None:
        self._conn = ref(method.__self__)
        self._method: Any = method.__func__


class _Dialler(_Bound):
    """In the place of `_new_conn`: decides at each dial which kind of socket it will be.

    At each dial, because a connection object outlives many sockets, and mocks come and go.
    """

    __slots__ = ("_context", "_proxy_config")

    def __init__(self, method: MethodType) -> None:
        super().__init__(method)
        self._context = getattr(method.__self__, "ssl_context", None)
        self._proxy_config = getattr(method.__self__, "proxy_config", None)

    def __call__(self) -> Any:
        conn: Any = self._conn()
        if not _may_green():
            self._give_back(conn)
            return self._method(conn)
        self._prepare_tls(conn)
        if is_stock(self._method, urllib3.connection):
            return _green_new_conn()(conn)
        return _cooperative(in_thread(lambda: self._method(conn), _close))

    def _give_back(self, conn: Any) -> None:
        """Undo `_prepare_tls`."""
        if type(getattr(conn, "ssl_context", None)) is TLSContext:
            conn.ssl_context = self._context
            conn.proxy_config = self._proxy_config

    def _prepare_tls(self, conn: Any) -> None:
        """Give a connection, which reads it next, a context that makes green TLS."""
        if not hasattr(conn, "ssl_context"):
            return
        config = self._proxy_config
        if config is not None and conn.proxy.scheme == "https":
            given = config.ssl_context
            if given is not None:
                conn.proxy_config = config._replace(ssl_context=TLSContext(given))
            elif conn._tunnel_host is not None:
                conn.proxy_config = config._replace(ssl_context=context_for_proxy(conn))
            # Else the proxy forwards, and urllib3 uses the connection's own context for it.
        given = self._context
        conn.ssl_context = context_for(conn) if given is None else TLSContext(given)


class _Connector(_Bound):
    """In the place of a `connect` that opens its socket itself."""

    __slots__ = ()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        conn: Any = self._conn()
        if not _may_green():
            return self._method(conn, *args, **kwargs)
        result = in_thread(lambda: self._method(conn, *args, **kwargs))
        conn.sock = _cooperative(conn.sock)
        return result


def _cooperative(sock: Any) -> Any:
    """What a foreign way to connect made, so that it can be read without blocking the hub."""
    if isinstance(sock, ssl.SSLSocket):
        return ThreadedTLS(sock)
    return adopt(sock) if hasattr(sock, "detach") else sock


def _close(sock: Any) -> None:
    sock.close()


def close_if_other_kind(conn: Any) -> None:
    """Close a pooled connection's socket if its kind is not the one to use now.

    The connection dials again when it is used.
    """
    sock = getattr(conn, "sock", None)
    if sock is not None and isinstance(sock, _GREEN) is not _may_green():
        conn.close()


_GREEN = (GreenSocket, GreenTLS, ThreadedTLS)
