"""The answer is a `requests.Response` in every respect."""

from __future__ import annotations

import copy
import io
import json
import pickle
from datetime import timedelta
from typing import Any

import pytest
import requests
import urllib3
from recording import Answer, Lanes, Recorder, assert_same, cookies_of, sealed_environment, snapshot
from requests.adapters import HTTPAdapter
from requests.cookies import RequestsCookieJar
from requests.structures import CaseInsensitiveDict

import grequests

BODY = '{"a": "ä"}\r\nzweite\n\ndritte'.encode()
HEAD = (
    b"HTTP/1.1 200 Fine\r\nServer: x\r\nContent-Type: application/json; charset=utf-8\r\n"
    b"X-Two: a\r\nx-two: b\r\nSet-Cookie: c=1; Path=/\r\nSet-Cookie: d=2\r\n"
    b'Link: <http://next/>; rel="next"\r\n'
)
FULL = HEAD + b"Content-Length: %d\r\n\r\n" % len(BODY) + BODY


@pytest.fixture(autouse=True)
def _sealed(tmp_path):
    with sealed_environment(tmp_path):
        yield


@pytest.fixture
def server():
    with Recorder() as one:
        one.default = Answer(FULL)
        yield one


@pytest.fixture
def response(server):
    return get(server)


def get(server: Recorder, path: str = "/path?q", **kwargs: Any) -> Any:
    [found] = grequests.map([grequests.get(f"{server.url}{path}", **kwargs)])
    assert type(found) is grequests.Response
    return found


def answer(status: str, *lines: str, body: bytes = b"") -> Answer:
    head = "\r\n".join([f"HTTP/1.1 {status}", *lines, f"Content-Length: {len(body)}", "", ""])
    return Answer(head.encode("latin-1") + body)


def test_its_class(response):
    assert isinstance(response, requests.Response)
    assert isinstance(response, grequests.Response)
    assert repr(response) == "<Response [200]>"
    assert type(response).__module__ == "grequests"


@pytest.mark.parametrize("status", [200, 204, 301, 399, 400, 404, 499, 500, 599, 600])
def test_its_truth(server, status):
    server.default = answer(f"{status} Whatever", body=b"" if status == 204 else b"x")
    ours, theirs = get(server), requests.get(server.url)
    assert bool(ours) is bool(theirs) is ours.ok
    assert ours.status_code == status


@pytest.mark.parametrize("status", ["404 Not Found", "503 Büsy", "418 "])
def test_raise_for_status(server, status):
    server.default = answer(status)
    ours, theirs = get(server, "/x"), requests.get(f"{server.url}/x")
    with pytest.raises(requests.HTTPError) as mine:
        ours.raise_for_status()
    with pytest.raises(requests.HTTPError) as expected:
        theirs.raise_for_status()
    assert str(mine.value) == str(expected.value)
    assert mine.value.response is ours
    assert mine.value.request is ours.request


def test_no_fault_no_exception(response):
    assert response.raise_for_status() is None


def test_text_and_encoding(server, response):
    assert response.encoding == "utf-8"
    assert response.text == BODY.decode()
    response.encoding = "latin-1"
    assert response.encoding == "latin-1"
    assert response.text == BODY.decode("latin-1")
    assert response.content == BODY
    theirs = requests.get(server.url)
    assert response.apparent_encoding == theirs.apparent_encoding


@pytest.mark.parametrize(
    ("kind", "encoding"),
    [("text/plain", "ISO-8859-1"), ("application/json", "utf-8"), ("image/png", None), ("", None)],
)
def test_encodings_that_are_guessed(server, kind, encoding):
    server.default = answer("200 OK", f"Content-Type: {kind}", body="größe".encode())
    ours, theirs = get(server), requests.get(server.url)
    assert ours.encoding == theirs.encoding == encoding
    assert ours.text == theirs.text


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-32", "utf-8-sig", "latin-1"])
def test_json(server, encoding):
    value = {"a": ["ä", None, 1.5]}
    server.default = answer("200 OK", body=json.dumps(value, ensure_ascii=False).encode(encoding))
    outcomes = []
    for found in (get(server), requests.get(server.url)):
        try:
            outcomes.append(found.json())
        except requests.exceptions.JSONDecodeError as error:
            outcomes.append(str(error))
    assert outcomes[0] == outcomes[1]


