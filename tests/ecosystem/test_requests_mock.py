"""requests-mock: `Session.get_adapter` replaced, on the class or on one session, or an adapter."""

from __future__ import annotations

import gevent
import pytest
import requests
import requests_mock

import grequests
from servers import Server

from .support import fetch, gets, in_process, lanes, reraise


def on_and_off() -> None:
    with Server() as server:
        urls = [server.url(f"/{n}") for n in range(5)]
        assert [each.text for each in fetch(urls)] == ["/0", "/1", "/2", "/3", "/4"]
        for _ in range(2):
            with requests_mock.Mocker() as mock:
                for n, url in enumerate(urls):
                    mock.get(url, json={"mocked": n})
                found = fetch(urls)
                assert [each.json() for each in found] == [{"mocked": n} for n in range(5)]
                assert mock.call_count == 5
                assert [each.url for each in mock.request_history] == urls
            server.requests.clear()
            found = fetch(urls)
            assert [each.text for each in found] == ["/0", "/1", "/2", "/3", "/4"]
            assert lanes(found) == {"fast"}
            assert sorted(server.targets()) == ["/0", "/1", "/2", "/3", "/4"]


def test_on_and_off(no_leaks):
    on_and_off()


def test_whichever_is_imported_first(order):
    in_process(order, "requests_mock", on_and_off)


@requests_mock.Mocker(kw="mock")
def test_the_decorator_and_imap(mock=None):
    for n in range(4):
        mock.get(f"http://mocked.test/{n}", text=f"mocked {n}")
    found = grequests.imap(gets(f"http://mocked.test/{n}" for n in range(4)), size=3)
    assert sorted(each.text for each in found) == [f"mocked {n}" for n in range(4)]


def test_the_fixture_of_its_pytest_plugin(requests_mock):
    requests_mock.post("http://mocked.test/", json=lambda request, context: request.json())
    sent = [grequests.post("http://mocked.test/", json={"n": n}) for n in range(3)]
    assert [each.json() for each in grequests.map(sent)] == [{"n": 0}, {"n": 1}, {"n": 2}]


def test_one_session_is_mocked_and_no_other(server):
    with requests.Session() as mocked, requests.Session() as other:
        with requests_mock.Mocker(session=mocked) as mock:
            mock.get(server.url("/"), text="mocked")
            sent = [grequests.get(server.url("/"), session=s) for s in (mocked, other, None)]
            found = grequests.map(sent, exception_handler=reraise)
            assert [each.text for each in found] == ["mocked", "/", "/"]
            assert lanes(found[1:]) == {"fast"}
        found = fetch([server.url("/")] * 2, session=mocked)
        assert [each.text for each in found] == ["/", "/"]
        assert lanes(found) == {"fast"}


def test_an_adapter_that_is_mounted(server):
    adapter = requests_mock.Adapter()
    adapter.register_uri("GET", requests_mock.ANY, text="any")
    adapter.register_uri("GET", "mock://there/a", text="a", headers={"X-A": "1"})
    with requests.Session() as session:
        session.mount("mock://", adapter)
        urls = ["mock://there/a", "mock://there/b", server.url("/real")]
        found = fetch(urls, session=session)
        assert [each.text for each in found] == ["a", "any", "/real"]
        assert [each.headers.get("X-A") for each in found] == ["1", None, None]
        assert adapter.call_count == 2


def test_answers_in_a_row_and_an_exception(server):
    with requests_mock.Mocker() as mock:
        mock.get(server.url("/"), [{"text": "one"}, {"text": "two", "status_code": 202}])
        mock.get(server.url("/late"), exc=requests.ConnectTimeout)
        failed = []
        found = grequests.map(
            gets([server.url("/"), server.url("/"), server.url("/late")]),
            exception_handler=lambda request, error: failed.append(error),
        )
    assert [each and (each.status_code, each.text) for each in found] == [
        (200, "one"),
        (202, "two"),
        None,
    ]
    assert [type(each) for each in failed] == [requests.ConnectTimeout]
    assert server.count == 0


def test_what_is_not_mocked_fails_as_with_requests(server):
    with requests_mock.Mocker():
        failed = []
        grequests.map(gets([server.url("/")] * 2), exception_handler=lambda r, e: failed.append(e))
        with pytest.raises(requests_mock.NoMockAddress) as plain:
            requests.get(server.url("/"))
    expected = [(requests_mock.NoMockAddress, str(plain.value))] * 2
    assert [(type(each), str(each)) for each in failed] == expected
    assert server.count == 0


def test_real_requests_beside_mocked_ones_go_at_once(server):
    gate = server.hold("/gate", count=10)
    with requests_mock.Mocker(real_http=True) as mock:
        mock.get(server.url("/mocked"), text="mocked")
        found = fetch([server.url("/gate"), server.url("/mocked")] * 10)
        assert [each.text for each in found] == ["/gate", "mocked"] * 10
        assert mock.call_count == 20  # it was asked for all
    assert gate.arrived == server.peak == 10


def test_a_redirect_within_the_mock_that_another_greenlet_interrupts(server):
    """All requests of one session are in the mock at a time, and none gets out of it."""

    def slowly(request, context):
        gevent.sleep(0)
        return "arrived"

    with requests.Session() as session, requests_mock.Mocker() as mock:
        mock.get(server.url("/from"), status_code=302, headers={"Location": server.url("/to")})
        mock.get(server.url("/to"), text=slowly)
        found = fetch([server.url("/from")] * 10, session=session)
        assert [each.text for each in found] == ["arrived"] * 10
        assert server.count == 0
