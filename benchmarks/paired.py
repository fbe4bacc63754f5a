#!/usr/bin/env python3
"""What a change costs: this checkout against another one, on the plain path.

    git worktree add /tmp/before HEAD~20
    .venv/bin/python benchmarks/paired.py /tmp/before            some minutes
    .venv/bin/python benchmarks/paired.py /tmp/before --rounds 3 --way imap

Whole processes of the same Python, one of each checkout after the other in an order drawn anew in
each round, against a server of its own; the ratios are medians of those within a round. Both send
by the child of `bulk.py` that lies here, which uses what 0.7 and the bulk layer have long had.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import sys
import time
from pathlib import Path
from typing import Any

from bulk import measure
from soaking.figures import revision

BENCHMARKS = Path(__file__).resolve().parent
#: Requests of each way.
WAYS = {"imap": 40_000, "run": 40_000, "imap, size 1000": 40_000, "map of one": 10_000}


def table(found: dict[str, Any], options: argparse.Namespace) -> str:
    """The figures for people."""
    lines = [
        "# One commit against another",
        "",
        (
            f"{time.strftime('%Y-%m-%d')}: {revision(BENCHMARKS.parent)} against "
            f"{revision(options.before)}, {options.rounds} rounds of processes, interleaved; "
            f"{os.cpu_count()} processors. Ratios are medians over the rounds, and between what half "
            "of them lie; CPU is the client's. `python benchmarks/paired.py`"
        ),
        "",
        "| way | CPU per request, before | now | ratio | requests/s, ratio |",
        "|---|---:|---:|---:|---:|",
    ]
    for way, runs in found.items():
        pairs = list(zip(runs["now"], runs["before"], strict=True))
        before, now = (
            statistics.median(each["us"] for each in runs[name]) for name in ("before", "now")
        )
        ratios = [[new[key] / old[key] for new, old in pairs] for key in ("us", "per_second")]
        shown = " | ".join(map(spread, ratios))
        lines.append(f"| {way} | {before:.1f} us | {now:.1f} us | {shown} |")
    return "\n".join([*lines, ""])


def spread(ratios: list[float]) -> str:
    """The median, and between what half of them lie."""
    low, middle, high = statistics.quantiles(ratios, n=4)
    return f"{middle:.3f} ({low:.3f} to {high:.3f})"


def main() -> int:
    """Do what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("before", type=Path, help="another checkout of this repository")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--way", action="append", choices=list(WAYS))
    parser.add_argument("--out", type=Path, help="folder for the figures; else they are published")
    options = parser.parse_args()
    if not (options.before / "src" / "grequests").is_dir():
        parser.error(f"there is no src/grequests in {options.before}")
    from harness import serving

    ways = options.way or list(WAYS)
    checkouts = {"before": options.before.resolve(), "now": BENCHMARKS.parent}
    found: dict[str, dict[str, list[dict[str, float]]]] = {
        way: {name: [] for name in checkouts} for way in ways
    }
    dice = random.Random(1)
    with serving.running() as servers:
        url = servers.url(serving.SMALL)
        for number in range(options.rounds):
            for way in dice.sample(ways, len(ways)):
                for name in dice.sample(list(checkouts), len(checkouts)):
                    found[way][name].append(
                        measure(way, url, WAYS[way], checkouts[name] / "src")
                    )
            print(f"round {number + 1} of {options.rounds}", file=sys.stderr)
    text = table(found, options)
    print(text)
    folder = options.out or (None if options.way else BENCHMARKS / "results")
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "paired.md").write_text(text)
        (folder / "paired.json").write_text(json.dumps(found, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
