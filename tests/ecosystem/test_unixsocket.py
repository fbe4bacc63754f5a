"""requests-unixsocket: an adapter with pools of its own, whose connections dial by themselves."""

from __future__ import annotations

import gc
import socket

from collections.abc import Iterator
from urllib.parse import quote_plus

import pytest
import requests
import requests_unixsocket

import grequests
from servers import Server

from .support import fetch, gets, in_process, lanes, reraise


class UnixServer(Server):
    """A server on a unix socket, by the side of its port."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self._listeners[0].close()
        unix = socket.socket(socket.AF_UNIX)
        unix.bind(path)
        unix.listen(1024)
        self._listeners[0] = _Quiet(unix)
        self.root = f"http+unix://{quote_plus(path)}"


class _Quiet(socket.socket):
    """A listener whose connections take TCP's options and ignore them."""

    def __init__(self, unix: socket.socket) -> None:
        super().__init__(fileno=unix.detach())

    def accept(self):
        descriptor, address = self._accept()
        return _Deaf(fileno=descriptor), address


class _Deaf(socket.socket):
    def setsockopt(self, level, *rest):
        if level != socket.IPPROTO_TCP:
            super().setsockopt(level, *rest)


@pytest.fixture
def unix(tmp_path) -> Iterator[UnixServer]:
    with UnixServer(str(tmp_path / "s")) as one:
        yield one


def unix_and_tcp_in_one_process() -> None:
    import tempfile
    from pathlib import Path

    with tempfile.TemporaryDirectory() as folder, Server() as server:
        with UnixServer(str(Path(folder, "s"))) as unix:
            with requests_unixsocket.Session() as session:
                found = fetch([f"{unix.root}/{n}" for n in range(5)], session=session)
                assert [each.text for each in found] == [f"/{n}" for n in range(5)]
                assert lanes(found) == {"general"}
                found = fetch([server.url("/tcp")] * 5, session=session)
                assert [each.text for each in found] == ["/tcp"] * 5
            with requests_unixsocket.monkeypatch():
                assert requests.get(f"{unix.root}/patched").text == "/patched"
            assert lanes(fetch([server.url("/")] * 3)) == {"fast"}
            assert unix.count == 6


def test_whichever_is_imported_first(order):
    in_process(
        order, "requests_unixsocket", unix_and_tcp_in_one_process, "-W", "ignore::ResourceWarning"
    )


def test_requests_are_at_once(unix):
    gate = unix.hold("/gate", count=20)
    with requests_unixsocket.Session() as session:
        sent = gets([f"{unix.root}/gate"] * 20, session=session)
        found = list(grequests.imap(sent, size=20))
        assert [each.text for each in found] == ["/gate"] * 20
    assert gate.arrived == unix.peak == 20


def test_posts_queries_and_cookies(unix):
    with requests_unixsocket.Session() as session:
        session.cookies["who"] = "me"
        sent = [
            grequests.post(f"{unix.root}/echo", params={"q": n}, json={"n": n}, session=session)
            for n in range(3)
        ]
        found = [each.json() for each in grequests.map(sent, exception_handler=reraise)]
    assert [each["target"] for each in found] == ["/echo?q=0", "/echo?q=1", "/echo?q=2"]
    assert [each["body"] for each in found] == ['{"n": 0}', '{"n": 1}', '{"n": 2}']


@pytest.mark.filterwarnings("ignore:Exception ignored in.*socket.socket")  # the package's own
def test_a_socket_that_is_not_there(tmp_path):
    url = f"http+unix://{quote_plus(str(tmp_path / 'none'))}/"
    failed = []
    with requests_unixsocket.Session() as session:
        keep = lambda request, error: failed.append(error)  # noqa: F821 - deleted at the end only
        grequests.map(gets([url] * 2, session=session), exception_handler=keep)
        with pytest.raises(requests.ConnectionError) as plain:
            session.get(url)
    assert [(type(e), str(e)) for e in failed] == [(requests.ConnectionError, str(plain.value))] * 2
    del plain, failed
    gc.collect()  # it leaves the sockets open that it could not connect
