"""Ending a run early: nothing new starts, sockets close, what has ended is kept, nothing leaks."""

from __future__ import annotations

import gc
import itertools
import os
import signal
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import gevent
import pytest
import requests
from servers import eventually

import grequests
from grequests import (
    Circuit,
    Client,
    ClientClosedError,
    RequestCancelledError,
    Retry,
    run,
)
from grequests.testing import FakeClock, FakeTransport, Fault

pytestmark = pytest.mark.usefixtures("no_leaks")

URL = "http://one.test"


class Odd(requests.Session):
    """Its requests take the general lane."""


lanes = pytest.mark.parametrize("lane", ["fast", "general"])


def requests_of(server, lane, path="/{}"):
    """Requests without end."""
    session = Odd() if lane == "general" else None
    for number in itertools.count():
        yield grequests.get(server.url(path.format(number)), session=session)


def quiet(server):
    """Wait until the server has nothing to do; what it was asked by then."""
    eventually(lambda: not server.active)
    for _ in range(5):
        gevent.sleep(0.001)
    return server.count


# Leaving


@lanes
@pytest.mark.parametrize("ordered", [False, True])
def test_break_cuts_off_what_is_under_way_and_starts_nothing_more(lane, ordered, server):
    gate = server.hold("/9")
    session = Odd() if lane == "general" else None
    urls = [grequests.get(server.url(f"/{n}"), session=session) for n in [0, *[9] * 8, *range(20)]]
    for result in run(urls, concurrency=5, ordered=ordered):
        assert result.ok
        eventually(lambda: gate.arrived >= 4)
        break

    eventually(lambda: gate.deserted == gate.arrived, "the connections to be closed")
    count = quiet(server)
    gate.open()
    assert quiet(server) == count


@lanes
def test_break_out_of_results_with_a_name_ends_the_run_too(lane, server):
    gate = server.hold("/slow")
    session = Odd() if lane == "general" else None
    urls = [grequests.get(server.url(path), session=session) for path in ("/", "/slow", "/slow")]
    results = run(urls)
    for result in results:
        assert result.ok
        eventually(lambda: gate.arrived == 2)
        break

    eventually(lambda: gate.deserted == 2)
    rest = list(results)
    assert [type(each.error) for each in rest] == [RequestCancelledError] * 2
    assert list(results) == []


def test_what_is_raised_in_the_loop_ends_the_run_and_what_had_ended_can_be_read(server):
    gate = server.hold("/slow")
    results = run([*[server.url(f"/{n}") for n in range(5)], server.url("/slow")])
    found = []
    with pytest.raises(KeyboardInterrupt):
        for result in results:
            found.append(result.index)
            eventually(lambda: gate.arrived)
            gevent.sleep(0.01)
            raise KeyboardInterrupt
    eventually(lambda: gate.deserted == 1)
    for result in results:
        found.append(result.index)
        assert result.ok or isinstance(result.error, RequestCancelledError)
    assert sorted(found) == [*range(6)]


def test_results_may_be_taken_one_by_one_and_then_by_a_loop(server):
    results = run([server.url(f"/{n}") for n in range(10)])
    first = next(results)
    gc.collect()
    second = next(results)
    third = [each.index for each in itertools.islice(results, 1)]
    assert first.ok and second.ok and len(third) == 1
    assert len(list(results)) + 3 == 10


def test_results_that_are_forgotten_end_the_run(server):
    gate = server.hold("/slow")
    results = run([server.url("/"), server.url("/slow")])
    next(results)
    eventually(lambda: gate.arrived)
    del results
    eventually(lambda: gate.deserted == 1)


def test_results_that_were_never_read_leave_nothing(server):
    with Client() as client:
        results = client.run([server.url("/")])
        iter(results)
        results.close()
        assert len(client._core.admission.queues) == 0
        client.run([server.url("/")]).close()
    assert server.count == 0


