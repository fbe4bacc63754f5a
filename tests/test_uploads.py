"""Uploads, by plain Requests and by both lanes: the same bytes on the wire, the same outcome.

The server is a raw one and keeps every byte of every connection: what was sent behind a request, or
instead of the rest of it, counts as well.
"""

from __future__ import annotations

import array
import contextlib
import contextvars
import gc
import io
import logging
import mmap
import os
import re
import socket
import ssl
import struct
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from typing import Any

import gevent
import psutil
import pytest
import requests
import trustme
from recording import LEFT_BY_REQUESTS
from requests.adapters import HTTPAdapter
from requests_toolbelt import MultipartEncoder, MultipartEncoderMonitor
from urllib3.exceptions import MaxRetryError, ReadTimeoutError
from urllib3.util import Retry
from ways import Ways

import grequests

pytestmark = [pytest.mark.timeout(60), LEFT_BY_REQUESTS]

PATIENCE = 10.0
MIB = 1024 * 1024


# The server


class Wire:
    """The server's end of a connection; `seen` is all that came."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.seen = bytearray()
        self.counts = True
        self._place = 0

    def _more(self) -> bool:
        data = self.sock.recv(65536)
        self.seen += data
        return bool(data)

    def until(self, mark: bytes) -> bytes:
        """What comes up to a mark, and it; less at the end."""
        while (end := self.seen.find(mark, self._place)) < 0:
            if not self._more():
                return b""
        return self._take(end + len(mark) - self._place)

    def exactly(self, count: int) -> bytes:
        """So many bytes; less at the end."""
        while len(self.seen) - self._place < count and self._more():
            pass
        return self._take(count)

    def rest(self) -> None:
        """Whatever else comes until the client leaves."""
        while self._more():
            pass

    def reset(self) -> None:
        """Close by a RST."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def body(self, head: bytes) -> int:
        """Read a body; how long it was."""
        if re.search(rb"\r\ntransfer-encoding: *chunked\r", head, re.IGNORECASE):
            total = 0
            while size := int(self.until(b"\r\n") or b"0", 16):
                total += len(self.exactly(size + 2)) - 2
            self.until(b"\r\n")
            return total
        length = re.search(rb"\r\ncontent-length: *([0-9]+)", head, re.IGNORECASE)
        return len(self.exactly(int(length[1]))) if length else 0

    def _take(self, count: int) -> bytes:
        data = bytes(self.seen[self._place : self._place + count])
        self._place += len(data)
        return data


