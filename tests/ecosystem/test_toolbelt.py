"""requests-toolbelt: bodies, adapters, sessions, auth and cookies of other classes."""

from __future__ import annotations

import hashlib
import io
import re
import socket
import ssl

import pytest
import requests

from requests_toolbelt import (
    GuessAuth,
    MultipartDecoder,
    MultipartEncoder,
    MultipartEncoderMonitor,
    SourceAddressAdapter,
    SSLAdapter,
    StreamingIterator,
    threaded,
)
from requests_toolbelt.adapters.fingerprint import FingerprintAdapter
from requests_toolbelt.adapters.host_header_ssl import HostHeaderSSLAdapter
from requests_toolbelt.adapters.socket_options import SocketOptionsAdapter, TCPKeepAliveAdapter
from requests_toolbelt.auth.handler import AuthHandler
from requests_toolbelt.cookies.forgetful import ForgetfulCookieJar
from requests_toolbelt.downloadutils import stream, tee
from requests_toolbelt.sessions import BaseUrlSession
from requests_toolbelt.utils import dump
from requests_toolbelt.utils.user_agent import user_agent

import grequests
from servers import Server, answer

from .support import fetch, gets, in_process, lanes, reraise


def sent_and_answered(requests_: list) -> list:
    return grequests.map(requests_, exception_handler=reraise)


# --- bodies --------------------------------------------------------------------------------------


def parts(request) -> dict[str, str]:
    """The fields of a multipart request."""
    decoder = MultipartDecoder(request.body, request.headers["content-type"])
    return {
        re.search(rb'name="(\w+)"', each.headers[b"Content-Disposition"])[1].decode(): each.text
        for each in decoder.parts
    }


def encoders_and_plain_requests() -> None:
    with Server() as server:
        encoders = [
            MultipartEncoder(
                fields={"n": str(n), "file": (f"{n}.txt", io.BytesIO(b"x" * 100), "text/plain")}
            )
            for n in range(5)
        ]
        found = sent_and_answered(
            [
                grequests.post(server.url("/up"), data=e, headers={"Content-Type": e.content_type})
                for e in encoders
            ]
        )
        assert [each.text for each in found] == ["/up"] * 5
        seen = sorted((parts(each) for each in server.requests), key=lambda each: each["n"])
        assert seen == [{"n": str(n), "file": "x" * 100} for n in range(5)]
        assert lanes(fetch([server.url("/")] * 3)) == {"fast"}


def test_encoders_and_plain_requests(no_leaks):
    encoders_and_plain_requests()


def test_whichever_is_imported_first(order):
    in_process(order, "requests_toolbelt", encoders_and_plain_requests)


def test_an_encoder_of_a_large_file_and_a_monitor_that_is_called_back(no_leaks, server, tmp_path):
    content = b"0123456789" * 100_000
    (tmp_path / "large").write_bytes(content)
    calls = {n: [] for n in range(3)}
    sent, files = [], []
    for n in range(3):
        files.append((tmp_path / "large").open("rb"))
        encoder = MultipartEncoder({"n": str(n), "file": ("large", files[n])})
        monitor = MultipartEncoderMonitor(encoder, lambda m, n=n: calls[n].append(m.bytes_read))
        headers = {"Content-Type": monitor.content_type}
        sent.append(grequests.post(server.url("/up"), data=monitor, headers=headers))
    found = list(grequests.imap(sent, size=3))
    for each in files:
        each.close()
    assert [each.status_code for each in found] == [200] * 3
    seen = sorted((parts(each) for each in server.requests), key=lambda each: each["n"])
    assert [each["n"] for each in seen] == ["0", "1", "2"]
    assert {hashlib.sha256(each["file"].encode()).digest() for each in seen} == {
        hashlib.sha256(content).digest()
    }
    sizes = {int(each.headers["content-length"]) for each in server.requests}
    assert {progress[-1] for progress in calls.values()} == sizes
    for progress in calls.values():  # step by step, not at once
        assert progress == sorted(progress)
        assert len(progress) > 50


def test_a_streaming_iterator_has_its_length(server):
    sent = [
        grequests.post(server.url("/echo"), data=StreamingIterator(6, iter([b"abc", b"def"])))
        for _ in range(3)
    ]
    for each in sent_and_answered(sent):
        seen = each.json()
        assert (seen["body"], seen["headers"]["content-length"]) == ("abcdef", "6")
        assert "transfer-encoding" not in seen["headers"]


