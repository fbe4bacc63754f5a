"""How a green connection comes by its socket.

A connection object keeps its class, whoever made it (recorders and instrumentation bring their
own): only the method that dials, `_new_conn`, is bound anew on the object itself.  Its code stays
urllib3's, run over green sockets, so that errors keep their types and texts.  A class that dials in
a way of its own (PySocks, unix sockets) does so unmodified, in a thread, and the connected
descriptor is then taken over by a green socket.

It may not know: pools, managers, sessions, Requests.
"""

from __future__ import annotations

import contextlib
import http.client
import re
import socket
import ssl
from contextvars import ContextVar
from functools import cache
from types import FunctionType, MethodType
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from weakref import WeakSet, ref

import gevent
import urllib3.connection
import urllib3.util.connection
from gevent._hub_local import get_hub_if_exists

from ._address_guard import (
    check_peer,
    check_target,
    is_guarded,
    is_peer_permitted,
    permitted,
)
from ._framing import settle_framing
from ._green_socket import GreenSocket, adopt, getaddrinfo
from ._green_tls import GreenTLS, ThreadedTLS, TLSContext, context_for, context_for_proxy
from ._green_twin import Names, twin
from ._stock import is_stock, sockets_untouched
from ._threads import in_thread

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = [
    "bind",
    "check_proxied",
    "close_if_unfit",
    "enter",
    "inside",
    "is_spent",
    "is_within",
    "leave",
]

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
        socket=Names(socket, socket=GreenSocket, getaddrinfo=_permitted_getaddrinfo),
    )
    return twin(
        urllib3.connection.HTTPConnection._new_conn,
        connection=Names(urllib3.util.connection, create_connection=create),
    )


def _permitted_getaddrinfo(host: Any, *args: Any, **kwargs: Any) -> list[Any]:
    """As `getaddrinfo`, less what the policy of this context does not permit."""
    return permitted(host, getaddrinfo(host, *args, **kwargs))


def _resolve(host: str) -> list[Any]:
    return getaddrinfo(host, 0, type=socket.SOCK_STREAM)


def check_proxied(conn: Any, host: str, url: str = "") -> None:
    """Refuse a request whose target a proxy would connect to, if the policy does not permit it.

    Args:
        conn: to the proxy, if there is one.
        host: the target's, unless the URL has another.
        url: what is asked for, a whole URL where the proxy is not to make a tunnel.

    Raises:
        AddressDeniedError: it does not.
    """
    is_proxied = getattr(conn, "proxy", None) or getattr(conn, "_socks_options", None)
    if is_guarded() and is_proxied is not None:
        target = urlsplit(url).hostname or host
        check_target(target.strip("[]"), _resolve)


@contextlib.contextmanager
def _as_judged(conn: Any, options: dict[str, Any]) -> Iterator[None]:
    """Have PySocks, which looks names up by itself, dial the addresses that were judged.

    Raises:
        AddressDeniedError: the policy does not permit the proxy's, or the target's.
    """
    proxy = check_target(options["proxy_host"], _resolve)
    target, name = check_target(conn.host, _resolve), conn._dns_host
    conn._socks_options = {**options, "proxy_host": _first(proxy)}
    if not options["rdns"]:
        conn._dns_host = _first(target)
    try:
        yield
    finally:
        conn._socks_options, conn._dns_host = options, name


def _first(addresses: list[str]) -> str:
    """The one to connect to: of IPv4 if there is such, as SOCKS 4 knows no other."""
    return min(addresses, key=lambda address: ":" in address)


def bind(conn: Any) -> None:
    """Make a urllib3 connection dial green sockets whenever our greenlets use it."""
    # vcrpy's stand-ins dial through another, which alone knows what it was made with: addresses,
    # certificates, whom to trust.
    conn = getattr(conn, "real_connection", conn)
    dial = getattr(conn, "_new_conn", None)
    if not isinstance(dial, MethodType):
        return  # a stand-in of some kind, which does not dial
    conn._new_conn = _Dialler(dial)
    if getattr(conn, "response_class", None) is http.client.HTTPResponse:
        conn.response_class = _FinalResponse
    connect = getattr(conn, "connect", None)
    if isinstance(connect, MethodType) and _dials_by_itself(connect.__func__):
        conn.connect = _Connector(connect)


