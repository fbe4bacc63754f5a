"""grequests: this project. ``imap`` over a generator, exactly as a user writes it."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator

import grequests

from clients._common import Fetch, Job, main


def start(job: Job) -> Fetch:
    """Nothing to build: no session is asked for."""
    options = {"verify": job.ca} if job.tls else {}

    def fetch(urls: Iterable[str]) -> None:
        requests = (grequests.get(url, **options) for url in urls)
        for response in grequests.imap(requests, size=job.concurrency):
            job.check(response.status_code, response.content)

    def fetch_json(urls: Iterable[str]) -> None:
        requests = (grequests.get(url, **options) for url in urls)
        for response in grequests.imap(requests, size=job.concurrency):
            job.check_json(
                response.status_code,
                response.headers["Content-Type"],
                response.text,
                response.json(),
            )

    def fetch_timed(urls: Iterable[str]) -> None:
        started: dict[str, float] = {}
        requests = (grequests.get(url, **options) for url in stamped(urls, started))
        for response in grequests.imap(requests, size=job.concurrency):
            job.latencies.append(time.perf_counter() - started.pop(response.url))
            job.check(response.status_code, response.content)

    return fetch_json if job.json else fetch_timed if job.latency else fetch


def stamped(urls: Iterable[str], started: dict[str, float]) -> Iterator[str]:
    """Note when each URL was asked for."""
    for url in urls:
        started[url] = time.perf_counter()
        yield url


if __name__ == "__main__":
    main(start)
