"""Signals strike in the middle of a map: what the handler raises reaches the caller, at once.

And it reaches nobody else: no request takes it for its failure, nothing prints it, and connections
of requests that were on their way are closed.
"""

from __future__ import annotations

import json
import os
import signal

import pytest
from servers import eventually

from anywhere.programs import finish, hold, run, started

PROLOGUE = """
import signal, sys
import gevent
import grequests
from lanes import LANE, URL, get, is_right, many, right, say

# Whoever starts this may have had SIGINT ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)

class Rang(Exception):
    pass

def ring(number, frame):
    raise Rang(number)

CALLS = {
    "map": lambda requests: grequests.map(requests),
    "map of one": lambda requests: grequests.map(requests),
    "imap": lambda requests: list(grequests.imap(requests, size=10)),
    "imap_enumerated": lambda requests: list(grequests.imap_enumerated(requests, size=10)),
    "send": lambda requests: grequests.send(requests[0]).get(),
}
"""


@pytest.mark.parametrize("call", ["map", "map of one", "imap", "imap_enumerated", "send"])
def test_ctrl_c_while_everything_waits(call, lane, server):
    gate = server.hold("/held/*")
    count = 1 if call in {"send", "map of one"} else 10
    program = (
        PROLOGUE
        + """
held = many(int(sys.argv[2]), "/held")
try:
    CALLS[sys.argv[1]](held)
except KeyboardInterrupt:
    say([right(20, "/after"), [each.response for each in held]])
"""
    )
    with started(program, call, str(count), lane=lane, server=server) as process:
        eventually(lambda: gate.arrived == count, "the requests")
        process.send_signal(signal.SIGINT)
        assert json.loads(finish(process)) == [20, [None] * count]
        eventually(lambda: gate.deserted == count, "the connections to be closed")


@pytest.mark.parametrize("call", ["map", "map of one", "imap", "run"])
def test_ctrl_c_that_does_not_wake_the_poll(call, lane, server):
    """As if it came between gevent's last look and the poll, or to another thread: which is sure."""
    gate = server.hold("/held/*")
    count = 1 if call == "map of one" else 10
    program = (
        PROLOGUE
        + """
import os, threading

CALLS["run"] = lambda requests: list(grequests.run(requests))
# (By then the server has answered, which would wake it.)
hangs = threading.Timer(15, os._exit, [9])
hangs.daemon = True
hangs.start()
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
held = many(int(sys.argv[2]), "/held")
try:
    CALLS[sys.argv[1]](held)
except KeyboardInterrupt:
    say(right(20, "/after"))
"""
    )
    with started(program, call, str(count), lane=lane, server=server) as process:
        eventually(lambda: gate.arrived == count, "the requests")
        process.send_signal(signal.SIGINT)
        assert json.loads(finish(process)) == 20


def test_a_soft_time_limit_while_everything_waits(lane, server):
    hold(server, "/held/*")
    program = (
        PROLOGUE
        + """
    signal.signal(signal.SIGALRM, ring)
    held = many(10, "/held")
    signal.setitimer(signal.ITIMER_REAL, 0.2)
    try:
        grequests.map(held)
    except Rang as error:
        say([error.args == (signal.SIGALRM,), right(20, "/after")])
    """.replace("\n    ", "\n")
    )
    assert run(program, lane=lane, server=server) == [True, 20]


