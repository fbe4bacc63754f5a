"""A raw-socket server that records what it is sent, and two ways to send the same thing to it.

`Recorder` answers with whatever bytes it is told to. `Lanes` sends a request by plain Requests and by
GRequests, both to the same recorder whatever host the URL names, and returns what each did as
values that can be compared. Neither knows what is being tested.
"""

from __future__ import annotations

import contextlib
import os
import re
import socket
import ssl
import struct
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

import gevent
import pytest
import requests
import urllib3.connection
import urllib3.util.connection
from urllib3.exceptions import LocationParseError

import grequests
from grequests import _general
from grequests._engine import current_engine
from grequests._engine._resolve import Address
from grequests._safe_error import hide_secrets

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

#: Seconds after which a test that hangs is no longer waited for.
PATIENCE = 20.0
_HTTPS = 443
#: A port on which nobody listens.
_NOBODY = 1
#: Where Requests raises with a response at hand, it leaves the socket to the collector. (The engine's
#: sockets are no `socket.socket`: of those the warning counts.)
LEFT_BY_REQUESTS = pytest.mark.filterwarnings(r"ignore:unclosed <socket\.socket:ResourceWarning")
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@dataclass(frozen=True)
class Answer:
    """What the recorder does once it has read a request.

    Attributes:
        data: what it sends.
        close: whether it closes the connection afterwards.
        reset: whether it closes it by a RST.
        hold: whether it keeps the connection open and says nothing more until the client leaves.
        cuts: where it begins a new packet, as fractions of the whole.
    """

    data: bytes = OK
    close: bool = False
    reset: bool = False
    hold: bool = False
    cuts: tuple[float, ...] = ()

    def pieces(self) -> list[bytes]:
        """The data as it is sent."""
        places = sorted({0, len(self.data), *(int(len(self.data) * cut) for cut in self.cuts)})
        return [self.data[a:b] for a, b in zip(places, places[1:], strict=False)]


class Recorder:
    """A server on a port of its own, a thread for each connection.

    Attributes:
        requests: each request's bytes, in order of arrival.
        answers: what to answer by path; `default` for any other.
        connections: how many were accepted.
    """

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.requests: list[bytes] = []
        self.answers: dict[str, Any] = {}
        self.default: Any = Answer()
        self.connections = 0
        self._tls = tls
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def __enter__(self) -> Recorder:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(PATIENCE)
        for sock in list(self._open):
            with contextlib.suppress(OSError):
                # Not SSLSocket's, which takes TLS away from the thread that is reading.
                socket.socket.shutdown(sock, socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(PATIENCE)

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http{'s' if self._tls else ''}://127.0.0.1:{self.port}"

    def taken(self) -> list[bytes]:
        """The requests since the last call."""
        taken, self.requests = self.requests, []
        return taken

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._open.add(sock)
            self._threads = [thread for thread in self._threads if thread.is_alive()]
            thread = threading.Thread(target=self._serve, args=(sock,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, sock: socket.socket) -> None:
        plain = sock
        try:
            if self._tls is not None:
                # (`__exit__` ends handshakes, too.)
                sock = self._tls.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
                self._open.add(sock)
                self._open.discard(plain)
                sock.do_handshake()
            self._talk(sock)
        except OSError:
            pass
        finally:
            self._open.discard(plain)
            self._open.discard(sock)
            sock.close()
            plain.close()

    def _talk(self, sock: socket.socket) -> None:
        with sock.makefile("rb") as stream:
            while request := read_request(stream):
                self.requests.append(request)
                answer = self._answer(request)
                for piece in answer.pieces():
                    sock.sendall(piece)
                if answer.hold:
                    stream.read()
                if answer.reset:
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                if answer.close or answer.reset:
                    return

    def _answer(self, request: bytes) -> Answer:
        path = request.split(b" ", 2)[1].decode("latin-1")
        answer = self.answers.get(path.partition("?")[0], self.default)
        return answer if isinstance(answer, Answer) else answer(request)


def read_request(stream: Any) -> bytes:
    """One request as it came; nothing at the end of the stream."""
    lines = []
    while line := stream.readline():
        lines.append(line)
        if line in (b"\r\n", b"\n"):
            break
    else:
        return b""
    head = b"".join(lines)
    if re.search(rb"\r\ntransfer-encoding:[ ]*chunked", head, re.IGNORECASE):
        return head + _read_chunks(stream)
    length = re.search(rb"\r\ncontent-length:[ ]*([0-9]+)", head, re.IGNORECASE)
    return head + stream.read(int(length[1])) if length else head


def _read_chunks(stream: Any) -> bytes:
    pieces = []
    while line := stream.readline():
        data = stream.read(int(line.split(b";")[0], 16) + 2)
        pieces += [line, data]
        if line.startswith(b"0"):
            break
    return b"".join(pieces)


_PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "ftp_proxy")
_OTHERS = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "NETRC", "SSLKEYLOGFILE")


