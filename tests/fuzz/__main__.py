"""``python -m fuzz run`` runs the targets side by side, ``python -m fuzz replay`` one input again.

Run by `make fuzz` and `make fuzz-short`, from the top folder; see the package's docstring.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

PLACE = Path(".suites/fuzz")
CORPUS = PLACE / "corpus"
FINDINGS = PLACE / "findings"
LOGS = PLACE / "logs"
NAMES = ("protocol", "against_h11", "against_requests", "cookies_and_redirects")
#: A short run has so many inputs for each target, about half a minute of them, and a corpus of its
#: own, made anew from the seeds. Its choices are the same each time: what it finds, a change made.
SHORT_CORPUS = PLACE / "short"
SHORT_RUNS = {
    "protocol": 15_000,
    "against_h11": 90_000,
    "against_requests": 18_000,
    "cookies_and_redirects": 4_000,
}
#: libFuzzer weighs its inputs by how long they took, and looks for those of other processes, by the
#: clock: without these, two runs part.
REPEATABLE = ("-seed=1", "-entropic=0", "-reload=0")
#: Seconds after which a short run ends nevertheless.
SHORT_LIMIT = 240
#: Bytes of memory in MiB and seconds for one input beyond which it is a finding.
LIMITS = ("-rss_limit_mb=1500", "-timeout=25")
#: Corpora are reduced to what is needed after a run of so many seconds for each target.
LONG = 120
#: Seconds that a target may take beyond its time: to start, and for its last input.
GRACE = 90


class Run(NamedTuple):
    """A target under way."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path
    ends: float


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m fuzz", description=__doc__)
    actions = parser.add_subparsers(dest="action", required=True)
    run = actions.add_parser("run", help="run targets")
    run.add_argument("--minutes", type=float, default=60, help="in all")
    run.add_argument("--short", action="store_true", help="the same few inputs each time")
    run.add_argument("--jobs", type=int, default=min(os.cpu_count() or 1, len(NAMES)))
    run.add_argument("targets", nargs="*", help=f"of {', '.join(NAMES)}; all, if none is named")
    replay = actions.add_parser("replay", help="run an input once more")
    replay.add_argument("target", choices=NAMES)
    replay.add_argument("files", nargs="+", type=Path)
    options = parser.parse_args(argv)
    if options.action == "replay":
        return replay_files(options.target, options.files)
    unknown = set(options.targets) - set(NAMES)
    if unknown:
        parser.error(f"no such targets: {', '.join(sorted(unknown))}")
    names = options.targets or list(NAMES)
    return run_all(names, None if options.short else options.minutes * 60, options.jobs)


def replay_files(name: str, files: list[Path]) -> int:
    """Without atheris: the traceback is that of the finding."""
    from .targets import check_of

    for file in files:
        data = file.read_bytes()
        print(f"{file}: {data!r}")
        check_of(name)(data)
    print("nothing found")
    return 0


def run_all(names: list[str], seconds: float | None, jobs: int) -> int:
    """Run targets, as many at once as there are jobs, for so many seconds in all, or a short run."""
    jobs = min(jobs, len(names))
    each = None if seconds is None else max(5, int(seconds * jobs / len(names)))
    if each is None:
        shutil.rmtree(SHORT_CORPUS, ignore_errors=True)
    write_seeds(names, SHORT_CORPUS if each is None else CORPUS)
    waiting, running, failed = list(names), [], 0
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                running.append(start(waiting.pop(0), each))
            time.sleep(0.2)
            for run in [run for run in running if is_over(run)]:
                running.remove(run)
                failed += tell(run)
    finally:
        for run in running:
            run.process.kill()
            run.process.wait()
    if each is not None and each >= LONG:
        for name in names:
            reduce(name)
    return 1 if failed else 0


def write_seeds(names: list[str], corpus: Path) -> None:
    """The seeds of the targets' code go first into a corpus."""
    code = (
        "import sys, json\nfrom fuzz.targets import TARGETS\n"
        "print(json.dumps({n: [s.hex() for s in t.KIT.seeds] for n, t in TARGETS.items()}))"
    )
    found = json.loads(subprocess.check_output([sys.executable, "-c", code]))
    for name in names:
        (corpus / name).mkdir(parents=True, exist_ok=True)
        for seed in map(bytes.fromhex, found[name]):
            digest = hashlib.sha1(seed, usedforsecurity=False).hexdigest()
            (corpus / name / digest).write_bytes(seed)
    FINDINGS.mkdir(parents=True, exist_ok=True)
    LOGS.mkdir(parents=True, exist_ok=True)


def start(name: str, seconds: int | None) -> Run:
    """Set a target going for so many seconds, or on its short run."""
    log = LOGS / f"{name}.txt"
    if seconds is None:
        corpus, limit = SHORT_CORPUS, SHORT_LIMIT
        choices = [f"-runs={SHORT_RUNS[name]}", *REPEATABLE]
        environment = {**os.environ, "PYTHONHASHSEED": "0"}
        print(f"{name}: {SHORT_RUNS[name]} inputs, its log is {log}", flush=True)
    else:
        corpus, limit, choices, environment = CORPUS, seconds, [], None
        print(f"{name}: {seconds} s, its log is {log}", flush=True)
    command = [
        *(sys.executable, "-m", "fuzz.one", name, str(corpus / name), *LIMITS, *choices),
        *(f"-max_total_time={limit}", f"-artifact_prefix={FINDINGS / name}-"),
    ]
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, stdout=output, stderr=subprocess.STDOUT, env=environment
        )
    return Run(name, process, log, time.monotonic() + limit + GRACE)


def is_over(run: Run) -> bool:
    if run.process.poll() is not None:
        return True
    if time.monotonic() > run.ends:
        run.process.kill()
        run.process.wait()
        return True
    return False


def tell(run: Run) -> bool:
    """Print what came of a target; whether it found something."""
    lines = run.log.read_text("utf-8", "replace").splitlines()
    if run.process.returncode == 0:
        counts = [line for line in lines if "DONE" in line or line.startswith("Done ")]
        print(f"{run.name}: nothing found. {' '.join(counts)}", flush=True)
        return False
    print(f"{run.name}: FOUND SOMETHING, or could not go on ({run.process.returncode})")
    wanted = [n for n, line in enumerate(lines) if "uncaught Python exception" in line]
    print("\n".join(line[:2000] for line in (lines[wanted[0] :] if wanted else lines[-30:])))
    for line in lines:
        if "Test unit written to " in line:
            file = line.partition("Test unit written to ")[2]
            print(f"reproducer: {file}")
            print(f"replay:     PYTHONPATH=tests .venv/bin/python -m fuzz replay {run.name} {file}")
    sys.stdout.flush()
    return True


def reduce(name: str) -> None:
    """Keep of a corpus what is needed for what it reaches."""
    corpus, reduced = CORPUS / name, CORPUS / f"{name}.reduced"
    shutil.rmtree(reduced, ignore_errors=True)
    reduced.mkdir()
    command = [
        sys.executable,
        "-m",
        "fuzz.one",
        name,
        "-merge=1",
        str(reduced),
        str(corpus),
        *LIMITS,
    ]
    done = subprocess.run(command, capture_output=True, timeout=600, check=False)
    before, after = len(list(corpus.iterdir())), len(list(reduced.iterdir()))
    if done.returncode == 0 and after:
        shutil.rmtree(corpus)
        reduced.rename(corpus)
        print(f"{name}: {after} of {before} inputs are kept", flush=True)
    else:
        shutil.rmtree(reduced)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
