"""`Client.run` and `run`: one result for each request, whatever becomes of it.

Decisions by a scripted network and a clock that obeys; effects by real servers, in both lanes.
"""

from __future__ import annotations

import gc
import gzip
import io
import itertools
import logging
import os
import random
import socket
import threading
from collections import Counter

import gevent
import pytest
import requests
from requests.exceptions import ChunkedEncodingError, ConnectionError, ContentDecodingError
from servers import answer, echo, eventually, hang_up, status

import grequests
from grequests import (
    BodyTooLargeError,
    Circuit,
    CircuitOpenError,
    Client,
    ClientClosedError,
    DeadlineError,
    HeadersTooLargeError,
    NotARequestError,
    PolicyError,
    Rate,
    RequestInFlightError,
    Retry,
    Timeout,
    TotalTimeoutError,
    run,
)
from grequests.testing import FakeClock, FakeTransport, Fault

pytestmark = pytest.mark.usefixtures("no_leaks")

URL = "http://one.test"
QUICK = Retry(backoff=0.001)


class Odd(requests.Session):
    """Its requests take the general lane."""


both_lanes = pytest.mark.parametrize("lane", ["fast", "general"])


def session_for(lane):
    return Odd() if lane == "general" else None


@pytest.fixture
def clock():
    with FakeClock(autojump=True) as one:
        yield one


@pytest.fixture
def fake(clock):
    with FakeTransport(clock) as one:
        yield one


def draw(value):
    """A source of jitter that always gives the same."""
    source = random.Random()
    source.random = lambda: value
    return source


# In and out


def test_each_request_has_one_result_that_says_which(server):
    urls = [server.url(f"/{number}") for number in range(300)]
    results = list(run(urls))

    assert sorted(result.index for result in results) == [*range(300)]
    for result in results:
        assert result.ok and result.error is None
        assert result.request.url == urls[result.index]
        assert result.unwrap() is result.response
        assert result.response.text == f"/{result.index}"
        assert result.host == server.url("")
        [attempt] = result.attempts
        assert (attempt.number, attempt.status, attempt.error) == (1, 200, None)
        assert attempt.retried is None
        assert result.timings.total > 0


def test_requests_urls_and_pairs_may_be_mixed_and_tags_are_kept(server):
    tag = object()
    found = run(
        [
            server.url("/a"),
            (server.url("/b"), tag),
            grequests.get(server.url("/c"), tag="c"),
            (grequests.get(server.url("/d"), tag="old"), "new"),
            grequests.post(server.url("/e"), tag=0),
        ],
        ordered=True,
    )
    assert [(each.response.text, each.tag) for each in found] == [
        ("/a", None),
        ("/b", tag),
        ("/c", "c"),
        ("/d", "new"),
        ("/e", 0),
    ]


def test_a_tag_never_reaches_the_wire(server):
    server.on("/echo", echo)
    [result] = run([grequests.get(server.url("/echo"), tag="SECRET", cost=3)])
    assert "SECRET" not in result.response.text and "cost" not in result.response.text


def test_what_is_no_request_has_a_result_that_says_so(server):
    bad = [None, 5, b"http://bytes.test/", ("http://a.test/", 1, 2), (5, "tag"), object()]
    items = [server.url("/a"), *bad, server.url("/b")]
    results = list(run(items, ordered=True))

    assert [result.index for result in results] == [*range(8)]
    assert results[0].ok and results[-1].ok
    for result, item in zip(results[1:-1], bad, strict=True):
        assert isinstance(result.error, NotARequestError)
        assert result.error.index == result.index
        assert result.request is item
        assert result.response is None and not result.ok and result.attempts == ()
        assert repr(result)
        with pytest.raises(NotARequestError):
            result.unwrap()


def test_urls_that_are_none_have_results_that_say_so():
    urls = ["", "nonsense", "http://", "http://[::1", "http://host:port/", "gopher://a.test/"]
    results = list(run(urls, ordered=True))

    assert [type(result.error).__module__.split(".")[0] for result in results] == ["requests"] * 6
    assert len(results) == 6


class Awkward:
    """Raises wherever it is looked at."""

    def __str__(self):
        raise LookupError("no text")

    def __hash__(self):
        raise LookupError("no hash")

    def read(self, *_):
        raise LookupError("no bytes")

    tell = seek = __eq__ = read


@pytest.mark.parametrize("coalesce", [False, True])
def test_requests_made_of_awkward_things_fail_alone(server, coalesce):
    awkward = [
        grequests.get(Awkward()),
        grequests.get(server.url("/"), params={"a": Awkward()}),
        grequests.put(server.url("/"), data=Awkward()),
        grequests.put(server.url("/"), files={"a": Awkward()}),
        grequests.request(Awkward(), server.url("/")),
    ]
    results = list(run([*awkward, server.url("/fine")], ordered=True, coalesce=coalesce))
    assert [type(result.error) for result in results[:-1]] == [LookupError] * 5
    assert results[-1].ok


@pytest.mark.parametrize("ordered", [False, True])
def test_an_endless_input_of_nonsense_is_read_as_far_as_results_are(ordered):
    count = 0
    with run(itertools.repeat(None), ordered=ordered) as results:
        for _ in itertools.islice(results, 5_000):
            count += 1
    assert count == 5_000


@pytest.mark.parametrize("wrong", ["http://one.test/", b"http://one.test/", grequests.get(URL)])
def test_a_single_request_for_many_is_refused_at_once(wrong):
    with pytest.raises(NotARequestError):
        run(wrong)


def test_unknown_options_are_refused_at_once():
    with pytest.raises(TypeError) as caught:
        Client().run([], in_order=True)
    assert "'in_order'" in str(caught.value)
    with pytest.raises(PolicyError):
        Client().run([], deadline=0)


def test_nothing_is_sent_before_the_first_result_is_asked_for(server):
    pulled = []

    def urls():
        pulled.append(1)
        yield server.url("/")

    results = run(urls())
    gevent.sleep(0)
    assert not pulled and server.count == 0
    assert next(results).ok
    assert list(results) == []


def test_an_input_that_raises_does_so_after_the_results_of_what_came_before(server):
    def urls():
        yield server.url("/1")
        yield server.url("/2")
        raise LookupError("no more")

    found = []
    with pytest.raises(LookupError, match="no more"):
        for result in run(urls()):
            found.append(result.ok)
    assert found == [True, True]


def test_an_input_is_closed_when_the_run_is_left(server):
    closed = []

    def urls():
        try:
            while True:
                yield server.url("/")
        finally:
            closed.append(True)

    for _ in run(urls()):
        break
    eventually(lambda: closed)


