"""`imap` and `imap_enumerated`: lazy, bounded, and gone without a trace when the loop is left."""

from __future__ import annotations

import contextlib
import gc
import itertools
import signal
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from typing import Any

import gevent
import pytest
import requests
from conftest import is_quiet, live_greenlets, live_watchers
from gevent.event import Event
from requests.adapters import HTTPAdapter
from servers import Server, answer, eventually, hang_up
from urllib3.util.retry import Retry

import grequests
from grequests import AsyncRequest
from grequests._engine import current_engine

pytestmark = pytest.mark.usefixtures("no_leaks")

Make = Callable[[str], AsyncRequest]


def plain(url: str) -> AsyncRequest:
    return grequests.get(url)


def with_callback(url: str) -> AsyncRequest:
    return grequests.get(url, callback=lambda response, **_: None)


def general(url: str) -> AsyncRequest:
    return grequests.get(url, stream=True)


every_kind = pytest.mark.parametrize("make", [plain, with_callback, general])
both = pytest.mark.parametrize("function", [grequests.imap, grequests.imap_enumerated])


def settle(count: Callable[[], int]) -> int:
    """Let the hub and the servers go on until nothing changes any more."""
    still = 0
    while still < 5:
        before = count()
        gevent.sleep(0.002)
        still = still + 1 if count() == before else 0
    return before


# --- lazy ----------------------------------------------------------------------------------------


@both
def test_nothing_is_pulled_before_the_first_result_is_asked_for(function, server):
    pulled = []
    results = function(pulled.append(n) or grequests.get(server.url()) for n in range(9))
    gevent.sleep(0)
    assert pulled == []
    next(results)
    assert pulled != []
    results.close()


@every_kind
@pytest.mark.parametrize("size", [1, 2, 10])
def test_it_never_runs_ahead_by_more_than_size_under_way_and_size_unread(make, size, server):
    taken = 0
    ahead = []

    def endless() -> Iterator[AsyncRequest]:
        for number in itertools.count():
            ahead.append(number + 1 - taken)
            yield make(server.url(f"/{number}"))

    for response in grequests.imap(endless(), size=size):
        assert response.content  # of a stream, else its connection would stay open
        taken += 1
        settle(lambda: len(ahead))
        assert max(ahead) <= 2 * size
        if taken == 8:
            break
    # As far as it may go it goes: a slow reader finds the next ones there.
    assert ahead[-1] >= size


def test_a_slow_reader_is_waited_for(server):
    pulled = []

    def endless() -> Iterator[AsyncRequest]:
        for number in itertools.count():
            pulled.append(number)
            yield grequests.get(server.url())

    results = grequests.imap(endless(), size=3)
    counts = []
    for _ in range(6):
        next(results)
        counts.append(settle(lambda: server.count))
    # Three may be unread; when one has been read, those that are free go on.
    assert all(counts[i] <= i + 1 + 6 for i in range(6)), counts
    assert len(pulled) == counts[-1]
    results.close()


def test_failures_are_pulled_lazily_too(server):
    """Those are left out, so that the reader never sees them; they are bounded all the same."""
    server.on("/bad", hang_up)
    active = 0

    def some() -> Iterator[AsyncRequest]:
        nonlocal active
        for _ in range(50):
            yield grequests.get(server.url("/bad"))
            active = max(active, server.active)

    assert list(grequests.imap(some(), size=4)) == []
    assert active <= 4
    assert server.count == 50


def test_memory_stays_flat_over_twenty_thousand_requests():
    with Server(keep=False) as server:

        def endless() -> Iterator[AsyncRequest]:
            url = server.url("/x")
            while True:
                yield grequests.get(url)

        sizes = []
        for number, response in enumerate(grequests.imap(endless(), size=10)):
            assert response.status_code == 200
            if number == 1_000:
                tracemalloc.start()
            if number in (5_000, 20_000):
                gc.collect()
                sizes.append(tracemalloc.get_traced_memory()[0])
            if number == 20_000:
                break
        tracemalloc.stop()
    # A reference kept per request would be 120 KB.
    assert sizes[1] - sizes[0] < 30_000, sizes


