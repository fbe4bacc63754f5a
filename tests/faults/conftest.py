"""What the fault tests share: certificates, and a look at what is left."""

from __future__ import annotations

import logging
import ssl
from collections.abc import Iterator

import pytest
import trustme

from .harness import Odd


@pytest.fixture(scope="session")
def tls(authority: trustme.CA) -> ssl.SSLContext:
    """Of a server that is who it says it is."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1", "localhost").configure_cert(context)
    return context


@pytest.fixture(params=["fast", "general"])
def session(request: pytest.FixtureRequest) -> Iterator[Odd | None]:
    """What makes a request take this lane."""
    if request.param == "fast":
        yield None
        return
    with Odd() as one:
        yield one


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """urllib3 logs headers that it cannot parse, with a traceback that pytest would keep."""
    logger = logging.getLogger("urllib3")
    logger.addFilter(_nothing)
    connection = logging.getLogger("urllib3.connection")
    connection.addFilter(_nothing)
    yield
    logger.removeFilter(_nothing)
    connection.removeFilter(_nothing)


def _nothing(record: logging.LogRecord) -> bool:
    return record.exc_info is None
