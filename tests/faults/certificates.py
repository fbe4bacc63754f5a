"""Certificates of all kinds, good and bad, as files and as contexts of servers that show them.

trustme makes good ones only; what is wrong with these is said extension by extension.
"""

from __future__ import annotations

import datetime
import ipaddress
import ssl
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

DAY = datetime.timedelta(days=1)
NOW = datetime.datetime.now(datetime.timezone.utc)
NAMES = ("127.0.0.1", "localhost", "127.0.0.2")
_PEM = serialization.Encoding.PEM
_KEY_OF_CA = x509.KeyUsage(
    *(True, False, False, False, False, True, True, False, False),
)
_KEY_OF_LEAF = x509.KeyUsage(
    *(True, False, False, False, False, False, False, False, False),
)


@dataclass(frozen=True)
class Held:
    """A certificate and its key.

    Attributes:
        chain: the certificates between this one and the root, which a server shows as well.
    """

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey
    chain: tuple[x509.Certificate, ...] = ()

    @property
    def pem(self) -> bytes:
        """Key and chain, as `SSLContext.load_cert_chain` reads them."""
        key = self.key.private_bytes(
            _PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return key + b"".join(each.public_bytes(_PEM) for each in (self.certificate, *self.chain))

    @property
    def certificate_pem(self) -> bytes:
        return self.certificate.public_bytes(_PEM)


def make(
    name: str,
    issuer: Held | None = None,
    *,
    extensions: Sequence[tuple[x509.ExtensionType, bool]],
    not_before: datetime.datetime = NOW - DAY,
    not_after: datetime.datetime = NOW + DAY,
) -> Held:
    """A certificate; without an issuer it signs itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    signer = key if issuer is None else issuer.key
    by = x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key())
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject if issuer is None else issuer.certificate.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(not_before)
        .not_valid_after(not_after)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(by, critical=False)
    )
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical=critical)
    above = () if issuer is None else (issuer.certificate, *issuer.chain)
    # A root is known to who trusts it, and need not be shown.
    chain = tuple(each for each in above if each.issuer != each.subject)
    return Held(builder.sign(signer, hashes.SHA256()), key, chain)


def authority(name: str, issuer: Held | None = None, *, length: int | None = None) -> Held:
    """A CA; `length` CAs may stand below it."""
    constraints = x509.BasicConstraints(ca=True, path_length=length)
    return make(name, issuer, extensions=[(constraints, True), (_KEY_OF_CA, True)])


def names_of(*hosts: str) -> x509.SubjectAlternativeName:
    return x509.SubjectAlternativeName([_name_of(host) for host in hosts])


def _name_of(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def leaf(
    issuer: Held | None,
    *hosts: str,
    name: str = "leaf",
    usage: Any = ExtendedKeyUsageOID.SERVER_AUTH,
    more: Sequence[tuple[x509.ExtensionType, bool]] = (),
    **validity: datetime.datetime,
) -> Held:
    """A certificate of a server at these hosts, or of a client."""
    extensions: list[tuple[x509.ExtensionType, bool]] = [
        (x509.BasicConstraints(ca=False, path_length=None), True),
        (_KEY_OF_LEAF, True),
        (x509.ExtendedKeyUsage([usage]), False),
        *more,
    ]
    if hosts:
        extensions.append((names_of(*hosts), False))
    return make(name, issuer, extensions=extensions, **validity)


def revoked_by(issuer: Held, *certificates: Held) -> bytes:
    """The PEM of a list of revoked certificates."""
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(issuer.certificate.subject)
        .last_update(NOW - DAY)
        .next_update(NOW + DAY)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.key.public_key()),
            critical=False,
        )
        .add_extension(x509.CRLNumber(1), critical=False)
    )
    for each in certificates:
        entry = x509.RevokedCertificateBuilder().serial_number(each.certificate.serial_number)
        builder = builder.add_revoked_certificate(entry.revocation_date(NOW - DAY).build())
    return builder.sign(issuer.key, hashes.SHA256()).public_bytes(_PEM)


class Papers:
    """Everything that a test may show or trust, in files of one folder.

    Attributes:
        root: the CA that is trusted.
        ca_file: its certificate.
        stranger: a CA that nobody trusts.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.root = authority("root of the tests")
        self.stranger = authority("somebody else's root")
        self.ca_file = self.file("ca.pem", self.root.certificate_pem)

    def file(self, name: str, data: bytes) -> str:
        path = self.folder / name
        path.write_bytes(data)
        return str(path)

    def context(self, held: Held | None = None, *, clients_of: Held | None = None) -> Any:
        """Of a server that shows this, and that may want certificates of some CA's clients."""
        made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        shown = held or leaf(self.root, *NAMES)
        made.load_cert_chain(self.file("shown.pem", shown.pem))
        if clients_of is not None:
            made.verify_mode = ssl.CERT_REQUIRED
            made.load_verify_locations(cadata=clients_of.certificate_pem.decode())
        return made

    def client(self, name: str, issuer: Held | None = None) -> str:
        """A file with key and certificate of a client."""
        made = leaf(issuer or self.root, name=name, usage=ExtendedKeyUsageOID.CLIENT_AUTH)
        return self.file(f"{name}.pem", made.pem)


def only(version: ssl.TLSVersion, context: ssl.SSLContext) -> ssl.SSLContext:
    """The same server, which speaks one version of TLS only."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = version
        context.maximum_version = version
    if version < ssl.TLSVersion.TLSv1_2:
        context.set_ciphers("DEFAULT@SECLEVEL=0")
    return context
