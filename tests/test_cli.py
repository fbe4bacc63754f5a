"""The command line, mostly as a process of its own: lines, exit codes, summary, progress."""

from __future__ import annotations

import contextlib
import fcntl
import io
import json
import os
import pty
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import Callable, Iterator
from typing import IO, Any

import gevent
import pytest
import requests
from servers import PATIENCE, Gate, Server, answer, echo, eventually, hang_up, status

import grequests
from grequests import _cli
from grequests._cli import NoBar, PlainBar, Result, Tally, TqdmBar, human_size, progress_bar

#: Shells let what they start in the background ignore SIGINT, and so would its children.
WITH_SIGINT = """
import runpy, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
runpy.run_module("grequests", run_name="__main__", alter_sys=True)
"""
COMMAND = [sys.executable, "-W", "error", "-c", WITH_SIGINT]
#: Seconds after which a command that hangs is ended.
LIMIT = 30


def run(*arguments: str, stdin: str | bytes | None = None) -> subprocess.CompletedProcess[str]:
    data = stdin.encode() if isinstance(stdin, str) else stdin
    done = subprocess.run(
        [*COMMAND, *arguments],
        **({"stdin": subprocess.DEVNULL} if data is None else {"input": data}),
        capture_output=True,
        check=False,
        timeout=LIMIT,
    )
    return subprocess.CompletedProcess(
        done.args, done.returncode, done.stdout.decode(), done.stderr.decode()
    )


@contextlib.contextmanager
def running(*arguments: str, **streams: Any) -> Iterator[subprocess.Popen[bytes]]:
    pipes: dict[str, Any] = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    with subprocess.Popen([*COMMAND, *arguments], **{**pipes, **streams}) as process:
        try:
            yield process
        finally:
            process.kill()


