"""Draws memory and descriptors of a soak over its requests. Needs matplotlib."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib as mpl
from harness.chart import INK, OTHERS, OURS, STYLE
from matplotlib import pyplot as plt


def draw(figures: dict[str, Any], chart: Path) -> None:
    """Write the chart: two curves over millions of requests."""
    rows = [dict(zip(figures["samples"]["fields"], row)) for row in figures["samples"]["rows"]]  # noqa: B905
    mpl.rcParams.update(STYLE)
    millions = [row["done"] / 1e6 for row in rows]
    figure, axes = plt.subplots(figsize=(9, 3.2))
    axes.plot(millions, [row["rss"] / 1e6 for row in rows], color=OURS, linewidth=2)
    axes.set_ylabel("memory, MB", color=OURS)
    axes.set_ylim(0, 2 * max(row["rss"] for row in rows) / 1e6)
    axes.set_xlabel("million requests")
    axes.set_xlim(0, millions[-1])
    other = axes.twinx()
    other.plot(millions, [row["descriptors"] for row in rows], color=OTHERS, linewidth=1)
    other.set_ylabel("descriptors", color=OTHERS)
    other.set_ylim(0, 1.2 * max(row["descriptors"] for row in rows))
    done, held = figures["done"], figures["held"]
    title = f"{done:,} requests, one in a hundred with a fault, {held:,} at once"
    axes.set_title(title, loc="left", fontsize=12)
    for each in (axes, other):
        each.spines["top"].set_visible(False)
    figure.tight_layout()
    figure.savefig(chart, metadata={"Date": None}, facecolor="white")
    # matplotlib ends some lines with a blank
    chart.write_text("\n".join(line.rstrip() for line in chart.read_text().splitlines()) + "\n")
