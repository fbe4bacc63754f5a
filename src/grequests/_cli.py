"""The command line: URLs in, one JSON line per URL out.

Uses the public functions only and knows nothing of how they work. Whatever the number of URLs, it
keeps no more of them than are on their way.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import os
import re
import signal
import stat
import sys
import time
import warnings
from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, BinaryIO, Final, Protocol, TextIO

import gevent
from gevent.socket import wait_read
from requests.exceptions import InvalidHeader, RequestException
from requests.utils import check_header_validity
from urllib3.exceptions import InsecureRequestWarning

from . import Rate, Retry, Timeout, __version__, request, run
from ._settings import MAX_BODY

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator, Sequence

    Clock = Callable[[], float]

#: Exit codes. The last two are what a shell reports for SIGINT and SIGPIPE.
OK: Final = 0
SOME_FAILED: Final = 1
INTERRUPTED: Final = 130
STDOUT_CLOSED: Final = 141

#: Bytes to read of the input at a time.
_CHUNK: Final = 65536
#: Seconds between two states of the progress line.
_REDRAW: Final = 0.1
#: What is left of such bytes after decoding them with "surrogateescape" (PEP 383).
_NOT_UTF8: Final = re.compile("[\udc80-\udcff]")
#: A method is a token (RFC 9110 section 5.6.2).
_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")

_DESCRIPTION: Final = """\
Fetch many URLs at the same time and print one JSON line for each, in the order in which they end.
"""

_EPILOG: Final = """\
examples:
  grequests https://example.org/ https://example.com/
  grequests -i urls.txt -c 200 > results.jsonl
  grep -o 'https://[^"]*' page.html | grequests - | jq -c 'select(.error)'
  grequests -X HEAD -t 5 --fail -H 'Authorization: Bearer abc' -i urls.txt

output, one line per URL:
  {"url": "https://example.org/", "status": 200, "bytes": 1256, "seconds": 0.31}
  {"url": "https://nowhere.test/", "error": {"type": "ConnectionError", "message": "..."},
   "bytes": 0, "seconds": 0.02}
  url is as it was given, status that of the last answer after redirects, bytes the size of the
  decoded body, seconds from the URL's turn to the end of its answer, error.type the class in
  requests.exceptions or grequests; attempts is there if it was sent more than once.

the same from Python: grequests.run(urls, concurrency=50, ...), where retry= counts the first
attempt, too: retry=3 is --retries 2.

input:
  one URL per line; empty lines and lines that begin with # are skipped. It is read as it is
  needed: endless input is fine, and so is a pipe that delivers slowly.

exit code:
  0 all succeeded   1 some failed   2 wrong use   130 interrupted   141 stdout was closed
  Any answer is a success, whatever its status; with --fail, a status of 400 or more is a failure
  and its line has both status and error.
"""


class Options(argparse.Namespace):
    """What the command line says."""

    urls: list[str]
    input: list[str]
    concurrency: int
    per_host: int | None
    rate: float | None
    retries: int
    ordered: bool
    timeout: float
    max_time: float
    max_body: int
    method: str
    header: list[tuple[str, str]]
    redirects: bool
    insecure: bool
    fail: bool
    progress: bool
    quiet: bool

    def keywords(self) -> dict[str, Any]:
        """The keywords of each request."""
        chosen: dict[str, Any] = {}
        if self.header:
            chosen["headers"] = dict(self.header)
        if not self.redirects:
            chosen["allow_redirects"] = False
        if self.insecure:
            chosen["verify"] = False
        return chosen

    def policies(self) -> dict[str, Any]:
        """The arguments of `run`."""
        return {
            "concurrency": self.concurrency,
            "per_host": self.per_host,
            "rate": None if self.rate is None else Rate(self.rate),
            "retry": Retry(attempts=self.retries + 1) if self.retries else None,
            "timeout": Timeout(connect=self.timeout, read=self.timeout, total=self.max_time),
            # Who names the URLs wants to know of each what became of it.
            "circuit": None,
            "max_body": self.max_body,
            "ordered": self.ordered,
        }


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        arguments: of the command line; None for those of the process.

    Returns:
        The exit code.

    Raises:
        SystemExit: for ``--help`` and ``--version`` (0), and wrong use (2).
    """
    parser = _parser()
    options = parser.parse_args(arguments, Options())
    if not options.urls and not options.input:
        parser.error("no URLs: name some, or a file with -i FILE, or - to read stdin")
    if sys.stdout is None:
        parser.error("stdout is closed")
    if sys.stderr is None:
        options.quiet = True
    with contextlib.ExitStack() as stack:
        try:
            sources = _open_sources(options, stack)
        except OSError as error:
            parser.error(f"cannot read {error.filename}: {error.strerror}")
        return _run(options, sources)


