"""The demo: a local server whose answers are good and bad, and the command line run against it.

``python -m grequests._demo`` (``make demo``) shows what becomes of 10,000 URLs of which some fail
on purpose, and checks every outcome. `serving` is that server, for the examples and the tests.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import re
import selectors
import socket
import subprocess
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

#: Seconds the demo waits for an answer.
_TIMEOUT: Final = 2
_CONCURRENCY: Final = 100
#: Links of the tree at `/tree/1`: page n leads to 2n and 2n + 1.
TREE_SIZE: Final = 127
#: What a server of mail says first.
_MAIL_SERVER: Final = b"220 mail.example.org ready\r\n"
_LENGTH: Final = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
#: Bytes of a request the server is ready to remember.
_LONGEST_REQUEST: Final = 65536


# The server


class _HangUpError(Exception):
    """Send these bytes and close the connection."""


class _NeverError(Exception):
    """Say nothing, and leave it to the client to go."""


def _answer(body: bytes, status: str = "200 OK", *headers: str) -> bytes:
    head = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(head).encode("latin-1") + b"\r\n\r\n" + body


def _json(content: object, *headers: str) -> bytes:
    return _answer(
        json.dumps(content).encode(), "200 OK", "Content-Type: application/json", *headers
    )


def _page(argument: str, _: bytes) -> bytes:
    return _answer(
        f"This is page {argument}.\n".encode() * 40, "200 OK", "Content-Type: text/plain"
    )


def _tree(argument: str, _: bytes) -> bytes:
    number = int(argument)
    links = [child for child in (2 * number, 2 * number + 1) if child <= TREE_SIZE]
    html = "".join(f'<a href="/tree/{child}">{child}</a>\n' for child in links)
    return _answer(html.encode(), "200 OK", "Content-Type: text/html")


def _status(argument: str, _: bytes) -> bytes:
    return _answer(b"as you wish\n", f"{int(argument)} Asked For")


def _redirect(argument: str, _: bytes) -> bytes:
    return _answer(b"", "302 Found", f"Location: /page/{argument}")


def _headers(_: str, request: bytes) -> bytes:
    lines = request.partition(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")[1:]
    return _json(dict(line.split(": ", 1) for line in lines))


def _echo(_: str, request: bytes) -> bytes:
    line, _, rest = request.decode("latin-1").partition("\r\n")
    method, target, _ = line.split(" ")
    return _json({"method": method, "target": target, "body": rest.partition("\r\n\r\n")[2]})


def _login(argument: str, _: bytes) -> bytes:
    return _answer(b"welcome\n", "200 OK", f"Set-Cookie: user={argument}; Path=/")


def _truncated(_: str, __: bytes) -> bytes:
    raise _HangUpError(_answer(bytes(1000))[:-900])


def _garbage(_: str, __: bytes) -> bytes:
    raise _HangUpError(_MAIL_SERVER)


def _slow(_: str, __: bytes) -> bytes:
    raise _NeverError


_ROUTES: Final[dict[str, Callable[[str, bytes], bytes]]] = {
    "page": _page,
    "tree": _tree,
    "status": _status,
    "redirect": _redirect,
    "headers": _headers,
    "echo": _echo,
    "login": _login,
    "truncated": _truncated,
    "garbage": _garbage,
    "slow": _slow,
}


def respond(request: bytes) -> bytes:
    """The answer to a request.

    Raises:
        _HangUpError: these bytes, and the end of the connection.
        _NeverError: no answer.
    """
    target = request.split(b" ", 2)[1].decode("latin-1")
    name, _, argument = target.partition("?")[0].lstrip("/").partition("/")
    try:
        return _ROUTES[name](argument, request)
    except (KeyError, ValueError):
        return _answer(b"no such page\n", "404 Not Found")


def is_whole(received: bytes | bytearray) -> bool:
    """Whether a request has arrived with all of its body."""
    head, end, body = received.partition(b"\r\n\r\n")
    length = _LENGTH.search(head)
    return bool(end) and len(body) >= (int(length[1]) if length else 0)


class _Server:
    """One thread for all connections, until stdin ends, which it does when the parent does.

    Connections block, but never for long: they are read when they have something, and no answer is
    larger than what the system takes at once.
    """

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        # Bound, so that nobody else takes the port, but not listening: connections are refused.
        self._refusing = socket.socket()
        self._refusing.bind(("127.0.0.1", 0))

    def roots(self) -> tuple[str, str]:
        """Where it answers, and where it does not."""
        ports = (each.getsockname()[1] for each in (self._listener, self._refusing))
        answering, refusing = (f"http://127.0.0.1:{port}" for port in ports)
        return answering, refusing

    def run(self) -> None:
        """Serve until stdin ends."""
        self._selector.register(sys.stdin, selectors.EVENT_READ)
        self._selector.register(self._listener, selectors.EVENT_READ)
        while True:
            for key, _ in self._selector.select():
                if key.fileobj is sys.stdin:
                    return
                if key.fileobj is self._listener:
                    self._accept()
                else:
                    self._read(key)

    def _accept(self) -> None:
        sock, _ = self._listener.accept()
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._selector.register(sock, selectors.EVENT_READ, bytearray())

    def _read(self, key: selectors.SelectorKey) -> None:
        sock: socket.socket = key.fileobj  # type: ignore[assignment]
        received: bytearray = key.data
        try:
            data = sock.recv(_LONGEST_REQUEST)
            received += data
            if not data or len(received) > _LONGEST_REQUEST:
                self._close(sock)
            elif is_whole(received):
                request = bytes(received)
                received.clear()
                self._reply(sock, request)
        except OSError:
            self._close(sock)

    def _reply(self, sock: socket.socket, request: bytes) -> None:
        try:
            sock.sendall(respond(request))
        except _NeverError:
            pass
        except _HangUpError as last:
            sock.sendall(last.args[0])
            self._close(sock)

    def _close(self, sock: socket.socket) -> None:
        self._selector.unregister(sock)
        sock.close()


@dataclass(frozen=True)
class Serving:
    """A running server.

    Attributes:
        url: the root of its pages, without the last slash.
        refused: the root of a server that is not there.
    """

    url: str
    refused: str


@contextlib.contextmanager
def serving() -> Iterator[Serving]:
    """Run the demo's server in a process of its own."""
    command = [sys.executable, "-m", "grequests._demo", "--serve"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe) as process:  # noqa: S603 - our own
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield Serving(*json.loads(process.stdout.readline()))
        finally:
            process.stdin.close()


