"""requests-ratelimiter: a session or an adapter that sleeps until a request may go.

It sleeps in threads here. To its `max_delay` counts, as in any threads, how long the limiter's lock
is held by others; so it is not 0 where several requests are on their way.
"""

from __future__ import annotations

import threading

import pytest
import requests
import requests_cache
from pyrate_limiter import Duration, Limiter, Rate
from requests_ratelimiter import LimiterAdapter, LimiterMixin, LimiterSession

import grequests
from servers import PATIENCE, Server, answer

from .support import fetch, gets, in_process, lane, lanes, reraise


def limits_hold() -> None:
    with Server() as server:
        with LimiterSession(per_hour=5, max_delay=0.5) as session:
            failed = []
            found = grequests.map(
                gets([server.url("/limited")] * 20, session=session),
                exception_handler=lambda request, error: failed.append(error),
            )
            served = [each for each in found if each is not None]
            assert [each.text for each in served] == ["/limited"] * 5
            assert lanes(served) == {"general"}
            assert {(type(each), str(each)) for each in failed} == {
                (requests.Timeout, "Rate limit not cleared within max_delay=0.5s")
            }
            assert server.count == 5
        # Who has no limit goes on as before.
        assert lanes(fetch([server.url("/free")] * 20)) == {"fast"}


def test_limits_hold(no_leaks):
    limits_hold()


def test_whichever_is_imported_first(order):
    in_process(order, "requests_ratelimiter", limits_hold)


def test_an_adapter_limits_what_it_is_mounted_for(server):
    with requests.Session() as session:
        adapter = LimiterAdapter(per_hour=4, max_delay=0.5)
        session.mount(server.url("/limited"), adapter)
        urls = [server.url("/limited"), server.url("/free")] * 10
        found = list(grequests.imap(gets(urls, session=session), size=8))
        assert sorted(each.text for each in found) == ["/free"] * 10 + ["/limited"] * 4
        assert {lane(each) for each in found if each.text == "/free"} == {"fast"}
        assert sorted(server.targets()) == ["/free"] * 10 + ["/limited"] * 4
        adapter.close()


def test_requests_wait_for_their_turn_and_none_is_lost(server):
    # Five at once, and the others as the window of 200 ms moves on.
    limiter = Limiter([Rate(5, Duration.SECOND.value // 5)])
    with LimiterSession(limiter=limiter, per_host=False) as session:
        found = fetch([server.url(f"/{n}") for n in range(12)], session=session)
        assert [each.text for each in found] == [f"/{n}" for n in range(12)]
    limiter.close()
    assert server.count == 12


class _Turnstile(Limiter):
    """Blocks its thread until it is opened."""

    def __init__(self) -> None:
        super().__init__([Rate(1000, Duration.SECOND)])
        self.waiting = threading.Semaphore(0)
        self.open = threading.Event()

    def try_acquire(self, *args, **kwargs):
        self.waiting.release()
        assert self.open.wait(PATIENCE), "the hub was blocked"
        return super().try_acquire(*args, **kwargs)


@pytest.mark.parametrize("kind", ["session", "adapter", "mixin"])
def test_others_go_on_while_a_limited_request_waits(server, kind):
    limiter = _Turnstile()
    if kind == "session":
        session = LimiterSession(limiter=limiter, per_host=False)
    elif kind == "mixin":

        class Session(requests_cache.CacheMixin, LimiterMixin, requests.Session):
            """The combination that its documentation shows."""

        session = Session(limiter=limiter, per_host=False, backend="memory")
    else:
        session = requests.Session()
        session.mount("http://", LimiterAdapter(limiter=limiter, per_host=False))

    def both():
        yield from gets((server.url(f"/limited?{n}") for n in range(8)), session=session)
        yield from gets([server.url("/free")] * 20)

    order = []
    for response in grequests.imap(both(), size=10):
        order.append(response.request.path_url.partition("?")[0])
        if order.count("/free") == 20:
            limiter.open.set()
    assert order == ["/free"] * 20 + ["/limited"] * 8
    session.close()
    limiter.close()


def test_limited_requests_are_at_once_as_far_as_the_limit_goes(server):
    gate = server.hold("/gate", count=10)
    with LimiterSession(per_hour=10) as session:
        assert [e.text for e in fetch([server.url("/gate")] * 10, session=session)] == [
            "/gate"
        ] * 10
    assert gate.arrived == server.peak == 10


def test_a_429_fills_the_bucket(server):
    server.on("/busy", lambda _: answer(b"", "429 Too Many Requests"))
    with LimiterSession(per_hour=5, max_delay=0) as session:
        [busy] = fetch([server.url("/busy")], session=session)
        assert busy.status_code == 429
        with pytest.raises(requests.Timeout):
            fetch([server.url("/busy")], session=session)
    assert server.count == 1


def test_posts_and_the_sessions_state(server):
    server.on("/in", lambda _: answer(b"", "200 OK", "Set-Cookie: who=me"))
    with LimiterSession(per_hour=100) as session:
        session.headers["X-Mine"] = "1"
        fetch([server.url("/in")], session=session)
        sent = [grequests.post(server.url("/echo"), json={"n": 1}, session=session)]
        [response] = grequests.map(sent, exception_handler=reraise)
    seen = response.json()
    assert (seen["headers"]["x-mine"], seen["headers"]["cookie"]) == ("1", "who=me")
    assert seen["body"] == '{"n": 1}'
