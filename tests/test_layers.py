"""The arrows of the design: who imports whom, and that importing changes nothing in the process."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path
from typing import NamedTuple

import pytest
from servers import Server

import grequests

ROOT = Path(grequests.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))
LINES = {file: file.read_text().splitlines() for file in FILES}


def name_of(file: Path) -> str:
    """`_engine._pool` for `_engine/_pool.py`, `_engine` for its `__init__`, "" for the package's."""
    parts = file.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_of(file): file for file in FILES}


class Import(NamedTuple):
    """`module` is ours without the package's name, or `!` and the name of somebody else's."""

    module: str
    line: int
    in_function: bool
    for_types_only: bool


def imports(name: str) -> list[Import]:
    file = MODULES[name]
    package = name if file.name == "__init__.py" else name.rpartition(".")[0]
    found: list[Import] = []

    def visit(node: ast.AST, in_function: bool, for_types: bool) -> None:
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            for_types = True
        in_function = in_function or isinstance(node, (ast.FunctionDef, ast.Lambda))
        targets: list[str] = []
        if isinstance(node, ast.Import):
            targets = [foreign(alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            targets = resolve(node)
        found.extend(Import(each, node.lineno, in_function, for_types) for each in targets)
        for child in ast.iter_child_nodes(node):
            visit(child, in_function, for_types)

    def resolve(node: ast.ImportFrom) -> list[str]:
        if not node.level:
            return [foreign(node.module or "")]
        above = package.split(".") if package else []
        base = above[: len(above) - (node.level - 1)]
        whole = ".".join([*base, *([node.module] if node.module else [])])
        if node.module:
            return [whole]
        return [".".join(filter(None, [whole, alias.name])) for alias in node.names]

    def foreign(target: str) -> str:
        if target.split(".")[0] == "grequests":
            return target.removeprefix("grequests").removeprefix(".")
        return "!" + target

    visit(ast.parse(file.read_text()), False, False)
    # `from . import __version__` names no module but what is in the package's own.
    return [
        each if each.module.startswith("!") or each.module in MODULES else each._replace(module="")
        for each in found
    ]


def ours(name: str, *, with_types: bool = False) -> set[str]:
    """Modules of ours that a module needs to be imported."""
    return {
        each.module
        for each in imports(name)
        if not each.module.startswith("!")
        and not each.in_function
        and (with_types or not each.for_types_only)
    }


def theirs(name: str) -> set[str]:
    """Top-level names of other packages that a module uses at all."""
    return {
        each.module[1:].split(".")[0]
        for each in imports(name)
        if each.module.startswith("!") and not each.for_types_only
    }


# --- shape ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MODULES)
def test_each_module_says_what_it_is(name):
    assert ast.get_docstring(ast.parse(MODULES[name].read_text())), MODULES[name]


def test_there_are_no_cycles():
    graph = {name: ours(name) for name in MODULES}
    assert len(list(TopologicalSorter(graph).static_order())) >= len(MODULES)


#: What a module, or all modules of a kind, may import of ours.
MAY_IMPORT = {
    "_exceptions": {"_safe_url"},
    "_framing": set(),
    "_typing": {
        *("_adaptive", "_addresses", "_clock", "_download_items", "_policies", "_proxies"),
        "_statistics",
    },
    "_signals": set(),
    "_threads": set(),
    "_scheduler": {"_signals"},
    "_asyncrequest": {"_checks", "_safe_url"},
    "_environment": set(),
    "_body_limit": {"_exceptions"},
    "_decode": {"_body_limit", "_exceptions"},
    "_strict": {"_decode"},
    "_stock": {"_stock_original", "_stock_watch"},
    "_stock_original": set(),
    "_stock_watch": {"_stock_original"},
    "_lane": {"_stock"},
    "_run": {"_engine", "_environment", "_options", "_templates"},
    "_bulk": {
        *("_address_guard", "_asyncrequest", "_body_limit", "_call", "_exceptions", "_run"),
        *("_scheduler", "_signals", "_stock"),
    },
    "_api": {"_asyncrequest", "_bulk", "_engine", "_general", "_exceptions"},
    # The bulk layer. What decides knows nobody who does:
    "_checks": {"_exceptions"},
    "_policies": {"_checks", "_exceptions"},
    "_proxies": {"_checks", "_exceptions"},
    "_settings": {
        *("_adaptive", "_addresses", "_checks", "_exceptions", "_policies", "_proxies"),
    },
    "_addresses": {"_exceptions"},
    "_address_guard": {"_addresses", "_exceptions"},
    "_bucket": set(),
    "_retry": {"_exceptions"},
    "_adaptive": {"_checks", "_exceptions"},
    "_histogram": set(),
    "_explain": {"_kinds"},
    "_statistics": {"_explain", "_histogram"},
    "_safe_url": set(),
    "_safe_error": {"_safe_url"},
    "_log": {"_explain", "_kinds", "_safe_url"},
    "_progress": {"_exceptions", "_explain", "_log"},
    "_listening": set(),
    "opentelemetry": {"_exceptions", "_kinds", "_listening", "_log", "_safe_url"},
    "prometheus": {"_exceptions", "_kinds", "_listening"},
    "_kinds": {"_exceptions"},
    "_events": set(),
    "_results": {"_safe_url"},
    "_clock": {"_engine"},
    "_coalesce": set(),
    "_admission": {"_adaptive", "_bucket", "_exceptions"},
    # What does, layer by layer:
    "_feed": {"_checks", "_exceptions"},
    "_herald": {"_checks"},
    "_task": {"_call", "_results"},
    "_outcomes": {"_admission", "_coalesce", "_kinds", "_run", "_scheduler"},
    "_attempts": {"_exceptions", "_outcomes", "_retry"},
    "_flow": {
        *("_asyncrequest", "_attempts", "_exceptions", "_feed", "_outcomes", "_results"),
        *("_signals", "_stock", "_task"),
    },
    "_future": {
        *("_exceptions", "_flow", "_outcomes", "_results", "_safe_url", "_signals", "_task"),
    },
    # The asynchronous face:
    "_loops": set(),
    "_hub_thread": {"_engine", "_engine._engine", "_general"},
    "_crossing": {"_engine", "_hub_thread", "_loops"},
    "_aio": {"_bulk", "_client", "_crossing", "_feed", "_hub_thread"},
    # Downloads, on top of futures:
    "_filenames": set(),
    "_partial": set(),
    "_pieces": {"_partial"},
    "_asking": {"_exceptions", "_outcomes"},
    "_orders": {"_filenames"},
    "_download_errors": {"_exceptions"},
    "_heads": {"_future", "_run"},
    "_transfer": {
        *("_asking", "_download_errors", "_filenames", "_partial", "_pieces", "_retry"),
    },
    "_download_items": {"_asyncrequest", "_checks", "_exceptions", "_orders", "_safe_url"},
    "_downloading": {
        *("_download_items", "_exceptions", "_feed", "_heads", "_orders", "_signals"),
        "_transfer",
    },
    "_download": {
        *("_asyncrequest", "_client", "_download_errors", "_download_items", "_downloading"),
    },
}


@pytest.mark.parametrize("name", MAY_IMPORT)
def test_a_module_knows_only_what_its_layer_may_know(name):
    assert ours(name) <= MAY_IMPORT[name]


@pytest.mark.parametrize("name", [name for name in MODULES if name.startswith("_engine")])
def test_the_engine_knows_nothing_above_it(name):
    # (These know nothing of ours but each other.)
    known = ours(name, with_types=True)
    known -= {"_signals", "_exceptions", "_body_limit", "_addresses", "_threads"}
    assert all(each.startswith("_engine") for each in known)
    assert "requests" not in theirs(name)


@pytest.mark.parametrize("name", [name for name in MODULES if name.startswith("_green")])
def test_green_connections_know_nothing_above_them(name):
    known = ours(name, with_types=True) - {"_body_limit", "_address_guard", "_framing", "_threads"}
    assert all(each.startswith(("_green", "_stock")) for each in known)


def test_the_general_lane_knows_nothing_of_the_fast_one():
    known = ours("_general", with_types=True) - {"_address_guard", "_exceptions", "_threads"}
    assert all(each.startswith(("_green", "_stock")) for each in known)


def test_the_scheduler_knows_nothing_of_http():
    assert theirs("_scheduler").isdisjoint({"requests", "urllib3", "http", "httptools", "socket"})


def test_the_protocol_does_no_input_or_output():
    known = theirs("_engine._protocol")
    assert known.isdisjoint({"socket", "_socket", "gevent", "ssl", "select", "threading", "time"})


def importers(name: str) -> set[str]:
    return {each for each in MODULES if name in ours(each, with_types=True)}


def test_each_upper_layer_is_known_only_by_the_one_above_it():
    assert importers("_api") == {""}
    assert importers("_bulk") == {"_api", "_aio"}
    assert importers("_call") == {"_bulk", "_task"}
    assert importers("_scheduler") == {"_bulk", "_outcomes"}
    assert importers("_outcomes") <= {
        *("_attempts", "_flow", "_future", "_client", "_asking"),
    }
    assert importers("_attempts") == {"_flow"}
    assert importers("_flow") == {"_task", "_client", "_future"}


def test_who_decides_knows_no_event_loop_and_no_http():
    pure = [*("_admission", "_adaptive", "_bucket", "_coalesce", "_histogram", "_policies")]
    for name in [*pure, "_retry", "_settings", "_statistics", "_results", "_events", "_checks"]:
        assert theirs(name).isdisjoint({"gevent", "httptools", "socket", "_socket", "time"})


def test_nobody_needs_those_that_listen():
    assert importers("opentelemetry") == importers("prometheus") == set()


def test_nobody_needs_the_fake_network():
    assert {name for name in MODULES if any(each.startswith("testing") for each in ours(name))} <= {
        name for name in MODULES if name.startswith("testing")
    }


def test_the_package_itself_is_for_its_users_and_the_command_line():
    assert importers("") <= {"__main__", "_cli", "_demo", "testing"}


def test_imports_in_functions_are_few_and_say_why():
    silent = [
        f"{name}:{each.line}"
        for name, file in MODULES.items()
        for each in imports(name)
        if each.in_function and "PLC0415" not in LINES[file][each.line - 1]
    ]
    assert silent == []
    unexplained = [
        f"{name}:{each.line}"
        for name, file in MODULES.items()
        for each in imports(name)
        if each.in_function and len(LINES[file][each.line - 1].partition("PLC0415")[2].strip()) < 8
    ]
    assert unexplained == []


# --- nothing is patched --------------------------------------------------------------------------

SNAPSHOT = """
import json, sys, types
NAMES = "socket ssl threading time select subprocess os signal queue requests urllib3 http".split()
ORDER = sys.argv[2]

import socket, ssl, threading, time, select, subprocess, os, signal, queue, http.client
if ORDER == "requests first":
    import requests, urllib3
elif ORDER == "gevent first":
    import gevent.monkey
    gevent.monkey.patch_all()
    import requests, urllib3
if ORDER != "grequests first":
    import requests.adapters, requests.sessions, urllib3.contrib.socks

def snapshot():
    taken = {}
    for name, module in list(sys.modules.items()):
        if module is None or name.split(".")[0] not in NAMES:
            continue
        for attribute, value in list(vars(module).items()):
            if attribute.startswith("__") or isinstance(value, types.ModuleType):
                continue  # a submodule appears in its package when it is imported
            taken[name, attribute] = value
            if isinstance(value, type) and value.__module__.split(".")[0] in NAMES:
                for member, inside in list(vars(value).items()):
                    if member not in ("__doc__", "__dict__", "__weakref__", "__abstractmethods__"):
                        taken[name, attribute, member] = inside
    return taken

def changes(before, after):
    # What is new is a module's business; what was there has to be the same object.
    return sorted(".".join(key) for key in before if after.get(key, "gone") is not before[key])

found = {}
if ORDER == "grequests first":
    import grequests
    import requests, urllib3, requests.adapters, requests.sessions
    before = snapshot()
else:
    before = snapshot()
    import grequests
    found["import"] = changes(before, snapshot())
url = sys.argv[1]
sent = [grequests.get(url), grequests.get(url, session=requests.Session()), grequests.get("x")]
found["codes"] = [r and r.status_code for r in grequests.map(sent)]
found["codes"] += [r and len(r.content) for r in grequests.map(sent, stream=True)]
found["codes"] += [r.status_code for r in grequests.imap(iter(sent))]
found["use"] = changes(before, snapshot())
import gevent.monkey
found["gevent"] = sorted(gevent.monkey.saved)
found["classes"] = [socket.socket.__module__, ssl.SSLContext.__module__, time.sleep.__module__,
                    threading.Lock.__module__, threading.Thread.start.__module__]
found["pools"] = [urllib3.HTTPConnectionPool.__module__, urllib3.HTTPConnectionPool.QueueCls.__module__,
                  urllib3.HTTPConnectionPool.ConnectionCls.__module__]
grequests.close()
print(json.dumps(found))
"""


def snapshot(server: Server, order: str) -> dict:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", SNAPSHOT, server.url(), order],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return json.loads(done.stdout)


CODES = [200, 200, None, 1, 1, None, 200, 200]


def test_importing_and_using_it_changes_nothing_in_other_modules(server):
    found = snapshot(server, "requests first")
    assert found["import"] == []
    assert found["use"] == []
    assert found["codes"] == CODES
    assert found["gevent"] == []


def test_nor_does_it_when_it_is_imported_first(server):
    found = snapshot(server, "grequests first")
    assert found["use"] == []
    assert found["codes"] == CODES
    assert found["gevent"] == []
    assert found["classes"] == ["socket", "ssl", "time", "_thread", "threading"]
    assert found["pools"] == ["urllib3.connectionpool", "queue", "urllib3.connection"]


def test_nor_does_it_in_a_process_that_gevent_patched(server):
    found = snapshot(server, "gevent first")
    assert found["import"] == []
    assert found["use"] == []
    assert found["codes"] == CODES


def test_importing_it_makes_no_hub_no_thread_and_opens_nothing():
    source = """
import os, threading
before = len(os.listdir("/proc/self/fd"))
import requests, gevent
import grequests
from gevent._hub_local import get_hub_if_exists
request = grequests.get("http://example.org/")
print(get_hub_if_exists(), threading.active_count(), len(os.listdir("/proc/self/fd")) - before)
"""
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", "-c", source],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (done.stdout, done.stderr) == ("None 1 0\n", "")
