"""What all tests share: a sealed environment, servers, certificates, and the checks for leaks."""

from __future__ import annotations

import gc
import os
import signal
import ssl
import threading
import time
from collections.abc import Iterator
from collections import Counter
from pathlib import Path
from typing import Any

import gevent
import pytest
import trustme

import grequests
from grequests import _stock, _threads
from grequests._engine import current_engine
from servers import Server, eventually

# A shell starts what it puts into the background with SIGINT ignored, and children inherit that;
# tests of Ctrl-C would wait in vain.
signal.signal(signal.SIGINT, signal.default_int_handler)

#: Seconds for which threads may outlive a test: more than idle ones live, of hubs that have ended.
_THREADS_PATIENCE = 15.0

#: Threads that others start at their first use and keep.
_KEPT_BY_OTHERS = frozenset({"tqdm_monitor"})

_MEDDLING = (
    *("http_proxy", "https_proxy", "all_proxy", "no_proxy"),
    *("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"),
    *("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR", "NETRC"),
)


@pytest.fixture(autouse=True)
def _all_given_back() -> Iterator[None]:
    """Nobody leaves the functions of Requests replaced: the next tests would take another lane.

    By its name it is the first one of these, so that it looks when `monkeypatch` has undone.
    """
    yield
    assert _stock.untouched(), "a test has left a function or a class of Requests changed"


@pytest.fixture(autouse=True)
def _sealed_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody's proxies, certificates and passwords."""
    for name in _MEDDLING:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(autouse=True)
def _no_idle_connections() -> Iterator[None]:
    """Each test begins without connections."""
    yield
    grequests.close()


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as one:
        yield one


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="session")
def ca_file(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("authority") / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return str(path)


@pytest.fixture
def https_server(authority: trustme.CA) -> Iterator[Server]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1", "localhost").configure_cert(context)
    with Server(context) as one:
        yield one


# Leaks


@pytest.fixture(scope="session")
def _frozen_heap() -> None:
    """What is there before the first test need not be looked through after each."""
    gc.collect()
    gc.freeze()


def live_greenlets() -> set[gevent.Greenlet]:
    """Greenlets that have not ended."""
    found = (each for each in gc.get_objects() if isinstance(each, gevent.Greenlet))
    return {each for each in found if not each.dead}


def live_watchers() -> list[Any]:
    """Watchers that this thread's event loop would call, referenced or not."""
    loop = gevent.get_hub().loop
    spare = loop.io(0, 1)
    kind = type(spare).__mro__[1]
    spare.close()
    found = (each for each in gc.get_objects() if isinstance(each, kind))
    return [each for each in found if each.loop is loop and each.active]


def descriptors() -> Counter[str]:
    """What this process has open, and how often. Fewer than before is fine: garbage is collected."""
    links = []
    for each in Path("/proc/self/fd").iterdir():
        try:
            links.append(os.readlink(each))
        except OSError:
            continue  # the listing's own
    return Counter(links)


def threads() -> set[int]:
    """The system's numbers of this process's threads, of whatever make."""
    kept = {each.native_id for each in threading.enumerate() if each.name in _KEPT_BY_OTHERS}
    return {int(each.name) for each in Path("/proc/self/task").iterdir()} - kept


def pooled_threads() -> int:
    """How many threads wait for something to do, in `grequests._threads` and in gevent's pool.

    Ours end when they have waited for ten seconds; gevent's stay.
    """
    hub = gevent.get_hub()
    ours = (getattr(hub, name, None) for name in (_threads._FOR_ERRANDS, _threads._FOR_LOOKUPS))
    return hub.threadpool.size + sum(len(each._idle) for each in ours if each is not None)


def await_threads(before: set[int], pooled: int) -> None:
    """Wait until there are no threads but those that there were, and new ones in pools."""
    deadline = time.monotonic() + _THREADS_PATIENCE
    while len(more := threads() - before) > max(0, pooled_threads() - pooled):
        if time.monotonic() > deadline:
            names = [each.name for each in threading.enumerate() if each.native_id in more]
            raise AssertionError(f"{len(more)} threads are left; of these are known: {names}")
        gevent.sleep(0.01)


def is_quiet() -> bool:
    """Whether the engine has nothing under way."""
    counts = current_engine().statistics()
    busy = counts.open - counts.idle + counts.streaming
    return not (busy or counts.connecting or counts.waiting or counts.starved)


@pytest.fixture
def no_leaks(_frozen_heap: None) -> Iterator[None]:
    """Nothing is left after a test: no request, connection, greenlet, watcher, descriptor or thread.

    To be asked for before any server, so that the servers' descriptors are closed by then.
    """
    current_engine()
    # gevent's pool of threads keeps a watcher from its first use on.
    gevent.get_hub().threadpool.apply(int)
    gevent.sleep(0)
    greenlets, watchers, before = live_greenlets(), live_watchers(), descriptors()
    others, pooled = threads(), pooled_threads()
    yield
    gevent.sleep(0)
    eventually(is_quiet, "the engine to be quiet")
    grequests.close()
    assert current_engine().statistics().open == 0
    current_engine().close()  # its timer would go on for a few seconds
    gc.collect()
    eventually(lambda: live_greenlets() <= greenlets, "the end of all greenlets")
    eventually(lambda: len(live_watchers()) <= len(watchers), "all watchers to be closed")
    eventually(lambda: descriptors() <= before, "the descriptors to be closed")
    await_threads(others, pooled)
