"""Requests that are not as they should be, and what comes of each.

Control characters in every place that takes text, types that are wrong, hosts and ports that are none,
and texts that are long. `test_bad_input` sends them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, quote_plus

import requests
from requests import exceptions
from requests.cookies import RequestsCookieJar
from urllib3.exceptions import LocationParseError

from grequests._kinds import INVALID, OTHER, PROXY

INJECTED = "Injected: 1"
BREAKS = {"CRLF": f"\r\n{INJECTED}", "LF": f"\n{INJECTED}", "CR": f"\r{INJECTED}"}
FOLD = {"a fold": f"\r\n {INJECTED}"}
CONTROLS = {"NUL": "\0", "SOH": "\1", "VT": "\v", "DEL": "\x7f"}
#: RFC 9110 section 5.5, and folds.
DANGEROUS = {"NUL", "a fold"}
WIDE = {"U+0085": "\x85", "U+2028": "\u2028", "a surrogate": "\ud800"}
ALL = {**BREAKS, **FOLD, **CONTROLS, **WIDE}
#: What is a method, URL and keywords; made of the server's root.
Make = Callable[[str], "tuple[Any, Any, dict[str, Any]]"]


@dataclass(frozen=True)
class Refused:
    """Ends by this error, and nothing is sent."""

    error: type[Exception]
    kind: str = INVALID


@dataclass(frozen=True)
class Sent:
    """Goes out with this first line, and these lines more."""

    target: str
    lines: tuple[str, ...] = ()


@dataclass(frozen=True)
class Wrong:
    """A request that is not as it should be, and what comes of it.

    Attributes:
        outcome: in Requests, and in the general lane.
        strict: in the fast lane, if it is another.
    """

    name: str
    make: Make
    outcome: Refused | Sent
    strict: Refused | None = None

    def __str__(self) -> str:
        return self.name.replace(" ", "-")


def of_url(change: Callable[[str], str]) -> Make:
    return lambda root: ("GET", change(root), {})


def with_keywords(**keywords: Any) -> Make:
    return lambda root: ("GET", f"{root}/a", keywords)


def each(
    where: str,
    characters: dict[str, str],
    make: Callable[[str], Make],
    outcome: Callable[[str], Refused | Sent] | Refused,
    strict: Refused | None = None,
) -> Iterator[Wrong]:
    """The same for each of some characters; `strict` for those that are dangerous."""
    for name, text in characters.items():
        found = outcome if isinstance(outcome, Refused) else outcome(text)
        is_strict = strict is not None and name in DANGEROUS
        yield Wrong(f"{name} in {where}", make(text), found, strict if is_strict else None)


def encoded(text: str) -> str:
    return quote(text, safe=":", errors="surrogatepass")


def basic(text: str) -> str:
    return f"Authorization: {requests.auth._basic_auth_str(f'u{text}', f'p{text}')}"


def jar(name: str, value: str) -> RequestsCookieJar:
    made = RequestsCookieJar()
    made.set(name, value)
    return made


NO_URL, NO_HEADER = Refused(exceptions.InvalidURL), Refused(exceptions.InvalidHeader)
NO_VALUE, NO_TEXT = Refused(ValueError), Refused(UnicodeEncodeError)
NOT_LATIN = {name: WIDE[name] for name in ("U+2028", "a surrogate")}
LATIN = {name: text for name, text in ALL.items() if name not in NOT_LATIN}

URLS = [
    *each(
        "the path",
        ALL,
        lambda c: of_url(lambda root: f"{root}/a{c}b"),
        lambda c: Sent(f"/a{encoded(c)}b"),
    ),
    *each(
        "the path, a whole request",
        BREAKS,
        lambda c: of_url(lambda root: f"{root}/a HTTP/1.1{c}"),
        lambda c: Sent(f"/a%20HTTP/1.1{encoded(c)}"),
    ),
    *each(
        "the query",
        ALL,
        lambda c: of_url(lambda root: f"{root}/a?b{c}c"),
        lambda c: Sent(f"/a?b{encoded(c)}c"),
    ),
    *each(
        "the fragment",
        ALL,
        lambda c: of_url(lambda root: f"{root}/a#b{c}c"),
        lambda c: Sent("/a"),
    ),
    *each(
        "params",
        {**BREAKS, **FOLD, **CONTROLS},
        lambda c: with_keywords(params={f"x{c}": f"y{c}"}),
        lambda c: Sent(f"/a?x{quote_plus(c)}=y{quote_plus(c)}"),
    ),
    *each(
        "the host",
        ALL,
        lambda c: of_url(lambda root: root.replace("127.0.0.1", f"127.0.0.1{c}")),
        NO_URL,
    ),
    *each("the port", ALL, lambda c: of_url(lambda root: f"{root}{c}/a"), NO_URL),
    *each(
        "front of the URL",
        {**BREAKS, **FOLD, "NUL": "\0", "SOH": "\1"},
        lambda c: of_url(lambda root: f"{c}{root}/a"),
        Refused(exceptions.InvalidSchema),
    ),
    *each(
        "the user of a URL",
        LATIN,
        lambda c: of_url(lambda root: root.replace("//", f"//u{c}:p{c}@") + "/a"),
        lambda c: Sent("/a", (basic(c),)),
    ),
    *each(
        "the user of a URL",
        NOT_LATIN,
        lambda c: of_url(lambda root: root.replace("//", f"//u{c}:p{c}@") + "/a"),
        NO_TEXT,
    ),
]

PLACES: dict[str, Callable[[str], Make]] = {
    "the name of a header": lambda c: with_keywords(headers={f"A{c}": "b"}),
    "the value of a header": lambda c: with_keywords(headers={"A": f"b{c}"}),
    "Host": lambda c: with_keywords(headers={"Host": f"b{c}"}),
    "the name of a header in bytes": lambda c: with_keywords(headers={f"A{c}".encode(): b"b"}),
    "the value of a header in bytes": lambda c: with_keywords(headers={"A": f"b{c}".encode()}),
    "the name of a cookie": lambda c: with_keywords(cookies={f"a{c}": "b"}),
    "the value of a cookie": lambda c: with_keywords(cookies={"a": f"b{c}"}),
    "the name of a cookie of a jar": lambda c: with_keywords(cookies=jar(f"a{c}", "b")),
    "the value of a cookie of a jar": lambda c: with_keywords(cookies=jar("a", f"b{c}")),
}
HEADERS = [
    *(
        wrong
        for where, make in PLACES.items()
        if "cookie" not in where
        for wrong in each(where, {**BREAKS, **FOLD}, make, NO_HEADER)
    ),
    *(
        wrong
        for where, make in PLACES.items()
        if "cookie" in where
        for wrong in each(where, BREAKS, make, NO_VALUE)
    ),
    *(
        wrong
        for where, make in PLACES.items()
        if "bytes" not in where
        for wrong in each(where, NOT_LATIN, make, NO_TEXT)
    ),
    *each(
        "auth",
        LATIN,
        lambda c: with_keywords(auth=(f"u{c}", f"p{c}")),
        lambda c: Sent("/a", (basic(c),)),
    ),
    *each("auth", NOT_LATIN, lambda c: with_keywords(auth=(f"u{c}", f"p{c}")), NO_TEXT),
    *each("the method", ALL, lambda c: lambda root: (f"GET{c}", f"{root}/a", {}), NO_VALUE),
]

#: As Requests sends them. A server may take what follows a fold for a header, and a NUL for an end:
#: the fast lane refuses both.
LENIENT = [
    *each(
        "the value of a header",
        CONTROLS,
        PLACES["the value of a header"],
        lambda c: Sent("/a", (f"A: b{c}",)),
        NO_HEADER,
    ),
    *each(
        "the name of a header",
        CONTROLS,
        PLACES["the name of a header"],
        lambda c: Sent("/a", (f"A{c}: b",)),
        NO_HEADER,
    ),
    *each(
        "the value of a cookie",
        CONTROLS,
        PLACES["the value of a cookie"],
        lambda c: Sent("/a", (f"Cookie: a=b{c}",)),
        NO_HEADER,
    ),
    *each(
        "the value of a cookie",
        FOLD,
        PLACES["the value of a cookie"],
        lambda c: Sent("/a", ("Cookie: a=b", f" {INJECTED}")),
        NO_HEADER,
    ),
]


def to_proxy(change: Callable[[str], str], scheme: str = "http") -> Make:
    """A request through a proxy whose URL is changed."""
    return lambda root: (
        *("GET", f"{scheme}://example.test/a"),
        {"proxies": {scheme: change(root)}},
    )


def proxy_basic(text: str) -> str:
    return "Proxy-" + basic(text)


PROXIES = [
    *each(
        "the credentials of a proxy",
        LATIN,
        lambda c: to_proxy(lambda root: root.replace("//", f"//u{c}:p{c}@")),
        lambda c: Sent("http://example.test/a", (proxy_basic(c),)),
    ),
    *each(
        "the encoded credentials of a proxy",
        {**BREAKS, **FOLD, **CONTROLS},
        lambda c: to_proxy(lambda root: root.replace("//", f"//u{quote(c)}:p{quote(c)}@")),
        lambda c: Sent("http://example.test/a", (proxy_basic(c),)),
    ),
    *each(
        "the credentials of a proxy",
        NOT_LATIN,
        lambda c: to_proxy(lambda root: root.replace("//", f"//u{c}:p{c}@")),
        NO_TEXT,
    ),
    *(
        wrong
        for scheme in ("http", "https")
        for wrong in each(
            f"the host of a proxy, {scheme}",
            ALL,
            lambda c, scheme=scheme: to_proxy(lambda root: root.replace(".1:", f".1{c}:"), scheme),
            NO_URL,
        )
    ),
    Wrong(
        "a proxy without a host",
        to_proxy(lambda _: "http://"),
        Refused(exceptions.InvalidProxyURL, PROXY),
    ),
    Wrong(
        "a proxy of no scheme that is spoken",
        to_proxy(lambda _: "foo://x"),
        Refused(exceptions.InvalidURL, PROXY),
    ),
    Wrong("a proxy at port 65536", to_proxy(lambda _: "http://u:hunter2@127.0.0.1:65536"), NO_URL),
]


def port(text: str) -> Make:
    return of_url(lambda root: re.sub(r":\d+$", f":{text}", root) + "/a")


BIG = "x" * 1_000_000
OTHERS = [
    *(
        Wrong(f"port {text}", port(text), NO_URL)
        for text in ("65536", "-1", "99999999999", "80x", " 80", "+80", "0x50", "\u0661")
    ),
    *(
        Wrong(f"host {host!r}", of_url(lambda _, host=host: f"http://{host}/a"), NO_URL)
        for host in ("", " ", "a b", "..", "*", "*.test", "[::1", "[zz]", "a%00b", "\ud800")
    ),
    *(
        Wrong(
            f"host {name}",
            of_url(lambda _, host=host: f"http://{host}/a"),
            Refused(LocationParseError),
        )
        for name, host in (
            ("of 64 letters", "a" * 64 + ".test"),
            ("of 1 MB", BIG),
            ("a..b", "a..b"),
        )
    ),
    *(
        Wrong(f"URL {url!r}", of_url(lambda _, url=url: url), Refused(error))
        for url, error in (
            *(
                (None, exceptions.MissingSchema),
                ("", exceptions.MissingSchema),
                (1, exceptions.MissingSchema),
            ),
            *(
                ("x", exceptions.MissingSchema),
                ("//a/b", exceptions.MissingSchema),
                ({}, exceptions.MissingSchema),
            ),
            *(
                ("http:///a", exceptions.InvalidURL),
                ("http:a", exceptions.InvalidURL),
                ([], exceptions.InvalidURL),
            ),
            *(
                ("file:///etc/passwd", exceptions.InvalidSchema),
                ("javascript:1", exceptions.InvalidSchema),
            ),
        )
    ),
    *(
        Wrong(f"method {method!r}", lambda root, method=method: (method, f"{root}/a", {}), outcome)
        for method, outcome in (
            *((None, Refused(AttributeError, OTHER)), (1, Refused(AttributeError, OTHER))),
            *(
                (" ", NO_VALUE),
                ("GET ", NO_VALUE),
                ("G T", NO_VALUE),
                ("g\xe9t", NO_VALUE),
                ("GET:", NO_VALUE),
            ),
        )
    ),
    *(
        Wrong(f"{name}={value!r}", with_keywords(**{name: value}), outcome)
        for name, value, outcome in (
            *(
                ("headers", value, NO_HEADER)
                for value in ({"A": 1}, {"": "a"}, {" A": "a"}, {"A:b": "a"})
            ),
            ("headers", {None: "a"}, Refused(AttributeError, OTHER)),
            ("headers", "x", Refused(AttributeError, OTHER)),
            ("cookies", {"a": 1}, Refused(AttributeError, OTHER)),
            ("cookies", "x", Refused(TypeError, OTHER)),
            *((name, "x", Refused(TypeError, OTHER)) for name in ("auth", "bogus")),
            *(("timeout", value, Refused(ValueError, OTHER)) for value in ("x", -1, 0)),
            *((name, 1, Refused(TypeError, OTHER)) for name in ("params", "data", "cert")),
            ("json", float("nan"), Refused(exceptions.InvalidJSONError)),
            ("hooks", 1, Refused(AttributeError, OTHER)),
        )
    ),
    Wrong("a path of 1 MB", of_url(lambda root: f"{root}/{BIG}"), Sent(f"/{BIG}")),
    Wrong("a query of 1 MB", of_url(lambda root: f"{root}/?{BIG}"), Sent(f"/?{BIG}")),
    Wrong(
        "a path of 400,000 characters to be encoded",
        of_url(lambda root: root + "/" + " \xe9" * 200_000),
        Sent("/" + "%20%C3%A9" * 200_000),
    ),
    Wrong(
        "a header of 10 MB", with_keywords(headers={"A": BIG * 10}), Sent("/a", (f"A: {BIG * 10}",))
    ),
    Wrong("a cookie of 1 MB", with_keywords(cookies={"a": BIG}), Sent("/a", (f"Cookie: a={BIG}",))),
]

CASES = [*URLS, *HEADERS, *LENIENT, *PROXIES, *OTHERS]
