"""Ways around an `AddressPolicy` that were found: each test failed when it was written."""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
from http.client import HTTPConnection

import pytest
import requests
import urllib3
from requests.adapters import HTTPAdapter
from servers import Server, answer
from test_address_policy import POLICY, Odd, outcome
from urllib3.connection import HTTPConnection as PoolConnection

import grequests
from grequests import AddressDeniedError, AddressPolicy, AsyncRequest, _green_dial
from grequests._engine import _pool

pytestmark = pytest.mark.usefixtures("no_leaks")


@pytest.fixture
def forbidden():
    """A server that is not to be asked; connected to, where only then somebody may look."""
    with Server(hosts=["127.0.0.2"]) as one:
        yield one
        assert one.count == 0


def assert_denied(url, session):
    assert type(outcome(url, session).error) is AddressDeniedError
    grequests.close()


def connect_by_helper(self):
    self.sock = connected((self.host, self.port))


def connected(address):
    return socket.create_connection(address)


class ByHelper(PoolConnection):
    connect = connect_by_helper


class ByHelperPool(urllib3.HTTPConnectionPool):
    ConnectionCls = ByHelper


class OnTheObject(urllib3.HTTPConnectionPool):
    def _new_conn(self):
        conn = super()._new_conn()
        conn._new_conn = lambda: connected((conn.host, conn.port))
        return conn


@pytest.mark.parametrize("pool", [ByHelperPool, OnTheObject])
def test_connections_that_are_made_in_a_way_of_their_own(forbidden, pool):
    with Odd() as session:
        manager = session.adapters["http://"].poolmanager
        manager.pool_classes_by_scheme = {**manager.pool_classes_by_scheme, "http": pool}
        assert_denied(forbidden.url("/a"), session)


class OwnPools(urllib3.PoolManager):
    def _new_pool(self, scheme, host, port, request_context=None):
        return urllib3.HTTPConnectionPool(host, port)


class OwnSending(HTTPAdapter):
    def send(self, request, **kwargs):
        conn = HTTPConnection("127.0.0.2")
        conn.request("GET", "/")
        raise AssertionError


class Passing(HTTPAdapter):
    def send(self, request, *args, **kwargs):
        return super().send(request, *args, **kwargs)


def test_adapters_whose_connections_nobody_could_ask_about(forbidden, server):
    with Odd() as session:
        session.adapters["http://"].poolmanager = OwnPools()
        assert_denied(forbidden.url("/a"), session)
    with Odd() as session:
        session.mount("http://", OwnSending())
        assert_denied(forbidden.url("/a"), session)
    with Odd() as session:
        session.mount("http://", Passing())
        assert outcome(server.url("/a"), session).response.text == "/a"
        assert_denied(forbidden.url("/a"), session)


class Files(requests.adapters.BaseAdapter):
    def send(self, request, **kwargs):
        raise AssertionError(request.url)

    def close(self):
        pass


def test_a_redirect_to_another_adapter_of_the_session(server):
    with Odd() as session:
        session.mount("file://", Files())
        assert_denied(server.url("/a"), session)
        assert server.count == 0


class Own(AsyncRequest):
    def send(self, **kwargs):
        return super().send(**kwargs)


def test_a_class_of_requests_that_sends_by_itself(session, forbidden, server):
    for url in (forbidden.url("/a"), server.url("/a")):
        request = Own("GET", url, session=session)
        [result] = grequests.run([request], address_policy=POLICY, retry=None)
        assert (type(result.error) is AddressDeniedError) is (url == forbidden.url("/a"))


@pytest.fixture(params=["fast", "general"])
def session(request):
    if request.param == "fast":
        yield None
        return
    with Odd() as one:
        yield one


def test_a_hook_that_sends_by_another_adapter(server, forbidden):
    session = requests.Session()
    session.mount("http://127.0.0.2", HTTPAdapter())
    errors = []

    def lead_on(response, **_kwargs):
        with pytest.raises(AddressDeniedError) as caught:
            session.get(forbidden.url("/a"))
        errors.append(caught.value)

    result = outcome(server.url("/a"), session, hooks={"response": lead_on})
    assert result.response.text == "/a"
    assert len(errors) == 1
    session.close()


def test_a_socks_connection_that_was_made_without_the_policy(server):
    """SOCKS 5, to a server that is the target as well."""

    def serve(sock):
        with sock, sock.makefile("rwb", buffering=0) as stream:
            stream.read(3)
            stream.write(b"\5\0")
            stream.read(4 + 4 + 2)
            stream.write(b"\5\0\0\1\0\0\0\0\0\0")
            while b"GET /" in (data := sock.recv(65536)):
                path = data.split(b" ")[1]
                stream.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(path) + path)

    with socket.create_server(("127.0.0.1", 0)) as listener, Odd() as session:
        thread = threading.Thread(target=lambda: serve(listener.accept()[0]), daemon=True)
        thread.start()
        proxies = {"http": f"socks5://127.0.0.1:{listener.getsockname()[1]}"}
        request = grequests.get("http://127.0.0.2:9/a", session=session, proxies=proxies)
        [response] = grequests.map([request])
        assert response.text == "/a"
        result = outcome("http://127.0.0.2:9/b", session, proxies=proxies)
        assert type(result.error) is AddressDeniedError
    thread.join(10)


