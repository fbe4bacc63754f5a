"""`AsyncRequest`: cheap, readable, and good for more than one sending."""

from __future__ import annotations

import gc
import sys

import gevent
import pytest
import requests
from servers import Server, answer, eventually, hang_up

import grequests
from grequests import AsyncRequest

pytestmark = pytest.mark.usefixtures("no_leaks")

URL = "http://example.org/"


def test_its_repr_shows_its_state(server):
    gate = server.hold("/held")
    server.on("/bad", hang_up)
    held, bad = grequests.get(server.url("/held")), grequests.post(server.url("/bad"))
    assert repr(held) == f"<AsyncRequest [GET] {server.url('/held')} unsent>"
    job = grequests.send(held)
    eventually(lambda: gate.arrived)
    assert repr(held) == f"<AsyncRequest [GET] {server.url('/held')} in flight>"
    gate.open()
    job.join()
    assert repr(held) == f"<AsyncRequest [GET] {server.url('/held')} <Response [200]>>"
    bad.send()
    assert repr(bad) == f"<AsyncRequest [POST] {server.url('/bad')} failed: ConnectionError>"


def test_it_prints_as_the_packages():
    assert (AsyncRequest.__module__, AsyncRequest.__qualname__) == ("grequests", "AsyncRequest")


@pytest.fixture
def sessions(monkeypatch):
    """The sessions that are made."""
    made = []
    original = requests.Session.__init__

    def init(self):
        made.append(self)
        original(self)

    monkeypatch.setattr(requests.Session, "__init__", init)
    return made


def test_no_session_is_built_until_asked_for(sessions):
    sent = [grequests.get(URL, timeout=n) for n in range(1, 100)]
    assert sessions == []
    mine = sent[0].session
    assert sessions == [mine]
    assert sent[0].session is mine


def test_no_session_is_built_to_send_plain_requests(server):
    """To watch a class by replacing what it has would be noticed, and end the fast lane."""
    sent = [grequests.get(server.url()), grequests.get(server.url(), timeout=5)]
    before = {id(each) for each in gc.get_objects() if isinstance(each, requests.Session)}
    found = grequests.map(sent)
    assert [each.status_code for each in found] == [200, 200]
    assert {type(each).__module__ for each in found} == {"grequests"}
    live = (each for each in gc.get_objects() if isinstance(each, requests.Session))
    assert [each for each in live if id(each) not in before] == []
    assert all(each._session is None for each in sent)


def test_it_costs_little():
    request = grequests.get(URL, timeout=5)
    parts = (request, vars(request), request.kwargs)
    # A Session is a hundred times that.
    assert sum(map(sys.getsizeof, parts)) < 700


def test_an_empty_session_is_a_session_all_the_same():
    class Falsy(requests.Session):
        def __bool__(self):
            return False

    session = Falsy()
    assert grequests.get(URL, session=session).session is session


def test_a_request_can_be_sent_again(server):
    request = grequests.get(server.url("/again"))
    responses = [request.send().response for _ in range(3)]
    responses += grequests.map([request])
    responses += grequests.imap([request])
    assert [each.text for each in responses] == ["/again"] * 5
    assert len({id(each) for each in responses}) == 5


def test_a_second_sending_forgets_the_first_ones_failure(server):
    moods = iter([None, answer(b"good")])
    server.on("/moody", lambda _: next(moods, None))
    request = grequests.get(server.url("/moody"))
    assert type(request.send().exception) is requests.ConnectionError
    first = request.traceback
    assert first
    request.send()
    assert request.response.text == "good"
    assert not hasattr(request, "exception")
    assert not hasattr(request, "traceback")
    request.send()
    assert request.response is None
    assert type(request.exception) is requests.ConnectionError


