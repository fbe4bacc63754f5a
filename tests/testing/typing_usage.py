"""What users write with `grequests.testing`, for mypy to read; never run."""

from __future__ import annotations

import re

from grequests.testing import (
    Answer,
    FakeClock,
    FakeTransport,
    Fault,
    Load,
    Rule,
    SentRequest,
    UnexpectedRequestError,
)

pytest_plugins = ["grequests.testing.pytest_plugin"]


def respond(request: SentRequest) -> Answer:
    return Answer(200, request.body, headers=[("Set-Cookie", "a=1")], latency=1)


def test_something(fake_transport: FakeTransport, fake_clock: FakeClock) -> None:
    rule: Rule = fake_transport.add("http://a.test/", json={"a": [1]}, times=2)
    fake_transport.add(re.compile("x"), "GET", answer=respond, required=False)
    fake_transport.add("http://a.test/", answer=lambda _: Fault.REFUSED)
    fake_transport.add(lambda request: request.method == "GET", status=404, error=Fault.TLS)
    fake_transport.add("*", body=[b"a", 1.0, b"b"], headers={"X": "y"}, reason="Fine")
    handle = fake_clock.call_later(1, print, "later")
    handle.close()
    fake_clock.advance(0.5)
    load: Load = fake_transport.hosts["http://a.test"]
    count: int = rule.used + fake_transport.in_flight + load.most_in_flight
    sent: list[SentRequest] = fake_transport.requests
    assert sent[0].headers["Host"]
    assert count


def test_something_else() -> None:
    with FakeClock(autojump=True, now=1, wall=2) as clock, FakeTransport(clock=clock) as fake:
        try:
            fake.check()
        except UnexpectedRequestError as error:
            print(error.method, error.url)
