"""No connection of one identity ever serves another: each after each, in both lanes.

An identity is everything that changes who is spoken to, or how: scheme, host, port, SNI, whom to
trust, as whom, through which proxy with whose credentials, from which address. For each ordered pair
three requests go out in one run: as the first, as the second, as the first again. The second must
come on a connection of its own, and the third on that of the first. The servers count connections
and note what they are shown.
"""

from __future__ import annotations

import contextlib
import gc
import socket
import ssl
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import gevent
import pytest
import requests
from engine.raw import Peer, RawServer, answer, at_same_port
from programs import program
from servers import eventually
from requests_toolbelt.adapters.source import SourceAddressAdapter

import grequests
from grequests import Client, Timeout

from .certificates import Papers
from .harness import LATE, TOTAL, Odd

pytestmark = pytest.mark.filterwarnings("ignore::urllib3.exceptions.InsecureRequestWarning")

LANES = ["fast", "general"]


@dataclass(frozen=True)
class Seen:
    """What a server was shown of one request.

    Attributes:
        connection: the server's name, and the number of the connection.
        sni: the name in the ClientHello.
        subject: of the client's certificate.
        source: the client's address.
        proxied: whether it was spoken to as a proxy.
        credentials: for the proxy, as they came.
    """

    connection: tuple[str, int]
    sni: str | None = None
    subject: str | None = None
    source: str = "127.0.0.1"
    proxied: bool = False
    credentials: str | None = None


class Place(RawServer):
    """A server, and a proxy that answers for everybody."""

    def __init__(self, name: str, tls: ssl.SSLContext | None = None, **where: Any) -> None:
        super().__init__(self._serve, **where)
        self.name = name
        self.seen: dict[str, Seen] = {}
        self._context = tls

    def _serve(self, peer: Peer) -> None:
        first = peer.sock.recv(1, socket.MSG_PEEK)
        about: dict[str, Any] = {
            "connection": (self.name, peer.number),
            "source": peer.sock.getpeername()[0],
        }
        if first == b"C":
            about |= {"proxied": True, "credentials": credentials_in(peer.until(b"\r\n\r\n"))}
            peer.send(b"HTTP/1.1 200 Connection established\r\n\r\n")
            first = peer.sock.recv(1, socket.MSG_PEEK)
        if first == b"\x16":
            assert self._context is not None
            peer.start_tls(self._context)
            about["sni"] = getattr(peer.sock, "shown_name", None)
            certificate = peer.sock.getpeercert()
            if certificate:
                about["subject"] = dict(field[0] for field in certificate["subject"])["commonName"]
        while (head := peer.until(b"\r\n\r\n")) is not None:
            target = head.split(b" ")[1].decode()
            if "://" in target:
                about |= {"proxied": True, "credentials": credentials_in(head)}
            path = "/" + target.rpartition("/")[2]
            self.seen[path] = Seen(**about)
            peer.send(answer(path.encode()))


def credentials_in(head: bytes | None) -> str | None:
    for line in (head or b"").decode("latin-1").split("\r\n")[1:]:
        name, _, value = line.partition(": ")
        if name.lower() == "proxy-authorization":
            return value
    return None


def note_name(sock: Any, name: str | None, _: ssl.SSLContext) -> None:
    sock.shown_name = name


@dataclass(frozen=True)
class Identity:
    """How a request is made, and what is to be seen of it.

    Attributes:
        root: scheme, host and port.
        place: the server that it reaches.
        keywords: of the request.
        shows: attributes of `Seen` that are not what they are without saying.
    """

    name: str
    root: str
    place: Place
    keywords: dict[str, Any] = field(default_factory=dict)
    shows: dict[str, Any] = field(default_factory=dict)


