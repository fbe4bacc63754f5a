"""CacheControl: an HTTPAdapter of its own, mounted on the caller's session."""

from __future__ import annotations

from email.utils import formatdate

import requests
from cachecontrol import CacheControl, CacheControlAdapter
from cachecontrol.caches.file_cache import FileCache
from cachecontrol.heuristics import ExpiresAfter

import grequests
from servers import Server, answer

from .support import fetch, gets, in_process, lanes, reraise


def cacheable(request):
    # It counts the age from the date.
    headers = "Cache-Control: max-age=60", f"Date: {formatdate(usegmt=True)}"
    return answer(request.target.encode(), "200 OK", *headers)


def on_and_off() -> None:
    with Server() as server, requests.Session() as session:
        server.on("/kept/*", cacheable)
        urls = [server.url(f"/kept/{n}") for n in range(10)]
        texts = [f"/kept/{n}" for n in range(10)]
        plain = {scheme: session.adapters[scheme] for scheme in ("http://", "https://")}
        assert lanes(fetch(urls, session=session)) == {"fast"}
        assert CacheControl(session) is session
        for was_cached in (False, True):
            found = fetch(urls, session=session)
            assert [each.text for each in found] == texts
            assert [each.from_cache for each in found] == [was_cached] * 10
        assert server.count == 20
        session.adapters.update(plain)
        assert lanes(fetch(urls, session=session)) == {"fast"}
        assert server.count == 30


def test_on_and_off(no_leaks):
    on_and_off()


def test_whichever_is_imported_first(order):
    in_process(order, "cachecontrol", on_and_off)


def test_requests_are_at_once_and_files_keep_them(no_leaks, server, tmp_path):
    gate = server.hold("/gate", count=10, then=cacheable)
    urls = [server.url(f"/gate?{n}") for n in range(10)]
    for was_cached in (False, True):
        with requests.Session() as session:
            CacheControl(session, cache=FileCache(str(tmp_path / "web")))
            found = list(grequests.imap(gets(urls, session=session), size=10))
            assert sorted(each.text for each in found) == [f"/gate?{n}" for n in range(10)]
            assert {each.from_cache for each in found} == {was_cached}
    assert gate.arrived == server.peak == server.count == 10


def test_an_etag_is_asked_about(server):
    def tagged(request):
        if request.headers.get("if-none-match") == '"1"':
            return answer(b"", "304 Not Modified", 'ETag: "1"')
        return answer(b"body", "200 OK", 'ETag: "1"')

    server.on("/tagged", tagged)
    with requests.Session() as session:
        CacheControl(session)
        fetch([server.url("/tagged")], session=session)
        found = fetch([server.url("/tagged")] * 3, session=session)
    assert [(each.status_code, each.text) for each in found] == [(200, "body")] * 3
    assert [each.from_cache for each in found] == [True] * 3
    assert server.count == 4


def test_a_heuristic_and_a_post_that_invalidates(server):
    server.on("/dated", lambda _: answer(b"", "200 OK", f"Date: {formatdate(usegmt=True)}"))
    adapter = CacheControlAdapter(heuristic=ExpiresAfter(days=1))
    with requests.Session() as session:
        session.mount("http://", adapter)
        url = server.url("/dated")
        for was_cached in (False, True):
            assert [e.from_cache for e in fetch([url], session=session)] == [was_cached]
        grequests.map([grequests.put(url, session=session)], exception_handler=reraise)
        assert [e.from_cache for e in fetch([url], session=session)] == [False]
    assert [request.method for request in server.requests] == ["GET", "PUT", "GET"]


def test_streamed_responses_are_kept_when_they_have_been_read(server):
    server.on("/kept", cacheable)
    with requests.Session() as session:
        CacheControl(session)
        [first] = grequests.map(gets([server.url("/kept")], session=session), stream=True)
        assert b"".join(first.iter_content(2)) == b"/kept"
        [second] = grequests.map(gets([server.url("/kept")], session=session), stream=True)
        assert (second.from_cache, second.text) == (True, "/kept")
    assert server.count == 1
