"""The table of the results, in Markdown."""

from __future__ import annotations

from typing import Any

from .peers import BY_NAME
from .scenarios import SCENARIOS, Scenario
from .summary import Summary

DASH = "-"


def render(results: dict[str, Any]) -> str:
    """The whole report."""
    summary = Summary(results["runs"])
    ran = [scenario for scenario in SCENARIOS if scenario.name in results["scenarios"]]
    parts = [_head(results), _targets(results["targets"])]
    parts += [_scenario(scenario, summary) for scenario in ran]
    parts += [_server(results["server"]), _left_out(results), _versions(results["environments"])]
    return "\n".join(parts)


def _head(results: dict[str, Any]) -> str:
    machine = results["machine"]
    kind = "A quick look with short runs, not a result to cite.\n\n" if results["quick"] else ""
    return (
        f"# Benchmark of {results['date']}\n\n{kind}"
        f"{results['rounds']} rounds, medians; ratios are medians of the rounds' own ratios. "
        f"Revision {machine['revision']}{' + changes' if machine['uncommitted'] else ''}, "
        f"Python {machine['python']}, {machine['cpu']}, {machine['nproc']} processors, "
        f"{machine['system']}, load {machine['load_before'][0]:.2f} before and "
        f"{machine['load_after'][0]:.2f} after. How it is measured: "
        "[benchmarks/README.md](../README.md).\n"
    )


def table(head: list[str], rows: list[list[str]], *, words: int = 1) -> str:
    """A Markdown table; the first columns are words, the others are figures."""
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * words + "---:|" * (len(head) - words)]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def number(value: float | None, digits: int = 1) -> str:
    """A figure, or a dash where there is none."""
    return DASH if value is None else f"{value:,.{digits}f}"


def _targets(verdicts: list[dict[str, Any]]) -> str:
    words = {True: "pass", False: "FAIL", None: "not measured"}
    rows = [
        [
            verdict["scenario"],
            verdict["target"],
            f"{verdict['limit']:.3g} {verdict['unit']}",
            DASH if verdict["measured"] is None else f"{verdict['measured']:.3g} {verdict['unit']}",
            words[verdict["met"]],
        ]
        for verdict in verdicts
    ]
    return "## Targets\n\n" + table(["scenario", "target", "limit", "measured", ""], rows, words=2)


def _scenario(scenario: Scenario, summary: Summary) -> str:
    special = {"million": _memory, "slow-5000": _memory, "import": _import, "single": _single}
    body = special.get(scenario.name, _fetch)(scenario.name, summary)
    return f"## {scenario.name}: {scenario.title}\n\n{body}"


def _libraries(name: str, variant: str, summary: Summary) -> list[str]:
    """The libraries that have runs of this kind, the cheapest first."""
    found = {
        library: summary.median("cpu_us", (name, library, variant))
        for scenario, library, kind in summary.figures
        if scenario == name and kind == variant
    }
    return sorted(found, key=lambda library: found[library] or 0.0)


def _fetch(name: str, summary: Summary) -> str:
    rows = []
    for library in _libraries(name, "cpu", summary):
        cpu, latency = (name, library, "cpu"), (name, library, "latency")
        peak = summary.median("rss_peak_kb", cpu)
        rows.append(
            [
                BY_NAME[library].title,
                number(summary.median("cpu_us", cpu)),
                number(summary.ratio("cpu_us", cpu, (name, "pycurl", "cpu")), 2),
                number(summary.median("per_second", cpu), 0),
                number(summary.median("p50_ms", latency), 2),
                number(summary.median("p99_ms", latency), 2),
                number(peak / 1024 if peak else None),
                number(summary.median("requests", cpu), 0),
            ]
        )
    return table(
        [
            "library",
            "CPU us/request",
            "x pycurl",
            "requests/s",
            "p50 ms",
            "p99 ms",
            "peak RSS MB",
            "requests in a run",
        ],
        rows,
    )


def _memory(name: str, summary: Summary) -> str:
    rows = []
    for library in _libraries(name, "many", summary):
        few, many = (name, library, "few"), (name, library, "many")
        growth = summary.difference("rss_peak_kb", many, few)
        peaks = [summary.median("rss_peak_kb", key) for key in (few, many)]
        rows.append(
            [
                BY_NAME[library].title,
                number(summary.median("requests", many), 0),
                *(number(peak / 1024 if peak else None) for peak in peaks),
                number(None if growth is None else growth / 1024),
                number(summary.memory_of_each(name, library), 2),
                number(summary.median("cpu_us", many)),
                number(summary.median("per_second", many), 0),
            ]
        )
    return table(
        [
            "library",
            "requests",
            "peak RSS MB, few",
            "peak RSS MB, many",
            "growth MB",
            "KB each",
            "CPU us/request",
            "requests/s",
        ],
        rows,
    )


def _import(name: str, summary: Summary) -> str:
    rows = [
        [
            variant,
            number((summary.median("wall", (name, library, variant)) or 0) * 1e3),
            number((summary.median("cpu_us", (name, library, variant)) or 0) / 1e3),
        ]
        for scenario, library, variant in sorted(summary.figures)
        if scenario == name
    ]
    return table(["import of", "wall ms", "CPU ms"], rows)


def _single(name: str, summary: Summary) -> str:
    titles = {
        "map": "map of one",
        "session": "requests: Session().get, the session kept",
        "new-session": "requests: a new Session().get each time",
    }
    rows = [
        [
            f"{BY_NAME[library].title}: {titles[variant]}" if variant == "map" else titles[variant],
            number(summary.median("cpu_us", (name, library, variant))),
            number(
                summary.ratio("cpu_us", (name, library, variant), (name, "grequests", "session")), 2
            ),
        ]
        for scenario, library, variant in sorted(summary.figures)
        if scenario == name
    ]
    return table(["call", "CPU us/call", "x session kept"], rows)


def _server(server: dict[str, Any]) -> str:
    rows = [
        [
            check["url"],
            str(check.get("connections", DASH)),
            number(check.get("requests_per_second"), 0),
        ]
        for check in server["wrk"]
    ]
    note = (
        "What the server gives to wrk, which costs next to nothing. Where a client comes near "
        "it, its requests per second are the server's; its CPU per request is its own.\n\n"
    )
    return f"## Server: {server['version']}\n\n{note}" + table(
        ["address", "connections", "requests/s"], rows
    )


def _left_out(results: dict[str, Any]) -> str:
    failed: dict[tuple[str, str, str], list[str]] = {}
    for run in results["runs"]:
        if "error" in run:
            key = (run["scenario"], run["library"], run["variant"])
            failed.setdefault(key, []).append(run["error"])
    rows = [[skip["library"], skip["scenario"], skip["why"]] for skip in results["skipped"]]
    rows += [
        [library, f"{scenario} ({variant})", f"failed {len(errors)} times: {errors[0]}"]
        for (scenario, library, variant), errors in failed.items()
    ]
    clean = [[cell.replace("|", "/") for cell in row] for row in rows]
    return "## Left out\n\n" + table(["library", "scenario", "why"], clean, words=3) if rows else ""


def _versions(environments: dict[str, dict[str, str]]) -> str:
    rows = [
        [name, ", ".join(f"{package} {version}" for package, version in packages.items())]
        for name, packages in environments.items()
    ]
    return "## Versions\n\n" + table(["environment", "packages"], rows, words=2)
