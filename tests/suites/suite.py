"""What a suite of others is, to `table.py` and `packages.py`."""

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
        least_fast: how many requests have to take the fast lane when it is run that way, so that a
            suite that no longer tests it is noticed.
        deselect: tests that are left out in every way of running, each with the reason.
        plugins: what makes it send through GRequests, from `plugins/`.
        helpers: further plugins from there, for every way of running, plain too.
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
    least_fast: int = 0
    deselect: dict[str, str] = field(default_factory=dict)
    plugins: tuple[str, ...] = ("suite_sending",)
    helpers: tuple[str, ...] = ()
    ways: tuple[str, ...] = ("general", "fast")
    through: str = "imap"
    environment: dict[str, str] = field(default_factory=dict)
    venv: str = "venv"
    timeout: int = 60


#: httpbin asks for an old greenlet before Python 3.12 and works with any.
HTTPBIN = ("brotlicffi", "decorator", "flask>=2.2.4", "six", "werkzeug>=2.2.2")
HTTPBIN_ALONE = ("httpbin>=0.10.4,<0.11", "pytest-httpbin==2.1.0")
