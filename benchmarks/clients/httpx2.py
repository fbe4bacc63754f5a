"""httpx2: AsyncClient with limits as high as the concurrency."""

from __future__ import annotations

import ssl

import httpx2

from clients._common import Fetch, Job, asyncio_fetch, main, new_loop


def start(job: Job) -> Fetch:
    """One client for all requests."""
    loop = new_loop()
    limits = httpx2.Limits(
        max_connections=job.concurrency, max_keepalive_connections=job.concurrency
    )
    context = ssl.create_default_context(cafile=job.ca)
    client = httpx2.AsyncClient(limits=limits, verify=context, timeout=120)

    async def one(url: str) -> None:
        response = await client.get(url)
        job.check(response.status_code, response.content)

    async def one_json(url: str) -> None:
        response = await client.get(url)
        job.check_json(
            response.status_code, response.headers["content-type"], response.text, response.json()
        )

    return asyncio_fetch(job, one_json if job.json else one, loop)


if __name__ == "__main__":
    main(start)
