"""Contexts and identities: what is shared, what never is, what a later patching must not break."""

from __future__ import annotations

import os
import ssl
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
import trustme
from cryptography.hazmat.primitives import serialization

from grequests._engine import Phase, TLSIdentity, current_engine, identity
from grequests._engine import _tls as tls_module
from grequests._engine._tls import TLSSession, context

from .raw import Asked, Peer, RawServer, ask, origin_of


@pytest.fixture(autouse=True)
def _no_contexts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tls_module, "_contexts", {})


def test_equal_identities_share_one_context(ca_file: str) -> None:
    assert identity(ca_file, None, "") == identity(True, None, ca_file)
    assert context(identity(ca_file, None, "")) is context(identity(True, None, ca_file))
    assert context(identity(ca_file, None, "")) is not context(identity(False, None, ""))


def test_a_renewed_file_is_another_identity(ca_file: str, tmp_path: Path) -> None:
    path = tmp_path / "ca.pem"
    path.write_bytes(Path(ca_file).read_bytes())
    before = identity(str(path), None, "")
    assert identity(str(path), None, "") == before
    os.utime(path, ns=(1, 1))
    touched = identity(str(path), None, "")
    assert touched != before
    trustme.CA().cert_pem.write_to_path(str(path), append=True)
    os.utime(path, ns=(1, 1))
    assert identity(str(path), None, "") not in (before, touched)


def test_a_directory_and_a_pair_of_files(ca_file: str, tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    one.touch()
    two.touch()
    made = identity(str(tmp_path), (str(one), str(two)), ca_file)
    assert (made.ca_file, made.ca_directory) == (None, str(tmp_path))
    assert (made.cert_file, made.key_file) == (str(one), str(two))
    assert len(set(made.stamps)) >= 2


@pytest.mark.parametrize(
    ("verify", "cert", "words"),
    [
        ("/nowhere/ca.pem", None, "TLS CA certificate bundle, invalid path: /nowhere/ca.pem"),
        (False, "/nowhere/cert.pem", "TLS certificate file, invalid path: /nowhere/cert.pem"),
        (False, (os.devnull, "/nowhere/key"), "TLS key file, invalid path: /nowhere/key"),
    ],
)
def test_a_path_that_does_not_exist_is_said_at_once(verify: Any, cert: Any, words: str) -> None:
    with pytest.raises(OSError, match=words):
        identity(verify, cert, "")


def test_what_a_context_contains(ca_file: str) -> None:
    made = context(identity(ca_file, None, ""))
    assert made.verify_mode is ssl.CERT_REQUIRED
    assert made.check_hostname
    assert made.minimum_version == ssl.TLSVersion.TLSv1_2
    assert made.options & ssl.OP_NO_COMPRESSION
    assert not made.options & ssl.OP_NO_TICKET
    assert not made.hostname_checks_common_name
    loose = context(identity(False, None, ""))
    assert loose.verify_mode is ssl.CERT_NONE
    assert not loose.check_hostname


def test_contexts_are_bounded(ca_file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tls_module, "_MAX_CONTEXTS", 3)
    for number in range(6):
        context(TLSIdentity(False, stamps=((number, number),)))
    assert len(tls_module._contexts) == 3


def test_what_verifies_and_what_does_not_share_no_connection(
    authority: trustme.CA, ca_file: str
) -> None:
    server_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(server_context)
    loose, strict = identity(False, None, ""), identity(ca_file, None, "")
    with RawServer(Peer.serve, tls=server_context) as server:
        for tls in (loose, strict, loose, strict):
            assert ask(origin_of(server, tls=tls))[0] == 200
        assert server.opened == 2
    server_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(server_context)
    with RawServer(Peer.serve, tls=server_context) as server:
        assert ask(origin_of(server, tls=loose))[0] == 200
        assert ask(origin_of(server, tls=strict)).phase is Phase.TLS
        # And no session of the unverified connection is resumed for the verified one.
        current_engine().close_idle()
        assert ask(origin_of(server, tls=strict)).phase is Phase.TLS


def test_an_encrypted_key_is_an_error_rather_than_a_question(
    authority: trustme.CA, ca_file: str, tmp_path: Path
) -> None:
    leaf = authority.issue_cert("client.test")
    key = serialization.load_pem_private_key(leaf.private_key_pem.bytes(), None)
    encrypted = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"secret"),
    )
    cert_path, key_path = tmp_path / "cert.pem", tmp_path / "key.pem"
    leaf.cert_chain_pems[0].write_to_path(str(cert_path))
    key_path.write_bytes(encrypted)
    tls = identity(ca_file, (str(cert_path), str(key_path)), "")
    with RawServer(Peer.wait_end) as server:
        failure = Asked(origin_of(server, tls=tls)).send().failure
    assert failure.phase is Phase.TLS
    assert "password is required" in str(failure.cause)


def test_a_file_that_is_no_certificate(tmp_path: Path) -> None:
    path = tmp_path / "ca.pem"
    path.write_text("nothing of the kind")
    with RawServer(Peer.wait_end) as server:
        failure = Asked(origin_of(server, tls=identity(str(path), None, ""))).send().failure
    assert failure.phase is Phase.TLS


def test_records_however_they_are_cut(authority: trustme.CA, ca_file: str) -> None:
    """Two ends in memory: what one encrypts the other decrypts, byte by byte as well."""
    server_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("name.test").configure_cert(server_context)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    peer = server_context.wrap_bio(incoming, outgoing, server_side=True)
    session = TLSSession(context(identity(ca_file, None, "")), "name.test")
    over = False
    while not over:
        over = session.handshake()
        incoming.write(session.drain())
        try:
            peer.do_handshake()
        except ssl.SSLWantReadError:
            pass
        session.feed(outgoing.read())
    data = os.urandom(100_000)
    incoming.write(session.encrypt(data))
    assert b"".join(peer.read(65536) for _ in range(7)) == data
    peer.write(data)
    wire = outgoing.read()
    assert session.decrypt(wire) == data
    peer.write(data[:300])
    pieces = [session.decrypt(bytes([byte])) for byte in outgoing.read()]
    assert b"".join(pieces) == data[:300]
    peer.write(b"last")
    with pytest.raises(ssl.SSLWantReadError):
        peer.unwrap()
    assert not session.closed
    assert session.decrypt(outgoing.read()) == b"last"
    assert session.closed


@pytest.mark.parametrize("before", [True, False])
def test_contexts_survive_a_later_monkey_patching(
    authority: trustme.CA, ca_file: str, tmp_path: Path, before: bool
) -> None:
    server_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(server_context)
    script = tmp_path / "script.py"
    script.write_text(
        textwrap.dedent(f"""
        import warnings
        import grequests
        from grequests._engine import close_engine
        ca = {ca_file!r}

        def texts(url, verify=ca):
            got = grequests.map([grequests.get(url + str(n), verify=verify) for n in range(3)])
            return [response.text for response in got]

        def run(url):
            if {before}:
                assert texts(url) == ["/0", "/1", "/2"]
                close_engine()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                import gevent.monkey
                gevent.monkey.patch_all()
                assert texts(url) == ["/0", "/1", "/2"]
                assert texts(url, False) == ["/0", "/1", "/2"]
            print("fine")

        import sys
        run(sys.argv[1])
        """)
    )
    with RawServer(Peer.serve, tls=server_context) as server:
        done = subprocess.run(
            [sys.executable, str(script), server.url + "/"],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
    assert done.stdout == "fine\n", done.stderr
