"""`arun` and `amap`: the same results as of `run` and `map`, in somebody's event loop."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import os
import sys
import threading
import time
from typing import Any

import hypothesis  # noqa: F401 - asks for trio, and does not find it once the heap is frozen
import pytest
import requests

import grequests
from anywhere.programs import run as run_program
from grequests import _hub_thread
from grequests._aio import amap, arun
from servers import PATIENCE, Gate, Server, answer, eventually, hang_up


def _asyncio(main: Any) -> Any:
    return asyncio.run(main())


def _uvloop(main: Any) -> Any:
    return pytest.importorskip("uvloop").run(main())


def _trio(main: Any) -> Any:
    return pytest.importorskip("trio").run(main)


@pytest.fixture(params=[_asyncio, _uvloop, _trio], ids=["asyncio", "uvloop", "trio"])
def loop(request):
    """Runs a coroutine function in a loop of one kind."""
    return request.param


async def breathe() -> None:
    """Let others run, in any kind of loop."""
    trio = sys.modules.get("trio")
    if trio is not None and trio.lowlevel.in_trio_task():
        await trio.sleep(0.001)
    else:
        await asyncio.sleep(0.001)


async def until(condition) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        await breathe()


def threads() -> int:
    """Threads of hubs that have not ended."""
    return len(_hub_thread._threads)


@pytest.fixture(autouse=True)
def _no_thread_is_left():
    yield
    eventually(lambda: threads() == 0, "the end of the threads")


def urls(server: Server, count: int, path: str = "/x") -> list[str]:
    return [server.url(f"{path}/{n}") for n in range(count)]


# --- results ---------------------------------------------------------------------------------------


def test_each_request_has_one_result(server, loop):
    async def main():
        return [result async for result in arun(urls(server, 1000))]

    results = loop(main)

    assert sorted(result.index for result in results) == list(range(1000))
    assert all(result.response.text == f"/x/{result.index}" for result in results)
    assert server.count == 1000


def test_results_come_in_order_if_asked_for(server, loop):
    async def main():
        return [result.index async for result in arun(urls(server, 300), ordered=True)]

    assert loop(main) == list(range(300))


def test_results_carry_tags_and_errors_and_are_those_of_run(server):
    server.on("/bad", hang_up)

    async def main():
        sent = [(server.url("/good"), "good"), grequests.get(server.url("/bad"), tag="bad"), 5]
        return [result async for result in arun(sent, ordered=True, retry=None)]

    good, bad, nothing = asyncio.run(main())

    assert type(good) is grequests.Result
    assert (good.tag, good.ok, good.unwrap().text) == ("good", True, "/good")
    assert (bad.tag, type(bad.error)) == ("bad", requests.ConnectionError)
    assert isinstance(nothing.error, grequests.NotARequestError)


def test_no_requests_no_results(loop):
    async def main():
        return [result async for result in arun([])], await amap([])

    assert loop(main) == ([], [])


def test_an_asynchronous_input_is_pulled_in_the_loop(server, loop):
    pulled_in = set()

    async def source():
        for url in urls(server, 300):
            pulled_in.add(threading.get_ident())
            yield url
            if url.endswith("0"):
                await breathe()

    async def main():
        return sorted([result.index async for result in arun(source())])

    assert loop(main) == list(range(300))
    assert pulled_in == {threading.get_ident()}


def test_a_synchronous_input_is_pulled_in_the_thread(server):
    pulled_in = set()

    def source():
        for url in urls(server, 3):
            pulled_in.add(threading.get_ident())
            yield url

    async def main():
        return len([result async for result in arun(source())])

    assert asyncio.run(main()) == 3
    assert len(pulled_in) == 1
    assert threading.get_ident() not in pulled_in


def broken_source(server):
    yield server.url("/one")
    yield server.url("/two")
    raise LookupError("no more")


async def broken_async_source(server):
    for each in broken_source(server):
        yield each


@pytest.mark.parametrize("source", [broken_source, broken_async_source])
def test_what_the_input_raises_comes_after_the_results_before_it(server, loop, source):
    async def main():
        found = []
        with pytest.raises(LookupError, match="no more"):
            async for result in arun(source(server)):
                found.append(result.response.text)
        return sorted(found)

    assert loop(main) == ["/one", "/two"]


def test_an_input_that_is_left_early_is_closed(server, loop):
    closed = []

    async def source():
        try:
            while True:
                yield server.url("/x")
        finally:
            closed.append("async")

    def sync_source():
        try:
            while True:
                yield server.url("/x")
        finally:
            closed.append("sync")

    async def main():
        for each in (source(), sync_source()):
            results = arun(each)
            async for _ in results:
                break
            await results.aclose()

    loop(main)

    assert closed == ["async", "sync"]


def test_a_feed_grows_while_it_is_read_however_slowly(server, loop):
    async def main():
        feed = grequests.Feed([server.url("/0")], until_idle=True)
        found = []
        async for result in arun(feed):
            await breathe()
            await breathe()
            found.append(result.response.text)
            if len(found) < 10:
                feed.put(server.url(f"/{len(found)}"))
        return found, feed.closed

    assert loop(main) == ([f"/{n}" for n in range(10)], True)


def test_settings_that_make_no_sense_are_refused_by_the_call():
    async def main():
        with pytest.raises(grequests.PolicyError):
            arun([], concurrency=0)
        with pytest.raises(grequests.PolicyError):
            arun([], unread="many")
        with pytest.raises(grequests.PolicyError):
            arun([], deadline=-1)
        with pytest.raises(grequests.NotARequestError):
            arun("http://example.org/")

    asyncio.run(main())
    assert threads() == 0


def test_a_deadline_ends_what_has_not_ended(server):
    server.hold("/slow/*")

    async def main():
        sent = [*urls(server, 2, "/slow"), server.url("/fast")]
        return {result.index: result.error async for result in arun(sent, deadline=0.2)}

    errors = asyncio.run(main())
    assert [type(errors[n]) for n in range(3)] == [grequests.DeadlineError] * 2 + [type(None)]


def test_the_input_is_let_go_when_a_deadline_ends_the_run(server, loop):
    server.hold("/slow/*")
    closed = []

    async def source():
        try:
            for url in urls(server, 2, "/slow"):
                yield url
            while True:
                await breathe()
        finally:
            closed.append(True)

    async def main():
        return [type(r.error) async for r in arun(source(), deadline=0.2)]

    assert loop(main) == [grequests.DeadlineError] * 2
    assert closed == [True]


# --- how much is under way -------------------------------------------------------------------------


def test_a_slow_reader_holds_up_the_sending(server, loop):
    pulled = []

    def source():
        for url in urls(server, 500):
            pulled.append(url)
            yield url

    async def main():
        results = arun(source(), concurrency=5, unread=10)
        found = [await anext(results)]
        crossing = results._crossing
        await until(lambda: crossing.stalled is not None and not server.active)
        for _ in range(20):
            await breathe()
        seen = server.count, len(pulled)
        async for result in results:
            found.append(result)
            assert len(crossing.items) <= 10
        return len(found), *seen

    count, sent, taken = loop(main)

    assert count == 500
    # 1 was read, 10 have crossed, 10 wait to, as many as 5 were under way, and there is one at hand.
    assert 11 <= sent <= 1 + 10 + 10 + 5
    assert taken <= sent + 1


def test_an_asynchronous_input_is_pulled_ahead_a_little(server, loop):
    gate = server.hold("/slow/*")
    pulled = []

    async def source():
        for url in urls(server, 200, "/slow"):
            pulled.append(url)
            yield url

    results = arun(source(), concurrency=4, per_host=4, lookahead=1)

    def look():
        eventually(lambda: gate.arrived == 4 and results._crossing._inlet._alarm is not None)
        seen.append(len(pulled))
        gate.open()

    async def main():
        return len([result async for result in results])

    seen = []
    watcher = threading.Thread(target=look)
    watcher.start()
    assert loop(main) == 200
    watcher.join()
    # 4 are under way, one may be at hand, and 4 have been pulled ahead.
    assert 8 <= seen[0] <= 4 + 1 + 4


def test_others_have_their_turn_while_results_are_read(server):
    async def main():
        ticks = 0

        async def tick():
            nonlocal ticks
            while True:
                await asyncio.sleep(0)
                ticks += 1

        ticking = asyncio.create_task(tick())
        async for _ in arun(urls(server, 1000), concurrency=50):
            pass
        ticking.cancel()
        return ticks

    assert asyncio.run(main()) >= 10


# --- leaving ---------------------------------------------------------------------------------------


@pytest.fixture
def gate(server: Server) -> Gate:
    """Holds what is asked of `/slow`."""
    return server.hold("/slow/*")


def mixed(server: Server) -> list[str]:
    return [server.url("/fast"), *urls(server, 9, "/slow")]


def test_leaving_the_loop_cuts_off_what_is_under_way(server, gate, loop):
    async def main():
        async for result in arun(mixed(server)):
            assert result.response.text == "/fast"
            await until(lambda: gate.arrived == 9)
            break
        await until(lambda: gate.deserted == 9)
        return threads()

    assert loop(main) == 1
    assert server.count == 10


def test_closing_waits_until_everything_is_cut_off(server, gate, loop):
    async def main():
        async with arun(mixed(server)) as results:
            await anext(results)
            await until(lambda: gate.arrived == 9)
        assert results._crossing.is_over
        assert [result async for result in results] == []
        await results.aclose()
        await until(lambda: gate.deserted == 9)
        return repr(results)

    assert loop(main) == "<AsyncResults closed>"


def test_what_has_not_been_read_is_dropped(server, loop):
    server.on("/big", lambda _: answer(b"x" * 300_000))

    async def main():
        results = arun([server.url("/big")] * 5, stream=True)
        first = await anext(results)
        await until(lambda: results._crossing.is_over)
        unread = [*results._items]
        await results.aclose()
        assert [result async for result in results] == []
        return first, unread

    first, unread = loop(main)

    assert len(unread) == 4
    assert all(result.response.raw.closed for result in unread)
    assert len(first.response.content) == 300_000


def test_a_coroutine_that_is_dropped_cuts_off_its_run(server, gate):
    async def send(what):
        await what

    loop = asyncio.new_event_loop()
    for each in (anext(arun(urls(server, 1, "/slow"))), amap([grequests.get(mixed(server)[1])])):
        sending = send(each)
        task = loop.create_task(sending)
        before = gate.arrived

        async def wait():
            await until(lambda: gate.arrived > before)

        loop.run_until_complete(wait())
        task._log_destroy_pending = False
        del task, sending, each
    loop.close()
    gc.collect()
    eventually(lambda: gate.deserted == gate.arrived == 2)


def test_closing_what_was_never_read_sends_nothing(server, loop):
    async def main():
        results = arun(urls(server, 3))
        assert repr(results) == "<AsyncResults unread>"
        await results.aclose()
        return [result async for result in results]

    assert loop(main) == []
    assert server.count == 0


def test_cancelling_the_task_cuts_off_what_is_under_way(server, gate):
    async def read():
        async for _ in arun(mixed(server)):
            pass

    async def main():
        task = asyncio.create_task(read())
        await until(lambda: gate.arrived == 9)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await until(lambda: gate.deserted == 9)

    asyncio.run(main())


def test_so_does_a_timeout(server, gate):
    async def read():
        results = arun(mixed(server))
        async for _ in results:
            pass

    async def main():
        began = time.monotonic()
        with pytest.raises(asyncio.TimeoutError):
            if sys.version_info >= (3, 11):
                async with asyncio.timeout(0.2):
                    await read()
            else:
                await asyncio.wait_for(read(), 0.2)
        assert time.monotonic() - began < 1.0
        await until(lambda: gate.deserted == gate.arrived == 9)

    asyncio.run(main())


def test_so_does_a_cancel_scope_of_trio(server, gate):
    trio = pytest.importorskip("trio")

    async def main():
        with trio.move_on_after(0.2) as scope:
            async for _ in arun(mixed(server)):
                pass
        assert scope.cancelled_caught
        await until(lambda: gate.deserted == gate.arrived == 9)

    trio.run(main)


def test_the_input_of_a_cancelled_run_is_closed(server, gate, loop):
    closed = []

    async def source():
        try:
            for url in mixed(server):
                yield url
            while True:
                await breathe()
        finally:
            closed.append(True)

    async def main():
        results = arun(source())
        await anext(results)
        await results.aclose()
        return [*closed]

    assert loop(main) == [True]


def test_what_holds_up_the_thread_does_not_hold_up_the_loop(server, monkeypatch):
    from grequests import _crossing

    monkeypatch.setattr(_crossing, "_PATIENCE", 0.05)
    release = threading.Event()

    def source():
        yield server.url("/x")
        release.wait(PATIENCE)
        yield server.url("/y")

    async def main():
        results = arun(source())
        reading = asyncio.create_task(anext(results))
        await asyncio.sleep(0.05)
        began = time.monotonic()
        await results.aclose()
        took = time.monotonic() - began
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
        release.set()
        return took

    assert asyncio.run(main()) < 1.0


def test_only_one_task_reads_at_a_time(server, gate):
    async def main():
        results = arun(urls(server, 2, "/slow"))
        first = asyncio.create_task(anext(results))
        await until(lambda: gate.arrived == 2)
        with pytest.raises(RuntimeError, match="another task"):
            await anext(results)
        gate.open()
        assert (await first).ok
        return len([result async for result in results])

    assert asyncio.run(main()) == 1


# --- threads ---------------------------------------------------------------------------------------


def test_runs_of_one_loop_share_a_thread_and_its_connections(server, loop):
    async def main():
        one, two = arun(urls(server, 50)), arun(urls(server, 50), ordered=True)
        found = [await anext(one), await anext(two)]
        assert threads() == 1
        found += [result async for result in one] + [result async for result in two]
        opened = server.opened
        found += [result async for result in arun(urls(server, 5))]
        assert server.opened == opened
        return len(found), threads()

    assert loop(main) == (105, 1)


def test_each_loop_has_a_thread_of_its_own(server):
    server.hold("/meet/*", 20)
    counts = []

    async def main():
        counts.append(len([r async for r in arun(urls(server, 10, "/meet")) if r.ok]))

    both = [threading.Thread(target=asyncio.run, args=(main(),)) for _ in range(2)]
    for each in both:
        each.start()
    for each in both:
        each.join()

    assert counts == [10, 10]


def test_a_quiet_thread_ends_though_its_loop_goes_on(server, loop, monkeypatch):
    monkeypatch.setattr(_hub_thread, "LINGER", 0.01)

    async def main():
        for _ in range(2):
            assert len([r async for r in arun(urls(server, 3)) if r.ok]) == 3
            assert threads() == 1
            await until(lambda: threads() == 0)

    loop(main)


def test_nothing_is_left(no_leaks, loop):
    tasks = len(os.listdir("/proc/self/task"))

    async def main(server):
        async for _ in arun(urls(server, 100)):
            pass
        async for _ in arun(urls(server, 100)):
            break
        await amap([grequests.get(url) for url in urls(server, 20)])

    with Server() as server:
        loop(lambda: main(server))
    eventually(lambda: len(os.listdir("/proc/self/task")) <= tasks, "the end of the threads")


def test_no_loop_no_thread(server):
    results = arun(urls(server, 3))
    reading = results.__anext__()
    with pytest.raises(RuntimeError, match="no running event loop"):
        reading.send(None)
    assert threads() == 0


def test_a_loop_that_is_closed_in_the_middle(server, gate):
    loop = asyncio.new_event_loop()
    results = arun(mixed(server))

    async def read():
        return (await anext(results)).response.text  # noqa: F821 - deleted at the end only

    assert loop.run_until_complete(read()) == "/fast"
    eventually(lambda: gate.arrived == 9)
    loop.close()
    del results
    gc.collect()
    eventually(lambda: gate.deserted == 9)


def test_a_client_keeps_its_state_from_one_run_to_the_next(server, loop, monkeypatch):
    monkeypatch.setattr(_hub_thread, "LINGER", 0.0)
    gate = server.hold("/slow/*")

    async def main():
        with grequests.Client(concurrency=10, per_host=10) as client:
            for _ in range(2):
                assert len([r async for r in client.arun(urls(server, 20)) if r.ok]) == 20
            assert client.statistics().done == 40
            assert client.statistics().opened <= 10
            assert threads() == 1
            results = client.arun(mixed(server))
            assert (await anext(results)).ok
            await until(lambda: gate.arrived == 9)
        await until(lambda: gate.deserted == 9)
        errors = [type(result.error) async for result in results]
        with pytest.raises(grequests.ClientClosedError):
            client.arun([])
        await until(lambda: threads() == 0)
        return errors

    assert loop(main) == [grequests.RequestCancelledError] * 9


def test_runs_of_one_client_share_its_slots(server):
    async def read(client):
        return len([r async for r in client.arun(urls(server, 30)) if r.ok])

    async def main():
        with grequests.Client(concurrency=3) as client:
            return await asyncio.gather(read(client), read(client))

    assert asyncio.run(main()) == [30, 30]
    assert server.peak <= 3


def test_a_client_that_is_dropped_lets_its_thread_go(server, monkeypatch):
    monkeypatch.setattr(_hub_thread, "LINGER", 0.0)

    async def main():
        client = grequests.Client()
        assert len([r async for r in client.arun(urls(server, 3)) if r.ok]) == 3
        assert threads() == 1
        del client
        # The thread may not have let go of it yet.
        await until(lambda: gc.collect() >= 0 and threads() == 0)

    asyncio.run(main())


def test_a_client_goes_from_loop_to_loop(server, loop):
    client = grequests.Client()

    async def main():
        return len([r async for r in client.arun(urls(server, 3)) if r.ok])

    assert [loop(main), loop(main)] == [3, 3]
    client.close()
    eventually(lambda: threads() == 0)


# --- code of the user's ----------------------------------------------------------------------------

whose = contextvars.ContextVar("whose", default="nobody's")


def test_callbacks_and_auth_see_the_context_of_the_caller(server, loop):
    seen = []

    def auth(request):
        seen.append(("auth", whose.get()))
        return request

    def hook(response, **_):
        seen.append(("hook", whose.get()))

    def source():
        seen.append(("input", whose.get()))
        yield grequests.get(server.url(), auth=auth, callback=hook)

    async def main():
        whose.set("mine")
        async for result in arun(source()):
            assert result.ok
        await amap([grequests.get(server.url(), callback=hook)])

    loop(main)

    assert seen == [("input", "mine"), ("auth", "mine"), ("hook", "mine"), ("hook", "mine")]


def test_an_asynchronous_input_sees_it_as_well(server, loop):
    seen = []

    async def source():
        seen.append(whose.get())
        yield server.url()

    async def main():
        whose.set("mine")
        return len([result async for result in arun(source())])

    assert loop(main) == 1
    assert seen == ["mine"]


def test_what_a_callback_raises_is_the_outcome(server):
    def hook(response, **_):
        raise LookupError("odd")

    async def main():
        sent = [grequests.get(server.url(), callback=hook)]
        return [result.error async for result in arun(sent)]

    [error] = asyncio.run(main())
    assert isinstance(error, LookupError)


def test_a_system_exit_of_the_input_ends_the_loop(server):
    def source():
        yield server.url()
        raise SystemExit(7)

    async def main():
        async for _ in arun(source()):
            pass

    with pytest.raises(SystemExit):
        asyncio.run(main())


def test_a_streamed_response_is_read_in_any_thread(server, loop):
    body = b"x" * 300_000
    server.on("/big", lambda _: answer(body))

    async def main():
        found = []
        async for result in arun([server.url("/big")] * 4, stream=True):
            found.append(result.response)
        return found

    responses = loop(main)  # the loop is over

    assert [response.content for response in responses] == [body] * 4


def test_a_streamed_response_is_read_beside_the_loop(server):
    body = b"x" * 300_000
    server.on("/big", lambda _: answer(body))

    async def main():
        total = 0
        async for result in arun([server.url("/big")] * 4, stream=True):
            total += len(await asyncio.to_thread(lambda: result.response.content))
        return total

    assert asyncio.run(main()) == 4 * len(body)


# --- map -------------------------------------------------------------------------------------------


def test_amap_gives_responses_in_order_and_none_for_failures(server, loop):
    server.on("/bad", hang_up)

    async def main():
        sent = [grequests.get(server.url(path)) for path in ("/a", "/bad", "/b", "/c")]
        return await amap(sent, size=2), sent

    responses, sent = loop(main)

    assert [response and response.text for response in responses] == ["/a", None, "/b", "/c"]
    assert isinstance(sent[1].exception, requests.ConnectionError)
    assert server.peak <= 2


def test_amap_asks_the_handler_in_the_loop(server, loop):
    server.on("/bad", hang_up)
    seen = []

    def handler(request, exception):
        seen.append(threading.get_ident())
        return type(exception).__name__

    async def slow_handler(request, exception):
        await breathe()
        return handler(request, exception)

    async def main():
        found = []
        for each in (handler, slow_handler):
            sent = [grequests.get(server.url(path)) for path in ("/bad", "/a")]
            found.append((await amap(sent, exception_handler=each))[0])
        return found

    assert loop(main) == ["ConnectionError"] * 2
    assert seen == [threading.get_ident()] * 2


def test_amap_gives_up_in_time(server, gate, loop):
    async def main():
        sent = [grequests.get(url) for url in mixed(server)]
        return await amap(sent, gtimeout=0.2, exception_handler=lambda _, error: repr(error))

    fast, *slow = loop(main)

    assert fast.text == "/fast"
    assert slow == ["None"] * 9
    eventually(lambda: gate.deserted == 9)


def test_amap_takes_asynchronous_inputs_and_streams(server, loop):
    async def source():
        for url in urls(server, 3):
            yield grequests.get(url)

    async def main():
        return await amap(source(), stream=True)

    assert [response.text for response in loop(main)] == ["/x/0", "/x/1", "/x/2"]


def test_amap_refuses_what_map_refuses(server):
    async def main():
        with pytest.raises(grequests.InvalidSizeError):
            await amap([], size=0)
        with pytest.raises(grequests.NotARequestError):
            await amap([grequests.get(server.url()), "http://example.org/"])
        twice = grequests.get(server.url())
        with pytest.raises(grequests.RequestInFlightError):
            await amap([twice, twice])

    asyncio.run(main())
    assert server.count == 0


def test_cancelling_amap_cuts_it_off(server, gate):
    async def main():
        sending = asyncio.create_task(amap([grequests.get(u) for u in urls(server, 5, "/slow")]))
        await until(lambda: gate.arrived == 5)
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        await until(lambda: gate.deserted == 5)

    asyncio.run(main())


# --- processes -------------------------------------------------------------------------------------

READING = """
import asyncio, gc, os, signal, sys, threading
import grequests
from grequests._aio import amap, arun

