"""requests-http-signature: an AuthBase that signs, and verifies what came back."""

from __future__ import annotations

import pytest
import requests
from requests_http_signature import HTTPSignatureAuth, algorithms

import grequests
from servers import Request, Server, answer

from .support import gets, reraise

KEY = b"monorail_cat"


def verify(request: Request) -> bytes:
    """Verify with the package itself, on a request built of what arrived."""
    arrived = requests.Request(
        request.method, f"http://{request.headers['host']}{request.target}", request.headers
    ).prepare()
    arrived.body = request.body or None
    resolver = HTTPSignatureAuth(
        signature_algorithm=algorithms.HMAC_SHA256, key=KEY, key_id="squirrel"
    ).signer.key_resolver
    try:
        HTTPSignatureAuth.verify(
            arrived, signature_algorithm=algorithms.HMAC_SHA256, key_resolver=resolver
        )
    except Exception as error:  # noqa: BLE001
        return answer(repr(error).encode(), "403 No")
    return answer(request.target.encode())


@pytest.fixture
def signed(no_leaks):
    with Server() as server:
        yield server.on("/signed/*", verify)


@pytest.mark.parametrize("call", [grequests.map, grequests.imap])
def test_what_is_signed_is_what_arrives(signed, call):
    auth = HTTPSignatureAuth(
        signature_algorithm=algorithms.HMAC_SHA256, key=KEY, key_id="squirrel", use_nonce=True
    )
    sent = [
        *gets([signed.url(f"/signed/{n}?a=b") for n in range(8)], auth=auth),
        grequests.post(signed.url("/signed/form"), data={"a": "b"}, auth=auth),
        grequests.put(signed.url("/signed/json"), json=[1], auth=auth),
    ]
    found = list(call(sent, size=4, exception_handler=reraise))
    assert [(each.status_code, each.text[:7]) for each in found] == [(200, "/signed")] * 10
    signatures = {each.request.headers["Signature"] for each in found}
    assert len(signatures) == 10


def test_another_key_is_refused(signed):
    auth = HTTPSignatureAuth(
        signature_algorithm=algorithms.HMAC_SHA256, key=b"another", key_id="squirrel"
    )
    (found,) = grequests.map(gets([signed.url("/signed/a")], auth=auth))
    assert found.status_code == 403
    assert found.text.startswith("InvalidSignature(")


def test_a_body_that_streams_is_refused_as_by_requests(signed):
    auth = HTTPSignatureAuth(signature_algorithm=algorithms.HMAC_SHA256, key=KEY, key_id="squirrel")
    failures = []
    sent = grequests.post(signed.url("/signed/a"), data=iter([b"x"]), auth=auth)
    grequests.map([sent], exception_handler=lambda _, error: failures.append(error))
    with pytest.raises(requests.RequestException) as plain:
        requests.post(signed.url("/signed/a"), data=iter([b"x"]), auth=auth)
    assert (type(failures[0]), str(failures[0])) == (plain.type, str(plain.value))
    assert signed.count == 0
