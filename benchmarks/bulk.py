#!/usr/bin/env python3
"""What the bulk layer costs over plain `imap`, and what scheduling costs over many hosts.

    .venv/bin/python benchmarks/bulk.py                  everything, some minutes
    .venv/bin/python benchmarks/bulk.py --rounds 3 --scale 0.2 --out /tmp/bulk

Whole processes, interleaved in an order drawn anew in each round; CPU per request of the client;
medians, and medians of the ratios within a round. A run without ``--out`` and ``--scale`` replaces
the published figures in results/bulk.md.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

BENCHMARKS = Path(__file__).resolve().parent
CONCURRENCY = 50
HOSTS = {"1 host": 1, "10,000 hosts": 10_000}
MOST_HOSTS = max(HOSTS.values())

#: The way, what it is compared with, how much more it may cost, and the number of requests.
WAYS = {
    "imap": ("imap", None, 40_000),
    "run": ("imap", 1.25, 40_000),
    "run, no Retry": ("run", None, 40_000),
    "run, ordered": ("imap", None, 40_000),
    "arun": ("run", 1.30, 40_000),
    "1 host": ("1 host", None, 100_000),
    "10,000 hosts": ("1 host", 1.30, 100_000),
}


# --- the client's process ------------------------------------------------------------------------


def child(way: str, url: str, count: int) -> None:
    """Warm up, send, and print what it cost."""
    work = _WORK[way]
    if way in HOSTS:
        begun = work(url, count)  # its warm-up is one request to each host, in the same run
    else:
        work(url, min(2_000, count))
        begun = now()
        work(url, count)
    cpu, wall = (after - before for after, before in zip(now(), begun, strict=True))
    print(json.dumps({"us": cpu / count * 1e6, "per_second": count / wall}), flush=True)
    os._exit(0)


def now() -> tuple[float, float]:
    """Seconds of CPU so far, and of the clock."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime, time.perf_counter()


def _requests(url: str, count: int) -> Iterator[Any]:
    import grequests

    return (grequests.get(url) for _ in range(count))


def _imap(url: str, count: int, size: int = CONCURRENCY) -> None:
    import grequests

    done = 0
    for response in grequests.imap(_requests(url, count), size=size):
        done += response.status_code == 200
    check(done, count)


def _map_of_one(url: str, count: int) -> None:
    import grequests

    done = 0
    for _ in range(count):
        [response] = grequests.map([grequests.get(url)])
        done += response.status_code == 200
    check(done, count)


def _run(url: str, count: int, **options: Any) -> None:
    import grequests

    options = {"concurrency": CONCURRENCY, "per_host": CONCURRENCY, **options}
    done = 0
    for result in grequests.run(_requests(url, count), **options):
        done += result.response.status_code == 200
    check(done, count)


def _arun(url: str, count: int) -> None:
    import grequests

    async def fetch() -> int:
        done = 0
        results = grequests.arun(
            _requests(url, count), concurrency=CONCURRENCY, per_host=CONCURRENCY
        )
        async for result in results:
            done += result.response.status_code == 200
        return done

    check(asyncio.run(fetch()), count)


def _schedule(hosts: int) -> Callable[[str, int], Any]:
    """Requests to so many hosts over a transport that answers at once: scheduling, nothing else."""

    def work(_url: str, count: int) -> tuple[float, float]:
        import grequests
        from grequests._engine import _engine

        class Instant(_engine.Engine):
            """Answers in the next turn of the loop."""

            def origin(self, key: Any) -> Any:
                made = super().origin(key)
                return _Origin(self, made)

        class _Origin:
            def __init__(self, engine: Any, real: Any) -> None:
                self._call = engine.loop.run_callback
                self.real = real

            def __getattr__(self, name: str) -> Any:
                return getattr(self.real, name)

            def dispatch(self, exchange: Any) -> None:
                exchange.connection = None
                exchange.head_at = time.monotonic()
                self._call(exchange.on_response, 200, HEAD, b"hello")

        engines: dict[int, Any] = {}
        _engine.substitute = lambda real: engines.setdefault(id(real), Instant(real.hub))
        urls = [f"http://h{number}.test/" for number in range(hosts)]
        requests = (grequests.get(urls[number % hosts]) for number in range(MOST_HOSTS + count))
        done = 0
        begun = now()
        # One host is not to be held at its limit: that is another way through the scheduler.
        for result in grequests.run(requests, concurrency=CONCURRENCY, per_host=CONCURRENCY):
            done += result.response.status_code == 200
            if done == MOST_HOSTS:
                begun = now()
        check(done, MOST_HOSTS + count)
        return begun

    return work


HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Type: text/plain"
_WORK: dict[str, Callable[[str, int], Any]] = {
    "imap": _imap,
    "imap, size 1000": lambda url, count: _imap(url, count, 1000),
    "map of one": _map_of_one,
    "run": _run,
    "run, no Retry": lambda url, count: _run(url, count, retry=None),
    "run, ordered": lambda url, count: _run(url, count, ordered=True),
    "arun": _arun,
    **{way: _schedule(hosts) for way, hosts in HOSTS.items()},
}


# --- limits --------------------------------------------------------------------------------------


