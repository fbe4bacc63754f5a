"""pytest plugin: trust in pytest-httpbin's certificate, as the script that runs vcrpy's suite has it."""

from __future__ import annotations

import os


def pytest_configure() -> None:
    from pytest_httpbin import certs

    os.environ["REQUESTS_CA_BUNDLE"] = certs.where()
