"""Downloads: what is on the disk afterwards, and what was asked for, with real servers."""

from __future__ import annotations

import errno
import gc
import hashlib
import json
import os
import pickle
import random
import stat
import subprocess
import sys
import textwrap

import gevent
import pytest
import requests
from servers import Gate, Server, answer, eventually

import grequests
from grequests._client import Client
from grequests._clock import HubClock
from grequests._download import (
    ChecksumError,
    Download,
    DownloadItem,
    DownloadProgress,
    LengthError,
    RangeError,
    download,
    start,
)
from grequests._exceptions import (
    DeadlineError,
    NotARequestError,
    PolicyError,
    RequestCancelledError,
)
from grequests._policies import Retry
from grequests._pieces import PIECE

BODY = random.Random(1).randbytes(300_000)
DIGEST = hashlib.sha256(BODY).hexdigest()
OLD = "Sun, 06 Nov 1994 08:49:37 GMT"
NOW = "Sun, 06 Nov 1994 09:49:37 GMT"
SOON = Retry(attempts=4, backoff=0)


class Shelf:
    """A file on a server that knows ranges.

    Attributes:
        cuts: after how many bytes of a body the next answers break off.
        ranges: what was asked for in Range, in turn.
    """

    def __init__(self, body=BODY, *headers, obeys=True, cuts=()):
        self.body = body
        self.headers = list(headers)
        self.obeys = obeys
        self.cuts = list(cuts)
        self.ranges = []
        self.conditions = []

    def __call__(self, request):
        wanted = request.headers.get("range")
        condition = request.headers.get("if-range")
        self.ranges.append(wanted)
        self.conditions.append(condition)
        if wanted is None or not self.obeys or not self._is_current(condition):
            return self.send("200 OK", self.body)
        first = int(wanted.removeprefix("bytes=").rstrip("-"))
        total = len(self.body)
        if first >= total:
            return self.send("416 Range Not Satisfiable", b"", f"Content-Range: bytes */{total}")
        place = f"Content-Range: bytes {first}-{total - 1}/{total}"
        return self.send("206 Partial Content", self.body[first:], place)

    def _is_current(self, condition):
        return condition is None or any(each.endswith(": " + condition) for each in self.headers)

    def send(self, line, body, *headers):
        reply = answer(body, line, *self.headers, *headers)
        if self.cuts and body:
            cut = self.cuts.pop(0)
            head, _, rest = reply.partition(b"\r\n\r\n")
            return head + b"\r\nConnection: close\r\n\r\n" + rest[:cut]
        return reply


def only(items, directory, **options):
    """The one download of a call."""
    options.setdefault("retry", None)
    [one] = download(items, directory, **options)
    return one


def files(directory):
    """What is in a directory, by name."""
    found = {}
    for name in os.listdir(directory):
        with open(os.path.join(directory, name), "rb") as file:
            found[name] = file.read()
    return found


def leave_part(directory, server, shelf, cut=100_000, path="/a.bin"):
    """Have a download broken off; what is there then."""
    shelf.cuts = [cut]
    server.on(path, shelf)
    broken = only([server.url(path)], directory)
    assert not broken.ok
    shelf.ranges.clear()
    shelf.conditions.clear()
    return broken


# --- files that come -----------------------------------------------------------------------------


def test_a_file_has_its_name_when_it_is_whole(no_leaks, server, tmp_path):
    server.on("/a.bin", Shelf())

    one = only([server.url("/a.bin")], tmp_path)

    assert one.ok
    assert one.unwrap() == str(tmp_path / "a.bin") == one.path
    assert (one.index, one.url, one.size) == (0, server.url("/a.bin"), len(BODY))
    assert (one.sha256, one.resumed_from, one.skipped, one.error) == (None, 0, False, None)
    assert [each.status for each in one.attempts] == [200]
    assert files(tmp_path) == {"a.bin": BODY}


def test_it_is_asked_for_as_it_is(server, tmp_path):
    server.on("/a.bin", Shelf())

    only(
        [grequests.get(server.url("/a.bin"), headers={"accept-encoding": "br", "X-Mine": "1"})],
        tmp_path,
    )

    [seen] = server.requests
    assert seen.headers["accept-encoding"] == "identity"
    assert seen.headers["x-mine"] == "1"
    assert "range" not in seen.headers


def test_the_users_request_is_left_alone(server, tmp_path):
    server.on("/a.bin", Shelf())
    request = grequests.get(server.url("/a.bin"), headers={"X-Mine": "1"}, tag="mine")

    one = only([request], tmp_path)

    assert one.request is request
    assert one.tag == "mine"
    assert request.response is None
    assert request.kwargs == {"headers": {"X-Mine": "1"}}


@pytest.mark.parametrize("shape", ["url", "request", "item", "pair", "one url", "one item"])
def test_items_have_many_shapes(server, tmp_path, shape):
    server.on("/a.bin", Shelf())
    url = server.url("/a.bin")
    items = {
        "url": [url],
        "request": [grequests.get(url)],
        "item": [DownloadItem(url, sha256=DIGEST)],
        "pair": [(url, "a.bin")],
        "one url": url,
        "one item": DownloadItem(grequests.get(url), name="a.bin"),
    }

    assert only(items[shape], tmp_path).path == str(tmp_path / "a.bin")


@pytest.mark.parametrize("framing", ["chunked", "close", "empty"])
def test_every_framing_is_read_to_its_end(no_leaks, server, tmp_path, framing):
    body = b"" if framing == "empty" else BODY
    replies = {
        "chunked": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        + b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (BODY[:7], BODY[7:]))
        + b"0\r\n\r\n",
        "close": b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + BODY,
        "empty": answer(b""),
    }
    server.on("/a.bin", lambda _: replies[framing])

    assert only([server.url("/a.bin")], tmp_path).size == len(body)
    assert files(tmp_path) == {"a.bin": body}


def test_what_is_compressed_nevertheless_is_decoded(server, tmp_path):
    import gzip

    server.on(
        "/a.txt",
        lambda _: answer(gzip.compress(BODY), "200 OK", "Content-Encoding: gzip", 'ETag: "a"'),
    )

    assert only([server.url("/a.txt")], tmp_path).size == len(BODY)
    assert files(tmp_path) == {"a.txt": BODY}


def test_two_hundred_files_twenty_at_a_time(no_leaks, server, tmp_path):
    shelf = Shelf(BODY[:70_000])
    server.on("/many/*", shelf)
    urls = [server.url(f"/many/{number}") for number in range(200)]

    done = list(download(iter(urls), tmp_path, concurrency=20, sha256=True))

    assert sorted(each.index for each in done) == list(range(200))
    assert {each.sha256 for each in done} == {hashlib.sha256(shelf.body).hexdigest()}
    assert sorted(files(tmp_path)) == sorted(str(number) for number in range(200))
    assert server.opened <= 20


def test_slots_are_held_while_bodies_are_read(no_leaks, server, tmp_path):
    gates = [Gate() for _ in range(6)]
    arrived = []

    def handler(request):
        number = int(request.path.rpartition("/")[2])
        arrived.append(number)
        request.sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nabc")
        gates[number](request)
        return b"def"

    server.on("/slow/*", handler)
    urls = [server.url(f"/slow/{number}") for number in range(6)]
    with Client(concurrency=10, per_host=2) as client:
        downloads = start(client, urls, tmp_path)
        done = []
        reader = gevent.spawn(lambda: done.extend(downloads))
        for number in range(0, 6, 2):
            eventually(lambda: len(arrived) == number + 2, "the next two")
            gevent.sleep(0.02)
            assert len(arrived) == number + 2
            assert client.statistics().in_flight == 2
            for each in arrived[-2:]:
                gates[each].open()
        reader.join()
        assert client.statistics().in_flight == 0
    assert all(each.ok for each in done)
    for gate in gates:
        gate.close()


