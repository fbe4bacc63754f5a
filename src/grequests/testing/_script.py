"""What is answered to whom: answers, faults, rules, and the script that they make.

All of it is about values; what an answer looks like on the wire is `_wire`'s business, when it
comes is the lanes'. It may not know: clocks, greenlets, either lane.
"""

from __future__ import annotations

import json as json_module
import math
import re
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import KW_ONLY, dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any, Final, NoReturn, TypeAlias, TypedDict

from requests import Request
from urllib3.util import parse_url

from grequests._exceptions import GRequestsError, PolicyError

if TYPE_CHECKING:
    from requests.structures import CaseInsensitiveDict

#: Statuses of final answers (RFC 9110 section 15: 1xx are interim).
_STATUSES: Final = range(200, 1000)
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
#: Rules that an error names at most.
_MANY: Final = 10


class Fault(Enum):
    """What can go wrong instead of an answer. Each comes out as Requests raises it."""

    REFUSED = "the connection is refused"
    DNS = "the name cannot be resolved"
    CONNECT_TIMEOUT = "connecting takes longer than it may"
    TLS = "the server's certificate is not to be trusted"
    READ_TIMEOUT = "no answer comes"
    RESET = "the connection is reset instead of an answer"
    CLOSED = "the connection is closed without an answer"
    BODY_TIMEOUT = "the body stops coming half-way"
    BODY_RESET = "the connection is reset half-way through the body"
    TRUNCATED = "the connection is closed half-way through the body"


#: Faults before anything of the request was sent.
DIALLING: Final = frozenset({Fault.REFUSED, Fault.DNS, Fault.CONNECT_TIMEOUT, Fault.TLS})
#: Faults behind the head of an answer.
IN_BODY: Final = frozenset({Fault.BODY_TIMEOUT, Fault.BODY_RESET, Fault.TRUNCATED})

Headers: TypeAlias = "Mapping[str, str] | Iterable[tuple[str, str]]"
Body: TypeAlias = "bytes | str | Iterable[bytes | float]"


@dataclass(frozen=True)
class Answer:
    """What comes back.

    Args:
        status: its code, from 200 on.
        body: bytes; a str, which goes as UTF-8; or a sequence of bytes and of seconds (numbers)
            that pass between them.
        json: a value that goes as JSON in the place of a body; None for none.
        headers: a mapping, or pairs, which may repeat a name. Content-Length is added unless it or
            Transfer-Encoding is there (a body is sent in chunks if that says so), Content-Type if
            there is a str or JSON.
        reason: behind the status; None for the usual phrase.
        latency: seconds until the first byte, or the fault.
        error: a fault in the place of all or of the second half of it.

    Raises:
        PolicyError: a value makes no sense.

    Example:
        >>> Answer(503, headers={"Retry-After": "2"}, latency=0.1).status
        503
    """

    status: int = 200
    body: Body = b""
    _: KW_ONLY
    json: Any = None
    headers: Headers = ()
    reason: str | None = None
    latency: float = 0.0
    error: Fault | None = None

    def __post_init__(self) -> None:
        if isinstance(self.status, bool) or self.status not in _STATUSES:
            refuse("status", self.status, "an integer from 200 to 999")
        _check_seconds("latency", self.latency)
        if self.error is not None and not isinstance(self.error, Fault):
            refuse("error", self.error, "a Fault")
        headers = self.headers.items() if isinstance(self.headers, Mapping) else self.headers
        object.__setattr__(self, "headers", tuple((str(n), str(v)) for n, v in headers))
        body = self.body
        if self.json is not None:
            if body:
                refuse("json", self.json, "None where there is a body")
            self._default_type("application/json")
            body = json_module.dumps(self.json)
        elif isinstance(body, str):
            self._default_type("text/plain; charset=utf-8")
        object.__setattr__(self, "body", _pieces(body))

    @property
    def pieces(self) -> tuple[bytes | float, ...]:
        """The body: bytes, and seconds between them."""
        return self.body  # type: ignore[return-value]

    @property
    def fields(self) -> tuple[tuple[str, str], ...]:
        """The headers as pairs."""
        return self.headers  # type: ignore[return-value]

    def has(self, name: str) -> bool:
        """Whether there is a header of this name."""
        return any(each.lower() == name for each, _ in self.fields)

    def _default_type(self, value: str) -> None:
        if not self.has("content-type"):
            object.__setattr__(self, "headers", (*self.fields, ("Content-Type", value)))


