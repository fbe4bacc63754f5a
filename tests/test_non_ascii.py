"""What is not ASCII, or only just: three ways, the same bytes out and the same text in.

Names of hosts, paths, queries, credentials, headers, cookies, forms and files on the way out; reasons,
headers, locations and charsets on the way in. The server is asked as a proxy, so that hosts may have
any name there is. `GREQUESTS_HYPOTHESIS=long` runs twenty times as many cases.
"""

from __future__ import annotations

import copy
import gc
import json
import os
from typing import Any

import pytest
import requests
import urllib3.filepost
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from recording import LEFT_BY_REQUESTS, Answer, Recorder, sealed_environment, snapshot
from ways import Ways

LONG = os.environ.get("GREQUESTS_HYPOTHESIS") == "long"
pytestmark = [
    pytest.mark.timeout(0 if LONG else 120),
    LEFT_BY_REQUESTS,
    # The general lane is Requests' own code: it leaves sockets where Requests leaves them.
    pytest.mark.filterwarnings("ignore:unclosed <grequests._green_socket:ResourceWarning"),
]


def cases(number: int) -> settings:
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
    gc.collect()  # here, where sockets that Requests left are ignored


@pytest.fixture(autouse=True)
def _boundary(monkeypatch):
    monkeypatch.setattr(urllib3.filepost, "choose_boundary", lambda: "b0undary")


@pytest.fixture(scope="module")
def server():
    with Recorder() as one:
        yield one


def same(server: Recorder, method: str, url: Any, read: Any = snapshot, **kwargs: Any) -> Any:
    """The same three ways, with the server as the proxy."""
    proxies = {"http": f"http://127.0.0.1:{server.port}"}

    def make() -> Any:
        return None, method, url, {"proxies": proxies, "timeout": 20, **copy.deepcopy(kwargs)}

    return Ways(server.taken, read=read).same(make, lane=None)


# --- the way out ---------------------------------------------------------------------------------

HOSTS = [
    *("example.test", "straße.test", "STRASSE.test", "faß.test", "βόλος.test", "ΒΌΛΟΣ.test"),
    *("क्\u200dष.test", "نامه\u200cای.test", "a\u200cb.test", "a\u200db.test", "раypal.test"),
    *(
        "ü" * 50 + ".test",
        "ü" * 64 + ".test",
        "a" * 64 + ".ü.test",
        "*.müller.test",
        "*müller.test",
    ),
    *("☃.test", "💩.test", "Ⅷ.test", "MÜNCHEN.test", "ｅｘａｍｐｌｅ.test", "例。test", "אבג.test"),
    *("a1אב.test", "xn--a.test", "xn--ü.test", "xn--mnchen-3ya.test", "XN--MNCHEN-3YA.test"),
    *("a--b.test", "ab--ü.test", "-ü.test", "ü-.test", "mu\u0308nchen.test", "l·l.test", "·.test"),
    *("日本語.テスト", "ü.xn--mnchen-3ya.test", "_ü.test", "ü..test", ".ü.test", "ü.test.", "ü"),
    *(
        "m%C3%BCnchen.test",
        "m%FCnchen.test",
        "\u0308a.test",
        "ß",
        "ǅ.test",
        "ﬁ.test",
        "１２７.0.0.1",
    ),
    *(
        "ü\u00ad.test",
        "\ufeffü.test",
        "ü\u2028.test",
        "ü \t.test",
        "\ud800.test",
        "İstanbul.test",
        "ſ.test",
    ),
    *(
        "[::1]",
        "[fe80::1%25ü]",
        "127.0.0.1",
        "٠.test",
        "a٠۰.test",
        "ゝ.test",
        "・ア.test",
        "\u0640ب.test",
    ),
]


@pytest.mark.parametrize("host", HOSTS, ids=ascii)
def test_a_host_of_any_name(server, host):
    found = same(server, "GET", f"http://{host}/x")
    if found["error"] is None:
        assert found["taken"][0].isascii()


