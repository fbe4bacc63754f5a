"""What the torture has found, and what it was: each call failed, and a request hung or ended twice."""

from __future__ import annotations

import pytest

from .faults import FAULTS
from .rack import Rack

FOUND = {
    "send: an error that leaves the socket alive was taken for the end of the connection": [
        ("send", (1, 2, 12), "ENOBUFS"),
        ("send", (1, 2, 12), "EINTR"),
    ],
    "start: what was not an OSError left the request with nobody, or with two outcomes": [
        ("send", (1, 2, 12), "MemoryError"),
    ],
    "is_silent: a connection that could not be asked was lost, busy for ever": [
        ("poll", (1, 2, 12, 20), "ENOMEM"),
        ("poll", (1, 2, 12, 20), "MemoryError"),
    ],
    "connected: what failed between the socket and its watcher kept socket and descriptor": [
        ("poll object", (1, 2, 12), "MemoryError"),
        ("loop.io", (3, 4, 5), "EMFILE"),
    ],
    "grow: a greenlet that could not be made left its request waiting, after it had failed": [
        ("spawn", (1, 2, 12, 20), "MemoryError"),
    ],
    "deadlines: without a timer once, there was none for ever": [
        ("loop.timer", (1, 2), "MemoryError"),
    ],
    "race: an attempt that did not end with an OSError was waited for without end": [
        ("getsockopt", tuple(range(8, 14)), "MemoryError"),
    ],
}


@pytest.mark.parametrize("found", FOUND)
def test_it_stays_found(found, world, ca_file, tmp_path):
    with Rack(world, "fast", ca_file, tmp_path).ready() as rack:
        for kind, numbers, name in FOUND[found]:
            fault = next(each for each in FAULTS[kind] if each.name == name)
            hits = [bool(rack.suffer(kind, number, fault)) for number in numbers]
            assert any(hits), f"{kind} was never called so often"
