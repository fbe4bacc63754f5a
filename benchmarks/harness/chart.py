"""Draws the chart for the README; runs in the ``report`` environment.

python -m harness.chart RESULTS.json CHART.svg
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import matplotlib as mpl

mpl.use("svg")

from matplotlib import pyplot as plt

from harness.peers import BY_NAME
from harness.summary import Summary

SCENARIO = "keepalive-50"
OURS, OTHERS, FLOOR, INK = "#d1495b", "#8d99ae", "#d9dde3", "#22272e"
#: No date, fixed ids, text as text: a diff shows what has changed and nothing else.
STYLE = {
    "svg.hashsalt": "grequests",
    "svg.fonttype": "none",
    "font.size": 11,
    "font.family": "sans-serif",
    "text.color": INK,
}
COLOURS = {"grequests": OURS, "floor": FLOOR}


def main(results: Path, chart: Path) -> None:
    """Write the chart: CPU per request, a bar for each library, the cheapest on top."""
    summary = Summary(json.loads(results.read_text())["runs"])
    medians = {
        library: summary.median("cpu_us", (scenario, library, variant))
        for scenario, library, variant in summary.figures
        if scenario == SCENARIO and variant == "cpu"
    }
    order = sorted(medians, key=lambda library: medians[library], reverse=True)
    mpl.rcParams.update(STYLE)
    figure, axes = plt.subplots(figsize=(9, 0.42 * len(order) + 1.2))
    values = [medians[library] for library in order]
    bars = axes.barh(
        [BY_NAME[library].title for library in order],
        values,
        height=0.72,
        color=[COLOURS.get(library, OTHERS) for library in order],
    )
    axes.bar_label(bars, [f"{value:,.0f} us" for value in values], padding=4)
    axes.set_xscale("log")
    axes.set_xlim(min(values) / 2, max(values) * 2.2)
    axes.set_title(
        "CPU per request: 1 KB keep-alive GET, 50 at a time (log scale, less is better)",
        loc="left",
        fontsize=12,
        x=-0.28,
    )
    axes.xaxis.set_visible(False)
    axes.tick_params(left=False)
    for side in ("top", "right", "bottom", "left"):
        axes.spines[side].set_visible(False)
    for label, library in zip(axes.get_yticklabels(), order, strict=True):
        label.set_fontweight("bold" if library == "grequests" else "normal")
    figure.tight_layout()
    figure.savefig(chart, metadata={"Date": None}, facecolor="white")
    # matplotlib ends some lines with a blank
    chart.write_text("\n".join(line.rstrip() for line in chart.read_text().splitlines()) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
