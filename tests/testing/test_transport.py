"""`FakeTransport`: rules, what it tells, faults, time, threads, and where the network begins again."""

from __future__ import annotations

import contextlib
import pickle
import re
import socket
import threading
import time
import warnings

import gevent
import pytest
import requests
import requests_mock
import responses
from gevent.event import Event
from requests import exceptions
from requests.adapters import HTTPAdapter
from urllib3 import Retry
from urllib3.exceptions import InsecureRequestWarning

import grequests
from grequests import testing
from grequests._engine import Engine, current_engine
from grequests._call import Call
from grequests._exceptions import BodyTooLargeError, HeadersTooLargeError, PolicyError
from grequests.testing import (
    Answer,
    FakeClock,
    FakeTransport,
    Fault,
    Load,
    Rule,
    UnexpectedRequestError,
)
from servers import answer as whole_answer, eventually
from testing.worlds import lane, send

DIALLING = [Fault.REFUSED, Fault.DNS, Fault.CONNECT_TIMEOUT, Fault.TLS]


@pytest.fixture(params=["fast", "general"])
def _lane(request, no_leaks):
    with lane(request.param):
        yield request.param


@pytest.fixture
def clock():
    with FakeClock(autojump=True) as one:
        yield one


@pytest.fixture
def fake(_lane, clock):
    with FakeTransport(clock) as one:
        yield one
    assert one.in_flight == 0


def get(url, **keywords):
    return send(grequests.get(url, **keywords))


def failure(request):
    request.send()
    assert request.response is None
    return request.exception


# --- rules: which --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rule", "url"),
    [
        ("http://a.test/x", "http://a.test/x"),
        ("http://a.test/x", "http://a.test/x?page=2"),
        ("http://a.test", "http://a.test/"),
        ("http://a.test:80/x", "http://A.test:80/x"),
        ("http://a.test/x?a=1", "http://a.test/x?a=1"),
        ("http://a.test/é", "http://a.test/%C3%A9"),
        ("http://a.test/x#part", "http://a.test/x#other"),
        ("http://a.test/*", "http://a.test/any/thing?x"),
        ("*", "https://anywhere.test/"),
        (re.compile(r"/users/\d+$"), "http://a.test/users/17"),
        (lambda request: request.url.endswith("7"), "http://a.test/users/17"),
        (lambda request: request.headers["Accept"] == "*/*", "http://a.test/"),
    ],
)
def test_a_rule_is_for(fake, rule, url):
    fake.add(rule, body=b"found")

    assert get(url).text == "found"


@pytest.mark.parametrize(
    ("rule", "url"),
    [
        ("http://a.test/x", "http://a.test/xy"),
        ("http://a.test/x", "http://a.test/x/"),
        ("http://a.test/x", "https://a.test/x"),
        ("http://a.test/x", "http://a.test:8080/x"),
        ("http://a.test/x?a=1", "http://a.test/x"),
        ("http://a.test/x?a=1", "http://a.test/x?a=1&b=2"),
        ("http://a.test/*", "http://b.test/"),
        (re.compile(r"/users/\d+$"), "http://a.test/users/me"),
        (lambda request: False, "http://a.test/"),
    ],
)
def test_a_rule_is_not_for(fake, rule, url):
    fake.add(rule, body=b"found")

    assert type(failure(grequests.get(url))) is UnexpectedRequestError


def test_a_rule_for_a_method(fake):
    fake.add("http://a.test/", "post", status=201)
    fake.add("http://a.test/", "GET", status=202)

    assert send(grequests.post("http://a.test/")).status_code == 201
    assert get("http://a.test/").status_code == 202
    assert isinstance(failure(grequests.put("http://a.test/")), UnexpectedRequestError)


def test_a_function_looks_at_the_body(fake):
    fake.add(lambda request: request.json()["n"] > 1, "POST", body=b"many")
    fake.add("http://a.test/", body=b"one")

    texts = [send(grequests.post("http://a.test/", json={"n": n})).text for n in (1, 2)]

    assert texts == ["one", "many"]


def test_the_first_rule_that_is_not_used_up_answers(fake):
    busy = fake.add("http://a.test/", status=503, headers={"Retry-After": "2"}, times=2)
    fake.add("http://a.test/*", status=200)
    never = fake.add("http://a.test/", status=500)

    assert [get("http://a.test/").status_code for _ in range(4)] == [503, 503, 200, 200]
    assert (busy.used, busy.is_used_up, never.used) == (2, True, 0)
    assert [each.url for each in busy.requests] == ["http://a.test/"] * 2
    assert repr(busy) == "<Rule any method http://a.test/, used 2 times>"


