"""HTTPDigestAuth in the fast lane: as in Requests, and many at once with one nonce."""

from __future__ import annotations

import copy
import io
import os
import re
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest
import requests
import requests.auth
from digest import Realm
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from recording import (
    LEFT_BY_REQUESTS,
    OK,
    Answer,
    Lanes,
    Recorder,
    cookies_of,
    describe,
    sealed_environment,
)
from requests.auth import HTTPDigestAuth
from servers import Gate, answer
from urllib3.util.retry import Retry

import grequests
from grequests import _general
from grequests._engine import current_engine

pytestmark = [pytest.mark.timeout(60), LEFT_BY_REQUESTS]
PROPERTY = settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture(scope="module", autouse=True)
def _sealed(tmp_path_factory):
    with sealed_environment(tmp_path_factory.mktemp("home")):
        yield


@pytest.fixture
def fast(monkeypatch):
    """The general lane is out of bounds."""

    def refuse(*_):
        pytest.fail("it took the general lane")

    for name in ("perform", "perform_prepared", "perform_signed"):
        monkeypatch.setattr(_general, name, refuse)


# --- the same as in Requests ---------------------------------------------------------------------


class Site:
    """A recorder whose paths ask for credentials; begun anew for each side of a comparison."""

    def __init__(self, recorder, **realm):
        self.recorder = recorder
        self.how = realm
        self.headers = ()
        self.refusal = b"no"
        self.chunked = False
        self.begin()

    def begin(self):
        self.realm = Realm(**self.how)
        self.recorder.answers.clear()
        self.recorder.default = self.answer

    def answer(self, request):
        line, _, rest = request.partition(b"\r\n")
        method, target, _ = line.decode("latin-1").split(" ")
        found = re.search(rb"\r\nAuthorization: ([^\r]*)", b"\r\n" + rest)
        challenge = self.realm.check(method, target, found and found[1].decode("latin-1"))
        if challenge is not None:
            return self.refuse(challenge)
        to = re.search(r"to=(.*)", target)
        if to is None:
            return Answer(OK)
        return Answer(
            f"HTTP/1.1 302 Found\r\nLocation: {to[1]}\r\nSet-Cookie: hop=1\r\n"
            "Content-Length: 2\r\n\r\ngo".encode()
        )

    def refuse(self, challenge):
        body = self.refusal
        lines = [
            "HTTP/1.1 401 Unauthorized",
            f"WWW-Authenticate: {challenge}",
            "Set-Cookie: refused=1; Path=/",
            *self.headers,
            "Transfer-Encoding: chunked" if self.chunked else f"Content-Length: {len(body)}",
        ]
        if self.chunked:
            body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
        return Answer("\r\n".join(lines).encode() + b"\r\n\r\n" + body)


@pytest.fixture(scope="module")
def lanes():
    with Recorder() as server:
        yield Lanes(server)


@pytest.fixture(autouse=True)
def _no_chance(monkeypatch):
    """The client's own nonces are the same on both sides."""
    fixed = SimpleNamespace(**{**vars(os), "urandom": lambda n: b"r" * n})
    monkeypatch.setattr(requests.auth, "os", fixed)
    monkeypatch.setattr(
        requests.auth, "time", SimpleNamespace(**{**vars(time), "ctime": lambda: "t"})
    )


def auth():
    return HTTPDigestAuth("user", "secret")


def compare(lanes, site, method="GET", path="/a", session=None, **kwargs):
    """One request both ways, with an auth of its own each time."""

    def make():
        site.begin()
        own = session() if session else None
        used = {name: copy.deepcopy(value) for name, value in kwargs.items()}
        if own is None or own.auth is None:
            used["auth"] = auth()
        return own, method, f"http://example.test{path}", used

    outcome = lanes.compare(make)
    assert outcome is not None, "it took the general lane"
    return outcome


CHALLENGES = [
    *[(algorithm, "auth") for algorithm in ("MD5", "md5", "MD5-sess", "SHA", "SHA-256", "SHA-512")],
    *[(None, "auth"), ("MD5", None), (None, None), ("SHA-256", None), ("MD5", "auth,auth-int")],
]


