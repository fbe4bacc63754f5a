"""requests-oauthlib: OAuth 1 signs in an AuthBase, OAuth 2 in a session that refreshes its token."""

from __future__ import annotations

import json
import threading
import time
from typing import Any
from urllib.parse import parse_qs, unquote

import oauthlib.oauth1
import pytest
import requests
from requests_oauthlib import OAuth1, OAuth1Session, OAuth2Session

import grequests
from servers import Request, Server, answer, echo

from .support import fetch, gets, lanes, reraise


@pytest.fixture(autouse=True)
def _plain_http(monkeypatch):
    monkeypatch.setenv("OAUTHLIB_INSECURE_TRANSPORT", "1")


class Validator(oauthlib.oauth1.RequestValidator):
    """Knows one client and one token."""

    enforce_ssl = False
    nonce_length = timestamp_lifetime = (1, 600)
    client_key_length = access_token_length = (1, 40)
    timestamp_lifetime = 600
    dummy_client = dummy_access_token = "nobody"

    def __init__(self) -> None:
        super().__init__()
        self.nonces: list[str] = []

    def validate_client_key(self, client_key, request):
        return client_key == "client"

    def validate_access_token(self, client_key, token, request):
        return token == "token"

    def validate_timestamp_and_nonce(self, client_key, timestamp, nonce, request, **kwargs):
        self.nonces.append(nonce)
        return True

    def validate_realms(self, *args, **kwargs):
        return True

    def get_client_secret(self, client_key, request):
        return "secret"

    def get_access_token_secret(self, client_key, token, request):
        return "token secret"


@pytest.fixture
def signed(no_leaks):
    """A server that answers what is signed properly, with its validator."""
    validator = Validator()
    endpoint = oauthlib.oauth1.ResourceEndpoint(validator)

    def verify(request: Request) -> bytes:
        valid, _ = endpoint.validate_protected_resource_request(
            f"http://{request.headers['host']}{request.target}",
            request.method,
            request.body.decode() or None,
            request.headers,
        )
        return answer(request.target.encode()) if valid else answer(b"", "401 No")

    with Server() as server:
        server.on("/signed/*", verify)
        yield server, validator


KEYS = ("client", "secret", "token", "token secret")


@pytest.mark.parametrize("how", ["auth", "session"])
def test_oauth1_signs_each_request(signed, how):
    server, validator = signed
    urls = [server.url(f"/signed/{n}?b=2&a=%20{n}") for n in range(8)]
    if how == "auth":
        found = fetch(urls, auth=OAuth1(*KEYS))
        session = None
    else:
        with OAuth1Session(*KEYS) as session:
            found = fetch(urls, session=session)
            posted = grequests.post(server.url("/signed/form"), data={"x": "1"}, session=session)
            found += grequests.map([posted], exception_handler=reraise)
    assert [each.status_code for each in found] == [200] * len(found)
    assert found[3].text == "/signed/3?b=2&a=%203"
    assert len({*validator.nonces}) == len(found)


def test_oauth1_with_a_wrong_secret_is_refused(signed):
    server, _ = signed
    (found,) = fetch([server.url("/signed/a")], auth=OAuth1("client", "wrong", "token", "no"))
    assert found.status_code == 401


class Tokens:
    """An authorization server: each refresh gives the next token."""

    def __init__(self, server: Server) -> None:
        self.refreshed: list[dict[str, Any]] = []
        self._lock = threading.Lock()
        server.on("/token", self.refresh)
        server.on("/resource/*", self.resource)

    def refresh(self, request: Request) -> bytes:
        form = {key: value for key, (value,) in parse_qs(request.body.decode()).items()}
        with self._lock:
            self.refreshed.append(form)
            number = len(self.refreshed)
        token = {
            "access_token": f"fresh-{number}",
            "refresh_token": f"refresh-{number}",
            "token_type": "Bearer",
            "expires_in": 3600,
        }
        return answer(json.dumps(token).encode(), "200 OK", "Content-Type: application/json")

    @staticmethod
    def resource(request: Request) -> bytes:
        bearer = request.headers.get("authorization", "")
        status = "200 OK" if bearer.startswith("Bearer fresh-") else "401 No"
        return answer(bearer.encode(), status)


def expired() -> dict[str, Any]:
    return {
        "access_token": "stale",
        "refresh_token": "refresh-0",
        "token_type": "Bearer",
        "expires_in": -30,
        "expires_at": time.time() - 30,
    }


