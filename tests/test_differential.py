"""Generated requests and responses, by plain Requests and by the fast lane: no difference.

Each case is sent twice to a recording server. The bytes that the server read, every attribute of
the answer, the session's cookies afterwards and, where there is no answer, the type and text of
the error must be the same. `GREQUESTS_HYPOTHESIS=long` runs some hundred times more cases.
"""

from __future__ import annotations

import copy
import gzip
import io
import os
import zlib
from typing import Any

import pytest
import requests
import urllib3.filepost
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from recording import Answer, Lanes, Recorder, sealed_environment
from requests.auth import HTTPBasicAuth
from requests.cookies import RequestsCookieJar

LONG = os.environ.get("GREQUESTS_HYPOTHESIS") == "long"


def cases(number: int) -> settings:
    """Settings for so many cases, a hundred times more in the long profile."""
    return settings(
        max_examples=number * 100 if LONG else number,
        deadline=None,
        derandomize=not LONG,
        database=None,
        phases=(Phase.explicit, Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )


@pytest.fixture(scope="module", autouse=True)
def _sealed(tmp_path_factory):
    with sealed_environment(tmp_path_factory.mktemp("home")):
        yield


@pytest.fixture(scope="module")
def lanes():
    with Recorder() as server:
        found = Lanes(server)
        yield found


@pytest.fixture(autouse=True)
def _counted(request, lanes, record_property):
    fast, general = lanes.fast, lanes.general
    yield
    fast, general = lanes.fast - fast, lanes.general - general
    record_property("fast", fast)
    record_property("general", general)
    print(f"{request.node.name}: {fast} cases compared, {general} took the general lane")


@pytest.fixture(autouse=True)
def _boundary(monkeypatch):
    monkeypatch.setattr(urllib3.filepost, "choose_boundary", lambda: "b0undary")


# --- requests ------------------------------------------------------------------------------------

METHODS = st.sampled_from(
    ["GET", "OPTIONS", "HEAD", "POST", "PUT", "PATCH", "DELETE", "TRACE", "get", "Post", "PURGE"]
)
HOSTS = st.one_of(
    st.sampled_from(["127.0.0.1", "localhost", "example.test", "a.b-c.test", "a_b.test", "1.2.3.4"]),
    st.sampled_from(
        [
            *("EXAMPLE.Test", "münchen.test", "日本.test", "xn--mnchen-3ya.test", "[::1]", "test."),
            *("a..b", "*bad.test", ".bad", "ex%41mple.test", "127.1", "[::ffff:1.2.3.4]", "ﬀ.test"),
            *("-a.test", "a" * 63 + ".test", "a" * 64 + ".test", "[fe80::1%25eth0]", "", "ex ample"),
            *("[::1", "[zz]", "1.2.3.4.5", "0x7f.1", "İ.test", "xn--.test", "a,b.test", "999.1.1.1"),
            *("faß.test", "a\u200db.test", "\u2048.test", "１２７.0.0.1", "[FE80::A]", "[1:2:3::]"),
        ]
    ),
)
PORTS = st.sampled_from(["", "", ":81", ":80", ":443", ":8080", ":", ":0", ":080", ":65536", ":x"])
USERS = st.sampled_from(
    ["", "", "", "", "u@", "u:p@", ":p@", "u:@", "u%40x:p%3Aq@", "ü:ß@", "a b:c@", "u:p@q@", "@", ":@"]
)
TRICKY = st.sampled_from(
    [
        *("a", "b.c", "..", ".", "", "%2e", "%2E%2e", "%41", "%7e", "%e4", "%C3%A4", "%", "%zz"),
        *("ä", "日", " ", "+", "%20", "'", '"', "<>", "[]", "{}", "|", "\\", "^", "`", "~", "!$&*"),
        *(";p=1", "=", "&", ":", "@", ",", "(x)", "\t", "\n", "\x00", "\x7f", "%00", "%0d%0a", "%25"),
        *("\ud800", "\u00a0", "é%E9", "...", ".a", "a.", "~a", "-", "%5B", "%2f", "%2F", "a%", "%4"),
    ]
)
PATHS = st.one_of(
    st.just(""),
    st.lists(st.one_of(TRICKY, st.text(max_size=3)), max_size=5).map(lambda p: "/" + "/".join(p)),
    st.lists(TRICKY, max_size=5).map(lambda p: "/" + "".join(p)),
    st.text("abcXYZ019-._~/%!$&'()*+,;=:@?#[] \\\"<>", max_size=20).map(lambda p: "/" + p),
)
PAIRS = st.tuples(TRICKY, TRICKY).map("=".join)
QUERIES = st.one_of(
    st.just(""),
    st.lists(st.one_of(PAIRS, TRICKY), max_size=3).map(lambda p: "?" + "&".join(p)),
    st.text("ab01-._~/%!$&'()*+,;=:@?[] \\\"<>é", max_size=12).map(lambda p: "?" + p),
)
FRAGMENTS = st.one_of(st.just(""), st.just(""), TRICKY.map(lambda p: "#" + p))
PLAIN_PATHS = st.text("abcXYZ019-._~/!$&'()*+,;=:@%AF", max_size=16).map(lambda p: "/" + p)
PLAIN_URLS = st.builds(
    lambda port, path, query: f"http://example.test{port}{path}{query}",
    PORTS, PLAIN_PATHS, st.one_of(st.just(""), PLAIN_PATHS.map(lambda p: "?" + p)),
)  # fmt: skip
URLS = st.one_of(
    st.builds(
        lambda scheme, *rest: f"{scheme}{''.join(rest)}",
        st.sampled_from(["http://"] * 8 + ["HTTP://", "Http://", "  http://", "http:/", "http:///"]),
        USERS, HOSTS, PORTS, PATHS, QUERIES, FRAGMENTS,
    ),
    PLAIN_URLS,
    PLAIN_URLS,
    st.sampled_from(
        [
            *("", "/", "//example.test/", "example.test", "example.test:80/", "http:", "http://?x"),
            *("mailto:a@b", "httpx://a/", "http+unix://a/", "file:///etc/passwd", "data:,x", "ftp://a"),
            *("http://\u2100.test/", "http://user@/", "\nhttp://example.test/", "http://a\tb/"),
        ]
    ),
)  # fmt: skip

SCALARS = st.one_of(
    st.sampled_from(["", "a", "ä", "a b&c=d", "日本", "+%/?#"]), st.integers(-9, 9),
    st.sampled_from([b"", b"x", b"\xe4", 1.5, True, None]),
)  # fmt: skip
KEYS = st.sampled_from(["a", "b", "ä", "a b", "", "x[]"])
VALUES = st.one_of(SCALARS, st.lists(SCALARS, max_size=3))
MAPPINGS = st.dictionaries(KEYS, VALUES, max_size=3)
PAIR_LISTS = st.lists(st.tuples(KEYS, VALUES), max_size=3)
TEXTS = st.sampled_from(["", "a=b", "ä=ö", "x", "a=b&c=d", "日本", "line\r\nend"])
BYTES = st.sampled_from([b"", b"a=b", b"\x00\xff", "ä".encode()])
PARAMS = st.one_of(MAPPINGS, PAIR_LISTS, TEXTS, BYTES, PAIR_LISTS.map(tuple))
DATA = PARAMS
JSON = st.recursive(
    st.sampled_from([None, True, 0, 1.5, "", "ä", float("nan"), 10**20]),
    lambda inner: st.one_of(st.lists(inner, max_size=2), st.dictionaries(KEYS, inner, max_size=2)),
    max_leaves=4,
)
CONTENT = st.one_of(
    st.sampled_from(["text", "ä", b"bytes", b""]), BYTES.map(io.BytesIO), TEXTS.map(io.StringIO)
)
NAMES = st.sampled_from(["f", "ä.txt", 'q"uote', "", None, "a/b"])
FILE = st.one_of(
    CONTENT,
    st.tuples(NAMES, CONTENT),
    st.tuples(NAMES, CONTENT, st.sampled_from(["text/plain", None])),
    st.tuples(NAMES, CONTENT, st.just("text/plain"), st.just({"X-A": "1"})),
)
FILES = st.one_of(
    st.dictionaries(KEYS, FILE, max_size=2), st.lists(st.tuples(KEYS, FILE), max_size=2)
)
HEADER_NAMES = st.sampled_from(
    [
        *("X-A", "x-a", "X-Ä", "User-Agent", "user-agent", "Accept", "Accept-Encoding", "Host", "host"),
        *("Connection", "connection", "Cookie", "Content-Type", "content-type", "Authorization"),
        *("authorization", "Proxy-Authorization", "Range", "Referer", "", "a b", "X:", " x"),
    ]
)
HEADER_VALUES = st.one_of(
    st.sampled_from(["", "1", "a b", "ä", "close", "Keep-Alive", "gzip", b"bytes", b"\xff", None]),
    st.sampled_from(["a\r\nb: c", " lead", "trail ", "日本", 1, "\x00", "a\tb", b"a\nb", "\r", 1.5, []]),
)
HEADERS = st.dictionaries(HEADER_NAMES, HEADER_VALUES, max_size=4)
PLAIN_HEADERS = st.dictionaries(
    st.sampled_from(["X-A", "x-b", "Accept", "user-agent", "Host", "Connection", "Cookie"]),
    st.sampled_from(["1", "a b", "ä", b"bytes", "", None, "close"]), max_size=3,
)  # fmt: skip
COOKIES = st.dictionaries(
    st.sampled_from(["a", "b", "c d", "ä"]),
    st.sampled_from(["1", "", "a b", '"q"', "x;y", "ä", None, "a=b,c"]), max_size=3,
)  # fmt: skip


def jar_of(cookies: dict[str, str | None]) -> RequestsCookieJar:
    jar = RequestsCookieJar()
    for index, (name, value) in enumerate(cookies.items()):
        jar.set(name, value, domain=("", "example.test", ".test")[index % 3], path="/")
    return jar


JARS = st.one_of(COOKIES, COOKIES.map(jar_of))
AUTHS = st.sampled_from(
    [("u", "p"), ("ü", "ß"), (b"u", b"\xff"), ("", ""), HTTPBasicAuth("u", "p"), ("日", "本"), None]
)
HOOKS = st.sampled_from([{}, None, {"response": []}, {"response": None}, {"other": []}])


def mark(response: requests.Response, **_: Any) -> None:
    response.marked = True  # type: ignore[attr-defined]


def replace(response: requests.Response, **_: Any) -> requests.Response:
    response.reason = "replaced"
    return response


SOME_HOOKS = st.one_of(
    HOOKS, st.sampled_from([{"response": mark}, {"response": [mark, replace]}, {"response": replace}])
)
#: A keyword is seldom there, or errors would hide one another.
KWARGS = st.one_of(
    st.just({}),
    st.fixed_dictionaries({}, optional={"params": PARAMS, "headers": PLAIN_HEADERS}),
    st.fixed_dictionaries({}, optional={"data": DATA, "json": JSON, "cookies": JARS}),
    st.fixed_dictionaries({"files": FILES}, optional={"data": DATA}),
    st.fixed_dictionaries({"headers": HEADERS}, optional={"auth": AUTHS}),
    st.fixed_dictionaries(
        {},
        optional={
            "params": PARAMS, "headers": PLAIN_HEADERS, "cookies": JARS, "auth": AUTHS, "data": DATA,
            "hooks": SOME_HOOKS, "timeout": st.sampled_from([None, 9, (9, 9.5), (None, 9)]),
            "allow_redirects": st.booleans(), "verify": st.just(False), "stream": st.just(False),
        },
    ),
)  # fmt: skip
SESSIONS = st.one_of(
    st.none(),
    st.none(),
    st.fixed_dictionaries(
        {},
        optional={
            "headers": PLAIN_HEADERS, "params": MAPPINGS, "cookies": COOKIES.map(jar_of),
            "auth": AUTHS, "hooks": st.sampled_from([{"response": [mark]}, {"response": []}]),
            "trust_env": st.booleans(), "max_redirects": st.integers(0, 3),
        },
    ),
)  # fmt: skip


def build_session(attributes: dict[str, Any] | None) -> requests.Session | None:
    if attributes is None:
        return None
    session = requests.Session()
    for name, value in attributes.items():
        if name == "headers":
            session.headers.update(value)
        else:
            setattr(session, name, value)
    return session


def maker(session: Any, method: str, url: str, kwargs: dict[str, Any]) -> Any:
    """Makes the same request anew for each lane."""

    def make() -> tuple[Any, str, str, dict[str, Any]]:
        return (build_session(copy.deepcopy(session)), method, url, copy.deepcopy(kwargs))

    return make


@cases(250)
@given(method=METHODS, url=URLS)
def test_any_url(lanes, method, url):
    lanes.server.default = Answer(close=True)
    lanes.compare(maker(None, method, url, {}))


@cases(250)
@given(method=METHODS, url=URLS, kwargs=KWARGS, session=SESSIONS)
def test_any_request(lanes, method, url, kwargs, session):
    lanes.server.default = Answer()
    lanes.compare(maker(session, method, url, kwargs))


@cases(400)
@given(method=METHODS, url=PLAIN_URLS, kwargs=KWARGS, session=SESSIONS)
def test_any_keywords_at_a_plain_url(lanes, method, url, kwargs, session):
    lanes.server.default = Answer()
    lanes.compare(maker(session, method, url, kwargs))
