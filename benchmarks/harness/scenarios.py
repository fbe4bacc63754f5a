"""What is measured: each scenario, and the processes that one round of it needs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from . import serving
from .peers import BY_NAME, Peer
from .serving import Servers

CPU_BUDGET_US = 1_000_000.0
MOST_REQUESTS = 60_000
IMPORTS_PER_ROUND = 10


@dataclass(frozen=True, kw_only=True)
class Task:
    """One process to run: a library's client script with a job."""

    scenario: str
    library: str
    variant: str
    module: str
    job: dict[str, Any] = field(hash=False)


@dataclass(frozen=True, kw_only=True)
class Size:
    """How large a run is: ``--scale`` and ``--quick``."""

    scale: float = 1.0
    quick: bool = False


Plan = Callable[["Scenario", Servers, Size, list[Peer]], Iterator[Task]]


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """One row of the plan. ``plan`` makes the tasks of one round."""

    name: str
    title: str
    plan: Plan
    concurrency: int = 50
    kind: str = "get"
    file: str = serving.SMALL
    tls: bool = False
    minimum: int = 600


def plan_fetch(
    scenario: Scenario, servers: Servers, size: Size, peers: list[Peer]
) -> Iterator[Task]:
    """Many requests to one address: a run for the CPU, another, shorter, for the latencies."""
    url = servers.url(scenario.file, tls=scenario.tls)
    for peer in peers:
        count = how_many(scenario, peer, size)
        job = job_of(scenario, servers, [url], count)
        yield task(scenario, peer, "cpu", job)
        if scenario.kind == "get":
            few = max(scenario.minimum // 2, scenario.concurrency * 2, count // 3)
            yield task(scenario, peer, "latency", {**job, "requests": few, "latency": True})


def plan_hosts(
    scenario: Scenario, servers: Servers, size: Size, peers: list[Peer]
) -> Iterator[Task]:
    """One request to each of many hosts. Slow libraries get the first of the hosts only."""
    urls = [servers.url(scenario.file, tls=True, host=host) for host in serving.MANY_HOSTS]
    warmup = [servers.url(scenario.file, tls=True, host=host) for host in serving.WARMUP_HOSTS]
    for peer in peers:
        count = min(len(urls), max(50, how_many(scenario, peer, size)))
        job = job_of(scenario, servers, urls[:count], count)
        yield task(scenario, peer, "cpu", {**job, "warmup_urls": warmup, "warmup": len(warmup)})


def plan_million(
    scenario: Scenario, servers: Servers, size: Size, peers: list[Peer]
) -> Iterator[Task]:
    """The same process with few and with very many requests, for the memory of both."""
    many = 100_000 if size.quick else int(1_000_000 * size.scale)
    for peer in peers:
        if peer.name in {"grequests", "pycurl"}:
            for variant, count in (("few", 1000), ("many", many)):
                job = job_of(scenario, servers, [servers.url(scenario.file)], count)
                yield task(scenario, peer, variant, job)


def plan_slow(
    scenario: Scenario, servers: Servers, _size: Size, peers: list[Peer]
) -> Iterator[Task]:
    """Few and many requests that are all open at once, for the memory of both."""
    base = f"http://{serving.MAIN_HOST}:{servers.slow}"
    for peer in peers:
        for variant, count in (("few", 50), ("many", scenario.concurrency)):
            job = job_of(scenario, servers, [f"{base}/slow/{count}"], count)
            job |= {"warmup_urls": [f"{base}/now"], "warmup": 50, "concurrency": count}
            yield task(scenario, peer, variant, job)


def plan_import(
    scenario: Scenario, _servers: Servers, _size: Size, peers: list[Peer]
) -> Iterator[Task]:
    """Fresh interpreters, many of them, that import one thing or the other."""
    variants = (
        ("grequests", "grequests", ["grequests"]),
        ("grequests", "requests+gevent", ["requests", "gevent"]),
        ("grequests07", "grequests07", ["grequests"]),
    )
    for library, variant, modules in variants:
        if BY_NAME[library] in peers:
            for _ in range(IMPORTS_PER_ROUND):
                yield Task(
                    scenario=scenario.name,
                    library=library,
                    variant=variant,
                    module="clients.import_time",
                    job={"modules": modules},
                )


def plan_single(
    scenario: Scenario, servers: Servers, size: Size, peers: list[Peer]
) -> Iterator[Task]:
    """``map`` of one request, call after call, and a Session of Requests beside it."""
    variants = (
        ("grequests", "map"),
        ("grequests", "session"),
        ("grequests", "new-session"),
        ("grequests07", "map"),
    )
    for library, variant in variants:
        if BY_NAME[library] in peers:
            count = max(200, int(1000 * size.scale))
            job = job_of(scenario, servers, [servers.url(scenario.file)], count)
            yield Task(
                scenario=scenario.name,
                library=library,
                variant=variant,
                module="clients.single",
                job={**job, "variant": variant, "warmup": 50},
            )


def how_many(scenario: Scenario, peer: Peer, size: Size) -> int:
    """As many requests as take about a second of CPU, within bounds."""
    cost = peer.costs.get(scenario.name)
    if cost is None:
        cost = peer.cost_us + (75 if scenario.kind == "json" else 0)
    count = int(min(MOST_REQUESTS, CPU_BUDGET_US / cost) * size.scale)
    return max(count, int(scenario.minimum * min(1.0, size.scale * 2)), scenario.concurrency)


def job_of(scenario: Scenario, servers: Servers, urls: list[str], requests: int) -> dict[str, Any]:
    """The job as a client reads it. Every connection is used twice in the warm-up."""
    lengths = {serving.SMALL: 1024, serving.BIG: 1 << 20, serving.DATA: len(serving.sample_json())}
    return {
        "kind": scenario.kind,
        "urls": urls,
        "warmup_urls": urls,
        "requests": requests,
        "warmup": max(300, 2 * scenario.concurrency) if scenario.file != serving.BIG else 60,
        "concurrency": scenario.concurrency,
        "size": lengths[scenario.file],
        "ca": servers.bundle,
        "latency": False,
    }


def task(scenario: Scenario, peer: Peer, variant: str, job: dict[str, Any]) -> Task:
    """A task of a peer's own client script."""
    return Task(
        scenario=scenario.name, library=peer.name, variant=variant, module=peer.module, job=job
    )


SCENARIOS: tuple[Scenario, ...] = (
    Scenario(name="keepalive-50", title="1 KB keep-alive GET, 50 at a time", plan=plan_fetch),
    Scenario(
        name="keepalive-1000",
        title="1 KB keep-alive GET, 1,000 at a time",
        plan=plan_fetch,
        concurrency=1000,
        minimum=3000,
    ),
    Scenario(
        name="json-9k",
        title="9 KB of JSON: headers, text and document read, 50 at a time",
        plan=plan_fetch,
        kind="json",
        file=serving.DATA,
    ),
    Scenario(
        name="https-50",
        title="1 KB https keep-alive GET, verified, 50 at a time",
        plan=plan_fetch,
        tls=True,
    ),
    Scenario(
        name="https-500-hosts",
        title="https, 500 hosts, one request each, 50 at a time",
        plan=plan_hosts,
        tls=True,
    ),
    Scenario(
        name="body-1mb-20",
        title="1 MB bodies, 20 at a time",
        plan=plan_fetch,
        concurrency=20,
        file=serving.BIG,
        minimum=200,
    ),
    Scenario(
        name="million", title="1,000,000 requests from a generator: memory", plan=plan_million
    ),
    Scenario(
        name="slow-5000",
        title="5,000 slow responses open at once: memory of each",
        plan=plan_slow,
        concurrency=5000,
    ),
    Scenario(name="import", title="import in a fresh interpreter", plan=plan_import),
    Scenario(name="single", title="one request per call", plan=plan_single, concurrency=1),
)

SCENARIO_BY_NAME = {scenario.name: scenario for scenario in SCENARIOS}


def tasks_of(scenario: Scenario, servers: Servers, size: Size, peers: list[Peer]) -> list[Task]:
    """The tasks of one round of a scenario, without what is skipped."""
    if scenario.tls and servers.https is None:
        return []
    able = [peer for peer in peers if scenario.name not in peer.skips]
    return list(scenario.plan(scenario, servers, size, able))


def skips_of(scenarios: list[Scenario], peers: list[Peer]) -> list[dict[str, str]]:
    """What is left out on purpose, and why."""
    return [
        {"scenario": scenario.name, "library": peer.name, "why": peer.skips[scenario.name]}
        for scenario in scenarios
        for peer in peers
        if scenario.name in peer.skips
    ]