def test_a_host_that_hangs_holds_no_other_up(no_leaks, tmp_path):
    with Server() as slow, Server() as fast:
        gate = slow.hold("/x/*")
        fast.on("/y/*", Shelf(b"y"))
        items = [slow.url(f"/x/{n}") for n in range(30)] + [fast.url(f"/y/y{n}") for n in range(5)]
        downloads = download(items, tmp_path, concurrency=4, per_host=2)
        done = [next(downloads) for _ in range(5)]
        assert {os.path.basename(each.path)[0] for each in done} == {"y"}
        gate.open()
        assert len(list(downloads)) == 30


# --- going on ------------------------------------------------------------------------------------


def test_a_part_with_an_etag_is_gone_on_with(no_leaks, server, tmp_path):
    shelf = Shelf(BODY, 'ETag: "one"')
    broken = leave_part(tmp_path, server, shelf)
    assert isinstance(broken.error, requests.exceptions.ChunkedEncodingError)
    assert broken.size == 100_000
    assert broken.path is None
    assert files(tmp_path)["a.bin.part"] == BODY[:100_000]
    assert sorted(files(tmp_path)) == ["a.bin.part", "a.bin.part.json"]

    one = only([server.url("/a.bin")], tmp_path, sha256=DIGEST)

    assert (one.size, one.resumed_from, one.sha256) == (len(BODY), 100_000, DIGEST)
    assert (shelf.ranges, shelf.conditions) == (["bytes=100000-"], ['"one"'])
    assert files(tmp_path) == {"a.bin": BODY}


def test_a_part_with_a_date_is_gone_on_with(server, tmp_path):
    shelf = Shelf(BODY, f"Last-Modified: {OLD}", f"Date: {NOW}")
    leave_part(tmp_path, server, shelf)

    assert only([server.url("/a.bin")], tmp_path).resumed_from == 100_000
    assert shelf.conditions == [OLD]
    assert files(tmp_path) == {"a.bin": BODY}


@pytest.mark.parametrize(
    "headers",
    [
        [],
        ['ETag: W/"weak"'],
        ["ETag: unquoted"],
        ['ETag: W/"weak"', f"Last-Modified: {OLD}", f"Date: {NOW}"],
        [f"Last-Modified: {OLD}"],
        [f"Last-Modified: {OLD}", f"Date: {OLD}"],
        [f"Last-Modified: {NOW}", f"Date: {OLD}"],
        ["Last-Modified: yesterday", f"Date: {NOW}"],
        ['ETag: "one"', "Accept-Ranges: none"],
    ],
)
def test_a_part_without_a_strong_validator_is_not_kept(server, tmp_path, headers):
    shelf = Shelf(BODY, *headers)
    leave_part(tmp_path, server, shelf)
    assert files(tmp_path) == {}

    assert only([server.url("/a.bin")], tmp_path).resumed_from == 0
    assert shelf.ranges == [None]


def test_another_file_with_another_etag_is_started_over(server, tmp_path):
    shelf = Shelf(BODY, 'ETag: "one"')
    leave_part(tmp_path, server, shelf)
    shelf.body, shelf.headers = BODY[::-1], ['ETag: "two"']

    one = only([server.url("/a.bin")], tmp_path)

    assert one.ok
    assert one.resumed_from == 0
    assert shelf.ranges == ["bytes=100000-"]
    assert files(tmp_path) == {"a.bin": BODY[::-1]}


def test_a_server_that_looks_at_range_but_not_at_if_range_is_not_believed(server, tmp_path):
    shelf = Shelf(BODY, 'ETag: "one"')
    leave_part(tmp_path, server, shelf)
    shelf.body, shelf.headers = BODY[::-1], ['ETag: "two"']
    shelf._is_current = lambda _: True

    one = only([server.url("/a.bin")], tmp_path)

    assert one.ok
    assert shelf.ranges == ["bytes=100000-", None]
    assert files(tmp_path) == {"a.bin": BODY[::-1]}


def test_a_206_has_to_repeat_the_etag(server, tmp_path):
    shelf = Shelf(BODY, 'ETag: "one"')
    leave_part(tmp_path, server, shelf)
    shelf.headers = []
    shelf._is_current = lambda _: True

    assert only([server.url("/a.bin")], tmp_path).ok
    assert shelf.ranges == ["bytes=100000-", None]


def test_a_server_without_ranges_starts_over(server, tmp_path):
    shelf = Shelf(BODY, 'ETag: "one"', obeys=False)
    leave_part(tmp_path, server, shelf)

    one = only([server.url("/a.bin")], tmp_path)

    assert (one.resumed_from, len(one.attempts)) == (0, 1)
    assert files(tmp_path) == {"a.bin": BODY}


@pytest.mark.parametrize(
    "place",
    [
        "bytes 0-299999/300000",
        "bytes 99999-299999/300000",
        "bytes 100001-299999/300000",
        "bytes 100000-299999/300001",
        "bytes 100000-99999/300000",
        "bytes 100000-300000/300000",
        "items 100000-299999/300000",
        "bytes 100000-299999",
        "bytes */300000",
        "bytes -100000-299999/300000",
        "",
        None,
    ],
)
def test_a_206_with_another_place_is_never_appended(server, tmp_path, place):
    shelf = Shelf(BODY, 'ETag: "one"')
    leave_part(tmp_path, server, shelf)
    lines = ['ETag: "one"'] + ([] if place is None else [f"Content-Range: {place}"])

    def handler(request):
        if "range" in request.headers:
            return answer(b"x" * 200_000, "206 Partial Content", *lines)
        return shelf(request)

    server.on("/a.bin", handler)
    one = only([server.url("/a.bin")], tmp_path)

    assert [each.status for each in one.attempts] == [206, 200]
    assert [each.number for each in one.attempts] == [1, 2]
    assert files(tmp_path) == {"a.bin": BODY}


def test_a_206_of_unknown_total_is_fine(server, tmp_path):
    shelf = Shelf(BODY, 'ETag: "one"')
    leave_part(tmp_path, server, shelf)
    place = "Content-Range: bytes 100000-299999/*"
    server.on(
        "/a.bin", lambda _: answer(BODY[100_000:], "206 Partial Content", 'ETag: "one"', place)
    )

    assert only([server.url("/a.bin")], tmp_path).resumed_from == 100_000
    assert files(tmp_path) == {"a.bin": BODY}


def test_a_206_that_nobody_asked_for_is_an_error(server, tmp_path):
    place = "Content-Range: bytes 0-1/2"
    server.on("/a.bin", lambda _: answer(b"ab", "206 Partial Content", place))

    one = only([server.url("/a.bin")], tmp_path)

    assert isinstance(one.error, RangeError)
    assert one.error.value == "bytes 0-1/2"
    assert files(tmp_path) == {}


def test_a_416_of_a_file_that_became_shorter_starts_over(server, tmp_path):
    shelf = Shelf(BODY, 'ETag: "one"')
    leave_part(tmp_path, server, shelf)
    shelf.body = BODY[:50]

    one = only([server.url("/a.bin")], tmp_path)

    assert [each.status for each in one.attempts] == [416, 200]
    assert files(tmp_path) == {"a.bin": BODY[:50]}


def put_part(directory, source, size, **changes):
    """What another process would have left."""
    (directory / "a.bin.part").write_bytes(BODY[:size])
    record = {
        "url": source,
        "header": "ETag",
        "validator": '"one"',
        "length": None,
        "name": "a.bin",
    }
    (directory / "a.bin.part.json").write_text(json.dumps({**record, **changes}))


