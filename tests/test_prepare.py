"""Preparation: what is written on the wire, and that the short ways lead to the same place."""

from __future__ import annotations

import io
import re
from typing import Any

import pytest
import requests
import urllib3.filepost
from hypothesis import given, settings
from hypothesis import strategies as st
from recording import Answer, Lanes, Recorder, sealed_environment
from requests.cookies import RequestsCookieJar
from requests.models import PreparedRequest

import grequests
from grequests._safe_error import hide_secrets
from grequests._engine import current_engine
from grequests._environment import Environment
from grequests._options import Options, RunContext
from grequests._prepare import PLAIN_URL, SIMPLE_URL, prepare, serialize


@pytest.fixture(autouse=True)
def sealed(tmp_path):
    with sealed_environment(tmp_path) as patch:
        yield patch


@pytest.fixture
def server():
    with Recorder() as one:
        yield one


def wire(method: str, url: str, session: Any = None, **kwargs: Any) -> bytes:
    context = RunContext(current_engine(), Environment())
    return prepare(method, url, session, kwargs, Options(context, session, kwargs, url)).wire


def head(*lines: str) -> bytes:
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


AGENT = f"User-Agent: python-requests/{requests.__version__}"
DEFAULTS = (
    AGENT,
    f"Accept-Encoding: {requests.utils.default_headers()['Accept-Encoding']}",
    "Accept: */*",
    "Connection: keep-alive",
)


def test_a_get():
    assert wire("GET", "http://example.test/x") == head(
        "GET /x HTTP/1.1", "Host: example.test", *DEFAULTS
    )


def test_a_post_of_a_form():
    assert wire("POST", "http://example.test:81", data={"a": "b c", "d": ["e", "f"]}) == head(
        "POST / HTTP/1.1", "Host: example.test:81", *DEFAULTS,
        "Content-Length: 13", "Content-Type: application/x-www-form-urlencoded",
    ) + b"a=b+c&d=e&d=f"  # fmt: skip


def test_methods_that_have_a_length_and_those_that_have_none():
    for method in ("GET", "HEAD"):
        assert b"Content-Length" not in wire(method, "http://a/")
    for method in ("POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PURGE"):
        assert wire(method, "http://a/").endswith(b"\r\nContent-Length: 0\r\n\r\n")


def test_headers_that_a_session_takes_away():
    session = requests.Session()
    session.headers.clear()
    assert wire("GET", "http://a/", session) == head(
        "GET / HTTP/1.1", "Host: a", "Accept-Encoding: identity",
        f"User-Agent: python-urllib3/{urllib3.__version__}",
    )  # fmt: skip


def test_the_case_and_order_of_headers():
    sent = wire(
        "GET",
        "http://a/",
        headers={"x-lower": "1", "X-UPPER": b"2", "user-agent": "me", "Accept": None},
    )
    assert sent == head(
        "GET / HTTP/1.1",
        "Host: a",
        "user-agent: me",
        DEFAULTS[1],
        DEFAULTS[3],
        "x-lower: 1",
        "X-UPPER: 2",
    )


def test_a_host_given_by_hand():
    sent = wire("GET", "http://a/", headers={"host": "other"})
    assert sent.count(b"ost: ") == 1
    assert sent.endswith(b"\r\nhost: other\r\n\r\n")


def test_a_nul_is_refused(server):
    """Templates mark the place of Host by one; and a server may take it for an end."""
    headers = {"Host": "other", "A": "b\x00c"}
    asked = [grequests.get(f"{server.url}/{n}", headers=headers) for n in range(2)]
    assert grequests.map(asked) == [None, None]
    assert [type(each.exception) for each in asked] == [requests.exceptions.InvalidHeader] * 2
    assert server.taken() == []


@pytest.mark.parametrize("connection", ["close", "Close", b"close", "upgrade", "keep-alive"])
def test_connection_given_by_hand(connection):
    context = RunContext(current_engine(), Environment())
    kwargs = {"headers": {"Connection": connection}}
    ready = prepare("GET", "http://a/", None, kwargs, Options(context, None, kwargs, ""))
    assert ready.close_after is (connection != "keep-alive")


