"""What the targets have found, each with what was wrong, and replayed without atheris."""

from __future__ import annotations

from http.client import HTTPException

import pytest
import requests

import grequests
from grequests._engine import ResponseReader
from grequests.testing import FakeTransport

from .targets import TARGETS

OK = b"HTTP/1.1 200 OK\r\n"

#: Inputs by target. Each made its check fail once.
INPUTS = [
    # The status of a response was that of the 101 behind it.
    (
        "protocol",
        b"G" + OK + b"Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n"
        b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n\x81\x05hello",
    ),
    ("protocol", b"G" + OK + b"Content-Length: 1\r\n\r\nxHTTP/1.1 101 S\r\nUpgrade: x\r\n\r\n"),
    # llhttp, once it is lenient, takes a blank behind the names that it knows, we did not: a body
    # that was cut was taken for whole.
    ("protocol", b"G" + OK + b"Content-Length : 5\r\n\r\nhe"),
    ("protocol", b"G" + OK + b"Transfer-Encoding : chunked\r\n\r\n5\r\nhe"),
    ("protocol", b"G" + OK + b"Content-Length\r\n : 5\r\n\r\nhe"),
    ("against_h11", b"G" + OK + b"Content-Length: 5\r\nConnection\r\n x: keep-alive\r\n\r\nhello"),
    # A status line in two lines.
    ("against_h11", b"GHTTP/1.1\r\n 200 OK\r\nContent-Length: 2\r\n\r\nhi"),
    ("against_h11", b"G" + OK + b"\t\r\nContent-Length: 2\r\n\r\nhi"),
    # A chain that went on in the general lane began to count its redirects anew there.
    ("cookies_and_redirects", b"r\x02\xffs\xff1\xffLHTTP://EXAMPLE.test/\xff1\xffL/b\xff1\xffL/c"),
    # urllib3 takes no more than five content codings, be there a body or not.
    ("cookies_and_redirects", b"7" + b"\xffXContent-Encoding:gzip" * 6),
    ("cookies_and_redirects", b"mHEAD\xff7" + b"\xffXContent-Encoding:gzip" * 6),
    ("cookies_and_redirects", b"0\xffL/2" + b"\xffXContent-Encoding:gzip,br,x" * 6),
    # A NUL in a cookie is sent by Requests.
    ("cookies_and_redirects", b"cA=; mAX-\x00"),
    ("cookies_and_redirects", b"Sa=b\x00\xff1\xffL/2"),
    ("cookies_and_redirects", b"1\xffhCookie:x=y\xffL/x\xffcA=1\x00"),
    ("cookies_and_redirects", b"hA\x00:z\xff1\xffL/x\x01"),
    # h11 compares lengths as they are written.
    ("against_h11", b"G" + OK + b"Content-Length: 0\r\nContent-Length: 00\r\n\r\n"),
    # h11 takes lengths of up to twenty digits, however small the number.
    ("against_h11", b"G" + OK + b"Content-Length: " + b"0" * 74 + b"5\r\n\r\nhello"),
    # Requests sends the cookies of a call to hosts that it is led to, and stumbles over what is no
    # latin-1 there; we send none.
    ("cookies_and_redirects", b"L//b.test\xffcA=B\x94"),
    # An address in brackets that is none was a bare ValueError, where Requests says InvalidURL.
    ("against_requests", b"uhttp://[e:1]:8080/"),
    ("against_requests", b"mDELETE\xffuhttp://[:::1]:8080/\xffbA:\xe9"),
    # Of two faults in a header the other one was told.
    ("against_requests", b"hX-\xc3\xa9:\xe6\x97\xa5"),
    ("against_requests", b"uhttp://a/\xffHx\0y\xffH\x8d\x8b:o"),
    # It is there that Requests stumbles, and we go on to what comes then.
    (
        "cookies_and_redirects",
        b"Lhttp://exLhttp://example.test/\xffs\xff1\xffr\x02\xffhCookie:x=y\xffLhttp://b.test:0/\xffs\xff1\xffr\x02\xffhCookie:x=y\xff"
        b"Lhttp://b.test:0/\xffcA=B; pATH=/; dOMAIN=e\xf8amplle.test\xff2\xffL//b.test/X\xffC=",
    ),
    # What was hidden left something that looked like another secret.
    ("against_requests", b"u@/@"),
]


@pytest.mark.parametrize("index", range(len(INPUTS)))
def test_it_is_not_found_again(index: int) -> None:
    name, data = INPUTS[index]
    TARGETS[name].check(data)


def read(stream: bytes) -> ResponseReader:
    reader = ResponseReader()
    reader.expect("GET")
    if not reader.feed(stream):
        reader.end()
    return reader


@pytest.mark.parametrize(
    "framing",
    [b"Content-Length: 2\r\n\r\nhi", b"Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n"],
)
def test_surplus_that_switches_protocols_does_not_change_the_status(framing: bytes) -> None:
    reader = read(
        OK + framing + b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"
    )
    assert (reader.status, reader.take_body(), reader.reusable) == (200, b"hi", False)


@pytest.mark.parametrize("name", [b"Content-Length", b"Transfer-Encoding", b"Connection", b"X"])
@pytest.mark.parametrize("blank", [b" ", b"\t", b"\r\n ", b"\r\n\t", b" x", b"\r\n x"])
def test_a_blank_in_a_name_is_refused(name: bytes, blank: bytes) -> None:
    with pytest.raises(HTTPException):
        read(OK + name + blank + b": 5\r\n\r\nhe")


def test_a_fold_of_the_status_line_is_refused() -> None:
    for head in (b"HTTP/1.1 200\r\n OK", b"HTTP/1.1\r\n 200 OK", OK + b" A: b", OK + b" "):
        with pytest.raises(HTTPException):
            read(head + b"\r\nContent-Length: 2\r\n\r\nhi")


@pytest.mark.parametrize("host", ["[e:1]", "[:1]", "[:::1]", "[1:2]:80"])
def test_an_address_that_is_none_is_an_invalid_url(host: str) -> None:
    with pytest.raises(requests.exceptions.InvalidURL) as theirs:
        requests.get(f"http://{host}/")
    request = grequests.get(f"http://{host}/").send()
    assert type(request.exception) is requests.exceptions.InvalidURL
    assert str(request.exception) == str(theirs.value)


def test_redirects_are_counted_over_both_lanes() -> None:
    session = requests.Session()
    session.max_redirects = 3
    with FakeTransport() as fake:
        fake.add("*", status=302, headers={"Location": "HTTP://EXAMPLE.test/again"})
        request = grequests.get("http://example.test/", session=session).send()
    error = request.exception
    assert type(error) is requests.exceptions.TooManyRedirects
    assert str(error) == "Exceeded 3 redirects."
    assert error.response.url == "http://EXAMPLE.test/again"
    assert len(error.response.history) == 3
    assert len(fake.requests) == 4
    assert session.max_redirects == 3