def test_the_input_is_pulled_as_results_are_read(fake):
    fake.add(f"{URL}/*", body="x")
    pulled = itertools.count()

    def urls():
        for _ in range(10_000):
            yield f"{URL}/{next(pulled)}"

    with run(urls(), concurrency=4, unread=8) as results:
        for number, _ in enumerate(itertools.islice(results, 100)):
            gevent.sleep(0)
            assert next(pulled) <= 2 * number + 40  # (asking counts, too)


def test_a_request_that_is_among_them_twice_is_sent_once_at_a_time(server):
    gate = server.hold("/first")
    once = grequests.get(server.url("/"))
    requests_ = [server.url("/first"), once, once, once]
    with run(requests_, concurrency=5, per_host=1, ordered=True) as results:
        reader = gevent.spawn(list, results)
        eventually(lambda: gate.arrived)
        gate.open()
        found = reader.get(timeout=5)

    assert [result.ok for result in found] == [True, True, False, False]
    assert [type(result.error) for result in found[2:]] == [RequestInFlightError] * 2
    assert [result.ok for result in run([once])] == [True]


def test_a_request_that_is_sent_again_leaves_its_earlier_result_as_it_was(server):
    server.on("/gone", hang_up)
    again = grequests.get(server.url("/"))

    def requests_():
        yield again
        while again.response is None or again._in_flight:
            gevent.sleep(0)
        again.url = server.url("/gone")
        yield again

    first, second = run(requests_(), ordered=True, retry=None)
    assert first.ok and first.response.text == "/" and first.error is None
    assert [attempt.status for attempt in first.attempts] == [200]
    assert second.response is None and isinstance(second.error, ConnectionError)
    assert [attempt.status for attempt in second.attempts] == [None]


def test_a_failure_has_its_error_and_no_response(server):
    server.on("/gone", hang_up)
    [result] = run([server.url("/gone")], retry=None)

    assert isinstance(result.error, ConnectionError)
    assert result.response is None and not result.ok
    [attempt] = result.attempts
    assert attempt.error is result.error and attempt.status is None
    with pytest.raises(ConnectionError):
        result.unwrap()


def test_a_status_of_400_and_more_is_a_response_that_is_not_ok(server):
    server.on("/status/*", status)
    [result] = run([server.url("/status/404")])

    assert not result.ok and result.error is None
    assert result.unwrap().status_code == 404


@both_lanes
def test_a_stream_is_the_readers(lane, server):
    server.on("/", lambda _: answer(b"x" * 300_000))
    for result in run([grequests.get(server.url("/"), session=session_for(lane))], stream=True):
        assert result.response.raw is not None
        assert sum(map(len, result.response.iter_content(10_000))) == 300_000


# Order


def test_results_come_as_they_end(server):
    gate = server.hold("/slow")
    with run([server.url("/slow"), server.url("/quick")]) as results:
        assert next(results).index == 1
        gate.open()
        assert [result.index for result in results] == [0]


def test_in_order_they_come_in_order(fake):
    for number in range(50):
        fake.add(f"{URL}/{number}", body="x", latency=(50 - number) / 10)
    indices = [r.index for r in run([f"{URL}/{n}" for n in range(50)], ordered=True)]
    assert indices == [*range(50)]


def test_in_order_a_slow_head_bounds_how_far_is_read_ahead(server):
    gate = server.hold("/slow")
    pulled = 0

    def urls():
        nonlocal pulled
        yield server.url("/slow")
        while True:
            pulled += 1
            yield server.url("/quick")

    with run(urls(), ordered=True, concurrency=5, lookahead=20) as results:
        reader = gevent.spawn(next, results)
        eventually(lambda: server.count == 20, "all that may be read ahead to be sent")
        for _ in range(20):
            gevent.sleep(0.001)
        assert (pulled, server.count) == (19, 20)
        gate.open()
        assert reader.get(timeout=5).index == 0
        assert [next(results).index for _ in range(100)] == [*range(1, 101)]


@pytest.mark.parametrize("ordered", [False, True])
def test_a_slow_reader_bounds_what_is_sent(ordered, server):
    urls = (server.url(f"/{number}") for number in itertools.count())
    bounds = {"unread": 6} if not ordered else {"lookahead": 10}
    with run(urls, ordered=ordered, concurrency=4, **bounds) as results:
        for read in range(1, 60):
            next(results)
            for _ in range(5):
                gevent.sleep(0)
            assert server.count <= read + 11


@pytest.mark.parametrize("ordered", [False, True])
@pytest.mark.parametrize("concurrency", [1, 3, 50])
@pytest.mark.parametrize("small", [1, 2, 5])
def test_however_narrow_the_bounds_all_comes(fake, ordered, concurrency, small):
    dice = random.Random(f"{ordered}{concurrency}{small}")
    fake.add(f"{URL}/*", answer=lambda _: _answer(dice))
    bounds = {"unread": small, "lookahead": small, "concurrency": concurrency, "per_host": small}
    count = 0
    urls = [f"{URL}/{n}" for n in range(120)]
    for result in run(urls, ordered=ordered, retry=Retry(budget=1, backoff=0.01), **bounds):
        assert (result.error is None) is not (result.response is None)
        count += 1
        if dice.random() < 0.3:
            gevent.sleep(0)
    assert count == 120


def _answer(dice):
    chance = dice.random()
    if chance < 0.1:
        return Fault.CLOSED
    return grequests.testing.Answer(503 if chance < 0.2 else 200, latency=chance)


def test_urls_that_are_bytes_have_their_own_hosts_limit(server):
    gate = server.hold("/slow")
    urls = [grequests.get(server.url("/slow").encode()) for _ in range(3)]
    others = [grequests.get(f"http://localhost:{server.ports[0]}/".encode())]
    with run(urls + others, per_host=2) as results:
        assert next(results).index == 3
        eventually(lambda: gate.arrived == 2, "two of them")
        gate.open()
        found = list(results)
    assert {result.host for result in found} == {server.url("")}


# How many at once


def test_no_more_are_under_way_than_may_be(server):
    urls = [server.url(f"/{n}") for n in range(200)]
    assert len(list(run(urls, concurrency=7, per_host=None))) == 200
    assert server.peak <= 7


def test_no_more_go_to_a_host_than_may(server):
    urls = [server.url(f"/{n}") for n in range(100)]
    assert len(list(run(urls, concurrency=50, per_host=3))) == 100
    assert server.peak <= 3


