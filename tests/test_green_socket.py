"""Green sockets: waiting in any hub, ending on time, telling nobody's story but a socket's."""

from __future__ import annotations

import errno
import gc
import os
import queue
import socket
import threading
import time

import gevent
import pytest
import requests
import urllib3.util.connection
from general_scenarios.flood import flood
from general_scenarios.servers import Server, answer
from servers import full_backlog

from grequests import _general
from grequests._green_pool import IdleQueue
from grequests._green_socket import GreenSocket, getaddrinfo


@pytest.fixture
def pair():
    here, there = socket.socketpair()
    green = GreenSocket(fileno=here.detach())
    with green, there:
        yield green, there


def test_it_is_a_socket(pair):
    green, _ = pair
    assert isinstance(green, socket.socket)
    assert green.getblocking()
    assert green.gettimeout() is green.timeout is None


def test_others_run_while_it_waits(pair):
    green, there = pair
    reader = gevent.spawn(green.recv, 10)
    gevent.sleep(0)
    there.send(b"hello")
    assert reader.get(timeout=5) == b"hello"


def test_a_timeout_is_a_sockets_timeout(pair):
    green, _ = pair
    green.settimeout(0.05)
    with pytest.raises(TimeoutError, match="^timed out$"):
        green.recv(1)


def test_a_timeout_counts_from_the_call_however_long_the_hub_was_busy(pair):
    green, there = pair
    green.settimeout(0.3)
    gevent.spawn_later(0.1, there.send, b"x")
    time.sleep(0.4)  # the loop's clock stands still meanwhile
    assert green.recv(1) == b"x"


def test_the_timeout_of_sendall_covers_all_of_it(pair):
    green, there = pair
    green.settimeout(0.2)

    def drain():
        while there.recv(1000):
            gevent.sleep(0.01)

    drainer = gevent.spawn(drain)
    started = time.monotonic()
    with pytest.raises(TimeoutError):
        green.sendall(b"x" * 50_000_000)
    assert time.monotonic() - started < 2
    drainer.kill()


def test_sendall_sends_all(pair):
    green, there = pair
    got = []
    thread = threading.Thread(
        target=lambda: got.append(sum(len(d) for d in iter(lambda: there.recv(65536), b"")))
    )
    thread.start()
    green.sendall(memoryview(b"x" * 5_000_000))
    green.shutdown(socket.SHUT_WR)
    thread.join()
    assert got == [5_000_000]


def test_a_negative_timeout_is_refused(pair):
    with pytest.raises(ValueError, match="out of range"):
        pair[0].settimeout(-1)


def test_nonblocking_means_that_nothing_waits(pair):
    green, _ = pair
    green.setblocking(False)
    with pytest.raises(BlockingIOError):
        green.recv(1)
    assert not green.getblocking()


def test_closing_it_wakes_who_waits(pair):
    green, _ = pair
    outcome = []

    def read():
        try:
            green.recv(1)
        except OSError as error:
            outcome.append(error.errno)

    reader = gevent.spawn(read)
    gevent.sleep(0)
    green.close()
    reader.join(timeout=5)
    assert outcome == [errno.EBADF]


def test_closing_it_in_another_thread_wakes_who_waits(pair):
    green, _ = pair
    outcome = []

    def read():
        try:
            green.recv(1)
        except OSError as error:
            outcome.append(error.errno)

    reader = gevent.spawn(read)
    threading.Timer(0.1, green.close).start()
    reader.join(timeout=5)
    assert outcome == [errno.EBADF]


def test_a_killed_reader_leaves_nothing_behind(pair):
    green, there = pair
    reader = gevent.spawn(green.recv, 1)
    gevent.sleep(0)
    reader.kill()
    assert not green._waits
    there.send(b"x")
    assert green.recv(1) == b"x"


def test_a_refused_connection_says_so():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        green = GreenSocket(socket.AF_INET, socket.SOCK_STREAM)
        with green, pytest.raises(ConnectionRefusedError):
            green.connect(unused.getsockname())


