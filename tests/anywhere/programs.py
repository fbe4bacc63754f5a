"""Programs in processes of their own, and what they say."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator, Sequence
from typing import Any

from servers import Gate, Request, Server, answer

HERE = os.path.dirname(__file__)
#: Seconds after which a program has hung. The machine may be busy.
PATIENCE = 50
#: A test runner's own switches are no business of the programs'.
_PRIVATE = ("PYTEST_", "COV_", "PYTHON")


def hold(server: Server, path: str) -> Gate:
    """Hold requests until the program asks for `/open`; `/arrived` tells how many there are."""
    gate = server.hold(path)

    def open_gate(_: Request) -> bytes:
        gate.open()
        return answer()

    server.on("/open", open_gate)
    server.on("/arrived", lambda _: answer(str(gate.arrived).encode()))
    return gate


def environment(lane: str = "fast", server: Any = None, **extra: str | None) -> dict[str, str]:
    """What a program finds in its environment; None takes a variable away."""
    given = {k: v for k, v in os.environ.items() if not k.startswith(_PRIVATE)}
    found = {**given, "PYTHONPATH": HERE, "LANE": lane, **extra}
    if server is not None:
        found["SERVER"] = server.url("")
    return {name: value for name, value in found.items() if value is not None}


@contextlib.contextmanager
def running(command: Sequence[str], **kwargs: Any) -> Iterator[subprocess.Popen[str]]:
    """A process with its own group, which is killed in the end."""
    options = {"stdin": subprocess.DEVNULL, "text": True, "start_new_session": True, **kwargs}
    process = subprocess.Popen(command, **options)
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()


def python(source: str, *arguments: str, flags: Sequence[str] = ("-W", "error")) -> list[str]:
    """The command for a program in Python, given as its text or as the path of its file."""
    main = ["-c", textwrap.dedent(source)] if "\n" in source else [source]
    return [sys.executable, *flags, *main, *arguments]


def started(source: str, *arguments: str, lane: str, server: Any, **kwargs: Any) -> Any:
    """A running program with pipes, as a context manager."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **kwargs}
    env = pipes.pop("env", None) or environment(lane, server)
    return running(python(source, *arguments), env=env, **pipes)


def finish(process: subprocess.Popen[str], code: int = 0, timeout: float = PATIENCE) -> str:
    """What a program prints until it ends, which it does with this code and no complaint."""
    said, complaint = process.communicate(timeout=timeout)
    assert (process.returncode, complaint) == (code, ""), complaint[-3000:]
    return said


def run(
    source: str,
    *arguments: str,
    lane: str = "fast",
    server: Any = None,
    flags: Sequence[str] = ("-W", "error"),
    env: dict[str, str | None] | None = None,
    **kwargs: Any,
) -> Any:
    """The JSON that a program prints, which ends well and has nothing to complain about."""
    command = python(source, *arguments, flags=flags)
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **kwargs}
    with running(command, env=environment(lane, server, **(env or {})), **pipes) as process:
        return json.loads(finish(process))