def test_closed_results_give_nothing_more(server):
    gate = server.hold("/slow")
    results = run([*[server.url(f"/{n}") for n in range(5)], server.url("/slow")])
    with results:
        next(results)
        eventually(lambda: gate.arrived)
    assert list(results) == []
    with pytest.raises(StopIteration):
        next(results)
    eventually(lambda: gate.deserted == 1)
    assert repr(results) == "<Results closed>"


def test_results_may_be_closed_while_another_greenlet_waits_for_them(server):
    gate = server.hold("/slow")
    results = run([server.url("/slow")] * 3)
    reader = gevent.spawn(list, results)
    eventually(lambda: gate.arrived == 3)
    results.close()
    assert reader.get(timeout=5) == []
    eventually(lambda: gate.deserted == 3)


def test_streams_that_nobody_read_are_closed(server):
    for _ in run([server.url(f"/{n}") for n in range(20)], stream=True, concurrency=5):
        break


def test_an_input_that_waits_is_ended(server):
    ended = []

    def urls():
        try:
            yield server.url("/")
            gevent.sleep(60)
        finally:
            ended.append(True)

    for _ in run(urls()):
        break
    eventually(lambda: ended)


# The client


@lanes
def test_closing_the_client_ends_its_runs_and_their_results_can_be_read(lane, server):
    gate = server.hold("/slow")
    session = Odd() if lane == "general" else None
    paths = [*[f"/{n}" for n in range(5)], "/slow", "/slow"]
    urls = [grequests.get(server.url(path), session=session) for path in paths]
    client = Client(concurrency=10)
    results = client.run(urls)
    found = [next(results)]
    eventually(lambda: gate.arrived == 2 and client.statistics().done == 5)
    client.close()

    eventually(lambda: gate.deserted == 2)
    found += results
    if session is not None:
        session.close()
    assert sorted(each.index for each in found) == [*range(7)]
    assert [each.ok for each in sorted(found, key=lambda each: each.index)] == [True] * 5 + [
        False
    ] * 2
    assert all(each.error.sent for each in found if each.error)
    with pytest.raises(ClientClosedError):
        client.run([])


def test_closing_a_client_within_its_own_loop(server):
    client = Client(concurrency=2)
    count = 0
    for _ in client.run(requests_of(server, "fast")):
        count += 1
        client.close()
    assert 1 <= count <= 10
    at_the_end = quiet(server)
    assert quiet(server) == at_the_end


def test_closing_a_client_in_another_greenlet_while_results_are_waited_for(server):
    gate = server.hold("/slow")
    client = Client()
    reader = gevent.spawn(list, client.run([server.url("/slow")]))
    eventually(lambda: gate.arrived)
    client.close()
    [result] = reader.get(timeout=5)
    assert isinstance(result.error, RequestCancelledError)


def test_closing_ends_an_input_without_an_end(server):
    with Client(concurrency=2) as client:
        results = client.run(requests_of(server, "fast"))
        next(results)
        client.close()
        assert len(list(results)) < 20


# Timeouts and kills


@lanes
def test_a_timeout_of_gevent_around_a_run_ends_it_and_results_are_kept(lane, server):
    gate = server.hold("/slow")
    session = Odd() if lane == "general" else None
    paths = ["/1", "/2", "/slow"]
    results = run([grequests.get(server.url(path), session=session) for path in paths])
    found = [next(results), next(results)]
    eventually(lambda: gate.arrived == 1)
    with pytest.raises(gevent.Timeout), gevent.Timeout(0.05):
        for result in results:
            found.append(result)
    eventually(lambda: gate.deserted == 1)
    [rest] = results
    assert [each.ok for each in found] == [True, True]
    assert isinstance(rest.error, RequestCancelledError)


def test_a_greenlet_that_is_killed_while_it_reads_ends_its_run(server):
    gate = server.hold("/slow")
    reader = gevent.spawn(lambda: list(run([server.url("/slow")] * 3)))
    eventually(lambda: gate.arrived == 3)
    reader.kill()
    eventually(lambda: gate.deserted == 3)


