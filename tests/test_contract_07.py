"""The contract of grequests 0.7: every row of the design's table, and the examples of its README.

The tests are named after the rows. What a row says, and nothing of how it is done, is asserted.
"""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Iterator

import gevent
import gevent.pool
import pytest
import requests
import trustme
from requests.adapters import BaseAdapter, HTTPAdapter
from requests.auth import AuthBase

import grequests
from grequests import AsyncRequest
from grequests._engine import _resolve, current_engine
from servers import Server, answer, eventually, hang_up, status

pytestmark = pytest.mark.usefixtures("no_leaks")

VERBS = ("get", "options", "head", "post", "put", "patch", "delete")


def nowhere() -> str:
    """A URL at which nobody listens."""
    with Server() as server:
        return server.url()


# --- get options head post put patch delete request(method, url, ...) ---------------------------


@pytest.mark.parametrize("verb", VERBS)
def test_each_verb_returns_an_unsent_request(verb, server):
    request = getattr(grequests, verb)(server.url("/there"), params={"a": "1"})
    assert type(request) is AsyncRequest
    assert (request.method, request.url) == (verb.upper(), server.url("/there"))
    assert request.kwargs == {"params": {"a": "1"}}
    assert request.response is None
    assert server.count == 0


@pytest.mark.parametrize("verb", VERBS)
def test_each_verb_is_what_the_server_is_asked(verb, server):
    [response] = grequests.map([getattr(grequests, verb)(server.url("/there"))])
    assert response.status_code == 200
    assert [(each.method, each.target) for each in server.requests] == [(verb.upper(), "/there")]


@pytest.mark.parametrize("method", ["GET", "get", "PROPFIND", "purge"])
def test_request_takes_any_method(method, server):
    request = grequests.request(method, server.url())
    assert type(request) is AsyncRequest
    assert request.method == method
    assert grequests.map([request])[0].ok
    assert [each.method for each in server.requests] == [method.upper()]


def test_head_follows_redirects_as_it_did(server):
    server.on("/old", lambda _: answer(b"", "302 Found", "Location: /new"))
    server.on("/new", lambda _: answer(b""))
    [response] = grequests.map([grequests.head(server.url("/old"))])
    assert response.url == server.url("/new")
    assert [(each.method, each.target) for each in server.requests] == [
        ("HEAD", "/old"),
        ("HEAD", "/new"),
    ]


def test_every_keyword_of_requests_request_is_accepted(server, ca_file):
    seen = []
    request = grequests.post(
        server.url("/echo"),
        params={"q": "1"},
        data={"k": "v"},
        json=None,
        headers={"X-Mine": "yes"},
        cookies={"c": "d"},
        files=None,
        auth=("user", "pass"),
        timeout=(5, 10),
        allow_redirects=False,
        proxies={},
        hooks={"response": lambda response, **_: seen.append("hook")},
        stream=False,
        verify=ca_file,
        cert=None,
        session=requests.Session(),
        callback=lambda response, **_: seen.append("callback"),
    )
    [response] = grequests.map([request])
    asked = response.json()
    assert asked["target"] == "/echo?q=1"
    assert asked["body"] == "k=v"
    assert asked["headers"]["x-mine"] == "yes"
    assert asked["headers"]["cookie"] == "c=d"
    assert asked["headers"]["authorization"] == requests.auth._basic_auth_str("user", "pass")
    assert seen == ["hook", "callback"]


def test_json_and_files_arrive(server):
    sent = [
        grequests.post(server.url("/echo"), json={"a": [1, None]}),
        grequests.put(server.url("/echo"), files={"f": ("name.txt", b"inside")}),
    ]
    first, second = (response.json() for response in grequests.map(sent))
    assert json.loads(first["body"]) == {"a": [1, None]}
    assert first["headers"]["content-type"] == "application/json"
    assert 'name="f"; filename="name.txt"' in second["body"]
    assert "inside" in second["body"]


def test_an_unknown_keyword_is_the_requests_failure_as_in_07(server):
    request = grequests.get(server.url(), colour="blue")
    assert grequests.map([request]) == [None]
    assert type(request.exception) is TypeError
    assert "colour" in str(request.exception)
    assert server.count == 0