# Arguments


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="grequests",
        usage="grequests [options] URL...\n       grequests [options] -i FILE\n"
        "       ... | grequests [options] -",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("urls", nargs="*", metavar="URL", help="what to fetch; - for the lines of stdin")
    add("-i", "--input", action="append", default=[], metavar="FILE", help="file with URLs")
    add("-c", "--concurrency", type=_count, default=50, metavar="N", help="at once (default: 50)")
    add("--per-host", type=_count, metavar="N", help="at once for each host (default: all)")
    add("--rate", type=_number, metavar="N", help="start no more than N a second")
    add(
        *("-r", "--retries"),
        type=_retries,
        default=0,
        metavar="N",
        help="send what fails for a reason that may pass up to N times more (default: 0)",
    )
    add("--ordered", action="store_true", help="print in the order of the URLs")
    add(
        *("-t", "--timeout"),
        type=_seconds,
        default=30.0,
        metavar="SECONDS",
        help="to wait for a connection, and for each next part of an answer (default: 30)",
    )
    add(
        "--max-time",
        type=_seconds,
        default=Timeout.total,
        metavar="SECONDS",
        help=f"for all of an answer (default: {Timeout.total:g})",
    )
    add(
        "--max-body",
        type=_count,
        default=MAX_BODY,
        metavar="BYTES",
        help=f"of an answer, without its coding; more is a failure (default: {MAX_BODY})",
    )
    add("-X", "--method", type=_method, default="GET", metavar="NAME", help="(default: GET)")
    add(
        *("-H", "--header"),
        action="append",
        type=_header,
        default=[],
        metavar="'NAME: VALUE'",
        help="send this header; may be given several times",
    )
    add("--no-redirects", action="store_false", dest="redirects", help="do not follow redirects")
    add("-k", "--insecure", action="store_true", help="do not verify certificates")
    add("-f", "--fail", action="store_true", help="a status of 400 or more is a failure")
    add(
        "--no-progress",
        action="store_false",
        dest="progress",
        help="no progress bar (there is none either when stderr is no terminal)",
    )
    add("-q", "--quiet", action="store_true", help="neither progress bar nor summary")
    add("--version", action="version", version=f"grequests {__version__}")
    return parser


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise _wrong(text, "is not a whole number of at least 1")
    return int(text)


def _retries(text: str) -> int:
    if not text.isascii() or not text.isdigit():
        raise _wrong(text, "is not a whole number of at least 0")
    return int(text)


def _number(text: str, what: str = "a number above 0") -> float:
    with contextlib.suppress(ValueError):
        number = float(text)
        if 0 < number < float("inf"):
            return number
    raise _wrong(text, f"is not {what}")


def _seconds(text: str) -> float:
    return _number(text, "a number of seconds above 0")


def _method(text: str) -> str:
    if not _TOKEN.fullmatch(text):
        raise _wrong(text, "is not a method")
    return text.upper()


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    name, value = name.strip(), value.strip()
    if not colon or not _TOKEN.fullmatch(name):
        raise _wrong(text, "does not look like 'Name: value'")
    try:
        check_header_validity((name, value))
        value.encode("latin-1")  # what Requests puts on the wire
    except (InvalidHeader, UnicodeEncodeError) as error:
        raise _wrong(text, f"cannot be sent: {error}") from None
    return name, value


def _wrong(text: str, why: str) -> argparse.ArgumentTypeError:
    return argparse.ArgumentTypeError(f"{text!r} {why}")


# Input


def _open_sources(options: Options, stack: contextlib.ExitStack) -> list[str | BinaryIO]:
    """The URLs and files in their order, all files open.

    Raises:
        OSError: a file cannot be opened.
    """
    urls = [_open(url, stack) if url == "-" else url for url in options.urls]
    return [*urls, *(_open(path, stack) for path in options.input)]


def _open(path: str, stack: contextlib.ExitStack) -> BinaryIO:
    if path != "-":
        return stack.enter_context(open(path, "rb", buffering=0))
    try:
        return stack.enter_context(open(0, "rb", buffering=0, closefd=False))
    except OSError as error:
        error.filename = "stdin"
        raise


def _urls(sources: Iterable[str | BinaryIO]) -> Iterator[str]:
    for source in sources:
        if isinstance(source, str):
            yield _quoted(source)
        else:
            yield from read_urls(source)


def read_urls(file: BinaryIO) -> Iterator[str]:
    """The URLs of a file, one per line; others run while a pipe or a terminal keeps it waiting."""
    for line in _lines(file):
        text = line.decode("utf-8", "surrogateescape").strip().removeprefix("\ufeff")
        if text and not text.startswith("#"):
            yield _quoted(text)


