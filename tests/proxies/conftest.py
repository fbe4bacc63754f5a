"""Real proxies, each started once for these tests: tinyproxy, squid, dante and mitmproxy.

They listen on loopback at ports that were free a moment before. What they forward goes to two origins,
one of them with TLS, that keep what they read.
"""

from __future__ import annotations

import contextlib
import os
import pathlib
import re
import signal
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import trustme
from programs import missing, program
from recording import Answer, Recorder, sealed_environment
from ways import Ways

ROOT = pathlib.Path(__file__).parents[2]
#: Seconds a proxy has to start; mitmproxy needs three of them on a quiet machine.
PATIENCE = 60.0
USER, PASSWORD = "us@er", "p@s/ %+"
#: The same in a URL.
CREDENTIALS = "us%40er:p%40s%2F%20%25+@"


@pytest.fixture(scope="session", autouse=True)
def _sealed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with sealed_environment(tmp_path_factory.mktemp("home")):
        yield


@dataclass(frozen=True)
class Running:
    """A proxy: its name and the ports at which it speaks each protocol."""

    name: str
    ports: dict[str, int]
    files: dict[str, str] = field(default_factory=dict)

    def url(self, scheme: str = "http", credentials: str = "") -> str:
        return f"{scheme}://{credentials}127.0.0.1:{self.ports[scheme]}"


def free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        socks = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [sock.getsockname()[1] for sock in socks]


@contextlib.contextmanager
def daemon(arguments: list[str], ports: list[int], folder: pathlib.Path) -> Iterator[None]:
    """A program that has begun to listen at its ports."""
    log = folder / "output"
    with log.open("wb") as output:
        process = subprocess.Popen(
            arguments,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=folder,
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + PATIENCE
        for port in ports:
            while not listens(port):
                assert process.poll() is None, log.read_text(errors="replace")
                assert time.monotonic() < deadline, log.read_text(errors="replace")
                time.sleep(0.02)
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):  # dante has children
            os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


