"""TLS over green sockets, with anybody's SSLContext.

`ssl.SSLContext.wrap_socket` makes a blocking `ssl.SSLSocket`, whatever socket it is given.
`wrap_bio` needs no socket at all, and every context has it that is worth the name (the standard
library's, gevent's, truststore's).  So a connection is handed its context in a thin wrapper that
answers `wrap_socket` by way of `wrap_bio`, and says everything else as the context itself does.

It may not know: HTTP, pools, sessions.
"""

from __future__ import annotations

import _ssl
import contextlib
import os
import ssl
from types import FunctionType
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import gevent.ssl
import urllib3.connection
from urllib3.exceptions import SSLError
from urllib3.util import ssl_ as urllib3_ssl
from urllib3.util.ssltransport import SSLTransport

from ._green_socket import GreenSocket
from ._green_twin import twin
from ._stock import is_original, original_class
from ._threads import in_thread

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["GreenTLS", "TLSContext", "ThreadedTLS", "context_for", "context_for_proxy"]

_Original = original_class(ssl, "SSLContext")
_Base = getattr(_ssl, "_SSLContext")  # noqa: B009  (the stubs do not know it)

#: Attributes whose setters in ssl.py say `super(SSLContext, SSLContext)`, which recurses for ever
#: once gevent has replaced the module's `SSLContext` after the context was made (gevent #1016).
_RECURSIVE = ("options", "verify_flags", "verify_mode", "minimum_version", "maximum_version")

#: Contexts built here, by what went into them.  Loading certifi's bundle takes 61 ms.
_contexts: dict[tuple[Any, ...], TLSContext] = {}
_MAX_CONTEXTS = 64


#: What an SSLSocket can be asked that urllib3's transport does not pass on.
_OF_TLS = frozenset({"context", "get_channel_binding", "server_hostname", "server_side"})
_OF_TLS |= {"selected_npn_protocol", "session", "session_reused", "verify_client_post_handshake"}


class GreenTLS(SSLTransport):
    """A TLS connection over a green socket, with what urllib3 and its users ask of a socket."""

    socket: Any

    @property
    def __class__(self) -> Any:  # for who asks whether a connection is secured by TLS
        return ssl.SSLSocket

    @__class__.setter
    def __class__(self, cls: Any) -> None:
        raise TypeError(cls)

    def _ssl_io_loop(self, *args: Any) -> Any:
        """As urllib3's; what OpenSSL has to say about a failure, its alert, is sent as well."""
        try:
            return super()._ssl_io_loop(*args)
        except ssl.SSLError:
            with contextlib.suppress(OSError):
                self.socket.sendall(self.outgoing.read())
            raise

    def shutdown(self, how: int) -> None:
        """As `socket.shutdown`, without a goodbye in TLS."""
        self.socket.shutdown(how)

    def pending(self) -> int:
        """Octets that were decrypted and not yet read."""
        return self.sslobj.pending()

    def __getattr__(self, name: str) -> Any:
        if name in {"socket", "sslobj"}:
            raise AttributeError(name)
        if name in _OF_TLS:
            return getattr(self.sslobj, name)
        # Addresses, options and the like are the socket's.
        return getattr(self.socket, name)

    def __repr__(self) -> str:
        return f"<GreenTLS over {self.socket!r}>"


class _SafeContext(_Original):  # type: ignore[misc, valid-type]
    """An SSLContext of ours, which works on after a late `gevent.monkey.patch_all()`."""


def _safe(name: str) -> property:
    getter = getattr(_Original, name).fget
    raw = getattr(_Base, name)

    def setter(self: ssl.SSLContext, value: Any) -> None:
        _set_raw(self, name, raw, value)

    return property(getter, setter)


def _set_raw(context: ssl.SSLContext, name: str, raw: Any, value: Any) -> None:
    if name == "minimum_version" and value == ssl.TLSVersion.SSLv3:
        context.options &= ~ssl.OP_NO_SSLv3
    raw.__set__(context, value)


for _name in _RECURSIVE:
    setattr(_SafeContext, _name, _safe(_name))