def parsed(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def by_url(text: str) -> dict[str, dict[str, Any]]:
    return {line["url"]: line for line in parsed(text)}


def outcomes(text: str) -> set[tuple[str, Any]]:
    """The last part of each URL, and its status or the name of its error."""
    return {
        (line["url"].rpartition("/")[2], line.get("status") or line["error"]["type"])
        for line in parsed(text)
    }


# Lines and exit codes


def test_all_well(server: Server) -> None:
    server.on("/five", lambda _: answer(b"12345"))
    done = run(server.url("/five"), server.url("/other"))

    assert done.returncode == 0
    lines = by_url(done.stdout)
    assert set(lines) == {server.url("/five"), server.url("/other")}
    line = lines[server.url("/five")]
    assert list(line) == ["url", "status", "bytes", "seconds"]
    assert (line["status"], line["bytes"]) == (200, 5)
    assert 0 < line["seconds"] < PATIENCE


def test_summary_is_on_stderr(server: Server) -> None:
    server.on("/five", lambda _: answer(b"12345"))
    first, second = run(server.url("/five")).stderr.splitlines()

    assert first.startswith("1 done in ")
    assert ": 1 succeeded, 0 failed; 5 bytes, " in first
    assert second == "  status: 1 x 200"


def test_some_failed(server: Server) -> None:
    server.on("/gone", hang_up)
    done = run(server.url("/gone"), server.url("/there"))

    assert done.returncode == 1
    line = by_url(done.stdout)[server.url("/gone")]
    assert list(line) == ["url", "error", "bytes", "seconds"]
    assert line["error"]["type"] == "ConnectionError"
    assert "Remote end closed connection" in line["error"]["message"]
    assert line["bytes"] == 0
    assert done.stderr.splitlines()[1:] == ["  status: 1 x 200", "  failed: 1 x ConnectionError"]


def test_bad_urls_are_lines_and_no_crash() -> None:
    done = run("no-scheme", "http://[", "http://", "gopher://old/", "", "http://a b/", "\udce9")

    assert done.returncode == 1
    assert {url: line["error"]["type"] for url, line in by_url(done.stdout).items()} == {
        "no-scheme": "MissingSchema",
        "http://[": "InvalidURL",
        "http://": "InvalidURL",
        "gopher://old/": "InvalidSchema",
        "": "MissingSchema",
        "http://a b/": "InvalidURL",
        "%E9": "MissingSchema",
    }


def test_any_answer_is_a_success(server: Server) -> None:
    server.on("/status/*", status)
    done = run(server.url("/status/404"), server.url("/status/500"))

    assert done.returncode == 0
    assert outcomes(done.stdout) == {("404", 404), ("500", 500)}
    assert "  status: 1 x 404, 1 x 500\n" in done.stderr


def test_fail_makes_a_bad_status_a_failure(server: Server) -> None:
    server.on("/status/*", status)
    done = run("--fail", server.url("/status/404"), server.url("/status/204"))

    assert done.returncode == 1
    bad = by_url(done.stdout)[server.url("/status/404")]
    assert bad["status"] == 404
    assert bad["error"]["type"] == "HTTPError"
    assert bad["error"]["message"].startswith("404 Client Error: Said for url: ")
    assert "error" not in by_url(done.stdout)[server.url("/status/204")]


def test_order_is_that_of_completion(server: Server) -> None:
    gate = server.hold("/late")
    with running(server.url("/late"), server.url("/early")) as process:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["url"] == server.url("/early")
        gate.open()
        assert json.loads(process.stdout.readline())["url"] == server.url("/late")
        assert process.wait(PATIENCE) == 0


def test_url_is_as_it_was_given(server: Server) -> None:
    server.on("/old", lambda _: answer(b"", "302 Found", "Location: /status/418"))
    server.on("/status/*", status)
    done = run(server.url("/old#part"))

    assert outcomes(done.stdout) == {("old#part", 418)}


# Options


def test_no_redirects(server: Server) -> None:
    server.on("/old", lambda _: answer(b"", "302 Found", "Location: /new"))

    assert outcomes(run("--no-redirects", server.url("/old")).stdout) == {("old", 302)}
    assert server.targets() == ["/old"]


def test_method_and_headers(server: Server) -> None:
    server.on("/echo", echo)
    options = ["-X", "post", "-H", "X-One: 1", "--header", "User-Agent:mine", "-H", "X-No:"]

    assert run(*options, server.url("/echo")).returncode == 0
    (seen,) = server.requests
    assert seen.method == "POST"
    assert (seen.headers["x-one"], seen.headers["user-agent"]) == ("1", "mine")
    assert seen.headers["x-no"] == ""


def test_timeout(server: Server) -> None:
    server.hold("/late")
    done = run("-t", "0.1", server.url("/late"))

    assert done.returncode == 1
    assert outcomes(done.stdout) == {("late", "ReadTimeout")}


def test_concurrency(server: Server) -> None:
    server.hold("/page/*", count=3)
    urls = [server.url(f"/page/{number}") for number in range(9)]

    assert run("-c", "3", *urls).returncode == 0
    assert server.peak == 3


def test_insecure(https_server: Server) -> None:
    assert outcomes(run(https_server.url("/page")).stdout) == {("page", "SSLError")}
    done = run("--insecure", https_server.url("/page"))
    assert outcomes(done.stdout) == {("page", 200)}
    assert "Warning" not in done.stderr


def test_quiet(server: Server) -> None:
    done = run("--quiet", server.url())

    assert (done.returncode, done.stderr) == (0, "")
    assert len(parsed(done.stdout)) == 1


def test_version_and_help() -> None:
    assert run("--version").stdout == f"grequests {grequests.__version__}\n"
    text = run("--help").stdout
    for word in ("examples:", "exit code:", "--concurrency", "--fail", "default: 50"):
        assert word in text
    assert max(map(len, text.splitlines())) <= 100


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ([], "no URLs: name some, or a file with -i FILE, or - to read stdin"),
        (["--no-such-option", "http://x/"], "unrecognized arguments: --no-such-option"),
        (["--conc", "5", "http://x/"], "unrecognized arguments: --conc"),
        (["-c", "0", "http://x/"], "'0' is not a whole number of at least 1"),
        (["-c", "many", "http://x/"], "'many' is not a whole number of at least 1"),
        (["-t", "0", "http://x/"], "'0' is not a number of seconds above 0"),
        (["-t", "inf", "http://x/"], "'inf' is not a number of seconds above 0"),
        (["-t", "soon", "http://x/"], "'soon' is not a number of seconds above 0"),
        (["-X", "GE T", "http://x/"], "'GE T' is not a method"),
        (["-H", "nothing", "http://x/"], "'nothing' does not look like 'Name: value'"),
        (["-H", "A: b\nC: d", "http://x/"], "cannot be sent"),
        (["-H", "A: \u20ac", "http://x/"], "cannot be sent"),
        (["-i", "/no/such/file"], "cannot read /no/such/file: No such file or directory"),
        (["-i", "/"], "cannot read /: Is a directory"),
    ],
)
def test_wrong_use(arguments: list[str], complaint: str) -> None:
    done = run(*arguments)

    assert (done.returncode, done.stdout) == (2, "")
    assert complaint in done.stderr
    assert "Traceback" not in done.stderr


