"""Whether anything of a request may have reached a server, as its error tells."""

from __future__ import annotations

import contextlib
import logging
import pickle
import socket
import threading
import time
import traceback

import psutil
import pytest
import requests
from engine.raw import RawServer, answer
from requests.adapters import HTTPAdapter
from requests.auth import HTTPDigestAuth
from servers import Server, eventually, full_backlog, hang_up
from urllib3 import Retry
from urllib3.exceptions import MaxRetryError

import grequests
from grequests import Circuit, Client, Timeout, was_sent
from grequests._engine import current_engine
from grequests._kinds import READ_TIMEOUT, REFUSED, kind_of

from .harness import Case, FaultyServer, Odd, Reset, Trial, Way, end, wait_taken

pytestmark = pytest.mark.usefixtures("no_leaks")


@pytest.fixture
def nobody():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{sock.getsockname()[1]}"


def error_of(url, session, method="POST", **kwargs):
    timeout = Timeout(connect=0.5, read=0.3, total=5)
    request = grequests.request(method, url, session=session, **kwargs)
    (result,) = grequests.run([request], retry=None, timeout=timeout)
    assert result.error is not None
    return result.error


def test_not_to_who_refuses(session, nobody):
    assert not was_sent(error_of(f"http://{nobody}/", session))


def test_not_to_who_has_no_address(session):
    assert not was_sent(error_of("http://nobody.invalid/", session))


def test_not_to_whose_backlog_is_full(session):
    with full_backlog() as (host, port):
        error = error_of(f"http://{host}:{port}/", session)
    assert isinstance(error, requests.ConnectTimeout)
    assert not was_sent(error)


def test_not_through_a_handshake_that_fails(https_server):
    """Requests' errors do not tell; in doubt it was."""
    error = error_of(https_server.url(), None)
    assert isinstance(error, requests.exceptions.SSLError)
    assert not was_sent(error)
    with Odd() as session:
        assert was_sent(error_of(https_server.url(), session))


def test_not_to_who_speaks_first():
    case = Case("early", "", (answer(b"x"),), None, before=(answer(b"early"),))
    with FaultyServer(case, Way("fast"), None) as server:
        one = Trial(server, "")
        with one._late():
            error = one.ask("/fault").error
        assert "before it was asked" in str(error)
        assert not was_sent(error)
        one.close()


def test_not_to_who_is_left_alone(nobody):
    circuit = Circuit(failures=1, span=0)
    with Client(retry=None, circuit=circuit, concurrency=1) as client:
        *_, last = client.run([f"http://{nobody}/{n}" for n in range(3)], ordered=True)
    assert isinstance(last.error, grequests.CircuitOpenError)
    assert not was_sent(last.error)


def test_to_who_hangs_up(session):
    with Server().on("/a", hang_up) as server:
        assert was_sent(error_of(server.url("/a"), session))


def test_to_who_says_nothing(session):
    with Server() as server:
        server.hold("/a")
        assert was_sent(error_of(server.url("/a"), session))


def test_to_who_resets_in_the_body(session):
    def script(peer):
        peer.request()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello")
        wait_taken(peer)
        end(peer, Reset())

    with RawServer(script) as server:
        assert was_sent(error_of(server.url, session))


@pytest.mark.parametrize("status", ["302 Found", "307 Temporary Redirect"])
def test_to_who_redirects_to_who_refuses(session, nobody, status):
    with Server() as server:
        server.on("/a", lambda _: answer(b"", status, f"Location: http://{nobody}/"))
        assert was_sent(error_of(server.url("/a"), session))


