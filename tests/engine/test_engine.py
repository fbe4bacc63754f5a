"""One engine per hub: threads, forks, and what idle connections may not do to the event loop."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import threading
from pathlib import Path
from typing import Any

import gevent
import pytest
from gevent.exceptions import LoopExit

from grequests._engine import Failure, Phase, current_engine
from grequests._engine import _engine as engine_module

from .raw import PATIENCE, Asked, Peer, RawServer, answer, ask, eventually, origin_of


def in_thread(function: Any) -> Any:
    """What a function returns in a thread of its own."""
    results: list[Any] = []
    thread = threading.Thread(target=lambda: results.append(function()))
    thread.start()
    thread.join(PATIENCE)
    assert not thread.is_alive()
    return results[0]


def run_script(path: Path, body: str, *args: str) -> str:
    path.write_text(textwrap.dedent(body))
    done = subprocess.run(
        [sys.executable, "-W", "error", str(path), *args],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert not done.stderr
    return done.stdout


# Threads


def test_one_engine_per_thread() -> None:
    mine = current_engine()
    assert current_engine() is mine
    assert gevent.spawn(current_engine).get() is mine
    assert in_thread(current_engine) is not mine


@pytest.mark.parametrize("tidy", [False, True])
def test_a_threads_connections_close_at_its_end(tidy: bool) -> None:
    taken = current_engine().budget.taken

    def work() -> Any:
        engine = current_engine()
        assert ask(origin_of(server, engine=engine), "/x")[1] == b"/x"
        assert engine.statistics().idle == 1
        if tidy:
            gevent.get_hub().destroy(destroy_loop=True)
        return engine

    with RawServer(Peer.serve) as server:
        for _ in range(3):
            engine = in_thread(work)
            assert engine not in engine_module._engines
            del engine
        eventually(lambda: server.open == 0, "the connections to close")
    eventually(lambda: current_engine().budget.taken <= taken, "all descriptors to come back")


def test_threads_do_not_share_connections() -> None:
    with RawServer(Peer.serve) as server:
        ask(origin_of(server))
        in_thread(lambda: ask(origin_of(server)))
        ask(origin_of(server))
        assert server.opened == 2


# The hub


class Raising(Asked):
    """Fails to take its response."""

    def on_response(self, *_: Any) -> None:
        raise ZeroDivisionError


def test_what_a_response_handler_raises_is_the_requests_failure(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with RawServer(Peer.serve) as server:
        origin = origin_of(server)
        failure = Raising(origin).send().failure
        assert isinstance(failure, Failure)
        assert failure.phase is Phase.BODY
        assert isinstance(failure.cause, ZeroDivisionError)
        assert ask(origin, "/next")[1] == b"/next"
        assert server.opened == 1, "the connection is not to blame"
    assert capsys.readouterr().err == "", "gevent had nothing to print"


def test_a_garbled_response_is_the_requests_failure(capsys: pytest.CaptureFixture[str]) -> None:
    def script(peer: Peer) -> None:
        peer.request()
        peer.send(b"garbage\r\n\r\n")

    with RawServer(script) as server:
        assert ask(origin_of(server)).phase is Phase.HEAD
    assert capsys.readouterr().err == ""


def test_idle_connections_do_not_keep_the_loop_going() -> None:
    with RawServer(Peer.serve) as server:
        ask(origin_of(server))
        assert current_engine().statistics().idle == 1
        assert gevent.wait(timeout=PATIENCE) is True
        assert current_engine().statistics().idle == 1, "it did not wait for the end of it"
        with pytest.raises(LoopExit):
            gevent.get_hub().switch()
        assert ask(origin_of(server))[0] == 200
        assert server.opened == 1


def test_requests_under_way_keep_the_loop_going() -> None:
    with RawServer(Peer.serve) as server:
        asked = [Asked(origin_of(server), f"/{number}").send() for number in range(5)]
        assert gevent.wait(timeout=PATIENCE) is True
        assert [each.outcomes for each in asked] == [[(200, b"/%d" % n)] for n in range(5)]


def test_statistics_and_reprs() -> None:
    with RawServer(Peer.serve) as server:
        origin = origin_of(server)
        asked = Asked(origin).send()
        assert current_engine().statistics().waiting == 1
        assert "connecting=1" in repr(origin)
        asked.wait()
        counts = current_engine().statistics()
        assert (counts.open, counts.idle, counts.waiting, counts.origins) == (1, 1, 0, 1)
        assert "idle served=1" in repr(origin.idle[0])
        assert origin.idle[0].fileno() > 0
        assert repr(current_engine()).startswith("<Engine open=1")
        connection = origin.idle[0]
        current_engine().close()
        assert "closed" in repr(connection)
        assert connection.fileno() == -1


# Other processes


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
@pytest.mark.parametrize("secure", [False, True])
def test_after_a_fork_both_sides_get_their_own_answers(
    tmp_path: Path, authority: Any, ca_file: str, secure: bool
) -> None:
    """Warm connections on the parent's side; more at once in the child than in the parent."""
    import ssl

    context = None
    if secure:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("127.0.0.1").configure_cert(context)
    body = """
        import os, sys
        import grequests
        url, ca = sys.argv[1:]

        def ask(who, count, size):
            targets = [f"/{who}/{number}" for number in range(count)]
            requests = (grequests.get(url + t, verify=ca, timeout=20) for t in targets)
            got = grequests.map(requests, size=size)
            assert [r and r.text for r in got] == targets, [r and r.text for r in got]

        ask("warm", 10, 10)
        child = os.fork()
        if child == 0:
            status = 1
            try:
                ask("child", 60, 30)
                ask("again", 10, 5)
                status = 0
            finally:
                os._exit(status)
        ask("parent", 60, 10)
        assert os.waitpid(child, 0)[1] == 0
        ask("after", 10, 10)
        print("fine")
    """
    with RawServer(Peer.serve, tls=context) as server:
        assert run_script(tmp_path / "fork.py", body, server.url, ca_file) == "fine\n"


def test_exit_with_idle_connections_says_nothing(tmp_path: Path) -> None:
    body = """
        import sys, threading
        import grequests
        assert grequests.map([grequests.get(sys.argv[1] + "/x")])[0].text == "/x"
        thread = threading.Thread(target=lambda: grequests.map([grequests.get(sys.argv[1])]))
        thread.start()
        thread.join()
        print("fine")
    """
    with RawServer(Peer.serve) as server:
        assert run_script(tmp_path / "exit.py", body, server.url) == "fine\n"
        eventually(lambda: server.open == 0, "the connections to close")


def test_closing_elsewhere_takes_nobodys_connection() -> None:
    """`grequests.close()` in one greenlet, `grequests.map` in another."""
    import grequests

    received, go = threading.Event(), threading.Event()

    def script(peer: Peer) -> None:
        peer.request()
        received.set()
        go.wait(PATIENCE)
        peer.send(answer(b"kept"))

    with RawServer(script) as server:
        running = gevent.spawn(lambda: grequests.map([grequests.get(server.url)])[0].text)
        eventually(received.is_set, "the request")
        grequests.close()
        go.set()
        assert running.get(timeout=PATIENCE) == "kept"
