"""Ctrl-C in each phase of a request: `python -m faults.interrupted <lane>` says what came of it as JSON.

The signal comes from a thread that watches, once the request is stuck, as from a keyboard: to the
process. It needs a process of its own, because a signal that comes too late would end the tests.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable

import gevent
import urllib3

from .growth import assert_steady
from .harness import LATE, TOTAL
from .phases import PHASES, Stuck, interrupt
from .routes import nothing_left


def ctrl_c(read: Callable[[], None], stuck: Stuck) -> None:
    """Read, with a thread that presses Ctrl-C."""

    waits = threading.Event()

    def press() -> None:
        assert waits.wait(TOTAL)
        assert stuck.reached.wait(TOTAL)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=press)
    thread.start()
    # The event loop runs when the one who reads waits.
    gevent.get_hub().loop.run_callback(waits.set)
    try:
        with gevent.Timeout(TOTAL + LATE, AssertionError("it hangs")):
            read()
    finally:
        thread.join()


def main() -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)
    warnings.simplefilter("ignore", urllib3.exceptions.InsecureRequestWarning)
    gevent.get_hub().threadpool.apply(int)
    found = {}
    for phase in PHASES:
        with nothing_left():
            found[phase] = interrupt(phase, sys.argv[1], ctrl_c)
            assert_steady(lambda phase=phase: interrupt(phase, sys.argv[1], ctrl_c))
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
