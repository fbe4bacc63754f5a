"""Proxies that refuse, lie, or die: before, within CONNECT, in the handshake, in the response.

Three ways, the same exception with the same words, but for answers to CONNECT that are none: the fast
lane always says that it was the proxy. Requests says so of a refusal only; else it is a connection
that was aborted, or, where it takes a cut head for a whole one, an error in TLS.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
from typing import Any

import pytest
import requests
import trustme
from recording import Recorder, assert_same, sealed_environment
from ways import Ways, general_only, ours, plainly

pytestmark = pytest.mark.timeout(60)


@pytest.fixture(scope="module", autouse=True)
def sealed(tmp_path_factory):
    with sealed_environment(tmp_path_factory.mktemp("home")) as patch:
        yield patch


@pytest.fixture(scope="module")
def ca():
    return trustme.CA()


@pytest.fixture(scope="module")
def bundle(ca, tmp_path_factory):
    path = tmp_path_factory.mktemp("bundle") / "ca.pem"
    ca.cert_pem.write_to_path(str(path))
    return str(path)


class Proxy(Recorder):
    """Reads a request, sends these bytes, and ends the connection in this manner."""

    def __init__(self, reply: bytes, end: str = "close", tls: ssl.SSLContext | None = None) -> None:
        self._reply = reply
        self._end = end
        self._inner = tls
        super().__init__()

    def _serve(self, sock: Any) -> None:
        with contextlib.suppress(OSError), sock:
            self.requests.append(read_head(sock))
            sock.sendall(self._reply)
            if self._end == "reset":
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            elif self._end == "hold":
                sock.recv(1)
            elif self._end == "hear":
                sock.shutdown(socket.SHUT_WR)
                sock.recv(65536)
            sock.close()
        self._open.discard(sock)


def read_head(sock: Any) -> bytes:
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        piece = sock.recv(1)
        if not piece:
            break
        head += piece
    return head


def head(line: bytes, *lines: bytes) -> bytes:
    return b"\r\n".join([b"HTTP/1.1 " + line, *lines, b"", b""])


EMPTY = b"Content-Length: 0"
#: What is an answer of the origin's to an http request, and a refusal to CONNECT.
REFUSALS = {
    "407": head(b"407 Proxy Authentication Required", b"Proxy-Authenticate: Basic realm=x", EMPTY),
    "407 with a body": head(b"407 Who are you", b"Content-Length: 4") + b"body",
    "407 of another scheme": head(b"407 No", b"Proxy-Authenticate: Digest realm=x, nonce=y", EMPTY),
    "403": head(b"403 Forbidden", EMPTY),
    "502": head(b"502 Bad Gateway", b"Content-Length: 3") + b"bad",
    "302": head(b"302 Found", EMPTY),
    "201": head(b"201 Created", EMPTY),
    "204": head(b"204 No Content"),
    "no reason": head(b"503", EMPTY),
    "a reason in latin-1": head(b"503 \xfcberlastet", EMPTY),
    "many lines": head(b"502 Bad", *[b"X: y"] * 90, EMPTY),
    "100 first": head(b"100 Continue") + head(b"502 Bad", EMPTY),
}
#: What is none of HTTP, or not whole.
FAULTS = {
    "nothing": b"",
    "half a status line": b"HTTP/1.1 20",
    "rubbish": b"SSH-2.0-OpenSSH_9.2p1\r\n",
    "a long line": b"HTTP/1.1 200 OK\r\nX: " + b"y" * 70000 + b"\r\n\r\n",
    "another protocol": b"ICY 200 OK\r\n\r\n",
    "an empty line": b"\r\n\r\n",
    "a status of letters": b"HTTP/1.1 abc OK\r\n\r\n",
    "a status of four digits": b"HTTP/1.1 2000 OK\r\n\r\n",
    "a status of two digits": b"HTTP/1.1 20 OK\r\n\r\n",
}
#: Consent of a kind, to Requests: without an end, or with what does not belong there.
DOUBTFUL = {
    "a status line": b"HTTP/1.1 200 OK\r\n",
    "half a head": b"HTTP/1.1 200 OK\r\nX: y\r\n",
    "a body": head(b"200 OK", b"Content-Length: 9") + b"half",
}
#: Consent, and then the end: it is in the handshake that it shows.
CONSENTS = {
    "a head": head(b"200 OK"),
    "HTTP/1.0": b"HTTP/1.0 200 Connection established\r\n\r\n",
    "many lines": head(b"200 OK", *[b"X: y"] * 90),
}


def through(bundle: str, scheme: str, proxy: Proxy) -> Any:
    kwargs = {
        "proxies": {scheme: f"http://u:p@127.0.0.1:{proxy.port}"},
        "verify": bundle,
        "timeout": 20,
    }
    return lambda: (None, "GET", f"{scheme}://example.test/x", kwargs)


def blamed(proxy: Proxy, make: Any) -> dict[str, Any]:
    """What Requests and the general lane say; the fast lane says that it was the proxy."""
    ways = Ways(proxy.taken)
    theirs = ways.outcome(plainly(make))
    with general_only():
        assert_same(ways.outcome(ours(make, "general")), theirs)
    fast = ways.outcome(ours(make, "fast"))
    assert fast["error"]["type"] is requests.exceptions.ProxyError
    assert "ProxyError('Unable to connect to proxy', " in fast["error"]["text"]
    assert fast["taken"] == theirs["taken"]
    return theirs


@pytest.mark.parametrize("end", ["close", "hold"])
@pytest.mark.parametrize("answer", REFUSALS)
def test_a_refusal_of_an_http_request_is_the_response(bundle, answer, end):
    with Proxy(REFUSALS[answer], end) as proxy:
        found = Ways(proxy.taken).same(through(bundle, "http", proxy))
    line = REFUSALS[answer].replace(head(b"100 Continue"), b"").split(b" ", 2)[1]
    assert found["response"]["status_code"] == int(line[:3])
    assert found["taken"][0].startswith(b"GET http://example.test/x HTTP/1.1\r\n")


@pytest.mark.parametrize("end", ["close", "reset", "hold"])
@pytest.mark.parametrize("answer", REFUSALS)
def test_a_refusal_of_a_tunnel_is_a_proxy_error(bundle, answer, end):
    with Proxy(REFUSALS[answer], end) as proxy:
        found = Ways(proxy.taken).same(through(bundle, "https", proxy))
    assert found["error"]["type"] is requests.exceptions.ProxyError
    status = REFUSALS[answer].split(b"\r\n")[0][9:].decode("latin-1")
    assert f"Tunnel connection failed: {status}" in found["error"]["text"]
    [connect] = found["taken"]
    assert connect.startswith(b"CONNECT example.test:443 HTTP/1.")


@pytest.mark.parametrize("end", ["close", "reset"])
@pytest.mark.parametrize("answer", FAULTS)
def test_an_answer_to_connect_that_is_none(bundle, answer, end):
    with Proxy(FAULTS[answer], end) as proxy:
        theirs = blamed(proxy, through(bundle, "https", proxy))
    assert theirs["error"]["type"] is requests.exceptions.ConnectionError


@pytest.mark.parametrize("answer", DOUBTFUL)
def test_a_consent_that_is_not_whole_or_not_alone(bundle, answer):
    with Proxy(DOUBTFUL[answer], "hear") as proxy:
        theirs = blamed(proxy, through(bundle, "https", proxy))
    assert theirs["error"]["type"] is requests.exceptions.SSLError


@pytest.mark.parametrize("answer", CONSENTS)
def test_a_tunnel_that_ends_as_it_opens(bundle, answer):
    with Proxy(CONSENTS[answer], "hear") as proxy:
        found = Ways(proxy.taken).same(through(bundle, "https", proxy))
    assert found["error"]["type"] is requests.exceptions.SSLError
    assert "UNEXPECTED_EOF_WHILE_READING" in found["error"]["text"]


@pytest.mark.parametrize("end", ["close", "reset"])
def test_a_proxy_that_dies_without_an_answer(bundle, end):
    with Proxy(b"", end) as proxy:
        found = Ways(proxy.taken).same(through(bundle, "http", proxy))
    assert found["error"]["type"] is requests.exceptions.ProxyError


HALF = head(b"200 OK", b"Content-Length: 9") + b"half"


@pytest.mark.parametrize("end", ["close", "reset"])
def test_a_proxy_that_dies_within_a_response(bundle, end):
    with Proxy(HALF, end) as proxy:
        found = Ways(proxy.taken).same(through(bundle, "http", proxy))
    assert found["error"]["type"] is requests.exceptions.ChunkedEncodingError


class Tunnel(Proxy):
    """Is the origin at the other end of its tunnels itself."""

    def __init__(self, ca: trustme.CA, reply: bytes) -> None:
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        ca.issue_cert("example.test").configure_cert(self._context)
        super().__init__(reply)

    def _serve(self, sock: Any) -> None:
        with contextlib.suppress(OSError), sock:
            self.requests.append(read_head(sock))
            sock.sendall(head(b"200 Connection established"))
            with self._context.wrap_socket(sock, server_side=True) as inner:
                self.requests.append(read_head(inner))
                inner.sendall(self._reply)
        self._open.discard(sock)


def test_a_tunnel_that_ends_within_a_response(ca, bundle):
    with Tunnel(ca, HALF) as proxy:
        found = Ways(proxy.taken).same(through(bundle, "https", proxy))
    assert found["error"]["type"] is requests.exceptions.ChunkedEncodingError


def test_a_tunnel_that_ends_before_a_response(ca, bundle):
    with Tunnel(ca, b"") as proxy:
        found = Ways(proxy.taken).same(through(bundle, "https", proxy))
    assert found["error"]["type"] is requests.exceptions.ProxyError


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("place", ["127.0.0.1:1", "nowhere.invalid:3128", "[::1]:1"])
def test_a_proxy_that_is_not_there(bundle, scheme, place):
    proxies = {scheme: f"http://{place}"}
    found = Ways().same(
        lambda: (None, "GET", f"{scheme}://example.test/", {"proxies": proxies, "timeout": 5})
    )
    assert found["error"]["type"] is requests.exceptions.ProxyError


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_that_takes_its_time(bundle, scheme):
    """Requests' limit for CONNECT and the handshake is the connect timeout, for all else the read timeout."""
    with Proxy(b"", "hold") as proxy:
        _, method, url, kwargs = through(bundle, scheme, proxy)()
        kwargs["timeout"] = (0.05, 0.06)
        found = Ways().same(lambda: (None, method, url, kwargs))
    assert found["error"]["type"] is requests.exceptions.ReadTimeout


#: URLs of proxies that are none; whoever parses them first says so.
NONSENSE = [
    *("http://", "http:/127.0.0.1", "//127.0.0.1:1", "127.0.0.1", "http://127.0.0.1:x", ":1"),
    *(
        "http://127.0.0.1:99999",
        "http://:1",
        "http://[::1",
        "ftp://127.0.0.1:1",
        "http:127.0.0.1:1",
    ),
    *(
        "http://u:p@",
        "http://ex ample:1",
        "socks9://127.0.0.1:1",
        "http://.test:1",
        "",
        "http://ü.invalid:1",
    ),
]


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("nonsense", NONSENSE)
def test_a_proxy_that_is_no_url(scheme, nonsense):
    kwargs = {"proxies": {scheme: nonsense}, "timeout": 5}
    Ways().same(lambda: (None, "GET", f"{scheme}://127.0.0.1:1/", kwargs), lane=None)