def test_a_416_of_a_part_that_is_all_of_it_is_the_end(server, tmp_path):
    server.on("/a.bin", Shelf(BODY, 'ETag: "one"'))
    put_part(tmp_path, server.url("/a.bin"), len(BODY))

    one = only([server.url("/a.bin")], tmp_path, sha256=DIGEST)

    assert [each.status for each in one.attempts] == [416]
    assert (one.size, one.resumed_from) == (len(BODY), len(BODY))
    assert files(tmp_path) == {"a.bin": BODY}


def test_of_a_part_that_is_whole_the_last_byte_is_asked_for(server, tmp_path):
    shelf = Shelf(BODY, 'ETag: "one"')
    server.on("/a.bin", shelf)
    put_part(tmp_path, server.url("/a.bin"), len(BODY), length=len(BODY))

    assert only([server.url("/a.bin")], tmp_path).ok
    assert shelf.ranges == [f"bytes={len(BODY) - 1}-"]
    assert files(tmp_path) == {"a.bin": BODY}


@pytest.mark.parametrize(
    "changes",
    [
        {"url": "http://other.example/a.bin"},
        {"header": "Server"},
        {"validator": 'W/"one"'},
        {"validator": '"one"\r\nX: y'},
        {"validator": 1},
        {"header": "Last-Modified", "validator": "soon"},
        {"length": -1},
        {"length": "9"},
        {"length": True},
        {"name": None},
        {"more": 1},
    ],
)
def test_a_record_that_is_not_ours_is_not_believed(server, tmp_path, changes):
    shelf = Shelf(BODY, 'ETag: "one"')
    server.on("/a.bin", shelf)
    put_part(tmp_path, server.url("/a.bin"), 1000, **changes)

    assert only([server.url("/a.bin")], tmp_path).ok
    assert shelf.ranges == [None]
    assert files(tmp_path) == {"a.bin": BODY}


@pytest.mark.parametrize("text", [b"", b"[]", b"{", b"\xff", b"[" * 60_000, b'{"url": "x"}'])
def test_a_record_that_is_garbage_is_not_believed(server, tmp_path, text):
    server.on("/a.bin", Shelf(BODY))
    (tmp_path / "a.bin.part").write_bytes(b"garbage")
    (tmp_path / "a.bin.part.json").write_bytes(text)

    assert only([server.url("/a.bin")], tmp_path).ok
    assert files(tmp_path) == {"a.bin": BODY}


def test_a_stored_name_stays_in_the_directory_too(server, tmp_path):
    inside = tmp_path / "inside"
    inside.mkdir()
    server.on("/a.bin", Shelf(BODY, 'ETag: "one"'))
    put_part(inside, server.url("/a.bin"), 1000, name="../evil")

    assert only([server.url("/a.bin")], inside).path == str(inside / "_evil")
    assert os.listdir(tmp_path) == ["inside"]


def test_resume_can_be_declined(server, tmp_path):
    shelf = Shelf(BODY, 'ETag: "one"')
    leave_part(tmp_path, server, shelf)

    assert only([server.url("/a.bin")], tmp_path, resume=False).resumed_from == 0
    assert shelf.ranges == [None]


def test_credentials_are_not_stored(server, tmp_path):
    shelf = Shelf(BODY, 'ETag: "one"', cuts=[100])
    server.on("/a.bin", shelf)
    url = server.url("/a.bin").replace("://", "://me:secret@")

    assert not only([url], tmp_path).ok
    assert b"secret" not in files(tmp_path)["a.bin.part.json"]
    assert stat.S_IMODE(os.stat(tmp_path / "a.bin.part.json").st_mode) == 0o600
    assert only([url], tmp_path).resumed_from == 100


# --- retries -------------------------------------------------------------------------------------


def test_a_retry_goes_on_where_the_body_broke(no_leaks, server, tmp_path):
    shelf = Shelf(BODY, 'ETag: "one"', cuts=[1000, 70_000])
    server.on("/a.bin", shelf)

    one = only([server.url("/a.bin")], tmp_path, retry=SOON, sha256=DIGEST)

    assert shelf.ranges == [None, "bytes=1000-", "bytes=71000-"]
    assert one.resumed_from == 0
    assert [(each.number, each.status) for each in one.attempts] == [(1, 200), (2, 206), (3, 206)]
    assert [each.retried for each in one.attempts] == ["ChunkedEncodingError"] * 2 + [None]
    assert isinstance(one.attempts[0].error, requests.exceptions.ChunkedEncodingError)
    assert files(tmp_path) == {"a.bin": BODY}


def test_a_retry_without_a_validator_starts_over(server, tmp_path):
    shelf = Shelf(BODY, cuts=[1000, 70_000])
    server.on("/a.bin", shelf)

    assert only([server.url("/a.bin")], tmp_path, retry=SOON).ok
    assert shelf.ranges == [None] * 3
    assert files(tmp_path) == {"a.bin": BODY}


def test_attempts_are_counted_over_heads_and_bodies(server, tmp_path):
    shelf = Shelf(BODY, 'ETag: "one"', cuts=[1000] * 9)
    busy = iter([True])

    def handler(request):
        if len(shelf.ranges) == 1 and next(busy, None):
            return answer(b"", "503 Busy")
        return shelf(request)

    server.on("/a.bin", handler)

    one = only([server.url("/a.bin")], tmp_path, retry=SOON)

    assert [each.status for each in one.attempts] == [200, 503, 206, 206]
    assert [each.number for each in one.attempts] == [1, 2, 3, 4]
    assert one.attempts[-1].retried == "ChunkedEncodingError: that was the last attempt"
    assert one.size == 3000
    assert shelf.ranges == [None, "bytes=1000-", "bytes=2000-"]


def test_a_206_of_fewer_bytes_than_there_are_is_gone_on_with(server, tmp_path):
    shelf = Shelf(BODY, 'ETag: "one"', cuts=[1000])

    def handler(request):
        if request.headers.get("range") == "bytes=1000-":
            place = "Content-Range: bytes 1000-1999/300000"
            return answer(BODY[1000:2000], "206 Partial Content", 'ETag: "one"', place)
        return shelf(request)

    server.on("/a.bin", handler)
    one = only([server.url("/a.bin")], tmp_path, retry=SOON)

    assert one.ok
    assert isinstance(one.attempts[1].error, LengthError)
    assert shelf.ranges == [None, "bytes=2000-"]
    assert files(tmp_path) == {"a.bin": BODY}


def test_a_body_that_goes_on_behind_its_length_is_not_kept(server, tmp_path):
    put_part(tmp_path, server.url("/a.bin"), 1000, length=2000)
    place = "Content-Range: bytes 1000-1999/2000"
    chunked = b"%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY)
    head = f'HTTP/1.1 206 OK\r\nETag: "one"\r\n{place}\r\nTransfer-Encoding: chunked\r\n\r\n'
    server.on("/a.bin", lambda _: head.encode() + chunked)

    one = only([server.url("/a.bin")], tmp_path)

    assert isinstance(one.error, LengthError)
    assert (one.error.expected, one.error.received > 2000) == (2000, True)
    assert one.size == 0
    assert files(tmp_path) == {}


def test_what_waits_for_a_retry_holds_no_slot(no_leaks, server, tmp_path):
    server.on("/a.bin", Shelf(BODY, cuts=[10]))
    server.on("/b.bin", Shelf(BODY))
    clock = LazyClock()
    retry = Retry(attempts=2, backoff=1000, factor=1, cap=1000)
    with Client(concurrency=1, retry=retry, clock=clock, random=Halves()) as client:
        downloads = start(client, [server.url("/a.bin"), server.url("/b.bin")], tmp_path)
        assert next(downloads).index == 1
        clock.ring(500)
        assert next(downloads).index == 0
        assert client.statistics().retries == 1
        downloads.close()


