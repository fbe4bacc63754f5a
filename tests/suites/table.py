"""Which suites of others there are, and how each is run.

To add one: an entry in SUITES, then `python tests/suites/run.py NAME`. The version is that of the
package in the environment of this very Python (`.venv`), the suite is the one in its sdist, and it
runs in `.suites/<venv>`, where GRequests is installed from the working tree.
"""

from __future__ import annotations

from packages import PACKAGES
from packages import REASONS as REASONS_OF_PACKAGES
from suite import HTTPBIN, HTTPBIN_ALONE, Suite

_BLACK_HOLE = (
    "It connects to an address that must swallow its packets (240.0.0.0), which depends on the "
    "network; where somebody answers instead, it leaves sockets open for later tests to trip over."
)
_TIMEOUTS = "test/with_dummyserver/test_connectionpool.py::TestConnectionPoolTimeouts::test_"
_PROXIES = "test/with_dummyserver/test_proxy_poolmanager.py::TestHTTPProxyManager::test_"
_THREAD_IDS = "It fails now and then: it holds that a thread's id is never that of one that ended."
_HTTPS = "test/with_dummyserver/test_https.py::TestHTTPS_"

#: Tests of Requests that take long, make the server busy for long or need a network.
_SLOW_OR_ELSEWHERE = (
    *("connect_timeout", "total_timeout_connect", "none_timeout", "stream_timeout", "read_timeout"),
    *("test_connect_timeout", "encoded_methods", "alt_utf_encodings", "bundle_unexpired_cert"),
)

SUITES: dict[str, Suite] = {
    "requests": Suite(
        package="requests",
        needs=(*HTTPBIN, "pytest-mock", "trustme", "PySocks"),
        needs_alone=HTTPBIN_ALONE,
        arguments=("tests",),
        short=(
            *("tests/test_requests.py", "tests/test_lowlevel.py", "tests/test_hooks.py"),
            *("-k", f"not ({' or '.join(_SLOW_OR_ELSEWHERE)})"),
        ),
        least_fast=120,
    ),
    "urllib3": Suite(
        package="urllib3",
        # Its `test` dependency group, which an sdist's metadata does not have.
        needs=(
            *("anyio[trio]>=4.8", "h2>=4.1", "httpx>=0.28.1", "hypercorn>=0.15", "PySocks"),
            *("pytest-socket>=0.7", "quart>=0.20", "quart-trio>=0.12", "trio>=0.27"),
            *("cryptography", "idna", "trustme"),
        ),
        arguments=("-p", "no:httpbin", "test/with_dummyserver"),
        short=(
            *("-p", "no:httpbin", "test/with_dummyserver/test_socketlevel.py"),
            *("test/with_dummyserver/test_poolmanager.py",),
        ),
        deselect={
            f"{_TIMEOUTS}connect_timeout": _BLACK_HOLE,
            f"{_TIMEOUTS}total_applies_connect": _BLACK_HOLE,
            f"{_TIMEOUTS}total_timeout": _BLACK_HOLE,
            f"{_PROXIES}forwarding_proxy_connect_timeout": _BLACK_HOLE,
            f"{_PROXIES}forwarding_proxy_request_timeout": _BLACK_HOLE,
            f"{_PROXIES}tunneling_proxy_connect_timeout": _BLACK_HOLE,
            f"{_PROXIES}tunneling_proxy_request_timeout": _BLACK_HOLE,
            f"{_HTTPS}TLSv1_2::test_http2_probe_blocked_per_thread": _THREAD_IDS,
            f"{_HTTPS}TLSv1_3::test_http2_probe_blocked_per_thread": _THREAD_IDS,
        },
        plugins=("suite_green",),
        helpers=("suite_hypercorn",),
        ways=("general",),
    ),
    **PACKAGES,
}

_POOLS = (
    "The last line counts the pools of the session's adapter; the fast lane's connections are the "
    "engine's, apart by what they trust and show. What the test is about, that `verify=False` of "
    "one request never serves another, its lines before have shown."
)
_DIFFERENT_POOLS = "tests/test_requests.py::TestPreparingURLs::test_different_connection_pool_for_"

_DROPPED = (
    "The test dials with a connection of which it keeps nothing but the bound method; ours refers "
    "to its connection weakly, lest each be a cycle that stays open until the garbage collector "
    "comes by."
)
_MOCKED = (
    "The test puts a mock in the place of an idle connection's socket; a socket of unknown make "
    "could block everybody, and so is closed and dialled again."
)
_POOL = "test/with_dummyserver/test_connectionpool.py::TestConnectionPool::test_"
_REUSE = [
    f"{_POOL}socket_timeout_updated_on_reuse_{how}[{case}-expect_settimeout_calls{number}]"
    for how in ("constructor", "parameter")
    for number, case in enumerate(("1", "None", "timeout2", "timeout3", "timeout4"))
]
_OPTIONS = [
    *(f"{_POOL}socket_options[socket_options{number}]" for number in (0, 1)),
    *(f"{_POOL}disable_default_socket_options[{case}]" for case in ("None", "socket_options1")),
]

#: Differences from plain Requests that are right: (suite, way, test) and the reason, a sentence.
#: A reason without a difference is an error, so that this list stays as short as it can be.
REASONS: dict[tuple[str, str, str], str] = {
    ("requests", "fast", f"{_DIFFERENT_POOLS}tls_settings_verify_True"): _POOLS,
    ("requests", "fast", f"{_DIFFERENT_POOLS}tls_settings_verify_bundle_expired_cert"): _POOLS,
    ("requests", "fast", f"{_DIFFERENT_POOLS}tls_settings_verify_bundle_unexpired_cert"): _POOLS,
    **{("urllib3", "general", test): _DROPPED for test in _OPTIONS},
    **{("urllib3", "general", test): _MOCKED for test in _REUSE},
    **REASONS_OF_PACKAGES,
}