# Input

LINES = "# a comment\n\n{0}/a\r\n   {0}/b  \n#{0}/c\n \t\n{0}/d"


def test_stdin(server: Server) -> None:
    done = run("-", stdin=LINES.format(server.url("")))

    assert done.returncode == 0
    assert sorted(server.targets()) == ["/a", "/b", "/d"]


def test_file(server: Server, tmp_path: Any) -> None:
    path = tmp_path / "urls.txt"
    path.write_text("\ufeff" + LINES.format(server.url("")), encoding="utf-8")
    done = run("-i", str(path), server.url("/e"))

    assert done.returncode == 0
    assert sorted(server.targets()) == ["/a", "/b", "/d", "/e"]


def test_several_files_and_stdin(server: Server, tmp_path: Any) -> None:
    for name in ("one", "two"):
        (tmp_path / name).write_text(server.url(f"/{name}"))
    files = ["-i", str(tmp_path / "one"), "--input", str(tmp_path / "two")]
    run(*files, "-i", "-", stdin=server.url("/three"))

    assert sorted(server.targets()) == ["/one", "/three", "/two"]


def test_nothing_to_do_is_a_success() -> None:
    done = run("-", stdin="# nothing\n")

    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr.startswith("0 done in ")


def test_bytes_that_are_no_utf8_are_sent_as_they_are(server: Server) -> None:
    done = run("-", stdin=server.url("/caf").encode() + b"\xe9\n" + server.url("/é").encode())

    assert done.returncode == 0
    assert sorted(server.targets()) == ["/%C3%A9", "/caf%E9"]


def test_input_is_read_as_it_is_needed(server: Server) -> None:
    """Answers come while stdin is still open, and a slow stdin holds up nobody."""
    gate = server.hold("/held")
    with running("-") as process:
        assert process.stdin is not None
        assert process.stdout is not None
        send(process.stdin, server.url("/held"), server.url("/first"))
        assert json.loads(process.stdout.readline())["url"].endswith("/first")
        gate.open()
        assert json.loads(process.stdout.readline())["url"].endswith("/held")
        send(process.stdin, server.url("/last"))
        assert json.loads(process.stdout.readline())["url"].endswith("/last")
        process.stdin.close()
        assert process.wait(PATIENCE) == 0


def send(stdin: IO[bytes], *urls: str) -> None:
    stdin.write("".join(url + "\n" for url in urls).encode())
    stdin.flush()


def test_lines_are_the_same_however_the_input_is_cut() -> None:
    text = "# no\nhttp://a/\n\nhttp://\u00e9/\r\nhttp://b/".encode()
    for size in range(1, len(text) + 1):
        with Pieces(text, size) as file:
            urls = list(_cli.read_urls(file))
        assert urls == ["http://a/", "http://\u00e9/", "http://b/"]


class Pieces(io.BytesIO):
    """A file that gives at most so many bytes at a time."""

    def __init__(self, content: bytes, size: int) -> None:
        super().__init__(content)
        self._size = size

    def read(self, _: int | None = -1, /) -> bytes:
        return super().read(self._size)

    def fileno(self) -> int:
        return self._regular

    def __enter__(self) -> Pieces:
        self._regular = temporary("")
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._regular)


# Endings


def test_interrupt_stops_at_once(server: Server) -> None:
    gate = server.hold("/held/*")
    urls = [server.url("/done"), *(server.url(f"/held/{number}") for number in range(5))]
    with running(*urls) as process:
        assert process.stdout is not None
        assert process.stdout.readline()
        eventually(lambda: gate.arrived == 5, "all requests")
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=PATIENCE)

    assert process.returncode == 130
    assert out == b""
    assert err.decode().splitlines()[0] == "interrupted"
    assert err.decode().splitlines()[1].startswith("1 done in ")
    assert b"Traceback" not in err
    eventually(lambda: gate.deserted == 5, "the connections to be given up")


def test_interrupt_while_it_waits_for_input(server: Server) -> None:
    with running("-") as process:
        assert process.stdin is not None
        assert process.stdout is not None
        send(process.stdin, server.url("/one"))
        assert process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE) == 130
        assert process.stderr is not None
        assert b"Traceback" not in process.stderr.read()


