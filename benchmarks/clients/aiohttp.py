"""aiohttp on uvloop: one ClientSession, its connector's limit lifted."""

from __future__ import annotations

import ssl

import aiohttp

from clients._common import Fetch, Job, asyncio_fetch, main, new_loop


def start(job: Job) -> Fetch:
    """One session for all requests."""
    loop = new_loop()

    async def build() -> aiohttp.ClientSession:
        context = ssl.create_default_context(cafile=job.ca) if job.tls else True
        connector = aiohttp.TCPConnector(limit=0, ssl=context)
        return aiohttp.ClientSession(connector=connector)

    session = loop.run_until_complete(build())

    async def one(url: str) -> None:
        async with session.get(url) as response:
            job.check(response.status, await response.read())

    async def one_json(url: str) -> None:
        async with session.get(url) as response:
            job.check_json(
                response.status,
                response.headers["Content-Type"],
                await response.text(),
                await response.json(),
            )

    return asyncio_fetch(job, one_json if job.json else one, loop)


if __name__ == "__main__":
    main(start)
