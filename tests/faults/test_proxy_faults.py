"""Proxies that refuse, lie, stall or die: who is blamed, who goes on, and that no password is shown.

`proxies` has the faults. In the fast lane whatever goes wrong between us and a proxy that is asked for
a tunnel is a `ProxyError`; Requests says so of refusals only, and the general lane says what it says.
"""

from __future__ import annotations

import base64
import gc
import logging
import ssl
import time
import traceback
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import gevent
import pytest
from engine.raw import Peer, RawServer
from requests import exceptions

import grequests
from grequests import Client, ProxyPool, Result, Retry, Timeout
from grequests._kinds import PROXY, kind_of

from .growth import assert_steady
from .harness import LATE, TOTAL, Bad, Fine, Odd, check
from .proxies import CREDENTIALS, FAULTS, PASSWORD, USER, FaultyProxy, ProxyFault

lanes = pytest.mark.parametrize("lane", ["fast", "general"])
ENCODED = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
#: None of these may be seen by anybody.
SECRETS = (PASSWORD, quote(PASSWORD, safe=""), PASSWORD.partition("/")[0], USER, ENCODED)
CHOSEN = ("CONNECT:-407-(https)", "CONNECT:-FIN-after-nothing-(https)")


class Asker:
    """A client in one lane, and all that is seen of it.

    Args:
        session: of its requests; None for the fast lane.
        ca_file: whom it trusts.
        told: gets what is seen.
        settings: the client's.
    """

    def __init__(self, session: Odd | None, ca_file: str, told: list[str], **settings: Any) -> None:
        self.session = session
        self.ca_file = ca_file
        self.client = Client(circuit=None, **{"retry": None, **settings})
        self.told = told
        for event in ("started", "finished", "retried"):
            self.client.on(event, lambda each: self.told.append(f"{each!r} {each!s}"))

    def ask(self, url: str, within: float, **keywords: Any) -> Result:
        began = time.monotonic()
        request = grequests.get(url, session=self.session, verify=self.ca_file, **keywords)
        with gevent.Timeout(within + LATE, AssertionError("it hangs")):
            [result] = self.client.run([request])
        assert time.monotonic() - began < within + LATE
        self.told.append(f"{request!r} {request!s}")
        self.told.append(f"{result!r} {result!s} {result.attempts!r}")
        self.told += texts(result.error)
        return result

    def close(self) -> None:
        counts = self.client.statistics()
        assert (counts.in_flight, counts.queued) == (0, 0)
        self.told.append(f"{counts!r} {counts!s} {counts.explain()} {self.client!r}")
        self.client.close()


def texts(error: BaseException | None) -> Iterator[str]:
    """All that an error and those behind it say."""
    seen: list[Any] = []
    pending: list[Any] = [error]
    while pending:
        each = pending.pop()
        if not isinstance(each, BaseException) or any(each is other for other in seen):
            continue
        seen.append(each)
        yield f"{each!r} {each!s} {each.args!r}"
        yield "".join(traceback.format_exception(each))
        reason = getattr(each, "reason", None)
        pending += [each.__cause__, each.__context__, reason, *each.args]


def assert_discreet(told: list[str], caplog: pytest.LogCaptureFixture) -> None:
    records = [f"{each.getMessage()} {each.args!r} {each.msg!r}" for each in caplog.records]
    for text in [*told, *records, caplog.text]:
        shown = [secret for secret in SECRETS if secret in text]
        assert not shown, (shown, text)


def listen_closely(lane: str, caplog: pytest.LogCaptureFixture) -> None:
    """Have all loggers say all they can; with urllib3's at DEBUG nothing takes the fast lane."""
    caplog.set_level(logging.DEBUG)
    caplog.set_level(logging.DEBUG if lane == "general" else logging.INFO, "urllib3")


def check_one_of(result: Result, expected: Bad | Fine) -> None:
    """As `check`; where a reset may overtake what was sent, there are two kinds."""
    if isinstance(expected, Bad):
        kind = kind_of(result.error) if result.error is not None else ""
        assert kind in expected.kind.split(" or "), repr(result.error)
        expected = Bad(kind, expected.error, expected.text)
    check(result, expected)


def bad_then_well(
    proxy: FaultyProxy, lane: str, ca_file: str, told: list[str]
) -> tuple[Result, Result]:
    """The outcome of a request that fails at the proxy, and of the next, when it does as it should."""
    fault = proxy.fault
    session = Odd() if lane == "general" else None
    timeout = Timeout(connect=fault.timeout, read=fault.timeout, total=fault.total)
    one = Asker(session, ca_file, told, timeout=timeout)
    next_one = Asker(session, ca_file, told, timeout=Timeout(total=TOTAL))
    proxies = {fault.scheme: f"http://{CREDENTIALS}@127.0.0.1:{proxy.port}"}
    proxy.well.clear()
    proxy.asked.clear()
    result = one.ask(f"{fault.scheme}://localhost:9/fault", fault.total, proxies=proxies)
    proxy.well.set()
    following = next_one.ask(f"{fault.scheme}://localhost:9/next", TOTAL, proxies=proxies)
    one.close()
    next_one.close()
    if session is not None:
        session.close()
    grequests.close()
    check_one_of(result, fault.outcome(lane, proxy.step))
    check(following, Fine(b"/next"))
    return result, following


