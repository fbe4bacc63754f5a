"""Work through more requests than fit into memory: they are made when their turn comes.

python examples/stream.py [URL]      without a URL, a local server is started
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import grequests

if TYPE_CHECKING:
    from collections.abc import Iterator


ENOUGH = 2000


def endless(base: str) -> Iterator[grequests.AsyncRequest]:
    number = 0
    while True:
        number += 1
        yield grequests.get(f"{base}/page/{number}", timeout=10)


def main(base: str) -> None:
    # At most 50 are on their way, and at most 50 answers wait to be read.
    responses = grequests.imap(endless(base), size=50)
    size = 0
    for count, response in enumerate(responses, 1):
        size += len(response.content)
        if count == ENOUGH:
            break
    responses.close()  # what is still on its way is given up
    print(f"{count} pages, {size} bytes")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(sys.argv[1])
    else:
        from grequests._demo import serving

        with serving() as server:
            main(server.url)
