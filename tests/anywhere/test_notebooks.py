"""In IPython and in a Jupyter kernel, whose cells run inside a running asyncio loop."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys

import pytest
from servers import eventually

from anywhere.programs import environment, finish, hold, run, running


@pytest.fixture
def folders(tmp_path) -> dict[str, str]:
    """Nobody's settings, histories and running kernels."""
    names = ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "HOME")
    for name in names:
        (tmp_path / name).mkdir()
    return {name: str(tmp_path / name) for name in names}


def test_a_notebook_that_maps_in_several_cells(server, folders):
    program = """
        import json
        import nbformat
        from nbclient import NotebookClient

        cells = [
            "from lanes import right, many\\nlanes = ['fast', 'general']\\n"
            "[right(20, '/first', lane) for lane in lanes]",
            "import grequests\\n"
            "[sum(1 for _ in grequests.imap(many(20, '/second', lane))) for lane in lanes]",
            "%load_ext autoreload\\n%autoreload 2\\n[right(20, '/3', lane) for lane in lanes]",
            "import asyncio\\n"
            "[await asyncio.to_thread(right, 20, '/fourth', lane) for lane in lanes]",
            "[(right(9, '/5', lane), await asyncio.sleep(0, 'slept')) for lane in lanes]",
        ]
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(c) for c in cells])
        quietly = ["--log-level=ERROR"]
        NotebookClient(notebook, timeout=40, kernel_name="python3", extra_arguments=quietly).execute()
        outputs = [[each.get("data", each) for each in cell.outputs] for cell in notebook.cells]
        print(json.dumps([[each.get("text/plain", each) for each in one] for one in outputs]))
    """
    found = run(program, server=server, env=folders, flags=["-W", "ignore"])
    assert found == [*[["[20, 20]"]] * 4, ["[(9, 'slept'), (9, 'slept')]"]]


def test_a_cell_interrupted_in_the_middle_of_a_map(server, folders):
    hold(server, "/held/*")
    program = """
        import json
        from jupyter_client.manager import start_new_kernel
        from lanes import await_arrivals

        quietly = ["--log-level=ERROR"]
        manager, client = start_new_kernel(startup_timeout=40, extra_arguments=quietly)

        def execute(source, while_it_runs=lambda: None):
            said = []
            number = client.execute(source)
            while_it_runs()
            while True:
                message = client.get_iopub_msg(timeout=40)
                content = message["content"]
                if message["parent_header"].get("msg_id") != number:
                    continue
                if message["msg_type"] == "execute_result":
                    said.append(content["data"]["text/plain"])
                elif message["msg_type"] in ("error", "stream"):
                    said.append(content.get("ename") or content["text"])
                elif content.get("execution_state") == "idle":
                    return said

        def interrupt_at(count):
            await_arrivals(count)
            manager.interrupt_kernel()

        try:
            said = [execute("from lanes import right")]
            for n, lane in enumerate(["fast", "general"], 1):
                said.append(execute(f"right(20, '/before', '{lane}')"))
                said.append(execute(f"right(10, '/held', '{lane}')", lambda: interrupt_at(10 * n)))
                said.append(execute(f"right(20, '/after', '{lane}')"))
        finally:
            client.stop_channels()
            manager.shutdown_kernel(now=True)
        print(json.dumps(said))
    """
    found = run(program, server=server, env=folders, flags=["-W", "ignore"])
    assert found == [[], *[["20"], ["KeyboardInterrupt"], ["20"]] * 2]


def test_ipython(server, folders):
    program = """
from lanes import right
lanes = ["fast", "general"]
first = [right(20, "/first", lane) for lane in lanes]
%load_ext autoreload
%autoreload 2
async def inside(lane): return right(20, "/second", lane)
print(first, [await inside(lane) for lane in lanes])
%timeit -n 2 -r 2 [right(3, "/timed", lane) for lane in lanes]
"""
    file = f"{folders['HOME']}/program.ipy"
    with open(file, "w") as out:
        out.write(program)
    command = [sys.executable, "-m", "IPython", "--quick", "--no-banner", "--colors=nocolor", file]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    env = environment("fast", server, **folders)
    with running(command, env=env, **pipes) as process:
        said, timed = finish(process).splitlines()
    assert said == "[20, 20] [20, 20]"
    assert "loop" in timed


def test_ctrl_c_in_an_ipython_terminal(server, folders):
    gate = server.hold("/held/*")
    keyboard, terminal = pty.openpty()
    env = environment("fast", server, **folders, TERM="dumb", PYTHONUNBUFFERED="1")
    command = [sys.executable, "-m", "IPython", "--quick", "--no-banner", "--simple-prompt"]
    streams = {"stdin": terminal, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    with running(command, env=env, **streams) as process:
        os.write(keyboard, b"from lanes import right\nright(10, '/held')\n")
        eventually(lambda: gate.arrived == 10, "the requests")
        process.send_signal(signal.SIGINT)
        os.write(keyboard, b"print('right:', right(20, '/after'))\nexit()\n")
        said, _ = process.communicate(timeout=50)
        os.close(keyboard)
        os.close(terminal)
    assert said.count("KeyboardInterrupt") >= 1
    assert "right: 20" in said
