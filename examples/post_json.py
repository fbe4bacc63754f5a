"""Send what Requests can send: every keyword of `requests.request` is there, per request.

python examples/post_json.py [URL]      without a URL, a local server is started
"""

from __future__ import annotations

import sys

import grequests


def main(base: str) -> None:
    orders = [{"id": number, "amount": number * 10} for number in range(5)]
    requests = [
        grequests.post(
            f"{base}/echo",
            json=order,
            params={"dry": "yes"},
            headers={"X-Order": str(order["id"])},
            auth=("ada", "secret"),
            timeout=10,
        )
        for order in orders
    ]
    for order, response in zip(orders, grequests.map(requests), strict=True):
        if response is not None:
            seen = response.json()
            print(f"{order['id']}: {seen['method']} {seen['target']} {seen['body']}")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(sys.argv[1])
    else:
        from grequests._demo import serving

        with serving() as server:
            main(server.url)
