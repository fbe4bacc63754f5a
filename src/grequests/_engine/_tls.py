"""TLS without sockets: one `SSLContext` per identity, sessions through memory BIOs.

Knows OpenSSL through the `ssl` module; nothing of connections or HTTP. What a context contains is
what urllib3 2 puts into its own (TLS 1.2 at least, no compression, SNI, ALPN http/1.1), except
that session tickets are on, so that a second connection to a host can be resumed.
"""

from __future__ import annotations

import _ssl
import itertools
import os
import ssl
import sys
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from gevent.monkey import get_original

if TYPE_CHECKING:
    from collections.abc import Callable

_MAX_CONTEXTS: Final = 64
#: The largest TLS record's plain text (RFC 8446 section 5.1).
RECORD: Final = 16384


class TLSIdentity(NamedTuple):
    """Everything that decides what a handshake trusts and shows.

    Two connections with unequal identities are never used for one another.
    """

    verify: bool
    ca_file: str | None = None
    ca_directory: str | None = None
    cert_file: str | None = None
    key_file: str | None = None
    #: Modification times and sizes of those files: a renewed file is a new identity.
    stamps: tuple[tuple[int, int] | None, ...] = ()


def identity(
    verify: bool | str,  # noqa: FBT001 - Requests' name and values
    cert: str | tuple[str, str] | None,
    bundle: str,
) -> TLSIdentity:
    """The identity for Requests' `verify` and `cert`.

    Args:
        verify: True (the bundle), False, or the path of a file or a directory.
        cert: None, the path of a file with certificate and key, or the two paths.
        bundle: the file that True stands for.

    Raises:
        OSError: a path does not exist, in the words of `HTTPAdapter.cert_verify`.
    """
    ca_file = ca_directory = None
    if verify:
        location = bundle if verify is True else verify
        if not location or not os.path.exists(location):
            msg = f"Could not find a suitable TLS CA certificate bundle, invalid path: {location}"
            raise OSError(msg)
        if os.path.isdir(location):
            ca_directory = location
        else:
            ca_file = location
    cert_file, key_file = (cert, None) if cert is None or isinstance(cert, str) else cert
    if cert_file and not os.path.exists(cert_file):
        msg = f"Could not find the TLS certificate file, invalid path: {cert_file}"
        raise OSError(msg)
    if key_file and not os.path.exists(key_file):
        msg = f"Could not find the TLS key file, invalid path: {key_file}"
        raise OSError(msg)
    stamps = tuple(map(_stamp, (ca_file, ca_directory, cert_file, key_file)))
    return TLSIdentity(bool(verify), ca_file, ca_directory, cert_file, key_file, stamps)


def _stamp(path: str | None) -> tuple[int, int] | None:
    if path is None:
        return None
    status = os.stat(path)
    return status.st_mtime_ns, status.st_size


_contexts: dict[TLSIdentity, ssl.SSLContext] = {}


def context(wanted: TLSIdentity) -> ssl.SSLContext:
    """The context of an identity, made at its first use (reading a bundle takes some 20 ms).

    Raises:
        OSError, ssl.SSLError: a file cannot be read or is not what it should be.
    """
    made = _contexts.get(wanted)
    if made is None:
        made = _make_context(wanted)
        while len(_contexts) >= _MAX_CONTEXTS:
            _contexts.pop(next(iter(_contexts)), None)
        _contexts[wanted] = made
    return made


def _set(made: ssl.SSLContext, name: str, value: Any) -> None:
    """Set an attribute by the C type's own descriptor.

    The setters in ssl.py look up `SSLContext` in their module. Once `gevent.monkey.patch_all()`
    has put another class there, they call themselves until the stack ends.
    """
    getattr(_ssl._SSLContext, name).__set__(made, value)


def _get(made: ssl.SSLContext, name: str) -> int:
    return int(getattr(_ssl._SSLContext, name).__get__(made))


