"""Whether an attempt is followed by another, and when: pure decisions by a `Retry`.

Knows exceptions, statuses and numbers; nothing of who sends and who waits. (`_retries` is about
urllib3's `Retry`, which a session's adapters may have.)
"""

from __future__ import annotations

import email.utils
import traceback
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from requests.exceptions import ConnectTimeout, InvalidSchema, InvalidURL, MissingSchema, SSLError
from requests.hooks import dispatch_hook
from requests.sessions import SessionRedirectMixin
from urllib3.exceptions import ConnectTimeoutError, MaxRetryError, NewConnectionError, ProxyError
from urllib3.util import Retry as URLLib3Retry

from ._exceptions import (
    SENT,
    CircuitOpenError,
    ClientClosedError,
    GRequestsError,
    NotARequestError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from ._policies import Retry

#: Statuses whose Retry-After speaks for the host, not for the request alone (RFC 9110 section
#: 15.6.4, RFC 6585 section 4).
OVERLOADED: Final = frozenset({429, 503})
#: Errors after which nobody has to ask.
_NEVER_SENT: Final = (
    *(ConnectTimeout, CircuitOpenError, NotARequestError, ClientClosedError),
    # (Of where a redirect leads they say so as well, and are marked then.)
    *(InvalidURL, InvalidSchema, MissingSchema),
)
#: What runs while Requests follows redirects, or has hooks (an auth's, too) look at an answer.
_AFTER_AN_ANSWER: Final = tuple(
    getattr(each, "__code__", None)
    for each in (SessionRedirectMixin.resolve_redirects, dispatch_hook)
)
#: What decides on one more try in urllib3; it knows of those before.
_COUNTING: Final = getattr(URLLib3Retry.increment, "__code__", None)
#: How deep errors are wrapped at most, from Requests' to the operating system's.
_DEPTH: Final = 6


@dataclass(frozen=True)
class Verdict:
    """What follows an attempt.

    Attributes:
        delay: seconds until the next one; None if there is none.
        why: the reason, for people.
    """

    delay: float | None
    why: str


class RetryBudget:
    """How many retries a run may still make: a share of its requests, and a reserve.

    Example:
        >>> budget = RetryBudget(0.2, 10)
        >>> budget.has_any(requests=100)
        True
    """

    __slots__ = ("_reserve", "_share", "spent")

    def __init__(self, share: float, reserve: int) -> None:
        self._share = share
        self._reserve = reserve
        self.spent = 0

    def has_any(self, requests: int) -> bool:
        """Whether one more is within it, after so many requests."""
        return self.spent < self._reserve + self._share * requests

    def spend(self) -> None:
        """One more was made."""
        self.spent += 1


def retry_after(value: str | None, wall: float) -> float | None:
    """The seconds that a Retry-After asks for, in either form (RFC 9110 section 10.2.3).

    Args:
        value: of the header, or None.
        wall: seconds since 1970, now.

    Returns:
        Seconds, never below 0; None if there is no such header or it makes no sense.
    """
    if value is None:
        return None
    value = value.strip()
    if value.isascii() and value.isdigit():
        return float(value) if len(value) < 10 else float("inf")  # noqa: PLR2004 - 30 years
    try:
        date = email.utils.parsedate_tz(value)
        moment = None if date is None else email.utils.mktime_tz(date)
    except (ValueError, OverflowError, TypeError, IndexError):
        return None
    return None if moment is None else max(moment - wall, 0.0)


def was_sent(error: BaseException) -> bool:
    """Whether anything of a request may have reached the server before it failed.

    If not, it can be sent once more whatever its method (RFC 9110 section 9.2.2). In doubt it was.

    Args:
        error: of a `Result`, an `AsyncRequest`, or one that Requests has raised. Those tell by
            their traceback, which is lost when they are pickled; ours keep what they know.

    Example:
        >>> grequests.was_sent(requests.ConnectTimeout())
        False
    """
    known = getattr(error, SENT, None)
    if known is None and _was_answered(error):
        return True
    if known is None and isinstance(error, GRequestsError):
        known = getattr(error, "sent", None)
    if known is not None:
        return bool(known)
    chain = list(_with_causes(error))
    for each in chain:
        if isinstance(each, MaxRetryError) and not all(map(_went_nowhere, _tries_before(each))):
            return True
    if isinstance(error, _NEVER_SENT):
        return False
    return not any(isinstance(each, (NewConnectionError, ConnectTimeoutError)) for each in chain)


def _with_causes(error: BaseException) -> Iterator[BaseException]:
    """An error, and what it is wrapped around, from Requests' to the operating system's."""
    cause: Any = error
    for _ in range(_DEPTH):
        if not isinstance(cause, BaseException):
            return
        yield cause
        if isinstance(cause, MaxRetryError):
            cause = cause.reason
        elif isinstance(cause, ProxyError):
            cause = cause.original_error
        else:
            cause = next(iter(cause.args), None)


def _was_answered(error: BaseException) -> bool:
    """Whether a server has had the request, and answered it, before this went wrong.

    It has if Requests followed a redirect, or asked a hook what to do about an answer.
    """
    frames = traceback.walk_tb(error.__traceback__)
    return any(frame.f_code in _AFTER_AN_ANSWER for frame, _ in frames)


def _tries_before(error: MaxRetryError) -> Iterable[Any]:
    """What urllib3's `Retry` had noted of tries before it gave up (`RequestHistory`).

    An unknown one, None, if it was raised by somebody's own `Retry`, of which nobody knows.
    """
    if error.__traceback__ is None:
        return ()  # nobody has raised it, or it was taken elsewhere
    for frame, _ in traceback.walk_tb(error.__traceback__):
        if frame.f_code is _COUNTING and "self" in frame.f_locals:  # (else it was cleared)
            return frame.f_locals["self"].history  # type: ignore[no-any-return]
    return (None,)


def _went_nowhere(attempt: Any) -> bool:
    """Whether a try ended before there was a connection."""
    error = getattr(attempt, "error", None)
    return error is not None and not was_sent(error)


def judge(  # noqa: PLR0913 - what there is to know of an attempt
    policy: Retry,
    number: int,
    method: str,
    *,
    error: BaseException | None,
    status: int | None,
    after: float | None,
    random: Callable[[], float],
) -> Verdict | None:
    """What follows an attempt that has ended with an error or a status; budget not considered.

    Args:
        policy: the rules.
        number: of the attempt, from 1.
        method: of the request.
        error: what it ended with, or None.
        status: of its answer, or None.
        after: what Retry-After asks for, in seconds.
        random: gives a number from 0 up to 1.

    Returns:
        The verdict; None if there was no question of a retry.
    """
    if error is not None:
        if not isinstance(error, policy.errors) or isinstance(error, SSLError):
            return None
        what = type(error).__name__
    elif status in policy.statuses:
        what = f"status {status}"
    else:
        return None
    if number >= policy.attempts:
        return None if policy.attempts == 1 else Verdict(None, f"{what}: that was the last attempt")
    if method not in policy.methods and (error is None or was_sent(error)):
        return Verdict(None, f"{what}: {method} may not be sent twice")
    delay = random() * policy.longest_wait(number)
    if after is not None and policy.after:
        if after > policy.after:
            return Verdict(None, f"{what}: Retry-After asks for {after:g} s")
        delay = max(delay, after)
    return Verdict(delay, what)
