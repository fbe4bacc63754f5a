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
from operator import attrgetter, itemgetter
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
    value = _found(owner, name)
    if type(value) is FunctionType:
        home = sys.modules.get(value.__globals__.get("__name__", ""))
        if _is_home(home) and value.__code__.co_name == name:
            return is_stock(value, home)
    elif isinstance(value, type):
        home = sys.modules.get(value.__module__)
        if _is_home(home) and getattr(home, value.__name__, None) is value:
            # ConnectionCls is the one name under which a class of another name may be found.
            return value.__name__ == name or name == "ConnectionCls"
    elif isinstance(value, _BUILTIN):
        # Functions of C cannot be imitated: wrappers are Python objects.
        return value.__name__ == name
    return _is_gevents(value, owner, name)


def _found(owner: Any, name: str) -> Any:
    """What is stored under the name, without binding it."""
    spaces = [vars(base) for base in owner.__mro__] if isinstance(owner, type) else [vars(owner)]
    value = next((space[name] for space in spaces if name in space), None)
    return value.__func__ if isinstance(value, (staticmethod, classmethod)) else value


_HOMES = frozenset({"requests", "urllib3", "http", "socket", "ssl", "time"})


def _is_home(module: Any) -> bool:
    return module is not None and module.__name__.partition(".")[0] in _HOMES


_BUILTIN = (type(len), type(str.join), type(object.__init__))


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
            *("proxy_manager_for", "build_connection_pool_key_attributes", "get_connection"),
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

    def __init__(self, *rows: _Watched) -> None:
        self._rows = rows
        self._originals: dict[tuple[int, str], Any] = {}
        #: For each owner: what its watched names were when all were original.
        self.values: list[Any] = [_UNKNOWN] * len(self._rows)

    def look_again(self) -> bool:
        """Compare name by name, after the quick comparison failed; learn what has become stock."""
        found = [
            tuple(self._original(number, owner, name) for name in names)
            for number, (owner, names) in enumerate(self._rows)
        ]
        if any(value is _UNKNOWN for values in found for value in values):
            return False
        for number, values in enumerate(found):
            self.values[number] = values if len(values) > 1 else values[0]
        return True

    def _original(self, number: int, owner: Any, name: str) -> Any:
        """The name's value if it may stand, else _UNKNOWN."""
        value = getattr(owner, name, None)
        known = self._originals.get((number, name))
        if known is value or (known is not None and _is_gevents(value, owner, name)):
            return value
        if known is None and is_original(owner, name):
            self._originals[number, name] = value
            return value
        return _UNKNOWN


    def question(self, name: str) -> Callable[[], bool]:
        """A function that compares everything with what it was.

        It is written out by the program, without a loop, and each owner's names are fetched by
        one call of C (a class by attributes, a module by its dictionary): this runs once per
        request, and takes 14 ns for a name this way, 28 by `owner.name is original`.
        """
        names: dict[str, Any] = {"v": self.values, "look_again": self.look_again}
        terms = []
        for n, (owner, watched) in enumerate(self._rows):
            is_class = isinstance(owner, type)
            names[f"get{n}"] = (attrgetter if is_class else itemgetter)(*watched)
            names[f"owner{n}"] = owner if is_class else vars(owner)
            terms.append(f"get{n}(owner{n}) == v[{n}]")
        parameters = ", ".join(f"{key}={key}" for key in names)
        source = f"def {name}({parameters}):\n return ({' and '.join(terms)}) or look_again()"
        exec(source, names)  # noqa: S102  (of constants above)
        question: Callable[[], bool] = names[name]
        return question


untouched: Callable[[], bool] = _Watch(*_REQUESTS, *_SOCKETS).question("untouched")
sockets_untouched: Callable[[], bool] = _Watch(*_SOCKETS).question("sockets_untouched")
# What is stock now is learned now; of the rest, only an original will do later.
untouched()
sockets_untouched()
