"""Whom https trusts: verify, REQUESTS_CA_BUNDLE, CURL_CA_BUNDLE; and whom it shows itself as: cert."""

from __future__ import annotations

import ssl
import warnings
from typing import Any

import pytest
import requests
import trustme
from recording import Answer, Recorder, assert_same, sealed_environment, snapshot
from requests.adapters import HTTPAdapter
from urllib3 import Retry
from urllib3.exceptions import InsecureRequestWarning

import grequests


@pytest.fixture(autouse=True)
def sealed(tmp_path):
    with sealed_environment(tmp_path) as patch:
        yield patch


@pytest.fixture(scope="module")
def ca():
    return trustme.CA()


@pytest.fixture(scope="module")
def files(ca, tmp_path_factory):
    """Paths: the authority, another one, a directory of hashes, a client's certificate and key."""
    folder = tmp_path_factory.mktemp("trust")
    ca.cert_pem.write_to_path(str(folder / "ca.pem"))
    trustme.CA().cert_pem.write_to_path(str(folder / "other.pem"))
    client = ca.issue_cert("client@example.test")
    client.private_key_and_cert_chain_pem.write_to_path(str(folder / "both.pem"))
    client.private_key_pem.write_to_path(str(folder / "key.pem"))
    client.cert_chain_pems[0].write_to_path(str(folder / "cert.pem"))
    (folder / "empty").mkdir()
    return folder


@pytest.fixture
def server(ca):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("127.0.0.1").configure_cert(context)
    with Recorder(context) as one:
        yield one


@pytest.fixture
def strict_server(ca):
    """Asks for a client's certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("127.0.0.1").configure_cert(context)
    ca.configure_trust(context)
    context.verify_mode = ssl.CERT_REQUIRED
    with Recorder(context) as one:
        yield one


def outcome(send: Any) -> Any:
    try:
        return snapshot(send())
    except Exception as error:  # noqa: BLE001
        return type(error), str(error).split("(_ssl.c")[0]


def both(url: str, attributes: dict[str, Any] | None = None, **kwargs: Any) -> Any:
    """What both make of it; the same."""

    def session() -> requests.Session:
        made = requests.Session()
        for name, value in (attributes or {}).items():
            setattr(made, name, value)
        return made

    def ours() -> Any:
        request = grequests.get(
            url, session=None if attributes is None else session(), **kwargs
        ).send()
        if request.response is None:
            raise request.exception
        assert type(request.response) is grequests.Response
        return request.response

    def theirs() -> Any:
        with session() as made:
            return made.get(url, **kwargs)

    found = outcome(ours)
    assert_same(found, outcome(theirs))
    return found


TRUSTED = [
    ({"verify": "ca.pem"}, None, {}),
    ({}, {"verify": "ca.pem"}, {}),
    ({"verify": "ca.pem"}, {"verify": "other.pem"}, {}),
    ({}, None, {"REQUESTS_CA_BUNDLE": "ca.pem"}),
    ({}, {}, {"CURL_CA_BUNDLE": "ca.pem"}),
    ({"verify": True}, None, {"REQUESTS_CA_BUNDLE": "ca.pem", "CURL_CA_BUNDLE": "other.pem"}),
    # A known trap of Requests: the environment counts more than the session.
    ({}, {"verify": "other.pem"}, {"REQUESTS_CA_BUNDLE": "ca.pem"}),
    ({"verify": "ca.pem"}, None, {"REQUESTS_CA_BUNDLE": "other.pem"}),
    ({}, {"verify": "ca.pem", "trust_env": False}, {"REQUESTS_CA_BUNDLE": "other.pem"}),
]
UNTRUSTED = [
    ({}, None, {}),
    ({"verify": True}, {"verify": "ca.pem"}, {}),
    ({"verify": "other.pem"}, None, {}),
    ({"verify": "empty"}, None, {}),
    ({}, {"trust_env": False}, {"REQUESTS_CA_BUNDLE": "ca.pem"}),
    ({}, {"verify": "ca.pem"}, {"CURL_CA_BUNDLE": "other.pem"}),
    ({}, {"verify": False}, {"CURL_CA_BUNDLE": "other.pem"}),
]


def resolve(files: Any, values: dict[str, Any] | None) -> Any:
    if values is None:
        return None
    return {
        name: str(files / value) if isinstance(value, str) else value
        for name, value in values.items()
    }


@pytest.mark.parametrize("case", range(len(TRUSTED)))
def test_who_is_trusted(server, files, sealed, case):
    kwargs, attributes, environment = (resolve(files, each) for each in TRUSTED[case])
    for name, value in environment.items():
        sealed.setenv(name, value)
    assert both(server.url, attributes, **kwargs)["status_code"] == 200


@pytest.mark.parametrize("case", range(len(UNTRUSTED)))
def test_who_is_not(server, files, sealed, case):
    kwargs, attributes, environment = (resolve(files, each) for each in UNTRUSTED[case])
    for name, value in environment.items():
        sealed.setenv(name, value)
    assert both(server.url, attributes, **kwargs)[0] is requests.exceptions.SSLError


@pytest.mark.parametrize(
    ("kwargs", "attributes"),
    [({"verify": False}, None), ({}, {"verify": False}), ({"verify": False}, {})],
)
def test_no_verification_is_warned_of(server, kwargs, attributes):
    with pytest.warns(InsecureRequestWarning, match="host '127.0.0.1'") as caught:
        both(server.url, attributes, **kwargs)
    ours, theirs = (str(each.message) for each in caught)
    assert ours == theirs


def test_each_unverified_request_is_warned_of(server):
    with pytest.warns(InsecureRequestWarning) as caught:
        responses = grequests.map(
            [grequests.get(server.url, verify=False) for _ in range(4)], size=2
        )
    assert len(caught) == 4
    assert all(responses)


def test_a_warning_that_is_an_error_is_the_outcome(server):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        request = grequests.get(server.url, verify=False).send()
        assert type(request.exception) is InsecureRequestWarning
        assert grequests.map([grequests.get(server.url, verify=False)]) == [None]


def test_nothing_is_verified_and_nothing_warned_of_without_tls(files):
    with Recorder() as plain:
        assert both(plain.url, verify=False)["status_code"] == 200


@pytest.mark.parametrize("shown", ["both.pem", ("cert.pem", "key.pem")])
@pytest.mark.parametrize("by_session", [False, True])
def test_a_client_shows_its_certificate(strict_server, files, shown, by_session):
    cert = (
        str(files / shown) if isinstance(shown, str) else tuple(str(files / each) for each in shown)
    )
    options = {"verify": str(files / "ca.pem"), "cert": cert}
    if by_session:
        assert both(strict_server.url, options)["status_code"] == 200
    else:
        assert both(strict_server.url, **options)["status_code"] == 200


def test_a_client_without_a_certificate(strict_server, files):
    request = grequests.get(strict_server.url, verify=str(files / "ca.pem")).send()
    # With TLS 1.3 the server says so after the handshake; where that is noticed is a race in
    # both lanes: as an alert, as a reset, as an end.
    assert isinstance(request.exception, requests.exceptions.ConnectionError)


def test_connections_of_one_identity_are_not_used_for_another(server, strict_server, files):
    """A verified request does not ride on a connection that nobody has verified."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", InsecureRequestWarning)
        first = grequests.get(server.url, verify=False)
        second = grequests.get(server.url)
        third = grequests.get(server.url, verify=str(files / "ca.pem"))
        results = grequests.map([first, second, third], size=1)
    assert [bool(each) for each in results] == [True, False, True]
    assert type(second.exception) is requests.exceptions.SSLError
    assert server.connections == 3
    shown = grequests.get(
        strict_server.url, verify=str(files / "ca.pem"), cert=str(files / "both.pem")
    )
    hidden = grequests.get(strict_server.url, verify=str(files / "ca.pem"))
    assert [bool(each) for each in grequests.map([shown, hidden], size=1)] == [True, False]


