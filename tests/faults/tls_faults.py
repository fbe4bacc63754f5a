"""What can be wrong with a server of TLS, up to the end of its handshake."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from typing import Any

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID, ObjectIdentifier
from requests import exceptions

from grequests._kinds import (
    CERTIFICATE,
    MALFORMED,
    READ_TIMEOUT,
    TLS,
    TOTAL_TIMEOUT,
)

from .certificates import DAY, NAMES, NOW, Held, Papers, authority, leaf, only
from .handshakes import APPLICATION, HANDSHAKE, WHOLE, Fault, Link, Script, records_of, shows
from .harness import Bad, Way

REFUSED = Bad(TLS, exceptions.SSLError)
ENDLESS = Bad(TOTAL_TIMEOUT, TimeoutError)
V12, V13 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3
TEXT = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nSTOLEN"


def record(kind: int, data: bytes) -> bytes:
    return bytes([kind, 3, 3]) + len(data).to_bytes(2, "big") + data


# --- certificates --------------------------------------------------------------------------------


def distrusted(text: str) -> Bad:
    return Bad(CERTIFICATE, exceptions.SSLError, text)


def certificate(name: str, text: str, make: Callable[[Papers], Held], **more: Any) -> Fault:
    """A server that shows a certificate that is not to be accepted."""

    def script(papers: Papers) -> Script:
        return shows(papers.context(make(papers)))

    return Fault(name, script, distrusted(text), **more)


def of_root(*hosts: str, **more: Any) -> Callable[[Papers], Held]:
    return lambda papers: leaf(papers.root, *(hosts or NAMES), **more)


def too_long_a_chain(papers: Papers) -> Held:
    last = authority("may have no CA below it", papers.root, length=0)
    return leaf(authority("one too many", last), *NAMES)


def without_its_intermediate(papers: Papers) -> Held:
    made = leaf(authority("in between", papers.root), *NAMES)
    return Held(made.certificate, made.key)


def of_a_leaf(papers: Papers) -> Held:
    """Somebody's own certificate, used as if it were an authority's."""
    return leaf(leaf(papers.root, "elsewhere.test"), *NAMES)


CERTIFICATES = [
    certificate("expired", "has expired", of_root(not_before=NOW - 2 * DAY, not_after=NOW - DAY)),
    certificate(
        "not yet valid", "not yet valid", of_root(not_before=NOW + DAY, not_after=NOW + 2 * DAY)
    ),
    certificate("wrong name", "Hostname mismatch", of_root("example.test"), host="localhost"),
    certificate("wrong address", "IP address mismatch", of_root("127.0.0.3", "::1")),
    certificate("an address asked, a name certified", "IP address mismatch", of_root("localhost")),
    certificate(
        "a name asked, an address certified", "mismatch", of_root("127.0.0.1"), host="localhost"
    ),
    certificate(
        "a wildcard for one label", "mismatch", of_root("*", "*.localhost"), host="localhost"
    ),
    certificate(
        "name in CN without SAN",
        "Hostname mismatch",
        lambda papers: leaf(papers.root, name="localhost"),
        host="localhost",
    ),
    certificate(
        "unknown CA", "unable to get local issuer", lambda papers: leaf(papers.stranger, *NAMES)
    ),
    certificate("self-signed", "self-signed certificate", lambda papers: leaf(None, *NAMES)),
    certificate(
        "self-signed in the name of the CA",
        "",
        lambda papers: leaf(authority("root of the tests"), *NAMES),
    ),
    certificate("chain too long for its pathlen", "path length", too_long_a_chain),
    certificate("intermediate missing", "unable to get", without_its_intermediate),
    certificate("issued by a leaf", "invalid CA", of_a_leaf),
    certificate(
        "no certificate of a server", "purpose", of_root(usage=ExtendedKeyUsageOID.CLIENT_AUTH)
    ),
]


# --- versions, protocols, and who the client is -----------------------------------------------------


def speaks(version: ssl.TLSVersion) -> Callable[[Papers], Script]:
    return lambda papers: shows(only(version, papers.context()))


def wants_a_client(version: ssl.TLSVersion) -> Callable[[Papers], Script]:
    return lambda papers: shows(only(version, papers.context(clients_of=papers.root)))


def stranger(papers: Papers) -> dict[str, Any]:
    return {"cert": papers.client("stranger", papers.stranger)}


def no_client(papers: Papers) -> dict[str, Any]:
    """A certificate of the right CA, and no client's."""
    return {"cert": papers.file("server.pem", leaf(papers.root, *NAMES).pem)}


