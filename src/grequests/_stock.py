"""Whether the functions on a request's way are still the originals.

Mocks (responses, requests-mock), recorders (vcrpy), instrumentation (OpenTelemetry) and guards
(pytest-socket) work by replacing functions of Requests, urllib3, http.client, socket and ssl.  The
fast lane stands in for those functions, so it may be taken only while all of them are stock; the
general lane may put green sockets under urllib3 only while nobody watches the sockets.

Two questions, asked once per request, answered by comparing identities.  What "the original" is
gets decided at import, by looking at the function and not at where it was found, because somebody
may have been faster: a plain function, without `__wrapped__`, whose code comes from the file of the
module that it should be in (`__module__` lies under wrapt).  A name that was already taken keeps
both answers at "no" until its owner gives it back.

It may not know: requests, lanes, sessions, greenlets.
"""

from __future__ import annotations

import http.client
import socket
import ssl
import sys
from operator import attrgetter
from types import FunctionType, ModuleType
from typing import TYPE_CHECKING, Any

import gevent.monkey
import gevent.socket
import gevent.ssl
import requests
import requests.adapters
import requests.api
import requests.cookies
import requests.models
import requests.sessions
import urllib3
import urllib3.connection
import urllib3.connectionpool
import urllib3.poolmanager
import urllib3.response
import urllib3.util.connection
import urllib3.util.ssl_

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["is_original", "is_stock", "original_class", "sockets_untouched", "untouched"]


def is_stock(function: object, module: Any) -> bool:
    """Whether `function` is what the file of `module` defines, and no wrapper around it."""
    return (
        type(function) is FunctionType
        and "__wrapped__" not in function.__dict__
        and function.__code__.co_filename == getattr(module, "__file__", None)
    )


def is_original(owner: Any, name: str) -> bool:
    """Whether `owner.name` is what the packages named here put there, or gevent's version of it.

    Args:
        owner: a module or a class; for a class, the inherited method counts.
        name: of a function, a class or a method.
    """
    value: Any = _found(owner, name)
    if type(value) is FunctionType:
        home = _home(value.__globals__.get("__name__", ""))
        if home is not None and value.__code__.co_name == name:
            return is_stock(value, home)
    elif isinstance(value, type):
        home = _home(value.__module__)
        # ConnectionCls is the one name under which a class of another name may be found.
        is_named = name in {value.__name__, "ConnectionCls"}
        if home is not None and getattr(home, value.__name__, None) is value:
            return is_named
    elif isinstance(value, _BUILTIN):
        # Functions of C cannot be imitated: wrappers are Python objects.
        return getattr(value, "__name__", None) == name
    return _is_gevents(value, owner, name)


def _found(owner: Any, name: str) -> Any:
    """What is stored under the name, without binding it."""
    spaces = [vars(base) for base in owner.__mro__] if isinstance(owner, type) else [vars(owner)]
    value: Any = next((space[name] for space in spaces if name in space), None)
    return value.__func__ if isinstance(value, (staticmethod, classmethod)) else value


_HOMES = frozenset({"requests", "urllib3", "http", "socket", "ssl", "time"})


def _home(name: str) -> ModuleType | None:
    """The module of that name, if it is one of those whose word counts here."""
    return sys.modules.get(name) if name.partition(".")[0] in _HOMES else None


#: Functions and methods of C.
_BUILTIN: tuple[type[Any], ...] = (type(len), type(str.join), type(object.__init__))


def _is_gevents(value: Any, module: Any, name: str) -> bool:
    """Whether `value` is what gevent's monkey patching puts into `module`."""
    own = _GEVENTS.get(module.__name__) if isinstance(module, ModuleType) else None
    # urllib3.util.ssl_ and others have names of theirs from modules that were patched before.
    candidates = [own] if own is not None else _GEVENTS.values()
    return value is not None and any(getattr(m, name, None) is value for m in candidates)


_GEVENTS = {"socket": gevent.socket, "ssl": gevent.ssl, "time": gevent.hub}


# --- what is watched -----------------------------------------------------------------------------


def original_class(module: Any, name: str) -> Any:
    """The class of the standard library called `name`, whoever replaced it meanwhile.

    `module.name` may be gevent's version, or a guard or mock of a test tool: the class that belongs
    there is found among its bases, among what gevent saved, or among what was built upon it.
    """
    saved = gevent.monkey.get_original(module.__name__, name)
    for candidate in (saved, getattr(module, name), gevent.monkey.get_original("ssl", "SSLSocket")):
        for base in getattr(candidate, "__mro__", ()):
            if (base.__module__, base.__name__) == (module.__name__, name):
                return base
    return saved


_Watched = tuple[Any, tuple[str, ...]]

_SOCKETS: tuple[_Watched, ...] = (
    (socket, ("socket", "getaddrinfo", "create_connection")),
    (original_class(socket, "socket"), ("connect", "send", "sendall", "recv", "recv_into")),
    (urllib3.util.connection, ("create_connection",)),
    (urllib3.connection, ("ssl_wrap_socket",)),
    (urllib3.util.ssl_, ("ssl_wrap_socket",)),
)

