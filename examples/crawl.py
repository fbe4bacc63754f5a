"""Follow links: an input that grows while it is read.

python examples/crawl.py [URL]      without a URL, a local server is started
"""

from __future__ import annotations

import re
import sys
from urllib.parse import urljoin

import grequests


def main(base: str) -> None:
    start = f"{base}/tree/1"
    seen = {start}
    pages = failures = 0
    with grequests.Client(concurrency=20) as client:
        # It closes itself when all that was found has been read, and nothing new with it.
        feed = client.feed([start], until_idle=True)
        for result in client.run(feed):
            if not result.ok:
                failures += 1
                continue
            pages += 1
            for link in re.findall(r'href="([^"]+)"', result.response.text):
                url = urljoin(result.response.url, link)
                if url not in seen:
                    seen.add(url)
                    feed.put(url)
    print(f"{pages} pages, {failures} failures")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(sys.argv[1])
    else:
        from grequests._demo import serving

        with serving() as server:
            main(server.url)
