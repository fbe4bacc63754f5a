"""A token bucket: how long to wait so that a rate is kept. Pure; time is an argument."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from ._policies import Rate

#: Tokens by which sums of floats may be off.
_DUST: Final = 1e-9


class TokenBucket:
    """The state of one `Rate`. It is full to begin with.

    Args:
        rate: how fast it fills, and how much it holds.
        now: seconds.
    """

    __slots__ = ("_at", "_capacity", "_per_second", "_tokens")

    def __init__(self, rate: Rate, now: float) -> None:
        self._per_second = rate.per_second
        self._capacity = self._tokens = rate.capacity
        self._at = now

    def __repr__(self) -> str:
        return f"<TokenBucket {self._tokens:.2f} of {self._capacity:g}, {self._per_second:g}/s>"

    def wait(self, now: float, cost: float = 1.0) -> float:
        """Seconds until so many tokens can be taken; 0 if they can be now.

        What costs more than the bucket holds can be taken when it is full, and is paid off after.
        """
        missing = min(cost, self._capacity) - self._at_time(now)
        return missing / self._per_second if missing > _DUST else 0.0

    def take(self, now: float, cost: float = 1.0) -> None:
        """Take tokens, which `wait` has said can be taken."""
        self._tokens = self._at_time(now) - cost
        self._at = now

    def _at_time(self, now: float) -> float:
        return min(self._tokens + (now - self._at) * self._per_second, self._capacity)
