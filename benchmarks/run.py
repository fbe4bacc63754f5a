#!/usr/bin/env python3
"""The benchmark: builds the environments, starts the server, runs everything, reports.

    python3 benchmarks/run.py --all              everything, about an hour on two processors
    python3 benchmarks/run.py --all --quick      everything, short runs, no result to cite
    python3 benchmarks/run.py --scenario keepalive-50 --library grequests --library pycurl

Only a full ``--all`` replaces the published results in benchmarks/results/; anything else is
written to .bench/results/ (or to ``--out``). benchmarks/README.md says how and why.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from harness import envs, machine, report, scenarios, serving, targets
from harness.paths import BENCHMARKS, CACHE, RESULTS
from harness.peers import BY_NAME, PEERS, Peer
from harness.runner import run_round
from harness.scenarios import SCENARIO_BY_NAME, SCENARIOS, Scenario, Size
from harness.summary import Summary


def main() -> int:
    """Do what the command line asks for."""
    options = parse_arguments()
    raise_descriptor_limit()
    chosen = [
        scenario
        for scenario in SCENARIOS
        if not options.scenario or scenario.name in options.scenario
    ]
    wanted = [peer for peer in PEERS if not options.library or peer.name in options.library]
    peers, installed, missing = build(wanted, rebuild=options.rebuild)
    size = Size(scale=options.scale, quick=options.quick)
    results: dict[str, Any] = {
        "date": time.strftime("%Y-%m-%d"),
        "quick": options.quick,
        "scale": options.scale,
        "rounds": options.rounds,
        "seed": options.seed,
        "machine": machine.facts(),
        "scenarios": [scenario.name for scenario in chosen],
        "environments": installed,
        "skipped": missing + scenarios.skips_of(chosen, peers),
    }
    with serving.running() as servers:
        results["server"] = check_server(servers, seconds=1 if options.quick else 5)
        results["runs"] = measure(chosen, servers, size, peers, options)
    results["machine"]["load_after"] = os.getloadavg()
    summary = Summary(results["runs"])
    results["targets"] = targets.verdicts(summary, set(results["scenarios"]))
    results["medians"] = summary.table()
    write(results, Path(options.out) if options.out else default_folder(options))
    return 0


def parse_arguments() -> argparse.Namespace:
    """The options, with those of --quick filled in."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--all", action="store_true", help="every scenario, every library")
    parser.add_argument("--scenario", action="append", choices=list(SCENARIO_BY_NAME))
    parser.add_argument("--library", action="append", choices=list(BY_NAME))
    parser.add_argument("--rounds", type=int, help="default 5, with --quick 2")
    parser.add_argument("--scale", type=float, help="factor on the number of requests")
    parser.add_argument("--quick", action="store_true", help="2 rounds of short runs")
    parser.add_argument("--out", help="folder for the results")
    parser.add_argument("--seed", type=int, default=1, help="of the order of the runs")
    parser.add_argument("--rebuild", action="store_true", help="build the environments anew")
    options = parser.parse_args()
    if not (options.all or options.scenario or options.library):
        parser.error("say --all, or a --scenario or --library")
    if options.all and (options.scenario or options.library):
        parser.error("--all leaves nothing out")
    if options.rounds is None:
        options.rounds = 2 if options.quick else 5
    if options.scale is None:
        options.scale = 0.2 if options.quick else 1.0
    return options


def raise_descriptor_limit() -> None:
    """5,000 sockets and more: servers and clients inherit what the system allows."""
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def build(
    wanted: list[Peer], *, rebuild: bool
) -> tuple[list[Peer], dict[str, dict[str, str]], list[dict[str, str]]]:
    """Build the environments; which peers can run, what they have, which cannot and why."""
    able, installed, missing = [], {}, []
    for peer in wanted:
        say(f"environment of {peer.name}")
        try:
            installed[peer.name] = envs.ensure(peer, rebuild=rebuild)
        except envs.EnvError as error:
            say(f"  left out: {error}")
            missing.append({"library": peer.name, "scenario": "all", "why": str(error)})
        else:
            able.append(peer)
    return able, installed, missing


def check_server(servers: serving.Servers, seconds: int) -> dict[str, Any]:
    """What the server is, and how fast it is when the client costs next to nothing."""
    asked = [
        (servers.url(serving.SMALL), 50),
        (servers.url(serving.SMALL), 1000),
        (servers.url(serving.DATA), 50),
        (servers.url(serving.BIG), 20),
    ]
    if servers.https is not None:
        asked.append((servers.url(serving.SMALL, tls=True), 50))
    checks = [serving.ask_wrk(url, connections, seconds) for url, connections in asked]
    return {"kind": servers.kind, "version": serving.version(serving.nginx_path()), "wrk": checks}


def measure(
    chosen: list[Scenario],
    servers: serving.Servers,
    size: Size,
    peers: list[Peer],
    options: argparse.Namespace,
) -> list[dict[str, Any]]:
    """All rounds of all scenarios."""
    rng = random.Random(options.seed)
    runs: list[dict[str, Any]] = []
    for number in range(1, options.rounds + 1):
        for scenario in chosen:
            tasks = scenarios.tasks_of(scenario, servers, size, peers)
            runs += run_round(number, tasks, rng, say)
    return runs


def default_folder(options: argparse.Namespace) -> Path:
    """Published results come from full runs only."""
    return RESULTS if options.all and not options.quick else CACHE / "results"


def write(results: dict[str, Any], folder: Path) -> None:
    """The raw runs, the table, the chart."""
    folder.mkdir(parents=True, exist_ok=True)
    text = dump(results)
    (folder / f"{results['date']}.json").write_text(text)
    (folder / "latest.json").write_text(text)
    (folder / "latest.md").write_text(report.render(results))
    if "keepalive-50" in results["scenarios"]:
        draw(folder)
    say(f"written to {folder}")
    print((folder / "latest.md").read_text())


def dump(results: dict[str, Any]) -> str:
    """JSON with one line for each run, so that it can be read and compared."""
    parts = []
    for name, value in results.items():
        if isinstance(value, list) and value and isinstance(value[0], dict):
            rows = ",\n".join("  " + json.dumps(row) for row in value)
            parts.append(f" {json.dumps(name)}: [\n{rows}\n ]")
        else:
            parts.append(f" {json.dumps(name)}: {json.dumps(value)}")
    return "{\n" + ",\n".join(parts) + "\n}\n"


def draw(folder: Path) -> None:
    """The chart, by matplotlib in an environment of its own; without it, no chart."""
    try:
        envs.ensure(envs.REPORT)
    except envs.EnvError as error:
        say(f"no chart: {error}")
        return
    command = [
        str(envs.python_of(envs.REPORT)),
        "-m",
        "harness.chart",
        str((folder / "latest.json").resolve()),
        str((folder / "chart.svg").resolve()),
    ]
    subprocess.run(command, cwd=BENCHMARKS, check=True)


def say(text: str) -> None:
    """Progress, on stderr."""
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