def test_rules_can_be_added_while_it_is_active(fake):
    assert isinstance(failure(grequests.get("http://a.test/")), UnexpectedRequestError)
    fake.add("http://a.test/")
    assert get("http://a.test/").ok
    assert [rule.used for rule in fake.rules] == [1]


# --- what nobody expected ------------------------------------------------------------------------


def test_an_unexpected_request_fails_and_says_what_was_expected(fake):
    fake.add("http://a.test/users", "GET")
    fake.add(re.compile("page"), times=1)
    get("http://a.test/page")
    told = []

    requested = [grequests.get("http://a.test/page"), grequests.get("http://a.test/users")]
    responses = grequests.map(requested, exception_handler=lambda *failed: told.append(failed))

    assert [response and response.status_code for response in responses] == [None, 200]
    [(request, error)] = told
    assert request is requested[0]
    assert type(error) is UnexpectedRequestError
    assert (error.method, error.url) == ("GET", "http://a.test/page")
    assert str(error) == (
        "GET http://a.test/page was not expected: "
        "the rules are for GET http://a.test/users, any method page (used up)"
    )


def test_an_unexpected_request_is_no_error_of_requests_and_not_retried(fake):
    with requests.Session() as session:
        session.mount("http://", HTTPAdapter(max_retries=3))
        error = failure(grequests.get("http://a.test/", session=session))

    assert isinstance(error, (grequests.GRequestsError, AssertionError))
    assert not isinstance(error, (exceptions.RequestException, OSError))
    assert str(error).endswith("the FakeTransport has no rules")
    assert len(fake.requests) == 1


def test_long_scripts_are_told_in_part(fake):
    for number in range(50):
        fake.add(f"http://a.test/{number}")

    assert str(failure(grequests.get("http://b.test/"))).endswith("any method http://a.test/9, ...")


def test_its_error_can_be_pickled():
    error = pickle.loads(pickle.dumps(UnexpectedRequestError("GET", "http://a.test/", "because")))

    assert (error.method, error.url) == ("GET", "http://a.test/")
    assert str(error) == "GET http://a.test/ was not expected: because"


def test_check_wants_all_rules_used_that_are_required(fake):
    fake.add("http://a.test/used")
    fake.add("http://a.test/maybe", required=False)
    get("http://a.test/used")
    fake.check()
    fake.add("http://a.test/never", "PUT")

    with pytest.raises(AssertionError, match="^never asked for: PUT http://a.test/never$"):
        fake.check()


def test_check_tells_of_unexpected_requests_that_somebody_has_swallowed(fake):
    grequests.map([grequests.get("http://a.test/")])

    with pytest.raises(UnexpectedRequestError, match="GET http://a.test/ was not expected"):
        fake.check()


# --- answers -------------------------------------------------------------------------------------


def test_a_function_answers(fake):
    fake.add(
        "http://a.test/*",
        answer=lambda request: Answer(
            201, json={"method": request.method, "body": request.body.decode(), "to": request.host}
        ),
    )

    found = send(grequests.post("http://a.test/x", data="é".encode())).json()

    assert found == {"method": "POST", "body": "é", "to": "http://a.test"}


def test_an_answer_can_be_shared(fake):
    gone = Answer(410, "gone")
    fake.add("http://a.test/", answer=gone)
    fake.add("http://b.test/", answer=gone)

    assert [get(f"http://{name}.test/").text for name in "ab"] == ["gone", "gone"]


def test_a_function_that_answers_may_wait(fake, _lane):
    gate = Event()

    def hold(_request):
        gate.wait()
        return Answer()

    fake.add("http://a.test/", answer=hold)
    seen = []

    def look():
        while fake.in_flight < 3:
            gevent.sleep(0)
        seen.append(fake.in_flight)
        gate.set()

    gevent.spawn(look)
    assert [r.status_code for r in grequests.imap(many("http://a.test/", 3), size=3)] == [200] * 3
    assert seen == [3]


def many(url, count):
    return [grequests.get(url) for _ in range(count)]


