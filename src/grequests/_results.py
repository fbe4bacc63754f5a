"""What comes of a request in a run: one `Result` for each, whatever happened to it.

A `Result` is a view of what its task has left; what is costly is made when it is asked for. It may
not know: schedulers, how things are sent.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ._safe_url import safe_url

if TYPE_CHECKING:
    import requests

    from ._asyncrequest import AsyncRequest
    from ._task import Task


@dataclass(frozen=True)
class Attempt:
    """One sending of a request.

    Attributes:
        number: from 1.
        started: seconds after the run began.
        seconds: how long it took.
        status: of its answer, or None.
        error: what it ended with, or None.
        retried: why another attempt followed, or why none did; None if there was no question of it.
        proxy: of a `ProxyPool`, which it went through, without credentials; or None.
    """

    number: int
    started: float
    seconds: float
    status: int | None
    error: BaseException | None
    retried: str | None
    proxy: str | None = None

    def __repr__(self) -> str:
        # (Of an error the class: its text may have a URL with a token.)
        error = None if self.error is None else type(self.error).__name__
        return (
            f"Attempt(number={self.number}, started={self.started:.3f}, "
            f"seconds={self.seconds:.3f}, status={self.status}, error={error}, "
            f"retried={self.retried!r}, proxy={self.proxy!r})"
        )


@dataclass(frozen=True)
class Timings:
    """Where the time went, in seconds.

    `dns`, `connect`, `tls` and `first_byte` are of the last attempt. They are 0.0 where there was
    no such thing: on a connection that was kept alive, and in the general lane, where Requests'
    own code sends.

    Attributes:
        queued: from when the request was pulled from the input to its dispatch.
        dns: to resolve the name.
        connect: for the TCP connection.
        tls: for the handshake, a proxy's tunnel included.
        first_byte: from the dispatch to the head of the response.
        total: from the dispatch to the end, over all attempts and the waits between them.
    """

    queued: float
    dns: float
    connect: float
    tls: float
    first_byte: float
    total: float


class Result:
    """The outcome of one request of a run.

    Attributes:
        index: its position in the input, from 0.
        request: the `AsyncRequest`; what was given in its place, if that is none.
        tag: what the request was tagged with, or None.
        host: its origin, such as ``"https://example.org"``; "" if it has none.
        response: the `requests.Response`, or None.
        error: why there is none, or None. Exactly one of the two is set.

    Example:
        >>> for result in grequests.run(["http://example.org/"]):  # doctest: +SKIP
        ...     print(result.index, result.ok, result.response, result.error)
        0 True <Response [200]> None
    """

    __slots__ = ("_task",)

    def __init__(self, task: Task) -> None:
        self._task = task  # (Flow.read does this by itself)

    def __repr__(self) -> str:
        url = safe_url(getattr(self.request, "url", self.request))
        outcome = self.response if self.error is None else type(self.error).__name__
        return f"<Result {self.index} {url} {outcome}>"

    @property
    def index(self) -> int:
        """Its position in the input, from 0."""
        return self._task.index

    @property
    def request(self) -> AsyncRequest:
        """The request; what was given in its place, if that is none."""
        return self._task.request

    @property
    def response(self) -> requests.Response | None:
        """The response, or None."""
        return self._task.response

    @property
    def error(self) -> BaseException | None:
        """Why there is no response, or None."""
        return self._task.error

    @property
    def tag(self) -> Any:
        """What the request was tagged with, or None."""
        return self._task.tag

    @property
    def host(self) -> str:
        """The origin that the request was for, such as ``"https://example.org"``."""
        return self._task.host

    @property
    def ok(self) -> bool:
        """Whether there is a response, with a status below 400."""
        status = getattr(self.response, "status_code", None)
        return isinstance(status, int) and status < 400  # noqa: PLR2004 - as in Requests

    @property
    def attempts(self) -> tuple[Attempt, ...]:
        """Each time it was sent; empty if it never was."""
        return self._task.attempts()

    @property
    def timings(self) -> Timings:
        """Where the time went."""
        return self._task.timings()

    def unwrap(self) -> requests.Response:
        """The response.

        Raises:
            BaseException: `error`, if that is what there is.
        """
        error = self._task.error
        if error is not None:
            try:
                raise error
            finally:
                del error  # else its traceback would lead back to it
        response = self._task.response
        assert response is not None
        return response


for _class in (Attempt, Timings, Result):
    _class.__module__ = "grequests"
