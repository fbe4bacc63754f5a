"""An `AddressPolicy` at work: in both lanes, for redirects, proxies and kept connections.

All there is here is loopback: 127.0.0.1 is allowed, 127.0.0.2 is the machine that is not to be
reached. Whatever is refused, its server has seen no connection.
"""

from __future__ import annotations

import contextlib
import socket

import pytest
import requests
from servers import Server, answer

import grequests
from grequests import AddressDeniedError, AddressPolicy, Client, _threads
from grequests._engine import current_engine
from grequests._kinds import DENIED, kind_of

pytestmark = pytest.mark.usefixtures("no_leaks")

POLICY = AddressPolicy(allow=["127.0.0.1"])
NOTHING = AddressPolicy()


class Odd(requests.Session):
    """Its requests take the general lane."""


@pytest.fixture(params=["fast", "general"])
def session(request):
    if request.param == "fast":
        yield None
        return
    with Odd() as one:
        yield one


@pytest.fixture
def forbidden():
    """A server that nobody is to connect to."""
    with Server(hosts=["127.0.0.2"]) as one:
        yield one
        assert one.opened == 0


def outcome(url, session, policy=POLICY, **kwargs):
    request = grequests.request(kwargs.pop("method", "GET"), url, session=session, **kwargs)
    (result,) = grequests.run([request], address_policy=policy, retry=None)
    return result


def assert_denied(result, host, *addresses):
    assert type(result.error) is AddressDeniedError, result.error
    assert (result.error.host, result.error.addresses) == (host, addresses)
    assert kind_of(result.error) == DENIED
    assert len(result.attempts) == 1


def test_what_is_allowed_is_fetched(session, server):
    assert outcome(server.url("/a"), session).response.text == "/a"
    assert outcome(f"http://localhost:{server.ports[0]}/a", session).response.text == "/a"


def test_what_is_not_is_not_connected_to(session, forbidden):
    assert_denied(outcome(forbidden.url("/a"), session), "127.0.0.2", "127.0.0.2")


@pytest.mark.parametrize("host", ["2130706434", "0x7f000002", "0177.0.0.2", "127.2", "0x7f.0x2"])
def test_odd_notations_are_the_addresses_that_they_are(session, forbidden, host):
    result = outcome(f"http://{host}:{forbidden.ports[0]}/", session)
    assert_denied(result, host, "127.0.0.2")


@pytest.mark.parametrize("host", ["::ffff:127.0.0.2", "::ffff:7f00:2"])
def test_mapped_addresses_are_those_that_the_kernel_connects_to(session, forbidden, host):
    result = outcome(f"http://[{host}]:{forbidden.ports[0]}/", session)
    assert type(result.error) is AddressDeniedError


@pytest.mark.parametrize(
    "status", ["301 Moved", "302 Found", "303 See Other", "307 Same", "308 Same"]
)
def test_redirects_are_looked_at_anew(session, server, forbidden, status):
    server.on("/r", lambda _: answer(b"", status, f"Location: {forbidden.url('/secret')}"))
    result = outcome(server.url("/r"), session)
    assert_denied(result, "127.0.0.2", "127.0.0.2")
    assert result.response is None


def test_hooks_that_send_again_are_bound_as_well(session, server, forbidden):
    def go_on(response, **kwargs):
        request = response.request.copy()
        request.url = forbidden.url("/secret")
        return response.connection.send(request, **kwargs)

    result = outcome(server.url("/a"), session, hooks={"response": go_on})
    assert type(result.error) is AddressDeniedError


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_that_is_not_permitted_is_not_asked(session, forbidden, scheme):
    proxies = {scheme: forbidden.roots[0]}
    result = outcome(f"{scheme}://127.0.0.1:9/", session, proxies=proxies)
    assert_denied(result, "127.0.0.2", "127.0.0.2")


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("host", ["127.0.0.2", "[::1]", "10.0.0.1"])
def test_a_proxy_is_not_asked_for_what_is_not_permitted(session, server, scheme, host):
    proxies = {scheme: server.roots[0]}
    result = outcome(f"{scheme}://{host}:9/", session, proxies=proxies)
    assert_denied(result, host.strip("[]"), host.strip("[]"))
    assert server.count == 0


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_is_not_asked_for_what_nobody_knows_here(session, server, scheme):
    proxies = {scheme: server.roots[0]}
    result = outcome(f"{scheme}://nobody.invalid/", session, proxies=proxies)
    assert_denied(result, "nobody.invalid")
    assert server.count == 0


def test_a_proxy_that_is_permitted_fetches_what_is(session, server):
    result = outcome("http://127.0.0.1:9/x", session, proxies={"http": server.roots[0]})
    assert result.response.status_code == 200
    assert server.targets() == ["http://127.0.0.1:9/x"]


def test_a_pool_of_proxies_is_bound_as_well(forbidden):
    pool = grequests.ProxyPool([forbidden.roots[0]])
    (result,) = grequests.run(
        ["http://127.0.0.1:9/"], proxies=pool, address_policy=POLICY, retry=None
    )
    assert type(result.error) is AddressDeniedError


