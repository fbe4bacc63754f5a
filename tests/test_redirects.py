"""Redirect chains, each rule by name; test_differential.py has them by the hundred."""

from __future__ import annotations

import io
import ssl
from typing import Any

import pytest
import requests
import trustme
import urllib3.filepost
from recording import (
    LEFT_BY_REQUESTS,
    Answer,
    Lanes,
    Recorder,
    assert_same,
    sealed_environment,
    snapshot,
)
from requests.adapters import BaseAdapter, HTTPAdapter

import grequests
from grequests import _general

pytestmark = LEFT_BY_REQUESTS


@pytest.fixture(autouse=True)
def _sealed(tmp_path):
    with sealed_environment(tmp_path):
        yield


@pytest.fixture
def server():
    with Recorder() as one:
        yield one


@pytest.fixture
def lanes(server):
    return Lanes(server)


def to(location: str, status: int = 302, *lines: str) -> Answer:
    head = [f"HTTP/1.1 {status} Go", f"Location: {location}", *lines, "Content-Length: 0", "", ""]
    return Answer("\r\n".join(head).encode("latin-1"))


START = "http://example.test/start"


def chain(lanes: Lanes, answers: dict[str, Answer], method: str = "GET", **kwargs: Any) -> Any:
    lanes.server.answers = answers
    outcome = lanes.compare(lambda: (None, method, kwargs.get("url", START), {
        name: value for name, value in kwargs.items() if name != "url"
    }))  # fmt: skip
    assert outcome is not None
    return outcome


METHODS = {
    301: {"GET": "GET", "POST": "GET", "PUT": "PUT", "HEAD": "HEAD", "DELETE": "DELETE"},
    302: {"GET": "GET", "POST": "GET", "PUT": "GET", "HEAD": "HEAD", "DELETE": "GET"},
    303: {"GET": "GET", "POST": "GET", "PUT": "GET", "HEAD": "HEAD", "DELETE": "GET"},
    307: {"GET": "GET", "POST": "POST", "PUT": "PUT", "HEAD": "HEAD", "DELETE": "DELETE"},
    308: {"GET": "GET", "POST": "POST", "PUT": "PUT", "HEAD": "HEAD", "DELETE": "DELETE"},
}


@pytest.mark.parametrize("status", METHODS)
@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "HEAD", "DELETE"])
def test_the_method_of_the_next_request(lanes, status, method):
    outcome = chain(lanes, {"/start": to("/end", status)}, method, data={"a": "b"})
    assert outcome.wire[1].split(b" ")[0].decode() == METHODS[status][method]
    kept = status in (307, 308)
    assert outcome.wire[1].endswith(b"a=b") is kept
    assert (b"Content-Type" in outcome.wire[1]) is kept


@pytest.mark.parametrize("status", [300, 304, 305, 306, 201])
def test_other_statuses_with_a_location_are_answers(lanes, status):
    assert len(chain(lanes, {"/start": to("/end", status)}).wire) == 1


@pytest.mark.parametrize(
    ("location", "url"),
    [
        ("/end", "http://example.test/end"),
        ("end", "http://example.test/end"),
        ("./a/../end", "http://example.test/end"),
        ("/?x=y", "http://example.test/?x=y"),
        ("//b.test/end", "http://b.test/end"),
        ("http://b.test", "http://b.test/"),
        ("http://b.test:81/end", "http://b.test:81/end"),
        ("http://B.test/end", None),
        ("/a b/ä", None),
        ("/%7e/%zz", None),
        ("/end#new", "http://example.test/end#new"),
    ],
)
def test_where_a_location_leads(lanes, location, url):
    location = location.encode().decode("latin-1")
    lanes.server.answers = {"/start": to(location)}
    outcome = lanes.compare(lambda: (None, "GET", START, {}))
    if outcome is None:  # an upper-case host, say
        assert location == "http://B.test/end"
        return
    assert len(outcome.wire) == 2
    if url is not None:
        assert outcome.response["url"].rstrip("/") == url.rstrip("/")


def test_a_fragment_is_carried_on(lanes):
    answers = {"/start": to("/two"), "/two": to("/three#mine"), "/three": to("/four")}
    outcome = chain(lanes, answers, url=f"{START}#first")
    assert [each["url"].rpartition("/")[2] for each in outcome.response["history"]] == [
        "start#first", "two#first", "three#mine",
    ]  # fmt: skip
    assert outcome.response["url"] == "http://example.test/four#mine"


