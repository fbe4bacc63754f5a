"""Progress, as it is seen: bars, lines and functions."""

from __future__ import annotations

import io
import logging
import re
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
import tqdm
from seeing import statistics

import grequests
from grequests import _kinds as kinds
from grequests import _progress
from grequests._progress import reporter


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def shown(terminal: io.StringIO) -> list[str]:
    """The states that were seen, one after the other; times and speeds are tqdm's business."""
    text = re.sub(r"\x1b\[[A-Z]", "", terminal.getvalue())
    text = re.sub(r"[0-9?.]+(s/)?req(/s)?", "SPEED", text)
    text = re.sub(r"\d\d:\d\d(<(\d\d:\d\d|\?))?", lambda found: "ETA" if found[1] else "TIME", text)
    states = [each.strip() for each in re.split(r"[\r\n]", text)]
    return [re.sub(r"\|.*\|", "|", each) for each in states if each]


@pytest.fixture(params=["bar", "lines", "function"])
def kind(request: pytest.FixtureRequest) -> Any:
    """A reporter of each kind, and where it shows."""
    if request.param == "function":
        seen: list[Any] = []
        return reporter(seen.append), seen
    out = Terminal() if request.param == "bar" else io.StringIO()
    return reporter(True, out), out


# What is asked for


@pytest.mark.parametrize("nothing", [None, False])
def test_nothing(nothing: object) -> None:
    assert reporter(nothing) is None


@pytest.mark.parametrize("odd", ["yes", 1, 0, [print]])
def test_something_else_is_refused(odd: object) -> None:
    with pytest.raises(grequests.PolicyError, match="progress must be True, False, None"):
        reporter(odd)


def test_a_bar_without_tqdm_names_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tqdm.auto", None)
    with pytest.raises(grequests.MissingExtraError) as caught:
        reporter(True)
    assert caught.value.extra == "progress"
    assert "pip install 'grequests[progress]'" in str(caught.value)
    assert reporter(print) is not None


def test_without_stderr_there_is_nothing_to_show_it_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    assert reporter(True) is None


# The bar


def test_a_bar_shows_done_and_expected_failed_and_retries() -> None:
    out = Terminal()
    bar = reporter(True, out)
    bar.update(statistics(expected=4000))
    failed = {kinds.NAME: 2, kinds.TLS: 1}
    bar.update(statistics(expected=4000, succeeded=997, failed=failed, retries=1200))
    bar.close()
    assert shown(out)[-2:] == [
        "25%| 1000/4000 [ETA, SPEED, 3 failed, 1,200 retries]",
        "3 of 1,000 failed: 2 could not resolve names, 1 failed in TLS; is DNS reachable?",
    ]


def test_a_bar_without_a_length_has_no_eta() -> None:
    out = Terminal()
    bar = reporter(True, out)
    bar.update(statistics(succeeded=7, retries=1))
    bar.close()
    assert re.fullmatch(r"SPEED \[TIME, SPEED, 0 failed, 1 retry\]", shown(out)[-1])


def test_a_length_that_is_known_later_and_then_not_any_more_is_kept() -> None:
    out = Terminal()
    bar = reporter(True, out)
    bar.update(statistics(succeeded=1))
    bar.update(statistics(succeeded=2, expected=8))
    assert "25%" in shown(out)[-1]
    bar.update(statistics(succeeded=8))
    assert "100%" in shown(out)[-1]
    bar.update(statistics(succeeded=9))
    assert "%" not in shown(out)[-1]
    bar.close()


def test_each_state_is_shown_at_once() -> None:
    out = Terminal()
    bar = reporter(True, out)
    for done in range(5):
        bar.update(statistics(succeeded=done, expected=4))
    assert [each.split("%")[0] for each in shown(out)][-4:] == ["25", "50", "75", "100"]
    bar.close()


def test_retries_are_seen_while_nothing_ends() -> None:
    out = Terminal()
    bar = reporter(True, out)
    for retries in (1, 2, 3):
        bar.update(statistics(succeeded=1, retries=retries, expected=4))
    assert "3 retries" in shown(out)[-1]
    bar.close()


def test_nothing_is_shown_of_a_run_that_never_began() -> None:
    out = Terminal()
    bar = reporter(True, out)
    bar.close()
    assert out.getvalue() == ""


