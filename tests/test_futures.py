"""`Client.submit`: a future for each request."""

from __future__ import annotations

import contextvars
import logging
import threading

import gevent
import pytest
import requests
from servers import answer, eventually, hang_up

import grequests
from grequests import (
    BodyTooLargeError,
    Client,
    NotARequestError,
    RequestCancelledError,
    RequestInFlightError,
    Retry,
    Timeout,
    TotalTimeoutError,
)
from grequests.testing import FakeClock, FakeTransport, Fault

pytestmark = pytest.mark.usefixtures("no_leaks")

URL = "http://one.test"


@pytest.fixture
def client():
    with Client(retry=Retry(backoff=0.001)) as one:
        yield one


def test_a_future_has_a_result(client, server):
    future = client.submit(server.url("/a"))

    assert not future.done() and not future.cancelled()
    result = future.result(timeout=5)
    assert result.ok and result.response.text == "/a"
    assert future.done() and not future.cancelled()
    assert future.result() is result
    assert result.unwrap() is future.request.response


def test_requests_and_pairs_may_be_submitted(client, server):
    futures = [
        client.submit(grequests.post(server.url("/a"), tag="A")),
        client.submit((server.url("/b"), "B")),
    ]
    assert [each.result().tag for each in futures] == ["A", "B"]
    assert [each.result().index for each in futures] == [0, 1]


@pytest.mark.parametrize("wrong", [None, 5, b"http://a.test/", ["http://a.test/"]])
def test_what_is_no_request_is_refused_at_once(client, wrong):
    with pytest.raises(NotARequestError):
        client.submit(wrong)


def test_a_request_that_is_under_way_or_waits_is_refused_at_once(server):
    server.hold("/")
    with Client(concurrency=1) as client:
        running, waiting = grequests.get(server.url("/")), grequests.get(server.url("/"))
        for each in (running, waiting):
            client.submit(each)
            with pytest.raises(RequestInFlightError):
                client.submit(each)


def test_a_failure_is_a_result_and_raised_by_unwrap(client, server):
    server.on("/gone", hang_up)
    result = client.submit(server.url("/gone")).result(timeout=5)

    assert isinstance(result.error, requests.ConnectionError)
    assert len(result.attempts) == 3
    with pytest.raises(requests.ConnectionError):
        result.unwrap()


def test_waiting_may_take_too_long_and_the_request_goes_on(client, server):
    gate = server.hold("/slow")
    future = client.submit(server.url("/slow"))

    with pytest.raises(TimeoutError, match=r"0\.05 s"):
        future.result(timeout=0.05)
    with pytest.raises(TimeoutError):
        future.result(timeout=0)
    assert not future.done()
    gate.open()
    assert future.result(timeout=5).ok


def test_several_may_wait_for_the_same(client, server):
    gate = server.hold("/slow")
    future = client.submit(server.url("/slow"))
    waiting = [gevent.spawn(future.result, 5) for _ in range(3)]
    eventually(lambda: gate.arrived)
    gate.open()

    assert {id(each.get()) for each in waiting} == {id(future.result())}


def test_many_are_under_way_at_once_within_the_limits(server):
    gate = server.hold("/", count=5)
    with Client(concurrency=5) as client:
        futures = [client.submit(server.url("/")) for _ in range(20)]
        assert all(each.result(timeout=5).ok for each in futures)
    assert gate.arrived == 20 and server.peak == 5


def test_callbacks_are_called_once_each_in_order_with_the_future(client, server):
    future, calls = client.submit(server.url("/")), []
    future.add_done_callback(lambda each: calls.append((1, each.result().ok)))
    future.add_done_callback(lambda each: calls.append((2, each is future)))
    future.result(timeout=5)
    eventually(lambda: len(calls) == 2)

    assert calls == [(1, True), (2, True)]
    future.add_done_callback(lambda each: calls.append((3, each.done())))
    assert calls[2:] == [(3, True)]


def test_a_callback_may_wait_and_submit(client, server):
    texts = []

    def following(future):
        text = future.result().response.text
        texts.append(text)
        if len(text) < 4:
            client.submit(server.url(text + "a")).add_done_callback(following)
        gevent.sleep(0)

    client.submit(server.url("/")).add_done_callback(following)
    eventually(lambda: len(texts) == 4)
    assert texts == ["/", "/a", "/aa", "/aaa"]


