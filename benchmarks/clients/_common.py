"""What every client script shares: the job it was given, the checks, the measuring.

A client module has one function, ``start(job)``. It builds the library's client and returns a
callable that fetches an iterable of URLs, ``job.concurrency`` at a time, and hands each answer to
``job.check`` or, in the JSON scenario, to ``job.check_json``. ``main(start)`` does the rest:
warm up, measure, print one line of JSON.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import resource
import sys
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

Fetch = Callable[[Iterable[str]], object]


class WrongAnswerError(Exception):
    """A library delivered something other than what the server sent."""


class Job:
    """What to fetch, how, and what has been seen of it so far."""

    def __init__(self, spec: dict[str, Any]) -> None:
        self.kind: str = spec["kind"]
        self.json: bool = spec["kind"] == "json"
        self.addresses: list[str] = spec["urls"]
        self.warmup_addresses: list[str] = spec["warmup_urls"]
        self.requests: int = spec["requests"]
        self.warmup: int = spec["warmup"]
        self.concurrency: int = spec["concurrency"]
        self.size: int = spec["size"]
        self.ca: str = spec["ca"]
        self.tls: bool = self.addresses[0].startswith("https:")
        self.latency: bool = spec["latency"]
        self.latencies: list[float] = []
        self.done = 0

    def urls(self) -> Iterator[str]:
        """The URLs to measure, one after the other, never all in memory."""
        return self._generate(self.addresses, self.requests)

    def warmup_urls(self) -> Iterator[str]:
        """The URLs to begin with, so that connections and caches exist."""
        return self._generate(self.warmup_addresses, self.warmup)

    def _generate(self, addresses: list[str], count: int) -> Iterator[str]:
        urls = itertools.islice(itertools.cycle(addresses), count)
        if not self.latency:
            return urls
        return (f"{url}?n={n}" for n, url in enumerate(urls))

    def check(self, status: int, body: Any) -> None:
        """Count one answer whose body has been read."""
        if status != 200 or len(body) != self.size:
            raise WrongAnswerError(f"status {status}, {len(body)} bytes, not {self.size}")
        self.done += 1

    def check_json(self, status: int, content_type: str, text: str, data: Any) -> None:
        """Count one JSON answer of which a header, the text and the document have been read."""
        if content_type != "application/json" or data["count"] != len(data["items"]):
            raise WrongAnswerError(f"{content_type}, {text[:80]}")
        self.check(status, text)


def main(start: Callable[[Job], Fetch]) -> None:
    """Run the job of the command line and print what it cost."""
    job = Job(json.loads(sys.argv[1]))
    fetch = start(job)
    fetch(job.warmup_urls())
    if job.done != job.warmup:
        raise WrongAnswerError(f"{job.done} of {job.warmup} answers in the warm-up")
    job.done = 0
    job.latencies.clear()
    resident = memory("VmRSS")
    before = resource.getrusage(resource.RUSAGE_SELF)
    began = time.perf_counter()
    fetch(job.urls())
    wall = time.perf_counter() - began
    after = resource.getrusage(resource.RUSAGE_SELF)
    if job.done != job.requests:
        raise WrongAnswerError(f"{job.done} of {job.requests} answers")
    report = {
        "requests": job.requests,
        "wall": wall,
        "user": after.ru_utime - before.ru_utime,
        "system": after.ru_stime - before.ru_stime,
        "rss_before_kb": resident,
        "rss_peak_kb": memory("VmHWM"),
        "maxrss_kb": after.ru_maxrss,
        **percentiles(job.latencies),
    }
    print(json.dumps(report), flush=True)
    # A library's clean-up at exit is not what is measured, and some of them are slow at it.
    os._exit(0)


def memory(field: str) -> int:
    """A figure of this process's memory in KB; ru_maxrss may be the parent's, VmHWM is ours."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1])
    return 0


def percentiles(latencies: list[float]) -> dict[str, float]:
    """The median and the 99th percentile, in milliseconds."""
    if not latencies:
        return {}
    ordered = sorted(latencies)
    return {
        "p50_ms": ordered[len(ordered) // 2] * 1e3,
        "p99_ms": ordered[len(ordered) * 99 // 100] * 1e3,
    }


def asyncio_fetch(
    job: Job, one: Callable[[str], Awaitable[None]], loop: asyncio.AbstractEventLoop
) -> Fetch:
    """Fetch with ``concurrency`` tasks that share one iterator of URLs."""

    async def worker(urls: Iterator[str]) -> None:
        for url in urls:
            await one(url)

    async def timed_worker(urls: Iterator[str]) -> None:
        for url in urls:
            began = time.perf_counter()
            await one(url)
            job.latencies.append(time.perf_counter() - began)

    async def everything(urls: Iterator[str]) -> None:
        work = timed_worker if job.latency else worker
        await asyncio.gather(*(work(urls) for _ in range(job.concurrency)))

    return lambda urls: loop.run_until_complete(everything(iter(urls)))


def new_loop() -> asyncio.AbstractEventLoop:
    """An event loop, made current: uvloop's where uvloop is installed."""
    try:
        import uvloop
    except ImportError:
        loop = asyncio.new_event_loop()
    else:
        loop = uvloop.new_event_loop()
    asyncio.set_event_loop(loop)
    return loop
