"""Those that look at `raw`, while bodies are bounded: caches, recorders, and what prints dumps."""

from __future__ import annotations

from collections.abc import Callable
from email.utils import formatdate
from typing import Any

import gevent
import pytest
import requests
import vcr
from cachecontrol import CacheControl
from requests_cache import CachedSession
from requests_toolbelt.utils import dump

from grequests import _general
from grequests._body_limit import body_limit
from grequests._exceptions import BodyTooLargeError
from servers import Request, Server, answer

LIMIT = 10_000


def cacheable(request: Request) -> bytes:
    """As many bytes as the path says, in chunks of a thousand."""
    size = int(request.path.rpartition("/")[2])
    head = (
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n"
        f"Cache-Control: max-age=60\r\nDate: {formatdate(usegmt=True)}\r\n\r\n"
    )
    return (
        head.encode() + b"".join([b"3e8\r\n%b\r\n" % bytes(1000)] * (size // 1000)) + b"0\r\n\r\n"
    )


def fetch(url: str, session: requests.Session | None = None) -> Any:
    def run() -> Any:
        try:
            with body_limit(LIMIT):
                return _general.perform(session, "GET", url, {})
        except BodyTooLargeError as error:
            return error

    return gevent.spawn(run).get(timeout=10)


@pytest.fixture
def server():
    with Server() as one:
        yield one.on("/sized/*", cacheable)
    _general.close()


@pytest.mark.parametrize(
    "make", [lambda: CacheControl(requests.Session()), lambda: CachedSession(backend="memory")]
)
def test_caches_keep_what_is_within_the_limit_and_nothing_else(
    server: Server, make: Callable[[], requests.Session]
) -> None:
    with make() as session:
        outcomes = [fetch(server.url(f"/sized/{LIMIT}"), session) for _ in range(2)]
        assert [each.content for each in outcomes] == [bytes(LIMIT)] * 2
        assert [each.from_cache for each in outcomes] == [False, True]
        assert outcomes[1].headers["Cache-Control"] == "max-age=60"
        outcomes = [fetch(server.url(f"/sized/{LIMIT + 1000}"), session) for _ in range(2)]
        assert [type(each) for each in outcomes] == [BodyTooLargeError] * 2
        assert server.count == 3


def test_what_was_recorded_is_played_back(server: Server, tmp_path: Any) -> None:
    urls = [server.url(f"/sized/{LIMIT}")] * 2
    for _ in range(2):
        with vcr.use_cassette(str(tmp_path / "tape.yaml"), record_mode="once") as tape:
            assert fetch(urls[0]).content == bytes(LIMIT)
            assert len(tape) == 1
    assert server.count == 1


def test_a_dump_shows_the_status_line(server: Server) -> None:
    server.on("/", lambda _: answer(b"body"))
    shown = dump.dump_all(fetch(server.url()))
    assert b"> HTTP/1.1 200 OK\r\n" in shown
    assert shown.endswith(b"body")
