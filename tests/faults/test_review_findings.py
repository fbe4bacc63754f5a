"""Findings of the review of issue 5: each test failed when it was written.

Requests that are sent twice, ways around an `AddressPolicy`, credentials shown to others, time without
bounds, errors without a type.
"""

from __future__ import annotations

import contextlib
import gzip
import signal
import socket
import sys
import types
from collections.abc import Iterator
from http.client import HTTPException
from typing import Any

import gevent
import pytest
import requests
import urllib3
from engine.raw import Peer, RawServer, answer
from requests.adapters import BaseAdapter, HTTPAdapter
from requests.auth import HTTPDigestAuth
from requests.exceptions import ContentDecodingError, RequestException

import grequests
from grequests import AddressDeniedError, AddressPolicy, Client, Result, Retry, Timeout
from grequests._decode import decode_body
from grequests._engine._protocol import ResponseReader

from .harness import LATE, TOTAL, Odd

pytestmark = pytest.mark.usefixtures("no_leaks")

SESSIONS = {"fast": lambda: None, "general": Odd}
lanes = pytest.mark.parametrize("lane", SESSIONS)


def ask(client: Client, method: str, url: str, **keywords: Any) -> Result:
    with gevent.Timeout(TOTAL + LATE, AssertionError("it hangs")):
        [result] = client.run([grequests.request(method, url, **keywords)])
    return result


class Site(RawServer):
    """Says the same to everybody, and keeps the heads of requests.

    Attributes:
        seen: them.
    """

    def __init__(self, said: bytes, **keywords: Any) -> None:
        super().__init__(self._serve, **keywords)
        self.seen: list[str] = []
        self._said = said

    def _serve(self, peer: Peer) -> None:
        while (target := peer.until(b"\r\n\r\n")) is not None:
            self.seen.append(target.decode("latin-1"))
            peer.send(self._said)

    def fields(self, name: str) -> list[str]:
        """The lines of this name in each request."""
        lines = [line for head in self.seen for line in head.split("\r\n")]
        return [line for line in lines if line.lower().startswith(name + ":")]


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return int(sock.getsockname()[1])


# 1. A request that had its answer, a redirect, counts as never sent if the next hop cannot connect.


@pytest.mark.parametrize("status", ["302 Found", "303 See Other", "307 Temporary Redirect"])
@lanes
def test_a_post_that_was_answered_is_not_sent_again_because_the_next_hop_is_refused(
    lane: str, status: str
) -> None:
    nowhere = f"Location: http://127.0.0.1:{closed_port()}/"
    with Site(answer(b"", status, nowhere)) as site:
        client = Client(retry=Retry(attempts=3, backoff=0.01), circuit=None)
        result = ask(client, "POST", site.url + "/pay", session=SESSIONS[lane]())
        assert result.error is not None
        assert grequests.was_sent(result.error)
        assert len(site.seen) == 1


# 2. Ways around an AddressPolicy


class Elsewhere(BaseAdapter):
    """Of no interest: it is mounted for another host."""

    def close(self) -> None:
        pass


class OwnPools(HTTPAdapter):
    """As the adapters for Unix sockets: its pools are not its manager's."""

    def get_connection_with_tls_context(self, request: Any, *_: Any, **__: Any) -> Any:
        url = urllib3.util.parse_url(request.url)
        return urllib3.HTTPConnectionPool(url.host, url.port)


class OwnConnect(urllib3.connection.HTTPConnection):
    """Opens its socket itself."""

    def connect(self) -> None:
        self.sock = socket.socket()
        self.sock.connect((self.host, self.port))


def denied(session: Any) -> None:
    with Site(answer(b"secret")) as site, session:
        client = Client(retry=None, circuit=None, address_policy=AddressPolicy())
        result = ask(client, "GET", site.url, session=session)
        assert isinstance(result.error, AddressDeniedError), (result.response, result.error)
        assert site.opened == 0 or not site.seen


