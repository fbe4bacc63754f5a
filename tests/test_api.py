"""The functions of the package: what they refuse, what they let through, what they leave."""

from __future__ import annotations

import contextvars
import gc
import inspect
import threading

import gevent
import pytest
import requests
from conftest import is_quiet
from servers import eventually, hang_up

import grequests
from grequests._engine import current_engine

pytestmark = pytest.mark.usefixtures("no_leaks")


class Mine(Exception):  # noqa: N818
    """An error of the user's code."""


# --- the package ---------------------------------------------------------------------------------


def test_all_names_what_there_is():
    for name in grequests.__all__:
        assert getattr(grequests, name).__doc__, name
    assert sorted(grequests.__all__) == list(grequests.__all__)
    assert {
        "map",
        "imap",
        "get",
        "options",
        "head",
        "post",
        "put",
        "patch",
        "delete",
        "request",
    } < (set(grequests.__all__))
    assert {"AsyncRequest", "imap_enumerated", "send"} < set(grequests.__all__)


def test_the_signatures_are_those_of_07():
    def parameters(function):
        return [
            (each.name, each.default)
            for each in inspect.signature(function).parameters.values()
            if each.kind is not each.VAR_KEYWORD
        ]

    none = inspect.Parameter.empty
    assert parameters(grequests.map) == [
        ("requests", none),
        ("stream", False),
        ("size", None),
        ("exception_handler", None),
        ("gtimeout", None),
    ]
    for function in (grequests.imap, grequests.imap_enumerated):
        assert parameters(function) == [
            ("requests", none),
            ("stream", False),
            ("size", 2),
            ("exception_handler", None),
        ]
    assert parameters(grequests.send) == [("r", none), ("pool", None), ("stream", False)]
    assert parameters(grequests.request) == [("method", none), ("url", none)]
    assert parameters(grequests.get) == [("url", none)]


def test_public_classes_print_as_the_packages():
    for name in grequests.__all__:
        each = getattr(grequests, name)
        if isinstance(each, type):
            assert (each.__module__, each.__qualname__) == ("grequests", name)


# --- wrong use of map ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("item", "kind"), [("http://e/", "str"), (None, "NoneType"), (requests.Request(), "Request")]
)
def test_map_names_the_item_that_is_no_request_and_sends_nothing(item, kind, server):
    sent = [grequests.get(server.url()), grequests.get(server.url()), item]
    with pytest.raises(grequests.NotARequestError, match=f"item 2 .* but {kind}") as caught:
        grequests.map(sent)
    assert (caught.value.index, caught.value.item_type) == (2, kind)
    assert server.count == 0
    assert grequests.map(sent[:2])[0].ok


def test_map_of_a_single_request_without_a_list_says_so():
    with pytest.raises(TypeError, match="not iterable"):
        grequests.map(grequests.get("http://example.org/"))


def test_map_of_a_string_says_so():
    with pytest.raises(grequests.NotARequestError, match="item 0 .* but str"):
        grequests.map("http://example.org/")


def test_map_refuses_a_request_that_stands_twice(server):
    request = grequests.get(server.url())
    with pytest.raises(grequests.RequestInFlightError, match="item 1"):
        grequests.map([request, request])
    assert server.count == 0
    assert grequests.map([request])[0].ok


@pytest.mark.parametrize("size", [0, -1, -100, 0.5, 2.0, "3", True, False])
def test_map_refuses_a_size_that_is_none(size):
    pulled = []
    with pytest.raises(grequests.InvalidSizeError) as caught:
        grequests.map((pulled.append(n) for n in range(3)), size=size)
    assert caught.value.size is size
    assert pulled == []


@pytest.mark.parametrize("item", ["http://example.org/", None, 5])
def test_send_refuses_what_is_no_request_at_the_call(item):
    with pytest.raises(grequests.NotARequestError, match="not an AsyncRequest"):
        grequests.send(item)


# --- errors of the user's code in map ------------------------------------------------------------


@pytest.mark.parametrize("kind", [Mine, KeyboardInterrupt, SystemExit])
def test_an_error_of_the_iterable_reaches_the_caller_and_nothing_is_sent(kind, server):
    error = kind("mine")

    def some():
        yield grequests.get(server.url())
        raise error

    with pytest.raises(kind) as caught:
        grequests.map(some())
    assert caught.value is error
    assert server.count == 0


@pytest.mark.parametrize("kind", [Mine, KeyboardInterrupt, SystemExit])
def test_an_error_of_the_handler_reaches_the_caller(kind, server):
    server.on("/bad", hang_up)
    error = kind("mine")
    calls = []

    def handler(request, exception):
        calls.append(request)
        raise error

    sent = [grequests.get(server.url(path)) for path in ("/good", "/bad", "/bad")]
    with pytest.raises(kind) as caught:
        grequests.map(sent, exception_handler=handler)
    assert caught.value is error
    assert calls == [sent[1]]
    # All had ended by then.
    assert sent[0].response.ok
    assert type(sent[2].exception) is requests.ConnectionError


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("stream", [False, True])
def test_an_error_of_a_callback_is_its_requests_failure(count, stream, server):
    error = Mine("mine")
    seen = []

    def callback(response, **_):
        assert response.text == "/"
        raise error

    sent = [grequests.get(server.url(), callback=callback) for _ in range(count)]
    handled = grequests.map(
        sent, stream=stream, exception_handler=lambda *args: seen.append(args) or "handled"
    )
    assert handled == ["handled"] * count
    assert seen == [(request, error) for request in sent]
    assert all(request.exception is error for request in sent)
    assert "raise error" in sent[0].traceback


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_an_interrupt_in_a_callback_reaches_the_caller_of_map(kind, count, stream, server):
    gate = server.hold("/held")
    error = kind("now")

    def callback(response, **_):
        assert response.text == "/"
        eventually(lambda: gate.arrived == count - 1)
        raise error

    sent = [grequests.get(server.url(), callback=callback)]
    sent += [grequests.get(server.url("/held")) for _ in range(count - 1)]
    with pytest.raises(kind) as caught:
        grequests.map(sent, stream=stream)
    assert caught.value is error
    eventually(lambda: gate.deserted == count - 1, "the server to see the disconnects")
    assert not any(request._in_flight for request in sent)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("count", [1, 3])
