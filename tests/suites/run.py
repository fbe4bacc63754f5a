"""Run the test suites of others with GRequests underneath, and compare with plain Requests.

    python tests/suites/run.py requests                 plain, general, fast; then the comparison
    python tests/suites/run.py requests --way fast      one way only, compared with the last plain
    python tests/suites/run.py ecosystem                the packages of packages.py
    python tests/suites/run.py requests --short         the selection for CI: everything passes
    python tests/suites/run.py requests --way fast -- -k redirect -x      arguments for pytest

Exits with 1 if a test is worse than in plain Requests and has no reason in table.py, or has a
reason and is not. Suites, and how to add one: table.py. Raw results: `.suites/results/`.

It may use nothing but the standard library, and runs in the environment whose packages are tested.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import compare
from environment import FOLDER, python_for, unpacked
from packages import PACKAGES
from suite import Suite
from table import REASONS, SUITES

_PLUGINS = Path(__file__).with_name("plugins")
#: Nobody's proxies and certificates, as in our own tests.
_MEDDLING = ("_proxy", "_PROXY", "CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR", "NETRC")


def run(name: str, way: str, *, short: bool = False, more: tuple[str, ...] = ()) -> dict[str, Any]:
    """Run a suite in one way, showing pytest's own short report, and return what was recorded."""
    suite = SUITES[name]
    python, folder = python_for(suite), unpacked(suite)
    record = FOLDER / "results" / f"{name}-{way}{'-short' if short else ''}.json"
    if more:
        record = record.with_name(f"{name}-{way}-partial.json")
    record.parent.mkdir(parents=True, exist_ok=True)
    record.unlink(missing_ok=True)
    print(f"\n=== {name}: {way}", flush=True)
    subprocess.run(
        [python, "-m", "pytest", *_arguments(suite, way, short=short), *more],
        cwd=folder,
        env=_environment(suite, way, record),
        stdin=subprocess.DEVNULL,
        check=False,
    )
    if not record.exists():
        sys.exit(f"{name}: pytest did not run")
    result = json.loads(record.read_text())
    result["of"] = f"{suite.package} {version(suite.package)}"
    result["python"] = ".".join(map(str, sys.version_info[:2]))
    record.write_text(json.dumps(result, indent=1))
    return result


def _arguments(suite: Suite, way: str, *, short: bool) -> list[str]:
    plugins = ("suite_record", *suite.helpers, *(suite.plugins if way != "plain" else ()))
    return [
        *("-q", "--no-header", "--tb=no", "-rN", "--disable-warnings", "-p", "no:cacheprovider"),
        *(argument for each in plugins for argument in ("-p", each)),
        f"--timeout={suite.timeout}",
        *(argument for test in suite.deselect for argument in ("--deselect", test)),
        *(suite.short if short and suite.short is not None else suite.arguments),
    ]


def _environment(suite: Suite, way: str, record: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.endswith(_MEDDLING)}
    kept.pop("PYTEST_ADDOPTS", None)
    return kept | {
        "PYTHONPATH": str(_PLUGINS),
        "SUITE_RECORD": str(record),
        "SUITE_WAY": way,
        "SUITE_THROUGH": suite.through,
        **suite.environment,
    }


def show_lanes(name: str, way: str, totals: dict[str, Any]) -> bool:
    """Print which lanes the requests took; whether it was the right one often enough."""
    lanes = totals.get("lanes") or {}
    shown = ", ".join(f"{number} {lane}" for lane, number in sorted(lanes.items()))
    print(f"{way}: requests by lane: {shown}")
    for reason, number in sorted(totals.get("reasons", {}).items(), key=lambda pair: -pair[1]):
        print(f"    general because of {reason}: {number}")
    wrong = lanes.get("fast", 0) if way == "general" else 0
    least = SUITES[name].least_fast if way == "fast" else 0
    if wrong or lanes.get("fast", 0) < least:
        print(f"{way}: at least {least} requests should take the fast lane this way")
        return False
    return True


def judge(name: str, way: str, tests: compare.Tests, found: list[compare.Difference]) -> bool:
    """Print each difference; whether all that are worse have a reason, and all reasons are needed."""
    reasons = {
        test: why
        for (suite, in_way, test), why in REASONS.items()
        if (suite, in_way) == (name, way) and test in tests
    }
    is_fine = True
    for difference in found:
        why = reasons.pop(difference.test, None)
        if why is None and difference.is_worse:
            is_fine = False
        label = why or ("NO REASON GIVEN" if difference.is_worse else "better")
        print(f"{way}: {difference}\n    {label}")
    for test in reasons:
        print(f"{way}: {test} has a reason to differ and does not differ")
    return is_fine and not reasons


def main() -> int:
    """Run what the command line asks for; 0 if it is fine."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(SUITES)}")
    parser.add_argument("--way", action="append", choices=("plain", "general", "fast"))
    parser.add_argument("--short", action="store_true", help="the selection for CI, without plain")
    arguments, more = parser.parse_known_args(_before_dashes(sys.argv[1:]))
    if more:
        parser.error(f"unknown arguments: {more}")
    names = _names(arguments.names)
    if unknown := set(names) - SUITES.keys():
        parser.error(f"no such suite: {', '.join(sorted(unknown))}")
    extra = tuple(sys.argv[1:][len(_before_dashes(sys.argv[1:])) + 1 :])
    results = [_one(name, arguments.way, arguments.short, extra) for name in names]
    return 0 if all(results) else 1


def _names(given: list[str]) -> list[str]:
    """The suites meant; `ecosystem` stands for all those of packages."""
    several = {"ecosystem": list(PACKAGES)}
    return [name for each in given or SUITES for name in several.get(each, [each])]


def _before_dashes(arguments: list[str]) -> list[str]:
    return arguments[: arguments.index("--")] if "--" in arguments else arguments


def _one(name: str, ways: list[str] | None, short: bool, extra: tuple[str, ...]) -> bool:
    wanted = ways or [*([] if short else ["plain"]), *SUITES[name].ways]
    ran = {way: run(name, way, short=short, more=extra) for way in wanted}
    known = FOLDER / "results" / f"{name}-plain.json"
    if not short and "plain" not in ran and known.exists() and not extra:
        ran["plain"] = json.loads(known.read_text())
    ran = {way: ran[way] for way in ("plain", "general", "fast") if way in ran}
    print(f"\n{name} (tests of {next(iter(ran.values()))['of']})\n")
    print(compare.table((way, compare.count(each["tests"])) for way, each in ran.items()))
    print()
    is_fine = all(compare.count(each["tests"])["passed"] for each in ran.values())
    for way in [way for way in ran if way != "plain"]:
        if not extra:
            is_fine &= show_lanes(name, way, ran[way]["totals"])
        if short or "plain" not in ran:
            found = compare.not_passed(ran[way]["tests"])
        else:
            found = compare.differences(ran["plain"]["tests"], ran[way]["tests"])
        is_fine &= judge(name, way, ran[way]["tests"], found)
    print(f"{name}: {'no unexplained difference' if is_fine else 'WORSE than plain Requests'}")
    return is_fine


if __name__ == "__main__":
    sys.exit(main())
