"""A time limit for each test here, and the order of imports as a parameter."""

from __future__ import annotations

import pytest

from .support import ORDERS


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "ecosystem" in item.path.parts:
            item.add_marker(pytest.mark.timeout(60))


@pytest.fixture(params=ORDERS)
def order(request: pytest.FixtureRequest) -> str:
    """Which is imported first; for `in_process`."""
    return request.param