# Phases of a request


@pytest.fixture
def clock():
    with FakeClock() as one:
        yield one


PHASES = {
    "connecting": {"error": Fault.CONNECT_TIMEOUT},
    "waiting for the head": {"body": "x", "latency": 50},
    "in the body": {"body": [b"x", 50.0, b"y"]},
    "waiting for a retry": {"status": 503, "headers": {"Retry-After": "50"}},
}


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("how", ["left", "closed", "deadline"])
def test_whatever_it_is_doing_a_request_can_be_ended(clock, phase, how):
    with FakeTransport(clock) as fake, Client() as client:
        fake.add(f"{URL}/slow", **PHASES[phase])
        fake.add(f"{URL}/*", body="x")
        deadline = 2 if how == "deadline" else None
        results = client.run([f"{URL}/slow", "http://two.test/"], deadline=deadline)
        fake.add("http://two.test/", body="x")
        assert next(results).index == 1
        clock.advance(1)
        if how == "left":
            results.close()
        elif how == "closed":
            client.close()
        else:
            clock.advance(1)
        rest = list(results)
        assert len(rest) == (how != "left")
        for each in rest:
            assert each.error.sent and each.response is None
        now = client.statistics()
        assert (now.in_flight, now.queued, now.done) == (0, 0, 2)
        sent = len(fake.requests)
        clock.advance(500)
        assert len(fake.requests) == sent
    assert clock.pending == 0


def test_what_waits_for_a_rate_or_a_pause_leaves_no_timer(clock):
    with FakeTransport(clock) as fake:
        fake.add(f"{URL}/*", body="x")
        for _ in run([f"{URL}/{n}" for n in range(100)], rate=1, per_host_rate=1):
            break
    assert clock.pending == 0


def test_an_open_circuit_leaves_no_timer(clock):
    with FakeTransport(clock) as fake:
        fake.add(f"{URL}/*", error=Fault.REFUSED)
        list(run([f"{URL}/{n}" for n in range(9)], circuit=Circuit(failures=1, span=0), retry=None))
    assert clock.pending == 0


# Leaks


def test_many_runs_that_are_left_leave_nothing(server):
    server.hold("/slow")
    with Client(concurrency=4, retry=Retry(backoff=0.001)) as client:
        for number in range(30):
            for _ in client.run(
                [server.url("/"), *[server.url("/slow")] * 9], ordered=number % 2 > 0
            ):
                break
        now = client.statistics()
        assert (now.in_flight, now.queued) == (0, 0)
        assert len(client._core.admission.queues) == 0
        assert not client._core.flows


def test_a_run_leaves_no_cycles(server):
    urls = [server.url(f"/{n}") for n in range(50)]
    list(run(urls))
    gc.collect()
    gc.disable()
    try:
        list(run(urls))
        gc.set_debug(gc.DEBUG_SAVEALL)
        gc.collect()
        names = [type(each).__name__ for each in gc.garbage]
        assert names.count("Task") + names.count("AttemptCall") + names.count("Response") == 0
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()


# Ctrl-C


