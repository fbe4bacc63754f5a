"""What `download` takes and gives: items, options, progress, outcomes; all of them values.

It may not know: how a file is fetched, greenlets.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sized
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Final, NoReturn

from ._asyncrequest import AsyncRequest
from ._checks import check_seconds
from ._exceptions import MissingExtraError, NotARequestError, PolicyError
from ._orders import Order
from ._safe_url import safe_text, safe_url

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._client import Core
    from ._results import Attempt

_SHA256: Final = re.compile(r"[0-9a-f]{64}", re.IGNORECASE | re.ASCII)
_WANTED: Final = "64 hexadecimal digits, or a mapping of URLs to such"
_MAPPING: Final = "a mapping of URLs if there may be more than one file"


def _shown(item: Any) -> str:
    """As dataclasses are shown, without the secrets of URLs and of what errors say of them."""
    values = {each.name: getattr(item, each.name) for each in fields(item)}
    if isinstance(values["url"], (str, bytes)):
        values["url"] = safe_url(values["url"])
    shown = ", ".join(f"{name}={safe_text(repr(value))}" for name, value in values.items())
    return f"{type(item).__name__}({shown})"


@dataclass(frozen=True)
class DownloadItem:
    """A file to be downloaded.

    Args:
        url: where from; or an `AsyncRequest`.
        name: for the file, made safe; None for the one that the server says, or its URL.
        sha256: what its bytes have to be, in hexadecimal digits; True to be told what they are.

    Example:
        >>> grequests.DownloadItem("http://example.org/a.iso", name="b.iso")
        DownloadItem(url='http://example.org/a.iso', name='b.iso', sha256=None)
    """

    url: str | AsyncRequest
    name: str | None = None
    sha256: str | bool | None = None

    def __repr__(self) -> str:
        return _shown(self)


@dataclass(frozen=True)
class DownloadProgress:
    """How far the downloads of one call are.

    Attributes:
        done: files that have ended, failures included.
        failed: files that have failed.
        received: bytes that came.
        expected: the same, and those that are still to come of files that have begun, as far as
            their servers have said how long they are.
    """

    done: int
    failed: int
    received: int
    expected: int


@dataclass(frozen=True)
class Download:
    """What became of one file.

    Attributes:
        index: the item's position in the input, from 0.
        request: the `AsyncRequest`; what was given in its place, if that is none.
        url: where the file is from.
        path: where it is; None if it is not there.
        size: its bytes; of a failed one, those that can be gone on with.
        sha256: of its bytes, in hexadecimal digits, if it was asked for; else None.
        resumed_from: bytes that were there before, from a download that had not ended.
        skipped: whether the file was there already.
        attempts: each time a request for it was sent.
        error: why it is not there, or None.
    """

    index: int
    request: AsyncRequest
    url: str
    path: str | None
    size: int
    sha256: str | None
    resumed_from: int
    skipped: bool
    attempts: tuple[Attempt, ...]
    error: BaseException | None

    def __repr__(self) -> str:
        return _shown(self)

    @property
    def ok(self) -> bool:
        """Whether the file is there."""
        return self.error is None

    @property
    def tag(self) -> Any:
        """What the request was tagged with, or None."""
        return getattr(self.request, "tag", None)

    def unwrap(self) -> str:
        """Where the file is.

        Raises:
            BaseException: `error`, if it is not there.
        """
        if self.error is not None:
            raise self.error
        assert self.path is not None
        return self.path


class Choices:
    """What holds for one call, checked."""

    def __init__(  # noqa: PLR0913 - the public face's
        self,
        items: Any,
        directory: Any,
        *,
        sha256: Any = None,
        overwrite: bool = False,
        resume: bool = True,
        progress: Any = None,
        deadline: float | None = None,
        opener: Callable[..., int] = os.open,
    ) -> None:
        self.expected = len(items) if isinstance(items, Sized) else None
        self.directory = _directory(directory)
        self._sha256 = self._checked(sha256)
        self.overwrite = overwrite
        self.resume = resume
        check_seconds("deadline", deadline)
        self.deadline = deadline
        self.opener = opener
        self.report, self.report_end = _reporter(progress)

    def _checked(self, sha256: Any) -> Any:
        if isinstance(sha256, Mapping):
            return {url: _digest(value) for url, value in sha256.items()}
        if isinstance(sha256, str) and self.expected not in (1, None):
            _refuse("sha256", sha256, _MAPPING)
        return _digest(sha256)

    def order(self, core: Core, index: int, item: Any) -> Order:
        """What an item of the input asks for.

        Raises:
            NotARequestError: nothing.
            PolicyError: nonsense.
        """
        given, name, own = item, None, None
        if isinstance(item, DownloadItem):
            given, name, own = item.url, item.name, item.sha256
        elif isinstance(item, tuple) and len(item) == 2:  # noqa: PLR2004 - a pair
            given, name = item
        request = core.request_of(given) if isinstance(given, (str, AsyncRequest)) else None
        if request is None:
            raise NotARequestError(index, item)
        if name is not None and not isinstance(name, str):
            _refuse("name", name, "a str or None")
        return Order(index, request, name, self._sha256_of(index, request, own))

    def _sha256_of(self, index: int, request: AsyncRequest, own: Any) -> str | bool | None:
        if own is not None:
            return _digest(own)
        common = self._sha256
        if isinstance(common, dict):
            value: str | bool | None = common.get(request.url)
            return value
        if isinstance(common, str) and index:
            _refuse("sha256", common, _MAPPING)
        return common  # type: ignore[no-any-return]


def _refuse(name: str, value: Any, wanted: str) -> NoReturn:
    raise PolicyError(name, value, wanted)


def _directory(directory: Any) -> str:
    path = os.fspath(directory)
    if not isinstance(path, str) or not path:
        _refuse("directory", directory, "a path")
    return path


def _digest(value: Any) -> str | bool | None:
    if value is None or isinstance(value, bool):
        return value
    if not isinstance(value, str) or not _SHA256.fullmatch(value):
        _refuse("sha256", value, _WANTED)
    return value.lower()


def _nothing() -> None:
    """No bar that could be closed."""


def _reporter(progress: Any) -> tuple[Callable[[DownloadProgress], Any] | None, Callable[[], None]]:
    """Whom to tell of progress, and what to do at the end."""
    if progress is None or progress is False:
        return None, _nothing
    if progress is True:
        bar = _Bar()
        return bar.update, bar.close
    if not callable(progress):
        _refuse("progress", progress, "True, a function, or None")
    return progress, _nothing


class _Bar:
    """A tqdm bar in bytes."""

    def __init__(self) -> None:
        try:
            from tqdm.auto import tqdm  # noqa: PLC0415 - an extra: grequests[progress]
        except ImportError as error:
            msg = "progress=True"
            raise MissingExtraError(msg, "progress") from error
        self._make = tqdm
        self._bar: Any = None

    def update(self, progress: DownloadProgress) -> None:
        """Show it."""
        if self._bar is None:
            self._bar = self._make(unit="B", unit_scale=True, unit_divisor=1024)
        bar = self._bar
        bar.total = progress.expected or None
        bar.n = progress.received
        bar.set_postfix(done=progress.done, failed=progress.failed, refresh=False)
        bar.refresh()

    def close(self) -> None:
        """Leave it as it is."""
        if self._bar is not None:
            self._bar.close()


for _class in (Download, DownloadItem, DownloadProgress):
    _class.__module__ = "grequests"
