"""Descriptors: never more than the process may open, all requests served, each one given back."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from collections.abc import Iterator

import gevent
import pytest
from servers import Server, eventually

import grequests
from grequests._engine import _budget, current_engine
from grequests._engine._budget import Budget

FEW = 64


def with_few_descriptors(source: str, *arguments: str, limit: int = FEW) -> dict:
    """What a program prints (one JSON object) that may open so many descriptors."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", source, *arguments],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit)),  # noqa: PLW1509
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stderr[-3000:]
    return json.loads(done.stdout)


@pytest.fixture
def many() -> Iterator[Server]:
    """A server on 150 addresses of the loopback network."""
    with Server(hosts=[f"127.0.{n // 50 + 1}.{n % 50 + 1}" for n in range(150)]) as server:
        yield server


# --- the whole -----------------------------------------------------------------------------------

COUNTED = """
import json, os, sys
from collections import Counter
import grequests
urls = json.loads(sys.argv[1]) * int(sys.argv[2])
kwargs = eval(sys.argv[3]) if sys.argv[3:] else {}
highest = 0
def count(response, **_):
    global highest
    highest = max(highest, len(os.listdir("/proc/self/fd")))
sent = [grequests.get(url, callback=count, **kwargs) for url in urls]
"""
MAP = (
    COUNTED
    + """
responses = grequests.map(sent)
outcomes = Counter(repr(getattr(r, "exception", r.response and r.response.status_code)) for r in sent)
print(json.dumps({"outcomes": outcomes, "highest": highest}))
"""
)
IMAP = (
    COUNTED
    + """
outcomes = Counter(repr(r.status_code) for r in grequests.imap(iter(sent), size=None))
print(json.dumps({"outcomes": outcomes, "highest": highest}))
"""
)


@pytest.mark.parametrize("source", [MAP, IMAP])
def test_thousands_at_once_with_few_descriptors_are_all_served(source, server):
    server.hold("/x", 16)  # nobody is answered before so many are there at once
    told = with_few_descriptors(source, json.dumps([server.url("/x")]), "4000")
    assert told["outcomes"] == {"200": 4000}
    assert told["highest"] <= FEW
    assert server.count == 4000
    assert 16 <= server.peak <= FEW


@pytest.mark.parametrize("source", [MAP, IMAP])
def test_many_hosts_with_few_descriptors_are_all_served(source, many):
    urls = [root + "/x" for root in many.roots]
    told = with_few_descriptors(source, json.dumps(urls), "6")
    assert told["outcomes"] == {"200": 900}
    assert told["highest"] <= FEW
    assert many.peak <= FEW


def test_many_hosts_in_the_general_lane_with_few_descriptors_are_all_served(many):
    urls = [root + "/x" for root in many.roots]
    # An auth of the user's own is for the general lane.
    told = with_few_descriptors(MAP, json.dumps(urls), "2", "{'auth': lambda prepared: prepared}")
    assert told["outcomes"] == {"200": 300}


def test_idle_connections_make_room_for_new_ones(many):
    source = """
import json, sys, grequests
first, second, last = json.loads(sys.argv[1])
codes = []
for url in (first, second, last):
    codes += [r and r.status_code for r in grequests.map(grequests.get(url) for _ in range(500))]
print(json.dumps({"codes": sorted(map(str, codes)) == ["200"] * 1500}))
"""
    assert with_few_descriptors(source, json.dumps(many.roots[:3])) == {"codes": True}


def test_it_makes_do_with_what_others_leave(server):
    source = """
import json, os, sys, grequests
others = [os.open("/dev/null", os.O_RDONLY) for _ in range(45)]
responses = grequests.map(grequests.get(sys.argv[1]) for _ in range(500))
print(json.dumps({"codes": [r and r.status_code for r in responses] == [200] * 500}))
"""
    assert with_few_descriptors(source, server.url()) == {"codes": True}


def test_the_users_code_may_open_files_meanwhile(server):
    source = """
import json, sys, grequests
failed = []
def save(response, **_):
    try:
        with open("/dev/null", "wb") as a, open("/dev/null", "wb") as b, open("/dev/null") as c:
            a.write(response.content)
    except OSError as error:
        failed.append(repr(error))
sent = [grequests.get(sys.argv[1], callback=save) for _ in range(500)]
codes = [r and r.status_code for r in grequests.map(sent)]
print(json.dumps({"codes": codes == [200] * 500, "failed": failed}))
"""
    assert with_few_descriptors(source, server.url()) == {"codes": True, "failed": []}


def test_threads_share_the_descriptors(server):
    source = """
import json, sys, threading, grequests
results = []
def run():
    sent = (grequests.get(sys.argv[1]) for _ in range(500))
    results.extend(r and r.status_code for r in grequests.map(sent))
threads = [threading.Thread(target=run) for _ in range(3)]
[t.start() for t in threads]
[t.join() for t in threads]
print(json.dumps({"codes": results == [200] * 1500}))
"""
    assert with_few_descriptors(source, server.url()) == {"codes": True}