def _make_context(wanted: TLSIdentity) -> ssl.SSLContext:
    made: ssl.SSLContext = get_original("ssl", "SSLContext")(ssl.PROTOCOL_TLS_CLIENT)
    _set(made, "minimum_version", int(ssl.TLSVersion.TLSv1_2))
    _set(made, "options", _get(made, "options") | int(ssl.OP_NO_COMPRESSION))
    if sys.version_info >= (3, 13):
        flags = int(ssl.VERIFY_X509_PARTIAL_CHAIN | ssl.VERIFY_X509_STRICT)
        _set(made, "verify_flags", _get(made, "verify_flags") | flags)
    made.post_handshake_auth = True
    if not wanted.verify:
        made.check_hostname = False
        _set(made, "verify_mode", int(ssl.CERT_NONE))
    made.hostname_checks_common_name = False
    keylog = os.path.expandvars(os.environ.get("SSLKEYLOGFILE", ""))
    if keylog:
        made.keylog_filename = keylog
    if wanted.ca_file or wanted.ca_directory:
        made.load_verify_locations(wanted.ca_file, wanted.ca_directory)
    if wanted.key_file and _is_encrypted(wanted.key_file):
        _refuse_password()
    if wanted.cert_file:
        made.load_cert_chain(wanted.cert_file, wanted.key_file, password=_refuse_password)
    made.set_alpn_protocols(["http/1.1"])
    return made


class EncryptedKeyError(ssl.SSLError):
    """The key of a client certificate wants a password, and there is none."""


def _is_encrypted(key_file: str) -> bool:
    """Whether a key's PEM says so, as urllib3 looks for it."""
    with open(key_file, encoding="utf-8") as file:
        return any("ENCRYPTED" in line for line in file)


def _refuse_password() -> str:
    """An encrypted key must fail, not ask on the terminal."""
    msg = "Client private key is encrypted, password is required"
    raise EncryptedKeyError(msg)


#: Sessions that are asked for in the life of a process: 13 MB are lost with them.
MOST_TICKETS: Final = 2000
_taken = itertools.count(1)


class TLSSession:
    """One TLS connection between two byte streams in memory.

    For the handshake `feed` takes what came from the peer and `drain` gives what must be sent to
    it; afterwards `encrypt` and `decrypt` are all there is.
    """

    __slots__ = (
        "_drain",
        "_feed",
        "_incoming",
        "_object",
        "_outgoing",
        "_read",
        "_write",
        "closed",
    )

    def __init__(
        self, made: ssl.SSLContext, host: str, resume: ssl.SSLSession | None = None
    ) -> None:
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._object = made.wrap_bio(
            self._incoming, self._outgoing, server_hostname=host, session=resume
        )
        # The C object under ssl.SSLObject: one Python frame less for each record.
        inner = getattr(self._object, "_sslobj", self._object)
        self._read: Callable[[int], bytes] = inner.read
        self._write: Callable[[bytes], int] = inner.write
        self._feed: Callable[[bytes], int] = self._incoming.write
        self._drain: Callable[[], bytes] = self._outgoing.read
        self.closed = False

    def take_ticket(self) -> ssl.SSLSession | None:
        """What later connections to the same host can be resumed with, if there is any.

        CPython (3.10 to 3.13) loses a copy of the session, 6.6 KB, whenever somebody asks for it.
        So one is taken for a host and used as long as it works, and of all `MOST_TICKETS` at most.
        """
        if next(_taken) > MOST_TICKETS:
            return None
        return self._object.session

    @property
    def is_resumed(self) -> bool:
        """Whether the handshake went on from another connection's."""
        return bool(self._object.session_reused)

    @property
    def details(self) -> ssl.SSLObject:
        """What can be asked for certificates, version and cipher."""
        return self._object

    def handshake(self) -> bool:
        """Take the next step.

        Returns:
            True once the handshake is over; False if the peer has to speak first.

        Raises:
            ssl.SSLError: it failed.
        """
        try:
            self._object.do_handshake()
        except ssl.SSLWantReadError:
            return False
        return True

    def feed(self, data: bytes) -> None:
        self._incoming.write(data)

    def feed_eof(self) -> None:
        self._incoming.write_eof()

    def drain(self) -> bytes:
        return self._outgoing.read()

    def encrypt(self, data: bytes) -> bytes:
        """Plain bytes in, wire bytes out."""
        self._write(data)
        return self._drain()

    def decrypt(self, wire: bytes) -> bytes:
        """Wire bytes in, all plain bytes there are out. Sets `closed` at the peer's goodbye.

        Raises:
            ssl.SSLError: the records are not what they should be.
        """
        self._feed(wire)
        try:
            data = self._read(RECORD)
        except ssl.SSLWantReadError:
            return b""
        if not data:
            self.closed = True
        elif self._incoming.pending:
            # Asking OpenSSL once too often costs an exception: ask only if it has something.
            return data + self._decrypt_rest()
        return data

    def _decrypt_rest(self) -> bytes:
        pieces = []
        try:
            while piece := self._read(RECORD):
                pieces.append(piece)
            self.closed = True
        except ssl.SSLWantReadError:
            pass
        return b"".join(pieces)
