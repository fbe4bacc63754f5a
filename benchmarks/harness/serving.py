"""Starts and ends the servers, and asks wrk whether they are fast enough.

Everything listens on addresses in 127.0.0.0/8 and nowhere else.
"""

from __future__ import annotations

import getpass
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from . import envs
from .paths import BENCHMARKS, RUN, TLS

SMALL, DATA, BIG = "small.txt", "data.json", "big.bin"
MAIN_HOST = "127.0.0.1"
WARMUP_HOSTS = [f"127.2.0.{n}" for n in range(1, 11)]
MANY_HOSTS = [f"127.1.{n // 250}.{n % 250 + 1}" for n in range(500)]

NGINX = """\
daemon off;
{user}
worker_processes 1;
worker_rlimit_nofile 20000;
error_log {folder}/error.log warn;
pid {folder}/nginx.pid;
events {{ worker_connections 16384; multi_accept on; use epoll; }}
http {{
  access_log off;
  default_type text/plain;
  types {{ application/json json; application/octet-stream bin; }}
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  root {folder}/www;
  open_file_cache max=100 inactive=1h;
  open_file_cache_valid 1h;
  sendfile on; tcp_nopush on; tcp_nodelay on;
  ssl_protocols TLSv1.2 TLSv1.3;
  keepalive_requests 1000000000; keepalive_timeout 1h;
  reset_timedout_connection on;
  server {{ listen {main}:{http} backlog=16384; }}
{tls}
}}
"""
NGINX_TLS = (
    "  server {{ listen {host}:{port} ssl; ssl_certificate {pem}; ssl_certificate_key {pem}; }}"
)


@dataclass(frozen=True)
class Servers:
    """Where the servers listen, and what they are."""

    kind: str
    http: int
    https: int | None
    slow: int
    bundle: str

    def url(self, name: str, *, tls: bool = False, host: str = MAIN_HOST) -> str:
        """The address of one of the files."""
        return f"https://{host}:{self.https}/{name}" if tls else f"http://{host}:{self.http}/{name}"


def nginx_path() -> str | None:
    """The nginx of the machine, if it has one."""
    return shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")


@contextmanager
def running() -> Iterator[Servers]:
    """Start all servers; end those and no other process when done."""
    www = RUN / "www"
    www.mkdir(parents=True, exist_ok=True)
    _write_files(www)
    _make_certificates()
    http, https, slow = _free_ports(3)
    nginx = nginx_path()
    raw = [sys.executable, "-m", "servers.raw"]
    commands = [[*raw, str(slow)]]
    if nginx:
        config = RUN / "nginx.conf"
        config.write_text(_nginx_config(http, https))
        commands.append([nginx, "-e", str(RUN / "error.log"), "-c", str(config)])
    else:
        commands.append([*raw, str(http), str(www)])
    children = [subprocess.Popen(command, cwd=BENCHMARKS) for command in commands]
    try:
        for port in (http, slow, *([https] if nginx else [])):
            _wait_for(port)
        yield Servers(
            "nginx" if nginx else "servers.raw",
            http,
            https if nginx else None,
            slow,
            str(TLS / "bundle.pem"),
        )
    finally:
        for child in children:
            child.terminate()
        for child in children:
            child.wait(10)


def version(nginx: str | None) -> str:
    """The server's own words on its version."""
    if nginx is None:
        return "servers/raw.py"
    text = subprocess.run([nginx, "-v"], capture_output=True, text=True, check=True).stderr
    return text.strip().rpartition(" ")[2]


def ask_wrk(url: str, connections: int, seconds: int) -> dict[str, float | int | str]:
    """The requests per second that wrk, a load generator in C, gets from the server."""
    wrk = shutil.which("wrk")
    if wrk is None:
        return {"url": url, "missing": "wrk is not installed"}
    command = [wrk, "-t1", f"-c{connections}", f"-d{seconds}s", url]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = re.search(r"Requests/sec:\s+([\d.]+)", text)
    if found is None or "Socket errors" in text or "Non-2xx" in text:
        return {"url": url, "failed": text}
    return {"url": url, "connections": connections, "requests_per_second": float(found[1])}


def _write_files(www: Path) -> None:
    (www / SMALL).write_bytes(b"x" * 1024)
    (www / BIG).write_bytes(b"y" * (1 << 20))
    (www / DATA).write_text(sample_json())


def sample_json() -> str:
    """A JSON document of about 9 KB: fifty-six records of the usual mixture."""
    records = [
        {
            "id": n,
            "name": f"record number {n}",
            "score": n * 1.5,
            "active": n % 3 == 0,
            "tags": ["one", "two", f"tag-{n}"],
            "parent": None,
            "note": "n" * 30,
        }
        for n in range(56)
    ]
    return json.dumps({"count": len(records), "items": records})


def _make_certificates() -> None:
    hosts = [MAIN_HOST, *WARMUP_HOSTS, *MANY_HOSTS]
    known = TLS / "hosts"
    if known.exists() and known.read_text().split() == hosts:
        return
    envs.ensure(envs.TOOLS)
    command = [str(envs.python_of(envs.TOOLS)), "-m", "servers.certificates", str(TLS), *hosts]
    subprocess.run(command, cwd=BENCHMARKS, check=True)


def _nginx_config(http: int, https: int) -> str:
    hosts = [MAIN_HOST, *WARMUP_HOSTS, *MANY_HOSTS]
    tls = "\n".join(
        NGINX_TLS.format(host=host, port=https, pem=TLS / f"{host}.pem") for host in hosts
    )
    user = f"user {getpass.getuser()};" if os.geteuid() == 0 else ""
    return NGINX.format(user=user, folder=RUN, main=MAIN_HOST, http=http, tls=tls)


def _free_ports(count: int) -> list[int]:
    """Ports that nobody listens on, outside the range that clients' own ports come from."""
    low, _high = Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()
    found: list[int] = []
    for port in range(18080, int(low)):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((MAIN_HOST, port))
            except OSError:
                continue
        found.append(port)
        if len(found) == count:
            return found
    message = f"no {count} free ports between 18080 and {low}"
    raise RuntimeError(message)


def _wait_for(port: int, seconds: float = 15.0) -> None:
    deadline = time.monotonic() + seconds
    while True:
        try:
            socket.create_connection((MAIN_HOST, port), timeout=1).close()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return