class TLSContext:
    """An SSLContext as a green connection sees it.

    It is the context in all but two things: `wrap_socket` makes a GreenTLS of a green socket, and
    certificates are loaded once per file and not once per connection.
    """

    __slots__ = ("_loaded", "_real")

    def __init__(self, real: Any) -> None:
        """Wrap `real`, which may be an SSLContext of any make."""
        object.__setattr__(self, "_real", real)
        object.__setattr__(self, "_loaded", _loaded_of(real))

    @property
    def __class__(self) -> Any:  # isinstance(conn.ssl_context, ssl.SSLContext) must stay true
        return type(self._real)

    @__class__.setter
    def __class__(self, cls: Any) -> None:
        raise TypeError(cls)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def __setattr__(self, name: str, value: Any) -> None:
        try:
            setattr(self._real, name, value)
        except RecursionError:
            _set_raw(self._real, name, getattr(_Base, name), value)

    def load_verify_locations(self, *args: Any, **kwargs: Any) -> None:
        """As SSLContext's, once per set of files."""
        self._once("load_verify_locations", args, kwargs)

    def load_cert_chain(self, *args: Any, **kwargs: Any) -> None:
        """As SSLContext's, once per set of files."""
        self._once("load_cert_chain", args, kwargs)

    def _once(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        key = (name, *map(_fingerprint, args), *((k, _fingerprint(v)) for k, v in kwargs.items()))
        if key not in self._loaded:
            getattr(self._real, name)(*args, **kwargs)
            self._loaded.add(key)

    def wrap_socket(self, sock: Any, **kwargs: Any) -> Any:
        """As SSLContext's: handshake over `sock`, cooperatively if it is a green socket."""
        if not isinstance(sock, (GreenSocket, SSLTransport)):
            return self._real.wrap_socket(sock, **kwargs)
        if hasattr(self._real, "wrap_bio"):
            return _transport(sock, self._real, **kwargs)
        return ThreadedTLS.wrap(sock, self._real, kwargs)


def _transport(
    sock: Any,
    context: Any,
    *,
    server_hostname: str | None = None,
    suppress_ragged_eofs: bool = True,
    **_unused: Any,
) -> GreenTLS:
    return GreenTLS(sock, context, server_hostname, suppress_ragged_eofs)


class ThreadedTLS:
    """A connection of a TLS library that only knows blocking sockets (pyOpenSSL's contexts)."""

    def __init__(self, wrapped: Any) -> None:
        self._wrapped = wrapped

    @classmethod
    def wrap(cls, sock: Any, context: Any, kwargs: dict[str, Any]) -> ThreadedTLS:
        import socket  # noqa: PLC0415  (the name would hide parameters above)

        timeout = sock.gettimeout()
        plain = original_class(socket, "socket")(fileno=sock.detach())
        plain.settimeout(timeout)
        return cls(in_thread(lambda: context.wrap_socket(plain, **kwargs), _close))

    def __getattr__(self, name: str) -> Any:
        if name in _BLOCKING_CALLS:
            return _Threaded(getattr(self._wrapped, name))
        return getattr(self._wrapped, name)

    def makefile(self, *args: Any, **kwargs: Any) -> Any:
        """A file whose reads go through this object, so through a thread."""
        return SSLTransport.makefile(self, *args, **kwargs)  # type: ignore[arg-type]

    @property
    def socket(self) -> Any:
        return self

    _io_refs = 0
    _closed = False

    def close(self) -> None:
        self._closed = True
        if self._io_refs < 1:
            self._wrapped.close()

    def _decref_socketios(self) -> None:
        self._io_refs -= 1
        if self._closed:
            self.close()


_BLOCKING_CALLS = frozenset({"recv", "recv_into", "send", "sendall", "do_handshake", "unwrap"})


class _Threaded:
    """A blocking method, called in a thread."""

    __slots__ = ("_method",)

    def __init__(self, method: Callable[..., Any]) -> None:
        self._method = method

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return in_thread(lambda: self._method(*args, **kwargs))


def _close(item: Any) -> None:
    item.close()


_loaded: WeakKeyDictionary[Any, set[Any]] = WeakKeyDictionary()


def _loaded_of(context: Any) -> set[Any]:
    """What was loaded into `context` through this module; it lives as long as the context."""
    try:
        return _loaded.setdefault(context, set())
    except TypeError:  # not hashable, or no weak references
        return set()


def _fingerprint(argument: Any) -> Any:
    """What says whether a file, or certificates given as data, are still the same."""
    if isinstance(argument, (str, bytes, os.PathLike)):
        try:
            found = os.stat(argument)
        except (OSError, ValueError):
            return argument
        return (os.fspath(argument), found.st_mtime_ns, found.st_size, found.st_ino)
    return argument


def context_for(conn: Any) -> TLSContext:
    """The context that urllib3 would make for a connection that was given none.

    Connections that ask for the same get the same one.  That holds for the standard library's
    contexts; those of others may be good for one connection only (pyOpenSSL's are).

    Args:
        conn: a urllib3 HTTPSConnection without `ssl_context`.
    """
    factory = _factory()
    # A version is deprecated, and who asks for one is to be told each time.
    is_asked = conn.ssl_version is not None or not _is_silent()
    if is_asked or urllib3_ssl.SSLContext not in {_Original, gevent.ssl.SSLContext}:
        return TLSContext(_build(factory, conn))
    key = (factory, *_identity(conn))
    context = _contexts.get(key)
    if context is None:
        if isinstance(factory, FunctionType):
            factory = twin(factory, SSLContext=_SafeContext)
        context = TLSContext(_build(factory, conn))
        if len(_contexts) >= _MAX_CONTEXTS:
            _contexts.clear()
        _contexts[key] = context
    return context


def context_for_proxy(conn: Any) -> TLSContext:
    """The context for TLS with an https proxy that none was given for, ready to be used.

    urllib3 takes the certificates of a context that it is given as they are.
    """
    context = context_for(conn)
    if conn.ca_certs or conn.ca_cert_dir or conn.ca_cert_data:
        try:
            context.load_verify_locations(conn.ca_certs, conn.ca_cert_dir, conn.ca_cert_data)
        except OSError as error:
            raise SSLError(error) from error
    return context


def _identity(conn: Any) -> tuple[Any, ...]:
    return (
        conn.ssl_version,
        conn.ssl_minimum_version,
        conn.ssl_maximum_version,
        conn.cert_reqs,
        conn.ca_certs and _fingerprint(conn.ca_certs),
        conn.ca_cert_dir and _fingerprint(conn.ca_cert_dir),
        conn.ca_cert_data,
        conn.cert_file and _fingerprint(conn.cert_file),
        conn.key_file and _fingerprint(conn.key_file),
        conn.key_password,
        # urllib3 switches the context's own check of names off for these.
        *(_looks_at_names_itself(each) for each in (conn, conn.proxy_config)),
        *map(os.environ.get, ("SSLKEYLOGFILE", "SSL_CERT_FILE", "SSL_CERT_DIR")),
    )


def _looks_at_names_itself(policy: Any) -> bool:
    """Whether urllib3 will, for a connection's target or for its proxy."""
    fingerprint = getattr(policy, "assert_fingerprint", None)
    hostname = getattr(policy, "assert_hostname", None)
    return bool(fingerprint or hostname or hostname is False)


def _factory() -> Callable[..., Any]:
    # Looked up each time: replacing it is how people change ciphers for all of Requests.
    factory: Callable[..., Any] = vars(urllib3.connection)["create_urllib3_context"]
    return factory


def _is_silent() -> bool:
    """Whether nobody counts on being asked what a context shall be like, each time."""
    names = ("resolve_ssl_version", "resolve_cert_reqs")
    return all(is_original(urllib3.connection, name) for name in names)


def _build(factory: Callable[..., Any], conn: Any) -> Any:
    of: Any = urllib3.connection
    context = factory(
        ssl_version=of.resolve_ssl_version(conn.ssl_version),
        ssl_minimum_version=conn.ssl_minimum_version,
        ssl_maximum_version=conn.ssl_maximum_version,
        cert_reqs=of.resolve_cert_reqs(conn.cert_reqs),
    )
    if not (conn.ca_certs or conn.ca_cert_dir or conn.ca_cert_data):
        load = getattr(context, "load_default_certs", None)
        if load is not None:
            load()
    return context