def test_a_callback_that_raises_is_logged_and_the_others_are_called(client, server, caplog):
    future, calls = client.submit(server.url("/")), []
    future.add_done_callback(lambda _: 1 / 0)
    future.add_done_callback(calls.append)
    with caplog.at_level(logging.ERROR, "grequests"):
        future.result(timeout=5)
        eventually(lambda: calls)
        future.add_done_callback(lambda _: 1 / 0)
    assert [each.exc_info[0] for each in caplog.records] == [ZeroDivisionError] * 2


def test_statistics_and_events_count_them(client, server):
    finished = []
    client.on("finished", lambda event: finished.append(event.result.index))
    for each in [client.submit(server.url("/")) for _ in range(3)]:
        each.result(timeout=5)
    eventually(lambda: len(finished) == 3)
    now = client.statistics()

    assert (now.done, now.succeeded, now.queued, now.in_flight) == (3, 3, 0, 0)


def test_statistics_add_up_while_they_wait(server):
    gate = server.hold("/")
    with Client(concurrency=2) as client:
        futures = [client.submit(server.url("/")) for _ in range(5)]
        now = client.statistics()
        assert (now.queued, now.in_flight, now.done) == (3, 2, 0)
        gate.open()
        assert all(each.result(timeout=5).ok for each in futures)
        assert client.statistics().queued == 0


def test_time_in_the_queue_is_told():
    clock = FakeClock(autojump=True, now=50)
    with FakeTransport(clock) as fake:
        fake.add(f"{URL}/*", body="x", latency=2)
        with Client(concurrency=1) as client:
            futures = [client.submit(f"{URL}/{n}") for n in range(3)]
            timings = [each.result().timings for each in futures]
    assert [each.queued for each in timings] == [0, 2, 4]
    assert [each.total for each in timings] == [2, 2, 2]


def test_limits_hold_for_them(server):
    server.hold("/slow")
    server.on("/large", lambda _: answer(b"x" * 2_000))
    with Client(timeout=Timeout(total=0.1), max_body=1_000, retry=None) as client:
        slow, large = client.submit(server.url("/slow")), client.submit(server.url("/large"))
        assert isinstance(slow.result(timeout=5).error, TotalTimeoutError)
        assert isinstance(large.result(timeout=5).error, BodyTooLargeError)


def test_they_run_in_the_context_of_who_submits(client, server):
    variable = contextvars.ContextVar("variable", default="nobody")
    seen = []

    def submit(name):
        variable.set(name)
        hooks = {"response": lambda response, **_: seen.append(variable.get())}
        return client.submit(grequests.get(server.url("/"), hooks=hooks))

    futures = [contextvars.copy_context().run(submit, name) for name in ("ada", "bob")]
    for each in futures:
        each.result(timeout=5)
    assert sorted(seen) == ["ada", "bob"]


def test_closing_the_client_ends_them_all(server):
    gate = server.hold("/")
    client = Client(concurrency=1)
    futures = [client.submit(server.url("/")) for _ in range(3)]
    eventually(lambda: gate.arrived)
    client.close()

    assert all(each.cancelled() for each in futures)
    assert [each.result().error.sent for each in futures] == [True, False, False]
    eventually(lambda: gate.deserted == 1)


def test_they_and_a_run_share_a_client(server):
    with Client(concurrency=3) as client:
        found = []
        for result in client.run([server.url(f"/{n}") for n in range(10)]):
            found.append(client.submit(server.url(f"/more{result.index}")))
        assert all(each.result(timeout=5).ok for each in found)
        assert client.statistics().done == 20
    assert server.peak <= 3


def test_they_work_in_a_thread(server):
    found = []

    def work():
        with Client() as client:
            found.append(client.submit(server.url("/")).result(timeout=5).ok)
        grequests.close()
        gevent.get_hub().destroy()

    thread = threading.Thread(target=work)
    thread.start()
    gevent.get_hub().threadpool.apply(thread.join)
    assert found == [True]


def test_a_future_prints_its_state(client, server):
    future = client.submit(server.url("/a"))
    assert repr(future) == f"<Future GET {server.url('/a')} running>"
    future.result(timeout=5)
    assert (
        repr(future)
        == f"<Future GET {server.url('/a')} <Result 0 {server.url('/a')} <Response [200]>>>"
    )


# Cancelling, in every phase


def test_cancel_while_it_is_queued(server):
    gate = server.hold("/")
    with Client(concurrency=1) as client:
        running, queued = client.submit(server.url("/")), client.submit(server.url("/"))
        assert queued.cancel()
        assert queued.cancelled() and queued.done()
        assert isinstance(queued.result().error, RequestCancelledError)
        assert not queued.result().error.sent and queued.result().attempts == ()
        gate.open()
        assert running.result(timeout=5).ok
    assert server.count == 1