class Town:
    """All servers, all identities, and who sends."""

    def __init__(self, papers: Papers, stack: contextlib.ExitStack) -> None:
        context = papers.context()
        context.load_verify_locations(papers.ca_file)
        context.verify_mode = ssl.CERT_OPTIONAL
        context.sni_callback = note_name
        enter = stack.enter_context
        self.one, self.other_host = at_same_port(
            lambda: enter(Place("one", context)),
            lambda port: enter(Place("other host", context, host="127.0.0.2", port=port)),
        )
        self.two = enter(Place("two", context))
        self.proxy = enter(Place("proxy", context))
        self.proxy_2 = enter(Place("proxy 2", context))
        self.places = [self.one, self.two, self.other_host, self.proxy, self.proxy_2]
        self.from_2 = stack.enter_context(requests.Session())
        for scheme in ("http://", "https://"):
            self.from_2.mount(scheme, SourceAddressAdapter("127.0.0.2"))
        self.identities = {each.name: each for each in self._identities(papers)}

    def _identities(self, papers: Papers) -> Iterator[Identity]:
        ca, one = papers.ca_file, self.one
        copy = papers.file("copy.pem", Path(ca).read_bytes())
        at = f"127.0.0.1:{one.port}"
        yield from self._plain(at)
        for name, verify in (
            ("A", ca),
            ("B", copy),
            ("directory", hashed(papers)),
            ("none", False),
        ):
            yield Identity(f"https, CA {name}", f"https://{at}", one, {"verify": verify})
        trusting = {"verify": ca}
        for name in ("ann", "ben"):
            keywords = {**trusting, "cert": papers.client(name)}
            yield Identity(f"https as {name}", f"https://{at}", one, keywords, {"subject": name})
        local = f"https://localhost:{one.port}"
        yield Identity("https by name", local, one, trusting, {"sni": "localhost"})
        yield Identity(
            "https, other host", f"https://127.0.0.2:{one.port}", self.other_host, trusting
        )
        yield Identity(
            "https, other port", f"https://127.0.0.1:{self.two.port}", self.two, trusting
        )
        yield from self._proxied(trusting)
        from_2 = {"session": self.from_2}
        yield Identity("from 2", f"http://{at}", one, from_2, {"source": "127.0.0.2"})
        yield Identity(
            "https from 2", f"https://{at}", one, {**from_2, **trusting}, {"source": "127.0.0.2"}
        )

    def _plain(self, at: str) -> Iterator[Identity]:
        yield Identity("http", f"http://{at}", self.one)
        yield Identity("by name", f"http://localhost:{self.one.port}", self.one)
        yield Identity("other host", f"http://127.0.0.2:{self.one.port}", self.other_host)
        yield Identity("other port", f"http://127.0.0.1:{self.two.port}", self.two)

    def _proxied(self, trusting: dict[str, Any]) -> Iterator[Identity]:
        """To hosts that only a proxy reaches, and to one that is reached directly as well."""
        for scheme, more in (("http", {}), ("https", trusting)):
            root = f"{scheme}://127.0.0.1:{self.one.port}"
            for name, credentials, place, shown in (
                ("proxy", "", self.proxy, None),
                ("proxy 2", "", self.proxy_2, None),
                ("proxy as me", "me:pw@", self.proxy, "Basic bWU6cHc="),
                ("proxy as me, otherwise", "me:px@", self.proxy, "Basic bWU6cHg="),
            ):
                url = f"http://{credentials}127.0.0.1:{place.port}"
                shows = {"proxied": True, "credentials": shown}
                keywords = {**more, "proxies": {scheme: url}}
                yield Identity(f"{scheme} through {name}", root, place, keywords, shows)
        through = {**trusting, "proxies": {"https": f"http://127.0.0.1:{self.proxy.port}"}}
        for dot in ("", "."):
            # (SNI has no dot at its end: RFC 6066 section 3.)
            root = f"https://localhost{dot}:{self.one.port}"
            shows = {"proxied": True, "sni": "localhost"}
            yield Identity(f"https by name{dot} through proxy", root, self.proxy, through, shows)

    @contextlib.contextmanager
    def session(self, lane: str) -> Iterator[requests.Session | None]:
        """Whose requests take that lane; no connection outlasts it."""
        try:
            with contextlib.ExitStack() as stack:
                yield stack.enter_context(Odd()) if lane == "general" else None
        finally:
            self.from_2.close()
            grequests.close()
            gc.collect()
            eventually(lambda: not sum(each.open for each in self.places), "no connections")
            for place in self.places:
                place.seen.clear()