# --- adapters ------------------------------------------------------------------------------------


def test_a_source_address(server):
    with requests.Session() as session:
        session.mount("http://", SourceAddressAdapter("127.0.0.2"))
        peers = set()

        def say_peer(request):
            peers.add(request.sock.getpeername()[0])
            return answer(b"seen")

        gate = server.hold("/gate", 10, say_peer)
        assert [e.text for e in fetch([server.url("/gate")] * 10, session=session)] == ["seen"] * 10
        assert gate.arrived == server.peak == 10
    assert peers == {"127.0.0.2"}


@pytest.mark.parametrize(
    ("adapter", "expected"),
    [
        (
            SocketOptionsAdapter(socket_options=[(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)]),
            (1, 0),
        ),
        (TCPKeepAliveAdapter(idle=77, interval=10), (1, 77)),
    ],
    ids=["options", "keepalive"],
)
def test_socket_options(server, adapter, expected):
    with requests.Session() as session:
        session.mount("http://", adapter)
        for response in fetch([server.url("/")] * 5, session=session, stream=True):
            sock = response.raw._connection.sock
            idle = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE)
            alive = sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
            assert (alive, idle if expected[1] else 0) == expected
            assert response.text == "/"


@pytest.mark.filterwarnings("ignore:'ssl_version' option is deprecated:FutureWarning")
def test_a_version_of_tls(https_server, ca_file):
    adapter = SSLAdapter(ssl.PROTOCOL_TLSv1_2)
    with requests.Session() as session:
        session.mount("https://", adapter)
        versions = set()

        def say_version(request):
            versions.add(request.sock.version())
            return answer(b"seen")

        gate = https_server.hold("/gate", 10, say_version)
        urls = [https_server.url("/gate")] * 10
        found = fetch(urls, session=session, verify=ca_file)
        assert [each.text for each in found] == ["seen"] * 10
        assert gate.arrived == https_server.peak == 10
    assert versions == {"TLSv1.2"}


