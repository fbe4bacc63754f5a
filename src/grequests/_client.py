"""`Client`: requests in, one result for each out; and the state that its runs share.

The public face of the bulk layer. It may not know: how tasks are scheduled (`_flow`,
`_admission`), how requests are sent.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Sized
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any, Final
from weakref import ref

import gevent

from ._admission import Admission
from ._asyncrequest import AsyncRequest
from ._checks import check_given, check_names, check_seconds
from ._clock import HubClock
from ._engine import current_engine
from ._events import CircuitClosed, CircuitOpened, Finished, HostPaused, Retried, Started
from ._exceptions import (
    ClientClosedError,
    NotARequestError,
    NotIterableError,
    RequestCancelledError,
    RequestInFlightError,
)
from ._feed import Feed
from ._flow import Flow
from ._future import Future, LooseFlow
from ._herald import Herald
from ._kinds import CANCELLED
from ._log import log_failure, log_run, wants_failures
from ._outcomes import Plan
from ._progress import reporter
from ._proxies import ProxyRotation, shown
from ._results import Result
from ._retry import OVERLOADED, RetryBudget
from ._settings import Settings
from ._statistics import Counters, Statistics, table

if TYPE_CHECKING:
    from collections.abc import (
        AsyncIterable,
        Callable,
        Generator,
        Iterable,
        Iterator,
        Mapping,
    )

    from typing_extensions import Self, Unpack

    from ._aio import AsyncResults, Lease
    from ._clock import Clock
    from ._download import Downloads
    from ._policies import Retry
    from ._proxies import ProxyStatistics
    from ._results import Attempt
    from ._task import Task
    from ._typing import AllOptions, ClientOptions, DownloadOptions, RunOptions

#: The options of a run, and of a client.
_RUN_OPTIONS: Final = ("ordered", "deadline", "progress", "stream", "coalesce")
_OF_CLIENT: Final = tuple(each.name for each in fields(Settings))
#: Requests that are pulled while they have to wait, at least: so far one sees past a slow host.
LOOKAHEAD: Final = 1000
#: Seconds between two reports of progress.
_PROGRESS: Final = 0.1


class Core:
    """What the runs of a client share, in one hub. Made when the first of them begins."""

    def __init__(self, settings: Settings, herald: Herald) -> None:
        self.hub = gevent.get_hub()
        self.pid = os.getpid()
        self.engine = current_engine()
        self.settings = settings
        self.herald = herald
        # (A faked network has a clock of its own.)
        faked: Clock | None = getattr(self.engine, "clock", None)
        self.clock: Clock = settings.clock or faked or HubClock(self.hub)
        self.random = settings.random
        self.retry = settings.retry
        self.timeout = settings.timeout
        self.max_body = settings.max_body
        self.max_headers = settings.max_headers
        capacity = self.engine.capacity()
        self.concurrency = min(settings.slots or capacity, capacity)
        self.unread = settings.unread or self.concurrency
        self.lookahead = settings.lookahead or max(LOOKAHEAD, 2 * self.concurrency)
        keyword = settings.timeout.keyword
        self.keywords: dict[str, Any] = {} if keyword is None else {"timeout": keyword}
        again = () if self.retry is None else self.retry.statuses
        self.suspects: frozenset[int] = OVERLOADED.union(again)
        self.budget = _budget(self.retry)
        self.counters = Counters()
        self.rotation: ProxyRotation | None = None
        if settings.proxies is not None:
            self.rotation = ProxyRotation(settings.proxies, self.clock, self.random)
        self.admission = Admission(
            self.clock,
            self.concurrency,
            settings.auto or settings.per_host,
            rates=(settings.rate, settings.per_host_rate),
            circuit=settings.circuit,
            listener=self,
        )
        #: Connections of the engine before this client, which may be the thread's.
        self._opened_before, self._reused_before = self._connections()
        self.flows: dict[Flow, int | None] = {}
        self.began: float | None = None
        self.loose: LooseFlow | None = None

    @property
    def listens(self) -> bool:
        """Whether anybody wants to be told of events."""
        return bool(self.herald)

    def _connections(self) -> tuple[int, int]:
        statistics = self.engine.statistics()
        return statistics.opened, statistics.reused

    # For flows

    def enter(self, flow: Flow) -> None:
        """A run begins."""
        if self.began is None:
            self.began = self.clock.now()
        self.flows[flow] = flow.expected

    def leave(self, flow: Flow) -> None:
        """A run has ended. Called in the reader's greenlet."""
        if flow in self.flows:
            del self.flows[flow]
        self.herald.flush()

    def request_of(self, item: Any) -> AsyncRequest | None:
        """An item of the input as a request; None if it is none."""
        if isinstance(item, AsyncRequest):
            return item
        tag = None
        if isinstance(item, tuple) and len(item) == 2:  # noqa: PLR2004 - a pair
            item, tag = item
            if isinstance(item, AsyncRequest):
                item.tag = tag
                return item
        if not isinstance(item, str):
            return None
        return AsyncRequest("GET", item, session=self.settings.session, tag=tag)

    def shown_proxy(self, proxy: str) -> str:
        """A proxy without credentials."""
        return str(shown(proxy))

    def on_started(self, task: Task, now: float) -> None:
        self.herald.tell(
            "started",
            lambda: Started(task.request, task.index, task.tag, task.host, task.number, now),
        )

    def on_finished(self, task: Task) -> None:
        self.herald.tell("finished", lambda: Finished(Result(task), self.clock.now()))

    def on_retried(self, task: Task, attempt: Attempt, delay: float) -> None:
        self.herald.tell(
            "retried",
            lambda: Retried(
                task.request, task.index, task.tag, task.host, attempt, delay, self.clock.now()
            ),
        )

    def on_failed(self, task: Task) -> None:
        """A request has ended without a response."""
        if not isinstance(task.error, RequestCancelledError) and wants_failures():
            self.herald.tell_one(log_failure, Result(task))

    # For admission

    def paused(self, host: str, seconds: float) -> None:
        self.herald.tell("host_paused", lambda: HostPaused(host, seconds, self.clock.now()))

    def opened(self, host: str, failures: int, seconds: float) -> None:
        self.herald.tell(
            "circuit_opened", lambda: CircuitOpened(host, failures, seconds, self.clock.now())
        )

    def closed(self, host: str) -> None:
        self.herald.tell("circuit_closed", lambda: CircuitClosed(host, self.clock.now()))

    # For users

    def statistics(self) -> Statistics:
        counters, admission = self.counters, self.admission
        engine = self.engine.statistics()
        flows = [*self.flows, *([self.loose] if self.loose is not None else [])]
        known = [*self.flows.values()]
        return Statistics(
            queued=sum(flow.parked for flow in flows),
            in_flight=admission.active,
            done=counters.done,
            succeeded=counters.succeeded,
            failed=dict(counters.failed),
            statuses=dict(counters.statuses),
            retries=counters.retries,
            received=counters.received,
            opened=engine.opened - self._opened_before,
            reused=engine.reused - self._reused_before,
            idle=engine.idle,
            hosts=table(admission.snapshot()),
            latency=counters.latency(),
            paused=tuple(admission.paused()),
            open_circuits=tuple(admission.opened),
            elapsed=0.0 if self.began is None else self.clock.now() - self.began,
            expected=None if not known or None in known else sum(filter(None, known)),
        )

    def close(self) -> None:
        for flow in [*self.flows]:
            flow.cancel()
        if self.loose is not None:
            self.loose.close()
        self.admission.close()
        self.herald.flush()


