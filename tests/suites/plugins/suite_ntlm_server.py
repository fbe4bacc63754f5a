"""pytest plugin: the server that the suite of requests-ntlm brings and expects on port 5000."""

from __future__ import annotations

import threading
from typing import Any

_running: list[Any] = []


def pytest_sessionstart() -> None:
    from tests.test_server import app
    from werkzeug.serving import make_server

    server = make_server("localhost", 5000, app, threaded=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    _running.append(server)


def pytest_sessionfinish() -> None:
    for server in _running:
        server.shutdown()