def test_a_bar_stays_when_it_is_closed_early_and_leaves_nothing_behind() -> None:
    out = Terminal()
    bar = reporter(True, out)
    bar.update(statistics(succeeded=1, expected=4))
    bar.close()
    before = out.getvalue()
    bar.close()
    bar.update(statistics(succeeded=2, expected=4))
    assert out.getvalue() == before
    assert before.endswith("\n")
    assert "25%" in shown(out)[-1]
    assert len(tqdm.tqdm._instances) == 0


def test_other_peoples_bars_stay_as_they_are() -> None:
    bar = reporter(True, Terminal())
    bar.update(statistics(succeeded=1, expected=4))
    bar.close()
    assert tqdm.tqdm.monitor_interval == 10
    assert tqdm.tqdm.monitor is None


def test_a_cell_of_a_notebook_is_live() -> None:
    out_stream = type("OutStream", (io.StringIO,), {"__module__": "ipykernel.iostream"})
    assert _progress._is_live(out_stream())
    assert not _progress._is_live(io.StringIO())
    assert not _progress._is_live(object())  # type: ignore[arg-type]
    closed = io.StringIO()
    closed.close()
    assert not _progress._is_live(closed)


# Lines


def test_without_a_terminal_there_is_a_line_every_ten_seconds_and_a_summary() -> None:
    out = io.StringIO()
    lines = reporter(True, out)
    for tenths in range(0, 251):
        lines.update(
            statistics(succeeded=tenths * 10, expected=5000, elapsed=tenths / 10, retries=2)
        )
    lines.close()
    assert out.getvalue().splitlines() == [
        "1,000 of 5,000 done, 0 failed, 2 retries, 100/s",
        "2,000 of 5,000 done, 0 failed, 2 retries, 100/s",
        "2,500 done in 25 s (100/s): 2,500 answered, 0 failed, 2 retries, 0 B",
    ]


def test_the_last_line_says_why() -> None:
    out = io.StringIO()
    lines = reporter(True, out)
    lines.update(statistics(failed={kinds.NAME: 3}, elapsed=12.0))
    lines.close()
    assert out.getvalue().splitlines() == [
        "3 done, 3 failed, 0 retries, 0.2/s",
        "3 done in 12 s (0.2/s): 0 answered, 3 failed, 0 retries, 0 B",
        "3 of 3 failed: 3 could not resolve names; is DNS reachable?",
    ]


# Functions


def test_a_function_gets_the_statistics() -> None:
    seen: list[Any] = []
    states = [statistics(succeeded=1), statistics(succeeded=2)]
    function = reporter(seen.append)
    for each in states:
        function.update(each)
    function.close()
    assert seen == states


def test_a_function_that_fails_is_logged_once_and_not_called_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    calls = []

    def fail(_: object) -> None:
        calls.append(1)
        raise ZeroDivisionError

    function = reporter(fail)
    for _ in range(3):
        function.update(statistics())
    function.close()
    assert len(calls) == 1
    [record] = caplog.records
    assert (record.name, record.levelno) == ("grequests", logging.ERROR)
    assert record.exc_info[0] is ZeroDivisionError


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt, SystemExit])
def test_what_is_not_its_own_passes(interrupt: type[BaseException]) -> None:
    def stop(_: object) -> None:
        raise interrupt

    with pytest.raises(interrupt):
        reporter(stop).update(statistics())


# All


def test_closing_twice_and_updating_after_it_do_nothing(kind: Any) -> None:
    one, seen = kind
    one.update(statistics(succeeded=1, elapsed=60.0))
    assert repr(one) == "<Reporter open>"
    one.close()
    before = seen.getvalue() if hasattr(seen, "getvalue") else [*seen]
    one.close()
    one.update(statistics(succeeded=2, elapsed=120.0))
    assert (seen.getvalue() if hasattr(seen, "getvalue") else seen) == before
    assert repr(one) == "<Reporter closed>"


@pytest.mark.parametrize("make", [Terminal, io.StringIO])
def test_a_stream_that_is_gone_does_not_end_the_run(
    caplog: pytest.LogCaptureFixture, make: Callable[[], Any]
) -> None:
    out = make()
    one = reporter(True, out)
    one.update(statistics(succeeded=1, elapsed=11.0))
    out.close()
    one.update(statistics(succeeded=2, elapsed=22.0))
    one.update(statistics(succeeded=3, elapsed=33.0))
    one.close()
    assert len(caplog.records) <= 1  # tqdm swallows some of it
    assert len(tqdm.tqdm._instances) == 0


def test_tqdm_is_not_imported_unless_it_is_wanted() -> None:
    source = "import sys, grequests; assert 'tqdm' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", source], timeout=60, check=False)
    assert done.returncode == 0
