"""The libraries that are compared, and what each needs installed.

``cost_us`` is a rough CPU cost of one small request, ``costs`` the same for scenarios where it is
far off. They only decide how many requests a run makes, so that a run of a fast library is long
enough and one of a slow library is short enough; no result depends on them.

Peers that run on asyncio all get uvloop, which was never slower and for some twice as fast.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from .paths import PROJECT

ONE_THREAD_EACH = "one thread per open request: nobody would hold 5,000 open this way"
OPEN_CONNECTIONS = "the floor is measured on connections that are already open"
QUADRATIC = (
    "its pool looks at every connection for every request: 2,000 open requests took "
    "19 s of CPU, 5,000 would take minutes"
)


@dataclass(frozen=True, kw_only=True)
class Peer:
    """One library: its name, its client script, its environment."""

    name: str
    title: str
    requires: tuple[str, ...] = ()
    editable: str | None = None
    cost_us: float = 1000.0
    costs: Mapping[str, float] = field(default_factory=dict)
    skips: Mapping[str, str] = field(default_factory=dict)

    @property
    def module(self) -> str:
        """The client script, as ``python -m`` wants it."""
        return f"clients.{self.name}"


PEERS: tuple[Peer, ...] = (
    Peer(
        name="floor",
        title="raw sockets + epoll (floor)",
        cost_us=10,
        costs={"body-1mb-20": 320},
        skips={"https-500-hosts": OPEN_CONNECTIONS},
    ),
    Peer(
        name="grequests",
        title="grequests (this project)",
        editable=str(PROJECT),
        cost_us=20,
        costs={"body-1mb-20": 400, "https-500-hosts": 1000},
    ),
    Peer(
        name="pycurl",
        title="pycurl multi",
        requires=("pycurl",),
        cost_us=17,
        costs={"body-1mb-20": 320, "https-500-hosts": 1000},
    ),
    Peer(
        name="wreq",
        title="wreq",
        requires=("wreq", "uvloop"),
        cost_us=33,
        costs={"body-1mb-20": 450, "https-500-hosts": 550},
    ),
    Peer(
        name="pyreqwest",
        title="pyreqwest",
        requires=("pyreqwest", "uvloop"),
        cost_us=40,
        costs={"body-1mb-20": 460, "https-500-hosts": 450},
    ),
    Peer(
        name="aiohttp",
        title="aiohttp + uvloop",
        requires=("aiohttp", "uvloop"),
        cost_us=80,
        costs={"body-1mb-20": 600, "https-500-hosts": 1200},
    ),
    Peer(
        name="pyqwest",
        title="pyqwest",
        requires=("pyqwest", "uvloop"),
        cost_us=90,
        costs={"body-1mb-20": 850, "https-500-hosts": 600},
    ),
    Peer(
        name="geventhttpclient",
        title="geventhttpclient",
        requires=("geventhttpclient",),
        cost_us=110,
        costs={"body-1mb-20": 1700, "https-500-hosts": 1200},
    ),
    Peer(
        name="curl_cffi",
        title="curl_cffi",
        requires=("curl_cffi", "uvloop"),
        cost_us=200,
        costs={"body-1mb-20": 1500, "https-500-hosts": 4200},
    ),
    Peer(
        name="httpx2",
        title="httpx2",
        requires=("httpx2", "uvloop"),
        cost_us=600,
        costs={"keepalive-1000": 5700, "body-1mb-20": 2500, "https-500-hosts": 2900},
        skips={"slow-5000": QUADRATIC},
    ),
    Peer(
        name="niquests",
        title="niquests",
        requires=("niquests", "uvloop"),
        cost_us=650,
        costs={"body-1mb-20": 1500, "https-500-hosts": 5000},
    ),
    Peer(
        name="grequests07",
        title="grequests 0.7.0",
        requires=("grequests==0.7.0",),
        cost_us=700,
        costs={"body-1mb-20": 2800, "https-500-hosts": 24000},
    ),
    Peer(
        name="requests_threads",
        title="requests in threads",
        requires=("requests",),
        cost_us=1100,
        costs={"body-1mb-20": 7000, "https-500-hosts": 24000},
        skips={"slow-5000": ONE_THREAD_EACH},
    ),
    Peer(
        name="requests_futures",
        title="requests-futures",
        requires=("requests-futures",),
        cost_us=1100,
        costs={"body-1mb-20": 7000, "https-500-hosts": 24000},
        skips={"slow-5000": ONE_THREAD_EACH},
    ),
)

BY_NAME: dict[str, Peer] = {peer.name: peer for peer in PEERS}
