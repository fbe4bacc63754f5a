"""Which requests take the fast lane: a request for each clause that says no, and what says yes."""

from __future__ import annotations

import io
from http.cookiejar import CookieJar, DefaultCookiePolicy
from types import MappingProxyType
from typing import Any

import pytest
import requests
from recording import Recorder, sealed_environment
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase, HTTPBasicAuth, HTTPDigestAuth, HTTPProxyAuth
from requests.cookies import RequestsCookieJar
from requests.structures import CaseInsensitiveDict
from urllib3 import Retry, Timeout
from urllib3.util import SKIP_HEADER

import grequests
from grequests._engine import current_engine
from grequests._environment import Environment
from grequests._lane import KEYWORDS, general_reason, is_plain_proxy
from grequests._options import Options, RunContext
from grequests._prepare import NotPlainError, prepare

URL = "http://example.test/"


@pytest.fixture(autouse=True)
def sealed(tmp_path):
    with sealed_environment(tmp_path) as patch:
        yield patch


def reason(method: Any = "GET", url: Any = URL, session: Any = None, **kwargs: Any) -> str | None:
    return general_reason(method, url, session, kwargs, Environment())


class Text(str):
    """A str that may mean something else."""

    __slots__ = ()


class Dict(dict):
    """A dict that may mean something else."""


class Readable:
    """A file as far as Requests is concerned."""

    def read(self, _size: int) -> bytes:
        return b""


class Jar(RequestsCookieJar):
    """A jar with ideas of its own."""


class Strict(DefaultCookiePolicy):
    """A policy of the user's."""


class Adapter(HTTPAdapter):
    """An adapter of the user's."""


class Session(requests.Session):
    """A session of the user's."""


class MyRetry(Retry):
    """A policy of the user's."""


def test_a_bare_request_is_plain():
    assert reason() is None


@pytest.mark.parametrize(
    "method", ["GET", "get", "Post", "PUT", "DELETE", "OPTIONS", "HEAD", "PATCH", "TRACE", "PURGE"]
)
def test_any_method_of_letters_is_plain(method):
    assert reason(method) is None


@pytest.mark.parametrize(
    "method",
    ["", "M-SEARCH", "GE T", "GET\r\n", "CONNECT", "connect", "GÉT", b"GET", None, Text("GET")],
)
def test_other_methods_are_not(method):
    assert reason(method) == "method"


@pytest.mark.parametrize("url", [b"http://a/", None, Text(URL), 1])
def test_a_url_that_is_no_str_is_not_plain(url):
    assert reason(url=url) == "url type"


def test_unknown_keywords_are_for_requests_to_refuse():
    assert reason(nonsense=1) == "unknown keyword"


@pytest.mark.parametrize("name", sorted(KEYWORDS))
def test_a_keyword_that_is_none_is_plain(name):
    assert reason(**{name: None}) is None


PLAIN = [
    *[("params", value) for value in ({}, {"a": 1}, "a=b", b"a", [("a", "b")], (("a", "b"),))],
    *[("data", value) for value in ({}, {"a": [1]}, "a", b"a", [("a", "b")], (("a", "b"),))],
    *[("data", value) for value in (io.BytesIO(b"x"), iter([b"x"]), bytearray(b"x"), {b"x"})],
    *[("data", value) for value in (Readable(), io.StringIO("x"), memoryview(b"x"), range(1))],
    *[("json", value) for value in ({}, [1], "a", 0, False)],
    *[("headers", value) for value in ({}, {"A": "b"}, CaseInsensitiveDict(a="b"), {"Host": "h"})],
    ("headers", {"Expect": "100-continue"}),
    *[("cookies", value) for value in ({}, {"a": "b"}, RequestsCookieJar())],
    *[("files", value) for value in ({}, {"f": io.BytesIO()}, [("f", "x")], (("f", b"x"),))],
    *[("auth", value) for value in (("u", "p"), (b"u", b"p"), HTTPBasicAuth("u", "p"))],
    *[("auth", value) for value in (HTTPDigestAuth("u", "p"), HTTPProxyAuth("u", "p"), AuthBase())],
    *[("auth", value) for value in (lambda request: request, AuthBase)],
    *[("timeout", value) for value in (1, 0.5, (1, 2.5), (None, 2), (1, None))],
    *[("allow_redirects", value) for value in (True, False)],
    *[("proxies", value) for value in ({}, {"http": "http://p:1"}, {"https": "socks5://p"})],
    *[("hooks", value) for value in ({}, {"response": print}, {"response": [print]})],
    *[("stream", value) for value in (False, 0, True, 1)],
    *[("verify", value) for value in (True, False, "/ca.pem")],
    *[("cert", value) for value in ("/c.pem", ("/c.pem", "/k.pem"))],
]
NOT_PLAIN = [
    *[("params", value) for value in (Dict(a="b"), iter("ab"), Text("a"), {"a": iter("b")})],
    *[("params", value) for value in ([("a", iter("b"))], [iter("ab")], ["ab"])],
    *[("data", value) for value in (Dict(a="b"), Text("a"), MappingProxyType({}), 1, object())],
    *[("headers", value) for value in (Dict(a="b"), {b"A": "b"}, {1: "a"}, [("a", "b")])],
    *[("headers", {name: "1"}) for name in ("Content-Length", "transfer-encoding")],
    *[("headers", {name: "1"}) for name in ("Upgrade", "TE", "Trailer")],
    *[("cookies", value) for value in (CookieJar(), Jar(), RequestsCookieJar(Strict()), Dict())],
    *[("files", value) for value in (Dict(f="x"), iter([("f", "x")]))],
    *[("auth", value) for value in (["u", "p"], ("u", 1), ("u", "p", "x"), (), "u:p", object())],
    *[("timeout", value) for value in (0, -1, True, "1", (1,), (1, 2, 3), (1, True), Timeout(1))],
    *[("timeout", value) for value in (float("inf"), float("nan"), (0, 1), [1, 2])],
    *[("allow_redirects", value) for value in (1, 0, "yes")],
    *[("proxies", value) for value in (Dict(), CaseInsensitiveDict())],
    *[("hooks", value) for value in (Dict(response=print), [print])],
    ("stream", "yes"),
    *[("verify", value) for value in ("", 1, 0, Text("/ca.pem"))],
    *[("cert", value) for value in (["a", "b"], ("a",), ("a", None), (b"a", b"b"))],
]


