"""See what happens: log, progress, events, statistics, and metrics for Prometheus.

Needs prometheus-client: pip install 'grequests[prometheus]'

python examples/observability.py [URL]      without a URL, a local server is started
"""

from __future__ import annotations

import logging
import sys

import grequests
from grequests.prometheus import PrometheusListener


def show(statistics: grequests.Statistics) -> None:
    """Called ten times a second while a run goes on, and once at its end."""
    print(f"{statistics.done} of {statistics.expected} done", file=sys.stderr)


def show_retry(event: grequests.Retried) -> None:
    print(f"{event.host}, once more: {event.attempt.retried}")


def main(base: str) -> None:
    # A line for each failure, and at the end of a run a sentence on why.
    logging.basicConfig(level=logging.INFO, format="%(name)s %(levelname)s: %(message)s")

    urls = [f"{base}/page/{n}" for n in range(500)]
    urls += [f"{base}/truncated/1", f"{base}/status/503", "http://127.0.0.1:1/?token=secret"]
    with grequests.Client(retry=grequests.Retry(attempts=2, backoff=0.01)) as client:
        client.on("retried", show_retry)
        client.on(PrometheusListener())
        for result in client.run(urls, progress=show):
            if not result.ok:
                print(f"{result.host}: {result.error or result.response}")
        statistics = client.statistics()

    for kind, count in sorted(statistics.failed.items()):
        print(f"{count} x {kind}")
    for host, row in statistics.hosts.items():
        print(f"{host}: {row.done} done, {row.failed} failed")
    latency = statistics.latency
    print(f"median {latency.p50 * 1000:.1f} ms, 99 % within {latency.p99 * 1000:.1f} ms")
    print(f"{statistics.opened} connections, {statistics.received:,} bytes")
    print(f"{statistics.done} done, {statistics.failures} failed, {statistics.retries} retries")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(sys.argv[1])
    else:
        from grequests._demo import serving

        with serving() as server:
            main(server.url)
