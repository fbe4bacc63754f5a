"""`ProxyPool` and its rotation: whose turn it is, who rests, and that no password is ever shown."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from collections import Counter
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grequests import _proxies
from grequests._exceptions import PolicyError
from grequests._proxies import ProxyPool, ProxyRotation, ProxyStatistics, shown

HOST = "http://example.org"


class Time:
    """A clock that stands still until it is told otherwise."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def now(self) -> float:
        return self.seconds


class First(Random):
    """Begins with the first."""

    def randrange(self, *_: object) -> int:
        return 0


def urls(count: int) -> list[str]:
    return [f"http://p{number}:3128" for number in range(1, count + 1)]


A, B, C, D = urls(4)


def rotation(proxies=(A, B, C), *, random=None, time=None, **options) -> ProxyRotation:
    return ProxyRotation(ProxyPool(proxies, **options), time or Time(), random or First())


def take(rotation: ProxyRotation, count: int, avoid=(), host=HOST) -> list[str]:
    return [rotation.choose(host, avoid) for _ in range(count)]


def fail(rotation: ProxyRotation, proxy: str, times: int = 3) -> None:
    for _ in range(times):
        rotation.report(proxy, ok=False)


def resting(rotation: ProxyRotation) -> set[str]:
    return {url for url, row in rotation.statistics().items() if row.resting}


@pytest.fixture
def time() -> Time:
    return Time()


# --- turns ---------------------------------------------------------------------------------------


def test_proxies_take_turns():
    assert take(rotation(), 7) == [A, B, C, A, B, C, A]


def test_who_begins_is_drawn():
    begun = Counter(rotation(random=Random(seed)).choose(HOST) for seed in range(300))
    assert set(begun) == {A, B, C}
    assert min(begun.values()) > 70


def test_the_order_is_kept_whoever_begins():
    chosen = take(rotation(random=Random(1)), 6)
    assert chosen[:3] == chosen[3:]
    assert "".join(chosen[:3]) in "".join([A, B, C] * 2)


def test_what_was_tried_already_is_left_out_and_keeps_its_turn():
    proxies = rotation()
    assert proxies.choose(HOST, [A]) == B
    assert take(proxies, 3) == [A, C, B]


def test_if_everything_was_tried_it_is_whose_turn_it_is():
    proxies = rotation()
    assert take(proxies, 4, avoid=(A, B, C)) == [A, B, C, A]


def test_the_single_proxy_of_a_pool_is_always_chosen():
    proxies = rotation([A])
    assert take(proxies, 2, avoid=[A]) == [A, A]
    fail(proxies, A)
    assert take(proxies, 3) == [A, A, A]


@given(st.integers(1, 12), st.integers(0, 100), st.integers(0, 2**32))
def test_nobody_is_used_more_than_once_more_than_another(count, requests, seed):
    used = Counter(dict.fromkeys(urls(count), 0))
    used.update(take(rotation(urls(count), random=Random(seed)), requests))
    assert max(used.values()) - min(used.values()) <= 1


def test_a_choice_among_many_looks_at_few():
    looks = 0

    class Avoid(tuple):
        def __contains__(self, url: object) -> bool:
            nonlocal looks
            looks += 1
            return False

    proxies = rotation(urls(10_000))
    for _ in range(100):
        proxies.choose(HOST, Avoid())
    assert looks == 100


# --- health --------------------------------------------------------------------------------------


def test_failures_in_a_row_put_a_proxy_aside():
    proxies = rotation()
    fail(proxies, B, times=2)
    assert take(proxies, 3) == [A, B, C]
    fail(proxies, B, times=1)
    assert take(proxies, 4) == [A, C, A, C]
    assert resting(proxies) == {B}


def test_a_success_in_between_ends_the_row():
    proxies = rotation()
    fail(proxies, B, times=2)
    proxies.report(B, ok=True)
    fail(proxies, B, times=2)
    assert resting(proxies) == set()


def test_after_the_cooldown_a_single_request_tries_it(time):
    proxies = rotation(time=time, cooldown=10)
    fail(proxies, B)
    time.seconds += 9.99
    assert take(proxies, 4) == [A, C, A, C]
    time.seconds += 0.01
    assert resting(proxies) == set()
    assert take(proxies, 6) == [A, C, B, A, C, A]
    assert resting(proxies) == {B}