def _budget(retry: Retry | None) -> RetryBudget:
    return RetryBudget(0.0, 0) if retry is None else RetryBudget(retry.budget, retry.reserve)


class Results:
    """The results of one run, in the making: an iterator over `Result` objects.

    Nothing is sent before the first one is asked for. Leaving the loop ends the run, and whatever
    is under way is cut off: by ``break`` or by what is raised, Ctrl-C included, wherever that
    strikes. A second loop over the same object then gives what had ended and was not read, and what
    was cut off.

    It is a context manager, which closes it.
    """

    def __init__(self, start: Callable[[], Flow]) -> None:
        self._start = start
        self._flow: Flow | None = None
        #: Nothing else may refer to a loop's iterator: who leaves the loop ends it, and the run.
        self._reading: Callable[[], Generator[Result, None, None] | None] = _nobody
        #: Its owner, as long as results are taken one by one, without a loop.
        self._held: Generator[Result, None, None] | None = None
        self._is_closed = False

    def __repr__(self) -> str:
        state = "closed" if self._is_closed else "unread" if self._flow is None else "running"
        return f"<Results {state}>"

    def __iter__(self) -> Iterator[Result]:
        flow = self._flow
        if flow is None:
            if self._is_closed:
                return iter(())
            self._flow = flow = self._start()
            iterator = flow.read()
            self._reading = ref(iterator)
            return iterator
        reading, self._held = self._reading(), None
        if reading is None or inspect.getgeneratorstate(reading) == inspect.GEN_CLOSED:
            return flow.rest()
        return reading

    def __next__(self) -> Result:
        iterator = self._held or iter(self)
        if iterator is self._reading():
            self._held = iterator
        return next(iterator)

    def close(self) -> None:
        """End the run now; what is under way is cut off, what has not been read is dropped."""
        self._is_closed = True
        reading, self._held = self._reading(), None
        if reading is not None and inspect.getgeneratorstate(reading) != inspect.GEN_RUNNING:
            reading.close()
        if self._flow is not None:
            # It is news if nothing was ever read, or if another greenlet waits for results.
            self._flow.close()
            self._flow.forsake()

    def __del__(self) -> None:
        if self._flow is not None:
            self._flow.forsake()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _nobody() -> None:
    """No loop goes on."""


