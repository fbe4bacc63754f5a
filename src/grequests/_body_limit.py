"""A bound on the bodies that urllib3 reads, for whatever reads them in a context.

In `with body_limit(n):` each response that is *bounded* fails with `BodyTooLargeError`, and closes
its connection, once more than n decoded bytes were read; outside it reads as ever, so that a
streamed response is its reader's own business. What promises more, by its length or by that of a
chunk, is refused at the first read. It is its class that bounds a response: a subclass of what it
was, which prints alike. Nothing holds more than n bytes and one read, whatever a coding makes of
its input:

* urllib3's decoders stop at a length, and are asked for no more than may come;
* what stands between two codings (`gzip, gzip`) is bounded as well, else a megabyte might stand for
  a gigabyte that comes to nothing but takes its time;
* Brotli before 1.2 cannot stop either, and a few bytes may stand for its longest block: 16 MB more
  than n are there for a moment. Windows are as large as a coding allows: 16 MB (br), 128 MB (zstd).

It may not know: pools, sessions, Requests, the engine.
"""

from __future__ import annotations

import contextlib
from contextvars import ContextVar
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from urllib3.response import ContentDecoder, HTTPResponse

from ._exceptions import BodyTooLargeError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["body_limit", "bound", "current_limit", "is_limited", "raw_limit"]

#: What a decoder that cannot stop is given at once, in bytes: a block of Brotli takes some 12.
_BROTLI_SIP: Final = 8

_limit: ContextVar[int | None] = ContextVar("grequests_limit_body", default=None)


@contextlib.contextmanager
def body_limit(limit: int | None) -> Iterator[None]:
    """Bound what is read meanwhile, in this context, to so many bytes for each body.

    Args:
        limit: bytes, decoded; None for any number.
    """
    token = _limit.set(limit)
    try:
        yield
    finally:
        _limit.reset(token)


def is_limited() -> bool:
    """Whether there is a bound in this context."""
    return _limit.get() is not None


def current_limit() -> int | None:
    """Bytes that a body may have in this context; None for any number."""
    return _limit.get()


def raw_limit(limit: int) -> int:
    """How long a body may be with its content codings on, if it may be so long without.

    What cannot be made smaller grows: by 5 bytes for each 16 KiB or so in deflate, and by a frame.
    """
    return limit + limit // 64 + 1024


def bound(response: Any) -> None:
    """Have a response of urllib3's keep to the bound of whoever reads it.

    Others, such as recorders', are left alone: theirs are here already.
    """
    cls = type(response)
    if issubclass(cls, HTTPResponse) and not issubclass(cls, _Bounded):
        response.__class__ = _bounded_class(cls)


@cache
def _bounded_class(cls: Any) -> Any:
    names = {"__module__": cls.__module__, "__qualname__": cls.__qualname__, "__doc__": cls.__doc__}
    return type(cls.__name__, (_Bounded, cls), names)


