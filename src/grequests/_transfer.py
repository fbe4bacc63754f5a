"""One download: asks for a file, writes it as it comes, goes on where it broke, gives it its name.

A `Transfer` runs in a greenlet of its own. What all transfers of a call share is a `Shared`. It may
not know: which other downloads there are, who reads the results.
"""

from __future__ import annotations

import hashlib
import os
import stat
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import gevent
import requests
from gevent.event import Event

from ._asking import asking, bare_url, refuse_ranges
from ._download_errors import ChecksumError, LengthError, RangeError
from ._filenames import name_from_disposition, name_from_url, safe_name
from ._partial import (
    Part,
    Record,
    content_range,
    continues,
    hash_file,
    is_coded,
    is_same,
    length_of,
    total_of,
    validator_of,
)
from ._pieces import Broken, drain, pieces
from ._retry import judge

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._asyncrequest import AsyncRequest
    from ._future import Future
    from ._orders import Order, Shared
    from ._results import Attempt

#: Bytes after which others have their turn, if the network never makes this one wait.
_TURN: Final = 1 << 20
#: What carries a file. 203 is what a proxy has changed.
_WHOLE: Final = frozenset({200, 203})
_PARTIAL: Final = 206
_UNSATISFIABLE: Final = 416


class _StartOver(Exception):  # noqa: N818 - never seen outside
    """What is there is of no use: ask for all of it."""


