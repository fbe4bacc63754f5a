"""A user's session stays the user's: what the general lane leaves as it was, and what it greens."""

from __future__ import annotations

import pickle
import queue
import socket
import ssl
import threading
import time

import gevent
import pytest
import requests
import trustme
import urllib3
from general_scenarios.flood import flood
from general_scenarios.servers import Server, answer
from requests.adapters import BaseAdapter, HTTPAdapter
from requests.auth import HTTPDigestAuth
from urllib3.util.retry import Retry

from grequests import _general
from grequests._green_socket import GreenSocket


@pytest.fixture
def session():
    with requests.Session() as one:
        yield one


class Ticker:
    """Counts while other greenlets run: it stands still when somebody blocks the hub."""

    def __enter__(self):
        self.longest = 0.0
        self._greenlet = gevent.spawn(self._tick)
        return self

    def _tick(self):
        last = time.monotonic()
        while True:
            gevent.sleep(0.01)
            now = time.monotonic()
            self.longest, last = max(self.longest, now - last), now

    def __exit__(self, *_):
        gevent.sleep(0.02)
        self._greenlet.kill()


# --- the owner's own use -------------------------------------------------------------------------


def test_its_owner_gets_stock_pools_and_sockets(session):
    with Server() as server:
        flood(3, server.url, session)
        response = session.get(server.url, stream=True)
        pool = response.raw._pool
        assert type(pool) is urllib3.connectionpool.HTTPConnectionPool
        assert type(pool.pool) is queue.LifoQueue
        assert type(response.raw._connection.sock) is socket.socket
        response.close()


def test_its_owner_may_use_it_in_another_thread_meanwhile(session):
    def handler(_):
        return answer(threading.current_thread().name.encode())

    with Server(delay=0.3) as server:
        kinds = []

        def owner():
            response = session.get(server.url, stream=True)
            kinds.append(type(response.raw._connection.sock))
            response.close()

        thread = threading.Thread(target=owner)
        thread.start()
        assert flood(5, server.url, session) == ["ok"] * 5
        thread.join()
        assert kinds == [socket.socket]


def test_its_owners_idle_connections_are_left_alone(session):
    with Server(lambda r: answer(b"%d" % r.connection)) as server:
        mine = session.get(server.url).text
        flood(5, server.url, session)
        assert session.get(server.url).text == mine


def test_it_keeps_its_adapters_and_its_attributes(session):
    adapters = dict(session.adapters)
    before = {key: repr(value) for key, value in vars(session).items()}
    states = {prefix: adapter.__getstate__() for prefix, adapter in adapters.items()}
    with Server() as server:
        flood(3, server.url, session)
    assert dict(session.adapters) == adapters
    assert {key: repr(value) for key, value in vars(session).items()} == before
    for prefix, adapter in session.adapters.items():
        assert adapter is adapters[prefix]
        assert type(adapter) is HTTPAdapter
        assert adapter.__getstate__() == states[prefix]
        assert type(adapter.poolmanager) is urllib3.PoolManager


def test_it_can_be_pickled_afterwards(session):
    with Server() as server:
        flood(3, server.url, session)
        again = pickle.loads(pickle.dumps(session))
        assert again.get(server.url).text == "ok"
        assert flood(2, server.url, again) == ["ok"] * 2
        again.close()


def test_closing_it_closes_the_green_connections_too(session):
    with Server() as server:
        response = _run(session, server.url, stream=True)
        sock = response.raw._connection.sock
        assert isinstance(sock, GreenSocket)
        response.content  # noqa: B018
        session.close()
        del response
        assert sock.fileno() == -1


def test_its_request_method_is_the_one_that_is_called():
    class Mine(requests.Session):
        def request(self, method, url, **kwargs):
            kwargs.setdefault("headers", {})["X-Mine"] = "yes"
            return super().request(method, url, **kwargs)

    with Server(lambda r: answer(r.headers.get("x-mine", "no").encode())) as server:
        with Mine() as session:
            assert flood(2, server.url, session) == ["yes"] * 2


