"""Mocks that are switched on while a map is under way, by whoever has the word."""

from __future__ import annotations

import contextvars
import logging

import pytest
import requests
import responses
import urllib3.util.connection
from servers import Server, answer

import grequests


@pytest.fixture
def server(no_leaks):
    with Server() as one:
        yield one


def by_class(patch, seen):
    original = requests.adapters.HTTPAdapter.send

    def send(self, request, **kwargs):
        seen.append(request.url)
        return original(self, request, **kwargs)

    patch.setattr(requests.adapters.HTTPAdapter, "send", send)


def by_module(patch, seen):
    original = urllib3.util.connection.create_connection

    def create_connection(address, *args, **kwargs):
        seen.append(address)
        return original(address, *args, **kwargs)

    patch.setattr(urllib3.util.connection, "create_connection", create_connection)


@pytest.mark.parametrize("switch", [by_class, by_module])
@pytest.mark.parametrize("size", [1, 20])
def test_by_the_iterator_between_two_items(server, monkeypatch, switch, size):
    """It does not wait, so the event loop does not turn in between."""
    seen = []

    def requests_():
        for n in range(10):
            if n == 3:
                switch(monkeypatch, seen)
            if n == 7:
                monkeypatch.undo()
            yield grequests.get(server.url(f"/{n}"))

    found = list(grequests.imap(requests_(), size=size))
    assert sorted(each.text for each in found) == [f"/{n}" for n in range(10)]
    assert {type(each).__module__.partition(".")[0] for each in found} == {"requests", "grequests"}
    if switch is by_class and size == 1:
        assert [url[-2:] for url in seen] == ["/3", "/4", "/5", "/6"]
    else:
        assert seen or size == 20  # greenlets begin when it is off again


def test_by_the_reader(server, monkeypatch):
    """The feeder goes on because the reader has taken one, and nothing has arrived meanwhile."""
    seen = []
    sent = (grequests.get(server.url(f"/{n}")) for n in range(6))
    results = grequests.imap(sent, size=1)
    next(results)
    by_class(monkeypatch, seen)
    assert len(list(results)) == 5
    assert {url[-2:] for url in seen} >= {"/2", "/3", "/4", "/5"}


def test_between_two_hops(server, monkeypatch):
    """In the caller's context, though it is the event loop that goes on."""
    variable = contextvars.ContextVar("variable")
    variable.set("the caller's")
    seen = []
    original = requests.adapters.HTTPAdapter.send

    def send(self, request, **kwargs):
        seen.append((request.url, variable.get(None)))
        return original(self, request, **kwargs)

    def hop(_):
        monkeypatch.setattr(requests.adapters.HTTPAdapter, "send", send)
        return answer(b"", "302 Found", "Location: /end")

    server.on("/hop", hop)
    found = grequests.map([grequests.get(server.url("/hop")), grequests.get(server.url("/hop"))])
    assert [each.text for each in found] == ["/end"] * 2
    assert [[hop.status_code for hop in each.history] for each in found] == [[302]] * 2
    assert seen == [(server.url("/end"), "the caller's")] * 2


def test_a_mock_is_not_called_for_anything_but_the_request(server):
    """Nothing of ours is prepared or sent under somebody's eyes."""
    with responses.RequestsMock() as mock:
        prepared = []
        original = requests.PreparedRequest.prepare_url
        mock.get(server.url("/a"), body="mocked")

        def prepare_url(self, url, params):
            prepared.append(url)
            return original(self, url, params)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(requests.PreparedRequest, "prepare_url", prepare_url)
            (found,) = grequests.map([grequests.get(server.url("/a"))])
        assert found.text == "mocked"
    assert prepared == [server.url("/a")]


# --- what urllib3 logs ---------------------------------------------------------------------------


def said(caplog):
    return [(each.name, each.levelname, each.getMessage()) for each in caplog.records]


@pytest.mark.parametrize("send", [requests.get, None], ids=["requests", "grequests"])
def test_urllib3s_log_is_written_for_who_reads_it(server, caplog, send):
    def get(url):
        if send is None:
            grequests.map([grequests.get(url)])
        else:
            send(url)

    get(server.url("/before"))
    with caplog.at_level(logging.DEBUG, logger="urllib3"):
        get(server.url("/a"))
    get(server.url("/after"))
    name = "urllib3.connectionpool"
    port = server.ports[0]
    assert said(caplog) == [
        (name, "DEBUG", f"Starting new HTTP connection (1): 127.0.0.1:{port}"),
        (name, "DEBUG", f'http://127.0.0.1:{port} "GET /a HTTP/1.1" 200 2'),
    ]


@pytest.mark.parametrize("send", ["requests", "grequests"])
def test_a_retry_after_a_broken_connection_is_warned_of(server, caplog, send):
    attempts = []

    def flaky(_):
        attempts.append(1)
        return None if len(attempts) == 1 else answer(b"ok")

    server.on("/flaky", flaky)
    with requests.Session() as session:
        session.mount("http://", requests.adapters.HTTPAdapter(max_retries=1))
        if send == "requests":
            found = session.get(server.url("/flaky"))
        else:
            (found,) = grequests.map([grequests.get(server.url("/flaky"), session=session)])
            assert type(found).__module__.startswith("grequests")
    assert found.text == "ok"
    written = said(caplog)
    caplog.clear()  # the records hold the error, which holds a socket
    assert written == [
        (
            "urllib3.connectionpool",
            "WARNING",
            "Retrying (Retry(total=0, connect=None, read=None, redirect=None, status=None)) after "
            "connection broken by 'RemoteDisconnected('Remote end closed connection without "
            "response')': /flaky",
        )
    ]


@pytest.mark.parametrize("send", ["requests", "grequests"])
def test_http_clients_debug_level_prints(server, capsys, monkeypatch, send):
    monkeypatch.setattr("http.client.HTTPConnection.debuglevel", 1)
    if send == "requests":
        requests.get(server.url("/a"))
    else:
        grequests.map([grequests.get(server.url("/a"))])
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].startswith("send: b'GET /a HTTP/1.1\\r\\n")
    assert printed[1:] == ["reply: 'HTTP/1.1 200 OK\\r\\n'", "header: Content-Length: 2"]