def refuse(name: str, value: object, wanted: str) -> NoReturn:
    """Say that something is not what it should be.

    Raises:
        PolicyError: always.
    """
    raise PolicyError(name, value, wanted)


def _check_seconds(name: str, value: Any) -> None:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not number or not 0 <= value < math.inf:
        refuse(name, value, "a number of seconds, at least 0")


def _pieces(body: Any) -> tuple[bytes | float, ...]:
    if isinstance(body, str):
        return (body.encode(),)
    if isinstance(body, (bytes, bytearray, memoryview)):
        return (bytes(body),)
    pieces = tuple(bytes(p) if isinstance(p, (bytes, bytearray, memoryview)) else p for p in body)
    for each in pieces:
        if not isinstance(each, bytes):
            _check_seconds("body", each)
    return pieces


@dataclass(frozen=True)
class SentRequest:
    """A request as it was sent.

    One that a fault kept from being sent (`Fault.REFUSED`, `DNS`, `CONNECT_TIMEOUT`, `TLS`) has
    neither headers nor a body.

    Attributes:
        method: as it is on the wire.
        url: whole, whether or not a proxy was asked for it.
        headers: those on the wire; repeated ones joined by a comma.
        body: without chunked framing; content codings are still on it.
        at: when all of it was sent, in seconds of the transport's clock.
        host: its origin, such as ``"https://example.org"``.
        proxy: where it went through, such as ``"http://proxy.test:3128"``; or None.
    """

    method: str
    url: str
    headers: CaseInsensitiveDict[str] = field(repr=False)
    body: bytes = field(repr=False)
    at: float
    host: str = field(repr=False)
    proxy: str | None = None

    def json(self) -> Any:
        """The value that the body is in JSON.

        Raises:
            ValueError: it is none.
        """
        return json_module.loads(self.body)


Matcher: TypeAlias = "str | re.Pattern[str] | Callable[[SentRequest], bool]"
#: What becomes of a request that a function answers.
Answering: TypeAlias = "Callable[[SentRequest], Answer | Fault]"


class AnswerFields(TypedDict, total=False):
    """The keywords of `Answer`, for `FakeTransport.add`."""

    status: int
    body: Body
    json: Any
    headers: Headers
    reason: str | None
    latency: float
    error: Fault | None


class Rule:
    """Which requests are answered how. Made by `FakeTransport.add`.

    Attributes:
        url: as given.
        method: upper case, or None for any.
        times: how many requests it is for, or None for any number.
        required: whether `FakeTransport.check` wants it used.
        requests: those that it was used for.
    """

    def __init__(
        self,
        url: Matcher,
        method: str | None,
        answer: Answer | Answering,
        *,
        times: int | None,
        required: bool,
    ) -> None:
        if times is not None and (not isinstance(times, int) or times < 1):
            refuse("times", times, "an integer of at least 1, or None")
        self.url = url
        self.method = method.upper() if method is not None else None
        self.times = times
        self.required = required
        self.requests: list[SentRequest] = []
        self.answer = answer
        self._is_for_url = None if callable(url) else _url_test(url)

    def __repr__(self) -> str:
        return f"<Rule {self}, used {self.used} times>"

    def __str__(self) -> str:
        url = getattr(self.url, "pattern", self.url)
        shown = getattr(url, "__qualname__", url)
        return f"{self.method or 'any method'} {shown}"

    @property
    def used(self) -> int:
        """For how many requests it was used."""
        return len(self.requests)

    @property
    def is_used_up(self) -> bool:
        """Whether it is for no more requests."""
        return self.times is not None and len(self.requests) >= self.times

    def is_for(self, method: str, url: str) -> bool | None:
        """Whether it is for a request, as far as the URL tells; None if only the whole tells."""
        if self.is_used_up or self.method not in {None, method.upper()}:
            return False
        return None if self._is_for_url is None else self._is_for_url(url)


