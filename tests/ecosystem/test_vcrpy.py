"""vcrpy: urllib3's and http.client's connection classes replaced while a cassette is in."""

from __future__ import annotations

import pytest
import requests
import trustme
import vcr
import yaml
from requests_toolbelt import SourceAddressAdapter

import grequests
from servers import Server, answer

from .support import fetch, gets, in_process, lanes


def recorded(path) -> list[str]:
    """The URLs on a cassette."""
    return [each["request"]["uri"] for each in yaml.safe_load(path.read_text())["interactions"]]


def on_and_off() -> None:
    import tempfile
    from pathlib import Path

    with tempfile.TemporaryDirectory() as folder, Server() as server:
        tape = Path(folder, "tape.yaml")
        urls = [server.url(f"/{n}") for n in range(20)]
        texts = [f"/{n}" for n in range(20)]
        assert [each.text for each in fetch(urls)] == texts
        for seen in (40, 40):  # recorded first, played back then
            with vcr.use_cassette(str(tape)) as cassette:
                found = fetch(urls)
                assert [each.text for each in found] == texts
                assert lanes(found) == {"general"}
                assert len(cassette) == 20
            assert server.count == seen
        assert sorted(recorded(tape)) == sorted(urls)
        found = fetch(urls)
        assert [each.text for each in found] == texts
        assert lanes(found) == {"fast"}
        assert server.count == 60


def test_on_and_off(no_leaks):
    on_and_off()


def test_whichever_is_imported_first(order):
    in_process(order, "vcr", on_and_off)


def test_the_decorator_and_imap(server, tmp_path):
    urls = [server.url(f"/{n}") for n in range(6)]

    @vcr.use_cassette(str(tmp_path / "tape.yaml"))
    def texts():
        return sorted(each.text for each in grequests.imap(gets(urls), size=3))

    assert texts() == texts() == [f"/{n}" for n in range(6)]
    assert server.count == 6


def test_an_open_fast_connection_is_not_used_past_the_recorder(server, tmp_path):
    fetch([server.url("/warm")] * 4)
    tape = tmp_path / "tape.yaml"
    with vcr.use_cassette(str(tape)):
        fetch([server.url("/a"), server.url("/b")])
    assert sorted(recorded(tape)) == [server.url("/a"), server.url("/b")]


@pytest.mark.parametrize("warm", [False, True])
def test_a_session_with_cookies_redirects_and_bodies(server, tmp_path, warm):
    server.on("/in", lambda _: answer(b"", "302 Found", "Location: /me", "Set-Cookie: who=me"))
    server.on("/me", lambda request: answer(request.headers.get("cookie", "").encode()))
    tape = str(tmp_path / "tape.yaml")
    for _ in range(2):
        with requests.Session() as session:
            if warm:  # connections made before the cassette was in, of both lanes
                fetch([server.url("/")], session=session)
                fetch([server.url("/")], session=session, stream=True)
            with vcr.use_cassette(tape, match_on=["method", "uri", "body"]):
                [home] = fetch([server.url("/in")], session=session)
                assert (home.text, [h.status_code for h in home.history]) == ("who=me", [302])
                assert session.cookies["who"] == "me"
                sent = [
                    grequests.post(server.url("/echo"), json={"n": n}, session=session)
                    for n in range(3)
                ]
                bodies = [each.json()["body"] for each in grequests.map(sent)]
                assert bodies == ['{"n": 0}', '{"n": 1}', '{"n": 2}']
    assert [t for t in server.targets() if t != "/"] == ["/in", "/me", "/echo", "/echo", "/echo"]


def test_https(https_server, ca_file, tmp_path):
    urls = [https_server.url(f"/{n}") for n in range(5)]
    for _ in range(2):
        with vcr.use_cassette(str(tmp_path / "tape.yaml")):
            found = fetch(urls, verify=ca_file)
            assert [each.text for each in found] == [f"/{n}" for n in range(5)]
    assert https_server.count == 5


@pytest.mark.filterwarnings("ignore:Unverified HTTPS request")
def test_https_trusts_whom_the_request_trusts(https_server, ca_file, authority, tmp_path):
    """What a connection was made with counts, though a stand-in of the recorder's is before it."""
    other = tmp_path / "other.pem"
    trustme.CA().cert_pem.write_to_path(str(other))
    url = https_server.url("/")
    with vcr.use_cassette(str(tmp_path / "tape.yaml"), record_mode="all"):
        for verify in (ca_file, False, ca_file):
            [response] = fetch([url], verify=verify, headers={"Connection": "close"})
            assert response.text == "/"
        failed = []
        sent = gets([url], verify=str(other), headers={"Connection": "close"})
        grequests.map(sent, exception_handler=lambda request, error: failed.append(error))
        assert [type(each) for each in failed] == [requests.exceptions.SSLError]
    assert https_server.count == 3


def test_an_address_to_send_from(server, tmp_path):
    seen = []

    def say_peer(request):
        seen.append(request.sock.getpeername()[0])
        return answer(b"")

    server.on("/", say_peer)
    with requests.Session() as session, vcr.use_cassette(str(tmp_path / "tape.yaml")):
        session.mount("http://", SourceAddressAdapter("127.0.0.3"))
        fetch([server.url("/?a"), server.url("/?b")], session=session)
    assert seen == ["127.0.0.3"] * 2


def test_what_is_not_on_the_cassette_fails_as_with_requests(server, tmp_path):
    tape = str(tmp_path / "tape.yaml")
    with vcr.use_cassette(tape):
        fetch([server.url("/known")])
    failed = []
    with vcr.use_cassette(tape, record_mode="none"):
        found = grequests.map(
            gets([server.url("/known"), server.url("/unknown")]),
            exception_handler=lambda request, error: failed.append(error),
        )
        with pytest.raises(vcr.errors.CannotOverwriteExistingCassetteException) as plain:
            requests.get(server.url("/unknown"))
    assert [each and each.text for each in found] == ["/known", None]
    assert type(failed[0]) is type(plain.value)
    assert str(failed[0]).splitlines()[0] == str(plain.value).splitlines()[0]
    assert server.targets() == ["/known"]


def test_ignored_hosts_are_asked(server, tmp_path):
    with vcr.use_cassette(str(tmp_path / "tape.yaml"), ignore_localhost=True) as cassette:
        assert [each.text for each in fetch([server.url("/a")] * 3)] == ["/a"] * 3
        assert len(cassette) == 0
    assert server.count == 3
