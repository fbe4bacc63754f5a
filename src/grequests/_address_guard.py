"""An `AddressPolicy` for whatever connects in a context: the general lane's side of it.

In `with address_guard(policy):` connections of urllib3's that our pools make (`_green_dial`) are
asked about. It may not know: pools, sessions, requests.
"""

from __future__ import annotations

import contextlib
import socket
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

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


@contextlib.contextmanager
def address_guard(policy: AddressPolicy | None) -> Iterator[None]:
    """Have connections that are made meanwhile, in this context, keep to a policy."""
    token = _policy.set(policy)
    try:
        yield
    finally:
        _policy.reset(token)


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


def check_target(host: str, resolve: Callable[[str], list[Any]]) -> None:
    """Refuse a host that somebody else, a proxy, is to connect to, who picks an address by itself.

    Raises:
        AddressDeniedError: one of its addresses may not be connected to, or none is known here.
    """
    policy = _policy.get()
    if policy is not None:
        try:
            answers = resolve(host)
        except socket.gaierror:
            answers = []
        policy.check_all(host, [each[4][0] for each in answers])


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
