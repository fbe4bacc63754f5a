"""TLS that is not what it should be: nothing of a request is sent, in either lane, by any way.

`tls_faults` and `tls_later` have the faults, `handshakes` the questions. Here, too: handshakes that are cut or changed
at each record, sessions that are resumed, revocation, and what TLS 1.2 and 1.3 can do later on.
"""

from __future__ import annotations

import contextlib
import itertools
import socket
import ssl
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import requests
from engine.raw import Peer, RawServer
from requests import exceptions
from requests.adapters import HTTPAdapter
from urllib3.util.ssl_ import create_urllib3_context

import grequests
from grequests import Client, Result, Timeout
from grequests._engine import current_engine
from grequests._kinds import BROKEN, CERTIFICATE, TLS, kind_of

from .certificates import NAMES, Papers, leaf, only, revoked_by
from .handshakes import WHOLE, Fault, Link, assert_answered, handshake
from .harness import TOTAL, Bad, Fine, Odd, Way, check
from .tls_faults import FAULTS, REFUSED, V12, V13
from .tls_later import LATER

VERSIONS = [pytest.param(V12, id="TLS 1.2"), pytest.param(V13, id="TLS 1.3")]


@pytest.fixture(scope="module")
def papers(tmp_path_factory: pytest.TempPathFactory) -> Papers:
    return Papers(tmp_path_factory.mktemp("papers"))


@pytest.mark.parametrize(
    ("fault", "way"),
    [
        pytest.param(fault, way, id=f"{fault}-{way}")
        for fault in [*FAULTS, *LATER]
        for way in fault.ways
    ],
)
def test_a_fault(no_leaks, papers: Papers, fault: Fault, way: Way) -> None:
    with handshake(fault, way, papers) as one:
        one.again_and_again()


# --- each record ---------------------------------------------------------------------------------


class Spoiled:
    """A script that spoils one record of a handshake, another each time.

    Attributes:
        at: which record, from 0.
        seen: records that there were to be spoiled, up to and with this one.
    """

    def __init__(self, context: ssl.SSLContext, spoil: Callable[[Link, bytes], None]) -> None:
        self.at = self.seen = 0
        self._context = context
        self._spoil = spoil

    def __call__(self, link: Link) -> None:
        self.seen = 0
        with contextlib.suppress(Stop):
            link.shake(self._context, send=lambda record: self._send(link, record))

    def _send(self, link: Link, record: bytes) -> None:
        if link.sent == self.at:
            self.seen = self.at + 1
            self._spoil(link, record)
        else:
            link.send(record)


class Stop(Exception):
    """No more of this handshake."""


def records_needed(context: ssl.SSLContext, way: Way, papers: Papers) -> int:
    """Records of a server without which a client's handshake is not over.

    TLS 1.3's session tickets come after it, and are not among them.
    """
    sent = []

    def count(link: Link) -> None:
        link.shake(context)
        sent.append(link.sent)
        link.fin()

    fault = Fault("none", lambda papers: count, REFUSED)
    with handshake(fault, way, papers) as one:
        one.ask("/counted")
        assert one.server.links[0].over.wait(10)
    return sent[0] - 2 * (context.minimum_version is V13)


def cut(link: Link, record: bytes, *, before: bytes, reset: bool) -> None:
    link.send(before)
    link.reset() if reset else link.fin()
    raise Stop


CUTS = {
    "before": lambda record: b"",
    "in the header of": lambda record: record[:3],
    "after the header of": lambda record: record[:5],
    "before the last byte of": lambda record: record[:-1],
}


@pytest.mark.parametrize("where", CUTS)
@pytest.mark.parametrize("end", ["FIN", "RST"])
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("way", WHOLE, ids=str)
def test_a_handshake_that_is_cut_at_each_record(
    no_leaks, papers: Papers, way: Way, version: ssl.TLSVersion, end: str, where: str
) -> None:
    context = only(version, papers.context())
    needed = records_needed(context, way, papers)
    # (Requests wants no session ticket.)
    assert needed == (6 if version is V13 or way.lane == "general" else 7)

    def spoil(link: Link, record: bytes) -> None:
        cut(link, record, before=CUTS[where](record), reset=end == "RST")

    outcome = REFUSED if end == "FIN" else Bad(BROKEN, exceptions.ConnectionError)
    each_record(Spoiled(context, spoil), needed, outcome, way, papers)