class Halves(random.Random):
    def random(self):
        return 0.5


class LazyClock(HubClock):
    """Long waits end when they are told to."""

    def __init__(self):
        super().__init__(gevent.get_hub())
        self.waits = {}

    def call_later(self, seconds, function, *args):
        if seconds == 500:
            self.waits[seconds] = (function, args)
            return super().call_later(1e6, function, *args)
        return super().call_later(seconds, function, *args)

    def ring(self, seconds):
        function, args = self.waits.pop(seconds)
        function(*args)


def test_a_status_is_no_file(server, tmp_path):
    server.on("/gone", lambda _: answer(b"no", "404 Not Found"))
    server.on("/empty", lambda _: b"HTTP/1.1 204 No Content\r\n\r\n")

    gone, empty = sorted(
        download([server.url("/gone"), server.url("/empty")], tmp_path), key=lambda each: each.index
    )

    assert isinstance(gone.error, requests.HTTPError)
    assert gone.error.response.text == "no"
    assert isinstance(empty.error, requests.HTTPError)
    with pytest.raises(requests.HTTPError):
        gone.unwrap()
    assert files(tmp_path) == {}


def test_a_server_that_is_busy_is_asked_again(server, tmp_path):
    answers = iter([answer(b"", "503 Busy"), answer(BODY)])
    server.on("/a.bin", lambda _: next(answers))

    one = only([server.url("/a.bin")], tmp_path, retry=SOON)

    assert [each.status for each in one.attempts] == [503, 200]
    assert one.ok


def test_silence_is_a_failure_of_the_read_but_no_body_is_too_long(no_leaks, server, tmp_path):
    gate = Gate()
    server.on("/silent", lambda r: (r.sock.sendall(answer(b"")[:-2]), gate(r))[1])

    def drip(request):
        request.sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n")
        for _ in range(8):
            request.sock.sendall(b"x")
            import time

            time.sleep(0.03)
        return b""

    server.on("/drip", drip)
    timeout = grequests.Timeout(read=0.15, total=0.2)
    done = {
        each.url.rpartition("/")[2]: each
        for each in download(
            [server.url("/silent"), server.url("/drip")], tmp_path, timeout=timeout, retry=None
        )
    }
    gate.close()

    assert isinstance(done["silent"].error, (requests.exceptions.Timeout, TimeoutError))
    assert done["drip"].unwrap()
    assert files(tmp_path) == {"drip": b"x" * 8}


# --- checksums -----------------------------------------------------------------------------------


def test_a_checksum_is_verified(server, tmp_path):
    server.on("/a.bin", Shelf())
    url = server.url("/a.bin")

    for number, sha256 in enumerate([DIGEST, DIGEST.upper(), {url: DIGEST}, True]):
        one = only([(url, f"{number}")], tmp_path, sha256=sha256)
        assert one.sha256 == DIGEST
    assert only([(url, "x")], tmp_path, sha256={"http://other": DIGEST}).sha256 is None


def test_a_file_with_another_checksum_is_removed(no_leaks, server, tmp_path):
    server.on("/a.bin", Shelf(BODY, 'ETag: "one"'))

    one = only([server.url("/a.bin")], tmp_path, sha256="0" * 64)

    assert isinstance(one.error, ChecksumError)
    assert isinstance(one.error, ValueError)
    assert (one.error.expected, one.error.actual) == ("0" * 64, DIGEST)
    assert one.error.path == str(tmp_path / "a.bin")
    assert files(tmp_path) == {}


def test_a_file_that_is_there_is_verified_and_left_alone(server, tmp_path):
    (tmp_path / "a.bin").write_bytes(b"mine")

    one = only([server.url("/a.bin")], tmp_path, sha256=DIGEST)

    assert isinstance(one.error, ChecksumError)
    assert server.count == 0
    assert files(tmp_path) == {"a.bin": b"mine"}


@pytest.mark.parametrize("sha256", ["", "x" * 64, "0" * 63, 5, {"http://x/": "00"}, b"0" * 64])
def test_what_is_no_checksum_is_refused(tmp_path, sha256):
    with pytest.raises(PolicyError):
        download(["http://x/"], tmp_path, sha256=sha256)


def test_one_checksum_is_for_one_file(server, tmp_path):
    with pytest.raises(PolicyError):
        download([server.url("/a"), server.url("/b")], tmp_path, sha256=DIGEST)
    urls = iter([server.url("/a.bin"), server.url("/b")])
    server.on("/a.bin", Shelf())

    done = sorted(download(urls, tmp_path, sha256=DIGEST), key=lambda each: each.index)

    assert done[0].ok
    assert isinstance(done[1].error, PolicyError)


# --- files that are there ------------------------------------------------------------------------


def test_a_file_that_is_there_is_skipped(server, tmp_path):
    (tmp_path / "a.bin").write_bytes(b"mine")

    one = only([server.url("/a.bin")], tmp_path, sha256=True)

    assert (one.ok, one.skipped, one.size, one.attempts) == (True, True, 4, ())
    assert one.sha256 == hashlib.sha256(b"mine").hexdigest()
    assert one.path == str(tmp_path / "a.bin")
    assert server.count == 0


def test_or_overwritten(server, tmp_path):
    (tmp_path / "a.bin").write_bytes(b"mine")
    server.on("/a.bin", Shelf())

    one = only([server.url("/a.bin")], tmp_path, overwrite=True)

    assert (one.ok, one.skipped) == (True, False)
    assert files(tmp_path) == {"a.bin": BODY}


def test_a_file_that_is_called_otherwise_is_skipped_when_its_name_is_known(server, tmp_path):
    (tmp_path / "b.bin").write_bytes(b"mine")
    server.on("/a.bin", Shelf(BODY, "Content-Disposition: attachment; filename=b.bin"))

    one = only([server.url("/a.bin")], tmp_path)

    assert (one.skipped, one.path) == (True, str(tmp_path / "b.bin"))
    assert files(tmp_path) == {"b.bin": b"mine"}


def test_a_directory_in_its_place_is_an_error(server, tmp_path):
    (tmp_path / "a.bin").mkdir()

    one = only([server.url("/a.bin")], tmp_path, overwrite=True)

    assert isinstance(one.error, FileExistsError)
    assert server.count == 0


def test_the_directory_is_made(server, tmp_path):
    server.on("/a.bin", Shelf())

    assert only([server.url("/a.bin")], tmp_path / "new" / "one").ok


def test_files_of_the_same_name_get_numbers(server, tmp_path):
    server.on("/x/*", Shelf(b"x")).on("/y/*", Shelf(b"y")).on("/z/*", Shelf(b"z"))
    urls = [server.url(path) for path in ("/x/a.tar.gz", "/y/a.tar.gz", "/z/A.TAR.GZ", "/z/b")]

    done = sorted(download(urls, tmp_path), key=lambda each: each.index)

    names = [os.path.basename(each.path) for each in done]
    assert names == ["a.tar.gz", "a (1).tar.gz", "A (2).TAR.GZ", "b"]
    assert len({each.path.casefold() for each in done}) == 4
    again = sorted(download(urls, tmp_path), key=lambda each: each.index)
    assert [each.path for each in again] == [each.path for each in done]
    assert all(each.skipped for each in again)


# --- names ---------------------------------------------------------------------------------------

