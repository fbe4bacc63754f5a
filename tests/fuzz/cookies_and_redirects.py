"""Cookies and redirects: the fast lane's, and those of Requests' own code in the general lane.

A `FakeTransport` answers both with the same chain of responses, whose Set-Cookie and Location lines
are the input's. What was asked for at each hop, every response's URL and cookies, the session's jar
and, if there is one, the error must be the same.

A stream that both lanes have to parse is the other targets' business: here a value has no line
breaks, and no NUL, which only Requests takes. Of other control characters the fast lane may refuse
what Requests takes.
"""

from __future__ import annotations

import re
import time
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import cookiejar
from typing import Any

import gevent
import requests
from requests.exceptions import ConnectionError as RequestsConnectionError
from urllib3.exceptions import DecodeError

import grequests
from grequests.testing import Answer, FakeTransport, SentRequest

from .fields import SEPARATOR, fields, pair
from .mutating import Kit
from .wires import PATIENCE, described, is_refused_header, sealed

#: Where a chain begins.
HOME = "http://example.test"
MOST_FIELDS = 24
#: Responses in a chain: an input need not have so many of its own.
MOST_HOPS = 5
_STATUSES = (301, 302, 303, 307, 308, 300, 304, 200, 201, 404)
_BREAKS = re.compile("[\r\n\0]")
_CONTROL = re.compile("[\x01-\x08\x0b\x0c\x0e-\x1f\x7f]")
#: Known: Requests hands on the fragment of a Location as it came, we hand on the one of the request.
#: Of what is not percent-encoded as it should be, quoting twice makes something else.
_ODD_FRAGMENT = re.compile("#.*%(?![0-9A-Fa-f]{2})", re.DOTALL)

KIT = Kit(
    seeds=[
        b"0\xffL/2\xffCa=b",
        b"1\xffLhttp://b.test/x\xffCa=b; Path=/; Domain=example.test\xff1\xffLhttp://example.test/\xff7",
        b"1\xffL../x?y#z\xffu/p/q/r#s\xffau:p\xffck=v",
        b"mPOST\xffDbody\xff3\xffL/303\xff2\xffL/302\xffmPOST",
        b"s\xff1\xffL/2\xffCa=b; Max-Age=100\xffCa=c; expires=Thu, 01 Jan 1970 00:00:00 GMT\xff7\xffCd=e",
        b"1\xffLhttps://example.test/\xffau:p\xffhCookie:x=y\xffhAuthorization:z",
        b"r\x02\xffs\xff1\xffL/a\xff1\xffL/b\xff1\xffL/c",
        b"1\xffL//other.test:81/x\xffCa=b; Secure\xff1\xffL\xff",
        b"1\xffL/\xc3\xa9\xff4\xffL/%e9\xff1\xffL\xe9",
        b"1\xffLhttp://example.test:80/2\xffau:p\xff1\xffLhttp://example.test:81/2",
        b"n\xff1\xffL/x\xffCa=b",
        b"7\xffCa=b; Port=\"80,81\"; Version=1\xffXSet-Cookie2:a=b",
        b"1\xffLfile:///etc/passwd",
        b"1\xffL/a\xffL/b\xffCq=\"a;b\"; HttpOnly; SameSite=Lax",
    ],
    separator=SEPARATOR,
    pieces=[
        *(b";", b"=", b",", b" ", b"\t", b'"', b"\\", b"; ", b"=;", b"%20", b"%0d%0a", b"%", b"\0", b"\x7f"),
        *(b"http://", b"https://", b"//", b"/", b"..", b"./", b"?", b"#", b"@", b":", b":80", b":443"),
        *(b"[::1]", b"[", b"]", b"example.test", b".test", b"b.test", b"\xc3\xa9", b"\xe9", b"xn--a", b"."),
        *(b"; Domain=", b"; Path=", b"; Max-Age=", b"; Expires=", b"; Secure", b"; Version=1", b"; Port"),
        *(b"Wed, 09 Jun 2099 10:18:14 GMT", b"0", b"-1", b"99999999999", b"u:p@", b"\xc2\x85", b"\xc2\xa0"),
    ],
    parts=[
        *(b"0", b"1", b"2", b"3", b"4", b"5", b"6", b"7", b"8", b"9"),
        *(b"L/1", b"L", b"Lhttp://b.test/1", b"Lhttps://b.test/", b"L?q", b"L#f", b"L//b.test", b"L/a b"),
        *(b"Lmailto:x", b"Ljavascript:x", b"Lhttp://", b"Lhttp:/2", b"Lhttp:2", b"L\\2", b"L///x"),
        *(b"Lhttp://[", b"Lhttp://b.test:x/", b"Lhttp://b.test:0/", b"Lhttp://b.test:99999/", b"L "),
        *(b"Lhttp://u:p@b.test/", b"Lhttp://b\xc3\xbc.test/", b"Lhttp://b..test/", b"L/%7e%zz", b"L/../.."),
        *(b"Lhttp://[::1]/", b"Lhttp://[e:1]/", b"LHTTP://EXAMPLE.test/", b"Lhttp://a.example.test/"),
        *(b"Ca=b", b"C", b"C=", b"Ca", b"Ca=1, b=2", b"Ca=b; domain=.test", b"Ca=b; domain=example.test"),
        *(b"Ca=; Max-Age=0", b"Ca=b; path=/1", b"Ca=b; expires=Wed, 09 Jun 2099 10:18:14 GMT", b"C;"),
        *(b"Ca=b; Secure", b'Ca="b', b"Ca=b; version=x", b"Ca=b; max-age=x", b"Ca=b; port", b"C$a=b"),
        *(b"XLocation:/x", b"XContent-Encoding:gzip", b"XConnection:close", b"XA:b", b"XSet-Cookie2:a=b"),
        *(b"mPOST", b"mHEAD", b"mPUT", b"Dbody", b"j[1]", b"au:p", b"ca=b", b"ca=", b"hHost:h.test", b"n"),
        *(b"s", b"Sa=b", b"Au:p", b"hCookie:x=y", b"hAuthorization:z", b"u/a/b?c#d", b"u/", b"r\x00", b"B"),
    ],
    limit=1500,
)  # fmt: skip

