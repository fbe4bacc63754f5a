"""The suites of packages that people use with Requests: `python tests/suites/run.py ecosystem`.

All those whose sdists bring tests that say something without a network. Those of CacheControl and
requests-aws4auth bring none, those of PySocks need a server that is no longer to be had.
"""

from __future__ import annotations

from suite import HTTPBIN, HTTPBIN_ALONE, Suite

#: Mocks that find their caller by its thread, or patch what is on its stack, are used with `map`.
_MOCKED = "map"
_VENV = "ecosystem"

PACKAGES: dict[str, Suite] = {
    "betamax": Suite(package="betamax", arguments=("tests",), venv=_VENV),
    "opentelemetry-requests": Suite(
        package="opentelemetry-instrumentation-requests",
        needs=("opentelemetry-test-utils", "mocket", "opentelemetry-sdk"),
        arguments=("tests",),
        through=_MOCKED,
        venv="telemetry",
    ),
    "opentelemetry-urllib3": Suite(
        package="opentelemetry-instrumentation-urllib3",
        needs=("opentelemetry-test-utils", "mocket", "opentelemetry-sdk"),
        arguments=("tests",),
        # It asks urllib3 directly; what is ours there is the general lane's pools.
        plugins=("suite_green",),
        ways=("general",),
        environment={"SUITE_GREEN": "managers"},
        venv="telemetry",
    ),
    "requests-cache": Suite(
        package="requests-cache",
        needs=(
            *HTTPBIN,
            *("requests-cache[all]", "requests-mock", "responses", "rich", "tenacity"),
            *("time-machine", "vcrpy", "cattrs", "pytest-xdist"),
        ),
        needs_alone=HTTPBIN_ALONE,
        # Without those that want a server of their own: Redis, MongoDB, DynamoDB.
        arguments=(
            *("tests/unit", "tests/compat", "tests/integration/test_filesystem.py"),
            *("tests/integration/test_memory.py", "tests/integration/test_sqlite.py"),
        ),
        environment={"USE_PYTEST_HTTPBIN": "true"},
        through=_MOCKED,
        venv=_VENV,
    ),
    "requests-file": Suite(package="requests-file", arguments=("tests",), venv=_VENV),
    "requests-http-signature": Suite(
        package="requests-http-signature", arguments=("test/test.py",), venv=_VENV
    ),
    "requests-mock": Suite(
        package="requests-mock",
        needs=("fixtures", "purl", "testtools", "requests-futures"),
        arguments=("tests",),
        through=_MOCKED,
        venv=_VENV,
    ),
    "requests-ntlm": Suite(
        package="requests-ntlm",
        needs=("flask",),
        arguments=("tests/unit",),
        helpers=("suite_ntlm_server",),
        venv=_VENV,
    ),
    "requests-oauthlib": Suite(
        package="requests-oauthlib",
        needs=("oauthlib[signedtoken]", "requests-mock"),
        arguments=("tests", "--ignore=tests/examples"),
        through=_MOCKED,
        venv=_VENV,
    ),
    "requests-ratelimiter": Suite(
        package="requests-ratelimiter",
        needs=("requests-cache", "requests-mock"),
        arguments=("test",),
        venv=_VENV,
    ),
    "requests-toolbelt": Suite(
        package="requests-toolbelt",
        needs=("betamax", "mock", "pyopenssl", "trustme"),
        arguments=("tests",),
        venv=_VENV,
    ),
    "requests-unixsocket": Suite(
        package="requests-unixsocket",
        needs=("waitress",),
        arguments=("requests_unixsocket/tests",),
        venv=_VENV,
    ),
    "responses": Suite(
        package="responses",
        needs=("pytest-asyncio", "pytest-httpserver", "tomli", "tomli-w"),
        arguments=("responses/tests", "--asyncio-mode=auto"),
        through=_MOCKED,
        venv=_VENV,
    ),
    "sentry-sdk": Suite(
        package="sentry-sdk",
        needs=("jsonschema", "pytest-asyncio", "pytest-cov", "werkzeug"),
        arguments=("tests/integrations/requests", "tests/integrations/stdlib/test_httplib.py"),
        through=_MOCKED,
        venv="telemetry",
    ),
    "truststore": Suite(
        package="truststore",
        needs=("aiohttp", "flaky", "httpx", "pytest-asyncio", "pytest-httpserver", "trustme"),
        # Not test_threading.py, which is about contexts alone and wants many cores.
        arguments=(
            *("tests/test_api.py", "tests/test_custom_ca.py", "tests/test_inject.py"),
            *("-m", "not internet"),
        ),
        venv=_VENV,
    ),
    "vcrpy": Suite(
        package="vcrpy",
        needs=(*HTTPBIN, "pytest-asyncio"),
        needs_alone=HTTPBIN_ALONE,
        helpers=("suite_httpbin_ca",),
        deselect={
            "tests/integration/test_requests.py::test_post_chunked_binary": (
                "It fails in plain Requests as well, one time in three: its server answers and hangs "
                "up without reading what is sent in chunks."
            ),
        },
        arguments=(
            *("tests/unit", "tests/integration/test_requests.py"),
            *("tests/integration/test_urllib3.py", "tests/integration/test_basic.py"),
            *("tests/integration/test_config.py", "tests/integration/test_filter.py"),
            *("tests/integration/test_ignore.py", "tests/integration/test_matchers.py"),
            *("tests/integration/test_multiple.py", "tests/integration/test_proxy.py"),
            *("tests/integration/test_record_mode.py", "tests/integration/test_request.py"),
            *("tests/integration/test_wild.py", "-m", "not online"),
        ),
        venv="recorder",
    ),
}

#: As in `table.py`.
REASONS: dict[tuple[str, str, str], str] = {}
