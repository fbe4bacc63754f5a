"""Generated requests and responses, by plain Requests and by the fast lane: no difference.

Each case is sent twice to a recording server. The bytes that the server read, every attribute of
the answer, the session's cookies afterwards and, where there is no answer, the type and text of
the error must be the same. `GREQUESTS_HYPOTHESIS=long` runs twenty times as
many cases, other ones each time.
"""

from __future__ import annotations

import copy
import gzip
import io
import os
from typing import Any

import pytest
import requests
import urllib3.filepost
from codings import deflate
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from recording import LEFT_BY_REQUESTS, Answer, Lanes, Recorder, sealed_environment
from requests.auth import HTTPBasicAuth
from requests.cookies import RequestsCookieJar

LONG = os.environ.get("GREQUESTS_HYPOTHESIS") == "long"
pytestmark = [pytest.mark.timeout(0 if LONG else 120), LEFT_BY_REQUESTS]


def cases(number: int) -> settings:
    """Settings for so many cases, twenty times more in the long profile."""
    return settings(
        max_examples=number * 20 if LONG else number,
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
    st.sampled_from(
        ["127.0.0.1", "localhost", "example.test", "a.b-c.test", "a_b.test", "1.2.3.4"]
    ),
    st.sampled_from(
        [
            *("EXAMPLE.Test", "münchen.test", "日本.test", "xn--mnchen-3ya.test", "[::1]", "test."),
            *("a..b", "*bad.test", ".bad", "ex%41mple.test", "127.1", "[::ffff:1.2.3.4]", "ﬀ.test"),
            *(
                "-a.test",
                "a" * 63 + ".test",
                "a" * 64 + ".test",
                "[fe80::1%25eth0]",
                "",
                "ex ample",
            ),
            *(
                "[::1",
                "[zz]",
                "1.2.3.4.5",
                "0x7f.1",
                "İ.test",
                "xn--.test",
                "a,b.test",
                "999.1.1.1",
            ),
            *("faß.test", "a\u200db.test", "\u2048.test", "１２７.0.0.1", "[FE80::A]", "[1:2:3::]"),
        ]
    ),
)
PORTS = st.sampled_from(["", "", ":81", ":80", ":443", ":8080", ":", ":0", ":080", ":65536", ":x"])
USERS = st.sampled_from(
    [
        "",
        "",
        "",
        "",
        "u@",
        "u:p@",
        ":p@",
        "u:@",
        "u%40x:p%3Aq@",
        "ü:ß@",
        "a b:c@",
        "u:p@q@",
        "@",
        ":@",
    ]
)
TRICKY = st.sampled_from(
    [
        *("a", "b.c", "..", ".", "", "%2e", "%2E%2e", "%41", "%7e", "%e4", "%C3%A4", "%", "%zz"),
        *("ä", "日", " ", "+", "%20", "'", '"', "<>", "[]", "{}", "|", "\\", "^", "`", "~", "!$&*"),
        *(
            ";p=1",
            "=",
            "&",
            ":",
            "@",
            ",",
            "(x)",
            "\t",
            "\n",
            "\x00",
            "\x7f",
            "%00",
            "%0d%0a",
            "%25",
        ),
        *(
            "\ud800",
            "\u00a0",
            "é%E9",
            "...",
            ".a",
            "a.",
            "~a",
            "-",
            "%5B",
            "%2f",
            "%2F",
            "a%",
            "%4",
        ),
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
        *(
            "X-A",
            "x-a",
            "X-Ä",
            "User-Agent",
            "user-agent",
            "Accept",
            "Accept-Encoding",
            "Host",
            "host",
        ),
        *("Connection", "connection", "Cookie", "Content-Type", "content-type", "Authorization"),
        *("authorization", "Proxy-Authorization", "Range", "Referer", "", "a b", "X:", " x"),
    ]
)
HEADER_VALUES = st.one_of(
    st.sampled_from(["", "1", "a b", "ä", "close", "Keep-Alive", "gzip", b"bytes", b"\xff", None]),
    st.sampled_from(
        ["a\r\nb: c", " lead", "trail ", "日本", 1, "\x01", "a\tb", b"a\nb", "\r", 1.5, []]
    ),
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
    HOOKS,
    st.sampled_from([{"response": mark}, {"response": [mark, replace]}, {"response": replace}]),
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
            "allow_redirects": st.booleans(), "verify": st.just(False), "stream": st.booleans(),
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
        if name == "headers" and value != {"A": "b"}:
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
    lanes.server.default = Answer()
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


# --- responses -----------------------------------------------------------------------------------

TEXT = ("käse " * 9).encode()


def zstd(data: bytes) -> bytes:
    return pytest.importorskip("backports.zstd").compress(data)


def brotli(data: bytes) -> bytes:
    return pytest.importorskip("brotli").compress(data)


GZIP = gzip.compress(TEXT, mtime=0)
CODED = {
    "gzip": GZIP,
    "gzip twice": GZIP + gzip.compress(b"more", mtime=0),
    "gzip and rubbish": GZIP + b"rubbish",
    "gzip and zeros": GZIP + bytes(20),
    "gzip cut": GZIP[:-9],
    "gzip broken": GZIP[:12] + b"\xff\xff" + GZIP[14:],
    "gzip wrong sum": GZIP[:-8] + b"\0\0\0\0" + GZIP[-4:],
    "empty gzip": gzip.compress(b"", mtime=0),
    "zlib": deflate(TEXT, 15),
    "raw deflate": deflate(TEXT, -15),
    "deflate cut": deflate(TEXT, 15)[:-6],
    "brotli": brotli(TEXT),
    "brotli cut": brotli(TEXT)[:-3],
    "zstd": zstd(TEXT),
    "zstd twice": zstd(TEXT) + zstd(b"more"),
    "zstd cut": zstd(TEXT)[:-3],
    "gzip of zlib": gzip.compress(deflate(TEXT, 15), mtime=0),
    "plain": TEXT,
    "empty": b"",
    "json": b'{"a": [1, null]}',
    "utf-16": '{"a": 1}'.encode("utf-16"),
    "lines": b"a\r\n\r\nb\n",
}
CODINGS = st.sampled_from(
    [
        *(
            "gzip",
            "x-gzip",
            "GZIP",
            " gzip ",
            "deflate",
            "br",
            "zstd",
            "deflate, gzip",
            "gzip,deflate",
        ),
        *(
            "identity",
            "",
            "unknown",
            "gzip, gzip",
            "gzip;q=1",
            ",gzip",
            "gzip, ",
            "compress",
            "br, gzip",
        ),
    ]
)
STATUS_LINES = st.sampled_from(
    [
        *["HTTP/1.1 200 OK"] * 4,
        *("HTTP/1.1 404 Not Found", "HTTP/1.1 500 ", "HTTP/1.1 201", "HTTP/1.0 200 OK"),
        *("HTTP/1.1 200 Tr\xe8s bien", "HTTP/1.1 299 a  b ", "HTTP/1.1 204 No Content"),
        *("HTTP/1.1 304 Not Modified", "HTTP/1.1 205 Reset", "HTTP/1.1 999 Odd", "HTTP/1.0 404 No"),
        *(
            "HTTP/1.1 206 Partial",
            "HTTP/1.1 416 Range",
            "HTTP/1.1 300 Choices",
            "HTTP/1.1 503 Busy",
        ),
    ]
)
RESPONSE_LINES = st.sampled_from(
    [
        *(
            "Content-Type: text/html",
            "Content-Type: text/html; charset=utf-16",
            "content-type: x/y",
        ),
        *("Content-Type: application/json", "Content-Type: text/plain;charset='latin-1'", "X-A: 1"),
        *("Content-Type: text/plain; charset=nonsense", "Content-Type:", "x-a: 2", "X-A:3", "X-A:"),
        *(
            "X-B: \t spaced \t ",
            "X-C: one,\r\n two",
            "X-C: one\r\n\t \ttwo\r\n three",
            "X-D: caf\xe9",
        ),
        *(
            "X-E: a:b",
            "Link: <http://a/>; rel=next, <b>; rel='last'",
            "Link: <c>",
            "Connection: close",
        ),
        *("Connection: keep-alive", "connection: Close", "Keep-Alive: timeout=5", "Server: x"),
        *("Set-Cookie: a=1", "Set-Cookie: b=2; path=/x", "set-cookie: c=3; HttpOnly", "Date: x"),
        *(
            "Retry-After: 3",
            'ETag: "x"',
            "Location: /elsewhere",
            "Vary: *",
            "X_under: 1",
            "X-F: \x7f",
        ),
        *(
            "Set-Cookie2: d=4; version=1",
            "X-G: \xc3\xa9",
            'X-H: "a, b", c',
            "Upgrade: h2c",
            "!#$: 1",
        ),
    ]
)
FRAMINGS = st.sampled_from(["length", "length", "chunked", "chunks", "close", "both", "twice"])
INTERIM = st.sampled_from(
    [
        *[b""] * 6,
        # Not 102 and 103: http.client takes them for the answer (see test_response.py).
        *(b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 100 \r\nX: 1\r\n\r\n" * 2),
    ]
)
CUTS = st.one_of(st.just(()), st.lists(st.floats(0, 1), max_size=3).map(tuple))


def bodiless(method: str, line: str) -> bool:
    return method == "HEAD" or line[9:12] in ("204", "304")


def build_response(
    method: str, line: str, lines: list[str], coding: str | None, body: bytes, framing: str
) -> bytes:
    lines = [line, *lines]
    if not body and framing in ("chunked", "chunks") and coding and "zstd" in coding.lower():
        framing = "length"  # Requests misses the frame's end in a body that is not there
    if line[9:12] in ("204", "304") and framing in ("chunked", "chunks"):
        framing = "length"  # Requests waits for a chunk that cannot come
    if coding is not None:
        lines.append(f"Content-Encoding: {coding}")
    if framing in ("length", "both", "twice"):
        lines.append(f"Content-Length: {len(body)}")
    if framing == "twice":
        lines.append("X-Last: 1")
    if framing in ("chunked", "chunks"):
        lines.append("Transfer-Encoding: chunked")
        size = max(len(body), 1) if framing == "chunked" else 7
        pieces = [body[at : at + size] for at in range(0, len(body), size)]
        body = b"".join(b"%x;x=y\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
        body += b"0\r\n\r\n" if framing == "chunked" else b"000\r\nX-Trailer: 1\r\n\r\n"
    head = "\r\n".join([*lines, "", ""]).encode("latin-1")
    return head if bodiless(method, line) else head + body


@cases(500)
@given(
    method=st.sampled_from(["GET", "GET", "GET", "POST", "HEAD", "DELETE", "OPTIONS"]),
    line=STATUS_LINES, lines=st.lists(RESPONSE_LINES, max_size=5),
    coding=st.one_of(st.none(), st.none(), CODINGS), body=st.sampled_from(sorted(CODED)),
    framing=FRAMINGS, interim=INTERIM, cuts=CUTS, with_session=st.booleans(),
    kwargs=st.sampled_from([{}, {}, {"allow_redirects": False}, {"hooks": {"response": mark}}]),
)  # fmt: skip
def test_any_response(
    lanes, method, line, lines, coding, body, framing, interim, cuts, with_session, kwargs
):
    data = interim + build_response(method, line, lines, coding, CODED[body], framing)
    close = framing == "close" or line.startswith("HTTP/1.0") or "lose" in str(lines)
    lanes.server.default = Answer(data, close=close, cuts=cuts)
    session = {} if with_session else None
    lanes.compare(maker(session, method, "http://example.test/x/y", kwargs))


#: Lists with members that nobody knows: urllib3 takes them for deflate, if there is one that it knows.
STRANGE = [",gzip", "gzip,", "identity, gzip", "gzip, what", "what, deflate", "what, ever", ", ,"]


@pytest.mark.parametrize(
    "coding", ["gzip", "deflate", "br", "zstd", "gzip, deflate", "deflate, gzip", *STRANGE]
)
@pytest.mark.parametrize("framing", ["length", "chunked", "chunks", "close"])
def test_every_coding_on_every_body(lanes, coding, framing):
    for body in CODED.values():
        lines = ["Content-Type: text/html; charset=latin-1"]  # nothing to guess, which takes time
        data = build_response("GET", "HTTP/1.1 200 OK", lines, coding, body, framing)
        lanes.server.default = Answer(data, close=framing == "close")
        assert lanes.compare(maker(None, "GET", "http://example.test/", {})) is not None


# --- cookies -------------------------------------------------------------------------------------

COOKIE_NAMES = st.sampled_from(["a", "b", "a b", "", "ä", "$Version", "__Host-x", "expires"])
COOKIE_VALUES = st.sampled_from(["1", "", '"q"', '"a;b"', "x=y", "a b", "\xe9", "%20", '"', "a,b"])
ATTRIBUTES = st.sampled_from(
    [
        *(
            "Path=/",
            "path=/x",
            "Path=/other",
            "path",
            "Domain=example.test",
            "domain=.example.test",
        ),
        *(
            "Domain=test",
            "Domain=other.test",
            "Domain=",
            "Max-Age=100000",
            "max-age=0",
            "Max-Age=-1",
        ),
        *(
            "Max-Age=x",
            "Expires=Wed, 09 Jun 2099 10:18:14 GMT",
            "expires=Thu, 01 Jan 1970 00:00:00 GMT",
        ),
        *("Expires=Wednesday, 09-Jun-99 10:18:14 GMT", "expires=nonsense", "Secure", "HttpOnly"),
        *(
            "SameSite=Lax",
            "version=1",
            "Port",
            'Port="80,81"',
            "Comment=x",
            "",
            "Discard",
            "domain=a.test",
        ),
    ]
)
SET_COOKIES = st.builds(
    lambda name, value, attributes: "; ".join([f"{name}={value}", *attributes]),
    COOKIE_NAMES, COOKIE_VALUES, st.lists(ATTRIBUTES, max_size=3),
)  # fmt: skip
COOKIE_LINES = st.one_of(
    SET_COOKIES, SET_COOKIES, st.sampled_from(["a", ";", "=", "a=1, b=2", "a=1; b=2, c=3; path=/"])
)


@cases(200)
@given(
    first=st.lists(COOKIE_LINES, min_size=1, max_size=3),
    second=st.lists(COOKIE_LINES, max_size=2),
    status=st.sampled_from([200, 302, 307]),
    location=st.sampled_from(["/x/y", "/", "http://a.example.test/x", "http://other.test/", "//x.test:81"]),
    session=st.sampled_from([None, {}, {"cookies": jar_of({"a": "old", "b": "old"})}]),
    own=st.one_of(st.just({}), COOKIES),
)  # fmt: skip
def test_any_set_cookie(lanes, first, second, status, location, session, own):
    def answer(request: bytes) -> Answer:
        begins = request.startswith(b"GET /begin ")
        lines = [f"HTTP/1.1 {status if begins else 200} Whatever", "Content-Length: 0"]
        lines += [f"Set-Cookie: {cookie}" for cookie in (first if begins else second)]
        if begins and status != 200:
            lines.append(f"Location: {location}")
        return Answer("\r\n".join([*lines, "", ""]).encode("latin-1"))

    lanes.server.default = answer
    # (Requests sends these to any host: `tests/faults/test_redirect_faults.py`.)
    kwargs = {"cookies": own} if own and "//" not in location else {}
    assert lanes.compare(maker(session, "GET", "http://example.test/begin", kwargs)) is not None


# --- redirects -----------------------------------------------------------------------------------

LOCATIONS = st.one_of(
    st.sampled_from(
        [
            *(
                "/1",
                "/2",
                "/3",
                "2",
                "../2",
                "./3?x=y",
                "?q",
                "#frag",
                "/2#frag",
                "//b.test/2",
                "",
                "/",
            ),
            *(
                "http://example.test/2",
                "http://example.test:80/2",
                "http://example.test:81/2",
                "/a b",
            ),
            *(
                "http://b.test/2",
                "https://example.test/2",
                "HTTP://EXAMPLE.test/3",
                "http:/2",
                "http:2",
            ),
            *(
                "ftp://example.test/",
                "file:///etc/passwd",
                "mailto:x",
                "javascript:x",
                "http://",
                "///x",
            ),
            *(
                "/\xc3\xa4",
                "/\xe4",
                "http://b\xc3\xbc.test/2",
                "http://u:p@b.test/2",
                "http://[::1]/2",
            ),
            *(
                "http://[",
                "http://b.test:x/",
                "http://b.test:99999/",
                "/%zz",
                "/%7e%2f",
                " /2",
                "/2\t",
            ),
            *(
                "http:///2",
                "http://b..test/",
                "http://.b.test/",
                "/2?a=b&c=%20d",
                "/2;p",
                "\\2",
                "//",
            ),
            *("/1/../2", "http://b.test", "http://b.test?x", "http://b.test#y", "http://@b.test/"),
        ]
    ),
    st.sampled_from(["/1", "/2", "/3", "http://b.test/1", "http://example.test/2"]),
)
REDIRECTING = st.sampled_from([301, 302, 303, 307, 308, 300, 304, 201])
EXTRAS = st.sampled_from(
    [
        [],
        [],
        ["Set-Cookie: r=1"],
        ["Connection: close"],
        ["Content-Encoding: gzip"],
        ["Location: /3"],
    ]
)
HOPS = st.fixed_dictionaries(
    {
        "status": REDIRECTING,
        "location": LOCATIONS,
        "extra": EXTRAS,
        "body": st.sampled_from([b"", b"moved"]),
    }
)


@cases(500)
@given(
    method=st.sampled_from(["GET", "GET", "POST", "HEAD", "PUT", "DELETE", "PATCH"]),
    fragment=st.sampled_from(["", "#start"]),
    hops=st.lists(HOPS, min_size=1, max_size=3),
    session=st.one_of(st.none(), SESSIONS),
    kwargs=st.fixed_dictionaries(
        {},
        optional={
            "allow_redirects": st.booleans(), "auth": st.just(("u", "p")), "data": st.just({"a": "b"}),
            "headers": st.sampled_from([{"Cookie": "x=y"}, {"Host": "h.test"}, {"Authorization": "z"}]),
            "cookies": COOKIES, "hooks": st.just({"response": mark}),
            "files": st.just({"f": ("n", b"x")}), "json": st.just([1]),
        },
    ),
)  # fmt: skip
def test_any_redirects(lanes, method, fragment, hops, session, kwargs):
    def answer(request: bytes) -> Answer:
        number = len(lanes.server.requests)
        if number > len(hops):
            return Answer()
        hop = hops[number - 1]
        body = b"" if method == "HEAD" or hop["status"] == 304 else hop["body"]
        lines = [f"HTTP/1.1 {hop['status']} Go", f"Location: {hop['location']}", *hop["extra"]]
        lines += [f"Content-Length: {len(body)}", "", ""]
        close = "Connection: close" in hop["extra"]
        return Answer("\r\n".join(lines).encode("latin-1") + body, close=close)

    lanes.server.default = answer
    if any("//" in hop["location"] for hop in hops):
        kwargs.pop("cookies", None)  # which Requests sends to any host
    lanes.compare(maker(session, method, f"http://example.test/start{fragment}", kwargs))


# --- runs of requests ----------------------------------------------------------------------------

RUN_KWARGS = st.fixed_dictionaries(
    {},
    optional={
        "headers": PLAIN_HEADERS, "auth": AUTHS, "timeout": st.sampled_from([9, 9.0, (9, 9), None]),
        "allow_redirects": st.booleans(), "data": st.sampled_from(["", "x", {"a": "b"}]),
        "params": st.sampled_from([{}, {"a": "b"}]),
    },
)  # fmt: skip
RUN_URLS = st.sampled_from(
    [
        *(
            "http://example.test/1",
            "http://example.test/2?x",
            "http://b.test",
            "http://b.test/a/b.c",
        ),
        *(
            "http://example.test:81/",
            "http://u:p@example.test/",
            "http://example.test/#f",
            "nonsense",
        ),
    ]
)
RUN_SESSIONS = st.one_of(
    st.none(),
    st.none(),
    SESSIONS,
    st.sampled_from(
        [
            *({"headers": {"A": "b"}}, {"hooks": None}, {"params": None}, {"auth": ["a", "b"]}),
            *({"auth": HTTPBasicAuth("u", "p")}, {"hooks": {}}, {"max_redirects": 1}),
        ]
    ),
)


@cases(150)
@given(
    session=RUN_SESSIONS,
    kinds=st.lists(st.tuples(METHODS, RUN_KWARGS), min_size=1, max_size=2),
    picks=st.lists(st.tuples(st.integers(0, 1), RUN_URLS), min_size=2, max_size=6),
    cookie=st.booleans(),
)
def test_any_run_of_requests_that_are_alike(lanes, session, kinds, picks, cookie):
    extra = b"Set-Cookie: s=1\r\n" if cookie else b""
    lanes.server.default = Answer(b"HTTP/1.1 200 OK\r\n%bContent-Length: 2\r\n\r\nok" % extra)

    def make() -> Any:
        chosen = [(*kinds[which % len(kinds)], url) for which, url in picks]
        return build_session(copy.deepcopy(session)), [
            (method, url, copy.deepcopy(kwargs)) for method, kwargs, url in chosen
        ]

    lanes.compare_run(make)
