"""Bodies that urllib3 decodes as they are read: an end that comes too early is an error.

urllib3 gives what there is of gzip, deflate and Brotli, and says nothing; of zstd it says that
something is missing, if somebody reads on after the last byte. Whoever reads a stream, or has a
response hook, would take a part for the whole.

`_decode` does the same for bodies that are here. Knows urllib3's responses and decoders only.
"""

from __future__ import annotations

import zlib
from functools import partial
from typing import TYPE_CHECKING, Any, cast
from weakref import ref

from urllib3.exceptions import DecodeError
from urllib3.response import ContentDecoder, DeflateDecoder, GzipDecoder
from urllib3.util.response import is_fp_closed

from ._decode import CUT, GZIP, MEMBER, PIECE, is_unfinished

if TYPE_CHECKING:
    from urllib3 import HTTPResponse

__all__ = ["expect_whole"]


def expect_whole(raw: HTTPResponse) -> None:
    """Have a response fail to be decoded where its body ends before its content codings do.

    To be called before anything is read. Who reads it without decoding is told nothing.
    """
    if "content-encoding" not in raw.headers:
        return
    # Bound on the object itself, whose type stays what it was.
    state, some = _State(raw), cast("Any", raw)
    for method in (_init_decoder, _raw_read, _decode, _flush_decoder):
        setattr(some, method.__name__, partial(method, state))


class _State:
    """What is known of a response.

    It is referred to weakly, or it would wait for the garbage collector, and its socket with it.

    Attributes:
        of: gives it.
        is_end: whether there is no more of the body.
        is_asked: whether `_decode` asks the decoder, which also flushes it when nothing came.
    """

    __slots__ = ("is_asked", "is_end", "of")

    def __init__(self, raw: HTTPResponse) -> None:
        self.of: Any = ref(raw)
        self.is_end = self.is_asked = False


def _init_decoder(state: _State) -> None:
    raw = state.of()
    type(raw)._init_decoder(raw)
    if raw._decoder is not None and type(raw._decoder) is not _Whole:
        raw._decoder = _Whole(raw._decoder, state)


# The end is there when nothing comes any more, or when its framing closes the file: not if somebody
# closes the response. Who reads chunks says it by flushing.


def _raw_read(state: _State, amt: int | None = None, *, read1: bool = False) -> Any:
    raw = state.of()
    was_open = raw._fp is not None and not is_fp_closed(raw._fp)
    data = type(raw)._raw_read(raw, amt, read1=read1)
    if was_open and (not data or (amt is None and not read1) or is_fp_closed(raw._fp)):
        state.is_end = amt != 0
        if not data:
            _look(state, raw)  # urllib3 need not ask the decoder any more
    return data


def _decode(state: _State, *args: Any, **kwargs: Any) -> Any:
    raw = state.of()
    state.is_asked = True
    try:
        made = type(raw)._decode(raw, *args, **kwargs)
    finally:
        state.is_asked = False
    _look(state, raw)
    return made


def _flush_decoder(state: _State) -> Any:
    raw = state.of()
    made = type(raw)._flush_decoder(raw)
    if not state.is_asked:
        state.is_end = True
        _look(state, raw)
    return made


def _look(state: _State, raw: Any) -> None:
    decoder = raw._decoder
    if not state.is_end or type(decoder) is not _Whole:
        return
    if decoder.is_cut and not decoder.has_unconsumed_tail:
        decoder.has_failed = True
        raw._has_decoded_content = False  # what is left may be read, as it came
        raise DecodeError(CUT)