@pytest.mark.parametrize(
    ("location", "kept"),
    [
        *(("/end", True), ("http://example.test:80/end", True), ("http://b.test/end", False)),
        *(("http://example.test:81/end", False), ("http://u:p@b.test/end", False)),
        ("http://sub.example.test/end", False),
    ],
)
def test_credentials_stay_with_their_host(lanes, location, kept):
    answers = {"/start": to(location)}
    outcome = chain(lanes, answers, auth=("user", "pass"), headers={"Cookie": "mine=1"})
    assert (b"Authorization: Basic dXNlcjpwYXNz" in outcome.wire[1]) is kept
    assert b"mine=1" not in outcome.wire[1]


def test_cookies_set_on_the_way(lanes):
    answers = {
        "/start": to("/two", 302, "Set-Cookie: a=1"),
        "/two": to("/three", 302, "Set-Cookie: a=2", "Set-Cookie: b=1"),
        "/three": to("/four", 302, "Set-Cookie: a=; Max-Age=0"),
    }
    outcome = chain(lanes, answers)
    assert b"Cookie: a=1\r\n" in outcome.wire[1]
    assert b"Cookie: a=2; b=1\r\n" in outcome.wire[2]


def test_a_loop_ends(lanes):
    outcome = chain(lanes, {"/start": to("/start")})
    assert outcome.error["type"] is requests.TooManyRedirects
    assert len(outcome.wire) == 31


@pytest.mark.parametrize("limit", [0, 1, 2, 3])
@pytest.mark.parametrize("length", [0, 1, 2, 3])
@pytest.mark.parametrize("last", ["", "http://["])
def test_limits_and_what_the_last_one_says(lanes, limit, length, last):
    def make() -> Any:
        session = requests.Session()
        session.max_redirects = limit
        return session, "GET", "http://example.test/0", {}

    lanes.server.answers = {f"/{number}": to(f"/{number + 1}") for number in range(length)}
    lanes.server.answers[f"/{length}"] = to(last)
    assert lanes.compare(make) is not None


@pytest.mark.parametrize(
    "location", ["http://[", "/\xe4", "http://b.test:x/", "", "//", "http://b.test:99999"]
)
@pytest.mark.parametrize("kwargs", [{}, {"auth": ("u", "p")}])
@pytest.mark.parametrize("follow", [True, False])
def test_locations_that_lead_nowhere(lanes, location, follow, kwargs):
    lanes.server.answers = {"/start": to(location)}
    lanes.compare(lambda: (None, "GET", START, {"allow_redirects": follow, **kwargs}))
    assert lanes.fast + lanes.general == 1


def test_a_redirect_is_not_followed_if_not_wanted(lanes):
    outcome = chain(lanes, {"/start": to("/end", 307)}, "POST", data="x", allow_redirects=False)
    assert len(outcome.wire) == 1
    assert outcome.response["next"]["url"] == "http://example.test/end"
    assert outcome.response["next"]["body"] == "x"


def test_hooks_run_at_every_hop(server):
    server.answers = {"/start": to("/two"), "/two": to("/three")}
    seen = []
    hooks = {"response": lambda found, **_: seen.append(found.url.rpartition("/")[2])}
    grequests.map([grequests.get(f"{server.url}/start", hooks=hooks)])
    assert seen == ["start", "two", "three"]


def test_a_body_is_sent_again(lanes, monkeypatch):
    monkeypatch.setattr(urllib3.filepost, "choose_boundary", lambda: "boundary")
    answers = {"/start": to("/two", 307), "/two": to("http://b.test/three", 308)}
    outcome = chain(lanes, answers, "PUT", files={"f": ("name", b"content")})
    bodies = {each.partition(b"\r\n\r\n")[2] for each in outcome.wire}
    assert len(outcome.wire) == 3
    assert len(bodies) == 1


def test_from_http_to_https(server, tmp_path):
    authority = trustme.CA()
    path = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    with Recorder(context) as secure:
        server.answers = {"/start": to(f"{secure.url}/safe")}
        kwargs = {"verify": str(path), "auth": ("u", "p")}
        theirs = snapshot(requests.get(f"{server.url}/start", **kwargs))
        expected = secure.taken()
        [found] = grequests.map([grequests.get(f"{server.url}/start", **kwargs)])
        assert type(found) is grequests.Response
        assert_same(snapshot(found), theirs)
        assert secure.taken() == expected
        assert b"Authorization" not in expected[0]