@pytest.mark.parametrize("send", ["map", "imap"])
def test_a_token_that_is_refreshed_during_a_map_is_the_sessions(no_leaks, send):
    """One at a time: the first refreshes, the others have its token."""
    saved = []
    with Server() as server:
        tokens = Tokens(server)
        with OAuth2Session(
            "client",
            token=expired(),
            auto_refresh_url=server.url("/token"),
            auto_refresh_kwargs={"client_id": "client", "client_secret": "s"},
            token_updater=saved.append,
        ) as session:
            sent = gets([server.url(f"/resource/{n}") for n in range(5)], session=session)
            call = grequests.map if send == "map" else grequests.imap
            found = list(call(sent, size=1, exception_handler=reraise))
            assert [each.text for each in found] == ["Bearer fresh-1"] * 5
            assert session.token["access_token"] == "fresh-1"
            assert [each["access_token"] for each in saved] == ["fresh-1"]
            assert session.access_token == "fresh-1"
            # And so for whoever uses it afterwards.
            assert session.get(server.url("/resource/own")).text == "Bearer fresh-1"
        assert tokens.refreshed == [
            {
                "grant_type": "refresh_token",
                "refresh_token": "refresh-0",
                "client_id": "client",
                "client_secret": "s",
            }
        ]
        assert lanes(found) == {"general"}  # a subclass of Session


def test_many_at_once_refresh_as_often_as_in_threads(no_leaks):
    """requests-oauthlib takes no lock: who finds the token expired refreshes it."""
    with Server() as server:
        tokens = Tokens(server)
        # All of them are on their way before the first token comes.
        gate = server.hold("/token", 4, then=tokens.refresh)
        with OAuth2Session(
            "client",
            token=expired(),
            auto_refresh_url=server.url("/token"),
            token_updater=lambda _: None,
        ) as session:
            found = fetch([server.url(f"/resource/{n}") for n in range(4)], session=session)
            assert [each.status_code for each in found] == [200] * 4
            assert gate.arrived == len(tokens.refreshed) == 4
            last = session.token["access_token"]
            again = fetch([server.url(f"/resource/{n}") for n in range(4)], session=session)
            assert {each.text for each in again} == {f"Bearer {last}"}
            assert len(tokens.refreshed) == 4


def test_without_an_updater_the_new_token_comes_as_an_exception(no_leaks):
    from requests_oauthlib import TokenUpdated

    with Server() as server:
        Tokens(server)
        failures = []
        with OAuth2Session(
            "client", token=expired(), auto_refresh_url=server.url("/token")
        ) as session:
            sent = gets([server.url("/resource/a")], session=session)
            grequests.map(sent, exception_handler=lambda _, error: failures.append(error))
        assert [type(each) for each in failures] == [TokenUpdated]
        assert failures[0].token["access_token"] == "fresh-1"


def test_a_compliance_hook_of_the_session_is_called(no_leaks):
    def add(url, headers, data):
        return url + "?hooked", {**(headers or {}), "X-Hook": "1"}, data

    fresh = {"access_token": "t", "token_type": "Bearer", "expires_at": time.time() + 100}
    with Server() as server, OAuth2Session("client", token=fresh) as session:
        server.on("/echo/*", echo)
        session.register_compliance_hook("protected_request", add)
        found = fetch([server.url(f"/echo/{n}") for n in range(3)], session=session)
        assert [each.json()["target"] for each in found] == [f"/echo/{n}?hooked" for n in range(3)]
        assert {each.json()["headers"]["x-hook"] for each in found} == {"1"}
        assert unquote(found[0].json()["headers"]["authorization"]) == "Bearer t"


def test_an_insecure_address_is_refused_as_by_requests(server, monkeypatch):
    monkeypatch.delenv("OAUTHLIB_INSECURE_TRANSPORT")
    session = OAuth2Session("client", token={"access_token": "t"})
    failures = []
    grequests.map(
        gets([server.url("/a")], session=session),
        exception_handler=lambda _, error: failures.append(error),
    )
    with pytest.raises(Exception, match="OAuth 2 MUST utilize https") as plain:
        session.get(server.url("/a"))
    assert (type(failures[0]), str(failures[0])) == (plain.type, str(plain.value))
    assert not isinstance(failures[0], requests.RequestException)