class _FinalResponse(http.client.HTTPResponse):
    """The response after interim ones; `http.client` skips 100 only, any number of times.

    It would take 103 Early Hints for the answer, and what then comes for that to the next request.

    It also tells whether its connection can be used again, where `http.client` believes so: not if
    its framing could be understood in two ways, and not if more came with it than it is.
    """

    def begin(self) -> None:
        is_new = self.headers is None
        super().begin()
        if is_new:
            settle_framing(self)
            if _is_ambiguous(self):
                _spend(self.fp)

    def _close_conn(self) -> None:
        if _has_more(self.fp):
            _spend(self.fp)
        super()._close_conn()  # type: ignore[misc]

    def _read_status(self) -> tuple[str, int, str]:
        if self._method is None:  # type: ignore[attr-defined]
            return super()._read_status()  # type: ignore[misc, no-any-return]  # a proxy's, to CONNECT
        for _ in range(MAX_INTERIM + 1):
            version, status, reason = super()._read_status()  # type: ignore[misc]
            if not _CONTINUE <= status < _FIRST_FINAL or status == _SWITCHING:
                return version, status, reason
            http.client._read_headers(self.fp)  # type: ignore[attr-defined]
        msg = f"more than {MAX_INTERIM} interim responses"
        raise http.client.HTTPException(msg)


_DIGITS = re.compile(r"[0-9]+")
_NO_CONTENT, _OLD = 204, 10
#: In a header's value: folds and what no value has (RFC 9110 section 5.5).
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
#: Sockets that are not to be used again.
_spent: WeakSet[Any] = WeakSet()


def is_spent(conn: Any) -> bool:
    """Whether a response on a connection has left it in a state that nobody knows."""
    return bool(_spent) and getattr(conn, "sock", None) in _spent


def _spend(file: Any) -> None:
    """The socket that a response was read from is not to be used again."""
    if (raw := _raw_of(file)) is not None:
        _spent.add(raw._sock)


def _raw_of(file: Any) -> Any:
    """Of the file that `socket.makefile` has made, what reads the socket; None if it is another."""
    raw = getattr(file, "raw", None)
    return raw if isinstance(raw, socket.SocketIO) else None


def _is_ambiguous(response: Any) -> bool:
    """Whether others may have understood a head's framing otherwise (RFC 9112 section 6.3)."""
    headers = response.headers
    lengths = headers.get_all("content-length", [])
    codings = headers.get_all("transfer-encoding", [])
    return (
        response.status == _SWITCHING
        or len(lengths) + len(codings) > 1
        or not all(map(_DIGITS.fullmatch, lengths))
        or (response.status == _NO_CONTENT and any(map(int, lengths)))
        or any(coding.lower() != "chunked" or response.version == _OLD for coding in codings)
        or bool(headers.defects)
        or any(map(_CONTROL.search, headers.values()))
    )


def _has_more(file: Any) -> bool:
    """Whether a file's buffer holds something that has been received and not read."""
    raw = _raw_of(file)
    if raw is None:
        return False
    raw.readinto = _read_nothing  # (`peek` reads if there is nothing, which might wait)
    try:
        return bool(file.peek(1))
    except ValueError:  # it is closed
        return False
    finally:
        del raw.readinto


def _read_nothing(_: Any) -> None:
    return None


_FinalResponse.__qualname__ = _FinalResponse.__name__ = "HTTPResponse"
_CONTINUE, _SWITCHING, _FIRST_FINAL = 100, 101, 200
#: Interim responses before a final one, as the engine has it.
MAX_INTERIM = 32


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
        if not is_guarded():
            return self._dial(conn)
        options = getattr(conn, "_socks_options", None)
        with contextlib.nullcontext() if options is None else _as_judged(conn, options):
            sock = self._dial(conn)
        check_peer(conn.host, sock)
        return sock

    def _dial(self, conn: Any) -> Any:
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
            result = self._method(conn, *args, **kwargs)
            check_peer(conn.host, conn.sock)
            return result
        result = in_thread(lambda: self._method(conn, *args, **kwargs))
        conn.sock = _cooperative(conn.sock)
        check_peer(conn.host, conn.sock)
        return result


def _cooperative(sock: Any) -> Any:
    """What a foreign way to connect made, so that it can be read without blocking the hub."""
    if isinstance(sock, ssl.SSLSocket):
        return ThreadedTLS(sock)
    return adopt(sock) if hasattr(sock, "detach") else sock


def _close(sock: Any) -> None:
    sock.close()


def close_if_unfit(conn: Any) -> None:
    """Close a pooled connection's socket if its kind, or where it leads, is not for us now.

    So too if it has more of its last response, or another, in TLS's buffers: urllib3 looks at the
    socket alone, and would take that for the answer to the next request. And if the server spoke
    before it was asked: that was taken for an answer, and the answer itself is still to come.

    The connection dials again when it is used.
    """
    sock = getattr(conn, "sock", None)
    if sock is None:
        return
    is_kind = isinstance(sock, _GREEN) is _may_green()
    if (
        not is_kind
        or (isinstance(sock, GreenTLS) and _has_leftovers(sock))
        or (isinstance(sock, GreenSocket) and sock.spoke_first)
        or not is_peer_permitted(sock)
    ):
        conn.close()


def _has_leftovers(sock: Any) -> bool:
    """Whether TLS holds bytes that nobody has read: plain ones, or whole records."""
    return bool(sock.pending() or sock.incoming.pending)


_GREEN = (GreenSocket, GreenTLS, ThreadedTLS)