HOSTILE = [
    "../evil",
    "../../../../etc/passwd",
    "/etc/passwd",
    "..",
    ".",
    "...",
    "",
    " ",
    "a/../../evil",
    "..\\..\\evil",
    "C:\\Windows\\evil.dll",
    "\\\\server\\share\\evil",
    "evil\0.txt",
    "evil\r\n.txt",
    "evil\x1b[31m.txt",
    "evil\x7f",
    "evil\u2028.txt",
    "\u202etxt.exe",
    ".bashrc",
    ".ssh/authorized_keys",
    "-rf",
    "con",
    "NUL.txt",
    "com1.tar.gz",
    "LPT\u00b9",
    "aux .txt",
    "evil.txt.",
    "evil.txt ",
    "file.txt:stream",
    'a<b>c"d|e?f*g',
    "x" * 1000,
    "x" * 300 + ".tar.gz",
    "\u00e9" * 300 + ".txt",
    "\U0001f600" * 100,
    "a." + "b" * 300,
    "evil.part",
    "evil.part.json",
    "\ud800evil",
]


@pytest.mark.parametrize("name", HOSTILE)
def test_no_name_leaves_the_directory(server, tmp_path, name):
    inside = tmp_path / "inside"
    server.on("/*", Shelf(b"x"))

    one = only([(server.url("/a"), name)], inside)

    assert_safe(one, inside, tmp_path)


def assert_safe(one: Download, inside, above):
    name = os.path.basename(one.unwrap())
    assert one.path == os.path.join(inside, name)
    assert os.listdir(above) == ["inside"]
    assert os.listdir(inside) == [name]
    assert name not in ("", ".", "..")
    assert len((name + ".part.json~").encode()) <= 255
    assert not name.startswith((".", "-", " "))
    assert not name.endswith((".", " ", ".part", ".json"))
    assert not set(name) & set('/\\<>:"|?*')
    assert all(each.isprintable() for each in name)
    stem = name.partition(".")[0].strip().upper()
    assert stem not in {"CON", "NUL", "AUX", "COM1", "LPT\u00b9"}


@pytest.mark.parametrize("name", [name for name in HOSTILE if name.isprintable()])
@pytest.mark.parametrize("form", ["path", "quoted", "extended"])
def test_nor_does_one_that_a_server_says(server, tmp_path, name, form):
    inside = tmp_path / "inside"
    coded = requests.utils.quote(name, safe="")
    quoted = name.replace("\\", "\\\\").replace('"', '\\"').encode().decode("latin-1")
    header = {
        "path": "X: y",
        "quoted": f'Content-Disposition: attachment; filename="{quoted}"',
        "extended": f"Content-Disposition: attachment; filename=no; filename*=UTF-8''{coded}",
    }[form]
    path = f"/d/{coded}" if form == "path" and name not in (".", "..") else "/d/a"
    server._handler = lambda _: Shelf(b"x", header)

    assert_safe(only([server.url(path)], inside), inside, tmp_path)


@pytest.mark.parametrize(
    ("header", "name"),
    [
        ("attachment; filename=report.pdf", "report.pdf"),
        ('attachment; filename="my report.pdf"', "my report.pdf"),
        ('inline; filename="a;b.pdf"', "a;b.pdf"),
        ('attachment; filename="say \\"hi\\".txt"', "say _hi_.txt"),
        ("attachment; filename=no.txt; filename*=UTF-8''%e2%82%ac.txt", "€.txt"),
        ("attachment; filename*=utf-8'en'na%C3%AFve.txt; filename=no.txt", "naïve.txt"),
        ("attachment; filename*=iso-8859-1''na%EFve.txt", "naïve.txt"),
        ("attachment; filename*=UTF-8''%ff%ff; filename=plain.txt", "plain.txt"),
        ("attachment; filename*=koi8-r''x; filename=plain.txt", "plain.txt"),
        ("attachment; filename*=broken; filename=plain.txt", "plain.txt"),
        ('ATTACHMENT; FILENAME="UPPER.txt"', "UPPER.txt"),
        ('attachment; filename="dir/name.txt"', "name.txt"),
        ('attachment; filename="na\u00c3\u00afve.txt"', "naïve.txt"),
        ('attachment; filename="na\u00efve.txt"', "naïve.txt"),
        ("attachment", "a.bin"),
        ("attachment; filename=", "a.bin"),
        ('attachment; filename=""', "a.bin"),
        ('attachment; filename="unended', "a.bin"),
        (";;;=", "a.bin"),
        ("attachment; size=5; filename = spaced.txt ; x=y", "spaced.txt"),
    ],
)
def test_content_disposition_names_the_file(server, tmp_path, header, name):
    server.on("/a.bin", Shelf(b"x", f"Content-Disposition: {header}"))

    assert only([server.url("/a.bin")], tmp_path).path == str(tmp_path / name)
    assert os.listdir(tmp_path) == [name]


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/", "127.0.0.1"),
        ("/dir/", "dir"),
        ("/dir/a%20b.txt?x=/y", "a b.txt"),
        ("/a%2Fb", "a_b"),
        ("/%E2%82%AC.txt#part", "€.txt"),
        ("/%ff", "\ufffd"),
    ],
)
def test_or_else_its_url_does(server, tmp_path, path, name):
    assert os.path.basename(only([server.url(path)], tmp_path).path) == name


def test_a_given_name_goes_before_the_servers(server, tmp_path):
    server.on("/a.bin", Shelf(b"x", "Content-Disposition: attachment; filename=no.txt"))

    assert only([(server.url("/a.bin"), "mine")], tmp_path).path == str(tmp_path / "mine")


def test_a_part_remembers_what_its_file_is_called(server, tmp_path):
    shelf = Shelf(BODY, 'ETag: "one"', "Content-Disposition: attachment; filename=b.bin")
    leave_part(tmp_path, server, shelf)
    shelf.headers.pop()

    one = only([server.url("/a.bin")], tmp_path)

    assert (one.resumed_from, one.path) == (100_000, str(tmp_path / "b.bin"))
    assert files(tmp_path) == {"b.bin": BODY}


# --- links and other things in the way -----------------------------------------------------------


@pytest.mark.parametrize("kind", ["symbolic", "dangling", "hard", "pipe"])
def test_nothing_is_written_through_what_stands_for_the_part(server, tmp_path, kind):
    inside = tmp_path / "inside"
    inside.mkdir()
    victim = tmp_path / "victim"
    if kind != "dangling":
        victim.write_bytes(b"precious")
    part = inside / "a.bin.part"
    if kind == "pipe":
        os.mkfifo(part)
    elif kind == "hard":
        part.hardlink_to(victim)
    else:
        part.symlink_to(victim)
    server.on("/a.bin", Shelf(BODY, 'ETag: "one"'))
    record = {"url": server.url("/a.bin"), "header": "ETag", "validator": '"one"'}
    (inside / "a.bin.part.json").write_text(json.dumps({**record, "length": None, "name": "a"}))

    one = only([server.url("/a.bin")], inside)

    assert (one.ok, one.resumed_from) == (True, 0)
    assert files(inside) == {"a.bin": BODY}
    assert not os.path.islink(one.path)
    assert victim.exists() == (kind != "dangling")
    assert kind == "dangling" or victim.read_bytes() == b"precious"


def test_the_part_is_opened_without_following_links(server, tmp_path):
    opened = []

    def opener(path, flags, mode):
        opened.append((os.path.basename(path), flags & os.O_NOFOLLOW, flags & os.O_CREAT))
        return os.open(path, flags, mode)

    server.on("/a.bin", Shelf())
    with Client() as client:
        list(start(client, [server.url("/a.bin")], tmp_path, opener=opener))
    assert opened == [("a.bin.part", os.O_NOFOLLOW, os.O_CREAT)]


def test_a_link_in_the_place_of_the_file_is_replaced_not_followed(server, tmp_path):
    inside = tmp_path / "inside"
    inside.mkdir()
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    (inside / "a.bin").symlink_to(victim)
    server.on("/a.bin", Shelf())

    assert only([server.url("/a.bin")], inside, overwrite=True).ok
    assert victim.read_bytes() == b"precious"
    assert not (inside / "a.bin").is_symlink()


