"""Names that do not resolve, addresses that are not reached, and this machine's own shortages.

`routes` has the table, and sends its requests from a process in a network of its own; `scarcity` does the
same for threads that look names up and for ports. Both print what came of it, once for all the tests
here. What they print has been through the four questions of `harness`: outcome, next request, what is
left (they end with an error if there is a leak), and how long it took.
"""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from anywhere.programs import finish, started
from engine.raw import Peer, RawServer, answer

from .harness import LATE
from .namespace import run_inside
from .routes import ROUTES, Route
from .scarcity import FLOOD, GOOD, HANGING, PORTS, WANTED

lanes = pytest.mark.parametrize("lane", ["fast", "general"])
#: Seconds for which the C library's resolver waits for all tries together, at most.
RESOLVER = 6.0


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return run_inside("routes", folder=tmp_path_factory.mktemp("routes"), timeout=200)


@pytest.fixture(scope="module")
def scarce(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return run_inside("scarcity", folder=tmp_path_factory.mktemp("scarcity"))


@pytest.mark.timeout(240)
@lanes
@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.name.replace(" ", "-"))
def test_a_way_to_a_host(found: dict[str, Any], route: Route, lane: str) -> None:
    outcome = found[f"{route.name}, {lane}"]
    first = outcome["first"]
    expected = route.fast if lane == "fast" else route.general
    if expected is None:
        assert first["error"] is None, first
        assert first["body"] == "/first"
    else:
        assert (first.get("kind"), first["error"]) == expected, first
        assert "ConnectionError" in first["bases"]
    # Others go on, and so does this host, once there is a way to it.
    for which in ("other", "next"):
        assert outcome[which]["error"] is None, outcome[which]
        assert outcome[which]["body"] == f"/{which}"
    assert outcome["counts"] == [0, 0]
    assert first["took"] < bound(route, lane)


def bound(route: Route, lane: str) -> float:
    """Seconds after which a request has its outcome, whatever happens."""
    if lane == "fast":
        # Also for many addresses: one waits a quarter of a second for the other, not for its end.
        return route.connect + LATE
    # urllib3 gives each address the whole of the time, and lookups all they want.
    addresses = len(route.said.addresses) if route.said else 1
    return RESOLVER + route.connect * addresses + LATE


def test_a_dead_ipv6_does_not_hold_up_ipv4(found: dict[str, Any]) -> None:
    """RFC 8305: in the fast lane IPv4 is tried before the attempt by IPv6 has ended.

    The general lane, as urllib3, tries one after the other, so that this takes all of the connect
    timeout. Both were measured side by side on one machine, under the same load.
    """
    name = "IPv6 swallows, IPv4 is alive"
    [route] = [each for each in ROUTES if each.name == name]
    assert found[f"{name}, general"]["first"]["took"] >= route.connect
    assert found[f"{name}, fast"]["first"]["took"] < route.connect


def test_a_lookup_that_is_given_up_goes_on_by_itself(found: dict[str, Any]) -> None:
    """It is in a thread and cannot be ended, but holds no slot: the request has its outcome."""
    assert found["no answer, fast"]["lookups"] == 1
    assert found["no answer, fast"]["other"]["body"] == "/other"


@pytest.mark.timeout(150)
@lanes
def test_good_names_are_answered_behind_more_hanging_ones_than_threads(
    scarce: Any, lane: str
) -> None:
    """gevent would look up ten names at a time; all these have a thread of their own."""
    outcome = scarce[f"hanging names, {lane}"]
    expected = {"hanging: name not resolved": HANGING, "good: answered": GOOD}
    assert outcome == {"first": expected, "later": {"good: answered": GOOD}}


@pytest.mark.timeout(150)
@lanes
@pytest.mark.parametrize(
    ("name", "hanging"),
    [("hanging names, impatient", HANGING), ("a flood of hanging names", FLOOD)],
)
def test_who_waits_for_a_thread_does_not_pay_for_it(
    scarce: Any, name: str, hanging: int, lane: str
) -> None:
    """The connect timeout is over before a silent name's lookup is, and good names are answered.

    They may have to wait for a thread if all are taken, but their clock does not run then.
    """
    outcome = scarce[f"{name}, {lane}"]
    # (Requests' timeouts do not count for lookups.)
    said = "connect timeout" if lane == "fast" else "name not resolved"
    expected = {f"hanging: {said}": hanging, "good: answered": GOOD}
    assert outcome == {"first": expected, "later": {"good: answered": GOOD}}


