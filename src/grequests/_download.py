"""`download`: many files into a directory, one `Download` for each, whatever becomes of it.

The public face. It may not know: how a file is fetched and written (`_transfer`, `_partial`), how
many at once (`_downloading`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ._asyncrequest import AsyncRequest
from ._client import Client
from ._download_errors import ChecksumError, LengthError, RangeError
from ._download_items import Choices, Download, DownloadItem, DownloadProgress
from ._downloading import Downloading

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Generator, Iterable, Iterator, Mapping

    from typing_extensions import Self, Unpack

    from ._typing import ClientOptions


class Downloads:
    """The downloads of one call, in the making: an iterator over `Download` objects.

    Nothing is sent before the first one is asked for. Leaving the loop ends them all; what can be
    gone on with by another call stays in its `.part` file. If Ctrl-C ends it, a second loop over
    the same object gives what had ended by then and was not read.

    It is a context manager, which closes it.
    """

    def __init__(self, client: Client, items: Any, options: Choices, *, closes: bool) -> None:
        self._client = client
        self._items = items
        self._options = options
        self._closes = closes
        self._state: Downloading | None = None
        self._iterator: Any = None
        self._is_closed = False

    def __repr__(self) -> str:
        state = "closed" if self._is_closed else "unread" if self._state is None else "running"
        return f"<Downloads {state}>"

    def __iter__(self) -> Iterator[Download]:
        iterator = self._iterator
        if iterator is None and not self._is_closed:
            self._state = Downloading(self._client._bound(), self._items, self._options)
            # Nothing else may refer to it: who leaves the loop ends it.
            self._iterator = iterator = self._read(self._state)
        elif iterator is None or iterator.gi_frame is None:
            return iter(()) if self._state is None else self._state.rest()
        return iterator  # type: ignore[no-any-return]

    def _read(self, state: Downloading) -> Generator[Download, None, None]:
        client, closes = self._client, self._closes
        del self
        try:
            yield from state.read()
        finally:
            if closes:
                client.close()

    def __next__(self) -> Download:
        return next(iter(self))

    def close(self) -> None:
        """End them all now, and wait until their files are closed; what is unread is dropped."""
        self._is_closed = True
        if self._iterator is not None:
            self._iterator.close()
        if self._state is not None:
            self._state.join()
            self._state._finished.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def start(client: Client, items: Any, directory: Any, **options: Any) -> Downloads:
    """What `Client.download` does; arguments as of `download`."""
    client._check_open()
    return _start(client, items, directory, options, closes=False)


def _start(
    client: Client, items: Any, directory: Any, options: dict[str, Any], *, closes: bool
) -> Downloads:
    if isinstance(items, (str, AsyncRequest, DownloadItem)):
        items = [items]
    return Downloads(client, items, Choices(items, directory, **options), closes=closes)


def download(  # noqa: PLR0913 - what it is about, by name
    items: Iterable[Any] | str | AsyncRequest | DownloadItem,
    directory: str | os.PathLike[str],
    *,
    sha256: str | bool | Mapping[str, str] | None = None,
    overwrite: bool = False,
    resume: bool = True,
    progress: bool | Callable[[DownloadProgress], Any] | None = None,
    deadline: float | None = None,
    **options: Unpack[ClientOptions],
) -> Downloads:
    """Download files into a directory, and give a `Download` for each.

    A file is written as ``<name>.part`` and has its name only when it is whole. What breaks is gone
    on with, now or by another call, where the server proves that it is still the same file.

    Args:
        items: URLs, `AsyncRequest` objects, pairs of one of these and a name, or `DownloadItem`
            objects; or a single one of these that is no pair. Pulled lazily.
        directory: where to; made if it is not there.
        sha256: what a single file has to be, in hexadecimal digits; a mapping of URLs to such; True
            to be told what they are.
        overwrite: whether files that are there are replaced; else they are skipped.
        resume: whether to go on with what another call has left.
        progress: True for a bar (``pip install 'grequests[progress]'``), or a callable that gets
            `DownloadProgress`.
        deadline: seconds after which all that have not ended do with `DeadlineError`.
        **options: arguments of `Client`.

    Returns:
        An iterator over `Download` objects, as they end.

    Raises:
        PolicyError: an option makes no sense.
        MissingExtraError: ``progress=True`` without tqdm.
        OSError: the directory cannot be made; from the iterator.

    Example:
        >>> urls = ["http://example.org/a.pdf"]
        >>> for each in grequests.download(urls, "papers"):  # doctest: +SKIP
        ...     print(each.path or each.error)
        papers/a.pdf
    """
    chosen = {
        "sha256": sha256,
        "overwrite": overwrite,
        "resume": resume,
        "progress": progress,
        "deadline": deadline,
    }
    return _start(Client(**options), items, directory, chosen, closes=True)


__all__ = [
    "ChecksumError",
    "Download",
    "DownloadItem",
    "DownloadProgress",
    "Downloads",
    "LengthError",
    "RangeError",
    "download",
    "start",
]

Downloads.__module__ = "grequests"
