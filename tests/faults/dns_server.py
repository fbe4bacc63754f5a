"""A name server for tests that says what it is told to, well formed or not, over UDP and TCP.

Knows DNS messages (RFC 1035) as far as one question and addresses go; nothing of who asks.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from dataclasses import dataclass

NO_ERROR, SERVFAIL, NXDOMAIN, REFUSED = 0, 2, 3, 5
#: Header flags: a response, to a recursive question, by one who recurses.
_RESPONSE = 0x8180
_TRUNCATED = 0x0200
_TYPES = {1: socket.AF_INET, 28: socket.AF_INET6}
#: Seconds that a late answer takes.
LATE = 0.2
#: Bytes over TCP of what ends too early: the length and one more.
CUT = 3
#: A server that waits for the rest of a question over TCP waits this long.
_PATIENCE = 5.0


@dataclass(frozen=True)
class Name:
    """What is said of a name.

    Attributes:
        addresses: of both families.
        code: of the response.
        how: "" for a well-formed response; "silent": nothing is said; "garbage": bytes that are no
            message; "late": after `LATE` seconds; "cut": the message ends within its first record; "another": the answer to
            a question with another number; "truncated": whole over TCP only; "truncated, cut": there
            it ends as well, after its first byte.
    """

    addresses: tuple[str, ...] = ()
    code: int = NO_ERROR
    how: str = ""


class NameServer:
    """Answers for the names it is given; others do not exist.

    Attributes:
        names: by name, without the last dot; may be changed at any time.
        asked: the names that were asked for, in order, once for each question.
    """

    def __init__(self, host: str = "127.0.0.1", port: int = 53) -> None:
        self.names: dict[str, Name] = {}
        self.asked: list[str] = []
        self._datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._datagrams.bind((host, port))
        self._listener = socket.create_server((host, self._datagrams.getsockname()[1]))

    def __enter__(self) -> NameServer:
        for each in (self._serve_datagrams, self._serve_streams):
            threading.Thread(target=each, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        for sock in (self._datagrams, self._listener):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()

    def _serve_datagrams(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                question, sender = self._datagrams.recvfrom(4096)
                if not question:
                    return  # closed
                for message in self._messages(question, over_tcp=False):
                    self._datagrams.sendto(message, sender)

    def _serve_streams(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve_stream, args=(sock,), daemon=True).start()

    def _serve_stream(self, sock: socket.socket) -> None:
        with sock, contextlib.suppress(OSError), sock.makefile("rb") as stream:
            sock.settimeout(_PATIENCE)
            while length := stream.read(2):
                question = stream.read(*struct.unpack("!H", length))
                for message in self._messages(question, over_tcp=True):
                    sock.sendall(message)
                    if len(message) < CUT + 1:
                        return

    def _messages(self, question: bytes, *, over_tcp: bool) -> list[bytes]:
        """What is sent in answer to a question."""
        name, kind = parse(question)
        self.asked.append(name)
        said = self.names.get(name, Name(code=NXDOMAIN))
        whole = reply(question, kind, said)
        shortened = reply(question, kind, said, truncated=True)
        if said.how == "silent":
            return []
        if said.how == "late":
            time.sleep(LATE)
            return [whole]
        if said.how == "garbage":
            return [b"\xff" * 40, b"x"]
        if said.how == "cut":
            return [whole[:-3]]
        if said.how == "another":
            return [bytes([whole[0] ^ 1]) + whole[1:]]
        if not over_tcp:
            return [shortened if said.how else whole]
        framed = struct.pack("!H", len(whole)) + whole
        return [framed[:CUT] if said.how == "truncated, cut" else framed]


def parse(question: bytes) -> tuple[str, int]:
    """The name and the type that are asked for."""
    labels, at = [], 12
    while length := question[at]:
        labels.append(question[at + 1 : at + 1 + length].decode("latin-1"))
        at += 1 + length
    [kind] = struct.unpack_from("!H", question, at + 1)
    return ".".join(labels).lower(), kind


def reply(question: bytes, kind: int, said: Name, *, truncated: bool = False) -> bytes:
    """The message that says it, or that it is too long."""
    end = question.index(b"\0", 12) + 5
    family = _TYPES.get(kind)
    records = []
    for address in said.addresses:
        if family == (socket.AF_INET6 if ":" in address else socket.AF_INET):
            data = socket.inet_pton(family, address)
            # The name is the question's (a pointer to byte 12); one second to live.
            records.append(struct.pack("!HHHIH", 0xC00C, kind, 1, 1, len(data)) + data)
    if truncated:
        records = []
    flags = _RESPONSE | said.code | (_TRUNCATED if truncated else 0)
    head = question[:2] + struct.pack("!HHHHH", flags, 1, len(records), 0, 0)
    return head + question[12:end] + b"".join(records)
