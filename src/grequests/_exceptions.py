"""The library's own errors: wrong use, and limits. Requests' exceptions pass through unchanged."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from ._safe_url import safe_text, safe_url

if TYPE_CHECKING:
    from collections.abc import Iterable


#: An attribute of others' errors: whether anything of the request was sent. Texts do not tell.
SENT: Final = "_grequests_sent"


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


class NotIterableError(NotARequestError):
    """What was given to `run` is one request, or nothing that holds requests.

    Attributes:
        item_type: the name of its type.
    """

    def __init__(self, given: object) -> None:
        self.index = None
        self.item_type = type(given).__name__
        hint = ""
        if isinstance(given, (str, bytes)) or hasattr(given, "url"):
            hint = ": for one, put it into a list"
        GRequestsError.__init__(
            self, f"requests must be an iterable of requests or URLs, not {self.item_type}{hint}"
        )


class RequestInFlightError(GRequestsError, RuntimeError):
    """A request was sent while it was being sent already.

    Attributes:
        url: its URL, as it was given.
        index: its position among the requests, from 0, or None if it was sent by itself.
    """

    def __init__(self, url: object, index: int | None = None) -> None:
        self.url = url
        self.index = index
        where = "" if index is None else f" (item {index} of the requests)"
        super().__init__(f"the request for {safe_url(url)!r}{where} is in flight already")


class InvalidSizeError(GRequestsError, ValueError):
    """`size` is not a number of requests.

    Attributes:
        size: what was given.
    """

    def __init__(self, size: object) -> None:
        self.size = size
        super().__init__(f"size must be an integer of at least 1, or None, not {size!r}")


class PolicyError(GRequestsError, ValueError):
    """A setting of the bulk layer is not one.

    Attributes:
        name: of the setting, such as ``"attempts"``.
        value: what was given.
    """

    def __init__(self, name: str, value: object, wanted: str) -> None:
        self.name = name
        self.value = value
        super().__init__(f"{name} must be {wanted}, not {safe_text(repr(value))}")


class TotalTimeoutError(GRequestsError, TimeoutError):
    """A request took longer than it may, from its dispatch to the end of its body.

    Attributes:
        seconds: how long it may take.
        scope: "attempt", or "request" for all of its attempts and the waits between them.
    """

    def __init__(self, seconds: float, scope: str) -> None:
        self.seconds = seconds
        self.scope = scope
        what = "the attempt" if scope == "attempt" else "the request, over its attempts,"
        super().__init__(f"{what} took longer than {seconds:g} s")


class DeadlineError(GRequestsError, TimeoutError):
    """The deadline of the run was over before the request had ended.

    Attributes:
        seconds: the deadline, from the start of the run.
        sent: whether the request had been started.
    """

    def __init__(self, seconds: float, *, sent: bool) -> None:
        self.seconds = seconds
        self.sent = sent
        state = "under way" if sent else "not begun"
        super().__init__(f"the run's deadline of {seconds:g} s is over, the request was {state}")


class BodyTooLargeError(GRequestsError, ValueError):
    """A response's body is larger than `max_body`. Its connection is closed.

    Attributes:
        limit: bytes, decoded.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        super().__init__(f"the body is larger than {limit:,} bytes")


class HeadersTooLargeError(GRequestsError, ValueError):
    """A response's status line and headers are larger than `max_headers`.

    Attributes:
        limit: bytes.
        size: how many there are.
    """

    def __init__(self, limit: int, size: int) -> None:
        self.limit = limit
        self.size = size
        super().__init__(f"the headers have {size:,} bytes, more than {limit:,}")


class AddressDeniedError(GRequestsError, ValueError):
    """The `AddressPolicy` of the client does not permit the addresses of a host.

    Nothing was sent to that host.

    Attributes:
        host: as it stands in the URL, or the proxy's.
        addresses: what it resolves to; empty if that is not known here, or if it has no address
            of IP, as a Unix socket has none.
        sent: whether the request was sent to another host before, which has redirected it.
    """

    sent = False

    def __init__(self, host: str, addresses: Iterable[str]) -> None:
        self.host = host
        self.addresses = tuple(dict.fromkeys(addresses))
        shown = ", ".join(self.addresses) or "no known address"
        super().__init__(f"the address policy does not permit {host} ({shown})")


class CircuitOpenError(GRequestsError, ConnectionError):
    """The host has failed so often in a row that it is left alone for now. Nothing was sent.

    Attributes:
        host: its origin, such as ``"https://example.org"``.
        seconds: until it is tried again.
    """

    def __init__(self, host: str, seconds: float) -> None:
        self.host = host
        self.seconds = seconds
        super().__init__(f"{host} keeps failing and is left alone for {seconds:.1f} s")


class RequestCancelledError(GRequestsError, RuntimeError):
    """The request was cancelled, or its client closed, before it had ended.

    Attributes:
        sent: whether it had been started.
    """

    def __init__(self, *, sent: bool) -> None:
        self.sent = sent
        super().__init__(f"the request was cancelled {'while under way' if sent else 'unsent'}")


class ClientClosedError(GRequestsError, RuntimeError):
    """A client was used after it was closed, or in another thread than its own."""


class MissingExtraError(GRequestsError, ImportError):
    """A feature needs a package that is not installed.

    Attributes:
        extra: the extra of grequests that installs it.
    """

    def __init__(self, feature: str, extra: str) -> None:
        self.extra = extra
        super().__init__(f"{feature} needs another package: pip install 'grequests[{extra}]'")


def _rebuild(
    cls: type[GRequestsError], args: tuple[Any, ...], state: dict[str, Any]
) -> GRequestsError:
    error = cls.__new__(cls)
    error.args = args
    error.__dict__.update(state)
    return error


for _class in [each for each in globals().values() if isinstance(each, type)]:
    if issubclass(_class, GRequestsError):
        _class.__module__ = "grequests"