def test_one_success_heals_it(time):
    proxies = rotation(time=time, cooldown=10)
    fail(proxies, B)
    time.seconds += 10
    assert B in take(proxies, 3)
    proxies.report(B, ok=True)
    assert resting(proxies) == set()
    assert sorted(take(proxies, 6)) == [A, A, B, B, C, C]
    fail(proxies, B, times=2)
    assert resting(proxies) == set()


def test_if_the_one_that_tries_fails_the_next_waits_for_a_cooldown(time):
    proxies = rotation([A, B], time=time, cooldown=10)
    fail(proxies, B)
    time.seconds += 10
    assert take(proxies, 2) == [A, B]
    time.seconds += 1
    proxies.report(B, ok=False)
    time.seconds += 8.9
    assert take(proxies, 2) == [A, A]
    time.seconds += 0.1
    assert take(proxies, 2) == [A, B]


def test_one_that_tries_and_ends_without_a_word_keeps_nobody_waiting_for_ever(time):
    proxies = rotation([A, B], time=time, cooldown=10)
    fail(proxies, B)
    for _ in range(3):
        time.seconds += 10
        assert take(proxies, 2) == [A, B]


def test_a_failure_that_comes_late_does_not_make_the_rest_longer(time):
    proxies = rotation([A, B], time=time, cooldown=10)
    fail(proxies, B)
    time.seconds += 5
    fail(proxies, B, times=20)
    time.seconds += 5
    assert take(proxies, 2) == [A, B]


def test_a_success_that_comes_late_heals_too():
    proxies = rotation([A, B])
    fail(proxies, B)
    proxies.report(B, ok=True)
    assert take(proxies, 2) == [A, B]


def test_if_none_is_healthy_it_is_the_one_whose_rest_is_over_first(time):
    proxies = rotation(time=time)
    for each in (B, C, A):
        fail(proxies, each)
        time.seconds += 1
    # Being tried begins its rest anew.
    assert take(proxies, 4) == [B, C, A, B]
    assert proxies.choose(HOST, [C]) == A
    assert resting(proxies) == {A, B, C}


def test_one_that_rests_is_not_woken_for_a_retry_while_another_is_well():
    proxies = rotation([A, B])
    fail(proxies, B)
    assert proxies.choose(HOST, [A]) == A


def test_what_is_not_of_the_pool_is_not_counted():
    proxies = rotation([A, B])
    proxies.report("http://me:secret@elsewhere:1", ok=False)
    assert set(proxies.statistics()) == {A, B}


# --- sticky --------------------------------------------------------------------------------------

HOSTS = [f"https://host-{number}.example" for number in range(2000)]


def homes(proxies: ProxyRotation) -> dict[str, str]:
    return {host: proxies.choose(host) for host in HOSTS}


def test_a_sticky_host_keeps_its_proxy():
    proxies = rotation(sticky=True)
    first = homes(proxies)
    assert homes(proxies) == first


def test_sticky_hosts_are_spread_evenly():
    spread = Counter(homes(rotation(urls(10), sticky=True)).values())
    assert len(spread) == 10
    assert 150 < min(spread.values()) <= max(spread.values()) < 250


def test_a_sticky_host_has_the_same_proxy_in_the_next_run():
    first = homes(rotation(sticky=True, random=Random(1)))
    assert homes(rotation([C, A, B], sticky=True, random=Random(2))) == first


