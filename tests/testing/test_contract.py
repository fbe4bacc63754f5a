"""What any transport has to do: one list of behaviours, over sockets and over the fake, in both lanes.

Each test is run in four worlds, with the same assertions. What holds in one and not in another is a
fault of one of them; where that is the fake, users' tests would prove nothing.
"""

from __future__ import annotations

import contextlib
import gzip
import json
from collections.abc import Iterator
from http.client import IncompleteRead

import gevent
import pytest
import requests
from requests import exceptions
from urllib3 import Retry, exceptions as urllib3_errors

import grequests
from grequests.testing import Answer, FakeTransport, Fault
from servers import Server, eventually
from testing.worlds import FakeWorld, RealWorld, World, lane, send

WORLDS = [(name, real) for real in (True, False) for name in ("fast", "general")]


@pytest.fixture(params=WORLDS, ids=lambda p: f"{p[0]}-{'real' if p[1] else 'fake'}")
def world(
    request: pytest.FixtureRequest, no_leaks: None, server: Server, https_server: Server
) -> Iterator[World]:
    name, is_real = request.param
    with contextlib.ExitStack() as stack:
        stack.enter_context(lane(name))
        if is_real:
            yield RealWorld(server, https_server, stack)
            grequests.close()
        else:
            yield FakeWorld(stack.enter_context(FakeTransport()))


# --- answers -------------------------------------------------------------------------------------


def test_a_body_and_its_status(world):
    url = world.on("/", 200, b"hello")

    response = send(grequests.get(url))

    assert (response.status_code, response.reason, response.content) == (200, "OK", b"hello")
    assert (response.url, response.request.method, response.history) == (url, "GET", [])
    assert response.elapsed.total_seconds() >= 0
    assert world.seen() == [("GET", "/", b"")]


@pytest.mark.parametrize("status", [201, 301, 404, 418, 503])
def test_any_status_is_an_answer(world, status):
    response = send(grequests.get(world.on("/", status, b"as you wish")))

    assert (response.status_code, response.content) == (status, b"as you wish")
    assert response.ok is (status < 400)


def test_a_reason_of_the_servers_own(world):
    assert send(grequests.get(world.on("/", 200, reason="Fine By Me"))).reason == "Fine By Me"


def test_headers_in_their_order_and_case(world):
    headers = {
        "X-First": "1",
        "x-second": "two, too",
        "Content-Type": "text/plain; charset=latin-1",
    }

    response = send(grequests.get(world.on("/", 200, "é".encode("latin-1"), headers=headers)))

    assert list(response.headers.items()) == [*headers.items(), ("Content-Length", "1")]
    assert (response.headers["X-SECOND"], response.text) == ("two, too", "é")


def test_repeated_headers(world):
    url = world.on("/", headers=[("Warning", "199 a"), ("Via", "x"), ("Warning", "299 b")])

    response = send(grequests.get(url))

    assert response.headers["Warning"] == "199 a, 299 b"
    assert response.raw.headers.getlist("Warning") == ["199 a", "299 b"]


def test_an_empty_body(world):
    response = send(grequests.get(world.on("/", 200)))

    assert (response.content, response.headers["Content-Length"]) == (b"", "0")


@pytest.mark.parametrize("status", [204, 304])
def test_statuses_without_a_body(world, status):
    response = send(grequests.get(world.on("/", status, headers={"ETag": '"a"'})))

    assert (response.content, dict(response.headers)) == (b"", {"ETag": '"a"'})


def test_the_answer_to_head_has_a_length_and_no_body(world):
    response = send(grequests.head(world.on("/", 200, b"hello")))

    assert (response.content, response.headers["Content-Length"]) == (b"", "5")
    assert world.seen() == [("HEAD", "/", b"")]


def test_a_body_in_chunks(world):
    url = world.on("/", 200, [b"one ", b"two"], headers={"Transfer-Encoding": "chunked"})

    response = send(grequests.get(url))

    assert response.content == b"one two"
    assert "Content-Length" not in response.headers


def test_json(world):
    url = world.on("/", json={"name": "ada", "of": [1, 2.5, None]})

    response = send(grequests.get(url))

    assert response.json() == {"name": "ada", "of": [1, 2.5, None]}
    assert response.headers["Content-Type"] == "application/json"