def test_json_that_is_none(server):
    server.default = answer("200 OK", body=b"nonsense")
    with pytest.raises(requests.exceptions.JSONDecodeError):
        get(server).json()


def test_headers(response):
    headers = response.headers
    assert type(headers) is CaseInsensitiveDict
    assert headers["x-TWO"] == "a, b"
    assert list(headers) == [
        *("Server", "Content-Type", "X-Two", "Set-Cookie", "Link", "Content-Length")
    ]
    assert headers["set-cookie"] == "c=1; Path=/, d=2"
    headers["new"] = "1"
    assert response.headers["New"] == "1"


def test_cookies(response):
    assert type(response.cookies) is RequestsCookieJar
    assert response.cookies.get_dict() == {"c": "1", "d": "2"}


def test_a_session_keeps_the_cookies(server):
    session = requests.Session()
    get(server, session=session)
    assert session.cookies.get_dict() == {"c": "1", "d": "2"}
    server.taken()
    get(server, session=session)
    assert b"\r\nCookie: c=1; d=2\r\n" in server.taken()[0]


def test_cookies_without_a_session_stay_where_they_are(server):
    get(server)
    server.taken()
    get(server)
    assert b"Cookie" not in server.taken()[0]


def test_links(response):
    assert response.links == {"next": {"url": "http://next/", "rel": "next"}}


def test_history_and_next(server):
    server.answers = {
        "/a": answer("302 Found", "Location: /b", "Set-Cookie: hop=1"),
        "/b": answer("307 Go", "Location: /c"),
    }
    found = get(server, "/a")
    assert [each.status_code for each in found.history] == [302, 307]
    assert [type(each) for each in found.history] == [grequests.Response] * 2
    assert [each.history for each in found.history] == [[], [found.history[0]]]
    assert found.url == f"{server.url}/c"
    assert found.next is None
    unfollowed = get(server, "/a", allow_redirects=False)
    assert unfollowed.is_redirect
    assert unfollowed.history == []
    assert unfollowed.next.url == f"{server.url}/b"
    assert unfollowed.next.headers["Cookie"] == "hop=1"


def test_next_can_be_sent_by_requests(server):
    server.answers = {"/a": answer("302 Found", "Location: /b")}
    unfollowed = get(server, "/a", allow_redirects=False)
    with requests.Session() as session:
        assert session.send(unfollowed.next).content == BODY


def test_elapsed(response):
    assert type(response.elapsed) is timedelta
    assert timedelta(0) < response.elapsed < timedelta(minutes=1)


def test_request(server):
    found = get(server, "/x", headers={"A": "b"}, auth=("u", "p"), cookies={"c": "d"})
    request = found.request
    assert type(request) is requests.PreparedRequest
    sent = server.taken()[0].decode()
    for name, value in request.headers.items():
        assert f"\r\n{name}: {value}\r\n" in sent
    assert (request.method, request.url, request.body) == ("GET", f"{server.url}/x", None)
    with requests.Session() as session:
        assert session.send(request).content == BODY
    assert server.taken()[0].decode() == sent


def test_requests_of_a_kind_do_not_share_what_can_be_changed(server):
    one, two = grequests.map([grequests.get(server.url) for _ in range(2)], size=1)
    one.request.headers["X-Mine"] = "1"
    one.headers["X-Mine"] = "1"
    one.request.hooks["response"].append(print)
    assert "X-Mine" not in two.request.headers
    assert "X-Mine" not in two.headers
    assert two.request.hooks == {"response": []}
    server.taken()
    get(server)
    assert b"X-Mine" not in server.taken()[0]


def test_connection(response):
    assert isinstance(response.connection, HTTPAdapter)


def test_the_connection_of_a_session_is_its_adapter(server):
    session = requests.Session()
    assert get(server, session=session).connection is session.get_adapter(server.url)


