"""The general lane: Requests' own code, in a greenlet, over green connections.

`perform` calls `session.request(...)` and nothing else of what makes a request, so that subclasses,
hooks, auth flows, adapters, mocks and recorders all count.  What it adds happens below the session
(its adapters' managers serve green pools to our greenlets, see `_green_pool`) and is invisible to
whoever uses the session directly.

It may not know: who schedules the greenlets, the fast lane, retries, deadlines.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Callable
from traceback import walk_tb
from types import FunctionType
from typing import Any
from urllib.parse import urlsplit

import gevent
import requests
import requests.adapters
import requests.sessions
from gevent.lock import RLock
from requests.adapters import HTTPAdapter
from requests.exceptions import ContentDecodingError
from urllib3 import poolmanager
from urllib3.connectionpool import HTTPConnectionPool
from urllib3.poolmanager import PoolManager

from ._address_guard import is_guarded
from ._exceptions import AddressDeniedError
from ._green_auth import green_auth, lesson
from ._green_dial import enter, leave
from ._green_pool import drop_inherited, green_manager
from ._green_socket import relief
from ._stock import is_stock
from ._threads import in_thread

__all__ = [
    "close",
    "inside",
    "perform",
    "perform_prepared",
    "perform_signed",
    "shared_adapter",
]

#: Origins whose idle connections are kept, and how many for each.  An idle connection is a
#: descriptor; the default limit of a process is 1,024 of them.
_ORIGINS = 1000
_IDLE_PER_ORIGIN = 100

#: Adapters that answer without a network, from packages whose mocks look at their caller's thread.
_NEVER_BLOCK = ("requests_mock", "responses")

#: Packages whose sessions and adapters put their caller to sleep (limits of rate).
_SLEEPERS = frozenset({"pyrate_limiter", "requests_ratelimiter"})

#: Names in the code of an adapter that go on to the pools of its manager.
_TO_THE_MANAGER = frozenset(
    ("super", "HTTPAdapter", "poolmanager", "connection_from_host", "connection_from_url")
)

#: Sends through the session it is given.
_Send = Callable[[Any], requests.Response]

_pid = os.getpid()
_shared: HTTPAdapter | None = None


def perform(
    session: requests.Session | None, method: str, url: Any, kwargs: dict[str, Any]
) -> requests.Response:
    """Send one request with Requests' own code, letting other greenlets run while it waits.

    Args:
        session: whose `request` is called; None for a fresh one, which shares nothing but
            connections with any other.
        method: of HTTP.
        url: whatever `Session.request` takes.
        kwargs: whatever else `Session.request` takes.

    Returns:
        What `session.request` returns.

    Raises:
        What `session.request` raises, unchanged.
    """
    return _inside(
        session, url, kwargs.get("auth"), lambda used: used.request(method, url, **kwargs)
    )


def perform_prepared(
    session: requests.Session | None,
    request: requests.PreparedRequest,
    kwargs: dict[str, Any],
    max_redirects: int,
) -> requests.Response:
    """Send a prepared request in the same way; `kwargs` are those of `Session.send`.

    Args:
        session: a plain one, or None.
        request: it.
        kwargs: for `send`.
        max_redirects: how many may still follow.

    Raises:
        What `session.send` raises, unchanged.
    """

    def send(used: Any) -> requests.Response:
        if type(used) is requests.Session:
            used = copy.copy(used)  # all that it has is the same but for this
            used.max_redirects = max_redirects
        response: requests.Response = used.send(request, **kwargs)
        return response

    return _inside(session, request.url, None, send)


def perform_signed(
    session: requests.Session | None, request: requests.PreparedRequest, kwargs: dict[str, Any]
) -> requests.Response:
    """Go on where `Session.request` has prepared its request; `kwargs` are those of that method.

    Raises:
        What `session.request` raises, unchanged.
    """

    def send(used: Any) -> requests.Response:
        settings = used.merge_environment_settings(
            request.url,
            kwargs.get("proxies") or {},
            *(kwargs.get(name) for name in ("stream", "verify", "cert")),
        )
        settings["timeout"] = kwargs.get("timeout")
        settings["allow_redirects"] = kwargs.get("allow_redirects", True)
        response: requests.Response = used.send(request, **settings)
        return response

    return _inside(session, request.url, None, send)


def inside(adapter: HTTPAdapter, function: Callable[[], Any], session: Any = None) -> Any:
    """Call a function that may send by an adapter, letting other greenlets run while it waits.

    It may also send by the other adapters of the session, if there is one.

    That is a response hook. What it sends goes over green connections, and over that which it has
    released last, as in Requests: to NTLM and Negotiate that matters. The engine would give a
    connection that is free to whoever waits for one.

    Raises:
        What the function raises.
    """

    def call(used: Any) -> Any:
        for each in (used, *_adapters(session).values()):
            _green_adapter(each)
        return function()

    return _inside(adapter, None, None, call)


def _inside(session: Any, url: Any, auth: Any, send: _Send) -> requests.Response:
    if os.getpid() != _pid:
        _after_fork()
    token = enter()
    try:
        with lesson():
            if _recorded or _is_recorded():
                return _send_recorded(session, url, auth, send)
            return _send(session, url, auth, send)
    except (ContentDecodingError, UnicodeDecodeError) as error:
        _close_unread(error)
        raise
    finally:
        leave(token)


def _close_unread(error: BaseException) -> None:
    """Close a response whose body, or whose Location, could not be decoded: it holds a socket.

    urllib3 closes it where the connection is to blame, and Requests never; the error, and with it
    the traceback's frames, may be kept for long.
    """
    for frame, _ in walk_tb(error.__traceback__):
        is_led_on = frame.f_code.co_name == "resolve_redirects"
        read = frame.f_locals.get("resp" if is_led_on else "self")
        if isinstance(read, requests.Response):
            read.close()


# --- recorders -----------------------------------------------------------------------------------

_one_at_a_time = RLock()
_recorded = 0


def _is_recorded() -> bool:
    """Whether vcrpy is at work."""
    return HTTPConnectionPool.ConnectionCls.__module__.startswith("vcr.")


def _send_recorded(session: Any, url: Any, auth: Any, send: _Send) -> requests.Response:
    """One request at a time: vcrpy takes its hooks off, for all, while it records one.

    So `_is_recorded` is no answer while one is on its way, hence the count.
    """
    global _recorded  # noqa: PLW0603
    _recorded += 1
    try:
        with _one_at_a_time:
            return _send(session, url, auth, send)
    finally:
        _recorded -= 1


# --- sending -------------------------------------------------------------------------------------


def _send(session: Any, url: Any, auth: Any, send: _Send) -> requests.Response:
    if session is None:
        return _perform_alone(url, auth, send)
    return _perform(session, url, auth, send)


def _perform(session: Any, url: Any, auth: Any, send: _Send) -> requests.Response:
    adapters = _adapters(session)
    for adapter in adapters.values():
        _green_adapter(adapter)
    green_auth(auth)
    green_auth(getattr(session, "auth", None))
    # (A redirect may lead to any of them.)
    if is_guarded() and (_sleeps(session) or not all(map(_can_be_guarded, adapters.values()))):
        # Its connections are its own business: nobody asks the policy before they are made.
        raise AddressDeniedError(str(urlsplit(str(url)).hostname), [])
    if _sleeps(session) or _blocks(adapters, url):
        return in_thread(lambda: send(session))
    return send(session)


def _perform_alone(url: Any, auth: Any, send: _Send) -> requests.Response:
    """As `requests.request` does it, with connections that outlive the session."""
    # Looked up each time: requests-cache and others put their own class there.
    session = requests.sessions.Session()
    adapters = _adapters(session)
    shared = shared_adapter()
    for prefix, adapter in adapters.items():
        if type(adapter) is HTTPAdapter:
            adapters[prefix] = shared
    try:
        return _perform(session, url, auth, send)
    finally:
        if type(session) is not requests.Session:
            _close_all_but(shared, session, adapters)


def _close_all_but(shared: HTTPAdapter, session: Any, adapters: dict[str, Any]) -> None:
    """Close somebody's session class as `requests.request` would, but for the shared adapter."""
    for prefix in [prefix for prefix, adapter in adapters.items() if adapter is shared]:
        del adapters[prefix]
    session.close()


