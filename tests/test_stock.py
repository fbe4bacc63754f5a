"""Who notices what: the functions on a request's way, replaced before or after our import."""

from __future__ import annotations

import functools
import http.client
import socket
import subprocess
import sys
import textwrap
from unittest import mock

import gevent.monkey
import gevent.socket
import pytest
import requests
import requests_mock
import responses
import urllib3.connection
import urllib3.connectionpool
import urllib3.util.connection
from general_scenarios.flood import flood
from general_scenarios.servers import Server

from grequests import _general, _stock
from grequests._stock_original import is_theirs


@pytest.fixture(autouse=True)
def _stock_before_and_after(monkeypatch):
    assert _stock.untouched()
    assert _stock.sockets_untouched()
    yield
    monkeypatch.undo()
    assert _stock.untouched()
    assert _stock.sockets_untouched()
    _general.close()


def wrapped_as_wrapt_does(function):
    """An object that says all its names are the wrapped one's, as wrapt's proxies do."""

    class Proxy:
        def __init__(self):
            self.__wrapped__ = function
            functools.update_wrapper(self, function)

        def __get__(self, instance, owner):
            return self if instance is None else functools.partial(self, instance)

        def __call__(self, *args, **kwargs):
            return function(*args, **kwargs)

        __class__ = property(lambda _: type(function))

    return Proxy()


def _present(table):
    """Not every version has every name."""
    return [(owner, n) for owner, names in table for n in names if hasattr(owner, n)]


def _of_classes(classes):
    """Every attribute that is a function, of every base that is not C's."""
    return [
        (base, name)
        for cls in classes
        for base in cls.__mro__
        if is_theirs(base)
        for name, value in vars(base).items()
        if callable(value) and name not in {"__class__", "__init_subclass__", "__hash__"}
    ]


REQUESTS = sorted({*_present(_stock._REQUESTS), *_of_classes(_stock._request_classes())}, key=str)
SOCKETS = _present(_stock._SOCKETS)


def _id(value):
    return getattr(value, "__name__", str(value))


@pytest.mark.parametrize(("owner", "name"), REQUESTS, ids=_id)
def test_a_replaced_function_is_noticed_and_so_is_its_return(owner, name):
    with mock.patch.object(owner, name):
        assert not _stock.untouched()
        assert _stock.sockets_untouched()
    assert _stock.untouched()


@pytest.mark.parametrize(("owner", "name"), SOCKETS, ids=_id)
def test_a_replaced_function_of_sockets_is_noticed_by_both(owner, name):
    with mock.patch.object(owner, name):
        assert not _stock.untouched()
        assert not _stock.sockets_untouched()
    assert _stock.sockets_untouched()


@pytest.mark.parametrize(
    "wrap",
    [
        wrapped_as_wrapt_does,
        lambda f: functools.wraps(f)(lambda *a, **k: f(*a, **k)),
        lambda f: lambda *a, **k: f(*a, **k),
        lambda f: functools.partialmethod(f),
    ],
    ids=["wrapt", "wraps", "lambda", "partialmethod"],
)
def test_every_kind_of_wrapper_is_noticed(wrap, monkeypatch):
    original = requests.Session.send
    monkeypatch.setattr(requests.Session, "send", wrap(original))
    assert not _stock.untouched()
    assert not _stock.is_original(requests.Session, "send")
    monkeypatch.undo()
    assert _stock.untouched()


def test_another_original_in_its_place_is_noticed(monkeypatch):
    monkeypatch.setattr(requests.Session, "send", requests.Session.request)
    assert not _stock.untouched()


def test_a_name_that_is_deleted_is_noticed(monkeypatch):
    monkeypatch.delattr(requests.Session, "send")
    assert not _stock.untouched()


def test_an_inherited_method_that_is_overridden_is_noticed(monkeypatch):
    monkeypatch.setattr(
        urllib3.connection.HTTPSConnection, "request", lambda *_: None, raising=False
    )
    assert not _stock.untouched()