class UploadServer:
    """Does as the path says. `/ok` reads a request and says how long its body was."""

    def __init__(self, tls: ssl.SSLContext | None = None, *, only_behind_connect: bool = False):
        self.wires: list[Wire] = []
        self._tls = tls
        self._tunnels = only_behind_connect
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port: int = self._listener.getsockname()[1]
        self.opened = 0
        self.halfway = threading.Event()
        self._over = threading.Event()
        self._marks: dict[int, threading.Event] = {}
        threading.Thread(target=self._accept, daemon=True).start()

    def url(self, path: str = "/ok") -> str:
        secure = self._tls is not None and not self._tunnels
        return f"http{'s' if secure else ''}://127.0.0.1:{self.port}{path}"

    def __enter__(self) -> UploadServer:
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        grequests.close()
        self._over.set()
        for thread in self._threads:
            thread.join(PATIENCE)

    def taken(self) -> bytes:
        """All bytes since the last call, of requests that were read to their end."""
        grequests.close()
        gc.collect()  # Requests leaves some sockets to the collector
        self._accept_all()
        self._over.set()
        for thread in self._threads:
            thread.join(PATIENCE)
            assert not thread.is_alive(), "a connection is still open"
        self._over.clear()
        wires, self.wires, self._threads = self.wires, [], []
        return b"".join(bytes(wire.seen) for wire in wires if wire.counts)

    def _accept_all(self) -> None:
        """Wait until every connection that was made so far has been accepted."""
        with socket.socket() as mark:
            mark.bind(("127.0.0.1", 0))
            accepted = self._marks[mark.getsockname()[1]] = threading.Event()
            mark.connect(("127.0.0.1", self.port))
            assert accepted.wait(PATIENCE)

    def _accept(self) -> None:
        while True:
            try:
                sock, (_, port) = self._listener.accept()
            except OSError:
                return
            if port in self._marks:
                sock.close()
                self._marks.pop(port).set()
                continue
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.opened += 1
            thread = threading.Thread(target=self._serve, args=(sock,), daemon=True)
            thread.start()
            self._threads.append(thread)

    def _serve(self, sock: socket.socket) -> None:
        wire = Wire(sock)
        self.wires.append(wire)
        with contextlib.suppress(OSError, ValueError):
            if self._tls is not None and not self._tunnels:
                wire.sock = self._tls.wrap_socket(sock, server_side=True)
            while head := wire.until(b"\r\n\r\n"):
                if head.startswith(b"CONNECT "):
                    wire.sock.sendall(b"HTTP/1.1 200 Go on\r\n\r\n")
                    wire.sock = self._tls.wrap_socket(wire.sock, server_side=True)
                    continue
                path = re.sub(rb"https?://[^/]*", b"", head.split(b" ")[1]).decode()
                _, name, *args = path.partition("?")[0].split("/")
                if not getattr(self, f"on_{name}")(wire, head, *args):
                    break
        wire.sock.close()
        sock.close()

    def on_ok(self, wire: Wire, head: bytes) -> bool:
        wire.sock.sendall(said(b"%d bytes" % wire.body(head)))
        return True

    def on_continue(self, wire: Wire, head: bytes) -> bool:
        wire.sock.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        return self.on_ok(wire, head)

    def on_redirect(self, wire: Wire, head: bytes, status: str) -> bool:
        wire.body(head)
        wire.sock.sendall(said(b"", f"{status} Moved", "Location: /ok"))
        return True

    def on_status(self, wire: Wire, head: bytes, status: str) -> bool:
        wire.body(head)
        wire.sock.sendall(said(b"no", f"{status} No"))
        return True

    def on_digest(self, wire: Wire, head: bytes) -> bool:
        if b"\r\nAuthorization: Digest " in head:
            return self.on_ok(wire, head)
        wire.body(head)
        wire.sock.sendall(said(b"", "401 Who", CHALLENGE))
        return True

    def on_digest_first(self, wire: Wire, head: bytes) -> bool:
        """Ask who it is before the body has come."""
        if b"\r\nAuthorization: Digest " in head:
            return self.on_continue(wire, head)
        wire.sock.sendall(said(b"", "401 Who", CHALLENGE))
        wire.rest()
        return False

    def on_refuse(self, wire: Wire, _: bytes, status: str, how: str) -> bool:
        """Answer before the body has come."""
        wire.counts = False
        wire.sock.sendall(said(b"too large", f"{status} No"))
        if how == "reset":
            wire.reset()
        elif how == "listen":
            wire.counts = True
            wire.rest()
        elif how == "hold":
            self._over.wait(PATIENCE)
        return False

    def on_early(self, wire: Wire, head: bytes) -> bool:
        """Answer first, then read."""
        wire.sock.sendall(said(b"early" * 1000))
        wire.body(head)
        return True

    def on_refuse_at_length(self, wire: Wire, _: bytes) -> bool:
        """Answer before the body has come, and take time over it."""
        wire.counts = False
        answer = said(b"too large" * 1000, "413 No")
        wire.sock.sendall(answer[:100])
        self.halfway.wait(PATIENCE)
        wire.sock.sendall(answer[100:])
        return False

    def on_cut(self, wire: Wire, _: bytes, how: str) -> bool:
        """Go in the middle of the body."""
        wire.counts = False
        wire.exactly(1000)
        if how == "partly":
            wire.sock.sendall(said(b"to be continued")[:-5])
        if how != "close":
            wire.reset()
        return False

    def on_never(self, wire: Wire, _: bytes) -> bool:
        wire.counts = False
        self._over.wait(PATIENCE)
        return False

    def on_mute(self, wire: Wire, head: bytes) -> bool:
        wire.body(head)
        wire.rest()
        return False

    def on_sink(self, wire: Wire, head: bytes) -> bool:
        """Read a body of known length without keeping it."""
        length = re.search(rb"\r\ncontent-length: *([0-9]+)", head, re.IGNORECASE)
        assert length is not None
        left, place = int(length[1]) - (len(wire.seen) - len(head)), bytearray(MIB)
        while left > 0:
            left -= wire.sock.recv_into(place)
        wire.sock.sendall(said(b"sunk"))
        return False


CHALLENGE = 'WWW-Authenticate: Digest realm="r", nonce="n", qop="auth", algorithm=MD5'


def said(body: bytes, status: str = "200 OK", *headers: str) -> bytes:
    head = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body


@pytest.fixture
def server(no_leaks: None) -> Iterator[UploadServer]:
    with UploadServer() as one:
        yield one


@pytest.fixture
def ways(server: UploadServer) -> Ways:
    return Ways(server.taken, without_objects)


def without_objects(value: Any, name: str = "") -> Any:
    """An outcome whose bodies, if they are no bytes, are their types."""
    if isinstance(value, dict):
        return {key: without_objects(each, key) for key, each in value.items()}
    if isinstance(value, list):
        return [without_objects(each) for each in value]
    if name == "body" and not isinstance(value, (str, bytes, type(None))):
        return type(value)
    return value


def without_request(outcome: dict[str, Any]) -> dict[str, Any]:
    """Faults in a body: Requests does not say whose they are, we do."""
    outcome["error"]["request"] = None
    return outcome


# Bodies


class Sized:
    """An iterable that knows its length."""

    def __init__(self, items: list[Any], length: int) -> None:
        self._items, self._length = items, length

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[Any]:
        return iter(self._items)


