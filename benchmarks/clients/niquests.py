"""niquests: AsyncSession with pools as large as the concurrency."""

from __future__ import annotations

import niquests

from clients._common import Fetch, Job, asyncio_fetch, main, new_loop


def start(job: Job) -> Fetch:
    """One session for all requests."""
    loop = new_loop()
    session = niquests.AsyncSession(pool_connections=job.concurrency, pool_maxsize=job.concurrency)
    session.verify = job.ca

    async def one(url: str) -> None:
        response = await session.get(url)
        job.check(response.status_code, response.content)

    async def one_json(url: str) -> None:
        response = await session.get(url)
        job.check_json(
            response.status_code, response.headers["Content-Type"], response.text, response.json()
        )

    return asyncio_fetch(job, one_json if job.json else one, loop)


if __name__ == "__main__":
    main(start)
