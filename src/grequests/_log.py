"""The `grequests` logger: a line for each failure, and a sentence for a run with many.

Nothing is shown unless the program asks for it (``logging.basicConfig(level=logging.INFO)``), as is
proper for a library; credentials and secrets in URLs are never shown. Knows results and statistics
by their attributes.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from ._explain import duration, explain, troubles
from ._kinds import inside, kind_of
from ._safe_url import one_line, safe_text, safe_url

if TYPE_CHECKING:
    from ._results import Result
    from ._statistics import Statistics

LOGGER: Final = logging.getLogger("grequests")
# Else `logging` would print warnings by itself (the library how-to of Python's documentation).
LOGGER.addHandler(logging.NullHandler())

#: From this share of a run's requests on, and this many, its failures are worth a warning.
_MANY_SHARE: Final = 0.1
_MANY: Final = 10
#: Characters of a URL and of an error's text that a line has, at most.
_URL_LENGTH: Final = 500
_TEXT_LENGTH: Final = 300
#: How deep errors are wrapped at most.
_DEPTH: Final = 8


def wants_failures() -> bool:
    """Whether `log_failure` would do anything: who calls it may save making a result."""
    return LOGGER.isEnabledFor(logging.INFO)


def log_failure(result: Result) -> None:
    """Log a result without a response, at INFO: what failed, after how much, and the cause.

    Args:
        result: any; with a response, there is nothing to say.

    Example:
        >>> log_failure(result)  # doctest: +SKIP
        INFO:grequests:GET http://h/a?key=... failed: refused, 3 attempts in 1.23 s (...)
    """
    error = result.error
    if error is None or not wants_failures():
        return
    LOGGER.info(
        "%s failed: %s, %s (%s)",
        _subject(result),
        kind_of(error),
        _effort(result),
        cause(error, getattr(result.request, "url", None)),
    )


def log_run(statistics: Statistics) -> None:
    """Log why requests of a run have failed: at WARNING if they are many, else at INFO.

    Many are 10 or more, and 10 % or more. Answers with 429 and 503 count.

    Args:
        statistics: of the run.
    """
    count = troubles(statistics)
    if not count:
        return
    many = count >= _MANY and count >= _MANY_SHARE * statistics.done
    level = logging.WARNING if many else logging.INFO
    if LOGGER.isEnabledFor(level):
        LOGGER.log(level, "%s", explain(statistics))


def cause(error: BaseException, url: object = None) -> str:
    """The innermost of an error, which is nearest to what happened, in one line without secrets.

    Args:
        error: any.
        url: of the request, which the error's text may quote.

    Example:
        >>> cause(ConnectionRefusedError(111, "Connection refused"))
        'ConnectionRefusedError: [Errno 111] Connection refused'
    """
    each: BaseException | None = error
    for _ in range(_DEPTH):
        assert each is not None
        further = inside(each)
        if further is None:
            break
        each = further
    text = str(each)
    if isinstance(url, str) and url:
        text = text.replace(url, safe_url(url))
    text = safe_text(text)
    return _short(f"{type(each).__name__}: {text}" if text else type(each).__name__, _TEXT_LENGTH)


def _subject(result: Result) -> str:
    request = result.request
    if not hasattr(request, "url"):
        return f"item {result.index}"  # which may be anything, of any size
    method = one_line(str(request.method))
    return f"{method} {_short(safe_url(request.url), _URL_LENGTH)}"


def _effort(result: Result) -> str:
    count = len(result.attempts)
    if not count:
        return "not sent"
    attempts = "1 attempt" if count == 1 else f"{count:,} attempts"
    return f"{attempts} in {duration(result.timings.total)}"


def _short(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[:length]}[{len(text) - length:,} more]"