@pytest.fixture
def fingerprint(https_server):
    """The server's certificate's."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with socket.create_connection(("127.0.0.1", https_server.ports[0])) as plain:
        with context.wrap_socket(plain) as sock:
            return hashlib.sha256(sock.getpeercert(binary_form=True)).hexdigest()


def test_a_fingerprint(https_server, fingerprint):
    url = https_server.url("/")
    with requests.Session() as session:
        session.mount("https://", FingerprintAdapter(fingerprint))
        found = fetch([url] * 5, session=session, verify=False)
        assert [each.text for each in found] == ["/"] * 5
        session.mount("https://", FingerprintAdapter("00" * 32))
        failed = []
        sent = gets([url] * 2, session=session, verify=False)
        grequests.map(sent, exception_handler=lambda request, error: failed.append(error))
        with pytest.raises(requests.exceptions.SSLError) as plain:
            session.get(url, verify=False)
    for error in failed:
        assert type(error) is requests.exceptions.SSLError
        assert str(error) == str(plain.value)
    assert len(failed) == 2
    assert https_server.count == 5


def test_the_name_of_the_host_header(authority, ca_file):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("named.test").configure_cert(context)
    with Server(context) as server, requests.Session() as session:
        session.mount("https://", HostHeaderSSLAdapter())
        sent = [
            grequests.get(server.url("/"), headers={"Host": name}, session=session, verify=ca_file)
            for name in ("named.test", "other.test", "named.test")
        ]
        failed = []
        found = grequests.map(sent, exception_handler=lambda r, e: failed.append((r, e)))
        assert [each and each.text for each in found] == ["/", None, "/"]
        [(request, error)] = failed
        assert request is sent[1]
        assert type(error) is requests.exceptions.SSLError
        assert "hostname 'other.test' doesn't match 'named.test'" in str(error)
        assert {each.headers["host"] for each in server.requests} == {"named.test"}


# --- sessions, auth, cookies ---------------------------------------------------------------------


def test_a_session_with_a_base_url(server):
    with BaseUrlSession(base_url=server.url("/api/v1/")) as session:
        found = fetch(["users", "users/1", "/root"], session=session)
        assert [each.text for each in found] == ["/api/v1/users", "/api/v1/users/1", "/root"]
        found = grequests.imap(gets(["a"] * 3, session=session))
        assert [each.text for each in found] == ["/api/v1/a"] * 3


def guarded(request):
    """Basic for /basic, digest for all else; only with a password."""
    given = request.headers.get("authorization", "")
    if given.startswith(("Basic dTpw", "Digest username=")):
        return answer(given.split()[0].encode())
    kind = (
        'Basic realm="r"' if request.path == "/basic" else 'Digest realm="r", nonce="n", qop="auth"'
    )
    return answer(b"", "401 Unauthorized", f"WWW-Authenticate: {kind}")


@pytest.mark.parametrize(("path", "kind"), [("/basic", "Basic"), ("/digest", "Digest")])
def test_guessed_auth(server, path, kind):
    server.on(path, guarded)
    auth = GuessAuth("u", "p")
    found = fetch([server.url(path)] * 10, auth=auth)
    assert [(each.status_code, each.text) for each in found] == [(200, kind)] * 10
    assert [[old.status_code for old in each.history] for each in found] == [[401]] * 10
    # It knows now, and is not asked again.
    found = fetch([server.url(path)] * 10, auth=auth)
    assert [(each.text, each.history) for each in found] == [(kind, [])] * 10
    assert server.count == 30


def test_guessed_digest_auth_whose_nonce_is_used_up(server):
    """What HTTPDigestAuth counts is counted for each request by itself, inside another auth too."""
    nonces = iter(range(1000))
    seen = set()

    def once(request):
        nonce = re.search(r'nonce="(\w+)"', request.headers.get("authorization", ""))
        if nonce and nonce[1] not in seen:
            seen.add(nonce[1])
            return answer(b"in")
        fresh = f'Digest realm="r", nonce="n{next(nonces)}", qop="auth"'
        return answer(b"", "401 Unauthorized", f"WWW-Authenticate: {fresh}")

    server.on("/once", once)
    auth = GuessAuth("u", "p")
    for _ in range(3):
        found = fetch([server.url("/once")] * 10, auth=auth)
        assert [(each.status_code, each.text) for each in found] == [(200, "in")] * 10


def test_auth_by_host(server):
    server.on("/basic", guarded)
    auth = AuthHandler([(server.url(), ("u", "p")), ("http://other.test", ("x", "y"))])
    found = fetch([server.url("/basic")] * 5, auth=auth)
    assert [(each.text, each.history) for each in found] == [("Basic", [])] * 5


def test_cookies_that_are_forgotten(server):
    server.on("/in", lambda _: answer(b"", "200 OK", "Set-Cookie: who=me; Path=/"))
    with requests.Session() as session:
        session.cookies = jar = ForgetfulCookieJar()
        fetch([server.url("/in")] * 3, session=session)
        [echo] = fetch([server.url("/echo")], session=session)
        assert "cookie" not in echo.json()["headers"]
        assert session.cookies is jar
        assert len(jar) == 0


# --- utilities -----------------------------------------------------------------------------------


def test_dumps_of_both_lanes(server):
    server.on("/in", lambda _: answer(b"body", "200 OK", "X-A: 1"))
    [fast] = fetch([server.url("/in")])
    with BaseUrlSession(server.url()) as session:
        [general] = fetch(["/in"], session=session)
        plain = session.get("/in")
        expected = dump.dump_all(plain)
    assert lanes([fast, general]) == {"fast", "general"}
    assert dump.dump_all(general) == expected
    assert dump.dump_all(fast) == expected
    assert b"< \r\n\r\n> HTTP/1.1 200 OK\r\n" in expected


def test_downloads(server, tmp_path):
    content = b"0123456789" * 10_000
    server.on("/file", lambda _: answer(content))
    sent = gets([server.url("/file")] * 3, stream=True)
    for n, response in enumerate(grequests.imap(sent, stream=True)):
        if n:
            assert stream.stream_response_to_file(response, path=str(tmp_path / str(n)))
        else:
            kept = b"".join(tee.tee_to_file(response, str(tmp_path / "0")))
            assert kept == content
        assert (tmp_path / str(n)).read_bytes() == content


def test_its_own_threads_beside_a_map(server):
    def initialize(session):
        session.headers["User-Agent"] = user_agent("mine", "0.1")
        return session

    fetch([server.url("/a")] * 3)
    jobs = [{"method": "GET", "url": server.url(f"/{n}")} for n in range(6)]
    found, failed = threaded.map(jobs, num_processes=2, initializer=initialize)
    assert sorted(each.text for each in found) == [f"/{n}" for n in range(6)]
    assert list(failed) == []
    assert lanes(fetch([server.url("/a")] * 3)) == {"fast"}
