"""Programs in a network of their own, with a name server that the program itself runs.

`unshare` of util-linux makes the network and the view of the file system, `ip` of iproute2 brings
loopback up; both need root. There is nothing in that network but loopback, so all that a program
does to routes, ports and names is gone with it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from anywhere.programs import environment, finish, running
from programs import missing, program

#: What the resolver of the C library is told: one try of one second.
_RESOLV_CONF = "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n"
_SWITCH = "hosts: files dns\n"
_HOSTS = "127.0.0.1 localhost\n::1 localhost\n"
_FILES = {"resolv.conf": _RESOLV_CONF, "nsswitch.conf": _SWITCH, "hosts": _HOSTS}
_TESTS = Path(__file__).parents[1]


def run_inside(module: str, *arguments: str, folder: Path, timeout: float = 120.0) -> Any:
    """The JSON that a module of this folder prints when it is run in a network of its own.

    Args:
        module: its name; it is run as `faults.<module>`.
        arguments: for its command line.
        folder: for the files that stand in for those of /etc.
        timeout: seconds.
    """
    unshare, ip = program("unshare", "util-linux"), program("ip", "iproute2")
    made = subprocess.run([unshare, "--net", "--mount", "true"], capture_output=True, check=False)
    if made.returncode:
        missing("run as root: a network namespace cannot be made here")
    lines = ["set -e", f"{ip} link set lo up"]
    for name, text in _FILES.items():
        (folder / name).write_text(text)
        lines.append(f"mount --bind {folder / name} /etc/{name}")
    lines.append('exec "$@"')
    python = [sys.executable, "-W", "error", "-m", f"faults.{module}", *arguments]
    command = [unshare, "--net", "--mount", "sh", "-c", "\n".join(lines), "sh", *python]
    env = environment(PYTHONPATH=os.fspath(_TESTS))
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with running(command, env=env, cwd=_TESTS, **pipes) as process:
        try:
            return json.loads(finish(process, timeout=timeout))
        except subprocess.TimeoutExpired:
            pytest.fail(f"{module} hangs")
