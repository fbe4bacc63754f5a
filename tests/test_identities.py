"""Whom https trusts and whom it shows itself as, wherever that is said: three ways, the same.

`verify` and `cert` of a keyword and a session, `REQUESTS_CA_BUNDLE`, `CURL_CA_BUNDLE`, what Requests does
not look at (`SSL_CERT_FILE`), and that no connection of one identity ever serves another.
"""

from __future__ import annotations

import contextlib
import itertools
import linecache
import os
import ssl
import struct
import subprocess
import warnings
from typing import Any

import pytest
import requests
import trustme
import urllib3.connectionpool
from cryptography.hazmat.primitives import serialization
from general_scenarios.servers import TunnelServer
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from programs import program
from recording import Answer, Recorder, sealed_environment
from requests.adapters import HTTPAdapter
from urllib3 import Retry
from urllib3.exceptions import InsecureRequestWarning
from ways import Ways, general_only, lanes_taken

import grequests

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(scope="module", autouse=True)
def sealed(tmp_path_factory):
    with sealed_environment(tmp_path_factory.mktemp("home")) as patch:
        yield patch


@pytest.fixture(scope="module")
def ca():
    return trustme.CA()


@pytest.fixture(scope="module")
def paths(ca, tmp_path_factory):
    """Everything that `verify` and `cert` may name."""
    folder = tmp_path_factory.mktemp("identities")
    found = {name: str(folder / name) for name in ("ca", "other", "both", "cert", "key")}
    ca.cert_pem.write_to_path(found["ca"])
    trustme.CA().cert_pem.write_to_path(found["other"])
    client = ca.issue_cert("client@example.test")
    client.private_key_and_cert_chain_pem.write_to_path(found["both"])
    client.private_key_pem.write_to_path(found["key"])
    client.cert_chain_pems[0].write_to_path(found["cert"])
    for name in ("hashed", "unhashed"):
        (folder / name).mkdir()
        ca.cert_pem.write_to_path(str(folder / name / "ca.pem"))
        found[name] = str(folder / name)
    subprocess.run([program("openssl", "openssl"), "rehash", found["hashed"]], check=True)
    found["missing"] = str(folder / "missing")
    for name, data in (
        ("foreign key", ca.issue_cert("other@example.test").private_key_pem.bytes()),
        ("encrypted key", encrypted(client.private_key_pem.bytes())),
        ("no key", b"nothing of the kind\n"),
    ):
        found[name] = str(folder / name)
        (folder / name).write_bytes(data)
    return found


def encrypted(key: bytes) -> bytes:
    return serialization.load_pem_private_key(key, None).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"secret"),
    )


@pytest.fixture(scope="module")
def server(ca):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("127.0.0.1").configure_cert(context)
    with Recorder(context) as one:
        yield one


