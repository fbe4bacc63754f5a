"""Files that are not whole yet: `<name>.part`, and beside it what is needed to go on.

A part may be gone on with only if a validator was stored beside it that identifies its bytes, and
the answer says the same one. The decisions are pure functions over headers; `Part` is the disk. It
may not know: who sends, who retries.
"""

from __future__ import annotations

import contextlib
import email.utils
import errno
import hashlib
import json
import os
import re
import stat
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

import gevent

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

#: RFC 9110 section 8.8.3, without `W/`: a weak one says nothing of bytes.
_STRONG: Final = re.compile(r'"[\x21\x23-\x7e\x80-\xff]*"')
#: Section 14.4. Longer numbers are no lengths.
_RANGE: Final = re.compile(
    r"bytes[ \t]+(\d{1,18})-(\d{1,18})/(\d{1,18}|\*)", re.IGNORECASE | re.ASCII
)
_UNSATISFIED: Final = re.compile(r"bytes[ \t]+\*/(\d{1,18})", re.IGNORECASE | re.ASCII)
_NUMBER: Final = re.compile(r"\d{1,18}", re.ASCII)
#: Seconds by which a Last-Modified has to be older than its Date to be a strong validator: two
#: changes within its second could not be told apart, and the clocks may differ (RFC 7232 section
#: 2.2.2; RFC 9110 section 8.8.2.2 has one second, and asks for a reason to believe in the clocks).
_SETTLED: Final = 60
#: Bytes that are hashed before others have their turn.
_STEP: Final = 1 << 20
#: How often a part is opened anew because another process has taken it away meanwhile.
_TRIES: Final = 100
#: Bytes of a record, at most. Nobody's but ours has more.
_LONGEST_RECORD: Final = 1 << 16


@dataclass(frozen=True)
class Record:
    """What is stored beside a part.

    Attributes:
        url: where it comes from, without credentials.
        header: which validator it is: "ETag" or "Last-Modified".
        validator: its value.
        length: bytes of the whole, or None if nobody said.
        name: what the file is to be called.
    """

    url: str
    header: str
    validator: str
    length: int | None
    name: str


@dataclass(frozen=True)
class ContentRange:
    """Which bytes an answer has, both ends included, of how many (None: not said)."""

    first: int
    last: int
    total: int | None


def validator_of(headers: Mapping[str, str]) -> tuple[str, str] | None:
    """What may be sent in If-Range (RFC 9110 section 13.1.5): name and value; None for nothing.

    A date may be used only where there is no entity tag, not even a weak one, and only if it is a
    strong validator.
    """
    if headers.get("Accept-Ranges", "").strip().lower() == "none":
        return None
    tag = headers.get("ETag")
    if tag is not None:
        return ("ETag", tag) if _STRONG.fullmatch(tag) else None
    modified, date = headers.get("Last-Modified"), headers.get("Date")
    then, now = _seconds(modified), _seconds(date)
    if modified is None or then is None or now is None or now - then < _SETTLED:
        return None
    return "Last-Modified", modified


def _seconds(date: str | None) -> float | None:
    try:
        parsed = None if date is None else email.utils.parsedate_tz(date)
        return None if parsed is None else email.utils.mktime_tz(parsed)
    except (ValueError, OverflowError, TypeError, IndexError):
        return None


def length_of(headers: Mapping[str, str]) -> int | None:
    """The bytes of a body, if its head says; as they are on the wire, without any coding."""
    value = headers.get("Content-Length", "").strip()
    if is_coded(headers) or "Transfer-Encoding" in headers or not _NUMBER.fullmatch(value):
        return None
    return int(value)


def is_coded(headers: Mapping[str, str]) -> bool:
    """Whether a body is compressed, although we have asked for it as it is."""
    return headers.get("Content-Encoding", "identity").strip().lower() not in ("", "identity")


def content_range(headers: Mapping[str, str]) -> ContentRange | None:
    """The range that a 206 is of; None if it makes no sense."""
    found = _RANGE.fullmatch(headers.get("Content-Range", "").strip())
    if found is None:
        return None
    first, last = int(found[1]), int(found[2])
    total = None if found[3] == "*" else int(found[3])
    if first > last or (total is not None and last >= total):
        return None
    return ContentRange(first, last, total)