class Client:
    """Sends many requests, and gives one result for each, whatever becomes of it.

    All its runs share slots, rates, circuits and statistics. A client is used in one thread at a
    time. It is a context manager, which closes it.

    Args:
        concurrency: attempts under way at once; or ``"auto"`` (or an `Auto`), which finds out for
            each host what it can take.
        per_host: the same for one host (scheme, name and port); None for no such limit. With
            "auto", the level is found instead.
        rate: `Rate` at which attempts are started, or a number per second; None for any.
        per_host_rate: the same for each host.
        retry: `Retry`, or a number of attempts, the first one included; None for one attempt.
        circuit: `Circuit` that leaves a dead host alone; None for never.
        timeout: `Timeout`, or seconds to connect and between two bytes (a pair for one each, as in
            Requests); None for none at all.
        max_body: bytes of a body, decoded, beyond which a response is an error; None for any. Not
            for bodies that are streamed.
        max_headers: bytes of a response's head; None for what the parsers allow (256 KiB).
        proxies: `ProxyPool`, of which each attempt gets one; None for what Requests would use.
        session: the `requests.Session` of requests that are given as URLs.
        address_policy: `AddressPolicy` that says which addresses may be connected to, for URLs from
            strangers; None for any.
        lookahead: requests pulled from the input while those before them have to wait for their
            host; None for twice the concurrency, at least 1,000. With ``ordered=True`` also how far
            one may be ahead of the first that has not ended.
        unread: results that may wait to be read before no more is sent; None for as many as the
            concurrency.
        clock: what time it is; for tests (`grequests.testing.FakeClock`).
        random: where jitter comes from; for tests.

    Raises:
        PolicyError: an argument makes no sense.

    Example:
        >>> with grequests.Client(concurrency=50, retry=5) as client:  # doctest: +SKIP
        ...     for result in client.run(["http://example.org/", "http://example.com/"]):
        ...         print(result.index, result.response, result.error)
    """

    def __init__(self, **settings: Unpack[ClientOptions]) -> None:
        check_names("Client", settings, _OF_CLIENT, dict.fromkeys(_RUN_OPTIONS, "Client.run"))
        # (It takes what is short for a policy, too.)
        self._settings = Settings(**settings)  # type: ignore[arg-type]
        self._herald = Herald()
        self._core: Core | None = None
        #: What keeps its state in the thread of an event loop.
        self._lease: Lease | None = None
        self._is_closed = False

    def __repr__(self) -> str:
        if self._is_closed:
            return "<Client closed>"
        if self._core is None:
            return "<Client unused>"
        counters = self._core.counters
        return f"<Client in flight={self._core.admission.active} done={counters.done}>"

    def run(self, requests: Iterable[Any], **options: Unpack[RunOptions]) -> Results:
        """Send requests and give a result for each.

        The input is pulled lazily. At most `concurrency` attempts are under way, and about as many
        results wait unread; so an endless input is fine.

        Args:
            requests: `AsyncRequest` objects, URLs (which are got), or pairs of one of these and a
                tag. A `Feed` may grow while it is read. What is none of these gives a result with
                `NotARequestError`.
            **options: ``ordered=True`` for results in the order of the requests (default: as they
                end); ``deadline=`` seconds after which all that has not ended does with
                `DeadlineError`: for an input with a length, everything else too; ``progress=True``
                for a bar, or a callable that gets `Statistics`; ``stream=True`` to leave bodies to
                be read by you; ``coalesce=True`` to send identical safe requests once.

        Returns:
            An iterator over `Result` objects.

        Raises:
            PolicyError: an option makes no sense.
            MissingExtraError: ``progress=True`` without tqdm.
            ClientClosedError: the client is closed, or busy in another thread.
            Exception: what the input raises, after the results of what came before.

        Example:
            >>> for result in client.run([("http://example.org/", "home")]):  # doctest: +SKIP
            ...     print(result.tag, result.response)
            home <Response [200]>
        """
        return self._run(requests, dict(options))

    def arun(
        self, requests: Iterable[Any] | AsyncIterable[Any], **options: Unpack[RunOptions]
    ) -> AsyncResults:
        """The same in asyncio or trio.

        Until it is closed, the client keeps its state in the thread of the event loop, and cannot
        be used by others.

        Args:
            requests: as of `run`, or an asynchronous iterable of the same.
            **options: as of `run`.

        Returns:
            An asynchronous iterator over `Result` objects.

        Raises:
            What `run` raises.

        Example:
            >>> async for result in client.arun(urls):  # doctest: +SKIP
            ...     print(result.index, result.response, result.error)
        """
        from ._aio import run_of  # noqa: PLC0415 - it knows this module, and few need it

        return run_of(self, requests, dict(options))

    def _run(
        self, requests: Iterable[Any], options: dict[str, Any], *, closes: bool = False
    ) -> Results:
        if isinstance(requests, (str, bytes, AsyncRequest)) or not _is_iterable(requests):
            raise NotIterableError(requests)
        check_names("Client.run", options, _RUN_OPTIONS, dict.fromkeys(_OF_CLIENT, "Client"))
        progress = options.pop("progress", None)
        plan = _plan(requests, options)
        bar = reporter(progress)
        self._check_open()

        def start() -> Flow:
            self._check_open()
            core = self._bound()
            flow = Flow(core, requests, plan)
            self._watch(core, flow, bar, closes=closes)
            return flow

        return Results(start)

    def _watch(self, core: Core, flow: Flow, bar: Any, *, closes: bool) -> None:
        """Report progress while a run goes on, and say at its end why so much has failed."""
        before = core.statistics()
        reporting: list[gevent.Greenlet[..., None]] = []

        def so_far() -> Statistics:
            return replace(_since(core.statistics(), before), expected=flow.expected)

        def begin() -> None:
            if bar is not None:
                reporting.append(gevent.spawn(_report, bar, so_far))

        def end() -> None:
            gevent.killall(reporting, block=False)
            # What was cancelled was meant to be.
            last = _but_cancelled(so_far())
            if bar is not None:
                bar.update(last)
                bar.close()
            core.herald.flush()
            log_run(last)
            if closes:
                self.close()

        flow.at_start, flow.at_end = begin, end

    def submit(self, request: Any) -> Future:
        """Send a request, and give something that will have its result.

        It is sent while this thread waits: for a future, for the results of a run, or elsewhere in
        gevent.

        Args:
            request: an `AsyncRequest`, a URL, or a pair of one of these and a tag.

        Returns:
            A `Future`.

        Raises:
            NotARequestError: it is something else.
            RequestInFlightError: it is being sent already.
            ClientClosedError: the client is closed, or busy in another thread.

        Example:
            >>> client.submit("http://example.org/").result(timeout=10).response  # doctest: +SKIP
            <Response [200]>
        """
        self._check_open()
        core = self._bound()
        made = core.request_of(request)
        if made is None:
            raise NotARequestError(None, request)
        if made._in_flight:
            raise RequestInFlightError(made.url)
        if core.loose is None:
            core.loose = LooseFlow(core)
            core.began = core.clock.now() if core.began is None else core.began
        return core.loose.submit(made)

    def download(
        self, items: Any, directory: str | os.PathLike[str], **options: Unpack[DownloadOptions]
    ) -> Downloads:
        """Download files into a directory, within the limits of this client.

        Args:
            items: as of `grequests.download`.
            directory: where to.
            **options: ``sha256=``, ``overwrite=``, ``resume=``, ``progress=`` and ``deadline=`` of
                `grequests.download`.

        Returns:
            An iterator over `Download` objects, as they end.

        Raises:
            What `grequests.download` raises.

        Example:
            >>> urls = ["http://example.org/a.pdf"]
            >>> for each in client.download(urls, "papers"):  # doctest: +SKIP
            ...     print(each.path or each.error)
            papers/a.pdf
        """
        from ._download import start  # noqa: PLC0415 - which is built on clients

        return start(self, items, directory, **options)

    def feed(
        self, requests: Iterable[Any] = (), *, until_idle: bool = False, maxsize: int | None = None
    ) -> Feed:
        """An input for `run` that grows while it is read; arguments as of `Feed`."""
        return Feed(requests, until_idle=until_idle, maxsize=maxsize)

    def on(
        self, event: str | object, callback: Callable[[Any], Any] | None = None
    ) -> Callable[[], None]:
        """Have somebody told of what happens.

        Args:
            event: one of ``"started"``, ``"finished"``, ``"retried"``, ``"host_paused"``,
                ``"circuit_opened"``, ``"circuit_closed"``; or a listener, an object with methods
                ``on_started(event)`` and so on.
            callback: called with the event, if `event` is a name.

        Returns:
            A function that takes it off again.

        Raises:
            PolicyError: there is no such event.

        Example:
            >>> off = client.on("retried", lambda event: print(event.attempt))  # doctest: +SKIP
        """
        if isinstance(event, str):
            check_given("callback", callback, "a function, for an event by name")
            assert callback is not None
            off = self._herald.add(event, callback)
        else:
            off = self._herald.add_listener(event)
        if self._core is not None:
            for flow in [*self._core.flows, self._core.loose]:
                if flow is not None:
                    flow.listen()
        return off

    def statistics(self) -> Statistics:
        """A frozen snapshot of what the client has done so far, over all its runs."""
        core, lease = self._core, self._lease
        if core is not None and lease is not None and lease.holds(core):
            return core.statistics()
        if core is None and self._is_closed:  # it never did anything
            return Core(self._settings, self._herald).statistics()
        return self._bound().statistics()

    def proxy_statistics(self) -> Mapping[str, ProxyStatistics]:
        """How the proxies of the `ProxyPool` have done; empty if there is none."""
        rotation = self._bound().rotation
        return {} if rotation is None else rotation.statistics()

    def close(self) -> None:
        """End everything: nothing new is started, what is under way is cut off.

        Results that are there can still be read. Connections stay with the thread for others, and
        close by themselves after a few quiet seconds (`grequests.close`). Idempotent.
        """
        self._is_closed = True
        core = self._core
        lease, self._lease = self._lease, None
        if core is not None and core.pid == os.getpid():
            if lease is not None and lease.holds(core):
                lease.run(core.close)
            else:
                core.close()
        if lease is not None:
            lease.end()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _check_open(self) -> None:
        if self._is_closed:
            msg = "the client is closed"
            raise ClientClosedError(msg)

    def _bound(self) -> Core:
        """The state, in this thread and process."""
        core = self._core
        if core is not None:
            if core.hub is gevent.get_hub() and core.pid == os.getpid():
                if not self._is_closed:
                    return core
            elif core.flows and core.pid == os.getpid():
                msg = "the client is busy in another thread"
                raise ClientClosedError(msg)
        if self._is_closed and core is not None:
            return core
        self._check_open()
        self._core = core = Core(self._settings, self._herald)
        return core


