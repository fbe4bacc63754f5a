"""requests-aws4auth: an AuthBase that signs the prepared request."""

from __future__ import annotations

import datetime
import hashlib
import hmac
import re

import pytest
import requests
from requests_aws4auth import AWS4Auth

import grequests
from servers import Request, Server, answer

from .support import fetch, gets, reraise

SCOPE = re.compile(
    r"AWS4-HMAC-SHA256 Credential=ID/(\d{8}/here/thing/aws4_request), "
    r"SignedHeaders=([\w;-]+), Signature=([0-9a-f]{64})"
)


def signature(request: Request, secret: str) -> str | None:
    """What AWS would compute, of what arrived (the steps of Signature Version 4)."""
    match = SCOPE.fullmatch(request.headers["authorization"])
    if match is None:
        return None
    scope, signed, _ = match.groups()
    body = hashlib.sha256(request.body).hexdigest()
    path, _, query = request.target.partition("?")
    canonical = "\n".join(
        [
            request.method,
            path,
            "&".join(sorted(query.split("&"))) if query else "",
            *(f"{name}:{' '.join(request.headers[name].split())}" for name in signed.split(";")),
            "",
            signed,
            request.headers["x-amz-content-sha256"],
        ]
    )
    assert request.headers["x-amz-content-sha256"] == body
    text = "\n".join(
        [
            "AWS4-HMAC-SHA256",
            request.headers["x-amz-date"],
            scope,
            hashlib.sha256(canonical.encode()).hexdigest(),
        ]
    )
    key = f"AWS4{secret}".encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    return hmac.new(key, text.encode(), "sha256").hexdigest()


def check(request: Request) -> bytes:
    given = request.headers["authorization"].rpartition("=")[2]
    return answer(
        request.target.encode(), "200 OK" if given == signature(request, "KEY") else "403 No"
    )


@pytest.fixture
def signed(no_leaks):
    with Server() as server:
        yield server.on("/signed/*", check)


@pytest.mark.parametrize("with_session", [False, True])
def test_what_is_signed_is_what_arrives(signed, with_session):
    auth = AWS4Auth("ID", "KEY", "here", "thing")
    session = requests.Session() if with_session else None
    urls = [signed.url(f"/signed/{n}?a={n}&Z=1") for n in range(10)]
    sent = [
        *gets(urls, auth=auth, session=session),
        grequests.post(signed.url("/signed/f"), data={"a": "b"}, auth=auth, session=session),
        grequests.put(signed.url("/signed/j"), json={"a": 1}, auth=auth, session=session),
        grequests.post(signed.url("/signed/b"), data=b"\x00\xff", auth=auth, session=session),
    ]
    found = grequests.map(sent, exception_handler=reraise)
    assert [each.status_code for each in found] == [200] * 13
    assert sorted(r.status_code for r in grequests.imap(gets(urls, auth=auth))) == [200] * 10
    if session is not None:
        session.close()


def test_the_auth_of_a_session(signed):
    with requests.Session() as session:
        session.auth = AWS4Auth("ID", "KEY", "here", "thing")
        urls = [signed.url(f"/signed/{n}") for n in range(4)]
        assert [each.status_code for each in fetch(urls, session=session)] == [200] * 4


def test_a_wrong_key_is_refused(signed):
    (found,) = fetch([signed.url("/signed/a")], auth=AWS4Auth("ID", "WRONG", "here", "thing"))
    assert found.status_code == 403


def test_a_date_of_the_callers_is_signed_anew_when_its_key_is_of_another_day(signed):
    """The library changes its own key then: the object is the caller's, in both lanes."""
    yesterday = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(days=1)
    auth = AWS4Auth("ID", "KEY", "here", "thing", yesterday.strftime("%Y%m%d"))
    old = auth.signing_key.date
    found = fetch([signed.url(f"/signed/{n}") for n in range(3)], auth=auth)
    assert [each.status_code for each in found] == [200] * 3
    assert auth.signing_key.date != old
