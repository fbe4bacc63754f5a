"""Through tinyproxy, squid and mitmproxy, three ways: the same bytes at the origin, the same answers."""

from __future__ import annotations

from typing import Any

import pytest
import requests

import grequests

from .conftest import CREDENTIALS

pytestmark = pytest.mark.timeout(120)

#: A proxy, and what its URL has to say to be let through.
PROXIES = {
    "tinyproxy": ("tiny", ""),
    "squid": ("squid_open", ""),
    "squid with a password": ("squid_guarded", CREDENTIALS),
    "mitmproxy": ("mitm", CREDENTIALS),
}


@pytest.fixture(params=PROXIES)
def through(request, ca_path):
    """Makes the keywords of requests through a proxy."""
    fixture, credentials = PROXIES[request.param]
    proxy = request.getfixturevalue(fixture)
    url = proxy.url("http", credentials)

    def keywords(**more: Any) -> dict[str, Any]:
        # mitmproxy shows certificates of its own.
        verify = proxy.files.get("ca", ca_path)
        return {"proxies": {"http": url, "https": url}, "verify": verify, "timeout": 30, **more}

    return keywords


REQUESTS = {
    "a get": ("GET", "/a?b=c", {}),
    "a form": ("POST", "/form", {"data": {"a": "ä b"}}),
    "json": ("PUT", "/json", {"json": {"a": ["ü"]}}),
    "a file": ("POST", "/file", {"data": b"x" * 100_000}),
    "a head": ("HEAD", "/head", {}),
    "params": ("GET", "/ä b", {"params": {"ö": "%7e", "x": ["1", "2"]}}),
    "chunks": ("GET", "/chunked", {}),
    "a delete with auth": ("DELETE", "/auth", {"auth": ("ü", "p")}),
    "headers": (
        "GET",
        "/",
        {"headers": {"X-A": "ö"}},
    ),
    "options": ("OPTIONS", "/", {}),
}


@pytest.mark.parametrize("secure", [False, True])
@pytest.mark.parametrize("kind", REQUESTS)
def test_a_request(ways, through, origin, tls_origin, kind, secure):
    method, path, more = REQUESTS[kind]
    url = f"{(tls_origin if secure else origin).url}{path}"
    found = ways.same(lambda: (None, method, url, through(**more)))
    assert found["response"]["status_code"] == 200
    [sent] = found["taken"]
    assert sent.startswith(f"{method} /".encode())
    assert b"proxy-authorization" not in sent.lower()


@pytest.mark.parametrize("back", [False, True])
def test_a_redirect_between_http_and_https(ways, through, origin, tls_origin, back):
    """Nobody but the proxy is told its password."""
    first, second = (tls_origin, origin) if back else (origin, tls_origin)
    url = f"{first.url}/moved?{second.url}/there"
    found = ways.same(lambda: (None, "GET", url, through()))
    assert [each.split(b" ")[1] for each in sorted(found["taken"])] == sorted(
        [b"/moved?" + f"{second.url}/there".encode(), b"/there"]
    )
    assert not any(b"proxy-authorization" in each.lower() for each in found["taken"])


@pytest.mark.parametrize("secure", [False, True])
def test_a_redirect_to_a_host_without_a_proxy(
    ways, through, origin, tls_origin, secure, monkeypatch
):
    """Requests goes on through the proxy that it had, unless the scheme is another one."""
    keywords = through()
    proxy = keywords.pop("proxies")["http"]
    monkeypatch.setenv("http_proxy", proxy)
    monkeypatch.setenv("https_proxy", proxy)
    monkeypatch.setenv("no_proxy", "localhost")
    there = (tls_origin if secure else origin).url.replace("127.0.0.1", "localhost")
    if secure:
        keywords["verify"] = False  # the proxy's certificates at one hop, ours at the other
    found = ways.same(lambda: (None, "GET", f"{origin.url}/moved?{there}/there", keywords))
    assert found["response"]["url"] == f"{there}/there"
    assert not any(b"proxy-authorization" in each.lower() for each in found["taken"])


def test_a_session_with_a_password_for_the_proxy_at_hand(ways, through, origin, tls_origin):
    """`Session.rebuild_proxies` takes the header away where the proxy ends."""

    def make() -> Any:
        session = requests.Session()
        session.headers["Proxy-Authorization"] = "Basic bWluZTptaW5l"
        session.trust_env = False
        return session, "GET", f"{origin.url}/moved?{tls_origin.url}/there", through()

    found = ways.same(make)
    assert b"bWluZTptaW5l" not in b"".join(found["taken"][1:])