def test_a_sticky_host_has_the_same_proxy_in_another_process():
    hosts = HOSTS[:20]
    program = f"""
import random, time, types
from grequests._proxies import ProxyPool, ProxyRotation
clock = types.SimpleNamespace(now=time.monotonic)
rotation = ProxyRotation(ProxyPool({[A, B, C]}, sticky=True), clock, random.Random())
print(*(rotation.choose(host) for host in {hosts}))
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == take_each(rotation(sticky=True), hosts)


def take_each(proxies: ProxyRotation, hosts: list[str]) -> list[str]:
    return [proxies.choose(host) for host in hosts]


def test_when_a_proxy_rests_only_its_own_hosts_move_and_they_are_spread(time):
    proxies = rotation(urls(5), sticky=True, time=time)
    before = homes(proxies)
    fail(proxies, A)
    during = homes(proxies)
    moved = {host for host in HOSTS if before[host] != during[host]}
    assert moved == {host for host in HOSTS if before[host] == A}
    spread = Counter(during[host] for host in moved)
    assert set(spread) == set(urls(5)[1:])
    assert max(spread.values()) < 2 * min(spread.values())


def test_when_it_is_healthy_again_they_come_back(time):
    proxies = rotation(sticky=True, time=time)
    before = homes(proxies)
    fail(proxies, A)
    time.seconds += 30
    during = homes(proxies)
    assert Counter(during.values())[A] == 1  # the one that tries
    proxies.report(A, ok=True)
    assert homes(proxies) == before


def test_with_another_pool_only_the_hosts_of_the_one_that_went_move():
    before = homes(rotation([A, B, C, D], sticky=True))
    after = homes(rotation([A, C, D], sticky=True))
    assert all(after[host] == before[host] for host in HOSTS if before[host] != B)


def test_a_retry_of_a_sticky_host_goes_elsewhere():
    proxies = rotation(sticky=True)
    home = proxies.choose(HOST)
    second = proxies.choose(HOST, [home])
    third = proxies.choose(HOST, [home, second])
    assert {home, second, third} == {A, B, C}
    assert proxies.choose(HOST, [A, B, C]) == home
    assert proxies.choose(HOST) == home


def test_sticky_hosts_have_a_proxy_even_if_none_is_healthy():
    proxies = rotation([A, B], sticky=True)
    fail(proxies, B)
    fail(proxies, A)
    assert take(proxies, 3) == [B, A, B]


def test_hosts_without_end_take_bounded_memory(monkeypatch):
    monkeypatch.setattr(_proxies, "_MAX_HOSTS", 100)
    proxies = rotation(sticky=True)
    first = homes(proxies)
    assert len(proxies._homes) <= 100
    assert homes(proxies) == first


# --- statistics ----------------------------------------------------------------------------------


def test_the_statistics_count_what_was_used_and_what_failed():
    proxies = rotation([A, B])
    for ok in (True, True, False, False):
        proxies.report(proxies.choose(HOST), ok=ok)
    proxies.choose(HOST)
    fail(proxies, B, times=2)
    assert proxies.statistics() == {
        A: ProxyStatistics(used=3, failed=1, resting=False),
        B: ProxyStatistics(used=2, failed=3, resting=True),
    }


def test_the_statistics_are_a_snapshot_that_cannot_be_changed():
    proxies = rotation([A])
    before = proxies.statistics()
    proxies.choose(HOST)
    assert before[A].used == 0
    with pytest.raises(TypeError):
        before[A] = None
    with pytest.raises(dataclasses.FrozenInstanceError):
        before[A].used = 1


def test_proxies_that_differ_by_their_credentials_are_apart_and_shown_as_one():
    one, two = "http://session-1:pw@gate:7000", "http://session-2:pw@gate:7000"
    proxies = rotation([one, two])
    assert take(proxies, 3) == [one, two, one]
    fail(proxies, one)
    assert proxies.statistics() == {"http://gate:7000": ProxyStatistics(3, 3, resting=False)}
    fail(proxies, two)
    assert proxies.statistics() == {"http://gate:7000": ProxyStatistics(3, 6, resting=True)}


def test_a_rotation_shows_its_state():
    proxies = rotation([A, B])
    fail(proxies, A)
    assert repr(proxies) == "<ProxyRotation usable=1/2>"


# --- the policy ----------------------------------------------------------------------------------


def test_a_pool_keeps_its_proxies_as_a_tuple_without_doubles():
    pool = ProxyPool([A, B, A])
    assert pool.proxies == (A, B)
    assert (pool.sticky, pool.failures, pool.cooldown) == (False, 3, 30.0)


@pytest.mark.parametrize(
    "url",
    [
        "http://p1:3128",
        "https://p1",
        "HTTP://P1:3128/",
        "socks4://10.0.0.1:1080",
        "socks4a://p1:1080",
        "socks5://user:pw@p1:1080",
        "socks5h://user:p%40%2Fw@p1:1080",
        "http://user@p1:3128",
        "http://[::1]:3128",
    ],
)
def test_a_proxy_is_kept_as_it_was_given(url):
    assert ProxyPool([url]).proxies == (url,)


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("me:secret@p1:3128", "p1:3128"),
        ("p1:3128", "p1:3128"),
        ("", ""),
        ("http://", "http://"),
        ("http://me:secret@", "http://"),
        ("http://me:secret@:3128", "http://:3128"),
        ("ftp://me:secret@p1:21", "ftp://p1:21"),
        ("http://me:secret@p1:port", "http://p1:port"),
        ("http://me:secret@p1:99999", "http://p1:99999"),
        ("http://me:secret@[::1", "http://[::1"),
        ("http://me:secret@p1/path", "http://p1"),
        ("http://me:secret@p1?token=secret", "http://p1"),
        ("http://me:secret@p1#secret", "http://p1"),
        ("http://me:se/secret@p1:3128", "http://p1:3128"),
        ("http://me:1/secret@p1:3128", "http://p1:3128"),
        ("http://me:1?secret@p1:3128", "http://p1:3128"),
        ("http://me:1#secret@p1:3128", "http://p1:3128"),
        ("me:secret://secret@p1", "p1"),
        ("http://me:secret@p1:31 28", "http://p1:31 28"),
        ("http://me:secret@p\n1", "http://p\n1"),
        (" http://me:secret@p1", "p1"),
    ],
)
def test_what_is_no_proxy_is_refused_and_its_password_not_shown(url, told):
    with pytest.raises(PolicyError, match="proxies must be URLs such as") as caught:
        ProxyPool([A, url])
    error = caught.value
    assert (error.name, error.value) == ("proxies", told)
    assert "secret" not in str(error) + repr(error) + repr(error.__context__)


@pytest.mark.parametrize(
    ("proxies", "told"),
    [
        ("http://me:secret@p1:3128", "http://p1:3128"),
        (b"http://me:secret@p1:3128", bytes),
        ({"http": "http://me:secret@p1:3128"}, dict),
        (3, int),
        (None, type(None)),
        ([b"http://me:secret@p1:3128"], bytes),
        ([A, {"http": "http://me:secret@p1:3128"}], dict),
        ([A, None], type(None)),
        ([], ()),
    ],
)
def test_what_is_no_sequence_of_proxies_is_refused(proxies, told):
    with pytest.raises(PolicyError) as caught:
        ProxyPool(proxies)
    assert (caught.value.name, caught.value.value) == ("proxies", told)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("sticky", 1),
        ("sticky", "host"),
        ("failures", 0),
        ("failures", 1.5),
        ("failures", True),
        ("cooldown", 0),
        ("cooldown", -1),
        ("cooldown", float("inf")),
        ("cooldown", float("nan")),
        ("cooldown", None),
    ],
)
def test_other_values_are_checked_too(name, value):
    with pytest.raises(PolicyError) as caught:
        ProxyPool([A], **{name: value})
    assert caught.value.name == name


def test_only_the_proxies_may_be_given_without_their_name():
    with pytest.raises(TypeError):
        ProxyPool([A], True)


def test_a_pool_is_a_frozen_value_of_the_package():
    assert ProxyPool([A]) == ProxyPool((A,))
    assert hash(ProxyPool([A])) == hash(ProxyPool([A]))
    with pytest.raises(dataclasses.FrozenInstanceError):
        ProxyPool([A]).sticky = True
    assert {ProxyPool.__module__, ProxyStatistics.__module__} == {"grequests"}


def test_a_pool_shows_what_was_chosen_and_no_password():
    pool = ProxyPool(["http://me:secret@p1:3128", "socks5h://p2"], sticky=True, cooldown=5.0)
    assert repr(pool) == "ProxyPool(['http://p1:3128', 'socks5h://p2'], sticky=True, cooldown=5.0)"
    assert repr(ProxyPool([A])) == "ProxyPool(['http://p1:3128'])"


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("http://p1:3128", "http://p1:3128"),
        ("http://me:secret@p1:3128/", "http://p1:3128"),
        ("socks5h://me@[::1]:1080", "socks5h://[::1]:1080"),
        ("http://me:s@cret@p1", "http://p1"),
    ],
)
def test_a_proxy_is_shown_without_credentials(url, told):
    assert shown(url) == told


@given(st.text(), st.text())
def test_no_text_makes_it_show_what_stands_before_an_at_sign(user, password):
    assert shown(f"http://{user}:{password}@p1:3128") == "http://p1:3128"