#: Where a signal may strike when all is busy, as `module.Class.function`.
POINTS = {
    "both": [
        *("_call.Call.__init__", "_call.Call.start", "_scheduler.Scheduler.done"),
        *("_scheduler.Scheduler._wait", "_scheduler.Scheduler._wait_for_slot"),
    ],
    "fast": [
        *("_call.Call._start_plain", "_call.Call.on_response"),
        *("_engine._pool.Origin.dispatch", "_engine._pool.Origin.on_idle"),
        *("_engine._pool.Origin._connect", "_engine._pool.Origin._on_connected"),
        *("_engine._connect.Connector.connect", "_engine._connect.Connector._attempt"),
        *("_engine._connection.Connection.start", "_engine._connection.Connection._on_readable"),
        *("_engine._connection.Connection._finish", "_engine._protocol.ResponseReader.feed"),
        "_engine._protocol.ResponseReader.take_body",
        "_engine._protocol.ResponseReader.on_message_complete",
    ],
    "general": [
        *("_call.Call._start_other", "_call.Call._run_spawned", "_call.Call._run_general"),
        *("_call.Call._succeed", "_general._send", "_general._adapters"),
        *("_green_socket.GreenSocket._wait", "_green_socket.GreenSocket.recv_into"),
        *("_green_socket.GreenSocket.sendall", "_green_pool._GreenPool._new_conn"),
        "_green_pool._GreenPool.urlopen",
    ],
}


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_handler_raises_while_everything_is_busy(moment, lane, server):
    program = (
        PROLOGUE
        + """
    import functools, importlib

    class Handler:
        # Of the kind that is hardest to recognise.
        def __call__(self, *args):
            raise Rang("here")

    signal.signal(signal.SIGALRM, Handler())

    def find(point):
        path = point.split(".")
        for end in range(len(path) - 1, 0, -1):
            try:
                owner = importlib.import_module("grequests." + ".".join(path[:end]))
            except ImportError:
                continue
            return functools.reduce(getattr, path[end:-1], owner), path[-1]

    def striking(function, moment):
        countdown = 2

        @functools.wraps(function)
        def call(*args, **kwargs):
            nonlocal countdown
            countdown -= 1
            strikes = countdown == 0
            if strikes and moment == "before":
                signal.raise_signal(signal.SIGALRM)
            result = function(*args, **kwargs)
            if strikes and moment == "after":
                signal.raise_signal(signal.SIGALRM)
            return result

        return call

    missed = []
    for point in sys.argv[2:]:
        grequests.close()
        owner, name = find(point)
        function = vars(owner)[name]
        setattr(owner, name, striking(function, sys.argv[1]))
        sent = many(30, "/" + point)
        try:
            grequests.map(sent, size=5)
        except Rang:
            pass
        else:
            missed.append(point)
        finally:
            setattr(owner, name, function)
        failed = [each.exception for each in sent if "exception" in vars(each)]
        left = sum(bool(each._in_flight) for each in sent)
        if failed or left:
            missed.append([point, repr(failed), left])
        try:
            assert right(30, "/after", size=5) == 30
        except BaseException as error:
            missed.append([point, "after", repr(error)[:80]])
    say(missed)
    """.replace("\n    ", "\n")
    )
    # A socket that was being made just then is closed by the garbage collector, as ever.
    flags = ["-W", "error", "-W", "ignore::ResourceWarning"]
    points = POINTS["both"] + POINTS[lane]
    for point in points:
        server.hold(f"/{point}/*", 5)  # so that there are five connections
    assert run(program, moment, *points, lane=lane, server=server, flags=flags) == []


def test_handlers_that_raise_nothing_run_in_the_middle_of_a_map(lane, server):
    hold(server, "/held/*")
    program = (
        PROLOGUE
        + """
rung = []

def count(number, frame):
    rung.append(number)
    if len(rung) == 20:
        signal.setitimer(signal.ITIMER_REAL, 0)
        import requests
        requests.get(URL + "/open")

signal.signal(signal.SIGALRM, count)
signal.setitimer(signal.ITIMER_REAL, 0.01, 0.01)
say([right(10, "/held"), len(rung)])
"""
    )
    assert run(program, lane=lane, server=server) == [10, 20]


def test_sigterm_ends_the_process_in_the_middle_of_a_map(lane, server):
    gate = server.hold("/held/*")
    with started(PROLOGUE + "right(10, '/held')", lane=lane, server=server) as process:
        eventually(lambda: gate.arrived == 10, "the requests")
        process.send_signal(signal.SIGTERM)
        assert finish(process, -signal.SIGTERM) == ""


