"""For each fault: the exception of plain Requests, of the fast lane and of the general lane.

Type, text (but for addresses of objects) and `.request` are the same, with these exceptions, in
which the fast lane's type is the same, or more exact, and its text names the cause:

=====================  ===================================  ======================================
fault                  Requests                             fast lane
=====================  ===================================  ======================================
faults in the body     no `.request`                        with `.request`
invalid chunk          InvalidChunkLength(got length ...)   MalformedResponse(what llhttp says)
negative chunk         ValueError                           ChunkedEncodingError, as above
truncated chunked      InvalidChunkLength, IncompleteRead   "Response ended prematurely"
no end after chunks    taken for whole                      ChunkedEncodingError
TLS                    "(_ssl.c:<line>)" of the handshake   the same, another line
no answer to CONNECT   ConnectionError                      ProxyError, which is one
=====================  ===================================  ======================================
"""

from __future__ import annotations

import re
import socket
import ssl
from typing import Any

import pytest
import requests
import trustme
from recording import Answer, Recorder, describe, request_of, sealed_environment
from requests import exceptions
from servers import full_backlog

import grequests
from grequests._safe_error import hide_secrets


@pytest.fixture(autouse=True)
def sealed(tmp_path):
    with sealed_environment(tmp_path) as patch:
        yield patch


@pytest.fixture
def server():
    with Recorder() as one:
        yield one


@pytest.fixture(scope="module")
def ca():
    return trustme.CA()


@pytest.fixture(scope="module")
def ca_file(ca, tmp_path_factory):
    path = tmp_path_factory.mktemp("ca") / "ca.pem"
    ca.cert_pem.write_to_path(str(path))
    return str(path)