def test_a_host_that_does_not_answer_does_not_hold_back_others(server):
    gate = server.hold("/never")
    other = f"http://localhost:{server.ports[0]}"
    urls = [server.url("/never")] * 50 + [f"{other}/{n}" for n in range(100)]
    with run((grequests.get(url) for url in urls), concurrency=10, per_host=4) as results:
        found = [next(results).index for _ in range(100)]
        assert sorted(found) == [*range(50, 150)]
        assert gate.arrived == 4


def test_two_runs_of_a_client_share_its_slots(server):
    with Client(concurrency=3) as client:

        def count():
            return sum(result.ok for result in client.run(urls))

        urls = [server.url(f"/{n}") for n in range(60)]
        both = [gevent.spawn(count) for _ in "ab"]
        assert [each.get(timeout=10) for each in both] == [60, 60]
    assert server.peak <= 3


def test_a_run_within_a_run_of_the_same_client(server):
    with Client(concurrency=2) as client:
        outer = 0
        for result in client.run([server.url(f"/{n}") for n in range(8)]):
            inner = list(client.run([server.url(f"/in/{n}") for n in range(3)]))
            assert result.ok and all(each.ok for each in inner) and len(inner) == 3
            outer += 1
    assert outer == 8 and server.peak <= 2


def test_a_run_whose_only_slot_is_taken_by_a_submitted_request_goes_on_after_it(server):
    gate = server.hold("/held")
    with Client(concurrency=1) as client:
        results = client.run([server.url("/1"), server.url("/2"), server.url("/3")])
        first = next(results)
        future = client.submit(server.url("/held"))
        reader = gevent.spawn(list, results)
        eventually(lambda: gate.arrived)
        gate.open()
        assert future.result(timeout=5).ok
        assert first.ok and len(reader.get(timeout=5)) == 2


def test_a_submitted_request_that_takes_the_slot_while_the_feeder_waits_for_it(server):
    one, two = server.hold("/one"), server.hold("/two")
    with Client(concurrency=1) as client:
        reader = gevent.spawn(list, client.run([server.url("/one"), server.url("/rest")]))
        eventually(lambda: one.arrived)
        future = client.submit(server.url("/two"))
        one.open()
        eventually(lambda: two.arrived)
        two.open()
        assert future.result(timeout=5).ok
        assert [result.ok for result in reader.get(timeout=5)] == [True, True]


def test_a_rate_is_kept_on_the_wire(fake, clock):
    fake.add(f"{URL}/*", body="x")
    urls = [f"{URL}/{n}" for n in range(101)]
    assert len(list(run(urls, rate=Rate(10, burst=1)))) == 101

    at = [each.at for each in fake.requests]
    gaps = [later - earlier for earlier, later in itertools.pairwise(at)]
    assert min(gaps) >= 0.1 - 1e-6 and at[-1] - at[0] <= 10.1


def test_a_request_costs_what_it_says(fake, clock):
    fake.add(f"{URL}/*", body="x")
    requests_ = [grequests.get(f"{URL}/{n}", cost=5) for n in range(10)]
    list(run(requests_, rate=Rate(10, burst=5)))
    assert [round(each.at, 6) for each in fake.requests] == [n * 0.5 for n in range(10)]


# Retries


@both_lanes
def test_what_may_pass_is_sent_again_and_says_why(lane, server):
    count = itertools.count()

    def moody(request):
        turn = next(count)
        if turn == 0:
            return None
        return answer(b"no", "503 Busy") if turn == 1 else answer(b"yes")

    server.on("/moody", moody)
    request = grequests.get(server.url("/moody"), session=session_for(lane))
    [result] = run([request], retry=QUICK)

    assert result.response.text == "yes"
    first, second, third = result.attempts
    assert isinstance(first.error, ConnectionError) and first.retried == type(first.error).__name__
    assert (second.status, second.retried) == (503, "status 503")
    assert (third.status, third.retried, third.number) == (200, None, 3)
    assert first.started <= second.started <= third.started
    assert request.response is result.response


@both_lanes
def test_the_last_answer_is_the_result_when_attempts_are_used_up(lane, server):
    server.on("/busy", lambda _: answer(b"no", "503 Busy"))
    [result] = run([grequests.get(server.url("/busy"), session=session_for(lane))], retry=QUICK)

    assert result.response.status_code == 503 and result.error is None and not result.ok
    assert [attempt.retried for attempt in result.attempts] == [
        "status 503",
        "status 503",
        "status 503: that was the last attempt",
    ]
    assert server.count == 3


def _cut(request):
    request.sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")


def _bad_gzip(_):
    return answer(b"not gzip at all", "200 OK", "Content-Encoding: gzip")


@both_lanes
@pytest.mark.parametrize(
    ("broken", "error"), [(_cut, ChunkedEncodingError), (_bad_gzip, ContentDecodingError)]
)
def test_bodies_that_are_cut_or_cannot_be_decoded_are_fetched_again(lane, server, broken, error):
    count = itertools.count()
    server.on("/", lambda request: answer(b"whole") if next(count) else broken(request))
    [result] = run([grequests.get(server.url("/"), session=session_for(lane))], retry=QUICK)

    assert result.response.text == "whole"
    assert type(result.attempts[0].error) is error
    assert len(result.attempts) == 2


@both_lanes
def test_a_post_is_not_sent_twice(lane, server):
    server.on("/gone", hang_up)
    server.on("/busy", lambda _: answer(b"no", "503 Busy"))
    session = session_for(lane)
    gone, busy = run(
        [
            grequests.post(server.url(path), data=b"x", session=session)
            for path in ("/gone", "/busy")
        ],
        retry=QUICK,
        ordered=True,
    )
    assert isinstance(gone.error, ConnectionError) and "POST" in gone.attempts[0].retried
    assert busy.response.status_code == 503
    assert server.count == 2


@both_lanes
def test_a_post_of_which_nothing_was_sent_is_sent_again(lane, server):
    # Whoever dials once too often is refused: the port is free until the second attempt.
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    opened = []

    def listen(event):
        opened.append(socket.create_server(("127.0.0.1", port)))
        threading.Thread(target=serve, args=opened).start()

    def serve(listener):
        sock, _ = listener.accept()
        with sock:
            sock.recv(65536)
            sock.sendall(answer(b"done", "200 OK", "Connection: close"))

    with Client(retry=QUICK) as client:
        client.on("retried", lambda event: opened or listen(event))
        request = grequests.post(f"http://127.0.0.1:{port}/", session=session_for(lane))
        [result] = client.run([request])
    for each in opened:
        each.close()
    assert result.ok and len(result.attempts) >= 2


