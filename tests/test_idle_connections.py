"""Idle connections: used again, dropped after a quiet time, released by `close`, threads and exit."""

from __future__ import annotations

import subprocess
import sys
import threading
import time

import gevent
import pytest
from conftest import descriptors, live_watchers
from servers import Server, answer, eventually

import grequests
from grequests._engine import _engine, _pool, current_engine

pytestmark = pytest.mark.usefixtures("no_leaks")


def fetch(server: Server, count: int = 1, **kwargs: object) -> None:
    """So many requests at a time, over so many connections."""
    gate = server.hold(f"/{server.count}", count)
    sent = [grequests.get(server.url(f"/{server.count}")) for _ in range(count)]
    assert [response.status_code for response in grequests.map(sent, **kwargs)] == [200] * count
    gate.close()


def run_script(source: str, *arguments: str) -> str:
    """What a program prints whose every warning is an error; nothing on stderr is allowed."""
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", "-c", source, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


# --- used again ----------------------------------------------------------------------------------


def test_calls_one_after_the_other_share_a_connection(server):
    for _ in range(5):
        fetch(server)
    grequests.get(server.url()).send()
    grequests.send(grequests.get(server.url())).join()
    list(grequests.imap([grequests.get(server.url())]))
    list(grequests.imap_enumerated([grequests.get(server.url())]))
    assert (server.count, server.opened) == (9, 1)


def test_many_at_a_time_share_as_many_connections(server):
    for _ in range(4):
        fetch(server, 10)
    assert (server.count, server.opened) == (40, 10)
    counts = current_engine().statistics()
    assert (counts.open, counts.idle, counts.origins) == (10, 10, 1)


def test_the_connection_used_last_is_used_first(server):
    fetch(server, 3)
    used = [request.connection for request in server.requests]
    for _ in range(5):
        fetch(server)
    assert len({request.connection for request in server.requests[3:]}) == 1
    assert {request.connection for request in server.requests[3:]} <= set(used)


def test_https_connections_are_used_again(https_server, ca_file):
    for _ in range(3):
        [response] = grequests.map([grequests.get(https_server.url(), verify=ca_file)])
        assert response.text == "/"
    assert https_server.opened == 1


def test_a_connection_the_server_wants_closed_is_not_used_again(server):
    server.on("/once", lambda _: answer(b"", "200 OK", "Connection: close"))
    for _ in range(3):
        assert grequests.map([grequests.get(server.url("/once"))])[0].ok
    assert server.opened == 3
    assert current_engine().statistics().open == 0


def test_a_connection_the_server_closed_meanwhile_is_not_used_again(server):
    fetch(server)
    server.requests[0].sock.shutdown(2)
    eventually(lambda: current_engine().statistics().open == 0)
    fetch(server)
    assert server.opened == 2


def test_a_connection_that_is_closed_while_busy_is_closed_after_its_response(server):
    """By who had seen it idle (`raw._pool`): as in urllib3, the response comes nevertheless."""
    [first] = grequests.map([grequests.get(server.url())])
    (seen,) = first.raw._pool.pool.queue
    gate = server.hold("/held")
    asked = grequests.get(server.url("/held"))
    greenlet = grequests.send(asked)
    eventually(lambda: gate.arrived, "the request to arrive")
    seen.close()
    gate.open()
    greenlet.join()
    assert asked.response.text == "/held"
    assert server.opened == 1
    assert seen.sock is None
    seen.close()


def test_connections_of_another_thread_are_closed_when_it_runs(server):
    shown, closed = [], threading.Event()

    def ask():
        [response] = grequests.map([grequests.get(server.url())])
        shown.append(response.raw._pool)
        assert closed.wait(10)
        assert len(shown[0].pool.queue) == 1, "nobody else touches them"
        eventually(lambda: not shown[0].pool.queue, "it to be closed")

    thread = threading.Thread(target=ask)
    thread.start()
    eventually(lambda: shown, "the response")
    shown[0].close()
    closed.set()
    thread.join(10)
    assert shown[0].pool.queue == []
    shown[0].close()  # its hub is gone


# --- the quiet time ------------------------------------------------------------------------------


def test_the_quiet_time_is_below_what_servers_give():
    # Node, uvicorn and Apache close after 5 s.
    assert _pool.IDLE_SECONDS < 5


def test_connections_are_dropped_after_the_quiet_time(server, monkeypatch):
    monkeypatch.setattr(_pool, "IDLE_SECONDS", 0.05)
    fetch(server, 5)
    assert current_engine().statistics().idle == 5
    eventually(lambda: server.closed == 5, "the quiet time to end")
    counts = current_engine().statistics()
    assert (counts.open, counts.idle, counts.origins) == (0, 0, 0)
    fetch(server)
    assert server.opened == 6


def test_use_begins_the_quiet_time_anew(server, monkeypatch):
    monkeypatch.setattr(_pool, "IDLE_SECONDS", 0.3)
    began = time.monotonic()
    while time.monotonic() - began < 0.7:
        fetch(server)
        gevent.sleep(0.01)
    # Unless this machine stood still for 0.3 s, one connection served them all.
    assert server.opened <= 2
    eventually(lambda: server.closed == server.opened)


def test_idle_connections_do_not_keep_the_loop_alive(server):
    fetch(server, 3)
    # All greenlets and referenced watchers have ended: True at once.
    began = time.monotonic()
    assert gevent.wait(timeout=5)
    assert time.monotonic() - began < 4