def test_the_policy_holds_for_a_session_with_a_foreign_adapter_for_another_host() -> None:
    session = Odd()
    session.mount("http://other.example/", Elsewhere())
    denied(session)


def test_the_policy_holds_for_an_adapter_with_pools_of_its_own() -> None:
    session = requests.Session()
    session.mount("http://", OwnPools())
    denied(session)


def test_the_policy_holds_for_a_session_that_limits_its_rate() -> None:
    # (`_general._SLEEPERS`: such sessions are called in a thread.)
    name = "requests_ratelimiter"
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, name, types.ModuleType(name))
        denied(type("LimiterSession", (requests.Session,), {"__module__": name})())


def test_the_policy_holds_for_connections_that_dial_by_themselves_while_sockets_are_watched(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Pool(urllib3.HTTPConnectionPool):
        ConnectionCls = OwnConnect

    adapter = HTTPAdapter()
    adapter.poolmanager.pool_classes_by_scheme = {"http": Pool, "https": Pool}
    session = Odd()
    session.mount("http://", adapter)
    genuine = socket.getaddrinfo
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **kwargs: genuine(*args, **kwargs))
    denied(session)


@lanes
def test_a_proxy_is_not_sent_to_a_name_of_which_one_address_is_denied(
    lane: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The proxy picks one by itself. (What we dial ourselves may well be filtered.)
    hub = gevent.get_hub()
    genuine = hub.resolver

    class Resolver:
        def __getattr__(self, name: str) -> Any:
            return getattr(genuine, name)

        def getaddrinfo(self, host: Any, port: Any, *args: Any, **kwargs: Any) -> Any:
            if host not in ("mixed.test", b"mixed.test"):
                return genuine.getaddrinfo(host, port, *args, **kwargs)
            kind = (socket.AF_INET, socket.SOCK_STREAM, 6, "")
            return [(*kind, (each, port or 0)) for each in ("8.8.8.8", "169.254.169.254")]

    monkeypatch.setattr(hub, "resolver", Resolver())
    with Site(answer(b"secret")) as proxy:
        policy = AddressPolicy(allow=["127.0.0.1"])
        client = Client(retry=None, circuit=None, address_policy=policy)
        keywords = {"session": SESSIONS[lane](), "proxies": {"http": proxy.url}}
        result = ask(client, "GET", "http://mixed.test/", **keywords)
        assert isinstance(result.error, AddressDeniedError), (result.response, result.error)
        assert proxy.seen == []


# 3. Credentials


def test_a_redirect_does_not_show_one_proxys_password_to_another() -> None:
    # Requests' `rebuild_proxies` goes by the scheme alone, its adapter by scheme and host. In the
    # general lane that stays as it is; the fast lane is the strict one.
    with (
        Site(answer(b"", "302 Found", "Location: http://b.test/")) as first,
        Site(answer()) as second,
    ):
        proxies = {
            "http": f"http://user:secret@127.0.0.1:{first.port}",
            "http://b.test": second.url,
        }
        result = ask(Client(retry=None), "GET", "http://a.test/", proxies=proxies)
        assert result.error is None
        assert len(first.fields("proxy-authorization")) == 1
        assert second.fields("proxy-authorization") == []


def test_a_digest_is_not_made_for_whoever_a_redirect_leads_to() -> None:
    # Whoever gets it learns the user's name, and can try passwords at home. The auth's hooks are
    # copied to each hop, and answer any 401. (General lane: Requests' own code does it.)
    challenge = 'WWW-Authenticate: Digest realm="r", nonce="n", qop="auth"'
    with Site(answer(b"", "401 No", challenge), host="127.0.0.2") as b:
        with Site(answer(b"", "302 Found", f"Location: {b.url}/")) as a:
            auth = HTTPDigestAuth("user", "secret")
            result = ask(Client(retry=None), "GET", a.url, auth=auth)
        assert result.response.status_code == 401
        assert b.fields("authorization") == []


# 4. Time: what limits the members of gzip alone must limit other codings, and chains


def _coded(coding: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Encoding: " + coding


@pytest.mark.parametrize("limit", [None, 1_000_000])
def test_zstd_frames_with_nothing_in_them_are_refused(limit: int | None) -> None:
    # 9 bytes each: 1 MB of them took 2.3 s of CPU, six times what gzip's members took.
    empty = b"\x28\xb5\x2f\xfd\x20\x00\x01\x00\x00"
    with pytest.raises(ContentDecodingError):
        decode_body(_coded(b"zstd"), empty * 20_000, limit)


def test_skippable_zstd_frames_are_refused_in_numbers() -> None:
    # RFC 8878 section 3.1.2: 8 bytes each, another magic number; 1 MB of them took 2.5 s.
    skippable = b"\x50\x2a\x4d\x18\x00\x00\x00\x00"
    with pytest.raises(ContentDecodingError):
        decode_body(_coded(b"zstd"), skippable * 20_000, None)


@pytest.mark.parametrize("limit", [None, 1_000_000])
def test_gzip_members_with_nothing_in_them_are_refused_inside_another_coding(
    limit: int | None,
) -> None:
    # 48 KB made 20 MB of members, and took 1 s of CPU.
    inner = gzip.compress(b"") * 20_000
    with pytest.raises(ContentDecodingError):
        decode_body(_coded(b"gzip, gzip"), gzip.compress(inner), limit)


# 5. Errors


@pytest.mark.parametrize("digits", [b"0" * 5000 + b"9", b"0" * 5000 + b"2"])
@pytest.mark.parametrize("copies", [1, 2])
@pytest.mark.parametrize("stream", [False, True])
def test_a_length_of_thousands_of_digits_has_a_typed_outcome(
    digits: bytes, copies: int, stream: bool
) -> None:
    # `int` refuses more than 4,300 digits with a bare ValueError.
    head = b"HTTP/1.1 200 OK\r\n" + (b"Content-Length: " + digits + b"\r\n") * copies + b"\r\n"
    with Site(head + b"h") as site:
        client = Client(retry=None, timeout=Timeout(connect=TOTAL, read=0.5, total=TOTAL))
        result = ask(client, "GET", site.url, stream=stream)
        error = result.error
        if error is None:
            assert stream
            with pytest.raises(RequestException):
                _ = result.response.content
        else:
            assert isinstance(error, RequestException), repr(error)


#: Runs of blanks, over which patterns went once for each of them. 30 KB took 12 s, in which nobody
#: else got an answer and no deadline was kept; a head may have 256 KB.
_BLANKS = b" " * 60_000


@pytest.mark.parametrize(
    "lines",
    [
        b"X: a" + 2 * _BLANKS + b"b\nContent-Length: 0\n\n",
        b"X: \x01\r\nX: a" + _BLANKS + b"b\r\nContent-Length: 0\r\n\r\n",
        b"X: \x01\r\nContent-Length: a" + _BLANKS + b"b\r\n\r\n",
        b"X: \x01\r\nTransfer-Encoding: a" + _BLANKS + b"b\r\n\r\n",
        b"X" + _BLANKS + b"b\r\nContent-Length: 0\r\n\r\n",
    ],
    ids=["bare-LF", "a-value", "a-length", "a-coding", "no-colon"],
)
def test_a_head_with_many_blanks_is_mended_or_refused_at_once(lines: bytes) -> None:
    reader = ResponseReader()
    reader.expect("GET")
    with contextlib.suppress(HTTPException), cpu(_GENEROUS):
        reader.feed(b"HTTP/1.1 200 OK\r\n" + lines)


#: Seconds of CPU for what should take a millisecond, and took ten seconds and more.
_GENEROUS = 3.0


@contextlib.contextmanager
def cpu(seconds: float) -> Iterator[None]:
    """Interrupt what takes more of the process' CPU."""

    def over(*_: object) -> None:
        raise AssertionError(f"it has taken {seconds} s of CPU")

    # (A pattern looks for signals now and then.)
    before = signal.signal(signal.SIGVTALRM, over)
    signal.setitimer(signal.ITIMER_VIRTUAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)
