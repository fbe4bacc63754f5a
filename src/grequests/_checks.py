"""Whether what users say makes sense. Knows values and their names, not what they are for."""

from __future__ import annotations

import math
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from ._exceptions import PolicyError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping


def check_number(name: str, value: Any, wanted: str, is_fine: Callable[[Any], bool]) -> None:
    """Refuse what is no number, or not fine.

    Raises:
        PolicyError: it is not.
    """
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not number or math.isnan(value) or not is_fine(value):
        raise PolicyError(name, value, wanted)


def check_positive(name: str, value: Any) -> None:
    """Refuse what is not a finite number above 0.

    Raises:
        PolicyError: it is not.
    """
    check_number(name, value, "a number above 0", lambda number: 0 < number < math.inf)


def check_seconds(name: str, value: Any) -> None:
    """Refuse what is neither a positive number of seconds nor None.

    Raises:
        PolicyError: it is not.
    """
    if value is not None:
        check_number(name, value, "a number of seconds above 0, or None", lambda number: number > 0)


def check_count(name: str, value: Any, least: int = 1) -> None:
    """Refuse what is not an integer of at least `least`.

    Raises:
        PolicyError: it is not.
    """
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise PolicyError(name, value, f"an integer of at least {least}")


def check_choice(name: str, value: Any, choices: tuple[str, ...]) -> None:
    """Refuse what is none of a few words.

    Raises:
        PolicyError: it is not.
    """
    if value not in choices:
        raise PolicyError(name, value, f"one of {', '.join(choices)}")


def check_kind(name: str, value: Any, kind: type, wanted: str) -> None:
    """Refuse what is neither None nor of a kind.

    Raises:
        PolicyError: it is not.
    """
    if value is not None and not isinstance(value, kind):
        raise PolicyError(name, value, wanted)


def check_given(name: str, value: Any, wanted: str) -> None:
    """Refuse None.

    Raises:
        PolicyError: it is None.
    """
    if value is None:
        raise PolicyError(name, value, wanted)


#: What people say who know another library, or the command line.
_MEANT = {
    "concurency": "concurrency",
    "gtimeout": "deadline",
    "max_concurrency": "concurrency",
    "max_workers": "concurrency",
    "max_retries": "retry",
    "pool_size": "concurrency",
    "rate_limit": "rate",
    "retries": "retry",
    "size": "concurrency",
    "workers": "concurrency",
}


def check_names(
    where: str, given: Iterable[str], known: Iterable[str], others: Mapping[str, str]
) -> None:
    """Refuse keywords that are not known.

    Args:
        where: whose they are, such as ``"run()"``.
        given: the keywords.
        known: which there are.
        others: which there are elsewhere, and where.

    Raises:
        TypeError: one is not known; with what may have been meant.
    """
    names = sorted(known)
    for name in given:
        if name in names:
            continue
        message = f"{where} has no option {name!r}"
        near = _MEANT.get(name) or next(iter(get_close_matches(name, [*names, *others], 1)), "")
        if name in others:
            message += f": it is one of {others[name]}"
        elif near in others:
            message += f"; did you mean {near!r}, which is one of {others[near]}?"
        elif near:
            message += f"; did you mean {near!r}?"
        raise TypeError(message)