# The demo


@dataclass(frozen=True)
class Kind:
    """A kind of URL.

    Attributes:
        path: with a place for a number; on the server that is not there if it begins with `!`.
        outcome: the status, or the name of the error.
        what: it does, for people.
        places: at which of each 200 numbers such URLs stand; the first kind has all the rest.
    """

    path: str
    outcome: int | str
    what: str
    places: tuple[int, ...] = ()


KINDS: Final = (
    Kind("/page/{}", 200, "a page"),
    Kind("/redirect/{}", 200, "a redirect to a page", (11, 52, 91, 133, 172)),
    Kind("/status/404?{}", 404, "not found", (3, 43, 83, 123)),
    Kind("/status/500?{}", 500, "an error of the server", (17, 117)),
    Kind("!/page/{}", "ConnectionError", "nobody listens there", (5, 105)),
    Kind("/garbage/{}", "ConnectionError", "an answer that is no HTTP", (29, 129)),
    Kind("/truncated/{}", "ChunkedEncodingError", "a body that breaks off", (31, 131)),
    Kind("/slow/{}", "ReadTimeout", f"no answer within {_TIMEOUT} s", (7,)),
)
_PERIOD: Final = 200


def plan(count: int, server: Serving) -> dict[str, int | str]:
    """So many URLs, and what has to come of each: a status, or the name of an error."""
    by_place = {place: kind for kind in KINDS for place in kind.places}
    expected = {}
    for number in range(count):
        kind = by_place.get(number % _PERIOD, KINDS[0])
        path = kind.path.format(number)
        url = server.refused + path[1:] if path.startswith("!") else server.url + path
        expected[url] = kind.outcome
    return expected


def run(count: int) -> int:
    """Run the demo.

    Args:
        count: how many URLs.

    Returns:
        0 if all outcomes are what they should be, else 1.
    """
    with serving() as server, tempfile.TemporaryDirectory() as folder:
        expected = plan(count, server)
        source, results = Path(folder, "urls.txt"), Path(folder, "results.jsonl")
        source.write_text("\n".join(expected) + "\n", encoding="utf-8")
        _introduce(count)
        options = ["-c", str(_CONCURRENCY), "-t", str(_TIMEOUT), "-i", str(source)]
        with results.open("wb") as out:
            command = [sys.executable, "-m", "grequests", *options]
            done = subprocess.run(command, stdout=out, check=False)  # noqa: S603 - our own
        wrong = check(expected, results.read_text(encoding="utf-8").splitlines())
    failing = any(isinstance(outcome, str) for outcome in expected.values())
    if done.returncode != int(failing):
        wrong.append(f"the exit code is {done.returncode}")
    return _conclude(count, wrong)


def check(expected: dict[str, int | str], lines: Sequence[str]) -> list[str]:
    """What is wrong with the lines that the command has printed."""
    wrong = []
    seen: Counter[str] = Counter()
    for line in map(json.loads, lines):
        url = line["url"]
        seen[url] += 1
        outcome = line["status"] if "status" in line else line["error"]["type"]
        if outcome != expected.get(url):
            wrong.append(f"{url}: {outcome} instead of {expected.get(url)}")
    wrong += [f"{url}: {seen[url]} outcomes" for url in expected if seen[url] != 1]
    return wrong


def _introduce(count: int) -> None:
    print(f"{count:,} URLs of a local server, {_CONCURRENCY} at a time, of each {_PERIOD}:\n")
    for kind in KINDS:
        share = len(kind.places) or _PERIOD - sum(len(each.places) for each in KINDS)
        print(f"  {share:3} x {kind.what:26} -> {kind.outcome}")
    print(f"\n$ grequests -c {_CONCURRENCY} -t {_TIMEOUT} -i urls.txt > results.jsonl", flush=True)


def _conclude(count: int, wrong: list[str]) -> int:
    if wrong:
        print(f"\nNot as it should be, {len(wrong):,} times, such as:")
        print("\n".join(f"  {each}" for each in wrong[:10]))
        return 1
    print(
        f"\nEach of the {count:,} URLs has exactly one line in results.jsonl, and each failure\n"
        "names its cause. Answers of 404 and 500 are answers, unless --fail says otherwise."
    )
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo, or with ``--serve`` its server."""
    parser = argparse.ArgumentParser(prog="python -m grequests._demo", description="Run the demo.")
    parser.add_argument("--count", type=int, default=10_000, metavar="N", help="(default: 10000)")
    parser.add_argument("--serve", action="store_true", help="only the server, until stdin ends")
    options = parser.parse_args(arguments)
    if not options.serve:
        return run(options.count)
    server = _Server()
    print(json.dumps(server.roots()), flush=True)
    server.run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