@pytest.mark.parametrize(("name", "value"), PLAIN)
def test_what_a_keyword_may_be(name, value):
    assert reason(**{name: value}) is None


@pytest.mark.parametrize(("name", "value"), NOT_PLAIN)
def test_what_a_keyword_may_not_be(name, value):
    assert reason(**{name: value}) == name


def session_with(**attributes: Any) -> requests.Session:
    session = requests.Session()
    for name, value in attributes.items():
        setattr(session, name, value)
    return session


def test_a_new_session_is_plain():
    assert reason(session=requests.Session()) is None


PLAIN_ATTRIBUTES = [
    ("headers", {"A": "b"}),
    ("headers", CaseInsensitiveDict(A=b"b")),
    ("params", {"a": "b"}),
    ("params", None),
    ("auth", ("u", "p")),
    ("auth", HTTPBasicAuth("u", "p")),
    ("auth", HTTPDigestAuth("u", "p")),
    ("auth", print),
    ("proxies", {"http": "http://p:1"}),
    ("hooks", {"response": [print]}),
    ("verify", False),
    ("verify", "/ca.pem"),
    ("cert", "/c.pem"),
    ("trust_env", False),
    ("max_redirects", 0),
]
ODD_ATTRIBUTES = [
    ("headers", Dict()),
    ("headers", {"Content-Length": "1"}),
    ("cookies", CookieJar()),
    ("cookies", RequestsCookieJar(Strict())),
    ("cookies", {}),
    ("cookies", None),
    ("auth", ["u", "p"]),
    ("proxies", Dict()),
    ("hooks", [print]),
    ("params", Dict()),
    ("params", {"a": iter("b")}),
    ("verify", None),
    ("verify", ""),
    ("cert", ["a"]),
    ("max_redirects", 1.5),
]


@pytest.mark.parametrize(("name", "value"), PLAIN_ATTRIBUTES)
def test_what_an_attribute_of_a_session_may_be(name, value):
    assert reason(session=session_with(**{name: value})) is None


@pytest.mark.parametrize(("name", "value"), ODD_ATTRIBUTES)
def test_what_an_attribute_of_a_session_may_not_be(name, value):
    assert reason(session=session_with(**{name: value})) == f"session {name}"


def test_a_session_of_another_class_is_not_plain():
    assert reason(session=Session()) == "session type"


@pytest.mark.parametrize("name", ["send", "request", "note"])
def test_a_session_with_more_attributes_is_not_plain(name):
    assert reason(session=session_with(**{name: print})) == "session type"


def test_a_session_on_which_a_mock_put_back_its_own_methods_is_plain():
    session = requests.Session()
    session.get_adapter = session.get_adapter
    session.send = session.send
    assert reason(session=session) is None
    session.send = requests.Session().send
    assert reason(session=session) == "session type"


def adapter_with(**attributes: Any) -> HTTPAdapter:
    adapter = HTTPAdapter()
    for name, value in attributes.items():
        setattr(adapter, name, value)
    return adapter


class Classes(dict):
    """The pool classes of somebody else."""


def blocking() -> HTTPAdapter:
    return HTTPAdapter(pool_block=True)


def with_source_address() -> HTTPAdapter:
    adapter = HTTPAdapter()
    adapter.init_poolmanager(1, 1, source_address=("127.0.0.1", 0))
    return adapter


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (Adapter, "adapter type"),
        (requests.adapters.BaseAdapter, "adapter type"),
        (lambda: adapter_with(send=print), "adapter type"),
        (lambda: adapter_with(poolmanager=None), "adapter pool"),
        (with_source_address, "adapter pool"),
        (blocking, "adapter pool blocks"),
        (lambda: HTTPAdapter(max_retries=MyRetry(1)), "adapter retries"),
    ],
)
def test_adapters_that_are_not_plain(make, why):
    session = requests.Session()
    session.mount("http://", make())
    assert reason(session=session) == why