def total_of(headers: Mapping[str, str]) -> int | None:
    """The length that a 416 says the whole has."""
    found = _UNSATISFIED.fullmatch(headers.get("Content-Range", "").strip())
    return None if found is None else int(found[1])


def continues(record: Record, offset: int, headers: Mapping[str, str]) -> bool:
    """Whether a 206 goes on exactly where a part ends, with the bytes of the same whole."""
    found = content_range(headers)
    if found is None or found.first != offset or is_coded(headers):
        return False
    if record.length is not None and found.total not in (record.length, None):
        return False
    return is_same(record, headers, strict=record.header == "ETag")


def is_same(record: Record, headers: Mapping[str, str], *, strict: bool) -> bool:
    """Whether an answer has a record's validator.

    Args:
        record: of the part.
        headers: of the answer.
        strict: whether it has to say so. A 206 has to repeat an ETag (RFC 9110 section 15.3.7),
            so that one without comes from a server that has not looked at If-Range; a date need
            not be repeated.
    """
    value = headers.get(record.header)
    return value == record.validator if value is not None else not strict


class Part:
    """The file a download is written to until it is whole.

    It is open only while a body is being read, and locked then. Nothing that stands in its place
    and is no file of its own (a symbolic link, a hard link to somebody's file, a pipe) is ever
    written to.

    Args:
        directory: where.
        name: of the file it is to become.
        opener: opens files, as `os.open`.

    Attributes:
        path: where it is.
    """

    def __init__(self, directory: str, name: str, opener: Callable[..., int] = os.open) -> None:
        self.path = os.path.join(directory, name + ".part")
        self._record_path = self.path + ".json"
        self._open = opener
        self._descriptor = -1
        #: Whether it was ever ours to write to.
        self._is_ours = False

    def __repr__(self) -> str:
        return f"<Part {self.path} {'open' if self._descriptor >= 0 else 'closed'}>"

    def peek(self, url: str) -> tuple[Record | None, int]:
        """What is stored beside it and how many bytes there are, if it is of that URL."""
        record = self._read_record()
        size = self._size()
        if record is None or record.url != url or not size:
            return None, 0
        if record.length is not None and size >= record.length:
            # All is there. The last byte is asked for, so that the server says it is the same.
            size = record.length - 1
        return (record, size) if size > 0 else (None, 0)

    def open(self, offset: int) -> bool:
        """Open it, to go on at an offset; False if not so much is there.

        Raises:
            OSError: it cannot be opened or is in use.
        """
        self._take()
        try:
            if os.fstat(self._descriptor).st_size < offset:
                self.close()
                return False
            if not offset:
                self._forget_record()
            os.ftruncate(self._descriptor, offset)
            os.lseek(self._descriptor, offset, os.SEEK_SET)
        except BaseException:
            self.close()
            raise
        return True

    def _take(self) -> None:
        """Open and lock what is there, and is still there then.

        Between the two another process may have given it its name, or removed it.

        Raises:
            OSError: it cannot be opened or is in use.
        """
        self._is_ours = False
        for _ in range(_TRIES):
            try:
                self._descriptor = self._opened()
            except FileExistsError:  # somebody else has just made it
                continue
            try:
                _lock(self._descriptor)
                # (What an opener has found elsewhere has no name to lose.)
                is_file = stat.S_ISREG(os.fstat(self._descriptor).st_mode)
                self._is_ours = not is_file or self._is_there()
            finally:
                if not self._is_ours:
                    self.close()
            if self._is_ours:
                return
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN), self.path)

    def _is_there(self) -> bool:
        """Whether what is open is what has the part's name."""
        mine = os.fstat(self._descriptor)
        try:
            there = os.lstat(self.path)
        except FileNotFoundError:
            return False
        return (mine.st_dev, mine.st_ino) == (there.st_dev, there.st_ino)

    def _opened(self) -> int:
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | getattr(os, "O_NOFOLLOW", 0)
        if not self._is_own():
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self.path)
            flags |= os.O_EXCL
        return self._open(self.path, flags, 0o666)

    def _is_own(self) -> bool:
        """Whether a plain file is there which has no other name."""
        try:
            found = os.lstat(self.path)
        except FileNotFoundError:
            return False
        return stat.S_ISREG(found.st_mode) and found.st_nlink == 1

    def _size(self) -> int:
        try:
            return os.lstat(self.path).st_size if self._is_own() else 0
        except OSError:
            return 0

    def remember(self, record: Record) -> None:
        """Store what is needed to go on with it.

        Raises:
            OSError: that is not possible.
        """
        new = self._record_path + "~"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | getattr(os, "O_NOFOLLOW", 0)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(new)
        # The URL may be a secret of its own: for the owner's eyes.
        descriptor = os.open(new, flags, 0o600)
        try:
            try:
                write_all(descriptor, json.dumps(asdict(record)).encode())
            finally:
                os.close(descriptor)
            os.replace(new, self._record_path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(new)
            raise

    def _read_record(self) -> Record | None:
        flags = os.O_RDONLY | os.O_CLOEXEC | getattr(os, "O_NOFOLLOW", 0)
        try:
            if not stat.S_ISREG(os.lstat(self._record_path).st_mode):
                return None
            descriptor = os.open(self._record_path, flags)
            try:
                stored = json.loads(os.read(descriptor, _LONGEST_RECORD))
            finally:
                os.close(descriptor)
            return _checked(Record(**stored))
        except (OSError, ValueError, TypeError, RecursionError):
            return None

    def _forget_record(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._record_path)

    def write(self, data: bytes) -> None:
        """Append.

        Raises:
            OSError: the disk is full, for example.
        """
        write_all(self._descriptor, data)

    def hash(self, hasher: Any, size: int) -> None:
        """Feed its first bytes to a hash. It is open; its place to go on stays."""
        descriptor = self._descriptor
        at = 0
        while at < size:
            data = os.pread(descriptor, min(_STEP, size - at), at)
            if not data:
                break
            hasher.update(data)
            at += len(data)
            gevent.sleep(0)

    def close(self) -> None:
        """Close; what is there stays. Idempotent."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def become(self, path: str) -> None:
        """It is whole: give it its name.

        Raises:
            OSError: that is not possible, or it is not the file any more that was written to.
        """
        if not self._is_there():
            msg = f"somebody has replaced or removed {self.path}"
            raise FileExistsError(msg)
        os.replace(self.path, path)
        self._forget_record()

    def remove(self) -> None:
        """Leave nothing behind of what was written, as far as that is possible.

        What another process has taken since is left to it.
        """
        if not self._is_ours:
            return
        with contextlib.suppress(OSError):
            if self._descriptor < 0 and fcntl is not None:
                self._take()
            for each in (self._record_path, self.path):
                with contextlib.suppress(OSError):
                    os.unlink(each)
        self._is_ours = False
        self.close()


def _checked(record: Record) -> Record | None:
    """A record, if it is one: the file may be anybody's."""
    texts = (record.url, record.header, record.validator, record.name)
    length = record.length
    if not all(type(each) is str for each in texts):
        return None
    if length is not None and (type(length) is not int or length < 0):
        return None
    if record.header == "ETag":
        return record if _STRONG.fullmatch(record.validator) else None
    is_date = record.header == "Last-Modified" and _seconds(record.validator) is not None
    is_plain = record.validator.isascii() and record.validator.isprintable()
    return record if is_date and is_plain else None


def _lock(descriptor: int) -> None:
    """Keep others off, where that is possible.

    Raises:
        BlockingIOError: another process writes there.
    """
    if fcntl is None:
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except OSError:
        return  # some file systems know no locks


def write_all(descriptor: int, data: bytes) -> None:
    """Write, all of it."""
    count = os.write(descriptor, data)
    if count == len(data):
        return
    view = memoryview(data)
    while count < len(view):
        count += os.write(descriptor, view[count:])


def hash_file(path: str) -> str:
    """The SHA-256 of a file in hexadecimal digits. Others have their turn meanwhile.

    Raises:
        OSError: it cannot be read.
    """
    hasher = hashlib.sha256()
    with open(path, "rb", buffering=0) as file:
        while data := file.read(_STEP):
            hasher.update(data)
            gevent.sleep(0)
    return hasher.hexdigest()
