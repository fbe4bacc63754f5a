"""The targets by name. Not to be imported before what atheris instruments (see `one`)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from . import against_h11, against_requests, cookies_and_redirects, protocol

#: Modules with `check(data)`, which raises if something is wrong, and a `KIT` that makes data.
TARGETS: dict[str, Any] = {
    "protocol": protocol,
    "against_h11": against_h11,
    "against_requests": against_requests,
    "cookies_and_redirects": cookies_and_redirects,
}


def check_of(name: str) -> Callable[[bytes], None]:
    check: Callable[[bytes], None] = TARGETS[name].check
    return check