def test_callback_gets_the_response_and_may_replace_it(server):
    seen = []
    other = requests.Response()
    other.status_code = 299

    def callback(response, **kwargs):
        seen.append((response.text, sorted(kwargs)))
        return None if response.text == "/keep" else other

    sent = [grequests.get(server.url(path), callback=callback) for path in ("/keep", "/swap")]
    kept, swapped = grequests.map(sent)
    assert kept.text == "/keep"
    assert swapped is other
    options = ["cert", "proxies", "stream", "timeout", "verify"]
    assert sorted(seen) == [("/keep", options), ("/swap", options)]


# --- AsyncRequest: method url session kwargs response; exception and traceback; send ------------


def test_attributes_of_a_request_before_it_is_sent():
    session = requests.Session()
    request = AsyncRequest("GET", "http://example.org/", session=session, timeout=3)
    assert request.method == "GET"
    assert request.url == "http://example.org/"
    assert request.session is session
    assert request.kwargs == {"timeout": 3}
    assert request.response is None
    assert not hasattr(request, "exception")
    assert not hasattr(request, "traceback")


def test_a_request_without_session_has_one_when_asked():
    request = AsyncRequest("GET", "http://example.org/")
    assert type(request.session) is requests.Session
    assert request.session is request.session
    assert request.session is not AsyncRequest("GET", "http://example.org/").session


def test_after_success_there_is_a_response_and_no_exception(server):
    request = grequests.get(server.url("/yes"))
    grequests.map([request])
    assert isinstance(request.response, requests.Response)
    assert request.response.text == "/yes"
    assert not hasattr(request, "exception")
    assert not hasattr(request, "traceback")


def test_after_a_failure_there_are_exception_and_traceback():
    request = grequests.get(nowhere())
    assert grequests.map([request]) == [None]
    assert request.response is None
    assert type(request.exception) is requests.ConnectionError
    assert isinstance(request.traceback, str)
    assert "Traceback (most recent call last):\n" in request.traceback
    assert request.traceback.splitlines()[-1].startswith("requests.exceptions.ConnectionError: ")


def test_a_bad_status_is_no_failure(server):
    server.on("/status/*", status)
    request = grequests.get(server.url("/status/500"))
    assert [response.status_code for response in grequests.map([request])] == [500]
    assert not hasattr(request, "exception")


def test_send_returns_the_request_itself_with_its_response(server):
    request = grequests.get(server.url("/mine"))
    assert request.send() is request
    assert request.response.text == "/mine"


def test_send_returns_the_request_itself_with_its_exception():
    request = grequests.get(nowhere())
    assert request.send() is request
    assert type(request.exception) is requests.ConnectionError


def test_send_keywords_take_precedence_over_the_requests_own(server):
    request = grequests.get(server.url("/echo"), headers={"X-Who": "own"}, params={"p": "kept"})
    request.send(headers={"X-Who": "given"})
    asked = request.response.json()
    assert asked["headers"]["x-who"] == "given"
    assert asked["target"] == "/echo?p=kept"
    assert request.kwargs == {"headers": {"X-Who": "own"}, "params": {"p": "kept"}}


def test_send_with_stream_leaves_the_body_unread(server):
    request = grequests.get(server.url("/body")).send(stream=True)
    assert request.response._content is False
    assert b"".join(request.response.iter_content(2)) == b"/body"


def test_a_subclass_may_send_in_a_way_of_its_own(server):
    class Counted(AsyncRequest):
        sent = 0

        def send(self, **kwargs):
            type(self).sent += 1
            return super().send(**kwargs)

    sent = [Counted("GET", server.url(f"/{n}")) for n in range(3)]
    assert [response.text for response in grequests.map(sent)] == ["/0", "/1", "/2"]
    assert Counted.sent == 3


def test_a_subclass_may_set_what_07s_send_set():
    class Broken(AsyncRequest):
        def send(self, **_):
            try:
                raise LookupError("mine")
            except LookupError as error:
                self.exception = error
                self.traceback = "as I tell it"
            return self

    request = Broken("GET", "http://example.org/")
    handled = grequests.map([request], exception_handler=lambda _, error: repr(error))
    assert handled == ["LookupError('mine')"]
    assert request.traceback == "as I tell it"


# --- send(r, pool=None, stream=False) ------------------------------------------------------------


def test_send_starts_a_greenlet_and_returns_it(server):
    gate = server.hold("/held")
    request = grequests.get(server.url("/held"))
    job = grequests.send(request)
    assert isinstance(job, gevent.Greenlet)
    eventually(lambda: gate.arrived)
    assert (job.ready(), request.response) == (False, None)
    gate.open()
    assert job.get() is request
    assert request.response.text == "/held"