URL = os.environ["SERVER"]

async def read(count=100):
    return len([r async for r in arun([f"{URL}/{n}" for n in range(count)]) if r.ok])

async def first(path="/slow"):
    async for r in arun([URL + "/fast", *[f"{URL}{path}/{n}" for n in range(5)]]):
        assert r.ok, r.error
        break_here(r)
"""

ENDINGS = {
    "it returns": "def break_here(r): pass\nasyncio.run(first('/quick')); print(1)",
    "it leaves by SystemExit": "def break_here(r): print(1); sys.exit(0)\nasyncio.run(first())",
    "its results are global": """
async def main():
    global results
    results = arun([URL + "/fast", *[f"{URL}/slow/{n}" for n in range(5)]])
    print(int((await results.__anext__()).ok))
asyncio.run(main())
""",
    "its loop is left as it is": """
async def main():
    global results
    results = arun([URL + "/fast", *[f"{URL}/slow/{n}" for n in range(5)]])
    print(int((await results.__anext__()).ok))
loop = asyncio.new_event_loop()
loop.run_until_complete(main())
import warnings; warnings.simplefilter("ignore")
""",
    "its loop runs in a daemon": """
import time
def break_here(r): print(1, flush=True); ready.set(); time.sleep(60)
ready = threading.Event()
threading.Thread(target=lambda: asyncio.run(first()), daemon=True).start()
ready.wait()
""",
    "it is interrupted": """
