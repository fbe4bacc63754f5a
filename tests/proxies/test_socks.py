"""SOCKS 4, 4a, 5 and 5h, through dante and mitmproxy and fakes that die: three ways, the same."""

from __future__ import annotations

import contextlib
import socket
from typing import Any

import pytest
import requests
from general_scenarios.servers import Server, pump
from recording import Recorder
from ways import Ways

import grequests

from .conftest import CREDENTIALS, USER

pytestmark = pytest.mark.timeout(120)

KINDS = ["socks4", "socks4a", "socks5", "socks5h"]


#: Debian's dante dies of a name in SOCKS 4a (see below for that).
PLACES = [(kind, host) for kind in KINDS for host in ("127.0.0.1", "localhost")]
PLACES.remove(("socks4a", "localhost"))


@pytest.mark.parametrize(("kind", "host"), PLACES)
@pytest.mark.parametrize("secure", [False, True])
def test_a_request_through_dante(ways, dante, origin, tls_origin, ca_path, kind, host, secure):
    url = (tls_origin if secure else origin).url.replace("127.0.0.1", host)
    kwargs = {"proxies": {"all": dante.url(kind)}, "verify": ca_path, "timeout": 30}
    found = ways.same(lambda: (None, "POST", f"{url}/x", {"data": "ä", **kwargs}), "general")
    assert found["error"] is None, found["error"]
    [sent] = found["taken"]
    assert sent.startswith(b"POST /x HTTP/1.1\r\nHost: " + host.encode())


@pytest.mark.parametrize("kind", KINDS)
def test_a_redirect_through_dante(ways, dante, origin, tls_origin, ca_path, kind):
    proxies = {"http": dante.url(kind), "https": dante.url(kind)}
    url = f"{origin.url}/moved?{tls_origin.url}/there"
    kwargs = {"proxies": proxies, "verify": ca_path, "timeout": 30}
    found = ways.same(lambda: (None, "GET", url, kwargs), "general")
    assert len(found["taken"]) == 2


@pytest.mark.parametrize("kind", KINDS)
def test_an_origin_that_dante_does_not_reach(ways, dante, kind):
    kwargs = {"proxies": {"all": dante.url(kind)}, "timeout": 30}
    found = ways.same(lambda: (None, "GET", "http://127.0.0.1:1/", kwargs), "general")
    assert found["error"]["type"] is requests.exceptions.ConnectionError
    assert "Failed to establish a new connection" in found["error"]["text"]


@pytest.mark.parametrize("kind", ["socks5", "socks5h"])
@pytest.mark.parametrize("secure", [False, True])
def test_a_password_for_mitmproxy(ways, mitm, origin, tls_origin, kind, secure):
    url = f"{(tls_origin if secure else origin).url}/x"
    kwargs = {"verify": mitm.files["ca"], "timeout": 30}
    kwargs["proxies"] = {"all": mitm.url(kind, CREDENTIALS)}
    found = ways.same(lambda: (None, "GET", url, kwargs), "general")
    assert found["response"]["status_code"] == 200


@pytest.mark.parametrize("credentials", ["", "us%40er:wrong@", "us%40er@", ":x@"])
def test_a_wrong_password_for_mitmproxy(ways, mitm, origin, credentials):
    kwargs = {"proxies": {"all": mitm.url("socks5", credentials)}, "timeout": 30}
    found = ways.same(lambda: (None, "GET", origin.url, kwargs), "general")
    assert found["error"]["type"] is requests.exceptions.ConnectionError
    assert found["taken"] == []
    assert USER not in found["error"]["text"]


class NameServer(Server):
    """SOCKS 4a: takes names, and users; notes them."""

    def talk(self, sock: Any, number: int) -> None:
        asked = b""
        while asked.count(b"\x00", 8) < 2:
            asked += sock.recv(1)
        user, name, _ = asked[8:].split(b"\x00")
        assert asked[:2] == b"\x04\x01" and asked[4:8] == b"\x00\x00\x00\x01"
        self.asked = [*getattr(self, "asked", []), (user, name)]
        port = int.from_bytes(asked[2:4], "big")
        with socket.create_connection(("127.0.0.1", port)) as upstream:
            sock.sendall(b"\x00\x5a" + bytes(6))
            pump(sock, upstream)


