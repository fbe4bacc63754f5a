"""Through proxies: absolute-form and CONNECT, from keywords, sessions and the environment.

The bytes that the proxy and the server behind its tunnels read are those of plain Requests.
"""

from __future__ import annotations

import itertools
import ssl
from typing import Any

import pytest
import requests
import trustme
from recording import Answer, Recorder, assert_same, sealed_environment, snapshot

import grequests


@pytest.fixture(autouse=True)
def sealed(tmp_path):
    with sealed_environment(tmp_path) as patch:
        yield patch


@pytest.fixture(scope="module")
def ca():
    return trustme.CA()


@pytest.fixture(scope="module")
def ca_file(ca, tmp_path_factory):
    path = tmp_path_factory.mktemp("ca") / "ca.pem"
    ca.cert_pem.write_to_path(str(path))
    return str(path)


class TunnelProxy(Recorder):
    """Answers CONNECT, then is the TLS server at the other end itself."""

    def __init__(self, ca: trustme.CA) -> None:
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        ca.issue_cert("example.test", "127.0.0.1", "b.test").configure_cert(self._context)
        self.reply = b"HTTP/1.1 200 Connection established\r\nVia: x\r\n\r\n"
        super().__init__()

    def _serve(self, sock: Any) -> None:
        try:
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                piece = sock.recv(1)
                if not piece:
                    return
                head += piece
            self.requests.append(head)
            sock.sendall(self.reply)
            with self._context.wrap_socket(sock, server_side=True) as inner:
                self._open.add(inner)
                try:
                    self._talk(inner)
                finally:
                    self._open.discard(inner)
        except OSError:
            pass
        finally:
            self._open.discard(sock)
            sock.close()


@pytest.fixture
def proxy():
    with Recorder() as one:
        yield one


@pytest.fixture
def tunnel(ca):
    with TunnelProxy(ca) as one:
        yield one


def same(proxy: Recorder, make: Any) -> list[bytes]:
    """What the proxy read, the same both ways."""
    session, method, url, kwargs = make()
    own = session or requests.Session()
    proxy.taken()
    theirs: Any = snapshot(own.request(method, url, **kwargs))
    own.close()
    expected = proxy.taken()
    session, method, url, kwargs = make()
    request = grequests.request(method, url, session=session, **kwargs)
    other = grequests.request(method, url, session=session, **make()[3])
    [response, _] = grequests.map([request, other], size=1)
    if response is None:
        raise request.exception
    assert type(response) is grequests.Response
    assert_same(snapshot(response), theirs)
    taken = proxy.taken()
    connects = [each for each in expected if each.startswith(b"CONNECT ")]
    assert [each for each in taken if each.startswith(b"CONNECT ")] == connects
    rest = [each for each in expected if each not in connects]
    assert [each for each in taken if each not in connects] == rest * 2
    return expected


URLS = [
    "http://example.test/",
    "http://example.test:8080/a/b?c=d",
    "http://example.test?x",
    "http://u:p@example.test/#frag",
    "http://EXAMPLE.test/ä b",
    "http://[::1]:81/",
    "http://xn--mnchen-3ya.test/%7e",
    "http://münchen.test//x",
]


@pytest.mark.parametrize("url", URLS)
@pytest.mark.parametrize("credentials", ["", "user:pass@", "us%40er:p%3Aw@", "user@", ":p@"])
def test_an_http_request_in_absolute_form(proxy, url, credentials):
    proxies = {"http": f"http://{credentials}127.0.0.1:{proxy.port}"}
    [sent] = same(proxy, lambda: (None, "GET", url, {"proxies": proxies}))
    assert sent.startswith(b"GET http://")
    assert (b"Proxy-Authorization: Basic " in sent) == (":" in credentials[1:])


def forms(port: int) -> list[tuple[dict[str, str], dict[str, Any], dict[str, str]]]:
    """The same proxy from each place: session attributes, keywords, environment."""
    url = f"http://u:p@127.0.0.1:{port}"
    bare = f"127.0.0.1:{port}"
    return [
        ({}, {"proxies": {"http": url}}, {}),
        ({}, {"proxies": {"all": url}}, {}),
        ({}, {"proxies": {"http://example.test": url}}, {}),
        ({}, {"proxies": {"all://example.test": url, "all": "http://127.0.0.1:1"}}, {}),
        ({}, {"proxies": {"http": bare}}, {}),
        ({"http": url}, {}, {}),
        ({"http": "http://127.0.0.1:1"}, {"proxies": {"http": url}}, {}),
        ({"all": url}, {"proxies": {"http": None}}, {}),
        ({}, {}, {"HTTP_PROXY": url}),
        ({}, {}, {"http_proxy": bare}),
        ({}, {}, {"ALL_PROXY": url}),
        ({}, {}, {"all_proxy": url, "no_proxy": "other.test"}),
        ({}, {"proxies": {"http": url}}, {"http_proxy": "http://127.0.0.1:1"}),
        # The environment counts more than the session.
        ({"http": "http://127.0.0.1:1"}, {}, {"http_proxy": url}),
    ]