def break_here(r):
    print(1, flush=True)
    os.kill(os.getpid(), signal.SIGINT)
signal.signal(signal.SIGINT, signal.default_int_handler)
try:
    asyncio.run(first())
except KeyboardInterrupt:
    pass
""",
    "it waits and is interrupted": """
async def main():
    async for r in arun([URL + "/fast", *[f"{URL}/slow/{n}" for n in range(5)]]):
        print(1, flush=True)
        asyncio.get_running_loop().call_later(0.1, os.kill, os.getpid(), signal.SIGINT)
signal.signal(signal.SIGINT, signal.default_int_handler)
try:
    asyncio.run(main())
except KeyboardInterrupt:
    pass
""",
    "its input blocks": """
import time
def source():
    yield URL + "/fast"
    yield URL + "/fast"
    time.sleep(60)
async def main():
    async for r in arun(source(), concurrency=1):
        print(1, flush=True)
        break
asyncio.run(main())
""",
}


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_process_ends_at_once_when(ending, server):
    server.hold("/slow/*")
    began = time.monotonic()

    assert run_program(READING + ENDINGS[ending], server=server) == 1
    assert time.monotonic() - began < 4.5


def test_in_a_process_that_gevent_patched(server):
    program = (
        """
import gevent.monkey
gevent.monkey.patch_all()
"""
        + READING
        + """
