"""The process itself as the cause of trouble: interrupted, forked, stopped, ended, and its clock set.

`tests/anywhere` has forks, signals, threads and exits where everything waits for answers; here they strike
in each phase of a request, and each time the four questions of `harness` are asked.
"""

from __future__ import annotations

import ast
import json
import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gevent
import gevent.event
import pytest
from anywhere.programs import environment, finish, hold, run, started
from programs import missing
from servers import Server, eventually

import grequests

from .growth import assert_steady
from .harness import LATE, TOTAL
from .phases import PHASES, Stuck, expected, interrupt

TESTS = Path(__file__).parents[1]
lanes = pytest.mark.parametrize("lane", ["fast", "general"])
phases = pytest.mark.parametrize("phase", PHASES)
pytestmark = pytest.mark.timeout(90)


def in_tests(**extra: str) -> dict[str, str | None]:
    """The environment of a program that imports what the tests share, and what programs do."""
    paths = os.pathsep.join([os.fspath(TESTS), os.fspath(TESTS / "anywhere")])
    return {**environment(), "PYTHONPATH": paths, **extra}


# Interrupted in each phase


def wait_for(stuck: Stuck) -> None:
    while not stuck.reached.is_set():
        gevent.sleep(0.002)


def by_timeout(read: Callable[[], None], stuck: Stuck) -> None:
    """As `with gevent.Timeout(...)` around the loop, whose time is up once the request is stuck."""
    timeout = gevent.Timeout(TOTAL)
    reader = gevent.getcurrent()

    def strike() -> None:
        wait_for(stuck)
        # (What the timer of a gevent.Timeout does.)
        gevent.get_hub().loop.run_callback(reader.throw, timeout)

    striking = gevent.spawn(strike)
    with gevent.Timeout(TOTAL + LATE, AssertionError("it hangs")):
        try:
            read()
        finally:
            striking.join()


def by_kill(
    read: Callable[[], None], stuck: Stuck, error: type[BaseException] = gevent.GreenletExit
) -> None:
    """The greenlet that reads is killed."""
    begun = gevent.event.Event()

    def read_until_killed() -> BaseException | None:
        begun.set()
        try:
            read()
        except error as raised:
            return raised
        return None

    reader = gevent.spawn(read_until_killed)
    begun.wait()
    wait_for(stuck)
    with gevent.Timeout(TOTAL + LATE, AssertionError("it hangs")):
        reader.kill(error)
    raise reader.value


def by_throw(read: Callable[[], None], stuck: Stuck) -> None:
    """Any other exception, such as a task queue's soft time limit."""
    by_kill(read, stuck, ZeroDivisionError)


STRIKES = {"Timeout": by_timeout, "GreenletExit": by_kill, "ZeroDivisionError": by_throw}


@pytest.mark.filterwarnings("ignore::urllib3.exceptions.InsecureRequestWarning")
@lanes
@phases
@pytest.mark.parametrize("raised", STRIKES)
def test_the_reader_is_interrupted(
    no_leaks: None, phase: str, lane: str, raised: str, capfd: pytest.CaptureFixture[str]
) -> None:
    def once() -> None:
        assert interrupt(phase, lane, STRIKES[raised]) == expected(phase, raised)

    once()
    assert_steady(once)
    assert capfd.readouterr().err == ""


@lanes
def test_ctrl_c_in_each_phase(lane: str) -> None:
    program = (
        "import sys\nsys.argv[:] = ['', sys.argv[1]]\nimport faults.interrupted as it\nit.main()"
    )
    found: Any = run(program, lane, lane=lane, env=in_tests())
    assert found == {phase: expected(phase, "KeyboardInterrupt") for phase in PHASES}


# Fork


def connections(server: Server, path: str) -> set[int]:
    return {each.connection for each in server.requests if each.target.startswith(path)}


@lanes
def test_a_fork_with_warm_connections_in_the_middle_of_a_run(lane: str, server: Server) -> None:
    """Parent and child go on with one client, and neither hears a byte of the other's."""
    server.hold("/before/*", 10)
    server.hold("/child/*", 40)
    program = """
        import os
        from grequests import Client
        from lanes import is_right, many, say

        def answered(results):
            return sum(each.error is None and is_right(each.request) for each in results)

        client = Client(concurrency=200, per_host=None, retry=None)
        warm = answered(client.run(many(10, "/before")))
        results = client.run(many(60, "/middle"))
        first = answered([next(results)])
        child = os.fork()
        if not child:
            os._exit(answered(client.run(many(40, "/child"))))
        rest = answered(results)
        _, status = os.waitpid(child, 0)
        later = answered(client.run(many(20, "/later")))
        counts = client.statistics()
        client.close()
        inside = os.waitstatus_to_exitcode(status)
        say([warm, first, rest, inside, later, counts.in_flight, counts.queued])
    """
    found = run(program, lane=lane, server=server)
    assert found == [10, 1, 59, 40, 20, 0, 0]
    assert len(connections(server, "/child")) == 40
    for path in ("/before", "/middle", "/later"):
        assert not connections(server, "/child") & connections(server, path)