def tls_context(ca: trustme.CA, *names: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert(*names).configure_cert(context)
    return context


@pytest.fixture
def tls_server(ca):
    with Recorder(tls_context(ca, "127.0.0.1", "localhost")) as one:
        yield one


@pytest.fixture
def closed_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        yield sock.getsockname()[1]


class Subclass(requests.Session):
    """Takes the general lane."""


def normal(text: str) -> str:
    """Without what differs from one try to the next."""
    text = re.sub(r"0x[0-9a-f]+", "0x", text)
    return re.sub(r"\(_ssl\.c:\d+\)", "(_ssl.c)", text)


def failure(session: Any, method: str, url: str, kwargs: dict[str, Any]) -> BaseException:
    request = grequests.request(method, url, session=session, **kwargs)
    assert grequests.map([request, grequests.get("nonsense")]) == [None, None], request.response
    return request.exception


def plain_failure(method: str, url: str, kwargs: dict[str, Any]) -> BaseException:
    with requests.Session() as session, pytest.raises(Exception) as caught:  # noqa: PT011
        session.request(method, url, **kwargs)
    return caught.value


def three(url: str, method: str = "GET", **kwargs: Any) -> list[BaseException]:
    """The exception of plain Requests, of the fast lane, of the fast lane by the book, and of the
    general lane."""
    return [
        plain_failure(method, url, kwargs),
        failure(None, method, url, kwargs),
        failure(
            requests.Session(),
            method,
            url,
            {"hooks": {"response": lambda *_, **__: None}, **kwargs},
        ),
        failure(Subclass(), method, url, kwargs),
    ]


def assert_alike(errors: list[Any], *, same_text: bool = True) -> None:
    first, *others = errors
    for other in others:
        assert type(other) is type(first), (other, first)
        if same_text:
            assert normal(str(other)) == normal(str(first))
        if first.request is not None:
            ours, theirs = request_of(other.request), request_of(first.request)
            del ours["hooks"], theirs["hooks"]
            assert ours == theirs
    for fast in others[:2]:
        assert fast.request is not None
        assert fast.__traceback__ is not None


def assert_same_fault(url: str, expected: type[Exception], **kwargs: Any) -> list[Any]:
    errors = three(url, **kwargs)
    assert type(errors[0]) is expected
    assert_alike(errors)
    return errors


# Connecting


def test_refused(closed_port):
    errors = assert_same_fault(f"http://127.0.0.1:{closed_port}/x?y", exceptions.ConnectionError)
    assert "Connection refused" in str(errors[1])
    assert f"host='127.0.0.1', port={closed_port}" in str(errors[1])
    assert "/x?y" in str(errors[1])


def test_refused_by_all_addresses_of_a_name(closed_port):
    errors = assert_same_fault(f"http://localhost:{closed_port}/", exceptions.ConnectionError)
    assert f"host='localhost', port={closed_port}" in str(errors[1])


def test_refused_with_tls(closed_port):
    assert_same_fault(f"https://127.0.0.1:{closed_port}/", exceptions.ConnectionError)


def test_a_name_that_does_not_resolve():
    errors = assert_same_fault("http://does-not-exist.invalid/", exceptions.ConnectionError)
    assert "does-not-exist.invalid" in str(errors[1])


@pytest.mark.parametrize("timeout", [0.2, (0.2, None), (0.2, 9)])
def test_connect_timeout(timeout):
    with full_backlog() as (host, port):
        url = f"http://{host}:{port}/"
        errors = assert_same_fault(url, exceptions.ConnectTimeout, timeout=timeout)
        assert "connect timeout=0.2" in str(errors[1])


# Before the head


@pytest.mark.parametrize("timeout", [0.2, (None, 0.2)])
def test_read_timeout_before_the_head(server, timeout):
    server.default = Answer(b"", hold=True)
    errors = assert_same_fault(server.url, exceptions.ReadTimeout, timeout=timeout)
    assert "read timeout=0.2" in str(errors[1])


def test_read_timeout_in_the_head(server):
    server.default = Answer(b"HTTP/1.1 200 OK\r\nX: ", hold=True)
    assert_same_fault(server.url, exceptions.ReadTimeout, timeout=0.2)


def test_end_before_the_response(server):
    server.default = Answer(b"", close=True)
    errors = assert_same_fault(server.url, exceptions.ConnectionError)
    assert "RemoteDisconnected" in str(errors[1])


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_reset_before_the_response(server, method):
    server.default = Answer(b"", reset=True)
    errors = assert_same_fault(server.url, exceptions.ConnectionError, method=method)
    assert "Connection reset by peer" in str(errors[1])


@pytest.mark.parametrize(
    "data",
    [b"\x16\x03\x01\x02\x00garbage\r\n\r\n", b"garbage\r\n", b"garbage", b"SSH-2.0-x\r\n\r\n"],
)
def test_garbage(server, data):
    server.default = Answer(data, close=True)
    errors = assert_same_fault(server.url, exceptions.ConnectionError)
    assert "BadStatusLine" in str(errors[1])


@pytest.mark.parametrize(
    "status",
    [
        *(b"HTTP/1.1 abc OK", b"HTTP/1.1", b"HTTP/1.1 2000 OK", b"HTTP/1.1 20", b"HTTP/1.1 -20 x"),
        *(b"HTTP/9.9 200 OK", b"HTTP/2 200", b"HTTP/2 abc", b"ICY 200 OK", b"http/1.1 200 OK", b""),
    ],
)
def test_status_lines_that_are_none(server, status):
    server.default = Answer(status + b"\r\nContent-Length: 0\r\n\r\n", close=True)
    errors = assert_same_fault(server.url, exceptions.ConnectionError)
    assert "Connection aborted" in str(errors[1])


def test_too_many_headers(server):
    lines = b"".join(b"X-%d: y\r\n" % number for number in range(101))
    server.default = Answer(
        b"HTTP/1.1 200 OK\r\n" + lines + b"Content-Length: 0\r\n\r\n", close=True
    )
    errors = assert_same_fault(server.url, exceptions.ConnectionError)
    assert "got more than 100 headers" in str(errors[1])


def test_a_header_line_that_is_too_long(server):
    server.default = Answer(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 70000 + b"\r\n\r\n", close=True)
    errors = assert_same_fault(server.url, exceptions.ConnectionError)
    assert "LineTooLong" in str(errors[1])


# In the body


def test_a_body_shorter_than_its_length(server):
    server.default = Answer(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc", close=True)
    errors = assert_same_fault(server.url, exceptions.ChunkedEncodingError)
    assert "IncompleteRead(3 bytes read, 7 more expected)" in str(errors[1])


def test_a_long_body_shorter_than_its_length(server):
    body = b"x" * 300_000
    server.default = Answer(b"HTTP/1.1 200 OK\r\nContent-Length: 400000\r\n\r\n" + body, close=True)
    errors = assert_same_fault(server.url, exceptions.ChunkedEncodingError)
    assert "IncompleteRead(300000 bytes read, 100000 more expected)" in str(errors[1])


def test_reset_in_the_body(server):
    server.default = Answer(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc", reset=True)
    errors = three(server.url)
    # Whether the three bytes were read before the reset came is the kernel's secret.
    types = {type(error) for error in errors}
    assert types <= {exceptions.ChunkedEncodingError, exceptions.ConnectionError}
    assert "reset" in str(errors[1])


def test_read_timeout_in_the_body(server):
    server.default = Answer(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc", hold=True)
    assert_same_fault(server.url, exceptions.ConnectionError, timeout=0.2)


@pytest.mark.parametrize(
    "body", [b"", b"3\r\nab", b"3\r\nabc\r\n", b"3\r\nabc\r\n0\r\n", b"3", b"3\r\nabc"]
)
def test_chunks_that_end_early(server, body):
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    server.default = Answer(head + body, close=True)
    if body.endswith(b"0\r\n"):
        # http.client takes the end of the stream for the end of the trailers.
        assert requests.get(server.url).content == b"abc"
        error = failure(None, "GET", server.url, {})
        assert type(error) is exceptions.ChunkedEncodingError
        return
    errors = three(server.url)
    assert_alike(errors, same_text=False)
    assert type(errors[1]) is exceptions.ChunkedEncodingError


@pytest.mark.parametrize(
    "body", [b"zz\r\nabc\r\n0\r\n\r\n", b"\r\n\r\n", b"-3\r\nabc\r\n0\r\n\r\n"]
)
def test_chunks_that_are_none(server, body):
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    server.default = Answer(head + body, close=True)
    error = failure(None, "GET", server.url, {})
    assert type(error) is exceptions.ChunkedEncodingError
    assert "MalformedResponse" in str(error)
    if not body.startswith(b"-"):
        assert type(plain_failure("GET", server.url, {})) is exceptions.ChunkedEncodingError


def test_a_coding_that_is_none(server):
    server.default = Answer(
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 5\r\n\r\nplain"
    )
    errors = assert_same_fault(server.url, exceptions.ContentDecodingError)
    assert "gzip" in str(errors[1])


# TLS


def assert_same_tls_fault(url: str, cause: str, **kwargs: Any) -> None:
    errors = assert_same_fault(url, exceptions.SSLError, **kwargs)
    assert cause in str(errors[1])
    assert url.split("//")[1].split(":")[0] in str(errors[1])


def test_an_unknown_authority(tls_server):
    assert_same_tls_fault(tls_server.url, "CERTIFICATE_VERIFY_FAILED")


def test_the_wrong_host(ca, ca_file):
    with Recorder(tls_context(ca, "other.test")) as server:
        assert_same_tls_fault(server.url, "127.0.0.1", verify=ca_file)
        url = f"https://localhost:{server.port}/"
        assert_same_tls_fault(url, "Hostname mismatch", verify=ca_file)


def test_no_tls_on_the_other_side(server):
    with socket.create_server(("127.0.0.1", 0)) as plain:
        import threading  # noqa: PLC0415

        def answer() -> None:
            for _ in range(4):
                sock, _ = plain.accept()
                with sock:
                    sock.recv(4096)
                    sock.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        try:
            assert_same_tls_fault(
                f"https://127.0.0.1:{plain.getsockname()[1]}/", "WRONG_VERSION_NUMBER"
            )
        finally:
            thread.join(20)


def test_an_end_in_the_handshake():
    with Recorder() as server:
        server.default = Answer(b"", close=True)
        with socket.create_server(("127.0.0.1", 0)) as plain:
            import threading  # noqa: PLC0415

            def hang_up() -> None:
                for _ in range(4):
                    sock, _ = plain.accept()
                    sock.recv(4096)
                    sock.close()

            thread = threading.Thread(target=hang_up)
            thread.start()
            url = f"https://127.0.0.1:{plain.getsockname()[1]}/"
            try:
                errors = three(url)
            finally:
                thread.join(20)
            assert_alike(errors)
            assert "EOF" in str(errors[1])


def test_tls_that_never_comes():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"https://127.0.0.1:{silent.getsockname()[1]}/"
        errors = three(url, timeout=0.2)
        assert_alike(errors, same_text=False)
        assert type(errors[1]) is type(errors[0])
        assert "timed out" in str(errors[1])


@pytest.mark.parametrize(
    "kwargs",
    [
        {"verify": "/nowhere/ca.pem"},
        {"cert": "/nowhere/c.pem"},
        {"cert": (__file__, "/nowhere/k.pem")},
    ],
)
def test_files_that_are_not_there(kwargs):
    errors = three("https://127.0.0.1:1/", **kwargs)
    for error in errors[1:]:
        assert type(error) is OSError
        assert str(error) == str(errors[0])


@pytest.mark.parametrize("kwargs", [{"verify": __file__}, {"cert": __file__}])
def test_files_that_are_no_certificates(tls_server, kwargs):
    errors = three(tls_server.url, **kwargs)
    for error in errors[1:]:
        assert type(error) is type(errors[0])
        assert normal(str(error)) == normal(str(errors[0]))


# Proxies


def through(proxy: Any) -> dict[str, str]:
    return {"http": f"http://127.0.0.1:{proxy}", "https": f"http://127.0.0.1:{proxy}"}


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_that_refuses(closed_port, scheme):
    url = f"{scheme}://example.test/x"
    errors = assert_same_fault(url, exceptions.ProxyError, proxies=through(closed_port))
    assert "Unable to connect to proxy" in str(errors[1])


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_whose_name_does_not_resolve(scheme):
    proxies = {scheme: "http://does-not-exist.invalid:1"}
    errors = assert_same_fault(f"{scheme}://example.test/", exceptions.ProxyError, proxies=proxies)
    assert "does-not-exist.invalid" in str(errors[1])


@pytest.mark.parametrize(
    "status", [b"407 Proxy Authentication Required", b"502 Bad Gateway", b"503"]
)
def test_a_proxy_that_makes_no_tunnel(server, status):
    server.default = Answer(b"HTTP/1.1 " + status + b"\r\nContent-Length: 0\r\n\r\n", close=True)
    errors = assert_same_fault(
        "https://example.test/", exceptions.ProxyError, proxies=through(server.port)
    )
    assert status[:3].decode() in str(errors[1])


@pytest.mark.parametrize("data", [b"garbage\r\n\r\n", b"", b"HTTP/1.1 abc\r\n\r\n"])
def test_a_proxy_that_talks_garbage(server, data):
    server.default = Answer(data, close=True)
    [theirs, *fast, general] = three("https://example.test/", proxies=through(server.port))
    assert_alike([theirs, general], same_text=False)
    assert type(theirs) is exceptions.ConnectionError
    for each in fast:
        assert type(each) is exceptions.ProxyError
        assert each.request.url == "https://example.test/"


def test_a_proxy_that_says_nothing(server):
    server.default = Answer(b"", hold=True)
    errors = three("https://example.test/", proxies=through(server.port), timeout=0.2)
    assert_alike(errors, same_text=False)


@pytest.mark.parametrize(
    ("data", "kind"), [(b"", "RemoteDisconnected"), (b"garbage\r\n", "BadStatusLine")]
)
def test_a_proxy_that_answers_no_http(server, data, kind):
    server.default = Answer(data, close=True)
    errors = three("http://example.test/", proxies=through(server.port))
    assert_alike(errors, same_text=False)
    assert type(errors[1]) is (exceptions.ConnectionError if data else exceptions.ProxyError)
    assert kind in str(errors[1])


@pytest.mark.parametrize(
    "proxy", ["http://", "http://:80", "http://a:x", "nonsense://p:1", "http:p"]
)
def test_proxies_that_are_none(proxy):
    errors = three("http://example.test/", proxies={"http": proxy})
    for error in errors[1:]:
        assert describe(error)["type"] is describe(errors[0])["type"]
        assert normal(str(error)) == normal(str(errors[0]))


# Requests that cannot be made


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("", exceptions.MissingSchema),
        ("example.test/x", exceptions.MissingSchema),
        ("http://", exceptions.InvalidURL),
        ("http://*.test/", exceptions.InvalidURL),
        ("http://.test/", exceptions.InvalidURL),
        ("http://a:port/", exceptions.InvalidURL),
        ("http://[::1/", exceptions.InvalidURL),
        ("http://\u2100.\u2100\u3002/", None),
        ("ftp://a/", exceptions.InvalidSchema),
        ("mailto:a@b", exceptions.InvalidSchema),
        ("http://" + "a" * 64 + ".test/", None),
        ("http://a..test/", None),
    ],
)
def test_urls_that_are_none(url, expected):
    errors = three(url)
    for error in errors:
        assert type(error) is (expected or type(errors[0]))
        hide_secrets(error)  # (what looks like a password)
        assert normal(str(error)) == normal(str(errors[0]))


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"A": "b\r\nC: d"}, exceptions.InvalidHeader),
        ({"A": "b\n"}, exceptions.InvalidHeader),
        ({"A": b"b\r"}, exceptions.InvalidHeader),
        ({"A": " b"}, exceptions.InvalidHeader),
        ({"A:": "b"}, exceptions.InvalidHeader),
        ({"A\n": "b"}, exceptions.InvalidHeader),
        ({"A": 1}, exceptions.InvalidHeader),
        ({"A": "日本"}, UnicodeEncodeError),
        ({"Ä": "b"}, None),
        ({"": "b"}, None),
        ({"A B": "b"}, None),
    ],
)
def test_headers_that_are_none(server, headers, expected):
    server.default = Answer(close=True)
    outcomes = []
    for session in (None, Subclass()):
        request = grequests.get(server.url, headers=headers, session=session)
        [response] = grequests.map([request])
        outcomes.append(
            (
                type(getattr(request, "exception", None)),
                str(getattr(request, "exception", "")),
                bool(response),
            )
        )
    try:
        theirs = (type(None), "", bool(requests.get(server.url, headers=headers)))
    except Exception as error:  # noqa: BLE001
        hide_secrets(error)  # (of ours, the header's value is hidden)
        theirs = (type(error), str(error), False)
    assert outcomes == [theirs, theirs]
    if expected is not None:
        assert theirs[0] is expected


