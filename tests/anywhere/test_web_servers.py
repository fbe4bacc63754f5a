"""Views that map, in real servers that are asked for more at once than they have workers.

Each server serves both lanes: `/fast/7` answers how many of five mapped requests were right.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import sys
import time
from collections import Counter
from collections.abc import Iterator
from subprocess import Popen

import pytest

import grequests
from anywhere.programs import PATIENCE, environment, running

WSGI = """
import os

def application(environ, start_response):
    # Imported with the first request: gunicorn's gevent workers have patched by then, or not.
    from lanes import right
    _, lane, number = environ["PATH_INFO"].split("/")
    told = f"{right(5, '/' + number, lane)} in {os.getpid()}".encode()
    start_response("200 OK", [("Content-Length", str(len(told)))])
    return [told]
"""
WARM = """
from lanes import right
assert right(5, "/warm", "fast") == right(5, "/warm", "general") == 5
"""
FLASK = """
import os, sys
import flask
from lanes import right

app = flask.Flask("shop")

@app.get("/<lane>/<number>")
def view(lane, number):
    return f"{right(5, '/' + number, lane)} in {os.getpid()}"

if __name__ == "__main__":
    app.run(port=0, threaded=True, debug=sys.argv[1:] == ["debug"])
"""
DJANGO = """
import os, sys
import django.conf, django.http, django.urls
from django.core.management import execute_from_command_line

def view(request, lane, number):
    from lanes import right
    return django.http.HttpResponse(f"{right(5, '/' + number, lane)} in {os.getpid()}")

urlpatterns = [django.urls.path("<lane>/<number>", view)]
django.conf.settings.configure(ROOT_URLCONF=__name__, ALLOWED_HOSTS=["*"], DEBUG=True)
if __name__ == "__main__":
    execute_from_command_line(sys.argv)
"""


@contextlib.contextmanager
def serving(command: list[str], log: str, server, **kwargs) -> Iterator[Popen[str]]:
    """A server with its output in a file."""
    env = environment("fast", server, PYTHONUNBUFFERED="1")
    with (
        open(log, "w") as out,
        running([sys.executable, *command], env=env, stdout=out, stderr=out, **kwargs) as process,
    ):
        yield process


def await_line(log: str, pattern: str) -> re.Match[str]:
    """Wait until the log says so."""
    deadline = time.monotonic() + PATIENCE
    while True:
        with open(log) as file:
            said = file.read()
        if found := re.search(pattern, said):
            return found
        assert time.monotonic() < deadline, said
        time.sleep(0.02)


def ask(root: str, lane: str, count: int) -> tuple[Counter[str], set[str]]:
    """Ask so often at once: the answers, and by which processes they were given."""
    sent = [grequests.get(f"{root}/{lane}/{n}", timeout=PATIENCE) for n in range(count)]
    told = [response.text for response in grequests.map(sent)]
    return Counter(each.partition(" ")[0] for each in told), {each.split()[-1] for each in told}


@pytest.mark.parametrize(
    ("workers", "preload"),
    [("gevent", False), ("gevent", True), ("gthread", True)],
    ids=["gevent", "gevent, preloaded and warm", "gthread, preloaded and warm"],
)
def test_gunicorn(workers, preload, server, tmp_path):
    (tmp_path / "shop.py").write_text((WARM if preload else "") + WSGI)
    log = str(tmp_path / "log")
    with socket.create_server(("127.0.0.1", 0), backlog=128) as listener:
        root = "http://127.0.0.1:%d" % listener.getsockname()[1]
        command = ["-m", "gunicorn", "shop:application", "--bind", f"fd://{listener.fileno()}"]
        command += ["--worker-class", workers, "--workers", "2", "--chdir", str(tmp_path)]
        command += ["--threads", "4"] if workers == "gthread" else []
        command += ["--preload"] if preload else []
        with serving(command, log, server, pass_fds=[listener.fileno()]) as process:
            for lane in ("fast", "general", "fast"):
                answers, _ = ask(root, lane, 40)
                assert answers == {"5": 40}, open(log).read()
            process.send_signal(signal.SIGTERM)
            assert process.wait(PATIENCE) == 0, open(log).read()
    with open(log) as file:
        assert "Traceback" not in file.read()


@pytest.mark.parametrize("mode", ["plain", "debug"])
def test_flask(mode, server, tmp_path):
    source, log = tmp_path / "shop.py", str(tmp_path / "log")
    source.write_text(FLASK)
    with serving([str(source), mode], log, server, cwd=tmp_path):
        root = await_line(log, r"Running on (http://127\.0\.0\.1:\d+)")[1]
        for lane in ("fast", "general"):
            answers, first = ask(root, lane, 30)
            assert answers == {"5": 30}, open(log).read()
        if mode == "debug":
            await_reload(source, root, first)
    with open(log) as file:
        assert "Traceback" not in file.read()


@pytest.mark.parametrize("mode", ["--noreload", "reloading"])
def test_django(mode, server, tmp_path):
    source, log = tmp_path / "shop.py", str(tmp_path / "log")
    source.write_text(DJANGO)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [str(source), "runserver", f"127.0.0.1:{port}"]
    command += [mode] if mode == "--noreload" else []
    with serving(command, log, server, cwd=tmp_path):
        root = await_line(log, rf"(http://127\.0\.0\.1:{port})/")[1]
        await_answer(root)
        for lane in ("fast", "general"):
            answers, first = ask(root, lane, 30)
            assert answers == {"5": 30}, open(log).read()
        if mode == "reloading":
            await_reload(source, root, first)
    with open(log) as file:
        assert "Traceback" not in file.read()


def await_answer(root: str) -> None:
    """Wait until a server that has said where it listens does so."""
    deadline = time.monotonic() + PATIENCE
    while grequests.map([grequests.get(f"{root}/fast/0")]) == [None]:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def await_reload(source, root: str, before: set[str]) -> None:
    """Touch the program until another process answers, which maps as well."""
    deadline = time.monotonic() + PATIENCE
    while True:
        os.utime(source)
        responses = grequests.map([grequests.get(f"{root}/fast/0", timeout=5)])
        if responses[0] is not None and responses[0].text.split()[-1] not in before:
            break
        assert time.monotonic() < deadline
        time.sleep(0.3)
    # The old process may be going on meanwhile.
    responses = grequests.map([grequests.get(f"{root}/general/0", timeout=5)])
    assert responses[0].text.startswith("5 in ")
