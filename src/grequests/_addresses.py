"""`AddressPolicy`: which addresses may be connected to, for URLs that come from strangers.

It judges addresses, not names: those that a name has resolved to, in the moment before they are
connected to. So neither a name that resolves to something else the second time, nor a number in an
odd notation, nor a redirect gets past it. Pure; it may not know: sockets, resolvers, requests.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

from ._exceptions import AddressDeniedError, PolicyError

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_Network = ipaddress.IPv4Network | ipaddress.IPv6Network

#: What is nobody's on the Internet, whatever `ipaddress` of this Python says: its list has changed
#: with releases (IANA's special-purpose registries, RFC 6890 and later).
_SPECIAL: Final = tuple(
    ipaddress.ip_network(text)
    for text in (
        *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16"),
        *("172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16"),
        *("198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4"),
        *("::/96", "::ffff:0:0:0/96", "64:ff9b:1::/48", "100::/64", "2001::/23", "2001:db8::/32"),
        *("3fff::/20", "5f00::/16", "fc00::/7", "fe80::/10", "fec0::/10", "ff00::/8"),
    )
)
#: All of IPv6 that IANA gives out to anybody (RFC 4291 section 2.4).
_GLOBAL: Final = ipaddress.IPv6Network("2000::/3")
#: Ways to write an IPv4 address into an IPv6 one, by where it stands (bits from the right).
_MAPPED: Final = ipaddress.IPv6Network("::ffff:0:0/96")
_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")
_ISATAP: Final = frozenset({0x00005EFE, 0x02005EFE})


@dataclass(frozen=True, kw_only=True)
class AddressPolicy:
    """Which addresses a client may connect to: a guard for URLs that strangers gave.

    It is asked for each address before it is connected to, in both lanes, for each redirect anew
    and for proxies as well. Where a proxy is used, the addresses of the target are asked for, too,
    as this machine resolves them; the proxy, which resolves the name by itself, must have a policy
    of its own. A refused address is an `AddressDeniedError`, and not a byte is sent.

    Args:
        deny_private: whether to refuse what is nobody's on the Internet: loopback, private and
            link-local networks (169.254.169.254 of clouds among them), shared, multicast, reserved
            and documentation ranges, and IPv6 addresses with one of these inside (mapped,
            compatible, 6to4, Teredo, NAT64, ISATAP).
        allow: addresses or networks that may be connected to all the same.
        deny: addresses or networks that may not, unless `allow` has them.

    Raises:
        PolicyError: an entry is no address and no network.

    Example:
        >>> policy = grequests.AddressPolicy(allow=["10.1.0.0/16"])
        >>> [policy.permits(each) for each in ("93.184.216.34", "127.0.0.1", "10.1.2.3")]
        [True, False, True]
    """

    deny_private: bool = True
    allow: Collection[str] = ()
    deny: Collection[str] = ()
    _allowed: tuple[_Network, ...] = field(init=False, repr=False, compare=False)
    _denied: tuple[_Network, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not isinstance(self.deny_private, bool):
            name = "deny_private"
            raise PolicyError(name, self.deny_private, "True or False")
        for name, put in (("allow", "_allowed"), ("deny", "_denied")):
            networks = _networks(name, getattr(self, name))
            object.__setattr__(self, name, tuple(map(str, networks)))
            object.__setattr__(self, put, networks)

    def permits(self, address: str) -> bool:
        """Whether an address may be connected to.

        Args:
            address: of IPv4 or IPv6, as text. A name is none, and not permitted.
        """
        return _permits(self, address)

    def check_some(self, host: str, addresses: Sequence[str]) -> None:
        """Refuse a host of which no address may be connected to.

        Raises:
            AddressDeniedError: there is none.
        """
        if not any(map(self.permits, addresses)):
            raise AddressDeniedError(host, addresses)

    def check_all(self, host: str, addresses: Sequence[str]) -> None:
        """Refuse a host that somebody else, a proxy, is to connect to, who picks an address.

        Raises:
            AddressDeniedError: one of them may not be connected to, or there is none.
        """
        if not addresses or not all(map(self.permits, addresses)):
            raise AddressDeniedError(host, addresses)

    def _judge(self, address: _Address) -> bool:
        if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped  # the kernel speaks IPv4 then
        if _is_in(address, self._allowed):
            return True
        if _is_in(address, self._denied) or (self.deny_private and _is_special(address)):
            return False
        return all(map(self._judge, _inside(address)))


@lru_cache(maxsize=4096)
def _permits(policy: AddressPolicy, address: str) -> bool:
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    return policy._judge(parsed)


def _networks(name: str, given: object) -> tuple[_Network, ...]:
    wanted = "a collection of addresses and networks, such as '10.0.0.0/8'"
    if isinstance(given, (str, bytes)) or not isinstance(given, Collection):
        raise PolicyError(name, given, wanted)
    made = []
    for each in given:
        try:
            # As text: to `ipaddress`, numbers and bytes are addresses, too.
            made.append(_plain(ipaddress.ip_network(str(each))))
        except ValueError:
            raise PolicyError(name, each, wanted) from None
    return tuple(made)


def _plain(network: _Network) -> _Network:
    """A network of IPv4 that is written as one of IPv6, as IPv4: so are addresses judged."""
    if isinstance(network, ipaddress.IPv6Network) and network.subnet_of(_MAPPED):
        number = int(network.network_address) & 0xFFFFFFFF
        return ipaddress.IPv4Network((number, network.prefixlen - _MAPPED.prefixlen))
    return network


def _is_in(address: _Address, networks: tuple[_Network, ...]) -> bool:
    return any(address in network for network in networks)


def _is_special(address: _Address) -> bool:
    if isinstance(address, ipaddress.IPv6Address) and address not in _GLOBAL:
        return address not in _NAT64  # which is what is inside
    return not address.is_global or address.is_multicast or _is_in(address, _SPECIAL)


def _inside(address: _Address) -> list[ipaddress.IPv4Address]:
    """IPv4 addresses that an IPv6 address stands for: whoever routes it takes them out again."""
    if isinstance(address, ipaddress.IPv4Address):
        return []
    found = []
    if address.sixtofour is not None:
        found.append(address.sixtofour)
    if address.teredo is not None:
        found.extend(address.teredo)
    number = int(address)
    if address in _NAT64 or number >> 32 & 0xFFFFFFFF in _ISATAP:
        found.append(ipaddress.IPv4Address(number & 0xFFFFFFFF))
    return found


AddressPolicy.__module__ = "grequests"
