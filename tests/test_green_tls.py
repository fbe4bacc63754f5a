"""TLS in the general lane, beside what a stock connection does: shown by urllib3's own tests."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import warnings

import pytest
import requests
import urllib3
from general_scenarios.servers import Server, answer
from requests.adapters import HTTPAdapter
from servers import PATIENCE
from urllib3.exceptions import InsecureRequestWarning

import grequests
from grequests import _general


@pytest.fixture
def tls(authority):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1", "localhost").configure_cert(context)
    return context


@pytest.fixture
def session():
    with requests.Session() as one:
        yield one


class PoolArguments(HTTPAdapter):
    """Gives its pools arguments; not the stock class, so that the general lane takes it."""

    def __init__(self, **arguments):
        self.arguments = arguments
        super().__init__()

    def init_poolmanager(self, *args, **kwargs):
        super().init_poolmanager(*args, **kwargs, **self.arguments)

    def proxy_manager_for(self, proxy, **kwargs):
        return super().proxy_manager_for(proxy, **kwargs, **self.arguments)


def outcome(session, url, **kwargs):
    """The response of the general lane."""
    request = grequests.get(url, session=session, **kwargs).send()
    if request.response is None:
        raise request.exception
    assert type(request.response) is requests.Response, "not the fast lane's"
    return request.response


def test_a_server_that_is_not_trusted_is_told_so(tls, session):
    session.mount("https://", PoolArguments())
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as listener:
        told = []

        def serve():
            with contextlib.closing(listener.accept()[0]) as sock:
                sock.settimeout(PATIENCE)
                with contextlib.closing(sock.dup()) as copy, pytest.raises(ssl.SSLError) as caught:
                    tls.wrap_socket(copy, server_side=True).read()
                told.append(caught.value.reason)

        thread = threading.Thread(target=serve)
        thread.start()
        url = f"https://127.0.0.1:{listener.getsockname()[1]}/"
        with pytest.raises(requests.exceptions.SSLError, match="CERTIFICATE_VERIFY_FAILED"):
            outcome(session, url)
        thread.join(PATIENCE)
    assert told == ["TLSV1_ALERT_UNKNOWN_CA"]


def test_its_socket_answers_what_an_ssl_socket_is_asked(tls, authority, session):
    context = ssl.create_default_context()
    authority.configure_trust(context)
    session.mount("https://", PoolArguments(ssl_context=context))
    with Server(context=tls) as server:
        url = f"https://localhost:{server.port}/"
        with outcome(session, url, stream=True) as response:
            sock = response.raw._connection.sock
            assert isinstance(sock, ssl.SSLSocket)
            assert sock.context is context
            assert sock.server_hostname == "localhost"
            assert sock.server_side is False
            assert sock.session is not None
            assert sock.session_reused is False
            assert len(sock.get_channel_binding("tls-unique")) in (12, 32, 48)
            assert sock.getpeername() == ("127.0.0.1", server.port)
            assert "subjectAltName" in sock.getpeercert()


def test_plain_http_through_an_https_proxy_is_as_unverified_as_in_requests(tls, session):
    session.mount("http://", PoolArguments())
    url = "http://nowhere.invalid/x"
    with Server(lambda r: answer(r.target.encode()), context=tls) as proxy:
        for send in (session.get, lambda *a, **k: outcome(session, *a, **k)):
            with pytest.warns(InsecureRequestWarning) as warned:
                assert send(url, proxies={"http": proxy.url}).text == url
            assert len(warned) == 1


def test_a_proxy_that_forwards_gets_the_context_that_urllib3_falls_back_to(tls, authority):
    """urllib3's `use_forwarding_for_https`, where no context is given for the proxy itself."""
    context = ssl.create_default_context()
    authority.configure_trust(context)
    with (
        Server(lambda r: answer(r.target.encode()), context=tls) as proxy,
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore", FutureWarning)  # of urllib3 2.8 about this very fallback
        manager = urllib3.ProxyManager(
            proxy.url, ssl_context=context, use_forwarding_for_https=True
        )
        _general.green_manager(manager)
        token = _general.enter()
        try:
            url = "https://nowhere.invalid/x"
            assert manager.request("GET", url).data == url.encode()
        finally:
            _general.leave(token)
            manager.clear()


def test_a_deprecated_argument_is_warned_of_for_each_connection(tls, ca_file, session):
    session.mount("https://", PoolArguments(ssl_version=ssl.PROTOCOL_TLSv1_2))
    with Server(context=tls) as server:
        for _ in range(2):
            with pytest.warns(FutureWarning, match="'ssl_version' option is deprecated"):
                outcome(session, server.url, verify=ca_file)
            session.close()


def test_names_are_checked_for_a_target_whatever_is_not_checked_for_a_proxy(
    tls, ca_file, authority
):
    """Contexts are shared by connections that ask for the same, and urllib3 changes them."""
    other = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("elsewhere.invalid").configure_cert(other)
    with Server(lambda _: answer(), context=other) as proxy, Server(context=tls) as target:
        manager = urllib3.ProxyManager(
            proxy.url, ca_certs=ca_file, proxy_assert_hostname=False, retries=False
        )
        plain = urllib3.PoolManager(ca_certs=ca_file, retries=False)
        _general.green_manager(manager)
        _general.green_manager(plain)
        token = _general.enter()
        try:
            assert manager.request("GET", "http://nowhere.invalid/").data == b"ok"
            assert plain.request("GET", target.url).data == b"ok"
            with pytest.raises(urllib3.exceptions.SSLError, match="doesn't match|not valid for"):
                plain.request("GET", proxy.url)
        finally:
            _general.leave(token)
            manager.clear()
            plain.clear()
