"""One result for each request: retries, limits, tags, and what went wrong.

python examples/bulk.py [URL]      without a URL, a local server is started
"""

from __future__ import annotations

import sys
from collections import Counter

import grequests


def main(base: str) -> None:
    requests = [grequests.get(f"{base}/page/{n}", tag=("page", n)) for n in range(500)]
    requests += [grequests.get(f"{base}/status/503", tag=("busy", n)) for n in range(3)]
    requests.append(grequests.get("http://127.0.0.1:1/", tag=("nobody", 0)))

    outcomes: Counter[str] = Counter()
    with grequests.Client(
        concurrency=50,
        per_host=20,
        retry=grequests.Retry(attempts=3, backoff=0.01),
        timeout=grequests.Timeout(connect=5, read=10, total=30),
    ) as client:
        for result in client.run(requests, ordered=True, deadline=60):
            kind, _ = result.tag
            if result.ok:
                outcomes[f"{kind}: fine"] += 1
            else:
                reason = result.attempts[-1].retried
                outcomes[f"{kind}: {reason}"] += 1
        statistics = client.statistics()

    for outcome, count in outcomes.items():
        print(f"{count:4} x {outcome}")
    print(f"{statistics.done} done, {statistics.failures} failed, {statistics.retries} retries")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(sys.argv[1])
    else:
        from grequests._demo import serving

        with serving() as server:
            main(server.url)
