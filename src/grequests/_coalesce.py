"""Identical requests of one run: who leads, who follows. Knows requests' arguments only."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from ._task import Task

#: Methods that change nothing (RFC 9110 section 9.2.1).
SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
#: Responses that are kept for requests to come: how many, and bytes of their bodies.
MAX_KEPT: Final = 10_000
MAX_BYTES: Final = 64 * 1024 * 1024


class Leaders:
    """The requests of a run that others may want the outcome of.

    Those that have not ended are all remembered, those that have as far as there is room.
    """

    __slots__ = ("_bytes", "_kept", "_waiting")

    def __init__(self) -> None:
        self._waiting: dict[Any, Task] = {}
        self._kept: OrderedDict[Any, tuple[Task, int]] = OrderedDict()
        self._bytes = 0

    def follow(self, task: Task) -> bool:
        """Have a task follow an identical one, if there is one; else it may lead.

        Returns:
            Whether it follows. If its leader has ended, `task.leader` is that.
        """
        identity = identity_of(task.request)
        if identity is None:
            return False
        waiting = self._waiting.get(identity)
        if waiting is not None:
            if waiting.followers is None:
                waiting.followers = []
            waiting.followers.append(task)
            return True
        kept = self._kept.get(identity)
        if kept is not None:
            self._kept.move_to_end(identity)
            task.leader = kept[0]
            return True
        task.identity = identity
        self._waiting[identity] = task
        return False

    def ended(self, task: Task, size: int) -> None:
        """A leader has its outcome. A failure is not kept: the next one may succeed."""
        if task.identity is None:
            return
        self._waiting.pop(task.identity, None)
        if task.error is not None or size > MAX_BYTES:
            return
        self._kept[task.identity] = (task, size)
        self._bytes += size
        while len(self._kept) > MAX_KEPT or self._bytes > MAX_BYTES:
            _, (_, freed) = self._kept.popitem(last=False)
            self._bytes -= freed


def identity_of(request: Any) -> Any:
    """What makes a request identical to another; None if nothing does.

    It has to be safe, to have no body, hooks or streams, and all else has to be comparable.
    """
    method = request.method
    if not isinstance(method, str) or method.upper() not in SAFE:
        return None
    kwargs = request.kwargs
    try:
        if any(kwargs.get(name) for name in ("data", "files", "json", "hooks", "stream")):
            return None
        frozen = tuple(sorted((name, _frozen(value)) for name, value in kwargs.items()))
        identity = (method.upper(), request.url, id(request._session), type(request), frozen)
        hash(identity)
    except Exception:  # noqa: BLE001 - they may be anybody's objects
        return None
    return identity


def _frozen(value: Any) -> Any:
    if isinstance(value, dict):
        return ("dict", *((name, _frozen(each)) for name, each in value.items()))
    if isinstance(value, (list, tuple)):
        return (type(value).__name__, *map(_frozen, value))
    return (type(value).__name__, value)
