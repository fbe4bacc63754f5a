"""Each test of this folder runs what it tests in processes of its own, once for each lane."""

from __future__ import annotations

import pytest


@pytest.fixture(params=["fast", "general"])
def lane(request: pytest.FixtureRequest) -> str:
    return request.param
