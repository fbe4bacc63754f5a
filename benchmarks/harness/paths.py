"""Where things lie: sources in benchmarks/, everything built or downloaded in .bench/."""

from __future__ import annotations

from pathlib import Path

BENCHMARKS = Path(__file__).resolve().parents[1]
PROJECT = BENCHMARKS.parent
CACHE = PROJECT / ".bench"
ENVS = CACHE / "envs"
TLS = CACHE / "tls"
RUN = CACHE / "run"
RESULTS = BENCHMARKS / "results"
