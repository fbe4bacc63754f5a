"""requests-cache: a session class of its own, or in the place of `requests.Session`."""

from __future__ import annotations

import datetime

import pytest
import requests
import requests_cache

import grequests
from servers import Server, answer

from .support import fetch, gets, in_process, lanes


def on_and_off() -> None:
    """The cache installed for everybody, and taken away again."""
    with Server() as server:
        urls = [server.url(f"/{n}") for n in range(10)]
        texts = [f"/{n}" for n in range(10)]
        assert [each.text for each in fetch(urls)] == texts
        requests_cache.install_cache(backend="memory")
        try:
            for was_cached in (False, True):
                found = fetch(urls)
                assert [each.text for each in found] == texts
                assert [each.from_cache for each in found] == [was_cached] * 10
            assert server.count == 20
            with requests_cache.disabled():
                assert lanes(fetch(urls)) == {"fast"}
            assert server.count == 30
            assert all(each.from_cache for each in fetch(urls))
        finally:
            requests_cache.uninstall_cache()
        found = fetch(urls)
        assert [each.text for each in found] == texts
        assert lanes(found) == {"fast"}
        assert server.count == 40


def test_on_and_off(no_leaks):
    on_and_off()


def test_whichever_is_imported_first(order):
    in_process(order, "requests_cache", on_and_off)


@pytest.mark.parametrize("backend", ["memory", "sqlite", "filesystem"])
def test_a_second_map_asks_nothing_of_the_server(no_leaks, server, tmp_path, backend):
    urls = [server.url(f"/{n}") for n in range(20)]
    texts = [f"/{n}" for n in range(20)]
    cache = str(tmp_path / "cache")
    with requests_cache.CachedSession(cache, backend=backend) as session:
        assert [each.text for each in fetch(urls, session=session)] == texts
        found = fetch(urls, session=session)
        assert [each.text for each in found] == texts
        assert all(each.from_cache for each in found)
        assert sorted(session.cache.urls()) == sorted(urls)
        # The session used directly finds what the map has put there.
        assert session.get(urls[3]).from_cache
        session.cache.close()
    assert server.count == 20


def test_requests_are_at_once_and_imap_caches_as_well(server):
    gate = server.hold("/gate", count=10)
    urls = [server.url(f"/gate?{n}") for n in range(10)]
    with requests_cache.CachedSession(backend="memory") as session:
        for was_cached in (False, True):
            found = list(grequests.imap(gets(urls, session=session), size=10))
            assert sorted(each.text for each in found) == [f"/gate?{n}" for n in range(10)]
            assert {each.from_cache for each in found} == {was_cached}
    assert gate.arrived == server.peak == server.count == 10


def test_expiry_methods_and_headers(server):
    server.on("/stored", lambda _: answer(b"x", "200 OK", "Cache-Control: max-age=60"))
    server.on("/never", lambda _: answer(b"x", "200 OK", "Cache-Control: no-store"))
    with requests_cache.CachedSession(
        backend="memory",
        cache_control=True,
        allowable_methods=["GET", "POST"],
        expire_after=datetime.timedelta(days=1),
        match_headers=["Accept-Language"],
    ) as session:
        sent = lambda: [
            grequests.get(server.url("/stored"), session=session),
            grequests.get(server.url("/never"), session=session),
            grequests.get(server.url("/x"), session=session, headers={"Accept-Language": "de"}),
            grequests.post(server.url("/echo"), session=session, json={"a": 1}),
        ]
        first, second = grequests.map(sent()), grequests.map(sent())
        assert [each.from_cache for each in first] == [False] * 4
        assert [each.from_cache for each in second] == [True, False, True, True]
        assert second[0].headers["Cache-Control"] == "max-age=60"
        [french] = fetch([server.url("/x")], session=session, headers={"Accept-Language": "fr"})
        assert not french.from_cache


def test_an_etag_is_asked_about_and_its_304_serves_the_cached_body(server):
    def tagged(request):
        if request.headers.get("if-none-match") == '"1"':
            return answer(b"", "304 Not Modified", 'ETag: "1"')
        return answer(b"body", "200 OK", 'ETag: "1"', "Cache-Control: max-age=0")

    server.on("/tagged", tagged)
    with requests_cache.CachedSession(backend="memory", cache_control=True) as session:
        fetch([server.url("/tagged")], session=session)
        [found] = fetch([server.url("/tagged")], session=session)
    assert (found.status_code, found.text) == (200, "body")
    assert (found.from_cache, found.revalidated) == (True, True)
    assert server.count == 2


def test_options_of_its_own_for_one_request(server):
    with requests_cache.CachedSession(backend="memory") as session:
        url = server.url("/")
        fetch([url], session=session)
        [refreshed] = fetch([url], session=session, force_refresh=True)
        [cached] = fetch([url], session=session, only_if_cached=True)
        [missing] = fetch([server.url("/else")], session=session, only_if_cached=True)
        assert (refreshed.from_cache, cached.from_cache, missing.status_code) == (False, True, 504)
    assert server.count == 2


def test_a_session_of_several_mixins(server):
    class Both(requests_cache.CacheMixin, requests.Session):
        pass

    with Both(backend="memory") as session:
        fetch([server.url("/")], session=session)
        assert [e.from_cache for e in fetch([server.url("/")] * 3, session=session)] == [True] * 3
    assert server.count == 1