def test_a_coded_body_is_decoded(world):
    url = world.on("/", 200, gzip.compress(b"x" * 1000), headers={"Content-Encoding": "gzip"})

    assert send(grequests.get(url)).content == b"x" * 1000


def test_a_coded_body_that_is_none(world):
    url = world.on("/", 200, b"not gzip", headers={"Content-Encoding": "gzip"})

    with pytest.raises(exceptions.ContentDecodingError):
        send(grequests.get(url))


def test_a_large_body(world):
    assert send(grequests.get(world.on("/", 200, b"large" * 100_000))).content == b"large" * 100_000


# --- requests ------------------------------------------------------------------------------------


def test_what_was_asked_arrives(world):
    url = world.on("/a%20path", 200, b"ok")

    send(grequests.get(url, params={"q": "a b", "page": 2}, headers={"X-Mine": "yes"}))

    assert world.seen() == [("GET", "/a%20path?q=a+b&page=2", b"")]
    headers = world.headers()
    assert headers["host"] == world.root.partition("//")[2]
    assert (headers["x-mine"], headers["accept"]) == ("yes", "*/*")


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PURGE"])
def test_any_method(world, method):
    assert send(grequests.request(method, world.on("/", 200, b"ok"))).text == "ok"
    assert [each[:2] for each in world.seen()] == [(method, "/")]


@pytest.mark.parametrize(
    ("keywords", "body", "content_type"),
    [
        ({"data": b"\x00bytes"}, b"\x00bytes", None),
        ({"data": {"a": "1", "b": "é"}}, b"a=1&b=%C3%A9", "application/x-www-form-urlencoded"),
        ({"json": {"a": [1]}}, b'{"a": [1]}', "application/json"),
        ({"data": b"long" * 50_000}, b"long" * 50_000, None),
    ],
    ids=["bytes", "form", "json", "long"],
)
def test_a_posted_body_arrives(world, keywords, body, content_type):
    send(grequests.post(world.on("/", 201), **keywords))

    assert world.seen() == [("POST", "/", body)]
    headers = world.headers()
    assert (headers.get("content-type"), headers["content-length"]) == (
        content_type,
        str(len(body)),
    )


def test_a_file_is_uploaded(world, tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"in a file" * 5000)

    with path.open("rb") as file:
        send(grequests.put(world.on("/", 201), data=file))

    assert world.seen() == [("PUT", "/", b"in a file" * 5000)]


def test_an_answer_made_of_the_request(world):
    url = world.on("/", make=lambda request: Answer(200, request.body[::-1]))

    assert send(grequests.post(url, data=b"abc")).content == b"cba"


def test_basic_auth(world):
    send(grequests.get(world.on("/", 200), auth=("ada", "secret")))

    assert world.headers()["authorization"] == "Basic YWRhOnNlY3JldA=="


# --- what Requests makes of answers --------------------------------------------------------------


def test_redirects_are_followed(world):
    first = world.on("/first", 302, headers={"Location": "/second?x=1"})
    world.on("/second", 301, b"on", headers={"Location": world.url("/third")})
    world.on("/third", 200, b"here")

    response = send(grequests.post(first, data=b"body"))

    assert (response.text, response.url) == ("here", world.url("/third"))
    assert [each.status_code for each in response.history] == [302, 301]
    assert world.seen() == [
        ("POST", "/first", b"body"),
        ("GET", "/second?x=1", b""),
        ("GET", "/third", b""),
    ]


def test_a_redirect_that_keeps_the_body(world):
    first = world.on("/first", 307, headers={"Location": "/second"})
    world.on("/second", 200, b"here")

    assert send(grequests.post(first, data=b"body")).text == "here"
    assert world.seen()[1] == ("POST", "/second", b"body")


def test_redirects_without_end(world):
    url = world.on("/", 302, headers={"Location": "/"})

    with pytest.raises(exceptions.TooManyRedirects):
        send(grequests.get(url))
    assert len(world.seen()) == 31


def test_a_session_keeps_cookies(world):
    sets = world.on("/login", headers=[("Set-Cookie", "a=1; Path=/"), ("Set-Cookie", "b=2")])
    wants = world.on("/page", 200)

    with requests.Session() as session:
        assert dict(send(grequests.get(sets, session=session)).cookies) == {"a": "1", "b": "2"}
        send(grequests.get(wants, session=session))

    assert sorted(world.headers()["cookie"].split("; ")) == ["a=1", "b=2"]


