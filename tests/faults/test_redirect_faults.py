"""Where credentials go when a redirect leads from A to B and back to A.

B differs from A in its address, its name, its port or its scheme. Each server keeps what it was shown.
The rules: credentials go no further than `SessionRedirectMixin.should_strip_auth` lets them, are
decided anew by netrc for each hop, and do not come back when the chain comes back to A.
"""

from __future__ import annotations

import contextlib
import pathlib
import ssl
from base64 import b64encode
from collections.abc import Iterator
from typing import Any

import gevent
import pytest
import requests
import trustme
from engine.raw import Peer, RawServer, answer, at_same_port
from requests import exceptions
from ways import lanes_taken

import grequests

from .harness import Odd

pytestmark = pytest.mark.usefixtures("no_leaks")

KINDS = {"none": lambda: None, "plain": requests.Session, "general": Odd}
STATUSES = (301, 302, 303, 307, 308)
#: How B differs from A: its scheme and A's, its host, and whether it has A's port.
OTHERS = {
    "address": ("http", "http", "127.0.0.2", True),
    "name": ("http", "http", "localhost", True),
    "port": ("http", "http", "127.0.0.1", False),
    "upgrade": ("https", "http", "127.0.0.1", False),
    "downgrade": ("http", "https", "127.0.0.1", False),
}
PATIENCE = 20.0
USER = ("user", "secret")
#: What is looked at in each request.
SHOWN = ("authorization", "cookie", "proxy-authorization")

lanes = pytest.mark.parametrize("kind", KINDS)
others = pytest.mark.parametrize("other", OTHERS)
statuses = pytest.mark.parametrize("status", STATUSES)

Shown = dict[str, str]


def basic(user: str, password: str) -> str:
    return "Basic " + b64encode(f"{user}:{password}".encode()).decode()


class Sites:
    """Servers that lead from one to the other.

    Attributes:
        seen: host and target of each request, and the credentials with it.
        routes: the answers by target; others are answered with 200.
    """

    def __init__(self, tls: ssl.SSLContext, inner: ssl.SSLContext | None = None) -> None:
        self.seen: list[tuple[str, str, Shown]] = []
        self.routes: dict[str, bytes] = {}
        self._tls = tls
        self._inner = inner
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Sites:
        return self

    def __exit__(self, *_: object) -> None:
        grequests.close()
        self._stack.close()

    def open(self, scheme: str = "http", host: str = "127.0.0.1", port: int = 0) -> RawServer:
        tls = self._tls if scheme == "https" else None
        return self._stack.enter_context(RawServer(self._serve, tls=tls, host=host, port=port))

    def pair(self, other: str) -> tuple[str, str]:
        """The roots of A and B."""
        theirs, ours, host, same_port = OTHERS[other]
        if host == "localhost":  # which is A by another name
            a = b = self.open(ours)
        elif same_port:
            a, b = at_same_port(lambda: self.open(ours), lambda port: self.open(theirs, host, port))
        else:
            a, b = self.open(ours), self.open(theirs, host)
        return a.url, f"{theirs}://{host}:{b.port}"

    def lead(self, status: int, there: str, back: str, *headers: str) -> None:
        """From /start to there, and back from there."""
        line = f"{status} Go"
        self.routes["/start"] = answer(b"", line, f"Location: {there}/over", *headers)
        self.routes["/over"] = answer(b"", line, f"Location: {back}/back")

    def _serve(self, peer: Peer) -> None:
        while (head := peer.until(b"\r\n\r\n")) is not None:
            first, *lines = head.decode("latin-1").split("\r\n")
            method, target, _ = first.split(" ")
            fields = {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in lines)}
            path = "/" + target.rpartition("/")[2]
            shown = {name: fields[name] for name in SHOWN if name in fields}
            self.seen.append((fields.get("host", ""), target, shown))
            if method == "CONNECT":
                assert self._inner is not None
                peer.send(b"HTTP/1.1 200 Fine\r\n\r\n")
                peer.start_tls(self._inner)
                continue
            peer.send(self.routes.get(path, answer(path.encode())))

    def shown(self) -> list[Shown]:
        """What came with each request since this was last called."""
        seen, self.seen = self.seen, []
        return [each for _, _, each in seen]


@pytest.fixture
def sites(tls: ssl.SSLContext, authority: trustme.CA) -> Iterator[Sites]:
    inner = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("a.test", "b.test").configure_cert(inner)
    with Sites(tls, inner) as some:
        yield some


@pytest.fixture(autouse=True)
def _no_home(monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))