def test_a_timeout_of_gevent_around_map_aborts_everything(count, stream, server):
    gate = server.hold("/held")
    sent = [grequests.get(server.url("/held")) for _ in range(count)]
    with pytest.raises(gevent.Timeout), gevent.Timeout(0.05):
        grequests.map(sent, stream=stream)
    eventually(lambda: gate.deserted == gate.arrived)
    assert not any(request._in_flight for request in sent)


# --- where code runs -----------------------------------------------------------------------------


def test_callbacks_see_the_callers_context(server):
    trace = contextvars.ContextVar("trace", default="none")
    seen = []

    def callback(_response, **_):
        seen.append(trace.get())
        trace.set("changed")

    def run():
        trace.set("caller")
        sent = [grequests.get(server.url(), callback=callback) for _ in range(3)]
        grequests.map(sent)
        for response in grequests.imap(sent, stream=True):
            response.close()
        # Alone, it may run in the caller's greenlet and context, as with Requests.
        grequests.map(sent[:1])

    contextvars.copy_context().run(run)
    assert seen == ["caller"] * 7


def test_callbacks_run_in_the_callers_thread_and_may_wait(server):
    seen = []

    def callback(response, **_):
        gevent.sleep(0.001)
        [nested] = grequests.map([grequests.get(server.url("/nested"))])
        seen.append((threading.get_ident(), response.text, nested.text))

    grequests.map([grequests.get(server.url(f"/{n}"), callback=callback) for n in range(3)])
    me = threading.get_ident()
    assert sorted(seen) == [(me, f"/{n}", "/nested") for n in range(3)]


def test_maps_in_greenlets_do_not_mix(server):
    def texts(name):
        return [
            r.text
            for r in grequests.map(grequests.get(server.url(f"/{name}{n}")) for n in range(20))
        ]

    jobs = [gevent.spawn(texts, name) for name in "abc"]
    assert [job.get() for job in jobs] == [[f"/{name}{n}" for n in range(20)] for name in "abc"]


def test_maps_in_threads_do_not_mix(server):
    results = {}

    def run(name):
        sent = [grequests.get(server.url(f"/{name}{n}")) for n in range(30)]
        results[name] = [each.text for each in grequests.map(sent)]
        grequests.close()
        gevent.get_hub().destroy()

    threads = [threading.Thread(target=run, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == {name: [f"/{name}{n}" for n in range(30)] for name in "abcd"}


def test_map_may_be_called_by_a_handler(server):
    server.on("/bad", hang_up)

    def again(request, _exception):
        [response] = grequests.map([grequests.get(server.url("/instead"))])
        return response.text

    sent = [grequests.get(server.url("/bad")) for _ in range(2)]
    assert grequests.map(sent, exception_handler=again) == ["/instead", "/instead"]


# --- results -------------------------------------------------------------------------------------


def test_each_request_has_exactly_one_outcome(server):
    server.on("/bad/*", hang_up)
    sent = [grequests.get(server.url(f"/bad/{n}" if n % 3 == 0 else f"/{n}")) for n in range(300)]
    handled = grequests.map(sent, size=20, exception_handler=lambda request, error: error)
    for n, (request, result) in enumerate(zip(sent, handled, strict=True)):
        if n % 3 == 0:
            assert type(result) is requests.ConnectionError
            assert result is request.exception
            assert result.request.url == request.url
            assert request.response is None
        else:
            assert result is request.response
            assert result.text == f"/{n}"
            assert not hasattr(request, "exception")
    assert is_quiet()


def test_responses_are_freed_without_the_garbage_collector(server):
    class Tracked:
        pass

    gc.collect()
    gc.disable()
    try:
        before = sum(isinstance(each, requests.Response) for each in gc.get_objects())
        for stream in (False, True):
            for _ in range(3):
                responses = grequests.map(
                    [grequests.get(server.url()) for _ in range(10)], stream=stream
                )
                assert [each.text for each in responses] == ["/"] * 10
            del responses
        gevent.sleep(0)
        after = sum(isinstance(each, requests.Response) for each in gc.get_objects())
    finally:
        gc.enable()
    assert after == before


# --- close ---------------------------------------------------------------------------------------


def test_close_may_be_called_at_any_time(server):
    grequests.close()
    grequests.close()
    assert grequests.map([grequests.get(server.url())])[0].ok
    grequests.close()
    grequests.close()
    assert current_engine().statistics().open == 0
    assert grequests.map([grequests.get(server.url())])[0].ok


def test_close_leaves_requests_under_way_alone(server):
    gate = server.hold("/held")
    job = grequests.send(grequests.get(server.url("/held")))
    eventually(lambda: gate.arrived)
    grequests.close()
    gate.open()
    with gevent.Timeout(5):
        request = job.get()
    assert request.response is not None
    assert request.response.text == "/held"
