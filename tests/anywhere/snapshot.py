"""What a process is like: every attribute of every module, and what is set elsewhere.

A program takes one before and one after, and says what differs. Values are compared by identity: a
wrapper, a subclass or a copy is a difference.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import copy
import gc
import importlib
import locale
import logging
import os
import signal
import socket
import sys
import threading
import types
import warnings

import requests
import urllib3

#: Modules whose import does something: opens a browser, prints a poem, needs a display.
_LOUD = {"antigravity", "this", "idlelib", "turtledemo", "turtle", "tkinter"}
_OTHERS = ("requests", "urllib3", "certifi", "idna", "charset_normalizer", "socks", "http")


def load_everything() -> None:
    """Import the standard library, so that there is something to compare."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in sorted(sys.stdlib_module_names - _LOUD):
            if not name.startswith("_"):
                with contextlib.suppress(ImportError):
                    importlib.import_module(name)
        for name in (
            *("asyncio.base_events", "concurrent.futures.thread", "concurrent.futures.process"),
            *("email.message", "http.client", "http.cookiejar", "http.server", "logging.handlers"),
            *(
                "multiprocessing.pool",
                "os.path",
                "unittest.mock",
                "urllib.request",
                "xmlrpc.client",
            ),
            *("requests", "urllib3.contrib.socks", "urllib3.util.ssltransport"),
        ):
            importlib.import_module(name)
        # What CPython makes when it is first asked for it.
        concurrent.futures.ThreadPoolExecutor, concurrent.futures.ProcessPoolExecutor
        asyncio.get_event_loop_policy()


def use_requests(url: str) -> None:
    """What Requests and urllib3 make when they are first used is theirs."""
    copy.copy(urllib3.Retry())
    with requests.Session() as session:
        for _ in range(2):
            session.get(url).raise_for_status()


def _modules() -> dict[str, types.ModuleType]:
    known = sys.stdlib_module_names.union(_OTHERS)
    return {
        name: module
        for name, module in list(sys.modules.items())
        if name.partition(".")[0] in known and isinstance(module, types.ModuleType)
    }


def _caught_signals() -> list[str]:
    """What the kernel knows, whoever told it."""
    with open("/proc/self/status") as status:
        return [line.strip() for line in status if line.startswith(("SigBlk", "SigIgn", "SigCgt"))]


#: Whoever is imported later brings loggers of its own.
_LOGGERS = ("asyncio", "charset_normalizer", "concurrent.futures", "requests", "urllib3")


def _logging(name: str) -> tuple[object, ...]:
    logger = logging.getLogger(name if name != "root" else None)
    return (logger.level, list(logger.handlers), list(logger.filters), logger.propagate)


def _elsewhere() -> dict[str, object]:
    """State that is no attribute of a module; compared by equality."""
    return {
        "signal handlers": [signal.getsignal(each) for each in sorted(signal.valid_signals())],
        "signals of the kernel": _caught_signals(),
        "wakeup fd": _wakeup_fd(),
        "timer": signal.getitimer(signal.ITIMER_REAL),
        "warnings": list(warnings.filters),
        "root logger": _logging("root"),
        "loggers": {name: _logging(name) for name in _LOGGERS},
        "trace": (sys.gettrace(), sys.getprofile(), threading.gettrace(), threading.getprofile()),
        "limits": (sys.getrecursionlimit(), sys.getswitchinterval(), socket.getdefaulttimeout()),
        "garbage": (gc.isenabled(), gc.get_threshold(), list(gc.callbacks)),
        "path": (list(sys.path), list(sys.meta_path), list(sys.path_hooks)),
        "process": (os.getcwd(), dict(os.environ), locale.setlocale(locale.LC_ALL)),
    }


def _wakeup_fd() -> int:
    found = signal.set_wakeup_fd(-1)
    signal.set_wakeup_fd(found)
    return found


class Snapshot:
    def __init__(self) -> None:
        self.modules = {name: dict(vars(module)) for name, module in _modules().items()}
        self.classes = {
            value: dict(vars(value))
            for attributes in self.modules.values()
            for value in attributes.values()
            if isinstance(value, type)
        }
        self.elsewhere = _elsewhere()

    def size(self) -> int:
        """How many values it holds."""
        both = [*self.modules.values(), *self.classes.values()]
        return sum(map(len, both))

    def differences(self) -> list[str]:
        """What is not what it was, by name."""
        found = []
        for name, before in self.modules.items():
            found += _changes(name, before, vars(sys.modules[name]))
        for cls, before in self.classes.items():
            found += _changes(f"{cls.__module__}.{cls.__qualname__}", before, vars(cls))
        now = _elsewhere()
        found += [
            f"{name}: {value} -> {now[name]}"
            for name, value in self.elsewhere.items()
            if now[name] != value
        ]
        return sorted(set(found))


_GONE = object()


def _changes(owner: str, before: dict[str, object], after: dict[str, object]) -> list[str]:
    return [
        f"{owner}.{name}"
        for name in {**before, **after}
        if before.get(name, _GONE) is not after.get(name, _GONE)
        and name != "__annotations__"  # CPython makes it when isinstance() looks at a protocol
        and not _is_new_submodule(owner, name, before, after)
    ]


def _is_new_submodule(owner: str, name: str, before: dict[str, object], after: object) -> bool:
    """Whether a package has got the attribute that any import of its module gives it."""
    module = sys.modules.get(f"{owner}.{name}")
    return name not in before and module is not None and after.get(name) is module
