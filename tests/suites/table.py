"""Which suites of others there are, and how each is run.

To add one: an entry in SUITES, then `python tests/suites/run.py NAME`. The version is that of the
package in the environment of this very Python (`.venv`), the suite is the one in its sdist, and it
runs in `.suites/<venv>`, where GRequests is installed from the working tree.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class Suite:
    """The tests of one package.

    Attributes:
        package: whose sdist has the tests, by its name on PyPI.
        needs: requirements of the tests, installed beside GRequests and the package.
        needs_alone: the same, installed without what they require in turn (`--no-deps`).
        arguments: of pytest, in the folder of the unpacked sdist.
        short: arguments for the selection that CI runs instead; no plain run, everything passes.
        deselect: tests that are left out in every way of running, each with the reason.
        plugins: what makes it send through GRequests, from `plugins/`.
        ways: besides `plain`.
        through: `imap` (scheduler and greenlets) or `map` (a single request, in the caller's
            greenlet, where mocks that look at their thread or stack want it).
        environment: variables to be set.
        venv: suites of one name share an environment; another name, if requirements conflict.
        timeout: seconds for one test.
    """

    package: str
    needs: tuple[str, ...] = ()
    needs_alone: tuple[str, ...] = ()
    arguments: tuple[str, ...] = ()
    short: tuple[str, ...] | None = None
    deselect: dict[str, str] = field(default_factory=dict)
    plugins: tuple[str, ...] = ("suite_sending",)
    ways: tuple[str, ...] = ("general", "fast")
    through: str = "imap"
    environment: dict[str, str] = field(default_factory=dict)
    venv: str = "venv"
    timeout: int = 60


#: httpbin asks for an old greenlet before Python 3.12 and works with any.
HTTPBIN = ("brotlicffi", "decorator", "flask>=2.2.4", "six", "werkzeug>=2.2.2")
HTTPBIN_ALONE = ("httpbin>=0.10.4,<0.11", "pytest-httpbin==2.1.0")

SUITES: dict[str, Suite] = {
    "requests": Suite(
        package="requests",
        needs=(*HTTPBIN, "pytest-mock", "trustme", "PySocks"),
        needs_alone=HTTPBIN_ALONE,
        arguments=("tests",),
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
        plugins=("suite_green",),
        ways=("general",),
    ),
}

_POOLS = (
    "The last line counts the pools of the session's adapter; the fast lane's connections are the "
    "engine's, apart by what they trust and show. What the test is about, that `verify=False` of "
    "one request never serves another, its lines before have shown."
)
_DIFFERENT_POOLS = "tests/test_requests.py::TestPreparingURLs::test_different_connection_pool_for_"

#: Differences from plain Requests that are right: (suite, way, test) and the reason, a sentence.
#: A reason without a difference is an error, so that this list stays as short as it can be.
REASONS: dict[tuple[str, str, str], str] = {
    ("requests", "fast", f"{_DIFFERENT_POOLS}tls_settings_verify_True"): _POOLS,
    ("requests", "fast", f"{_DIFFERENT_POOLS}tls_settings_verify_bundle_expired_cert"): _POOLS,
    ("requests", "fast", f"{_DIFFERENT_POOLS}tls_settings_verify_bundle_unexpired_cert"): _POOLS,
}
