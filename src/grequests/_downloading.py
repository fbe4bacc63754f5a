"""The downloads of one call, under way: who pulls items, runs transfers, hands over outcomes.

Items are pulled while the client has slots to give; each has a greenlet that runs its transfer.
It may not know: how a file is fetched and written (`_transfer`), how requests are scheduled.
"""

from __future__ import annotations

import contextvars
import logging
import os
import sys
from collections import deque
from collections.abc import Generator
from typing import TYPE_CHECKING, Any, Final

import gevent
from gevent.hub import Waiter

from ._download_items import Download, DownloadProgress
from ._exceptions import DeadlineError, NotARequestError, PolicyError, RequestCancelledError
from ._feed import Feed
from ._heads import HeadFlow
from ._orders import Shared
from ._signals import heard, struck
from ._transfer import Transfer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from ._client import Core
    from ._download_items import Choices

#: Seconds between two reports of progress.
_PROGRESS: Final = 0.1


class Downloading:
    """One call of `download`, under way."""

    def __init__(self, core: Core, items: Iterable[Any], options: Choices) -> None:
        self._core = core
        self._items = items
        self._options = options
        self._hub: Any = gevent.get_hub()
        self.flow = HeadFlow(core, options.expected, self.cancel)
        self._shared = Shared(
            core, self.flow, options.directory, options.overwrite, options.resume, options.opener
        )
        #: That have not ended.
        self._transfers: set[Transfer] = set()
        self._new = 0
        self._finished: deque[Download] = deque()
        self._done = self._failed = 0
        self._exhausted = False
        self._error: BaseException | None = None
        self._is_interrupted = False
        #: Whether admission will say when it has a slot.
        self._is_listed = False
        self._verdict: Callable[[bool], BaseException] | None = None
        self._is_over = False
        self._reader: Waiter[None] | None = None
        self._waiting_feeder: Waiter[None] | None = None
        self._context = contextvars.copy_context()
        self._feeder = self._greenlet(self._feed)

    def _greenlet(self, function: Callable[..., None], *args: Any) -> Any:
        greenlet = gevent.Greenlet(function, *args)
        greenlet.gr_context = self._context.copy()
        return greenlet

    # The reader's side

    def read(self) -> Generator[Download, None, None]:
        """Yield what has ended."""
        core, finished, options = self._core, self._finished, self._options
        os.makedirs(options.directory, exist_ok=True)
        reporting = None
        timer = None
        if options.deadline is not None:
            timer = core.clock.call_later(options.deadline, self._on_deadline, options.deadline)
        core.enter(self.flow)
        try:
            with heard(self._hub):
                if options.report is not None:
                    reporting = gevent.spawn(self._report_often)
                self._feeder.start()
                while True:
                    while finished:
                        download = finished.popleft()
                        self._wake_feeder()
                        yield download
                    if not self._wait():
                        break
            if self._error is not None:
                raise self._error
        finally:
            if timer is not None:
                timer.close()
            self.stop()
            if isinstance(self._items, Feed):
                self._items.close()
            core.leave(self.flow)
            if reporting is not None:
                reporting.kill(block=False)
                self._report()
                options.report_end()

    def rest(self) -> Generator[Download, None, None]:
        """Yield what had ended when the loop was left by an exception."""
        while self._finished:
            yield self._finished.popleft()

    def stop(self) -> None:
        """End now; nobody will be told. It may be the garbage collector that calls: never wait."""
        if self._is_over or sys.is_finalizing():
            return
        self._is_over = True
        self._feeder.kill(block=False)
        for transfer in self._transfers:
            transfer.forsake()
            transfer.greenlet.kill(block=False)
        self.flow.close()

    def join(self) -> None:
        """Wait until all has ended that was stopped."""
        if gevent.getcurrent() is not self._hub and not sys.is_finalizing():
            gevent.joinall([self._feeder, *[each.greenlet for each in self._transfers]])

    def _wait(self) -> bool:
        while not self._finished:
            if self._is_interrupted or self._is_over or self._is_spent():
                return False
            reader: Waiter[None] = Waiter(self._hub)
            self._reader = reader
            try:
                reader.get()
            finally:
                self._reader = None
        return True

    def _is_spent(self) -> bool:
        if self._transfers:
            return False
        items = self._items
        return self._exhausted or (isinstance(items, Feed) and items.is_fed_up())

    def _wake_reader(self) -> None:
        reader, self._reader = self._reader, None
        if reader is not None:
            self._hub.loop.run_callback(reader.switch, None)

    # Ends that are none of a single file

    def cancel(
        self, verdict: Callable[[bool], BaseException] | None = None, *, drains: bool = False
    ) -> None:
        """Let all that have not ended end with an error.

        Args:
            verdict: makes it, of whether anything was sent; None for cancelled.
            drains: whether what is still to be pulled ends likewise.
        """
        if self._verdict is not None or self._is_over:
            return
        self._verdict = verdict or (lambda sent: RequestCancelledError(sent=sent))
        if not drains:
            self._exhausted = True
            self._feeder.kill(block=False)
        self._wake_feeder()
        for transfer in [*self._transfers]:
            transfer.greenlet.kill(block=False)
            if not transfer.has_begun:
                self._end(transfer, self._verdict(False))  # noqa: FBT003 - it was not sent
        self._wake_reader()

    def _on_deadline(self, seconds: float) -> None:
        drains = self._options.expected is not None
        self.cancel(lambda sent: DeadlineError(seconds, sent=sent), drains=drains)

    def _interrupt(self, error: BaseException) -> None:
        """What is no outcome (KeyboardInterrupt, SystemExit) has to reach the reader."""
        self._error = error
        self._is_interrupted = True
        self._wake_reader()

    # The feeder's side

    def _feed(self) -> None:
        try:
            for index, item in enumerate(self._items):
                self._begin(index, item)
                self._wait_to_pull()
        except gevent.GreenletExit:
            pass
        except Exception as error:  # noqa: BLE001 - it belongs to the reader
            self._error = error
            if struck(error):
                self._interrupt(error)
        except BaseException as error:  # noqa: BLE001 - it belongs to the reader
            self._interrupt(error)
        finally:
            self._exhausted = True
            if isinstance(self._items, Generator):
                self._items.close()
            self._wake_reader()

    def _wait_to_pull(self) -> None:
        while not self._may_pull():
            feeder: Waiter[None] = Waiter(self._hub)
            self._waiting_feeder = feeder
            if not self._is_listed:
                self._is_listed = True
                self._core.admission.wait_for_slot(self._on_slot)
            try:
                feeder.get()
            finally:
                self._waiting_feeder = None

    def _may_pull(self) -> bool:
        """Whether another item may be taken from the input."""
        core = self._core
        admission = core.admission
        if self._verdict is not None:
            return len(self._finished) < core.unread
        return (
            admission.active + self._new < admission.limit
            and len(self._finished) < core.unread
            and len(self._transfers) < core.lookahead
        )

    def _on_slot(self) -> None:
        self._is_listed = False
        self._wake_feeder()

    def _wake_feeder(self) -> None:
        feeder, self._waiting_feeder = self._waiting_feeder, None
        if feeder is not None:
            self._hub.loop.run_callback(feeder.switch, None)

    def _begin(self, index: int, item: Any) -> None:
        try:
            order = self._options.order(self._core, index, item)
        except (PolicyError, NotARequestError) as wrong:
            self._deliver(
                Download(index, item, "", None, 0, None, 0, skipped=False, attempts=(), error=wrong)
            )
            return

        transfer = Transfer(order, self._shared, self._on_asked)
        if self._verdict is not None:
            error = self._verdict(False)  # noqa: FBT003 - it was not sent
            self._deliver(_outcome(transfer, error))
            return
        transfer.greenlet = self._greenlet(self._run, transfer)
        self._transfers.add(transfer)
        self._new += 1
        transfer.greenlet.start()

    def _on_asked(self, transfer: Transfer) -> None:
        """A transfer has a slot or waits for one: it counts there from now on."""
        if transfer.is_new:
            transfer.is_new = False
            self._new -= 1
            self._wake_feeder()

    # The transfers' side

    def _run(self, transfer: Transfer) -> None:
        transfer.has_begun = True
        try:
            failure = transfer.run()
        except gevent.GreenletExit as exit_:
            if self._is_over:
                self._transfers.discard(transfer)
            else:
                verdict = self._verdict
                self._end(transfer, exit_ if verdict is None else verdict(transfer.sent))
        except Exception as error:  # noqa: BLE001 - it is this file's outcome
            if struck(error):
                self._interrupt(error)
            self._end(transfer, error)
        except BaseException as error:  # noqa: BLE001 - it belongs to the reader
            self._interrupt(error)
            self._end(transfer, error)
        else:
            self._end(transfer, failure)

    def _end(self, transfer: Transfer, error: BaseException | None) -> None:
        if transfer in self._transfers:
            self._on_asked(transfer)
            self._transfers.discard(transfer)
            self._deliver(_outcome(transfer, error))

    def _deliver(self, download: Download) -> None:
        self._done += 1
        self._failed += not download.ok
        self._finished.append(download)
        self._wake_feeder()
        self._wake_reader()

    # Progress

    def _report_often(self) -> None:
        while True:
            self._report()
            gevent.sleep(_PROGRESS)

    def _report(self) -> None:
        received = self._shared.received
        expected = received + sum(each.missing for each in self._transfers)
        try:
            assert self._options.report is not None
            self._options.report(DownloadProgress(self._done, self._failed, received, expected))
        except Exception:
            logging.getLogger("grequests").exception("a report of progress has failed")


def _outcome(transfer: Transfer, error: BaseException | None) -> Download:
    order = transfer.order
    return Download(
        order.index,
        order.request,
        str(order.request.url),
        transfer.path,
        transfer.offset,
        transfer.digest,
        transfer.resumed_from,
        transfer.skipped,
        transfer.attempts,
        error,
    )