def _quoted(text: str) -> str:
    """Bytes that were no UTF-8, percent-encoded as they stood."""
    if text.isascii():
        return text
    return _NOT_UTF8.sub(lambda match: f"%{ord(match[0]) - 0xDC00:02X}", text)


def _lines(file: BinaryIO) -> Iterator[bytes]:
    waits = not stat.S_ISREG(os.fstat(file.fileno()).st_mode)
    rest = b""
    while True:
        if waits:
            # Waiting, then reading: making a terminal non-blocking would make it so for the shell.
            wait_read(file.fileno())
        chunk = file.read(_CHUNK)
        if not chunk:
            break
        head, newline, tail = chunk.rpartition(b"\n")
        if newline:
            yield from (rest + head).split(b"\n")
            rest = tail
        else:
            rest += chunk
    yield rest


def _total(sources: Iterable[str | BinaryIO]) -> int | None:
    """How many URLs there are, if that can be known beforehand."""
    total = 0
    for source in sources:
        if isinstance(source, str):
            total += 1
        elif stat.S_ISREG(os.fstat(source.fileno()).st_mode):
            start = source.tell()
            total += sum(1 for _ in read_urls(source))
            source.seek(start)
        else:
            return None
    return total


# Work


@dataclass(frozen=True, slots=True)
class Result:
    """What came of one URL. `status` or `error` is set, with ``--fail`` perhaps both."""

    url: str
    seconds: float
    status: int | None = None
    error: BaseException | None = None
    size: int = 0
    attempts: int = 1

    def to_json(self) -> str:
        """The line of output."""
        line: dict[str, Any] = {"url": self.url}
        if self.status is not None:
            line["status"] = self.status
        if self.error is not None:
            kind = type(self.error).__name__
            line["error"] = {"type": kind, "message": str(self.error) or kind}
        line["bytes"] = self.size
        line["seconds"] = round(self.seconds, 6)
        if self.attempts > 1:
            line["attempts"] = self.attempts
        return json.dumps(line)


def fetch(urls: Iterable[str], options: Options) -> Generator[Result, None, None]:
    """Fetch URLs and yield what came of them in the order of completion, or of the URLs."""
    keywords = options.keywords()
    requests = (request(options.method, url, tag=url, **keywords) for url in urls)
    with run(requests, **options.policies()) as ended:
        for result in ended:
            attempts = len(result.attempts)
            seconds = result.timings.queued + result.timings.total
            response = result.response
            if response is None:
                yield Result(result.tag, seconds, error=result.error, attempts=attempts)
                continue
            error = _status_error(response) if options.fail else None
            size = len(response.content)
            yield Result(result.tag, seconds, response.status_code, error, size, attempts)


def _status_error(response: Any) -> RequestException | None:
    try:
        response.raise_for_status()
    except RequestException as error:
        return error
    return None


@dataclass(slots=True)
class Tally:
    """Counts of what has been done."""

    started: float
    done: int = 0
    failed: int = 0
    size: int = 0
    statuses: Counter[int] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)

    def add(self, result: Result) -> None:
        """Count a result."""
        self.done += 1
        self.size += result.size
        if result.status is not None:
            self.statuses[result.status] += 1
        if result.error is not None:
            self.failed += 1
            self.errors[type(result.error).__name__] += 1

    def summary(self, now: float) -> str:
        """Some lines for people."""
        seconds = max(now - self.started, 1e-6)
        rate = self.done / seconds
        lines = [
            (
                f"{self.done:,} done in {seconds:,.2f} s: "
                f"{self.done - self.failed:,} succeeded, {self.failed:,} failed; "
                f"{human_size(self.size)}, {rate:,.0f} requests/s"
            )
        ]
        if self.statuses:
            lines.append("  status: " + _counts(sorted(self.statuses.items())))
        if self.errors:
            lines.append("  failed: " + _counts(self.errors.most_common()))
        return "\n".join(lines)


def _counts(items: Iterable[tuple[object, int]]) -> str:
    return ", ".join(f"{count:,} x {name}" for name, count in items)


def human_size(size: float) -> str:
    """Bytes, as people say it: ``"1.5 MB"``."""
    if size < 1000:  # noqa: PLR2004
        return f"{size:.0f} bytes"
    for unit in ("kB", "MB", "GB"):
        size /= 1000
        if size < 1000:  # noqa: PLR2004
            return f"{size:.1f} {unit}"
    return f"{size / 1000:.1f} TB"