def test_interrupt_in_the_middle_of_work(server: Server) -> None:
    endless = "".join(f"{server.url('/page')}\n" for _ in range(200_000))
    source = temporary(endless)
    with running("-q", "-", stdin=source) as process:
        os.close(source)
        assert process.stdout is not None
        for _ in range(100):
            assert process.stdout.readline()
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=PATIENCE)

    assert (process.returncode, err) == (130, b"interrupted\n")
    assert out[-1:] in (b"", b"\n")  # whole lines


def temporary(text: str) -> int:
    """A descriptor of a file with this text, gone with its last user."""
    descriptor = os.memfd_create("urls")
    os.write(descriptor, text.encode())
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


def test_closed_pipe_ends_quietly(server: Server) -> None:
    with running("-") as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        send(process.stdin, server.url("/one"))
        assert process.stdout.readline()
        process.stdout.close()
        send(process.stdin, server.url("/two"))
        assert process.wait(PATIENCE) == 141
        assert process.stderr.read() == b""


def test_full_disk_is_said() -> None:
    with open("/dev/full", "wb") as full, running("no-scheme", stdout=full) as process:
        _, err = process.communicate(timeout=PATIENCE)

    assert process.returncode == 1
    assert err.decode().splitlines()[0] == "grequests: error: No space left on device"
    assert b"Traceback" not in err


# Progress


def test_no_progress_when_stderr_is_no_terminal(server: Server) -> None:
    done = run(server.url())

    assert "\r" not in done.stderr
    assert "\x1b" not in done.stderr


def in_terminal(*arguments: str) -> str:
    """What appears on a terminal that is the command's stderr."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("4H", 24, 80, 0, 0))
    with running(*arguments, stderr=theirs, stdout=subprocess.DEVNULL) as process:
        os.close(theirs)
        seen = b""
        with open(ours, "rb", buffering=0) as terminal, contextlib.suppress(OSError):
            while chunk := terminal.read(4096):
                seen += chunk
        assert process.wait(PATIENCE) == 0
    return seen.decode()


def test_progress_in_a_terminal(server: Server, tmp_path: Any) -> None:
    path = tmp_path / "urls.txt"
    path.write_text("".join(f"{server.url()}page/{number}\n" for number in range(7)))
    seen = in_terminal("-i", str(path))

    progress, summary = seen.split("7 done in")
    assert "1/7" in progress
    assert "0 failed" in progress
    assert "7 succeeded, 0 failed" in summary


def test_no_progress_where_it_is_not_wanted(server: Server) -> None:
    seen = in_terminal("--no-progress", server.url())
    assert seen.startswith("1 done in ")
    assert in_terminal("--quiet", server.url()) == ""


class FakeClock:
    """Goes on when it is told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_plain_bar_redraws_ten_times_a_second() -> None:
    clock, out = FakeClock(), io.StringIO()
    tally = Tally(clock())
    bar = PlainBar(2000, out, clock)
    for _ in range(25):
        clock.now += 0.04
        tally.add(Result("http://x/", 0.1, 200))
        bar.show(tally)
    bar.close()

    states = out.getvalue().split("\r\x1b[K")
    assert states[1] == "1 of 2,000 done, 0 failed, 25/s"
    assert len([state for state in states if state]) == 9
    assert states[-1] == ""


def test_plain_bar_of_an_unknown_total() -> None:
    clock, out = FakeClock(), io.StringIO()
    bar = PlainBar(None, out, clock)
    bar.show(Tally(clock() - 1, done=1500, failed=3))

    assert out.getvalue() == "\r\x1b[K1,500 done, 3 failed, 1,500/s"


def test_bar_of_tqdm() -> None:
    clock, out = FakeClock(), io.StringIO()
    bar = progress_bar(8, out, clock)
    assert isinstance(bar, TqdmBar)
    bar.show(Tally(clock(), done=2, failed=1))
    bar.clear()
    bar.close()

    assert "2/8" in out.getvalue()
    assert "1 failed" in out.getvalue()


def test_plain_bar_where_tqdm_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tqdm", None)

    assert isinstance(progress_bar(8, io.StringIO(), FakeClock()), PlainBar)


def test_output_and_progress_share_a_terminal() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    class Noted(NoBar):
        def clear(self) -> None:
            out.write("<clear>")

    out = Terminal()
    result = Result("http://x/", 0.1, 200)
    _cli._print_all(iter([result]), Tally(0.0), Noted(), out)

    assert out.getvalue() == "<clear>" + result.to_json() + "\n"