class Reader:
    """A file that can only be read."""

    def __init__(self, data: bytes) -> None:
        self.file = io.BytesIO(data)
        self.sizes: list[int] = []

    def read(self, size: int = -1) -> bytes:
        self.sizes.append(size)
        return self.file.read(size)


class SizedReader(Reader):
    def __len__(self) -> int:
        return len(self.file.getvalue())


class MeasuredReader(Reader):
    @property
    def len(self) -> int:
        return len(self.file.getvalue()) - self.file.tell()


class Pipe(Reader):
    """Its place cannot be told."""

    def __iter__(self) -> Iterator[bytes]:
        return iter(())

    def tell(self) -> int:
        raise OSError(29, "Illegal seek")


class OneWay(io.BytesIO):
    """Tells its place and cannot go back there."""

    def seek(self, *args: int) -> int:
        if args == (0, 2) or self.tell() == len(self.getvalue()) != args[0]:
            return super().seek(*args) if args[-1:] == (2,) or not args[0] else self._refuse()
        return super().seek(*args)

    def _refuse(self) -> int:
        raise OSError(29, "Illegal seek")


def at(file: Any, place: int) -> Any:
    file.seek(place)
    return file


TEXT = "Größe: 10 €\n" * 5000


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("files")
    contents = {"text": TEXT.encode(), "empty": b"", "odd": bytes(range(256)) * 401}
    for name, data in contents.items():
        (folder / name).write_bytes(data)
    return {name: str(folder / name) for name in contents}


def mapped(path: str) -> mmap.mmap:
    with open(path, "rb") as file:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


MADE: dict[str, Callable[[dict[str, str]], Any]] = {
    "generator": lambda _: (x for x in [b"a", b"", b"bc", "dä€", b"x" * 100_000, "", b"end"]),
    "iterator": lambda _: iter([b"1", bytearray(b"22"), memoryview(b"333")]),
    "no items": lambda _: iter(()),
    "only empty items": lambda _: iter([b"", ""]),
    "set": lambda _: {b"only"},
    "sized": lambda _: Sized([b"abc", b"", "dé", bytearray(b"x")], 7),
    "sized, of lists": lambda _: Sized([[b"a", b"b"], io.BytesIO(b"cd"), io.StringIO("é")], 5),
    "sized, too long": lambda _: Sized([b"abc", b"def"], 2),
    "sized, large": lambda _: Sized([b"x" * 3_000_000], 3_000_000),
    "chunk, large": lambda _: iter([b"x" * 3_000_000]),
    "bytearray": lambda _: bytearray(b"abc"),
    "memoryview": lambda _: memoryview(b"abc"),
    "array": lambda _: array.array("b", b"abc"),
    "mmap": lambda paths: mapped(paths["odd"]),
    "BytesIO": lambda _: io.BytesIO(b"hello" * 5000),
    "BytesIO, later on": lambda _: at(io.BytesIO(b"hello" * 5000), 7),
    "BytesIO, at its end": lambda _: at(io.BytesIO(b"hello"), 5),
    "StringIO, ASCII": lambda _: io.StringIO("abc"),
    "StringIO, which is longer as bytes": lambda _: io.StringIO("äöü"),
    "file": lambda paths: open(paths["odd"], "rb"),
    "file, later on": lambda paths: at(open(paths["odd"], "rb"), 40_000),
    "file, empty": lambda paths: open(paths["empty"], "rb"),
    "file, unbuffered": lambda paths: open(paths["odd"], "rb", buffering=0),
    "file of text": lambda paths: open(paths["text"], encoding="utf-8"),
    "reader": lambda _: Reader(b"q" * 40_000),
    "reader with a length": lambda _: SizedReader(b"q" * 40_000),
    "reader with len": lambda _: MeasuredReader(b"q" * 40_000),
    "pipe": lambda _: Pipe(b"q" * 40_000),
    "bytes": lambda _: b"x" * 500_000,
    "str": lambda _: "ä" * 500_000,
    "fields": lambda _: {"a": ["b", "c"], "d": "é" * 100_000},
    "no fields": lambda _: {"a": []},
}


@pytest.fixture
def make_body(paths: dict[str, str]) -> Iterator[Callable[[str], Any]]:
    """Makes a body anew; files are closed at the end."""
    files: list[Any] = []

    def make(name: str) -> Any:
        body = MADE[name](paths)
        if isinstance(body, (io.IOBase, mmap.mmap)):
            files.append(body)
        return body

    yield make
    for file in files:
        file.close()


@pytest.mark.parametrize("method", ["POST", "PUT"])
@pytest.mark.parametrize("name", MADE)
def test_the_same_bytes_go_over_the_wire(ways, server, make_body, name, method):
    same = ways.same(
        lambda: (None, method, server.url(), {"data": make_body(name), "timeout": PATIENCE})
    )
    assert same["taken"].startswith(f"{method} /ok HTTP/1.1\r\n".encode())
    assert same["error"] is None