@pytest.mark.parametrize("secure", [False, True])
def test_an_origin_that_is_not_there(ways, through, secure):
    """A response of the proxy's own; for a tunnel, its refusal."""
    url = f"http{'s' * secure}://127.0.0.1:1/"
    found = ways.same(lambda: (None, "GET", url, through()))
    assert (found["error"] is None) is not secure or "mitmproxy" in str(found)


def test_many_at_once_and_all_of_them_right(through, origin, tls_origin):
    urls = [f"{(origin, tls_origin)[n % 2].url}/{n}" for n in range(60)]
    for _ in range(2):
        found = grequests.map([grequests.get(url, **through()) for url in urls], size=20)
        bodies = [each.text.split("\n")[0] for each in found]
        assert bodies == [f"GET /{n}" for n in range(60)]
    origin.taken()
    tls_origin.taken()


# --- who is not let through ----------------------------------------------------------------------


@pytest.mark.parametrize("guard", ["squid_guarded", "mitm"])
@pytest.mark.parametrize("credentials", ["", "nobody:wrong@", "us%40er:@", "us%40er@", ":x@"])
@pytest.mark.parametrize("secure", [False, True])
def test_a_wrong_password(request, ways, origin, tls_origin, ca_path, guard, credentials, secure):
    proxy = request.getfixturevalue(guard).url("http", credentials)
    url = (tls_origin if secure else origin).url
    kwargs = {"proxies": {"all": proxy}, "verify": ca_path, "timeout": 30}
    found = ways.same(lambda: (None, "GET", url, kwargs))
    assert found["taken"] == []
    if secure:
        assert found["error"]["type"] is requests.exceptions.ProxyError
        assert "Tunnel connection failed: 407 Proxy Authentication" in found["error"]["text"]
    else:
        assert found["response"]["status_code"] == 407
        assert "Basic" in str(found["response"]["headers"])


# --- TLS to the proxy ----------------------------------------------------------------------------


@pytest.mark.parametrize("secure", [False, True])
@pytest.mark.parametrize("verify", ["ca", False, True])
def test_a_proxy_that_is_spoken_to_by_tls(
    ways, squid_open, origin, tls_origin, ca_path, secure, verify
):
    """TLS in TLS, for https. That is the general lane's."""
    url = f"{(tls_origin if secure else origin).url}/x"
    kwargs = {
        "proxies": {"all": squid_open.url("https")},
        "verify": ca_path if verify == "ca" else verify,
        "timeout": 30,
    }
    found = ways.same(lambda: (None, "GET", url, kwargs), "general")
    # Of the proxy's certificate Requests looks only at what https is asked for through it.
    if secure and verify is True:
        assert found["error"]["type"] is requests.exceptions.ProxyError
    else:
        assert found["response"]["status_code"] == 200
        assert len(found["taken"]) == 1


@pytest.mark.parametrize("secure", [False, True])
@pytest.mark.parametrize("guard", ["squid_guarded", "mitm"])
def test_a_password_for_a_proxy_that_is_spoken_to_by_tls(
    request, ways, origin, tls_origin, guard, secure
):
    proxy = request.getfixturevalue(guard).url("https", CREDENTIALS)
    url = f"{(tls_origin if secure else origin).url}/x"
    kwargs = {"proxies": {"all": proxy}, "verify": False, "timeout": 30}
    found = ways.same(lambda: (None, "GET", url, kwargs), "general")
    assert found["response"]["status_code"] == 200
    [sent] = found["taken"]
    assert b"proxy-authorization" not in sent.lower()


@pytest.mark.parametrize("secure", [False, True])
def test_a_proxy_that_speaks_no_tls(ways, squid_open, tls_origin, origin, secure):
    url = f"{(tls_origin if secure else origin).url}/x"
    proxies = {"all": squid_open.url("http").replace("http", "https")}
    found = ways.same(lambda: (None, "GET", url, {"proxies": proxies, "timeout": 30}), "general")
    assert found["error"]["type"] is requests.exceptions.ProxyError
    assert "Your proxy appears to only use HTTP and not HTTPS" in found["error"]["text"]


# Requests does not verify a proxy through which it asks for http.
@pytest.mark.filterwarnings("ignore::urllib3.exceptions.InsecureRequestWarning")
def test_many_at_once_through_tls(squid_open, origin, tls_origin, ca_path):
    kwargs = {"proxies": {"all": squid_open.url("https")}, "verify": ca_path, "timeout": 30}
    urls = [f"{(origin, tls_origin)[n % 2].url}/{n}" for n in range(40)]
    failures = []
    found = grequests.map(
        [grequests.get(url, **kwargs) for url in urls],
        size=20,
        exception_handler=lambda _, error: failures.append(error),
    )
    assert failures == []
    assert [each.text.split("\n")[0] for each in found] == [f"GET /{n}" for n in range(40)]
    origin.taken()
    tls_origin.taken()
