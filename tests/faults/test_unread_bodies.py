"""Bodies that nobody reads, or reads a piece at a time: a bomb takes no more memory than its piece."""

from __future__ import annotations

import tracemalloc

import pytest
from engine.raw import answer
from servers import Server, eventually

import grequests
from grequests import Client

from .bodies import BOMBS

SIMPLE = ("gzip", "deflate", "br", "zstd")
#: What decoders may hold: zstd's window, and a block of Brotli.
SMALL = 12_000_000


@pytest.fixture
def bombs():
    with Server() as server:
        for coding in SIMPLE:
            whole = answer(BOMBS[coding], "200 OK", f"Content-Encoding: {coding}")
            server.on(f"/{coding}", lambda _, whole=whole: whole)
        yield server


def peak_of(work) -> int:
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("coding", SIMPLE)
def test_a_bomb_that_nobody_reads_does_not_go_off(no_leaks, bombs, session, coding):
    def work():
        for _ in range(3):
            request = grequests.get(bombs.url(f"/{coding}"), session=session)
            with Client(max_body=1_000_000) as client:
                for result in client.run([request], stream=True):
                    assert result.response.status_code == 200
                    result.response.close()

    work()
    assert peak_of(work) < 2_000_000


@pytest.mark.parametrize("coding", SIMPLE)
def test_a_bomb_that_is_read_by_pieces_goes_off_by_pieces(no_leaks, bombs, session, coding):
    sizes = []

    def work():
        request = grequests.get(bombs.url(f"/{coding}"), session=session, stream=True).send()
        assert request.response is not None, request.exception
        sizes.extend(len(piece) for piece in request.response.iter_content(10_000))

    assert peak_of(work) < SMALL
    assert sum(sizes) == 50_000_000
    assert max(sizes) <= 10_000


def test_a_stream_that_is_dropped_gives_its_connection_back(no_leaks, bombs, session):
    request = grequests.get(bombs.url("/gzip"), session=session, stream=True).send()
    response, request.response = request.response, None
    response.close()
    del response
    grequests.close()
    eventually(lambda: bombs.closed == bombs.opened, "the end of the connection")
