"""Runs one target with atheris: ``python -m fuzz.one TARGET [corpus ...] [-libfuzzer_option=...]``.

The modules that guide it are instrumented as they are imported, so nothing of GRequests may be
imported before. Its environment is `.suites/fuzz`, where `make fuzz` puts atheris.
"""

from __future__ import annotations

import importlib
import sys
from random import Random
from typing import Any

import atheris

#: Packages whose branches guide atheris, by target. (Read here and not from the targets, which import
#: what is to be instrumented.)
GUIDES = {
    "protocol": ("grequests",),
    "against_h11": ("grequests", "h11"),
    "against_requests": ("grequests", "requests", "urllib3"),
    "cookies_and_redirects": ("grequests", "requests", "http"),
}


def main(argv: list[str]) -> None:
    name, *options = argv
    with atheris.instrument_imports(include=list(GUIDES[name])):
        target: Any = importlib.import_module(f"fuzz.{name}")
    kit = target.KIT

    def custom_mutator(data: bytes, max_size: int, seed: int) -> bytes:
        chance = Random(seed)
        if chance.random() < 0.5:
            return bytes(atheris.Mutate(data, max_size))
        return bytes(kit.mutate(data, chance)[:max_size])

    atheris.Setup(
        # (For `-merge=1` libFuzzer starts itself again, by its own name and a shell.)
        [f"{sys.executable} -m fuzz.one {name}", f"-max_len={kit.limit}", *options],
        target.check,
        custom_mutator=custom_mutator,
    )
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1:])