PIECES = st.sampled_from(
    [
        *(
            "é",
            "e\u0301",
            "日本",
            "💩",
            "\u202e",
            "\ufeff",
            "\u2028",
            "\u00a0",
            "ß",
            "\udcff",
            "\x80",
        ),
        *(
            "%C3%A9",
            "%c3%a9",
            "%E9",
            "%e9",
            "%7e",
            "%7E",
            "%zz",
            "%2F",
            "%2f",
            "%25",
            "%",
            "%4",
            "%41",
        ),
        *(
            "[",
            "]",
            "{",
            "}",
            "|",
            " ",
            "+",
            "\\",
            "^",
            "`",
            '"',
            "<",
            ">",
            "'",
            "!",
            "*",
            "(",
            ")",
        ),
        *(
            "a",
            "~",
            "-",
            ".",
            "..",
            "/",
            "//",
            ":",
            "@",
            ",",
            ";",
            "=",
            "&",
            "$",
            "%20",
            "%00",
            "\x7f",
        ),
    ]
)
TEXT = st.lists(PIECES, max_size=4).map("".join)
URLS = st.builds(
    lambda user, host, path, query, fragment: f"http://{user}{host}{path}{query}{fragment}",
    st.sampled_from(["", "", "", "ü:ß@", "u%C3%BC:%DF@", "日:本@", "ü@", "a b:c@", "%zz:@"]),
    st.one_of(st.just("example.test"), st.sampled_from(HOSTS)),
    st.one_of(st.just(""), TEXT.map("/{}".format)),
    st.one_of(st.just(""), TEXT.map("?{}".format)),
    st.one_of(st.just(""), st.just(""), TEXT.map("#{}".format)),
)


@cases(300)
@given(url=URLS, as_bytes=st.sampled_from([False, False, False, True]))
def test_any_iri(server, url, as_bytes):
    if as_bytes:
        url = url.encode("utf-8", "surrogatepass")
    same(server, "GET", url)


@cases(60)
@given(url=URLS)
def test_any_iri_at_a_server_that_is_no_proxy(server, url):
    path = url.split("/", 3)[3] if url.count("/") > 2 else ""
    direct = f"{server.url}/{path}"
    found = Ways(server.taken).same(lambda: (None, "GET", direct, {}), lane=None)
    assert found["error"] or found["taken"][0].isascii()


SCALARS = st.one_of(
    TEXT,
    st.sampled_from([b"", b"\xe9", "é".encode(), b"%zz", b"a b", "é".encode("utf-16")]),
    st.sampled_from([1, 1.5, True, None]),
)
VALUES = st.one_of(SCALARS, st.lists(SCALARS, max_size=2), st.tuples(SCALARS))
KEYS = st.one_of(TEXT, st.sampled_from([b"\xe9", "é".encode(), 1, None]))
FORMS = st.one_of(
    st.dictionaries(KEYS, VALUES, max_size=2),
    st.lists(st.tuples(KEYS, VALUES), max_size=2),
    TEXT,
    st.sampled_from([b"\xe9=\xff", "é=ü".encode()]),
)


@cases(150)
@given(url=URLS, params=FORMS)
def test_any_params(server, url, params):
    same(server, "GET", url, params=params)


@cases(120)
@given(data=FORMS)
def test_any_form(server, data):
    same(server, "POST", "http://example.test/", data=data)


JSON = st.recursive(
    st.one_of(TEXT, st.none(), st.floats(), st.integers()),
    lambda inner: st.one_of(st.lists(inner, max_size=2), st.dictionaries(TEXT, inner, max_size=2)),
    max_leaves=3,
)


@cases(60)
@given(value=JSON)
def test_any_json(server, value):
    same(server, "POST", "http://example.test/", json=value)


NAMES = st.one_of(
    TEXT,
    st.sampled_from(
        ["é.txt", 'a"b.txt', "a\r\nb", "a\\b", "日本.txt", "", None, b"\xe9.txt", "ü" * 99]
    ),
)
CONTENTS = st.sampled_from(["é", b"\xe9", "日本", b"", "\udcff"])
FILES = st.one_of(
    CONTENTS,
    st.tuples(NAMES, CONTENTS),
    st.tuples(NAMES, CONTENTS, st.sampled_from(["text/plain; charset=ü", "text/plain", None])),
    st.tuples(
        NAMES,
        CONTENTS,
        st.just("x/y"),
        st.sampled_from([{"X-Ü": "é"}, {"X": "日"}, {"X": b"\xe9"}]),
    ),
)


@cases(120)
@given(
    files=st.one_of(
        st.dictionaries(TEXT, FILES, min_size=1, max_size=2),
        st.lists(st.tuples(TEXT, FILES), min_size=1, max_size=2),
    ),
    data=st.one_of(st.none(), st.dictionaries(TEXT, SCALARS, max_size=2)),
)
def test_any_files(server, files, data):
    same(server, "POST", "http://example.test/", files=files, data=data)


HEADER_VALUES = [
    *(
        "é",
        "\xff",
        "日本",
        "\u0100",
        "é".encode(),
        b"\xe9",
        b"\xff\xfe",
        " é",
        "é ",
        "\té",
        "é\n",
        "\né",
    ),
    *(
        " ",
        "",
        b"",
        b" x",
        b"\nx",
        "x\ry",
        "\r",
        "\x7f",
        "\x80",
    ),
    *(
        "\u2028",
        "\x85",
        "é\xa0",
        "\xa0é",
        b"\xa0",
        1,
        None,
        1.5,
        True,
        ["é"],
        bytearray(b"x"),
        "\udcff",
    ),
]
HEADER_NAMES = [
    "X-A",
    "é",
    "X-Ü",
    "日本",
    b"X-A",
    b"\xe9",
    " X",
    "X ",
    "X\n",
    "X:Y",
    ":X",
    "",
    "\xa0",
]


