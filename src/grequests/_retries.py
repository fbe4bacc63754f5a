"""Whether a request is sent again, and when: urllib3's own `Retry` decides, as in `urlopen`.

Knows exceptions, responses and `Retry`; nothing of who sends and who waits.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from urllib3 import connectionpool
from urllib3.exceptions import (
    HTTPError,
    InvalidHeader,
    MaxRetryError,
    ProtocolError,
    ProxyError,
    SSLError,
)

from ._engine import Phase
from ._exceptions import SENT
from ._options import NO_RETRIES
from ._response import with_jar
from ._translate import (
    IN_BODY,
    NOT_RETRIED,
    Fault,
    body_error,
    is_network_error,
    pool_of,
    send_error,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from requests import PreparedRequest

    from ._engine import Exchange, Failure
    from ._response import Response

    Prepared = Callable[[], PreparedRequest]


_RETRY_AFTER: Final = re.compile(rb"\nretry-after:", re.IGNORECASE)


def is_to_retry(method: str, status: int, head: bytes, retries: Any) -> bool:
    """Whether `Retry` has an interest in an answer of which the head is here."""
    after = _RETRY_AFTER.search(head) is not None
    return retries is not NO_RETRIES and retries.is_retry(method, status, after)


def after_failure(
    exchange: Exchange, failure: Failure, target: str, retries: Any, prepared: PreparedRequest
) -> tuple[Any, float]:
    """What `Retry` is left after a failure, and the seconds to wait.

    Raises:
        Exception: what Requests raises if there is none left, marked with whether anything of this
            try was sent. Those before it are the caller's to know.
    """
    try:
        return _after_failure(exchange, failure, target, retries, prepared)
    except Exception as error:
        setattr(error, SENT, failure.sent)
        raise


def _after_failure(
    exchange: Exchange, failure: Failure, target: str, retries: Any, prepared: PreparedRequest
) -> tuple[Any, float]:
    origin = exchange.origin
    fault = Fault(failure, origin, target, exchange.connect_timeout, exchange.read_timeout)
    error = fault.as_urllib3()
    try:
        if failure.phase in IN_BODY:
            raise body_error(error, prepared) from error
        own = failure.phase is Phase.SEND and error is failure.cause and not is_network_error(error)
        if own or isinstance(error, NOT_RETRIED):
            made = send_error(error, prepared)
            if made is error:
                raise error
            raise made from error
        pool = pool_of(origin)
        try:
            left = retries.increment(exchange.method, target, error=error, _pool=pool)
        except Exception as final:
            _forget_frames(final)
            raise send_error(final, prepared) from final
        _warn(left, error, target, origin.host)
        return left, left.get_backoff_time()
    finally:
        error = made = None  # type: ignore[assignment]  # their tracebacks lead here


def _forget_frames(final: BaseException) -> None:
    """Take the frames of urllib3's `Retry` off: one has the error, of which it is the traceback."""
    if final.__traceback__ is not None:
        final.__traceback__.tb_next = None


def _warn(left: Any, error: Exception, target: str, host: str) -> None:
    """Log what urllib3 logs before it tries again."""
    cause: Any = error.original_error if isinstance(error, ProxyError) else error
    if isinstance(cause, (ProtocolError, SSLError)):
        cause = cause.args[-1]
    connectionpool.log.warning(
        "Retrying (%r) after connection broken by '%r': %s",
        left,
        cause,
        target,
        extra={"__urllib3-retry-warning": {"host": host}},
    )


def after_status(
    exchange: Exchange, response: Response, target: str, retries: Any, prepared: Prepared
) -> tuple[Any, float] | None:
    """The same after a response; None if this response is the answer.

    Raises:
        Exception: what Requests raises if no `Retry` is left, or if Retry-After is none; of one
            that no number or no date can hold, which Requests stumbles over, an `InvalidHeader`.
    """
    after = response.headers.get("Retry-After")
    if not retries.is_retry(exchange.method, response.status_code, bool(after)):
        return None
    try:
        left = retries.increment(
            exchange.method, target, response=response.raw, _pool=pool_of(exchange.origin)
        )
        delay = left.get_retry_after(response.raw) if left.respect_retry_after_header else None
    except MaxRetryError as error:
        if retries.raise_on_status:
            raise send_error(error, with_jar(prepared())) from error
        return None
    except HTTPError as error:  # a Retry-After that is none
        raise send_error(error, with_jar(prepared())) from error
    except (ValueError, OverflowError) as error:
        reason = InvalidHeader(f"Invalid Retry-After header: {error}")
        raise send_error(reason, with_jar(prepared())) from error
    return left, delay or left.get_backoff_time()
