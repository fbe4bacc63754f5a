"""Which proxy an attempt goes through: by turns or by host, and not by one that keeps failing.

`ProxyPool` is the user's policy, `ProxyRotation` its state in one client. A proxy that fails a few
times in a row rests; then a single request tries it, and what comes of that decides. Nothing is
counted as under way, so nothing is lost when a request ends without a word.

It may not know: requests, connections. Time and randomness are arguments. Credentials stay in the
URLs: neither errors nor `repr` nor statistics show them.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from ._checks import check_count, check_positive
from ._exceptions import PolicyError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence
    from random import Random

    from ._clock import Clock

__all__ = ["ProxyPool", "ProxyRotation", "ProxyStatistics", "shown"]

#: What Requests can send through, the latter five with PySocks.
SCHEMES: Final = frozenset({"http", "https", "socks4", "socks4a", "socks5", "socks5h"})
#: RFC 3986 section 3.1, and what follows up to a path, a query or a fragment.
_SCHEME: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_AFTER_AUTHORITY: Final = re.compile(r"[/?#].*", re.DOTALL)
_WANTED: Final = (
    'URLs such as "http://user:password@proxy.example:3128" (http, https, socks4, socks4a, socks5 '
    "or socks5h; what is special in a password percent-encoded)"
)
#: Hosts whose proxy is remembered with `sticky`. A forgotten one finds the same proxy again.
_MAX_HOSTS: Final = 10_000
_PRIME: Final = 2**61 - 1


def shown(proxy: str) -> str:
    """A proxy's URL without credentials, as far as it is one.

    Example:
        >>> shown("http://user:password@proxy.example:3128")
        'http://proxy.example:3128'
    """
    scheme = _SCHEME.match(proxy)
    start = scheme.end() if scheme else 0
    # A password may hold any character, if somebody forgot to encode it.
    address = proxy[start:].rpartition("@")[2]
    return proxy[:start] + _AFTER_AUTHORITY.sub("", address)


@dataclass(frozen=True, repr=False)
class ProxyPool:
    """Proxies of which each attempt gets one, a retry another one than before.

    Args:
        proxies: their URLs, with credentials if they want some. What is named twice counts once.
        sticky: whether a host is always asked through the same proxy, as long as that is healthy,
            in this run and the next. Hosts spread evenly. Without it proxies take turns.
        failures: attempts without an answer in a row after which a proxy rests.
        cooldown: seconds for which it rests. Then a request tries it: an answer heals it, otherwise
            the next one tries it after as long again.

    Raises:
        PolicyError: a value makes no sense. It shows no credentials.

    Example:
        >>> grequests.ProxyPool(["http://me:secret@p1.example:3128", "socks5h://p2.example:1080"])
        ProxyPool(['http://p1.example:3128', 'socks5h://p2.example:1080'])
    """

    proxies: Sequence[str]
    sticky: bool = field(default=False, kw_only=True)
    failures: int = field(default=3, kw_only=True)
    cooldown: float = field(default=30.0, kw_only=True)

    def __post_init__(self) -> None:
        object.__setattr__(self, "proxies", _checked(self.proxies))
        if not isinstance(self.sticky, bool):
            raise _refused(self.sticky, "True or False", name="sticky")
        check_count("failures", self.failures)
        check_positive("cooldown", self.cooldown)

    def __repr__(self) -> str:
        others = (
            f", {name}={getattr(self, name)!r}"
            for name, default in (("sticky", False), ("failures", 3), ("cooldown", 30.0))
            if getattr(self, name) != default
        )
        return f"ProxyPool({[shown(proxy) for proxy in self.proxies]}{''.join(others)})"


def _refused(value: object, wanted: str, *, name: str = "proxies") -> PolicyError:
    return PolicyError(name, value, wanted)


def _checked(proxies: Any) -> tuple[str, ...]:
    if isinstance(proxies, str):
        raise _refused(shown(proxies), "a sequence of URLs")
    if isinstance(proxies, (bytes, Mapping)) or not hasattr(proxies, "__iter__"):
        raise _refused(type(proxies), "a sequence of URLs")
    listed = tuple(proxies)
    for proxy in listed:
        if not isinstance(proxy, str):
            raise _refused(type(proxy), _WANTED)
        if not _is_proxy(proxy):
            raise _refused(shown(proxy), _WANTED)
    if not listed:
        raise _refused(listed, "at least one URL")
    return tuple(dict.fromkeys(listed))


def _is_proxy(url: str) -> bool:
    """Whether it has a scheme, a host, a port that is one if any, and nothing after that."""
    try:
        parts = urlsplit(url)
        _ = parts.port  # is checked when it is read
    except ValueError:
        return False
    return (
        parts.scheme in SCHEMES
        and bool(parts.hostname)
        and parts.path in ("", "/")
        and not parts.query
        and not parts.fragment
        # urlsplit drops some of these without a word.
        and not any(char <= " " or char == "\x7f" for char in url)
    )


@dataclass(frozen=True)
class ProxyStatistics:
    """How a proxy has done. Those that differ only in their credentials are one.

    Attributes:
        used: attempts that were sent through it.
        failed: those of them that ended without an answer.
        resting: whether it is left alone at present, because it kept failing.
    """

    used: int
    failed: int
    resting: bool


class _Proxy:
    """What is known of a proxy.

    Attributes:
        url: with credentials.
        number: of the same URL always the same, else evenly spread.
        used, failed: attempts so far.
        row: failures since the last success.
        until: when its rest is over; of meaning only while it rests.
    """

    __slots__ = ("failed", "number", "row", "until", "url", "used")

    def __init__(self, url: str) -> None:
        self.url = url
        self.number = _number(url)
        self.used = self.failed = self.row = 0
        self.until = 0.0


class ProxyRotation:
    """The proxies of a `ProxyPool` in one client, and how they are.

    A choice costs as much with many proxies as with few; with `sticky`, when a host is new or its
    own proxy rests, a look at each.

    Args:
        pool: the policy.
        clock: what time it is.
        random: decides who is the first, so that not all clients begin with the same.
    """

    def __init__(self, pool: ProxyPool, clock: Clock, random: Random) -> None:
        self._pool = pool
        self._now = clock.now
        urls = [*pool.proxies]
        first = random.randrange(len(urls))
        self._all = {url: _Proxy(url) for url in urls}
        #: Those that may be used. The next one comes first.
        self._ring = OrderedDict((url, self._all[url]) for url in urls[first:] + urls[:first])
        #: The others. All rest for the same time, so the first to come was the first to go.
        self._resting: OrderedDict[str, _Proxy] = OrderedDict()
        self._homes: dict[str, _Proxy] = {}

    def __repr__(self) -> str:
        return f"<ProxyRotation usable={len(self._ring)}/{len(self._all)}>"

    def choose(self, host: str, avoid: Collection[str] = ()) -> str:
        """A proxy for an attempt.

        Args:
            host: the origin that is asked, such as ``"https://example.org"``.
            avoid: proxies that the request has been sent through already. They are chosen only if
                all others rest.

        Returns:
            Its URL, with credentials. If all rest, it is the one whose rest is over first.
        """
        if self._resting:
            self._wake()
        proxy = self._pick(host, avoid)
        proxy.used += 1
        url = proxy.url
        if proxy.row >= self._pool.failures:
            self._rest(proxy)  # it is being tried: the next one will have to wait
        else:
            self._ring.move_to_end(url)
        return url

    def report(self, proxy: str, *, ok: bool) -> None:
        """What came of an attempt.

        Args:
            proxy: as chosen.
            ok: whether the proxy did its part. Of an attempt that was cut off, report nothing.
        """
        known = self._all.get(proxy)
        if known is None:
            return  # a KeyError would show its credentials
        if ok:
            known.row = 0
            if self._resting and self._resting.pop(proxy, None) is not None:
                self._ring[proxy] = known
            return
        known.failed += 1
        known.row += 1
        if known.row >= self._pool.failures and proxy in self._ring:
            self._rest(known)

    def statistics(self) -> Mapping[str, ProxyStatistics]:
        """A snapshot: each proxy's URL, without credentials, and how it has done."""
        if self._resting:
            self._wake()
        rows: dict[str, ProxyStatistics] = {}
        for url, proxy in self._all.items():
            key, rests = shown(url), url in self._resting
            same = rows.get(key, ProxyStatistics(0, 0, resting=True))
            rows[key] = ProxyStatistics(
                same.used + proxy.used, same.failed + proxy.failed, resting=same.resting and rests
            )
        return MappingProxyType(rows)

    def _wake(self) -> None:
        """Put those back whose rest is over. They are the last in the ring."""
        now = self._now()
        while self._resting:
            url, proxy = next(iter(self._resting.items()))
            if proxy.until > now:
                return
            del self._resting[url]
            self._ring[url] = proxy

    def _rest(self, proxy: _Proxy) -> None:
        proxy.until = self._now() + self._pool.cooldown
        self._ring.pop(proxy.url, None)
        self._resting[proxy.url] = proxy
        self._resting.move_to_end(proxy.url)

    def _pick(self, host: str, avoid: Collection[str]) -> _Proxy:
        ring = self._ring or self._resting
        if self._pool.sticky and self._ring:
            home = self._home(host)
            if home.url in ring and home.url not in avoid:
                return home
            others = [each for url, each in ring.items() if url not in avoid]
            return _nearest(host, others or ring.values())
        for url, proxy in ring.items():
            if url not in avoid:
                return proxy
        return next(iter(ring.values()))

    def _home(self, host: str) -> _Proxy:
        """The proxy of a host, if all are well."""
        home = self._homes.get(host)
        if home is None:
            if len(self._homes) >= _MAX_HOSTS:
                self._homes.clear()
            home = self._homes[host] = _nearest(host, self._all.values())
        return home


def _nearest(host: str, proxies: Iterable[_Proxy]) -> _Proxy:
    """The one that is a host's own among these.

    That is rendezvous hashing (Thaler and Ravishankar, 1998): without a table, a proxy more or less
    changes nothing for the hosts of the others, and its own are spread over all of them. A product
    of two digests modulo a prime is a third one for 0.1 us. (Tuples' hashes are too regular: the
    shares of ten proxies differed by a factor of two.)
    """
    number = _number(host)
    return max(proxies, key=lambda proxy: proxy.number * number % _PRIME)


def _number(text: str) -> int:
    """A digest: unlike `hash`, of the same text the same in each process."""
    return int.from_bytes(blake2b(text.encode(), digest_size=7).digest(), "big")


for _class in (ProxyPool, ProxyStatistics):
    _class.__module__ = "grequests"
