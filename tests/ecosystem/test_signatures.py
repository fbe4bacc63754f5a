"""Packages whose auth signs requests: in the fast lane, what they sign is what Requests would send.

requests-aws4auth and requests-oauthlib's OAuth1 change a prepared request and register no hooks. The
same request goes by plain Requests and by us to a server that records; times and nonces are fixed.
"""

from __future__ import annotations

import pytest
import requests
from recording import Lanes, Recorder, sealed_environment
from requests_aws4auth import AWS4Auth
from requests_oauthlib import OAuth1

BODIES = [{}, {"data": {"a": "b"}}, {"json": [1]}, {"data": "ü"}, {"files": {}}]


@pytest.fixture(scope="module")
def lanes(tmp_path_factory):
    with sealed_environment(tmp_path_factory.mktemp("home")), Recorder() as server:
        yield Lanes(server)


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("body", BODIES)
def test_aws4auth(lanes, method, body):
    dates = {"x-amz-date": "20261122T000000Z", "date": "Sun, 22 Nov 2026 00:00:00 GMT"}

    def make():
        auth = AWS4Auth("id", "key", "eu-central-1", "s3")
        return (
            None,
            method,
            "http://example.test/a b?x=y&z=ä",
            {"auth": auth, "headers": dates, **body},
        )

    outcome = lanes.compare(make)
    assert outcome is not None
    assert b"AWS4-HMAC-SHA256" in outcome.wire[0]


@pytest.mark.parametrize("place", ["auth_header", "query", "body"])
@pytest.mark.parametrize("body", BODIES[:2])
def test_oauth1(lanes, place, body):
    def make():
        auth = OAuth1("key", "secret", "token", "token secret", signature_type=place)
        auth.client.nonce, auth.client.timestamp = "nonce", "1795305600"
        session = requests.Session()
        session.auth = auth
        return session, "POST", "http://example.test/a?x=y", body

    outcome = lanes.compare(make)
    assert outcome is not None
    assert b"oauth_signature=" in outcome.wire[0]