# Where the chain leaves what the first request was asked about


class Marking(HTTPAdapter):
    """An adapter of the user's."""

    def send(self, request: Any, *args: Any, **kwargs: Any) -> Any:
        request.headers["X-Marked"] = "1"
        return super().send(request, *args, **kwargs)


def by_adapters(server: Recorder, adapters: dict[str, type[BaseAdapter]]) -> dict[str, Any]:
    """What comes of /start in a session with these adapters, the same both ways."""
    seen = []
    for send in (
        lambda session: session.get(f"{server.url}/start"),
        lambda session: grequests.get(f"{server.url}/start", session=session).send().response,
    ):
        with requests.Session() as session:
            for prefix, adapter in adapters.items():
                session.mount(prefix, adapter())
            found = send(session)
            seen.append(
                {
                    "url": found.url,
                    "content": found.content,
                    "history": [(each.status_code, each.url) for each in found.history],
                    "cookies": session.cookies.get_dict(),
                    "wire": server.taken(),
                }
            )
    theirs, ours = seen
    assert_same(ours, theirs)
    return ours


def test_a_hop_to_an_adapter_of_the_users(server):
    server.answers = {"/start": to("/special/x", 302, "Set-Cookie: a=1"), "/special/x": to("/end")}
    seen = by_adapters(server, {f"{server.url}/special": Marking})
    assert [b"X-Marked" in each for each in seen["wire"]] == [False, True, True]


@pytest.mark.parametrize("hooks", [None, {"response": lambda *_, **__: None}])
@pytest.mark.parametrize("kwargs", [{}, {"cookies": {"a": "1"}}, {"auth": ("me", "pw")}])
def test_a_port_that_is_none(server, hooks, kwargs):
    """It is refused when it is to be sent, as an `InvalidURL` of that request, and not before."""
    there = f"http://localhost:{server.port}"
    server.answers = {"/start": to(f"{there}/1"), "/1": to("http://localhost:x/")}
    with pytest.raises(requests.exceptions.InvalidURL) as theirs:
        requests.get(f"{server.url}/start", hooks=hooks, **kwargs)
    error = grequests.get(f"{server.url}/start", hooks=hooks, **kwargs).send().exception
    assert type(error) is requests.exceptions.InvalidURL
    assert str(error) == str(theirs.value)
    assert error.request.url == theirs.value.request.url


class Ending(BaseAdapter):
    """An adapter that is none of Requests', with nothing that it need not have."""

    def send(self, request: Any, *_: Any, **__: Any) -> requests.Response:
        response = requests.Response()
        response.status_code, response.url, response.request = 200, request.url, request
        response.raw = io.BytesIO(b"the end")
        return response

    def close(self) -> None:
        pass


@pytest.mark.parametrize("at", ["/special/x", "elsewhere:x"])
def test_a_hop_to_an_adapter_of_somebodys(server, at):
    server.answers = {"/start": to(at)}
    seen = by_adapters(server, {f"{server.url}/special": Ending, "elsewhere:": Ending})
    assert seen["content"] == b"the end"


@pytest.mark.parametrize("path", ["http://{0}:{1}/x", "http://{0}.:{1}/x"])
def test_a_chain_that_ends_in_the_general_lane(server, path, monkeypatch):
    """A host in capitals is one that only Requests knows how to treat."""
    target = path.format("LOCALHOST", server.port)
    server.answers = {"/start": to("/two"), "/two": to(target), "/x": to("/end")}
    calls = []
    perform = _general.perform_prepared
    monkeypatch.setattr(
        _general, "perform_prepared", lambda *args: (calls.append(args[1].url), perform(*args))[1]
    )
    request = grequests.get(f"{server.url}/start").send()
    try:
        theirs = requests.get(f"{server.url}/start")
    except requests.ConnectionError:
        assert isinstance(request.exception, requests.ConnectionError)
        return
    assert calls == [target]
    found = request.response
    assert found.url == theirs.url
    assert [each.url for each in found.history] == [each.url for each in theirs.history]
    assert found.content == theirs.content
