"""An input that grows while it is read: alone, in a run, from other threads."""

from __future__ import annotations

import threading

import gevent
import pytest
from servers import eventually

import grequests
from grequests import Client, ClientClosedError, Feed, PolicyError
from grequests.testing import FakeTransport

pytestmark = pytest.mark.usefixtures("no_leaks")

URL = "http://feed.test"


@pytest.fixture
def fake():
    with FakeTransport() as one:
        one.add(f"{URL}/*", body="ok")
        yield one


def paths(results):
    return [result.request.url.removeprefix(URL) for result in results]


# Alone


def test_it_gives_what_was_put_in_order_and_ends_when_it_is_closed():
    feed = Feed(["a"])
    feed.put("b")
    feed.close()
    feed.close()

    assert list(feed) == ["a", "b"]
    assert feed.closed


def test_nothing_can_be_put_into_what_is_closed():
    with Feed() as feed:
        feed.put("a")
    with pytest.raises(ClientClosedError):
        feed.put("b")
    assert feed.waiting == 1


def test_who_reads_waits_for_what_is_put():
    feed, read = Feed(), []
    reader = gevent.spawn(lambda: read.extend(feed))
    gevent.sleep(0)
    for item in "abc":
        feed.put(item)
        eventually(lambda item=item: read[-1:] == [item])
    feed.close()
    reader.get(timeout=5)

    assert read == ["a", "b", "c"]


def test_who_puts_waits_while_it_is_full():
    feed, order = Feed(maxsize=2), []

    def put():
        for item in range(5):
            feed.put(item)
            order.append(f"put {item}")

    writer = gevent.spawn(put)
    gevent.sleep(0)
    assert order == ["put 0", "put 1"] and feed.waiting == 2
    for expected in range(5):
        assert next(feed) == expected
        assert feed.waiting <= 2
        gevent.sleep(0)
    writer.get(timeout=5)
    assert order == [f"put {item}" for item in range(5)]


def test_who_waits_to_put_is_told_when_it_is_closed():
    feed = Feed(["a"], maxsize=1)
    writers = [gevent.spawn(feed.put, "b") for _ in range(3)]
    gevent.sleep(0)
    feed.close()
    for each in writers:
        with pytest.raises(ClientClosedError):
            each.get(timeout=5)


def test_who_gives_up_waiting_to_put_does_not_take_the_place_of_others():
    feed = Feed(["a"], maxsize=1)
    given_up, waits = gevent.spawn(feed.put, "b"), gevent.spawn(feed.put, "c")
    gevent.sleep(0)
    given_up.kill()

    assert next(feed) == "a"
    waits.get(timeout=5)
    feed.close()
    assert list(feed) == ["c"]


def test_who_gives_up_just_when_it_is_its_turn_lets_the_next_one_go():
    feed = Feed(["a"], maxsize=1)
    given_up, waits = gevent.spawn(feed.put, "b"), gevent.spawn(feed.put, "c")
    gevent.sleep(0)
    given_up.kill(block=False)  # in the next turn of the loop, as the waking below
    assert next(feed) == "a"

    waits.get(timeout=5)
    feed.close()
    assert [*feed] == ["c"]


@pytest.mark.parametrize("maxsize", [0, -1, 1.5, "many"])
def test_a_size_that_is_none_is_refused(maxsize):
    with pytest.raises(PolicyError):
        Feed(maxsize=maxsize)


def test_it_prints_its_state():
    feed = Feed(["a", "b"])
    assert repr(feed) == "<Feed open waiting=2>"
    feed.close()
    assert repr(feed) == "<Feed closed waiting=2>"


# In other threads


def in_threads(*functions):
    threads = [threading.Thread(target=function) for function in functions]
    for each in threads:
        each.start()
    return threads


def test_other_threads_may_put_and_close():
    feed = Feed()

    def put():
        for item in range(500):
            feed.put(item)

    threads = in_threads(*[put] * 4)
    closing = in_threads(lambda: ([each.join() for each in threads], feed.close()))

    assert sorted(feed) == sorted([*range(500)] * 4)
    closing[0].join()


def test_other_threads_wait_while_it_is_full():
    feed = Feed(maxsize=3)
    most = []

    def put():
        for item in range(200):
            feed.put(item)
        gevent.get_hub().destroy()

    threads = in_threads(put, put)
    for _ in range(400):
        next(feed)
        most.append(feed.waiting)
    for each in threads:
        each.join()
    assert max(most) <= 3 and feed.waiting == 0


# In a run


def test_a_run_ends_when_the_feed_is_closed_and_drained(fake):
    feed = Feed([f"{URL}/1"])
    with Client() as client:
        found = []
        for result in client.run(feed):
            found.append(result)
            if len(found) < 5:
                feed.put(f"{URL}/{len(found) + 1}")
            else:
                feed.close()

    assert paths(found) == ["/1", "/2", "/3", "/4", "/5"]


def test_a_crawl_is_over_when_it_has_found_nothing_new(fake):
    with Client() as client:
        feed = client.feed([f"{URL}/"], until_idle=True)
        seen = []
        for result in client.run(feed):
            seen.append(result.request.url)
            if len(result.request.url) < len(URL) + 4:
                feed.put(result.request.url + "a")
                feed.put(result.request.url + "b")

    assert len(seen) == 1 + 2 + 4 + 8
    assert feed.closed
    with pytest.raises(ClientClosedError):
        feed.put("late")


def test_a_crawl_with_retries_is_not_over_while_one_waits_for_its_next_attempt(fake):
    fake = FakeTransport()
    with fake:
        fake.add(f"{URL}/", status=503, times=2)
        fake.add(f"{URL}/", body="at last")
        feed = Feed([f"{URL}/"], until_idle=True)
        retry = grequests.Retry(backoff=0.001)
        [result] = grequests.run(feed, retry=retry)
    assert result.ok and len(result.attempts) == 3


def test_an_empty_feed_that_ends_when_idle_gives_nothing(fake):
    assert list(grequests.run(Feed(until_idle=True))) == []


def test_a_feed_is_closed_when_its_run_is_left(fake):
    feed = Feed([f"{URL}/{n}" for n in range(10)])
    for _ in grequests.run(feed):
        break
    with pytest.raises(ClientClosedError):
        feed.put("late")


def test_threads_feed_a_run(fake):
    feed = Feed()

    def put():
        for number in range(200):
            feed.put(f"{URL}/{number}")

    threads = in_threads(put, put, put)
    closing = in_threads(lambda: ([each.join() for each in threads], feed.close()))
    results = list(grequests.run(feed, concurrency=7))
    closing[0].join()

    assert len(results) == 600 and all(result.ok for result in results)
    assert sorted(result.index for result in results) == [*range(600)]


def test_a_run_waits_for_another_thread_though_nothing_else_is_under_way(fake):
    feed = Feed()

    def put():
        pause = threading.Event()
        while feed._reader is None:
            pause.wait(0.001)
        pause.wait(0.02)  # long enough for gevent to say that nothing can wake the run up
        feed.put(f"{URL}/a")
        feed.close()

    [thread] = in_threads(put)
    assert [result.ok for result in grequests.run(feed)] == [True]
    thread.join()


def test_a_feed_bounds_who_puts_by_how_fast_results_are_read(fake):
    feed = Feed(maxsize=5)

    def put():
        with feed:
            for number in range(300):
                feed.put(f"{URL}/{number}")

    writer = gevent.spawn(put)
    count = 0
    for _ in grequests.run(feed, concurrency=2):
        count += 1
        assert feed.waiting <= 5
    writer.get(timeout=5)
    assert count == 300