@pytest.mark.parametrize("at", [5, -1])
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("way", WHOLE, ids=str)
def test_a_handshake_of_which_one_bit_is_changed_on_the_way(
    no_leaks, papers: Papers, way: Way, version: ssl.TLSVersion, at: int
) -> None:
    context = only(version, papers.context())
    needed = records_needed(context, way, papers)

    def spoil(link: Link, record: bytes) -> None:
        # (The last byte of ServerHelloDone is of its length: more would be waited for.)
        index = 5 if len(record) == 9 else at % len(record)
        link.send(record[:index] + bytes([record[index] ^ 1]) + record[index + 1 :])

    each_record(Spoiled(context, spoil), needed, None, way, papers)


def each_record(script: Spoiled, count: int, outcome: Bad | None, way: Way, papers: Papers) -> None:
    """Spoil one record after the other; without an outcome, it is TLS that has to notice."""
    fault = Fault("spoiled", lambda papers: script, outcome or REFUSED)
    if outcome is None:
        fault = replace(fault, check=check_noticed)
    with handshake(fault, way, papers) as one:
        for script.at in range(count):
            one.once()
            assert script.seen == script.at + 1


def check_noticed(result: Result, _: object) -> None:
    assert isinstance(result.error, exceptions.SSLError), result.error
    assert kind_of(result.error) in (TLS, CERTIFICATE)
    assert "EOF" not in str(result.error)


# --- sessions ------------------------------------------------------------------------------------


class Resumer(RawServer):
    """Notes of each connection whether it took up a session of before.

    Attributes:
        resumed: a bool for each handshake.
        context: that of the next handshake.
    """

    def __init__(self, context: ssl.SSLContext) -> None:
        super().__init__(self._serve)
        self.resumed: list[bool] = []
        self.context = context

    def _serve(self, peer: Peer) -> None:
        if peer.sock.recv(1, socket.MSG_PEEK) == b"C":
            peer.request()
            peer.send(b"HTTP/1.1 200 OK\r\n\r\n")
        peer.start_tls(self.context)
        self.resumed.append(peer.sock.session_reused)
        peer.serve()

    def get(self, lane: str, *, host: str = "127.0.0.1", tunnel: bool = False, **more: Any) -> Any:
        """The outcome of a request on a connection of its own."""
        if tunnel:
            more["proxies"] = {"https": f"http://127.0.0.1:{self.port}"}
        with contextlib.ExitStack() as stack:
            if lane == "general":
                more["session"] = stack.enter_context(Odd())
            client = stack.enter_context(Client(retry=None, timeout=Timeout(total=TOTAL)))
            [result] = client.run([grequests.get(f"https://{host}:{self.port}/x", **more)])
            current_engine().close_idle()  # tickets are kept
        return result


def identities(papers: Papers) -> dict[str, dict[str, Any]]:
    copy = papers.file("copy.pem", Path(papers.ca_file).read_bytes())
    trusting = {"verify": papers.ca_file}
    return {
        "unverified": {"verify": False},
        "verified": trusting,
        "verified by another file": {"verify": copy},
        "as one": {**trusting, "cert": papers.client("one")},
        "as another": {**trusting, "cert": papers.client("another")},
        "by another name": {**trusting, "host": "localhost"},
        "through a tunnel": {**trusting, "tunnel": True},
    }


@pytest.mark.filterwarnings("ignore::urllib3.exceptions.InsecureRequestWarning")
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("lane", ["fast", "general"])
def test_a_session_is_taken_up_by_none_but_its_own_identity(
    no_leaks, papers: Papers, lane: str, version: ssl.TLSVersion
) -> None:
    """The general lane, as Requests, takes up none at all."""
    with Resumer(papers.context()) as server:
        for first, second in itertools.permutations(identities(papers).values(), 2):
            # Another server, which knows no session of before.
            server.context = only(version, papers.context())
            server.context.load_verify_locations(papers.ca_file)
            server.context.verify_mode = ssl.CERT_OPTIONAL
            for each in (first, second, first, second):
                assert_answered(server.get(lane, **each), "/x")
            again = lane == "fast"
            assert server.resumed == [False, False, again, again], (first, second)
            server.resumed.clear()


