"""The targets without atheris: their seeds, and inputs that their kits make, always the same."""

from __future__ import annotations

from random import Random

import pytest

from . import against_h11, against_requests, cookies_and_redirects, protocol
from .targets import TARGETS

#: How many inputs: some seconds for each target.
COUNTS = {
    "protocol": 2000,
    "against_h11": 6000,
    "against_requests": 1500,
    "cookies_and_redirects": 500,
}


@pytest.mark.parametrize("name", TARGETS)
def test_the_seeds(name: str) -> None:
    for seed in TARGETS[name].KIT.seeds:
        TARGETS[name].check(seed)


@pytest.mark.parametrize("name", TARGETS)
def test_some_thousand_inputs(name: str) -> None:
    target = TARGETS[name]
    for number in range(COUNTS[name]):
        data = target.KIT.input(Random(f"{name} {number}"))
        try:
            target.check(data)
        except Exception as error:
            raise AssertionError(f"input {number}: {data!r}") from error


@pytest.mark.parametrize("data", [b"", b"G", b"H", b"F", b"F|", b"\xff", b"\xff\xff", b"\0" * 9])
@pytest.mark.parametrize("name", TARGETS)
def test_next_to_nothing(name: str, data: bytes) -> None:
    TARGETS[name].check(data)


def test_inputs_go_deep() -> None:
    """A target that refuses nearly all of its inputs at the door would find nothing."""
    for verdicts in (
        against_h11.verdicts,
        against_requests.verdicts,
        cookies_and_redirects.verdicts,
    ):
        verdicts.clear()
    for target in (against_h11, against_requests, cookies_and_redirects):
        for number in range(250):
            target.check(target.KIT.input(Random(number)))
    assert against_h11.verdicts["both take it"] > 50
    assert against_requests.verdicts["sent"] > 90
    fast = [n for name, n in cookies_and_redirects.verdicts.items() if name.startswith("fast: ")]
    assert len(fast) > 2
    assert sum(fast) > 120


# A check that cannot fail checks nothing: each target over something that is broken.


def test_a_reader_that_is_broken_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def leaky(reader: protocol.ResponseReader) -> bytes:
        return b"".join(reader._chunks)  # the next response will have them, too

    monkeypatch.setattr(protocol.ResponseReader, "take_body", leaky)
    with pytest.raises(AssertionError):
        protocol.check(protocol.KIT.seeds[0])


def test_a_reader_that_understands_otherwise_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    take_body = protocol.ResponseReader.take_body
    monkeypatch.setattr(protocol.ResponseReader, "take_body", lambda self: take_body(self)[:-1])
    with pytest.raises(AssertionError):
        against_h11.check(against_h11.KIT.seeds[0])


def test_a_flood_that_is_kept_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "KEPT", 100)
    with pytest.raises(AssertionError):
        protocol.check(b"FHTTP/1.1 200 OK\r\n|A: b\r\n")


def test_other_bytes_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    import grequests._prepare

    monkeypatch.setattr(grequests._prepare, "_text", lambda value: f"{value} "[:-1].upper())
    with pytest.raises(AssertionError):
        against_requests.check(b"uhttp://a/b\xffD\xc3\xa9")


def test_a_header_that_ends_its_line_is_found() -> None:
    sent = against_requests.Sent(
        b"GET / HTTP/1.1\r\nA: b\r\nX: y\r\n\r\n", None, [("A", "b\r\nX: y")]
    )
    with pytest.raises(AssertionError):
        against_requests.check_head(sent)


def test_another_chain_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    import grequests._call

    monkeypatch.setattr(grequests._call.Call, "_keep_cookies", lambda *_: None)
    with pytest.raises(AssertionError):
        cookies_and_redirects.check(b"s\xff1\xffL/2\xffCa=b\xff7")