def test_send_starts_it_in_the_pool_given(server):
    gate = server.hold("/held")
    pool = gevent.pool.Pool(2)
    jobs = [grequests.send(grequests.get(server.url("/held")), pool) for _ in range(2)]
    assert set(pool) == set(jobs)
    eventually(lambda: gate.arrived == 2)
    gate.open()
    pool.join()
    assert [job.value.response.text for job in jobs] == ["/held"] * 2


def test_send_waits_while_the_pool_is_full(server):
    pool = gevent.pool.Pool(1)
    for number in range(5):
        grequests.send(grequests.get(server.url(f"/{number}")), pool)
    pool.join()
    assert server.targets() == ["/0", "/1", "/2", "/3", "/4"]
    assert server.peak == 1


def test_send_with_stream(server):
    request = grequests.send(grequests.get(server.url("/body")), None, True).get()
    assert request.response._content is False
    assert request.response.content == b"/body"


def test_a_failure_is_in_the_request_of_the_greenlet_that_send_returns():
    job = grequests.send(grequests.get(nowhere()))
    assert type(job.get().exception) is requests.ConnectionError


# --- map(requests, stream=False, size=None, exception_handler=None, gtimeout=None) ---------------


def test_map_returns_a_list_in_the_order_of_the_requests(server):
    gates = {}
    for number in range(5):
        # Each is answered when the one after it has been answered.
        gates[number] = server.hold(f"/{number}")
    opened = []

    def open_the_one_before(response, **_):
        opened.append(int(response.text[1:]))
        if response.text != "/0":
            gates[opened[-1] - 1].open()

    server.on("/4", lambda _: answer(b"/4"))
    sent = [grequests.get(server.url(f"/{n}"), callback=open_the_one_before) for n in range(5)]
    responses = grequests.map(sent)
    assert type(responses) is list
    assert [response.text for response in responses] == ["/0", "/1", "/2", "/3", "/4"]
    assert opened == [4, 3, 2, 1, 0]
    for gate in gates.values():
        gate.close()


def test_map_takes_any_iterable(server):
    def some():
        for number in range(3):
            yield grequests.get(server.url(f"/{number}"))

    assert [each.text for each in grequests.map(some())] == ["/0", "/1", "/2"]
    assert [each.text for each in grequests.map(tuple(some()))] == ["/0", "/1", "/2"]
    assert [each.text for each in grequests.map(dict.fromkeys(some()))] == ["/0", "/1", "/2"]


def test_map_of_nothing_is_nothing():
    assert grequests.map([]) == []
    assert grequests.map(iter(()), size=3, gtimeout=1) == []


def test_map_gives_none_for_a_failure(server):
    server.on("/bad", hang_up)
    sent = [grequests.get(server.url(path)) for path in ("/a", "/bad", "/b")]
    first, failed, last = grequests.map(sent)
    assert (first.text, failed, last.text) == ("/a", None, "/b")
    assert type(sent[1].exception) is requests.ConnectionError


def test_map_gives_what_the_handler_returns_for_a_failure(server):
    server.on("/bad/*", hang_up)
    sent = [grequests.get(server.url(path)) for path in ("/bad/0", "/good", "/bad/1")]
    calls = []

    def handler(request, exception):
        calls.append((request, exception))
        return {"failed": request.url}

    first, good, last = grequests.map(sent, exception_handler=handler)
    assert first == {"failed": server.url("/bad/0")}
    assert good.text == "/good"
    assert last == {"failed": server.url("/bad/1")}
    assert calls == [(sent[0], sent[0].exception), (sent[2], sent[2].exception)]


def test_map_calls_the_handler_in_the_callers_thread_and_greenlet(server):
    server.on("/bad", hang_up)
    seen = []

    def handler(_request, _exception):
        seen.append((threading.get_ident(), gevent.getcurrent()))

    def send_some():
        # One alone takes another way than many.
        for count in (1, 3):
            bad = [grequests.get(server.url("/bad")) for _ in range(count)]
            assert grequests.map(bad, exception_handler=handler) == [None] * count
        return threading.get_ident(), gevent.getcurrent()

    assert seen == [send_some()] * 4
    seen.clear()
    assert gevent.spawn(lambda: seen == [send_some()] * 4).get()