def _url_test(url: str | re.Pattern[str]) -> Callable[[str], bool]:
    if isinstance(url, re.Pattern):
        pattern = url
        return lambda asked: pattern.search(asked) is not None
    if not isinstance(url, str):
        refuse("url", url, "a str, a pattern or a function")
    if url.endswith("*"):
        prefix = url[:-1]
        return lambda asked: asked.startswith(prefix)
    wanted = _normal(url)
    if "?" in wanted:
        return lambda asked: asked == wanted
    return lambda asked: asked.partition("?")[0] == wanted


def _normal(url: str) -> str:
    """A URL as Requests sends it, without the default port.

    Raises:
        PolicyError: it cannot be one.
    """
    try:
        prepared = Request("GET", url).prepare().url
    except ValueError:
        prepared = None
    if prepared is None:
        refuse("url", url, "a URL, or one that ends with *")
    parts = parse_url(prepared)
    port = None if parts.port == _DEFAULT_PORTS.get(parts.scheme or "") else parts.port
    return parts._replace(port=port, fragment=None).url


class UnexpectedRequestError(GRequestsError, AssertionError):
    """A request was sent that no rule of the active `FakeTransport` is for.

    Attributes:
        method: of the request.
        url: of the request.
    """

    def __init__(self, method: str, url: str, why: str) -> None:
        self.method = method
        self.url = url
        super().__init__(f"{method} {url} was not expected: {why}")


class Script:
    """Rules in their order. The first that is for a request, and not used up, answers it."""

    def __init__(self) -> None:
        self.rules: list[Rule] = []
        self.unexpected: list[UnexpectedRequestError] = []
        self._lock = threading.Lock()

    def early(self, request: SentRequest) -> Answer | None:
        """The fault of a request that never gets as far as being sent, if it is one.

        Its rule is used then. Functions have to see the whole request before anything is known.
        """
        for rule in self.rules:
            verdict = rule.is_for(request.method, request.url)
            if verdict is False:
                continue
            answer = rule.answer
            if verdict is None or not isinstance(answer, Answer) or answer.error not in DIALLING:
                return None
            if self._use(rule, request):
                return answer
        return None

    def find(self, request: SentRequest) -> Rule:
        """The rule for a request, which is used.

        Raises:
            UnexpectedRequestError: there is none.
            Exception: whatever a function of the user's raises.
        """
        for rule in self.rules:
            verdict = rule.is_for(request.method, request.url)
            if verdict is None:
                verdict = bool(rule.url(request))  # type: ignore[operator]
            if verdict and self._use(rule, request):
                return rule
        error = UnexpectedRequestError(request.method, request.url, self._told())
        self.unexpected.append(error)
        raise error

    def check(self) -> None:
        """Raise if something was not as it was written.

        Raises:
            UnexpectedRequestError: a request was sent that no rule is for.
            AssertionError: a rule that is required was not used.
        """
        if self.unexpected:
            raise self.unexpected[0]
        unused = [str(rule) for rule in self.rules if rule.required and not rule.used]
        if unused:
            msg = f"never asked for: {', '.join(unused)}"
            raise AssertionError(msg)

    def _use(self, rule: Rule, request: SentRequest) -> bool:
        """Use a rule, unless another thread has used it up meanwhile."""
        with self._lock:
            if rule.is_used_up:
                return False
            rule.requests.append(request)
            return True

    def _told(self) -> str:
        if not self.rules:
            return "the FakeTransport has no rules"
        told = [f"{each}{' (used up)' if each.is_used_up else ''}" for each in self.rules[:_MANY]]
        more = ", ..." if len(self.rules) > _MANY else ""
        return f"the rules are for {', '.join(told)}{more}"


for _class in (Answer, Fault, Rule, SentRequest, UnexpectedRequestError):
    _class.__module__ = "grequests.testing"
