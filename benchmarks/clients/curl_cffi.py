"""curl_cffi: AsyncSession with as many curl handles as the concurrency, no impersonation."""

from __future__ import annotations

from curl_cffi import AsyncSession

from clients._common import Fetch, Job, asyncio_fetch, main, new_loop


def start(job: Job) -> Fetch:
    """One session for all requests."""
    loop = new_loop()
    session = AsyncSession(loop=loop, max_clients=job.concurrency, verify=job.ca, timeout=120)

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
