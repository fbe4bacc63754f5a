"""Tasks that map, in real Celery workers; the broker is a folder."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap

import pytest

from anywhere.programs import PATIENCE, environment, finish, running

TASKS = """
import os
import celery
from celery.exceptions import SoftTimeLimitExceeded
from lanes import right, many
import grequests

folder = os.environ["FOLDER"]
app = celery.Celery("tasks", broker="filesystem://", backend=f"file://{folder}/results")
app.conf.update(
    broker_transport_options={
        "data_folder_in": f"{folder}/queue",
        "data_folder_out": f"{folder}/queue",
        "control_folder": f"{folder}/control",
        "polling_interval": 0.05,
    },
    broker_connection_retry_on_startup=True,
    worker_prefetch_multiplier=1,
)

# The worker's own process has warm connections when it forks.
for lane in ("fast", "general"):
    assert right(5, "/warm", lane) == 5

@app.task
def work(lane, number):
    return right(10, f"/{number}", lane)

@app.task(soft_time_limit=1)
def overdo(lane):
    try:
        grequests.map(many(10, "/held", lane))
    except SoftTimeLimitExceeded:
        return ["stopped", right(10, "/after", lane)]
"""


@pytest.mark.parametrize("pool", ["prefork", "threads", "gevent"])
def test_tasks_in_a_pool_of(pool, server, tmp_path):
    server.hold("/held/*")
    for name in ("queue", "control", "results"):
        (tmp_path / name).mkdir()
    (tmp_path / "tasks.py").write_text(TASKS)
    env = environment("fast", server, FOLDER=str(tmp_path))
    log = tmp_path / "log"
    worker = [sys.executable, "-m", "celery", "-A", "tasks", "worker", "--pool", pool]
    worker += ["--concurrency", "4", "--without-gossip", "--without-mingle", "--loglevel", "INFO"]
    client = """
        import json, sys
        import tasks
        sent = [tasks.work.delay(lane, n) for n in range(12) for lane in ("fast", "general")]
        if sys.argv[1] == "prefork":
            late = [tasks.overdo.delay(lane) for lane in ("fast", "general")]
        else:
            late = []  # only processes have time limits
        print(json.dumps([[job.get(timeout=45) for job in jobs] for jobs in (sent, late)]))
    """
    command = [sys.executable, "-c", textwrap.dedent(client), pool]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with (
        log.open("w") as out,
        running(worker, env=env, cwd=tmp_path, stdout=out, stderr=out) as process,
        running(command, env=env, cwd=tmp_path, **pipes) as asking,
    ):
        try:
            done, late = json.loads(finish(asking))
            assert done == [10] * 24
            assert late == ([["stopped", 10]] * 2 if pool == "prefork" else [])
            process.terminate()
            assert process.wait(PATIENCE) == 0
        finally:
            print(log.read_text())
    assert "Traceback" not in log.read_text()
