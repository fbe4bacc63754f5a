"""The way of a request through Requests, urllib3, http.client, ssl and socket, as it really is.

Nothing here knows what GRequests watches. Plain Requests sends some requests of each kind under a
profiler; every place at which a function or class that was called can be found, an attribute of a
module or of a class, is a *name on the way*. Those whose replacement plain Requests calls are what
a replacement through GRequests has to be called for, as often.
"""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import ssl
import subprocess
import sys
import threading
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import requests
import trustme
import urllib3.connection
import urllib3.connectionpool
import urllib3.poolmanager
import urllib3.response  # noqa: F401 - a place where names are found
from servers import Request, Server, answer

PACKAGES = ("requests", "urllib3", "http.client", "ssl", "socket")

#: Sends one request: method, URL, keywords of `requests.request`.
Send = Callable[..., Any]


class Name(NamedTuple):
    """A place where a function or class is found: `owner` is "module" or "module:class"."""

    owner: str
    name: str

    def __str__(self) -> str:
        return f"{self.owner}.{self.name}"

    def place(self) -> Any:
        module, _, inner = self.owner.partition(":")
        found: Any = sys.modules[module]
        return getattr(found, inner) if inner else found

    def value(self) -> Any:
        return vars(self.place())[self.name]


# --- what is asked -------------------------------------------------------------------------------


def _digest(request: Request) -> bytes:
    if "authorization" in request.headers:
        return answer(b"digested")
    challenge = 'Digest realm="r", nonce="n", qop="auth", algorithm="MD5"'
    return answer(b"", "401 No", f"WWW-Authenticate: {challenge}")


class World:
    """Servers for each kind of request, in a process of their own: here they would be counted."""

    def __init__(self, folder: str) -> None:
        self.bundle = f"{folder}/ca.pem"
        self._process = subprocess.Popen(
            [sys.executable, "-m", "hooks.way", folder],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
        )
        self.roots = json.loads(self._process.stdout.readline())

    def __enter__(self) -> World:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate("", timeout=10)

    def scenarios(self) -> dict[str, Callable[[Send], Any]]:
        return scenarios(*self.roots, self.bundle)


def scenarios(http_root: str, https_root: str, bundle: str) -> dict[str, Callable[[Send], Any]]:
    """Some requests of each kind."""
    http, https = http_root.__add__, https_root.__add__
    proxy = http_root.replace("http://", "http://me:secret@")
    tls = {"verify": bundle}
    return {
        "get": lambda send: (
            send("GET", http("/a"), params={"q": "1"}, timeout=5),
            send("GET", http("/a")),
        ),
        "redirect": lambda send: (
            send("GET", http("/hop")),
            send("GET", http("/a"), cookies={"c": "d"}),
        ),
        "form": lambda send: send("POST", http("/echo"), data={"a": "1"}),
        "json": lambda send: send("POST", http("/echo"), json={"a": 1}),
        "files": lambda send: send("POST", http("/echo"), files={"a": ("n", b"x")}),
        "basic": lambda send: send("GET", http("/echo"), auth=("me", "secret")),
        "digest": lambda send: send(
            "GET", http("/digest"), auth=requests.auth.HTTPDigestAuth("me", "secret")
        ),
        "gzip": lambda send: send("GET", http("/gzip")),
        "proxy": lambda send: send("GET", "http://a.invalid/x", proxies={"http": proxy}),
        "https": lambda send: (
            send("GET", https("/a"), **tls),
            send("POST", https("/echo"), data=b"x", **tls),
        ),
    }


def serve(folder: str) -> None:
    """Be the servers until stdin ends."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(f"{folder}/ca.pem")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1", "localhost").configure_cert(context)
    zipped = gzip.compress(b"hi")
    with Server(keep=False) as http, Server(context, keep=False) as https:
        http.on("/hop", lambda _: answer(b"", "302 Found", "Location: /end", "Set-Cookie: a=b"))
        http.on("/gzip", lambda _: answer(zipped, "200 OK", "Content-Encoding: gzip"))
        http.on("/digest", _digest)
        print(json.dumps([http.url(""), https.url("")]), flush=True)
        sys.stdin.read()


# --- by whom it is sent --------------------------------------------------------------------------


def by_requests(scenario: Callable[[Send], Any]) -> None:
    with requests.sessions.Session() as session:
        scenario(session.request)


def by_grequests(scenario: Callable[[Send], Any]) -> None:
    import grequests

    with requests.sessions.Session() as session:

        def send(method: str, url: str, **kwargs: Any) -> None:
            (response,) = grequests.map(
                [grequests.request(method, url, session=session, **kwargs)],
                exception_handler=_raise,
            )
            assert response.status_code == 200

        scenario(send)


def _raise(_: Any, error: BaseException | None) -> Any:
    raise error or AssertionError("no outcome")


# --- what is on the way --------------------------------------------------------------------------


def called(scenario: Callable[[Send], Any]) -> set[types.CodeType]:
    """The Python functions of the packages that plain Requests calls, in this thread."""
    codes = set()

    def note(frame: Any, event: str, _: Any) -> None:
        if event == "call" and _is_theirs(frame.f_globals.get("__name__", "")):
            codes.add(frame.f_code)

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        by_requests(scenario)
    finally:
        sys.setprofile(before)
    return codes


def _is_theirs(module: str) -> bool:
    return module.startswith(tuple(f"{each}." for each in PACKAGES)) or module in PACKAGES


def _function(value: Any) -> Any:
    if isinstance(value, (staticmethod, classmethod)):
        value = value.__func__
    if isinstance(value, property):
        value = value.fget
    return getattr(value, "__wrapped__", value)


def names_of(codes: set[types.CodeType]) -> list[Name]:
    """Where functions with these codes, and classes that define them, are found."""

    def is_called(value: Any) -> bool:
        return getattr(_function(value), "__code__", None) in codes

    found = []
    for module in [m for n, m in sorted(sys.modules.items()) if _is_theirs(n) and m.__name__ == n]:
        for name, value in vars(module).items():
            if is_called(value):
                found.append(Name(module.__name__, name))
            elif isinstance(value, type) and _is_theirs(value.__module__):
                own = [
                    Name(f"{module.__name__}:{name}", k)
                    for k, v in vars(value).items()
                    if is_called(v)
                ]
                if own or any(is_called(v) for base in value.__mro__ for v in vars(base).values()):
                    found.append(Name(module.__name__, name))
                if value.__module__ == module.__name__ and value.__name__ == name:
                    found.extend(own)
    return found


# --- replacements --------------------------------------------------------------------------------


class Counter:
    """How often something was called, in this thread or another."""

    def __init__(self) -> None:
        self.calls = 0
        self._lock = threading.Lock()

    def __call__(self) -> None:
        with self._lock:
            self.calls += 1


Make = Callable[[Any, Counter], Any]


@contextlib.contextmanager
def replaced(name: Name, make: Make) -> Iterator[Counter]:
    """Put what `make` makes of the function or class in its place, as a mock would."""
    counter = Counter()
    place, value = name.place(), name.value()
    setattr(place, name.name, _rewrapped(value, make, counter))
    try:
        yield counter
    finally:
        setattr(place, name.name, value)


def _rewrapped(value: Any, make: Make, counter: Counter) -> Any:
    if isinstance(value, (staticmethod, classmethod)):
        return type(value)(make(value.__func__, counter))
    if isinstance(value, property):
        return property(make(value.fget, counter), value.fset, value.fdel)
    return make(value, counter)


if __name__ == "__main__":
    serve(sys.argv[1])