async def main():
    ticks = 0
    async def tick():
        nonlocal ticks
        while True:
            await asyncio.sleep(0)
            ticks += 1
    ticking = asyncio.create_task(tick())
    found = await read(300)
    found += len(await amap([grequests.get(f"{URL}/{n}") for n in range(20)]))
    ticking.cancel()
    return found, ticks > 5
found = asyncio.run(main())
import json
print(json.dumps(found))
"""
    )
    assert run_program(program, server=server) == [320, True]


def test_in_a_child_that_was_forked_in_the_middle(server):
    program = (
        READING
        + """
async def main():
    results = arun([f"{URL}/{n}" for n in range(100)], concurrency=5)
    await results.__anext__()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            t = threading.Thread(target=lambda: found.append(asyncio.run(read(50))))
            found = []
            t.start(); t.join()
            code = 0 if found == [50] else 2
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    rest = len([r async for r in results if r.ok])
    return [os.waitstatus_to_exitcode(status), rest]
import json, warnings
warnings.simplefilter("ignore")  # of forks in processes with threads
print(json.dumps(asyncio.run(main())))
"""
    )
    assert run_program(program, server=server) == [0, 99]


def test_importing_it_starts_nothing_and_imports_no_loops():
    program = """
import sys, threading
import grequests
from grequests import _aio
print(int(threading.active_count() == 1 and "trio" not in sys.modules))
"""
    assert run_program(program) == 1
