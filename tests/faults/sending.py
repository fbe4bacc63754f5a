"""How the servers of these tests send: in one piece or byte by byte, once or for ever."""

from __future__ import annotations

import select
import time
from dataclasses import dataclass

from engine.raw import Peer

#: Seconds between two single bytes: enough for whoever waits for them to read each by itself.
PAUSE = 0.0003
#: What is longer comes in pieces, if it is to come byte by byte; what matters is near the ends.
LONG, PIECE = 3000, 997


@dataclass(frozen=True)
class Forever:
    """Send the same again and again, until the client has gone.

    Attributes:
        data: what.
        every: seconds between two.
    """

    data: bytes
    every: float = 0.0


def say(peer: Peer, data: bytes, step: int | None = None, pause: float = PAUSE) -> None:
    """Send so many bytes at once; None for all of them.

    Args:
        peer: to whom.
        data: all of them.
        step: how many at once.
        pause: seconds between single ones.
    """
    size = step or max(len(data), 1)
    if step and len(data) > LONG:
        size = PIECE
    for start in range(0, len(data), size):
        peer.send(data[start : start + size])
        if size == 1 and pause:
            time.sleep(pause)


def say_for_ever(peer: Peer, step: Forever) -> None:
    """Send the same again and again, until the client has gone."""
    poller = select.poll()
    poller.register(peer.sock, select.POLLRDHUP | select.POLLHUP | select.POLLERR)
    while not poller.poll(step.every * 1000):
        peer.send(step.data)