@both_lanes
@pytest.mark.parametrize("how", ["data", "files", "multi"])
def test_files_are_rewound_to_where_they_began(lane, how, server, tmp_path):
    bodies = []
    server.on("/", lambda request: bodies.append(request.body) or answer(b"", "503 Busy"))
    path = tmp_path / "file"
    path.write_bytes(b"SKIPcontent")
    with path.open("rb") as file:
        file.seek(4)
        given = {
            "data": {"data": file},
            "files": {"files": {"f": file}},
            "multi": {"files": [("f", ("name", file, "text/plain"))]},
        }[how]
        request = grequests.put(server.url("/"), session=session_for(lane), **given)
        [result] = run([request], retry=Retry(attempts=3, backoff=0.001, reserve=9))
    assert len(result.attempts) == 3 and len(bodies) == 3
    assert all(b"content" in body and b"SKIP" not in body for body in bodies)


def test_what_is_in_memory_is_sent_again(server):
    bodies = []
    server.on("/", lambda request: bodies.append(request.body) or answer(b"", "503 Busy"))
    for keywords in ({"data": io.BytesIO(b"abc")}, {"data": b"abc"}, {"json": {"a": 1}}):
        list(run([grequests.put(server.url("/"), **keywords)], retry=QUICK))
    assert bodies == [b"abc"] * 6 + [b'{"a": 1}'] * 3


@both_lanes
def test_a_generator_is_not_sent_twice(lane, server):
    server.on("/", lambda _: answer(b"", "503 Busy", "Connection: close"))
    request = grequests.put(server.url("/"), data=iter([b"a", b"b"]), session=session_for(lane))
    [result] = run([request], retry=QUICK)

    assert result.response.status_code == 503
    assert result.attempts[0].retried.endswith("the body cannot be sent again")


@both_lanes
def test_an_answer_that_is_not_kept_does_not_keep_its_connection(lane, server):
    count = itertools.count()
    body = b"x" * 200_000
    server.on("/", lambda _: answer(body, "200 OK" if next(count) else "503 Busy"))
    request = grequests.get(server.url("/"), session=session_for(lane))
    [result] = run([request], retry=QUICK, stream=True)
    assert result.response.content == body and len(result.attempts) == 2


def test_hooks_see_each_attempt_and_what_they_raise_is_the_outcome(server):
    statuses = []
    count = itertools.count()
    server.on("/", lambda _: answer(b"", "200 OK" if next(count) else "503 Busy"))

    def look(response, **_):
        statuses.append(response.status_code)
        if response.ok:
            raise LookupError("not what I want")

    [result] = run([grequests.get(server.url("/"), callback=look)], retry=QUICK)
    assert statuses == [503, 200]
    assert isinstance(result.error, LookupError) and len(result.attempts) == 2


def test_a_class_of_ones_own_that_sends_in_its_own_way(server):
    class Mine(grequests.AsyncRequest):
        def send(self, **kwargs):
            if self.url == "neither":
                return self
            self.url = server.url("/mine")
            return super().send(**kwargs)

    fine, neither = run(
        [Mine("GET", "http://nobody.invalid/"), Mine("GET", "neither")], ordered=True
    )
    assert fine.response.text == "/mine"
    assert isinstance(neither.error, grequests.GRequestsError)


def test_waits_grow_and_hold_no_slot(fake, clock):
    fake.add(f"{URL}/busy", status=500)
    fake.add(f"{URL}/quick", body="x", latency=0.1)
    retry = Retry(attempts=4, backoff=1, factor=2)
    urls = [f"{URL}/busy", *[f"{URL}/quick"] * 20]
    results = list(run(urls, concurrency=1, retry=retry, random=draw(0.5)))

    assert len(results) == 21
    at = [each.at for each in fake.requests if each.url.endswith("busy")]
    assert [
        round(b - a, 1) >= wait for (a, b), wait in zip(itertools.pairwise(at), (0.5, 1, 2))
    ] == [True] * 3
    assert at[-1] <= 3.5 + 0.4
    assert results[-1].request.url.endswith("busy")


def test_an_outage_is_not_made_worse(fake):
    fake.add(f"{URL}/*", status=500)
    retry = Retry(attempts=4, budget=0.2, reserve=10, backoff=0.001)
    with Client(retry=retry) as client:
        results = list(client.run([f"{URL}/{n}" for n in range(1_000)]))
        assert client.statistics().retries == 210
    assert len(fake.requests) == 1_210
    reasons = Counter(result.attempts[-1].retried for result in results)
    assert reasons["status 500: the retry budget is spent"] > 900


@pytest.mark.parametrize("code", [429, 503])
@pytest.mark.parametrize("form", ["seconds", "date"])
def test_retry_after_pauses_the_host_and_no_other(fake, clock, code, form):
    other = "http://two.test"
    after = "5" if form == "seconds" else "Sat, 01 Jan 2000 00:00:05 GMT"
    fake.add(f"{URL}/first", status=code, headers={"Retry-After": after}, times=1)
    fake.add(f"{URL}/*", body="x")
    fake.add(f"{other}/*", body="x", latency=0.1)
    events = []
    urls = [f"{URL}/first"] + [f"{URL}/{n}" for n in range(5)] + [f"{other}/{n}" for n in range(5)]
    with Client(per_host=1, random=draw(0.0)) as client:
        client.on("host_paused", events.append)
        results = list(client.run(urls))
        assert all(result.ok for result in results)
    assert [each.at for each in fake.requests if each.host == URL] == [0.0] + [5.0] * 6
    assert [each.at for each in fake.requests if each.host == other][-1] < 1
    [event] = events
    assert (event.host, event.seconds) == (URL, 5.0)


def test_a_pause_is_in_the_statistics_while_it_lasts(fake, clock):
    fake.add(f"{URL}/a", status=503, headers={"Retry-After": "5"}, times=1)
    fake.add(f"{URL}/a", body="x")
    fake.add("http://two.test/", body="x", latency=1)
    with Client(random=draw(0.0)) as client:
        results = client.run([f"{URL}/a", "http://two.test/"])
        assert next(results).index == 1
        assert client.statistics().paused == (URL,)
        assert next(results).ok
        assert client.statistics().paused == ()
        assert list(results) == []


def test_a_retry_after_that_asks_for_too_much_makes_the_answer_the_result(fake, clock):
    fake.add(f"{URL}/*", status=429, headers={"Retry-After": "3600"})
    [first] = run([f"{URL}/a"])

    assert first.response.status_code == 429 and clock.now() == 0
    assert first.attempts[0].retried == "status 429: Retry-After asks for 3600 s"


