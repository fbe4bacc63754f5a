"""The same request three ways: plain Requests, the general lane, the fast lane.

All three go to real servers, whose names and addresses are the real ones: whatever may differ between
them is compared, response or exception, texts, warnings, and what the servers say they read.
Knows nothing of what is tested.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import gevent
import pytest
import requests
from recording import assert_same, describe, snapshot

import grequests
from grequests import _call, _general, _stock

#: Seconds after which a request that hangs is no longer waited for.
PATIENCE = 20.0

#: What Requests says of a kept connection that was closed as it was used.
_CLOSED_IN_BETWEEN = "Remote end closed connection without response"

#: Makes a request anew: its session or None, method, URL, keywords.
Make = Callable[[], "tuple[requests.Session | None, str, Any, dict[str, Any]]"]


class Ways:
    """Sends a request three ways and holds them to be the same.

    Args:
        taken: what the servers have read since it was last called; must be the same, too.
        cleaned: what is changed in each outcome before it is compared (dates, identifiers).
        warned: what `warnings` is to do with a warning.
        read: makes values of a response.
    """

    def __init__(
        self,
        taken: Callable[[], Any] = lambda: None,
        cleaned: Callable[[dict[str, Any]], dict[str, Any]] = lambda outcome: outcome,
        warned: Any = "always",
        read: Callable[[requests.Response], dict[str, Any]] = snapshot,
    ) -> None:
        self._taken = taken
        self._cleaned = cleaned
        self._warned = warned
        self._read = read

    def same(self, make: Make, lane: str | None = "fast") -> dict[str, Any]:
        """What comes of a request, the same three ways.

        Args:
            make: makes the request anew.
            lane: the one that it takes if nobody forces it; None if either will do.
        """
        theirs = self.outcome(plainly(make))
        if theirs["error"] and _CLOSED_IN_BETWEEN in theirs["error"]["text"]:
            # tinyproxy closes after each response without a word. Whether Requests has noticed by
            # the next request is chance; it does not send it once more, as we do.
            theirs = self.outcome(plainly(make))
        with general_only():
            general = self.outcome(ours(make, "general"))
        assert_same(general, theirs)
        free = self.outcome(ours(make, lane))
        if free["error"] and theirs["error"] and theirs["error"]["request"] is None:
            # Faults in a body: Requests does not say whose they are, we do.
            free["error"]["request"] = None
        assert_same(free, theirs)
        return theirs

    def outcome(self, send: Callable[[], requests.Response]) -> dict[str, Any]:
        """What comes of it, as values."""
        grequests.close()  # each way makes its own connections
        self._taken()
        response = error = None
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter(self._warned)
            warnings.simplefilter("ignore", ResourceWarning)
            try:
                response = self._read(send())
            except Exception as raised:  # noqa: BLE001 - it is what is compared
                error = describe(raised)
        found = {
            "response": response,
            "error": error,
            "warnings": [
                (each.category, str(each.message), each.filename, each.lineno) for each in caught
            ],
            "taken": self._taken(),
        }
        return self._cleaned(found)


def plainly(make: Make) -> Callable[[], requests.Response]:
    """Send by plain Requests."""

    def send() -> requests.Response:
        session, method, url, kwargs = make()
        with session or requests.Session() as used:
            return used.request(method, url, **kwargs)

    return send


def ours(make: Make, lane: str | None) -> Callable[[], requests.Response]:
    """Send by GRequests, in this lane."""

    def send() -> requests.Response:
        session, method, url, kwargs = make()
        with lanes_taken() as took:
            request = grequests.request(method, url, session=session, **kwargs)
            with gevent.Timeout(PATIENCE, AssertionError("it hangs")):
                request.send()
        if session is not None:
            session.close()
        assert lane is None or ("general" in took) is (lane == "general"), took
        if request.response is None:
            raise request.exception
        return request.response

    return send


@contextlib.contextmanager
def general_only() -> Iterator[None]:
    """All requests take the general lane."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_call, "_untouched", lambda: False)
        patch.setattr(_stock, "untouched", lambda: False)
        yield


@contextlib.contextmanager
def lanes_taken() -> Iterator[list[str]]:
    """Notes each request of the general lane, and the hand-over of a chain of redirects."""
    took: list[str] = []

    def noting(name: str, function: Any) -> Any:
        def noted(*args: Any) -> Any:
            took.append(name)
            return function(*args)

        return noted

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_general, "perform", noting("general", _general.perform))
        patch.setattr(_general, "perform_prepared", noting("rest", _general.perform_prepared))
        yield took
