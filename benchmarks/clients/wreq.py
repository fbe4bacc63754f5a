"""wreq: one Client, HTTP/1, a pool as large as the concurrency.

Its ``json()`` takes more CPU than ``json.loads`` of its text (600 us and 160 us for
9 KB), so that is what is used.
"""

from __future__ import annotations

import json
from pathlib import Path

from wreq import Client

from clients._common import Fetch, Job, asyncio_fetch, main, new_loop


def start(job: Job) -> Fetch:
    """One client for all requests."""
    loop = new_loop()
    size = max(job.concurrency, len(job.addresses))
    client = Client(
        http1_only=True,
        tls_verify=Path(job.ca),
        no_proxy=True,
        pool_max_idle_per_host=job.concurrency,
        pool_max_size=size,
    )

    async def one(url: str) -> None:
        async with await client.get(url) as response:
            job.check(response.status.as_int(), await response.bytes())

    async def one_json(url: str) -> None:
        async with await client.get(url) as response:
            content_type = bytes(response.headers["content-type"]).decode()
            text = await response.text()
            job.check_json(response.status.as_int(), content_type, text, json.loads(text))

    return asyncio_fetch(job, one_json if job.json else one, loop)


if __name__ == "__main__":
    main(start)