def test_a_part_that_another_process_writes_is_left_to_it(server, tmp_path):
    import fcntl

    shelf = Shelf(BODY, 'ETag: "one"')
    leave_part(tmp_path, server, shelf)
    with open(tmp_path / "a.bin.part", "r+b") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        one = only([server.url("/a.bin")], tmp_path)
    assert isinstance(one.error, BlockingIOError)
    assert files(tmp_path)["a.bin.part"] == BODY[:100_000]
    assert only([server.url("/a.bin")], tmp_path).resumed_from == 100_000


# --- disks that fail -----------------------------------------------------------------------------


def test_a_full_disk_is_this_files_failure(no_leaks, server, tmp_path):
    server.on("/a.bin", Shelf()).on("/b.bin", Shelf())

    def opener(path, flags, mode):
        if "a.bin" in path:
            os.close(os.open(path, flags, mode))
            return os.open("/dev/full", os.O_RDWR)
        return os.open(path, flags, mode)

    with Client() as client:
        urls = [server.url("/a.bin"), server.url("/b.bin")]
        done = {each.index: each for each in start(client, urls, tmp_path, opener=opener)}
        assert client.statistics().in_flight == 0

    assert done[0].error.errno in (errno.ENOSPC, errno.EINVAL)
    assert done[1].ok
    assert files(tmp_path) == {"b.bin": BODY}


def test_a_directory_that_vanishes_is_a_failure_and_no_crash(no_leaks, server, tmp_path):
    inside = tmp_path / "inside"

    def handler(request):
        inside.rmdir()
        return answer(BODY)

    server.on("/a.bin", handler)
    one = only([server.url("/a.bin")], inside)

    assert isinstance(one.error, FileNotFoundError)


def test_a_directory_that_cannot_be_made_is_the_callers_error(server, tmp_path):
    (tmp_path / "file").write_bytes(b"")

    with pytest.raises(OSError):
        list(download([server.url("/a.bin")], tmp_path / "file"))
    with pytest.raises(PolicyError):
        download([], "")


# --- stopping ------------------------------------------------------------------------------------


def hold_in_the_middle(server, count=1, *headers):
    """A server of bodies that stop after the half."""
    gate = Gate()

    def handler(request):
        head, _, body = answer(BODY, "200 OK", *headers).partition(b"\r\n\r\n")
        request.sock.sendall(head + b"\r\n\r\n" + body[:150_000])
        return gate(request)

    server.on("/held/*", handler)
    server._routes["/gate"] = gate
    return [server.url(f"/held/{number}") for number in range(count)]


def sizes(directory):
    found = {}
    for entry in os.scandir(directory):
        try:
            found[entry.name] = os.path.getsize(entry.path)
        except FileNotFoundError:
            continue  # another process has put it in its place meanwhile
    return found


def half_there(directory, count=1):
    parts = [size for name, size in sizes(directory).items() if name.endswith(".part")]
    return parts == [150_000] * count


@pytest.mark.parametrize("way", ["close", "client", "deadline", "leave"])
def test_what_is_cut_off_can_be_gone_on_with(no_leaks, server, tmp_path, way):
    urls = hold_in_the_middle(server, 3, 'ETag: "one"')
    server.on("/a.bin", Shelf())
    with Client(retry=None) as client:
        deadline = 0.3 if way == "deadline" else None
        downloads = start(client, [server.url("/a.bin"), *urls], tmp_path, deadline=deadline)
        assert next(downloads).index == 0
        eventually(lambda: half_there(tmp_path, 3), "the halves")
        rest = []
        if way == "close":
            downloads.close()
            assert client.statistics().in_flight == 0
        elif way == "client":
            client.close()
            rest = list(downloads)
            assert {type(each.error) for each in rest} == {RequestCancelledError}
        elif way == "deadline":
            rest = list(downloads)
            assert {type(each.error) for each in rest} == {DeadlineError}
        else:
            del downloads
            gc.collect()
            gevent.sleep(0.01)
            assert client.statistics().in_flight == 0
        assert {each.size for each in rest} <= {150_000}
    names = [f"{n}.part" for n in range(3)] + [f"{n}.part.json" for n in range(3)]
    assert sorted(os.listdir(tmp_path)) == sorted(["a.bin", *names])
    server.on("/held/*", Shelf(BODY, 'ETag: "one"'))
    assert {each.resumed_from for each in download(urls, tmp_path)} == {150_000}
    assert files(tmp_path)["2"] == BODY


@pytest.mark.parametrize("way", ["close", "leave"])
def test_what_cannot_be_gone_on_with_leaves_nothing(no_leaks, server, tmp_path, way):
    urls = hold_in_the_middle(server, 2)
    downloads = download(urls, tmp_path)
    reader = gevent.spawn(next, downloads, None)
    eventually(lambda: half_there(tmp_path, 2), "the halves")
    reader.kill()
    if way == "close":
        downloads.close()
    del downloads, reader
    gevent.sleep(0.01)
    assert os.listdir(tmp_path) == []


def test_leaving_the_loop_starts_nothing_more(no_leaks, server, tmp_path):
    server.on("/x/*", Shelf(b"x"))
    for each in download([server.url(f"/x/{n}") for n in range(1000)], tmp_path, concurrency=2):
        assert each.ok
        break
    gevent.sleep(0.02)
    count = server.count
    assert count < 20
    gevent.sleep(0.02)
    assert server.count == count


def test_what_the_input_raises_comes_after_what_came_before(no_leaks, server, tmp_path):
    server.on("/a.bin", Shelf())

    def items():
        yield server.url("/a.bin")
        raise LookupError("no more")

    downloads = download(items(), tmp_path)
    assert next(downloads).ok
    with pytest.raises(LookupError):
        next(downloads)


def test_input_is_pulled_lazily(no_leaks, server, tmp_path):
    server.on("/x/*", Shelf(b"x"))
    pulled = []

    def items():
        try:
            for number in range(10_000):
                pulled.append(number)
                yield server.url(f"/x/{number}")
        finally:
            pulled.append("closed")

    with download(items(), tmp_path, concurrency=3, unread=5) as downloads:
        assert pulled == []
        next(downloads)
        gevent.sleep(0.1)
        assert len(pulled) < 20
    assert pulled[-1] == "closed"


def test_a_keyboard_interrupt_reaches_the_caller(tmp_path):
    source = """
        import os, signal, sys, threading
        sys.path.insert(0, sys.argv[2])
        from grequests._download import download
        from servers import Server, Gate, answer
        signal.signal(signal.SIGINT, signal.default_int_handler)
        gate = Gate()
        def handler(request):
            request.sock.sendall(answer(b"x" * 2000, "200 OK", 'ETag: "a"')[:-1000])
            threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
            return gate(request)
        with Server() as server:
            server.on("/a", handler)
            try:
                print(list(download([server.url("/a")], sys.argv[1])))
            except KeyboardInterrupt:
                print("interrupted", sorted(os.listdir(sys.argv[1])))
            gate.close()
    """
    assert child(source, tmp_path) == "interrupted ['a.part', 'a.part.json']\n"


