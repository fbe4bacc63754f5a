"""Mutilated responses: the reader answers or raises an HTTPException, never anything else."""

from __future__ import annotations

import random
from http.client import HTTPException

import pytest

from grequests._engine import ResponseReader
from grequests._engine._protocol import MAX_CHUNK_FRAMING

SEEDS = [
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: keep-alive\r\n\r\nhello",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n0\r\nA: b\r\n\r\n",
    b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 404 Not\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.0 200 OK\nA: b\n  c\nContent-Length : 2\n\nhi",
    b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n\x81\x05hello",
    b"HTTP/1.1 204 No\r\nSet-Cookie: a=b\r\n\r\nHTTP/1.1 200 OK\r\n\r\nhello",
    b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + b"x" * 300,
]
PIECES = [
    *(b"\r\n", b"\n", b"\r", b"\r\n\r\n", b"\0", b" ", b":", b"\t", b"0", b"1", b"9" * 25, b"-"),
    *(b"HTTP/1.1 ", b"HTTP/1.1 100 C\r\n\r\n", b"Content-Length: 3\r\n", b"\r\n x", b"\xff", b";"),
    *(b"Transfer-Encoding: chunked\r\n", b"Connection: close\r\n", b"A: " + b"x" * 70000 + b"\r\n"),
    *(b"a: b\r\n" * 120, b"HTTP/2.0 200", b"0\r\n\r\n", b"ffffffff\r\n", b"Upgrade: h2c\r\n"),
]


def mutilate(data: bytes, chance: random.Random) -> bytes:
    for _ in range(chance.randint(1, 4)):
        at = chance.randint(0, len(data))
        match chance.randint(0, 4):
            case 0:
                data = data[:at] + chance.choice(PIECES) + data[at:]
            case 1:
                data = data[:at] + data[at + chance.randint(1, 5) :]
            case 2:
                data = data[:at] + bytes([chance.randint(0, 255)]) + data[at + 1 :]
            case 3:
                data = data[:at] + data[max(0, at - chance.randint(1, 40)) :]
            case 4:
                data = data[:at] + chance.choice(SEEDS)[chance.randint(0, 30) :]
    return data


def feed_all(reader: ResponseReader, data: bytes, step: int) -> tuple[bytes, bool] | str:
    """What the connection would make of the data."""
    try:
        done = any(reader.feed(data[at : at + step]) for at in range(0, len(data), step))
        if not done:
            reader.end()
    except HTTPException:
        return "error"
    assert reader.complete
    assert reader.head is not None
    assert reader.head.startswith(b"HTTP/1.")
    assert 100 < reader.status <= 999
    return reader.take_body(), reader.reusable


@pytest.mark.parametrize("seed", range(8))
def test_nothing_but_http_exceptions(seed: int) -> None:
    chance = random.Random(seed)
    outcomes = {"error": 0, "response": 0}
    for _ in range(2500):
        data = mutilate(chance.choice(SEEDS), chance)
        method = chance.choice(["GET", "GET", "HEAD"])
        bodies = set()
        for step in (len(data) or 1, chance.choice([1, 2, 3, 7]) if len(data) < 2000 else 997):
            reader = ResponseReader()
            reader.expect(method)
            outcome = feed_all(reader, data, step)
            bodies.add(outcome if outcome == "error" else outcome[0])
            if step == len(data) and outcome != "error" and outcome[1]:
                # Fit for another request: nothing was left over.
                assert data.endswith(outcome[0]) or b"chunked" in data.lower()
                reader.expect("GET")
                assert reader.feed(SEEDS[0])
                assert reader.take_body() == b"hello"
            outcomes["error" if outcome == "error" else "response"] += 1
        # (What is around chunks is counted between two reads, which are not as large as that.)
        is_large = b"chunked" in data.lower() and len(data) > MAX_CHUNK_FRAMING
        assert len(bodies) == 1 or is_large, (method, bodies, data[:2000])
    assert min(outcomes.values()) > 100, "both kinds are worth something only if both occur"
