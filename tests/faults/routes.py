"""Names that do not resolve and addresses that are not reached, tried in a network of their own.

`python -m faults.routes` is run there by `namespace.run_inside`; it runs its own name server, sends each
request of `ROUTES` in both lanes, and prints what came of it as JSON. `test_names_and_routes` holds
that against the table. What is asked next has its own answer only if nothing is left behind.
"""

from __future__ import annotations

import contextlib
import gc
import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import gevent
import grequests
from conftest import descriptors, is_quiet, live_greenlets, live_watchers
from engine.raw import Peer, RawServer
from grequests import Client, Result, Timeout
from grequests._engine import current_engine
from grequests._kinds import CONNECT_TIMEOUT, NAME, REFUSED, UNREACHABLE, kind_of
from servers import eventually

from .dns_server import SERVFAIL, Name, NameServer
from .growth import assert_steady
from .harness import LATE, Odd

PORT = 8080
#: The last one of the order in which the C library puts addresses of loopback (RFC 6724, rule 9).
ALIVE = "127.9.0.1"
#: Swallow what is sent to them.
HOLE, OTHER_HOLE, HOLE_6 = "127.0.0.9", "127.0.0.11", "2001:db8::9"
#: Nobody listens there.
DEAD, DEAD_6 = "127.0.0.10", "2001:db8::10"
_ADDRESSES = ("2001:db8::9/128", "2001:db8::10/128")
_ROUTES = (
    *("unreachable 10.1.0.0/24", "prohibit 10.2.0.0/24", "blackhole 10.3.0.0/24"),
    "unreachable 2001:db8:7::/48",
)


@dataclass(frozen=True)
class Route:
    """A request that may not find its way.

    Attributes:
        name: in the words of the table in docs/reliability.md.
        host: that is asked for.
        fast: the kind and the class of the error in the fast lane; None if there is a response.
        general: in the general lane.
        said: what the name server says of the host, if it is a name.
        connect: seconds that connecting may take.
        heals: whether the next request goes to the same host, to which there is a way by then.
    """

    name: str
    host: str
    fast: tuple[str, str] | None
    general: tuple[str, str] | None
    said: Name | None = None
    connect: float = 20.0
    heals: bool = True


_NO_NAME = (NAME, "ConnectionError")
_REFUSED = (REFUSED, "ConnectionError")
_UNREACHABLE = (UNREACHABLE, "ConnectionError")
_LATE = (CONNECT_TIMEOUT, "ConnectTimeout")


def _name(name: str, outcome: Any, *addresses: str, general: Any = "same", **more: Any) -> Route:
    """A route for a host of its own, named after the case."""
    connect = more.pop("connect", 20.0)
    host = name.lower().replace(" ", "-").replace(",", "") + ".test"
    other = outcome if general == "same" else general
    return Route(name, host, outcome, other, Name(addresses, **more), connect)


ROUTES = (
    Route("NXDOMAIN", "nowhere.test", _NO_NAME, _NO_NAME),
    _name("SERVFAIL", _NO_NAME, code=SERVFAIL),
    _name("no address", _NO_NAME),
    # Only the fast lane bounds lookups by the connect timeout; Requests waits for the resolver.
    _name("no answer", _LATE, how="silent", connect=0.3, general=_NO_NAME),
    _name("a late answer", None, ALIVE, how="late"),
    _name("garbage for an answer", _NO_NAME, how="garbage"),
    _name("a cut answer", _NO_NAME, ALIVE, how="cut"),
    _name("the answer to another question", _NO_NAME, ALIVE, how="another"),
    _name("a truncated answer, whole over TCP", None, ALIVE, how="truncated"),
    _name("a truncated answer, cut over TCP", _NO_NAME, ALIVE, how="truncated, cut"),
    _name("the first addresses refuse", None, DEAD, "127.0.0.12", "127.0.0.13", ALIVE),
    _name("the first addresses swallow", None, HOLE, OTHER_HOLE, ALIVE, connect=1.0),
    _name("fifty dead addresses", None, *(f"127.0.1.{n}" for n in range(1, 51)), ALIVE),
    _name("all addresses refuse", _REFUSED, DEAD, "127.0.0.12"),
    _name("all addresses swallow", _LATE, HOLE, OTHER_HOLE, connect=0.5),
    _name("IPv6 swallows, IPv4 is alive", None, HOLE_6, "127.0.0.1", connect=1.0),
    _name("IPv6 refuses, IPv4 is alive", None, DEAD_6, "127.0.0.1"),
    _name("IPv6 is unreachable, IPv4 is alive", None, "2001:db8:7::1", "127.0.0.1"),
    Route("refused", "127.0.0.20", _REFUSED, _REFUSED),
    Route("refused, IPv6", "[2001:db8::20]", _REFUSED, _REFUSED),
    Route("swallowed", HOLE, _LATE, _LATE, connect=0.3, heals=False),
    Route("host unreachable", "10.1.0.1", _UNREACHABLE, _UNREACHABLE),
    Route("host prohibited", "10.2.0.1", _UNREACHABLE, _UNREACHABLE),
    Route("black-holed by the kernel", "10.3.0.1", _UNREACHABLE, _UNREACHABLE),
    Route("network unreachable", "10.4.0.1", _UNREACHABLE, _UNREACHABLE),
    Route("network unreachable, IPv6", "[2001:db8:8::1]", _UNREACHABLE, _UNREACHABLE),
)
LANES = ("fast", "general")


# The network


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)