def test_gevents_sockets_are_as_good_as_the_originals(monkeypatch):
    for name in ("socket", "getaddrinfo", "create_connection"):
        monkeypatch.setattr(socket, name, getattr(gevent.socket, name))
    assert _stock.untouched()
    assert _stock.sockets_untouched()


def test_a_subclass_of_the_socket_is_not(monkeypatch):
    monkeypatch.setattr(socket, "socket", type("socket", (socket.socket,), {}))
    assert not _stock.sockets_untouched()


# --- already wrapped at import -------------------------------------------------------------------


def run(code: str) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "target",
    [
        "requests.Session.send",
        "requests.sessions.Session.get_adapter",
        "requests.adapters.HTTPAdapter.send",
        "requests.sessions.get_netrc_auth",
        "urllib3.connectionpool.HTTPConnectionPool.urlopen",
        "urllib3.connectionpool.HTTPConnectionPool.ConnectionCls",
        "urllib3.connection.HTTPConnection._new_conn",
        "urllib3.util.connection.create_connection",
        "http.client.HTTPConnection.putrequest",
        "socket.socket.connect",
        "socket.socket",
        "socket.getaddrinfo",
        "requests.sessions.Session",
    ],
)
def test_what_was_replaced_before_import_counts_when_it_is_given_back(target):
    run(f"""
        import functools, unittest.mock, http.client
        import requests, urllib3.connectionpool, socket
        patch = unittest.mock.patch("{target}")
        patch.start()
        from grequests import _stock
        assert not _stock.untouched()
        assert not _stock.untouched()
        patch.stop()
        assert _stock.untouched()
        assert _stock.sockets_untouched()
        with patch:
            assert not _stock.untouched()
        assert _stock.untouched()
    """)


def test_a_wrapper_with_all_the_names_of_the_original_at_import():
    run("""
        import functools, requests
        original = requests.Session.send
        @functools.wraps(original)
        def send(self, *args, **kwargs):
            return original(self, *args, **kwargs)
        del send.__wrapped__
        requests.Session.send = send
        from grequests import _stock
        assert not _stock.untouched()
        assert _stock.sockets_untouched()
        requests.Session.send = original
        assert _stock.untouched()
    """)


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_process_patched_by_gevent_is_stock(when):
    run(f"""
        import warnings
        from gevent import monkey
        if {when == "before"}:
            monkey.patch_all()
        from grequests import _stock
        assert _stock.untouched() and _stock.sockets_untouched()
        if {when == "after"}:
            warnings.simplefilter("ignore", monkey.MonkeyPatchWarning)
            monkey.patch_all()
        assert _stock.untouched() and _stock.sockets_untouched()
    """)


def test_importing_replaces_nothing():
    run(
        """
        import requests, urllib3, socket, ssl, http.client, threading, time, select, os, queue
        import urllib3.util.connection, urllib3.util.retry, urllib3.util.ssl_, requests.auth
        import gevent, gevent.monkey
        modules = [requests, requests.sessions, requests.adapters, requests.auth, urllib3,
            urllib3.connection, urllib3.connectionpool, urllib3.poolmanager, urllib3.util.retry,
            urllib3.util.connection, urllib3.util.ssl_, socket, ssl, http.client, threading, time,
            select, os, queue]
        def state():
            found = {}
            for module in modules:
                for name, value in list(vars(module).items()):
                    found[module.__name__, name] = id(value)
                    if isinstance(value, type):
                        for key, item in list(vars(value).items()):
                            if key not in ("__abstractmethods__", "_abc_impl"):
                                found[module.__name__, name, key] = id(item)
            return found
        before = state()
        from grequests import _general
        import gevent
        try:
            gevent.spawn(_general.perform, None, "GET", "nonsense", {}).get()
        except requests.exceptions.MissingSchema:
            pass
        after = state()
        changed = {k for k in before if after.get(k) != before[k]}
        assert not changed, changed
        assert not any(gevent.monkey.is_module_patched(m) for m in ("socket", "ssl", "time"))
    """.replace(
            'gevent.spawn(_general.perform, None, "GET", "nonsense", {}).get()',
            '_general.perform(None, "GET", "nonsense", {})',
        )
    )