def million(url: str, count: int) -> None:
    """Results by the million, read by somebody who pauses: memory."""
    import gevent
    import grequests

    seen: list[int] = []
    results = grequests.run(_requests(url, count), concurrency=CONCURRENCY, per_host=CONCURRENCY)
    for done, result in enumerate(results, 1):
        assert result.response.status_code == 200
        if done % 1000 == 0:
            gevent.sleep(0.001)
        if done in (1000, count):
            seen.append(resident())
    print(json.dumps({"after 1,000": seen[0], "at the end": seen[-1], "count": count}))
    os._exit(0)


def at_once(url: str, count: int) -> None:
    """So many requests that a server answers only once it has all of them."""
    import grequests

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(max(soft, count + 1000), hard), hard))
    urls = [f"{url}/slow/{count}"] * count
    done = sum(
        result.ok for result in grequests.run(urls, concurrency=count, per_host=None, timeout=120)
    )
    print(json.dumps({"answered": done, "count": count, "at the end": resident()}))
    os._exit(0)


def resident() -> int:
    """The memory of this process, in MB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return round(pages * resource.getpagesize() / 1e6)


def limits(url: str, slow: str) -> str:
    """What there is to say of both."""
    flat = measure("million", url, 1_000_000)
    wide = measure("at once", slow, 10_000)
    return (
        f"1,000,000 results, read by one who pauses: {flat['after 1,000']} MB resident after 1,000 "
        f"of them, {flat['at the end']} MB after all. {wide['count']:,} requests at once: "
        f"{wide['answered']:,} answered, {wide['at the end']} MB resident at the end.\n"
    )


def check(done: int, count: int) -> None:
    """Every answer has to be there."""
    if done != count:
        raise SystemExit(f"{done} of {count} answers")


# --- the parent's --------------------------------------------------------------------------------


def main() -> int:
    """Do what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--scale", type=float, default=1.0, help="factor on the requests")
    parser.add_argument("--way", action="append", choices=list(WAYS))
    parser.add_argument("--out", help="folder for the results")
    options = parser.parse_args()
    ways = options.way or list(WAYS)
    from harness import serving

    figures: dict[str, list[dict[str, float]]] = {way: [] for way in ways}
    dice = random.Random(1)
    with serving.running() as servers:
        url = servers.url(serving.SMALL)
        whole = options.scale == 1 and not options.way
        more = limits(url, f"http://{serving.MAIN_HOST}:{servers.slow}") if whole else ""
        for number in range(options.rounds):
            for way in dice.sample(ways, len(ways)):
                count = max(2_000, int(WAYS[way][2] * options.scale))
                figures[way].append(measure(way, url, count))
            print(f"round {number + 1} of {options.rounds}", file=sys.stderr)
    text = table(figures, options) + more
    print(text)
    folder = Path(options.out) if options.out else BENCHMARKS / "results" if whole else None
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "bulk.md").write_text(text)
        (folder / "bulk.json").write_text(json.dumps(figures, indent=1) + "\n")
    return 0


def measure(way: str, url: str, count: int, sources: Path | None = None) -> dict[str, float]:
    """One process, of the library that is installed or of that in a folder."""
    env = os.environ if sources is None else {**os.environ, "PYTHONPATH": str(sources)}
    done = subprocess.run(
        [sys.executable, __file__, "--child", way, url, str(count)],
        check=True,
        stdout=subprocess.PIPE,
        timeout=300,
        env=env,
    )
    return json.loads(done.stdout)


def table(figures: dict[str, list[dict[str, float]]], options: argparse.Namespace) -> str:
    """The figures for people."""
    lines = [
        "# The bulk layer",
        "",
        (
            f"{time.strftime('%Y-%m-%d')}, {options.rounds} rounds of processes, interleaved, "
            f"scale {options.scale:g}; {os.cpu_count()} processors. CPU per request of the client, "
            "medians; ratios are medians over the rounds. `python benchmarks/bulk.py`"
        ),
        "",
        "| way | requests | CPU per request | requests/s | against | ratio | limit |",
        "|---|---:|---:|---:|---|---:|---:|",
    ]
    for way, runs in figures.items():
        base, limit, count = WAYS[way]
        ratio = ""
        if base != way and figures.get(base):
            pairs = zip(runs, figures[base], strict=True)
            ratio = f"{statistics.median(one['us'] / other['us'] for one, other in pairs):.2f}"
        lines.append(
            f"| {way} | {max(2_000, int(count * options.scale)):,} "
            f"| {statistics.median(run['us'] for run in runs):.1f} us "
            f"| {statistics.median(run['per_second'] for run in runs):,.0f} "
            f"| {base if base != way else ''} | {ratio} | {limit or ''} |"
        )
    lines += [
        "",
        (
            "`imap` is the plain one, all others have default policies and the same concurrency "
            f"({CONCURRENCY}). The last two go over a transport that answers at once: what is left "
            "is scheduling. Each host has been sent one request before."
        ),
        "",
        "",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    if sys.argv[1:3] == ["--child", "million"]:
        million(sys.argv[3], int(sys.argv[4]))
    if sys.argv[1:3] == ["--child", "at once"]:
        at_once(sys.argv[3], int(sys.argv[4]))
    if sys.argv[1:2] == ["--child"]:
        child(sys.argv[2], sys.argv[3], int(sys.argv[4]))
    sys.exit(main())