def test_raw(response):
    raw = response.raw
    assert type(raw) is urllib3.HTTPResponse
    assert raw.headers.getlist("x-two") == ["a", "b"]
    assert raw.headers.getlist("Set-Cookie") == ["c=1; Path=/", "d=2"]
    assert (raw.status, raw.reason, raw.version) == (200, "Fine", 11)
    assert getattr(raw, "version_string", "HTTP/1.1") == "HTTP/1.1"
    assert raw.read() == b""
    assert raw.getheader("server") == "x" if hasattr(raw, "getheader") else True
    raw.release_conn()
    raw.drain_conn()
    raw.close()
    assert raw.closed


def test_raw_pool(response, server):
    pool = response.raw._pool  # noqa: SLF001
    assert pool.host == "127.0.0.1"
    assert pool.port == server.port
    assert pool.pool.queue[-1].sock.fileno() > 0
    pool.close()
    assert pool.pool.queue == []


def test_iter_content(response):
    assert b"".join(response.iter_content(3)) == BODY
    assert list(response.iter_content(1000)) == [BODY]
    assert b"".join(response.iter_content(None)) == BODY
    assert "".join(response.iter_content(3, decode_unicode=True)) == BODY.decode()
    assert b"".join(response) == BODY
    with pytest.raises(TypeError):
        response.iter_content("3")


def test_iter_lines(server, response):
    theirs = requests.get(server.url)
    assert list(response.iter_lines()) == list(theirs.iter_lines())
    assert list(response.iter_lines(4)) == list(theirs.iter_lines(4))
    assert list(response.iter_lines(delimiter=b"t")) == list(theirs.iter_lines(delimiter=b"t"))
    assert list(response.iter_lines(decode_unicode=True)) == list(
        theirs.iter_lines(decode_unicode=True)
    )


def test_close_and_context_manager(response):
    with response as same:
        assert same is response
    response.close()
    assert response.raw.closed or response.raw.read() == b""
    response.close()
    assert response.content == BODY


@pytest.mark.parametrize("touch", [False, True])
@pytest.mark.parametrize("protocol", [2, pickle.HIGHEST_PROTOCOL])
def test_pickle(server, protocol, touch):
    server.answers = {"/a": answer("302 Found", "Location: /b")}
    found = get(server, "/a", headers={"A": "b"})
    theirs = requests.get(f"{server.url}/a", headers={"A": "b"})
    if touch:
        snapshot(found)
    copied = pickle.loads(pickle.dumps(found, protocol))  # noqa: S301
    expected = pickle.loads(pickle.dumps(theirs, protocol))  # noqa: S301
    assert isinstance(copied, requests.Response)
    assert vars(copied).keys() <= vars(expected).keys() | {"_next"}
    assert copied.raw is None
    assert copied.content == BODY
    assert list(copied.headers.items()) == list(expected.headers.items())
    assert copied.request.headers == expected.request.headers
    assert [each.status_code for each in copied.history] == [302]
    assert cookies_of(copied.cookies) == cookies_of(expected.cookies)
    assert (copied.reason, copied.encoding, copied.url) == ("Fine", "utf-8", found.url)
    assert copied.elapsed == found.elapsed
    assert copied.next is None
    assert pickle.loads(pickle.dumps(copied)).content == BODY  # noqa: S301


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy])
def test_copy(response, duplicate):
    copied = duplicate(response)
    assert isinstance(copied, requests.Response)
    assert copied.content == BODY
    assert copied.headers == response.headers
    assert copied.json is not None
    assert copied.text == response.text
    copied.close()


def test_attributes_can_be_set_and_deleted(response):
    for name, value in [
        ("reason", "r"),
        ("url", "u"),
        ("status_code", 7),
        ("headers", {}),
        ("raw", None),
    ]:
        setattr(response, name, value)
        assert getattr(response, name) == value
    response.encoding = None
    assert response.encoding is None
    response.raw = io.BytesIO(b"x")
    assert response.raw.read() == b"x"
    response._content = b"other"  # noqa: SLF001 - what many tests and hooks do
    assert response.text == "other"