@pytest.mark.parametrize("code", [408, 500, 502])
def test_any_answer_that_is_retried_may_say_when(fake, code):
    fake.add(f"{URL}/a", status=code, headers={"Retry-After": "7"}, times=1)
    fake.add(f"{URL}/*", body="x")
    with Client(per_host=1, random=draw(0.0)) as client:
        list(client.run([f"{URL}/a", f"{URL}/b"]))
    assert [(each.url[-1], each.at) for each in fake.requests] == [("a", 0), ("b", 0), ("a", 7)]


def test_urllib3s_own_retries_hold_no_slot_either(server):
    count = itertools.count()
    server.on("/busy", lambda _: answer(b"ok") if next(count) > 1 else answer(b"", "503 Busy"))
    session = requests.Session()
    session.mount(
        "http://",
        requests.adapters.HTTPAdapter(
            max_retries=requests.adapters.Retry(4, status_forcelist=[503], backoff_factor=0.01)
        ),
    )
    with Client(concurrency=1) as client:
        urls = [grequests.get(server.url("/busy"), session=session), server.url("/other")]
        results = list(client.run(urls))
        assert all(result.ok for result in results) and len(results) == 2
        assert client.statistics().in_flight == 0


def test_a_probe_that_urllib3_retries_is_still_the_only_one_and_is_not_lost(fake, clock):
    fake.add(f"{URL}/dead", error=Fault.REFUSED)
    fake.add(f"{URL}/busy", status=503, times=1)
    fake.add(f"{URL}/*", body="x")
    session = requests.Session()
    session.mount(
        "http://",
        requests.adapters.HTTPAdapter(
            max_retries=requests.adapters.Retry(4, status_forcelist=[503], backoff_factor=0)
        ),
    )
    with Client(circuit=Circuit(failures=1, span=0, seconds=10), retry=None) as client:
        list(client.run([f"{URL}/dead"]))
        assert client.statistics().open_circuits == (URL,)
        clock.advance(10)
        [result] = client.run([grequests.get(f"{URL}/busy", session=session)])
        assert result.ok
        assert client.statistics().open_circuits == ()


# Circuits


def test_a_dead_host_fails_fast_and_recovers(fake, clock):
    fake.add(f"{URL}/*", error=Fault.REFUSED, latency=1, times=3)
    fake.add(f"{URL}/*", body="x")
    events = []
    with Client(circuit=Circuit(failures=3, span=2, seconds=30), retry=None, per_host=1) as client:
        for name in ("circuit_opened", "circuit_closed"):
            client.on(name, events.append)
        results = list(client.run([f"{URL}/{n}" for n in range(10)], ordered=True))
        assert [type(result.error).__name__ for result in results] == (
            ["ConnectionError"] * 3 + ["CircuitOpenError"] * 7
        )
        assert results[-1].attempts == ()
        statistics = client.statistics()
        assert statistics.open_circuits == (URL,)
        assert sum(statistics.failed.values()) == 10
        clock.advance(30)
        assert all(result.ok for result in client.run([f"{URL}/{n}" for n in range(5)]))
        assert client.statistics().open_circuits == ()
    assert [type(event).__name__ for event in events] == ["CircuitOpened", "CircuitClosed"]
    assert len(fake.requests) == 8


def test_a_request_whose_retry_finds_the_circuit_open_says_what_it_was_about(fake):
    fake.add(f"{URL}/*", error=Fault.REFUSED, latency=1)
    circuit = Circuit(failures=2, span=0, seconds=30)
    [first] = run([f"{URL}/a"], circuit=circuit, retry=Retry(attempts=5, budget=1))

    assert isinstance(first.error, CircuitOpenError)
    assert isinstance(first.error.__cause__, ConnectionError)
    assert len(first.attempts) == 2


def test_a_probe_that_is_cut_off_by_a_deadline_lets_a_later_run_try(fake, clock):
    fake.add(f"{URL}/dead", error=Fault.REFUSED)
    fake.add(f"{URL}/slow", body="x", latency=100)
    fake.add(f"{URL}/*", body="x")
    with Client(circuit=Circuit(failures=1, span=0, seconds=10), retry=None) as client:
        list(client.run([f"{URL}/dead"]))
        clock.advance(10)
        [slow] = client.run([f"{URL}/slow"], deadline=1)
        assert isinstance(slow.error, DeadlineError)
        assert [result.ok for result in client.run([f"{URL}/ok"] * 1, deadline=50)] == [True]


# Time


def _drip(gone):
    def handler(request):
        request.sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        try:
            while not gone.wait(0.01):
                request.sock.sendall(b"x")
        except OSError:
            gone.set()

    return handler


@both_lanes
def test_a_server_that_drips_is_cut_off_by_the_total(lane, server):
    gone = threading.Event()
    server.on("/drip", _drip(gone))
    request = grequests.get(server.url("/drip"), session=session_for(lane))
    [result] = run([request], timeout=Timeout(total=0.2), retry=None)

    assert isinstance(result.error, TotalTimeoutError)
    assert (result.error.seconds, result.error.scope) == (0.2, "attempt")
    eventually(gone.is_set, "the connection to be closed")


def test_the_total_is_for_each_attempt_and_the_request_for_all(fake, clock):
    fake.add(f"{URL}/*", body="x", latency=50)
    timeout = Timeout(total=10, request=25)
    [result] = run([f"{URL}/a"], timeout=timeout, retry=Retry(attempts=9, backoff=0))

    assert isinstance(result.error, TotalTimeoutError)
    assert (result.error.scope, result.error.seconds) == ("request", 25)
    assert [attempt.error.scope for attempt in result.attempts] == ["attempt"] * 2 + ["request"]
    assert [attempt.seconds for attempt in result.attempts] == [10, 10, 5]


@both_lanes
def test_a_request_that_takes_too_long_over_its_attempts_is_really_aborted(lane, server):
    gate = server.hold("/slow")
    request = grequests.get(server.url("/slow"), session=session_for(lane))
    timeout = Timeout(total=0.1, request=0.25)
    [result] = run([request], timeout=timeout, retry=Retry(attempts=9, backoff=0))

    assert result.error.scope == "request"
    eventually(lambda: gate.deserted == gate.arrived == len(result.attempts))