@pytest.mark.parametrize("value", HEADER_VALUES, ids=ascii)
@pytest.mark.parametrize(
    "name", ["X-A", "User-Agent", "Host", "Cookie", "Authorization", "Connection"]
)
def test_a_header_of_any_value(server, name, value):
    same(server, "GET", "http://example.test/", headers={name: value})


@pytest.mark.parametrize("name", HEADER_NAMES, ids=ascii)
@pytest.mark.parametrize("by_session", [False, True])
def test_a_header_of_any_name(server, name, by_session):
    def make() -> Any:
        session = requests.Session()
        headers = {name: "é"}
        if by_session:
            session.headers.update(headers)
        return session, "GET", f"{server.url}/", {} if by_session else {"headers": headers}

    Ways(server.taken).same(make, lane=None)


COOKIE_TEXTS = ["a", "é", "日本", "a b", "a;b", 'a"b', "", "é=ü", "a,b", "\udcff", b"\xe9"]


@pytest.mark.parametrize("text", COOKIE_TEXTS, ids=ascii)
def test_cookies_of_any_name_and_value(server, text):
    for cookies in ({"a": text}, {text: "b"}, {text: text}):
        same(server, "GET", "http://example.test/", cookies=cookies)


AUTHS = [
    *(
        ("é", "ü"),
        ("日", "本"),
        ("é".encode(), b"\xff"),
        ("\x80", "\xff"),
        ("a:b", "c:d"),
        ("", ""),
    ),
    *((b"", b""), ("\udcff", "x"), ("é", b"\xff"), (1, 2), ("a", None)),
]


@pytest.mark.parametrize("auth", AUTHS, ids=ascii)
@pytest.mark.filterwarnings("ignore:Non-string:DeprecationWarning")
def test_basic_auth_of_any_text(server, auth):
    same(server, "GET", "http://example.test/", auth=auth)


@pytest.mark.parametrize(
    "credentials",
    ["ü:ß@", "%C3%BC:%C3%9F@", "%FC:%DF@", "日:本@", "u%zz:p@", "a%20b:c+d@", "%0A:x@"],
)
def test_a_proxys_credentials_of_any_text(server, credentials):
    proxies = {"http": f"http://{credentials}127.0.0.1:{server.port}"}
    Ways(server.taken).same(
        lambda: (None, "GET", "http://example.test/", {"proxies": proxies}), lane=None
    )


@pytest.mark.parametrize("method", ["GÉT", "日本", "get", "Gët", "G T", "G\n", b"GET", "", "POſT"])
def test_a_method_of_any_name(server, method):
    same(server, method, "http://example.test/")


# --- the way in ----------------------------------------------------------------------------------

REASONS = [
    *(
        b" OK",
        b" Tr\xe8s bien",
        " Très bien".encode(),
        "良い".encode(),
        b" \xff\xfe",
        b"",
        b" ",
        b"  OK  ",
    ),
    *(b" \xa0", b" a\tb", b" OK\x7f", b" 200", b" \x85OK", " \u2028".encode(), b" O\x0bK"),
]


def readings(response: requests.Response) -> dict[str, Any]:
    """What there is to read in a body, in each way."""
    found = snapshot(response)
    found["apparent"] = response.apparent_encoding
    found["lines"] = list(response.iter_lines())
    try:
        found["decoded lines"] = list(response.iter_lines(decode_unicode=True))
    except (LookupError, UnicodeError) as error:
        found["decoded lines"] = repr(error)
    try:
        found["json"] = repr(response.json())
    except ValueError as error:
        found["json"] = type(error), str(error)
    try:
        response.raise_for_status()
    except requests.exceptions.HTTPError as error:
        found["raised"] = str(error)
    return found


def answer(status: bytes, body: bytes, *lines: bytes) -> Answer:
    length = b"Content-Length: %d" % len(body)
    return Answer(b"\r\n".join([b"HTTP/1.1 " + status, *lines, length, b"", b""]) + body)


@pytest.mark.parametrize("reason", REASONS, ids=ascii)
@pytest.mark.parametrize("status", [b"200", b"404", b"503"])
def test_a_reason_of_any_text(server, status, reason):
    server.default = answer(status + reason, b"")
    same(server, "GET", "http://example.test/ü", readings)