@pytest.mark.parametrize("what", ["answer", "url"])
def test_what_a_function_raises_is_the_requests_failure(fake, what):
    def fail(_request):
        raise KeyError("mine")

    if what == "answer":
        fake.add("http://a.test/", answer=fail)
    else:
        fake.add(fail)
    fake.add("http://b.test/", required=False)

    assert repr(failure(grequests.get("http://a.test/"))) == "KeyError('mine')"


@pytest.mark.parametrize("made", [None, b"bytes", 200])
def test_a_function_has_to_answer(fake, made):
    fake.add("http://a.test/", answer=lambda _: made)

    error = failure(grequests.get("http://a.test/"))

    assert isinstance(error, PolicyError)
    assert str(error) == f"answer must be an Answer or a Fault, not {made!r}"


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"status": 100}, "status must be an integer from 200 to 999, not 100"),
        ({"status": True}, "status must be"),
        ({"latency": -1}, "latency must be a number of seconds, at least 0, not -1"),
        ({"latency": float("inf")}, "latency must be"),
        ({"body": b"x", "json": {}}, "json must be None where there is a body"),
        ({"body": [b"x", "y"]}, "body must be a number of seconds"),
        ({"body": [b"x", -1]}, "body must be a number of seconds"),
        ({"error": OSError()}, "error must be a Fault"),
        ({"times": 0}, "times must be an integer of at least 1, or None, not 0"),
        ({"answer": Answer(), "status": 404}, "answer must be None where there are fields of one"),
        ({"answer": 404}, "answer must be an Answer or a function that makes one, not 404"),
    ],
)
def test_nonsense_is_refused_when_it_is_added(fields, told):
    with pytest.raises(PolicyError, match=re.escape(told)):
        FakeTransport().add("http://a.test/", **fields)


@pytest.mark.parametrize("url", ["a.test", "http://", "http://*.test/", b"http://a.test/", None])
def test_rules_are_for_urls(url):
    with pytest.raises(PolicyError, match="^url must be"):
        FakeTransport().add(url)


def test_answers_are_values():
    assert Answer(200, "x", headers={"A": "b"}) == Answer(200, "x", headers=[("A", "b")])
    with pytest.raises(AttributeError):
        Answer().status = 404


# --- what it tells -------------------------------------------------------------------------------


def test_it_notes_what_was_sent(fake, clock):
    fake.add("http://a.test/first", latency=2.5)
    fake.add("https://b.test:8443/*", latency=1)
    get("http://a.test/first", params={"q": "1"}, headers={"X-Mine": "yes"})
    send(grequests.post("https://b.test:8443/", json=[1]))

    first, second = fake.requests
    assert (first.method, first.url, first.body) == ("GET", "http://a.test/first?q=1", b"")
    assert (first.at, first.host, first.proxy) == (0.0, "http://a.test", None)
    assert (first.headers["x-mine"], first.headers["Host"]) == ("yes", "a.test")
    assert (second.at, second.host, second.json()) == (2.5, "https://b.test:8443", [1])
    assert clock.now() == 3.5
    assert repr(first) == (
        "SentRequest(method='GET', url='http://a.test/first?q=1', at=0.0, proxy=None)"
    )


def test_it_counts_what_is_under_way(fake):
    fake.add("http://a.test/", latency=1)
    fake.add("http://b.test/", latency=3)
    requested = [grequests.get(f"http://{name}.test/") for name in "aabaab"]
    seen = [(fake.in_flight, fake.hosts.get("http://b.test"))]

    for _ in grequests.imap(requested, size=4):
        seen.append((fake.in_flight, fake.hosts["http://b.test"].in_flight))

    assert (fake.in_flight, fake.most_in_flight) == (0, 4)
    assert fake.hosts["http://a.test"].sent == 4
    assert fake.hosts["http://b.test"] == Load(sent=2, in_flight=0, most_in_flight=2)
    assert seen[0] == (0, None)
    with pytest.raises(TypeError):
        fake.hosts["http://c.test"] = Load()


def test_a_stream_is_under_way_until_it_has_been_read(fake):
    fake.add("http://a.test/", body=[b"one", 1, b"two"])

    response = get("http://a.test/", stream=True)
    assert fake.in_flight == 1
    assert response.content == b"onetwo"
    assert fake.in_flight == 0

    get("http://a.test/", stream=True).close()
    assert fake.in_flight == 0


