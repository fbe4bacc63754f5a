"""Why an exchange failed, in the engine's own words: a phase and a cause.

The engine knows nothing of Requests' exceptions; `grequests._translate` turns a `Failure` into what
Requests raises for the same fault.
"""

from __future__ import annotations

from enum import Enum


class Phase(Enum):
    """How far an exchange had come when it failed."""

    RESOLVE = "resolving the name"
    CONNECT = "connecting"
    CONNECT_TIMEOUT = "connecting, out of time"
    TUNNEL = "asking the proxy for a tunnel"
    TLS = "the TLS handshake"
    TLS_TIMEOUT = "the TLS handshake, out of time"
    SEND = "sending the body"
    SEND_TIMEOUT = "sending, out of time"
    HEAD = "waiting for the response"
    HEAD_TIMEOUT = "waiting for the response, out of time"
    BODY = "reading the body"
    BODY_TIMEOUT = "reading the body, out of time"


class Failure(Exception):  # noqa: N818 - it is translated before anybody sees it
    """An exchange ended without a response.

    Attributes:
        phase: how far it had come.
        cause: the exception that ended it, as the operating system, OpenSSL or the parser gave it.
        proxy: whether it was the proxy that could not be reached.
        sent: whether any byte of the request may have reached the server.
    """

    def __init__(
        self, phase: Phase, cause: BaseException, *, proxy: bool = False, sent: bool = False
    ) -> None:
        super().__init__(phase, cause)
        self.phase = phase
        self.cause = cause
        self.proxy = proxy
        self.sent = sent

    def __str__(self) -> str:
        return f"{self.phase.value}: {self.cause!r}"
