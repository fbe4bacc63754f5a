"""pytest plugin: every `requests.Session` sends through GRequests. Loaded with `-p suite_sending`.

What the environment says: SUITE_WAY is `general` (that lane only) or `fast` (wherever it is
allowed); SUITE_THROUGH is `imap` (the scheduler, greenlets) or `map` (a single request, which runs
in the caller's greenlet).

The fast lane is taken only while everything on the way is stock, so nothing here replaces what it
looks at. Three doors are watched:

* `session.request` and `session.send`, as somebody outside calls them, through a `__getattribute__`
  put on the class Session. `super().request(...)` and `Session.request(self, ...)` inside a
  subclass do not come by it, so that a subclass' own method runs once, inside, as with any user.
* `requests.request` and with it `requests.get` and so on, by the code of that function, which stays
  the same object. It becomes a request without a session, as `grequests.get(url)` is.

Requests' own code, when GRequests runs it in its general lane, finds all three as they always were.
"""

from __future__ import annotations

import os
import sys
from collections import Counter
from contextvars import ContextVar
from typing import Any

import requests
import requests.api
import suite_record
from suite_greenlet import in_greenlet

import grequests
from grequests import _call, _general, _green_dial, _stock

_WAY = os.environ["SUITE_WAY"]
_THROUGH = os.environ.get("SUITE_THROUGH", "imap")

_Session = requests.Session


# --- the doors -----------------------------------------------------------------------------------


def _is_inside() -> bool:
    """Whether it is GRequests that calls, in its general lane, on whatever thread."""
    return _green_dial._hub.get() is not None


def _getattribute(self: Any, name: str) -> Any:
    if name in _SENDERS and not _is_inside():
        found = object.__getattribute__(self, name)
        if name not in object.__getattribute__(self, "__dict__"):
            return _Door(found, _SENDERS[name](self, found))
        return found
    return object.__getattribute__(self, name)


class _Door:
    """Stands in for a bound method, and equals each other that does."""

    def __init__(self, method: Any, function: Any) -> None:
        self.__wrapped__ = method
        self._function = function

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._function(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__wrapped__, name)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Door) and other.__wrapped__ == self.__wrapped__

    def __hash__(self) -> int:
        return hash(self.__wrapped__)


def _requests_of(session: Any, method: Any) -> Any:
    """What `session.request` is for somebody outside."""

    def request(*args: Any, **kwargs: Any) -> Any:
        given = _named(args, kwargs)
        if given is None or not {"session", "callback"}.isdisjoint(given):
            return method(*args, **kwargs)  # its TypeError to raise
        if session.stream:
            given.setdefault("stream", None)  # else the `stream=` of imap would count
        verb, url = given.pop("method"), given.pop("url")
        return _send(verb, url, session=session, **given)

    return request


_POSITIONS = (
    *("method", "url", "params", "data", "headers", "cookies", "files", "auth", "timeout"),
    *("allow_redirects", "proxies", "hooks", "stream", "verify", "cert", "json"),
)


def _named(args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any] | None:
    if len(args) > len(_POSITIONS):
        return None
    given = dict(zip(_POSITIONS, args))
    if given.keys() & kwargs.keys():
        return None
    given.update(kwargs)
    return given if "method" in given and "url" in given else None


def _sends_of(session: Any, method: Any) -> Any:
    """What `session.send` is for somebody outside: GRequests sends no prepared requests itself,
    but follows redirects with them in its general lane."""

    def send(*args: Any, **kwargs: Any) -> Any:
        # Inside by now, if a mock kept it to call it later.
        if _is_inside() or len(args) != 1 or not hasattr(args[0], "url"):
            return method(*args, **kwargs)
        _count("prepared")
        if _THROUGH == "map":
            return _general.perform_prepared(session, args[0], kwargs)
        return in_greenlet(lambda: _general.perform_prepared(session, args[0], kwargs))

    return send


_SENDERS = {"request": _requests_of, "send": _sends_of}


def _api_request(method: Any, url: Any, **kwargs: Any) -> Any:
    """`requests.api.request`: this code is put into that function."""
    import suite_sending

    return suite_sending.requested(method, url, kwargs)


def requested(method: Any, url: Any, kwargs: dict[str, Any]) -> Any:
    if _is_inside() or not {"session", "callback"}.isdisjoint(kwargs):
        with requests.sessions.Session() as session:
            return session.request(method=method, url=url, **kwargs)
    return _send(method, url, **kwargs)


# --- through GRequests ---------------------------------------------------------------------------


def _send(method: Any, url: Any, **kwargs: Any) -> Any:
    request = grequests.request(method, url, **kwargs)
    before = _seen["general"]
    try:
        if _THROUGH == "map":
            grequests.map([request])
        else:
            for _ in grequests.imap([request]):
                pass
    finally:
        if _seen["general"] == before:
            _count("fast")
    if request.response is not None:
        return request.response
    raise request.exception


# --- which lane ----------------------------------------------------------------------------------

_seen: Counter[str] = Counter()
_reasons: Counter[str] = Counter()
_reason: ContextVar[str | None] = ContextVar("reason", default=None)


def _count(what: str, number: int = 1) -> None:
    _seen[what] += number
    suite_record.notes[what] = suite_record.notes.get(what, 0) + number


def _watch_lanes() -> None:
    decide, perform = _call.general_reason, _general.perform
    untouched = _stock.untouched if _WAY == "fast" else lambda: False

    last: list[str] = []

    def general_reason(*args: Any) -> Any:
        reason = decide(*args)
        last[:] = [reason or "preparation"]
        return reason

    def question() -> bool:
        answer = untouched()
        last[:] = [] if answer else ["somebody replaced a function"]
        return answer

    def counted(*args: Any) -> Any:
        _count("general")
        reason = last[0] if last and _WAY == "fast" else ""
        if reason:
            _reasons[reason] += 1
            suite_record.notes.setdefault("reasons", []).append(reason)
        return perform(*args)

    _call.general_reason = general_reason
    _call._untouched = _stock.untouched = question
    _general.perform = counted
    _general.perform_signed = _counting(_general.perform_signed)


def _counting(perform: Any) -> Any:
    def counted(*args: Any) -> Any:
        _count("general")
        if _WAY == "fast":
            _reasons["what its auth asks for"] += 1
        return perform(*args)

    return counted


def pytest_configure() -> None:
    if "requests.sessions" in sys.modules and "__getattribute__" in vars(_Session):
        return
    _Session.__getattribute__ = _getattribute
    function = requests.api.request
    code = _api_request.__code__
    function.__code__ = code.replace(
        co_filename=function.__code__.co_filename, co_name=function.__code__.co_name
    )
    _watch_lanes()


def pytest_sessionfinish() -> None:
    suite_record.totals.update(lanes=dict(_seen), reasons=dict(_reasons))
