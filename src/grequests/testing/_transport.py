"""`FakeTransport`: the network replaced by a script, for all that this process sends by GRequests.

It keeps the script, notes what was sent, counts what is under way, and says whether it is the one
that is active. How a lane comes by it is that lane's module's business (`_fast`, `_general`).
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from ._clock import PromptClock
from ._script import Answer, Fault, Rule, Script, UnexpectedRequestError, refuse
from ._visit import Visit

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from typing_extensions import Self, Unpack

    from grequests._clock import Clock
    from grequests._engine import Engine

    from ._script import AnswerFields, Answering, Matcher, SentRequest


@dataclass(frozen=True)
class Load:
    """How busy a host is, or all of them.

    Attributes:
        sent: requests so far, those under way included.
        in_flight: requests under way: from when they are given to the network to the last byte of
            the answer, or the failure.
        most_in_flight: the most there were at once.
    """

    sent: int = 0
    in_flight: int = 0
    most_in_flight: int = 0

    def entered(self) -> Load:
        """One more."""
        count = self.in_flight + 1
        return Load(self.sent + 1, count, max(self.most_in_flight, count))

    def left(self) -> Load:
        """One less."""
        return Load(self.sent, self.in_flight - 1, self.most_in_flight)


class FakeTransport:
    """Answers by a script instead of the network.

    While it is active (``with``), whatever GRequests sends in this process, in any thread, is
    answered by it: sessions, redirects, cookies, auth, hooks and retries are what they always are,
    and nothing is resolved, connected or encrypted. What a session's own adapter answers by itself
    stays its own; what Requests is asked for directly, without GRequests, is not touched; a client
    that has sent something before goes on as it was.

    The first rule that is for a request and is not used up answers it. A request that no rule is
    for fails with `UnexpectedRequestError`, as it is, unless somebody catches it.

    Args:
        clock: by which latencies and timeouts pass, such as a `FakeClock`; None for real time.

    Attributes:
        requests: what was sent so far, or was to be sent, in order.

    Example:
        >>> with FakeTransport() as fake:
        ...     _ = fake.add("http://api.test/users", json=[{"name": "ada"}])
        ...     [response] = grequests.map([grequests.get("http://api.test/users")])
        >>> response.json()
        [{'name': 'ada'}]
    """

    def __init__(self, clock: Clock | None = None) -> None:
        self.clock = clock
        self.requests: list[SentRequest] = []
        self._script = Script()
        self._load = Load()
        self._hosts: dict[str, Load] = {}
        self._visits: dict[Visit, None] = {}
        self._lock = threading.Lock()
        #: The fast lane's engines that stand in for real ones.
        self.engines: WeakKeyDictionary[Engine, Engine] = WeakKeyDictionary()

    def __repr__(self) -> str:
        state = "active" if self in _active else "inactive"
        return (
            f"<FakeTransport {state}, {len(self._script.rules)} rules, {self._load.sent} sent, "
            f"{self.in_flight} in flight>"
        )

    def __enter__(self) -> Self:
        """Stand in for the network from now on.

        Raises:
            RuntimeError: it does already.
        """
        if self in _active:
            msg = f"{self!r} stands in for the network already"
            raise RuntimeError(msg)
        _active.append(self)
        _switch(True)  # noqa: FBT003
        return self

    def __exit__(self, *_: object) -> None:
        """Let the network back in; requests that are under way fail with a ConnectionError."""
        _active.remove(self)
        _switch(bool(_active))
        for visit in list(self._visits):
            visit.cut(ConnectionAbortedError("the FakeTransport is not active any more"))

    # The script

    def add(
        self,
        url: Matcher,
        method: str | None = None,
        *,
        answer: Answer | Answering | None = None,
        times: int | None = None,
        required: bool = True,
        **fields: Unpack[AnswerFields],
    ) -> Rule:
        """Add a rule.

        Args:
            url: a URL, whole, which is for any query if it has none; the beginning of one and a
                ``*``; a pattern, which is searched in it; or a function that looks at the
                `SentRequest` and says yes or no. It may not wait.
            method: such as ``"POST"``; None for any.
            answer: an `Answer`, or a function that makes one (or a `Fault`) of the `SentRequest`.
                It may wait. What it raises is the request's failure.
            times: how many requests the rule is for; then the next one that matches is. None for
                any number.
            required: whether `check` fails if it was never used.
            **fields: those of `Answer`, in the place of `answer`.

        Returns:
            The rule, which knows the requests it was used for.

        Raises:
            PolicyError: a value makes no sense.

        Example:
            >>> slow = fake.add("http://api.test/*", "GET", status=503, times=2)
            >>> slow.used
            0
        """
        if answer is not None and fields:
            refuse("answer", answer, "None where there are fields of one")
        if not (answer is None or isinstance(answer, Answer) or callable(answer)):
            refuse("answer", answer, "an Answer or a function that makes one")
        made = Answer(**fields) if answer is None else answer
        rule = Rule(url, method, made, times=times, required=required)
        self._script.rules.append(rule)
        return rule

    def check(self) -> None:
        """Raise if something was not as the script has it.

        Raises:
            UnexpectedRequestError: a request was sent that no rule is for.
            AssertionError: a rule was never used, and is required.
        """
        self._script.check()

    # What it has seen

    @property
    def rules(self) -> tuple[Rule, ...]:
        """The script, in order."""
        return tuple(self._script.rules)

    @property
    def in_flight(self) -> int:
        """How many requests are under way."""
        return self._load.in_flight

    @property
    def most_in_flight(self) -> int:
        """The most that were under way at once."""
        return self._load.most_in_flight

    @property
    def hosts(self) -> Mapping[str, Load]:
        """The same for each host, by its origin, such as ``"https://example.org"``."""
        return MappingProxyType(self._hosts)

    # The lanes' side

    def enter(self, host: str, hub: Any) -> Visit:
        """A request sets out."""
        clock = self.clock or PromptClock(hub)
        visit = Visit(host, clock, hub, is_real=self.clock is None, on_end=self._leave)
        with self._lock:
            self._visits[visit] = None
            self._load = self._load.entered()
            self._hosts[host] = self._hosts.get(host, Load()).entered()
        return visit

    def early(self, request: SentRequest) -> Answer | None:
        """The fault of a request that never gets as far as being sent, if it is one."""
        fault = self._script.early(request) if self in _active else None
        if fault is not None:
            self.requests.append(request)
        return fault

    def take(self, request: SentRequest) -> Answer | Callable[[], Answer]:
        """A request is here: its answer, or what makes it, which may wait.

        Raises:
            UnexpectedRequestError: there is none, or the transport is not active.
            Exception: whatever a function of the user's raises.
        """
        if self not in _active:
            why = "its FakeTransport is not active any more"
            raise UnexpectedRequestError(request.method, request.url, why)
        self.requests.append(request)
        answer = self._script.find(request).answer
        return answer if isinstance(answer, Answer) else lambda: _made(answer(request))

    def _leave(self, visit: Visit) -> None:
        with self._lock:
            self._visits.pop(visit, None)
            self._load = self._load.left()
            self._hosts[visit.host] = self._hosts[visit.host].left()


def _made(answer: Any) -> Answer:
    """What a function has answered, which may be a fault by itself."""
    if isinstance(answer, Fault):
        return Answer(error=answer)
    if not isinstance(answer, Answer):
        refuse("answer", answer, "an Answer or a Fault")
    return answer


#: Those that are active, the innermost last.
_active: list[FakeTransport] = []


def current() -> FakeTransport | None:
    """The one that answers now."""
    return _active[-1] if _active else None


def _switch(on: bool) -> None:  # noqa: FBT001
    """Have both lanes ask us, or not."""
    for switch in switches:
        switch(on)


#: The lanes' ways to be told, filled in by themselves.
switches: list[Callable[[bool], object]] = []

for _class in (FakeTransport, Load):
    _class.__module__ = "grequests.testing"
