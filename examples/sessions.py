"""Share cookies, headers and so on: requests that are given the same `requests.Session`.

python examples/sessions.py [URL]      without a URL, a local server is started
"""

from __future__ import annotations

import sys

import requests

import grequests


def main(base: str) -> None:
    with requests.Session() as session:
        session.headers["User-Agent"] = "examples/1.0"
        session.get(f"{base}/login/ada")  # plain Requests works as ever, with the same cookies
        shared = [grequests.get(f"{base}/headers", session=session) for _ in range(3)]
        alone = [grequests.get(f"{base}/headers")]  # no session: shares nothing
        for response in grequests.map(shared + alone):
            if response is None:
                continue
            sent = response.json()
            print(f"{sent['User-Agent'].partition('/')[0]}: {sent.get('Cookie', 'no cookies')}")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(sys.argv[1])
    else:
        from grequests._demo import serving

        with serving() as server:
            main(server.url)
