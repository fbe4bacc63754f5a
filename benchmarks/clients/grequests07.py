"""grequests 0.7.0, at its best: with a session of a large pool wherever connections are kept.

(Without ``session=`` it makes a session and a connection for every request. That is what the
scenario of 500 hosts measures, and only that one.)
"""

from __future__ import annotations

import grequests  # isort: skip  (it patches the standard library, so it has to come first)

import time
from collections.abc import Iterable
from typing import Any

import requests
from requests.adapters import HTTPAdapter

from clients._common import Fetch, Job, main


def start(job: Job) -> Fetch:
    """A session whose pool holds all connections, unless every request has its own host."""
    options = options_of(job)
    started: dict[str, float] = {}

    def unsent(urls: Iterable[str]) -> Iterable[Any]:
        for url in urls:
            if job.latency:
                started[url] = time.perf_counter()
            yield grequests.get(url, **options)

    def fetch(urls: Iterable[str]) -> None:
        for response in grequests.imap(unsent(urls), size=job.concurrency):
            if job.latency:
                job.latencies.append(time.perf_counter() - started.pop(response.url))
            job.check(response.status_code, response.content)

    def fetch_json(urls: Iterable[str]) -> None:
        for response in grequests.imap(unsent(urls), size=job.concurrency):
            job.check_json(
                response.status_code,
                response.headers["Content-Type"],
                response.text,
                response.json(),
            )

    return fetch_json if job.json else fetch


def options_of(job: Job) -> dict[str, Any]:
    """The keywords of each request."""
    if len(job.addresses) > 1:
        return {"verify": job.ca}
    session = requests.Session()
    adapter = HTTPAdapter(pool_maxsize=job.concurrency)
    session.mount("http://", adapter)
    session.mount("https://", adapter)
    session.verify = job.ca
    return {"session": session}


if __name__ == "__main__":
    main(start)
