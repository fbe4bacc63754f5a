"""requests-file: an adapter without a network."""

from __future__ import annotations

import requests
from requests_file import FileAdapter

import grequests
from servers import Server

from .support import fetch, gets, in_process, lanes


def files_and_http_in_one_session() -> None:
    import tempfile
    from pathlib import Path

    with tempfile.TemporaryDirectory() as folder, Server() as server, requests.Session() as session:
        urls = [server.url(f"/{n}") for n in range(3)]
        assert lanes(fetch(urls, session=session)) == {"fast"}
        session.mount("file://", FileAdapter())
        names = [Path(folder, f"{n} ä.txt") for n in range(5)]
        for n, name in enumerate(names):
            name.write_text(f"file {n}")
        found = fetch([name.as_uri() for name in names] + urls, session=session)
        assert [each.text for each in found] == [f"file {n}" for n in range(5)] + ["/0", "/1", "/2"]
        assert [each.headers["Content-Length"] for each in found[:5]] == ["6"] * 5
        for each in found:
            each.close()  # else its file stays open, with plain Requests as well
        del session.adapters["file://"]
        assert lanes(fetch(urls, session=session)) == {"fast"}


def test_files_and_http_in_one_session(no_leaks):
    files_and_http_in_one_session()


def test_whichever_is_imported_first(order):
    in_process(order, "requests_file", files_and_http_in_one_session)


def test_what_the_adapter_says_of_missing_files_and_wrong_methods(tmp_path):
    with requests.Session() as session:
        session.mount("file://", FileAdapter())
        missing = (tmp_path / "missing").as_uri()
        [found] = fetch([missing], session=session)
        plain = session.get(missing)
        assert (
            (found.status_code, found.text) == (plain.status_code, plain.text) == (404, found.text)
        )
        failed = []
        grequests.map(
            [
                grequests.post(missing, session=session),
                grequests.get("file://far.test/x", session=session),
            ],
            exception_handler=lambda request, error: failed.append((type(error), str(error))),
        )
    assert failed == [
        (ValueError, "Invalid request method POST"),
        (ValueError, "file: URLs with hostname components are not permitted"),
    ]


def test_streams(tmp_path):
    (tmp_path / "large").write_bytes(b"x" * 100_000)
    with requests.Session() as session:
        session.mount("file://", FileAdapter())
        sent = gets([(tmp_path / "large").as_uri()] * 4, session=session)
        for response in grequests.imap(sent, stream=True):
            with response:
                assert sum(map(len, response.iter_content(4096))) == 100_000


def test_without_the_adapter_it_is_requests_error(tmp_path):
    failed = []
    sent = gets([tmp_path.as_uri()])
    grequests.map(sent, exception_handler=lambda request, error: failed.append(error))
    assert type(failed[0]) is requests.exceptions.InvalidSchema
    assert str(failed[0]) == f"No connection adapters were found for {tmp_path.as_uri()!r}"
