"""geventhttpclient: an HTTPClientPool, and as many greenlets as the concurrency."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator

import gevent
from gevent.ssl import PROTOCOL_TLS_CLIENT, SSLContext
from geventhttpclient import URL
from geventhttpclient.client import HTTPClientPool

from clients._common import Fetch, Job, main


def start(job: Job) -> Fetch:
    """One pool, and one SSL context, for all hosts.

    Left to itself it makes a context for each host, reading the CA bundle each time, and one of
    the standard library, whose sockets do not yield to other greenlets.
    """
    block = min(65536, max(4096, job.size))
    context = SSLContext(PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(job.ca)
    pool = HTTPClientPool(
        concurrency=job.concurrency,
        block_size=block,
        network_timeout=120,
        ssl_context_factory=lambda **_options: context,
    )

    def one(address: str) -> None:
        url = URL(address)
        response = pool.get_client(url).get(url.request_uri)
        job.check(response.status_code, response.read())

    def one_json(address: str) -> None:
        url = URL(address)
        response = pool.get_client(url).get(url.request_uri)
        text = response.read().decode()
        job.check_json(response.status_code, response["content-type"], text, json.loads(text))

    def one_timed(address: str) -> None:
        began = time.perf_counter()
        one(address)
        job.latencies.append(time.perf_counter() - began)

    get = one_json if job.json else one_timed if job.latency else one

    def worker(urls: Iterator[str]) -> None:
        for url in urls:
            get(url)

    def fetch(urls: Iterable[str]) -> None:
        shared = iter(urls)
        gevent.joinall(
            [gevent.spawn(worker, shared) for _ in range(job.concurrency)], raise_error=True
        )

    return fetch


if __name__ == "__main__":
    main(start)