# --- origins -------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def ca() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="session")
def ca_path(ca: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("ca") / "ca.pem"
    ca.cert_pem.write_to_path(str(path))
    return str(path)


class Origin(Recorder):
    """Tells what it was asked for; below /moved it sends on to wherever the query says."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        super().__init__(tls)
        self.default = self._tell

    def _tell(self, request: bytes) -> Answer:
        line, _, rest = request.partition(b"\r\n")
        method, target, _ = line.split(b" ")
        if target.startswith(b"/moved?"):
            return reply("302 Found", b"moved", "Location: " + target[7:].decode())
        if target == b"/chunked":
            return Answer(
                b"HTTP/1.1 200 OK\r\nDate: then\r\nTransfer-Encoding: chunked\r\n\r\n"
                b"4\r\nfour\r\n3\r\nsix\r\n0\r\n\r\n"
            )
        body = b"" if method == b"HEAD" else b"%b %b\n%b" % (method, target, rest[-20:])
        return reply("200 Fine", body, "X-A: ö")


def reply(status: str, body: bytes, *lines: str) -> Answer:
    head = "\r\n".join([f"HTTP/1.1 {status}", *lines, f"Content-Length: {len(body)}", "", ""])
    return Answer(head.encode("latin-1") + body)


@pytest.fixture(scope="session")
def origin() -> Iterator[Origin]:
    with Origin() as one:
        yield one


@pytest.fixture(scope="session")
def tls_origin(ca: trustme.CA) -> Iterator[Origin]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("127.0.0.1", "localhost").configure_cert(context)
    with Origin(context) as one:
        yield one


@pytest.fixture
def ways(origin: Origin, tls_origin: Origin) -> Ways:
    return Ways(lambda: [*origin.taken(), *tls_origin.taken()], without_times)


#: What differs from one answer of a proxy to the next: times, ages, identifiers of requests.
_TIMES = re.compile(r"\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT|(?<=Age: )\d+")


def without_times(value: Any) -> Any:
    """The same, without what depends on when it was made."""
    if isinstance(value, str):
        return _TIMES.sub("then", value)
    if isinstance(value, bytes):
        return _TIMES.sub("then", value.decode("latin-1")).encode("latin-1")
    if isinstance(value, dict):
        return {name: without_times(each) for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(map(without_times, value))
    return value


# --- tinyproxy -----------------------------------------------------------------------------------


@contextlib.contextmanager
def tinyproxy(folder: pathlib.Path, *lines: str) -> Iterator[Running]:
    [port] = free_ports(1)
    config = folder / "tinyproxy.conf"
    config.write_text(
        "\n".join([f"Port {port}", "Listen 127.0.0.1", "Timeout 30", "MaxClients 100", *lines, ""])
    )
    path = program("tinyproxy", "tinyproxy")
    with daemon([path, "-d", "-c", str(config)], [port], folder):
        yield Running("tinyproxy", {"http": port})


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with tinyproxy(tmp_path_factory.mktemp("tinyproxy")) as one:
        yield one


# --- squid ---------------------------------------------------------------------------------------


@contextlib.contextmanager
def squid(folder: pathlib.Path, ca: trustme.CA, *lines: str) -> Iterator[Running]:
    """squid without a cache, at a port for http and one for https."""
    path = program("squid", "squid")
    http, https = ports = free_ports(2)
    leaf = ca.issue_cert("127.0.0.1", "localhost")
    leaf.private_key_pem.write_to_path(str(folder / "key.pem"))
    for pem in leaf.cert_chain_pems:
        pem.write_to_path(str(folder / "cert.pem"), append=True)
    config = folder / "squid.conf"
    config.write_text(
        "\n".join(
            [
                *(f"http_port 127.0.0.1:{http}", "cache deny all", "access_log none"),
                f"https_port 127.0.0.1:{https} tls-cert={folder}/cert.pem tls-key={folder}/key.pem",
                *(
                    f"pid_filename {folder}/pid",
                    f"cache_log {folder}/cache.log",
                    "netdb_filename none",
                ),
                *("shutdown_lifetime 0 seconds", "visible_hostname squid.test", "cache_mem 0 MB"),
                *("pinger_enable off", "dns_defnames off", f"coredump_dir {folder}"),
                *("max_filedescriptors 1024", *lines),
                "",
            ]
        )
    )
    # Started by root, it goes on as another user, who has to get here.
    folder.chmod(0o777)
    # (pytest-xdist has one folder more.)
    for parent in folder.parents:
        if not parent.name.startswith(("pytest-", "popen-")):
            break
        parent.chmod(parent.stat().st_mode | 0o011)
    with daemon([path, "-N", "-f", str(config)], ports, folder):
        yield Running("squid", {"http": http, "https": https})


@pytest.fixture(scope="session")
def squid_open(ca: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with squid(tmp_path_factory.mktemp("squid"), ca, "http_access allow all") as one:
        yield one


@pytest.fixture(scope="session")
def squid_guarded(ca: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """squid that lets nobody pass but one."""
    folder = tmp_path_factory.mktemp("guarded")
    hashed = subprocess.run(
        [program("openssl", "openssl"), "passwd", "-6", PASSWORD],
        capture_output=True,
        check=True,
        text=True,
    )
    (folder / "passwords").write_text(f"{USER}:{hashed.stdout}")
    lines = [
        f"auth_param basic program /usr/lib/squid/basic_ncsa_auth {folder}/passwords",
        *("auth_param basic children 1", "auth_param basic realm squid"),
        *("acl known proxy_auth REQUIRED", "http_access allow known", "http_access deny all"),
    ]
    with squid(folder, ca, *lines) as one:
        yield one


# --- dante ---------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def dante(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """dante: SOCKS 4, 4a and 5, for everybody."""
    folder = tmp_path_factory.mktemp("dante")
    path = program("danted", "dante-server")
    [port] = free_ports(1)
    config = folder / "danted.conf"
    config.write_text(f"""\
logoutput: stderr
internal: 127.0.0.1 port = {port}
external: 127.0.0.1
clientmethod: none
socksmethod: none
user.unprivileged: nobody
client pass {{ from: 127.0.0.0/8 to: 0.0.0.0/0 }}
socks pass {{ from: 127.0.0.0/8 to: 0.0.0.0/0 protocol: tcp }}
""")
    with daemon([path, "-f", str(config), "-p", str(folder / "pid")], [port], folder):
        yield Running("dante", dict.fromkeys(["socks4", "socks4a", "socks5", "socks5h"], port))


# --- mitmproxy -----------------------------------------------------------------------------------

MITMPROXY = ROOT / ".suites" / "mitmproxy"


def mitmdump() -> str:
    """mitmproxy pins what it needs: it has an environment of its own, made by `make mitmproxy`."""
    found = MITMPROXY / "bin" / "mitmdump"
    if not found.exists():
        missing("make mitmproxy")
    return str(found)


@pytest.fixture(scope="session")
def mitm(ca_path: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """mitmproxy: http(s) and SOCKS5 with a password, with TLS of its own making inside."""
    folder = tmp_path_factory.mktemp("mitmproxy")
    http, socks = ports = free_ports(2)
    arguments = [
        *(mitmdump(), "--mode", f"regular@127.0.0.1:{http}", "--mode", f"socks5@127.0.0.1:{socks}"),
        *("--set", f"confdir={folder}", "--set", f"proxyauth={USER}:{PASSWORD}"),
        *(
            "--set",
            f"ssl_verify_upstream_trusted_ca={ca_path}",
            "--set",
            "connection_strategy=lazy",
        ),
    ]
    with daemon(arguments, ports, folder):
        files = {"ca": str(folder / "mitmproxy-ca-cert.pem")}
        both = {"http": http, "https": http, "socks5": socks, "socks5h": socks}
        yield Running("mitmproxy", both, files)