@pytest.fixture(scope="module")
def ca() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def ca_file(ca, tmp_path_factory) -> str:
    path = tmp_path_factory.mktemp("ca") / "ca.pem"
    ca.cert_pem.write_to_path(str(path))
    return str(path)


@pytest.fixture
def tls(ca) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("127.0.0.1", "example.test").configure_cert(context)
    return context


WAYS_THERE = ["https", "unverified", "proxy", "tunnel"]


@pytest.mark.parametrize("through", WAYS_THERE)
@pytest.mark.parametrize("name", ["generator", "sized, large", "file", "chunk, large", "str"])
def test_nor_do_they_differ_through_tls_and_proxies(
    no_leaks, tls, ca_file, make_body, name, through
):
    with UploadServer(
        None if through == "proxy" else tls, only_behind_connect=through == "tunnel"
    ) as server:
        verify = through != "unverified" and ca_file
        kwargs: dict[str, Any] = {"verify": verify, "timeout": PATIENCE}
        url = server.url()
        if through in ("proxy", "tunnel"):
            url = f"http{'s' if through == 'tunnel' else ''}://example.test/ok"
            kwargs["proxies"] = {"all": f"http://u:p@127.0.0.1:{server.port}"}
        ways = Ways(server.taken, without_objects)
        same = ways.same(lambda: (None, "POST", url, {"data": make_body(name), **kwargs}))
        assert same["response"]["status_code"] == 200
        assert (b"CONNECT example.test:443" in same["taken"]) is (through == "tunnel")
        assert same["taken"].count(b"Proxy-Authorization: Basic ") == ("proxies" in kwargs)


@pytest.mark.parametrize("name", ["generator", "file", "bytes", "reader"])
def test_with_a_session_of_its_own(ways, server, make_body, name):
    def make() -> Any:
        session = requests.Session()
        session.headers["A"] = "b"
        session.auth = ("u", "p")
        return session, "PUT", server.url(), {"data": make_body(name), "params": {"a": "b"}}

    same = ways.same(make)
    assert b"\r\nAuthorization: Basic" in same["taken"]


