r"""Inputs that are a list of fields: a letter and a text each, with 0xFF between them.

0xFF is in no UTF-8, so a text can be anything: ``uhttp://a/\xffhA:b`` is a URL and a header. The
texts are UTF-8 as far as they are, what is not becomes lone surrogates.
"""

from __future__ import annotations

from collections.abc import Iterator

SEPARATOR = b"\xff"


def fields(data: bytes, most: int) -> Iterator[tuple[str, str]]:
    """The fields of an input: letter and text."""
    for each in data.split(SEPARATOR)[:most]:
        if each:
            yield chr(each[0]), each[1:].decode("utf-8", "surrogateescape")


def pair(text: str, separator: str = "=") -> tuple[str, str]:
    name, _, value = text.partition(separator)
    return name, value