def test_names_in_errors_are_urllib3s(session):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/"
        with pytest.raises(requests.ConnectionError) as stock:
            session.get(url)
        with pytest.raises(requests.ConnectionError) as green:
            _run(session, url)
    assert str(green.value) == str(stock.value)
    assert type(green.value.args[0].reason) is type(stock.value.args[0].reason)


@pytest.mark.parametrize(
    ("url", "kwargs"),
    [
        ("http://does-not-exist.invalid/", {}),
        ("http://127.0.0.1:1/", {}),
        ("nonsense", {}),
        ("ftp://127.0.0.1/", {}),
        ("http://a" + "b" * 70 + ".example/", {}),
        ("{slow}", {"timeout": 0.1}),
        ("{slow}", {"timeout": (5, 0.1)}),
        ("{tls}", {}),
        ("{cut}", {}),
    ],
)
def test_errors_are_those_of_requests(url, kwargs, session):
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(tls)
    with Server(delay=0.5) as slow, Server(context=tls) as secure, Server(lambda _: b"") as cut:
        cut.handler = lambda _: (
            b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 9\r\n\r\nx"
        )
        url = url.format(slow=slow.url, tls=secure.url, cut=cut.url)
        kwargs = dict(kwargs)
        with pytest.raises(Exception) as stock:
            session.get(url, **kwargs)
        with pytest.raises(Exception) as green:
            _run(session, url, **kwargs)
    assert type(green.value) is type(stock.value)
    assert str(green.value).split(" at 0x")[0] == str(stock.value).split(" at 0x")[0]
    assert hasattr(green.value, "request") == hasattr(stock.value, "request")


# --- what must be cooperative --------------------------------------------------------------------


def test_pool_block_waits_for_a_connection(session):
    session.mount("http://", HTTPAdapter(pool_maxsize=3, pool_block=True))
    with Server(delay=0.05) as server:
        assert flood(20, server.url, session) == ["ok"] * 20
        assert server.peak == 3
        assert server.connections == 3


def test_retries_back_off_without_blocking_the_others(session):
    retry = Retry(total=3, backoff_factor=0.1, status_forcelist=[503])
    session.mount("http://", HTTPAdapter(max_retries=retry))
    seen = {}

    def handler(request):
        seen[request.target] = seen.get(request.target, 0) + 1
        return answer(b"ok") if seen[request.target] > 2 else answer(b"", "503 Later")

    with Server(handler) as server, Ticker() as ticker:
        jobs = [
            gevent.spawn(_general.perform, session, "GET", f"{server.url}{n}", {})
            for n in range(20)
        ]
        gevent.joinall(jobs, raise_error=True)
        assert [job.value.text for job in jobs] == ["ok"] * 20
        assert [len(job.value.raw.retries.history) for job in jobs] == [2] * 20
    assert ticker.longest < 0.2  # one backoff alone is 0.2 s
    assert session.adapters["http://"].max_retries is retry
    assert type(retry) is Retry


def test_retry_after_is_waited_for_without_blocking_the_others(session):
    session.mount("http://", HTTPAdapter(max_retries=Retry(total=1, status_forcelist=[503])))
    seen = set()

    def handler(request):
        if request.target in seen:
            return answer()
        seen.add(request.target)
        return answer(b"", "503 Later", "Retry-After: 1")

    with Server(handler) as server, Ticker() as ticker:
        jobs = [
            gevent.spawn(_general.perform, session, "GET", f"{server.url}{n}", {})
            for n in range(10)
        ]
        gevent.joinall(jobs, raise_error=True)
    assert ticker.longest < 0.9


