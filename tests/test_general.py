"""The general lane: Requests' own code, cooperative, with nothing patched.

"At once" is asserted by the server: it answers nobody before it holds that many requests.
"""

from __future__ import annotations

import asyncio
import ssl
import threading

import gevent
import pytest
import requests
import trustme
from general_scenarios.flood import flood
from general_scenarios.servers import Server, SocksServer, TunnelServer, answer

from grequests import _general


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch):
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"):
        monkeypatch.delenv(name, raising=False)
    yield
    _general.close()


@pytest.fixture(scope="session")
def ca(tmp_path_factory):
    return trustme.CA()


@pytest.fixture(scope="session")
def ca_file(ca, tmp_path_factory):
    path = tmp_path_factory.mktemp("ca") / "ca.pem"
    ca.cert_pem.write_to_path(str(path))
    return str(path)


@pytest.fixture(scope="session")
def tls(ca):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("127.0.0.1", "localhost").configure_cert(context)
    return context


# --- a hundred at once ---------------------------------------------------------------------------


def test_a_hundred_requests_of_a_second_each_take_a_second():
    with Server(delay=1.0) as server:
        assert flood(100, server.url) == ["ok"] * 100
        assert server.peak == 100


def test_http():
    with Server(expect=100) as server:
        assert flood(100, server.url) == ["ok"] * 100
        assert server.peak == 100


def test_https(tls, ca_file):
    with Server(expect=100, context=tls) as server:
        assert flood(100, server.url, verify=ca_file) == ["ok"] * 100
        assert server.peak == 100


def test_https_by_name_needs_the_resolver(tls, ca_file):
    with Server(expect=20, context=tls) as server:
        url = f"https://localhost:{server.port}/"
        assert flood(20, url, verify=ca_file) == ["ok"] * 20


def test_https_through_a_connect_proxy(tls, ca_file):
    with Server(expect=100, context=tls) as server, TunnelServer() as proxy:
        proxies = {"https": proxy.url}
        assert flood(100, server.url, verify=ca_file, proxies=proxies) == ["ok"] * 100
        assert server.peak == 100
        assert proxy.requests == 100


def test_https_through_an_https_proxy(tls, ca_file):
    with Server(expect=30, context=tls) as server, TunnelServer(context=tls) as proxy:
        proxies = {"https": proxy.url}
        assert flood(30, server.url, verify=ca_file, proxies=proxies) == ["ok"] * 30
        assert server.peak == 30
        assert proxy.requests == 30


def test_http_through_an_http_proxy():
    with Server(lambda r: answer(r.target.encode()), expect=100) as proxy:
        found = flood(100, "http://nowhere.invalid/x", proxies={"http": proxy.url})
        assert found == ["http://nowhere.invalid/x"] * 100


@pytest.mark.parametrize("scheme", ["socks5", "socks5h"])
def test_socks5(scheme):
    with Server(expect=100) as server, SocksServer() as proxy:
        proxies = {"http": f"{scheme}://127.0.0.1:{proxy.port}"}
        assert flood(100, server.url, proxies=proxies) == ["ok"] * 100
        assert server.peak == 100
        assert proxy.requests == 100


def test_https_through_socks5(tls, ca_file):
    with Server(expect=20, context=tls) as server, SocksServer() as proxy:
        proxies = {"https": f"socks5h://127.0.0.1:{proxy.port}"}
        assert flood(20, server.url, proxies=proxies, verify=ca_file) == ["ok"] * 20
        assert server.peak == 20


def test_stream():
    with Server(lambda _: answer(b"x" * 100_000), expect=100) as server:
        responses = [None] * 100

        def one(number):
            responses[number] = _general.perform(None, "GET", server.url, {"stream": True})

        gevent.joinall([gevent.spawn(one, n) for n in range(100)], raise_error=True)
        assert server.peak == 100
        for response in responses:  # read where the caller is, which is no greenlet of ours
            assert b"".join(response.iter_content(4096)) == b"x" * 100_000


def test_a_streamed_response_can_be_read_in_another_thread():
    with Server(lambda _: answer(b"x" * 1_000_000)) as server:
        response = gevent.spawn(_general.perform, None, "GET", server.url, {"stream": True}).get()
        read = []
        thread = threading.Thread(target=lambda: read.append(len(response.content)))
        thread.start()
        thread.join()
        assert read == [1_000_000]


def test_a_session_with_cookies_and_redirects():
    def handler(request):
        if request.target == "/":
            return answer(b"", "302 Found", "Location: /next", "Set-Cookie: seen=yes; Path=/")
        return answer(request.headers.get("cookie", "none").encode())

    with Server(handler, expect=100) as server, requests.Session() as session:
        session.cookies["mine"] = "1"
        assert set(flood(100, server.url, session)) == {"mine=1; seen=yes"}
        assert server.peak == 100
        assert session.cookies["seen"] == "yes"


def test_in_a_second_thread():
    with Server(expect=100) as server:
        found = []
        thread = threading.Thread(target=lambda: found.append(flood(100, server.url)))
        thread.start()
        thread.join()
        assert found == [["ok"] * 100]


def test_in_two_threads_that_share_a_session():
    with Server(expect=40) as server, requests.Session() as session:
        found = []
        threads = [
            threading.Thread(target=lambda: found.extend(flood(20, server.url, session)))
            for _ in range(2)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        # Idle connections made in those threads are used in this one.
        found += flood(20, server.url, session)
        assert found == ["ok"] * 60


def test_inside_a_running_asyncio_loop():
    async def main(url):
        return flood(100, url)

    with Server(expect=100) as server:
        assert asyncio.run(main(server.url)) == ["ok"] * 100


# --- the shared adapter --------------------------------------------------------------------------


def test_requests_without_a_session_share_connections():
    with Server() as server:
        for _ in range(5):
            assert flood(10, server.url) == ["ok"] * 10
        assert server.connections <= 10


def test_requests_without_a_session_share_nothing_else():
    def handler(request):
        return answer(request.headers.get("cookie", "none").encode(), "200 OK", "Set-Cookie: a=b")

    with Server(handler) as server:
        assert flood(10, server.url) == ["none"] * 10
        assert flood(10, server.url) == ["none"] * 10


def test_close_releases_idle_connections_and_may_be_called_again():
    with Server() as server:
        flood(5, server.url)
        _general.close()
        _general.close()
        before = server.connections
        flood(1, server.url)
        assert server.connections == before + 1


def test_the_shared_adapter_is_what_a_response_names():
    with Server() as server:
        response = gevent.spawn(_general.perform, None, "GET", server.url, {}).get()
        assert response.connection is _general.shared_adapter()
        assert type(response.connection) is requests.adapters.HTTPAdapter
