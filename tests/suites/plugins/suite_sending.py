"""pytest plugin: every `requests.Session` sends through GRequests. Loaded with `-p suite_sending`.

What the environment says: SUITE_WAY is `general` (that lane only) or `fast` (wherever it is
allowed); SUITE_THROUGH is `imap` (the scheduler, greenlets) or `map` (a single request, which runs
in the caller's greenlet).

The fast lane is taken only while everything on the way is stock, so nothing here replaces what it
looks at: functions and classes stay the objects they are, and other *code* is put into functions.

* `requests.request`, and with it `requests.get` and so on, becomes a request without a session, as
  `grequests.get(url)` is.
* `session.get`, `session.post` and so on become a request with that session, and so does
  `session.request`, unless somebody has put a `request` of their own before it: then that one runs
  outside and what is left of the way runs inside the general lane.
* `session.send` sends in the general lane, as GRequests does with redirects there: it has no call
  for prepared requests.

Requests' own code, when GRequests runs it in its general lane, finds all of them as they always
were.
"""

from __future__ import annotations

import inspect
import os
from collections import Counter
from types import FunctionType
from typing import Any

import requests
import requests.api
import suite_record
from suite_greenlet import in_greenlet

import grequests
from grequests import _call, _general, _green_dial, _stock

_WAY = os.environ["SUITE_WAY"]
_THROUGH = os.environ.get("SUITE_THROUGH", "imap")

_VERBS = ("get", "options", "head", "post", "put", "patch", "delete")


# --- the doors -----------------------------------------------------------------------------------


def _is_inside() -> bool:
    """Whether it is GRequests that calls, in its general lane, on whatever thread."""
    return _green_dial._hub.get() is not None


class _Door:
    """A function of Requests that leads to GRequests.

    Args:
        owner: the module or class it is found in.
        name: under which.
        lead: called as ``lead(door, arguments)`` by whoever comes from outside; the arguments are
            given by name.
    """

    def __init__(self, owner: Any, name: str, lead: Any) -> None:
        self.function = vars(owner)[name]
        self.owner = owner
        self.name = name
        self.lead = lead
        self.parameters = inspect.signature(self.function).parameters
        self.original = FunctionType(
            self.function.__code__,
            self.function.__globals__,
            name,
            self.function.__defaults__,
        )
        self.original.__kwdefaults__ = self.function.__kwdefaults__

    def open(self) -> None:
        """Put code into the function that comes here."""
        signature = ", ".join(map(_in_signature, self.parameters.values()))
        called = ", ".join(map(_in_call, self.parameters.values()))
        place = len(_doors)
        _doors.append(self)
        space: dict[str, Any] = {}
        exec(
            f"def {self.name}({signature}):\n"
            f"  import suite_sending\n"
            f"  return suite_sending._doors[{place}].enter({called})",
            space,
        )
        old = self.function.__code__
        self.function.__code__ = space[self.name].__code__.replace(co_filename=old.co_filename)

    def enter(self, *args: Any, **kwargs: Any) -> Any:
        if _is_inside():
            return self.original(*args, **kwargs)
        return self.lead(self, args, kwargs)

    def is_first(self, session: Any) -> bool:
        """Whether it is this very function that a call on the session comes to."""
        found = inspect.getattr_static(session, self.name)
        return found is self.function

    def given(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        """The arguments by name, without those that say what is said anyway."""
        named = dict(zip(self.parameters, args)) | kwargs
        defaults = {name: each.default for name, each in self.parameters.items()}
        return {name: value for name, value in named.items() if value is not defaults.get(name, _)}


_ = object()
_doors: list[_Door] = []


def _in_signature(parameter: inspect.Parameter) -> str:
    if parameter.kind is parameter.VAR_KEYWORD:
        return f"**{parameter.name}"
    return parameter.name if parameter.default is parameter.empty else f"{parameter.name}=None"


def _in_call(parameter: inspect.Parameter) -> str:
    return f"**{parameter.name}" if parameter.kind is parameter.VAR_KEYWORD else parameter.name


# --- where they lead -----------------------------------------------------------------------------


def _api_request(door: _Door, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    if not {"session", "callback"}.isdisjoint(kwargs):
        return door.original(*args, **kwargs)  # its TypeError to raise
    return _send(*args, **kwargs)


class _Via:
    """A session as its `get` and so on see it."""

    def __init__(self, session: Any) -> None:
        self._session = session

    def request(self, method: Any, url: Any, **kwargs: Any) -> Any:
        return _send_with(self._session, method, url, kwargs)


def _verb(door: _Door, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    session, *rest = args
    if not isinstance(session, requests.Session):
        return door.original(*args, **kwargs)  # borrowed by something else
    return door.original(_Via(session), *rest, **kwargs)


def _session_request(door: _Door, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    session = args[0]
    if not door.is_first(session):
        _count("inner")
        return _inner(session, args[2], lambda used: door.original(used, *args[1:], **kwargs))
    given = door.given(args, kwargs)
    given.pop("self")
    return _send_with(session, given.pop("method"), given.pop("url"), given)


def _session_send(door: _Door, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    session, prepared = args
    url = getattr(prepared, "url", None)
    if not door.is_first(session):
        _count("inner")
        return _inner(session, url, lambda used: door.original(used, prepared, **kwargs))
    _count("prepared")
    return _inner(session, url, lambda used: used.send(prepared, **kwargs))


def _inner(session: Any, url: Any, send: Any) -> Any:
    """In the general lane, from here on."""

    def run() -> Any:
        return _general._inside(session, url, None, send)

    return run() if _THROUGH == "map" else in_greenlet(run)


# --- through GRequests ---------------------------------------------------------------------------


def _send_with(session: Any, method: Any, url: Any, kwargs: dict[str, Any]) -> Any:
    if session.stream:
        kwargs.setdefault("stream", None)  # else the `stream=` of imap would count
    return _send(method, url, session=session, **kwargs)


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
    if _doors:
        return
    _Door(requests.api, "request", _api_request).open()
    for verb in _VERBS:
        _Door(requests.Session, verb, _verb).open()
    _Door(requests.Session, "request", _session_request).open()
    _Door(requests.Session, "send", _session_send).open()
    _watch_lanes()


def pytest_sessionfinish() -> None:
    suite_record.totals.update(lanes=dict(_seen), reasons=dict(_reasons))
