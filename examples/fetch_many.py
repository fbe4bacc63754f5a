"""Fetch many pages at once; the answers come in the order of the requests.

python examples/fetch_many.py [URL]      without a URL, a local server is started
"""

from __future__ import annotations

import sys

import grequests


def main(base: str) -> None:
    urls = [f"{base}/page/{number}" for number in range(20)]
    responses = grequests.map((grequests.get(url, timeout=10) for url in urls), size=10)
    for url, response in zip(urls, responses, strict=True):
        if response is None:
            print(f"{url}: failed")
        else:
            print(f"{url}: {response.status_code}, {len(response.content)} bytes")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(sys.argv[1])
    else:
        from grequests._demo import serving

        with serving() as server:
            main(server.url)
