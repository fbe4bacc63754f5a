"""Whether what users say makes sense. Knows values and their names, not what they are for."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from ._exceptions import PolicyError

if TYPE_CHECKING:
    from collections.abc import Callable


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