def test_map_that_runs_out_of_gtimeout_calls_the_handler_with_none(server):
    gate = server.hold("/slow")
    sent = [grequests.get(server.url(path)) for path in ("/fast", "/slow")]
    calls = []

    def handler(request, exception):
        calls.append((request, exception))
        return "late"

    fast, late = grequests.map(sent, exception_handler=handler, gtimeout=1)
    assert (fast.text, late) == ("/fast", "late")
    assert calls == [(sent[1], None)]
    assert sent[1].response is None
    assert not hasattr(sent[1], "exception")
    assert gate.arrived == 1


@pytest.mark.parametrize("lane", ["fast", "general"])
def test_gtimeout_aborts_what_it_gave_up_on(server, lane):
    gate = server.hold("/slow")
    sent = [grequests.get(server.url("/slow")) for _ in range(3)]
    assert grequests.map(sent, gtimeout=0.5, stream=lane == "general") == [None] * 3
    eventually(lambda: gate.deserted == gate.arrived == 3, "the server to see the disconnects")


def test_gtimeout_of_a_single_request(server):
    gate = server.hold("/slow")
    assert grequests.map([grequests.get(server.url("/slow"))], gtimeout=0.1) == [None]
    eventually(lambda: gate.deserted == gate.arrived)


def test_gtimeout_counts_as_failed_what_was_not_even_started(server):
    server.hold("/slow")
    waiting = grequests.get(server.url("/next"))
    waiting.send()
    assert waiting.response.text == "/next"
    sent = [grequests.get(server.url("/slow")), waiting]
    handled = grequests.map(sent, size=1, gtimeout=0.3, exception_handler=lambda _, error: [error])
    assert handled == [[None], [None]]
    assert waiting.response is None  # and not the one of the time before
    assert server.targets() == ["/next", "/slow"]


def test_gtimeout_that_is_not_reached_changes_nothing(server):
    sent = [grequests.get(server.url(f"/{n}")) for n in range(3)]
    assert [each.text for each in grequests.map(sent, gtimeout=60)] == ["/0", "/1", "/2"]


@pytest.mark.parametrize("size", [None, 0x40])
def test_map_sends_all_at_once(server, size):
    gate = server.hold("/all", 64)
    sent = [grequests.get(server.url("/all")) for _ in range(64)]
    assert [each.text for each in grequests.map(sent, size=size)] == ["/all"] * 64
    assert (server.peak, gate.arrived) == (64, 64)


def test_map_sends_no_more_than_size_at_once(server):
    gate = server.hold("/some", 4)
    sent = [grequests.get(server.url("/some")) for _ in range(40)]
    assert [each.text for each in grequests.map(sent, size=4)] == ["/some"] * 40
    assert (server.peak, gate.arrived) == (4, 40)


def test_map_with_stream_leaves_bodies_unread(server):
    responses = grequests.map([grequests.get(server.url(f"/{n}")) for n in range(3)], stream=True)
    assert [each._content for each in responses] == [False] * 3
    assert [each.text for each in responses] == ["/0", "/1", "/2"]


def test_the_parameters_may_be_given_by_position(server):
    server.on("/bad", hang_up)
    bad = [grequests.get(server.url("/bad"))]
    assert grequests.map(bad, False, 1, lambda *_: "map", 9.0) == ["map"]
    assert list(grequests.imap(bad, False, 1, lambda *_: "imap")) == ["imap"]
    assert list(grequests.imap_enumerated(bad, False, 1, lambda *_: "e")) == [(0, "e")]


# --- imap(requests, stream=False, size=2, exception_handler=None) --------------------------------


def test_imap_is_a_generator(server):
    results = grequests.imap([grequests.get(server.url())])
    assert results is iter(results)
    assert next(results).text == "/"
    with pytest.raises(StopIteration):
        next(results)
    results.close()


def test_imap_yields_in_the_order_of_completion(server):
    gates = [server.hold(f"/{number}") for number in range(3)]
    results = grequests.imap((grequests.get(server.url(f"/{n}")) for n in range(3)), size=3)
    texts = []
    for number in (1, 2, 0):
        gates[number].open()
        texts.append(next(results).text)
    assert texts == ["/1", "/2", "/0"]
    assert list(results) == []


