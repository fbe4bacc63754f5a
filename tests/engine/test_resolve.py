"""Names to addresses: asked once, kept for a while, errors never."""

from __future__ import annotations

import socket
from typing import Any

import gevent
import pytest
from gevent.event import Event
from hypothesis import given
from hypothesis import strategies as st

from grequests._engine._resolve import (
    MAX_NAMES,
    PATIENCE,
    TTL,
    Address,
    Resolver,
    interleave,
    parse_literal,
)

V4, V6 = socket.AF_INET, socket.AF_INET6


class Names:
    """A lookup that answers when told to."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.now = 0.0
        self.answer: Any = [(V4, 1, 6, "", ("192.0.2.1", 0))]
        self.go = Event()
        self.go.set()
        self.turn = Event()
        self.turn.set()
        self.resolver = Resolver(self.lookup, lambda: self.now, self.turn.wait)

    def lookup(self, host: str, port: int, family: int, kind: int) -> Any:
        assert (port, kind) == (0, socket.SOCK_STREAM)
        self.asked.append(host)
        self.go.wait()  # (the one that there is when it begins)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def test_an_answer_is_good_for_a_while() -> None:
    names = Names()
    for now in (0.0, 1.0, TTL - 0.1):
        names.now = now
        assert names.resolver.resolve("a") == [Address(V4, ("192.0.2.1", 0))]
    assert names.asked == ["a"]
    names.now = TTL
    names.resolver.resolve("a")
    names.resolver.resolve("b")
    assert names.asked == ["a", "a", "b"]


def test_many_who_want_the_same_name_ask_once() -> None:
    names = Names()
    names.go.clear()
    waiting = [gevent.spawn(names.resolver.resolve, "a") for _ in range(20)]
    gevent.sleep(0)
    gevent.sleep(0)
    assert names.asked == ["a"]
    names.go.set()
    gevent.joinall(waiting)
    assert {each.value[0].sockaddr for each in waiting} == {("192.0.2.1", 0)}
    assert names.asked == ["a"]


def test_who_gives_up_does_not_take_the_others_with_him() -> None:
    names = Names()
    names.go.clear()
    first, second = (gevent.spawn(names.resolver.resolve, "a") for _ in range(2))
    gevent.sleep(0)
    first.kill()
    names.go.set()
    assert second.get(timeout=5) == [Address(V4, ("192.0.2.1", 0))]
    assert names.asked == ["a"]


def test_a_lookup_that_is_killed_ends_for_all_who_wait() -> None:
    names = Names()
    names.go.clear()
    spawned: list[Any] = []
    spawn = gevent.spawn
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gevent, "spawn", lambda *a: spawned.append(spawn(*a)) or spawned[-1])
        waiting = spawn(names.resolver.resolve, "a")
        gevent.sleep(0)
        gevent.sleep(0)
    spawned[0].kill()
    with pytest.raises(socket.gaierror):
        waiting.get(timeout=5)
    names.go.set()
    assert names.resolver.resolve("a")


def test_errors_are_told_to_all_and_not_kept() -> None:
    names = Names()
    names.answer = socket.gaierror(socket.EAI_NONAME, "unknown")
    names.go.clear()
    waiting = [gevent.spawn(_error_of, names.resolver, "a") for _ in range(3)]
    gevent.sleep(0)
    names.go.set()
    gevent.joinall(waiting)
    assert [each.value for each in waiting] == [names.answer] * 3
    names.answer = [(V4, 1, 6, "", ("192.0.2.2", 0))]
    assert names.resolver.resolve("a") == [Address(V4, ("192.0.2.2", 0))]
    assert len(names.asked) == 2


def _error_of(resolver: Resolver, host: str) -> Any:
    with pytest.raises(socket.gaierror) as caught:
        resolver.resolve(host)
    return caught.value


def test_who_asks_hears_when_the_lookup_has_begun() -> None:
    names = Names()
    names.turn.clear()
    begun: list[str] = []
    waiting = [gevent.spawn(names.resolver.resolve, "a", lambda: begun.append("")) for _ in "12"]
    gevent.sleep(0)
    gevent.sleep(0)
    assert (begun, names.asked) == ([], [])
    names.turn.set()
    gevent.joinall(waiting)
    assert len(begun) == 2
    # What is known, or needs no lookup, begins nothing.
    for host in ("a", "127.0.0.1"):
        names.resolver.resolve(host, lambda: begun.append(""))
    assert len(begun) == 2


def test_a_lookup_that_nobody_waits_for_leaves_the_queue() -> None:
    names = Names()
    names.turn.clear()
    first, second = (gevent.spawn(names.resolver.resolve, "a") for _ in range(2))
    gevent.sleep(0)
    first.kill()
    assert len(names.resolver._running) == 1
    second.kill()
    assert not names.resolver._running
    names.turn.set()
    gevent.sleep(0)
    gevent.sleep(0)
    assert names.asked == []
    assert names.resolver.resolve("a")


def test_a_lookup_that_nobody_waits_for_goes_on_once_it_has_begun() -> None:
    names = Names()
    names.go.clear()
    first = gevent.spawn(names.resolver.resolve, "a")
    gevent.sleep(0)
    gevent.sleep(0)
    first.kill()
    second = gevent.spawn(names.resolver.resolve, "a")
    gevent.sleep(0)
    names.go.set()
    assert second.get(timeout=5)
    assert names.asked == ["a"]


def test_a_lookup_that_hangs_is_no_trap() -> None:
    """The name is asked for once more, but no thread is taken for each who asks."""
    names = Names()
    go, names.go = names.go, Event()
    waiting = [gevent.spawn(names.resolver.resolve, "a")]
    gevent.sleep(0)
    gevent.sleep(0)
    hanging, names.go = names.go, Event()
    for names.now in (PATIENCE, PATIENCE + 1, PATIENCE + 2, 3 * PATIENCE, 9 * PATIENCE):
        waiting.append(gevent.spawn(names.resolver.resolve, "a"))
        gevent.sleep(0)
        gevent.sleep(0)
    assert names.asked == ["a", "a"]
    names.go.set()
    gevent.joinall(waiting[2:])
    assert all(each.value for each in waiting[2:])
    assert not any(each.ready() for each in waiting[:2])
    # It fails at last, which is nobody's business but theirs who wait for it.
    names.answer = socket.gaierror(socket.EAI_AGAIN, "late")
    hanging.set()
    gevent.joinall(waiting[:2])
    assert {each.exception for each in waiting[:2]} == {names.answer}
    names.go = go
    assert names.resolver.resolve("a")
    assert not names.resolver._running


def test_a_name_can_be_forgotten() -> None:
    names = Names()
    names.resolver.resolve("a")
    names.resolver.forget("a")
    names.resolver.forget("never asked")
    names.resolver.resolve("a")
    assert names.asked == ["a", "a"]


def test_names_are_bounded() -> None:
    names = Names()
    for number in range(MAX_NAMES + 10):
        names.resolver._known[str(number)] = (TTL, [])
    names.resolver.resolve("a")
    assert len(names.resolver._known) == 1


@pytest.mark.parametrize(
    ("host", "family", "sockaddr"),
    [
        ("127.0.0.1", V4, ("127.0.0.1", 0)),
        ("255.255.255.255", V4, ("255.255.255.255", 0)),
        ("::1", V6, ("::1", 0, 0, 0)),
        ("2001:DB8:0::1", V6, ("2001:db8::1", 0, 0, 0)),
    ],
)
def test_literals_are_not_asked_for(host: str, family: int, sockaddr: tuple[Any, ...]) -> None:
    names = Names()
    assert names.resolver.resolve(host) == [Address(family, sockaddr)]
    assert not names.asked


@pytest.mark.parametrize(
    "host",
    ["localhost", "127.1", "1.2.3", "1.2.3.4.5", "256.1.1.1", "0x7f.1", "a1", "fe80::1%lo", ""],
)
def test_what_only_looks_like_one_is_asked_for(host: str) -> None:
    assert parse_literal(host) is None


@given(st.lists(st.sampled_from([V4, V6]), max_size=12))
def test_families_alternate_and_keep_their_order(families: list[int]) -> None:
    given_ = [Address(family, (index,)) for index, family in enumerate(families)]
    mixed = interleave(given_)
    assert sorted(mixed) == sorted(given_)
    for family in (V4, V6):
        mine = [address for address in given_ if address.family == family]
        assert [address for address in mixed if address.family == family] == mine
    if given_:
        assert mixed[0] == given_[0]
    shorter = min(families.count(V4), families.count(V6))
    pairs = [{a.family for a in mixed[at : at + 2]} for at in range(0, 2 * shorter, 2)]
    assert all(len(pair) == 2 for pair in pairs)


def test_the_port_is_filled_in() -> None:
    assert Address(V4, ("192.0.2.1", 0)).at(80) == ("192.0.2.1", 80)
    assert Address(V6, ("::1", 0, 7, 9)).at(80) == ("::1", 80, 7, 9)