def hashed(papers: Papers) -> str:
    """A directory of authorities."""
    folder = papers.folder / "authorities"
    folder.mkdir()
    (folder / "ca.pem").write_bytes(papers.root.certificate_pem)
    subprocess.run([program("openssl", "openssl"), "rehash", str(folder)], check=True)
    return str(folder)


NAMES = [
    *("http", "by name", "other host", "other port"),
    *(f"https, CA {name}" for name in ("A", "B", "directory", "none")),
    *("https as ann", "https as ben", "https by name", "https, other host", "https, other port"),
    *(
        f"{scheme} through {name}"
        for scheme in ("http", "https")
        for name in ("proxy", "proxy 2", "proxy as me", "proxy as me, otherwise")
    ),
    *("https by name through proxy", "https by name. through proxy", "from 2", "https from 2"),
]


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    with contextlib.ExitStack() as stack:
        yield Town(Papers(tmp_path_factory.mktemp("papers")), stack)


def test_the_matrix_has_all_identities(town: Town) -> None:
    assert list(town.identities) == NAMES


@pytest.mark.parametrize("lane", LANES)
@pytest.mark.parametrize("name", NAMES)
def test_no_other_identity_takes_its_connection(town: Town, no_leaks, name: str, lane: str) -> None:
    first = town.identities[name]
    for second in town.identities.values():
        with town.session(lane) as session:
            one, other, again = run(town, [first, second, first], session, slots=1)
            assert again.connection == one.connection, second.name
            if second is first:
                assert other.connection == one.connection
            else:
                assert other.connection != one.connection, second.name


@pytest.mark.parametrize("lane", LANES)
def test_all_at_once_and_warm(town: Town, no_leaks, lane: str) -> None:
    """Whatever the order, and whatever is idle: each connection has served one identity only."""
    random = Random(5)
    order = [*town.identities.values()] * 12
    random.shuffle(order)
    with town.session(lane) as session:
        seen = run(town, order, session, slots=16)
    served: dict[tuple[str, int], set[str]] = {}
    for identity, each in zip(order, seen, strict=True):
        served.setdefault(each.connection, set()).add(identity.name)
    mixed = [names for names in served.values() if len(names) > 1]
    assert not mixed
    assert len(served) < len(order), "no connection was used twice"


@pytest.mark.parametrize("lane", LANES)
@pytest.mark.parametrize("name", ["http", "https, CA A", "https through proxy as me"])
def test_what_changes_the_words_only_shares_the_connection(
    town: Town, no_leaks, name: str, lane: str
) -> None:
    identity = town.identities[name]
    words: list[dict[str, Any]] = [
        {},
        {"headers": {"Host": "example.test"}},
        {"headers": {"Authorization": "Basic eDp5"}},
        {"auth": ("me", "pw")},
        {"cookies": {"a": "b"}},
        {"timeout": 5},
    ]
    with town.session(lane) as session:
        seen = run(town, [identity] * len(words), session, slots=1, more=words)
        assert len({each.connection for each in seen}) == 1


def run(
    town: Town,
    identities: list[Identity],
    session: requests.Session | None,
    *,
    slots: int,
    more: list[dict[str, Any]] | None = None,
) -> list[Seen]:
    """What the servers saw of one run; each request of it has its own answer."""

    def made(number: int) -> grequests.AsyncRequest:
        identity = identities[number]
        keywords = {"session": session, **identity.keywords, **(more[number] if more else {})}
        return grequests.get(f"{identity.root}/{number}", **keywords)

    limit = gevent.Timeout(TOTAL + LATE, AssertionError("it hangs"))
    with limit, Client(concurrency=slots, retry=None, timeout=Timeout(total=TOTAL)) as client:
        results = sorted(client.run(map(made, range(len(identities)))), key=lambda one: one.index)
        counts = client.statistics()
        assert (counts.in_flight, counts.queued) == (0, 0)
    seen = []
    for identity, result in zip(identities, results, strict=True):
        assert result.error is None, (identity.name, result.error)
        assert result.response.text == f"/{result.index}"
        found = identity.place.seen[result.response.text]
        assert found == Seen(found.connection, **identity.shows), identity.name
        seen.append(found)
    return seen
