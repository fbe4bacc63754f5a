"""requests in a ThreadPoolExecutor, one session shared, its pool as large as the executor."""

from __future__ import annotations

import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

import requests
from requests.adapters import HTTPAdapter

from clients._common import Fetch, Job, main


def start(job: Job) -> Fetch:
    """One session, one executor, as many connections as threads."""
    session = requests.Session()
    adapter = HTTPAdapter(pool_connections=job.concurrency, pool_maxsize=job.concurrency)
    session.mount("http://", adapter)
    session.mount("https://", adapter)
    session.verify = job.ca
    executor = ThreadPoolExecutor(job.concurrency)

    def get(url: str) -> requests.Response:
        return session.get(url)

    def timed_get(url: str) -> requests.Response:
        began = time.perf_counter()
        response = session.get(url)
        job.latencies.append(time.perf_counter() - began)
        return response

    def fetch(urls: Iterable[str]) -> None:
        for response in executor.map(timed_get if job.latency else get, urls):
            job.check(response.status_code, response.content)

    def fetch_json(urls: Iterable[str]) -> None:
        for response in executor.map(get, urls):
            job.check_json(
                response.status_code,
                response.headers["Content-Type"],
                response.text,
                response.json(),
            )

    return fetch_json if job.json else fetch


if __name__ == "__main__":
    main(start)
