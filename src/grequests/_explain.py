"""A run in words: why so much of it has failed, in one sentence, and how it went, in two lines.

Knows kinds of failures and numbers; nothing of who counted them. Names of hosts are origins, which
hold no credentials.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from . import _kinds as kinds

if TYPE_CHECKING:
    from ._statistics import Statistics

#: Causes that are named; the others are counted together.
_NAMED: Final = 3
#: A cause of more than this share of the failures is the one to say something about.
_MOST: Final = 0.5
#: A host that has this share of them, or more, is named.
_NEARLY_ALL: Final = 0.8
#: Statuses by which a server says that it is asked too much (RFC 6585 section 4, RFC 9110 section
#: 15.6.4), with their names.
_TOO_MUCH: Final = {429: "429 Too Many Requests", 503: "503 Service Unavailable"}

#: What the failed ones did. "were" becomes "was" for a single one; nothing else depends on it.
_DID: Final = {
    kinds.NAME: "could not resolve names",
    kinds.REFUSED: "were refused a connection",
    kinds.UNREACHABLE: "could not reach the host",
    kinds.CONNECT_TIMEOUT: "timed out connecting",
    kinds.READ_TIMEOUT: "timed out waiting for an answer",
    kinds.TOTAL_TIMEOUT: "took longer than they may",
    kinds.DEADLINE: "met the run's deadline",
    kinds.CERTIFICATE: "did not accept the certificate",
    kinds.TLS: "failed in TLS",
    kinds.PROXY: "failed at the proxy",
    kinds.BROKEN: "lost the connection",
    kinds.TRUNCATED: "got only part of the body",
    kinds.ENCODING: "could not decode the body",
    kinds.TOO_LARGE: "got too large an answer",
    kinds.REDIRECTS: "were redirected too often",
    kinds.STATUS: "got an error status to the end",
    kinds.INVALID: "could not be made into a request",
    kinds.CIRCUIT: "were not sent to a host that keeps failing",
    kinds.CANCELLED: "were cancelled",
    kinds.MALFORMED: "got an answer that is not HTTP",
    kinds.NOT_A_REQUEST: "were no requests",
    kinds.DENIED: "were for addresses that the policy does not permit",
    kinds.RESOURCES: "found no descriptor or port left",
    kinds.OTHER: "failed in another way",
}

#: What may help: if nearly all are for one host, and else.
_HINTS: Final[dict[str, tuple[str, str]]] = {
    kinds.NAME: ("is the name right, and DNS reachable?", "is DNS reachable?"),
    kinds.REFUSED: (
        "does anybody listen there?",
        "are these hosts up, and does a firewall let you out?",
    ),
    kinds.UNREACHABLE: ("is there a route to it?", "is the network up?"),
    kinds.CONNECT_TIMEOUT: (
        "is it up, or a firewall in between? A lower per_host= may help",
        "does a firewall let you out? A lower concurrency= may help",
    ),
    kinds.READ_TIMEOUT: (
        "is it overloaded? A lower per_host= or a longer Timeout(read=...) may help",
        "a lower concurrency= or a longer Timeout(read=...) may help",
    ),
    kinds.TOTAL_TIMEOUT: (
        "a lower per_host= or a longer Timeout(total=...) may help",
        "a lower concurrency= or a longer Timeout(total=...) may help",
    ),
    kinds.DEADLINE: (
        "a longer deadline= or a higher per_host= may help",
        "a longer deadline= or a higher concurrency= may help",
    ),
    kinds.CERTIFICATE: ("if its authority is your own, name its file in REQUESTS_CA_BUNDLE",) * 2,
    kinds.TLS: ("is that an https port, and of a TLS version that is still allowed?",) * 2,
    kinds.PROXY: ("is the proxy up, and are its address and password right?",) * 2,
    kinds.BROKEN: (
        "does it take fewer connections? A lower per_host= may help",
        "a lower concurrency= may help",
    ),
    kinds.TOO_LARGE: ("max_body= and max_headers= say how large it may be",) * 2,
    kinds.REDIRECTS: ("does it want cookies? A session keeps them",) * 2,
    kinds.NOT_A_REQUEST: ("give URLs, pairs of URL and tag, or grequests.get(...)",) * 2,
    kinds.RESOURCES: ("raise `ulimit -n`, or lower concurrency=",) * 2,
}
_ASKED_TOO_MUCH: Final = "a lower rate=, per_host_rate= or per_host= may help"


def explain(statistics: Statistics) -> str:
    """Why so much has failed, in one sentence; "" if nothing has.

    Answers with 429 or 503 are no failures, but count here as such: they say that the server was
    asked too much.

    Args:
        statistics: of the run.

    Example:
        >>> explain(client.statistics())  # doctest: +SKIP
        '412 of 5,000 failed: 412 could not resolve names; is DNS reachable?'
    """
    failures, turned_away = statistics.failures, _turned_away(statistics)
    if not failures:
        return _say_turned_away(statistics, turned_away)
    host = _host(statistics)
    counts = sorted(statistics.failed.items(), key=lambda item: -item[1])
    start = f"{failures:,} of {statistics.done:,} failed: {_causes(counts)}"
    if host:
        start += _for(host, statistics.hosts[host].failed, failures)
    if turned_away:
        start += f"; {_answered(turned_away, 'more')}"
    hint = _ASKED_TOO_MUCH
    if sum(turned_away.values()) < failures:
        kind, count = counts[0]
        hint = _hint(statistics, kind, host) if count > _MOST * failures else ""
    return f"{start}; {hint}" if hint else start


def troubles(statistics: Statistics) -> int:
    """How many requests have failed, or were turned away with 429 or 503."""
    return statistics.failures + sum(_turned_away(statistics).values())


def summary(statistics: Statistics) -> str:
    """How a run went, for people: what was done, how fast, and how long answers took.

    Args:
        statistics: of the run.

    Returns:
        One line; two if there were answers.

    Example:
        >>> print(summary(client.statistics()))  # doctest: +SKIP
        5,000 done in 12.3 s (406/s): 4,588 answered, 412 failed, 31 retries, 12.4 MB
        answers took 45.1 ms at the median, 1.2 s at the 99th percentile
    """
    done = f"{statistics.done:,} done in {duration(statistics.elapsed)} ({rate(statistics.rate)})"
    details = [
        f"{statistics.succeeded:,} answered",
        f"{statistics.failures:,} failed",
        f"{statistics.retries:,} {'retry' if statistics.retries == 1 else 'retries'}",
        size(statistics.received),
    ]
    line = f"{done}: {', '.join(details)}"
    latency = statistics.latency
    if not latency.count:
        return line
    return (
        f"{line}\nanswers took {duration(latency.p50)} at the median, "
        f"{duration(latency.p99)} at the 99th percentile"
    )


# Parts of the sentence


def _causes(counts: list[tuple[str, int]]) -> str:
    named = counts[:_NAMED]
    if len(counts) == _NAMED + 1:
        named = counts  # "1 for other reasons" would be no shorter
    told = [_did(kind, count) for kind, count in named]
    others = sum(count for _, count in counts[len(named) :])
    if others:
        told.append(f"{others:,} failed in other ways")
    return ", ".join(told)


def _did(kind: str, count: int) -> str:
    words = _DID.get(kind, _DID[kinds.OTHER])
    if count == 1 and words.startswith("were "):
        words = "was " + words[5:]
    return f"{count:,} {words}"


def _host(statistics: Statistics) -> str | None:
    """The host at which nearly all failures happened, if there is one."""
    rows = [(row.failed, key) for key, row in statistics.hosts.items() if key]
    failed, key = max(rows, default=(0, ""))
    # The table is bounded: failures at hosts that are not in it count as well.
    total = max(statistics.failures, sum(failed for failed, _ in rows))
    return key if failed and failed >= _NEARLY_ALL * total else None


def _for(host: str, count: int, failures: int) -> str:
    if failures == 1:
        return f" for {host}"
    return f", {'nearly all' if count < failures else 'all'} for {host}"


def _hint(statistics: Statistics, kind: str, host: str | None) -> str:
    if kind == kinds.CIRCUIT:
        return _left_alone(statistics.open_circuits)
    at_one, else_ = _HINTS.get(kind, ("", ""))
    return at_one if host else else_


def _left_alone(hosts: tuple[str, ...]) -> str:
    if not hosts:
        return "the results before these say what was wrong with it"
    more = f" and {len(hosts) - _NAMED:,} more" if len(hosts) > _NAMED else ""
    return f"left alone for now: {', '.join(hosts[:_NAMED])}{more}"


def _turned_away(statistics: Statistics) -> dict[int, int]:
    found = {status: statistics.statuses.get(status, 0) for status in _TOO_MUCH}
    return {status: count for status, count in found.items() if count}


def _say_turned_away(statistics: Statistics, turned_away: dict[int, int]) -> str:
    if not turned_away:
        return ""
    return f"{_answered(turned_away, f'of {statistics.done:,}')}; {_ASKED_TOO_MUCH}"


def _answered(turned_away: dict[int, int], what: str) -> str:
    told: list[str] = []
    for status, count in turned_away.items():
        number = f"{count:,}" if told else f"{count:,} {what}"
        told.append(f"{number} {'was' if count == 1 else 'were'} answered {_TOO_MUCH[status]}")
    return ", ".join(told)


# Quantities

_UNITS: Final = ((10**9, "GB"), (10**6, "MB"), (10**3, "kB"))


def duration(seconds: float) -> str:
    """Seconds for people.

    Example:
        >>> duration(0.0451), duration(12.34), duration(3750)
        ('45.1 ms', '12.3 s', '1 h 2 min')
    """
    if math.isnan(seconds):
        return "?"
    if seconds < 0.9995:  # noqa: PLR2004 - of three digits
        return f"{seconds * 1000:.3g} ms"
    if seconds < 99.95:  # noqa: PLR2004
        return f"{seconds:.3g} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:  # noqa: PLR2004
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def size(count: int) -> str:
    """Bytes for people, in powers of 1,000 (IEC 80000-13).

    Example:
        >>> size(12_400_000)
        '12.4 MB'
    """
    for factor, unit in _UNITS:
        if count >= factor:
            return f"{count / factor:,.1f} {unit}"
    return f"{count} B"


def rate(per_second: float) -> str:
    """Requests per second for people.

    Example:
        >>> rate(12345.6), rate(1.25)
        ('12,346/s', '1.2/s')
    """
    return f"{per_second:,.0f}/s" if per_second >= 10 else f"{per_second:.1f}/s"  # noqa: PLR2004
