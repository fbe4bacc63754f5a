"""CPU per request of the asynchronous face over the synchronous one.

    python3 benchmarks/bulk_aio.py [--rounds 7] [--requests 20000] [--concurrency 50] [--uvloop]

Both send the same requests with the same options to a local keep-alive server (`servers/raw.py`,
in a process of its own), in turns, in one process. CPU is that of the whole process: the event
loop's thread and the one that sends. Exits with 1 if the median ratio is above 1.30.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import grequests

HERE = Path(__file__).resolve().parent
LIMIT = 1.30


@contextlib.contextmanager
def serving() -> Iterator[str]:
    """A server's root, while it runs."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "servers.raw", str(port)]
    process = subprocess.Popen(command, cwd=HERE)
    try:
        for _ in range(500):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                break
            time.sleep(0.01)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


def synchronous(urls: list[str], options: dict[str, int]) -> None:
    """As `run` is used."""
    good = sum(result.ok for result in grequests.run(urls, **options))
    assert good == len(urls)


def asynchronous(urls: list[str], options: dict[str, int], runner: Callable[..., object]) -> None:
    """As `arun` is used."""

    async def main() -> None:
        good = 0
        async for result in grequests.arun(urls, **options):
            good += result.ok
        assert good == len(urls)

    runner(main())


def cost(function: Callable[[], None]) -> tuple[float, float]:
    """Seconds of CPU and of the clock."""
    cpu, wall = time.process_time(), time.perf_counter()
    function()
    return time.process_time() - cpu, time.perf_counter() - wall


def main() -> int:
    """Measure and say what came out."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--requests", type=int, default=20_000)
    parser.add_argument("--concurrency", type=int, default=50)
    parser.add_argument("--uvloop", action="store_true")
    arguments = parser.parse_args()
    runner: Callable[..., object] = asyncio.run
    if arguments.uvloop:
        import uvloop

        runner = uvloop.run
    options = {"concurrency": arguments.concurrency, "per_host": arguments.concurrency}
    with serving() as root:
        urls = [f"{root}/{n}" for n in range(arguments.requests)]
        ways = {
            "run": lambda: synchronous(urls, options),
            "arun": lambda: asynchronous(urls, options, runner),
        }
        found: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
        for way in ways.values():
            way()  # warm up
        for _ in range(arguments.rounds):
            for name, way in ways.items():
                found[name].append(cost(way))
    per = 1e6 / arguments.requests
    for name, costs in found.items():
        cpu, wall = (statistics.median(each) * per for each in zip(*costs, strict=True))
        print(f"{name:5} {cpu:6.1f} us CPU, {wall:6.1f} us wall per request")
    ratio = statistics.median(a[0] / s[0] for s, a in zip(found["run"], found["arun"], strict=True))
    print(f"arun / run: {ratio:.2f} (limit {LIMIT:.2f})")
    return ratio > LIMIT


if __name__ == "__main__":
    sys.exit(main())
