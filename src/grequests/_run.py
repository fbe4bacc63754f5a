"""What the calls of one run share, and who is told of their outcomes. Knows no single call."""

from __future__ import annotations

import contextvars
from typing import TYPE_CHECKING, Any, Protocol

from ._engine import current_engine
from ._environment import Environment
from ._options import RunContext
from ._templates import Templates

if TYPE_CHECKING:
    from ._addresses import AddressPolicy


class Sink(Protocol):
    """Who is told what comes of a call."""

    def done(self, call: Any) -> None: ...
    def again(self, call: Any, seconds: float) -> None: ...
    def interrupt(self, error: BaseException) -> None: ...
    def is_awaited(self) -> bool: ...


class Run(RunContext):
    """What the calls of one run share.

    Args:
        stream: `stream=` of `map` and `imap`.
        sink: who is told of outcomes; set before the first call starts.
        overrides: keywords that take precedence over the requests' own.
        defaults: keywords that hold where a request has none of that name.
        max_body, max_head: bytes that responses may have, or None.
        address_policy: which addresses may be connected to, or None.
    """

    __slots__ = (
        "context",
        "defaults",
        "looked",
        "overrides",
        "sink",
        "stream",
        "templates",
    )

    def __init__(  # noqa: PLR0913 - what a run has
        self,
        *,
        stream: bool = False,
        overrides: dict[str, Any] | None = None,
        defaults: dict[str, Any] | None = None,
        max_body: int | None = None,
        max_head: int | None = None,
        address_policy: AddressPolicy | None = None,
    ) -> None:
        super().__init__(current_engine(), Environment())
        self.stream = stream
        self.overrides = overrides
        self.defaults = {**(defaults or {}), **({"stream": True} if stream else {})}
        self.max_body = max_body
        self.max_head = max_head
        self.address_policy = address_policy
        self.sink: Sink
        #: Whether the stock functions were looked at since other greenlets last ran.
        self.looked = False
        #: The caller's, for code that has to run in it and is started by the event loop.
        self.context = contextvars.copy_context()
        self.templates: Templates

    def begin(self) -> None:
        """Nobody looks on: go on without looking, for now."""
        self.looked = True
        if not hasattr(self, "templates"):
            # Not before: preparing a model request is a call that somebody might count.
            self.templates = Templates(self, self.defaults)

    def is_awaited(self) -> bool:
        return self.sink.is_awaited()