def test_it_shows_its_state(clock):
    fake = FakeTransport(clock)
    fake.add("http://a.test/")
    assert repr(fake) == "<FakeTransport inactive, 1 rules, 0 sent, 0 in flight>"
    with fake:
        get("http://a.test/")
        assert repr(fake) == "<FakeTransport active, 1 rules, 1 sent, 0 in flight>"
        assert repr(current_engine()) == "<Engine open=0 idle=0 waiting=0>"


def test_public_classes_print_as_they_are_imported():
    for name in testing.__all__:
        assert getattr(testing, name).__module__ == "grequests.testing", name
    assert repr(Rule) == "<class 'grequests.testing.Rule'>"


# --- time ----------------------------------------------------------------------------------------


def test_answers_come_in_the_order_of_their_latencies(fake, clock):
    for number, latency in enumerate([3, 1, 2, 0]):
        fake.add(f"http://a.test/{number}", body=str(number), latency=latency)
    requested = [grequests.get(f"http://a.test/{number}") for number in range(4)]

    seen = [(response.text, clock.now()) for response in grequests.imap(requested, size=4)]

    assert seen == [("3", 0.0), ("1", 1.0), ("2", 2.0), ("0", 3.0)]


def test_answers_without_latency_come_in_the_order_of_the_requests(_lane):
    with FakeTransport() as fake:
        fake.add("*", answer=Answer(200, "x"))
        requested = [grequests.get(f"http://a.test/{n}") for n in range(200)]
        seen = [response.url[14:] for response in grequests.imap(requested, size=50)]

    assert seen == [str(n) for n in range(200)]


def test_elapsed_is_by_its_clock_in_the_fast_lane(clock):
    with FakeTransport(clock) as fake:
        fake.add("http://a.test/", latency=90)

        assert get("http://a.test/").elapsed.total_seconds() == pytest.approx(90, abs=0.5)


@pytest.mark.parametrize("stream", [False, True])
def test_a_body_that_drips(fake, clock, stream):
    fake.add("http://a.test/", body=[b"a", 0.9, b"b", 0.9, b"c"], latency=0.9)

    assert get("http://a.test/", timeout=1, stream=stream).content == b"abc"
    assert clock.now() == pytest.approx(2.7)


@pytest.mark.parametrize("stream", [False, True])
def test_a_body_that_pauses_for_too_long(fake, clock, stream):
    fake.add("http://a.test/", body=[b"a", 0.9, b"b", 1.1, b"c"])

    with pytest.raises(exceptions.ConnectionError, match="Read timed out"):
        _ = get("http://a.test/", timeout=1, stream=stream).content
    assert clock.now() == pytest.approx(1.9)


def test_a_stream_that_is_read_late_finds_what_has_come_meanwhile(fake, clock):
    fake.add("http://a.test/", body=[b"a", 1, b"b", 1, b"c"])

    response = get("http://a.test/", stream=True, timeout=1.5)
    clock.advance(10)

    assert (response.content, clock.now()) == (b"abc", 10.0)


def test_chunks_end_when_the_last_of_them_has_come(fake, clock):
    headers = {"Transfer-Encoding": "chunked"}
    fake.add("http://a.test/", body=[b"a", 5], headers=headers)

    assert get("http://a.test/").content == b"a"
    assert clock.now() == 5.0


@pytest.mark.parametrize(("timeout", "seconds"), [((2, 9), 2.0), (7, 7.0), (None, 127.0)])
def test_connecting_ends_by_its_timeout_or_the_systems(fake, clock, timeout, seconds):
    fake.add("http://a.test/", error=Fault.CONNECT_TIMEOUT)

    error = failure(grequests.get("http://a.test/", timeout=timeout))

    assert type(error) is exceptions.ConnectTimeout
    assert clock.now() == seconds


def test_silence_without_a_timeout_is_for_ever(fake):
    fake.add("http://a.test/", error=Fault.READ_TIMEOUT)

    with pytest.raises(gevent.exceptions.LoopExit):
        grequests.map(many("http://a.test/", 2))
    eventually(lambda: fake.in_flight == 0)


def test_faults_have_latencies(fake, clock):
    fake.add("http://a.test/", error=Fault.REFUSED, latency=2)
    fake.add("http://b.test/", error=Fault.RESET, latency=3)

    for name in "ab":
        assert type(failure(grequests.get(f"http://{name}.test/"))) is exceptions.ConnectionError
    assert clock.now() == 5.0