#: The fast lane only: green connections take contexts of any make (truststore, pyOpenSSL).
_REQUESTS: tuple[_Watched, ...] = (
    (urllib3.util.ssl_, ("SSLContext",)),
    (ssl, ("SSLContext",)),
    (requests, ("Session",)),
    (
        requests.sessions,
        (
            *("Session", "HTTPAdapter", "PreparedRequest", "merge_setting", "dispatch_hook"),
            *("extract_cookies_to_jar", "get_netrc_auth", "get_environ_proxies"),
        ),
    ),
    (
        requests.Session,
        (
            *("send", "request", "prepare_request", "merge_environment_settings"),
            *("get_adapter", "resolve_redirects", "rebuild_auth", "rebuild_method"),
            *("rebuild_proxies", "should_strip_auth", "get_redirect_target", "__init__"),
        ),
    ),
    (
        requests.adapters.HTTPAdapter,
        (
            *("send", "build_response", "get_connection_with_tls_context", "cert_verify"),
            *("proxy_headers", "add_headers", "request_url", "init_poolmanager"),
            *("proxy_manager_for", "build_connection_pool_key_attributes"),
        ),
    ),
    (
        requests.PreparedRequest,
        (
            *("prepare", "prepare_method", "prepare_url", "prepare_headers", "prepare_cookies"),
            *("prepare_body", "prepare_auth", "prepare_hooks", "prepare_content_length"),
        ),
    ),
    (
        urllib3.connectionpool.HTTPConnectionPool,
        ("urlopen", "_make_request", "_get_conn", "_new_conn", "ConnectionCls"),
    ),
    (urllib3.connectionpool.HTTPSConnectionPool, ("urlopen", "_new_conn", "ConnectionCls")),
    (urllib3.connection.HTTPConnection, ("request", "getresponse", "connect", "_new_conn")),
    (urllib3.connection.HTTPSConnection, ("request", "connect", "_new_conn")),
    (
        http.client.HTTPConnection,
        ("request", "putrequest", "putheader", "send", "getresponse", "connect", "endheaders"),
    ),
)


_UNKNOWN = object()


class _Watch:
    """A set of names, and what each was when it was last seen to be original."""

    def __init__(self, name: str, *rows: _Watched) -> None:
        self._rows = rows
        self._originals: dict[tuple[int, str], Any] = {}
        self.question = self._written_out(name)
        # What is stock now is learned now; of the rest, only an original will do later.
        self.question()

    def _written_out(self, name: str) -> Callable[[], bool]:
        """A function that compares everything with what it was.

        It runs once per request, so the program writes it out, without a loop: names are compared
        one by one where CPython caches such loads (4 ns each: in modules, and from 3.12 on in
        classes), else fetched by one call of C (16 ns each, 25 one by one).  What they are compared
        with are defaults of parameters, which are the fastest of all to load.
        """
        parameters: dict[str, Any] = {"look_again": self._look_again}
        terms = []
        for n, (owner, names) in enumerate(self._rows):
            parameters[f"owner{n}"] = owner
            if _is_fetched(owner):
                parameters[f"get{n}"] = attrgetter(*names)
                terms.append(f"get{n}(owner{n}) == original{n}")
            else:
                terms.extend(f"owner{n}.{key} is original{n}_{key}" for key in names)
        self._fixed = parameters
        known = dict.fromkeys(self._comparands({}), _UNKNOWN)
        signature = ", ".join((*parameters, *known))
        source = (
            f"def {name}({signature}):\n"
            f"  try:\n"
            f"    return ({' and '.join(terms)}) or look_again()\n"
            f"  except AttributeError:\n"
            f"    return False\n"
        )
        space: dict[str, Any] = {}
        exec(source, space)  # noqa: S102  (of constants above)
        self._function = space[name]
        self._function.__defaults__ = (*parameters.values(), *known.values())
        question: Callable[[], bool] = self._function
        return question

    def _comparands(self, found: dict[tuple[int, str], Any]) -> dict[str, Any]:
        """The parameters `original...` of the function, with these values."""
        values: dict[str, Any] = {}
        for n, (owner, names) in enumerate(self._rows):
            if _is_fetched(owner):
                several = tuple(found.get((n, key), _UNKNOWN) for key in names)
                values[f"original{n}"] = several if len(several) > 1 else several[0]
            else:
                values.update(
                    {f"original{n}_{key}": found.get((n, key), _UNKNOWN) for key in names}
                )
        return values

    def _look_again(self) -> bool:
        """Compare name by name, after the quick comparison failed; learn what has become stock."""
        found = {
            (n, name): self._original(n, owner, name)
            for n, (owner, names) in enumerate(self._rows)
            for name in names
        }
        if any(value is _UNKNOWN for value in found.values()):
            return False
        self._function.__defaults__ = (*self._fixed.values(), *self._comparands(found).values())
        return True

    def _original(self, number: int, owner: Any, name: str) -> Any:
        """The name's value if it may stand, else _UNKNOWN."""
        value = getattr(owner, name, None)
        known = self._originals.get((number, name))
        if known is None and is_original(owner, name):
            known = self._originals[number, name] = value
        is_same = known is not None and (known is value or _is_gevents(value, owner, name))
        return value if is_same else _UNKNOWN


def _is_fetched(owner: Any) -> bool:
    return isinstance(owner, type) and sys.version_info < (3, 12)


untouched: Callable[[], bool] = _Watch("untouched", *_REQUESTS, *_SOCKETS).question
sockets_untouched: Callable[[], bool] = _Watch("sockets_untouched", *_SOCKETS).question
