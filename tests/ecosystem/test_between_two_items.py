"""A package switched on and off by the caller's own iterator, between two items of one map."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import betamax
import pytest
import requests
import requests_cache
import requests_mock
import responses
import vcr
from cachecontrol import CacheControl

import grequests

from .support import gets, reraise


@pytest.fixture(params=["map", "imap"])
def in_order(request) -> Callable[[Iterator[Any]], list[Any]]:
    """Sends an iterator's requests, and gives the responses in its order."""

    def by_imap(sent: Iterator[Any]) -> list[Any]:
        found = list(grequests.imap(sent, size=2, exception_handler=reraise))
        return sorted(found, key=lambda each: int(each.request.url.rpartition("/")[2]))

    def by_map(sent: Iterator[Any]) -> list[Any]:
        return grequests.map(sent, exception_handler=reraise)

    return by_imap if request.param == "imap" else by_map


def one_by_one(urls: list[str], switch: Callable[[int], None], **kwargs: Any) -> Iterator[Any]:
    """Requests, and what is switched before each."""
    for n, request in enumerate(gets(urls, **kwargs)):
        switch(n)
        yield request


def test_nothing_gets_past_a_mock_that_is_on_for_the_rest(server):
    """`imap` pulls as slots become free, so the mock is on for what is pulled from then on."""
    urls = [server.url(f"/{n}") for n in range(20)]
    mock = responses.RequestsMock(assert_all_requests_are_fired=False)
    for url in urls:
        mock.get(url, body="mocked")

    def switch(n: int) -> None:
        if n == 10:
            mock.start()

    try:
        found = list(grequests.imap(one_by_one(urls, switch), size=1, exception_handler=reraise))
    finally:
        mock.stop()
        mock.reset()
    assert [each.text for each in found] == [f"/{n}" for n in range(10)] + ["mocked"] * 10
    assert server.targets() == [f"/{n}" for n in range(10)]


def test_responses_switched_off_and_on(server, in_order):
    urls = [server.url(f"/{n}") for n in range(6)]
    mock = responses.RequestsMock(assert_all_requests_are_fired=False)
    for url in urls:
        mock.get(url, body="mocked")

    def switch(n: int) -> None:
        if n == 3:
            mock.start()

    try:
        found = in_order(one_by_one(urls, switch))
    finally:
        mock.stop()
        mock.reset()
    assert [each.text for each in found[3:]] == ["mocked"] * 3


def test_requests_mock(server, in_order):
    urls = [server.url(f"/{n}") for n in range(6)]
    mock = requests_mock.Mocker()
    mock.get(requests_mock.ANY, text="mocked")

    def switch(n: int) -> None:
        if n == 3:
            mock.start()

    try:
        found = in_order(one_by_one(urls, switch))
    finally:
        mock.stop()
    assert [each.text for each in found[3:]] == ["mocked"] * 3
    assert not {"/3", "/4", "/5"} & {*server.targets()}


def test_requests_mock_on_the_session_that_is_used(server, in_order):
    urls = [server.url(f"/{n}") for n in range(6)]
    with requests.Session() as session:
        mock = requests_mock.Mocker(session=session)
        mock.get(requests_mock.ANY, text="mocked")

        def switch(n: int) -> None:
            if n == 3:
                mock.start()

        found = in_order(one_by_one(urls, switch, session=session))
        mock.stop()
    assert [each.text for each in found[3:]] == ["mocked"] * 3
    assert not {"/3", "/4", "/5"} & {*server.targets()}


def test_vcrpy(server, in_order, tmp_path):
    urls = [server.url(f"/{n}") for n in range(6)]
    recorder = vcr.use_cassette(str(tmp_path / "tape.yaml"))
    cassettes = []

    def switch(n: int) -> None:
        if n == 3:
            cassettes.append(recorder.__enter__())

    try:
        found = in_order(one_by_one(urls, switch))
    finally:
        recorder.__exit__(None, None, None)
    assert [each.text for each in found] == [f"/{n}" for n in range(6)]
    recorded = {each.uri for each in cassettes[0].requests}
    assert recorded >= {*urls[3:]}


def test_requests_cache(server, in_order):
    urls = [server.url(f"/{n}") for n in range(6)]

    def switch(n: int) -> None:
        if n == 3:
            requests_cache.install_cache(backend="memory")

    try:
        found = in_order(one_by_one(urls, switch))
        assert [hasattr(each, "from_cache") for each in found[3:]] == [True] * 3
        assert requests.get(urls[5]).from_cache
    finally:
        requests_cache.uninstall_cache()


def test_an_adapter_on_the_session_that_is_used(server, in_order, tmp_path):
    """CacheControl and betamax mount theirs."""
    urls = [server.url(f"/{n}") for n in range(9)]
    with requests.Session() as session:
        recorder = betamax.Betamax(session, cassette_library_dir=str(tmp_path))

        def switch(n: int) -> None:
            if n == 3:
                recorder.use_cassette("tape").start()
            if n == 6:
                CacheControl(session)

        found = in_order(one_by_one(urls, switch, session=session))
        recorder.stop()
    assert [each.text for each in found] == [f"/{n}" for n in range(9)]
    assert all(hasattr(each, "from_cache") for each in found[6:])