# --- close ---------------------------------------------------------------------------------------


def test_close_releases_them(server):
    fetch(server, 7)
    assert server.closed == 0
    grequests.close()
    eventually(lambda: server.closed == 7, "the server to see them closed")
    assert current_engine().statistics().open == 0


def test_close_releases_those_of_the_general_lane_though_responses_live(server):
    sent = [grequests.get(server.url()) for _ in range(3)]
    responses = grequests.map(sent, stream=True)
    assert [each.text for each in responses] == ["/"] * 3
    grequests.close()
    eventually(lambda: server.closed == server.opened, "the server to see them closed")
    assert [each.text for each in responses] == ["/"] * 3


def test_close_leaves_no_watcher(server):
    current_engine().close()
    before = len(live_watchers())
    fetch(server, 3)
    grequests.close()
    assert len(live_watchers()) == before


# --- threads -------------------------------------------------------------------------------------


def test_a_thread_has_its_own(server):
    fetch(server)
    thread = threading.Thread(target=fetch, args=(server,))
    thread.start()
    thread.join()
    fetch(server)
    assert server.opened == 2
    assert [each.connection for each in server.requests] == [1, 2, 1]


def test_those_of_a_thread_that_ended_are_closed(server):
    thread = threading.Thread(target=fetch, args=(server, 5))
    thread.start()
    thread.join()
    eventually(lambda: server.closed == 5, "the server to see them closed")


def test_a_thread_that_destroys_its_hub_leaves_nothing(server):
    def run() -> None:
        fetch(server, 5)
        gevent.get_hub().destroy()

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    eventually(lambda: server.closed == 5, "the server to see them closed")


def test_close_is_for_this_thread_only(server):
    fetch(server)
    thread = threading.Thread(target=grequests.close)
    thread.start()
    thread.join()
    fetch(server)
    assert server.opened == 1


def test_many_threads_leave_no_descriptor(server):
    def run() -> None:
        fetch(server)

    def some_threads() -> int:
        for _ in range(10):
            thread = threading.Thread(target=run)
            thread.start()
            thread.join()
        eventually(lambda: server.closed == server.opened)
        return descriptors().total()

    assert some_threads() == some_threads()


# --- exit ----------------------------------------------------------------------------------------

LEAVES_IDLE = """
import sys, grequests
print([r.status_code for r in grequests.map([grequests.get(sys.argv[1]) for _ in range(3)])])
"""


def test_nothing_is_warned_of_at_exit(server):
    assert run_script(LEAVES_IDLE, server.url()) == "[200, 200, 200]\n"
    eventually(lambda: server.closed == server.opened)


def test_nothing_is_warned_of_at_exit_after_close(server):
    assert run_script(LEAVES_IDLE + "grequests.close()", server.url()) == "[200, 200, 200]\n"


def test_nothing_is_warned_of_at_exit_with_threads(server):
    source = """
import sys, threading, grequests
def run():
    assert grequests.map([grequests.get(sys.argv[1])])[0].ok
threads = [threading.Thread(target=run) for _ in range(4)]
[t.start() for t in threads]
[t.join() for t in threads]
run()
print("done")
"""
    assert run_script(source, server.url()) == "done\n"
    eventually(lambda: server.closed == server.opened == 5)


def test_nothing_is_warned_of_at_exit_with_sessions_and_streams(server):
    source = """
import sys, grequests, requests
url = sys.argv[1]
with requests.Session() as session:
    sent = [grequests.get(url), grequests.get(url, session=session)]
    for response in grequests.map(sent, stream=True):
        print(response.text)
"""
    assert run_script(source, server.url()) == "/\n/\n"


def test_at_exit_a_thread_closes_its_own_connections_and_no_other_threads(server, monkeypatch):
    # Another thread may be in its loop just then, and a loop is for one thread.
    mapped, over = threading.Event(), threading.Event()
    left = []

    def work():
        grequests.map([grequests.get(server.url())])
        mapped.set()
        over.wait()
        left.append(current_engine().statistics().open)

    thread = threading.Thread(target=work)
    thread.start()
    mapped.wait()
    grequests.map([grequests.get(server.url())])
    monkeypatch.setattr(_engine, "_engines", list(_engine._engines))
    _engine._close_at_exit()
    assert current_engine().statistics().open == 0
    over.set()
    thread.join()
    assert left == [1]


def test_nothing_is_warned_of_when_a_loop_is_left_by_exit(server):
    gate = server.hold("/held")
    source = """
import sys, grequests
def endless():
    yield grequests.get(sys.argv[1])
    while True:
        yield grequests.get(sys.argv[1] + "held")
for response in grequests.imap(endless(), size=5):
    print(response.text)
    sys.exit()
"""
    assert run_script(source, server.url()) == "/\n"
    eventually(lambda: gate.deserted == gate.arrived)
    eventually(lambda: server.closed == server.opened)


def test_nothing_is_warned_of_when_an_unfinished_loop_lives_until_exit(server):
    gate = server.hold("/held")
    source = """
import sys, grequests
url = sys.argv[1]
results = grequests.imap([grequests.get(url), grequests.get(url + "held")], size=2)
print(next(results).text)
"""
    assert run_script(source, server.url()) == "/\n"
    eventually(lambda: gate.deserted == gate.arrived)