def test_requests_without_a_session_share_none(world):
    sets = world.on("/login", headers={"Set-Cookie": "a=1; Path=/"})
    send(grequests.get(sets))
    send(grequests.get(world.on("/page", 200)))

    assert "cookie" not in world.headers()


def test_digest_auth(world):
    challenge = 'Digest realm="r", nonce="n", qop="auth", algorithm=MD5'

    def guard(request):
        if "Authorization" not in request.headers and "authorization" not in request.headers:
            return Answer(401, headers={"WWW-Authenticate": challenge})
        return Answer(200, b"welcome")

    auth = requests.auth.HTTPDigestAuth("ada", "secret")

    assert send(grequests.get(world.on("/", make=guard), auth=auth)).text == "welcome"
    assert world.headers()["authorization"].startswith(
        'Digest username="ada", realm="r", nonce="n"'
    )


def test_hooks_run(world):
    told = []
    url = world.on("/", 200, b"ok")

    send(grequests.get(url, callback=lambda response, **_: told.append(response.text)))

    assert told == ["ok"]


def test_an_adapters_retries(world):
    answers = iter([Answer(503), Answer(503, b"busy"), Answer(200, b"at last")])
    url = world.on("/", make=lambda _: next(answers))

    with requests.Session() as session:
        retry = Retry(total=3, status_forcelist=[503], backoff_factor=0)
        session.mount("http://", requests.adapters.HTTPAdapter(max_retries=retry))
        response = send(grequests.get(url, session=session))

    assert response.text == "at last"
    assert len(world.seen()) == 3


# --- streams -------------------------------------------------------------------------------------


def test_a_stream_is_read_piece_by_piece(world):
    url = world.on("/", 200, [b"0123456789"] * 10)

    with send(grequests.get(url, stream=True)) as response:
        assert list(response.iter_content(40)) == [b"0123456789" * 4] * 2 + [b"0123456789" * 2]


def test_lines_of_a_stream(world):
    url = world.on("/", 200, "".join(f'{{"n": {n}}}\n' for n in range(100)))

    response = send(grequests.get(url, stream=True))

    assert [json.loads(line)["n"] for line in response.iter_lines()] == list(range(100))


def test_a_stream_in_chunks_and_coded(world):
    headers = {"Content-Encoding": "gzip", "Transfer-Encoding": "chunked"}
    url = world.on("/", 200, gzip.compress(b"x" * 5000), headers=headers)

    assert send(grequests.get(url, stream=True)).content == b"x" * 5000


def test_a_stream_that_is_left(world):
    url = world.on("/", 200, b"large" * 100_000)

    response = send(grequests.get(url, stream=True))
    assert next(response.iter_content(10)) == b"largelarge"
    response.close()

    assert send(grequests.get(url)).content == b"large" * 100_000


# --- many ----------------------------------------------------------------------------------------


def test_many_at_once_in_the_order_of_the_requests(world):
    urls = [world.on(f"/{n}", 200, str(n)) for n in range(50)]

    responses = grequests.map([grequests.get(url) for url in urls], size=10)

    assert [response.text for response in responses] == [str(n) for n in range(50)]


def test_one_under_way_is_cut_off_and_the_next_works(world):
    silent = world.broken(Fault.READ_TIMEOUT)
    url = world.on("/", 200, b"ok")

    assert grequests.map([grequests.get(silent)], gtimeout=0.05) == [None]
    assert send(grequests.get(url)).text == "ok"


def test_a_greenlet_that_waits_is_killed_and_the_next_works(world):
    silent = world.broken(Fault.READ_TIMEOUT)
    url = world.on("/", 200, b"ok")

    job = grequests.send(grequests.get(silent))
    eventually(lambda: len(world.seen()) == 1)
    job.kill()

    assert send(grequests.get(url)).text == "ok"


# --- faults --------------------------------------------------------------------------------------

