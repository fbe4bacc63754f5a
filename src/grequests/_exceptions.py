"""The library's own errors, for wrong use. Requests' exceptions pass through unchanged."""

from __future__ import annotations

from typing import Any


class GRequestsError(Exception):
    """Root of the errors that only this library raises."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.args, self.__dict__)


class NotARequestError(GRequestsError, TypeError):
    """An item among the requests is not an `AsyncRequest`.

    Attributes:
        index: its position, from 0, or None if it was to be sent by itself.
        item_type: the name of its type.
    """

    def __init__(self, index: int | None, item: object) -> None:
        self.index = index
        self.item_type = type(item).__name__
        hint = " (wrap it in grequests.get(...))" if isinstance(item, (str, bytes)) else ""
        what = "what is to be sent" if index is None else f"item {index} of the requests"
        super().__init__(f"{what} is not an AsyncRequest but {self.item_type}{hint}")


class RequestInFlightError(GRequestsError, RuntimeError):
    """A request was sent while it was being sent already.

    Attributes:
        url: its URL.
        index: its position among the requests, from 0, or None if it was sent by itself.
    """

    def __init__(self, url: object, index: int | None = None) -> None:
        self.url = url
        self.index = index
        where = "" if index is None else f" (item {index} of the requests)"
        super().__init__(f"the request for {url!r}{where} is in flight already")


class InvalidSizeError(GRequestsError, ValueError):
    """`size` is not a number of requests.

    Attributes:
        size: what was given.
    """

    def __init__(self, size: object) -> None:
        self.size = size
        super().__init__(f"size must be an integer of at least 1, or None, not {size!r}")


def _rebuild(
    cls: type[GRequestsError], args: tuple[Any, ...], state: dict[str, Any]
) -> GRequestsError:
    error = cls.__new__(cls)
    error.args = args
    error.__dict__.update(state)
    return error


for _class in (GRequestsError, NotARequestError, RequestInFlightError, InvalidSizeError):
    _class.__module__ = "grequests"
