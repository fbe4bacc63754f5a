"""Threads for what blocks: enough of them, none that is in another's way, none that is left."""

from __future__ import annotations

import contextvars
import gc
import os
import socket
import sys
import threading
import weakref
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import gevent
import pytest
from anywhere.programs import run
from conftest import live_watchers

from grequests import _threads
from grequests._green_socket import getaddrinfo
from grequests._threads import MOST, await_lookup, in_thread
from servers import eventually


class Gate:
    """Functions that block until it is opened."""

    def __init__(self) -> None:
        self.inside = 0
        self._lock = threading.Lock()
        self._open = threading.Event()

    def block(self, *_: Any) -> Any:
        with self._lock:
            self.inside += 1
        assert self._open.wait(30)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 0))]

    def await_inside(self, count: int) -> None:
        eventually(lambda: self.inside == count, f"{count} to be inside")

    def open(self) -> None:
        self._open.set()


@pytest.fixture
def gate() -> Iterator[Gate]:
    made = Gate()
    yield made
    made.open()


@pytest.fixture
def slow_names(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> Gate:
    """Names whose lookups block, but `good.test`."""

    def look_up(host: str, *_: Any) -> Any:
        return ["found"] if host == "good.test" else gate.block()

    monkeypatch.setattr(_threads, "_socket", SimpleNamespace(getaddrinfo=look_up))
    return gate


def test_what_a_thread_raises_is_raised() -> None:
    def fail() -> None:
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        in_thread(fail)


def test_what_it_returns_is_returned_and_the_context_is_the_callers() -> None:
    mine: contextvars.ContextVar[str] = contextvars.ContextVar("mine")
    mine.set("yes")
    assert in_thread(lambda: (mine.get(), threading.get_ident())) != ("yes", threading.get_ident())
    assert in_thread(mine.get) == "yes"


def test_what_nobody_waits_for_any_more_is_discarded(gate: Gate) -> None:
    discarded: list[Any] = []
    waiting = gevent.spawn(in_thread, gate.block, discarded.append)
    gate.await_inside(1)
    waiting.kill()
    assert discarded == []
    gate.open()
    eventually(lambda: discarded, "it to be discarded")
    assert len(discarded) == 1


def test_so_is_what_was_done_just_before_its_caller_was_killed() -> None:
    """The result is here, but the greenlet has not been told yet."""
    discarded: list[str] = []
    waiting: list[Any] = []
    end = _threads._Errand.end

    def ending(self: Any) -> None:
        end(self)
        waiting[0].kill(block=False)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_threads._Errand, "end", ending)
        waiting.append(gevent.spawn(in_thread, lambda: "late", discarded.append))
        waiting[0].join(timeout=10)
    assert waiting[0].ready()
    assert discarded == ([] if waiting[0].value == "late" else ["late"])


def test_one_thread_after_the_other_is_the_same_one() -> None:
    used = set()
    for _ in range(20):
        used.add(in_thread(threading.get_ident))
        # It waits for the next a moment after it has done the last.
        threads = gevent.get_hub()._grequests_threads  # type: ignore[attr-defined]
        eventually(lambda: threads._idle, "the thread to be idle")
    assert len(used) == 1


@pytest.mark.parametrize("errands", [1, 2])
def test_a_thread_that_waits_for_more_keeps_nothing_of_what_it_did(errands: int) -> None:
    class Thing:
        """To be referred to weakly."""

    threads = _threads._Threads(gevent.get_hub())
    for _ in range(errands):
        thing = threads.run(Thing)
        eventually(lambda: threads._idle, "the thread to be idle")
    kept = weakref.ref(thing)
    del thing
    gc.collect()
    assert kept() is None


def test_threads_that_have_nothing_to_do_end(monkeypatch: pytest.MonkeyPatch) -> None:
    def count() -> int:
        return len(os.listdir("/proc/self/task"))

    monkeypatch.setattr(_threads, "_IDLE_SECONDS", 0.05)
    # Those of earlier tests have a longer patience, and are nobody's any more.
    monkeypatch.setattr(gevent.get_hub(), _threads._FOR_ERRANDS, None, raising=False)
    before = count()
    jobs = [gevent.spawn(in_thread, int) for _ in range(30)]
    gevent.joinall(jobs)
    assert [each.value for each in jobs] == [0] * 30
    eventually(lambda: count() <= before, "the threads to end")
    assert in_thread(int) == 0