def interrupted(server, body, *, when, count=1):
    """Run a program, send it SIGINT when the server has seen something, and give what it says."""
    program = textwrap.dedent(body)
    environment = {**os.environ, "PYTHONPATH": str(Path(grequests.__file__).parents[1])}
    child = subprocess.Popen(
        [sys.executable, "-c", program, server.url("")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
        text=True,
    )

    def watch():
        try:
            eventually_in_thread(when, child)
            for _ in range(count):
                child.send_signal(signal.SIGINT)
        finally:
            done.set()

    done = threading.Event()
    threading.Thread(target=watch).start()
    try:
        out, error = gevent.get_hub().threadpool.apply(child.communicate, kwds={"timeout": 15})
    finally:
        child.kill()
        done.wait(5)
    return out.splitlines(), error


def eventually_in_thread(condition, child):
    pause = threading.Event()
    for _ in range(1_000):
        if condition() or child.poll() is not None:
            pause.wait(0.05)  # let what has been answered arrive; nothing depends on it
            return
        pause.wait(0.01)


@pytest.mark.parametrize("ordered", [False, True])
def test_ctrl_c_while_waiting_ends_the_run_and_results_are_kept(server, ordered):
    gate = server.hold("/slow")
    out, error = interrupted(
        server,
        f"""
        import sys, grequests
        root = sys.argv[1]
        results = grequests.run([root + f"/{{n}}" for n in range(5)] + [root + "/slow"] * 3,
                                ordered={ordered})
        count = 0
        try:
            for result in results:
                count += result.ok
            print("not interrupted")
        except KeyboardInterrupt:
            print("interrupted", count)
            rest = [type(result.error).__name__ for result in results]
            print(*rest)
        """,
        when=lambda: gate.arrived == 3,
    )
    assert error == ""
    assert out == ["interrupted 5", "RequestCancelledError " * 2 + "RequestCancelledError"]
    eventually(lambda: gate.deserted == 3)


def test_ctrl_c_in_the_body_of_the_loop_keeps_results_as_well(server):
    gate = server.hold("/slow")
    server.hold("/mark")
    out, error = interrupted(
        server,
        """
        import sys, grequests, gevent, threading
        root = sys.argv[1]
        results = grequests.run([root + f"/{n}" for n in range(5)] + [root + "/slow"] * 3)
        try:
            for result in results:
                gevent.sleep(0.2)       # the others end meanwhile
                print("busy", flush=True)
                threading.Event().wait(10)
        except KeyboardInterrupt:
            rest = [type(result.error).__name__ for result in results]
            print(rest.count("NoneType"), rest.count("RequestCancelledError"))
        """,
        when=lambda: gate.arrived == 3 and quiet_in_thread(server, 8),
    )
    assert error == ""
    assert out[-1] == "4 3"
    eventually(lambda: gate.deserted == 3)


def quiet_in_thread(server, count):
    threading.Event().wait(0.3)
    return server.count == count


def test_ctrl_c_that_nobody_catches_ends_the_program_as_ever(server):
    gate = server.hold("/slow")
    out, error = interrupted(
        server,
        """
        import sys, grequests
        with grequests.Client() as client:
            for result in client.run([sys.argv[1] + "/slow"] * 3):
                pass
        """,
        when=lambda: gate.arrived == 3,
    )
    assert error.rstrip().endswith("KeyboardInterrupt") and error.count("Traceback") == 1
    eventually(lambda: gate.deserted == 3)


def test_ctrl_c_while_a_future_is_waited_for(server):
    gate = server.hold("/slow")
    out, error = interrupted(
        server,
        """
        import sys, grequests
        with grequests.Client() as client:
            future = client.submit(sys.argv[1] + "/slow")
            try:
                future.result()
            except KeyboardInterrupt:
                print("interrupted", future.done(), future.cancel(), future.cancelled())
            print(client.submit(sys.argv[1] + "/quick").result().ok)
        """,
        when=lambda: gate.arrived == 1,
    )
    assert error == ""
    assert out == ["interrupted False True True", "True"]


def test_ctrl_c_in_the_input_ends_the_run(server):
    out, error = interrupted(
        server,
        """
        import sys, grequests, gevent, threading
        def urls():
            yield sys.argv[1] + "/1"
            gevent.sleep(0.1)
            threading.Event().wait(10)
        results = grequests.run(urls())
        try:
            print([result.ok for result in results])
        except KeyboardInterrupt:
            print("interrupted")
            print([type(result.error).__name__ for result in results])
        """,
        when=lambda: server.count == 1 and quiet_in_thread(server, 1),
    )
    assert error == ""
    assert out[0] == "interrupted" and len(out) == 2