def test_a_connection_that_is_not_answered_times_out():
    with full_backlog() as address, GreenSocket(socket.AF_INET, socket.SOCK_STREAM) as sock:
        sock.settimeout(0.1)
        with pytest.raises(TimeoutError, match="^timed out$"):
            sock.connect(address)


# --- names ---------------------------------------------------------------------------------------


class SlowResolver:
    """A resolver that takes its time, cooperatively, and counts."""

    def __init__(self, resolver):
        self.resolver = resolver
        self.now = self.peak = self.asked = 0

    def getaddrinfo(self, host, port, *args):
        self.asked += 1
        self.now += 1
        self.peak = max(self.peak, self.now)
        gevent.sleep(0.1)
        self.now -= 1
        return self.resolver.getaddrinfo("127.0.0.1", port, *args)


@pytest.fixture
def resolver(monkeypatch):
    hub = gevent.get_hub()
    slow = SlowResolver(hub.resolver)
    monkeypatch.setattr(hub, "resolver", slow)
    return slow


def test_looking_up_names_does_not_block_the_hub(resolver):
    with Server(expect=20) as server:
        assert flood(20, f"http://some.invalid:{server.port}/") == ["ok"] * 20
    assert resolver.peak == 20
    _general.close()


def test_a_number_is_not_looked_up(resolver):
    assert getaddrinfo("127.0.0.1", 80, 0, socket.SOCK_STREAM)
    assert getaddrinfo("::1", 80, 0, socket.SOCK_STREAM)
    assert resolver.asked == 0


def test_families_are_those_that_urllib3_allows(monkeypatch):
    asked = []

    def spy(host, port, family=0, *args):
        asked.append(family)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

    monkeypatch.setattr(
        gevent.get_hub(), "resolver", type("R", (), {"getaddrinfo": staticmethod(spy)})
    )
    monkeypatch.setattr(urllib3.util.connection, "allowed_gai_family", lambda: socket.AF_INET)
    with Server() as server:
        assert flood(1, f"http://some.invalid:{server.port}/") == ["ok"]
    assert asked == [socket.AF_INET]
    _general.close()


# --- the queue of a pool -------------------------------------------------------------------------


def test_a_queue_is_last_in_first_out_and_bounded():
    idle = IdleQueue(2)
    idle.put(1)
    idle.put(2)
    assert idle.full()
    with pytest.raises(queue.Full):
        idle.put(3, block=False)
    assert (idle.get(), idle.get()) == (2, 1)
    with pytest.raises(queue.Empty):
        idle.get(block=False)
    assert idle.empty()
    assert idle.qsize() == 0


def test_a_queue_wakes_who_waits_in_another_thread():
    idle = IdleQueue(1)
    got = []
    thread = threading.Thread(target=lambda: got.append(idle.get(timeout=5)))
    thread.start()
    time.sleep(0.05)
    idle.put("x")
    thread.join(5)
    assert got == ["x"]


# --- nothing is left over ------------------------------------------------------------------------


def descriptors() -> int:
    gc.collect()
    return len(os.listdir("/proc/self/fd"))


def test_no_descriptor_is_left_open_by_any_way_to_end():
    with Server(lambda _: answer(b"x" * 100_000)) as server, Server(delay=5) as slow:
        flood(1, server.url)
        _general.close()
        gevent.sleep(0.1)
        before = descriptors()
        flood(20, server.url)
        flood(20, server.url, stream=True)
        flood(20, slow.url, timeout=0.05)
        flood(20, "http://127.0.0.1:1/")
        killed = [gevent.spawn(_general.perform, None, "GET", slow.url, {}) for _ in range(20)]
        gevent.sleep(0.2)
        gevent.killall(killed)
        del killed
        with requests.Session() as session:
            flood(20, server.url, session)
        _general.close()
        deadline = time.monotonic() + 3  # the server's own ends are closed by its threads
        while descriptors() > before and time.monotonic() < deadline:
            gevent.sleep(0.05)
        slow.delay = 0
        assert len([fd for fd in _client_sockets() if fd]) == 0


def _client_sockets():
    return [o for o in gc.get_objects() if isinstance(o, GreenSocket) and o.fileno() != -1]