@pytest.fixture(scope="module")
def strict_server(ca):
    """Asks for a client's certificate, in the handshake."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("127.0.0.1").configure_cert(context)
    ca.configure_trust(context)
    context.verify_mode = ssl.CERT_REQUIRED
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with Recorder(context) as one:
        yield one


# --- who is trusted ------------------------------------------------------------------------------

SAID = st.sampled_from(
    [
        *(
            "absent",
            "absent",
            None,
            True,
            False,
            "ca",
            "other",
            "hashed",
            "unhashed",
            "missing",
            "no key",
            "",
        )
    ]
)
#: SSL_CERT_FILE and SSL_CERT_DIR mean nothing to Requests, which brings a bundle of its own.
VARIABLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR")
ENVIRONMENTS = st.fixed_dictionaries(
    {}, optional=dict.fromkeys(VARIABLES, st.sampled_from(["ca", "other", "hashed", "missing", ""]))
)


@settings(
    max_examples=2000 if os.environ.get("GREQUESTS_HYPOTHESIS") == "long" else 100,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)
@given(
    keyword=SAID,
    session=st.one_of(st.none(), SAID),
    trusts=st.sampled_from([True, True, False]),
    environment=ENVIRONMENTS,
)
def test_whom_to_trust_wherever_it_is_said(server, paths, keyword, session, trusts, environment):
    def meant(value: Any) -> Any:
        return paths.get(value, value) if isinstance(value, str) else value

    def make() -> Any:
        own = None
        if session is not None:
            own = requests.Session()
            own.trust_env = trusts
            if session != "absent":
                own.verify = meant(session)
        kwargs = {} if keyword == "absent" else {"verify": meant(keyword)}
        return own, "GET", f"{server.url}/x", kwargs

    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, meant(value))
        Ways(server.taken).same(make, lane=None)


@pytest.mark.parametrize(
    ("said", "trusted"),
    [("ca", True), ("hashed", True), ("unhashed", False), ("other", False), (False, True)],
)
@pytest.mark.parametrize("place", ["keyword", "session", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
def test_each_place_in_which_trust_may_be_said(server, paths, monkeypatch, said, trusted, place):
    if place.isupper():
        if said is False:
            return
        monkeypatch.setenv(place, paths[said])

    def make() -> Any:
        session, kwargs = requests.Session(), {}
        if place == "session":
            session.verify = paths.get(said, said)
        elif place == "keyword":
            kwargs = {"verify": paths.get(said, said)}
        return session, "GET", f"{server.url}/x", kwargs

    found = Ways(server.taken).same(make)
    assert bool(found["error"]) is not trusted
    assert len(found["warnings"]) == (said is False)


@pytest.mark.parametrize("name", ["SSL_CERT_FILE", "SSL_CERT_DIR"])
def test_what_openssl_would_trust_means_nothing_to_requests(server, paths, monkeypatch, name):
    monkeypatch.setenv(name, paths["ca" if name.endswith("FILE") else "hashed"])
    found = Ways(server.taken).same(lambda: (None, "GET", server.url, {}))
    assert "CERTIFICATE_VERIFY_FAILED" in found["error"]["text"]


# --- who one shows oneself as --------------------------------------------------------------------

#: Those with which the server is content.
GOOD = ["both", ("both", None), ("cert", "key"), ("both", "key"), ("cert", "key", "key")]
CERTS = [
    *GOOD,
    *(["cert", "key"], "cert", "key", "no key", "missing", "hashed", ("cert", "encrypted key")),
    *(("missing", "key"), ("cert", "missing"), ("cert", "foreign key"), ("cert", "no key")),
    *(
        ("no key", "key"),
        ("no key", "encrypted key"),
        None,
        "",
        (None, None),
        ("", ""),
        ("cert", ""),
        ("cert",),
        True,
    ),
]


@pytest.mark.parametrize("by_session", [False, True])
@pytest.mark.parametrize("cert", CERTS, ids=str)
def test_a_client_certificate_of_any_kind(strict_server, paths, cert, by_session):
    def meant(value: Any) -> Any:
        if isinstance(value, (list, tuple)):
            return type(value)(map(meant, value))
        return paths.get(value, value)

    def make() -> Any:
        if not by_session:
            return None, "GET", strict_server.url, {"verify": paths["ca"], "cert": meant(cert)}
        session = requests.Session()
        session.verify, session.cert = paths["ca"], meant(cert)
        return session, "GET", strict_server.url, {}

    found = Ways(strict_server.taken).same(make, lane=None)
    assert (found["error"] is None) is (cert in GOOD)


# --- one identity never serves another -----------------------------------------------------------

#: What each way to verify makes of the server: the type of what goes wrong.
VERDICTS = {"ca": None, False: None, "other": "SSLError", True: "SSLError"}
#: Every way after every other, and again with connections that are warm by then.
ORDER = [each for pair in itertools.permutations(VERDICTS, 2) for each in pair]


@contextlib.contextmanager
def routes(route: str):
    """Keywords of a direct request, and of one through a tunnel."""
    if route == "direct":
        yield {}
        return
    with TunnelServer() as proxy:
        yield {"proxies": {"https": proxy.url}}


@pytest.mark.filterwarnings("ignore::urllib3.exceptions.InsecureRequestWarning")
@pytest.mark.parametrize("lane", ["fast", "general"])
@pytest.mark.parametrize("by", ["keyword", "session keyword", "session switched"])
@pytest.mark.parametrize("route", ["direct", "tunnel"])
def test_connections_of_one_identity_never_serve_another(server, paths, lane, by, route):
    session = None if by == "keyword" else requests.Session()
    verdicts = []
    with contextlib.ExitStack() as stack:
        if lane == "general":
            stack.enter_context(general_only())
        took = stack.enter_context(lanes_taken())
        kwargs = stack.enter_context(routes(route))
        if session is not None:
            stack.enter_context(session)
        server.taken()
        for verify in ORDER:
            meant = paths.get(verify, verify)
            if by == "session switched":
                session.verify = meant
                request = grequests.get(server.url, session=session, **kwargs)
            else:
                request = grequests.get(server.url, session=session, verify=meant, **kwargs)
            verdicts += [type(each).__name__ for each in failures_of(request)] or [None]
        assert took == (["general"] * len(ORDER) if lane == "general" else [])
    assert verdicts == [VERDICTS[verify] for verify in ORDER]
    assert len(server.taken()) == verdicts.count(None)


def failures_of(request: grequests.AsyncRequest) -> list[Exception]:
    failures: list[Exception] = []
    grequests.map([request], exception_handler=lambda _, error: failures.append(error))
    return failures


@pytest.mark.filterwarnings("ignore::urllib3.exceptions.InsecureRequestWarning")
def test_many_identities_at_once_in_one_run(server, paths):
    wanted = [paths.get(each, each) for each in ORDER] * 4
    found = grequests.map([grequests.get(server.url, verify=each) for each in wanted], size=8)
    assert [bool(each) for each in found] == [VERDICTS[each] is None for each in ORDER] * 4


# --- what is said of the unverified --------------------------------------------------------------


def test_the_warning_is_urllib3s_in_text_module_and_line(server):
    found = Ways(server.taken).same(lambda: (None, "GET", server.url, {"verify": False}))
    [(category, text, file, line)] = found["warnings"]
    assert category is InsecureRequestWarning
    assert "host '127.0.0.1'" in text
    assert file == urllib3.connectionpool.__file__
    assert "warn" in linecache.getline(file, line)


def test_filters_by_module_find_it(server):
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="urllib3")
        assert grequests.map([grequests.get(server.url, verify=False)])[0].ok


def test_a_warning_that_is_an_error_is_the_outcome_before_a_byte_is_sent(server):
    ways = Ways(server.taken, warned="error")
    found = ways.same(lambda: (None, "GET", server.url, {"verify": False}))
    assert found["error"]["type"] is InsecureRequestWarning
    assert found["taken"] == []


def test_a_warning_for_each_redirect_and_each_retry(ca, server):
    def busy_then_moved(request: bytes) -> Answer:
        number = len(server.requests)
        line = {1: "503 Busy", 2: f"302 Found\r\nLocation: {server.url}/there"}.get(
            number, "200 OK"
        )
        return Answer(f"HTTP/1.1 {line}\r\nContent-Length: 0\r\n\r\n".encode())

    def make() -> Any:
        session = requests.Session()
        session.verify = False
        session.mount("https://", HTTPAdapter(max_retries=Retry(2, status_forcelist=[503])))
        return session, "GET", f"{server.url}/x", {}

    server.default = busy_then_moved
    try:
        found = Ways(server.taken).same(make)
    finally:
        server.default = Answer()
    assert len(found["taken"]) == len(found["warnings"]) == 3


# --- the handshake -------------------------------------------------------------------------------


def test_the_handshake_offers_what_urllib3_offers(paths):
    """Name, protocols, versions, ciphers, groups and signatures, in their order."""
    for host in ("127.0.0.1", "localhost", "LOCALHOST"):
        with HelloServer() as server:
            url = f"https://{host}:{server.port}/"
            for verify in (paths["ca"], False):
                found = Ways(server.hellos).same(lambda: (None, "GET", url, {"verify": verify}))
                [hello] = found["taken"]
                assert hello["name"] == (None if host[0].isdigit() else host.lower())
                assert hello["protocols"] == ["http/1.1"]


class HelloServer(Recorder):
    """Reads ClientHellos and hangs up."""

    def hellos(self) -> list[dict[str, Any]]:
        return [read_hello(each) for each in self.taken()]

    def _serve(self, sock: Any) -> None:
        with contextlib.suppress(OSError), sock:
            self.requests.append(sock.recv(65536))
        self._open.discard(sock)


def read_hello(record: bytes) -> dict[str, Any]:
    """The parts of a ClientHello that say what a client wants (RFC 8446 section 4.1.2)."""
    at = 5 + 4 + 2 + 32  # record, handshake, version, random
    at += 1 + record[at]  # session id
    size = int.from_bytes(record[at : at + 2], "big")
    ciphers = record[at + 2 : at + 2 + size]
    at += 2 + size
    at += 1 + record[at] + 2  # compression, the extensions' length
    extensions = {}
    while at < len(record):
        kind, size = struct.unpack("!HH", record[at : at + 4])
        extensions[kind] = record[at + 4 : at + 4 + size]
        at += 4 + size
    alpn = extensions[16]
    return {
        "ciphers": ciphers.hex(),
        "name": extensions[0][5:].decode() if 0 in extensions else None,
        "protocols": [alpn[3:].decode()] if len(alpn) == 3 + alpn[2] else alpn,
        "versions": extensions[43].hex(),
        "groups": extensions[10].hex(),
        "signatures": extensions[13].hex(),
        "post-handshake authentication": 49 in extensions,
        # The fast lane takes session tickets (35), which urllib3 declines.
        "others": sorted(extensions.keys() - {35}),
    }