class _Link(ContentDecoder):
    """A decoder that knows whether it was given anything.

    Args:
        decoder: of urllib3's, for one coding.
    """

    def __init__(self, decoder: Any) -> None:
        self._decoder = _Gunzip() if type(decoder) is GzipDecoder else decoder
        self._is_fed = False

    def decompress(self, data: bytes, max_length: int = -1) -> bytes:
        """As the decoder does it."""
        self._is_fed = self._is_fed or bool(data)
        decoder = self._decoder
        made: bytes = decoder.decompress(data, max_length=max_length)
        if not (made or data) and max_length and _has_pending(decoder):
            made = decoder._obj.decompress(b"", max(max_length, 0))
        return made

    @property
    def has_unconsumed_tail(self) -> bool:
        """Whether there is more to come without more input."""
        return bool(self._decoder.has_unconsumed_tail)

    def flush(self) -> bytes:
        """What is left."""
        made: bytes = self._decoder.flush()
        return made

    @property
    def is_cut(self) -> bool:
        """Whether it waits for more."""
        return self._is_fed and is_unfinished(self._decoder)


def _has_pending(decoder: Any) -> bool:
    """Whether a decoder does not ask for what zlib may still have: deflate need have no trailer."""
    return type(decoder) is DeflateDecoder and not decoder._obj.eof


class _Whole(ContentDecoder):
    """All that decodes a body, and whether it waits for more.

    Args:
        decoder: of urllib3's, for one coding or a chain of them.
        state: of the response.
    """

    def __init__(self, decoder: Any, state: _State) -> None:
        self._state = state
        chain = getattr(decoder, "_decoders", None)
        if chain is None:
            self._links = [_Link(decoder)]
            self._decoder: Any = self._links[0]
        else:
            self._links = decoder._decoders = [_Link(each) for each in chain]
            self._decoder = decoder
        #: Whether somebody was told already.
        self.has_failed = False
        #: Whether it gave as much as was asked for, so that there may be more.
        self._is_full = False

    def decompress(self, data: bytes, max_length: int = -1) -> bytes:
        """As the decoder does it."""
        try:
            made: bytes = self._decoder.decompress(data, max_length=max_length)
        except Exception:
            self.has_failed = True
            raise
        self._is_full = 0 < max_length <= len(made)
        return made

    @property
    def has_unconsumed_tail(self) -> bool:
        """Whether there may be more to come without more input."""
        if self._decoder.has_unconsumed_tail:
            return True
        return self._state.is_end and self._is_full and self.is_cut

    def flush(self) -> bytes:
        """What is left."""
        made: bytes = self._decoder.flush()
        return made

    @property
    def is_cut(self) -> bool:
        """Whether one of them waits for more."""
        return not self.has_failed and any(each.is_cut for each in self._links)


class _Gunzip(ContentDecoder):
    """The members of a gzip stream as they come (RFC 1952 section 2.2).

    What follows a member and does not begin as one is dropped, as everybody does; urllib3's decoder
    does not tell it from a member that has just begun.
    """

    def __init__(self) -> None:
        self._obj = zlib.decompressobj(GZIP)
        self._is_over = False
        #: What was not looked at yet: more than was asked for, or too little to tell a member by.
        self._rest = b""

    def decompress(self, data: bytes, max_length: int = -1) -> bytes:
        """What comes next, so many bytes at most unless that is negative.

        Raises:
            zlib.error: a member is broken.
        """
        made = bytearray()
        data, self._rest = self._rest + data, b""
        start = 0
        while not self._is_over:
            if 0 <= max_length <= len(made):
                break
            if self._obj.eof and not self._begin(data[start : start + len(MEMBER)]):
                break
            # By pieces: zlib copies what follows a member, however much that is.
            piece = data[start : start + PIECE]
            made += self._obj.decompress(piece, max(max_length - len(made), 0))
            start += len(piece) - len(self._obj.unconsumed_tail or self._obj.unused_data)
            if start == len(data):
                break
        if not self._is_over:
            self._rest = data[start:]
        return bytes(made)

    def _begin(self, first: bytes) -> bool:
        """Whether another member begins with these bytes, as many as it is known by."""
        if first == MEMBER:
            self._obj = zlib.decompressobj(GZIP)
            return True
        self._is_over = not MEMBER.startswith(first)
        return False

    @property
    def has_unconsumed_tail(self) -> bool:
        """Whether there is more to come without more input."""
        return bool(self._rest) and not (self._obj.eof and MEMBER.startswith(self._rest))

    def flush(self) -> bytes:
        """Nothing: all there is was given."""
        return b""