def test_it_works_in_real_time(_lane):
    with FakeTransport() as fake:
        fake.add("http://a.test/", latency=0.05)
        began = time.monotonic()
        grequests.map(many("http://a.test/", 20))

    assert 0.05 <= time.monotonic() - began < 1


def test_a_clock_that_is_moved_by_hand(_lane):
    with FakeClock() as clock, FakeTransport(clock) as fake:
        fake.add("http://a.test/at-once")
        fake.add("http://a.test/late", latency=10)
        assert get("http://a.test/at-once").ok
        job = grequests.send(grequests.get("http://a.test/late"))
        clock.advance(9)
        assert (job.ready(), fake.in_flight) == (False, 1)
        clock.advance(1)
        assert (job.ready(), fake.in_flight) == (True, 0)


# --- faults --------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", DIALLING)
@pytest.mark.parametrize("by", ["url", "function"])
def test_of_a_request_that_was_never_sent_its_address_is_known(fake, fault, by):
    if by == "url":
        fake.add("http://a.test/", error=fault)
    else:
        fake.add("http://a.test/", answer=lambda _: fault)

    failure(grequests.post("http://a.test/", data=b"body", timeout=1))

    [request] = fake.requests
    assert (request.method, request.url) == ("POST", "http://a.test/")
    assert request.body == (b"" if by == "url" else b"body")


@pytest.mark.parametrize("fault", DIALLING)
def test_nothing_of_a_body_is_read_for_a_server_that_is_not_reached(fake, fault):
    fake.add("http://a.test/", error=fault)
    read = []

    def body():
        read.append(1)
        yield b"body"

    failure(grequests.post("http://a.test/", data=body(), timeout=1))

    assert read == []


def test_an_upload_is_made_again_after_a_refusal(fake):
    fake.add("http://a.test/", error=Fault.REFUSED, times=2)
    fake.add("http://a.test/", status=201)

    with requests.Session() as session:
        session.mount("http://", HTTPAdapter(max_retries=Retry(3, backoff_factor=0)))
        request = grequests.put("http://a.test/", data=iter([b"a", b"b"]), session=session)
        assert send(request).status_code == 201

    assert [each.body for each in fake.requests] == [b"", b"", b"ab"]


def test_a_generator_arrives_without_its_chunks(fake):
    fake.add("http://a.test/")

    send(grequests.post("http://a.test/", data=iter([b"one", b"", b"two" * 10_000])))

    assert fake.requests[0].body == b"one" + b"two" * 10_000
    assert fake.requests[0].headers["Transfer-Encoding"] == "chunked"


def test_what_a_generator_raises_is_the_requests_failure(fake):
    def body():
        yield b"one"
        raise KeyError("mine")

    fake.add("http://a.test/", required=False)

    assert repr(failure(grequests.post("http://a.test/", data=body()))) == "KeyError('mine')"
    assert (fake.requests, fake.in_flight) == ([], 0)


def test_faults_through_a_function(fake):
    faults = iter(Fault)
    fake.add("http://a.test/", answer=lambda _: next(faults))

    names = [
        type(failure(grequests.get("http://a.test/", timeout=1))).__name__
        for _ in range(len(Fault))
    ]

    assert names == [
        *("ConnectionError", "ConnectionError", "ConnectTimeout", "SSLError", "ReadTimeout"),
        *("ConnectionError", "ConnectionError", "ConnectionError"),
        *("ChunkedEncodingError", "ChunkedEncodingError"),
    ]


def test_a_fault_in_a_chunked_body(fake):
    headers = {"Transfer-Encoding": "chunked"}
    fake.add("http://a.test/", body=b"x" * 100, headers=headers, error=Fault.TRUNCATED)

    assert type(failure(grequests.get("http://a.test/"))) is exceptions.ChunkedEncodingError


def test_a_length_that_is_a_lie(fake):
    fake.add("http://a.test/", body=b"three", headers={"Content-Length": "30"})

    error = failure(grequests.get("http://a.test/"))

    assert type(error) is exceptions.ChunkedEncodingError
    assert "5 bytes read, 25 more expected" in str(error)