def test_values_that_would_split_a_head():
    request = PreparedRequest()
    request.prepare("GET", "http://a/", headers={"A": "b"})
    for value in ("x\r\nInjected: 1", "x\nInjected: 1", "x\r", b"x\r\ny"):
        request.headers["A"] = value
        with pytest.raises(ValueError, match="Invalid header value"):
            serialize(request, "/", "a")


def test_a_cookie_that_would_split_a_head(server):
    outcomes = []
    for send in (requests.get, lambda *args, **kwargs: grequests.get(*args, **kwargs).send()):
        try:
            found = send(server.url, cookies={"a": "b\r\nInjected: 1"})
            outcomes.append(repr(getattr(found, "exception", None)))
        except Exception as error:  # noqa: BLE001
            hide_secrets(error)
            outcomes.append(repr(error))
    assert outcomes[0] == outcomes[1]
    assert not any(b"Injected" in each for each in server.taken())


# The short ways


TEXTS = st.text("abXY09-._~/%!$&'()*+,;=:@?#[] \\\"<>é2eEfF4c1\x00", max_size=14)
URLS = st.builds(
    "{}{}{}{}".format,
    st.sampled_from(["http://", "https://", "http:/", "Http://"]),
    st.sampled_from(
        ["example.test", "a", "a_b.test", "1.2.3.4", "a..b", "A", "a-", "-a", "[::1]", "[0]", ""]
    ),
    st.sampled_from(["", ":1", ":80", ":0", ":01", ":65536", ":"]),
    st.one_of(st.just(""), TEXTS, TEXTS.map("/{}".format), TEXTS.map("/a?{}".format)),
)


@settings(max_examples=3000, deadline=None, derandomize=True, database=None)
@given(url=URLS)
def test_a_plain_url_is_one_that_preparation_leaves_alone(url):
    plain, simple = PLAIN_URL.fullmatch(url), SIMPLE_URL.fullmatch(url)
    if plain is None:
        assert simple is None
        return
    request = PreparedRequest()
    try:
        request.prepare_url(url, {})
    except requests.exceptions.InvalidURL:
        assert int(url.split("/")[2].rpartition(":")[2]) > 65535  # noqa: PT017
        return
    assert request.url == (url if plain[2] else f"{url}/")


def test_most_urls_of_the_world_are_simple():
    for url in (
        "http://example.org", "https://example.org/", "http://127.0.0.1:8000/a/b.html?c=d&e=f",
        "https://api.github.com/repos/a-b/c_d/issues?page=2", "http://example.org/~user/x-y_z",
        "https://www.example.co.uk/a/b/c/?q=a+b", "http://h/item/1,2",
    ):  # fmt: skip
        assert PLAIN_URL.fullmatch(url), url
    assert SIMPLE_URL.fullmatch("http://127.0.0.1:8000/a/b.html?c=d&e=f")


# What a session, the keywords and netrc say about the same thing


@pytest.fixture
def netrc(tmp_path, sealed):
    path = tmp_path / "netrc"
    path.write_text(
        "machine 127.0.0.1\nlogin nina\npassword secret\n"
        "machine example.test\nlogin eva\npassword other\n"
        "machine loginless.test\npassword only\n"
    )
    path.chmod(0o600)
    sealed.setenv("NETRC", str(path))
    return path


def session_of(**attributes: Any) -> requests.Session:
    session = requests.Session()
    for name, value in attributes.items():
        setattr(session, name, value)
    return session


NETRC_CASES = [
    ("http://example.test/", {}, {}),
    ("http://example.test:81/x", {}, {}),
    ("http://b.test/", {}, {}),
    ("http://loginless.test/", {}, {}),
    ("http://u:p@example.test/", {}, {}),
    ("http://example.test/", {"auth": ("u", "p")}, {}),
    ("http://example.test/", {}, {"auth": ("s", "t")}),
    ("http://example.test/", {}, {"trust_env": False}),
    ("http://example.test/", {"headers": {"Authorization": "Bearer x"}}, {}),
    ("http://EXAMPLE.test/", {}, {}),
]


@pytest.mark.usefixtures("netrc")
@pytest.mark.parametrize("case", range(len(NETRC_CASES)))
@pytest.mark.parametrize("with_session", [False, True])
def test_netrc(server, case, with_session):
    url, kwargs, attributes = NETRC_CASES[case]
    if attributes and not with_session:
        return
    lanes = Lanes(server)
    assert lanes.compare(
        lambda: (session_of(**attributes) if with_session else None, "GET", url, dict(kwargs))
    )


