"""Every function and class that plain Requests calls, replaced: GRequests calls it as often.

The names come from watching plain Requests (`way`), not from what GRequests watches. Each is
replaced in the ways people replace things, after our import and, in a process for each, before it.
"""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import wrapt

from .way import Counter, Name, World, by_grequests, by_requests, called, names_of, replaced

#: What cannot be noticed, and why. A name is "module.name" or "module:class.name".
NOT_NOTICED = {
    # Values that are made of values: nothing is decided there, and nobody stands on the way.
    "urllib3.util.url:Url.__new__": "a named tuple",
    "urllib3.util.url:Url.netloc": "a named tuple",
    "urllib3.util.url:Url.url": "a named tuple",
    "socket._intenum_converter": "makes constants of the numbers that a socket says of itself",
    "urllib3.response:HTTPResponse.closed": "asked by io when an answer is collected, whenever",
    "socket:socket.family": "a constant's name",
    "socket:socket.type": "a constant's name",
}


#: Whose replacement before our import costs the fast lane for good: gevent imports it by name.
NOT_GIVEN_BACK = {"SocketIO"}


def function(value: Any, count: Counter) -> Any:
    def replacement(*args: Any, **kwargs: Any) -> Any:
        count()
        return value(*args, **kwargs)

    return replacement


def wraps(value: Any, count: Counter) -> Any:
    return functools.wraps(value)(function(value, count))


def wrapt_decorator(value: Any, count: Counter) -> Any:
    @wrapt.decorator
    def wrapper(wrapped: Any, _: Any, args: Any, kwargs: Any) -> Any:
        count()
        return wrapped(*args, **kwargs)

    return wrapper(value)


def spy(value: Any, count: Counter) -> Any:
    """`mock.Mock(wraps=...)`, and what `autospec=True` makes of it: a function, which binds."""
    return mock.create_autospec(value, side_effect=function(value, count))


def subclass(value: Any, count: Counter) -> Any:
    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:
        count()
        value.__init__(self, *args, **kwargs)

    return type(value.__name__, (value,), {"__init__": __init__, "__module__": value.__module__})


FUNCTIONS = (function, wraps, wrapt_decorator, spy)


def kinds_of(name: Name) -> tuple[Any, ...]:
    return (subclass,) if isinstance(name.value(), type) else FUNCTIONS


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with World(str(tmp_path_factory.mktemp("world"))) as one:
        yield one


@pytest.fixture(scope="module")
def way(world: World) -> dict[Name, list[str]]:
    """Names on the way, and the scenarios in which they are: the shortest three of each."""
    found: dict[Name, list[str]] = {}
    for scenario, run in world.scenarios().items():
        by_requests(run)  # what is done once is done
        for name in names_of(called(run)):
            found.setdefault(name, []).append(scenario)
    assert len(found) > 400
    return {name: scenarios[:2] for name, scenarios in found.items()}


def count_calls(name: Name, kind: Any, run: Any, send: Any) -> tuple[int, str]:
    """How often the replacement was called, and what came of it."""
    outcome = "answered"
    with replaced(name, kind) as counter:
        try:
            send(run)
        except Exception as error:  # noqa: BLE001
            outcome = type(error).__name__
    return counter.calls, outcome


def test_a_replacement_after_import_is_called_as_often(world, way):
    scenarios = world.scenarios()
    wrong, seen = {}, 0
    for number, (name, on) in enumerate(sorted(way.items())):
        if str(name) in NOT_NOTICED:
            continue
        kinds = kinds_of(name)
        for turn, scenario in enumerate(on):
            kind = kinds[(number + turn) % len(kinds)]
            plain = count_calls(name, kind, scenarios[scenario], by_requests)
            if plain[1] != "answered":
                continue  # Requests itself does not bear it
            ours = count_calls(name, kind, scenarios[scenario], by_grequests)
            seen += plain[0] > 0
            if ours != plain:
                wrong[f"{name} {scenario} {kind.__name__}"] = (plain, ours)
    assert not wrong, "\n".join(f"{key}: {value}" for key, value in wrong.items())
    assert seen > 500


def test_a_replacement_before_import_is_called_as_often_until_it_is_given_back(world, way):
    scenarios = world.scenarios()
    orders: dict[str, list[Any]] = {}  # one name of each module and class: processes are dear
    for number, (name, on) in enumerate(sorted(way.items())):
        kinds = kinds_of(name)
        kind = kinds[number % len(kinds)]
        if name.owner in orders or str(name) in NOT_NOTICED or name.name in NOT_GIVEN_BACK:
            continue
        plain = count_calls(name, kind, scenarios[on[0]], by_requests)
        if plain[1] == "answered" and plain[0]:
            orders[name.owner] = [*name, on[0], kind.__name__, plain[0]]
    assert len(orders) > 45
    halves = [start(world, [*orders.values()][n::4]) for n in range(2)]
    wrong = [line for half in halves for line in answers(half)]
    assert not wrong, "\n".join(wrong)


def start(world: World, orders: list[list[Any]]) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-m", "hooks.before", *world.roots, world.bundle],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
    )
    assert process.stdin is not None
    process.stdin.write(json.dumps(orders))
    process.stdin.close()
    process.stdin = None
    return process


def answers(process: subprocess.Popen[str]) -> list[str]:
    out, err = process.communicate(timeout=120)
    *wrong, last = out.splitlines()
    assert (last, err, process.returncode) == ("done", "", 0)
    return wrong
