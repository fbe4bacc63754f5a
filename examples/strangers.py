"""Fetch URLs that strangers gave, and stay out of the private network.

python examples/strangers.py [URL]      without a URL, a local server is started
"""

from __future__ import annotations

import sys
from urllib.parse import urlsplit

import grequests


def main(base: str) -> None:
    # All there is in this example is this machine: only its own server may be connected to.
    policy = grequests.AddressPolicy(allow=["127.0.0.1"])
    port = urlsplit(base).port
    urls = [
        f"{base}/page/1",
        "http://169.254.169.254/latest/meta-data/",
        "http://10.0.0.1/admin",
        f"http://127.0.0.2:{port}/",
        f"http://0x7f000002:{port}/",  # the same in disguise
        "file:///etc/passwd",
    ]
    with grequests.Client(
        address_policy=policy,
        max_body=1_000_000,
        timeout=grequests.Timeout(connect=2, read=5, total=10),
        retry=None,
    ) as client:
        for result in client.run(urls, ordered=True):
            if result.ok:
                print(f"{len(result.unwrap().content)} bytes: {result.request.url}")
            elif isinstance(result.error, grequests.AddressDeniedError):
                print(f"denied: {result.error.host} {result.error.addresses}")
            else:
                print(f"{type(result.error).__name__}: {result.request.url}")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(sys.argv[1])
    else:
        from grequests._demo import serving

        with serving() as server:
            main(server.url)