def test_slow_servers_do_not_starve_others(many):
    """What holds descriptors for long leaves the others waiting, not failing."""
    gate = many.hold("/slow", 20)
    source = """
import json, sys, grequests
roots = json.loads(sys.argv[1])
sent = [grequests.get(roots[n % 150] + ("/slow" if n % 20 == 0 else "/fast")) for n in range(400)]
codes = [r and r.status_code for r in grequests.map(sent)]
print(json.dumps({"codes": codes == [200] * 400}))
"""
    assert with_few_descriptors(source, json.dumps(many.roots)) == {"codes": True}
    assert gate.arrived == 20


# --- given back ----------------------------------------------------------------------------------


@pytest.fixture
def taken(no_leaks: None) -> int:
    grequests.close()
    return _budget.BUDGET.taken


def test_each_descriptor_is_given_back(taken, server):
    server.on("/bad", lambda _: None)
    sent = [grequests.get(server.url("/bad" if n % 2 else "/good")) for n in range(40)]
    grequests.map(sent)
    assert _budget.BUDGET.taken == taken + current_engine().statistics().open
    grequests.close()
    assert _budget.BUDGET.taken == taken


def test_a_refused_connection_gives_its_descriptor_back(taken):
    with Server() as server:
        url = server.url()
    assert grequests.map([grequests.get(url) for _ in range(10)]) == [None] * 10
    assert _budget.BUDGET.taken == taken


def test_an_unknown_host_gives_its_descriptor_back(taken):
    assert grequests.map([grequests.get("http://unknown.invalid/")]) == [None]
    assert _budget.BUDGET.taken == taken


def test_leaving_before_a_connection_was_begun_gives_the_descriptor_back(taken, server):
    def some():
        yield grequests.get("no scheme")  # fails at once, so that the reader can leave at once
        for _ in range(5):
            yield grequests.get(server.url())

    for _ in grequests.imap(some(), size=6, exception_handler=lambda *_: "failed"):
        break
    gevent.sleep(0)
    assert current_engine().statistics().connecting == 0
    eventually(lambda: taken == _budget.BUDGET.taken)


def test_aborted_requests_give_their_descriptors_back(taken, server):
    gate = server.hold("/held")
    sent = [grequests.get(server.url("/held")) for _ in range(10)]
    assert grequests.map(sent, gtimeout=0.1) == [None] * 10
    eventually(lambda: taken == _budget.BUDGET.taken)
    eventually(lambda: gate.deserted == gate.arrived)


# --- the budget ----------------------------------------------------------------------------------


@pytest.fixture
def system(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """What the system allows, and how many descriptors are open."""
    numbers = {"allowed": 1000, "open": 100}
    monkeypatch.setattr(_budget, "_allowed_descriptors", lambda: numbers["allowed"])
    monkeypatch.setattr(_budget, "_open_descriptors", lambda: numbers["open"])
    return numbers


def test_the_limit_is_what_is_allowed_less_what_is_open_and_a_reserve(system):
    assert Budget().limit == 1000 - 100 - _budget.RESERVE


def test_a_small_process_has_a_small_reserve(system):
    system.update(allowed=64, open=10)
    assert Budget().limit == 64 - 10 - 16


def test_there_is_always_room_for_one(system):
    system.update(allowed=64, open=64)
    budget = Budget()
    assert budget.limit == 1
    assert [budget.take(), budget.take()] == [True, False]


def test_what_is_taken_is_counted(system):
    system.update(allowed=100, open=60)
    budget = Budget()
    assert repr(budget) == "<Budget 0 of 15 descriptors>"
    assert [budget.take() for _ in range(16)] == [True] * 15 + [False]
    budget.give()
    assert [budget.take(), budget.take()] == [True, False]
    assert repr(budget) == "<Budget 15 of 15 descriptors>"


def test_refresh_does_not_count_its_own_twice(system):
    system.update(allowed=1000, open=100)
    budget = Budget()
    for _ in range(50):
        assert budget.take()
    system["open"] += 50
    budget.refresh()
    assert budget.limit == 1000 - 100 - _budget.RESERVE
    system["open"] += 200  # somebody else's
    budget.refresh()
    assert budget.limit == 1000 - 300 - _budget.RESERVE


def test_when_the_system_refuses_the_limit_is_what_is_taken(system):
    budget = Budget()
    for _ in range(5):
        assert budget.take()
    budget.exhausted()
    assert not budget.take()
    budget.give()
    assert budget.take()
    budget.refresh()
    assert budget.limit == 1000 - 95 - _budget.RESERVE


def test_after_a_fork_nothing_is_taken(system):
    budget = Budget()
    assert budget.take()
    budget.forked()
    assert budget.taken == 0


def test_it_knows_this_process():
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert _budget._allowed_descriptors() == (soft if soft > 0 else _budget.UNLIMITED)
    before = _budget._open_descriptors()
    pipe = os.pipe()
    assert _budget._open_descriptors() == before + 2
    for each in pipe:
        os.close(each)


def test_no_limit_is_a_large_one(monkeypatch):
    monkeypatch.setattr(resource, "getrlimit", lambda _: (resource.RLIM_INFINITY,) * 2)
    assert _budget._allowed_descriptors() == _budget.UNLIMITED
