"""urllib3's pools and connections made green, inside our greenlets only.

A PoolManager (one of an HTTPAdapter's) is greened by giving it two dictionaries that answer by who
asks.  Inside a greenlet of ours, keys of pools come out as green keys and classes of pools as green
subclasses; anywhere else both come out as they always were.  So green pools and the owner's own
live side by side in one manager, never share a connection, and end together when it is cleared.

A green pool differs from its class in five things: its queue waits cooperatively and across
threads; each connection it makes dials green sockets; a Retry sleeps cooperatively; a connection
whose kind (green, or stock because somebody watches the sockets) is wrong by now is redialled; and
where bodies are bounded (`_body_limit`), those of its responses are.

It may not know: Requests, sessions, adapters, who runs the greenlets.
"""

from __future__ import annotations

import copy
import http.client
import os
import queue
import time
import traceback
from functools import cache, lru_cache
from queue import Empty, Full
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

import gevent
from gevent.lock import Semaphore
from urllib3.exceptions import InvalidHeader
from urllib3.util.retry import Retry

from ._address_guard import check_peer, is_guarded
from ._body_limit import bound, is_limited
from ._green_dial import bind, check_proxied, close_if_unfit, inside, is_spent, is_within
from ._green_twin import Names, twin
from ._stock import is_original

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["drop_inherited", "green_manager"]

# --- the queue of a pool -------------------------------------------------------------------------


class IdleQueue(queue.LifoQueue[Any]):
    """A LIFO of idle connections whose `get` waits cooperatively, in any hub and any thread."""

    queue: list[Any]

    def __init__(self, maxsize: int = 0) -> None:
        """Hold at most `maxsize` items; 0 means any number."""
        super().__init__(maxsize)
        self._filled = Semaphore(0)

    def qsize(self) -> int:
        """How many items there are."""
        return len(self.queue)

    def empty(self) -> bool:
        """Whether there is none."""
        return not self.queue

    def full(self) -> bool:
        """Whether there is room for none."""
        return 0 < self.maxsize <= len(self.queue)

    def get(self, block: bool = True, timeout: float | None = None) -> Any:  # noqa: FBT001, FBT002
        """Take the newest item; `queue.Empty` if there is none in time."""
        if not self._filled.acquire(block, timeout if block else None):
            raise Empty
        return self.queue.pop()

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:  # noqa: ARG002, FBT001, FBT002
        """Add an item; `queue.Full` at once if there is no room (urllib3 never waits here)."""
        if self.full():
            raise Full
        self.queue.append(item)
        self._filled.release()

    def exchange_oldest(self, item: Any) -> Any:
        """Add an item in place of the oldest, which is returned."""
        self.queue.append(item)  # first: another thread may be about to take one
        return self.queue.pop(0)


# --- Retry ---------------------------------------------------------------------------------------


def _sleep(seconds: float) -> None:
    # A test may have replaced time.sleep so as not to wait; gevent's own patch does not matter.
    if is_original(time, "sleep"):
        gevent.sleep(seconds)
    else:
        time.sleep(seconds)


@cache
def _green_retry_class(cls: Any) -> Any:
    """`cls` with those of its two sleeping methods that are urllib3's made cooperative."""
    own: dict[str, Any] = {
        name: twin(getattr(cls, name), time=Names(time, sleep=_sleep))
        for name in ("sleep_for_retry", "_sleep_backoff")
        if is_original(cls, name)
    }
    return _renamed(cls, own)


def green_retry(retries: Any) -> Any:
    """A copy of a Retry that sleeps cooperatively; anything else as it is."""
    if not isinstance(retries, Retry):
        return retries
    green = copy.copy(retries)
    cls: Any = type(retries)  # typed as a class that hashes
    green.__class__ = _green_retry_class(cls)
    return green


def _renamed(cls: type, own: dict[str, Any], *mixins: type) -> type[Any]:
    """A subclass that cannot be told from `cls` by its names, which appear in error texts."""
    names = {"__module__": cls.__module__, "__qualname__": cls.__qualname__, "__doc__": cls.__doc__}
    return type(cls.__name__, (*mixins, cls), {**names, **own})