@pytest.mark.parametrize(
    "kwargs",
    [
        {"json": float("nan")}, {"json": object()}, {"data": {"a": 1}, "files": {"f": 1}},
        {"files": {"f": ("a", "b", "c", "d", "e")}}, {"hooks": {"nonsense": print}}, {"data": 7},
        {"data": "x", "files": {"f": "y"}}, {"params": [("a",)]}, {"auth": ("日本", "x")},
        {"cookies": {"a": 1}}, {"headers": {"Cookie": None, "B": ["c"]}}, {"files": {}, "data": [1]},
    ],
)  # fmt: skip
def test_keywords_that_make_no_request(server, kwargs):
    server.default = Answer(close=True)
    request = grequests.post(server.url, **kwargs)
    grequests.map([request])
    try:
        theirs: Any = None
        requests.post(server.url, **kwargs)
    except Exception as error:  # noqa: BLE001
        hide_secrets(error)
        theirs = error
    ours = getattr(request, "exception", None)
    assert type(ours) is type(theirs)
    assert normal(str(ours)) == normal(str(theirs))


# Redirects


def test_too_many_redirects(server):
    server.default = Answer(b"HTTP/1.1 302 Found\r\nLocation: /again\r\nContent-Length: 0\r\n\r\n")
    errors = three(server.url)
    assert_alike(errors)
    for error in errors:
        assert type(error) is exceptions.TooManyRedirects
        assert str(error) == "Exceeded 30 redirects."
        assert error.response.status_code == 302
        assert len(error.response.history) == 30
        assert error.request is error.response.request


