"""Bodies that come into being while they are sent: files, iterators, whatever Requests takes.

The user's object is read in a greenlet of its own, in a copy of the caller's `contextvars`, by
urllib3's own `body_to_chunks`, no faster than the socket takes it. What goes over the wire is what
urllib3 and http.client would send. Knows urllib3's rules and the engine's `Body`; nothing of
sessions, redirects or outcomes.
"""

from __future__ import annotations

import contextvars
import io
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final

import gevent
from urllib3.util.request import body_to_chunks, set_file_position

from ._engine import Body

if TYPE_CHECKING:
    from collections.abc import Iterator

    from requests import PreparedRequest

    from ._engine import Upload

#: What urllib3 reads from a file at once: each read is a chunk, if the length is not known.
BLOCK: Final = 16384
#: Bytes up to which head and body go out together: one packet less for small ones, and no copy of
#: large ones.
SMALL: Final = 16384
#: Items of this size are not copied to be framed.
_LARGE: Final = 65536


class Source(Body):
    """The body of one prepared request. `rewind` comes before each attempt to send it."""

    __slots__ = (
        "_chunks",
        "_context",
        "_greenlet",
        "_method",
        "_position",
        "_promised",
        "_sent",
        "_source",
    )

    def __init__(self, request: PreparedRequest, *, expects: bool = False) -> None:
        super().__init__(None, expects=expects)
        self._source: Any = request.body
        self._method: str = request.method  # type: ignore[assignment]
        self._promised: Any = request.headers.get("Content-Length")
        self._position: Any = None
        self._chunks: Iterator[Any] = iter(())
        self._sent = 0
        self._context = contextvars.copy_context()
        self._greenlet: gevent.Greenlet[..., None] | None = None

    def rewind(self) -> None:
        """Go to where the first attempt began. Runs the user's code.

        Raises:
            urllib3.exceptions.UnrewindableBodyError: it cannot be done.
            Exception: whatever the user's object raises.
        """
        self._position = set_file_position(self._source, self._position)
        self._chunks = iter(body_to_chunks(self._source, self._method, BLOCK).chunks or ())
        self._sent = 0

    def begin(self, upload: Upload) -> None:
        self._greenlet = greenlet = gevent.Greenlet(self._send, upload)
        greenlet.gr_context = self._context.copy()
        greenlet.start()

    def cancel(self) -> None:
        greenlet, self._greenlet = self._greenlet, None
        if greenlet is not None and greenlet is not gevent.getcurrent():
            greenlet.kill(block=False)

    def _send(self, upload: Upload) -> None:
        try:
            for item in self._chunks:
                # As urllib3: an empty chunk would be the last one.
                if item and not self._write(upload, item):
                    return
            if self._promised is None:
                upload.write(b"0\r\n\r\n")
            upload.finish(reusable=self._promised in (None, str(self._sent)))
        except BaseException as error:  # noqa: BLE001 - it is the outcome, unless it is `cancel`
            upload.fail(error)
        finally:
            self._chunks = iter(())

    def _write(self, upload: Upload, item: Any) -> bool:
        """Frame and send what came out of the iterator; False if no more is wanted."""
        if isinstance(item, str):
            item = item.encode("utf-8")
        if self._promised is not None:
            return all(self._write_plain(upload, piece) for piece in _pieces(item))
        if type(item) is bytes and len(item) > _LARGE:
            return (
                upload.write(b"%x\r\n" % len(item)) and upload.write(item) and upload.write(b"\r\n")
            )
        return upload.write(b"%x\r\n%b\r\n" % (len(item), item))

    def _write_plain(self, upload: Upload, data: Any) -> bool:
        try:
            self._sent += memoryview(data).nbytes
        except TypeError:
            msg = f"a bytes-like object is required, not {type(data).__name__!r}"  # the socket's
            raise TypeError(msg) from None
        return upload.write(data)


def _pieces(item: Any) -> Iterator[Any]:
    """What http.client makes of something to be sent as it is."""
    if hasattr(item, "read"):
        encode = isinstance(item, io.TextIOBase)
        while block := item.read(BLOCK):
            yield block.encode("iso-8859-1") if encode else block
        return
    try:
        memoryview(item)
    except TypeError:
        if not isinstance(item, Iterable):
            msg = f"data should be a bytes-like object or an iterable, got {type(item)!r}"
            raise TypeError(msg) from None
        yield from item
    else:
        yield item


__all__ = ["BLOCK", "SMALL", "Source"]