@pytest.mark.parametrize(
    ("headers", "seconds"), [({}, 0.0), ({"Transfer-Encoding": "chunked"}, 1.0)]
)
def test_a_body_that_is_too_large_is_not_waited_for(monkeypatch, clock, headers, seconds):
    monkeypatch.setattr(Call, "max_body", 1000)
    with FakeTransport(clock) as fake:
        fake.add("http://a.test/", body=[b"x" * 600, 1, b"x" * 600, 60, b"x"], headers=headers)
        error = failure(grequests.get("http://a.test/"))

    assert isinstance(error, BodyTooLargeError)
    assert (clock.now(), fake.in_flight) == (seconds, 0)


def test_a_head_is_looked_at_before_its_body(monkeypatch, clock):
    monkeypatch.setattr(Call, "max_head", 100)
    with FakeTransport(clock) as fake:
        fake.add("http://a.test/", body=[60, b"x"], headers={"X": "y" * 100})
        error = failure(grequests.get("http://a.test/"))

    assert isinstance(error, HeadersTooLargeError)
    assert (clock.now(), fake.in_flight) == (0.0, 0)


# --- proxies and https ---------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_through_a_proxy(fake, scheme):
    fake.add(f"{scheme}://a.test/x", body=b"ok")
    proxies = {scheme: "http://user:secret@proxy.test:3128"}

    assert get(f"{scheme}://a.test/x?q", proxies=proxies).text == "ok"

    [request] = fake.requests
    assert (request.url, request.proxy) == (f"{scheme}://a.test/x?q", "http://proxy.test:3128")
    assert request.headers["Host"] == "a.test"
    assert list(fake.hosts) == [f"{scheme}://a.test"]


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("fault", [Fault.REFUSED, Fault.DNS, Fault.CONNECT_TIMEOUT])
@pytest.mark.parametrize("by", ["url", "function"])
def test_a_proxy_that_is_not_reached(fake, scheme, fault, by):
    if by == "url":
        fake.add("*", error=fault)
    else:
        fake.add(lambda request: request.proxy == "http://proxy.test:3128", error=fault)
    proxies = {scheme: "http://proxy.test:3128"}

    error = failure(grequests.get(f"{scheme}://a.test/", proxies=proxies, timeout=1))

    assert type(error) is exceptions.ProxyError
    assert fake.requests[0].proxy == "http://proxy.test:3128"


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_behind_a_proxy_a_server_is_not_to_be_trusted(fake, scheme):
    fake.add("*", error=Fault.TLS)
    proxies = {scheme: "http://proxy.test:3128"}

    error = failure(grequests.get(f"{scheme}://a.test/", proxies=proxies))

    assert type(error) is exceptions.SSLError


@pytest.mark.parametrize(
    ("verify", "expected"), [(False, [InsecureRequestWarning]), (True, []), (None, [])]
)
def test_who_does_not_look_at_certificates_is_warned(fake, verify, expected):
    fake.add("https://a.test/", body=b"ok")

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert get("https://a.test/", verify=verify).text == "ok"

    assert [each.category for each in caught] == expected


def test_a_warning_that_is_an_error(fake):
    fake.add("https://a.test/", required=False)

    error = failure(grequests.get("https://a.test/", verify=False))

    assert isinstance(error, InsecureRequestWarning)
    assert (fake.requests, fake.in_flight) == ([], 0)


def test_ipv6_and_ports(fake):
    fake.add("http://[::1]:8080/", body=b"six")

    assert get("http://[::1]:8080/").text == "six"
    assert fake.requests[0].host == "http://[::1]:8080"


# --- beside others -------------------------------------------------------------------------------


class Canned(HTTPAdapter):
    """An adapter that answers by itself."""

    def send(self, request, **_keywords):
        response = requests.Response()
        response.status_code = 299
        response.request, response.url = request, request.url
        response._content = b"canned"
        return response


def test_a_sessions_own_adapter_stays(fake):
    fake.add("*", body=b"faked")

    with requests.Session() as session:
        session.mount("http://own.test/", Canned())
        texts = [get(f"http://{host}.test/", session=session).text for host in ("own", "other")]

    assert texts == ["canned", "faked"]


class Patient(HTTPAdapter):
    """An adapter that counts, and goes on."""

    count = 0

    def send(self, *args, **keywords):
        self.count += 1
        return super().send(*args, **keywords)


def test_a_sessions_adapter_that_goes_on_goes_on_to_it(fake):
    fake.add("http://a.test/", body=b"faked")
    adapter = Patient()

    with requests.Session() as session:
        session.mount("http://", adapter)
        assert get("http://a.test/", session=session).text == "faked"

    assert adapter.count == 1