# The end of the process, and of a thread

ALL_STUCK = """
import itertools, sys, threading, warnings
import gevent
import grequests
from faults.harness import Odd
from faults.phases import PHASES, Stuck

warnings.simplefilter("ignore")
session = Odd() if sys.argv[1] == "general" else None
places = [Stuck(phase).__enter__() for phase in PHASES]
client = grequests.Client(retry=None, circuit=None, timeout=grequests.Timeout(total=3600))
results = client.run(itertools.chain.from_iterable(place.items(session) for place in places))
reader = gevent.spawn(list, results)
while not all(place.reached.is_set() for place in places):
    gevent.sleep(0.01)
print(len(places), flush=True)
"""
ENDINGS = {
    "sys.exit": ("sys.exit(7)", 7),
    "the end of the program": ("", 0),
    "an exception": ("1 / 0", 1),
}


@lanes
@pytest.mark.parametrize("ending", ENDINGS)
def test_the_process_ends_with_requests_in_each_phase(lane: str, ending: str) -> None:
    """At once, with its own code, and saying nothing of its own."""
    last, code = ENDINGS[ending]
    env = in_tests()
    with started(ALL_STUCK + last + "\n", lane, lane=lane, server=None, env=env) as process:
        said, complaint = process.communicate(timeout=60)
    assert (process.returncode, said) == (code, f"{len(PHASES)}\n"), complaint
    if code == 1:
        assert complaint.count("Traceback") == 1
        assert complaint.endswith("ZeroDivisionError: division by zero\n")
    else:
        assert complaint == ""


@lanes
@pytest.mark.parametrize("is_kept", [False, True])
def test_a_thread_ends_in_the_middle_of_its_run(lane: str, is_kept: bool, server: Server) -> None:
    """What it had under way is closed with it, whoever still has its results; others go on."""
    gate = server.hold("/held/*")
    program = """
        import gc, os, sys, threading
        import grequests
        from grequests import Client
        from lanes import get, many, right, say

        kept = []

        def work():
            client = Client(retry=None)
            results = client.run([get("/first"), *many(5, "/held")])
            assert next(results).ok
            arrived.wait()
            if sys.argv[1] == "True":
                kept.append((client, results))

        arrived = threading.Event()
        thread = threading.Thread(target=work)
        thread.start()
        input()
        arrived.set()
        thread.join()
        gc.collect()
        found = right(10, "/after")
        print(found, flush=True)
        input()
    """
    with started(program, str(is_kept), lane=lane, server=server, stdin=-1) as process:
        eventually(lambda: gate.arrived == 5, "the requests")
        process.stdin.write("\n")
        process.stdin.flush()
        assert process.stdout.readline() == "10\n", process.stderr.read()
        eventually(lambda: gate.deserted == 5, "the thread's connections to be closed")
        process.stdin.write("\n")
        process.stdin.flush()
        assert finish(process) == ""


@lanes
def test_threads_that_end_in_the_middle_leave_no_memory(lane: str, server: Server) -> None:
    """No more than gevent does, whose hubs stay with some 7 KB each if nobody destroys them."""
    server.hold("/held/*")
    program = """
        import threading
        import gevent
        from faults.growth import assert_steady, least_growth
        from grequests import Client
        from lanes import get, many, right, say

        def work():
            results = Client(retry=None).run([get("/first"), *many(5, "/held")])
            assert next(results).ok

        def in_a_thread(function):
            thread = threading.Thread(target=function)
            thread.start()
            thread.join()

        in_a_thread(work)
        others = least_growth(lambda: in_a_thread(lambda: gevent.sleep(0.001)))
        assert_steady(lambda: in_a_thread(work), others)
        say(right(10, "/after"))
    """
    assert run(program, lane=lane, server=server, env=in_tests()) == 10


# Time

SOURCE = Path(grequests.__file__).parent
#: Who may ask what time it is on the wall, and why.
WALL = {
    "_clock.py: time": "Retry-After may be a date (RFC 9110 section 10.2.3)",
    "opentelemetry.py: time": "spans begin and end at a time of day",
}
CLOCKS = {"time", "datetime"}
WALL_NAMES = {"time", "time_ns", "now", "utcnow", "today", "localtime", "gmtime", "ctime"}


def wall_clocks(path: Path) -> set[str]:
    """Where a module asks what time it is, other than since some moment."""
    tree = ast.parse(path.read_text())
    modules, found = set(), set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            modules |= {each.asname or each.name for each in node.names if each.name in CLOCKS}
        elif isinstance(node, ast.ImportFrom) and node.module in CLOCKS:
            names = {each.name for each in node.names}
            modules |= names & {"datetime", "date"}
            found |= {f"{path.name}: {name}" for name in names & WALL_NAMES}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr in WALL_NAMES:
            owner = node.value.attr if isinstance(node.value, ast.Attribute) else None
            owner = node.value.id if isinstance(node.value, ast.Name) else owner
            if owner in modules:
                found.add(f"{path.name}: {node.attr}")
    return found