def test_cancel_just_after_it_was_granted(server, monkeypatch):
    gate = server.hold("/held")
    with Client(concurrency=1) as client:
        running, queued = client.submit(server.url("/held")), client.submit(server.url("/"))
        eventually(lambda: gate.arrived)
        flow = queued._task.flow
        granted = flow.on_granted

        def cancelled_at_once(task):  # in the hub; it would start a turn later
            granted(task)
            assert queued.cancel()

        monkeypatch.setattr(flow, "on_granted", cancelled_at_once)
        gate.open()
        assert running.result(timeout=5).ok
        assert queued.cancelled() and not queued.result().error.sent
        monkeypatch.undo()
        assert client.submit(server.url("/again")).result(timeout=5).ok
        assert client.statistics().in_flight == 0
    assert "/" not in server.targets()


def test_cancel_while_it_waits_for_the_head(client, server):
    gate = server.hold("/")
    future = client.submit(server.url("/"))
    eventually(lambda: gate.arrived)

    assert future.cancel() and future.cancelled()
    assert future.result().error.sent
    assert not future.cancel()
    eventually(lambda: gate.deserted == 1)
    assert client.statistics().in_flight == 0


class Odd(requests.Session):
    """Its requests take the general lane."""


def test_cancel_in_the_general_lane(client, server):
    gate = server.hold("/")
    future = client.submit(grequests.get(server.url("/"), session=Odd()))
    eventually(lambda: gate.arrived)

    assert future.cancel()
    eventually(lambda: gate.deserted == 1)
    assert client.statistics().in_flight == 0


def test_cancel_in_the_body(client, server):
    gone, there = threading.Event(), threading.Event()

    def drip(request):
        request.sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        try:
            while not gone.wait(0.01):
                request.sock.sendall(b"x")
                there.set()
        except OSError:
            gone.set()

    server.on("/", drip)
    future = client.submit(server.url("/"))
    eventually(there.is_set)
    assert future.cancel()
    eventually(gone.is_set)


def scripted(**answers):
    clock = FakeClock()
    fake = FakeTransport(clock)
    fake.add(f"{URL}/*", **answers)
    return clock, fake


def test_cancel_while_it_connects():
    clock, fake = scripted(error=Fault.CONNECT_TIMEOUT)
    with fake, Client() as client:
        future = client.submit(f"{URL}/")
        clock.advance(1)
        assert not future.done() and future.cancel()
        assert future.result().error.sent
        clock.advance(100)
        assert client.statistics().in_flight == 0
    clock.close()


def test_cancel_while_it_waits_for_its_next_attempt():
    clock, fake = scripted(status=503, headers={"Retry-After": "5"})
    with fake, Client() as client:
        future = client.submit(f"{URL}/")
        clock.advance(1)
        now = client.statistics()
        assert (now.queued, now.in_flight) == (1, 0)
        assert not future.done() and future.cancel() and future.cancelled()
        [attempt] = future.result().attempts
        assert attempt.status == 503 and attempt.retried == "status 503"
        clock.advance(100)
        assert len(fake.requests) == 1
        now = client.statistics()
        assert (now.queued, now.in_flight, now.done) == (0, 0, 1)
    clock.close()


def test_cancel_while_its_host_is_paused_for_another():
    clock, fake = scripted(status=503, headers={"Retry-After": "5"}, times=1)
    with fake, Client() as client:
        fake.add(f"{URL}/*", body="x")
        first = client.submit(f"{URL}/1")
        clock.advance(0)
        second = client.submit(f"{URL}/2")
        clock.advance(1)
        assert second.cancel() and second.cancelled()
        clock.advance(10)
        assert first.done() and first.result().ok
        assert len(fake.requests) == 2
        assert client.statistics().queued == 0
    clock.close()


def test_cancel_after_the_end_is_too_late(client, server):
    future = client.submit(server.url("/"))
    future.result(timeout=5)
    assert not future.cancel() and not future.cancelled()
    assert future.result().ok


def test_a_request_that_was_cancelled_may_be_sent_again(client, server):
    gate = server.hold("/")
    request = grequests.get(server.url("/"))
    future = client.submit(request)
    eventually(lambda: gate.arrived)
    future.cancel()
    gate.open()
    assert client.submit(request).result(timeout=5).ok


def test_cancelling_makes_room_for_the_next(server):
    gate = server.hold("/held")
    with Client(concurrency=1) as client:
        held, waiting = client.submit(server.url("/held")), client.submit(server.url("/"))
        eventually(lambda: gate.arrived)
        held.cancel()
        assert waiting.result(timeout=5).ok