@pytest.mark.parametrize("index", range(len(forms(1))))
def test_where_a_proxy_may_come_from(proxy, sealed, index):
    attributes, kwargs, environment = forms(proxy.port)[index]
    for name, value in environment.items():
        sealed.setenv(name, value)

    def make() -> Any:
        session = requests.Session()
        session.proxies.update(attributes)
        return session, "GET", "http://example.test/x", dict(kwargs)

    [sent] = same(proxy, make)
    assert sent.startswith(b"GET http://example.test/x HTTP/1.1\r\n")


@pytest.mark.parametrize(
    ("kwargs", "environment"),
    [
        ({}, {"no_proxy": "127.0.0.1"}),
        ({}, {"NO_PROXY": "127.0.0.0/8,x"}),
        ({}, {"no_proxy": "*"}),
        ({"proxies": {"no_proxy": "127.0.0.1"}}, {}),
        ({"proxies": {"no": "x", "https": "http://127.0.0.1:1"}}, {"no_proxy": "127.0.0.1"}),
    ],
)
def test_hosts_without_a_proxy(proxy, sealed, kwargs, environment):
    sealed.setenv("http_proxy", "http://127.0.0.1:1")
    for name, value in environment.items():
        sealed.setenv(name, value)
    [sent] = same(proxy, lambda: (None, "GET", f"{proxy.url}/x", dict(kwargs)))
    assert sent.startswith(b"GET /x HTTP/1.1\r\n")


def test_an_environment_that_is_not_trusted(proxy, sealed):
    sealed.setenv("http_proxy", "http://127.0.0.1:1")

    def make() -> Any:
        session = requests.Session()
        session.trust_env = False
        return session, "GET", f"{proxy.url}/x", {}

    [sent] = same(proxy, make)
    assert sent.startswith(b"GET /x HTTP/1.1\r\n")


@pytest.mark.parametrize(
    "name", ["Proxy-Authorization", "proxy-authorization", "PROXY-authorization"]
)
def test_proxy_authorization_given_by_hand(proxy, name):
    for credentials in ("", "u:p@"):
        kwargs = {
            "proxies": {"http": f"http://{credentials}127.0.0.1:{proxy.port}"},
            "headers": {name: "mine", "X": "y"},
        }
        same(
            proxy,
            lambda kwargs=kwargs: (None, "POST", "http://example.test/", {**kwargs, "data": "x"}),
        )


@pytest.mark.parametrize("credentials", ["", "user:pass@", "us%40er:p%3Aw@"])
@pytest.mark.parametrize(
    "url", ["https://example.test/x?y#z", "https://example.test:444", "https://u:p@b.test/"]
)
def test_an_https_request_through_a_tunnel(tunnel, ca_file, url, credentials):
    proxies = {"https": f"http://{credentials}127.0.0.1:{tunnel.port}"}
    kwargs = {"proxies": proxies, "verify": ca_file, "headers": {"Proxy-Authorization": "no"}}
    connect, sent = same(tunnel, lambda: (None, "PUT", url, {**kwargs, "data": {"a": "b"}}))
    assert connect.startswith(b"CONNECT ")
    assert (b"Proxy-Authorization: Basic " in connect) == bool(credentials)
    assert sent.startswith(b"PUT /")


def test_a_tunnel_from_the_environment(tunnel, ca_file, sealed):
    sealed.setenv("HTTPS_PROXY", f"http://127.0.0.1:{tunnel.port}")
    sealed.setenv("REQUESTS_CA_BUNDLE", ca_file)
    connect, sent = same(tunnel, lambda: (None, "GET", "https://example.test/", {}))
    assert connect.startswith(b"CONNECT example.test:443 HTTP/1.")
    assert b"CONNECT" not in sent