# --- mocks, through the general lane -------------------------------------------------------------


def test_responses_answers():
    with responses.RequestsMock() as mocked:
        mocked.get("http://mocked.invalid/", body="from responses")
        assert not _stock.untouched()
        assert flood(3, "http://mocked.invalid/") == ["from responses"] * 3
        with requests.Session() as session:
            assert flood(1, "http://mocked.invalid/", session) == ["from responses"]


def test_requests_mock_answers():
    with requests_mock.Mocker() as mocked:
        mocked.get("http://mocked.invalid/", text="from requests-mock")
        assert not _stock.untouched()
        assert flood(3, "http://mocked.invalid/") == ["from requests-mock"] * 3
        with requests.Session() as session:
            assert flood(1, "http://mocked.invalid/", session) == ["from requests-mock"]


def test_requests_mocks_adapter_answers_in_the_callers_thread():
    import threading

    threads = []

    def text(request, context):
        threads.append(threading.get_ident())
        return "from the adapter"

    with requests.Session() as session:
        adapter = requests_mock.Adapter()
        adapter.register_uri("GET", "mock://x/", text=text)
        session.mount("mock://", adapter)
        assert flood(2, "mock://x/", session) == ["from the adapter"] * 2
    assert set(threads) == {threading.get_ident()}


def test_a_mock_of_session_request_answers():
    response = requests.Response()
    response.status_code, response._content = 200, b"mocked"
    with mock.patch.object(requests.Session, "request", return_value=response) as request:
        assert flood(2, "http://mocked.invalid/", timeout=3) == ["mocked"] * 2
    request.assert_called_with("GET", "http://mocked.invalid/", timeout=3)


def test_a_session_that_is_a_mock_answers():
    session = mock.Mock()
    session.request.return_value.text = "mocked"
    assert flood(1, "http://mocked.invalid/", session) == ["mocked"]


@pytest.mark.parametrize(
    ("owner", "name"),
    [
        (socket, "getaddrinfo"),
        (urllib3.util.connection, "create_connection"),
        (socket.socket, "connect"),
    ],
    ids=_id,
)
def test_who_intercepts_sockets_gets_stock_ones(owner, name, monkeypatch):
    original = getattr(owner, name)
    seen = []

    def spy(*args, **kwargs):
        seen.append(args)
        return original(*args, **kwargs)

    with Server() as server:
        flood(2, server.url)  # a green connection is idle: it must not be used now
        monkeypatch.setattr(owner, name, spy)
        assert flood(2, server.url) == ["ok"] * 2
        assert len(seen) >= 1
        monkeypatch.undo()
        assert flood(2, server.url) == ["ok"] * 2


def test_a_recorders_connection_class_is_used(monkeypatch):
    seen = []

    class Recording(urllib3.connection.HTTPConnection):
        def request(self, *args, **kwargs):
            seen.append(args)
            return super().request(*args, **kwargs)

    pools = urllib3.connectionpool.HTTPConnectionPool
    monkeypatch.setattr(pools, "ConnectionCls", Recording)
    _general.close()
    with Server(expect=5) as server:
        assert flood(5, server.url) == ["ok"] * 5
    assert len(seen) == 5


def test_http_client_instrumentation_is_called(monkeypatch):
    seen = []
    original = http.client.HTTPConnection.putrequest

    def putrequest(self, *args, **kwargs):
        seen.append(args)
        return original(self, *args, **kwargs)

    monkeypatch.setattr(http.client.HTTPConnection, "putrequest", putrequest)
    with Server(expect=5) as server:
        assert flood(5, server.url) == ["ok"] * 5
    assert len(seen) == 5