@pytest.mark.parametrize(("algorithm", "qop"), CHALLENGES)
def test_what_a_challenge_may_ask_for(lanes, algorithm, qop):
    site = Site(lanes.server, algorithm=algorithm, qop=qop)
    outcome = compare(lanes, site)
    assert outcome.response["status_code"] == 200
    assert [each["status_code"] for each in outcome.response["history"]] == [401]
    assert site.realm.refused == [None]


@pytest.mark.parametrize(("algorithm", "qop"), [("MD5", "auth-int"), ("SHA-3", "auth")])
def test_what_requests_cannot_answer(lanes, algorithm, qop):
    site = Site(lanes.server, algorithm=algorithm, qop=qop)
    outcome = compare(lanes, site)
    assert outcome.response["status_code"] == 401
    assert len(outcome.wire) == 2


@pytest.mark.parametrize(
    "challenge",
    [
        *("Digest", "digest ", 'Digest realm="x"', 'Digest nonce="n"', "Basic realm=x", ""),
        *("Digest realm", 'Digest realm="r, nonce=n', "DIGEST realm=r, nonce=n, qop=auth"),
        *('Basic realm="b", Digest realm="r", nonce="n"', "Digest realm=r, nonce=n, qop=,"),
        *("Digest realm=\xe4, nonce=\xdf", "Digest =,=,=", 'Digest realm="r", nonce="", qop="x"'),
    ],
)
def test_challenges_that_are_none(lanes, challenge):
    site = Site(lanes.server)
    site.refuse = lambda _: Answer(
        b"HTTP/1.1 401 No\r\nWWW-Authenticate: "
        + challenge.encode("latin-1")
        + b"\r\nContent-Length: 2\r\n\r\nno"
    )
    compare(lanes, site)


def test_a_401_without_a_challenge(lanes):
    site = Site(lanes.server)
    site.refuse = lambda _: Answer(b"HTTP/1.1 401 No\r\nContent-Length: 2\r\n\r\nno")
    assert len(compare(lanes, site).wire) == 1


def test_a_wrong_password_is_tried_once(lanes):
    site = Site(lanes.server, password="other")
    outcome = compare(lanes, site)
    assert outcome.response["status_code"] == 401
    assert site.realm.refused == [None, "response"]


SHAPES = {
    "long": {"refusal": b"x" * 300_000},
    "chunked": {"chunked": True, "refusal": b"y" * 5000},
    "empty": {"refusal": b""},
    "closing": {"headers": ("Connection: close",)},
    "wrongly gzipped": {"headers": ("Content-Encoding: gzip",)},
}


@pytest.mark.parametrize("shape", SHAPES)
def test_the_body_of_the_401(lanes, shape):
    site = Site(lanes.server)
    vars(site).update(SHAPES[shape])
    plain_refuse = site.refuse
    if shape == "closing":
        site.refuse = lambda challenge: Answer(plain_refuse(challenge).data, close=True)
    compare(lanes, site)


def test_a_server_that_leaves_in_the_middle(lanes):
    site = Site(lanes.server)
    whole = site.answer
    # (What is cut within the head is no answer to us, and one to Requests.)
    for cut in (0, -1):
        # A dead connection that was kept alive is tried once more, unlike in Requests.
        for which in (0, 1) if cut else (0,):
            count = []

            def answer_(request, cut=cut, which=which, count=count):
                count.append(request)
                data = whole(request).data
                return Answer(data[:cut], close=True) if len(count) - 1 == which else Answer(data)

            def begin(count=count, answer_=answer_):
                Site.begin(site)
                count.clear()
                lanes.server.default = answer_

            site.begin = begin
            compare(lanes, site)


@pytest.mark.parametrize("fault", ["503", "reset"])
def test_retries_of_the_second_request(lanes, fault):
    """The adapter's `Retry` counts for each of the two requests from its beginning."""
    site = Site(lanes.server)
    plain_begin, whole = site.begin, site.answer
    faults = []

    def answer_(request):
        told = whole(request)
        if told.data.startswith(b"HTTP/1.1 200") and not faults:
            faults.append(fault)
            if fault == "reset":
                return Answer(b"", reset=True)
            return Answer(b"HTTP/1.1 503 Later\r\nContent-Length: 5\r\n\r\nlater")
        return told

    def begin():
        plain_begin()
        faults.clear()
        lanes.server.default = answer_

    def session():
        own = requests.Session()
        retries = Retry(2, status_forcelist=[503], backoff_factor=0)
        own.mount("http://", requests.adapters.HTTPAdapter(max_retries=retries))
        return own

    site.begin = begin
    assert len(compare(lanes, site, session=session).wire) == 3


