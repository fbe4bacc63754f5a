"""Some thirty requests of all kinds, and what is true of them whatever fails meanwhile.

They are sent by `imap_enumerated`, by a `Client`, read as streams, and downloaded; in the fast lane, or
in the general one. No request has a timeout: whatever is forgotten hangs, and is found.
"""

from __future__ import annotations

import pathlib
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import requests

import grequests
from grequests._engine import current_engine

from .world import World, answered

#: A body that a socket does not take at once.
BODY = bytes(range(256)) * 800
#: How many requests are under way at once.
SIZE = 3


class Odd(requests.Session):
    """Its requests take the general lane."""


@dataclass(frozen=True)
class Ask:
    """One request.

    Attributes:
        where: http, https, proxied http, tunnel, unverified, several or single.
        path: of its URL, without its number.
        method: its method.
        body: what it brings.
        lazy: whether the body is made as it is sent.
    """

    where: str
    path: str = "plain"
    method: str = "GET"
    body: bytes = b""
    lazy: bool = False


#: In order of completion, three at a time.
MAPPED = (
    *(Ask("http"), Ask("http"), Ask("http"), Ask("http", "large")),
    *(Ask("http", "upload", "POST", BODY), Ask("http", method="HEAD"), Ask("http", "redirect")),
    *(
        Ask("http", "chunked"),
        Ask("http", "until-close"),
        Ask("http", "gzip"),
        Ask("http", "empty"),
    ),
    *(Ask("http", "missing"), Ask("http", "upload", "POST", BODY[:50_000], lazy=True)),
    *(Ask("https"), Ask("https", "large"), Ask("https", "upload", "PUT", BODY), Ask("https")),
    *(Ask("tunnel"), Ask("tunnel"), Ask("proxied"), Ask("proxied", "chunked")),
    *(Ask("several"), Ask("single"), Ask("unverified", "until-close"), Ask("http", "last")),
)
#: One after the other: a TLS session that ended is taken up again.
RUN = (
    Ask("https", "last"),
    Ask("https", "last"),
    Ask("https"),
    Ask("http", "upload", "POST", b"x"),
)
#: Read by the user.
STREAMED = (Ask("http", "chunked"), Ask("https", "large"), Ask("http", "gzip"))
#: Into files.
DOWNLOADED = (Ask("http", "large"), Ask("https"))

COUNT = len(MAPPED) + len(RUN) + len(STREAMED) + len(DOWNLOADED)


@dataclass
class Outcomes:
    """What came of the requests of one run.

    Attributes:
        bodies: of the responses, or the errors, by the number of the request; each once.
        raised: what came out of a call of the library, which then has no outcomes.
    """

    bodies: dict[int, Any] = field(default_factory=dict)
    raised: BaseException | None = None

    def put(self, number: int, body: bytes | None, error: BaseException | None) -> None:
        assert number not in self.bodies, f"request {number} has a second outcome: {body or error}"
        assert (body is None) is not (error is None), f"request {number}: {body!r}, {error!r}"
        self.bodies[number] = error if body is None else body

    def errors(self) -> list[BaseException]:
        return [each for each in self.bodies.values() if isinstance(each, BaseException)]

    def kinds(self) -> Counter[str]:
        """How many of which kind."""
        names = Counter(type(each).__name__ for each in self.errors())
        names["response"] = len(self.bodies) - names.total()
        return names