@pytest.mark.timeout(150)
@lanes
def test_there_are_no_more_ports(scarce: Any, lane: str) -> None:
    """As many requests as there are ports are answered; the others say what is missing, at once."""
    outcome = scarce[f"no ports, {lane}"]
    failed = WANTED - PORTS
    assert outcome["first"] == {"held: out of resources": failed, "held: answered": PORTS}
    assert [each.get("body") for each in outcome["again"]] == ["/again"] * PORTS
    assert outcome["next"].get("body") == "/next"


# Descriptors

EATING = """
import contextlib, gc, json, os, resource, sys
from collections import Counter
import gevent, grequests, requests
from grequests import Client, Timeout
from grequests._kinds import kind_of

class Odd(requests.Session):
    pass

roots, lane, how = sys.argv[1].split(), *sys.argv[2:]
session = Odd() if lane == "general" else None
used = lambda: len(os.listdir("/proc/self/fd"))
_, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
eaten = []

def eat():
    if how == "lowered":
        resource.setrlimit(resource.RLIMIT_NOFILE, (used() + 3, hard))
        return
    with contextlib.suppress(OSError):
        while True:
            eaten.append(os.dup(0))

def give_back():
    resource.setrlimit(resource.RLIMIT_NOFILE, (200, hard))
    for each in eaten:
        os.close(each)

def told(results, then=None):
    found = Counter()
    with gevent.Timeout(60):
        for result in results:
            if result.error is None:
                assert result.response.text == "/" + result.request.url.rpartition("/")[2]
            found["answered" if result.error is None else kind_of(result.error)] += 1
            if then is not None and result.index == 9:
                then()
    return found

resource.setrlimit(resource.RLIMIT_NOFILE, (200, hard))
make = lambda root, n: grequests.get(f"{root}/{n}", session=session)
with Client(retry=None, circuit=None, concurrency=10, timeout=Timeout(connect=20, total=40)) as c:
    warm = told(c.run([make(roots[0], n) for n in range(10)]))
    before = used()
    if how == "none left":
        grequests.close()
        session and session.close()
        gc.collect()
        eat()
    first = told(c.run([make(roots[n // 10], n) for n in range(100)]), eat)
    give_back()
    later = told(c.run([make(root, n) for n, root in enumerate(roots)]))
    counts = c.statistics()
if session is not None:
    session.close()
grequests.close()
gc.collect()
print(json.dumps([warm, first, later, [counts.in_flight, counts.queued], used() - before]))
"""


@lanes
@pytest.mark.parametrize("how", ["lowered", "eaten", "none left"])
@pytest.mark.timeout(120)
def test_descriptors_run_out_in_the_middle(lane: str, how: str) -> None:
    """Each request has an answer or says what is missing, and it is over when there are some again."""

    def serve(peer: Peer) -> None:
        while (target := peer.request()) is not None:
            peer.send(answer(target.encode()))

    with contextlib.ExitStack() as stack:
        servers = [stack.enter_context(RawServer(serve)) for _ in range(10)]
        roots = " ".join(each.url for each in servers)
        with started(EATING, roots, lane, how, lane=lane, server=None) as process:
            warm, first, later, counts, more = json.loads(finish(process, timeout=100))
    print(first)
    assert warm == {"answered": 10}
    assert sum(first.values()) == 100
    assert first.keys() <= {"answered", "out of resources"}
    if how == "none left":
        assert first == {"out of resources": 100}
    elif lane == "fast":
        # Connections to other servers give theirs up.
        assert first == {"answered": 100}
    else:
        assert first["answered"] >= 10
    assert later == {"answered": 10}
    assert counts == [0, 0]
    assert more <= 0
