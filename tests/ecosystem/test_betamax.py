"""betamax: an adapter of its own on the session, which sends through the session's others."""

from __future__ import annotations

import json

import betamax
import pytest
import requests

import grequests
from servers import Server

from .support import fetch, gets, in_process, lanes


def on_and_off() -> None:
    import tempfile
    from pathlib import Path

    with tempfile.TemporaryDirectory() as folder, Server() as server, requests.Session() as session:
        urls = [server.url(f"/{n}") for n in range(20)]
        texts = [f"/{n}" for n in range(20)]
        recorder = betamax.Betamax(session, cassette_library_dir=folder)
        for seen in (20, 20):  # recorded first, played back then
            with recorder.use_cassette("tape", record="new_episodes"):
                found = fetch(urls, session=session)
                assert [each.text for each in found] == texts
                assert lanes(found) == {"general"}
            assert server.count == seen
        [tape] = Path(folder).iterdir()
        interactions = json.loads(tape.read_text())["http_interactions"]
        assert sorted(each["request"]["uri"] for each in interactions) == sorted(urls)
        found = fetch(urls, session=session)
        assert [each.text for each in found] == texts
        assert lanes(found) == {"fast"}
        assert server.count == 40


def test_on_and_off(no_leaks):
    on_and_off()


def test_whichever_is_imported_first(order):
    in_process(order, "betamax", on_and_off)


def test_all_requests_are_recorded_at_once(no_leaks, server, tmp_path):
    gate = server.hold("/gate", count=10)
    urls = [server.url(f"/gate?{n}") for n in range(10)]
    with requests.Session() as session:
        recorder = betamax.Betamax(session, cassette_library_dir=str(tmp_path))
        for _ in range(2):
            with recorder.use_cassette("tape"):
                found = grequests.imap(gets(urls, session=session), size=10)
                assert sorted(each.text for each in found) == [f"/gate?{n}" for n in range(10)]
    assert gate.arrived == server.peak == server.count == 10


def test_the_context_manager_of_the_documentation(server, tmp_path):
    for _ in range(2):
        session = requests.Session()
        recorder = betamax.Betamax(session, cassette_library_dir=str(tmp_path))
        with recorder.use_cassette("posts", match_requests_on=["method", "uri", "body"]):
            sent = [
                grequests.post(server.url("/echo"), data={"n": n}, session=session)
                for n in range(3)
            ]
            found = grequests.map(sent)
            assert {each.json()["method"] for each in found} == {"POST"}
        session.close()
    assert server.count == 3


def test_a_request_that_is_not_on_the_cassette_fails_as_with_requests(server, tmp_path):
    with requests.Session() as session:
        recorder = betamax.Betamax(session, cassette_library_dir=str(tmp_path))
        failed = []
        with recorder.use_cassette("tape"):
            fetch([server.url("/known")], session=session)
        with recorder.use_cassette("tape", record="none"):
            grequests.map(
                gets([server.url("/")] * 2, session=session),
                exception_handler=lambda request, error: failed.append(error),
            )
            with pytest.raises(betamax.BetamaxError) as plain:
                session.get(server.url("/"))
    assert [(type(e), str(e)) for e in failed] == [(betamax.BetamaxError, str(plain.value))] * 2
    assert server.targets() == ["/known"]