@contextlib.contextmanager
def sealed_environment(home: Any) -> Iterator[pytest.MonkeyPatch]:
    """An environment that says nothing about requests, and no connection left behind."""
    with pytest.MonkeyPatch.context() as patch:
        for name in (*_PROXIES, *map(str.upper, _PROXIES), *_OTHERS, "REQUEST_METHOD"):
            patch.delenv(name, raising=False)
        patch.setenv("HOME", os.fspath(home))
        yield patch
    grequests.close()


# --- both lanes ----------------------------------------------------------------------------------


class WentGeneral(BaseException):
    """A request that took the general lane: Requests itself, nothing to compare."""


class _Everywhere(Address):
    """An address that is the recorder's, whatever port is asked for."""

    def at(self, port: int) -> tuple[Any, ...]:
        return tuple(self.sockaddr[0](port))


class _FakeResolver:
    """Resolves every name to the recorders."""

    def __init__(self, place: Callable[[int], tuple[str, int]]) -> None:
        self._place = place

    def resolve(self, _host: str, *_: Any) -> list[Address]:
        return [_Everywhere(socket.AF_INET, (self._place,))]

    def forget(self, _host: str) -> None:
        pass


class Outcome(NamedTuple):
    """What came of a request: what the server read, and the answer or the error."""

    wire: list[bytes]
    response: dict[str, Any] | None
    error: dict[str, Any] | None
    jar: list[Any] | None


#: What we say of bodies that Requests takes for whole.
ENDS_TOO_EARLY = ("the compressed data ends too early", "Zstandard data is incomplete")


