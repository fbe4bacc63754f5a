"""Guards of sockets, overrides of DNS and switches of http.client, set before our import and after."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

#: What sets the hook, what it has seen after three GETs of one host, what takes it off.
HOOKS = {
    "a guard in the place of socket.socket": (
        """
class Guarded(socket.socket):
    def connect(self, address):
        seen.append(address[1])
        super().connect(address)
original, socket.socket = socket.socket, Guarded
""",
        "assert {*seen} == {port}, seen",
        "socket.socket = original",
    ),
    "socket.getaddrinfo": (
        """
original = socket.getaddrinfo
def getaddrinfo(host, *args, **kwargs):
    seen.append(host)
    return original("127.0.0.1" if host == "made.up" else host, *args, **kwargs)
socket.getaddrinfo = getaddrinfo
""",
        "assert 'made.up' in seen, seen",
        "socket.getaddrinfo = original",
    ),
    "urllib3's create_connection": (
        """
original = urllib3.util.connection.create_connection
def create_connection(address, *args, **kwargs):
    seen.append(address[0])
    return original(("127.0.0.1", address[1]), *args, **kwargs)
urllib3.util.connection.create_connection = create_connection
""",
        "assert 'made.up' in seen, seen",
        "urllib3.util.connection.create_connection = original",
    ),
    "http.client's putrequest": (
        """
original = http.client.HTTPConnection.putrequest
def putrequest(self, method, *args, **kwargs):
    seen.append(method)
    return original(self, method, *args, **kwargs)
http.client.HTTPConnection.putrequest = putrequest
""",
        "assert seen == ['GET'] * 3, seen",
        "http.client.HTTPConnection.putrequest = original",
    ),
    "http.client's debuglevel": (
        """
import builtins
http.client.print = lambda *args: seen.append(args[0])
http.client.HTTPConnection.debuglevel = 1
""",
        "assert seen.count('send:') == 3, seen",
        "http.client.HTTPConnection.debuglevel = 0",
    ),
    "urllib3's log": (
        """
class Reader(logging.Handler):
    def emit(self, record):
        seen.append(record.getMessage())
log = logging.getLogger("urllib3")
log.handlers = [Reader()]
log.setLevel(logging.DEBUG)
""",
        "assert sum('GET /' in each for each in seen) == 3, seen",
        "log.setLevel(logging.WARNING)",
    ),
}

PROGRAM = """
import http.client, logging, socket, sys
import requests, urllib3.util.connection
from servers import Server
{early}
seen = []
server = Server().__enter__()
port = server.ports[0]
host = "made.up" if "made.up" in {check!r} else "127.0.0.1"
urls = [f"http://{{host}}:{{port}}/{{n}}" for n in range(3)]
own = [server.url(f"/{{n}}") for n in range(3)]
def lane(found):
    assert [each.text for each in found] == ["/0", "/1", "/2"]
    return {{type(each).__module__ for each in found}}
for turn in range(2):
    seen.clear()
    {on}
    import grequests
    assert lane(grequests.map([grequests.get(url) for url in urls])) == {{"requests.models"}}
    {check}
    {off}
    assert lane(grequests.map([grequests.get(url) for url in own])) == {{"grequests"}}
    grequests.close()  # what is connected is not connected again
grequests.close()
server.__exit__()
"""


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("hook", HOOKS)
def test_it_is_asked_while_it_is_on(hook, when):
    """On and off twice in one process; the first time, perhaps, before grequests is there."""
    on, check, off = HOOKS[hook]
    program = PROGRAM.format(
        early="import grequests" if when == "after" else "",
        on=on.strip().replace("\n", "\n    "),
        check=check,
        off=off,
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
    )
    assert (done.returncode, done.stderr) == (0, "")
