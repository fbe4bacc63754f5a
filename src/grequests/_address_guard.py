"""An `AddressPolicy` for whatever connects in a context: the general lane's side of it.

In `with address_guard(policy):` connections of urllib3's that our pools make (`_green_dial`) are
asked about. Sessions and adapters may come by other pools while they send, and send by those: for
that there is an audit hook (PEP 578), which sees whatever connects. It is added when the first
policy is there, and looks at connections of HTTP's libraries only: what else the user's code
connects to meanwhile, to store what was fetched, is its own business.

It may not know: pools, sessions, requests.
"""

from __future__ import annotations

import contextlib
import socket
import sys
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final

from ._exceptions import AddressDeniedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ._addresses import AddressPolicy

__all__ = [
    "address_guard",
    "check_peer",
    "check_target",
    "current_policy",
    "is_guarded",
    "is_peer_permitted",
    "permitted",
]

_policy: ContextVar[AddressPolicy | None] = ContextVar("grequests_address_policy", default=None)
_is_watching = False
#: Whose connections are asked about, wherever they come from.
_HTTP: Final = frozenset(
    (
        *("http.client", "socks"),
        *("urllib3.connection", "urllib3.contrib.socks", "urllib3.util.connection"),
    )
)


@contextlib.contextmanager
def address_guard(policy: AddressPolicy | None) -> Iterator[None]:
    """Have connections that are made meanwhile, in this context, keep to a policy."""
    if policy is not None and not _is_watching:
        _watch()
    token = _policy.set(policy)
    try:
        yield
    finally:
        _policy.reset(token)


def _watch() -> None:
    global _is_watching  # noqa: PLW0603 - a hook cannot be taken off again
    _is_watching = True
    policy_of = _policy.get  # (when the process ends, names of modules go first)

    def see(event: str, args: tuple[Any, ...]) -> None:
        if event == "socket.connect" and (policy := policy_of()) is not None:
            _see_connect(policy, *args)

    sys.addaudithook(see)


def _see_connect(policy: AddressPolicy, sock: Any, address: Any) -> None:
    """Refuse a connection of HTTP's that nobody has asked about.

    A name is refused: what it resolves to is not seen.

    Raises:
        AddressDeniedError: it leads where it may not.
    """
    host = address[0] if isinstance(address, tuple) else address
    if isinstance(host, str) and policy.permits(host):
        return
    if _is_of_http():
        sock.close()
        shown = host.decode("utf-8", "replace") if isinstance(host, bytes) else str(host)
        raise AddressDeniedError(shown, [shown] if isinstance(address, tuple) else [])


def _is_of_http() -> bool:
    """Whether one of HTTP's libraries connects, and not for a log's handler."""
    found = False
    frame = sys._getframe(1)
    while frame is not None:
        name = frame.f_globals.get("__name__", "")
        if name == "logging":
            return False
        found = found or name in _HTTP
        frame = frame.f_back  # type: ignore[assignment]
    return found


def is_guarded() -> bool:
    """Whether there is a policy in this context."""
    return _policy.get() is not None


def current_policy() -> AddressPolicy | None:
    """The policy of this context."""
    return _policy.get()


def permitted(host: str, answers: list[Any]) -> list[Any]:
    """Those answers of `getaddrinfo` that may be connected to.

    Raises:
        AddressDeniedError: there is none.
    """
    policy = _policy.get()
    if policy is None:
        return answers
    policy.check_some(host, [each[4][0] for each in answers])
    return [each for each in answers if policy.permits(each[4][0])]


def check_target(host: str, resolve: Callable[[str], list[Any]]) -> list[str]:
    """Refuse a host that somebody else, a proxy, is to connect to, who picks an address by itself.

    Returns:
        Its addresses; none if there is no policy, and so nothing to ask.

    Raises:
        AddressDeniedError: one of its addresses may not be connected to, or none is known here.
    """
    policy = _policy.get()
    if policy is None:
        return []
    try:
        addresses = [each[4][0] for each in resolve(host)]
    except socket.gaierror:
        addresses = []
    policy.check_all(host, addresses)
    return addresses


def is_peer_permitted(sock: Any) -> bool:
    """Whether a connected socket leads to where it may."""
    policy = _policy.get()
    if policy is None:
        return True
    address = _peer_of(sock)
    return address is not None and policy.permits(address)


def check_peer(host: str, sock: Any) -> None:
    """Close a connected socket that leads elsewhere; not a byte has been sent.

    Raises:
        AddressDeniedError: it does.
    """
    if not is_peer_permitted(sock):
        address = _peer_of(sock)
        sock.close()
        raise AddressDeniedError(host, [] if address is None else [address])


def _peer_of(sock: Any) -> str | None:
    """The address of a socket's other end; None if it has none, as those of Unix have not."""
    try:
        peer = sock.getpeername()
    except (OSError, AttributeError):
        return None
    return peer[0] if isinstance(peer, tuple) and isinstance(peer[0], str) else None
