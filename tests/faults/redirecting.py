"""Faults of redirects that lead nowhere. Where credentials go is in `test_redirect_faults`."""

from __future__ import annotations

from requests import exceptions

from grequests._kinds import INVALID, NAME, OTHER, REDIRECTS

from .bodies import BOMBS, LARGE, LIMIT, coded
from .framing import REJECTED, one
from .harness import Bad, Case, Fin, Fine

FOUND = b"HTTP/1.1 302 Found\r\n"
NEXT = Fine(b"/next")


def to(*locations: bytes, body: bytes = b"") -> bytes:
    lines = b"".join(b"Location: " + each + b"\r\n" for each in locations)
    return FOUND + lines + b"Content-Length: %d\r\n\r\n" % len(body) + body


def refused(error: type[Exception]) -> Bad:
    return Bad(INVALID, error)


LEADING = [
    one(
        "redirects",
        "a loop",
        to(b"/fault"),
        fast=Bad(REDIRECTS, exceptions.TooManyRedirects),
        sends=31,
        reused=None,
    ),
    one(
        "redirects",
        "no Location",
        FOUND + b"Content-Length: 0\r\n\r\n",
        fast=Fine(b"", 302),
        reused=True,
    ),
    one("redirects", "an empty Location", to(b""), fast=Fine(b"", 302), reused=True),
    one("redirects", "a relative Location", to(b"next"), fast=NEXT, leads_to="/next", reused=True),
    one("redirects", "a path", to(b"/next"), fast=NEXT, leads_to="/next", reused=True),
    one(
        "redirects",
        "dot segments",
        to(b"../../x/../next"),
        fast=NEXT,
        leads_to="/next",
        reused=True,
    ),
    one(
        "redirects",
        "non-ASCII",
        to("/é/next".encode()),
        fast=NEXT,
        leads_to="/%C3%A9/next",
        reused=True,
    ),
    one(
        "redirects",
        "Latin-1",
        to(b"/\xe9/next"),
        fast=refused(exceptions.InvalidURL),
        general=Bad(OTHER, UnicodeDecodeError),
        reused=None,
    ),
    one("redirects", "a space", to(b"/a b/next"), fast=NEXT, leads_to="/a%20b/next", reused=True),
    one("redirects", "a fragment", to(b"/next#there"), fast=NEXT, leads_to="/next", reused=True),
    *(
        one(
            "redirects",
            f"to {location.decode()}",
            to(location),
            fast=refused(exceptions.InvalidSchema),
            reused=None,
        )
        for location in (
            b"file:///etc/passwd",
            b"ftp://127.0.0.1/x",
            b"javascript:alert(1)",
            b"data:text/plain,x",
            b"gopher://127.0.0.1:70/x",
            b"mailto:a@b",
        )
    ),
    one(
        "redirects",
        "to port 99999",
        to(b"http://127.0.0.1:99999/"),
        fast=refused(exceptions.InvalidURL),
        reused=None,
    ),
    one(
        "redirects",
        "to half an address",
        to(b"http://[::1/"),
        fast=refused(exceptions.InvalidURL),
        general=Bad(OTHER, ValueError),
        reused=None,
    ),
    one(
        "redirects",
        "to a name with a space",
        to(b"http://a b/"),
        fast=Bad(NAME, exceptions.ConnectionError),
        ways=("fast", "fast-bytes", "fast-tls", "general", "general-bytes"),
        reused=None,
    ),
    one(
        "redirects",
        "to nowhere, http://",
        to(b"http://"),
        fast=Bad(REDIRECTS, exceptions.TooManyRedirects),
        ways=("fast", "fast-bytes", "general", "general-bytes"),
        reused=None,
    ),
    one(
        "redirects",
        "two Locations, which are one with a comma",
        to(b"/next", b"/other"),
        fast=Fine(b"/other"),
        leads_to="/next,%20/other",
        reused=None,
    ),
    *(
        one("redirects", name, to(location), fast=Fine(body), leads_to=target, reused=None)
        for name, location, body, target in (
            ("CRLF, encoded", b"/%0d%0aA:%20b/next", b"/next", "/%0D%0AA:%20b/next"),
            ("a fold", b"/a\r\n /next", b"/next", "/a%20/next"),
        )
    ),
    *(
        one(
            "redirects",
            name,
            to(location),
            Fin(),
            fast=REJECTED,
            general=Fine(b"/a"),
            reused=None,
        )
        for name, location in (("a CR", b"/a\rb/next"), ("an LF", b"/a\nb/next"))
    ),
    one(
        "redirects",
        "a bomb in its body",
        coded("gzip", BOMBS["gzip"], b"Location: /next", status=FOUND),
        fast=LARGE,
        max_body=LIMIT,
        reused=None,
    ),
    one(
        "redirects",
        "a body that is no gzip",
        coded("gzip", b"nonsense", b"Location: /next", status=FOUND),
        fast=NEXT,
        reused=None,
    ),
    one(
        "redirects",
        "a body larger than may be",
        to(b"/next", body=bytes(2_000_000)),
        fast=LARGE,
        max_body=LIMIT,
    ),
]

CASES: list[Case] = LEADING
