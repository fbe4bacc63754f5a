"""requests-ntlm against a real acceptor: each connection is authenticated, its certificate bound.

The server is pyspnego's, one security context for each connection. Over TLS it insists on channel
bindings, which requests-ntlm takes from the certificate of the socket that the 401 came by.
"""

from __future__ import annotations

import base64
import ssl
import threading

import pytest
import requests
import spnego
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from requests_ntlm import HttpNtlmAuth
from servers import Server, answer
from spnego.channel_bindings import GssChannelBindings

import grequests


class Acceptor:
    """A server's handler that lets authenticated connections in."""

    def __init__(self, bindings=None):
        self.bindings = bindings
        self.refused = []
        self.names = []
        self._contexts = {}
        self._lock = threading.Lock()

    def __call__(self, request):
        with self._lock:
            return self._reply(request.connection, request.headers.get("authorization", ""))

    def _reply(self, connection, given):
        context = self._contexts.get(connection)
        if not given.startswith("NTLM "):
            done = context is not None and context.complete
            return answer(b"in") if done else _refuse()
        if context is None:
            context = self._contexts[connection] = spnego.server(
                protocol="ntlm",
                options=spnego.NegotiateOptions.use_ntlm,
                channel_bindings=self.bindings,
            )
        try:
            token = context.step(base64.b64decode(given[5:]))
        except spnego.exceptions.SpnegoError as error:
            self.refused.append(type(error).__name__)
            del self._contexts[connection]
            return _refuse()
        if not context.complete:
            return _refuse(base64.b64encode(token).decode())
        self.names.append(context.client_principal)
        return answer(b"in")


def _refuse(token=""):
    return answer(b"no", "401 Unauthorized", f"WWW-Authenticate: NTLM {token}".rstrip())


@pytest.fixture(autouse=True)
def _user(tmp_path, monkeypatch):
    path = tmp_path / "users"
    path.write_text("DOM:user:secret\n")
    monkeypatch.setenv("NTLM_USER_FILE", str(path))


def get_many(url, count=20, **kwargs):
    session = requests.Session()
    session.auth = HttpNtlmAuth("DOM\\user", "secret")
    with session:
        wanted = [grequests.get(f"{url}/{n}", session=session, **kwargs) for n in range(count)]
        return grequests.map(wanted, size=10)


@pytest.mark.usefixtures("no_leaks")
def test_many_at_a_time(server):
    acceptor = Acceptor()
    server.on("/*", acceptor)
    found = get_many(server.url(""))
    assert [r.status_code for r in found] == [200] * 20
    assert acceptor.refused == []
    assert set(acceptor.names) == {"DOM\\user"}
    assert len(acceptor.names) == sum(len(r.history) == 2 for r in found)


@pytest.mark.parametrize("prefix", [b"", b"another "])
def test_channel_bindings(authority: trustme.CA, ca_file, prefix):
    certificate = authority.issue_cert("127.0.0.1", "localhost")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    der = x509.load_pem_x509_certificate(certificate.cert_chain_pems[0].bytes())
    digest = hashes.Hash(hashes.SHA256())
    digest.update(der.public_bytes(Encoding.DER))
    bound = prefix + b"tls-server-end-point:" + digest.finalize()
    acceptor = Acceptor(GssChannelBindings(application_data=bound))
    with Server(context) as server:
        server.on("/*", acceptor)
        found = get_many(server.url(""), 4, verify=ca_file)
        if prefix:
            assert [r.status_code for r in found] == [401] * 4
            assert acceptor.refused == ["BadBindingsError"] * 4
        else:
            assert [r.status_code for r in found] == [200] * 4
            assert acceptor.refused == []
        grequests.close()
