"""How the process was started, what was imported before, and what is missing."""

from __future__ import annotations

import json
import os
import site
import sys

import pytest

import grequests
from anywhere.programs import HERE, environment, run, running

IMPORTS = {
    "grequests first": "import grequests, requests, socket, ssl, threading",
    "grequests last": """
        import asyncio, http.client, logging, multiprocessing, socket, ssl, threading
        import certifi, requests, requests.adapters, requests.packages, urllib3
        import grequests
    """,
    "requests used before": """
        import os, requests
        session = requests.Session()
        assert session.get(os.environ["SERVER"] + "/").text == "/"
        import grequests
    """,
    "patched, then grequests": """
        from gevent import monkey
        monkey.patch_all()
        import grequests
    """,
    "patched, then requests, then grequests": """
        from gevent import monkey
        monkey.patch_all()
        import requests
        import grequests
    """,
    "requests, then patched, then grequests": """
        import warnings
        import requests
        from gevent import monkey
        warnings.simplefilter("ignore", monkey.MonkeyPatchWarning)
        monkey.patch_all()
        import grequests
    """,
    "grequests, then patched": """
        import warnings
        import grequests
        from gevent import monkey
        warnings.simplefilter("ignore", monkey.MonkeyPatchWarning)
        monkey.patch_all()
    """,
    # Contexts and connections are there already.
    "grequests used, then patched": """
        import sys, warnings
        from lanes import get, grequests, right
        assert right(20, "/before") == 20
        sent = [get(sys.argv[1] + "/before", verify=sys.argv[2], number=n) for n in range(2)]
        assert all(grequests.map(sent))
        from gevent import monkey
        warnings.simplefilter("ignore", monkey.MonkeyPatchWarning)
        monkey.patch_all()
    """,
    "patched but for threads": """
        from gevent import monkey
        monkey.patch_all(thread=False)
        import grequests
    """,
}


@pytest.mark.parametrize("imports", IMPORTS)
def test_whatever_was_imported_or_patched_before(imports, lane, server, https_server, ca_file):
    server.hold("/together/*", 40)
    https_server.hold("/together/*", 40)
    program = """
        {}
        import sys, threading
        import grequests
        from lanes import get, right, say

        url, ca = sys.argv[1:]
        found = [right(40, "/together")]
        thread = threading.Thread(target=lambda: found.append(right(10, "/thread")))
        thread.start()
        found.append(right(10, "/beside"))
        thread.join()
        sent = [get(f"{{url}}/together/{{n}}", number=n, verify=ca) for n in range(40)]
        found.append([response.status_code for response in grequests.map(sent)])
        say(found)
    """.format(IMPORTS[imports].strip())
    found = run(program, https_server.url(""), ca_file, lane=lane, server=server)
    assert found == [40, 10, 10, [200] * 40]


EVERYTHING = """
    import grequests
    from lanes import is_right, many, right, say

    found = [right(40, "/map"), right(1, "/one")]
    found.append(sum(1 for _ in grequests.imap(many(20, "/imap"), size=4)))
    sent = grequests.send(many(1, "/send")[0]).get()
    found.append(is_right(sent))
    grequests.close()
    say(found)
"""
RIGHT = [40, 1, 20, True]


@pytest.mark.parametrize(
    "flags",
    [["-X", "dev", "-W", "error"], ["-O", "-W", "error"], ["-I", "-S"], ["-W", "error", "-bb"]],
    ids=" ".join,
)
def test_the_interpreters_switches(flags, lane, server):
    program = EVERYTHING
    if "-I" in flags:
        # Isolated: neither PYTHONPATH nor site-packages are there by themselves.
        paths = [HERE, *site.getsitepackages(), _source()]
        program = f"    import sys; sys.path[:0] = {paths!r}\n{EVERYTHING}"
    assert run(program, lane=lane, server=server, flags=flags) == RIGHT


def _source() -> str:
    return os.path.dirname(os.path.dirname(grequests.__file__))


@pytest.mark.parametrize(
    "missing", ["HOME", "PATH", "LANG", "all of them"], ids=lambda name: f"no {name}"
)
def test_environment_variables_that_are_missing(missing, lane, server):
    names = ["HOME", "PATH", "LANG", "USER", "TMPDIR", "LC_ALL"]
    gone = names if missing == "all of them" else [missing]
    assert run(EVERYTHING, lane=lane, server=server, env=dict.fromkeys(gone)) == RIGHT


def test_a_home_that_is_not_there_and_a_folder_that_was_removed(lane, server, tmp_path):
    folder = tmp_path / "gone"
    folder.mkdir()
    program = "    import os; os.rmdir(os.getcwd())\n" + EVERYTHING
    env = {"HOME": str(tmp_path / "nowhere")}
    assert run(program, lane=lane, server=server, cwd=folder, env=env) == RIGHT


@pytest.mark.parametrize("which", ["stdin", "stdin and stderr", "all"])
def test_standard_streams_that_are_closed(which, lane, server, tmp_path):
    # Sockets and the hub's own descriptors then have the numbers 0, 1 and 2.
    said = tmp_path / "said"
    numbers = {"stdin": [0], "stdin and stderr": [0, 2], "all": [0, 1, 2]}[which]
    program = f"""
    import os, sys
    for number in {numbers}:
        os.close(number)
    import json, lanes
    def say(value):
        with open({str(said)!r}, "w") as file:
            json.dump(value, file)
    lanes.say = say
    {EVERYTHING.strip()}
    os._exit(0)
    """
    command = ["-c", program.replace("\n    ", "\n")]
    with running([sys.executable, *command], env=environment(lane, server)) as process:
        assert process.wait(50) == 0
    assert json.loads(said.read_text()) == RIGHT
