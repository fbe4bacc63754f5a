"""As a script: names replaced before grequests is imported, each in a process of its own.

`before.py HTTP HTTPS BUNDLE`, a JSON list of [owner, name, scenario, kind, calls] on stdin. Prints a
line for each that was not called as often through GRequests, or still is when it was given back.
"""

from __future__ import annotations

import json
import os
import sys
import traceback

import gevent.monkey  # noqa: F401 - its import is no news, and would be paid for by each process

from .test_every_name import FUNCTIONS, subclass
from .way import Name, by_grequests, replaced, scenarios

KINDS = {kind.__name__: kind for kind in (*FUNCTIONS, subclass)}


def main() -> None:
    assert "grequests" not in sys.modules
    on = scenarios(*sys.argv[1:])
    for owner, name, scenario, kind, calls in json.load(sys.stdin):
        child = os.fork()
        if not child:
            code = 1
            try:
                _check(Name(owner, name), on[scenario], KINDS[kind], calls, sys.argv[1])
                code = 0
            except BaseException:
                print(f"{owner}.{name}", scenario, kind, traceback.format_exc().replace("\n", "|"))
            finally:
                sys.stdout.flush()
                os._exit(code)
        os.waitpid(child, 0)
    print("done")


def _check(name, run, kind, calls, root) -> None:
    with replaced(name, kind) as counter:
        import grequests

        counter.calls = 0  # what an import makes is no request
        by_grequests(run)
    assert counter.calls == calls, (counter.calls, calls)
    sent = [grequests.get(f"{root}/{n}") for n in range(2)]
    found = grequests.map(sent)
    assert [each.text for each in found] == ["/0", "/1"]
    assert counter.calls == calls, "called when it was given back"
    assert {type(each).__module__ for each in found} == {"grequests"}, "it was given back"


if __name__ == "__main__":
    main()
