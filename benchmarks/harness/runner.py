"""Runs the tasks: round by round, libraries interleaved, each in a process of its own."""

from __future__ import annotations

import json
import os
import random
import subprocess
from collections.abc import Callable
from typing import Any

from . import envs
from .paths import BENCHMARKS
from .peers import BY_NAME
from .scenarios import Task

# No proxy, CA bundle or Python setting of the person who runs this may reach a client.
KEPT_VARIABLES = ("HOME", "LANG", "PATH", "TMPDIR")
PATIENCE = 600.0


def run_round(
    number: int, tasks: list[Task], rng: random.Random, say: Callable[[str], None]
) -> list[dict[str, Any]]:
    """Run the tasks of one scenario once, in an order drawn anew."""
    order = list(tasks)
    rng.shuffle(order)
    runs = []
    for place, task in enumerate(order):
        run = {
            "scenario": task.scenario,
            "library": task.library,
            "variant": task.variant,
            "round": number,
            "place": place,
            "load": round(os.getloadavg()[0], 2),
            **run_task(task),
        }
        runs.append(run)
        say(line_of(run))
    return runs


def run_task(task: Task) -> dict[str, Any]:
    """Run one process; what it printed, or how it failed."""
    python = envs.python_of(BY_NAME[task.library])
    command = [str(python), "-m", task.module, json.dumps(task.job)]
    env = {name: os.environ[name] for name in KEPT_VARIABLES if name in os.environ}
    try:
        done = subprocess.run(
            command,
            cwd=BENCHMARKS,
            env=env,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return {"error": f"not done after {PATIENCE:.0f} s"}
    if done.returncode or not done.stdout.strip():
        return {
            "error": " / ".join(done.stderr.strip().splitlines()[-2:])[-500:]
            or f"exit code {done.returncode}"
        }
    return dict(json.loads(done.stdout.splitlines()[-1]))


def line_of(run: dict[str, Any]) -> str:
    """One run for the person who watches."""
    name = f"{run['round']} {run['scenario']:15} {run['library']:17} {run['variant']:15}"
    if "error" in run:
        return f"{name} FAILED: {run['error'][-150:]}"
    cpu = (run["user"] + run["system"]) / run["requests"] * 1e6
    return f"{name} {run['requests']:8} {cpu:10.1f} us {run['requests'] / run['wall']:9.0f}/s"
