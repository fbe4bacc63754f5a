"""pytest plugin: urllib3's tests over the general lane's connections. `-p suite_green`.

Each test function runs in a greenlet, inside the general lane. The pool classes of urllib3 are our
green ones, as an adapter's manager has them there, and every PoolManager is greened; with SUITE_GREEN=managers only these, for suites that replace
methods of the pool classes themselves.
"""

from __future__ import annotations

import os
from typing import Any

import pytest
import suite_record
import urllib3
import urllib3.connectionpool
import urllib3.poolmanager
from _pytest.unittest import TestCaseFunction
from suite_greenlet import in_greenlet

from grequests import _green_dial, _green_pool

#: How many sockets were dialled by our code, and how many left to urllib3 because somebody watches.
_dialled = {"green": 0, "stock": 0}


def pytest_configure() -> None:
    if os.environ.get("SUITE_GREEN") != "managers":
        _green_pools()
    _green_managers()
    _run_cases_inside()
    _count_dials()


def _green_pools() -> None:
    for name in ("HTTPConnectionPool", "HTTPSConnectionPool"):
        cls = getattr(urllib3.connectionpool, name)
        green = _green_pool._green_pool_class(cls)
        for module in (urllib3, urllib3.connectionpool, urllib3.poolmanager):
            setattr(module, name, green)


def _green_managers() -> None:
    make = urllib3.PoolManager.__init__

    def init(self: Any, *args: Any, **kwargs: Any) -> None:
        make(self, *args, **kwargs)
        _green_pool.green_manager(self)

    urllib3.PoolManager.__init__ = init


def _count_dials() -> None:
    dial = _green_dial._Dialler.__call__

    def call(self: Any) -> Any:
        kind = "green" if _green_dial._may_green() else "stock"
        _dialled[kind] += 1
        suite_record.notes[kind] = suite_record.notes.get(kind, 0) + 1
        return dial(self)

    _green_dial._Dialler.__call__ = call


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool:
    arguments = {name: pyfuncitem.funcargs[name] for name in pyfuncitem._fixtureinfo.argnames}

    _run_inside(lambda: pyfuncitem.obj(**arguments))
    return True


def _run_inside(function: Any) -> None:
    def run() -> None:
        token = _green_dial.enter()
        try:
            function()
        finally:
            _green_dial.leave(token)

    in_greenlet(run)


def _run_cases_inside() -> None:
    """Test cases of unittest do not come by `pytest_pyfunc_call`."""
    runtest = TestCaseFunction.runtest
    TestCaseFunction.runtest = lambda item: _run_inside(lambda: runtest(item))


def pytest_sessionfinish() -> None:
    suite_record.totals["lanes"] = {f"{kind} sockets": n for kind, n in _dialled.items()}
