"""`_partial.Part` beside other processes, at the moments at which they can be in each other's way."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from grequests import _partial
from grequests._partial import Part

fcntl = pytest.importorskip("fcntl")


@pytest.fixture
def before_the_lock(monkeypatch: pytest.MonkeyPatch):
    """What others do between the opening of a part and its lock."""
    moves = []

    def late(descriptor: int) -> None:
        if moves:
            moves.pop(0)()
        lock(descriptor)

    lock = _partial._lock
    monkeypatch.setattr(_partial, "_lock", late)
    return moves


def test_a_part_that_gets_its_name_meanwhile_is_not_written_to(
    tmp_path: Path, before_the_lock: list
) -> None:
    """It is the whole file of another process by then."""
    there, final = tmp_path / "a.part", tmp_path / "a"
    there.write_bytes(b"whole")
    before_the_lock.append(lambda: there.replace(final))
    part = Part(str(tmp_path), "a")
    assert part.open(0)
    part.write(b"half")
    assert (final.read_bytes(), there.read_bytes()) == (b"whole", b"half")
    part.close()
    part.remove()
    assert final.read_bytes() == b"whole"
    assert os.listdir(tmp_path) == ["a"]


def test_what_can_be_gone_on_with_is_gone_meanwhile(tmp_path: Path, before_the_lock: list) -> None:
    there = tmp_path / "a.part"
    there.write_bytes(b"half")
    before_the_lock.append(there.unlink)
    part = Part(str(tmp_path), "a")
    assert not part.open(4)
    assert part.open(0)
    part.close()


def test_a_part_that_another_makes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    there = tmp_path / "a.part"
    is_own = Part._is_own

    def late(part: Part) -> bool:
        answer = is_own(part)
        there.touch()
        return answer

    monkeypatch.setattr(Part, "_is_own", late)
    part = Part(str(tmp_path), "a")
    assert part.open(0)
    part.close()


def test_a_part_that_is_taken_away_each_time_is_in_use(
    tmp_path: Path, before_the_lock: list
) -> None:
    there = tmp_path / "a.part"
    before_the_lock.extend([there.unlink] * 1000)
    part = Part(str(tmp_path), "a")
    opened = os.listdir("/proc/self/fd")
    with pytest.raises(BlockingIOError) as caught:
        part.open(0)
    assert caught.value.filename == str(there)
    assert os.listdir("/proc/self/fd") == opened


@pytest.mark.parametrize("tries", [True, False])
def test_what_another_process_has_taken_since_is_left_to_it(tmp_path: Path, tries: bool) -> None:  # noqa: FBT001
    ours, theirs = Part(str(tmp_path), "a"), Part(str(tmp_path), "a")
    assert ours.open(0)
    ours.close()
    assert theirs.open(0)
    theirs.write(b"theirs")
    if tries:
        with pytest.raises(BlockingIOError):
            ours.open(0)
    ours.remove()
    theirs.become(str(tmp_path / "a"))
    theirs.close()
    assert (tmp_path / "a").read_bytes() == b"theirs"
    ours.remove()
    assert os.listdir(tmp_path) == ["a"]


def test_what_somebody_has_removed_gets_no_name(tmp_path: Path) -> None:
    part = Part(str(tmp_path), "a")
    assert part.open(0)
    (tmp_path / "a.part").unlink()
    with pytest.raises(FileExistsError, match="replaced or removed"):
        part.become(str(tmp_path / "a"))
    part.close()
    assert os.listdir(tmp_path) == []
