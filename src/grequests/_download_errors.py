"""What only downloads can fail with. Knows nothing else of ours."""

from __future__ import annotations

from requests.exceptions import ChunkedEncodingError

from ._exceptions import GRequestsError


class ChecksumError(GRequestsError, ValueError):
    """A file is not what it should be.

    Attributes:
        path: of the file.
        expected: its SHA-256 as it was given, in hexadecimal digits.
        actual: what it is.
    """

    def __init__(self, path: str, expected: str, actual: str) -> None:
        self.path = path
        self.expected = expected
        self.actual = actual
        super().__init__(f"{path} has SHA-256 {actual}, not {expected}")


class LengthError(GRequestsError, ChunkedEncodingError):
    """A file has ended before its length, or goes on behind it.

    Attributes:
        expected: bytes it should have.
        received: bytes there are.
    """

    def __init__(self, expected: int, received: int) -> None:
        self.expected = expected
        self.received = received
        super().__init__(f"the file should have {expected:,} bytes, and there are {received:,}")


class RangeError(GRequestsError, ValueError):
    """A server sends a part of a file that nobody has asked for.

    Attributes:
        value: of the answer's Content-Range, or None.
    """

    def __init__(self, value: str | None) -> None:
        self.value = value
        super().__init__(f"the server sends another part of the file than was asked for: {value!r}")


for _class in (ChecksumError, LengthError, RangeError):
    _class.__module__ = "grequests"