def test_imap_sends_two_at_once_unless_told(server):
    gate = server.hold("/x", 2)
    assert len(list(grequests.imap(grequests.get(server.url("/x")) for _ in range(9)))) == 9
    assert (server.peak, gate.arrived) == (2, 9)


def test_imap_sends_size_at_once(server):
    gate = server.hold("/x", 7)
    sent = [grequests.get(server.url("/x")) for _ in range(30)]
    assert len(list(grequests.imap(sent, size=7))) == 30
    assert (server.peak, gate.arrived) == (7, 30)


def test_imap_leaves_out_failures(server):
    server.on("/bad", hang_up)
    sent = [grequests.get(server.url(path)) for path in ("/bad", "/good", "/bad")]
    assert [response.text for response in grequests.imap(sent)] == ["/good"]


def test_imap_leaves_out_handlers_that_return_none(server):
    server.on("/bad/*", hang_up)
    sent = [grequests.get(server.url(path)) for path in ("/bad/0", "/good", "/bad/1")]
    calls = []

    def handler(request, exception):
        calls.append((request.url, type(exception), gevent.getcurrent()))
        return None if request is sent[0] else "handled"

    results = list(grequests.imap(sent, size=1, exception_handler=handler))
    assert [getattr(each, "text", each) for each in results] == ["/good", "handled"]
    assert calls == [
        (server.url(path), requests.ConnectionError, gevent.getcurrent())
        for path in ("/bad/0", "/bad/1")
    ]


def test_imap_yields_falsy_values_of_a_handler(server):
    server.on("/bad", hang_up)
    sent = [grequests.get(server.url("/bad")) for _ in range(2)]
    assert list(grequests.imap(sent, exception_handler=lambda *_: 0)) == [0, 0]


def test_imap_with_stream_leaves_bodies_unread(server):
    sent = [grequests.get(server.url("/body"))]
    [response] = grequests.imap(sent, stream=True)
    assert (response._content, response.text) == (False, "/body")


# --- imap_enumerated(requests, stream=False, size=2, exception_handler=None) ---------------------


def test_imap_enumerated_yields_index_and_response(server):
    sent = [grequests.get(server.url(f"/{number}")) for number in range(20)]
    pairs = list(grequests.imap_enumerated(sent, size=5))
    assert sorted((index, each.text) for index, each in pairs) == [
        (n, f"/{n}") for n in sorted(range(20))
    ]


def test_imap_enumerated_yields_in_the_order_of_completion(server):
    gates = [server.hold(f"/{number}") for number in range(3)]
    results = grequests.imap_enumerated(
        [grequests.get(server.url(f"/{n}")) for n in range(3)], size=3
    )
    indexes = []
    for number in (2, 0, 1):
        gates[number].open()
        indexes.append(next(results)[0])
    assert indexes == [2, 0, 1]
    assert list(results) == []


def test_imap_enumerated_includes_failures(server):
    server.on("/bad", hang_up)
    sent = [grequests.get(server.url(path)) for path in ("/bad", "/good")]
    pairs = dict(grequests.imap_enumerated(sent))
    assert pairs[0] is None
    assert pairs[1].text == "/good"


def test_imap_enumerated_includes_what_handlers_return_be_it_none(server):
    server.on("/bad", hang_up)
    sent = [grequests.get(server.url("/bad")) for _ in range(3)]

    def handler(request, _exception):
        return sent.index(request) or None

    pairs = list(grequests.imap_enumerated(sent, size=1, exception_handler=handler))
    assert pairs == [(0, None), (1, 1), (2, 2)]


def test_imap_enumerated_sends_two_at_once_unless_told(server):
    gate = server.hold("/x", 2)
    sent = [grequests.get(server.url("/x")) for _ in range(8)]
    assert len(list(grequests.imap_enumerated(sent))) == 8
    assert (server.peak, gate.arrived) == (2, 8)


# --- no session= ---------------------------------------------------------------------------------

LANES = pytest.mark.parametrize("stream", [False, True], ids=["fast", "general"])


@LANES
def test_without_session_cookies_never_reach_another_request(server, stream):
    server.on("/set", lambda _: answer(b"", "200 OK", "Set-Cookie: a=1; Path=/"))
    setting = grequests.get(server.url("/set"), cookies={"own": "2"})
    [first] = grequests.map([setting], stream=stream)
    assert first.cookies.get_dict() == {"a": "1"}
    [second] = grequests.map([grequests.get(server.url("/echo"))], stream=stream)
    assert "cookie" not in second.json()["headers"]
    [third] = grequests.map([setting], stream=stream)
    assert third.request.headers["Cookie"] == "own=2"