@pytest.mark.parametrize("verb", ["raises", "replaces", "sends elsewhere"])
def test_hooks_behind_digests_own(lanes, verb):
    site = Site(lanes.server)

    def hook(r, **kwargs):
        if verb == "raises":
            msg = "no"
            raise LookupError(msg)
        if verb == "replaces":
            replaced = requests.Response()
            replaced.status_code, replaced.url, replaced._content = 299, r.url, b"mine"  # noqa: SLF001
            replaced.request, replaced.raw = r.request, r.raw
            return replaced
        following = r.request.copy()
        following.url = "http://example.test/elsewhere"
        return r.connection.send(following, **kwargs)

    def make():
        site.begin()
        kwargs = {"auth": auth(), "hooks": {"response": hook}}
        return requests.Session(), "GET", "http://example.test/a", kwargs

    with lanes._engine_everywhere():  # noqa: SLF001
        session, method, url, kwargs = make()
        request = grequests.request(method, url, session=session, **kwargs)
        lanes.server.taken()
        request.send()
        ours = lanes.server.taken(), cookies_of(session.cookies)
    with lanes._requests_everywhere():  # noqa: SLF001
        session, method, url, kwargs = make()
        try:
            response, error = session.request(method, url, **kwargs), None
        except LookupError as raised:
            response, error = None, raised
        assert ours == (lanes.server.taken(), cookies_of(session.cookies))
    if error is not None:
        assert describe(request.exception) == describe(error)
        return
    for name in ("status_code", "url", "content", "reason", "ok"):
        assert getattr(request.response, name) == getattr(response, name)
    assert [each.status_code for each in request.response.history] == [
        each.status_code for each in response.history
    ]
    session.close()


METHODS = st.sampled_from(["GET", "HEAD", "POST", "PUT"])
#: None leads to another host: what comes of that is in tests/faults, and Requests is less careful.
PATHS = st.sampled_from(["/", "/a?b=c", "/a%20b", "/a|b?x=ü", "/?to=/b", "/a#f"])
BODIES = st.sampled_from(
    [{}, {"data": {"a": "b"}}, {"json": [1]}, {"data": "ä"}, {"cookies": {"c": "d"}}]
    + [{"stream": True}, {"stream": True, "data": "x"}]
    + [{"allow_redirects": False}, {"headers": {"Authorization": "mine"}}]
)
WHERE = st.sampled_from(["none", "session", "session.auth"])


@PROPERTY
@given(METHODS, PATHS, BODIES, WHERE, st.booleans(), st.integers(0, 2))
def test_flows(lanes, method, path, kwargs, where, fresh, uses):
    site = Site(lanes.server, fresh=fresh, uses=uses)

    def session():
        own = requests.Session()
        own.auth = auth() if where == "session.auth" else None
        return own

    compare(lanes, site, method, path, None if where == "none" else session, **kwargs)


@pytest.mark.parametrize("where", ["none", "session"])
@pytest.mark.parametrize("uses", [1, 2, 100])
def test_one_after_the_other_with_one_auth(lanes, where, uses):
    """What the first learns serves the others; a nonce that is used up is asked for anew."""
    site = Site(lanes.server, uses=uses)

    def make():
        site.begin()
        shared = auth()
        session = requests.Session() if where == "session" else None
        paths = ["/a", "/b?c", "/?to=/x", "/d", "/e"]
        return session, [("GET", f"http://example.test{path}", {"auth": shared}) for path in paths]

    lanes.compare_run(make)
    if uses == 100:
        # The redirect is followed with the credentials of where it came from.
        assert site.realm.refused == [None, "uri"]