def test_a_request_ends_while_it_waits_for_its_next_attempt(fake, clock):
    fake.add(f"{URL}/*", status=503)
    timeout = Timeout(request=10)
    retry = Retry(attempts=9, backoff=8, factor=1)
    [result] = run([f"{URL}/a"], timeout=timeout, retry=retry, random=draw(1.0))

    assert [attempt.started for attempt in result.attempts] == [0, 8]
    assert result.response.status_code == 503
    assert result.attempts[-1].retried == "status 503: no time is left for another attempt"


def test_a_request_ends_while_its_host_is_paused(fake, clock):
    fake.add(f"{URL}/a", status=500, times=1)
    fake.add(f"{URL}/b", status=503, headers={"Retry-After": "60"}, latency=1)
    retry = Retry(backoff=5)
    with Client(timeout=Timeout(request=10), retry=retry, random=draw(1.0)) as client:
        results = {}
        for result in client.run([f"{URL}/a", f"{URL}/b"], deadline=200):
            results[result.index] = result
    assert isinstance(results[0].error, TotalTimeoutError) and results[0].error.scope == "request"
    assert results[0].timings.total == pytest.approx(10, abs=0.1)


def test_clocks_start_at_the_dispatch_and_not_while_queued(fake, clock):
    fake.add(f"{URL}/*", body="x", latency=1)
    urls = [f"{URL}/{n}" for n in range(20)]
    timeout = Timeout(connect=1.5, read=1.5, total=1.5, request=1.5)
    results = list(run(urls, concurrency=1, timeout=timeout, ordered=True))

    assert all(result.ok for result in results)
    assert clock.now() == pytest.approx(20)
    assert [round(result.timings.total, 3) for result in results] == [1] * 20
    assert results[1].timings.queued >= 0


def test_time_in_the_queue_of_a_host_is_told(fake, clock):
    clock.advance(1)
    fake.add(f"{URL}/*", body="x", latency=1)
    results = list(run([f"{URL}/{n}" for n in range(5)], per_host=1, ordered=True, concurrency=9))
    assert [round(result.timings.queued) for result in results] == [0, 1, 2, 3, 4]


def test_a_requests_own_timeout_goes_first(server):
    server.hold("/slow")
    [result] = run([grequests.get(server.url("/slow"), timeout=0.1)], timeout=60, retry=None)
    assert isinstance(result.error, requests.exceptions.ReadTimeout)


@both_lanes
def test_a_deadline_ends_everything_that_has_not_ended(lane, server):
    gate = server.hold("/slow")
    session = session_for(lane)
    paths = ["/quick", "/slow", "/slow", "/later", "/last"]
    requests_ = [grequests.get(server.url(path), session=session) for path in paths]
    results = list(run(requests_, deadline=0.6, concurrency=2, ordered=True))

    assert results[0].ok
    assert [type(result.error) for result in results[1:]] == [DeadlineError] * 4
    assert [result.error.sent for result in results[1:]] == [True, True, False, False]
    assert len(results) == 5
    eventually(lambda: gate.deserted == 2, "what was under way to be really aborted")
    assert server.count == 3


@pytest.mark.parametrize("ordered", [False, True])
@pytest.mark.parametrize("bounds", [{}, {"unread": 3, "lookahead": 3, "per_host": 1}], ids=str)
def test_a_deadline_gives_all_of_an_input_with_a_length_its_results(fake, ordered, bounds):
    fake.add(f"{URL}/*", body="x", latency=1)
    urls = [f"{URL}/{n}" for n in range(5_000)]
    with Client(concurrency=4, **bounds) as client:
        results = list(client.run(urls, deadline=3.5, ordered=ordered))
        now = client.statistics()

    assert sorted(result.index for result in results) == [*range(5_000)]
    assert Counter(type(result.error).__name__ for result in results)["DeadlineError"] >= 4_980
    assert (now.done, now.queued, now.in_flight) == (5_000, 0, 0)


def test_a_deadline_leaves_an_endless_input_unpulled(server):
    server.hold("/slow")
    urls = (server.url("/slow") for _ in itertools.count())
    results = list(run(urls, deadline=0.2, concurrency=3))

    assert [type(result.error) for result in results] == [DeadlineError] * len(results)
    assert 3 <= len(results) <= 1_004


def test_a_deadline_ends_an_input_that_keeps_everybody_waiting(server):
    def urls():
        yield server.url("/")
        gevent.sleep(60)

    [result] = run(urls(), deadline=0.5)
    assert result.ok


def test_what_a_deadline_ends_while_it_waits_for_a_retry(fake):
    fake.add(f"{URL}/*", status=503, headers={"Retry-After": "50"})
    [result] = run([f"{URL}/a"], deadline=5)

    assert isinstance(result.error, DeadlineError) and result.error.sent
    assert [attempt.status for attempt in result.attempts] == [503]


def test_a_deadline_that_is_not_reached_changes_nothing(server):
    assert [result.ok for result in run([server.url("/")], deadline=60)] == [True]


# Size


@both_lanes
def test_a_body_that_is_too_large_is_an_error(lane, server):
    server.on("/fits", lambda _: answer(b"x" * 1_000))
    server.on("/large", lambda _: answer(b"x" * 1_001))
    session = session_for(lane)
    fits, large = run(
        [grequests.get(server.url(path), session=session) for path in ("/fits", "/large")],
        max_body=1_000,
        ordered=True,
    )
    assert fits.ok
    assert isinstance(large.error, BodyTooLargeError) and large.error.limit == 1_000
    assert large.response is None and large.request.response is None
    assert len(large.attempts) == 1


@both_lanes
def test_a_bomb_is_stopped_while_it_is_decoded(lane, server):
    bomb = gzip.compress(bytes(300_000_000), 9)
    server.on("/bomb", lambda _: answer(bomb, "200 OK", "Content-Encoding: gzip"))
    request = grequests.get(server.url("/bomb"), session=session_for(lane))
    gc.collect()
    before = _peak()
    [result] = run([request], max_body=1_000_000)

    assert isinstance(result.error, BodyTooLargeError)
    assert _peak() - before < 60_000  # KiB


def _peak():
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


@both_lanes
def test_a_body_without_an_end_is_stopped(lane, server):
    gone = threading.Event()

    def endless(request):
        request.sock.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
        try:
            while True:
                request.sock.sendall(b"x" * 10_000)
        except OSError:
            gone.set()

    server.on("/endless", endless)
    request = grequests.get(server.url("/endless"), session=session_for(lane))
    [result] = run([request], max_body=100_000, retry=None)
    assert isinstance(result.error, BodyTooLargeError)
    eventually(gone.is_set)