@LANES
def test_without_session_headers_and_auth_never_reach_another_request(server, stream):
    mine = {"headers": {"X-Secret": "1"}, "auth": ("user", "pass")}
    sent = [grequests.get(server.url("/echo"), **kwargs) for kwargs in (mine, {}, mine, {})]
    asked = [each.json()["headers"] for each in grequests.map(sent, size=1, stream=stream)]
    assert [("x-secret" in each, "authorization" in each) for each in asked] == [
        (True, True),
        (False, False),
    ] * 2


def test_without_session_cookies_count_along_a_redirect(server):
    server.on("/go", lambda _: answer(b"", "302 Found", "Location: /echo", "Set-Cookie: a=1"))
    followed, after = grequests.map(
        [grequests.get(server.url(path)) for path in ("/go", "/echo")], size=1
    )
    assert followed.json()["headers"]["cookie"] == "a=1"
    assert "cookie" not in after.json()["headers"]


@LANES
def test_without_session_connections_may_be_shared(server, stream):
    for _ in range(4):
        [response] = grequests.map([grequests.get(server.url())], stream=stream)
        assert response.text == "/"
    assert {each.connection for each in server.requests} == {1}


# --- session=s -----------------------------------------------------------------------------------


@pytest.fixture
def session() -> Iterator[requests.Session]:
    with requests.Session() as one:
        yield one


def ask(server: Server, session: requests.Session, **kwargs: object) -> dict:
    """What the server sees of a request with the session."""
    [response] = grequests.map([grequests.get(server.url("/echo"), session=session, **kwargs)])
    return response.json()


def test_the_sessions_headers_count(server, session):
    session.headers.update({"X-Mine": "session", "X-Other": "session", "Accept": None})
    headers = ask(server, session, headers={"X-Other": "request"})["headers"]
    assert (headers["x-mine"], headers["x-other"]) == ("session", "request")
    assert "accept" not in headers


def test_the_sessions_cookies_count(server, session):
    session.cookies.set("a", "1")
    assert ask(server, session)["headers"]["cookie"] == "a=1"
    assert ask(server, session, cookies={"b": "2"})["headers"]["cookie"] == "a=1; b=2"
    assert session.cookies.get_dict() == {"a": "1"}


def test_the_sessions_jar_is_updated(server, session):
    server.on("/set/*", lambda request: answer(b"", "200 OK", f"Set-Cookie: {request.path[5:]}=1"))
    grequests.map([grequests.get(server.url(f"/set/c{n}"), session=session) for n in range(5)])
    assert session.cookies.get_dict() == {f"c{n}": "1" for n in range(5)}


def test_the_sessions_jar_is_updated_along_a_redirect(server, session):
    server.on("/go", lambda _: answer(b"", "302 Found", "Location: /echo", "Set-Cookie: a=1"))
    [response] = grequests.map([grequests.get(server.url("/go"), session=session)])
    assert response.json()["headers"]["cookie"] == "a=1"
    assert session.cookies.get_dict() == {"a": "1"}


def test_the_sessions_auth_counts(server, session):
    session.auth = ("user", "pass")
    expected = requests.auth._basic_auth_str("user", "pass")
    assert ask(server, session)["headers"]["authorization"] == expected


def test_the_sessions_own_kind_of_auth_counts(server, session):
    class Signed(AuthBase):
        def __call__(self, prepared):
            prepared.headers["X-Signed"] = prepared.path_url
            return prepared

    session.auth = Signed()
    assert ask(server, session)["headers"]["x-signed"] == "/echo"


def test_the_sessions_params_count(server, session):
    session.params = {"a": "1"}
    assert ask(server, session, params={"b": "2"})["target"] == "/echo?a=1&b=2"


def test_the_sessions_proxies_count(server, session):
    session.proxies = {"http": server.url()}
    url = "http://far.example/echo"
    [response] = grequests.map([grequests.get(url, session=session)])
    assert response.json()["target"] == url
    assert response.json()["headers"]["host"] == "far.example"


def test_the_sessions_verify_counts(https_server, session, ca_file):
    request = grequests.get(https_server.url(), session=session)
    assert grequests.map([request]) == [None]
    assert type(request.exception) is requests.exceptions.SSLError
    session.verify = ca_file
    assert [each.text for each in grequests.map([request])] == ["/"]