def test_no_more_than_so_many_run_at_once(gate: Gate) -> None:
    waiting = [gevent.spawn(in_thread, gate.block) for _ in range(MOST + 5)]
    gate.await_inside(MOST)
    late = gevent.spawn(in_thread, int)
    late.join(timeout=0.1)
    assert not late.ready()
    waiting[-1].kill()  # it waits for its turn, and has none
    gate.open()
    assert late.get(timeout=20) == 0
    gevent.joinall(waiting, timeout=20)
    assert gate.inside == MOST + 4


def test_lookups_do_not_wait_for_other_work_nor_other_work_for_lookups(slow_names: Gate) -> None:
    work = Gate()
    waiting = [gevent.spawn(in_thread, work.block) for _ in range(MOST)]
    work.await_inside(MOST)
    assert getaddrinfo("good.test", 80) == ["found"]
    waiting += [gevent.spawn(getaddrinfo, f"slow-{n}.test", 80) for n in range(MOST)]
    slow_names.await_inside(MOST)
    work.open()
    assert in_thread(lambda: 1) == 1
    gevent.joinall(waiting[:MOST], timeout=20)
    slow_names.open()
    gevent.joinall(waiting, timeout=20)
    assert all(each.successful() for each in waiting)


def test_who_waits_until_a_lookup_can_begin_is_not_kept_longer(slow_names: Gate) -> None:
    waiting = [gevent.spawn(getaddrinfo, f"slow-{n}.test", 80) for n in range(MOST - 1)]
    slow_names.await_inside(MOST - 1)
    await_lookup()
    waiting.append(gevent.spawn(getaddrinfo, "slow.test", 80))
    slow_names.await_inside(MOST)
    turn = gevent.spawn(await_lookup)
    turn.join(timeout=0.1)
    assert not turn.ready()
    # A killed greenlet's lookup goes on in its thread, which is not free.
    waiting[0].kill()
    turn.join(timeout=0.1)
    assert not turn.ready()
    slow_names.open()
    turn.get(timeout=20)
    gevent.joinall(waiting, timeout=20)


def test_the_resolver_that_the_user_has_chosen_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    class Chosen:
        def getaddrinfo(self, *args: Any) -> list[Any]:
            return [args]

    monkeypatch.setattr(gevent.get_hub(), "resolver", Chosen())
    await_lookup()
    assert _threads.getaddrinfo("a", 0, 0, 1) == [("a", 0, 0, 1)]


@pytest.mark.parametrize("chosen", ["block", "ares", "thread", None])
def test_or_by_the_environment(chosen: str | None) -> None:
    program = """
        import sys
        import gevent
        from lanes import say
        from grequests import _threads

        found = _threads._asks_in_threads(gevent.get_hub())
        say([found, "gevent.threadpool" in sys.modules])
    """
    found, is_loaded = run(program, server=Nowhere(), env={"GEVENT_RESOLVER": chosen})
    assert found == (chosen in {"thread", None})
    assert not is_loaded, "slow to import, and not needed"


class Nowhere:
    """Instead of a server, for programs that ask none."""

    def url(self, _: str) -> str:
        return "http://127.0.0.1:9"


def test_no_watcher_stays(no_leaks: None) -> None:
    before = len(live_watchers())
    gevent.joinall([gevent.spawn(in_thread, int) for _ in range(10)])
    assert len(live_watchers()) <= before


def test_a_thread_that_cannot_be_started_is_an_error_and_no_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: Any) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(gevent.get_hub(), _threads._FOR_ERRANDS, None, raising=False)
    watchers = len(live_watchers())
    with monkeypatch.context() as patch:
        patch.setattr(_threads, "_start_new_thread", refuse)
        for _ in range(2 * MOST):
            with pytest.raises(RuntimeError, match="can't start"):
                in_thread(int)
    assert in_thread(int) == 0
    assert len(live_watchers()) <= watchers