@dataclass
class Lanes:
    """Sends the same thing both ways.

    Attributes:
        server: who answers, for any host and port.
        tls_server: who answers at port 443, if anybody.
        fast, general: how many requests took which lane.
    """

    server: Recorder
    tls_server: Recorder | None = None
    fast: int = 0
    general: int = 0

    def place(self, port: int) -> tuple[str, int]:
        """Where a connection to a port really goes."""
        if port == _HTTPS:
            return ("127.0.0.1", self.tls_server.port if self.tls_server else _NOBODY)
        return ("127.0.0.1", self.server.port)

    def plain(self, make: Callable[[], tuple[Any, str, Any, dict[str, Any]]]) -> Outcome:
        """Send by plain Requests."""
        session, method, url, kwargs = make()
        own = session or requests.Session()
        with self._requests_everywhere():
            outcome = self._outcome(lambda: own.request(method, url, **kwargs), session)
        own.close()
        return outcome

    def ours(self, make: Callable[[], tuple[Any, str, Any, dict[str, Any]]]) -> Outcome | None:
        """Send by GRequests; None if it took the general lane."""
        session, method, url, kwargs = make()
        request = grequests.request(method, url, session=session, **kwargs)

        def send() -> requests.Response:
            with gevent.Timeout(PATIENCE, AssertionError("it hangs")):
                request.send()
            if request.response is None:
                raise request.exception
            assert type(request.response) is grequests.Response
            return request.response

        with self._engine_everywhere():
            try:
                outcome = self._outcome(send, session)
            except WentGeneral:
                self.general += 1
                self.server.taken()
                return None
        self.fast += 1
        return outcome

    def compare(self, make: Callable[[], tuple[Any, str, Any, dict[str, Any]]]) -> Outcome | None:
        """Send both ways and assert that both did the same; None in the general lane."""
        ours = self.ours(make)
        if ours is None:
            return None
        theirs = self.plain(make)
        assert_same(ours.wire, theirs.wire)
        if ours.error and ours.error["text"] in ENDS_TOO_EARLY:
            return ours  # Requests takes it for whole
        if ours.error and theirs.error and theirs.error["request"] is None:
            # Faults in a body: Requests does not say whose they are, we do.
            ours.error["request"] = None
        assert_same(ours.error, theirs.error)
        if ours.response and theirs.response:
            _forget_cookies_abroad(ours.response, theirs.response)
        assert_same(ours.response, theirs.response)
        assert_same(ours.jar, theirs.jar)
        return ours

    def compare_run(self, make: Callable[[], tuple[Any, list[tuple[str, str, Any]]]]) -> None:
        """Send requests one after the other in one run, and by Requests."""
        session, wanted = make()
        requests_ = [grequests.request(m, u, session=session, **k) for m, u, k in wanted]
        self.server.taken()
        with self._engine_everywhere():
            try:
                with gevent.Timeout(PATIENCE, AssertionError("it hangs")):
                    grequests.map(requests_, size=1)
            except WentGeneral:
                self.general += 1
                return
        outcomes = []
        for request in requests_:
            if request.response is None and isinstance(request.exception, WentGeneral):
                self.general += 1
                return
            assert request.response is None or type(request.response) is grequests.Response
            outcomes.append((request.response, getattr(request, "exception", None)))
        ours = self.server.taken()
        jar = session and cookies_of(session.cookies)
        self.fast += len(outcomes)
        session, wanted = make()
        theirs = []
        with self._requests_everywhere():
            for method, url, kwargs in wanted:
                try:
                    with contextlib.ExitStack() as stack:
                        own = session or stack.enter_context(requests.Session())
                        theirs.append((own.request(method, url, **kwargs), None))
                except Exception as error:  # noqa: BLE001
                    theirs.append((None, error))
        if session is not None:
            session.close()
        assert_same(ours, self.server.taken())
        assert_same(jar, session and cookies_of(session.cookies))
        for (response, error), (expected, raised) in zip(outcomes, theirs, strict=True):
            assert_same(response and snapshot(response), expected and snapshot(expected))
            assert_same(error and describe(error), raised and describe(raised))

    def _outcome(self, send: Callable[[], requests.Response], session: Any) -> Outcome:
        self.server.taken()
        response = error = None
        try:
            response = snapshot(send())
        except Exception as raised:  # noqa: BLE001 - it is what is compared
            error = describe(raised)
        jar = None if session is None else cookies_of(session.cookies)
        return Outcome(self.server.taken(), response, error, jar)

    @contextlib.contextmanager
    def _requests_everywhere(self) -> Iterator[None]:
        original = urllib3.util.connection.create_connection

        def create_connection(address: Any, *args: Any, **kwargs: Any) -> socket.socket:
            try:
                address[0].strip("[]").encode("idna")
            except UnicodeError:
                msg = f"'{address[0]}', label empty or too long"
                raise LocationParseError(msg) from None
            return original(self.place(address[1]), *args, **kwargs)

        urllib3.util.connection.create_connection = create_connection
        try:
            yield
        finally:
            urllib3.util.connection.create_connection = original

    @contextlib.contextmanager
    def _engine_everywhere(self) -> Iterator[None]:
        engine = current_engine()
        resolver = engine.resolver
        engine.resolver = _FakeResolver(self.place)  # type: ignore[assignment]
        with pytest.MonkeyPatch.context() as patch:
            for name in ("perform", "perform_prepared", "perform_signed"):
                patch.setattr(_general, name, _refuse)
            try:
                yield
            finally:
                engine.resolver = resolver


def _refuse(*_: Any) -> Any:
    raise WentGeneral


# --- values to compare ---------------------------------------------------------------------------

_ADDRESS = re.compile(r"0x[0-9a-f]+")
#: What zlib minds first depends on how much of a body it is given at once.
_ZLIB = re.compile(r"data: [a-z /]+")
#: And which of two codings is found to be wrong first, if both are.
_CHAIN = re.compile(r"(with content-encoding: [^,]*,.*) but failed to decode it.*")