def child(source, *args):
    done = subprocess.run(
        [
            sys.executable,
            "-W",
            "error",
            "-c",
            textwrap.dedent(source),
            *args,
            os.path.dirname(__file__),
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


# --- progress ------------------------------------------------------------------------------------


def test_progress_counts_bytes(no_leaks, server, tmp_path):
    server.on("/a.bin", Shelf()).on("/b.bin", lambda _: answer(b"", "404 Not Found"))
    told = []

    list(download([server.url("/a.bin"), server.url("/b.bin")], tmp_path, progress=told.append))

    assert told[0] == DownloadProgress(0, 0, 0, 0)
    assert told[-1] == DownloadProgress(2, 1, len(BODY), len(BODY))


def test_progress_knows_what_is_still_to_come(no_leaks, server, tmp_path):
    [url] = hold_in_the_middle(server)
    told = []
    downloads = download([url], tmp_path, progress=told.append)
    reader = gevent.spawn(next, downloads, None)
    eventually(lambda: told and told[-1].received == 150_000, "the half")
    assert told[-1] == DownloadProgress(0, 0, 150_000, 300_000)
    reader.kill()
    downloads.close()


def test_a_bar_shows_bytes(no_leaks, server, tmp_path, capsys):
    server.on("/a.bin", Shelf())

    assert only([server.url("/a.bin")], tmp_path, progress=True).ok

    assert "293k/293k" in capsys.readouterr().err


def test_what_a_report_raises_is_logged_and_ends_nothing(server, tmp_path, caplog):
    server.on("/a.bin", Shelf())

    assert only([server.url("/a.bin")], tmp_path, progress=lambda _: 1 / 0).ok
    assert "report" in caplog.text


# --- wrong use -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "item", [5, None, b"http://x/", ("a", "b", "c"), (5, "x"), DownloadItem(5)]
)
def test_what_is_no_item_has_an_outcome(server, tmp_path, item):
    server.on("/a.bin", Shelf())

    done = sorted(download([item, server.url("/a.bin")], tmp_path), key=lambda each: each.index)

    assert isinstance(done[0].error, NotARequestError)
    assert done[0].request is item
    assert done[1].ok


@pytest.mark.parametrize(
    "item",
    [
        ("http://127.0.0.1:1/", 5),
        grequests.get("http://127.0.0.1:1/", headers={"range": "bytes=0-"}),
    ],
)
def test_nonsense_has_one_too(tmp_path, item):
    assert isinstance(only([item], tmp_path).error, PolicyError)


@pytest.mark.parametrize("options", [{"progress": 5}, {"deadline": -1}, {"concurrency": 0}])
def test_wrong_options_are_refused_at_the_call(tmp_path, options):
    with pytest.raises(PolicyError):
        download([], tmp_path, **options)


def test_what_cannot_be_sent_has_an_outcome(no_leaks, tmp_path):
    done = list(download(["nonsense", "http://127.0.0.1:1/a", "http://[/b"], tmp_path, retry=None))

    assert len(done) == 3
    assert not any(each.ok for each in done)
    assert os.listdir(tmp_path) == []


def test_nothing_to_download_is_fine(no_leaks, tmp_path):
    assert list(download([], tmp_path)) == []


def test_errors_can_be_pickled(monkeypatch):
    for kind in (ChecksumError, LengthError, RangeError):
        monkeypatch.setattr(grequests, kind.__name__, kind, raising=False)
    for error in (ChecksumError("p", "a", "b"), LengthError(5, 3), RangeError("bytes 0-1/2")):
        copy = pickle.loads(pickle.dumps(error))
        assert type(copy) is type(error)
        assert type(copy).__module__ == "grequests"
        assert str(copy) == str(error)
        assert vars(copy) == vars(error)
        assert isinstance(copy, grequests.GRequestsError)
        assert isinstance(copy, (ValueError, OSError))


# --- memory --------------------------------------------------------------------------------------


def test_a_large_file_takes_little_memory(tmp_path):
    source = """
        import os, resource, sys, threading
        sys.path.insert(0, sys.argv[2])
        from grequests._download import download
        from servers import Server
        SIZE = 200 << 20
        def handler(request):
            head = f"HTTP/1.1 200 OK\\r\\nContent-Length: {SIZE}\\r\\n\\r\\n"
            request.sock.sendall(head.encode())
            for _ in range(SIZE >> 20):
                request.sock.sendall(bytes(1 << 20))
            return b""
        with Server() as server:
            server.on("/a", handler).on("/small", lambda r: b"HTTP/1.1 200 OK\\r\\nContent-Length: 1\\r\\n\\r\\nx")
            list(download([server.url("/small")], sys.argv[1]))
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            [one] = download([server.url("/a")], sys.argv[1])
            grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        print(one.size == SIZE, grown < 16 << 10)
    """
    assert child(source, tmp_path) == "True True\n"
    assert PIECE <= 128 << 10


# --- the other ways a request may take -----------------------------------------------------------


class Adapter(requests.adapters.HTTPAdapter):
    """Not Requests' own: its requests take the general lane."""


def general_session():
    session = requests.Session()
    session.mount("http://", Adapter())
    return session


def test_it_is_the_same_in_the_general_lane(no_leaks, server, tmp_path):
    shelf = Shelf(BODY, 'ETag: "one"', cuts=[1000, 70_000])
    server.on("/a.bin", shelf)
    with general_session() as session:
        one = only([server.url("/a.bin")], tmp_path, session=session, retry=SOON, sha256=DIGEST)
    assert one.ok
    assert shelf.ranges == [None, "bytes=1000-", "bytes=71000-"]
    assert files(tmp_path) == {"a.bin": BODY}


def test_slots_are_held_in_the_general_lane_too(no_leaks, server, tmp_path):
    urls = hold_in_the_middle(server, 6)
    with general_session() as session, Client(concurrency=4, session=session) as client:
        downloads = start(client, urls, tmp_path)
        reader = gevent.spawn(next, downloads, None)
        eventually(lambda: half_there(tmp_path, 4), "the halves")
        gevent.sleep(0.05)
        assert half_there(tmp_path, 4)
        assert client.statistics().in_flight == 4
        reader.kill()
        downloads.close()
        assert client.statistics().in_flight == 0
    assert os.listdir(tmp_path) == []


def test_it_goes_through_tls(no_leaks, https_server, ca_file, tmp_path):
    shelf = Shelf(BODY, 'ETag: "one"', cuts=[100_000])
    https_server.on("/a.bin", shelf)
    request = grequests.get(https_server.url("/a.bin"), verify=ca_file)

    one = only([request], tmp_path, retry=SOON)

    assert one.ok
    assert shelf.ranges[1].startswith("bytes=")
    assert shelf.ranges[1] != "bytes=0-"
    assert files(tmp_path) == {"a.bin": BODY}


def test_redirects_are_followed_and_the_first_url_names_the_file(no_leaks, server, tmp_path):
    shelf = Shelf(BODY, 'ETag: "one"', cuts=[1000])
    server.on("/b.bin", shelf)
    server.on("/a.bin", lambda _: answer(b"", "302 Found", "Location: /b.bin"))

    one = only([server.url("/a.bin")], tmp_path, retry=SOON)

    assert one.path == str(tmp_path / "a.bin")
    assert shelf.ranges == [None, "bytes=1000-"]
    assert files(tmp_path) == {"a.bin": BODY}


def test_parameters_belong_to_what_is_gone_on_with(server, tmp_path):
    shelf = Shelf(BODY, 'ETag: "one"', cuts=[1000])
    server.on("/a.bin", shelf)

    def ask(version):
        return only([grequests.get(server.url("/a.bin"), params={"v": version})], tmp_path)

    assert not ask(1).ok
    assert ask(2).resumed_from == 0
    assert shelf.ranges == [None, None]


def test_a_post_can_be_downloaded_but_not_gone_on_with(server, tmp_path):
    shelf = Shelf(BODY, 'ETag: "one"', cuts=[1000])
    server.on("/a.bin", shelf)
    request = grequests.post(server.url("/a.bin"), data="x")

    assert not only([request], tmp_path, retry=SOON).ok
    assert files(tmp_path) == {}
    assert only([request], tmp_path).ok


def test_the_budget_of_retries_holds_for_bodies(server, tmp_path):
    server.on("/a.bin", Shelf(BODY, 'ETag: "one"', cuts=[10] * 50))
    retry = Retry(attempts=50, backoff=0, budget=0, reserve=3)

    one = only([server.url("/a.bin")], tmp_path, retry=retry)

    assert len(one.attempts) == 4
    assert one.attempts[-1].retried == "ChunkedEncodingError: the retry budget is spent"


def test_events_tell_of_bodies_that_broke(server, tmp_path):
    server.on("/a.bin", Shelf(BODY, 'ETag: "one"', cuts=[10]))
    told = []
    with Client(retry=SOON) as client:
        client.on("retried", told.append)
        list(start(client, [server.url("/a.bin")], tmp_path))
        eventually(lambda: told, "the event")
    assert [each.attempt.number for each in told] == [1]


def test_the_clients_statistics_count_bytes(server, tmp_path):
    server.on("/a.bin", Shelf())
    with Client() as client:
        list(start(client, [server.url("/a.bin")], tmp_path))
        assert client.statistics().received == len(BODY)


def test_a_client_can_run_and_download_at_the_same_time(no_leaks, server, tmp_path):
    server.on("/x/*", Shelf(b"x"))
    urls = [server.url(f"/x/{number}") for number in range(50)]
    with Client(concurrency=3) as client:
        downloads = start(client, urls, tmp_path)
        results = client.run(urls)
        pairs = list(zip(downloads, results, strict=True))
    assert all(one.ok and result.ok for one, result in pairs)


def test_they_say_what_they_are(server, tmp_path):
    server.on("/a.bin", Shelf())
    downloads = download([server.url("/a.bin")], tmp_path)
    assert repr(downloads) == "<Downloads unread>"
    next(downloads)
    assert repr(downloads) == "<Downloads running>"
    downloads.close()
    assert repr(downloads) == "<Downloads closed>"
    assert list(downloads) == []


def test_a_deadline_gives_every_item_an_outcome(no_leaks, server, tmp_path):
    urls = hold_in_the_middle(server, 300)

    done = list(download(urls, tmp_path, deadline=0.1, concurrency=5))

    assert sorted(each.index for each in done) == list(range(300))
    assert {type(each.error) for each in done} == {DeadlineError}
    assert sum(each.error.sent for each in done) == 5
    assert os.listdir(tmp_path) == []


def test_items_can_be_found_on_the_way(no_leaks, server, tmp_path):
    server.on("/x/*", Shelf(b"x"))
    feed = grequests.Feed([server.url("/x/0")], until_idle=True)
    names = []
    for each in download(feed, tmp_path):
        names.append(os.path.basename(each.path))
        if each.index < 4:
            feed.put((server.url("/x/more"), f"{each.index + 1}"))
    assert names == ["0", "1", "2", "3", "4"]
    assert feed.closed


def test_a_scripted_network_will_do(tmp_path):
    from grequests.testing import FakeTransport

    with FakeTransport() as fake:
        fake.add("http://files.test/a.bin", body=BODY)
        one = only(["http://files.test/a.bin"], tmp_path, sha256=DIGEST)

    assert one.ok, one.error
    assert files(tmp_path) == {"a.bin": BODY}


# --- whatever a server does ----------------------------------------------------------------------


class Liar:
    """A server that changes its file, cuts, and gets ranges wrong; but no ETag has two files."""

    def __init__(self, seed):
        self.random = random.Random(seed)
        self.versions = [self.random.randbytes(self.random.choice([5, 5000, 200_000]))]
        self.patience = 12

    def __call__(self, request):
        random = self.random
        self.patience -= 1
        if self.patience < 0:
            return answer(self.versions[-1], "200 OK", f'ETag: "{len(self.versions)}"')
        if random.random() < 0.2:
            self.versions.append(random.randbytes(random.choice([5, 5000, 200_000])))
        body = self.versions[-1]
        lines = [f'ETag: "{len(self.versions)}"'] if random.random() < 0.9 else []
        line, total = "200 OK", len(body)
        wanted = request.headers.get("range")
        if wanted and random.random() < 0.9:
            first = int(wanted.removeprefix("bytes=").rstrip("-"))
            if first >= total:
                return answer(b"", "416 No", f"Content-Range: bytes */{total}", *lines)
            if random.random() < 0.3:
                first = max(0, first + random.randint(-2, 2))
            last = total - 1 if random.random() < 0.7 else random.randint(first, total - 1)
            body = body[first : last + 1]
            line = "206 Partial Content"
            lines.append(
                f"Content-Range: bytes {first}-{last}/{random.choice([total, total, '*'])}"
            )
        reply = answer(body, line, *lines)
        if random.random() < 0.6 and body:
            head, _, body = reply.partition(b"\r\n\r\n")
            return head + b"\r\nConnection: close\r\n\r\n" + body[: random.randrange(len(body))]
        return reply


@pytest.mark.parametrize("seed", range(40))
def test_a_file_is_never_made_of_two(server, tmp_path, seed):
    liar = Liar(seed)
    server.on("/a.bin", liar)
    retry = Retry(attempts=3, backoff=0)

    for _ in range(20):
        one = only([server.url("/a.bin")], tmp_path, retry=retry)
        if one.ok:
            break

    assert one.ok, one.error
    assert os.listdir(tmp_path) == ["a.bin"]
    assert files(tmp_path)["a.bin"] in liar.versions


def test_a_process_that_was_killed_leaves_what_can_be_gone_on_with(server, tmp_path):
    [url] = hold_in_the_middle(server, 1, 'ETag: "one"')
    source = "import sys; from grequests._download import download; list(download([sys.argv[1]], sys.argv[2]))"
    process = subprocess.Popen([sys.executable, "-c", source, url, tmp_path])
    eventually(lambda: half_there(tmp_path), "the half")
    process.kill()
    process.wait()
    server.on("/held/*", Shelf(BODY, 'ETag: "one"'))

    assert only([url], tmp_path).resumed_from == 150_000
    assert files(tmp_path) == {"0": BODY}


def test_a_fast_server_leaves_others_their_turn(tmp_path):
    from grequests.testing import FakeTransport

    turns = []

    def count():
        while True:
            turns.append(1)
            gevent.sleep(0)

    with FakeTransport() as fake:
        fake.add("http://files.test/a.bin", body=bytes(32 << 20))
        other = gevent.spawn(count)
        assert only(["http://files.test/a.bin"], tmp_path).ok
        other.kill()
    assert len(turns) >= 32


def test_a_record_is_gone_before_its_part_is_written_anew(no_leaks, server, tmp_path):
    [url] = hold_in_the_middle(server)
    (tmp_path / "0.part").write_bytes(b"old")
    record = {"url": url, "header": "ETag", "validator": '"one"', "length": None, "name": "0"}
    (tmp_path / "0.part.json").write_text(json.dumps(record))
    downloads = download([url], tmp_path)
    reader = gevent.spawn(next, downloads, None)
    eventually(lambda: half_there(tmp_path), "the half")
    assert os.listdir(tmp_path) == ["0.part"]
    reader.kill()
    downloads.close()


def test_a_part_of_another_process_is_not_removed_either(server, tmp_path):
    import fcntl

    server.on("/a.bin", Shelf(BODY))
    with open(tmp_path / "a.bin.part", "wb") as other:
        other.write(b"theirs")
        other.flush()
        fcntl.flock(other, fcntl.LOCK_EX)
        assert isinstance(only([server.url("/a.bin")], tmp_path).error, BlockingIOError)
        assert files(tmp_path) == {"a.bin.part": b"theirs"}
