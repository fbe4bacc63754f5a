"""certifi: its bundle is what `verify=True` means, in both lanes, whoever moved it."""

from __future__ import annotations

import os
import ssl
import subprocess
import sys

import certifi
import pytest
import requests
import requests.adapters
import requests.certs
import trustme

import grequests
from servers import Server

from .support import TESTS, fetch, gets, lanes


@pytest.fixture
def bundle(tmp_path):
    """A bundle in the place of certifi's, and a server that it vouches for."""
    authority = trustme.CA()
    path = str(tmp_path / "ca.pem")
    authority.cert_pem.write_to_path(path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    with Server(context) as server:
        yield server, path


def failures_of(url):
    found = []
    grequests.map(gets([url]), exception_handler=lambda _, error: found.append(error))
    return found


def test_the_bundle_is_certifis(bundle):
    server, _ = bundle
    assert requests.certs.where() == certifi.where() == requests.adapters.DEFAULT_CA_BUNDLE_PATH
    (failure,) = failures_of(server.url("/a"))
    with pytest.raises(requests.exceptions.SSLError) as plain:
        requests.get(server.url("/a"))
    assert type(failure) is plain.type
    assert "unable to get local issuer certificate" in str(failure)


def test_certifis_own_path_as_verify_is_the_same(bundle):
    server, path = bundle
    assert type(_error(server.url("/a"), verify=certifi.where())) is requests.exceptions.SSLError
    assert _error(server.url("/a"), verify=path) is None


def _error(url, **kwargs):
    found = [None]
    grequests.map(gets([url], **kwargs), exception_handler=lambda _, error: found.append(error))
    return found[-1]


def test_a_path_that_is_replaced_in_requests_is_seen(no_leaks, bundle, monkeypatch):
    """Where people point Requests to their own bundle, on and off in one process."""
    server, path = bundle
    assert len(failures_of(server.url("/a"))) == 1
    with monkeypatch.context() as patch:
        patch.setattr(requests.adapters, "DEFAULT_CA_BUNDLE_PATH", path)
        found = fetch([server.url(f"/{n}") for n in range(3)])
        assert [each.text for each in found] == ["/0", "/1", "/2"]
        assert requests.get(server.url("/a")).text == "/a"
    assert len(failures_of(server.url("/a"))) == 1


PROGRAM = """
import sys, certifi
certifi.where = lambda: sys.argv[1]
for each in sys.argv[3:]:
    __import__(each)
import grequests, requests
from ecosystem.support import fetch, lanes
found = fetch([f"{sys.argv[2]}/{n}" for n in range(3)])
assert [each.text for each in found] == ["/0", "/1", "/2"]
assert requests.get(f"{sys.argv[2]}/a").text == "/a"
print(lanes(found))
"""


@pytest.mark.parametrize("first", [[], ["requests"]])
def test_a_replaced_where_is_seen(bundle, first):
    """`certifi.where` says where, and Requests asks when it is imported."""
    server, path = bundle
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", PROGRAM, path, server.url(""), *first],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "PYTHONPATH": str(TESTS)},
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "{'fast'}\n", "")


def test_verify_true_with_the_bundle_of_the_environment(no_leaks, bundle, monkeypatch):
    server, path = bundle
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", path)
    found = fetch([server.url("/a")] * 2)
    assert lanes(found) == {"fast"}
