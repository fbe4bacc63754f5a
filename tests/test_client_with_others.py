"""A client with what has tests of its own: proxies in turn, a level that is found, progress."""

from __future__ import annotations

import logging

import gevent
import pytest
import requests
from servers import Server, answer

import grequests
from grequests.testing import Answer, FakeClock, FakeTransport

FAST = grequests.Retry(attempts=3, backoff=0)


class Own(requests.Session):
    """Sends it through the general lane."""


@pytest.fixture
def proxies():
    """Two servers that answer, as proxies do, for whatever host."""
    with Server() as first, Server() as second:
        yield first, second


def pool(*servers: Server, **more) -> grequests.ProxyPool:
    return grequests.ProxyPool([each.roots[0] for each in servers], **more)


@pytest.mark.usefixtures("no_leaks")
@pytest.mark.parametrize("kind", [requests.Session, Own], ids=["fast", "general"])
def test_each_attempt_goes_through_a_proxy_and_they_take_turns(proxies, kind):
    first, second = proxies
    with kind() as session:
        sent = [grequests.get(f"http://h{n}.test/x", session=session) for n in range(10)]
        results = list(grequests.run(sent, proxies=pool(first, second), ordered=True))
    assert all(each.ok for each in results)
    assert sorted(first.targets() + second.targets()) == [f"http://h{n}.test/x" for n in range(10)]
    assert len(first.targets()) == len(second.targets()) == 5
    assert {each.attempts[0].proxy for each in results} == {
        first.roots[0],
        second.roots[0],
    }


def test_a_retry_takes_another_proxy(proxies):
    first, _ = proxies
    gone = Server()
    with gone:
        dead = gone.roots[0]
    chosen = grequests.ProxyPool([dead, first.roots[0]])
    urls = [f"http://h{n}.test/" for n in range(6)]
    results = list(grequests.run(urls, proxies=chosen, retry=FAST, circuit=None))
    assert [each.ok for each in results] == [True] * 6
    assert sorted(first.targets()) == urls
    for each in results:
        assert [attempt.proxy for attempt in each.attempts][-1] == first.roots[0]


def test_a_proxy_that_keeps_failing_rests(proxies):
    first, _ = proxies
    with Server() as gone:
        dead = gone.roots[0]
    chosen = grequests.ProxyPool([dead, first.roots[0]], failures=2, cooldown=1000)
    with grequests.Client(proxies=chosen, retry=FAST, circuit=None, concurrency=1) as client:
        results = list(client.run([f"http://h{n}.test/" for n in range(20)]))
        statistics = client.proxy_statistics()
    assert all(each.ok for each in results)
    assert sum(len(each.attempts) for each in results) == 22
    assert [(name, each.resting) for name, each in sorted(statistics.items())] == sorted(
        [(dead, True), (first.roots[0], False)]
    )


def test_no_credentials_of_a_proxy_are_told(proxies):
    first, _ = proxies
    address = first.roots[0].removeprefix("http://")
    chosen = grequests.ProxyPool([f"http://user:secret@{address}"])
    with grequests.Client(proxies=chosen) as client:
        [result] = client.run(["http://h.test/"])
        everything = repr((result.attempts, client.statistics(), client.proxy_statistics(), chosen))
    assert "secret" not in everything
    assert result.attempts[0].proxy == f"http://{address}"
    assert first.requests[0].headers["proxy-authorization"].startswith("Basic ")


def test_the_level_of_a_host_is_found():
    """A host that can do ten things at once, and says 503 to the eleventh."""
    clock = FakeClock(autojump=True)
    with FakeTransport(clock=clock) as fake:

        def busy(_: object) -> Answer:
            if fake.in_flight > 10:
                return Answer(503, b"", latency=0.01)
            return Answer(200, b"", latency=0.1)

        fake.add("http://h.test/*", answer=busy)
        with grequests.Client(
            concurrency="auto", retry=grequests.Retry(attempts=50, budget=1), clock=clock
        ) as client:
            urls = [f"http://h.test/{n}" for n in range(2000)]
            results = list(client.run(urls))
            limit = client.statistics().hosts["http://h.test"].limit
    assert all(each.ok for each in results)
    assert 5 <= limit <= 15
    # One at a time it would be 200 s, ten at a time 20 s.
    assert clock.now() < 20 * 1.5


def test_progress_is_told_while_a_run_goes_on_and_at_its_end(server):
    seen: list[grequests.Statistics] = []
    urls = [server.url(f"/{n}") for n in range(30)]
    results = list(grequests.run(urls, progress=seen.append))
    assert len(results) == 30
    assert (seen[-1].done, seen[-1].expected) == (30, 30)


