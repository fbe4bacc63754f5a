"""A secret in a request that is refused, wherever it stands, and wherever it might be shown."""

from __future__ import annotations

import logging
from typing import Any

import pytest
import requests

import grequests
from grequests import Client, Timeout

from .bad_input import Make, of_url, to_proxy, with_keywords
from .harness import TOTAL, Odd
from .test_bad_input import LANES, Ear

SECRET = "hunter2"  # noqa: S105 - it is to be seen
#: Each is refused by Requests, most of them with a text that has the secret.
REFUSED: dict[str, Make] = {
    "a header": with_keywords(headers={"Authorization": f"Bearer {SECRET}\n"}),
    "a header's bytes": with_keywords(headers={"X-Api-Key": f"{SECRET}\r\nA: b".encode()}),
    "a header that is no text": with_keywords(headers={"Authorization": [SECRET]}),
    "a header of another alphabet": with_keywords(headers={"Authorization": f"{SECRET}\u20ac"}),
    "a cookie": with_keywords(cookies={"sid": f"{SECRET}\n"}),
    "a cookie of another alphabet": with_keywords(cookies={"sid": f"{SECRET}\u20ac"}),
    "a password of another alphabet": with_keywords(auth=("me", f"{SECRET}\u20ac")),
    "no scheme": of_url(lambda _: f"me:{SECRET}@host/path"),
    "no known scheme": of_url(lambda _: f"ftp://me:{SECRET}@host/path"),
    "no URL": of_url(lambda _: f"http://me:{SECRET}@[/path"),
    "a proxy's port": to_proxy(lambda _: f"http://me:{SECRET}@127.0.0.1:80x"),
}


@pytest.mark.parametrize("lane", LANES)
@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused_shows_no_secret(no_leaks, caplog, name: str, lane: str) -> None:
    assert_hidden(caplog, REFUSED[name], lane, in_texts=False)


@pytest.mark.parametrize("lane", LANES)
def test_the_query_of_what_fails_is_in_the_text_of_requests_alone(no_leaks, caplog, lane) -> None:
    make = of_url(lambda _: f"http://127.0.0.1:1/a?token={SECRET}")
    assert_hidden(caplog, make, lane, in_texts=True)


def assert_hidden(caplog: Any, make: Make, lane: str, *, in_texts: bool) -> None:
    caplog.set_level(logging.DEBUG, logger="grequests")
    session = Odd() if lane == "general" else None
    events: list[object] = []
    retry = grequests.Retry(attempts=2, backoff=0)
    with Ear() as ear:
        method, url, keywords = make(f"http://127.0.0.1:{ear.port}")
        request = grequests.request(method, url, session=session, **keywords)
        with Client(retry=retry, timeout=Timeout(total=TOTAL)) as client:
            for kind in ("started", "finished", "retried"):
                client.on(kind, events.append)
            [result] = client.run([request])
            shown = [repr(client), repr(client.statistics()), str(client.statistics())]
        assert ear.heads == []
    shown += [repr(result), repr(result.attempts), repr(request), result.host]
    assert events
    shown += [*map(repr, events), *caplog.messages]
    assert caplog.messages
    assert result.error is not None
    assert not [text for text in shown if SECRET in text]
    texts = [str(result.error), repr(result.error), repr(result.error.args)]
    assert any(SECRET in text for text in texts) is in_texts, texts
    if not in_texts:
        assert type(result.error) is type(of_requests(method, url, keywords))
    if session is not None:
        session.close()
    grequests.close()


def of_requests(method: Any, url: Any, keywords: dict[str, Any]) -> BaseException | None:
    try:
        requests.request(method, url, timeout=TOTAL, **keywords)
    except Exception as error:  # noqa: BLE001 - it is what is compared
        return error
    return None
