"""The servers of the torture."""

from __future__ import annotations

import ssl
from collections.abc import Iterator

import pytest
import trustme

from .world import World


@pytest.fixture(scope="module")
def world(authority: trustme.CA) -> Iterator[World]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1", "localhost").configure_cert(context)
    with World(context).running() as one:
        yield one