def test_each_run_of_a_client_is_told_of_by_itself(server, caplog):
    server.on("/busy", lambda _: answer(b"", "429 Too Many Requests"))
    seen: list[grequests.Statistics] = []
    with (
        caplog.at_level(logging.INFO, logger="grequests"),
        grequests.Client(retry=None) as client,
    ):
        for _ in range(2):
            list(client.run([server.url("/busy")] * 10, progress=seen.append))
            assert (seen[-1].done, seen[-1].expected, seen[-1].statuses) == (10, 10, {429: 10})
        assert client.statistics().done == 20
    for record in caplog.records:
        assert "10 of 10 were answered 429" in record.getMessage()


def test_failures_are_logged_where_a_handler_may_wait(server):
    """Not in a callback of the hub, where a read timeout ends its request."""
    where: list[bool] = []

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            where.append(gevent.getcurrent() is gevent.get_hub())

    gate = server.hold("/never")
    logger, handler = logging.getLogger("grequests"), Handler(logging.INFO)
    before = logger.level
    logger.setLevel(logging.INFO)
    logger.addHandler(handler)
    try:
        timeout = grequests.Timeout(connect=5, read=0.05)
        [result] = grequests.run([server.url("/never")], timeout=timeout, retry=None)
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before)
        gate.open()
    assert isinstance(result.error, requests.exceptions.ReadTimeout)
    assert where
    assert not any(where)


@pytest.mark.parametrize("odd", ["a str", 5, object()], ids=["str", "int", "object"])
def test_what_is_no_response_is_handed_over_as_it_is(odd):
    """As `map` does with what a session of somebody's returns."""

    class Strange(requests.Session):
        def request(self, *_, **__):
            return odd

    with Strange() as session:
        sent = [grequests.get("http://h.test/", session=session) for _ in range(3)]
        results = list(grequests.run(sent, ordered=True))
    assert [(each.response, each.error) for each in results] == [(odd, None)] * 3
    assert [(each.attempts[0].status, each.ok) for each in results] == [(None, False)] * 3


def test_statistics_speak_for_themselves(server):
    with grequests.Client(retry=None, circuit=None) as client:
        list(client.run([server.url("/"), "http://127.0.0.1:1/"]))
        statistics = client.statistics()
    assert statistics.explain().startswith("1 of 2 failed: 1 was refused a connection")
    assert str(statistics).endswith(statistics.explain())
    assert "2 done in" in str(statistics)


def test_a_run_with_failures_says_why(server, caplog):
    with Server() as gone:
        dead = gone.url("/")
    with caplog.at_level(logging.INFO, logger="grequests"):
        list(grequests.run([dead] * 20 + [server.url("/")], retry=None))
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 21
    assert "20 of 21 failed" in lines[-1]
    assert caplog.records[-1].levelno == logging.WARNING


def test_what_was_cancelled_is_no_failure_to_log(server, caplog):
    with caplog.at_level(logging.INFO, logger="grequests"):
        for _ in grequests.run([server.url(f"/{n}") for n in range(50)], concurrency=10):
            break
    assert [record.getMessage() for record in caplog.records] == []


# What is wrong is said in the words of who wrote it


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (
            lambda: grequests.run([], retries=3),
            "run has no option 'retries'; did you mean 'retry'?",
        ),
        (lambda: grequests.run([], size=3), "did you mean 'concurrency'"),
        (lambda: grequests.run([], gtimeout=3), "did you mean 'deadline'"),
        (lambda: grequests.Client(deadline=3), "'deadline': it is one of Client.run"),
        (lambda: grequests.Client(concurency=3), "did you mean 'concurrency'"),
        (lambda: grequests.Client().run([], per_host=3), "'per_host': it is one of Client"),
        (lambda: grequests.run("http://x/"), "not str: for one, put it into a list"),
        (lambda: grequests.run(grequests.get("http://x/")), "not AsyncRequest: for one, put it"),
        (lambda: grequests.run(None), "must be an iterable of requests or URLs, not NoneType"),
    ],
)
def test_slips_are_answered_with_what_was_meant(wrong, message):
    with pytest.raises(TypeError) as caught:
        wrong()
    assert message in str(caught.value)


@pytest.mark.parametrize("name", ["retry", "timeout", "rate", "concurrency"])
def test_a_short_form_that_is_wrong_is_called_by_its_own_name(name):
    with pytest.raises(grequests.PolicyError) as caught:
        grequests.Client(**{name: 0})
    assert caught.value.name == name


def test_the_statistics_of_a_client_outlive_it(server):
    with grequests.Client() as client:
        list(client.run([server.url("/")]))
    assert client.statistics().done == 1
    never = grequests.Client()
    never.close()
    assert never.statistics().done == 0
