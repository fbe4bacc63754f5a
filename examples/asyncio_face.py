"""The same engine in asyncio: results as they come, from a source that is asynchronous as well.

python examples/asyncio_face.py [URL]      without a URL, a local server is started
"""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING

import grequests

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


async def jobs(base: str) -> AsyncIterator[tuple[str, int]]:
    """What is to be sent, as it might come from a queue or a database."""
    for number in range(500):
        yield f"{base}/page/{number}", number
        if number % 100 == 0:
            await asyncio.sleep(0)


async def tick(beats: list[None]) -> None:
    """Somebody else in the same event loop."""
    while True:
        await asyncio.sleep(0.001)
        beats.append(None)


async def main(base: str) -> None:
    beats: list[None] = []
    ticking = asyncio.create_task(tick(beats))

    size = 0
    async for result in grequests.arun(jobs(base), concurrency=20, retry=3):
        size += len(result.unwrap().content)

    async with grequests.arun(jobs(base)) as results:
        async for result in results:
            if result.index == 0:
                break  # what is under way is cut off
    print("left early")

    first, missing = await grequests.amap(
        [grequests.get(f"{base}/page/1"), grequests.get("http://127.0.0.1:1/")]
    )
    ticking.cancel()
    print(f"{first.status_code}, {missing}")
    print(f"{size} bytes, and the event loop went on: {bool(beats)}")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        asyncio.run(main(sys.argv[1]))
    else:
        from grequests._demo import serving

        with serving() as server:
            asyncio.run(main(server.url))
