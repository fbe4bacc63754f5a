"""The password of a proxy's URL that cannot be read is in no text (docs/security.md)."""

from __future__ import annotations

import pytest
from requests import exceptions

import grequests

from .harness import Odd

pytestmark = pytest.mark.usefixtures("no_leaks")


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("lane", ["fast", "general"])
def test_a_proxy_at_a_port_that_is_none_keeps_its_password(lane: str, scheme: str) -> None:
    session = Odd() if lane == "general" else None
    proxies = {scheme: "http://user:hunter2@127.0.0.1:65536"}
    request = grequests.get(f"{scheme}://a.test/a", session=session, proxies=proxies)
    [result] = grequests.run([request], retry=None)
    assert type(result.error) is exceptions.InvalidURL
    assert "hunter2" not in str(result.error)
    assert "hunter2" not in repr(result.error)
    assert "hunter2" not in repr(result)
    if session is not None:
        session.close()


@pytest.mark.parametrize("place", ["proxy", "auth"])
@pytest.mark.parametrize("lane", ["fast", "general"])
def test_a_password_that_cannot_be_encoded_is_in_no_repr_of_ours(lane: str, place: str) -> None:
    session = Odd() if lane == "general" else None
    keywords = {
        "proxy": {"proxies": {"http": "http://user:hunter2\u20ac@127.0.0.1:1"}},
        "auth": {"auth": ("user", "hunter2\u20ac")},
    }[place]
    request = grequests.get("http://127.0.0.1:1/a", session=session, **keywords)
    [result] = grequests.run([request], retry=None)
    assert type(result.error) is UnicodeEncodeError
    assert "hunter2" not in repr(result)
    assert "hunter2" not in repr(result.attempts)
    if session is not None:
        session.close()
