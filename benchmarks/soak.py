#!/usr/bin/env python3
"""Millions of requests, one in a hundred with a fault, 10,000 connections held: nothing is lost.

    .venv/bin/python benchmarks/soak.py                       10,000,000 requests
    .venv/bin/python benchmarks/soak.py --count 200000 --out /tmp/soak
    python benchmarks/soak.py --chart                         docs/soak.svg; needs matplotlib

`soaking/plan.py` says what each request is, by its number; a server of our own in another process
answers, rightly or not (`soaking/faults.py`). 10,000 attempts are under way at any time, so each of
10,000 connections carries one request after another. Each result is looked at (`soaking/judge.py`).
The exit code is 0 if everything is as it has to be.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from soaking import figures, limits

BENCHMARKS = Path(__file__).resolve().parent
#: Descriptors that are not connections of this process, or are on their way.
SPARE = 600


@contextlib.contextmanager
def serving() -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Where the server is while it runs, and what it has seen, once it has ended."""
    seen: dict[str, Any] = {}
    # A session of its own: Ctrl-C is for us; it ends when its stdin does.
    server = subprocess.Popen(
        [sys.executable, "-m", "soaking.server"],
        cwd=BENCHMARKS,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    assert server.stdin is not None
    assert server.stdout is not None
    try:
        yield json.loads(server.stdout.readline()), seen
        server.stdin.close()
        seen.update(json.loads(server.stdout.readline()))
    finally:
        server.stdin.close()
        try:
            server.wait(10)
        except subprocess.TimeoutExpired:
            server.kill()


def soak(count: int, wanted: int) -> tuple[dict[str, Any], list[figures.Sample]]:
    """Do it all, and say what there is to say."""
    import gevent  # noqa: PLC0415 - as the next, not there where a chart is drawn
    from soaking.client import Soak  # noqa: PLC0415

    held = min(wanted, limits.raise_limit() - SPARE)
    if held < wanted:
        print(f"only {held:,} at once: that is what the limit allows", file=sys.stderr)
    gevent.get_hub().threadpool.apply(int)  # both have descriptors of their own from then on
    with serving() as (told, seen):
        before = limits.opened()
        one = Soak(count, held, told["ports"], told["authority"])
        found = one.run()
        one.close()
        gc.collect()  # failures of the general lane leave a connection to it here and there
        left = limits.opened() - before
        found["left"] = left.total() + found.pop("in flight")
        found["examples"] += [f"left at the end: {count} of {what}" for what, count in left.items()]
    found["server"] = seen
    found["spoilt and used"] = seen.get("requests on spoilt connections", 0)
    found["wrong uploads"] = seen.get("wrong uploads", 0)
    return found, one.samples


def main() -> int:
    """Do what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=10_000_000)
    parser.add_argument("--held", type=int, default=10_000, help="requests at once")
    parser.add_argument("--out", type=Path, help="folder for the figures; else they are published")
    parser.add_argument("--chart", action="store_true", help="draw the figures that there are")
    options = parser.parse_args()
    folder = options.out or BENCHMARKS / "results"
    chart = (options.out or BENCHMARKS.parent / "docs") / "soak.svg"
    if options.chart:
        from soaking.chart import draw  # noqa: PLC0415 - it needs matplotlib

        draw(json.loads((folder / "soak.json").read_text()), chart)
        return 0
    found, samples = soak(options.count, options.held)
    checks = figures.checks(found, samples)
    text = figures.table(found, checks)
    print(text)
    if options.out or (found["whole"] and options.count >= 1_000_000):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "soak.md").write_text(text)
        whole = json.dumps(figures.as_json(found, checks, samples))
        (folder / "soak.json").write_text(whole + "\n")
    if not found["whole"]:
        return 130
    return 0 if all(each.ok for each in checks) else 1


if __name__ == "__main__":
    sys.exit(main())
