"""What must not get into a request: control characters, wrong types, hosts and ports that are none.

Each wrong request stands in a run between good ones, which are answered whatever becomes of it: it
ends by a typed error before a byte of it is sent, or is sent with what was wrong percent-encoded. What
becomes of it is what becomes of it in Requests: the same class of error, or the same bytes on the wire.
"""

from __future__ import annotations

import itertools
import logging
import re
from typing import Any

import gevent
import pytest
import requests
from engine.raw import Peer, RawServer, answer

import grequests
from grequests import Client, Result, Timeout
from grequests._kinds import kind_of

from .bad_input import CASES, Make, Refused, Sent, Wrong, of_url, to_proxy
from .harness import LATE, TOTAL, Odd

LANES = ["fast", "general"]
#: Lines that each request has.
USUAL = re.compile(r"(Host: [\w.:]+|User-Agent: .*|Accept.*: .*|Connection: keep-alive)")


class Ear(RawServer):
    """Keeps the heads of what it is asked, and answers each with the end of its target."""

    def __init__(self) -> None:
        super().__init__(self._serve)
        self.heads: list[list[str]] = []

    def _serve(self, peer: Peer) -> None:
        while (head := peer.until(b"\r\n\r\n")) is not None:
            lines = head.decode("latin-1").split("\r\n")
            self.heads.append(lines)
            peer.send(answer(lines[0].split(" ")[1][-20:].encode()))

    def taken(self) -> list[list[str]]:
        heads, self.heads = self.heads, []
        return heads


def run(requests_: list[grequests.AsyncRequest]) -> list[Result]:
    limit = gevent.Timeout(TOTAL + LATE, AssertionError("it hangs"))
    with (
        limit,
        Client(concurrency=1, retry=None, circuit=None, timeout=Timeout(total=TOTAL)) as client,
    ):
        results = sorted(client.run(requests_), key=lambda one: one.index)
        counts = client.statistics()
        assert (counts.in_flight, counts.queued) == (0, 0)
    return results


@pytest.mark.parametrize("lane", LANES)
@pytest.mark.parametrize("wrong", CASES, ids=str)
def test_what_is_wrong_is_refused_or_encoded_and_nothing_else_is_lost(
    no_leaks, wrong: Wrong, lane: str
) -> None:
    with Ear() as ear:
        root = f"http://127.0.0.1:{ear.port}"
        session = Odd() if lane == "general" else None
        outcome = wrong.strict if wrong.strict and lane == "fast" else wrong.outcome
        method, url, keywords = wrong.make(root)
        bad = grequests.request(method, url, session=session, **keywords)
        good = [grequests.get(f"{root}/good{number}", session=session) for number in range(3)]
        for order in ([bad, *good], [good[0], bad, *good[1:]]):
            results = run(order)
            check(next(one for one in results if one.request is bad), outcome)
            texts = [one.response.text for one in results if one.request is not bad]
            assert texts == ["/good0", "/good1", "/good2"]
            heads = ear.taken()
            ours = [head for head in heads if "/good" not in head[0]]
            assert len(heads) - len(ours) == 3
            check_heads(ours, outcome)
        assert outcome_of_requests(*wrong.make(root)) is (
            wrong.outcome.error if isinstance(wrong.outcome, Refused) else None
        )
        assert outcome is wrong.strict or ear.taken() == ours[:1]
        if session is not None:
            session.close()
        grequests.close()


def check(result: Result, outcome: Refused | Sent) -> None:
    if isinstance(outcome, Sent):
        assert result.error is None, repr(result.error)[:500]
        return
    assert type(result.error) is outcome.error, repr(result.error)[:500]
    assert kind_of(result.error) == outcome.kind


def check_heads(heads: list[list[str]], outcome: Refused | Sent) -> None:
    """Whether the server read what it should, and nothing beside it."""
    if isinstance(outcome, Refused):
        assert heads == []
        return
    [[first, *lines]] = heads
    assert first == f"GET {outcome.target} HTTP/1.1"
    assert [line for line in lines if not USUAL.fullmatch(line)] == [
        line for line in outcome.lines if not line.startswith("Host")
    ]


def outcome_of_requests(method: Any, url: Any, keywords: dict[str, Any]) -> type | None:
    """The class of what plain Requests raises."""
    try:
        requests.request(method, url, **{"timeout": TOTAL, **keywords})
    except Exception as error:  # noqa: BLE001 - it is what is compared
        return type(error)
    return None


# --- secrets -------------------------------------------------------------------------------------

SECRETS: dict[str, Make] = {
    "an answer": of_url(lambda root: root.replace("//", "//me:hunter2@") + "/a"),
    "refused": of_url(lambda _: "http://me:hunter2@127.0.0.1:1/a"),
    "no host": of_url(lambda _: "http://me:hunter2@no.such.host.invalid/a"),
    "a NUL in front": of_url(lambda _: "\0http://me:hunter2@127.0.0.1/a"),
    "a bad port": of_url(lambda _: "http://me:hunter2@127.0.0.1:80x/a"),
    "a bad host": of_url(lambda _: "http://me:hunter2@a b/a"),
    "a proxy that refuses": to_proxy(lambda _: "http://me:hunter2@127.0.0.1:1"),
    "a proxy that refuses a tunnel": to_proxy(lambda _: "http://me:hunter2@127.0.0.1:1", "https"),
}


@pytest.mark.parametrize("lane", LANES)
@pytest.mark.parametrize("name", SECRETS)
def test_a_password_is_in_no_target_text_log_or_repr(
    no_leaks, caplog, name: str, lane: str
) -> None:
    caplog.set_level(logging.DEBUG, logger="grequests")
    with Ear() as ear:
        session = Odd() if lane == "general" else None
        method, url, keywords = SECRETS[name](f"http://127.0.0.1:{ear.port}")
        [result] = run([grequests.request(method, url, session=session, **keywords)])
        assert (result.error is None) is (name == "an answer")
        shown = [repr(result), repr(result.request), result.host, *caplog.messages]
        shown += [str(result.error), repr(result.error)]
        assert not [text for text in shown if "hunter2" in text]
        assert not [line for line in itertools.chain(*ear.heads) if "hunter2" in line]
        if name == "an answer":
            assert "Authorization: Basic bWU6aHVudGVyMg==" in ear.heads[0]
        else:
            assert caplog.messages
        if session is not None:
            session.close()
        grequests.close()
