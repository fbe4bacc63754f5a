"""Each test of this folder runs what it tests in processes of its own, once for each lane."""

from __future__ import annotations

import pytest
import servers


@pytest.fixture(params=["fast", "general"])
def lane(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(autouse=True)
def _patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Processes take their time to start on a busy machine: servers and tests wait for longer."""
    monkeypatch.setattr(servers, "PATIENCE", 40.0)