def _run(options: Options, sources: list[str | BinaryIO]) -> int:
    clock = time.monotonic
    tally = Tally(clock())
    stopped, code = "", OK
    try:
        with (
            _interruptible(),
            _without_warnings(),
            closing(_bar(options, sources, clock)) as bar,
            closing(fetch(_urls(sources), options)) as results,
        ):
            tally.started = clock()
            _print_all(results, tally, bar, sys.stdout)
    except KeyboardInterrupt:
        stopped, code = "interrupted", INTERRUPTED
    except BrokenPipeError:
        _discard_stdout()
        return STDOUT_CLOSED
    except OSError as error:
        _discard_stdout()
        stopped, code = f"grequests: error: {error.strerror or error}", SOME_FAILED
    if stopped:
        print(stopped, file=sys.stderr)
    if not options.quiet:
        print(tally.summary(clock()), file=sys.stderr)
    return code or (SOME_FAILED if tally.failed else OK)


def _print_all(results: Iterator[Result], tally: Tally, bar: Bar, out: TextIO) -> None:
    mixed = out.isatty()
    for result in results:
        tally.add(result)
        if mixed:
            bar.clear()
        # Flushed one by one: whoever reads the pipe may be waiting for just this one.
        out.write(result.to_json() + "\n")
        out.flush()
        bar.show(tally)


def _discard_stdout() -> None:
    """Let the interpreter's last flush go nowhere, or it would complain."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, sys.stdout.fileno())
    os.close(null)


@contextlib.contextmanager
def _without_warnings() -> Iterator[None]:
    """Whoever says ``--insecure`` knows."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", InsecureRequestWarning)
        yield


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
    """Have Ctrl-C raise `KeyboardInterrupt` here, and nowhere else; the second one kills.

    Python would raise it in whatever runs, and gevent print it if that is a callback of the hub.
    """
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield  # such as ignored, by nohup or in a shell's background
        return
    here = gevent.getcurrent()
    loop = gevent.get_hub().loop

    def on_interrupt(*_: object) -> None:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        if gevent.getcurrent() is here:
            raise KeyboardInterrupt
        loop.run_callback(here.throw, KeyboardInterrupt)

    signal.signal(signal.SIGINT, on_interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


# Progress


class Bar(Protocol):
    """Shows how far things are."""

    def show(self, tally: Tally) -> None:
        """Show the counts, unless they have been shown just now."""

    def clear(self) -> None:
        """Make room for a line of output."""

    def close(self) -> None:
        """Leave nothing behind."""


class NoBar:
    """Shows nothing."""

    def show(self, tally: Tally) -> None:
        pass

    def clear(self) -> None:
        pass

    def close(self) -> None:
        pass


class PlainBar:
    """A line of counts, for terminals without tqdm."""

    def __init__(self, total: int | None, out: TextIO, clock: Clock) -> None:
        self._of = "" if total is None else f" of {total:,}"
        self._out = out
        self._clock = clock
        self._next = clock()

    def show(self, tally: Tally) -> None:
        now = self._clock()
        if now < self._next:
            return
        self._next = now + _REDRAW
        rate = tally.done / max(now - tally.started, 1e-6)
        self._out.write(
            f"\r\x1b[K{tally.done:,}{self._of} done, {tally.failed:,} failed, {rate:,.0f}/s"
        )
        self._out.flush()

    def clear(self) -> None:
        self._out.write("\r\x1b[K")
        self._out.flush()

    def close(self) -> None:
        self.clear()


class TqdmBar:
    """The bar of tqdm."""

    def __init__(self, tqdm: Any, total: int | None, out: TextIO, clock: Clock) -> None:
        # No thread of its own. Other people's bars keep theirs: the attribute is a subclass's.
        kind: Any = type("Bar", (tqdm,), {"monitor_interval": 0})
        self._bar = kind(total=total, unit="req", file=out, dynamic_ncols=True, leave=False)
        self._clock = clock
        self._next = clock()

    def show(self, tally: Tally) -> None:
        now = self._clock()
        if now < self._next:
            return
        self._next = now + _REDRAW
        self._bar.set_postfix_str(f"{tally.failed:,} failed", refresh=False)
        self._bar.n = tally.done
        self._bar.refresh()

    def clear(self) -> None:
        self._bar.clear()

    def close(self) -> None:
        self._bar.close()


def _bar(options: Options, sources: Iterable[str | BinaryIO], clock: Clock) -> Bar:
    if options.quiet or not options.progress or not sys.stderr.isatty():
        return NoBar()
    return progress_bar(_total(sources), sys.stderr, clock)


def progress_bar(total: int | None, out: TextIO, clock: Clock) -> Bar:
    """The bar of tqdm where it is installed (``pip install 'grequests[progress]'``), or our own."""
    try:
        tqdm = importlib.import_module("tqdm").tqdm
    except ImportError:
        return PlainBar(total, out, clock)
    return TqdmBar(tqdm, total, out, clock)
