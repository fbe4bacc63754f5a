"""Builds one virtualenv per peer in ``.bench/envs/`` and remembers what went into it."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from .paths import ENVS
from .peers import Peer

TOOLS = Peer(name="tools", title="certificates", requires=("trustme", "certifi"))
REPORT = Peer(name="report", title="chart", requires=("matplotlib",))


class EnvError(Exception):
    """An environment could not be built; the text says why."""


def python_of(peer: Peer) -> Path:
    """The interpreter of a peer's environment."""
    return ENVS / peer.name / "bin" / "python"


def ensure(peer: Peer, *, rebuild: bool = False) -> dict[str, Any]:
    """Build the peer's environment unless it is there; return what is installed in it."""
    folder = ENVS / peer.name
    stamp = folder / "bench.json"
    wanted = {
        "python": sys.version.split()[0],
        "requires": list(peer.requires),
        "editable": peer.editable,
        "metadata": _metadata(peer),
    }
    if not rebuild and stamp.exists():
        known = json.loads(stamp.read_text())
        if known["wanted"] == wanted:
            return dict(known["packages"])
    _run([sys.executable, "-m", "venv", "--clear", str(folder)])
    if targets := _targets(peer):
        _run([str(python_of(peer)), "-m", "pip", "install", "--quiet", *targets])
    packages = _packages(peer)
    stamp.write_text(json.dumps({"wanted": wanted, "packages": packages}, indent=1))
    return packages


def _metadata(peer: Peer) -> str:
    """What decides the dependencies of an editable project: its pyproject.toml, as a digest."""
    if peer.editable is None:
        return ""
    text = (Path(peer.editable) / "pyproject.toml").read_bytes()
    return hashlib.sha256(text).hexdigest()


def _targets(peer: Peer) -> list[str]:
    editable = ["--editable", peer.editable] if peer.editable else []
    return [*editable, *peer.requires]


def _packages(peer: Peer) -> dict[str, str]:
    """Name and version of everything installed, pip and setuptools left out."""
    text = _run([str(python_of(peer)), "-m", "pip", "list", "--format=json"])
    found = {str(row["name"]): str(row["version"]) for row in json.loads(text)}
    return {name: found[name] for name in sorted(found) if name not in {"pip", "setuptools"}}


def _run(command: list[str]) -> str:
    env = {**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=env, check=False)
    if done.returncode:
        tail = (done.stderr or done.stdout).strip().splitlines()[-3:]
        message = f"{' '.join(command[1:5])}: {' / '.join(tail)}"
        raise EnvError(message)
    return done.stdout