@lanes
@pytest.mark.parametrize("step", [None, 1], ids=["at once", "byte by byte"])
@pytest.mark.parametrize("fault", FAULTS, ids=str)
def test_a_fault(
    no_leaks: None,
    fault: ProxyFault,
    step: int | None,
    lane: str,
    tls: ssl.SSLContext,
    ca_file: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    listen_closely(lane, caplog)
    told: list[str] = []
    with FaultyProxy(fault, tls, step) as proxy:
        result, following = bad_then_well(proxy, lane, ca_file, told)
    assert (type(following.response) is grequests.Response) is (lane == "fast")
    # It was said to the proxy, and to nobody else.
    sent = f"Proxy-Authorization: Basic {ENCODED}".encode()
    assert proxy.asked and all(sent in head for head in proxy.asked)
    assert result.error is None or "GET " in caplog.text
    assert_discreet(told, caplog)
    del result, following
    gc.collect()


@lanes
@pytest.mark.parametrize("fault", FAULTS, ids=str)
def test_a_fault_again_and_again(
    no_leaks: None, fault: ProxyFault, lane: str, tls: ssl.SSLContext, ca_file: str
) -> None:
    """Nothing of it stays in memory (of the logs, which pytest keeps, nothing is known here)."""
    logging.disable()
    try:
        with FaultyProxy(fault, tls) as proxy:
            bad_then_well(proxy, lane, ca_file, [])
            assert_steady(lambda: bad_then_well(proxy, lane, ca_file, []))
    finally:
        logging.disable(logging.NOTSET)


@lanes
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_that_is_not_there(
    no_leaks: None, lane: str, scheme: str, ca_file: str, caplog: pytest.LogCaptureFixture
) -> None:
    listen_closely(lane, caplog)
    session = Odd() if lane == "general" else None
    told: list[str] = []
    one = Asker(session, ca_file, told, timeout=Timeout(total=TOTAL))
    with RawServer(Peer.serve) as server:
        proxies = {scheme: f"http://{CREDENTIALS}@127.0.0.1:1"}
        result = one.ask(f"{scheme}://localhost:9/fault", TOTAL, proxies=proxies)
        following = one.ask(f"{server.url}/next", TOTAL)
        one.close()
        if session is not None:
            session.close()
        grequests.close()
    check(result, Bad(PROXY, exceptions.ProxyError, "Connection refused"))
    assert following.unwrap().text == "/next"
    assert_discreet(told, caplog)
    del result, following
    gc.collect()


@lanes
def test_a_pool_of_proxies_of_which_some_refuse(
    no_leaks: None,
    lane: str,
    tls: ssl.SSLContext,
    ca_file: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A retry takes another one; neither the pool nor its statistics know anybody's password."""
    listen_closely(lane, caplog)
    session = Odd() if lane == "general" else None
    told: list[str] = []
    [refuses, cuts] = [each for each in FAULTS if str(each) in CHOSEN]
    with (
        FaultyProxy(refuses, tls) as bad,
        FaultyProxy(cuts, tls) as worse,
        FaultyProxy(cuts, tls) as good,
    ):
        good.well.set()
        places = [f"http://{CREDENTIALS}@127.0.0.1:{each.port}" for each in (bad, worse, good)]
        pool = ProxyPool(places, failures=1)
        retry = Retry(attempts=3, backoff=0.01, budget=1.0)
        one = Asker(session, ca_file, told, proxies=pool, retry=retry, timeout=Timeout(total=TOTAL))
        results = [one.ask(f"https://localhost:9/{n}", 3 * TOTAL) for n in range(4)]
        told += [repr(pool), str(pool), repr(one.client.proxy_statistics())]
        one.close()
        if session is not None:
            session.close()
        grequests.close()
    assert [each.unwrap().text for each in results] == [f"/{n}" for n in range(4)]
    assert (len(bad.asked), len(worse.asked)) == (1, 1)
    failed = [each for result in results for each in result.attempts if each.error is not None]
    for each in failed:
        told += texts(each.error)
        assert kind_of(each.error) == PROXY or lane == "general"
    assert len(failed) == 2
    assert_discreet(told, caplog)
    del results, failed
    gc.collect()
