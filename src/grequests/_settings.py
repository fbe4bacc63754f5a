"""What a client was told, checked and in one form. Knows policies; nothing of what they are for."""

from __future__ import annotations

import random as random_module
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from ._adaptive import Auto
from ._addresses import AddressPolicy
from ._checks import check_count, check_kind, check_positive, check_seconds
from ._exceptions import PolicyError
from ._policies import Circuit, Rate, Retry, Timeout
from ._proxies import ProxyPool

if TYPE_CHECKING:
    import requests

    from ._clock import Clock

#: Attempts under way at once, in all and for one host, if nothing is said.
CONCURRENCY: Final = 100
PER_HOST: Final = 20
#: Bytes of a decoded body, if nothing is said. Bombs have more.
MAX_BODY: Final = 256 * 1024 * 1024
#: The policies, if nothing is said.
RETRY: Final = Retry()
CIRCUIT: Final = Circuit()
TIMEOUT: Final = Timeout()


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The arguments of `Client`, in one form.

    Raises:
        PolicyError: one makes no sense.
    """

    concurrency: int | str | Auto = CONCURRENCY
    per_host: int | None = PER_HOST
    rate: Rate | None = None
    per_host_rate: Rate | None = None
    retry: Retry | None = RETRY
    circuit: Circuit | None = CIRCUIT
    timeout: Timeout = TIMEOUT
    max_body: int | None = MAX_BODY
    max_headers: int | None = None
    proxies: ProxyPool | None = None
    session: requests.Session | None = None
    address_policy: AddressPolicy | None = None
    lookahead: int | None = None
    unread: int | None = None
    clock: Clock | None = None
    random: random_module.Random = field(default_factory=random_module.Random)

    def __post_init__(self) -> None:
        _put(self, "concurrency", _concurrency(self.concurrency))
        for name in ("per_host", "max_body", "max_headers", "lookahead", "unread"):
            if getattr(self, name) is not None:
                check_count(name, getattr(self, name))
        for name in ("rate", "per_host_rate"):
            _put(self, name, _rate(name, getattr(self, name)))
        _put(self, "retry", _retry(self.retry))
        _put(self, "timeout", _timeout(self.timeout))
        check_kind("circuit", self.circuit, Circuit, "a grequests.Circuit or None")
        check_kind("proxies", self.proxies, ProxyPool, "a grequests.ProxyPool or None")
        wanted = "a grequests.AddressPolicy or None"
        check_kind("address_policy", self.address_policy, AddressPolicy, wanted)
        if self.random is None:
            _put(self, "random", random_module.Random())  # noqa: S311 - jitter is no secret

    @property
    def auto(self) -> Auto | None:
        """How the level of each host is found, if it is to be."""
        return self.concurrency if isinstance(self.concurrency, Auto) else None

    @property
    def slots(self) -> int | None:
        """How many attempts at once; None for as many as there are descriptors."""
        return self.concurrency if isinstance(self.concurrency, int) else None


def _put(settings: Settings, name: str, value: Any) -> None:
    object.__setattr__(settings, name, value)


def _concurrency(given: Any) -> int | Auto:
    if isinstance(given, Auto):
        return given
    if isinstance(given, str) and given == "auto":
        return Auto()
    if isinstance(given, str):
        name = "concurrency"
        raise PolicyError(name, given, 'an integer of at least 1, "auto", or a grequests.Auto')
    if not isinstance(given, int) or isinstance(given, bool) or given < 1:
        name = "concurrency"
        raise PolicyError(name, given, 'an integer of at least 1, "auto", or a grequests.Auto')
    return given


def _rate(name: str, given: Any) -> Rate | None:
    if isinstance(given, (int, float)) and not isinstance(given, bool):
        check_positive(name, given)
        return Rate(given)
    check_kind(name, given, Rate, "a grequests.Rate, a number per second, or None")
    return given  # type: ignore[no-any-return]


def _retry(given: Any) -> Retry | None:
    if isinstance(given, int) and not isinstance(given, bool):
        check_count("retry", given)
        return Retry(attempts=given)
    check_kind("retry", given, Retry, "a grequests.Retry, a number of attempts, or None for one")
    return given  # type: ignore[no-any-return]


def _timeout(given: Any) -> Timeout:
    if given is None:
        return Timeout(connect=None, read=None, total=None)
    if isinstance(given, (int, float)) and not isinstance(given, bool):
        check_seconds("timeout", given)
        return Timeout(connect=given, read=given)
    if isinstance(given, tuple) and len(given) == 2:  # noqa: PLR2004 - Requests' pair
        return Timeout(connect=given[0], read=given[1])
    check_kind("timeout", given, Timeout, "a grequests.Timeout, seconds, a pair of them, or None")
    return given  # type: ignore[no-any-return]