def test_a_signed_upload(ways, server, make_body):
    """By code of the user's, which sees the body that will be sent."""

    def sign(request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Signed"] = type(request.body).__name__
        return request

    for name, type_name in {"generator": b"generator", "file": b"BufferedReader"}.items():
        same = ways.same(
            lambda name=name: (None, "POST", server.url(), {"data": make_body(name), "auth": sign})
        )
        assert b"\r\nSigned: " + type_name in same["taken"]


_DIGEST = re.compile(r'(?:cnonce|response)="[0-9a-f]+"')


def without_digest(value: Any, name: str = "") -> Any:
    """An outcome without what is another in each digest, and without objects."""
    if isinstance(value, dict):
        return {key: without_digest(each, key) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(map(without_digest, value))
    if name == "taken":
        return _DIGEST.sub("", value.decode("latin-1"))
    return _DIGEST.sub("", value) if isinstance(value, str) else without_objects(value, name)


@pytest.mark.parametrize("name", ["BytesIO", "file", "file, later on", "bytes", "generator"])
def test_an_upload_that_is_asked_for_a_digest(server, make_body, name):
    def make() -> Any:
        auth = requests.auth.HTTPDigestAuth("u", "p")
        data = make_body(name)
        return None, "PUT", server.url("/digest"), {"data": data, "auth": auth, "timeout": (9, 1)}

    same = Ways(server.taken, without_digest).same(make)
    assert same["response"]["status_code"] == 200
    assert same["taken"].count("PUT /digest HTTP/1.1") == 2


def test_an_upload_that_waits_is_asked_for_a_digest_first(server, make_body):
    """The body is sent once, when it is known from whom."""
    auth = requests.auth.HTTPDigestAuth("u", "p")
    url = server.url("/digest_first")
    request = grequests.put(url, data=make_body("BytesIO"), auth=auth, **EXPECTING)
    [response] = grequests.map([request])
    assert response.content == b"25000 bytes"
    assert server.taken().count(b"hello" * 5000) == 1


@pytest.mark.parametrize("stream", [False, True])
def test_a_streamed_answer_to_an_upload(ways, server, make_body, stream):
    ways.same(
        lambda: (
            None,
            "POST",
            server.url(),
            {"data": make_body("generator"), "stream": stream},
        )
    )


def test_files_are_read_in_the_blocks_of_urllib3(server):
    sizes = []
    for send in (requests.post, lambda *args, **kwargs: grequests.post(*args, **kwargs).send()):
        body = Reader(b"q" * 40_000)
        send(server.url(), data=body)
        sizes.append(body.sizes)
    assert sizes[0] == sizes[1] == [16384] * 4


def test_the_body_of_the_request_is_the_users_object(server):
    for data in (iter([b"x"]), io.BytesIO(b"x"), Sized([b"x"], 1)):
        [response] = grequests.map([grequests.post(server.url(), data=data)])
        assert response.request.body is data
        assert response.content == b"1 bytes"


def test_streamed_bodies_and_files_exclude_each_other(ways, server):
    same = ways.same(
        lambda: (None, "POST", server.url(), {"data": iter([b"x"]), "files": {"f": "x"}})
    )
    assert same["error"]["type"] is NotImplementedError
    assert same["taken"] == b""


# Multipart


_BOUNDARY = re.compile("[0-9a-f]{32}")


def without_boundary(value: Any) -> Any:
    """An outcome in which all boundaries are the same."""
    if isinstance(value, dict):
        return {key: without_boundary(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(map(without_boundary, value))
    if isinstance(value, bytes):
        return without_boundary(value.decode("latin-1")).encode("latin-1")
    return _BOUNDARY.sub("boundary", value) if isinstance(value, str) else value


def test_files_are_read_when_the_request_is_prepared(server, paths):
    """As in Requests: what `files=` becomes is bytes, for hooks, auth and `request.body`."""

    def make() -> Any:
        with open(paths["odd"], "rb") as file:
            later = io.BytesIO(file.read())
        files = {"a": ("ä.bin", later, "text/x", {"X": "y"}), "b": b"bytes", "c": "text"}
        return None, "POST", server.url(), {"files": files, "data": {"d": ["1", "é"]}}

    same = Ways(server.taken, without_boundary).same(make)
    body = same["response"]["request"]["body"]
    assert type(body) is bytes
    assert same["taken"].endswith(body)


def encoder(path: str) -> MultipartEncoder:
    fields = {"a": "b", "file": ("odd.bin", open(path, "rb"), "application/x")}  # noqa: SIM115
    return MultipartEncoder(fields, boundary="b0undary")


def test_multipart_from_disk(ways, server, paths):
    bodies: list[MultipartEncoder] = []

    def make() -> Any:
        bodies.append(encoder(paths["odd"]))
        headers = {"Content-Type": bodies[-1].content_type}
        return None, "POST", server.url(), {"data": bodies[-1], "headers": headers}

    same = ways.same(make)
    assert re.search(rb"\r\nContent-Length: [0-9]{6}\r\n", same["taken"])
    for body in bodies:
        body.fields["file"][1].close()


def test_the_progress_of_a_multipart_upload(server, paths):
    progress: list[list[int]] = []
    for send in (requests.post, lambda *args, **kwargs: grequests.post(*args, **kwargs).send()):
        seen: list[int] = []
        body = encoder(paths["odd"])
        monitor = MultipartEncoderMonitor(
            body, lambda monitor, seen=seen: seen.append(monitor.bytes_read)
        )
        send(server.url(), data=monitor, headers={"Content-Type": monitor.content_type})
        body.fields["file"][1].close()
        progress.append(seen)
    assert progress[0] == progress[1]
    assert len(progress[0]) > 5


# Memory


def large_file(path: Any, size: int) -> str:
    with open(path, "wb") as file:
        file.truncate(size)
    return str(path)


@pytest.mark.parametrize("kind", ["generator", "file", "multipart"])
def test_the_size_of_an_upload_takes_no_memory(server, tmp_path, kind):
    size = 300 * MIB
    path = large_file(tmp_path / "large", size)
    with open(path, "rb") as file:
        body: Any = file
        if kind == "generator":
            body = Sized([], size)
            body.__class__ = type("Pieces", (Sized,), {"__iter__": lambda _: pieces_of(size)})
        elif kind == "multipart":
            body = MultipartEncoder({"file": ("large", file, "application/x")})
        process = psutil.Process()
        before = process.memory_info().rss
        peaks: list[int] = []
        watch = gevent.spawn(lambda: [peaks.append(process.memory_info().rss) for _ in turns()])
        [response] = grequests.map([grequests.post(server.url("/sink"), data=body)])
        watch.kill()
        assert response.content == b"sunk"
        assert len(peaks) > 3
        assert max(peaks) - before < 40 * MIB


def turns() -> Iterator[None]:
    while True:
        gevent.sleep(0.01)
        yield


def pieces_of(size: int) -> Iterator[bytes]:
    for _ in range(size // MIB):
        yield bytes(MIB)


def test_bytes_are_not_copied(server):
    size = 100 * MIB
    data = bytes(size)
    tracemalloc.start()
    try:
        [response] = grequests.map([grequests.post(server.url("/sink"), data=data)])
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert response.content == b"sunk"
    assert response.request.body is data
    assert peak < 5 * MIB


# Expect


EXPECTING = {"headers": {"Expect": "100-continue"}}


@pytest.mark.parametrize("name", ["generator", "file", "bytes", "fields", "no items"])
def test_expect_changes_nothing_on_the_wire(ways, server, make_body, name):
    same = ways.same(
        lambda: (None, "POST", server.url("/continue"), {"data": make_body(name), **EXPECTING})
    )
    assert b"\r\nExpect: 100-continue\r\n" in same["taken"]
    assert same["response"]["status_code"] == 200


@pytest.mark.parametrize("name", ["generator", "bytes"])
@pytest.mark.parametrize("status", ["401", "413", "417"])
def test_a_refusal_spares_the_body(server, make_body, name, status):
    url = server.url(f"/refuse/{status}/listen")
    [response] = grequests.map([grequests.post(url, data=make_body(name), **EXPECTING)])
    assert (response.status_code, response.content) == (int(status), b"too large")
    assert server.taken().endswith(b"\r\n\r\n"), "the head, and no more"


def test_expect_without_a_body_and_other_expectations(ways, server):
    ways.same(lambda: (None, "GET", server.url(), EXPECTING))
    headers = {"Expect": "miracles"}
    ways.same(lambda: (None, "POST", server.url(), {"data": iter([b"x"]), "headers": headers}))


# Servers that answer early, stop, or go


@pytest.mark.parametrize("how", ["close", "reset", "hold"])
@pytest.mark.parametrize("name", ["sized, large", "endless", "bytes"])
def test_a_refusal_in_the_middle_is_the_answer(server, make_body, name, how):
    """Requests finds it too, if the server closes; if it does not, it fails or sends for ever."""
    body = endless() if name == "endless" else make_body(name)
    url = server.url(f"/refuse/413/{how}")
    [response] = grequests.map([grequests.post(url, data=body, timeout=PATIENCE)])
    assert (response.status_code, response.content) == (413, b"too large")


def endless() -> Iterator[bytes]:
    while True:
        yield bytes(65536)


@pytest.mark.parametrize("how", ["close", "reset"])
@pytest.mark.parametrize("name", ["endless", "bytes"])
@pytest.mark.parametrize("path", ["/refuse/413/", "/cut/"])
def test_a_server_that_goes_in_the_middle(ways, server, path, name, how):
    def make() -> Any:
        data = endless() if name == "endless" else b"x" * 30_000_000
        return None, "POST", server.url(path + how), {"data": data, "timeout": PATIENCE}

    same = ways.same(make)
    assert (same["error"] is None) is path.startswith("/refuse")


@pytest.mark.parametrize("stream", [False, True])
def test_a_server_that_goes_in_the_middle_of_its_answer(server, stream):
    ways = Ways(server.taken, without_request)
    kwargs = {"timeout": PATIENCE, "stream": stream}
    same = ways.same(
        lambda: (None, "POST", server.url("/cut/partly"), {"data": endless(), **kwargs})
    )
    assert same["error"]["type"] is requests.exceptions.ChunkedEncodingError


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("name", ["generator", "file", "sized, large", "bytes"])
def test_an_answer_that_comes_before_the_body_is_read(ways, server, make_body, name, stream):
    same = ways.same(
        lambda: (
            None,
            "POST",
            server.url("/early"),
            {"data": make_body(name), "stream": stream, "timeout": PATIENCE},
        )
    )
    assert same["response"]["content"] == b"early" * 1000


@pytest.mark.parametrize("how", ["close", "reset", "hold"])
@pytest.mark.parametrize("expects", [{}, {"Expect": "100-continue"}])
def test_a_streamed_refusal(server, expects, how):
    url = server.url(f"/refuse/413/{how}")
    request = grequests.post(url, data=endless(), headers=expects, timeout=PATIENCE)
    [response] = grequests.map([request], stream=True)
    assert (response.status_code, response.raw.read()) == (413, b"too large")


@pytest.mark.parametrize("expects", [{}, {"Expect": "100-continue"}])
def test_a_refusal_that_is_read_while_it_comes(server, expects):
    url = server.url("/refuse_at_length")
    request = grequests.post(url, data=endless(), headers=expects, timeout=PATIENCE)
    [response] = grequests.map([request], stream=True)
    assert response.status_code == 413
    pieces = response.iter_content(9)
    assert next(pieces) == b"too large"
    server.halfway.set()
    assert b"".join(pieces) == b"too large" * 999


@pytest.mark.parametrize("timeout", [(0.2, PATIENCE), 0.2])
@pytest.mark.parametrize("name", ["endless", "bytes"])
def test_a_server_that_never_reads(ways, server, name, timeout):
    def make() -> Any:
        data = endless() if name == "endless" else b"x" * 30_000_000
        return None, "POST", server.url("/never"), {"data": data, "timeout": timeout}

    same = ways.same(make)
    assert same["error"]["type"] is requests.exceptions.ConnectionError
    assert same["error"]["text"] == "('Connection aborted.', TimeoutError('timed out'))"


def test_a_server_that_never_answers(ways, server):
    """What the first value means for sending, the second means for the answer."""
    same = ways.same(
        lambda: (
            None,
            "POST",
            server.url("/mute"),
            {"data": iter([b"x"]), "timeout": (PATIENCE, 0.2)},
        )
    )
    assert same["error"]["type"] is requests.exceptions.ReadTimeout


def test_a_body_that_is_shorter_than_it_said(ways, server):
    """The server waits for the rest, and we for the server."""
    same = ways.same(
        lambda: (
            None,
            "POST",
            server.url(),
            {"data": Sized([b"abc"], 5), "timeout": (PATIENCE, 0.2)},
        )
    )
    assert same["error"]["type"] is requests.exceptions.ReadTimeout


def test_a_file_that_grows_is_sent_whole_and_the_connection_is_not_used_again(server):
    class Growing(SizedReader):
        def __len__(self) -> int:
            return 2

    data = Growing(b"four")
    first, second = (grequests.post(server.url(), data=each) for each in (data, b"x"))
    responses = grequests.map([first, second], size=1)
    assert [each.content for each in responses] == [b"2 bytes", b"1 bytes"]
    assert server.opened == 2


# Bodies that fail


class Mine(Exception):
    """The user's own."""


FAULTS: list[BaseException] = [
    Mine("boom"),
    ValueError("boom"),
    OSError(5, "boom"),
    TimeoutError("boom"),
    ssl.SSLError(1, "boom"),
    EOFError(),
    requests.exceptions.ChunkedEncodingError("boom"),
    ReadTimeoutError(None, "/", "boom"),  # type: ignore[arg-type]
    MaxRetryError(None, "/", Mine("boom")),  # type: ignore[arg-type]
    UnicodeEncodeError("ascii", "ä", 0, 1, "boom"),
    StopAsyncIteration(),
]


def failing(error: BaseException, after: int) -> Iterator[bytes]:
    for _ in range(after):
        yield b"piece"
    raise error


@pytest.mark.parametrize("after", [0, 2])
@pytest.mark.parametrize("error", FAULTS, ids=lambda error: type(error).__name__)
def test_a_body_that_raises(ways, server, error, after):
    same = ways.same(lambda: (None, "POST", server.url(), {"data": failing(error, after)}))
    assert same["error"] is not None
    assert same["taken"].count(b"piece") == after


def test_a_body_that_breaks_as_connections_do(server):
    """urllib3 takes it for its own connection's fault, and waits for an answer that cannot come."""
    request = grequests.post(server.url(), data=failing(BrokenPipeError(32, "Broken pipe"), 1))
    assert grequests.map([request]) == [None]
    assert type(request.exception) is requests.exceptions.ConnectionError
    assert "BrokenPipeError(32, 'Broken pipe')" in str(request.exception)


@pytest.mark.parametrize("items", [[b"a", 5], [None, b"a", object], [b"a", ["b"]], [1.5]])
@pytest.mark.parametrize("sized", [False, True])
def test_items_that_are_no_bytes(ways, server, items, sized):
    same = ways.same(
        lambda: (None, "POST", server.url(), {"data": Sized(items, 4) if sized else iter(items)})
    )
    assert same["error"]["type"] in (TypeError, requests.exceptions.ConnectionError)


def test_what_a_body_raises_is_the_exception_of_its_request(server):
    error = Mine("boom")
    request = grequests.post(server.url(), data=failing(error, 1))
    other = grequests.post(server.url(), data=b"x")
    handled = []
    responses = grequests.map(
        [request, other], exception_handler=lambda r, e: handled.append((r, e))
    )
    assert handled == [(request, error)]
    assert request.exception is error
    assert error.__cause__ is None
    assert responses[1].content == b"1 bytes"


@pytest.mark.parametrize("how", ["map", "imap", "send"])
def test_ctrl_c_while_a_body_is_read(server, how):
    request = grequests.post(server.url(), data=failing(KeyboardInterrupt(), 1))
    second = grequests.get(server.url())
    with pytest.raises(KeyboardInterrupt):
        if how == "map":
            grequests.map([request, second])
        elif how == "imap":
            list(grequests.imap([request, second]))
        else:
            request.send()
    assert not request._in_flight


# Where a body is read


def test_a_body_that_waits_lets_others_go_on(server):
    ready = gevent.event.Event()

    def body() -> Iterator[bytes]:
        yield b"a"
        assert ready.wait(PATIENCE)
        yield b"b"

    order = []

    def note(response: Any, **_: Any) -> None:
        order.append(response.content)
        if len(order) == 3:
            ready.set()

    rest = [grequests.post(server.url(), data=b"xyz", callback=note) for _ in range(3)]
    grequests.map([grequests.post(server.url(), data=body(), callback=note), *rest])
    assert order == [b"3 bytes"] * 3 + [b"2 bytes"]


def test_a_body_sees_its_callers_context(server):
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable")
    variable.set("mine")

    def body() -> Iterator[str]:
        yield variable.get()
        variable.set("other")

    responses = grequests.map([grequests.post(server.url(), data=body()) for _ in range(2)])
    assert [each.content for each in responses] == [b"4 bytes"] * 2
    assert variable.get() == "mine"


def test_a_body_made_of_other_requests(server):
    def body() -> Iterator[bytes]:
        for response in grequests.imap([grequests.post(server.url(), data=b"x")] * 1):
            yield response.content

    [response] = grequests.map([grequests.post(server.url(), data=body())])
    assert response.content == b"7 bytes"


def test_many_uploads_at_once(server):
    requests_ = [
        grequests.post(server.url(), data=(b"x" * 1000 for _ in range(number)))
        for number in range(100)
    ]
    responses = grequests.map(requests_, size=10)
    assert [each.content for each in responses] == [b"%d bytes" % (1000 * n) for n in range(100)]
    assert server.opened <= 10


@pytest.mark.parametrize("how", ["gtimeout", "break"])
def test_giving_up_ends_the_reading(server, how):
    started, ended = [], []

    def body() -> Iterator[bytes]:
        started.append(True)
        try:
            yield b"a"
            gevent.sleep(PATIENCE * 10)
        finally:
            ended.append(True)

    slow = grequests.post(server.url(), data=body())
    if how == "gtimeout":
        assert grequests.map([slow, grequests.get(server.url())], gtimeout=0.2)[0] is None
    else:
        for _ in grequests.imap([slow, grequests.post(server.url(), data=b"x")], size=2):
            break
    gevent.sleep(0)
    assert len(started) == len(ended)


# Redirects and retries


REWOUND = ["BytesIO", "BytesIO, later on", "file", "file, later on"]
UNREWOUND = ["mmap", "generator", "sized", "reader", "reader with len", "pipe", "StringIO, ASCII"]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("name", [*REWOUND, *UNREWOUND, "bytes", "fields"])
def test_a_redirected_upload(ways, server, make_body, name, status):
    def make() -> Any:
        data = make_body(name)
        return None, "POST", server.url(f"/redirect/{status}"), {"data": data, "timeout": (9, 0.3)}

    same = ways.same(make)
    if name in REWOUND:
        assert same["response"]["status_code"] == 200
    if name == "pipe" and status > 303:
        assert same["error"]["type"] is requests.exceptions.UnrewindableBodyError


def test_a_redirected_upload_that_cannot_go_back(ways, server):
    same = ways.same(lambda: (None, "PUT", server.url("/redirect/307"), {"data": OneWay(b"hello")}))
    assert same["error"] is None or same["error"]["type"] is not None


def test_user_code_that_rewinds_may_wait(server):
    class Waiting(io.BytesIO):
        def seek(self, *args: int) -> int:
            gevent.sleep(0.001)
            return super().seek(*args)

    url = server.url("/redirect/307")
    responses = grequests.map([grequests.post(url, data=Waiting(b"hello")) for _ in range(3)])
    assert [each.content for each in responses] == [b"5 bytes"] * 3


@pytest.mark.parametrize("name", [*REWOUND, *UNREWOUND, "bytes"])
def test_a_retried_upload(ways, server, make_body, name):
    """urllib3 goes back to where the body was when it began, or says that it cannot."""

    def make() -> Any:
        session = requests.Session()
        retry = Retry(2, status_forcelist=[503], allowed_methods=None, raise_on_status=False)
        session.mount("http://", HTTPAdapter(max_retries=retry))
        url = server.url("/status/503")
        return session, "POST", url, {"data": make_body(name), "timeout": (9, 0.3)}

    ways.same(make)


def test_a_retry_after_a_body_that_raised(ways, server, caplog):
    # A record of urllib3's keeps the exception, and with it the connection.
    caplog.set_level(logging.CRITICAL, "urllib3")

    def make() -> Any:
        session = requests.Session()
        session.mount("http://", HTTPAdapter(max_retries=Retry(2, allowed_methods=None)))
        data = failing(OSError(5, "boom"), 1)
        return session, "POST", server.url(), {"data": data, "timeout": (9, 0.3)}

    ways.same(make)


def test_hooks_see_an_upload(ways, server, make_body):
    def hook(response: Any, **_: Any) -> None:
        response.headers["Hooked"] = type(response.request.body).__name__

    same = ways.same(
        lambda: (
            None,
            "POST",
            server.url("/redirect/308"),
            {"data": make_body("file"), "hooks": {"response": hook}},
        )
    )
    assert ("Hooked", "BufferedReader") in same["response"]["headers"]


def test_a_pipe_of_the_operating_system(ways, server):
    def make() -> Any:
        inside, outside = os.pipe()
        os.write(outside, b"piped" * 1000)
        os.close(outside)
        files.append(os.fdopen(inside, "rb"))
        return None, "POST", server.url(), {"data": files[-1]}

    files: list[Any] = []
    same = ways.same(make)
    for file in files:
        file.close()
    assert b"\r\nTransfer-Encoding: chunked\r\n" in same["taken"]