def test_a_connection_made_without_the_policy_is_not_used_under_it(session, server):
    assert outcome(server.url("/a"), session, policy=None).response.text == "/a"
    assert type(outcome(server.url("/b"), session, policy=NOTHING).error) is AddressDeniedError
    assert outcome(server.url("/c"), session, policy=None).response.text == "/c"
    assert server.targets() == ["/a", "/c"]


def test_names_with_several_addresses_use_those_that_are_permitted(session, server, monkeypatch):
    """A name that has a private address beside a public one is no way in."""
    port = server.ports[0]

    def answers(*_args, **_kwargs):
        return [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))
            for address in ("127.0.0.2", "127.0.0.1", "10.0.0.1")
        ]

    monkeypatch.setattr(current_engine().resolver, "_lookup", answers, raising=False)
    monkeypatch.setattr(_threads, "getaddrinfo", answers)
    assert outcome(f"http://two.test:{port}/a", session).response.text == "/a"
    result = outcome(f"http://two.test:{port}/b", session, policy=NOTHING)
    assert result.error.addresses == ("127.0.0.2", "127.0.0.1", "10.0.0.1")


def test_a_name_that_changes_its_mind_is_asked_when_it_is_connected_to(
    session, server, monkeypatch
):
    """DNS rebinding: what was permitted a moment ago leads elsewhere now."""
    port = server.ports[0]
    now = ["127.0.0.1"]

    def answers(*_args, **_kwargs):
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (now[0], port))]

    monkeypatch.setattr(current_engine().resolver, "_lookup", answers, raising=False)
    monkeypatch.setattr(_threads, "getaddrinfo", answers)
    server.on("/close", lambda _: answer(b"ok", "200 OK", "Connection: close"))
    assert outcome(f"http://turn.test:{port}/close", session).response.text == "ok"
    now[0] = "127.0.0.2"
    current_engine().resolver.forget("turn.test")
    assert type(outcome(f"http://turn.test:{port}/b", session).error) is AddressDeniedError


def test_unix_sockets_have_no_address(tmp_path):
    requests_unixsocket = pytest.importorskip("requests_unixsocket")
    path = str(tmp_path / "sock")
    with socket.socket(socket.AF_UNIX) as listener, requests_unixsocket.Session() as session:
        listener.bind(path)
        listener.listen()
        url = f"http+unix://{path.replace('/', '%2F')}/x"
        result = outcome(url, session)
        assert type(result.error) is AddressDeniedError
        listener.setblocking(False)
        with pytest.raises(BlockingIOError):
            listener.accept()


def test_socks_proxies_are_bound_as_well(forbidden, server):
    with Odd() as session:
        proxies = {"http": f"socks5://127.0.0.2:{forbidden.ports[0]}"}
        result = outcome(server.url("/a"), session, proxies=proxies)
        assert type(result.error) is AddressDeniedError
        proxies = {"http": f"socks5h://127.0.0.1:{server.ports[0]}"}
        result = outcome("http://127.0.0.2:9/", session, proxies=proxies)
        assert_denied(result, "127.0.0.2", "127.0.0.2")
    assert server.count == 0


def test_downloads_are_bound_as_well(tmp_path, forbidden, session):
    with Client(address_policy=POLICY, retry=None, session=session) as client:
        (one,) = client.download([forbidden.url("/a")], tmp_path)
    assert type(one.error) is AddressDeniedError
    assert not list(tmp_path.iterdir())


def test_submit_and_runs_in_the_thread_of_an_event_loop(forbidden, session):
    import asyncio

    with Client(address_policy=POLICY, retry=None) as client:
        request = grequests.get(forbidden.url("/a"), session=session)
        assert type(client.submit(request).result().error) is AddressDeniedError

    async def main():
        request = grequests.get(forbidden.url("/b"), session=session)
        return [r async for r in grequests.arun([request], address_policy=POLICY, retry=None)]

    (result,) = asyncio.run(main())
    assert type(result.error) is AddressDeniedError


def test_others_go_on(session, server, forbidden):
    urls = [(server if n % 3 else forbidden).url(f"/{n}") for n in range(90)]
    asked = [grequests.get(url, session=session) for url in urls]
    with Client(address_policy=POLICY) as client:
        for result in client.run(asked):
            if result.index % 3:
                assert result.response.text == f"/{result.index}"
            else:
                assert type(result.error) is AddressDeniedError
        counts = client.statistics()
    assert counts.failed == {DENIED: 30}
    assert counts.in_flight == counts.queued == 0


def test_an_ordinary_session_is_left_as_it_was(server):
    with Odd() as session, contextlib.suppress(requests.RequestException):
        assert type(outcome(server.url("/a"), session, policy=NOTHING).error) is AddressDeniedError
        assert session.get(server.url("/a")).text == "/a", "outside of the run there is no policy"
