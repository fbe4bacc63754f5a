"""Findings of the fourth review of issue 5: each test failed when it was written."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
import requests
from engine.raw import Peer, RawServer, answer
from servers import Server

import grequests
from grequests import Client, DownloadItem, PolicyError, RequestInFlightError

pytestmark = pytest.mark.usefixtures("no_leaks")

SECRET = "hunter2"
URL = f"http://me:{SECRET}@127.0.0.1:1/f?token={SECRET}"


# Chunks whose header is not to the letter what http.client looks for


CODINGS = ["chunked ", "Chunked\t ", "chunked\r\n "]


def say_chunks(peer: Peer, lines: str) -> None:
    while peer.request():
        peer.send(f"HTTP/1.1 200 OK\r\n{lines}\r\n\r\n5\r\nhello\r\n1\r\n!\r\n0\r\n\r\n".encode())


@pytest.mark.parametrize("length", ["", "Content-Length: 3\r\n"], ids=["alone", "with a length"])
@pytest.mark.parametrize("coding", CODINGS)
def test_chunks_are_no_part_of_a_file(tmp_path, session, coding, length):
    lines = f"{length}Transfer-Encoding: {coding}"
    with (
        RawServer(lambda peer: say_chunks(peer, lines)) as server,
        Client(session=session) as client,
    ):
        [one] = client.download([DownloadItem(server.url, name="f")], tmp_path)
        [two] = client.run([server.url])
    if session is None and "\t" in coding:  # not chunked to llhttp: refused at once
        assert isinstance(one.error, requests.exceptions.ChunkedEncodingError)
        assert isinstance(two.error, requests.exceptions.ChunkedEncodingError)
        assert list(tmp_path.iterdir()) == []
    else:
        assert one.error is None
        assert (tmp_path / "f").read_bytes() == b"hello!" == two.response.content


@pytest.mark.parametrize("how", ["read", "read1", "readinto", "stream", "content"])
def test_chunks_are_no_part_of_what_is_read(session, how):
    ways = {
        "read": lambda response: response.raw.read(),
        "read1": lambda response: b"".join(iter(response.raw.read1, b"")),
        "readinto": lambda response: readinto(response.raw),
        "stream": lambda response: b"".join(response.raw.stream(2)),
        "content": lambda response: response.content,
    }
    with RawServer(lambda peer: say_chunks(peer, "Transfer-Encoding: chunked ")) as server:
        [result] = grequests.run([grequests.get(server.url, session=session)], stream=True)
        assert ways[how](result.unwrap()) == b"hello!"
        result.response.close()


def readinto(raw) -> bytes:
    found, buffer = b"", bytearray(4)
    while count := raw.readinto(buffer):
        found += buffer[:count]
    return found


# Names of headers that an `auth` makes


@pytest.mark.parametrize(
    "name",
    [
        *(" folded", "\ttab", "\x0bvertical", "Transfer-Encoding: chunked, x"),
        *("X-Forwarded-For:", "Content-Length: 5\x0b", ":", ""),
    ],
)
def test_names_of_headers_that_http_client_refuses(server: Server, session, name: str) -> None:
    def sign(request):
        request.headers[name] = "v"
        return request

    with pytest.raises(ValueError) as plain:
        requests.post(server.url("/"), data="abc", auth=sign)
    request = grequests.post(server.url("/"), data="abc", auth=sign, session=session)
    [result] = grequests.run([request])
    assert isinstance(result.error, ValueError)
    if session is not None:
        assert str(result.error) == str(plain.value)
    assert server.count == 0


# Secrets


def test_own_texts_show_no_secret(tmp_path):
    request = grequests.get(URL)
    shown = []
    with Client() as client:
        future = client.submit(request)
        shown.append(repr(future))
        with pytest.raises(RequestInFlightError) as caught:
            client.submit(request)
        shown += [str(caught.value), repr(caught.value)]
        assert caught.value.url == request.url
        future.result()
        shown.append(repr(future))
        [done] = client.download([URL], tmp_path)
        shown.append(repr(done))
    with pytest.raises(RequestInFlightError) as caught:
        grequests.map([request, request])
    shown.append(str(caught.value))
    proxy = f"http://me:{SECRET}@proxy:3128"
    for given in (proxy, [proxy], {"http": proxy}, proxy.encode()):
        with pytest.raises(PolicyError) as refused:
            Client(proxies=given)
        assert refused.value.value == given
        shown.append(str(refused.value))
    shown.append(repr(DownloadItem(URL)))
    assert [each for each in shown if SECRET in each] == []
    assert all("127.0.0.1:1/f" in each or "proxy:3128" in each for each in shown)


def test_a_location_that_is_no_text_keeps_its_password(session):
    head = (
        b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: http://me:hunter2@\xe9\xff/\r\n\r\n"
    )

    def lead_on(peer: Peer) -> None:
        peer.request()
        peer.send(head)

    with RawServer(lead_on) as server:
        [result] = grequests.run([grequests.get(server.url, session=session)])
    error, texts = result.error, []
    while error is not None:
        texts += [repr(error), repr(error.args)]
        error = error.__cause__ or error.__context__
    assert [text for text in texts if SECRET in text] == []


# The command


def command(*arguments: str) -> tuple[int, list[dict]]:
    done = subprocess.run(
        [sys.executable, "-m", "grequests", "-q", *arguments],
        capture_output=True,
        check=False,
        timeout=60,
    )
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()]


def test_a_body_is_bounded_for_the_command_too(server: Server) -> None:
    server.on("/large", lambda _: answer(bytes(100_000)))
    code, [line] = command("--max-body", "99999", server.url("/large"))
    assert (code, line["error"]["type"]) == (1, "BodyTooLargeError")
    code, [line] = command("--max-body", "100000", server.url("/large"))
    assert (code, line["bytes"]) == (0, 100_000)


def test_the_command_has_the_bounds_of_run() -> None:
    from grequests._cli import Options, _parser
    from grequests._settings import MAX_BODY

    policies = _parser().parse_args(["http://127.0.0.1/"], Options()).policies()
    assert policies["max_body"] == MAX_BODY
    assert policies["timeout"].total == grequests.Timeout().total