def test_callbacks_add_to_hooks_of_any_form():
    def a(*_, **__): ...
    def b(*_, **__): ...
    def c(*_, **__): ...

    def hooks(**kwargs):
        return grequests.get(URL, **kwargs).kwargs.get("hooks")

    assert hooks(callback=a) == {"response": a}
    assert hooks(hooks={"response": a}, callback=b) == {"response": [a, b]}
    assert hooks(hooks={"response": [a, b]}, callback=c) == {"response": [a, b, c]}
    assert hooks(hooks={"response": None}, callback=c) == {"response": [c]}
    assert hooks(hooks={}, callback=c) == {"response": c}
    assert hooks(callback=None) is None
    assert hooks() is None


def test_the_callers_hooks_are_left_alone():
    def a(*_, **__): ...

    mine = {"response": [a]}
    grequests.get(URL, hooks=mine, callback=print)
    assert mine == {"response": [a]}


def test_sending_what_is_in_flight_is_refused_at_the_call(server):
    gate = server.hold("/held")
    request = grequests.get(server.url("/held"))
    job = grequests.send(request)
    eventually(lambda: gate.arrived)
    for again in (
        request.send,
        lambda: grequests.send(request),
        lambda: grequests.map([request]),
        lambda: grequests.map([grequests.get(server.url()), request]),
    ):
        with pytest.raises(grequests.RequestInFlightError, match="in flight already"):
            again()
    assert server.targets() == ["/held"]
    gate.open()
    assert job.get().response.text == "/held"
    assert request.send().response.text == "/held"


def test_killing_the_greenlet_that_sends_aborts_the_request(server):
    for stream in (False, True):
        gate = server.hold("/held")
        request = grequests.get(server.url("/held"))
        job = grequests.send(request, None, stream)
        eventually(lambda gate=gate: gate.arrived)
        job.kill()
        eventually(lambda gate=gate: gate.deserted == 1, "the server to see the disconnect")
        assert (request.response, request._in_flight) == (None, False)
        assert not hasattr(request, "exception")
        gate.close()


def test_a_timeout_of_gevent_around_send_is_the_callers(server):
    gate = server.hold("/held")
    request = grequests.get(server.url("/held"))
    with pytest.raises(gevent.Timeout), gevent.Timeout(0.02):
        request.send()
    eventually(lambda: gate.deserted == gate.arrived)
    assert not request._in_flight


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("stream", [False, True])
def test_an_interrupt_in_a_callback_reaches_who_called_send(kind, stream, server):
    error = kind("now")

    def callback(response, **_):
        assert response.text == "/"
        raise error

    request = grequests.get(server.url(), callback=callback)
    with pytest.raises(kind) as caught:
        request.send(stream=stream)
    assert caught.value is error
    assert not request._in_flight
    # It can be sent again.
    request.kwargs.clear()
    assert request.send().response.text == "/"


def test_send_lets_others_run(server):
    gate = server.hold("/held")
    log = []

    def other():
        eventually(lambda: gate.arrived)
        log.append("other")
        gate.open()

    gevent.spawn(other)
    log.append(grequests.get(server.url("/held")).send().response.text)
    assert log == ["other", "/held"]


def test_a_url_may_be_anything_requests_takes(server):
    class Url:
        def __str__(self) -> str:
            return server.url("/object")

    sent = [grequests.get(Url()), grequests.get(server.url("/bytes").encode())]
    assert [each.text for each in grequests.map(sent)] == ["/object", "/bytes"]


@pytest.mark.parametrize(
    ("url", "error"),
    [
        ("example.org", requests.exceptions.MissingSchema),
        ("nonsense://example.org", requests.exceptions.InvalidSchema),
        ("http://", requests.exceptions.InvalidURL),
        (None, requests.exceptions.MissingSchema),
    ],
)
def test_a_url_that_is_none_is_the_requests_failure(url, error):
    request = grequests.get(url)
    assert grequests.map([request, grequests.get(url)]) == [None, None]
    assert type(request.exception) is error
    assert type(request.send().exception) is error


def test_nothing_is_sent_by_making_a_request():
    with Server() as server:
        grequests.get(server.url())
        gevent.sleep(0)
        assert (server.opened, server.count) == (0, 0)
