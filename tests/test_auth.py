"""Auth that is somebody's own code, in the fast lane: as Requests does it, and never in the way.

The first half sends generated auth by plain Requests and by GRequests, and compares what it was
given, what went on the wire and what came back. The second half is about waiting and failing.
"""

from __future__ import annotations

import contextvars
import json
import threading

import gevent
import pytest
import requests
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from recording import LEFT_BY_REQUESTS, Answer, Lanes, Recorder, request_of, sealed_environment
from requests.auth import AuthBase, HTTPBasicAuth, HTTPProxyAuth
from servers import answer, echo

import grequests
from grequests import _general, _stock
from grequests._engine import current_engine

pytestmark = [pytest.mark.timeout(60), LEFT_BY_REQUESTS]
PROPERTY = settings(
    max_examples=200,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture(scope="module", autouse=True)
def _sealed(tmp_path_factory):
    with sealed_environment(tmp_path_factory.mktemp("home")):
        yield


@pytest.fixture(scope="module")
def lanes():
    with Recorder() as server:
        server.answers["/cookie"] = Answer(
            b"HTTP/1.1 200 OK\r\nSet-Cookie: a=b; Path=/\r\nContent-Length: 0\r\n\r\n"
        )
        for code in (301, 302, 303, 307):
            server.answers[f"/{code}"] = _leads_to(code, "/cookie")
            server.answers[f"/{code}/away"] = _leads_to(code, "http://other.test/x")
        yield Lanes(server)


def _leads_to(code, place):
    return Answer(
        f"HTTP/1.1 {code} Go\r\nLocation: {place}\r\nContent-Length: 2\r\n\r\ngo".encode()
    )


# --- the same as in Requests ---------------------------------------------------------------------

HEADER = st.tuples(
    st.sampled_from(["Authorization", "authorization", "X-A", "Cookie", "Host", "Accept"]),
    st.sampled_from(["Bearer x", b"Bearer x", "", "ä", "日", "a\nb", "a\r\n b", " x", None, 1]),
)
FRAMING = st.tuples(
    st.sampled_from(["Content-Length", "Transfer-Encoding", "Expect", "Connection"]),
    st.sampled_from(["0", "3", "7", "chunked", "close", "keep-alive"]),
)
CHANGES = st.one_of(
    st.tuples(st.just("header"), st.one_of(HEADER, HEADER, FRAMING)),
    st.tuples(
        st.just("drop"), st.sampled_from(["User-Agent", "Accept-Encoding", "Content-Length"])
    ),
    st.tuples(
        st.just("url"),
        st.sampled_from(
            ["http://example.test/b?sig=1", "http://other.test/", "http://example.test/a b#f"]
            + ["http://u:p@example.test/", "http://EXAMPLE.test/./x", "ftp://x/", "", None],
        ),
    ),
    st.tuples(st.just("body"), st.sampled_from(["", "text", "ä", b"", b"raw", None])),
    st.tuples(st.just("method"), st.sampled_from(["POST", "PATCH", "get", "HEAD", "BAD METHOD"])),
    st.tuples(st.just("plain dict"), st.none()),
    st.tuples(st.just("cookies"), st.just({"c": "d"})),
    st.tuples(st.just("prepare url"), st.just({"signed": "yes"})),
    st.tuples(st.just("other"), st.sampled_from(["copy", "None", "raise", "object"])),
)


class Scripted(AuthBase):
    """Does what it is told, and writes down what it was given."""

    def __init__(self, script):
        self.script = script
        self.given = []

    def __call__(self, r):
        self.given.append(request_of(r))
        for verb, what in self.script:
            r = self.change(r, verb, what)
        return r

    def change(self, r, verb, what):
        if verb == "header":
            r.headers[what[0]] = what[1]
        elif verb == "drop":
            r.headers.pop(what, None)
        elif verb in ("url", "body", "method"):
            setattr(r, verb, what)
        elif verb == "plain dict":
            r.headers = dict(r.headers)
        elif verb == "cookies":
            r.prepare_cookies(what)
        elif verb == "prepare url":
            r.prepare_url(r.url, what)
        elif what == "copy":
            return r.copy()
        elif what == "raise":
            msg = "no token"
            raise LookupError(msg)
        else:
            return None if what == "None" else object()
        return r


REQUEST = st.tuples(
    st.sampled_from(["GET", "POST", "HEAD", "DELETE"]),
    st.sampled_from(["/", "/cookie", "/302", "/307/away", "/a%20b?x=|", "//x"]),
    st.sampled_from(
        [{}, {"data": {"a": "ä"}}, {"json": [1]}, {"data": b"raw"}, {"params": {"q": "1"}}]
        + [
            {"stream": True},
            {"cookies": {"k": "v"}},
            {"headers": {"Authorization": "mine"}, "data": "text"},
        ]
    ),
    st.sampled_from(["request", "session", "function", "both"]),
)


@PROPERTY
@given(REQUEST, st.lists(CHANGES, max_size=3))
def test_whatever_an_auth_makes_of_a_request(lanes, request_, script):
    method, path, kwargs, where = request_
    if path == "/307/away":  # Requests sends such cookies to any host
        kwargs = {name: value for name, value in kwargs.items() if name != "cookies"}
        script = [each for each in script if each[0] != "cookies"]
    given_ = []

    def make():
        auth = Scripted(script)
        given_.append(auth.given)
        session, own = None, dict(kwargs)
        if where in ("session", "both"):
            session = requests.Session()
            session.auth = auth
        if where == "both":
            session.auth = ("u", "p")
        if where in ("request", "both"):
            own["auth"] = auth
        elif where == "function":
            own["auth"] = lambda r: auth(r)
        return session, method, f"http://example.test{path}", own

    if lanes.compare(make) is not None:
        ours, theirs = given_
        assert ours == theirs
        assert len(ours) == 1
    else:
        # What it has signed is not signed again by the general lane.
        assert len(given_[0]) <= 1


def test_most_of_these_took_the_fast_lane(lanes):
    assert lanes.fast > 80


@pytest.mark.parametrize("kind", [HTTPBasicAuth, HTTPProxyAuth])
@pytest.mark.parametrize("path", ["/", "/302", "/302/away"])
@pytest.mark.parametrize("where", ["request", "session"])
@pytest.mark.parametrize("proxy", [None, "http://proxy.test:3128", "http://a:b@proxy.test:3128"])
def test_auth_of_requests_own(lanes, kind, path, where, proxy):
    def make():
        auth = type("Mine", (kind,), {})("ü", b"p") if where == "session" else kind("ü", "p:q")
        session = requests.Session()
        session.auth = auth if where == "session" else None
        kwargs = {"auth": auth} if where == "request" else {}
        if proxy is not None:
            kwargs["proxies"] = {"http": proxy}
        return session, "GET", f"http://example.test{path}", kwargs

    assert lanes.compare(make) is not None


def test_requests_with_the_same_basic_auth_share_a_template_until_it_changes(lanes):
    def make():
        auth = HTTPBasicAuth("u", "p")
        session = requests.Session()
        session.auth = HTTPBasicAuth("a", "b")

        def wanted():
            for user in ("u", "v", "v"):
                auth.username = session.auth.username = user
                yield "GET", "http://example.test/a", {"auth": auth}
                yield "GET", "http://example.test/a", {}

        return session, wanted()

    session, wanted = make()
    with lanes._engine_everywhere():  # noqa: SLF001
        lanes.server.taken()
        sent = (grequests.request(m, u, session=session, **k) for m, u, k in wanted)
        assert [r.status_code for r in grequests.imap(sent, size=1)] == [200] * 6
    ours = lanes.server.taken()
    session, wanted = make()
    with lanes._requests_everywhere(), session:  # noqa: SLF001
        for method, url, kwargs in wanted:
            session.request(method, url, **kwargs)
    assert ours == lanes.server.taken()


def test_netrc_counts_where_there_is_no_auth(lanes, tmp_path, monkeypatch):
    netrc = tmp_path / "netrc"
    netrc.write_text("machine example.test login n password r\n")
    monkeypatch.setenv("NETRC", str(netrc))
    for auth in (None, Scripted([("header", ("X-A", "b"))]), ("u", "p")):

        def make(auth=auth):
            return None, "GET", "http://example.test/", {"auth": auth}

        assert lanes.compare(make) is not None


# --- waiting and failing -------------------------------------------------------------------------


@pytest.fixture
def fast(monkeypatch):
    """The general lane is out of bounds."""

    def refuse(*_):
        pytest.fail("it took the general lane")

    for name in ("perform", "perform_prepared", "perform_signed"):
        monkeypatch.setattr(_general, name, refuse)


def bearer(r):
    r.headers["Authorization"] = "Bearer token"
    return r


@pytest.mark.usefixtures("no_leaks", "fast")
def test_auths_wait_side_by_side_and_keep_nobody_waiting(server):
    everybody = gevent.event.Event()
    waiting = []

    def patient(r):
        waiting.append(r.url)
        if len(waiting) == 20:
            everybody.set()
        assert everybody.wait(10)
        return bearer(r)

    server.on("/*", echo)
    wanted = [grequests.get(server.url(f"/{n}"), auth=patient) for n in range(20)]
    seen = [json.loads(r.content)["headers"] for r in grequests.map(wanted)]
    assert [each["authorization"] for each in seen] == ["Bearer token"] * 20
    assert sorted(waiting) == sorted(server.url(f"/{n}") for n in range(20))


@pytest.mark.usefixtures("no_leaks", "fast")
def test_an_auth_may_send_requests_itself(server):
    """As one that fetches a token does: by us, by Requests, by whatever blocks."""
    server.on("/token", lambda _: answer(b"t0ken"))
    server.on("/*", echo)

    def by_grequests(r):
        (response,) = grequests.map([grequests.get(server.url("/token"))])
        r.headers["Authorization"] = response.text
        return r

    def by_requests(r):
        r.headers["Authorization"] = requests.get(server.url("/token"), timeout=5).text
        return r

    for auth in (by_grequests, by_requests):
        wanted = [grequests.get(server.url(f"/{n}"), auth=auth) for n in range(10)]
        seen = [json.loads(r.content)["headers"] for r in grequests.map(wanted, size=4)]
        assert [each["authorization"] for each in seen] == ["t0ken"] * 10


@pytest.mark.usefixtures("no_leaks", "fast")
def test_what_an_auth_raises_is_the_outcome_of_its_request_alone(server):
    failures = [ValueError("no"), KeyError("k"), requests.ConnectionError("token server")]

    def failing(error):
        def auth(_):
            raise error

        return auth

    wanted = [grequests.get(server.url("/a"), auth=failing(error)) for error in failures]
    wanted.insert(1, grequests.get(server.url("/b"), auth=bearer))
    told = []
    found = grequests.map(wanted, exception_handler=lambda _, error: told.append(error))
    assert [r and r.status_code for r in found] == [None, 200, None, None]
    assert told == failures
    assert [id(error) for error in told] == [id(error) for error in failures]
    assert server.targets() == ["/b"]


@pytest.mark.usefixtures("no_leaks", "fast")
def test_the_deadline_of_a_map_ends_an_auth_that_waits(server):
    ended = []

    def stuck(_):
        try:
            gevent.sleep(60)
        finally:
            ended.append("ended")

    wanted = [grequests.get(server.url("/a"), auth=stuck), grequests.get(server.url("/b"))]
    found = grequests.map(wanted, gtimeout=0.3)
    assert [r and r.status_code for r in found] == [None, 200]
    gevent.sleep(0)
    assert ended == ["ended"]
    assert server.targets() == ["/b"]


@pytest.mark.usefixtures("no_leaks", "fast")
def test_an_auth_sees_the_callers_context_and_keeps_its_own_changes(server):
    variable = contextvars.ContextVar("variable", default="nobody")
    seen = []

    def auth(r):
        seen.append(variable.get())
        variable.set(r.url)
        return r

    variable.set("caller")
    wanted = [grequests.get(server.url(f"/{n}"), auth=auth) for n in range(3)]
    assert [r.status_code for r in grequests.map(wanted)] == [200] * 3
    assert seen == ["caller"] * 3
    assert variable.get() == "caller"


@pytest.mark.usefixtures("no_leaks")
@pytest.mark.parametrize("alone", [True, False])
def test_an_auth_and_its_hooks_run_in_one_greenlet(server, alone):
    """Auth keeps state in thread-locals, which are greenlet-locals in a patched process."""
    server.on("/401", lambda request: answer(*_first_refuse(request)))
    where = {}

    class Renewing(AuthBase):
        def __call__(self, r):
            where[r.url] = [gevent.getcurrent(), threading.get_ident()]
            r.register_hook("response", self.renew)
            return r

        def renew(self, r, **kwargs):
            assert where[r.url] == [gevent.getcurrent(), threading.get_ident()]
            if r.status_code != 401:
                return r
            assert r.content == b"no"
            r.close()
            again = bearer(r.request.copy())
            renewed = r.connection.send(again, **kwargs)
            renewed.history.append(r)
            return renewed

    count = 1 if alone else 10
    wanted = [grequests.get(server.url(f"/401?{n}"), auth=Renewing()) for n in range(count)]
    found = grequests.map(wanted)
    assert [r.status_code for r in found] == [200] * count
    assert [[each.status_code for each in r.history] for r in found] == [[401]] * count
    assert len(where) == count


def _first_refuse(request):
    if "authorization" in request.headers:
        return b"welcome", "200 OK"
    return b"no", "401 Unauthorized", "WWW-Authenticate: Bearer"


@pytest.mark.usefixtures("no_leaks")
def test_somebody_who_looks_on_is_seen_by_requests_with_auth_too(server, monkeypatch):
    seen = []
    original = requests.Session.send

    def send(self, request, **kwargs):
        seen.append(request.url)
        return original(self, request, **kwargs)

    monkeypatch.setattr(requests.Session, "send", send)
    assert not _stock.untouched()
    wanted = [grequests.get(server.url(f"/{n}"), auth=bearer) for n in range(2)]
    assert [r.status_code for r in grequests.map(wanted)] == [200] * 2
    assert sorted(seen) == [server.url("/0"), server.url("/1")]


@pytest.mark.usefixtures("no_leaks")
def test_nor_is_anybody_overlooked_whom_the_auth_itself_lets_in(server, monkeypatch):
    seen = []
    original = requests.adapters.HTTPAdapter.send

    def send(self, request, **kwargs):
        seen.append(request.path_url)
        return original(self, request, **kwargs)

    def auth(r):
        monkeypatch.setattr(requests.adapters.HTTPAdapter, "send", send)
        return bearer(r)

    wanted = [grequests.get(server.url("/a"), auth=auth), grequests.get(server.url("/b"))]
    assert [r.status_code for r in grequests.imap(iter(wanted), size=1)] == [200] * 2
    assert seen == ["/a", "/b"]


@pytest.mark.usefixtures("no_leaks", "fast")
def test_a_run_with_auth_uses_its_connections_again(server):
    before = current_engine().statistics().opened
    wanted = [grequests.get(server.url(f"/{n}"), auth=bearer) for n in range(50)]
    assert [r.status_code for r in grequests.imap(wanted, size=1)] == [200] * 50
    assert current_engine().statistics().opened == before + 1