def test_sigterm_with_a_handler_that_exits(lane, server):
    gate = server.hold("/held/*")
    program = (
        PROLOGUE
        + """
def leave(number, frame):
    sys.exit(7)

signal.signal(signal.SIGTERM, leave)
try:
    right(10, "/held")
finally:
    print("left")
"""
    )
    with started(program, lane=lane, server=server) as process:
        eventually(lambda: gate.arrived == 10, "the requests")
        process.send_signal(signal.SIGTERM)
        assert finish(process, 7) == "left\n"


def test_ctrl_c_with_nobody_to_catch_it(lane, server):
    gate = server.hold("/held/*")
    with started(PROLOGUE + "right(10, '/held')", lane=lane, server=server) as process:
        eventually(lambda: gate.arrived == 10, "the requests")
        process.send_signal(signal.SIGINT)
        _, complaint = process.communicate(timeout=50)
    assert process.returncode == -signal.SIGINT
    # One traceback, the interpreter's, which leads through the caller's line.
    assert complaint.count("Traceback") == complaint.count("\nKeyboardInterrupt\n") == 1
    assert "in right\n" in complaint


def test_a_hub_whose_owner_handles_errors_keeps_its_handler(server):
    program = (
        PROLOGUE
        + """
told = []
hub = gevent.get_hub()
hub.handle_error = lambda context, kind, error, traceback: told.append(kind.__name__)
mine = hub.handle_error
right(10, "/x")
gevent.spawn(lambda: 1 / 0).join()
say([hub.handle_error is mine, told])
"""
    )
    assert run(program, server=server) == [True, ["ZeroDivisionError"]]


def test_ctrl_c_where_the_main_threads_hub_is_not_gevents_main_hub(lane, server):
    gate = server.hold("/held/*")
    program = """
import signal, threading
signal.signal(signal.SIGINT, signal.default_int_handler)
thread = threading.Thread(target=lambda: __import__("lanes").right(5, "/thread"))
thread.start()
thread.join()
from lanes import right, say
try:
    right(10, "/held")
except KeyboardInterrupt:
    say(right(20, "/after"))
"""
    with started(program, lane=lane, server=server) as process:
        eventually(lambda: gate.arrived == 10, "the requests")
        process.send_signal(signal.SIGINT)
        assert finish(process, timeout=20) == "20\n"


def test_ctrl_c_in_a_child_that_a_thread_forked(lane, server):
    gate = server.hold("/held/*")
    program = (
        PROLOGUE
        + """
import os, threading

def work():
    right(5, "/before")
    child = os.fork()
    if child:
        print(child, flush=True)
        os.waitpid(child, 0)
        return
    try:
        right(10, "/held")
    except KeyboardInterrupt:
        say(right(20, "/after"))
    os._exit(0)

thread = threading.Thread(target=work)
thread.start()
thread.join()
"""
    )
    with started(program, lane=lane, server=server) as process:
        child = int(process.stdout.readline())
        eventually(lambda: gate.arrived == 10, "the requests")
        os.kill(child, signal.SIGINT)
        assert finish(process, timeout=20) == "20\n"


def test_a_hub_that_was_made_in_somebodys_greenlet(lane, server):
    # As under SQLAlchemy's greenlet_spawn: gevent takes that greenlet, which ends, for the main one.
    gate = server.hold("/held/*")
    program = (
        PROLOGUE
        + """
import greenlet
inside = [greenlet.greenlet(lambda: right(5, "/inside")).switch() for _ in range(2)]
try:
    right(10, "/held")
except KeyboardInterrupt:
    say([*inside, right(20, "/after"), greenlet.greenlet(lambda: right(5, "/inside")).switch()])
"""
    )
    with started(program, lane=lane, server=server) as process:
        eventually(lambda: gate.arrived == 10, "the requests")
        process.send_signal(signal.SIGINT)
        assert finish(process, timeout=20) == "[5, 5, 20, 5]\n"