@pytest.mark.parametrize("host", ["localhost", "anything.test"])
def test_a_name_that_the_proxy_resolves_by_socks_4a(origin, host):
    url = origin.url.replace("127.0.0.1", host)
    with NameServer() as proxy:
        proxies = {"http": f"socks4a://us%40er@127.0.0.1:{proxy.port}"}
        found = Ways(origin.taken).same(
            lambda: (None, "GET", f"{url}/x", {"proxies": proxies, "timeout": 30}), "general"
        )
    assert found["response"]["status_code"] == 200
    assert len(set(proxy.asked)) == 1
    assert proxy.asked[0][1] == host.encode()


def test_many_at_once_through_dante(dante, origin, tls_origin, ca_path):
    urls = [f"{(origin, tls_origin)[n % 2].url}/{n}" for n in range(60)]
    for kind in ("socks5h", "socks4"):
        kwargs = {"proxies": {"all": dante.url(kind)}, "verify": ca_path, "timeout": 30}
        found = grequests.map([grequests.get(url, **kwargs) for url in urls], size=30)
        assert [each.text.split("\n")[0] for each in found] == [f"GET /{n}" for n in range(60)]
    origin.taken()
    tls_origin.taken()


# --- those that die ------------------------------------------------------------------------------


class Dying(Recorder):
    """Answers each piece that it reads by the next of these, and says no more."""

    def __init__(self, *answers: bytes, holds: bool = False) -> None:
        self._answers = answers
        self.holds = holds
        super().__init__()

    def _serve(self, sock: Any) -> None:
        with contextlib.suppress(OSError), sock:
            for answer in self._answers:
                self.requests.append(sock.recv(65536))
                sock.sendall(answer)
            if not self.holds:
                sock.shutdown(socket.SHUT_WR)
            while piece := sock.recv(65536):
                self.requests.append(piece)
        self._open.discard(sock)


FOURS, FIVES = ["socks4", "socks4a"], ["socks5", "socks5h"]
FIVE = b"\x05\x00"
ANSWERS = {
    "nothing": (),
    "http": (b"HTTP/1.1 400 Bad Request\r\n\r\n",),
    "half a greeting": (b"\x05",),
    "no method": (b"\x05\xff",),
    "an unknown method": (b"\x05\x7f",),
    "a password wanted": (b"\x05\x02",),
    "a greeting and the end": (FIVE,),
    "half a reply": (FIVE, b"\x05\x00\x00"),
    **{
        f"refusal {code}": (FIVE, bytes([5, code, 0, 1]) + bytes(6)) for code in (1, 2, 4, 5, 8, 99)
    },
    "a reply and the end": (FIVE, b"\x05\x00\x00\x01" + bytes(6)),
    "an unknown kind of address": (FIVE, b"\x05\x00\x00\x09" + bytes(6)),
    "four: refusal 91": (b"\x00\x5b" + bytes(6),),
    "four: refusal 93": (b"\x00\x5d" + bytes(6),),
    "four: consent and the end": (b"\x00\x5a" + bytes(6),),
    "four: rubbish": (b"\x07\x5a" + bytes(6),),
}


#: Each kind of proxy with what it may answer.
DEATHS = [
    (kind, name) for name in ANSWERS for kind in (FOURS if name.startswith("four") else FIVES)
] + [(kind, name) for kind in FOURS for name in ("nothing", "http")]


@pytest.mark.parametrize(("kind", "answers"), DEATHS)
def test_a_proxy_that_dies(kind, answers):
    with Dying(*ANSWERS[answers]) as proxy:
        kwargs = {"proxies": {"http": f"{kind}://127.0.0.1:{proxy.port}"}, "timeout": 3}
        found = Ways().same(lambda: (None, "GET", "http://127.0.0.1:9/x", kwargs), "general")
    assert found["error"]["type"] in (
        requests.exceptions.ConnectionError,
        requests.exceptions.ConnectTimeout,
    )


@pytest.mark.parametrize("kind", [*KINDS, "socks9", "socks"])
@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("place", ["127.0.0.1:1", "127.0.0.1", "nowhere.invalid:1080", ""])
def test_a_proxy_that_is_not_there(kind, scheme, place):
    kwargs = {"proxies": {scheme: f"{kind}://{place}"}, "timeout": 5}
    Ways().same(lambda: (None, "GET", f"{scheme}://127.0.0.1:1/", kwargs), "general")


def test_a_proxy_that_takes_its_time():
    with Dying(holds=True) as proxy:
        kwargs = {"proxies": {"all": f"socks5://127.0.0.1:{proxy.port}"}, "timeout": 0.1}
        found = Ways().same(lambda: (None, "GET", "http://127.0.0.1:9/x", kwargs), "general")
    assert found["error"]["type"] is requests.exceptions.ConnectTimeout