# Policies


def test_retries_are_counted_in_the_line(server: Server) -> None:
    answers = iter(["503 Busy", "503 Busy", "200 OK"])
    server.on("/busy", lambda _: answer(b"x", next(answers), "Retry-After: 0"))
    done = run("-r", "2", server.url("/busy"))

    assert done.returncode == 0
    [line] = parsed(done.stdout)
    assert (line["status"], line["attempts"]) == (200, 3)


def test_nothing_is_sent_twice_unless_asked_for(server: Server) -> None:
    server.on("/busy", lambda _: answer(b"x", "503 Busy"))
    [line] = parsed(run(server.url("/busy")).stdout)

    assert line["status"] == 503
    assert "attempts" not in line
    assert server.count == 1


def test_in_the_order_of_the_urls(server: Server) -> None:
    last = Gate(2)
    server.on("/0", last)
    server.on("/9", last)  # the first is held until the last has come
    urls = [server.url(f"/{number}") for number in range(10)]
    done = run("--ordered", "-c", "10", *urls)

    assert [line["url"] for line in parsed(done.stdout)] == urls


@pytest.mark.parametrize(
    ("option", "value", "complaint"),
    [
        ("--per-host", "0", "is not a whole number of at least 1"),
        ("--rate", "0", "is not a number above 0"),
        ("--rate", "nan", "is not a number above 0"),
        ("--retries", "-1", "is not a whole number of at least 0"),
        ("--max-time", "0", "is not a number of seconds above 0"),
    ],
)
def test_policies_that_make_no_sense(option: str, value: str, complaint: str) -> None:
    done = run(f"{option}={value}", "http://x/")

    assert done.returncode == 2
    assert complaint in done.stderr


def test_a_server_that_drips_is_cut_off(server: Server) -> None:
    server.on("/drip", Gate())
    done = run("--max-time", "0.2", server.url("/drip"))

    [line] = parsed(done.stdout)
    assert line["error"]["type"] == "TotalTimeoutError"


def test_all_policies_together(server: Server) -> None:
    urls = [server.url(f"/{number}") for number in range(20)]
    done = run("--per-host", "2", "--rate", "1000", "-r", "3", "--max-time", "9", *urls)

    assert done.returncode == 0
    assert len(parsed(done.stdout)) == 20


# Parts


def options(**changes: Any) -> _cli.Options:
    parsed = _cli._parser().parse_args(["http://x/"], _cli.Options())
    for name, value in changes.items():
        setattr(parsed, name, value)
    return parsed


def test_fetch_pulls_no_more_than_it_sends(server: Server) -> None:
    pulled = []

    def urls() -> Iterator[str]:
        while True:
            pulled.append(server.url(f"/{len(pulled)}"))
            yield pulled[-1]

    results = _cli.fetch(urls(), options(concurrency=3))
    for count in range(1, 20):
        assert next(results).status == 200
        assert len(pulled) <= count + 2 * 3
    results.close()


def test_main_returns_and_leaves_ctrl_c_alone(
    server: Server, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    before: Callable[..., Any] | int | None = signal.getsignal(signal.SIGINT)
    hub = gevent.get_hub()

    assert _cli.main(["-q", server.url("/page")]) == 0
    assert outcomes(capsys.readouterr().out) == {("page", 200)}
    assert signal.getsignal(signal.SIGINT) is before
    assert gevent.get_hub() is hub
    monkeypatch.setattr(sys, "stdout", None)
    with pytest.raises(SystemExit) as caught:
        _cli.main([server.url("/page")])
    assert caught.value.code == 2


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 bytes"),
        (999, "999 bytes"),
        (1000, "1.0 kB"),
        (1_500_000, "1.5 MB"),
        (2_000_000_000, "2.0 GB"),
        (3_100_000_000_000, "3.1 TB"),
        (4_000_000_000_000_000, "4000.0 TB"),
    ],
)
def test_human_size(size: int, text: str) -> None:
    assert human_size(size) == text


def test_line_of_an_error_without_a_message() -> None:
    line = json.loads(Result("http://x/", 1.23456789, error=requests.Timeout()).to_json())

    assert line == {
        "url": "http://x/",
        "error": {"type": "Timeout", "message": "Timeout"},
        "bytes": 0,
        "seconds": 1.234568,
    }