def test_memory_stays_flat_when_the_reader_is_slow():
    with Server(keep=False) as server:
        body = b"x" * 10_000
        server.on("/x", lambda _: answer(body))

        def endless() -> Iterator[AsyncRequest]:
            while True:
                yield grequests.get(server.url("/x"))

        tracemalloc.start()
        sizes = []
        for number, _ in enumerate(grequests.imap(endless(), size=5)):
            for _ in range(20):
                gevent.sleep(0)
            if number in (100, 500):
                gc.collect()
                sizes.append(tracemalloc.get_traced_memory()[0])
            if number == 500:
                break
        tracemalloc.stop()
    # Ten bodies may wait; four hundred would be 4 MB.
    assert sizes[1] - sizes[0] < 150_000, sizes


# --- generators that wait ------------------------------------------------------------------------


def test_a_generator_may_wait_for_time(server):
    def some() -> Iterator[AsyncRequest]:
        for number in range(5):
            gevent.sleep(0.002)
            yield grequests.get(server.url(f"/{number}"))

    assert [each.text for each in grequests.imap(some(), size=1)] == [f"/{n}" for n in range(5)]


@both
def test_results_are_yielded_while_the_generator_waits(function, server):
    read = Event()

    def some() -> Iterator[AsyncRequest]:
        yield grequests.get(server.url("/first"))
        assert read.wait(10)
        yield grequests.get(server.url("/second"))

    texts = []
    for result in function(some(), size=5):
        texts.append((result[1] if isinstance(result, tuple) else result).text)
        read.set()
    assert texts == ["/first", "/second"]


def test_a_generator_may_map(server):
    server.on("/pages/*", lambda request: answer(b" ".join([request.path.encode()] * 2)))

    def crawl() -> Iterator[AsyncRequest]:
        for page in range(3):
            [response] = grequests.map([grequests.get(server.url(f"/pages/{page}"))])
            nested = grequests.map(
                grequests.get(server.url(each)) for each in response.text.split()
            )
            assert [each.text for each in nested] == [f"/pages/{page} /pages/{page}"] * 2
            yield grequests.get(server.url(f"/{page}"))

    assert sorted(each.text for each in grequests.imap(crawl(), size=2)) == ["/0", "/1", "/2"]
    assert server.count == 12


def test_a_generator_may_imap_what_it_is_given(server):
    def again(number: int) -> Iterator[AsyncRequest]:
        source = (grequests.get(server.url(f"/{n}")) for n in range(number))
        for response in grequests.imap(source, size=2):
            yield grequests.get(server.url(response.text + "/again"))

    texts = [each.text for each in grequests.imap(again(20), size=3)]
    assert sorted(texts) == sorted(f"/{n}/again" for n in range(20))


def test_the_reader_may_send_more_while_it_reads(server):
    texts = []
    for response in grequests.imap((grequests.get(server.url(f"/{n}")) for n in range(5)), size=2):
        [more] = grequests.map([grequests.get(server.url(response.text + "/more"))])
        texts.append(more.text)
    assert sorted(texts) == [f"/{n}/more" for n in range(5)]


def test_two_loops_at_once_do_not_mix(server):
    def texts(name: str) -> list[str]:
        source = (grequests.get(server.url(f"/{name}/{n}")) for n in range(50))
        return sorted(each.text for each in grequests.imap(source, size=4))

    jobs = [gevent.spawn(texts, name) for name in "abc"]
    assert [job.get() for job in jobs] == [
        sorted(f"/{name}/{n}" for n in range(50)) for name in "abc"
    ]


def test_a_loop_in_another_thread(server):
    texts: list[str] = []

    def run() -> None:
        source = (grequests.get(server.url(f"/{n}")) for n in range(20))
        texts.extend(each.text for each in grequests.imap(source, size=4))
        grequests.close()
        gevent.get_hub().destroy()

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert sorted(texts) == sorted(f"/{n}" for n in range(20))


def test_any_iterable_will_do(server):
    sent = [grequests.get(server.url(f"/{n}")) for n in range(4)]
    for iterable in (sent, tuple(sent), set(sent), dict.fromkeys(sent), iter(sent)):
        assert sorted(each.text for each in grequests.imap(iterable)) == ["/0", "/1", "/2", "/3"]
    for iterable in (sent, tuple(sent), (each for each in sent)):
        pairs = grequests.imap_enumerated(iterable)
        assert sorted((index, each.text) for index, each in pairs) == [
            (n, f"/{n}") for n in range(4)
        ]