def test_networks_of_ipv4_that_are_written_as_ipv6():
    assert not AddressPolicy(deny=["::ffff:8.8.8.8"]).permits("8.8.8.8")
    assert AddressPolicy(allow=["::ffff:10.0.0.0/104"]).permits("10.1.2.3")
    assert not AddressPolicy(allow=["::ffff:10.0.0.0/112"]).permits("10.1.2.3")


def test_an_address_without_a_way_is_no_lack_of_ports():
    assert _pool._has_source("127.0.0.1", 80)
    assert not _pool._has_source("2001:db8::1", 80) or _has_ipv6()


def _has_ipv6():
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
        sock.connect(("2001:db8::1", 80))
        return True
    return False


# Sessions and adapters that come by a pool, or another adapter, only while they send.


class Anew(HTTPAdapter):
    def send(self, request, **kwargs):
        self.init_poolmanager(10, 10)
        return super().send(request, **kwargs)


class Another(HTTPAdapter):
    def send(self, request, **kwargs):
        return HTTPAdapter().send(request, **kwargs)


class MountsLate(requests.Session):
    def request(self, method, url, **kwargs):
        self.mount("http://", HTTPAdapter())
        return super().request(method, url, **kwargs)


class ByUrl(requests.Session):
    def get_adapter(self, url):
        return self.adapters.setdefault(url, HTTPAdapter())


class Around(requests.Session):
    def request(self, method, url, **kwargs):
        with requests.Session() as inner:
            return inner.request(method, url, **kwargs)


def mounted(adapter):
    session = requests.Session()
    session.mount("http://", adapter)
    return session


def mounting_hook():
    session = Odd()
    session.hooks["response"].append(
        lambda *_, **__: session.mount("http://127.0.0.2", HTTPAdapter())
    )
    return session


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # of adapters that nobody closes
@pytest.mark.parametrize("way", ["directly", "by a redirect"])
@pytest.mark.parametrize(
    "make",
    [lambda: mounted(Anew()), lambda: mounted(Another()), MountsLate, ByUrl, Around, mounting_hook],
    ids=["anew", "another", "late", "by URL", "around", "hook"],
)
def test_pools_that_come_while_it_is_sent(server, forbidden, make, way):
    server.on("/away", lambda _: answer(b"", "302 Found", f"Location: {forbidden.url('/a')}"))
    with make() as session:
        assert outcome(server.url("/a"), session).response.text == "/a"
        url = forbidden.url("/a") if way == "directly" else server.url("/away")
        assert_denied(url, session)


def test_who_sends_again_by_an_adapter_of_its_own(server, forbidden):
    def lead_on(response, **_kwargs):
        with requests.Session() as inner:
            return inner.get(forbidden.url("/a"))

    with Odd() as session:
        session.hooks["response"].append(lead_on)
        assert_denied(server.url("/a"), session)


def test_what_else_is_connected_to_meanwhile_is_nobodys_business(server, forbidden):
    """A hook that stores what came, a log that goes to a server."""
    seen = []

    class ToServer(logging.Handler):
        def emit(self, record):
            with contextlib.closing(HTTPConnection("127.0.0.2", port)) as log:
                log.connect()
                seen.append(record.msg)

    def store(response, **_kwargs):
        logger.warning("stored")
        with socket.create_connection(("127.0.0.2", port)):
            seen.append("socket")

    logger = logging.Logger("stores")
    logger.addHandler(ToServer())
    with socket.create_server(("127.0.0.2", 0)) as listener, Odd() as session:
        port = listener.getsockname()[1]
        session.hooks["response"].append(store)
        assert outcome(server.url("/a"), session).response.text == "/a"
    assert seen == ["stored", "socket"]


@pytest.mark.parametrize("scheme", ["socks4", "socks4a", "socks5", "socks5h"])
def test_pysocks_is_given_the_proxys_address_that_was_judged(monkeypatch, forbidden, scheme):
    """Its name means another one when it asks for itself."""
    pytest.importorskip("socks")
    names = {"proxy.test": "127.0.0.1", "target.test": "127.0.0.1"}
    resolve = _green_dial._resolve
    monkeypatch.setattr(_green_dial, "_resolve", lambda host: resolve(names.get(host, host)))
    changed = socket.getaddrinfo

    def later(host, *args, **kwargs):
        return changed("127.0.0.2" if host in names else host, *args, **kwargs)

    monkeypatch.setattr("socks.socket.getaddrinfo", later)
    heard = []

    def proxy(listener):
        sock, _ = listener.accept()
        with sock:
            heard.append(sock.recv(1000))
            if scheme.startswith("socks5"):
                sock.sendall(b"\5\0")
                heard.append(sock.recv(1000))

    with socket.create_server(("127.0.0.1", 0)) as listener, Odd() as session:
        thread = threading.Thread(target=proxy, args=(listener,))
        thread.start()
        proxies = {"http": f"{scheme}://proxy.test:{listener.getsockname()[1]}"}
        result = outcome("http://target.test:9/", session, proxies=proxies)
        thread.join()
    assert isinstance(result.error, requests.ConnectionError)
    if scheme in ("socks4a", "socks5h"):
        assert b"target.test" in heard[-1]
    else:
        assert socket.inet_aton("127.0.0.1") in heard[-1]
