"""responses: HTTPAdapter.send replaced while it is active."""

from __future__ import annotations

import pytest
import requests
import responses
from responses import matchers

import grequests
from servers import Server

from .support import fetch, gets, in_process, lanes, reraise


def on_and_off() -> None:
    """A mock started and stopped between maps of one process."""
    with Server() as server:
        urls = [server.url(f"/{n}") for n in range(5)]
        assert [each.text for each in fetch(urls)] == ["/0", "/1", "/2", "/3", "/4"]
        for _ in range(2):
            with responses.RequestsMock() as mock:
                for n, url in enumerate(urls):
                    mock.get(url, json={"mocked": n})
                found = fetch(urls)
                assert [each.json() for each in found] == [{"mocked": n} for n in range(5)]
                assert [call.request.url for call in mock.calls] == urls
            server.requests.clear()
            found = fetch(urls)
            assert [each.text for each in found] == ["/0", "/1", "/2", "/3", "/4"]
            assert lanes(found) == {"fast"}
            assert sorted(server.targets()) == ["/0", "/1", "/2", "/3", "/4"]


def test_on_and_off(no_leaks):
    on_and_off()


def test_whichever_is_imported_first(order):
    in_process(order, "responses", on_and_off)


@responses.activate
def test_the_decorator(server):
    responses.get(server.url("/a"), body="a", headers={"X-A": "1"})
    responses.post(server.url("/b"), json={"b": 1}, status=201)
    found = grequests.map(
        [grequests.get(server.url("/a")), grequests.post(server.url("/b"), json={"sent": True})],
        exception_handler=reraise,
    )
    assert [(each.status_code, each.text) for each in found] == [(200, "a"), (201, '{"b": 1}')]
    assert found[0].headers["X-A"] == "1"
    assert [call.request.body for call in responses.calls] == [None, b'{"sent": true}']
    assert server.count == 0


@responses.activate
def test_imap(server):
    for n in range(4):
        responses.get(server.url(f"/{n}"), body=f"mocked {n}")
    found = grequests.imap(gets(server.url(f"/{n}") for n in range(4)), size=3)
    assert sorted(each.text for each in found) == [f"mocked {n}" for n in range(4)]
    assert server.count == 0


@responses.activate
def test_with_a_session_whose_cookies_are_kept(server):
    responses.get(server.url("/"), body="in", headers={"Set-Cookie": "who=me; Path=/"})
    responses.get(
        server.url("/me"), body="hello", match=[matchers.header_matcher({"Cookie": "who=me"})]
    )
    with requests.Session() as session:
        fetch([server.url("/"), server.url("/")], session=session)
        assert session.cookies["who"] == "me"
        assert [e.text for e in fetch([server.url("/me")] * 3, session=session)] == ["hello"] * 3


@responses.activate
def test_matchers_and_callbacks(server):
    url = server.url("/search")
    responses.get(url, body="one", match=[matchers.query_param_matcher({"q": "1"})])
    responses.add_callback(
        responses.POST, url, callback=lambda request: (200, {"X-Called": "yes"}, request.body)
    )
    found = grequests.map(
        [grequests.get(url, params={"q": "1"}), grequests.post(url, data="said")],
        exception_handler=reraise,
    )
    assert [each.text for each in found] == ["one", "said"]
    assert found[1].headers["X-Called"] == "yes"


@responses.activate
def test_what_is_not_mocked_fails_as_with_requests(server):
    responses.get(server.url("/known"), body="known")
    failed = []
    found = grequests.map(
        gets([server.url("/known"), server.url("/unknown")]),
        exception_handler=lambda request, error: failed.append(error),
    )
    assert [each and each.text for each in found] == ["known", None]
    with pytest.raises(requests.ConnectionError) as plain:
        requests.get(server.url("/unknown"))
    assert type(failed[0]) is requests.ConnectionError
    assert str(failed[0]) == str(plain.value)
    assert server.count == 0


@responses.activate
def test_an_exception_as_the_body(server):
    responses.get(server.url("/"), body=requests.ReadTimeout("mocked"))
    failed = []
    sent = gets([server.url("/")] * 3)
    assert grequests.map(sent, exception_handler=lambda r, e: failed.append(e)) == [None] * 3
    assert [(type(e), str(e)) for e in failed] == [(requests.ReadTimeout, "mocked")] * 3


def test_a_redirect_and_passing_through(server):
    with responses.RequestsMock() as mock:
        mock.get(server.url("/from"), status=302, headers={"Location": server.url("/to")})
        mock.add_passthru(server.url("/to"))
        found = fetch([server.url("/from")] * 4)
    assert [each.text for each in found] == ["/to"] * 4
    assert [[h.status_code for h in each.history] for each in found] == [[302]] * 4
    assert server.targets() == ["/to"] * 4


def test_requests_that_pass_through_go_at_once(server):
    gate = server.hold("/gate", count=10)
    with responses.RequestsMock() as mock:
        mock.add_passthru(server.url())
        assert [each.text for each in fetch([server.url("/gate")] * 10)] == ["/gate"] * 10
    assert gate.arrived == server.peak == 10


def test_a_custom_registry_gives_answers_in_order(server):
    with responses.RequestsMock(registry=responses.registries.OrderedRegistry) as mock:
        for n in range(3):
            mock.get(server.url("/"), body=str(n))
        assert [each.text for each in fetch([server.url("/")] * 3)] == ["0", "1", "2"]


def test_retries_see_the_mocked_answers(server):
    retry = requests.adapters.Retry(total=2, status_forcelist=[500], backoff_factor=0)
    with requests.Session() as session, responses.RequestsMock() as mock:
        session.mount("http://", requests.adapters.HTTPAdapter(max_retries=retry))
        first, second = mock.get(server.url("/"), status=500), mock.get(server.url("/"), body="ok")
        assert fetch([server.url("/")], session=session)[0].text == "ok"
        assert (first.call_count, second.call_count) == (1, 1)