#: How many took which lane, and what came of it.
verdicts: Counter[str] = Counter()


def report() -> str:
    """The verdicts so far."""
    total = sum(verdicts.values())
    return "\n".join(f"{n:9} {n / total:6.1%}  {name}" for name, n in verdicts.most_common())


@dataclass
class Case:
    """What an input says.

    Attributes:
        method, path, kwargs: of the request.
        has_session: whether it has one; `attributes` and `cookies` are that one's.
        hops: the answers, one after the other; the last of them for ever.
    """

    method: str = "GET"
    path: str = "/1"
    kwargs: dict[str, Any] = field(default_factory=dict)
    has_session: bool = False
    attributes: dict[str, Any] = field(default_factory=dict)
    cookies: list[tuple[str, str]] = field(default_factory=list)
    hops: list[dict[str, Any]] = field(default_factory=list)
    text: str = ""

    def answer(self, number: int) -> Answer:
        """What is answered to a request of the chain."""
        if number >= len(self.hops):
            return Answer(200)
        return Answer(**self.hops[number])

    def session(self, kind: type[requests.Session]) -> requests.Session:
        session = kind()
        for name, value in self.attributes.items():
            setattr(session, name, value)
        for name, value in self.cookies:
            session.cookies.set(name, value, domain="example.test", path="/")
        return session


class OwnSession(requests.Session):
    """A session that takes the general lane."""


def parse(data: bytes) -> Case:
    """The case that an input is."""
    case = Case()
    kwargs = case.kwargs
    for letter, text in fields(data, MOST_FIELDS):
        value = _BREAKS.sub("", text.encode("utf-8", "surrogateescape").decode("latin-1"))
        if letter in "0123456789":
            if len(case.hops) < MOST_HOPS:
                case.hops.append({"status": _STATUSES[int(letter)], "headers": []})
        elif letter in "LCXB":
            if not case.hops:
                case.hops.append({"status": 302, "headers": []})
            case.text += value
            _put_on_hop(case.hops[-1], letter, value)
        elif letter == "m":
            case.method = text if text in ("GET", "POST", "HEAD", "PUT", "DELETE") else "GET"
        elif letter == "u":
            case.path = text if text.startswith("/") else f"/{text}"
        elif letter in "sSAr":
            _put_on_session(case, letter, text)
        else:
            _put_in(kwargs, letter, text)
    return case


def _put_on_hop(hop: dict[str, Any], letter: str, value: str) -> None:
    if letter == "B":
        hop["body"] = b"moved"
    elif letter == "X":
        name, value = pair(value, ":")
        if re.fullmatch("[A-Za-z0-9-]+", name) and name.lower() not in _FRAMING:
            hop["headers"].append((name, value))
    else:
        hop["headers"].append(({"L": "Location", "C": "Set-Cookie"}[letter], value))


#: The other targets look into these.
_FRAMING = ("content-length", "transfer-encoding", "upgrade")


def _put_on_session(case: Case, letter: str, text: str) -> None:
    case.has_session = True
    if letter == "A":
        case.attributes["auth"] = pair(text, ":")
    elif letter == "S":
        case.cookies.append(pair(text))
    elif letter == "r":
        case.attributes["max_redirects"] = ord(text[0]) % 4 if text else 1