@contextlib.contextmanager
def gone_after(data):
    """Where one request is read and answered with this, and nobody listens any more."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve():
            sock, _ = listener.accept()
            with sock:
                sock.recv(65536)
                listener.close()
                sock.sendall(data)

        port = listener.getsockname()[1]
        thread = threading.Thread(target=serve)
        thread.start()
        yield f"http://127.0.0.1:{port}/"
        thread.join(10)


def persistent(session, retries):
    """A session of the same lane whose adapter tries again."""
    session = requests.Session() if session is None else session
    session.mount("http://", HTTPAdapter(max_retries=Retry(retries, allowed_methods=None)))
    return session


def test_to_who_read_it_before_an_adapter_tried_again(session):
    with gone_after(b"") as url:
        error = error_of(url, persistent(session, 2))
    assert kind_of(error) == REFUSED
    assert was_sent(error)


def test_not_to_who_refuses_each_time_that_an_adapter_tries(session, nobody):
    assert not was_sent(error_of(f"http://{nobody}/", persistent(session, 2)))


def test_to_who_asked_for_digest_and_is_gone(session):
    """The second request goes nowhere; the first was answered."""
    challenge = 'WWW-Authenticate: Digest realm="r", nonce="n", qop="auth"'
    with gone_after(answer(b"", "401 Unauthorized", challenge, "Connection: close")) as url:
        error = error_of(url, session, auth=HTTPDigestAuth("me", "secret"))
    assert kind_of(error) == REFUSED
    assert was_sent(error)


@pytest.mark.parametrize("status", ["302 Found", "307 Temporary Redirect"])
def test_what_is_known_stays_known_without_a_traceback(session, nobody, status):
    """As when it is pickled, or taken from `assertRaises`."""
    with Server() as server:
        server.on("/a", lambda _: answer(b"", status, f"Location: http://{nobody}/"))
        error = error_of(server.url("/a"), session)
    assert was_sent(pickle.loads(pickle.dumps(error)))
    assert was_sent(error.with_traceback(None))
    with gone_after(b"") as url:
        error = error_of(url, persistent(session, 2))
    assert was_sent(pickle.loads(pickle.dumps(error)))
    error = error_of(f"http://{nobody}/", persistent(session, 2))
    assert not was_sent(pickle.loads(pickle.dumps(error)))


class OwnRetry(Retry):
    """Counts by itself."""

    def increment(self, *args, error=None, _pool=None, **kwargs):
        if self.total == 0:
            raise MaxRetryError(_pool, "/", error) from error
        return self.new(total=self.total - 1)


def test_in_doubt_it_was(nobody):
    """Of tries that somebody else has counted, and of frames that were cleared, nobody knows."""
    with Odd() as session, gone_after(b"") as url:
        session.mount("http://", HTTPAdapter(max_retries=OwnRetry(1, allowed_methods=None)))
        assert was_sent(error_of(url, session))
    with requests.Session() as plain, pytest.raises(requests.ConnectionError) as caught:
        persistent(plain, 2).get(f"http://{nobody}/")
    assert not was_sent(caught.value)
    traceback.clear_frames(caught.value.args[0].__traceback__)
    assert was_sent(caught.value)


def test_a_hook_that_sends_again_can_ask(session, caplog):
    """By the adapter that it is given: the first try of the second request was read."""
    caplog.set_level(logging.ERROR, "urllib3")  # pytest keeps records, and with them tracebacks
    told = []

    def again(response, **_):
        with gone_after(b"") as url:
            second = requests.Request("POST", url).prepare()
            with pytest.raises(requests.ConnectionError) as caught:
                response.connection.send(second, timeout=1)
        told.append(was_sent(caught.value))

    with Server() as server:
        asked = grequests.get(
            server.url(), session=persistent(session, 2), hooks={"response": again}
        )
        assert grequests.map([asked])[0].ok
    assert told == [True]


NO_URLS = ["http://", "ftp://127.0.0.1/", "nothing", "http://[::1/", "http://a\u2024..b/"]


@pytest.mark.parametrize("url", NO_URLS)
def test_not_to_what_is_no_url(session, url):
    assert not was_sent(error_of(url, session))


@pytest.mark.parametrize("location", ["ftp://127.0.0.1/", "http://[::1/", "http://", "http://:80/"])
def test_to_who_redirects_to_what_is_no_url(session, location):
    with Server() as server:
        server.on("/a", lambda _: answer(b"", "302 Found", f"Location: {location}"))
        assert was_sent(error_of(server.url("/a"), session, "GET"))


def sockets_to(port):
    """This process's own sockets that are, or were, connected to a port."""
    found = psutil.Process().net_connections("tcp")
    return [each for each in found if each.raddr and each.raddr.port == port]


@pytest.mark.parametrize("method", ["POST", "PUT"])
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_server_that_stops_reading(session, scheme, method, tls, ca_file):
    """An upload that nobody takes ends by the first of the two timeouts, and counts as sent."""
    stopped = threading.Event()

    def deaf(peer):
        if peer.number > 1:
            peer.serve()
            return
        peer.until(b"\r\n\r\n")
        stopped.wait(10)

    # (The kernel takes some now and then, up to 4 MB, and the fast lane counts anew each time.)
    connect, read = 0.5, 12
    timeout = Timeout(connect=connect, read=read, total=30)
    with (
        RawServer(deaf, tls=tls if scheme == "https" else None) as server,
        Client(retry=None, circuit=None, timeout=timeout, concurrency=1) as client,
    ):

        def ask(path, method, **kwargs):
            url = server.url + path
            request = grequests.request(method, url, session=session, verify=ca_file, **kwargs)
            [result] = client.run([request])
            return result

        began = time.monotonic()
        error = ask("/upload", method, data=bytes(30_000_000)).error
        took = time.monotonic() - began
        # (What was written lies in the kernel still: the server would not hear of the end.)
        eventually(lambda: not sockets_to(server.port), "its socket to be closed")
        following = ask("/next", "GET")
        counts = client.statistics()
        open_ones = current_engine().statistics().open
        stopped.set()
        assert server.opened == 2
    assert type(error) is requests.ConnectionError, repr(error)
    assert "timed out" in str(error)
    assert kind_of(error) == READ_TIMEOUT
    assert was_sent(error)
    assert connect <= took < read, took
    assert following.unwrap().text == "/next"
    assert (counts.in_flight, counts.queued) == (0, 0)
    # That of the next request is kept.
    assert open_ones == (1 if session is None else 0)