def describe(error: BaseException) -> dict[str, Any]:
    """An exception as values.

    Of a Location that is no URL, what Requests stumbles over: with us it has a type.
    """
    if "Location of the redirect is no URL" in str(error):
        assert isinstance(error, requests.exceptions.InvalidURL)
        assert error.__cause__ is not None
        error = error.__cause__
    request = getattr(error, "request", None)
    response = getattr(error, "response", None)
    hide_secrets(error)  # which Requests quotes
    text = str(error)
    return {
        "type": type(error),
        "text": _CHAIN.sub(r"\1", _ZLIB.sub("data: something", _ADDRESS.sub("0x", text))),
        "request": None if request is None else request_of(request),
        "response": None if response is None else response.status_code,
    }


def _forget_cookies_abroad(ours: dict[str, Any], theirs: dict[str, Any]) -> None:
    """Of a redirect that is not followed: Requests would take the cookies of `cookies=` anywhere."""
    there, other = ours["next"], theirs["next"]
    is_abroad = there and urlsplit(there["url"]).netloc != urlsplit(ours["url"]).netloc
    if is_abroad and other and "Cookie" not in dict(there["headers"]):
        other["headers"] = [each for each in other["headers"] if each[0] != "Cookie"]
        other["cookies"] = there["cookies"]


def request_of(request: requests.PreparedRequest) -> dict[str, Any]:
    """A prepared request as values."""
    return {
        "method": request.method,
        "url": request.url,
        "headers": list((request.headers or {}).items()),
        "body": request.body,
        "hooks": {event: len(hooks) for event, hooks in request.hooks.items()},
        "cookies": cookies_of(request._cookies),  # noqa: SLF001
        "path_url": request.path_url,
    }


def cookies_of(jar: Any) -> list[Any]:
    """A jar as values, in its order. Times are cut: both lanes cannot meet in one second."""
    if jar is None:
        return []
    found = []
    for cookie in jar:
        fields = dict(vars(cookie))
        if fields["expires"]:
            fields["expires"] //= 100
        found.append(sorted(fields.items(), key=lambda item: item[0]))
    return [type(jar).__name__, *found]


def snapshot(response: requests.Response) -> dict[str, Any]:
    """Everything of a response that a user can see, but for its address and its time."""
    return {
        **_plain_parts(response),
        "history": [_history_parts(each) for each in response.history],
        "type": isinstance(response, requests.Response),
    }


def _history_parts(response: requests.Response) -> dict[str, Any]:
    # The cookies of a `next` that nobody asked for are those of the time when one does ask.
    parts = _plain_parts(response)
    following = parts["next"]
    return {**parts, "next": following and (following["method"], following["url"])}


def _plain_parts(response: requests.Response) -> dict[str, Any]:
    raw = response.raw
    following = response.next
    return {
        "status_code": response.status_code,
        "reason": response.reason,
        "url": response.url,
        "headers": list(response.headers.items()),
        "encoding": response.encoding,
        "content": response.content,
        "text": response.text,
        "ok": response.ok,
        "links": response.links,
        "cookies": cookies_of(response.cookies),
        "elapsed": type(response.elapsed),
        "history length": [each.url for each in response.history],
        "is_redirect": response.is_redirect,
        "is_permanent_redirect": response.is_permanent_redirect,
        "next": None if following is None else request_of(following),
        "request": request_of(response.request),
        "raw type": type(raw),
        "raw headers": list(raw.headers.items()),
        "raw header lists": {name: raw.headers.getlist(name) for name in raw.headers},
        "raw version": (raw.version, getattr(raw, "version_string", None)),
        "raw status": (raw.status, raw.reason),
        "raw read": raw.read(),
        "raw message": raw._original_response.msg.items(),  # noqa: SLF001
        "repr": repr(response),
    }


def assert_same(ours: Any, theirs: Any) -> None:
    """Equal part by part, so that a failure names the part."""
    different = list(_differences(ours, theirs, ""))
    assert not different, "\n".join(different)


def _differences(ours: Any, theirs: Any, place: str) -> Iterator[str]:
    if type(ours) is type(theirs) is dict and ours.keys() == theirs.keys():
        for name in ours:
            yield from _differences(ours[name], theirs[name], f"{place}.{name}")
    elif type(ours) is type(theirs) is list and len(ours) == len(theirs):
        for index, (one, other) in enumerate(zip(ours, theirs, strict=True)):
            yield from _differences(one, other, f"{place}[{index}]")
    elif ours != theirs:
        yield f"{place}: ours {ours!r}, Requests' {theirs!r}"