def test_the_sessions_cert_counts(authority, session, ca_file, tmp_path):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    visitors = trustme.CA()
    visitors.configure_trust(context)
    context.verify_mode = ssl.CERT_REQUIRED
    mine = tmp_path / "mine.pem"
    visitors.issue_cert("visitor@example.org").private_key_and_cert_chain_pem.write_to_path(
        str(mine)
    )
    session.verify = ca_file
    with Server(context) as server:
        request = grequests.get(server.url(), session=session)
        assert grequests.map([request]) == [None]
        session.cert = str(mine)
        assert [each.text for each in grequests.map([request])] == ["/"]


def test_the_sessions_hooks_count(server, session):
    seen = []
    session.hooks["response"].append(lambda response, **_: seen.append(response.text))
    request = grequests.get(
        server.url("/a"), session=session, callback=lambda r, **_: seen.append(r.status_code)
    )
    grequests.map([request])
    # A request's hooks replace those of its session, in Requests too.
    assert seen == [200]
    grequests.map([grequests.get(server.url("/b"), session=session)])
    assert seen == [200, "/b"]


def test_the_sessions_adapters_count(session):
    class Canned(BaseAdapter):
        def send(self, request, **_):
            response = requests.Response()
            response.status_code = 299
            response.url = request.url
            response.request = request
            return response

        def close(self):
            pass

    session.mount("canned://", Canned())
    request = grequests.get("canned://anything", session=session)
    assert [each.status_code for each in grequests.map([request])] == [299]


def test_the_sessions_adapter_subclass_counts(server, session):
    class Stamping(HTTPAdapter):
        def add_headers(self, request, **kwargs):
            request.headers["X-Stamp"] = "here"

    session.mount("http://", Stamping())
    assert ask(server, session)["headers"]["x-stamp"] == "here"


def test_the_sessions_retries_count(server, session):
    left = [2]

    def flaky(_):
        left[0] -= 1
        return answer(b"at last") if left[0] < 0 else None

    server.on("/flaky", flaky)
    session.mount("http://", HTTPAdapter(max_retries=2))
    [response] = grequests.map([grequests.get(server.url("/flaky"), session=session)])
    assert response.text == "at last"
    assert server.count == 3


def test_a_subclass_of_session_behaves_as_it_says(server):
    class Rooted(requests.Session):
        def request(self, method, url, **kwargs):
            return super().request(method, server.url(url), **kwargs)

    with Rooted() as session:
        sent = [grequests.get(path, session=session) for path in ("/a", "/b")]
        assert [each.text for each in grequests.map(sent)] == ["/a", "/b"]


def test_a_session_may_be_given_later(server, session):
    session.headers["X-Mine"] = "later"
    request = grequests.get(server.url("/echo"))
    request.session = session
    assert request.send().response.json()["headers"]["x-mine"] == "later"


def test_a_session_remains_its_owners(server, session):
    session.headers["X-Mine"] = "1"
    before = {name: repr(value) for name, value in vars(session).items()}
    grequests.map([grequests.get(server.url(), session=session) for _ in range(5)])
    assert {name: repr(value) for name, value in vars(session).items()} == before
    assert session.get(server.url("/mine")).text == "/mine"


# --- resp.raw._pool.close(), resp.raw._pool.pool.queue[-1].sock.fileno() -------------------------


def test_raw_pool_close_closes_the_connections(server):
    responses = grequests.map([grequests.get(server.url()) for _ in range(3)])
    assert server.closed == 0
    for response in responses:
        response.raw._pool.close()
    eventually(lambda: server.closed == server.opened, "the server to see them closed")
    [response] = grequests.map([grequests.get(server.url("/again"))])
    assert response.text == "/again"


def test_raw_pool_queue_shows_descriptors(server):
    [response] = grequests.map([grequests.get(server.url())])
    fileno = response.raw._pool.pool.queue[-1].sock.fileno()
    assert isinstance(fileno, int)
    assert fileno > 2


def test_raw_pool_queue_can_be_closed_one_by_one(server):
    gate = server.hold("/", 3)
    responses = grequests.map([grequests.get(server.url()) for _ in range(3)])
    assert gate.arrived == 3
    for conn in responses[0].raw._pool.pool.queue:
        conn and conn.close()
    eventually(lambda: server.closed == 3)
    assert current_engine().statistics().open == 0