def _put_in(kwargs: dict[str, Any], letter: str, text: str) -> None:
    if letter == "a":
        kwargs["auth"] = pair(text, ":")
    elif letter == "c":
        kwargs.setdefault("cookies", {}).update([pair(text)])
    elif letter == "h":
        kwargs.setdefault("headers", {}).update([pair(text, ":")])
    elif letter == "D":
        kwargs["data"] = text
    elif letter == "n":
        kwargs["allow_redirects"] = False


class _StoppedClock:
    """The module `time`, as a jar sees it: no cookie expires between one lane and the other."""

    def time(self) -> float:
        return 1_800_000_000.0

    def __getattr__(self, name: str) -> Any:
        return getattr(time, name)


@contextmanager
def stopped_clock() -> Iterator[None]:
    """A time that stands still, for jars."""
    cookiejar.time = _StoppedClock()  # type: ignore[attr-defined]
    try:
        yield
    finally:
        cookiejar.time = time  # type: ignore[attr-defined]


# --- both lanes ----------------------------------------------------------------------------------


def check(data: bytes) -> None:
    """Send the request of an input through both lanes."""
    case = parse(data)
    with sealed(), stopped_clock(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # "http.cookiejar bug!"
        fast = send(case, case.session(requests.Session) if case.has_session else None)
        general = send(case, case.session(OwnSession))
    if not case.has_session:
        fast.pop("jar"), general.pop("jar")
    kind = fast.pop("lane")
    general.pop("lane")
    error = fast["error"]
    verdicts[f"{kind}: {error[0].__name__ if error else len(fast['chain']) - 1}"] += 1
    if error and is_refused_header(error):
        # Known: Requests sends NUL in a header or a cookie, and folds in cookies; we refuse both.
        # (The first request may have had another Cookie, by its headers.)
        assert not any("\0" in value for *_, headers, _ in fast["asked"] for _, value in headers)
        verdicts["NUL or a fold, refused"] += 1
        return
    if error and error != general["error"] and _CONTROL.search(case.text):
        assert issubclass(error[0], RequestsConnectionError), error
        return
    if general["error"] and general["error"][0] is DecodeError:
        # Known: the codings of a redirect are too many. Requests means to drop such a body, as we do,
        # and stumbles over it once more.
        verdicts["too many codings of a redirect"] += 1
        return
    if is_stuck_abroad(case, fast, general):
        verdicts["a cookie for abroad that Requests cannot encode"] += 1
        return
    if "cookies" in case.kwargs:
        forget_cookies_abroad(fast["asked"]), forget_cookies_abroad(general["asked"])
    different = [name for name in general if fast[name] != general[name]]
    if different and _ODD_FRAGMENT.search(case.path + case.text):
        verdicts["a fragment that is quoted twice"] += 1
        return
    assert not different, [(name, fast[name], general[name]) for name in different]


def is_stuck_abroad(case: Case, fast: dict[str, Any], general: dict[str, Any]) -> bool:
    """Known: of what follows, a cookie that cannot be encoded, which we do not send there at all."""
    if "cookies" not in case.kwargs or not general["error"]:
        return False
    sent = len(general["asked"])
    following = fast["asked"][sent : sent + 1]
    return (
        general["error"][0] is UnicodeEncodeError
        and fast["asked"][:sent] == general["asked"]
        and any(not url.startswith(f"{HOME}/") for _, url, *_ in following)
    )


def forget_cookies_abroad(asked: list[Any]) -> None:
    """Known: Requests sends the cookies of `cookies=` to any host, we to none but the first."""
    is_abroad = False
    for number, (method, url, headers, body) in enumerate(asked):
        is_abroad |= not url.startswith(f"{HOME}/")
        if is_abroad:
            headers = [each for each in headers if each[0] != "Cookie"]
            asked[number] = (method, url, headers, body)


def send(case: Case, session: requests.Session | None) -> dict[str, Any]:
    """What comes of it, as values."""
    asked: list[Any] = []

    def answer(request: SentRequest) -> Answer:
        asked.append((request.method, request.url, list(request.headers.items()), request.body))
        return case.answer(len(asked) - 1)

    with FakeTransport() as fake:
        fake.add("*", answer=answer)
        request = grequests.request(
            case.method, f"{HOME}{case.path}", session=session, **case.kwargs
        )
        with gevent.Timeout(PATIENCE, AssertionError("it hangs")):
            grequests.map([request])
        response = request.response
        chain = [] if response is None else [*response.history, response]
        return {
            "error": None if response is not None else described(request.exception),
            "asked": asked,
            "chain": [(each.status_code, each.url, cookies_of(each.cookies)) for each in chain],
            "next": response is not None and response.next and response.next.url,
            "jar": None if session is None else cookies_of(session.cookies),
            "lane": "fast" if type(response) is grequests.Response else "general or error",
        }


def cookies_of(jar: Any) -> list[dict[str, Any]]:
    """A jar as values, in its order."""
    return [dict(vars(cookie)) for cookie in jar]