@pytest.fixture
def netrc(monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> Any:
    """Writes the user's netrc: a login for each host."""

    def write(**logins: str) -> None:
        path = tmp_path / "netrc"
        entries = (f"machine {h} login {who} password pw\n" for h, who in logins.items())
        path.write_text("".join(entries))
        path.chmod(0o600)
        monkeypatch.setenv("NETRC", str(path))

    return write


def send(kind: str, url: str, ca_file: str, session: Any = None, **keywords: Any) -> Any:
    """The request after it was sent, in the lane that it should take."""
    own = KINDS[kind]() if session is None else session
    request = grequests.get(url, session=own, verify=ca_file, timeout=PATIENCE, **keywords)
    with lanes_taken() as took, gevent.Timeout(PATIENCE, AssertionError("it hangs")):
        request.send()
    assert ("general" in took) is (kind == "general"), took
    if own is not None:
        own.close()
    return request


def fetch(*args: Any, **keywords: Any) -> requests.Response:
    request = send(*args, **keywords)
    assert request.response is not None, request.traceback
    assert request.response.status_code == 200
    return request.response


AUTHORIZED = {"authorization": basic(*USER)}


@statuses
@others
@lanes
def test_what_was_meant_for_a_is_shown_to_nobody_else_and_not_to_a_again(
    sites: Sites, ca_file: str, kind: str, other: str, status: int
) -> None:
    a, b = sites.pair(other)
    sites.lead(status, b, a)
    start = a + "/start"

    fetch(kind, start, ca_file, auth=USER)
    assert sites.shown() == [AUTHORIZED, {}, {}]

    fetch(kind, start, ca_file, headers={"authorization": "Bearer x"})
    assert sites.shown() == [{"authorization": "Bearer x"}, {}, {}]

    fetch(kind, start.replace("://", "://user:secret@"), ca_file)
    assert sites.shown() == [AUTHORIZED, {}, {}]

    fetch(kind, start, ca_file, headers={"Cookie": "a=b"})
    assert sites.shown() == [{"cookie": "a=b"}, {}, {}]

    fetch(kind, start, ca_file, headers={"Proxy-Authorization": "Basic x"})
    assert sites.shown() == [{"proxy-authorization": "Basic x"}, {}, {}]

    response = fetch(kind, start, ca_file, cookies={"a": "b"})
    # Requests sends them to whoever a redirect leads to: docs/reliability.md has it.
    rest = {"cookie": "a=b"} if kind == "general" else {}
    assert sites.shown() == [{"cookie": "a=b"}, rest, rest]
    assert [each.status_code for each in response.history] == [status, status]


@statuses
@lanes
def test_on_the_way_from_a_to_a_credentials_are_kept(
    sites: Sites, ca_file: str, kind: str, status: int
) -> None:
    a = sites.open().url
    sites.lead(status, a, a)
    fetch(kind, a + "/start", ca_file, auth=USER)
    assert sites.shown() == [AUTHORIZED] * 3
    fetch(kind, a + "/start", ca_file, cookies={"a": "b"})
    assert sites.shown() == [{"cookie": "a=b"}] * 3
    # These are for the one request that has them, by Requests' rule.
    fetch(kind, a + "/start", ca_file, headers={"Cookie": "a=b", "Proxy-Authorization": "x"})
    assert sites.shown() == [{"cookie": "a=b", "proxy-authorization": "x"}, {}, {}]


@others
@lanes
def test_a_location_cannot_bring_credentials_of_its_own(
    sites: Sites, ca_file: str, kind: str, other: str
) -> None:
    a, b = sites.pair(other)
    sites.lead(302, b.replace("://", "://them:theirs@"), a.replace("://", "://us:ours@"))
    fetch(kind, a + "/start", ca_file)
    assert sites.shown() == [{}, {}, {}]


# netrc


@statuses
@others
@lanes
def test_netrc_is_asked_for_each_hop(
    sites: Sites, ca_file: str, netrc: Any, kind: str, other: str, status: int
) -> None:
    a, b = sites.pair(other)
    sites.lead(status, b, a)
    netrc(**{"127.0.0.1": "one", "127.0.0.2": "two", "localhost": "name"})
    one = {"authorization": basic("one", "pw")}
    theirs = {"address": "two", "name": "name"}.get(other, "one")
    there = {"authorization": basic(theirs, "pw")}
    fetch(kind, a + "/start", ca_file)
    assert sites.shown() == [one, there, one]
    # What was given goes before, at the first; then it is gone.
    fetch(kind, a + "/start", ca_file, auth=USER)
    assert sites.shown() == [AUTHORIZED, there, one]


@pytest.mark.parametrize("other", ["address", "name"])
@lanes
def test_an_entry_for_a_says_nothing_of_b(
    sites: Sites, ca_file: str, netrc: Any, kind: str, other: str
) -> None:
    a, b = sites.pair(other)
    sites.lead(302, b, a)
    netrc(**{"127.0.0.1": "one"})
    one = {"authorization": basic("one", "pw")}
    fetch(kind, a + "/start", ca_file)
    assert sites.shown() == [one, {}, one]
    netrc(**{OTHERS[other][2]: "theirs"})
    fetch(kind, a + "/start", ca_file, auth=USER)
    assert sites.shown() == [AUTHORIZED, {"authorization": basic("theirs", "pw")}, {}]


@pytest.mark.parametrize("kind", ["plain", "general"])
def test_a_session_that_trusts_no_environment_reads_no_netrc(
    sites: Sites, ca_file: str, netrc: Any, kind: str
) -> None:
    a, b = sites.pair("address")
    sites.lead(302, b, a)
    netrc(**{"127.0.0.1": "one", "127.0.0.2": "two"})
    session = KINDS[kind]()
    session.trust_env = False
    session.auth = USER
    fetch(kind, a + "/start", ca_file, session)
    assert sites.shown() == [AUTHORIZED, {}, {}]


# Cookies of sessions and of servers


@others
@pytest.mark.parametrize("kind", ["plain", "general"])
def test_a_sessions_cookie_goes_where_its_domain_says(
    sites: Sites, ca_file: str, kind: str, other: str
) -> None:
    a, b = sites.pair(other)
    sites.lead(302, b, a)
    session = KINDS[kind]()
    session.cookies.set("own", "1", domain="127.0.0.1")
    fetch(kind, a + "/start", ca_file, session)
    own = {"cookie": "own=1"}
    is_elsewhere = other in ("address", "name")
    assert sites.shown() == [own, {} if is_elsewhere else own, own]  # (cookies know no ports)


@pytest.mark.parametrize("kind", ["plain", "general"])
@pytest.mark.parametrize("other", ["upgrade", "downgrade"])
def test_a_secure_cookie_is_shown_to_tls_only(
    sites: Sites, ca_file: str, kind: str, other: str
) -> None:
    a, b = sites.pair(other)
    sites.lead(302, b, a)
    session = KINDS[kind]()
    session.cookies.set("own", "1", domain="127.0.0.1", secure=True)
    fetch(kind, a + "/start", ca_file, session)
    ciphered = [{"cookie": "own=1"} if root.startswith("https") else {} for root in (a, b, a)]
    assert sites.shown() == ciphered


@pytest.mark.parametrize("other", ["address", "name"])
@lanes
def test_a_server_gets_back_its_own_cookies_only(
    sites: Sites, ca_file: str, kind: str, other: str
) -> None:
    a, b = sites.pair(other)
    sites.lead(302, b, a, "Set-Cookie: of=a")
    sites.routes["/over"] = answer(b"", "302 Go", f"Location: {a}/back", "Set-Cookie: of=b")
    fetch(kind, a + "/start", ca_file)
    assert sites.shown() == [{}, {}, {"cookie": "of=a"}]


@lanes
def test_cookies_of_the_call_stay_withheld_when_servers_set_others(
    sites: Sites, ca_file: str, kind: str
) -> None:
    a, b = sites.pair("address")
    sites.lead(302, b, a, "Set-Cookie: of=a")
    fetch(kind, a + "/start", ca_file, cookies={"mine": "1"})
    first, there, back = (each.get("cookie", "") for each in sites.shown())
    assert first == "mine=1"
    if kind == "general":
        assert there == "mine=1"
        assert set(back.split("; ")) == {"mine=1", "of=a"}
    else:
        assert (there, back) == ("", "of=a")


# Proxies


@statuses
@lanes
def test_a_proxys_credentials_are_shown_to_the_proxy_and_not_through_its_tunnel(
    sites: Sites, ca_file: str, kind: str, status: int
) -> None:
    proxy = sites.open()
    sites.lead(status, "https://b.test", "http://a.test")
    through = f"http://user:secret@127.0.0.1:{proxy.port}"
    response = fetch(
        kind, "http://a.test/start", ca_file, proxies={"http": through, "https": through}
    )
    assert response.text == "/back"
    said = {"proxy-authorization": basic(*USER)}
    assert [(target, each) for _, target, each in sites.seen] == [
        ("http://a.test/start", said),
        ("b.test:443", said),
        ("/over", {}),
        ("http://a.test/back", said),
    ]


@lanes
def test_a_proxys_credentials_are_not_shown_to_who_is_reached_without_it(
    sites: Sites, ca_file: str, kind: str
) -> None:
    proxy = sites.open()
    b = sites.open(host="127.0.0.2")
    sites.lead(302, b.url, "http://a.test")
    through = {"http://a.test": f"http://user:secret@127.0.0.1:{proxy.port}"}
    fetch(kind, "http://a.test/start", ca_file, proxies=through)
    said = {"proxy-authorization": basic(*USER)}
    assert sites.shown() == [said, {}, said]


@lanes
def test_the_rise_to_https_on_default_ports_keeps_credentials(
    sites: Sites, ca_file: str, kind: str
) -> None:
    # Requests' one exception. A proxy stands for the ports, which only root may listen to.
    proxy = sites.open()
    through = {scheme: proxy.url for scheme in ("http", "https")}
    sites.lead(302, "https://a.test", "http://a.test")
    fetch(kind, "http://a.test/start", ca_file, proxies=through, auth=USER)
    connect = "a.test:443"
    assert [(target, each) for _, target, each in sites.seen] == [
        ("http://a.test/start", AUTHORIZED),
        (connect, {}),
        ("/over", AUTHORIZED),
        ("http://a.test/back", {}),  # but not back
    ]
    sites.seen.clear()
    fetch(kind, "http://a.test/start", ca_file, proxies=through, cookies={"a": "b"})
    shown = [each for _, target, each in sites.seen if target != connect]
    cookie = {"cookie": "a=b"}
    assert shown == [cookie, cookie, cookie if kind == "general" else {}]


# Who follows by himself


@others
@lanes
def test_the_next_request_of_a_redirect_that_is_not_followed_has_lost_them_too(
    sites: Sites, ca_file: str, kind: str, other: str
) -> None:
    a, b = sites.pair(other)
    sites.lead(302, b, a)
    request = send(
        *(kind, a + "/start", ca_file),
        allow_redirects=False,
        auth=USER,
        cookies={"a": "b"},
    )
    response = request.response
    assert response.status_code == 302
    following = response.next
    assert following.url == b + "/over"
    assert "Authorization" not in following.headers
    expected = "a=b" if kind == "general" else None
    assert following.headers.get("Cookie") == expected
    assert sites.shown() == [{**AUTHORIZED, "cookie": "a=b"}]


@others
@lanes
def test_hooks_see_each_hop_without_what_it_has_lost(
    sites: Sites, ca_file: str, kind: str, other: str
) -> None:
    a, b = sites.pair(other)
    sites.lead(302, b, a)
    heard: list[tuple[str, str | None]] = []

    def hear(response: requests.Response, **_: Any) -> None:
        sent = response.request
        heard.append((sent.url, sent.headers.get("Authorization")))

    fetch(kind, a + "/start", ca_file, auth=USER, hooks={"response": hear})
    assert heard == [(a + "/start", basic(*USER)), (b + "/over", None), (a + "/back", None)]
    assert sites.shown() == [AUTHORIZED, {}, {}]


# No end


@others
@lanes
def test_a_loop_between_two_ends_after_thirty_hops_and_shows_its_credentials_once(
    sites: Sites, ca_file: str, kind: str, other: str
) -> None:
    a, b = sites.pair(other)
    sites.lead(302, b, a)
    sites.routes["/back"] = answer(b"", "302 Go", f"Location: {b}/over")
    request = send(kind, a + "/start", ca_file, auth=USER)
    assert isinstance(request.exception, exceptions.TooManyRedirects)
    assert sites.shown() == [AUTHORIZED, *([{}] * 30)]


@pytest.mark.parametrize(("hops", "ends_well"), [(30, True), (31, False)])
@lanes
def test_thirty_hops_are_followed_and_no_more(
    sites: Sites, ca_file: str, kind: str, hops: int, ends_well: bool
) -> None:
    a = sites.open().url
    for number in range(hops):
        sites.routes[f"/{number}"] = answer(b"", "302 Go", f"Location: /{number + 1}")
    request = send(kind, a + "/0", ca_file, auth=USER)
    assert len(sites.seen) == 31
    assert all(each == AUTHORIZED for each in sites.shown())
    if ends_well:
        assert request.response is not None
        assert len(request.response.history) == 30
    else:
        assert isinstance(request.exception, exceptions.TooManyRedirects)
