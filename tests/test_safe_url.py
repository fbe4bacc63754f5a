"""No credentials in what is shown of a URL, whatever it looks like; and the rest is left alone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grequests._safe_url import safe_text, safe_url


@pytest.mark.parametrize(
    "url",
    [
        "http://example.org",
        "https://example.org:8443/a/b.html",
        "http://example.org/?page=2&q=a+b&empty=&flag",
        "http://[::1]:8080/x?y",
        "http://example.org/@someone/posts?to=a@b",
        "http://example.org/a;b=c",
        "http://example.org/?keyword=x&monkey=y&keys=z&design=w&author=v&basics=u",
        "http://example.org?",
        "example.org/x",
        "/x",
        "",
        "日本",
    ],
)
def test_what_is_no_secret_stays(url: str) -> None:
    assert safe_url(url) == url


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://me:pw@example.org/a", "http://example.org/a"),
        ("http://me@example.org:80/a", "http://example.org:80/a"),
        ("http://me:p@w@example.org/a", "http://example.org/a"),
        ("http://me:pw@[::1]:80/a", "http://[::1]:80/a"),
        ("HTTP://me:pw@example.org", "HTTP://example.org"),
        ("//me:pw@example.org/a", "//example.org/a"),
        ("me:pw@example.org/a", "example.org/a"),
        ("http:/me:pw@example.org/a", "http:/example.org/a"),
        ("http:///me:pw@example.org/a", "http:///example.org/a"),
        (" http://me:pw@example.org/a", " http://example.org/a"),
        ("http://me:p/w@example.org/a", "http://example.org/a"),
        ("http://me:p#w@example.org/a", "http://example.org/a"),
        ("http://me:p?w@example.org/a", "http://example.org/a"),
        ("http://me:pw@example.org/@b?c=d@e", "http://example.org/@b?c=d@e"),
        ("socks5h://me:pw@proxy:1080", "socks5h://proxy:1080"),
    ],
)
def test_user_and_password_go(url: str, shown: str) -> None:
    assert safe_url(url) == shown


@pytest.mark.parametrize(
    "key",
    [
        *("token", "access_token", "refreshToken", "X-Amz-Security-Token", "key", "api_key"),
        *("apikey", "API-KEY", "subscription-key", "password", "passwd", "pwd", "client_secret"),
        *("signature", "X-Amz-Signature", "X-Goog-Credential", "sig", "AWSAccessKeyId", "auth"),
        *("jwt", "sessionid", "code", "%74oken", "api%5Fkey", "user[password]"),
    ],
)
def test_values_of_secret_keys_go(key: str) -> None:
    assert safe_url(f"http://h/?a=1&{key}=hush&b=2") == f"http://h/?a=1&{key}=...&b=2"
    assert safe_url(f"http://h/?{key}=hush=hush") == f"http://h/?{key}=..."


def test_a_secret_without_a_value_is_a_word() -> None:
    assert safe_url("http://h/?token&a=b") == "http://h/?token&a=b"


def test_the_fragment_goes() -> None:
    assert safe_url("http://h/a?b=c#access_token=hush") == "http://h/a?b=c"
    assert safe_url("http://h#me@x") == "http://h"


def test_a_url_is_one_line() -> None:
    assert safe_url("http://h/a\r\nERROR all is lost\x1b[2J\u2028") == (
        r"http://h/a\r\nERROR all is lost\x1b[2J\u2028"
    )


def test_anything_may_stand_for_a_url() -> None:
    assert safe_url(b"http://me:pw@h/\xff") == "http://h/\ufffd"
    assert safe_url(None) == "None"
    assert safe_url(7) == "7"


@given(
    user=st.text("abc:@%40!$'", max_size=6),
    path=st.text("abc/@:?&=", max_size=6),
)
def test_nothing_of_a_password_is_left(user: str, path: str) -> None:
    assert "hush" not in safe_url(f"http://{user}:hush@example.org/{path}")


@given(st.text())
def test_no_text_is_too_odd(text: str) -> None:
    assert "\n" not in safe_url(text)
    assert "\n" not in safe_text(text)
    assert safe_url(safe_url(text)) == safe_url(text) or "@" in text or "#" in text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("timed out", "timed out"),
        ("url: /a?token=hush&b=1 (Caused by x)", "url: /a?token=...&b=1 (Caused by x)"),
        ("url: /a?b=1&sig=hush", "url: /a?b=1&sig=..."),
        ("Invalid URL 'http://me:hush@h/?key=hush': x", "Invalid URL 'http://h/?key=...': x"),
        ("proxy http://me:hush@p:1, <http://me@h>", "proxy http://p:1, <http://h>"),
        ("mail a@b.c about x=y", "mail a@b.c about x=y"),
        ("two\nlines", r"two\nlines"),
    ],
)
def test_texts_with_urls_in_them(text: str, shown: str) -> None:
    assert safe_text(text) == shown