def plain_answer(link: Link) -> None:
    link.receive()
    link.send(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
    link.fin()


def alerted(link: Link) -> None:
    """As OpenSSL answers plain http: by an alert, and the end."""
    link.receive()
    link.send(b"\x15\x03\x01\x00\x02\x02\x46")
    link.fin()


VERSIONS = [
    Fault("TLS 1.0 only", speaks(ssl.TLSVersion.TLSv1), REFUSED),
    Fault("TLS 1.1 only", speaks(ssl.TLSVersion.TLSv1_1), REFUSED),
    Fault("plain http on a TLS port", lambda papers: plain_answer, REFUSED),
    Fault(
        "TLS on a port asked for plain http",
        lambda papers: alerted,
        Bad(MALFORMED, exceptions.ConnectionError),
        scheme="http",
        good=lambda papers: None,
        ways=[Way("fast"), Way("fast", step=1), Way("general"), Way("general", step=1)],
    ),
    *(
        Fault(
            f"{what}, TLS 1.{minor}",
            wants_a_client(version),
            REFUSED,
            keywords=keywords,
            reaches=version is V13,
        )
        for version, minor in ((V12, 2), (V13, 3))
        for what, keywords in (
            ("mTLS wanted, no client certificate", lambda papers: {}),
            ("mTLS wanted, of another CA", stranger),
            ("mTLS wanted, of a server", no_client),
        )
    ),
]


# --- bytes ---------------------------------------------------------------------------------------


def after_hello(*data: bytes, end: bool = True) -> Callable[[Papers], Script]:
    """Answer a ClientHello by these bytes."""

    def script(link: Link) -> None:
        link.hello()
        for each in data:
            link.send(each)
        if end:
            link.fin()

    return lambda papers: script


def after_server_hello(version: ssl.TLSVersion, *data: bytes) -> Callable[[Papers], Script]:
    """Shake hands, with these bytes behind the first record."""

    def script(papers: Papers) -> Script:
        def send(link: Link, each: bytes) -> None:
            link.send(each)
            if not link.sent:
                for more in data:
                    link.send(more)

        context = only(version, papers.context())
        return lambda link: link.shake(context, send=lambda each: send(link, each)) and None

    return script


def flooded(data: bytes, every: float = 0.0, *, begin: bytes = b"") -> Callable[[Papers], Script]:
    def script(link: Link) -> None:
        link.hello()
        link.send(begin)
        link.for_ever(data, every)

    return lambda papers: script


def hello_again(papers: Papers) -> Script:
    """Ask for another ClientHello twice (RFC 8446 section 4.1.4 lets it be done once)."""
    context = papers.context()
    context.set_ecdh_curve("secp384r1")

    def script(link: Link) -> None:
        def send(each: bytes) -> None:
            if link.sent == 0:
                link.send(each)
                link.send(each)
            else:
                link.send(each)

        link.shake(context, send=send)

    return script


def from_another_connection(papers: Papers) -> Script:
    """Say what was said to somebody else, word for word."""
    return after_hello(*said_to_another(papers.context(), papers.ca_file))(papers)


def said_to_another(context: ssl.SSLContext, ca_file: str) -> list[bytes]:
    """The records of a server in a handshake that succeeds, in memory."""
    ours, theirs = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = ssl.create_default_context(cafile=ca_file).wrap_bio(
        ours, theirs, server_hostname="127.0.0.1"
    )
    back = ssl.MemoryBIO()
    server = context.wrap_bio(theirs, back, server_side=True)
    records: list[bytes] = []
    for end in (client, server, client, server):
        try:
            end.do_handshake()
        except ssl.SSLWantReadError:
            pass
        data = back.read()
        records += records_of(data)
        ours.write(data)
    return records


def silent(link: Link) -> None:
    link.hello()


def huge_certificate(papers: Papers) -> Held:
    blob = x509.UnrecognizedExtension(ObjectIdentifier("1.3.6.1.4.1.99999.1"), bytes(200_000))
    return leaf(papers.root, *NAMES, more=[(blob, False)])


def silent_after_the_first_record(papers: Papers) -> Script:
    context = papers.context()

    def script(link: Link) -> None:
        link.shake(context, send=lambda each: None if link.sent else link.send(each))

    return script


#: A ServerHello that will be 16 MB long (RFC 8446 section 4: a type, and three bytes of length).
HUGE = record(HANDSHAKE, b"\x02\xff\xff\xff" + bytes(16380))
LATE_TLS = Bad(READ_TIMEOUT, exceptions.ReadTimeout)

BYTES = [
    Fault("garbage in place of ServerHello", after_hello(bytes(range(256))), REFUSED),
    Fault("zeroes in place of ServerHello", after_hello(bytes(4096)), REFUSED),
    Fault("an http/2 preface", after_hello(bytes.fromhex("00000604000000000000")), REFUSED),
    Fault(
        "the client's own hello",
        lambda papers: lambda link: (link.hello(), link.send(link.raw)),
        REFUSED,
    ),
    Fault(
        "application data in place of ServerHello", after_hello(record(APPLICATION, TEXT)), REFUSED
    ),
    Fault(
        "half a ServerHello, and the end",
        after_hello(b"\x16\x03\x03\x00\x7a\x02\x00\x00\x76\x03\x03"),
        REFUSED,
    ),
    Fault("a record too large", after_hello(b"\x16\x03\x03\xff\xff" + bytes(65535)), REFUSED),
    Fault("a fatal alert", after_hello(b"\x15\x03\x03\x00\x02\x02\x28"), REFUSED),
    Fault(
        "close_notify in place of ServerHello",
        after_hello(b"\x15\x03\x03\x00\x02\x01\x00"),
        REFUSED,
    ),
    *(
        Fault(
            f"{what} before the end of the handshake, TLS 1.{minor}",
            after_server_hello(version, data),
            REFUSED,
        )
        for version, minor in ((V12, 2), (V13, 3))
        for what, data in (("application data", record(APPLICATION, TEXT)), ("plain http", TEXT))
    ),
    Fault("a second request for another hello", hello_again, REFUSED),
    Fault("the handshake of another connection", from_another_connection, REFUSED),
    Fault("a handshake message of 16 MB", flooded(HUGE), REFUSED),
    Fault(
        "a certificate of 200 KB",
        lambda papers: shows(papers.context(huge_certificate(papers))),
        REFUSED,
    ),
    Fault("endless alerts", flooded(b"\x15\x03\x03\x00\x02\x01\x5a" * 100), REFUSED),
    Fault("endless empty records", flooded(b"\x16\x03\x03\x00\x00" * 100), REFUSED),
    Fault("endless ChangeCipherSpec", flooded(b"\x14\x03\x03\x00\x01\x01" * 100), REFUSED),
    Fault(
        "silence after the ClientHello", lambda papers: silent, LATE_TLS, connect=0.5, ways=WHOLE
    ),
    Fault(
        "silence after the ServerHello",
        silent_after_the_first_record,
        LATE_TLS,
        connect=0.5,
        ways=WHOLE,
    ),
    Fault(
        "a handshake that drips for ever",
        flooded(b"\x00", 0.05, begin=HUGE[:9]),
        ENDLESS,
        total=1,
        ways=WHOLE,
    ),
]

FAULTS = [*CERTIFICATES, *VERSIONS, *BYTES]