def _is_iterable(thing: Any) -> bool:
    return hasattr(thing, "__iter__") or hasattr(thing, "__getitem__")


def _plan(requests: Any, options: dict[str, Any]) -> Plan:
    check_seconds("deadline", options.get("deadline"))
    expected = len(requests) if isinstance(requests, Sized) else None
    return Plan(expected=expected, **options)


def _report(bar: Any, so_far: Callable[[], Statistics]) -> None:
    while True:
        bar.update(so_far())
        gevent.sleep(_PROGRESS)


def _since(now: Statistics, before: Statistics) -> Statistics:
    """What has happened since a snapshot of the same client."""
    hosts = {
        name: replace(
            row,
            done=row.done - (before.hosts[name].done if name in before.hosts else 0),
            failed=row.failed - (before.hosts[name].failed if name in before.hosts else 0),
        )
        for name, row in now.hosts.items()
    }
    return replace(
        now,
        done=now.done - before.done,
        succeeded=now.succeeded - before.succeeded,
        failed=_more(now.failed, before.failed),
        statuses=_more(now.statuses, before.statuses),
        retries=now.retries - before.retries,
        received=now.received - before.received,
        opened=now.opened - before.opened,
        reused=now.reused - before.reused,
        hosts=hosts,
        elapsed=now.elapsed - before.elapsed,
    )