@pytest.mark.parametrize(
    "reply",
    [
        *(
            b"HTTP/1.0 200 OK\r\n\r\n",
            b"HTTP/1.1 200\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        ),
        b"HTTP/1.1 200 OK\nX: y\n\n",
    ],
)
def test_replies_that_open_a_tunnel(tunnel, ca_file, reply):
    tunnel.reply = reply
    kwargs = {"proxies": {"https": f"http://127.0.0.1:{tunnel.port}"}, "verify": ca_file}
    same(tunnel, lambda: (None, "GET", "https://example.test/", kwargs))


def test_a_certificate_behind_a_tunnel_is_looked_at(tunnel):
    kwargs = {"proxies": {"https": f"http://127.0.0.1:{tunnel.port}"}}
    request = grequests.get("https://example.test/", **kwargs).send()
    with pytest.raises(requests.exceptions.SSLError) as theirs:
        requests.get("https://example.test/", **kwargs)
    assert type(request.exception) is requests.exceptions.SSLError
    assert "CERTIFICATE_VERIFY_FAILED" in str(request.exception)
    assert str(request.exception).split("_ssl.c")[0] == str(theirs.value).split("_ssl.c")[0]


def redirect(location: str) -> Answer:
    return Answer(
        f"HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n".encode()
    )


def same_pair(one: Recorder, two: Recorder, make: Any) -> list[list[bytes]]:
    """What two servers read, the same both ways."""
    seen = []
    session, method, url, kwargs = make()
    own = session or requests.Session()
    theirs = snapshot(own.request(method, url, **kwargs))
    own.close()
    seen.append([one.taken(), two.taken()])
    session, method, url, kwargs = make()
    request = grequests.request(method, url, session=session, **kwargs).send()
    if request.response is None:
        raise request.exception
    assert type(request.response) is grequests.Response
    assert_same(snapshot(request.response), theirs)
    seen.append([one.taken(), two.taken()])
    assert_same(seen[1], seen[0])
    return seen[0]


def test_a_redirect_from_a_proxied_host_to_one_without(proxy, sealed):
    with Recorder() as server:
        proxy.answers = {"http://example.test/": redirect(f"{server.url}/direct")}
        sealed.setenv("http_proxy", f"http://u:p@127.0.0.1:{proxy.port}")
        sealed.setenv("no_proxy", "127.0.0.1")
        seen = same_pair(proxy, server, lambda: (None, "GET", "http://example.test/", {}))
        assert sum(map(len, seen)) == 2


def test_a_redirect_from_a_host_without_a_proxy_to_one_with(proxy, sealed):
    with Recorder() as server:
        server.answers = {"/start": redirect("http://example.test/there")}
        sealed.setenv("http_proxy", f"http://u:p@127.0.0.1:{proxy.port}")
        sealed.setenv("no_proxy", "127.0.0.1")
        [direct, proxied] = same_pair(
            server, proxy, lambda: (None, "GET", f"{server.url}/start", {})
        )
        assert direct[0].startswith(b"GET /start ")
        assert proxied[0].startswith(b"GET http://example.test/there ")
        assert proxied[0].count(b"Proxy-Authorization: ") == 1


def test_a_redirect_from_http_to_https_with_a_proxy_for_each(proxy, tunnel, ca_file):
    proxy.answers = {"http://example.test/": redirect("https://example.test/safe")}
    kwargs = {
        "proxies": {
            "http": f"http://u:p@127.0.0.1:{proxy.port}",
            "https": f"http://v:q@127.0.0.1:{tunnel.port}",
        },
        "verify": ca_file,
    }
    [_, tunnelled] = same_pair(proxy, tunnel, lambda: (None, "GET", "http://example.test/", kwargs))
    assert tunnelled[0].startswith(b"CONNECT example.test:443 ")
    assert b"Proxy-Authorization" not in tunnelled[1]


def test_many_requests_share_the_connections_to_a_proxy(proxy):
    proxies = {"http": f"http://127.0.0.1:{proxy.port}"}
    urls = [f"http://example.test/{number}" for number in range(20)]
    responses = grequests.map([grequests.get(url, proxies=proxies) for url in urls], size=2)
    assert all(type(each) is grequests.Response for each in responses)
    assert proxy.connections <= 2
    assert sorted(each.split(b" ")[1].decode() for each in proxy.taken()) == sorted(urls)


def test_credentials_keep_connections_apart(tunnel, ca_file):
    """Nobody rides in a tunnel that another one's credentials opened."""
    names = itertools.cycle(["a:a", "b:b"])
    requests_ = [
        grequests.get(
            "https://example.test/",
            proxies={"https": f"http://{next(names)}@127.0.0.1:{tunnel.port}"},
            verify=ca_file,
        )
        for _ in range(6)
    ]
    assert all(grequests.map(requests_, size=1))
    connects = [each for each in tunnel.taken() if each.startswith(b"CONNECT")]
    assert len(set(connects)) == len(connects) == 2