class Blocking(Patient):
    """An adapter that has to run in a thread."""

    __module__ = "requests_ratelimiter"


def test_adapters_in_threads_go_on_to_it(fake, clock):
    fake.add("http://a.test/", body=[b"fak", 5, b"ed"], latency=10)
    fake.add("http://b.test/", error=Fault.REFUSED, latency=1)

    with requests.Session() as session:
        session.mount("http://", Blocking())
        assert get("http://a.test/", session=session).text == "faked"
        error = failure(grequests.get("http://b.test/", session=session))

    assert type(error) is exceptions.ConnectionError
    assert clock.now() == 16.0


def test_mocks_come_first(fake):
    fake.add("*", body=b"faked")

    with responses.RequestsMock() as mocked:
        mocked.get("http://a.test/", body="from responses")
        assert get("http://a.test/").text == "from responses"
    with requests_mock.Mocker() as mocked:
        mocked.get("http://a.test/", text="from requests-mock")
        assert get("http://a.test/").text == "from requests-mock"

    assert get("http://a.test/").text == "faked"


def test_no_socket_is_opened(fake, monkeypatch):
    def guard(*_args, **_keywords):
        raise AssertionError("a socket")

    fake.add("*", body=b"ok")
    with lane("fast"):  # undoes nothing: the guard alone decides
        monkeypatch.setattr(socket, "socket", guard)
        monkeypatch.setattr(socket, "getaddrinfo", guard)
        proxies = {"https": "http://proxy.test:1"}
        assert get("http://a.test/").text == "ok"
        assert get("https://a.test/", proxies=proxies).text == "ok"


def test_requests_itself_is_not_touched(fake, server):
    fake.add("*", body=b"faked")
    server.on("/", lambda _: whole_answer(b"real", "200 OK", "Connection: close"))

    with requests.Session() as session:
        assert get(server.url(), session=session).text == "faked"
        assert session.get(server.url()).text == "real"


# --- where the network begins again --------------------------------------------------------------


def test_afterwards_the_network_is_back(_lane, server):
    with requests.Session() as session:
        for keywords in ({}, {"session": session}):
            assert get(server.url("/1"), **keywords).text == "/1"
            with FakeTransport() as fake:
                fake.add(server.url("*"), body=b"faked")
                assert get(server.url("/2"), **keywords).text == "faked"
            assert get(server.url("/3"), **keywords).text == "/3"

    assert server.targets() == ["/1", "/3"] * 2
    assert server.opened <= 2, "connections that were idle before are used again"


def test_it_does_not_matter_how_it_is_left(_lane, server):
    with contextlib.suppress(KeyError), FakeTransport():
        raise KeyError

    assert type(current_engine()) is Engine
    assert get(server.url("/1")).text == "/1"


def test_the_innermost_answers(_lane):
    with FakeTransport() as outer:
        outer.add("http://a.test/", body=b"outer")
        with FakeTransport() as inner:
            inner.add("http://a.test/", body=b"inner")
            assert get("http://a.test/").text == "inner"
        assert get("http://a.test/").text == "outer"


def test_it_is_entered_once_at_a_time():
    fake = FakeTransport()
    with fake, pytest.raises(RuntimeError, match="stands in for the network already"):
        fake.__enter__()
    with fake:
        fake.add("http://a.test/", body=b"again")
        assert get("http://a.test/").text == "again"


@pytest.mark.parametrize("answer", [{"latency": 9}, {"error": Fault.READ_TIMEOUT}])
def test_what_is_under_way_when_it_is_left_fails(_lane, answer):
    with FakeTransport() as fake:
        fake.add("http://a.test/", **answer)
        requested = [grequests.get("http://a.test/") for _ in range(3)]
        jobs = [grequests.send(each) for each in requested]
        while fake.in_flight < 3:
            gevent.sleep(0)
    gevent.joinall(jobs, timeout=5)

    assert [type(each.exception) for each in requested] == [exceptions.ConnectionError] * 3
    assert "the FakeTransport is not active any more" in str(requested[0].exception)
    assert fake.in_flight == 0


def test_a_run_that_goes_on_when_it_is_left_sends_nothing_more():
    told = []
    with FakeTransport() as fake:
        fake.add("*", body=b"faked")
        requested = many("http://127.0.0.1:1/", 6)
        results = grequests.imap(requested, size=1, exception_handler=lambda _, e: told.append(e))
        assert next(results).text == "faked"
    assert len(list(results)) <= 2

    assert told
    assert all("not active any more" in str(error) for error in told)