class Scenario:
    """The requests, in one lane.

    Args:
        world: whom they are sent to.
        lane: fast or general.
        ca_file: whom they trust.
        folder: for downloads.
    """

    def __init__(self, world: World, lane: str, ca_file: str, folder: pathlib.Path) -> None:
        self._world = world
        self._lane = lane
        self._ca_file = ca_file
        self._folder = folder
        self._session: Odd | None = None

    def run(self) -> Outcomes:
        """Send them all."""
        outcomes = Outcomes()
        self._world.asked.clear()
        for each in self._folder.iterdir():
            each.unlink()
        self._session = Odd() if self._lane == "general" else None
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of unverified certificates
                self._send_all(outcomes)
        finally:
            if self._session is not None:
                self._session.close()
        return outcomes

    def _send_all(self, outcomes: Outcomes) -> None:
        at = 0
        for parts, send in (
            (MAPPED, self._map),
            (RUN, self._run),
            (STREAMED, self._stream),
            (DOWNLOADED, self._download),
        ):
            numbered = list(enumerate(parts, at))
            try:
                send(numbered, outcomes)
            except (MemoryError, OSError) as error:
                outcomes.raised = error
            at += len(parts)

    def request(self, number: int, ask: Ask, **keywords: Any) -> grequests.AsyncRequest:
        """One of them, made anew."""
        origin, secure = self._world.urls()
        proxy = f"http://127.0.0.1:{self._world.proxy.port}"
        root = {
            "http": origin,
            "several": origin.replace("localhost", "several.test"),
            "single": origin.replace("localhost", "single.test"),
            "proxied": "http://far.test",
            "tunnel": "https://localhost:9",
        }.get(ask.where, secure)
        if ask.where in {"https", "tunnel"}:
            keywords["verify"] = self._ca_file
        elif ask.where == "unverified":
            keywords["verify"] = False
        if ask.where in {"proxied", "tunnel"}:
            keywords["proxies"] = {"http": proxy, "https": proxy}
        if ask.body:
            keywords["data"] = pieces(ask.body) if ask.lazy else ask.body
        if ask.method != "HEAD":
            keywords["allow_redirects"] = True
        return grequests.request(
            ask.method, f"{root}/{ask.path}/{number}", session=self._session, **keywords
        )

    def expected(self, number: int, ask: Ask) -> bytes:
        """The body that it has to get, if any."""
        return answered(ask.method, f"/{ask.path}/{number}", ask.body)

    def _may_be_cut(self, ask: Ask) -> bool:
        """Whether nobody can know that a body is not whole.

        Its end is that of the connection. TLS would tell, but Requests does not listen.
        """
        return ask.path == "until-close" and (ask.where == "http" or self._lane == "general")

    # Four ways to send

    def _map(self, asks: list[tuple[int, Ask]], outcomes: Outcomes) -> None:
        failed: dict[Any, BaseException] = {}

        def note(request, error):
            failed[request] = error

        wanted = [self.request(number, ask) for number, ask in asks]
        for index, response in grequests.imap_enumerated(wanted, size=SIZE, exception_handler=note):
            error = failed.get(wanted[index])
            outcomes.put(asks[index][0], None if response is None else response.content, error)

    def _run(self, asks: list[tuple[int, Ask]], outcomes: Outcomes) -> None:
        current_engine().close_idle()  # connections are made anew, and TLS sessions taken up
        with grequests.Client(concurrency=1, retry=None, circuit=None, timeout=None) as client:
            for result in client.run(self.request(number, ask) for number, ask in asks):
                body = None if result.response is None else result.response.content
                outcomes.put(asks[result.index][0], body, result.error)

    def _stream(self, asks: list[tuple[int, Ask]], outcomes: Outcomes) -> None:
        for number, ask in asks:
            request = self.request(number, ask, stream=True).send()
            body = error = None
            if request.response is None:
                error = request.exception
            else:
                try:
                    body = b"".join(request.response.iter_content(10_000))
                except (requests.RequestException, MemoryError) as raised:
                    error = raised
                finally:
                    request.response.close()
            outcomes.put(number, body, error)

    def _download(self, asks: list[tuple[int, Ask]], outcomes: Outcomes) -> None:
        wanted = [self.request(number, ask) for number, ask in asks]
        for each in grequests.download(
            wanted, self._folder, retry=None, circuit=None, timeout=None
        ):
            body = None if each.path is None else pathlib.Path(each.path).read_bytes()
            outcomes.put(asks[each.index][0], body, each.error)

    # What has to be true

    def check(self, outcomes: Outcomes, suffering: int) -> None:
        """One outcome each; each is the right body or a typed error.

        Args:
            outcomes: of a run.
            suffering: how many may have failed.
        """
        asks = dict(enumerate((*MAPPED, *RUN, *STREAMED, *DOWNLOADED)))
        if outcomes.raised is None:
            assert outcomes.bodies.keys() == asks.keys(), asks.keys() - outcomes.bodies.keys()
        else:
            assert suffering, f"it came out of a call: {outcomes.raised!r}"
        for number, got in outcomes.bodies.items():
            ask = asks[number]
            if isinstance(got, BaseException):
                typed = (requests.RequestException, grequests.GRequestsError, MemoryError)
                assert isinstance(got, typed), f"request {number} ({ask}) ended with {got!r}"
            else:
                wanted = self.expected(number, ask)
                if suffering and self._may_be_cut(ask):
                    wanted = wanted[: len(got)]
                assert got == wanted, f"request {number} ({ask}): {got[:80]!r}, {len(got)} bytes"
        errors = outcomes.errors()
        assert len(errors) <= suffering, f"more have failed than had to: {errors}"
        twice = {each: n for each, n in self._world.asked.items() if n > 1 and each[0] == "POST"}
        assert not twice, f"sent twice: {twice}"


def pieces(body: bytes) -> Iterator[bytes]:
    """A body as it is made."""
    for at in range(0, len(body), 20_000):
        yield body[at : at + 20_000]