class Digest:
    """A server that wants digest authentication, with a nonce that is good for some requests."""

    def __init__(self):
        self.nonce = 0
        self.refused = 0

    def __call__(self, request):
        given = request.headers.get("authorization", "")
        if f'nonce="n{self.nonce}"' in given and f'uri="{request.target}"' in given:
            return answer()
        self.refused += 1
        challenge = f'Digest realm="r", nonce="n{self.nonce}", qop="auth", algorithm=MD5'
        return answer(b"no", "401 Unauthorized", f"WWW-Authenticate: {challenge}")


@pytest.mark.parametrize("where", ["request", "session"])
def test_digest_auth_of_many_greenlets(where, session):
    auth = HTTPDigestAuth("user", "secret")
    kwargs = {"auth": auth} if where == "request" else {}
    if where == "session":
        session.auth = auth
    handler = Digest()
    with Server(handler, delay=0.05) as server:
        for round_ in range(3):
            handler.nonce = round_  # every greenlet is refused once more, all at a time
            jobs = [
                gevent.spawn(_general.perform, session, "GET", f"{server.url}{n}", dict(kwargs))
                for n in range(20)
            ]
            gevent.joinall(jobs, raise_error=True)
            assert [job.value.status_code for job in jobs] == [200] * 20
        # What the greenlets learned serves the owner, and the other way round.
        before = handler.refused
        assert session.get(server.url, **kwargs).status_code == 200
        assert handler.refused == before
    assert auth == HTTPDigestAuth("user", "secret")


class SlowAdapter(BaseAdapter):
    """An adapter with blocking I/O of its own."""

    def __init__(self):
        super().__init__()
        self.lock = threading.Lock()
        self.now = self.peak = 0

    def send(self, request, **_):
        with self.lock:
            self.now += 1
            self.peak = max(self.peak, self.now)
        time.sleep(0.3)
        with self.lock:
            self.now -= 1
        response = requests.Response()
        response.status_code, response._content = 200, b"slow"
        response.request, response.url = request, request.url
        return response

    def close(self):
        pass


def test_an_adapter_that_blocks_runs_in_threads(session):
    adapter = SlowAdapter()
    session.mount("slow://", adapter)
    with Ticker() as ticker:
        assert flood(20, "slow://x/", session) == ["slow"] * 20
    assert adapter.peak == 20
    assert ticker.longest < 0.25


def test_an_adapter_that_blocks_does_not_send_the_others_to_threads(session):
    session.mount("slow://", SlowAdapter())
    with Server() as server:
        response = gevent.spawn(
            _general.perform, session, "GET", server.url, {"stream": True}
        ).get()
        assert isinstance(response.raw._connection.sock, GreenSocket)
        response.close()


def test_errors_of_an_adapter_in_a_thread_reach_the_caller_and_are_not_printed(session, capfd):
    class Failing(SlowAdapter):
        def send(self, request, **_):
            raise requests.ConnectionError("mine", request=request)

    session.mount("slow://", Failing())
    with pytest.raises(requests.ConnectionError, match="mine"):
        _run(session, "slow://x/")
    assert capfd.readouterr().err == ""


def _run(session, url, **kwargs):
    """perform() in a greenlet; an expected exception is not printed by gevent."""
    outcome = []

    def body():
        try:
            outcome.append(_general.perform(session, "GET", url, kwargs))
        except BaseException as error:  # noqa: BLE001
            outcome.append(error)

    gevent.spawn(body).join()
    result = outcome.pop()
    if isinstance(result, BaseException):
        raise result
    return result


class UnixConnection(urllib3.connection.HTTPConnection):
    """As docker's client and requests-unixsocket do it."""

    path = ""

    def connect(self):
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.settimeout(self.timeout)
        sock.connect(self.path)
        self.sock = sock


class UnixPool(urllib3.connectionpool.HTTPConnectionPool):
    ConnectionCls = UnixConnection


class UnixAdapter(HTTPAdapter):
    """Its own pools, kept by itself, which no manager of urllib3's makes."""

    def get_connection_with_tls_context(self, request, verify, proxies=None, cert=None):
        self.poolmanager.pool_classes_by_scheme = {"http": UnixPool}
        return self.poolmanager.connection_from_host("localhost", 80, "http")