def _more(now: Mapping[Any, int], before: Mapping[Any, int]) -> dict[Any, int]:
    """The counts that have grown, and by how much."""
    grown = {name: number - before.get(name, 0) for name, number in now.items()}
    return {name: number for name, number in grown.items() if number}


def _but_cancelled(statistics: Statistics) -> Statistics:
    """The same without what was cancelled, which was meant to be."""
    failed = dict(statistics.failed)
    cancelled = failed.pop(CANCELLED, 0)
    return replace(statistics, failed=failed, done=statistics.done - cancelled)


def run(requests: Iterable[Any], **settings: Unpack[AllOptions]) -> Results:
    """Send requests and give a result for each, without a client of one's own.

    Args:
        requests: as of `Client.run`.
        **settings: the options of `Client.run`, and the arguments of `Client`.

    Returns:
        An iterator over `Result` objects.

    Raises:
        What `Client` and `Client.run` raise.

    Example:
        >>> for result in grequests.run(["http://example.org/"], retry=5):  # doctest: +SKIP
        ...     print(result.unwrap().status_code)
        200
    """
    options: dict[str, Any] = {**settings}
    check_names("run", options, (*_OF_CLIENT, *_RUN_OPTIONS), {})
    chosen: dict[str, Any] = {name: options.pop(name) for name in _RUN_OPTIONS if name in options}
    client = Client(**options)
    return client._run(requests, chosen, closes=True)


for _class in (Client, Results):
    _class.__module__ = "grequests"