@pytest.mark.filterwarnings("ignore::urllib3.exceptions.InsecureRequestWarning")
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("lane", ["fast", "general"])
@pytest.mark.parametrize("tunnel", [False, True])
def test_who_was_not_verified_is_verified_when_that_is_asked_for(
    no_leaks, papers: Papers, lane: str, version: ssl.TLSVersion, tunnel: bool
) -> None:
    wrong = papers.context(leaf(papers.stranger, *NAMES))
    with Resumer(only(version, wrong)) as server:
        for verify in (False, papers.ca_file, False, papers.ca_file):
            result = server.get(lane, tunnel=tunnel, verify=verify)
            if verify:
                check(result, Bad(CERTIFICATE, exceptions.SSLError))
            else:
                assert_answered(result, "/x")
        # Those that were refused never came to an end.
        assert server.resumed == [False, lane == "fast"]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("lane", ["fast", "general"])
def test_a_file_of_authorities_that_changes_is_read_again(
    no_leaks, papers: Papers, lane: str, version: ssl.TLSVersion
) -> None:
    """Whoever is no longer trusted is not spoken to, whatever session there is."""
    path = papers.file("changing.pem", papers.root.certificate_pem)
    with Resumer(only(version, papers.context())) as server:
        assert_answered(server.get(lane, verify=path), "/x")
        papers.file("changing.pem", papers.stranger.certificate_pem)
        check(server.get(lane, verify=path), Bad(CERTIFICATE, exceptions.SSLError))
        papers.file("changing.pem", papers.root.certificate_pem)
        assert_answered(server.get(lane, verify=path), "/x")
        assert len(server.resumed) == 2


# --- revocation ----------------------------------------------------------------------------------


class Strict(HTTPAdapter):
    """Looks at a list of revoked certificates."""

    def __init__(self, *files: str) -> None:
        self._context = create_urllib3_context()
        self._context.verify_flags |= ssl.VERIFY_CRL_CHECK_LEAF
        for file in files:
            self._context.load_verify_locations(file)
        super().__init__()

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, ssl_context=self._context, **kwargs)

    def proxy_manager_for(self, *args: Any, **kwargs: Any) -> Any:
        return super().proxy_manager_for(*args, ssl_context=self._context, **kwargs)


@pytest.mark.parametrize("kind", [requests.Session, Odd])
@pytest.mark.parametrize("tunnel", [False, True])
def test_a_revoked_certificate_is_refused_by_a_session_that_looks_at_a_list(
    no_leaks, papers: Papers, kind: type[requests.Session], tunnel: bool
) -> None:
    """Requests does not look at revocation, and neither lane does.

    Who wants it mounts an adapter with a context that does (such requests take the general lane),
    and has it fail closed: what is revoked is refused, and so is everybody without a list.
    """
    good, revoked = leaf(papers.root, *NAMES), leaf(papers.root, *NAMES)
    crl = papers.file("crl.pem", revoked_by(papers.root, revoked))
    refused = [
        Bad(CERTIFICATE, exceptions.SSLError, "certificate revoked"),
        Bad(CERTIFICATE, exceptions.SSLError, "unable to get certificate CRL"),
    ]
    for files, held, outcome in (
        ([papers.ca_file, crl], revoked, refused[0]),
        ([papers.ca_file, crl], good, Fine(b"/x")),
        ([papers.ca_file], good, refused[1]),
    ):
        with Resumer(papers.context(held)) as server, kind() as session:
            session.mount("https://", Strict(*files))
            result = server.get(
                "as it likes", tunnel=tunnel, session=session, verify=papers.ca_file
            )
            check(result, outcome)
            assert len(server.resumed) == (outcome == Fine(b"/x"))


@pytest.mark.parametrize("lane", ["fast", "general"])
def test_nobody_else_looks_at_revocation(no_leaks, papers: Papers, lane: str) -> None:
    """As in Requests; a list in the file of authorities is read, and changes nothing."""
    revoked = leaf(papers.root, *NAMES)
    both = papers.root.certificate_pem + revoked_by(papers.root, revoked)
    with Resumer(papers.context(revoked)) as server:
        for verify in (papers.ca_file, papers.file("both.pem", both)):
            assert_answered(server.get(lane, verify=verify), "/x")
