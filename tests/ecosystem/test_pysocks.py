"""PySocks: `socks5://` proxies by urllib3, and sockets replaced for the whole process."""

from __future__ import annotations

import socket

import pytest
import requests
import socks

import grequests
from servers import Server

from .socks_server import SocksServer
from .support import fetch, gets, in_process, lanes, reraise


@pytest.fixture
def proxy(no_leaks):
    with SocksServer() as one:
        yield one


@pytest.mark.parametrize("scheme", ["socks5", "socks5h"])
@pytest.mark.parametrize("call", [grequests.map, grequests.imap])
def test_a_proxy_of_the_request(proxy, server, scheme, call):
    host = server.url("/").split("/")[2]
    proxies = {"http": f"{scheme}://127.0.0.1:{proxy.port}"}
    sent = gets([server.url(f"/{n}") for n in range(6)], proxies=proxies)
    found = list(call(sent, size=3, exception_handler=reraise))
    assert sorted(each.text for each in found) == [f"/{n}" for n in range(6)]
    assert lanes(found) == {"general"}
    assert {*proxy.asked} == {host}


def test_a_proxy_of_the_session_with_a_name_and_a_password(no_leaks, server):
    with SocksServer(("me", "secret")) as proxy, requests.Session() as session:
        session.proxies = {"http": f"socks5://me:secret@127.0.0.1:{proxy.port}"}
        found = fetch([server.url(f"/{n}") for n in range(4)], session=session)
        assert [each.text for each in found] == ["/0", "/1", "/2", "/3"]
        session.proxies = {"http": f"socks5://me:wrong@127.0.0.1:{proxy.port}"}
        failures = []
        grequests.map(
            gets([server.url("/a")], session=session),
            exception_handler=lambda _, error: failures.append(error),
        )
        with pytest.raises(requests.ConnectionError) as plain:
            session.get(server.url("/a"))
        assert type(failures[0]) is plain.type
        assert "SOCKS5 authentication failed" in str(failures[0])


def replaced_sockets() -> None:
    """The famous two lines, and back, twice."""
    original = socket.socket
    with SocksServer() as proxy, Server() as server:
        urls = [server.url(f"/{n}") for n in range(4)]
        assert lanes(fetch(urls)) == {"fast"}
        for _ in range(2):
            proxy.asked.clear()
            socks.set_default_proxy(socks.SOCKS5, "127.0.0.1", proxy.port)
            socket.socket = socks.socksocket
            try:
                found = fetch(urls)
                with requests.Session() as session:
                    found += grequests.imap(gets(urls, session=session))
            finally:
                socket.socket = original
                socks.set_default_proxy()
            assert sorted(each.text for each in found) == sorted(["/0", "/1", "/2", "/3"] * 2)
            assert lanes(found) == {"general"}
            assert {*proxy.asked} == {urls[0].split("/")[2]}
            count = len(proxy.asked)
            assert lanes(fetch(urls)) == {"fast"}
            assert len(proxy.asked) == count


def test_sockets_replaced_for_all(no_leaks):
    replaced_sockets()


def test_whichever_is_imported_first(order):
    in_process(order, "socks", replaced_sockets)


def test_wrap_module(proxy, server):
    """`socks.wrapmodule` gives one module other sockets: urllib3's, here."""
    import urllib3.util.connection

    original = urllib3.util.connection.socket
    socks.set_default_proxy(socks.SOCKS5, "127.0.0.1", proxy.port)

    class Wrapped:
        def __getattr__(self, name):
            return socks.socksocket if name == "socket" else getattr(original, name)

    urllib3.util.connection.socket = Wrapped()
    try:
        found = fetch([server.url("/a")] * 2)
    finally:
        urllib3.util.connection.socket = original
        socks.set_default_proxy()
    assert lanes(found) == {"general"}
    assert proxy.asked