#: What each comes out as: the class, and one of those in it.
FAULTS = {
    Fault.REFUSED: (exceptions.ConnectionError, urllib3_errors.NewConnectionError),
    Fault.DNS: (exceptions.ConnectionError, urllib3_errors.NameResolutionError),
    Fault.CONNECT_TIMEOUT: (exceptions.ConnectTimeout, urllib3_errors.ConnectTimeoutError),
    Fault.TLS: (exceptions.SSLError, urllib3_errors.SSLError),
    Fault.READ_TIMEOUT: (exceptions.ReadTimeout, urllib3_errors.ReadTimeoutError),
    Fault.RESET: (exceptions.ConnectionError, ConnectionResetError),
    Fault.CLOSED: (exceptions.ConnectionError, ConnectionError),
    Fault.BODY_TIMEOUT: (exceptions.ConnectionError, urllib3_errors.ReadTimeoutError),
    Fault.BODY_RESET: (exceptions.ChunkedEncodingError, ConnectionResetError),
    Fault.TRUNCATED: (exceptions.ChunkedEncodingError, IncompleteRead),
}
TEXTS = {
    Fault.REFUSED: "Failed to establish a new connection: [Errno 111] Connection refused",
    Fault.DNS: "Failed to resolve 'd",
    Fault.CONNECT_TIMEOUT: "timed out. (connect timeout=0.5)",
    Fault.TLS: "[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed",
    Fault.READ_TIMEOUT: "Read timed out. (read timeout=0.5)",
    Fault.RESET: "('Connection aborted.', ConnectionResetError(104, 'Connection reset by peer'))",
    Fault.CLOSED: "('Connection aborted.', RemoteDisconnected('Remote end closed connection",
    Fault.BODY_TIMEOUT: "Read timed out.",
    Fault.BODY_RESET: "Connection broken: ConnectionResetError(104, 'Connection reset by peer')",
    Fault.TRUNCATED: "IncompleteRead(9 bytes read, 9 more expected)",
}


def layers(error):
    """An exception and those in it, as Requests and urllib3 wrap them."""
    while error is not None:
        yield error
        inner = [each for each in error.args if isinstance(each, Exception)]
        error = getattr(error, "reason", None) or (inner[-1] if inner else None)


def test_there_is_a_row_for_each_fault():
    assert FAULTS.keys() == TEXTS.keys() == set(Fault)


@pytest.mark.parametrize("fault", Fault)
def test_a_fault_comes_out_as_requests_has_it(world, fault):
    url = world.broken(fault)

    with pytest.raises(FAULTS[fault][0]) as caught:
        send(grequests.get(url, timeout=0.5 if "TIMEOUT" in fault.name else 5))

    assert type(caught.value) is FAULTS[fault][0]
    assert TEXTS[fault] in str(caught.value)
    assert any(isinstance(each, FAULTS[fault][1]) for each in layers(caught.value))
    if fault is not Fault.TRUNCATED and "BODY" not in fault.name:
        assert caught.value.request.url == url


@pytest.mark.parametrize("fault", [f for f in Fault if f.name.startswith(("BODY", "TRUNC"))])
def test_a_fault_in_a_stream_comes_out_as_it_is_read(world, fault):
    response = send(grequests.get(world.broken(fault), stream=True, timeout=0.5))
    assert response.status_code == 200

    with pytest.raises(FAULTS[fault][0]) as caught:
        _ = response.content

    assert type(caught.value) is FAULTS[fault][0]


@pytest.mark.parametrize("fault", Fault)
def test_after_a_fault_the_next_request_works(world, fault):
    broken, url = world.broken(fault), world.on("/", 200, b"ok")
    keywords = {"timeout": 0.5 if "TIMEOUT" in fault.name else 5}

    both = grequests.map([grequests.get(broken, **keywords), grequests.get(url)])

    assert [each and each.text for each in both] == [None, "ok"]
    assert send(grequests.get(url)).text == "ok"


def test_an_answer_that_is_late(world):
    if world.is_real:
        gate = world._server.hold("/late")
        url = world.url("/late")
        gevent.spawn_later(0.1, gate.open)
    else:
        url = world.on("/late", 200, b"/late", latency=0.1)

    with pytest.raises(exceptions.ReadTimeout):
        send(grequests.get(url, timeout=0.02))
    assert send(grequests.get(url, timeout=5)).text == "/late"