@both_lanes
def test_headers_that_are_too_large_are_an_error(lane, server):
    server.on("/", lambda _: answer(b"x", "200 OK", "X-Large: " + "x" * 2_000))
    request = grequests.get(server.url("/"), session=session_for(lane))
    [result] = run([request], max_headers=1_000)
    assert isinstance(result.error, HeadersTooLargeError) and result.error.limit == 1_000
    assert [result.ok for result in run([request], max_headers=4_000)] == [True]


@both_lanes
def test_a_host_whose_answers_are_too_large_is_not_dead(lane, server):
    server.on("/", lambda _: answer(b"x" * 2_000))
    session = session_for(lane)
    with Client(max_body=1_000, circuit=Circuit(failures=1, span=0)) as client:
        list(client.run([grequests.get(server.url("/"), session=session) for _ in range(5)]))
        assert client.statistics().open_circuits == ()
        assert client.statistics().done == 5
    assert server.count == 5


# Duplicates


def test_identical_requests_are_sent_once_and_each_has_its_result(server):
    urls = [server.url(f"/{number % 10}") for number in range(200)]
    with Client() as client:
        results = list(client.run([(url, n) for n, url in enumerate(urls)], coalesce=True))
        statistics = client.statistics()

    assert server.count == 10
    assert sorted(result.index for result in results) == [*range(200)]
    for result in results:
        assert result.ok and result.tag == result.index
        assert result.response.text == f"/{result.index % 10}"
        assert result.request.response is result.response
        assert len(result.attempts) == 1
    assert statistics.done == statistics.succeeded == 200


def test_those_that_follow_a_failure_fail_with_it(server):
    gate = server.hold("/gone", then=hang_up)
    with run([server.url("/gone")] * 5, coalesce=True, retry=None) as results:
        reader = gevent.spawn(list, results)
        eventually(lambda: gate.arrived == 1)
        gate.open()
        found = reader.get(timeout=5)
    assert len(found) == 5 and len({id(result.error) for result in found}) == 1
    assert all(result.request.exception is result.error for result in found)
    assert server.count == 1


def test_what_follows_is_bounded_too(server):
    gate = server.hold("/slow")
    pulled = 0

    def urls():
        nonlocal pulled
        while True:
            pulled += 1
            yield server.url("/slow")

    with Client(concurrency=5, lookahead=30) as client:
        with client.run(urls(), coalesce=True) as results:
            reader = gevent.spawn(next, results)
            eventually(lambda: gate.arrived == 1)
            for _ in range(10):
                gevent.sleep(0.001)
            assert pulled <= 40
            statistics = client.statistics()
            assert statistics.queued + statistics.in_flight == pulled
            gate.open()
            assert reader.get(timeout=5).ok
            for result in itertools.islice(results, 500):
                assert result.ok


def test_streams_are_read_by_one_and_so_are_not_shared(server):
    results = list(run([server.url("/a")] * 3, coalesce=True, stream=True))
    assert [b"".join(r.response.iter_content(10)) for r in results] == [b"/a"] * 3
    assert server.count == 3


def test_identical_requests_at_time_zero(fake):
    fake.add(f"{URL}/a", body="x")
    urls = itertools.chain([f"{URL}/a"], _later(f"{URL}/a", 3))
    assert [result.ok for result in run(urls, coalesce=True)] == [True] * 4
    assert len(fake.requests) == 1


def _later(url, count):
    for _ in range(count):
        for _ in range(5):
            gevent.sleep(0)
        yield url


# Events


class Ear:
    """Hears everything."""

    def __init__(self):
        self.heard = []

    def on_started(self, event):
        self.heard.append(("started", event.index, event.attempt))

    def on_finished(self, event):
        self.heard.append(("finished", event.result.index, event.result.ok))

    def on_retried(self, event):
        self.heard.append(("retried", event.index, event.attempt.status))


def test_events_come_in_order_and_complete(fake):
    fake.add(f"{URL}/a", status=503, latency=1, times=1)
    fake.add(f"{URL}/a", body="x", latency=1)
    fake.add(f"{URL}/b", body="x", latency=3)
    ear = Ear()
    with Client(random=draw(0.0)) as client:
        off = client.on(ear)
        list(client.run([(f"{URL}/a", "A"), f"{URL}/b"]))
        assert ear.heard == [
            ("started", 0, 1),
            ("started", 1, 1),
            ("retried", 0, 503),
            ("started", 0, 2),
            ("finished", 0, True),
            ("finished", 1, True),
        ]
        off()
        list(client.run([f"{URL}/b"]))
    assert len(ear.heard) == 6


@pytest.mark.parametrize("how", ["read", "left", "closed"])
def test_each_start_has_its_finish_however_the_run_ends(how, server):
    ear = Ear()
    with Client(concurrency=5) as client:
        client.on(ear)
        results = client.run([server.url(f"/{n}") for n in range(50)])
        for number, _ in enumerate(results):
            if number == 9 and how == "left":
                break
            if number == 9 and how == "closed":
                client.close()
        del results
    begun = {index for what, index, _ in ear.heard if what == "started"}
    ended = [index for what, index, _ in ear.heard if what == "finished"]
    assert begun <= set(ended) and len(ended) == len(set(ended))
    if how == "read":
        assert len(ended) == 50


def test_a_listener_that_raises_is_logged_and_ends_nothing(server, caplog):
    heard = []
    with Client() as client:
        client.on("finished", lambda event: 1 / 0)
        client.on("finished", heard.append)
        with caplog.at_level(logging.ERROR, "grequests"):
            results = list(client.run([server.url(f"/{n}") for n in range(3)]))
    assert all(result.ok for result in results)
    assert len(heard) == 3
    assert len([each for each in caplog.records if "listener" in each.message]) == 3


def test_a_listener_that_waits_hears_all_in_order_all_the_same(server):
    heard = []

    def slow(event):
        gevent.sleep(0.001)
        heard.append(event.result.index)
        gevent.sleep(0.001)

    with Client(concurrency=1) as client:
        client.on("finished", slow)
        list(client.run([server.url(f"/{n}") for n in range(10)]))
    assert heard == [*range(10)]


def test_a_listener_that_comes_in_the_middle_hears_the_rest(server):
    heard = []
    with Client(concurrency=1, unread=1) as client:
        for result in client.run([server.url(f"/{n}") for n in range(20)]):
            if result.index == 5:
                client.on("finished", lambda event: heard.append(event.result.index))
    assert heard and heard == [*range(heard[0], 20)] and heard[0] <= 9