TYPES = [
    *(
        b"text/html",
        b"TEXT/HTML",
        b"text/html; charset=utf-8",
        b"text/html;charset=UTF8",
        b"text/plain",
    ),
    *(
        b"text/html; charset=",
        b"text/html; charset=''",
        b'text/html; charset="utf-8"',
        b"text/html; charset",
    ),
    *(
        b"text/html; charset=latin-1; charset=utf-8",
        b"text/html; CHARSET=utf-16",
        b"text/html; charset=x",
    ),
    *(b"text/plain; charset=\xfcn\xef", "text/plain; charset=ünï".encode(), b"application/json"),
    *(
        b"application/json; charset=utf-16",
        b"application/json; charset=latin-1",
        b"image/png",
        b"",
        b";",
    ),
    *(
        b"; charset=utf-8",
        b"text/html; charset = utf-8",
        b"text/html; charset=utf-8 ; x",
        b"text",
        b"\xff",
    ),
    *(b"text/html; a=b; charset=shift_jis", b"text/html; charset='utf-8", b"text/html, text/plain"),
    *(b"text/html; charset=utf-8\xa0", b"text/html; charset=rot13", b"text/html; charset=base64"),
    *(
        b"text/html; charset=idna",
        b"text/html; =utf-8",
        b"application/JSON",
    ),
]
WORDS = '{"é": "日本", "a": [1, null]}'
BODIES = {
    **{
        name: WORDS.encode(name)
        for name in ("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32-be")
    },
    "latin-1": '{"é": "ü"}\r\nß\n'.encode("latin-1"),
    "shift_jis": "日本語\u3000テスト".encode("shift_jis"),
    "broken": b'{"a": "\xff\xfe\xfa"}',
    "empty": b"",
    "separators": "a\u2028b\x85c\x0bd\x1ce\r\nf".encode(),
    "surrogates": b'"\\ud800\\udc00 \\ud800"',
}


@pytest.mark.parametrize("kind", TYPES, ids=ascii)
def test_text_of_any_charset(server, kind):
    for body in BODIES.values():
        server.default = answer(b"200 OK", body, b"Content-Type: " + kind)
        same(server, "GET", "http://example.test/", readings)


@pytest.mark.parametrize("body", BODIES)
def test_text_without_a_charset(server, body):
    server.default = answer(b"200 OK", BODIES[body])
    found = same(server, "GET", "http://example.test/", readings)["response"]
    if body.startswith("utf"):
        assert found["json"] == repr(json.loads(WORDS))


HEADER_LINES = [
    *(b"X: \xe9", "X: é".encode(), b"X: \xff", b"X:\xa0y", b"X: y\xa0", b"X: a\x85b", b"X: \x80"),
    *(b"Set-Cookie: a=\xe9", "Set-Cookie: a=é".encode(), "Set-Cookie: é=a; path=/ü".encode()),
    *(
        b'Set-Cookie: a="\xe9"; domain=\xfc.test',
        b"Link: <http://x/\xe9>; rel=\xfc",
        b'ETag: W/"\xe9"',
    ),
    *(
        "Content-Disposition: attachment; filename=\"é\"; filename*=UTF-8''%C3%A9".encode(),
        b"X: \xe2\x80\xa8",
    ),
    *(b'WWW-Authenticate: Basic realm="\xfc"', b"X: =?utf-8?q?=C3=A9?=", b"X: a\xe9\r\n b\xe9"),
]


@pytest.mark.parametrize("line", HEADER_LINES, ids=ascii)
def test_a_header_line_of_any_bytes(server, line):
    server.default = answer(b"200 OK", b"", line)
    same(server, "GET", "http://example.test/ü/x", readings)


LOCATION_TEXTS = st.one_of(
    st.builds(
        "{}{}".format, st.sampled_from(["", "/", "./", "../", "?", "#", "//example.test/"]), TEXT
    ),
    st.builds("http://{}/{}".format, st.sampled_from(HOSTS), TEXT),
    st.sampled_from(
        [" /x", "/x ", "/a b", "\xa0/x", "/\x85", "http:é", "HTTP://EXAMPLE.TEST/é", "//ü"]
    ),
)


@cases(300)
@given(
    location=LOCATION_TEXTS,
    encoding=st.sampled_from(["utf-8", "latin-1"]),
    follow=st.sampled_from([True, True, False]),
    method=st.sampled_from(["GET", "POST", "HEAD"]),
    fragment=st.sampled_from(["", "", "#é"]),
)
def test_any_location(server, location, encoding, follow, method, fragment):
    written = location.encode(encoding, "replace").replace(b"\r", b"").replace(b"\n", b"")

    def moved_once(request: bytes) -> Answer:
        if b"/begin " in request.split(b"\r\n")[0]:
            return answer(b"302 Found", b"", b"Location: " + written)
        return answer(b"200 OK", b"")

    server.default = moved_once
    same(server, method, f"http://example.test/ü/begin{fragment}", allow_redirects=follow)


@pytest.fixture(autouse=True)
def _usual_answer(server):
    server.default = Answer()
    yield
    server.default = Answer()