def test_its_attributes_are_those_of_requests(server, response):
    theirs = requests.get(server.url)
    for name in vars(theirs):
        assert hasattr(response, name), name
    assert set(dir(theirs)) <= set(dir(response))


def test_order_of_touching_does_not_matter(server):
    names = [
        "raw",
        "cookies",
        "headers",
        "request",
        "history",
        "elapsed",
        "reason",
        "encoding",
        "_next",
    ]
    expected = snapshot(get(server))
    for first in names:
        found = get(server)
        getattr(found, first)
        assert_same(snapshot(found), expected)


# Framing


@pytest.mark.parametrize("status", [b"204 No Content", b"304 Not Modified"])
@pytest.mark.parametrize("lines", [b"", b"Content-Length: 5\r\n", b"Content-Type: x\r\n"])
def test_statuses_without_a_body(server, status, lines):
    server.default = Answer(b"HTTP/1.1 " + status + b"\r\n" + lines + b"\r\n")
    found = get(server)
    assert_same(snapshot(found), snapshot(requests.get(f"{server.url}/path?q")))
    assert found.content == b""


@pytest.mark.parametrize(
    "lines",
    [
        b"",
        b"Content-Length: 5\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"Content-Encoding: gzip\r\n",
    ],
)
def test_head_has_no_body(server, lines):
    server.default = Answer(b"HTTP/1.1 200 OK\r\n" + lines + b"\r\n")
    [found] = grequests.map([grequests.head(server.url)])
    assert_same(snapshot(found), snapshot(requests.head(server.url)))


def test_a_body_that_ends_with_the_connection(server):
    server.default = Answer(b"HTTP/1.0 200 OK\r\n\r\n" + b"x" * 200_000, close=True)
    found = get(server)
    assert found.content == b"x" * 200_000
    assert found.raw.version == 10


def test_interim_responses_are_skipped(server):
    """http.client takes any but 100 for the answer; RFC 9110 section 15.2 has them all skipped."""
    early = b"HTTP/1.1 103 Early Hints\r\nLink: </s>\r\n\r\n"
    server.default = Answer(b"HTTP/1.1 100 Continue\r\n\r\n" + early + early + FULL)
    assert get(server).content == BODY
    assert get(server).status_code == 200


def test_204_with_chunks_that_never_come(server):
    """Requests waits for a chunk that cannot come (RFC 9112 section 6.3, rule 1)."""
    server.default = Answer(b"HTTP/1.1 204 None\r\nTransfer-Encoding: chunked\r\n\r\n")
    assert get(server, timeout=20).content == b""


@pytest.mark.parametrize("kind", ["length", "chunked", "close"])
@pytest.mark.parametrize("size", [0, 1, 4095, 4096, 65536, 65537, 1_000_000])
def test_bodies_of_any_size(server, kind, size):
    body = bytes(range(256)) * (size // 256 + 1)
    body = body[:size]
    if kind == "length":
        data = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + body
    elif kind == "chunked":
        pieces = [body[at : at + 5000] for at in range(0, size, 5000)]
        data = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        data += b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"
    else:
        data = b"HTTP/1.1 200 OK\r\n\r\n" + body
    server.default = Answer(data, close=kind == "close")
    responses = grequests.map([grequests.get(server.url) for _ in range(3)], size=2)
    assert [each.content == body for each in responses] == [True] * 3


def test_hooks_see_and_replace_the_response(server):
    seen = []

    def hook(found: Any, **kwargs: Any) -> Any:
        seen.append((type(found), found.content, sorted(kwargs)))

    get(server, hooks={"response": hook})
    assert seen == [(grequests.Response, BODY, ["cert", "proxies", "stream", "timeout", "verify"])]
    other = requests.Response()
    other.status_code, other.raw, other._content = 299, None, b"mine"  # noqa: SLF001
    [found] = grequests.map([grequests.get(server.url, hooks={"response": lambda *_, **__: other})])
    assert found is other


def test_the_lanes_helper_compares_what_it_says(server):
    lanes = Lanes(server)
    assert lanes.compare(lambda: (None, "GET", f"{server.url}/", {})) is not None
    assert lanes.fast == 1
