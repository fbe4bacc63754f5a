"""Thousands of failures leave nothing behind: no memory, no objects.

That a failure is no cycle, which would wait for the garbage collector, is tested on its own
(`test_failures_are_freed`). What urllib3 and gevent make of some errors are such cycles, without a body
or a socket.
"""

from __future__ import annotations

import gc
import logging
import os
import tracemalloc
from collections import Counter
from collections.abc import Iterator
from itertools import cycle, islice

import gevent
import pytest
import requests
from conftest import is_quiet
from servers import eventually

import grequests
from grequests import Client, Timeout

from .bad import KINDS, MAX_BODY, BadServer
from .scenario import Odd

FULL = os.environ.get("GREQUESTS_TORTURE") == "full"
#: Requests before it is looked, and between the two looks.
WARM_UP, MEASURED = (500, 2_000) if FULL else (150, 600)
#: Bytes that may be there afterwards and were not before.
GROWTH = 200_000
#: Objects of one type that may be. A kind of failure that left one would leave half as many more.
OBJECTS = MEASURED // 30
#: Seconds of silence that a request bears, if there will be nothing else.
SILENCE = 0.05

pytestmark = pytest.mark.usefixtures("no_leaks")


class Sender:
    """Sends requests that fail, in one lane."""

    def __init__(self, server: BadServer, lane: str) -> None:
        self._server = server
        self._session = Odd() if lane == "general" else None
        self._client = Client(
            concurrency=10,
            retry=None,
            circuit=None,
            max_body=MAX_BODY,
            timeout=Timeout(connect=10, read=10),
        )

    def send(self, kinds: Iterator[str] | list[str]) -> Counter[str]:
        """One request of each; how many ended in which way."""
        wanted = map(self._request, kinds)
        outcomes: Counter[str] = Counter()
        for result in self._client.run(wanted):
            typed = (requests.RequestException, grequests.GRequestsError)
            assert result.error is None or isinstance(result.error, typed), repr(result.error)
            outcomes[type(result.error).__name__] += 1
        return outcomes

    def _request(self, kind: str) -> grequests.AsyncRequest:
        timeout = {"timeout": SILENCE} if kind == "silence" else {}
        return grequests.get(self._server.url(kind), session=self._session, **timeout)

    def rest(self) -> None:
        """Let everything end that is about to, and have the garbage collected."""
        eventually(is_quiet, "the engine to be quiet")
        if self._session is not None:
            self._session.close()
        grequests.close()
        gc.collect()  # which closes what urllib3 leaves open
        eventually(lambda: not self._server.open, "the server's threads to end")
        gc.collect()

    def close(self) -> None:
        self._client.close()
        self.rest()


@pytest.fixture
def server(no_leaks: None) -> Iterator[BadServer]:
    with BadServer() as one:
        yield one


@pytest.fixture(params=["fast", "general"])
def sender(request, server: BadServer) -> Iterator[Sender]:
    one = Sender(server, request.param)
    yield one
    one.close()


def mixed(count: int) -> list[str]:
    """So many kinds, in turns; a loop, which is thirty requests, more seldom."""
    others = [each for each in KINDS if each != "loop"]
    return list(islice(cycle([*others * 4, "loop"]), count))


def objects() -> Counter[str]:
    """What the collector knows, by type."""
    kinds = (type(each) for each in gc.get_objects())
    return Counter(f"{kind.__module__}.{kind.__qualname__}" for kind in kinds)


@pytest.fixture(autouse=True)
def _unlogged(caplog: pytest.LogCaptureFixture) -> None:
    """pytest would keep what urllib3 and we say of each failure."""
    for name in ("urllib3", "grequests"):
        caplog.set_level(logging.CRITICAL, name)


@pytest.mark.timeout(240)
def test_thousands_of_failures_leave_no_memory_and_no_objects(sender, capsys):
    tracemalloc.start()
    try:
        sender.send(mixed(WARM_UP))
        sender.rest()
        known, before = objects(), tracemalloc.get_traced_memory()[0]
        outcomes = sender.send(mixed(MEASURED))
        sender.rest()
        grown = tracemalloc.get_traced_memory()[0] - before
        more = {kind: n for kind, n in (objects() - known).items() if n > OBJECTS}
    finally:
        tracemalloc.stop()
    if FULL:
        with capsys.disabled():
            print(f"\n{MEASURED:,} failures: {grown:,} bytes more; {dict(outcomes)}")
    assert outcomes.total() == MEASURED
    assert not more, f"objects that were not there before: {more}"
    assert grown < GROWTH, f"{grown:,} bytes more"


def test_a_response_is_no_cycle_in_the_fast_lane(server):
    sender = Sender(server, "fast")
    count = 200
    sender.send(["surplus"] * count)
    sender.rest()
    gc.disable()
    try:
        sender.send(["surplus"] * count)
        gevent.sleep(0)
        assert gc.collect() < count  # a run has some, not each of its requests
    finally:
        gc.enable()
        sender.close()