def test_a_stream_that_is_left_open_can_still_be_read(_lane):
    with FakeTransport() as fake:
        fake.add("http://a.test/", body=[b"one", b"two"])
        response = get("http://a.test/", stream=True)

    assert response.content == b"onetwo"


def test_a_map_that_is_given_up_leaves_nothing_under_way(_lane):
    with FakeTransport() as fake:
        fake.add("*", latency=60)
        assert grequests.map(many("http://a.test/", 5), gtimeout=0.02) == [None] * 5
        eventually(lambda: fake.in_flight == 0)
        assert fake.most_in_flight == 5


def test_a_loop_that_is_left_leaves_nothing_under_way(_lane):
    with FakeTransport() as fake:
        fake.add("*", times=1)
        fake.add("*", latency=60)
        for _ in grequests.imap(many("http://a.test/", 5), size=5):
            assert fake.in_flight == 4
            break
        gevent.sleep(0)
        assert fake.in_flight == 0


# --- threads -------------------------------------------------------------------------------------


def in_threads(count, function):
    """Run it in threads that have hubs of their own."""
    found = []

    def run(number):
        try:
            found.append(function(number))
        except BaseException as error:
            found.append(error)
        finally:
            gevent.get_hub().destroy()

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


def test_it_answers_in_all_threads(_lane):
    def ask(number):
        requested = [grequests.get(f"http://{number}.test/{n}") for n in range(20)]
        return [response.text for response in grequests.map(requested, size=5)]

    with FakeTransport() as fake:
        fake.add("*", body=b"ok", latency=0.001)
        assert in_threads(4, ask) == [["ok"] * 20] * 4
        assert len(fake.requests) == len(fake.rules[0].requests) == 80
        assert {host: load.sent for host, load in fake.hosts.items()} == {
            f"http://{n}.test": 20 for n in range(4)
        }
        assert fake.in_flight == 0


def test_a_rule_is_used_so_many_times_by_all_threads_together(_lane):
    def ask(_):
        return [response.status_code for response in grequests.map(many("http://a.test/", 50))]

    with FakeTransport() as fake:
        fake.add("*", status=201, times=77)
        fake.add("*", status=200)
        codes = sum(in_threads(4, ask), [])

    assert (codes.count(201), codes.count(200)) == (77, 123)


def test_a_fake_clock_goes_along_to_the_thread_that_uses_it(_lane):
    with FakeClock(autojump=True) as clock, FakeTransport(clock) as fake:
        fake.add("*", body=b"ok", latency=1000)

        assert in_threads(1, lambda _: get("http://a.test/").text) == ["ok"]
        assert get("http://a.test/").text == "ok"
        assert clock.now() == 2000.0


def test_a_fake_clock_is_for_one_thread_at_a_time(_lane):
    with FakeClock() as clock, FakeTransport(clock) as fake:
        fake.add("*", latency=1)
        job = grequests.send(grequests.get("http://a.test/"))
        gevent.sleep(0.01)
        [error] = in_threads(1, lambda _: get("http://a.test/"))
        clock.advance(1)
        assert job.ready()
        assert fake.in_flight == 0

    assert isinstance(error, RuntimeError)
    assert "has calls pending in another thread" in str(error)


@pytest.mark.parametrize("latency", [0, 0.01])
def test_a_stream_can_be_read_in_another_thread(_lane, latency):
    with FakeTransport() as fake:
        fake.add("*", body=[b"one", latency, b"two"])
        response = get("http://a.test/", stream=True)
        found = []
        thread = threading.Thread(target=lambda: found.append(response.content))
        thread.start()
        thread.join()
        assert (found, fake.in_flight) == ([b"onetwo"], 0)


def test_a_thread_that_waits_is_woken_when_it_is_left(_lane):
    found = []
    with requests.Session() as session:
        session.mount("http://", Blocking())
        with FakeTransport() as fake:
            fake.add("*", error=Fault.READ_TIMEOUT)
            request = grequests.get("http://a.test/", session=session)
            job = grequests.send(request)
            eventually(lambda: fake.in_flight == 1)
            gevent.sleep(0.01)
        job.join(timeout=5)
        found.append(type(request.exception))

    assert found == [exceptions.ConnectionError]
