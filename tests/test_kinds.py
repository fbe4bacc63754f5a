"""Each kind of failure, provoked for real in both lanes, and counted by the right word."""

from __future__ import annotations

import errno
import pickle
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import trustme
from gevent import GreenletExit
from recording import Answer, Recorder, sealed_environment
from requests.adapters import HTTPAdapter
from servers import full_backlog
from urllib3.exceptions import NewConnectionError, ProtocolError
from urllib3.util import Retry

import grequests
from grequests import _exceptions as own
from grequests import _kinds as kinds
from grequests._kinds import kind_of


@pytest.fixture(autouse=True)
def sealed(tmp_path: Any) -> Iterator[Any]:
    with sealed_environment(tmp_path) as patch:
        yield patch


@pytest.fixture
def server() -> Iterator[Recorder]:
    with Recorder() as one:
        yield one


@pytest.fixture(scope="module")
def ca() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def trusted(ca: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("ca") / "ca.pem"
    ca.cert_pem.write_to_path(str(path))
    return str(path)


@pytest.fixture
def closed_port() -> Iterator[int]:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        yield sock.getsockname()[1]


class Subclass(requests.Session):
    """Takes the general lane."""


def errors(url: Any, method: str = "GET", **kwargs: Any) -> list[BaseException]:
    """What the fast lane and the general lane fail with."""
    found = []
    for session in (None, Subclass()):
        request = grequests.request(method, url, session=session, **kwargs)
        # Another one beside it: a request that is sent alone may go another way.
        assert grequests.map([request, grequests.get("nonsense")]) == [None, None]
        found.append(request.exception)
        if session is not None:
            session.close()
    return found


def assert_kind(kind: str, url: Any, method: str = "GET", **kwargs: Any) -> None:
    found = errors(url, method, **kwargs)
    assert [kind_of(each) for each in found] == [kind, kind], found


# Connecting


def test_a_name_that_does_not_resolve() -> None:
    assert_kind(kinds.NAME, "http://does-not-exist.invalid/")


def test_a_closed_port(closed_port: int) -> None:
    assert_kind(kinds.REFUSED, f"http://127.0.0.1:{closed_port}/")
    assert_kind(kinds.REFUSED, f"http://localhost:{closed_port}/")
    assert_kind(kinds.REFUSED, f"https://127.0.0.1:{closed_port}/")


def test_a_redirect_to_a_closed_port(server: Recorder, closed_port: int) -> None:
    head = f"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:{closed_port}/\r\n"
    server.default = Answer(head.encode() + b"Content-Length: 0\r\n\r\n")
    assert_kind(kinds.REFUSED, server.url)


def test_an_address_that_cannot_be_connected_to() -> None:
    assert_kind(kinds.UNREACHABLE, "http://255.255.255.255/", timeout=2)  # EACCES or ENETUNREACH


def test_a_connection_that_is_neither_made_nor_refused() -> None:
    with full_backlog() as (host, port):
        assert_kind(kinds.CONNECT_TIMEOUT, f"http://{host}:{port}/", timeout=0.2)


# Before the body


def test_a_server_that_says_nothing(server: Recorder) -> None:
    server.default = Answer(b"", hold=True)
    assert_kind(kinds.READ_TIMEOUT, server.url, timeout=0.2)


def test_tls_that_never_comes() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"https://127.0.0.1:{silent.getsockname()[1]}/"
        assert_kind(kinds.READ_TIMEOUT, url, timeout=0.2)


def test_an_upload_that_is_not_taken() -> None:
    # The kernel takes some megabytes on behalf of a listener that accepts nobody.
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        url = f"http://127.0.0.1:{deaf.getsockname()[1]}/"
        assert_kind(kinds.READ_TIMEOUT, url, "POST", data=b"x" * 30_000_000, timeout=0.2)


@pytest.mark.parametrize("answer", [Answer(b"", close=True), Answer(b"", reset=True)])
def test_a_connection_that_ends_before_the_answer(server: Recorder, answer: Answer) -> None:
    server.default = answer
    assert_kind(kinds.BROKEN, server.url)


@pytest.mark.parametrize(
    "data",
    [
        *(b"garbage\r\n", b"SSH-2.0-x\r\n\r\n", b"HTTP/1.1 abc OK\r\n\r\n"),
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 101 + b"Content-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 70000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    ],
)
def test_an_answer_that_is_no_http(server: Recorder, data: bytes) -> None:
    server.default = Answer(data, close=True)
    assert_kind(kinds.MALFORMED, server.url)


def test_redirects_without_end(server: Recorder) -> None:
    server.default = Answer(b"HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\n\r\n")
    assert_kind(kinds.REDIRECTS, server.url)


def test_statuses_that_an_adapter_gives_up_on(server: Recorder) -> None:
    server.default = Answer(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n")
    for cls in (requests.Session, Subclass):
        with cls() as session:
            session.mount("http://", HTTPAdapter(max_retries=Retry(1, status_forcelist=[503])))
            request = grequests.get(server.url, session=session)
            grequests.map([request])
            assert kind_of(request.exception) == kinds.STATUS


# In the body


@pytest.mark.parametrize(
    "data",
    [
        b"Content-Length: 10\r\n\r\nabc",
        b"Content-Length: 400000\r\n\r\n" + b"x" * 300_000,
        b"Transfer-Encoding: chunked\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n3\r\nab",
        b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
    ],
)
def test_a_body_that_ends_early(server: Recorder, data: bytes) -> None:
    server.default = Answer(b"HTTP/1.1 200 OK\r\n" + data, close=True)
    assert_kind(kinds.TRUNCATED, server.url)


def test_a_chunk_that_is_none(server: Recorder) -> None:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    server.default = Answer(head + b"zz\r\nabc\r\n0\r\n\r\n", close=True)
    assert_kind(kinds.MALFORMED, server.url)


def test_a_reset_in_the_body(server: Recorder) -> None:
    server.default = Answer(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc", reset=True)
    assert_kind(kinds.BROKEN, server.url)


def test_a_body_that_stops(server: Recorder) -> None:
    server.default = Answer(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc", hold=True)
    assert_kind(kinds.READ_TIMEOUT, server.url, timeout=0.2)


def test_a_coding_that_is_none(server: Recorder) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 5\r\n\r\n"
    server.default = Answer(head + b"plain")
    assert_kind(kinds.ENCODING, server.url)


# TLS


def tls_server(ca: trustme.CA, *names: str) -> Recorder:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert(*names).configure_cert(context)
    return Recorder(context)


def test_an_unknown_authority(ca: trustme.CA) -> None:
    with tls_server(ca, "127.0.0.1") as server:
        assert_kind(kinds.CERTIFICATE, server.url)


def test_a_certificate_of_another_host(ca: trustme.CA, trusted: str) -> None:
    with tls_server(ca, "other.test") as server:
        assert_kind(kinds.CERTIFICATE, server.url, verify=trusted)
        assert_kind(kinds.CERTIFICATE, f"https://localhost:{server.port}/", verify=trusted)


def test_no_tls_on_the_other_side() -> None:
    with socket.create_server(("127.0.0.1", 0)) as plain:

        def answer() -> None:
            for _ in range(2):
                sock, _ = plain.accept()
                with sock:
                    sock.recv(4096)
                    sock.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        assert_kind(kinds.TLS, f"https://127.0.0.1:{plain.getsockname()[1]}/")
        thread.join(20)


@pytest.mark.parametrize(
    "kwargs", [{"verify": "/nowhere/ca.pem"}, {"cert": "/nowhere/c.pem"}, {"verify": __file__}]
)
def test_certificates_that_are_not_there(ca: trustme.CA, kwargs: dict[str, Any]) -> None:
    with tls_server(ca, "127.0.0.1") as server:
        assert_kind(kinds.TLS, server.url, **kwargs)


# Proxies


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_that_is_not_there(closed_port: int, scheme: str) -> None:
    proxies = {scheme: f"http://127.0.0.1:{closed_port}"}
    assert_kind(kinds.PROXY, f"{scheme}://example.test/", proxies=proxies)
    proxies = {scheme: "http://does-not-exist.invalid:1"}
    assert_kind(kinds.PROXY, f"{scheme}://example.test/", proxies=proxies)


def test_a_proxy_that_makes_no_tunnel(server: Recorder) -> None:
    server.default = Answer(
        b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n", close=True
    )
    assert_kind(kinds.PROXY, "https://example.test/", proxies={"https": server.url})


@pytest.mark.parametrize("proxy", ["http://", "nonsense://p:1"])
def test_a_proxy_that_is_none(proxy: str) -> None:
    assert_kind(kinds.PROXY, "http://example.test/", proxies={"http": proxy})


def test_a_socks_proxy_that_is_not_there(closed_port: int) -> None:
    proxies = {"http": f"socks5://127.0.0.1:{closed_port}"}
    assert_kind(kinds.PROXY, "http://127.0.0.1:1/", proxies=proxies)


def test_socks_without_pysocks() -> None:
    error = requests.exceptions.InvalidSchema("Missing dependencies for SOCKS support.")
    assert kind_of(error) == kinds.PROXY


# Requests that cannot be made


@pytest.mark.parametrize(
    "url",
    ["", "example.test/x", "http://", "http://a:port/", "http://[::1/", "ftp://a/", "mailto:a@b"],
)
def test_an_url_that_is_none(url: str) -> None:
    assert_kind(kinds.INVALID, url)


@pytest.mark.parametrize("url", ["http://" + "a" * 64 + ".test/", "http://a..test/"])
def test_a_name_that_cannot_be_one(url: str) -> None:
    assert_kind(kinds.INVALID, url)


@pytest.mark.parametrize(
    "kwargs",
    [{"headers": {"A": "b\r\nC: d"}}, {"headers": {"A": "日本"}}, {"json": float("nan")}],
)
def test_headers_and_bodies_that_are_none(server: Recorder, kwargs: dict[str, Any]) -> None:
    assert_kind(kinds.INVALID, server.url, **kwargs)


# What others raise


def test_what_a_hook_raises(server: Recorder) -> None:
    # Both read the body before: else Requests leaves the socket to the collector.
    def stumble(response: requests.Response, **_: object) -> None:
        assert response.content
        raise KeyError("x")

    def refuse(response: requests.Response, **_: object) -> None:
        assert response.content
        response.raise_for_status()

    assert_kind(kinds.OTHER, server.url, hooks={"response": stumble})
    server.default = Answer(b"HTTP/1.1 404 No\r\nContent-Length: 1\r\n\r\nx")
    assert_kind(kinds.STATUS, server.url, hooks={"response": refuse})


def test_a_body_that_cannot_be_read(server: Recorder) -> None:
    def broken() -> Iterator[bytes]:
        yield b"x"
        raise PermissionError(errno.EACCES, "Permission denied")

    request = grequests.post(server.url, data=broken())
    grequests.map([request])
    assert kind_of(request.exception) == kinds.OTHER


OWN = [
    (own.NotARequestError(3, "x"), kinds.NOT_A_REQUEST),
    (own.RequestInFlightError("http://x"), kinds.INVALID),
    (own.TotalTimeoutError(3.0, "attempt"), kinds.TOTAL_TIMEOUT),
    (own.DeadlineError(3.0, sent=True), kinds.DEADLINE),
    (own.BodyTooLargeError(10), kinds.TOO_LARGE),
    (own.HeadersTooLargeError(10, 20), kinds.TOO_LARGE),
    (own.CircuitOpenError("http://x", 3.0), kinds.CIRCUIT),
    (own.RequestCancelledError(sent=False), kinds.CANCELLED),
    (own.ClientClosedError("x"), kinds.CANCELLED),
    (GreenletExit(), kinds.CANCELLED),
]


@pytest.mark.parametrize(("error", "kind"), OWN, ids=lambda each: str(each)[:20])
def test_our_own(error: BaseException, kind: str) -> None:
    assert kind_of(error) == kind


def test_a_circuit_that_opened_for_another_reason_is_a_circuit() -> None:
    error = own.CircuitOpenError("http://x", 3.0)
    error.__cause__ = ConnectionRefusedError(errno.ECONNREFUSED, "x")
    assert kind_of(error) == kinds.CIRCUIT


SYSTEM = [
    (ConnectionRefusedError(errno.ECONNREFUSED, "x"), kinds.REFUSED),
    (socket.gaierror(-2, "Name or service not known"), kinds.NAME),
    (TimeoutError("timed out"), kinds.READ_TIMEOUT),
    (ConnectionResetError(errno.ECONNRESET, "x"), kinds.BROKEN),
    (BrokenPipeError(errno.EPIPE, "x"), kinds.BROKEN),
    (OSError(errno.EHOSTUNREACH, "x"), kinds.UNREACHABLE),
    (OSError(errno.EMFILE, "Too many open files"), kinds.RESOURCES),
    (OSError(errno.EADDRNOTAVAIL, "Cannot assign requested address"), kinds.RESOURCES),
    (FileNotFoundError(errno.ENOENT, "x"), kinds.OTHER),
    (OSError("x"), kinds.OTHER),
    (ValueError("x"), kinds.OTHER),
    (Exception(), kinds.OTHER),
    (KeyboardInterrupt(), kinds.OTHER),
]


@pytest.mark.parametrize(("error", "kind"), SYSTEM, ids=repr)
def test_the_systems(error: BaseException, kind: str) -> None:
    assert kind_of(error) == kind


@pytest.mark.parametrize(("error", "kind"), SYSTEM[:8], ids=repr)
def test_the_systems_wrapped_as_the_lanes_wrap_them(error: OSError, kind: str) -> None:
    wrapped = requests.ConnectionError(ProtocolError("Connection aborted.", error))
    assert kind_of(wrapped) == kind


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (errno.ECONNREFUSED, kinds.REFUSED),
        (errno.ENETUNREACH, kinds.UNREACHABLE),
        (errno.EACCES, kinds.UNREACHABLE),
        (errno.ETIMEDOUT, kinds.CONNECT_TIMEOUT),
        (errno.EMFILE, kinds.RESOURCES),
        (errno.EADDRNOTAVAIL, kinds.RESOURCES),
    ],
)
def test_no_connection_by_number_in_the_cause_or_the_text(number: int, kind: str) -> None:
    cause = OSError(number, "some words")
    told = NewConnectionError(None, f"Failed to establish a new connection: {cause}")  # type: ignore[arg-type]
    caused = NewConnectionError(None, "Failed to establish a new connection")  # type: ignore[arg-type]
    caused.__cause__ = cause
    assert [kind_of(told), kind_of(caused)] == [kind, kind]


def test_errors_that_say_little() -> None:
    assert kind_of(requests.ConnectionError("down")) == kinds.BROKEN
    assert kind_of(requests.Timeout("slow")) == kinds.READ_TIMEOUT
    assert kind_of(requests.exceptions.SSLError("bad")) == kinds.TLS
    assert kind_of(requests.exceptions.ChunkedEncodingError("short")) == kinds.TRUNCATED
    assert kind_of(requests.RequestException("x")) == kinds.OTHER


def test_errors_that_wrap_each_other_in_a_circle() -> None:
    first, second = Exception(), Exception()
    first.__cause__, second.__cause__ = second, first
    assert kind_of(first) == kinds.OTHER


def test_classes_of_others_are_what_their_bases_are() -> None:
    class Mine(requests.exceptions.ProxyError):
        pass

    assert kind_of(Mine("x")) == kinds.PROXY


def test_what_was_pickled_is_still_of_its_kind(closed_port: int) -> None:
    for each in (own.DeadlineError(3.0, sent=True), requests.ReadTimeout("x")):
        assert kind_of(pickle.loads(pickle.dumps(each))) == kind_of(each)


def test_each_kind_is_listed_once() -> None:
    constants = {
        value for name, value in vars(kinds).items() if name.isupper() and type(value) is str
    }
    assert set(kinds.KINDS) == constants
    assert len(kinds.KINDS) == len(constants)


def test_each_kind_is_in_the_documentation() -> None:
    text = (Path(__file__).parents[1] / "docs" / "observability.md").read_text()
    _, _, table = text.partition("| kind | |")
    listed = table.partition("## Logging")[0]
    assert [kind for kind in kinds.KINDS if f"`{kind}`" not in listed] == []