def _adapters(session: Any) -> dict[str, Any]:
    found = getattr(session, "adapters", None)
    return found if isinstance(found, dict) else {}


# --- adapters ------------------------------------------------------------------------------------


def shared_adapter() -> HTTPAdapter:
    """The adapter of requests that have no session; its pools are green in our greenlets."""
    global _shared  # noqa: PLW0603
    if _shared is None:
        adapter = HTTPAdapter(pool_connections=_ORIGINS, pool_maxsize=_IDLE_PER_ORIGIN)
        _green_adapter(adapter, forgiving=True)
        _shared = adapter
    return _shared


def close() -> None:
    """Close the idle connections of requests that had no session.  Safe to call again."""
    if _shared is not None:
        _close_all_idle()
        _shared.close()
        # Whether an adapter has any tells others (toolbelt's dumps) that it went through a proxy.
        _shared.proxy_manager.clear()


def _close_all_idle() -> None:
    """Give back the descriptors that the shared adapter keeps for later."""
    if _shared is not None:
        for manager in (_shared.poolmanager, *_shared.proxy_manager.values()):
            _close_idle(manager)


relief.bring = _close_all_idle


def _close_idle(manager: PoolManager) -> None:
    """Close a manager's idle connections now; urllib3 does when a pool's last response is gone."""
    for key in manager.pools.keys():  # noqa: SIM118 - it is no dict
        pool = manager.pools.get(key)
        for conn in list(getattr(pool and pool.pool, "queue", ())):
            if conn is not None:
                conn.close()


