"""How a run gets on, shown while it does: a bar of tqdm's, lines in a log file, or a function.

Knows statistics only. Who reports decides when; nothing in here has a clock, thread or timer of its
own, and nothing that goes wrong in here is the run's.
"""

from __future__ import annotations

import contextlib
import importlib
import sys
from typing import TYPE_CHECKING, Any, Final, Protocol

from ._exceptions import MissingExtraError, PolicyError
from ._explain import explain, rate, summary
from ._log import LOGGER

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TextIO

    from ._statistics import Statistics

#: Seconds between two lines where there is no terminal.
_LINE_EVERY: Final = 10.0


class Reporter(Protocol):
    """Shows how far things are. Neither method raises an `Exception`."""

    def update(self, statistics: Statistics) -> None:
        """Show a state, later than the one before."""

    def close(self) -> None:
        """The state before was the last. Idempotent."""


def reporter(progress: object, out: TextIO | None = None) -> Reporter | None:
    """What shows progress, by the value of ``progress=``.

    Args:
        progress: True for a bar of tqdm's, or a line every ten seconds where stderr is no
            terminal; a function that is called with `Statistics`; False or None for nothing.
        out: where to, in place of stderr.

    Raises:
        MissingExtraError: a bar, and tqdm is not installed.
        PolicyError: it is something else.

    Example:
        >>> shown = reporter(lambda statistics: print(statistics.done))
        >>> shown.update(client.statistics())  # doctest: +SKIP
        1204
    """
    if progress is None or progress is False:
        return None
    if progress is True:
        bar = _bar_class()
        out = out or sys.stderr
        # Without a console (pythonw, a service) there is no stderr.
        return None if out is None else _Careful(_Bar(bar, out) if _is_live(out) else _Lines(out))
    if callable(progress):
        return _Careful(_Function(progress))
    name = "progress"
    raise PolicyError(name, progress, "True, False, None or a function")


def _bar_class() -> Any:
    try:
        auto = importlib.import_module("tqdm.auto")
    except ImportError as error:
        feature = "progress=True"
        raise MissingExtraError(feature, "progress") from error
    # tqdm's thread, which redraws bars that stand still, is of no use here. Other people's bars
    # keep it: the attribute is a subclass's.
    return type("Bar", (auto.tqdm,), {"monitor_interval": 0})


def _is_live(out: TextIO) -> bool:
    """Whether what was written can be written over: a terminal, or a cell of a notebook."""
    if type(out).__module__.startswith("ipykernel"):
        return True
    try:
        return out.isatty()
    except (AttributeError, ValueError):  # something that only has `write`; a closed file
        return False


class _Bar:
    """A bar of tqdm's. It appears with the first state, when it is known how many there will be."""

    def __init__(self, cls: Any, out: TextIO) -> None:
        self._cls = cls
        self._out = out
        self._bar: Any = None
        self._last: Statistics | None = None

    def update(self, statistics: Statistics) -> None:
        bar = self._bar
        if bar is None:
            self._bar = bar = self._cls(
                total=statistics.expected,
                unit="req",
                file=self._out,
                dynamic_ncols=True,
                mininterval=0,
                miniters=0,
            )
        self._last = statistics
        if statistics.expected is not None:  # at the end of a run, it may not be known any more
            bar.total = statistics.expected
        bar.set_postfix_str(_counts(statistics), refresh=False)
        bar.update(statistics.done - bar.n)

    def close(self) -> None:
        if self._bar is None:
            return
        self._bar.close()
        told = explain(self._last) if self._last else ""
        if told:
            self._cls.write(told, file=self._out)  # beside other bars that may be there


class _Lines:
    """A line now and then, for files and the logs of services; and a summary at the end."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._next = _LINE_EVERY
        self._last: Statistics | None = None

    def update(self, statistics: Statistics) -> None:
        self._last = statistics
        if statistics.elapsed < self._next:
            return
        self._next = statistics.elapsed + _LINE_EVERY
        expected = "" if statistics.expected is None else f" of {statistics.expected:,}"
        speed = rate(statistics.rate)
        self._write(f"{statistics.done:,}{expected} done, {_counts(statistics)}, {speed}")

    def close(self) -> None:
        if self._last is not None:
            told = explain(self._last)
            self._write(summary(self._last) + (f"\n{told}" if told else ""))

    def _write(self, text: str) -> None:
        self._out.write(f"{text}\n")
        self._out.flush()


class _Function:
    """A function of the user's."""

    def __init__(self, function: Callable[[Statistics], object]) -> None:
        self._function = function

    def update(self, statistics: Statistics) -> None:
        self._function(statistics)

    def close(self) -> None:
        pass


class _Careful:
    """Another reporter, which is left alone once it has failed: that is logged, and no more."""

    def __init__(self, reporter: Reporter) -> None:
        self._reporter: Reporter | None = reporter

    def __repr__(self) -> str:
        return f"<Reporter {'closed' if self._reporter is None else 'open'}>"

    def update(self, statistics: Statistics) -> None:
        reporter = self._reporter
        if reporter is None:
            return
        try:
            reporter.update(statistics)
        except Exception:  # noqa: BLE001 - a user's function, or a stream that is gone
            self._reporter = None
            LOGGER.exception("progress is shown no more")
            with contextlib.suppress(Exception):
                reporter.close()

    def close(self) -> None:
        reporter, self._reporter = self._reporter, None
        if reporter is None:
            return
        try:
            reporter.close()
        except Exception:  # noqa: BLE001 - as above
            LOGGER.exception("progress could not be closed")


def _counts(statistics: Statistics) -> str:
    retries = "1 retry" if statistics.retries == 1 else f"{statistics.retries:,} retries"
    return f"{statistics.failures:,} failed, {retries}"
