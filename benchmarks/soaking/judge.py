"""Whether what came of each request is what had to come of it."""

from __future__ import annotations

from collections import Counter
from typing import Any

from grequests import RequestCancelledError
from grequests import _kinds as kinds

from soaking.plan import body_of, fault_of, is_general, method_of

#: What stands for the right answer among the kinds of failures.
OK = "ok"
#: Kinds of which any will do: how strict a parser is may shift, that it refuses may not.
_REFUSED = frozenset({kinds.MALFORMED, kinds.BROKEN, kinds.TOO_LARGE})
_ENDED = frozenset({kinds.BROKEN, kinds.TRUNCATED, kinds.MALFORMED})

#: What may come of a fault.
OUTCOMES: dict[str, frozenset[str]] = {
    "reset before": frozenset({kinds.BROKEN}),
    "reset in head": _ENDED,
    "reset in body": _ENDED,
    "cut by length": frozenset({kinds.TRUNCATED}),
    "empty": frozenset({kinds.BROKEN}),
    "garbage": _REFUSED,
    "bad chunk": frozenset({kinds.MALFORMED, kinds.TRUNCATED}),
    "cut in chunk": frozenset({kinds.TRUNCATED}),
    "silence": frozenset({kinds.READ_TIMEOUT}),
    "silence in body": frozenset({kinds.READ_TIMEOUT}),
    "close while idle": frozenset({OK}),
    "close at once": frozenset({OK}),
    "surplus": frozenset({OK}),
    "second response": frozenset({OK}),
    "unsolicited": frozenset({OK}),
    "wrong gzip": frozenset({kinds.ENCODING}),
    "cut gzip": frozenset({kinds.ENCODING}),
    "bomb": frozenset({kinds.TOO_LARGE}),
    "promised bomb": frozenset({kinds.TOO_LARGE}),
    "redirect loop": frozenset({kinds.REDIRECTS}),
    "1xx flood": _REFUSED,
    "refused": frozenset({kinds.REFUSED}),
    "drip": frozenset({kinds.TOTAL_TIMEOUT}),
    "header flood": _REFUSED,
    "long header": _REFUSED,
    "two lengths": frozenset({kinds.MALFORMED}),
    "body after 204": frozenset({OK}),
    "busy once": frozenset({OK}),
    "cut once": frozenset({OK}),
    "TLS garbage": frozenset({kinds.TLS}),
    "TLS cut": frozenset({kinds.TLS}),
    "TLS stranger": frozenset({kinds.CERTIFICATE}),
    "TLS ragged": frozenset({kinds.TRUNCATED}),
}
#: What a body is of which urllib3 does not say that it is cut.
PART = "part of a body"
#: The same in the general lane, where Requests is the lenient one: urllib3 does not look for the end
#: of gzip, and bears TLS without an end.
GENERAL: dict[str, frozenset[str]] = {
    "cut gzip": frozenset({PART, kinds.ENCODING}),
    "TLS ragged": frozenset({OK}),
}

#: Examples that are kept of each thing that should not be.
_EXAMPLES = 10


class Tally:
    """What came of the requests, as far as it is known.

    Args:
        count: how many there are.

    Attributes:
        wrong: bodies that are not the request's own.
        unexpected: outcomes that are none of those that may be.
        twice: indices that came more than once.
        faults: for each fault, how often which outcome came.
        examples: of what should not be.

    """

    def __init__(self, count: int) -> None:
        self.wrong = self.unexpected = self.twice = self.general = 0
        self.faults: dict[str, Counter[str]] = {}
        self.examples: list[str] = []
        # Touched now, so that it does not look as if memory grew.
        self._missing = bytearray(b"\1" * count)

    def take(self, result: Any) -> None:
        """Look at a result."""
        number = result.index
        if self._missing[number]:
            self._missing[number] = 0
        else:
            self.twice += 1
            self._note(number, "came twice")
        response = result.response
        if (
            response is not None
            and number % 100 != 37
            and response.status_code == 200
            and response.content == body_of(number)
        ):
            return
        self._look(number, result)

    def take_cut(self, result: Any) -> None:
        """Look at a result after Ctrl-C: to have been cut off is no news."""
        if isinstance(result.error, RequestCancelledError):
            self._missing[result.index] = 0
        else:
            self.take(result)

    def lost(self, pulled: int) -> int:
        """How many of so many requests have no result."""
        return self._missing.count(1, 0, pulled)

    def _look(self, number: int, result: Any) -> None:
        """A result that is a fault's, an odd method's, or should not be."""
        fault = fault_of(number)
        lane = GENERAL if is_general(number) else OUTCOMES
        awaited = {OK} if fault is None else lane.get(fault, OUTCOMES[fault])
        outcome = self._outcome(number, result, fault)
        if fault is not None:
            self.faults.setdefault(fault, Counter())[outcome] += 1
        if outcome not in awaited:
            self.unexpected += 1
            self._note(number, f"{outcome}, not {' or '.join(sorted(awaited))}: {result.error!r}")

    def _outcome(self, number: int, result: Any, fault: str | None) -> str:
        if result.error is not None:
            return kinds.kind_of(result.error)
        status, body = result.response.status_code, result.response.content
        has_none = method_of(number) == "HEAD" or fault == "body after 204"
        if fault == "cut gzip" and body_of(number).startswith(body):
            return PART
        if body != (b"" if has_none else body_of(number)):
            self.wrong += 1
            self._note(number, f"a wrong body of {len(body)} bytes: {body[:60]!r}")
            return "wrong body"
        if status != (204 if fault == "body after 204" else 200):
            return f"status {status}"
        return OK

    def _note(self, number: int, what: str) -> None:
        if len(self.examples) < _EXAMPLES:
            lane = "general" if is_general(number) else "fast"
            fault = fault_of(number) or "no fault"
            self.examples.append(f"{number} ({fault}, {lane}): {what[:300]}")
