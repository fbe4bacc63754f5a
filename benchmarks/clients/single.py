"""One request per call: ``grequests.map`` of one, or a Session of Requests."""

from __future__ import annotations

import grequests  # isort: skip  (0.7 patches the standard library, so it has to come first)

import json
import sys
from collections.abc import Iterable

import requests

from clients._common import Fetch, Job, main

VARIANT = json.loads(sys.argv[1])["variant"]


def start(job: Job) -> Fetch:
    """Fetch one after the other, each by a call of its own."""
    get = {"map": by_map, "session": requests.Session().get, "new-session": by_new_session}[VARIANT]

    def fetch(urls: Iterable[str]) -> None:
        for url in urls:
            response = get(url)
            job.check(response.status_code, response.content)

    return fetch


def by_map(url: str) -> requests.Response:
    """What a user of grequests writes for one request."""
    return grequests.map([grequests.get(url)])[0]


def by_new_session(url: str) -> requests.Response:
    """What ``requests.get`` does."""
    with requests.Session() as session:
        return session.get(url)


if __name__ == "__main__":
    main(start)
