"""truststore: an SSLContext of its own, in an adapter or in the place of `ssl.SSLContext`."""

from __future__ import annotations

import os
import ssl

import pytest
import requests
import trustme
import truststore
from requests.adapters import HTTPAdapter

import grequests
from servers import Server

from .support import fetch, gets, in_process, lanes, reraise


class SystemTrust(HTTPAdapter):
    """As truststore's documentation has it."""

    def init_poolmanager(self, *args, **kwargs):
        context = truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        return super().init_poolmanager(*args, **kwargs, ssl_context=context)


@pytest.fixture
def trusted(no_leaks, tmp_path, monkeypatch):
    """A server whose authority the system trusts, as far as OpenSSL's variables say so."""
    authority = trustme.CA()
    bundle = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(bundle))
    monkeypatch.setenv("SSL_CERT_FILE", str(bundle))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    with Server(context) as server:
        yield server


@pytest.mark.parametrize("call", [grequests.map, grequests.imap])
def test_in_an_adapter(trusted, call):
    urls = [trusted.url(f"/{n}") for n in range(6)]
    with requests.Session() as session:
        session.mount("https://", SystemTrust())
        found = list(call(gets(urls, session=session), size=3, exception_handler=reraise))
        assert sorted(each.text for each in found) == [f"/{n}" for n in range(6)]
        assert lanes(found) == {"general"}
    failures = []
    grequests.map(gets(urls[:1]), exception_handler=lambda _, error: failures.append(error))
    assert [type(each) for each in failures] == [requests.exceptions.SSLError]  # certifi's


def test_what_the_system_does_not_trust_is_refused(no_leaks, https_server):
    failures = []
    with requests.Session() as session:
        session.mount("https://", SystemTrust())
        sent = gets([https_server.url("/a")], session=session)
        grequests.map(sent, exception_handler=lambda _, error: failures.append(error))
    assert [type(each) for each in failures] == [requests.exceptions.SSLError]
    assert "CERTIFICATE_VERIFY_FAILED" in str(failures[0])


def injected() -> None:
    """`inject_into_ssl` and `extract_from_ssl`, twice in one process."""
    import tempfile

    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    with Server(context) as server, tempfile.TemporaryDirectory() as folder:
        bundle = f"{folder}/ca.pem"
        authority.cert_pem.write_to_path(bundle)
        urls = [server.url(f"/{n}") for n in range(4)]
        assert lanes(fetch(urls, verify=bundle)) == {"fast"}
        for _ in range(2):
            truststore.inject_into_ssl()
            found = fetch(urls, verify=bundle)
            assert [each.text for each in found] == ["/0", "/1", "/2", "/3"]
            assert lanes(found) == {"general"}
            failures = []
            with requests.Session() as session:
                sent = gets(urls[:1], session=session)
                grequests.map(sent, exception_handler=lambda _, error: failures.append(error))
            assert type(failures[0]) is requests.exceptions.SSLError
            truststore.extract_from_ssl()
            assert lanes(fetch(urls, verify=bundle)) == {"fast"}


def test_injected_whichever_is_imported_first(order):
    in_process(order, "truststore", injected)


@pytest.mark.parametrize("when", ["before", "after"])
def test_injected_before_our_import_and_after(tmp_path, when):
    """And the system's trust counts: no `verify=` here."""
    import subprocess
    import sys

    from .support import TESTS

    inject = "import truststore; truststore.inject_into_ssl()"
    lines = [inject, "import grequests"] if when == "before" else ["import grequests", inject]
    program = "\n".join(
        [
            *lines,
            "import ssl, trustme, os, tempfile",
            "from servers import Server",
            "from ecosystem.support import fetch, lanes",
            "authority = trustme.CA()",
            f"authority.cert_pem.write_to_path({str(tmp_path / 'ca.pem')!r})",
            f"os.environ['SSL_CERT_FILE'] = {str(tmp_path / 'ca.pem')!r}",
            "import truststore",
            "truststore.extract_from_ssl()",
            "context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)",
            "authority.issue_cert('127.0.0.1').configure_cert(context)",
            "truststore.inject_into_ssl()",
            "with Server(context) as server:",
            "    found = fetch([server.url(f'/{n}') for n in range(5)])",
            "    assert [each.text for each in found] == ['/0', '/1', '/2', '/3', '/4']",
            "    assert lanes(found) == {'general'}",
            "    truststore.extract_from_ssl()",
            f"    found = fetch([server.url('/a')] * 2, verify={str(tmp_path / 'ca.pem')!r})",
            "    assert lanes(found) == {'fast'}",
        ]
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "PYTHONPATH": str(TESTS)},
    )
    assert (done.returncode, done.stderr) == (0, "")
