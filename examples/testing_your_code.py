"""Test code that sends requests without a network: scripted answers, faults, a clock that jumps.

python examples/testing_your_code.py      needs no server; with pytest, see docs/testing.md
"""

from __future__ import annotations

import requests

import grequests
from grequests.testing import Answer, FakeClock, FakeTransport, Fault, SentRequest

#: Seconds for which a server may keep us waiting.
PATIENCE = 10


def titles(urls: list[str]) -> dict[str, str]:
    """The code to be tested: the title of each book, or why there is none."""
    found = {}

    def note(request: grequests.AsyncRequest, error: Exception) -> str:
        return f"{request.url}: {type(error).__name__}"

    for answer in grequests.map(
        [grequests.get(url, timeout=PATIENCE) for url in urls], exception_handler=note
    ):
        if isinstance(answer, requests.Response):
            found[answer.url] = answer.json()["title"] if answer.ok else str(answer.status_code)
        else:
            url, _, kind = answer.rpartition(": ")
            found[url] = kind
    return found


def book(request: SentRequest) -> Answer:
    """An answer made of the request."""
    number = request.url.rpartition("/")[2]
    return Answer(json={"title": f"Volume {number}"}, latency=int(number))


def test_titles() -> None:
    """Hours of waiting, in no time."""
    with FakeClock(autojump=True) as clock, FakeTransport(clock) as fake:
        fake.add("http://books.test/404", status=404)
        fake.add("http://books.test/*", answer=book)
        fake.add("http://dead.test/", error=Fault.REFUSED)
        fake.add("http://silent.test/", error=Fault.READ_TIMEOUT)

        found = titles(
            [
                "http://books.test/2",
                "http://books.test/9",
                "http://books.test/404",
                "http://dead.test/",
                "http://silent.test/",
            ]
        )

        for url, title in found.items():
            print(f"{url}: {title}")
        assert list(found.values()) == [
            *("Volume 2", "Volume 9", "404", "ConnectionError", "ReadTimeout"),
        ]
        assert clock.now() == PATIENCE  # the silent one took longest
        fake.check()
        print(f"{len(fake.requests)} requests, {fake.most_in_flight} at once, {clock.now():g} s")


if __name__ == "__main__":
    test_titles()