def test_connections_may_be_closed_in_a_callback(server):
    def close(response, **_):
        response.raw._pool.close()

    sent = [grequests.get(server.url(f"/{n}"), callback=close) for n in range(5)]
    assert [each.text for each in grequests.map(sent, size=1)] == [f"/{n}" for n in range(5)]
    eventually(lambda: server.closed == server.opened == 5)


def test_raw_pool_of_a_streamed_response(server):
    [response] = grequests.map([grequests.get(server.url())], stream=True)
    assert response.text == "/"
    assert response.raw._pool.pool.queue[-1].sock.fileno() > 2
    for conn in response.raw._pool.pool.queue:
        conn and conn.close()
    eventually(lambda: server.closed == 1)


def test_raw_pool_of_a_session(server, session):
    [response] = grequests.map([grequests.get(server.url(), session=session)])
    assert response.raw._pool.pool.queue[-1].sock.fileno() > 2
    response.raw._pool.close()
    eventually(lambda: server.closed == 1)


# --- the examples of the README ------------------------------------------------------------------


@pytest.fixture
def internet(
    server: Server, https_server: Server, ca_file: str, monkeypatch: pytest.MonkeyPatch
) -> Server:
    """Every name but `fakedomain` is here, its port 80 and its port 443."""
    ports = {80: server.ports[0], 443: https_server.ports[0]}

    def lookup(host, _port, _family, kind):
        if host == "fakedomain":
            raise gevent.socket.gaierror(-2, "Name or service not known")
        family = gevent.socket.AF_INET
        return [(family, kind, 6, "", ("127.0.0.1", 0))]

    def at(self, port):
        return (self.sockaddr[0], ports.get(port, port))

    monkeypatch.setattr(current_engine(), "resolver", _resolve.Resolver(lookup))
    monkeypatch.setattr(_resolve.Address, "at", at)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", ca_file)
    for each in (server, https_server):
        each.on("/status/*", status)
    server.hold("/delay/1")
    return server


@pytest.fixture
def https_server(authority: trustme.CA) -> Iterator[Server]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1", "httpbin.org").configure_cert(context)
    with Server(context) as one:
        yield one


@pytest.mark.usefixtures("internet")
def test_readme_usage():
    urls = [
        "http://www.heroku.com",
        "http://python-tablib.org",
        "http://httpbin.org",
        "http://python-requests.org",
        "http://fakedomain/",
        "http://kennethreitz.com",
    ]
    rs = (grequests.get(u) for u in urls)
    assert repr(grequests.map(rs)) == (
        "[<Response [200]>, <Response [200]>, <Response [200]>, <Response [200]>, None, "
        "<Response [200]>]"
    )


@pytest.mark.usefixtures("internet")
def test_readme_exception_handler(capsys):
    def exception_handler(request, exception):
        print("Request failed")

    reqs = [
        grequests.get("http://httpbin.org/delay/1", timeout=0.001),
        grequests.get("http://fakedomain/"),
        grequests.get("http://httpbin.org/status/500"),
    ]
    result = grequests.map(reqs, exception_handler=exception_handler)
    assert repr(result) == "[None, None, <Response [500]>]"
    assert capsys.readouterr().out == "Request failed\nRequest failed\n"
    assert isinstance(reqs[0].exception, requests.Timeout)
    assert isinstance(reqs[1].exception, requests.ConnectionError)


@pytest.mark.usefixtures("internet")
def test_readme_imap(capsys):
    reqs = [
        grequests.get("http://httpbin.org/delay/1", timeout=0.001),
        grequests.get("http://fakedomain/"),
        grequests.get("http://httpbin.org/status/500"),
    ]
    for resp in grequests.imap(reqs, size=10):
        print(resp)
    assert capsys.readouterr().out == "<Response [500]>\n"


@pytest.mark.usefixtures("internet")
def test_readme_imap_enumerated(capsys):
    rs = [grequests.get(f"https://httpbin.org/status/{code}") for code in range(200, 206)]
    for index, response in grequests.imap_enumerated(rs, size=5):
        print(index, response)
    assert sorted(capsys.readouterr().out.splitlines()) == [
        "0 <Response [200]>",
        "1 <Response [201]>",
        "2 <Response [202]>",
        "3 <Response [203]>",
        "4 <Response [204]>",
        "5 <Response [205]>",
    ]
