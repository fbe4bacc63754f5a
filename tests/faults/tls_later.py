"""What TLS can do once its handshake is over: say something itself, or end where it should not."""

from __future__ import annotations

import ssl
from collections.abc import Callable

from engine.raw import answer
from requests import exceptions

from grequests._kinds import BROKEN, TRUNCATED

from .certificates import Papers, only
from .handshakes import WAYS, WHOLE, Fault, Link, Script
from .harness import Bad, Fine
from .tls_faults import ENDLESS, REFUSED, TEXT, V12, V13

CUT_HEAD = Bad(BROKEN, exceptions.ConnectionError)
#: Requests takes the end of the stream for the end of the head.
CUT_HEAD_IN_GENERAL = Fine(b"")
CUT_BODY = Bad(TRUNCATED, exceptions.ChunkedEncodingError)


def polite(context: ssl.SSLContext) -> Script:
    """Nothing is wrong with it."""

    def script(link: Link) -> None:
        link.shake(context)
        link.read()
        link.say(answer(b"hello", "200 OK", "Connection: close"))

    return script


def another_group(papers: Papers) -> Script:
    context = papers.context()
    context.set_ecdh_curve("secp384r1")  # the client has to say hello once more
    return polite(context)


def ends_after(data: bytes, *, goodbye: bool) -> Callable[[Papers], Script]:
    """Say this much, and end: by close_notify, or as anybody on the way could."""

    def script(papers: Papers) -> Script:
        context = papers.context()

        def end(link: Link) -> None:
            link.shake(context)
            link.read()
            link.say(data)
            if goodbye:
                link.goodbye()
            link.fin()

        return end

    return script


def garbage_after(data: bytes) -> Callable[[Papers], Script]:
    """Say this much, and then something that is no TLS."""

    def script(papers: Papers) -> Script:
        context = papers.context()

        def end(link: Link) -> None:
            link.shake(context)
            link.read()
            link.say(data)
            link.send(TEXT)
            link.fin()

        return end

    return script


def talks(
    version: ssl.TLSVersion, function: str, *args: int, times: int = 1
) -> Callable[[Papers], Script]:
    """Before, in the middle of and after the head of the answer, TLS has something to say itself."""
    data = answer(b"hello", "200 OK", "Connection: close")

    def script(papers: Papers) -> Script:
        context = only(version, papers.context())

        def talk(link: Link) -> None:
            link.shake(context)
            link.read()
            for piece in (b"", data[:20], data[20:-3], data[-3:]):
                if piece:
                    link.say(piece)
                for _ in range(times):
                    link.call(function, *args)

        return talk

    return script


def talks_for_ever(
    version: ssl.TLSVersion, function: str, *args: int
) -> Callable[[Papers], Script]:
    def script(papers: Papers) -> Script:
        context = only(version, papers.context())

        def talk(link: Link) -> None:
            link.shake(context)
            link.read()
            while True:
                link.call(function, *args)

        return talk

    return script


HELLO = Fine(b"hello")
HALF_A_HEAD = TEXT[:24]
HALF_A_BODY = TEXT[:-3]
LATER = [
    Fault("none", lambda papers: polite(papers.context()), HELLO, reaches=True),
    Fault("another group wanted", another_group, HELLO, reaches=True),
    *(
        Fault(
            f"{end} in the middle of the {part}",
            ends_after(data, goodbye=end == "close_notify"),
            outcome,
            general=general,
            reaches=True,
            # (Through a proxy the first is told as the proxy's; `heads` has that.)
            ways=[way for way in WAYS if not way.proxy or part == "body"],
        )
        for part, data, outcome, general in (
            ("headers", HALF_A_HEAD, CUT_HEAD, CUT_HEAD_IN_GENERAL),
            ("body", HALF_A_BODY, CUT_BODY, None),
        )
        for end in ("close_notify", "FIN")
    ),
    *(
        Fault(f"{name}, {times} at a time", talks(*what, times=times), HELLO, reaches=True)
        for name, what in (
            ("new keys", (V13, "SSL_key_update", 0)),
            ("new keys on both sides", (V13, "SSL_key_update", 1)),
            ("another handshake", (V12, "SSL_renegotiate")),
        )
        for times in (1, 20)
    ),
    *(
        Fault(f"{name} for ever", talks_for_ever(*what), ENDLESS, reaches=True, total=1, ways=WHOLE)
        for name, what in (
            ("new keys", (V13, "SSL_key_update", 1)),
            ("another handshake", (V12, "SSL_renegotiate")),
        )
    ),
    Fault(
        "plain http in the middle of the headers", garbage_after(HALF_A_HEAD), REFUSED, reaches=True
    ),
    Fault(
        "plain http in the middle of the body", garbage_after(HALF_A_BODY), REFUSED, reaches=True
    ),
]
