"""Connections that the general lane keeps for requests without a session, and that servers close."""

from __future__ import annotations

import io
import ssl

import gevent
import pytest
import requests
from general_scenarios.servers import TunnelServer
from servers import Server, answer

from grequests import _general


@pytest.fixture(autouse=True)
def _nothing_is_kept():
    yield
    _general.close()


def perform(method, url, session=None, **kwargs):
    """One request in the general lane, in a greenlet."""

    def run():
        try:
            return _general.perform(session, method, url, kwargs)
        except requests.RequestException as error:
            return error

    return gevent.spawn(run).get(timeout=10)


class OncePerConnection:
    """Answers the first request of each connection, and closes at the second.

    So does a server whose patience with an idle connection ends as a request is on its way.
    """

    def __init__(self):
        self.seen = []

    def __call__(self, request):
        is_first = request.connection not in [number for number, _, _ in self.seen]
        self.seen.append((request.connection, request.method, request.body))
        return answer(b"answer %d" % request.connection) if is_first else None


@pytest.fixture
def once():
    return OncePerConnection()


@pytest.fixture
def server(once):
    with Server() as one:
        yield one.on("/", once)


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "OPTIONS"])
def test_a_kept_connection_that_is_closed_is_no_failure_of_a_request(server, once, method):
    assert perform(method, server.url(), data=b"body").text == "answer 1"
    assert perform(method, server.url(), data=b"body").text == "answer 2"
    assert once.seen == [(n, method, b"body") for n in (1, 1, 2)]


def test_what_may_not_be_sent_twice_is_not(server, once):
    assert perform("POST", server.url()).text == "answer 1"
    error = perform("POST", server.url())
    assert type(error) is requests.ConnectionError
    assert "Remote end closed connection without response" in str(error)
    assert len(once.seen) == 2


def test_what_can_be_read_only_once_is_not_sent_twice(server, once):
    assert perform("PUT", server.url(), data=io.BytesIO(b"body")).text == "answer 1"
    error = perform("PUT", server.url(), data=io.BytesIO(b"body"))
    assert type(error) is requests.ConnectionError
    assert len(once.seen) == 2


def test_a_new_connection_that_is_closed_is_a_failure(once):
    with Server() as server:
        server.on("/", lambda request: once.seen.append(request))
        assert type(perform("GET", server.url())) is requests.ConnectionError
        assert len(once.seen) == 1


def test_a_sessions_own_connections_are_as_in_requests(server, once):
    with requests.Session() as session, requests.Session() as plain:
        assert perform("GET", server.url(), session).text == "answer 1"
        ours = perform("GET", server.url(), session)
        assert plain.get(server.url()).text == "answer 2"
        with pytest.raises(requests.ConnectionError) as theirs:
            plain.get(server.url())
    assert str(ours) == str(theirs.value)


def test_the_second_connection_goes_through_the_proxy_as_well(authority, ca_file, once):
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(tls)
    with Server(tls) as server, TunnelServer() as proxy:
        server.on("/", once)
        arguments = {"proxies": {"https": proxy.url}, "verify": ca_file}
        assert perform("GET", server.url(), **arguments).text == "answer 1"
        assert perform("GET", server.url(), **arguments).text == "answer 2"
        assert proxy.requests == 2


def test_many_at_once(once):
    with Server() as server:
        server.on("/", once)
        for _ in range(3):
            jobs = [gevent.spawn(perform, "GET", server.url()) for _ in range(20)]
            assert all(job.get().status_code == 200 for job in jobs)
