"""Preparation, and Requests': the same bytes on the wire, or the same refusal.

A request is made of fields (`fields`), and sent by both; see `wires`. What takes the general lane is
Requests itself and only counted. Beyond being equal, a head must have the lines that it was given,
no more: nothing of the user's can end one, or the head.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from typing import Any

import requests
import urllib3.filepost

from .fields import SEPARATOR, fields, pair
from .mutating import Kit
from .wires import Sent, is_refused_header, ours, sealed, theirs

MOST_FIELDS = 12
LIMIT = 1500

KIT = Kit(
    seeds=[
        b"uhttp://a/",
        b"mPOST\xffuhttp://example.test:81/x?y=z#f\xffda=b c\xffdd=\xc3\xa9",
        b"mput\xffuhttps://example.test/%7e%2f%zz/../a b\xffDbody",
        b"uhttp://u:p@example.test/\xffpa=b\xffpa=c",
        b"uhttp://a/\xffPa=b&c",
        b"uhttp://a/\xffhX-A:b\xffhuser-agent:me\xffhHost:other",
        b"uhttp://a/\xffca=b\xffcc=d e\xffau:p",
        b'mPATCH\xffuhttp://a/\xffj{"a": [1, null]}',
        b"uhttp://m\xc3\xbcnchen.test/\xc3\xa9",
        b"s\xffuhttp://a/\xffHX-S:1\xffCs=1\xffAs:t\xffQq=1\xffhX-S:2",
        b"uhttp://a/\xffff=content\xffda=b",
        b"mDELETE\xffuhttp://[::1]:8080/\xffbA:\xe9",
        b"mHEAD\xffuhttp://a?b\xffs",
        b"uhttp://a/\xffhConnection:close\xffhExpect:100-continue",
    ],
    separator=SEPARATOR,
    pieces=[
        *(b"\r\n", b"\n", b"\r", b"\0", b" ", b"\t", b"\r\n ", b"\n\t", b"%0d%0a", b"%00", b"%", b"\x7f"),
        *(b"\r\nInjected: 1", b"\r\n\r\n", b"\xc3\xa9", b"\xe9", b"\xe2\x80\xa8", b"\xef\xbc\x8f", b";"),
        *(b"http://", b"https://", b"//", b"/", b"..", b"?", b"#", b"@", b":", b":80", b"[", b"]", b"\\"),
        *(b"=", b"&", b"+", b"%20", b"%2F", b"%2f", b"%41", b"~", b'"', b"'", b"<", b"{", b"|", b"^", b"`"),
        *(b"HTTP/1.1", b"a" * 70, b"xn--", b"\xc3\x9f", b"\xe3\x80\x82", b".", b"*", b"\xcc\x88"),
    ],
    parts=[
        *(b"mGET", b"mPOST", b"mget", b"mG T", b"mCONNECT", b"mG\nT", b"m", b"mG\xc3\x89T", b"mOPTIONS"),
        *(b"uhttp://example.test", b"uhttps://a.b/c", b"u", b"uhttp:///x", b"u//a/", b"uhttp://a:x/"),
        *(b"uhttp://a:0/", b"uhttp://a:65536/", b"uHTTP://A/", b"u http://a/", b"uhttp://\r\na/"),
        *(b"uhttp://a\r\n/", b"uhttp://a/\r\nX: y", b"uhttp://a/ HTTP/1.1\r\nX: y", b"uhttp://a b/"),
        *(b"pa=b", b"p=", b"pa", b"P", b"Pa b", b"hAccept:x", b"hA:\xc3\xa9", b"hA:", b"h:b", b"hA b:c"),
        *(b"hA: b", b"hA:b\r\n c", b"hA:b\r\nX: y", b"hA\r\nX:y", b"hA:b\0c", b"hCookie:x=y", b"hA:b\n"),
        *(b"hContent-Type:text/x", b"hContent-Length:5", b"hTransfer-Encoding:chunked", b"bA:\xff\xfe"),
        *(b"hAuthorization:x", b"hProxy-Authorization:x", b"hHost:", b"hhost:a\r\n b", b"bA:b\n c"),
        *(b"ca=b", b"c=b", b"ca=", b'ca="b', b"ca=b\r\n c", b"ca\r\nb=c", b"ca=b\0", b"c\xc3\xa9=\xc3\xa9"),
        *(b"au:p", b"a:", b"au", b"au\r\n:p", b"a\xc3\xa9:\xe2\x82\xac", b"da=b", b"d", b"D", b"Da=b"),
        *(b"D\xc3\xa9", b"B\xff\0\r\n", b"j[]", b"j1", b'j"\xc3\xa9"', b"jNaN", b"j{", b"s", b"HAccept:"),
        *(b"HA:b\r\nX: y", b"Ca=b", b"Ca=b\r\n c", b"Au:p", b"Qa=b", b"ff=x", b"f\xc3\xa9=x", b'f"\r\n=x'),
        *(b"t1", b"n", b"r"),
    ],
    limit=LIMIT,
)  # fmt: skip

#: How many took which lane, and what came of it.
verdicts: Counter[str] = Counter()


def report() -> str:
    """The verdicts so far."""
    total = sum(verdicts.values())
    return "\n".join(f"{n:9} {n / total:6.1%}  {name}" for name, n in verdicts.most_common())


def check(data: bytes) -> None:
    """Send the request that an input is both ways."""

    def make() -> tuple[requests.Session | None, str, str, dict[str, Any]]:
        return build(data)

    with sealed(), _boundary():
        one = ours(make)
        if one is None:
            verdicts["general"] += 1
            return
        other = theirs(make)
    if is_stricter(one, other):
        verdicts["refused: a NUL or a fold, which Requests sends"] += 1
        return
    assert one.error == other.error, (one.error, other.error)
    verdicts["sent" if one.error is None else f"refused: {one.error[0].__name__}"] += 1
    assert one.wire == other.wire, (one.wire, other.wire)
    assert one.headers == other.headers
    check_head(one)


class _boundary:
    """Multipart bodies have the same boundary both times."""

    def __enter__(self) -> None:
        self._before = urllib3.filepost.choose_boundary
        urllib3.filepost.choose_boundary = lambda: "b0undary"

    def __exit__(self, *_: object) -> None:
        urllib3.filepost.choose_boundary = self._before


def build(data: bytes) -> tuple[requests.Session | None, str, str, dict[str, Any]]:
    """Session or None, method, URL and keywords of an input."""
    method, url = "GET", "http://a/"
    session: requests.Session | None = None
    kwargs: dict[str, Any] = {}
    for letter, text in fields(data, MOST_FIELDS):
        if letter == "m":
            method = text
        elif letter == "u":
            url = text
        elif letter == "s":
            session = session or requests.Session()
        elif letter in "HCAQ":
            session = session or requests.Session()
            _put_on(session, letter, text)
        else:
            _put_in(kwargs, letter, text)
    return session, method, url, kwargs


def _put_on(session: requests.Session, letter: str, text: str) -> None:
    if letter == "H":
        name, value = pair(text, ":")
        session.headers[name] = value
    elif letter == "C":
        session.cookies.set(*pair(text))
    elif letter == "A":
        session.auth = pair(text, ":")
    else:
        session.params = {**session.params, **dict([pair(text)])}  # type: ignore[dict-item]


def _put_in(kwargs: dict[str, Any], letter: str, text: str) -> None:
    raw = text.encode("utf-8", "surrogateescape")
    if letter in "hb":
        name, value = pair(text, ":")
        given: Any = value if letter == "h" else value.encode("utf-8", "surrogateescape")
        kwargs.setdefault("headers", {})[name] = given
    elif letter in "pdc":
        name = {"p": "params", "d": "data", "c": "cookies"}[letter]
        if not isinstance(kwargs.get(name), dict):
            kwargs[name] = {}
        kwargs[name].update([pair(text)])
    elif letter in "PD":
        kwargs["params" if letter == "P" else "data"] = text
    elif letter == "B":
        kwargs["data"] = raw
    elif letter == "a":
        kwargs["auth"] = pair(text, ":")
    elif letter == "f":
        name, content = pair(text)
        kwargs.setdefault("files", {})[name] = (name or None, content)
    elif letter == "j":
        try:
            kwargs["json"] = json.loads(text)
        except (ValueError, RecursionError):
            kwargs["json"] = text
    elif letter == "r":
        kwargs["allow_redirects"] = False


# --- the head ------------------------------------------------------------------------------------

_FOLD = re.compile(rb"(?:\r\n|\r|\n)[ \t]|\r(?=\n[ \t])")
_LINE = re.compile(rb"([^:\r\n]+): [^\r\n]*")
_ADDED = {b"host", b"accept-encoding", b"user-agent", b"content-length", b"transfer-encoding"}


def is_stricter(one: Sent, other: Sent) -> bool:
    """Whether we refuse what `check_head` lets pass, or find that before another fault."""
    if one.error is None:
        return False
    if other.error is not None:
        return is_refused_header(one.error)
    head = other.wire.partition(b"\r\n\r\n")[0]
    return issubclass(one.error[0], ValueError) and (b"\0" in head or bool(_FOLD.search(head)))


def check_head(sent: Sent) -> None:
    """The head has a request line and the headers that it was given, and says each once.

    Two things are as http.client, and so Requests, have them: a NUL may stand in a name and in a
    value, and line breaks in a value if it goes on with a blank (RFC 9112 section 5.2 calls that a
    fold). They end neither the line nor the head; they are counted.
    """
    if sent.error is not None:
        assert sent.wire == b""
        return
    head = sent.wire.partition(b"\r\n\r\n")[0]
    if b"\0" in head:
        verdicts["sent with a NUL"] += 1
    if _FOLD.search(head):
        verdicts["sent with a fold"] += 1
        head = _FOLD.sub(b" ", head)
    first, *lines = head.split(b"\r\n")
    assert re.fullmatch(rb"[!-~]+ [!-~]+ HTTP/1\.1", first), first
    wanted = sorted(name.lower().encode("latin-1") for name, _ in sent.headers)
    names = []
    for line in lines:
        match = _LINE.fullmatch(line)
        assert match, line
        names.append(match[1].lower())
    extra = set(names) - set(wanted)
    assert extra <= _ADDED, extra
    assert sorted(names) == sorted([*wanted, *extra])
