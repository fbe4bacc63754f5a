"""Too few threads that look names up, and too few ports, in a network of one's own.

`python -m faults.scarcity` is run there by `namespace.run_inside` and prints what came of it as JSON, for
each lane. `test_names_and_routes` says what should.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import gevent
import grequests
from engine.raw import Peer, RawServer, answer
from grequests import Client, Timeout
from grequests._kinds import kind_of
from servers import eventually

from .dns_server import Name, NameServer
from .harness import LATE, Odd
from .routes import ALIVE, LANES, PORT, ask, live_lookups, nothing_left

#: More than gevent has threads for, which are ten, and fewer than we have.
HANGING = 30
#: More than we have.
FLOOD = 100
GOOD = 10
#: Ports from which the process may connect, and requests that each need one.
PORTS = 4
WANTED = 10
_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")


def client(connect: float) -> Client:
    timeout = Timeout(connect=connect, read=20, total=30)
    return Client(retry=None, circuit=None, concurrency=200, timeout=timeout)


def outcomes(one: Client, urls: list[str], session: Odd | None, then: Any = None) -> dict[str, Any]:
    """How often each kind of outcome came, by the letters with which the URL's path begins."""
    found: Counter[str] = Counter()
    requests = [grequests.get(url, session=session) for url in urls]
    with gevent.Timeout(30 + LATE):
        for result in one.run(requests):
            word = result.request.url.rpartition("/")[2]
            if result.error is None:
                assert result.response.text == "/" + word
            said = "answered" if result.error is None else kind_of(result.error)
            found[f"{word.partition('-')[0]}: {said}"] += 1
            if then is not None:
                then()
    counts = one.statistics()
    assert (counts.in_flight, counts.queued) == (0, 0)
    return dict(found)


def hanging_names(
    lane: str, names: NameServer, connect: float, count: int = HANGING
) -> dict[str, Any]:
    """Names that nobody answers for and, behind them, good ones, all new."""
    session = Odd() if lane == "general" else None
    mark = f"{lane}-{connect:.0f}-{count}"
    hanging = [f"hanging-{n}-{mark}.test" for n in range(count)]
    good = [f"good-{n}-{mark}.test" for n in range(GOOD)]
    names.names.update({each: Name(how="silent") for each in hanging})
    names.names.update({each: Name((ALIVE,)) for each in good})
    urls = [f"http://{each}:{PORT}/{each.partition('.')[0]}" for each in [*hanging, *good]]
    with nothing_left(), client(connect) as one:
        found = outcomes(one, urls, session)
        eventually(lambda: not live_lookups(), "the lookups to end")
        later = outcomes(one, urls[count:], session)
        if session is not None:
            session.close()
    return {"first": found, "later": later}


def no_ports(lane: str, first: int) -> dict[str, Any]:
    """More requests at once than there are ports, then as many as there are, then enough ports."""
    session = Odd() if lane == "general" else None
    gate = threading.Event()

    def serve(peer: Peer) -> None:
        while (target := peer.request()) is not None:
            assert gate.wait(20)
            peer.send(answer(target.encode()))

    before = _RANGE.read_text()
    with nothing_left(), RawServer(serve, host="127.0.0.1", port=PORT), client(20) as one:
        _RANGE.write_text(f"{first} {first + PORTS - 1}")
        try:
            urls = [f"http://127.0.0.1:{PORT}/held-{n}" for n in range(WANTED)]
            found = outcomes(one, urls, session, gate.set)
            # Without one more connection where they are kept; those of the general lane are, too.
            last = [ask(one, "127.0.0.1", "/again", session) for _ in range(PORTS)]
        finally:
            _RANGE.write_text(before)
        following = ask(one, "127.0.0.1", "/next", session)
        if session is not None:
            session.close()
    return {"first": found, "again": last, "next": following}


def main() -> None:
    # Longer than the impatient bear it: one try of so many seconds.
    os.environ["RES_OPTIONS"] = "timeout:5 attempts:1"
    gevent.get_hub().threadpool.apply(int)
    found = {}
    with NameServer() as names, RawServer(Peer.serve, host=ALIVE, port=PORT):
        for lane in LANES:
            found[f"hanging names, {lane}"] = hanging_names(lane, names, 20)
            found[f"hanging names, impatient, {lane}"] = hanging_names(lane, names, 2)
            found[f"a flood of hanging names, {lane}"] = hanging_names(lane, names, 2, FLOOD)
    for number, lane in enumerate(LANES):
        found[f"no ports, {lane}"] = no_ports(lane, 40000 + 1000 * number)
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