class Marking(HTTPAdapter):
    """An adapter of the user's."""

    def add_headers(self, request: requests.PreparedRequest, **_: Any) -> None:
        request.headers["X-Marked"] = "1"


@pytest.mark.parametrize("prefix", ["https://", "https://127.0.0.1"])
def test_https_has_an_adapter_of_its_own(server, files, prefix):
    with Recorder() as plain, requests.Session() as session:
        session.verify = str(files / "ca.pem")
        session.mount(prefix, Marking())
        urls = [plain.url, server.url, plain.url, server.url]
        responses = grequests.map([grequests.get(url, session=session) for url in urls], size=1)
        kinds = [type(each) for each in responses]
        assert kinds == [grequests.Response, requests.Response] * 2
        assert [b"X-Marked" in each for each in plain.taken()] == [False, False]
        assert [b"X-Marked" in each for each in server.taken()] == [True, True]


def test_https_has_retries_of_its_own(server, files):
    server.default = Answer(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n")
    with Recorder() as plain, requests.Session() as session:
        plain.default = server.default
        session.verify = str(files / "ca.pem")
        session.mount("https://", HTTPAdapter(max_retries=Retry(2, status_forcelist=[503])))
        urls = [plain.url, server.url]
        grequests.map([grequests.get(url, session=session) for url in urls], size=1)
        assert [len(plain.taken()), len(server.taken())] == [1, 3]


def test_a_bundle_that_is_renewed_is_read_again(server, files, tmp_path):
    path = tmp_path / "bundle.pem"
    path.write_bytes((files / "other.pem").read_bytes())
    assert grequests.map([grequests.get(server.url, verify=str(path))]) == [None]
    path.write_bytes((files / "ca.pem").read_bytes() + b"\n")
    assert grequests.map([grequests.get(server.url, verify=str(path))])[0].ok