# --- pools ---------------------------------------------------------------------------------------


class _GreenPool:
    """What a green pool adds to the pool class it stands in for."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        _live_pools.add(self)

    def _new_conn(self) -> Any:
        conn = super()._new_conn()  # type: ignore[misc]
        bind(conn)
        return conn

    def _get_conn(self, *args: Any, **kwargs: Any) -> Any:
        conn = super()._get_conn(*args, **kwargs)  # type: ignore[misc]
        close_if_unfit(conn)
        return conn

    def _put_conn(self, conn: Any) -> None:
        """Keep the connection that was used last, rather than those that have long been idle.

        Who answers a challenge (NTLM, Negotiate) releases its connection and takes it again at
        once; had a full pool closed it meanwhile, as stock pools do, it would be refused.
        """
        if conn is not None and is_spent(conn):
            conn.close()
        idle = self.pool  # type: ignore[attr-defined]
        if conn is not None and type(idle) is IdleQueue and idle.full():
            conn = idle.exchange_oldest(conn)
            if conn is None:
                return
        super()._put_conn(conn)  # type: ignore[misc]

    def _make_request(self, *args: Any, **kwargs: Any) -> Any:
        check_proxied(args[0], self.host, args[2])  # type: ignore[attr-defined]
        try:
            response = super()._make_request(*args, **kwargs)  # type: ignore[misc]
        except InvalidHeader as error:
            _close_responses(error)
            raise
        if is_limited():
            bound(response)
        return response

    def _validate_conn(self, conn: Any) -> None:
        """Just before a request is sent: whoever has connected, and in whatever way."""
        super()._validate_conn(conn)  # type: ignore[misc]
        if is_guarded():
            if conn.sock is None:
                conn.connect()
            check_peer(conn.host, conn.sock)

    def _prepare_proxy(self, conn: Any) -> None:
        check_proxied(conn, self.host)  # type: ignore[attr-defined]
        super()._prepare_proxy(conn)  # type: ignore[misc]

    def urlopen(self, *args: Any, **kwargs: Any) -> Any:
        if inside() and "retries" in kwargs:
            kwargs["retries"] = green_retry(kwargs["retries"])
        return super().urlopen(*args, **kwargs)  # type: ignore[misc]


def _close_responses(error: BaseException) -> None:
    """Close the responses that an error has overtaken, each of which holds a socket.

    urllib3 refuses lengths that differ when `http.client` has handed the socket to its response; it
    would stay open for as long as somebody keeps the error.
    """
    for frame, _ in traceback.walk_tb(error.__traceback__):
        for value in frame.f_locals.values():
            if isinstance(value, http.client.HTTPResponse):
                value.close()


#: Methods that may be sent twice (RFC 9110 section 9.2.2).
_IDEMPOTENT = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE"})


class _ForgivingPool(_GreenPool):
    """A pool of connections that their user did not ask to be kept.

    A server may close such a connection in the very moment in which it is used again.  With a
    connection of its own, as Requests makes for it, the request would not have failed.
    """

    def _prepare_proxy(self, conn: Any) -> None:
        super()._prepare_proxy(conn)
        conn._grequests_fresh = True  # a tunnel is connected before its first request

    def _make_request(self, conn: Any, method: str, url: str, **kwargs: Any) -> Any:
        make = super()._make_request
        is_used = conn.sock is not None and not vars(conn).pop("_grequests_fresh", False)
        tunnels = getattr(conn, "_tunnel_host", None) is not None
        try:
            return make(conn, method, url, **kwargs)
        except ConnectionError:
            body = kwargs.get("body")
            if not (
                is_used and method in _IDEMPOTENT and isinstance(body, (bytes, str, type(None)))
            ):
                raise
        conn.close()
        if tunnels:
            self._prepare_proxy(conn)
        return make(conn, method, url, **kwargs)


@cache
def _green_pool_class(cls: Any, kind: type = _GreenPool) -> Any:
    """The green twin of a pool class, of whatever make."""
    if issubclass(cls, _GreenPool):
        return cls  # two threads greened one manager at a time
    own = {"QueueCls": IdleQueue} if cls.QueueCls is queue.LifoQueue else {}
    return _renamed(cls, own, kind)


#: Every green pool, for a fork to find.
_live_pools: WeakSet[Any] = WeakSet()

#: The kind of pool that stands in for those above while the network is faked
#: (`grequests.testing`), or None.
substitute: type | None = None


def _is_ours() -> bool:
    """Whether the caller is to have a green pool, or in a thread of ours, a faked one."""
    return inside() or (substitute is not None and is_within())


# --- managers ------------------------------------------------------------------------------------


class _PoolClasses(dict[str, Any]):
    """`pool_classes_by_scheme` of a greened manager."""

    def __init__(self, stock: dict[str, Any], kind: type) -> None:
        super().__init__(stock)
        self._stock = stock
        self._kind = kind

    def __getitem__(self, scheme: str) -> Any:
        cls: Any = self._stock[scheme]
        if not isinstance(cls, type) or not _is_ours():
            return cls
        return _green_pool_class(cls, substitute or self._kind)

    def __setitem__(self, scheme: str, cls: Any) -> None:
        super().__setitem__(scheme, cls)
        self._stock[scheme] = cls


class _PoolKeys(dict[str, Any]):
    """`key_fn_by_scheme` of a greened manager."""

    def __getitem__(self, scheme: str) -> Any:
        function = super().__getitem__(scheme)
        return _GreenKeyFunction(function) if _is_ours() else function

    def get(self, scheme: str, default: Any = None) -> Any:
        return self[scheme] if scheme in self else default  # noqa: SIM401  (it is green in [])


class _GreenKeyFunction:
    """A function that makes pool keys, and makes them green."""

    __slots__ = ("_function",)

    def __init__(self, function: Callable[[dict[str, Any]], Any]) -> None:
        self._function = function

    def __call__(self, context: dict[str, Any]) -> Any:
        key = self._function(context)
        if hasattr(key, "is_green"):
            return key
        cls: Any = type(key)
        return _green_key_class(cls, os.getpid(), substitute)._make(key)


@lru_cache(maxsize=64)
def _green_key_class(cls: Any, pid: int, kind: type | None) -> Any:
    """A PoolKey that equals only keys of its own kind, made in its own process.

    With the process in it, no pool that was inherited through a fork is ever found again.
    """

    def is_equal(self: Any, other: Any) -> bool:
        return type(other) is type(self) and bool(tuple.__eq__(self, other))

    def hashed(self: Any) -> int:
        return hash((pid, kind, "green", tuple.__hash__(self)))

    def differs(self: Any, other: object) -> bool:
        return not is_equal(self, other)

    own = {"__eq__": is_equal, "__ne__": differs, "__hash__": hashed, "is_green": True}
    return _renamed(cls, {"__slots__": (), **own})


def green_manager(manager: Any, *, forgiving: bool = False) -> None:
    """Make a urllib3 PoolManager serve green pools to our greenlets; once is enough.

    Args:
        manager: any PoolManager.
        forgiving: whether a request is sent once more if the connection it was to use again is
            closed by the server.
    """
    classes = manager.pool_classes_by_scheme
    if type(classes) is not _PoolClasses:
        manager.key_fn_by_scheme = _PoolKeys(manager.key_fn_by_scheme)
        kind = _ForgivingPool if forgiving else _GreenPool
        manager.pool_classes_by_scheme = _PoolClasses(classes, kind)


def drop_inherited() -> None:
    """In a forked child: close the descriptors of pools that the parent goes on using.

    Nothing is said on the wire, no TLS goodbye either: the connections are the parent's.
    """
    for pool in tuple(_live_pools):
        idle = getattr(pool, "pool", None)
        for conn in list(getattr(idle, "queue", ())):
            if conn is not None:
                conn.close()
    _live_pools.clear()