@pytest.mark.parametrize(
    "make",
    [
        lambda: HTTPAdapter(max_retries=3),
        lambda: HTTPAdapter(max_retries=Retry(3, backoff_factor=0.1)),
        lambda: HTTPAdapter(pool_connections=50, pool_maxsize=50),
    ],
)
def test_adapters_that_are_plain(make):
    session = requests.Session()
    session.mount("http://", make())
    assert reason(session=session) is None


def test_the_adapter_that_counts_is_the_one_for_the_url():
    session = requests.Session()
    session.mount("http://special.test", Adapter())
    assert reason(session=session) is None
    assert reason(url="http://special.test/", session=session) == "adapter type"
    assert reason(url=" http://special.test/", session=session) == "adapter type"


@pytest.mark.parametrize("url", ["ftp://a/", "mailto:a@b", "nonsense", ""])
def test_a_session_without_an_adapter_for_the_url(url):
    assert reason(url=url, session=requests.Session()) == "no adapter"


@pytest.mark.parametrize(
    "proxy",
    [
        *(
            "socks5://p:1",
            "https://p:1",
            "http://",
            "http://p:x",
            "http://p:0",
            "http://p:65536",
            "//p",
        ),
        *(
            "http://p/path",
            "http://p?x",
            "http://a b:1",
            "http://[::1",
            b"http://p",
            "ftp://p",
            "http:/p",
        ),
    ],
)
def test_proxies_that_are_not_plain(proxy):
    assert reason(proxies={"http": proxy}) == "proxy"
    assert reason(session=session_with(proxies={"all": proxy})) == "proxy"


@pytest.mark.parametrize(
    "proxy",
    [
        *(
            "http://p",
            "p",
            "p:3128",
            "HTTP://P.test:1/",
            "http://u:p@p:1",
            "u:p@p:1",
            "http://[::1]:1",
        ),
        *("", None),
    ],
)
def test_proxies_that_are_plain(proxy):
    assert is_plain_proxy(proxy)
    assert reason(proxies={"http": proxy}) is None


def test_proxies_of_the_environment_count(sealed):
    sealed.setenv("HTTP_PROXY", "socks5://p:1")
    sealed.setenv("NO_PROXY", "free.test")
    assert reason() == "proxy"
    assert reason(url="http://free.test/") is None
    assert reason(session=session_with(trust_env=False)) is None
    assert reason(proxies={"http": "http://p"}) is None


# What only preparation shows


def prepared(url: str = URL, session: Any = None, method: str = "GET", **kwargs: Any) -> Any:
    context = RunContext(current_engine(), Environment())
    assert general_reason(method, url, session, kwargs, context.environment) is None
    return prepare(method, url, session, kwargs, Options(context, session, kwargs, url))


@pytest.mark.parametrize(
    "url",
    [
        *("http://example.test./", "http://a..b/", "http://-a.test/", "http://a,b/"),
        *("http://[fe80::1%25eth0]/", "http://a:1:2/", "mailto:a", "ftp://a"),
        "http://" + "a" * 64 + "/",
    ],
)
def test_hosts_that_only_requests_knows_how_to_treat(url):
    try:
        ready = prepared(url)
    except NotPlainError:
        return
    except requests.exceptions.RequestException as error:
        with pytest.raises(type(error)):  # noqa: PT012
            requests.Request("GET", url).prepare()
    else:
        pytest.fail(f"{ready.wire!r}")


@pytest.mark.parametrize("value", [SKIP_HEADER])
def test_headers_that_mean_something_to_urllib3(value):
    with pytest.raises(NotPlainError):
        prepared(headers={"User-Agent": value})


@pytest.mark.parametrize("data", ["", b"", {"a": []}, [("a", [])]])
def test_an_empty_body_that_requests_sends_chunked_or_not_at_all(data):
    ready = prepared(method="POST", data=data)
    if data:
        assert b"\r\nTransfer-Encoding: chunked\r\n" in ready.wire
        assert ready.wire.endswith(b"\r\n\r\n0\r\n\r\n")
    else:
        assert ready.wire.endswith(b"Content-Length: 0\r\n\r\n")


def test_the_general_lane_gets_what_the_fast_lane_refused_late():
    """Nothing has been consumed by then."""
    with Recorder() as server:
        url = f"http://127.0.0.1.:{server.port}/"  # a host that check_url refuses
        content = io.BytesIO(b"file")
        [response] = grequests.map(
            [grequests.post(url, files={"f": content}, params={"a": ("b", "c")})], size=1
        )
        taken = server.taken()
        if response is None:  # the system does not resolve it
            assert content.read() in (b"", b"file")
        else:
            assert type(response) is requests.Response
            assert b"file" in taken[0]
            assert b"?a=b&a=c" in taken[0]