@pytest.mark.parametrize("kind", ["bytes", "text", "file at a place", "multipart"])
def test_bodies_are_sent_twice(lanes, kind, tmp_path):
    path = tmp_path / "body"
    path.write_bytes(b"0123456789" * 1000)
    site = Site(lanes.server)

    def make():
        site.begin()
        kwargs = {"auth": auth()}
        if kind == "bytes":
            kwargs["data"] = b"\x00" * 1000
        elif kind == "text":
            kwargs["data"] = "ü" * 1000
        elif kind == "multipart":
            kwargs["files"] = {"f": ("n", b"content")}
        else:
            kwargs["data"] = io.BytesIO(path.read_bytes())
            kwargs["data"].seek(10)
        return None, "POST", "http://example.test/a", kwargs

    ours = lanes.ours(make)
    assert ours is not None
    assert _without_boundaries(ours.wire) == _without_boundaries(lanes.plain(make).wire)
    first, second = (each.partition(b"\r\n\r\n")[2] for each in ours.wire)
    assert first == second != b""


def _without_boundaries(wire):
    chosen = re.search(rb"boundary=(\w+)", wire[0])
    return [each.replace(chosen[1], b"boundary") for each in wire] if chosen else wire


# --- many at once --------------------------------------------------------------------------------


def guarded(realm):
    """A handler that asks for credentials."""

    def handle(request):
        given_ = request.headers.get("authorization")
        challenge = realm.check(request.method, request.target, given_)
        if challenge is None:
            return answer(request.target.encode())
        return answer(b"no", "401 Unauthorized", f"WWW-Authenticate: {challenge}")

    return handle


@pytest.mark.usefixtures("no_leaks", "fast")
@pytest.mark.parametrize("where", ["none", "session", "session.auth"])
@pytest.mark.parametrize("how", [{}, {"fresh": True}, {"uses": 7}, {"qop": None}])
def test_a_hundred_at_once_with_one_auth(server, where, how):
    realm = Realm(**how)
    server.on("/*", guarded(realm))
    shared = auth()
    session = None if where == "none" else requests.Session()
    kwargs = {} if where == "session.auth" else {"auth": shared}
    if where == "session.auth":
        session.auth = shared
    urls = [server.url(f"/{n}") for n in range(100)]
    found = grequests.map([grequests.get(url, session=session, **kwargs) for url in urls])
    wrong = [r.status_code for r in found if r.status_code != 200]
    if "uses" not in how:
        assert wrong == []
    assert [r.text for r in found if r.ok] == [f"/{n}" for n, r in enumerate(found) if r.ok]
    assert set(realm.refused) <= {None, "stale"}
    assert len(realm.accepted) == len(set(realm.accepted)) == 100 - len(wrong)


@pytest.mark.usefixtures("no_leaks", "fast")
def test_what_one_has_learned_serves_all_others_and_the_owner(server):
    realm = Realm()
    server.on("/*", guarded(realm))
    shared = auth()
    first = grequests.map([grequests.get(server.url("/first"), auth=shared)])
    urls = [server.url(f"/{n}") for n in range(50)]
    found = grequests.map([grequests.get(url, auth=shared) for url in urls], size=10)
    assert [r.status_code for r in [*first, *found]] == [200] * 51
    assert [len(r.history) for r in [*first, *found]] == [1, *[0] * 50]
    assert requests.get(server.url("/owner"), auth=shared, timeout=5).status_code == 200
    assert realm.refused == [None]
    assert sorted(count for _, count in realm.accepted) == [f"{n:08x}" for n in range(1, 53)]


@pytest.mark.usefixtures("no_leaks", "fast")
@pytest.mark.parametrize("by", ["map", "keyword"])
def test_streamed_answers(server, by):
    """The 401 is read at once, its connection is used again, and the answer is the user's to read."""
    long = b"0123456789" * 30_000
    realm = Realm()
    plain = guarded(realm)

    def handle(request):
        told = plain(request)
        return answer(long) if told.startswith(b"HTTP/1.1 200") else told

    server.on("/*", handle)
    shared = auth()
    kwargs = {"stream": True} if by == "keyword" else {}
    urls = [server.url(f"/{n}") for n in range(20)]
    opened = current_engine().statistics().opened
    (first,) = grequests.map([grequests.get(urls[0], auth=shared, **kwargs)], stream=by == "map")
    assert (first.status_code, len(first.history)) == (200, 1)
    assert not first._content_consumed  # noqa: SLF001
    assert b"".join(first.iter_content(10_000)) == long
    assert current_engine().statistics().opened == opened + 1
    wanted = [grequests.get(url, auth=shared, **kwargs) for url in urls]
    for response in grequests.map(wanted, stream=by == "map"):
        assert response.history == []
        assert response.raw.read(10) == b"0123456789"
        assert len(response.content) == len(long) - 10
    assert realm.refused == [None]


