"""The environment that suites of others run in, and their sdists, all in `.suites` (not in git)."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
import tarfile
import venv
from importlib.metadata import version
from pathlib import Path

from suite import Suite

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / ".suites"

#: What has to be the same as in our own environment, besides the package under test.
_SAME = ("requests", "urllib3", "gevent", "greenlet", "httptools")
_ALWAYS = ("pytest", "pytest-timeout")


def python_for(suite: Suite) -> Path:
    """The interpreter of the suite's environment, made or completed as needed."""
    folder = FOLDER / suite.venv
    python = folder / "bin" / "python"
    if not python.exists():
        venv.create(folder, with_pip=True, symlinks=True)
    fixed = [f"{name}=={version(name)}" for name in dict.fromkeys((*_SAME, suite.package))]
    together = [*fixed, *_ALWAYS, *suite.needs]
    if not _is_done(folder, "\n".join([_digest_of_project(), *together, *suite.needs_alone])):
        _pip(python, "install", "--editable", str(ROOT), *together)
        if suite.needs_alone:
            _pip(python, "install", "--no-deps", *suite.needs_alone)
        _remember(folder, "\n".join([_digest_of_project(), *together, *suite.needs_alone]))
    return python


def _digest_of_project() -> str:
    return hashlib.sha256((ROOT / "pyproject.toml").read_bytes()).hexdigest()


def _is_done(folder: Path, wanted: str) -> bool:
    return (folder / f".ready-{_short(wanted)}").exists()


def _remember(folder: Path, wanted: str) -> None:
    (folder / f".ready-{_short(wanted)}").write_text(wanted)


def _short(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _pip(python: Path | str, *arguments: str) -> None:
    command = [python, "-m", "pip", "-qq", "--disable-pip-version-check", *arguments]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)


def unpacked(suite: Suite) -> Path:
    """The folder of the unpacked sdist of the installed version."""
    number = version(suite.package)
    sdists = FOLDER / "sdists"
    target = sdists / f"{suite.package}-{number}"
    if not target.exists():
        download = sdists / "download"
        _pip(
            sys.executable,
            *("download", "--no-deps", "--no-binary", suite.package),
            *("--dest", str(download), f"{suite.package}=={number}"),
        )
        _unpack(_archive(download, suite.package, number), target)
    return target


def _archive(folder: Path, package: str, number: str) -> Path:
    """Names of sdists are normalised in more than one way."""
    pattern = re.sub(r"[-_.]+", "[-_.]", package) + "-" + re.escape(number) + r"\.tar\.gz"
    for path in folder.iterdir():
        if re.fullmatch(pattern, path.name, re.IGNORECASE):
            return path
    msg = f"pip downloaded no sdist of {package} {number}"
    raise FileNotFoundError(msg)


def _unpack(archive: Path, target: Path) -> None:
    beside = target.with_name(f"{target.name}.part-{os.getpid()}")
    with tarfile.open(archive) as file:
        file.extractall(beside, filter="data")
    (only,) = beside.iterdir()
    if not _configures_pytest(only):
        # Else pytest would go up and find our own configuration.
        (only / "pytest.ini").write_text("[pytest]\n")
    only.rename(target)
    beside.rmdir()


_SECTIONS = {
    "pytest.ini": "",
    "pyproject.toml": "[tool.pytest",
    "tox.ini": "[pytest]",
    "setup.cfg": "[tool:pytest]",
}


def _configures_pytest(folder: Path) -> bool:
    files = ((folder / name, section) for name, section in _SECTIONS.items())
    return any(path.exists() and section in path.read_text() for path, section in files)