def test_a_unix_socket_adapter_dials_in_a_thread_and_reads_cooperatively(session, tmp_path):
    path = str(tmp_path / "s")
    UnixConnection.path = path
    with Server(expect=10) as server:
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(path)
        listener.listen(50)
        server.listener, tcp = listener, server.listener
        threading.Thread(target=server._accept, daemon=True).start()

        class Adapter(HTTPAdapter):
            def init_poolmanager(self, *args, **kwargs):
                super().init_poolmanager(*args, **kwargs)
                self.poolmanager.pool_classes_by_scheme = {"http": UnixPool}

        session.mount("http://", Adapter())
        assert flood(10, "http://localhost/", session) == ["ok"] * 10
        assert server.peak == 10
        tcp.close()


# --- contexts of TLS that somebody brings --------------------------------------------------------


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


@pytest.fixture
def secure(authority):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    with Server(context=context, expect=10) as server:
        yield server


class ContextAdapter(HTTPAdapter):
    def __init__(self, context):
        self.context = context
        super().__init__()

    def init_poolmanager(self, *args, **kwargs):
        super().init_poolmanager(*args, ssl_context=self.context, **kwargs)

    def cert_verify(self, conn, url, verify, cert):
        """The context knows its certificates."""


class Foreign:
    """A context of another make: no subclass of ssl.SSLContext, as truststore's is not quite."""

    def __init__(self, authority):
        self._real = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        authority.configure_trust(self._real)
        self.wrapped = 0

    def __getattr__(self, name):
        return getattr(self._real, name)

    def __setattr__(self, name, value):
        if name in {"_real", "wrapped"}:
            self.__dict__[name] = value
        else:
            setattr(self._real, name, value)


class Bio(Foreign):
    def wrap_bio(self, *args, **kwargs):
        self.wrapped += 1
        return self._real.wrap_bio(*args, **kwargs)


class BlockingOnly(Foreign):
    def __getattr__(self, name):
        if name == "wrap_bio":
            raise AttributeError(name)
        return super().__getattr__(name)

    def wrap_socket(self, *args, **kwargs):
        self.wrapped += 1
        return self._real.wrap_socket(*args, **kwargs)


@pytest.mark.parametrize("make", [Bio, BlockingOnly])
def test_a_context_of_another_make(make, secure, authority, session):
    context = make(authority)
    session.mount("https://", ContextAdapter(context))
    with Ticker() as ticker:
        assert flood(10, secure.url, session) == ["ok"] * 10
    assert secure.peak == 10
    assert context.wrapped == 10
    assert ticker.longest < 0.5


def test_a_stock_context_of_the_users(secure, authority, session):
    context = ssl.create_default_context()
    authority.configure_trust(context)
    adapter = ContextAdapter(context)
    session.mount("https://", adapter)
    assert flood(10, secure.url, session) == ["ok"] * 10
    secure.expect = 0
    response = session.get(secure.url, stream=True)
    assert response.raw._connection.ssl_context is context
    assert type(response.raw._connection.sock) is ssl.SSLSocket
    response.close()


def test_one_context_serves_all_connections_of_a_kind(secure, authority, tmp_path, monkeypatch):
    from grequests import _green_tls

    path = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    monkeypatch.setattr(_green_tls, "_contexts", {})
    assert flood(10, secure.url, verify=str(path)) == ["ok"] * 10
    assert len(_green_tls._contexts) == 1
    _general.close()


def test_a_certificate_that_is_not_trusted_is_refused(secure):
    with pytest.raises(requests.exceptions.SSLError, match="CERTIFICATE_VERIFY_FAILED"):
        _run(None, secure.url, verify=True)


def test_verify_false_takes_any_certificate_and_warns(secure):
    secure.expect = 0
    with pytest.warns(urllib3.exceptions.InsecureRequestWarning):
        assert _run(None, secure.url, verify=False).text == "ok"
    _general.close()