@pytest.mark.usefixtures("no_leaks", "fast")
def test_hooks_and_callbacks_see_the_answer_not_the_401(server):
    server.on("/*", guarded(Realm()))
    seen = []
    shared = auth()
    wanted = [
        grequests.get(
            server.url(f"/{n}"), auth=shared, callback=lambda r, **_: seen.append(r.status_code)
        )
        for n in range(20)
    ]
    assert [r.status_code for r in grequests.map(wanted)] == [200] * 20
    assert seen == [200] * 20


@pytest.mark.usefixtures("no_leaks", "fast")
def test_the_deadline_of_a_map_ends_the_second_request(server):
    realm = Realm()
    plain = guarded(realm)
    gate = Gate()

    def handle(request):
        return gate(request) if "authorization" in request.headers else plain(request)

    server.on("/slow", handle)
    found = grequests.map([grequests.get(server.url("/slow"), auth=auth())], gtimeout=0.5)
    assert found == [None]
    gate.close()


@pytest.mark.usefixtures("no_leaks")
def test_a_hook_that_sends_again_lets_others_run(server):
    """The usual renewal of a token, by a plain response hook."""
    gate = server.hold("/again", count=10)

    def renew(r, **kwargs):
        if r.status_code != 401:
            return None
        again = r.request.copy()
        again.url = server.url("/again")
        again.headers["Authorization"] = "Bearer new"
        renewed = r.connection.send(again, **kwargs)
        renewed.history.append(r)
        return renewed

    server.on("/old", lambda _: answer(b"no", "401 Unauthorized"))
    wanted = [grequests.get(server.url("/old"), hooks={"response": renew}) for _ in range(10)]
    found = grequests.map(wanted)
    assert gate.arrived == 10
    assert [(r.status_code, len(r.history)) for r in found] == [(200, 1)] * 10


@pytest.mark.usefixtures("no_leaks", "fast")
def test_the_twin_of_an_adapter(server):
    seen = []

    def look(r, **_):
        seen.append(r.connection)

    session = requests.Session()
    adapter = session.get_adapter("http://")
    request = grequests.get(server.url("/"), session=session, auth=auth(), callback=look)
    (response,) = grequests.map([request])
    (twin,) = seen
    assert isinstance(twin, requests.adapters.HTTPAdapter)
    assert twin.max_retries is adapter.max_retries
    assert twin.poolmanager is adapter.poolmanager
    assert copy.copy(twin) is adapter
    assert response.connection is adapter
    # It still sends when the hook has ended.
    assert twin.send(response.request).text == "/"
    assert current_engine().statistics().idle == 1
    twin.close()
    assert current_engine().statistics().idle == 0


PATCHED = """
import sys
from gevent import monkey
monkey.patch_all()
import requests
from requests.auth import HTTPDigestAuth
import grequests

base, forced = sys.argv[1:]
shared = HTTPDigestAuth("user", "secret")
session = requests.Session()
if forced == "general":
    session.mount("http://", type("Mine", (requests.adapters.HTTPAdapter,), {})())
kwargs = {"auth": shared, "session": session}
codes = [r.status_code for r in grequests.map([grequests.get(base + "first", **kwargs)])]
wanted = [grequests.get(f"{base}{n}", **kwargs) for n in range(30)]
print(codes, {(r.status_code, len(r.history)) for r in grequests.map(wanted, size=10)})
print(session.get(base + "owner", auth=shared).history, isinstance(shared, HTTPDigestAuth))
"""


@pytest.mark.parametrize("lane", ["fast", "general"])
def test_in_a_patched_process_a_nonce_serves_all_greenlets_too(server, lane):
    """There a thread-local is a greenlet-local, and each greenlet would be refused once."""
    realm = Realm()
    server.on("/*", guarded(realm))
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", PATCHED, server.url("/"), lane],
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert (done.stderr, done.stdout) == ("", "[200] {(200, 0)}\n[] True\n")
    assert realm.refused == [None]
