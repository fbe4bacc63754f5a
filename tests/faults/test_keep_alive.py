"""Connections that end when they have served: while idle, or just as the next request comes.

The fast lane sends an idempotent request once more, on a connection of its own, and no other request
twice. Requests sends nothing once more. What the tables of `mixing` say of GET is held here of the methods.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from typing import Any

import pytest
from engine.raw import answer
from requests import exceptions

from grequests import was_sent
from grequests._kinds import BROKEN, PROXY, kind_of

from .harness import WAITS, WAYS, Answered, Case, Fin, Ragged, Reset, Taken, Trial, Way, trial

pytestmark = pytest.mark.usefixtures("no_leaks")

IDEMPOTENT = ("GET", "OPTIONS", "PUT", "DELETE", "TRACE")
OTHERS = ("POST", "PATCH", "PROPFIND")
#: How a connection ends.
ENDS = {"FIN": Fin(), "reset": Reset()}
PLACES = [way for way in WAYS if way.step is None]
#: (Where Requests sees a proxy that cannot be reached.)
DIRECT = [way for way in PLACES if not way.proxy or way.tls]

ends = pytest.mark.parametrize("end", ENDS)


@pytest.fixture
def tried(tls: ssl.SSLContext, ca_file: str) -> Iterator[Any]:
    """Makes a server that does this with /fault, and who asks it; once it has served."""
    opened = []

    def make(way: Way, *steps: Any, once: bool = True) -> Trial:
        manager = trial(Case("", "", steps, None, once=once), way, tls, ca_file)
        one = manager.__enter__()
        opened.append(manager)
        assert one.ask("/warm").unwrap().text == "/warm"
        return one

    yield make
    for manager in opened:
        manager.__exit__(None, None, None)


def sent(one: Trial, path: str) -> list[int]:
    """The connections that a request came by."""
    return [number for number, target in one.server.seen if target == path]


def is_followed(one: Trial, method: str = "GET") -> None:
    """Whether the next request gets its own answer, and whether the slot is back."""
    assert one.ask("/next", method).unwrap().text == "/next"
    counts = one.client.statistics()
    assert (counts.in_flight, counts.queued) == (0, 0)


@ends
@pytest.mark.parametrize("method", IDEMPOTENT)
@pytest.mark.parametrize("way", [each for each in PLACES if each.lane == "fast"], ids=str)
def test_what_is_idempotent_is_sent_once_more(tried: Any, way: Way, method: str, end: str) -> None:
    one = tried(way, ENDS[end])
    assert one.ask("/fault", method).unwrap().text == "/fault"
    assert sent(one, "/fault") == [1, 2]
    is_followed(one)
    assert one.server.opened == 2


@ends
@pytest.mark.parametrize("method", IDEMPOTENT)
@pytest.mark.parametrize("way", [each for each in PLACES if each.lane == "fast"], ids=str)
def test_and_no_more_than_once(tried: Any, way: Way, method: str, end: str) -> None:
    one = tried(way, ENDS[end], once=False)
    error = one.ask("/fault", method).error
    assert kind_of(error) == (PROXY if way.proxy else BROKEN), repr(error)
    assert was_sent(error)
    assert sent(one, "/fault") == [1, 2]
    is_followed(one)


@ends
@pytest.mark.parametrize("method", OTHERS)
@pytest.mark.parametrize("way", PLACES, ids=str)
def test_what_is_not_is_sent_once_and_counts_as_sent(
    tried: Any, way: Way, method: str, end: str
) -> None:
    one = tried(way, ENDS[end])
    error = one.ask("/fault", method).error
    assert isinstance(error, exceptions.ConnectionError), repr(error)
    assert kind_of(error) == (PROXY if way.proxy else BROKEN), repr(error)
    assert was_sent(error)
    assert sent(one, "/fault") == [1]
    is_followed(one)


@ends
@pytest.mark.parametrize("way", [each for each in PLACES if each.lane == "general"], ids=str)
def test_the_general_lane_sends_nothing_twice(tried: Any, way: Way, end: str) -> None:
    one = tried(way, ENDS[end])
    error = one.ask("/fault").error
    assert isinstance(error, exceptions.ConnectionError), repr(error)
    assert was_sent(error)
    assert sent(one, "/fault") == [1]
    is_followed(one)


@pytest.mark.parametrize("said", [b"H", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nContent-Le"])
@pytest.mark.parametrize("way", [each for each in PLACES if each.lane == "fast"], ids=str)
def test_once_there_is_a_byte_of_an_answer_nothing_is_sent_again(
    tried: Any, way: Way, said: bytes
) -> None:
    one = tried(way, said, Fin())
    error = one.ask("/fault").error
    assert isinstance(error, exceptions.ConnectionError), repr(error)
    assert was_sent(error)
    assert sent(one, "/fault") == [1]
    is_followed(one)


@pytest.mark.parametrize("where", ["head", "body"])
@ends
@pytest.mark.parametrize("way", DIRECT, ids=str)
def test_a_warm_post_that_is_cut_in_its_answer_counts_as_sent(
    tried: Any, way: Way, end: str, where: str
) -> None:
    said = answer(b"hello")[: 20 if where == "head" else -2]
    one = tried(way, said, Taken(), ENDS[end])
    result = one.ask("/fault", "POST")
    if result.error is None:  # to http.client, that was a head
        assert (way.lane, where, end) == ("general", "head", "FIN")
        assert result.response.content == b""
    else:
        assert isinstance(result.error, exceptions.RequestException)
        assert was_sent(result.error)
    assert sent(one, "/fault") == [1]
    is_followed(one, "POST")


@pytest.mark.parametrize("method", ["POST", "PATCH", "GET"])
@pytest.mark.parametrize("end", [Fin(), Ragged(), Reset()], ids=lambda each: type(each).__name__)
@pytest.mark.parametrize("way", PLACES, ids=str)
def test_a_connection_closed_while_idle_is_replaced_without_a_word(
    tried: Any, way: Way, end: Any, method: str
) -> None:
    one = tried(way, answer(b"hello"), Answered(), end)
    assert one.ask("/fault", "POST").unwrap().text == "hello"
    one.server.answered.set()
    assert one.server.done.wait(WAITS)
    assert one.ask("/after", method).unwrap().text == "/after"
    assert one.server.seen == [(1, "/warm"), (1, "/fault"), (2, "/after")]
    is_followed(one, method)
    assert one.server.opened == 2
