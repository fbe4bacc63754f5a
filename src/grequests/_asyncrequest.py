"""`AsyncRequest`: a request that has not been sent yet. Knows nothing of how it is sent."""

from __future__ import annotations

import traceback as tracebacks
from typing import TYPE_CHECKING, Any

import requests

from ._checks import check_positive
from ._safe_url import safe_url

if TYPE_CHECKING:
    from collections.abc import Callable

    from typing_extensions import Self


class AsyncRequest:
    """An unsent request.

    Args:
        method: of HTTP, such as ``"GET"``.
        url: where to.
        session: the `requests.Session` whose cookies, headers, auth, proxies, adapters and so on
            count; None for a request that shares nothing but connections with others.
        callback: called with the response, like ``hooks={"response": callback}`` and after those.
        tag: anything by which you know the request again; it never reaches the wire.
        cost: how much of a `Rate` of a `Client` it takes; 1 if not given.
        suppress_ragged_eofs: whether a body of unknown length may end without TLS's close_notify.
            Then nobody can tell it from one that was cut. (The name is Python's.)
        **kwargs: every other keyword of `requests.request`.

    Attributes:
        method, url, kwargs, tag, cost, suppress_ragged_eofs: as given.
        session: as given; made when it is first asked for, if none was.
        response: the `requests.Response`, or None before the answer and after a failure.
        exception: the exception, after a failure only.
        traceback: its formatted traceback (str), after a failure only.

    Example:
        >>> import grequests
        >>> request = grequests.AsyncRequest("GET", "http://example.org/", timeout=5)
        >>> request
        <AsyncRequest [GET] http://example.org/ unsent>
    """

    response: requests.Response | None = None
    exception: BaseException
    _session: requests.Session | None = None
    tag: Any = None
    #: How much of a `Rate` it takes.
    cost: float = 1.0
    #: Whether a body of unknown length may end without TLS's close_notify.
    suppress_ragged_eofs: bool = False
    #: None as long as it was never sent.
    _in_flight: bool | None = None

    def __init__(  # noqa: PLR0913 - Requests' two, and our five
        self,
        method: str,
        url: Any,
        *,
        session: requests.Session | None = None,
        callback: Callable[..., Any] | None = None,
        tag: Any = None,
        cost: float | None = None,
        suppress_ragged_eofs: bool = False,
        **kwargs: Any,
    ) -> None:
        self.method = method
        self.url = url
        self.kwargs = kwargs
        if session is not None:
            self._session = session
        if tag is not None:
            self.tag = tag
        if cost is not None:
            check_positive("cost", cost)
            self.cost = cost
        if suppress_ragged_eofs:
            self.suppress_ragged_eofs = True
        if callback:
            kwargs["hooks"] = _with_callback(kwargs.get("hooks"), callback)

    def __repr__(self) -> str:
        return f"<AsyncRequest [{self.method}] {safe_url(self.url)} {self._state()}>"

    def _state(self) -> str:
        if self._in_flight:
            return "in flight"
        if self.response is not None:
            return repr(self.response)
        if "exception" in self.__dict__:
            return f"failed: {type(self.exception).__name__}"
        return "unsent"

    @property
    def session(self) -> requests.Session:
        """The request's session; one of its own is made if it was given none."""
        if self._session is None:
            self._session = requests.Session()
        return self._session

    @session.setter
    def session(self, session: requests.Session | None) -> None:
        self._session = session

    @property
    def traceback(self) -> str:
        """The formatted traceback of `exception`.

        Raises:
            AttributeError: the request has not failed.
        """
        told: str | None = self.__dict__.get("_traceback")
        if told is not None:
            return told
        error = self.exception
        return "".join(tracebacks.format_exception(type(error), error, error.__traceback__))

    @traceback.setter
    def traceback(self, text: str) -> None:
        # Subclasses that send in a way of their own set it, as `send` of 0.7 did.
        self.__dict__["_traceback"] = text

    def send(self, **kwargs: Any) -> Self:
        """Send, wait for the answer and return the request itself.

        Other greenlets run meanwhile. Whatever went wrong is in `exception`, not raised.

        Args:
            **kwargs: keywords of `requests.request` which take precedence over the request's own.

        Returns:
            The request, with `response` or `exception` set.

        Raises:
            RequestInFlightError: it is being sent already.

        Example:
            >>> request = grequests.get("http://example.org/").send(stream=True)  # doctest: +SKIP
        """
        from ._bulk import send_one  # noqa: PLC0415 - the only arrow back up, from object to verb

        send_one(self, kwargs)
        return self


AsyncRequest.__module__ = "grequests"


def _with_callback(hooks: Any, callback: Callable[..., Any]) -> dict[str, Any]:
    if not hooks:
        return {"response": callback}
    existing = hooks.get("response") or []
    listed = [existing] if callable(existing) else list(existing)
    return {**hooks, "response": [*listed, callback]}
