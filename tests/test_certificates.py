"""Certificates that are as they should be, and all that are not: three ways, the same words.

Each server shows a certificate of another kind. What Requests says of it, the general and the fast
lane say: type and text of the exception, warnings, and what the server read.
"""

from __future__ import annotations

import contextlib
import datetime
import socket
import ssl
import struct
import warnings
from typing import Any

import pytest
import requests
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from recording import Recorder, sealed_environment
from ways import Ways

pytestmark = pytest.mark.timeout(60)

DAY = datetime.timedelta(days=1)
NOW = datetime.datetime.now(datetime.timezone.utc)


@pytest.fixture(autouse=True)
def sealed(tmp_path):
    with sealed_environment(tmp_path) as patch:
        yield patch


@pytest.fixture(scope="module")
def ca():
    return trustme.CA()


@pytest.fixture(scope="module")
def bundle(ca, tmp_path_factory):
    path = tmp_path_factory.mktemp("bundle") / "ca.pem"
    ca.cert_pem.write_to_path(str(path))
    return str(path)


def blank() -> ssl.SSLContext:
    return ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)


def shows(leaf: trustme.LeafCert) -> ssl.SSLContext:
    context = blank()
    leaf.configure_cert(context)
    return context


def self_signed(name: str, *, with_names: bool, folder: Any) -> ssl.SSLContext:
    """A certificate that vouches for itself, as openssl makes one in one line."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW - DAY)
        .not_valid_after(NOW + DAY)
    )
    if with_names:
        builder = builder.add_extension(
            x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False
        )
    made = builder.sign(key, hashes.SHA256())
    path = folder / f"self-{with_names}.pem"
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + made.public_bytes(serialization.Encoding.PEM)
    )
    context = blank()
    context.load_cert_chain(str(path))
    return context


def old(leaf: trustme.LeafCert, version: ssl.TLSVersion) -> ssl.SSLContext:
    """A server that speaks no later version."""
    context = shows(leaf)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = version
        context.maximum_version = version
    context.set_ciphers("DEFAULT@SECLEVEL=0")
    return context


def asks_for_a_certificate(ca: trustme.CA) -> ssl.SSLContext:
    context = shows(ca.issue_cert("127.0.0.1", "localhost"))
    ca.configure_trust(context)
    context.verify_mode = ssl.CERT_REQUIRED
    context.maximum_version = ssl.TLSVersion.TLSv1_2  # 1.3 says no after the handshake
    return context


class Impolite(Recorder):
    """Answers a ClientHello by something that is no TLS."""

    def __init__(self, answer: bytes, *, read: bool = True, reset: bool = False) -> None:
        self._reply = answer
        self._reads = read
        self._resets = reset
        super().__init__()

    def _serve(self, sock: Any) -> None:
        with contextlib.suppress(OSError), sock:
            if self._reads:
                sock.recv(65536)
            sock.sendall(self._reply)
            if self._resets:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._open.discard(sock)


#: A record that announces a ServerHello of which no more comes.
HALF_A_HELLO = b"\x16\x03\x03\x00\x7a\x02\x00\x00\x76\x03\x03"
IMPOLITE = {
    "http": lambda: Impolite(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"),
    "nothing": lambda: Impolite(b""),
    "a reset": lambda: Impolite(b"", reset=True),
    "half a hello": lambda: Impolite(HALF_A_HELLO),
    "an alert": lambda: Impolite(b"\x15\x03\x01\x00\x02\x02\x28"),
    "internal error": lambda: Impolite(b"\x15\x03\x03\x00\x02\x02\x50"),
    "unrecognized name": lambda: Impolite(b"\x15\x03\x03\x00\x02\x02\x70"),
    "close notify": lambda: Impolite(b"\x15\x03\x03\x00\x02\x01\x00"),
    "rubbish": lambda: Impolite(bytes(range(256))),
    "an http/2 preface": lambda: Impolite(bytes.fromhex("00000604000000000000")),
}


def kinds(ca: trustme.CA, folder: Any) -> dict[str, ssl.SSLContext | None]:
    intermediate = ca.create_child_ca()
    without_chain = blank()
    leaf = intermediate.issue_cert("127.0.0.1", "localhost")
    path = folder / "leaf.pem"
    path.write_bytes(leaf.private_key_pem.bytes() + leaf.cert_chain_pems[0].bytes())
    without_chain.load_cert_chain(str(path))
    return {
        "good": shows(ca.issue_cert("127.0.0.1", "localhost")),
        "of an intermediate": shows(intermediate.issue_cert("127.0.0.1", "localhost")),
        "without its intermediate": without_chain,
        "for the address": shows(ca.issue_cert("127.0.0.1")),
        "for the name": shows(ca.issue_cert("localhost")),
        "for another name": shows(ca.issue_cert("example.test", "*.localhost")),
        "for another address": shows(ca.issue_cert("127.0.0.2", "::1")),
        "in its common name only": shows(ca.issue_cert(common_name="localhost")),
        "of somebody else": shows(trustme.CA().issue_cert("127.0.0.1", "localhost")),
        "of itself": self_signed("localhost", with_names=True, folder=folder),
        "of itself without names": self_signed("localhost", with_names=False, folder=folder),
        "expired": shows(ca.issue_cert("127.0.0.1", "localhost", not_after=NOW - DAY)),
        "not yet valid": shows(ca.issue_cert("127.0.0.1", "localhost", not_before=NOW + DAY)),
        "over TLS 1.0": old(ca.issue_cert("127.0.0.1", "localhost"), ssl.TLSVersion.TLSv1),
        "over TLS 1.1": old(ca.issue_cert("127.0.0.1", "localhost"), ssl.TLSVersion.TLSv1_1),
        "over TLS 1.2": old(ca.issue_cert("127.0.0.1", "localhost"), ssl.TLSVersion.TLSv1_2),
        "for one of the client's": asks_for_a_certificate(ca),
    }


@pytest.fixture(scope="module")
def servers(ca, tmp_path_factory):
    folder = tmp_path_factory.mktemp("kinds")
    with contextlib.ExitStack() as stack:
        yield {
            name: stack.enter_context(Recorder(context))
            for name, context in kinds(ca, folder).items()
        }


def why(found: dict[str, Any]) -> str:
    """What the exception says of the cause, nothing if there is none."""
    error = found["error"]
    if error is None:
        return ""
    assert error["type"] is requests.exceptions.SSLError
    return error["text"].partition("(Caused by SSLError(")[2]


#: What is wrong with each kind, in OpenSSL's words: at 127.0.0.1 and at localhost.
FAULTS = {
    "good": ("", ""),
    "of an intermediate": ("", ""),
    "without its intermediate": ("unable to get local issuer certificate",) * 2,
    "for the address": ("", "Hostname mismatch, certificate is not valid for 'localhost'"),
    "for the name": ("IP address mismatch, certificate is not valid for '127.0.0.1'", ""),
    "for another name": ("IP address mismatch", "Hostname mismatch"),
    "for another address": ("IP address mismatch", "Hostname mismatch"),
    "in its common name only": ("IP address mismatch", "Hostname mismatch"),
    "of somebody else": ("unable to get local issuer certificate",) * 2,
    "of itself": ("self-signed certificate",) * 2,
    "of itself without names": ("self-signed certificate",) * 2,
    "expired": ("certificate has expired",) * 2,
    "not yet valid": ("certificate is not yet valid",) * 2,
    "over TLS 1.0": ("TLSV1_ALERT_PROTOCOL_VERSION",) * 2,
    "over TLS 1.1": ("TLSV1_ALERT_PROTOCOL_VERSION",) * 2,
    "over TLS 1.2": ("", ""),
    "for one of the client's": ("SSLV3_ALERT_HANDSHAKE_FAILURE",) * 2,
}
#: Whom not to verify does not help: these never come to a connection.
HOPELESS = {"over TLS 1.0", "over TLS 1.1", "for one of the client's"}


@pytest.mark.parametrize("kind", FAULTS)
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_certificate_that_is_verified(servers, bundle, kind, host):
    server = servers[kind]
    url = f"https://{host}:{server.port}/x"
    found = Ways(server.taken).same(lambda: (None, "GET", url, {"verify": bundle}))
    fault = FAULTS[kind][host == "localhost"]
    assert fault in why(found)
    assert bool(fault) is bool(found["error"])
    assert len(found["taken"]) == (0 if fault else 1)
    assert found["warnings"] == []


@pytest.mark.parametrize("kind", FAULTS)
def test_a_certificate_that_certifi_does_not_know(servers, kind):
    server = servers[kind]
    found = Ways(server.taken).same(lambda: (None, "GET", f"{server.url}/x", {}))
    assert "CERTIFICATE_VERIFY_FAILED" in why(found) or kind in HOPELESS
    assert found["taken"] == []


@pytest.mark.parametrize("kind", FAULTS)
def test_a_certificate_that_nobody_verifies(servers, kind):
    server = servers[kind]
    found = Ways(server.taken).same(lambda: (None, "GET", f"{server.url}/x", {"verify": False}))
    assert bool(found["error"]) is (kind in HOPELESS)
    # Warned of is what is sent, not what came to nothing before.
    assert len(found["warnings"]) == len(found["taken"]) == (kind not in HOPELESS)


@pytest.mark.parametrize("verify", ["bundle", False])
@pytest.mark.parametrize("kind", IMPOLITE)
def test_a_server_that_speaks_no_tls(bundle, kind, verify):
    with IMPOLITE[kind]() as server:
        found = Ways().same(
            lambda: (
                None,
                "GET",
                f"https://127.0.0.1:{server.port}/x",
                {"verify": verify and bundle},
            )
        )
    wanted = requests.exceptions.SSLError
    if kind == "a reset":
        wanted = requests.exceptions.ConnectionError
    assert found["error"]["type"] is wanted
    assert found["warnings"] == []