@pytest.mark.parametrize("location", ["ftp://a/", "file:///etc/passwd", "javascript:x"])
def test_redirects_to_where_nobody_goes(server, location):
    server.default = Answer(
        f"HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n".encode()
    )
    errors = three(server.url)
    for error in errors:
        assert type(error) is exceptions.InvalidSchema
        assert str(error) == str(errors[0])


def test_a_redirect_to_a_closed_port(server, closed_port):
    target = f"http://127.0.0.1:{closed_port}/there"
    server.default = Answer(
        f"HTTP/1.1 302 Found\r\nLocation: {target}\r\nContent-Length: 0\r\n\r\n".encode()
    )
    errors = assert_same_fault(server.url, exceptions.ConnectionError)
    assert errors[1].request.url == target


# What went wrong with one does not touch another


def test_each_failure_of_a_run_is_its_own(server, closed_port):
    server.answers = {"/short": Answer(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", close=True)}
    requests_ = [
        grequests.get(f"http://127.0.0.1:{closed_port}/"),
        grequests.get(server.url),
        grequests.get(f"{server.url}/short"),
        grequests.get("nonsense"),
    ]
    seen = []
    results = grequests.map(
        requests_, exception_handler=lambda request, error: seen.append((request, type(error)))
    )
    assert [bool(result) for result in results] == [False, True, False, False]
    assert seen == [
        (requests_[0], exceptions.ConnectionError),
        (requests_[2], exceptions.ChunkedEncodingError),
        (requests_[3], exceptions.MissingSchema),
    ]
    assert "ConnectionError" in requests_[0].traceback
