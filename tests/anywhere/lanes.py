"""For the programs that these tests run: the same requests in either lane.

The programs are given the lane and the server in their environment. The general lane has two ways to
its connections, the user's session and the adapter of requests without one: every other request
goes the other way.
"""

from __future__ import annotations

import json
import os

import requests
import urllib3

import grequests
from grequests._engine import _pool

#: Idle connections close after four seconds, which is how long a process may need to start.
_pool.IDLE_SECONDS = 60.0

LANE = os.environ.get("LANE", "fast")
URL = os.environ.get("SERVER", "")


class Session(requests.Session):
    """A subclass could mean anything: the general lane."""


session = Session()
session.mount("http://", requests.adapters.HTTPAdapter(pool_maxsize=100))


def get(path: str, lane: str = LANE, number: int = 0, **kwargs) -> grequests.AsyncRequest:
    """A request for a path of the server, or for a whole URL."""
    if lane == "general":
        if number % 2:
            kwargs["session"] = session
        else:
            kwargs["timeout"] = urllib3.Timeout(60)
    return grequests.get(path if "://" in path else URL + path, **kwargs)


def many(count: int, path: str, lane: str = LANE, **kwargs) -> list[grequests.AsyncRequest]:
    """So many requests, each for a path of its own below the given one."""
    return [get(f"{path}/{n}", lane, n, **kwargs) for n in range(count)]


def is_right(request: grequests.AsyncRequest, lane: str = LANE) -> bool:
    """Whether a request got the answer to itself, in the lane it should take."""
    response = request.response
    if response is None:
        raise AssertionError(f"{request!r}: {getattr(request, 'exception', None)!r}")
    expected = grequests.Response if lane == "fast" else requests.Response
    assert type(response) is expected, type(response)
    return request.url.endswith(response.text)


def right(count: int, path: str, lane: str = LANE, size: int | None = None) -> int:
    """How many of so many mapped requests get their own answer; to be equal to `count`."""
    sent = many(count, path, lane)
    responses = grequests.map(sent, size=size)
    assert [each.response for each in sent] == responses
    return sum(is_right(each, lane) for each in sent)


def await_arrivals(count: int) -> None:
    """Return when the server holds so many requests."""
    while grequests.map([grequests.get(URL + "/arrived")])[0].text != str(count):
        pass


def open_gate() -> None:
    """Have the server answer those that it holds."""
    assert grequests.map([grequests.get(URL + "/open")])[0].ok


def say(value) -> None:
    """Print what the test reads."""
    print(json.dumps(value), flush=True)