# --- leaving early -------------------------------------------------------------------------------


class Left(Exception):  # noqa: N818
    """Raised by a loop's body."""


def by_break(results: Iterator[Any]) -> None:
    for _ in results:
        break


def by_exception(results: Iterator[Any]) -> None:
    with pytest.raises(Left):
        for _ in results:
            raise Left


def by_close(results: Iterator[Any]) -> None:
    next(results)
    results.close()  # type: ignore[attr-defined]


def by_collection(results: Iterator[Any]) -> None:
    next(results)
    knot = [results]
    knot.append(knot)  # type: ignore[arg-type]
    del results, knot
    gc.collect()


def by_interrupt_of_the_body(results: Iterator[Any]) -> None:
    with pytest.raises(KeyboardInterrupt):
        for _ in results:
            raise KeyboardInterrupt


def by_interrupt_while_waiting(results: Iterator[Any]) -> None:
    next(results)
    # Ctrl-C, as the main thread waits for the second result, which never comes.
    main = threading.main_thread().ident
    timer = threading.Timer(0.05, signal.pthread_kill, (main, signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):
        timer.start()
        next(results)
    timer.join()


def by_timeout_of_gevent(results: Iterator[Any]) -> None:
    next(results)
    with pytest.raises(gevent.Timeout), gevent.Timeout(0.02):
        next(results)


def by_kill(results: Iterator[Any]) -> None:
    seen: list[Any] = []
    reader = gevent.spawn(lambda: [seen.append(each) for each in results])
    eventually(lambda: seen)
    reader.kill()


ways = pytest.mark.parametrize(
    "leave",
    [
        by_break,
        by_exception,
        by_close,
        by_collection,
        by_interrupt_of_the_body,
        by_interrupt_while_waiting,
        by_timeout_of_gevent,
        by_kill,
    ],
)


@both
@every_kind
@ways
def test_leaving_early_stops_and_aborts_everything(leave, make, function, server):
    gate = server.hold("/held")
    closed = []
    sent = []

    def endless() -> Iterator[AsyncRequest]:
        try:
            sent.append(make(server.url("/first")))
            yield sent[-1]
            while True:
                sent.append(make(server.url("/held")))
                yield sent[-1]
        finally:
            closed.append("generator")

    greenlets, watchers = live_greenlets(), len(live_watchers())
    leave(_once_held(function(endless(), size=4), gate))
    # No new request, not even those that the generator would have had ready.
    count = len(sent)
    settle(lambda: server.count)
    assert len(sent) == count <= 6
    assert closed == ["generator"]
    # Those under way are aborted, and the server sees it.
    eventually(lambda: gate.deserted == gate.arrived, "the server to see the disconnects")
    assert 1 <= gate.arrived <= 4
    assert not any(request._in_flight for request in sent)
    assert all(request.response is None for request in sent[1:])
    assert not any(hasattr(request, "exception") for request in sent)
    # Nothing is left.
    gevent.sleep(0)
    eventually(is_quiet)
    grequests.close()
    assert live_greenlets() <= greenlets
    assert len(live_watchers()) <= watchers
    eventually(lambda: server.closed == server.opened)


def _once_held(results: Iterator[Any], gate: Any) -> Iterator[Any]:
    """The results; the first is given out when others are under way."""
    with contextlib.closing(results):  # type: ignore[type-var]
        for each in results:
            eventually(lambda: gate.arrived, "requests under way")
            assert (each[1] if isinstance(each, tuple) else each).text == "/first"
            yield each


@every_kind
def test_a_request_that_was_aborted_can_be_sent_again(make, server):
    gate = server.hold("/held")
    request = make(server.url("/held"))
    results = grequests.imap([make(server.url("/first")), request], size=2)
    next(results)
    eventually(lambda: gate.arrived)
    results.close()
    gevent.sleep(0)
    gate.open()
    assert [each.text for each in grequests.map([request])] == ["/held"]


def test_leaving_during_a_handshake_leaves_nothing(server):
    # The server speaks no TLS and waits for the end of a line.
    url = server.url().replace("http:", "https:")
    sent = [grequests.get(server.url("/first")), *(grequests.get(url) for _ in range(3))]
    results = grequests.imap(sent, size=4)
    next(results)
    eventually(lambda: server.opened == 4)
    results.close()
    eventually(lambda: server.closed == 3, "the server to see the disconnects")
    assert not any(request._in_flight for request in sent)


def test_leaving_while_a_retry_is_due_leaves_nothing(server):
    server.on("/busy", lambda _: answer(b"", "503 Busy", "Retry-After: 3600"))
    with requests.Session() as session:
        session.mount("http://", HTTPAdapter(max_retries=Retry(3, status_forcelist=[503])))
        busy = grequests.get(server.url("/busy"), session=session)
        server.hold("/held")
        results = grequests.imap([busy, grequests.get(server.url("/held"))], size=1)
        reader = gevent.spawn(next, results)
        eventually(lambda: server.count == 2)
        reader.kill()
    # The one that waits for its retry holds no slot.
    assert server.targets() == ["/busy", "/held"]
    assert not busy._in_flight


def test_leaving_while_the_generator_waits_ends_its_wait(server):
    closed = []

    def some() -> Iterator[AsyncRequest]:
        try:
            yield grequests.get(server.url())
            Event().wait()
        finally:
            closed.append("generator")

    for _ in grequests.imap(some()):
        break
    gevent.sleep(0)
    gevent.sleep(0)
    assert closed == ["generator"]


def test_leaving_while_the_generator_maps_aborts_that_too(server):
    gate = server.hold("/held")

    def some() -> Iterator[AsyncRequest]:
        yield grequests.get(server.url())
        grequests.map([grequests.get(server.url("/held")) for _ in range(3)])

    for _ in grequests.imap(some()):
        eventually(lambda: gate.arrived == 3)
        break
    eventually(lambda: gate.deserted == 3, "the server to see the disconnects")


def test_leaving_during_a_callback_ends_it(server):
    log = []

    def callback(_response, **_):
        try:
            log.append("begun")
            Event().wait()
        finally:
            log.append("ended")

    sent = [grequests.get(server.url()), grequests.get(server.url(), callback=callback)]
    for _ in grequests.imap(sent):
        eventually(lambda: log)
        break
    eventually(lambda: log == ["begun", "ended"])
    assert not sent[1]._in_flight
    assert sent[1].response is None


def test_unread_streams_are_closed_when_the_loop_is_left(server):
    results = grequests.imap(
        (grequests.get(server.url(f"/{n}")) for n in range(4)), stream=True, size=4
    )
    next(results).close()
    settle(lambda: server.count)
    results.close()
    eventually(lambda: server.closed == server.opened, "the server to see the disconnects")


def test_results_that_were_not_read_are_dropped(server):
    results = grequests.imap((grequests.get(server.url(f"/{n}")) for n in range(4)), size=4)
    next(results)
    settle(lambda: server.count)
    results.close()
    assert list(results) == []
    # Their connections are idle, not lost.
    assert current_engine().statistics().idle == server.opened


# --- errors of the user's code -------------------------------------------------------------------


@both
def test_an_error_of_the_generator_reaches_the_reader_after_the_results_before_it(function, server):
    error = Left("mine")

    def some() -> Iterator[AsyncRequest]:
        yield grequests.get(server.url("/a"))
        yield grequests.get(server.url("/b"))
        raise error

    seen = []
    with pytest.raises(Left) as caught:
        seen.extend(function(some(), size=5))
    assert caught.value is error
    seen = []
    results = function(some(), size=5)
    with contextlib.suppress(Left):
        seen.extend([next(results), next(results), next(results)])
    assert server.count == 4


@both
@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_an_interrupt_in_the_generator_reaches_the_reader_at_once(kind, function, server):
    gate = server.hold("/held")
    error = kind("now")

    def some() -> Iterator[AsyncRequest]:
        yield grequests.get(server.url("/held"))
        eventually(lambda: gate.arrived)
        raise error

    with pytest.raises(kind) as caught:
        next(function(some(), size=5))
    assert caught.value is error
    eventually(lambda: gate.deserted == 1)


@both
@pytest.mark.parametrize("kind", [Left, KeyboardInterrupt, SystemExit])
def test_an_error_of_the_handler_reaches_the_reader_and_ends_the_run(kind, function, server):
    gate = server.hold("/held")
    server.on("/bad", hang_up)
    error = kind("mine")

    def handler(_request, _exception):
        eventually(lambda: gate.arrived)
        raise error

    sent = [grequests.get(server.url(path)) for path in ("/bad", "/held", "/held")]
    results = function(sent, size=2, exception_handler=handler)
    with pytest.raises(kind) as caught:
        next(results)
    assert caught.value is error
    eventually(lambda: gate.deserted == gate.arrived)
    assert list(results) == []


def test_an_error_of_a_callback_is_its_requests_failure(server):
    error = Left("mine")

    def callback(_response, **_):
        raise error

    bad = grequests.get(server.url("/bad"), callback=callback)
    sent = [bad, grequests.get(server.url("/good"))]
    seen = []
    results = list(grequests.imap(sent, exception_handler=lambda *args: seen.append(args)))
    assert [each.text for each in results] == ["/good"]
    assert seen == [(bad, error)]
    assert bad.exception is error
    assert "raise error" in bad.traceback


@both
@every_kind
@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_an_interrupt_in_a_callback_reaches_the_reader_as_it_is(kind, make, function, server):
    gate = server.hold("/held")
    error = kind("now")

    def callback(response, **_):
        assert response.text == "/bad"
        eventually(lambda: gate.arrived == 2)
        raise error

    bad = make(server.url("/bad"))
    bad.kwargs["hooks"] = {"response": callback}
    sent = [bad, *(make(server.url("/held")) for _ in range(2))]
    with pytest.raises(kind) as caught:
        list(function(sent, size=3))
    assert caught.value is error
    eventually(lambda: gate.deserted == 2)
    assert not any(request._in_flight for request in sent)


def test_an_interrupt_in_a_callback_reaches_a_slow_reader(server):
    def callback(_response, **_):
        raise KeyboardInterrupt

    def endless() -> Iterator[AsyncRequest]:
        for number in itertools.count():
            yield grequests.get(server.url(), callback=callback if number == 20 else None)

    read = 0
    with pytest.raises(KeyboardInterrupt):
        for _ in grequests.imap(endless(), size=4):
            settle(lambda: server.count)
            read += 1
            assert read < 40, "the interrupt never came"


def test_ctrl_c_while_the_server_is_slow(server):
    def interrupt(request):
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
        return gate(request)

    gate = server.hold("/gate")
    server.on("/slow", interrupt)
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        list(grequests.imap([grequests.get(server.url("/slow"))]))
    assert time.monotonic() - began < 8
    eventually(lambda: gate.deserted == gate.arrived)


# --- wrong use -----------------------------------------------------------------------------------


@both
@pytest.mark.parametrize("size", [0, -1, 1.5, "2", True])
def test_a_size_below_one_is_refused_by_the_call_itself(function, size):
    with pytest.raises(grequests.InvalidSizeError, match="at least 1"):
        function([], size=size)


@both
def test_an_item_that_is_no_request_is_named_after_the_results_before_it(function, server):
    sent = [grequests.get(server.url("/a")), "http://example.org/"]
    results = function(sent, size=5)
    next(results)
    with pytest.raises(grequests.NotARequestError, match="item 1 .* not an AsyncRequest but str"):
        next(results)


@both
def test_a_request_that_is_in_flight_is_refused(function, server):
    gate = server.hold("/held")
    request = grequests.get(server.url("/held"))
    job = grequests.send(request)
    eventually(lambda: gate.arrived)
    with pytest.raises(grequests.RequestInFlightError, match="in flight already"):
        list(function([request]))
    gate.open()
    assert job.get().response.text == "/held"


def test_a_request_may_be_sent_again_in_the_same_loop_once_it_has_ended(server):
    request = grequests.get(server.url("/same"))

    def same() -> Iterator[AsyncRequest]:
        for _ in range(3):
            yield request

    assert [each.text for each in grequests.imap(same(), size=1)] == ["/same"] * 3
