"""See why requests failed: each failure names its cause, and none is lost.

python examples/errors.py [URL]      without a URL, a local server is started
"""

from __future__ import annotations

import sys

import requests

import grequests


def give_back(request: grequests.AsyncRequest, exception: Exception | None) -> Exception | None:
    """Called for each failure; what it returns stands in the list."""
    print(f"failed: {request.url}", file=sys.stderr)
    return exception


def main(base: str) -> None:
    outcomes = grequests.map(
        [
            grequests.get(f"{base}/page/1", timeout=1),
            grequests.get(f"{base}/status/404", timeout=1),  # an answer, not a failure
            grequests.get(f"{base}/truncated/1", timeout=1),
            grequests.get(f"{base}/slow/1", timeout=0.2),
            grequests.get("http://127.0.0.1:1/", timeout=1),
            grequests.get("no scheme"),
        ],
        exception_handler=give_back,
    )
    for outcome in outcomes:
        if isinstance(outcome, requests.Response):
            print(f"{outcome.status_code}: {outcome.url}")
        elif isinstance(outcome, requests.Timeout):
            print(f"too slow: {type(outcome).__name__}: {outcome}")
        else:
            print(f"{type(outcome).__name__}: {outcome}")

    # Without a handler the request itself knows.
    request = grequests.get(f"{base}/garbage/1", timeout=1)
    grequests.map([request])
    print(f"{request!r}: {request.exception}")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(sys.argv[1])
    else:
        from grequests._demo import serving

        with serving() as server:
            main(server.url)