def _green_adapter(adapter: Any, *, forgiving: bool = False) -> None:
    """Green the managers of an HTTPAdapter, in place; whatever else it is stays as it is."""
    manager = getattr(adapter, "poolmanager", None)
    if isinstance(manager, PoolManager):
        green_manager(manager, forgiving=forgiving)
    proxies = getattr(adapter, "proxy_manager", None)
    if type(proxies) is dict:
        adapter.proxy_manager = _ProxyManagers(proxies, forgiving=forgiving)


class _ProxyManagers(dict[str, Any]):
    """`proxy_manager` of an adapter: the managers appear there while a request runs."""

    def __init__(self, managers: dict[str, Any], *, forgiving: bool) -> None:
        super().__init__()
        self._forgiving = forgiving
        for proxy, manager in managers.items():
            self[proxy] = manager

    def __setitem__(self, proxy: str, manager: Any) -> None:
        if isinstance(manager, PoolManager):
            green_manager(manager, forgiving=self._forgiving)
        super().__setitem__(proxy, manager)


def _blocks(adapters: dict[str, Any], url: Any) -> bool:
    """Whether a request may reach an adapter that does I/O of its own, in which a thread helps.

    That is the adapter of its URL, and any that a redirect could lead to.
    """
    if not any(_is_foreign(adapter) for adapter in adapters.values()):
        return False
    wanted = str(url).lstrip().lower()
    mine = next((p for p in adapters if wanted.startswith(p.lower())), None)
    reachable = [p for p in adapters if p == mine or p.lower().startswith("http")]
    return any(_is_foreign(adapters[prefix]) for prefix in reachable)


def _is_foreign(adapter: Any) -> bool:
    """Whether an adapter sends otherwise than over the pools of its manager, or sleeps first."""
    if isinstance(getattr(adapter, "poolmanager", None), PoolManager):
        return _sleeps(adapter) or not _asks_manager(type(adapter))
    return type(adapter).__module__.partition(".")[0] not in _NEVER_BLOCK


def _can_be_guarded(adapter: Any) -> bool:
    """Whether all that an adapter sends goes over pools of ours."""
    return (
        not _is_foreign(adapter)
        and _leads_on(type(adapter), "send", requests.adapters)
        and _leads_on(type(getattr(adapter, "poolmanager", None)), "_new_pool", poolmanager)
    )


def _leads_on(cls: type, name: str, module: Any) -> bool:
    """Whether a method is a module's own, or leads to that, as the names in its code tell."""
    method = getattr(cls, name, None)
    if not isinstance(method, FunctionType):
        return False
    return is_stock(method, module) or bool({"super", "HTTPAdapter"} & {*method.__code__.co_names})


def _sleeps(thing: Any) -> bool:
    """Whether a session or an adapter is of a package that sleeps where nobody can wake it."""
    return any(cls.__module__.partition(".")[0] in _SLEEPERS for cls in type(thing).__mro__)


def _asks_manager(cls: Any, name: str = "get_connection_with_tls_context") -> bool:
    """Whether an adapter's connections are its manager's, and not of pools of its own making.

    The names in its code tell: adapters for unix sockets (requests-unixsocket, docker) find their
    pools in a dictionary of their own, and say none of the names that lead to the manager.
    """
    method = getattr(cls, name, None)
    if not isinstance(method, FunctionType) or is_stock(method, requests.adapters):
        return True
    names = {*method.__code__.co_names}
    if hasattr(method, "__wrapped__") or names & _TO_THE_MANAGER:
        return True
    return (
        name != "get_connection"
        and "get_connection" in names
        and _asks_manager(cls, "get_connection")
    )


# --- fork ----------------------------------------------------------------------------------------


def _after_fork() -> None:
    """In a forked child, before its first request."""
    global _pid, _shared  # noqa: PLW0603
    _pid = os.getpid()
    gevent.reinit()
    drop_inherited()
    # Another thread of the parent may have held a lock of it, and does not exist here.
    _shared = None