def lay_routes() -> None:
    """The routes of which the table speaks."""
    for address in (*_ADDRESSES, "2001:db8::20/128"):
        ip("-6", "addr", "add", address, "dev", "lo", "nodad")
    for route in _ROUTES:
        ip("-6" if ":" in route else "-4", "route", "add", *route.split())


@contextlib.contextmanager
def swallowing(host: str) -> Iterator[None]:
    """Nothing that is sent to the port is answered: a listener whose backlog is full."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with contextlib.ExitStack() as stack:
        stack.enter_context(socket.create_server((host, PORT), family=family, backlog=0))
        for _ in range(8):
            filler = stack.enter_context(socket.socket(family))
            filler.setblocking(False)
            filler.connect_ex((host, PORT))
        with contextlib.suppress(TimeoutError):
            while True:  # until one is swallowed indeed
                probe = stack.enter_context(socket.socket(family))
                probe.settimeout(0.5)
                probe.connect((host, PORT))
        yield


@contextlib.contextmanager
def way_to(route: Route, names: NameServer) -> Iterator[None]:
    """There is a way to the host of a case, while this lasts."""
    host = route.host.strip("[]")
    kind = "-6" if ":" in host else "-4"
    if not host.replace(".", "").isdigit() and kind == "-4":
        before, names.names[host] = names.names.get(host), Name((ALIVE,))
        yield
        names.names.pop(host) if before is None else names.names.update({host: before})
        return
    whole = f"{host}/{128 if kind == '-6' else 32}"
    is_foreign = host.startswith(("10.", "2001:db8:8"))
    if is_foreign:
        ip(kind, "addr", "add", whole, "dev", "lo", *(["nodad"] if kind == "-6" else []))
    with RawServer(Peer.serve, host=host, port=PORT):
        yield
    if is_foreign:
        ip(kind, "addr", "del", whole, "dev", "lo")


# Asking


def told(result: Result, took: float) -> dict[str, Any]:
    """A result as values."""
    if result.error is None:
        return {"error": None, "body": result.response.text, "took": took}
    error = result.error
    bases = [each.__name__ for each in type(error).__mro__]
    kind = kind_of(error)
    return {"error": bases[0], "bases": bases, "kind": kind, "text": str(error), "took": took}


def ask(client: Client, host: str, path: str, session: Odd | None) -> dict[str, Any]:
    """What comes of one request."""
    began = time.monotonic()
    request = grequests.get(f"http://{host}:{PORT}{path}", session=session)
    with gevent.Timeout(30 + LATE):
        [result] = client.run([request])
    return told(result, time.monotonic() - began)


@contextlib.contextmanager
def nothing_left() -> Iterator[None]:
    """As the fixture `no_leaks`."""
    gevent.sleep(0)
    greenlets, watchers, before = live_greenlets(), live_watchers(), descriptors()
    yield
    eventually(is_quiet, "the engine to be quiet")
    grequests.close()
    current_engine().close()  # its timer would go on for a few seconds
    gc.collect()
    eventually(lambda: live_greenlets() <= greenlets, "the end of all greenlets")
    eventually(lambda: len(live_watchers()) <= len(watchers), "all watchers to be closed")
    try:
        eventually(lambda: descriptors() <= before, "the descriptors to be closed")
    except AssertionError:
        print(descriptors() - before, file=sys.stderr)
        raise


def suffer(route: Route, lane: str, names: NameServer) -> dict[str, Any]:
    """What comes of a case, of the next request, and what is left."""
    session = Odd() if lane == "general" else None
    timeout = Timeout(connect=route.connect, read=20, total=30)
    with nothing_left(), Client(retry=None, circuit=None, timeout=timeout) as client:
        first = ask(client, route.host, "/first", session)
        counts = client.statistics()
        # A lookup that nobody waits for any more ends by itself; who asks again meanwhile joins it.
        other = ask(client, "good.test", "/other", session)
        lookups = live_lookups()
        eventually(lambda: not live_lookups(), "the lookups to end")
        with way_to(route, names) if route.heals else contextlib.nullcontext():
            host = route.host if route.heals else "good.test"
            following = ask(client, host, "/next", session)
        if session is not None:
            session.close()
    return {
        "first": first,
        "other": other,
        "next": following,
        "counts": [counts.in_flight, counts.queued],
        "lookups": lookups,
    }


def suffer_again(route: Route, lane: str, names: NameServer) -> dict[str, Any]:
    """As `suffer`, and the same again and again: memory does not grow."""
    outcome = suffer(route, lane, names)
    assert_steady(lambda: suffer(route, lane, names))
    return outcome


def live_lookups() -> int:
    """Lookups of the fast lane that go on, whether or not somebody waits."""
    return len(current_engine().resolver._running)


def main() -> None:
    lay_routes()
    gevent.get_hub().threadpool.apply(int)
    # (The threads of gevent's pool stay; each keeps nothing open.)
    with contextlib.ExitStack() as stack:
        names = stack.enter_context(NameServer())
        names.names.update({each.host: each.said for each in ROUTES if each.said is not None})
        names.names["good.test"] = Name((ALIVE,))
        for host in ("127.0.0.1", ALIVE):
            stack.enter_context(RawServer(Peer.serve, host=host, port=PORT))
        for host in (HOLE, OTHER_HOLE, HOLE_6):
            stack.enter_context(swallowing(host))
        found = {
            f"{route.name}, {lane}": suffer_again(route, lane, names)
            for route in ROUTES
            for lane in LANES
        }
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
