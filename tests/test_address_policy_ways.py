"""Ways around an `AddressPolicy` that were found: each test failed when it was written."""

from __future__ import annotations

import contextlib
import socket
import threading
from http.client import HTTPConnection

import pytest
import requests
import urllib3
from requests.adapters import HTTPAdapter
from servers import Server
from test_address_policy import POLICY, Odd, outcome
from urllib3.connection import HTTPConnection as PoolConnection

import grequests
from grequests import AddressDeniedError, AddressPolicy, AsyncRequest
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