class Transfer:
    """One download.

    Attributes:
        order: what is asked for.
        path: where the file is, once it is whole.
        attempts: of sending its requests.
        resumed_from: bytes that were there before.
        offset: bytes that are there.
        length: bytes of the whole, if that is known.
        skipped: whether the file was there.
        digest: the file's SHA-256, if that was asked for.
        sent: whether anything was sent.
        greenlet: that runs it.
        has_begun: whether that has begun.
        is_new: whether it has neither asked for a slot yet nor ended.
    """

    greenlet: Any = None
    has_begun = False
    is_new = True

    def __init__(self, order: Order, shared: Shared, on_asked: Callable[[Transfer], None]) -> None:
        self.order = order
        self.path: str | None = None
        self.attempts: tuple[Attempt, ...] = ()
        self.resumed_from = 0
        self.offset = 0
        self.length: int | None = None
        self.skipped = False
        self.digest: str | None = None
        self._shared = shared
        self._on_asked = on_asked
        self._name = ""
        self._final: str | None = None
        self._url = ""
        self._part: Part | None = None
        self._record: Record | None = None
        self._hasher: Any = None
        self._future: Future | None = None
        self._begun: float | None = None
        self._may_range = True

    def __repr__(self) -> str:
        return f"<Transfer {self.order.index} {self.order.request.url} {self.offset}/{self.length}>"

    @property
    def sent(self) -> bool:
        """Whether anything was sent."""
        return self._future is not None

    @property
    def missing(self) -> int:
        """Bytes that are still to come, as far as that is known."""
        return 0 if self.length is None else max(self.length - self.offset, 0)

    def run(self) -> BaseException | None:
        """Do it.

        Returns:
            What its last request has failed with, or None. It is not raised: its traceback would
            know the frames that know it.

        Raises:
            Exception: what else has gone wrong.
        """
        order, shared = self.order, self._shared
        refuse_ranges(order.request)
        given = order.name
        self._name = shared.reserve(
            safe_name(name_from_url(str(order.request.url)) if given is None else given)
        )
        if given is not None:
            self._final = self._name
        if self._is_there(self._name):
            return None
        self._part = part = Part(shared.directory, self._name, shared.opener)
        self._url = bare_url(order.request)
        if shared.resume and self._method == "GET":
            self._record, self.offset = part.peek(self._url)
            self.resumed_from = self.offset
        is_whole = False
        try:
            error = self._fetch()
            is_whole = error is None
        finally:
            part.close()
            if not is_whole:
                self.forsake()
        return error

    def forsake(self) -> None:
        """It will not be whole: keep what can be gone on with, and nothing else."""
        if self._part is None or self.path is not None:
            return
        if self._record is None:
            self.offset = 0
        if not self.offset:
            self._part.remove()

    # What is asked for

    @property
    def _method(self) -> str:
        return str(self.order.request.method).upper()

    def _is_there(self, name: str) -> bool:
        """Whether the file need not be fetched; then this download has ended.

        Raises:
            ChecksumError: it is there, but not what was asked for.
            FileExistsError: something else has its name.
        """
        shared, order = self._shared, self.order
        path = os.path.join(shared.directory, name)
        try:
            found = os.stat(path)
        except FileNotFoundError:
            return False
        if not stat.S_ISREG(found.st_mode):
            msg = f"{path} is no file"
            raise FileExistsError(msg)
        if shared.overwrite:
            return False
        if order.sha256:
            self.digest = hash_file(path)
            self._check_digest(path)
        self.skipped = True
        self.offset = self.length = found.st_size
        self.path = path
        return True

    def _asking(self) -> AsyncRequest:
        return asking(self.order.request, self._record if self.offset else None, self.offset)

    # Attempts

    def _fetch(self) -> BaseException | None:
        while True:
            broken: Exception | None = None
            try:
                return self._attempt()
            except _StartOver:
                self._record, self.offset, self.resumed_from = None, 0, 0
            except Broken as failure:
                broken = failure.error
            if broken is not None:
                delay = self._delay_after(broken)
                if delay is None:
                    return broken
                self._wait(delay)

    def _attempt(self) -> BaseException | None:
        shared = self._shared
        flow = shared.flow
        assert self._part is not None
        self._future = future = flow.send(self._asking(), self.attempts, self._begun)
        self._on_asked(self)
        try:
            result = future.result()
            self.attempts = result.attempts
            if self._begun is None and future._task is not None:
                self._begun = future._task.begun
            if result.response is not None:
                self._take(result.response)
        finally:
            self._part.close()
            flow.give_back(future)
        return result.error

    def _delay_after(self, error: Exception) -> float | None:
        """Seconds until the next attempt; None if there is none."""
        core = self._shared.core
        last = self.attempts[-1]
        verdict = None
        if core.retry is not None:
            random = core.random.random
            verdict = judge(
                core.retry,
                last.number,
                self._method,
                error=error,
                status=None,
                after=None,
                random=random,
            )
        delay = None if verdict is None else verdict.delay
        why = None if verdict is None else verdict.why
        if delay is not None and not core.budget.has_any(core.counters.pulled):
            delay, why = None, f"{why}: the retry budget is spent"
        task = self._future._task if self._future is not None else None
        seconds = last.seconds if task is None else core.clock.now() - task.started
        last = replace(last, error=error, seconds=seconds, retried=why)
        self.attempts = (*self.attempts[:-1], last)
        if delay is None:
            return None
        core.budget.spend()
        core.counters.retries += 1
        if task is not None and core.listens:
            core.on_retried(task, last, delay)
        if self._record is None:
            self.offset = self.resumed_from = 0
        return delay

    def _wait(self, seconds: float) -> None:
        due = Event()
        timer = self._shared.core.clock.call_later(seconds, due.set)
        try:
            due.wait()
        finally:
            timer.close()

    # Answers

    def _take(self, response: requests.Response) -> None:
        """Make a file of an answer, if it is one."""
        assert self._part is not None
        headers, record = response.headers, self._record
        asked = bool(self.offset and record is not None)
        if response.status_code == _PARTIAL:
            self._check_range(response)
        elif asked and response.status_code == _UNSATISFIABLE:
            self._take_unsatisfied(response)
            return
        elif response.status_code in _WHOLE:
            # Whatever is there is of something else, or the server knows no ranges.
            self._record, self.offset, self.resumed_from = None, 0, 0
            self.length = length_of(headers)
        else:
            drain(response)
            response.raise_for_status()
            msg = f"{response.status_code} {response.reason} is no file, for url: {response.url}"
            raise requests.HTTPError(msg, response=response)
        if self._is_named_and_there(response):
            return
        if not self._part.open(self.offset):
            raise _StartOver
        self._start_hash()
        if not self.offset:
            self._remember(response)
        self._read(response)
        self._finish()

    def _check_range(self, response: requests.Response) -> None:
        """See whether a 206 goes on where the part ends."""
        headers, record = response.headers, self._record
        if record is None or not self.offset:
            raise RangeError(headers.get("Content-Range"))
        if not continues(record, self.offset, headers):
            raise _StartOver
        found = content_range(headers)
        self.length = found.total if found is not None and found.total else record.length

    def _take_unsatisfied(self, response: requests.Response) -> None:
        """There is nothing behind what we have: that is all of it, or it is of something else."""
        record, total = self._record, total_of(response.headers)
        assert record is not None
        assert self._part is not None
        same = is_same(record, response.headers, strict=False)
        if not same or total != self.offset or record.length not in (None, total):
            raise _StartOver
        if not self._part.open(self.offset):
            raise _StartOver
        self.length = total
        self._final = self._final or self._shared.reserve_instead(
            self._name, safe_name(record.name)
        )
        self._start_hash()
        self._finish()

    def _is_named_and_there(self, response: requests.Response) -> bool:
        """Find out how the file is called; whether such a one is there already."""
        if self._final is None:
            said = name_from_disposition(response.headers.get("Content-Disposition"))
            if said is None and self.offset and self._record is not None:
                said = self._record.name
            name = self._name if said is None else safe_name(said)
            self._final = self._shared.reserve_instead(self._name, name)
            if self._final != self._name:
                return self._is_there(self._final)
        return False

    def _remember(self, response: requests.Response) -> None:
        """Store what going on will take, if the answer allows it."""
        validator = validator_of(response.headers)
        if validator is None or is_coded(response.headers) or self._method != "GET":
            return
        assert self._part is not None
        assert self._final is not None
        record = Record(self._url, *validator, self.length, self._final)
        self._part.remember(record)
        self._record = record

    def _start_hash(self) -> None:
        assert self._part is not None
        if self.order.sha256:
            self._hasher = hashlib.sha256()
            self._part.hash(self._hasher, self.offset)

    def _read(self, response: requests.Response) -> None:
        shared, part, hasher = self._shared, self._part, self._hasher
        assert part is not None
        counters = shared.core.counters
        turn = 0
        for piece in pieces(response):
            size = len(piece)
            part.write(piece)
            if hasher is not None:
                hasher.update(piece)
            self.offset += size
            shared.received += size
            counters.receive(size)
            turn += size
            if turn >= _TURN:
                turn = 0
                gevent.sleep(0)
        length = self.length
        if length is not None and self.offset != length:
            error = LengthError(length, self.offset)
            if self.offset > length:
                self._record = None  # it is not to be believed
            raise Broken(error)

    def _finish(self) -> None:
        assert self._part is not None
        assert self._final is not None
        path = os.path.join(self._shared.directory, self._final)
        if self._hasher is not None:
            self.digest = self._hasher.hexdigest()
            try:
                self._check_digest(path)
            except ChecksumError:
                self._record = None  # going on with it would make it no better
                raise
        if not self._shared.overwrite and os.path.exists(path):
            msg = f"{path} was made by somebody else meanwhile"
            raise FileExistsError(msg)
        self._part.become(path)
        self.path = path

    def _check_digest(self, path: str) -> None:
        expected = self.order.sha256
        assert self.digest is not None
        if isinstance(expected, str) and self.digest != expected:
            raise ChecksumError(path, expected, self.digest)
