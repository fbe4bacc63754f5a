"""Follow links: a generator that waits for what the answers bring.

python examples/crawl.py [URL]      without a URL, a local server is started
"""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING
from urllib.parse import urljoin

from gevent.queue import Queue

import grequests

if TYPE_CHECKING:
    from collections.abc import Iterator


class Frontier:
    """The pages to be fetched, until none is left and none is on its way."""

    def __init__(self, start: str) -> None:
        self._seen = {start}
        self._left = 1  # found, and not finished
        self._queue: Queue[str | None] = Queue()
        self._queue.put(start)

    def requests(self) -> Iterator[grequests.AsyncRequest]:
        # Waiting here is fine as long as gevent does it: what is on its way goes on.
        while (url := self._queue.get()) is not None:
            yield grequests.get(url, timeout=10)

    def add(self, url: str) -> None:
        if url not in self._seen:
            self._seen.add(url)
            self._left += 1
            self._queue.put(url)

    def finish_one(self) -> None:
        self._left -= 1
        if not self._left:
            self._queue.put(None)


def main(base: str) -> None:
    frontier = Frontier(f"{base}/tree/1")
    pages = failures = 0
    # Unlike imap, imap_enumerated yields failures too (as None), so that each page is counted.
    for _, response in grequests.imap_enumerated(frontier.requests(), size=20):
        if response is None:
            failures += 1
        else:
            pages += 1
            for link in re.findall(r'href="([^"]+)"', response.text):
                frontier.add(urljoin(response.url, link))
        frontier.finish_one()
    print(f"{pages} pages, {failures} failures")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(sys.argv[1])
    else:
        from grequests._demo import serving

        with serving() as server:
            main(server.url)