def test_events_that_do_not_exist_are_refused():
    with pytest.raises(PolicyError):
        Client().on("exploded", print)
    with pytest.raises(PolicyError):
        Client().on("finished")


# Statistics


def test_statistics_add_up_all_the_time(fake, caplog):
    dice = random.Random(7)
    fake.add(f"{URL}/*", answer=lambda _: _answer(dice))
    fake.add("http://two.test/*", answer=lambda _: _answer(dice))
    pulled = 0

    def urls():
        nonlocal pulled
        for number in range(400):
            pulled += 1
            yield f"{dice.choice([URL, 'http://two.test'])}/{number}"
            check()

    def check():
        now = client.statistics()
        assert now.queued + now.in_flight + now.done == pulled
        assert now.done == now.succeeded + now.failures == now.succeeded + sum(now.failed.values())
        assert now.succeeded == sum(now.statuses.values())
        assert sum(row.done for row in now.hosts.values()) == now.done
        assert sum(row.in_flight for row in now.hosts.values()) == now.in_flight

    with Client(concurrency=20, per_host=12, rate=300, retry=Retry(budget=1, backoff=1)) as client:
        client.on("finished", lambda _: check())
        caplog.set_level(logging.ERROR, "grequests")
        count = 0
        for _ in client.run(urls()):
            count += 1
            check()
        now = client.statistics()
    assert not caplog.records  # what a listener raises is logged
    assert count == pulled == now.done == 400
    assert now.queued == now.in_flight == 0
    assert now.retries == len(fake.requests) - 400


def test_statistics_of_a_client_that_was_never_used():
    now = Client().statistics()
    assert (now.done, now.in_flight, now.queued, now.rate) == (0, 0, 0, 0.0)


def test_statistics_say_what_was_received_and_on_which_connections(server):
    server.on(
        "/", lambda _: answer(gzip.compress(b"x" * 1_000), "200 OK", "Content-Encoding: gzip")
    )
    with Client(concurrency=1) as client:
        list(client.run([server.url("/")] * 3))
        now = client.statistics()
    assert now.received == 3_000
    assert (now.opened, now.reused) == (1, 2)
    assert now.latency.count == 3
    assert now.hosts[server.url("")].done == 3


def test_what_is_expected_is_known_if_the_input_has_a_length(server):
    with Client() as client:
        for _ in client.run([server.url("/1"), server.url("/2")]):
            assert client.statistics().expected == 2
        for _ in client.run(iter([server.url("/1")])):
            assert client.statistics().expected is None


def test_the_table_of_hosts_is_bounded(fake):
    fake.add(lambda request: True, body="x")
    with Client() as client:
        list(client.run(f"http://h{n}.test/" for n in range(500)))
        assert len(client.statistics().hosts) == 100


# Where it runs


def test_a_run_in_another_thread(server):
    found = []

    def work():
        found.extend(result.ok for result in run([server.url(f"/{n}") for n in range(20)]))
        grequests.close()
        gevent.get_hub().destroy()

    thread = threading.Thread(target=work)
    thread.start()
    gevent.get_hub().threadpool.apply(thread.join)
    assert found == [True] * 20


def test_a_client_may_be_used_in_one_thread_after_another_but_not_at_once(server):
    client = Client()
    list(client.run([server.url("/")]))
    gate = server.hold("/slow")
    outcomes = []

    def work():
        try:
            outcomes.append([result.ok for result in client.run([server.url("/")])])
        except ClientClosedError as error:
            outcomes.append(str(error))
        grequests.close()
        gevent.get_hub().destroy()

    def in_thread():
        thread = threading.Thread(target=work)
        thread.start()
        gevent.get_hub().threadpool.apply(thread.join)

    with client.run([server.url("/slow"), server.url("/")]) as results:
        next(results)
        in_thread()
    gate.open()
    in_thread()
    assert outcomes == ["the client is busy in another thread", [True]]


def test_a_client_works_in_a_child_after_a_fork(server):
    client = Client(concurrency=3)
    assert [result.ok for result in client.run([server.url("/")])] == [True]
    results = client.run([server.url(f"/{n}") for n in range(10)])
    next(results)
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        code = 1
        try:
            gevent.reinit()
            found = [result.ok for result in client.run([server.url(f"/{n}") for n in range(10)])]
            os.write(writing, b"fine" if found == [True] * 10 else repr(found).encode())
            code = 0
        finally:
            os._exit(code)
    os.close(writing)
    gevent.get_hub().threadpool.apply(os.waitpid, (child, 0))
    told = os.read(reading, 100)
    os.close(reading)
    assert told == b"fine"
    assert sum(result.ok for result in results) == 9
    client.close()


def test_a_closed_client_sends_nothing_more(server):
    client = Client()
    client.close()
    client.close()
    with pytest.raises(ClientClosedError):
        client.run([server.url("/")])
    with pytest.raises(ClientClosedError):
        client.submit(server.url("/"))
    assert repr(client) == "<Client closed>"


def test_statistics_can_be_read_after_the_client_is_closed(server):
    with Client() as client:
        list(client.run([server.url("/")]))
    assert client.statistics().done == 1


def test_one_client_has_many_runs_one_after_the_other(server):
    with Client() as client:
        for number in range(20):
            assert [result.ok for result in client.run([server.url(f"/{number}")])] == [True]
        assert len(client._core.admission.queues) == 0
        assert client.statistics().done == 20
        assert client.statistics().opened == 1


def test_sessions_count(server):
    server.on("/echo", echo)
    session = requests.Session()
    session.headers["X-Mine"] = "yes"
    with Client(session=session) as client:
        [result] = client.run([server.url("/echo")])
    assert '"x-mine": "yes"' in result.response.text


def test_memory_is_flat_over_many_results(fake):
    fake.add(f"{URL}/*", body="x" * 100)
    names = {"Task", "AttemptCall", "AsyncRequest", "Response", "Result"}
    gc.collect()
    # (Other tests have left some: a fake's, or a failure's traceback.)
    before = sum(type(each).__name__ in names for each in gc.get_objects())
    alive = []
    for number, _ in enumerate(run((f"{URL}/{n}" for n in range(3_000)), concurrency=10)):
        if number in (500, 2_900):
            gc.collect()
            alive.append(sum(type(each).__name__ in names for each in gc.get_objects()))
    assert max(alive) - before <= 5 * (10 + 10 + 5)


def test_a_gate_of_all_slots_opens(server):
    server.hold("/", count=30)
    assert sum(r.ok for r in run([server.url("/")] * 30, per_host=None)) == 30
    assert server.peak == 30
