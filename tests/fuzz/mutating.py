"""Mutations that know a little of the format: parts between separators, and a vocabulary.

All of them are functions of bytes and a `random.Random`, so that a seed gives the same bytes again,
with atheris (which calls `Kit.mutate` between its own mutations) and without.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random

#: How many mutations follow one another, most often few.
COUNTS = (1, 1, 1, 2, 2, 3, 5)

Move = Callable[[bytes, Random], bytes]


@dataclass(frozen=True)
class Kit:
    """What a target's inputs are made of.

    Attributes:
        seeds: inputs that are worth something by themselves.
        separator: what stands between the parts of an input.
        pieces: bytes that mean something wherever they stand.
        parts: whole parts.
        moves: mutations of the target's own.
        limit: bytes that an input may have.
    """

    seeds: Sequence[bytes]
    separator: bytes
    pieces: Sequence[bytes]
    parts: Sequence[bytes]
    moves: Sequence[Move] = ()
    limit: int = 4096
    _usual: list[Move] = field(init=False, repr=False, default_factory=list)

    def __post_init__(self) -> None:
        self._usual.extend(
            (
                *(self.insert_piece, self.replace_by_piece, self.insert_part, self.insert_part),
                *(self.repeat_part, self.drop_part, self.swap_parts, self.replace_part),
                *(self.splice, drop_span, repeat_span, change_byte, change_case, cut),
                *self.moves,
            )
        )

    def mutate(self, data: bytes, chance: Random) -> bytes:
        """Another input."""
        for _ in range(chance.choice(COUNTS)):
            data = chance.choice(self._usual)(data, chance)
        return data[: self.limit]

    def input(self, chance: Random) -> bytes:
        """An input from scratch: a seed, mutated some times."""
        data = chance.choice(self.seeds)
        for _ in range(chance.randint(1, 3)):
            data = self.mutate(data, chance)
        return data

    def insert_piece(self, data: bytes, chance: Random) -> bytes:
        at = chance.randint(0, len(data))
        return data[:at] + chance.choice(self.pieces) + data[at:]

    def replace_by_piece(self, data: bytes, chance: Random) -> bytes:
        at = chance.randint(0, len(data))
        return data[:at] + chance.choice(self.pieces) + data[at + chance.randint(0, 8) :]

    def insert_part(self, data: bytes, chance: Random) -> bytes:
        parts = data.split(self.separator)
        parts.insert(chance.randint(1, len(parts)), chance.choice(self.parts))
        return self.separator.join(parts)

    def replace_part(self, data: bytes, chance: Random) -> bytes:
        parts = data.split(self.separator)
        parts[chance.randrange(len(parts))] = chance.choice(self.parts)
        return self.separator.join(parts)

    def repeat_part(self, data: bytes, chance: Random) -> bytes:
        parts = data.split(self.separator)
        part = chance.choice(parts)
        at = chance.randint(0, len(parts))
        parts[at:at] = [part] * chance.choice((1, 1, 1, 2, 120))
        return self.separator.join(parts)

    def drop_part(self, data: bytes, chance: Random) -> bytes:
        parts = data.split(self.separator)
        del parts[chance.randrange(len(parts))]
        return self.separator.join(parts)

    def swap_parts(self, data: bytes, chance: Random) -> bytes:
        parts = data.split(self.separator)
        one, other = chance.randrange(len(parts)), chance.randrange(len(parts))
        parts[one], parts[other] = parts[other], parts[one]
        return self.separator.join(parts)

    def splice(self, data: bytes, chance: Random) -> bytes:
        """The beginning of this and the end of a seed, or the other way round."""
        one, other = data, chance.choice(self.seeds)
        if chance.random() < 0.5:
            one, other = other, one
        return one[: chance.randint(0, len(one))] + other[chance.randint(0, len(other)) :]


def drop_span(data: bytes, chance: Random) -> bytes:
    at = chance.randint(0, len(data))
    return data[:at] + data[at + chance.choice((1, 1, 2, 4, 16)) :]


def repeat_span(data: bytes, chance: Random) -> bytes:
    at = chance.randint(0, len(data))
    return data[:at] + data[max(0, at - chance.choice((1, 2, 8, 40))) :]


def change_byte(data: bytes, chance: Random) -> bytes:
    at = chance.randint(0, len(data))
    return data[:at] + bytes((chance.randrange(256),)) + data[at + 1 :]


def change_case(data: bytes, chance: Random) -> bytes:
    at = chance.randint(0, len(data))
    end = at + chance.choice((1, 4, 20))
    return data[:at] + data[at:end].swapcase() + data[end:]


def cut(data: bytes, chance: Random) -> bytes:
    return data[: chance.randint(0, len(data))] if chance.random() < 0.3 else data