@pytest.mark.usefixtures("netrc")
def test_netrc_speaks_for_itself(server):
    grequests.map([grequests.get(f"{server.url}/{number}") for number in range(3)])
    assert all(b"Authorization: Basic bmluYTpzZWNyZXQ=" in each for each in server.taken())


@pytest.mark.usefixtures("netrc")
def test_netrc_along_a_redirect(server):
    server.answers = {
        "/start": Answer(
            b"HTTP/1.1 302 Found\r\nLocation: http://b.test/x\r\nContent-Length: 0\r\n\r\n"
        ),
        "/x": Answer(
            b"HTTP/1.1 302 Found\r\nLocation: http://example.test/y\r\nContent-Length: 0\r\n\r\n"
        ),
    }
    outcome = Lanes(server).compare(lambda: (None, "GET", "http://example.test/start", {}))
    assert [b"Authorization" in each for each in outcome.wire] == [True, False, True]


def test_a_broken_netrc(server, netrc):
    netrc.write_text("nonsense here {")
    assert Lanes(server).compare(lambda: (None, "GET", "http://example.test/", {}))


@pytest.mark.parametrize("name", [".netrc", "_netrc"])
def test_a_netrc_at_home(server, tmp_path, name):
    path = tmp_path / name
    path.write_text("machine example.test login a password b\n")
    path.chmod(0o600)
    outcome = Lanes(server).compare(lambda: (None, "GET", "http://example.test/", {}))
    assert b"Authorization: Basic YTpi" in outcome.wire[0]


MERGES = [
    ({"headers": {"A": "s"}}, {"headers": {"a": "k"}}),
    ({"headers": {"A": "s"}}, {"headers": {"a": None}}),
    ({"headers": None}, {}),
    ({"headers": {"Accept": None}}, {}),
    ({"params": {"a": "s", "b": "s"}}, {"params": {"a": "k"}}),
    ({"params": {"a": "s"}}, {"params": {"a": None}}),
    ({"params": {"a": "s"}}, {"params": "b=c"}),
    ({"params": "a=s"}, {"params": {"b": "c"}}),
    ({"params": [("a", "s")]}, {}),
    ({"params": None}, {"params": {"a": "b"}}),
    ({"auth": ("s", "t")}, {"auth": ("k", "l")}),
    ({"auth": ("s", "t")}, {"auth": ("", "")}),
    ({"auth": None}, {}),
    ({"hooks": {"response": []}}, {"hooks": {"response": None}}),
    ({"hooks": None}, {}),
    ({"max_redirects": None}, {}),
    ({"cert": None}, {"verify": None}),
]


@pytest.mark.parametrize("index", range(len(MERGES)))
def test_what_a_session_and_the_keywords_say(server, index):
    attributes, kwargs = MERGES[index]
    lanes = Lanes(server)
    lanes.compare(lambda: (session_of(**attributes), "GET", "http://example.test/?z", dict(kwargs)))
    assert lanes.fast + lanes.general == 1


def jar(**cookies: str) -> RequestsCookieJar:
    made = RequestsCookieJar()
    for name, value in cookies.items():
        made.set(name, value, domain="example.test", path="/")
    return made


@pytest.mark.parametrize("own", [None, {}, {"a": "k"}, {"b": "k"}])
def test_cookies_of_a_session_and_of_a_request(server, own):
    kwargs = {} if own is None else {"cookies": own}
    outcome = Lanes(server).compare(
        lambda: (session_of(cookies=jar(a="s")), "GET", "http://example.test/", kwargs)
    )
    assert re.search(rb"\r\nCookie: ", outcome.wire[0])


def test_files_are_read_once(server):
    content = io.BytesIO(b"content")
    grequests.map([grequests.post(server.url, files={"f": content})])
    [sent] = server.taken()
    assert b"\r\n\r\ncontent\r\n" in sent
    assert content.read() == b""


def test_a_file_that_is_half_read(server):
    def make() -> Any:
        content = io.BytesIO(b"content")
        content.read(3)
        return None, "POST", "http://example.test/", {"files": {"f": ("n", content)}}

    lanes = Lanes(server)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(urllib3.filepost, "choose_boundary", lambda: "b")
        assert lanes.compare(make)