class _Bounded:
    """What a bounded response adds to its class: its ways to bytes are narrower."""

    #: Bytes that came so far, content codings on them.
    _grequests_read = 0

    def _init_decoder(self: Any) -> None:
        super()._init_decoder()  # type: ignore[misc]
        self._decoder = _bounded_decoder(self._decoder)

    def _decode(self: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            return super()._decode(*args, **kwargs)  # type: ignore[misc]
        except BodyTooLargeError:
            with self._error_catcher():  # which closes the connection
                raise

    # The two ways to bytes: with a length or none, and by chunks. Both run in `_error_catcher`.

    def _fp_read(self: Any, amt: int | None = None, **kwargs: Any) -> Any:
        read = super()._fp_read  # type: ignore[misc]
        left = self._left()
        if left is None:
            return self._count(read(amt, **kwargs))
        if (self.length_remaining or 0) > left:
            _refuse()
        if amt is None and not kwargs.get("read1"):
            data = read(left + 1)
            if len(data) <= left:
                data += read()  # nothing, or it says what is missing
        else:
            data = read(None if amt is None else min(amt, left + 1), **kwargs)
        if len(data) > left:
            _refuse()
        return self._count(data)

    def _handle_chunk(self: Any, amt: int | None) -> Any:
        left = self._left()
        if left is not None and self.chunk_left > left:
            _refuse()
        return self._count(super()._handle_chunk(amt))  # type: ignore[misc]

    def _left(self: Any) -> Any:
        """How much more of the body as it comes may be read; None for any amount."""
        limit = _limit.get()
        if limit is None:
            return None
        self._init_decoder()
        allowed = limit if self._decoder is None else raw_limit(limit)
        return max(allowed - self._grequests_read, 0)

    def _count(self, data: bytes) -> bytes:
        self._grequests_read += len(data)
        return data


def _refuse() -> None:
    limit = _limit.get()
    assert limit is not None
    raise BodyTooLargeError(limit)


class _BoundedDecoder(ContentDecoder):
    """A decoder that is asked for no more than may come.

    Args:
        decoder: of urllib3's.
        is_last: whether what it gives is the body; else another coding is on it.
    """

    def __init__(self, decoder: Any, *, is_last: bool) -> None:
        self._decoder = decoder
        self._is_last = is_last
        self._sip = _sip_of(decoder)
        self._made = 0

    def decompress(self, data: bytes, max_length: int = -1) -> bytes:
        """As the decoder does it, up to a length if it is not negative."""
        limit = _limit.get()
        if limit is None:
            return self._count(self._decompress(data, max_length))
        left = (limit if self._is_last else raw_limit(limit)) - self._made
        if self._sip:
            made = self._by_sips(data, left)
        else:
            made = self._decompress(data, left + 1 if max_length < 0 else min(max_length, left + 1))
        if len(made) > left:
            raise BodyTooLargeError(limit)
        return self._count(made)

    @property
    def has_unconsumed_tail(self) -> bool:
        """Whether there is more to come without more input."""
        return bool(getattr(self._decoder, "has_unconsumed_tail", False))

    def flush(self) -> bytes:
        """What is left, which is nothing once `decompress` has nothing more to give."""
        made: bytes = self._decoder.flush()
        return self._count(made)

    def _decompress(self, data: bytes, max_length: int) -> bytes:
        made: bytes = self._decoder.decompress(data, max_length=max_length)
        return made

    def _by_sips(self, data: bytes, left: int) -> bytes:
        made = bytearray()
        for start in range(0, len(data) or 1, self._sip):
            made += self._decoder.decompress(data[start : start + self._sip])
            if len(made) > left:
                break
        return bytes(made)

    def _count(self, made: bytes) -> bytes:
        self._made += len(made)
        return made


def _sip_of(decoder: Any) -> int:
    """How much a decoder is to be given at once; 0 for any amount, as it can be told to stop."""
    cls: Any = type(decoder)
    if cls.__name__ == "BrotliDecoder":
        return 0 if _can_stop(cls) else _BROTLI_SIP
    return 0


@cache
def _can_stop(cls: Any) -> bool:
    """Whether the package for Brotli, of which there are three, knows a bound (from 1.2 on)."""
    inner = cls()._obj
    decompress = getattr(inner, "decompress", None) or inner.process
    try:
        decompress(b"", output_buffer_limit=1)
    except TypeError:
        return False
    return True


def _bounded_decoder(decoder: Any) -> Any:
    """A decoder, or each of a chain of them, bounded; once is enough."""
    links = getattr(decoder, "_decoders", None)
    if links is not None:
        # As they were put on: the first is the last to be taken off.
        decoder._decoders = [
            _bounded_link(each, is_last=not number) for number, each in enumerate(links)
        ]
        return decoder
    return decoder and _bounded_link(decoder, is_last=True)


def _bounded_link(decoder: Any, *, is_last: bool) -> _BoundedDecoder:
    if type(decoder) is _BoundedDecoder:
        return decoder
    return _BoundedDecoder(decoder, is_last=is_last)