def test_debuggers_and_profilers_see_what_runs_there(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []

    def look() -> Any:
        seen.append("here")
        return sys.getprofile()

    monkeypatch.setattr(gevent.get_hub(), _threads._FOR_ERRANDS, None, raising=False)

    def profile(frame: Any, *_: Any) -> None:
        if frame.f_code is look.__code__:
            seen.append("seen")

    before = threading.getprofile()
    threading.setprofile(profile)
    try:
        assert in_thread(look) is profile
    finally:
        threading.setprofile(before)
    assert "seen" in seen


# The hub may be gone, or another process's


def test_a_thread_that_ends_does_not_wait_for_what_it_has_given_up() -> None:
    """Nor is anything printed, and what comes late is discarded."""
    program = """
        import threading
        from types import SimpleNamespace
        import gevent
        from grequests import _threads
        from grequests._engine import current_engine
        from lanes import say

        go, inside, discarded = threading.Event(), threading.Event(), threading.Event()

        def block(*_):
            inside.set()
            go.wait(30)
            return []

        _threads._socket = SimpleNamespace(getaddrinfo=block)

        def work():
            engine = current_engine()
            stuck = gevent.spawn(engine.resolver.resolve, "name.test")
            gevent.sleep(0)
            errand = gevent.spawn(_threads.in_thread, block, lambda _: discarded.set())
            while not inside.is_set():
                gevent.sleep(0.01)
            gevent.sleep(0.05)
            stuck.kill()
            errand.kill()

        thread = threading.Thread(target=work)
        thread.start()
        thread.join(20)
        ended = not thread.is_alive()
        go.set()
        say([ended, discarded.wait(20)])
    """
    assert run(program, server=Nowhere()) == [True, True]


def test_a_program_ends_while_a_lookup_hangs() -> None:
    program = """
        import time
        from types import SimpleNamespace
        import gevent
        from grequests import _threads
        from lanes import say

        _threads._socket = SimpleNamespace(getaddrinfo=lambda *_: time.sleep(1000))
        with gevent.Timeout(0.1, False):
            _threads.getaddrinfo("name.test", 0)
        say("over")
    """
    assert run(program, server=Nowhere()) == "over"


def test_a_child_has_threads_of_its_own() -> None:
    program = """
        import os, threading
        import gevent
        from grequests import _threads
        from grequests._engine import current_engine
        from lanes import say

        go = threading.Event()
        current_engine()
        held = [gevent.spawn(_threads.in_thread, lambda: go.wait(30)) for _ in range(_threads.MOST)]
        gevent.sleep(0.1)
        reading, writing = os.pipe()
        child = os.fork()
        if not child:
            told = _threads.in_thread(lambda: b"child"), _threads.getaddrinfo("localhost", 0) and b""
            os.write(writing, b"".join(told))
            os._exit(0)
        go.set()
        gevent.joinall(held)
        os.waitpid(child, 0)
        say([os.read(reading, 100).decode(), _threads.in_thread(lambda: "parent")])
    """
    assert run(program, server=Nowhere(), env={"PYTHONWARNINGS": None}) == ["child", "parent"]


def test_a_hub_that_was_made_in_a_thread_is_gone_with_it() -> None:
    """Somebody's code that runs there may use gevent by itself."""
    program = """
        import gc, os, time
        import gevent
        from grequests import _threads
        from lanes import say

        _threads._IDLE_SECONDS = 0.01
        _threads.in_thread(int)
        before = len(os.listdir("/proc/self/fd"))
        gevent.joinall([gevent.spawn(_threads.in_thread, lambda: gevent.sleep(0.01)) for _ in range(9)])
        deadline = time.monotonic() + 20
        while len(os.listdir("/proc/self/fd")) > before and time.monotonic() < deadline:
            gevent.sleep(0.05)
            gc.collect()
        say(len(os.listdir("/proc/self/fd")) <= before)
    """
    assert run(program, server=Nowhere()) is True
