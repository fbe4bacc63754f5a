"""Fixtures for pytest: `fake_clock` and `fake_transport`.

Enabled by a line in a `conftest.py`, the topmost one::

    pytest_plugins = ["grequests.testing.pytest_plugin"]

The only module that imports pytest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from grequests.testing import FakeClock, FakeTransport

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

_transport = pytest.StashKey[FakeTransport]()


@pytest.fixture
def fake_clock() -> Iterator[FakeClock]:
    """A `FakeClock` that goes on by itself when nothing else can run."""
    with FakeClock(autojump=True) as clock:
        yield clock


@pytest.fixture
def fake_transport(
    fake_clock: FakeClock, request: pytest.FixtureRequest
) -> Iterator[FakeTransport]:
    """A `FakeTransport`, active during the test, by the `fake_clock`.

    A test that ends well fails all the same if `FakeTransport.check` does: if a request was sent
    that no rule is for, or a rule (without ``required=False``) was never used.
    """
    with FakeTransport(fake_clock) as fake:
        request.node.stash[_transport] = fake
        yield fake


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, Any, Any]:
    """Check the script, as the last thing of a test."""
    result = yield
    fake = item.stash.get(_transport, None)
    if fake is not None:
        complaint = None
        try:
            fake.check()
        except AssertionError as error:
            complaint = str(error)
        if complaint is not None:  # outside of the handler, or it would be shown twice
            pytest.fail(complaint, pytrace=False)
    return result
