"""Which proxy a request takes, and which takes none: names, ports, networks, wildcards; three ways."""

from __future__ import annotations

from typing import Any

import pytest
import requests
from recording import Recorder
from ways import Ways

pytestmark = pytest.mark.timeout(60)


@pytest.fixture(scope="module")
def proxy():
    with Recorder() as one:
        yield one


@pytest.fixture(scope="module")
def direct():
    with Recorder() as one:
        yield one


def goes_direct(proxy: Recorder, direct: Recorder, make: Any) -> bool:
    """Whether a request went past the proxy, the same three ways."""
    found = Ways(lambda: (proxy.taken(), direct.taken())).same(make)
    by_proxy, past_it = found["taken"]
    assert len(by_proxy) + len(past_it) == 1
    return bool(past_it)


#: A value, and whether it spares 127.0.0.1 and localhost the proxy. PORT stands for the origin's.
SPARED = [
    ("127.0.0.1", True, False),
    ("127.0.0.0/8", True, False),
    ("127.0.0.0/33", False, False),
    ("10.0.0.0/8", False, False),
    ("10.0.0.0/8,127.0.0.1/32", True, False),
    (" 127.0.0.1 , x", True, False),
    ("127.0.0.1:PORT", False, False),
    ("127.0.0.1:1", False, False),
    ("127.0.0", False, False),
    ("localhost", False, True),
    ("LOCALHOST", False, True),
    (".localhost", False, True),
    ("localhost:PORT", False, True),
    ("localhost:1", False, False),
    ("host", False, False),
    ("*", True, True),
    ("*.test", False, False),
    ("", False, False),
    (",", False, False),
]
PLACES = ["no_proxy", "NO_PROXY", "keyword"]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(("value", "address", "name"), SPARED)
def test_who_needs_no_proxy(proxy, direct, monkeypatch, value, address, name, place):
    value = value.replace("PORT", str(direct.port))
    monkeypatch.setenv("http_proxy", f"http://u:p@127.0.0.1:{proxy.port}")
    kwargs = {}
    if place == "keyword":
        kwargs = {"proxies": {"no_proxy": value}}
    else:
        monkeypatch.setenv(place, value)
    found = []
    for host in ("127.0.0.1", "localhost"):
        url = f"http://{host}:{direct.port}/x"
        found.append(goes_direct(proxy, direct, lambda url=url: (None, "GET", url, dict(kwargs))))
    if place != "keyword":  # where Requests does not look for all of these
        assert found == [address, name]


#: Keys of `proxies=`, and whether they mean http://127.0.0.1.
KEYS = [
    *(("http", True), ("all", True), ("http://127.0.0.1", True), ("all://127.0.0.1", True)),
    *(("https", False), ("http://localhost", False), ("all://localhost", False), ("HTTP", False)),
    *(
        ("http://127.0.0.1/", False),
        ("", False),
        ("127.0.0.1", False),
        ("https://127.0.0.1", False),
    ),
]


@pytest.mark.parametrize("by_session", [False, True])
@pytest.mark.parametrize(("key", "means"), KEYS)
def test_keys_by_scheme_and_host(proxy, direct, key, means, by_session):
    proxies = {key: f"http://127.0.0.1:{proxy.port}"}

    def make() -> Any:
        session = requests.Session()
        if by_session:
            session.proxies = dict(proxies)
        return session, "GET", f"{direct.url}/x", {} if by_session else {"proxies": dict(proxies)}

    assert goes_direct(proxy, direct, make) is not means


@pytest.mark.parametrize("name", ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"])
@pytest.mark.parametrize("trusted", [True, False])
def test_the_environment_is_asked_if_it_is_trusted(proxy, direct, monkeypatch, name, trusted):
    monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")

    def make() -> Any:
        session = requests.Session()
        session.trust_env = trusted
        return session, "GET", f"{direct.url}/x", {}

    assert goes_direct(proxy, direct, make) is not trusted