def test_all_that_waits_has_a_clock_that_cannot_be_set() -> None:
    """The wall's clock is asked for dates and by those who only report; see `WALL`."""
    found: set[str] = set()
    for path in SOURCE.rglob("*.py"):
        found |= wall_clocks(path)
    assert found == WALL.keys()


def faked(folder: Path) -> tuple[dict[str, str | None], Path]:
    """The environment of a program whose wall clock is set by writing to a file."""
    found = sorted(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))
    if not found:
        missing("apt-get install faketime")
    rate = folder / "wall"
    rate.write_text("+0d\n")
    settings: dict[str, str | None] = {
        "LD_PRELOAD": os.fspath(found[0]),
        "FAKETIME_TIMESTAMP_FILE": os.fspath(rate),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "DONT_FAKE_MONOTONIC": "1",
    }
    return settings, rate


@lanes
@pytest.mark.parametrize("jump", ["+1d", "-1d"])
def test_the_clock_is_set_in_the_middle_of_a_run(
    lane: str, jump: str, server: Server, tmp_path: Path
) -> None:
    """By a day: nothing times out for that, and what is to time out does."""
    env, wall = faked(tmp_path)
    hold(server, "/held/*")
    server.hold("/never/*")
    program = """
        import sys, time
        from pathlib import Path
        import gevent, grequests
        from grequests import Client, Timeout
        from grequests._kinds import kind_of
        from lanes import LANE, URL, await_arrivals, many, open_gate, say, session

        def get(path):
            return grequests.get(URL + path, session=session if LANE == "general" else None)

        def told(results):
            return [each.response.status_code if each.ok else kind_of(each.error) for each in results]

        def strike():
            await_arrivals(10)
            before = time.time()
            Path(sys.argv[1]).write_text(sys.argv[2] + "\\n")
            jumps.append(round((time.time() - before) / 86400))
            gevent.sleep(0.05)
            open_gate()

        jumps = []
        with Client(retry=None, concurrency=20, timeout=Timeout(connect=20, read=30, total=40)) as c:
            striking = gevent.spawn(strike)
            found = told(c.run(many(10, "/held")))
            striking.get()
            found += told(c.run([get("/next")]))
        with Client(retry=None, timeout=Timeout(connect=20, read=0.3, total=40)) as c:
            found += told(c.run([get("/never/1")]))
        with Client(retry=None, timeout=Timeout(connect=20, read=20, total=0.3)) as c:
            found += told(c.run([get("/never/2")]))
            found += told(c.run([get("/next")]))
        say([jumps, found])
    """
    jumps, found = run(program, os.fspath(wall), jump, lane=lane, server=server, env=env)
    assert jumps == [1 if jump == "+1d" else -1]
    assert found == [*[200] * 11, "read timeout", "total timeout", 200]


# Suspended

#: Seconds for which a process is stopped, and which it may wait for an answer.
STOPPED, PATIENT = 60.0, 20.0


@lanes
def test_the_process_is_suspended_for_a_minute(lane: str, server: Server) -> None:
    """What came meanwhile counts, what did not is too late, and all goes on."""
    gate = server.hold("/meanwhile/*", patience=2 * STOPPED)
    never = server.hold("/never/*", patience=2 * STOPPED)
    program = """
        import sys
        import grequests
        from grequests import Client, Timeout
        from grequests._kinds import kind_of
        from lanes import LANE, URL, right, say, session

        mine = session if LANE == "general" else None
        paths = [f"/{word}/{n}" for word in ("meanwhile", "never") for n in range(5)]
        requests = [grequests.get(URL + path, session=mine) for path in paths]
        with Client(retry=None, timeout=Timeout(connect=20, read=float(sys.argv[1]))) as client:
            found = {}
            for result in client.run(requests):
                outcome = "answered" if result.ok else kind_of(result.error)
                word = result.request.url.split("/")[3]
                found.setdefault(f"{word}: {outcome}", []).append(result.index)
            counts = client.statistics()
        say([{key: len(each) for key, each in found.items()}, right(10, "/next"),
             counts.in_flight, counts.queued])
    """
    with started(program, str(PATIENT), lane=lane, server=server) as process:
        eventually(lambda: gate.arrived == 5 and never.arrived == 5, "the requests")
        process.send_signal(signal.SIGSTOP)
        try:
            gate.open()
            # The one thing here that takes its time: it is what is tested.
            threading.Event().wait(STOPPED)
        finally:
            process.send_signal(signal.SIGCONT)
        found = json.loads(finish(process))
    assert found == [{"meanwhile: answered": 5, "never: read timeout": 5}, 10, 0, 0]
