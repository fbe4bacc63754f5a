"""`HTTPDigestAuth` in threads where many requests are on their way at once.

Its own code prepares requests and answers 401s.  Nonces, challenges and counts are the thread's, as
in Requests: what one request has learned serves the next, once it has its own answer.  What it
keeps about one request (where its body began, how often it was refused) is the greenlet's.

It may not know: who runs the greenlets, how requests are sent.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager
from contextvars import ContextVar
from types import MethodType
from typing import TYPE_CHECKING, Any, Final

from gevent.local import local
from gevent.monkey import get_original
from requests.auth import HTTPDigestAuth

if TYPE_CHECKING:
    from collections.abc import Iterator

    from requests import PreparedRequest

__all__ = ["green_auth", "has_nothing_to_do", "lesson", "resume"]

#: What HTTPDigestAuth keeps about one request on its way; the rest it learned from the server.
_PER_REQUEST: Final = frozenset({"pos", "num_401_calls"})
#: What it learns from a challenge.
_LEARNED: Final = frozenset({"chal", "last_nonce", "nonce_count"})
#: Nonces whose counts are remembered.
_MAX_NONCES: Final = 1024
_ThreadLocal: Final[Any] = get_original("threading", "local")
_OWN_HOOKS: Final = frozenset({HTTPDigestAuth.handle_401, HTTPDigestAuth.handle_redirect})


class _DigestState:
    """HTTPDigestAuth's thread-local state, for threads in which many requests are on their way.

    What was learned stays where it was, in the object's own thread-local, so that its owner finds
    it there; unless gevent has made a greenlet-local of that, of which others learn nothing.

    It comes there when the request that was challenged has its answer (`lesson`). Until then the
    nonce is its own: a server may take each but once, and a request that begins meanwhile could be
    there first, which would leave the challenged one refused a second time, for good.
    """

    def __init__(self, thread: Any) -> None:
        if isinstance(thread, local):
            known = vars(thread).items()
            thread = _ThreadLocal()
            vars(thread).update(known)
        self.__dict__["_thread"] = thread
        self.__dict__["_greenlet"] = local()
        self.__dict__["_counts"] = {}

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        if name in _PER_REQUEST:
            return getattr(self._greenlet, name)
        learned = self._learned() if name in _LEARNED else {}
        return learned[name] if name in learned else getattr(self._thread, name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name in _PER_REQUEST:
            setattr(self._greenlet, name, value)
            return
        if name == "chal" and value and not self._learned():
            self._begin_to_learn()
        elif name == "nonce_count" and value:
            value = self._count(self.chal["nonce"], value)
        learned = self._learned() if name in _LEARNED else {}
        if learned:
            learned[name] = value
        else:
            setattr(self._thread, name, value)

    def _learned(self) -> dict[str, Any]:
        """What the running greenlet has been told by a challenge, and nobody else yet."""
        open_lesson = _lesson.get()
        return open_lesson.get(self, {}) if open_lesson else {}

    def _begin_to_learn(self) -> None:
        open_lesson = _lesson.get()
        if open_lesson is not None:
            names = ("last_nonce", "nonce_count")
            thread = vars(self._thread)
            open_lesson[self] = {name: thread[name] for name in names if name in thread}

    def share(self, learned: dict[str, Any]) -> None:
        """Let others know what one request has learned."""
        vars(self._thread).update(learned)

    def _count(self, nonce: str, value: int) -> int:
        """How often a nonce has been used, if another one was in use meanwhile.

        HTTPDigestAuth begins at 1 with a nonce that is not the last one. With many requests on
        their way challenges overtake each other, and servers refuse a count that they have seen
        (RFC 7616 section 3.4.5).
        """
        counts: dict[tuple[int, str], int] = self._counts
        key = (threading.get_ident(), nonce)
        value = max(value, counts.pop(key, 0) + 1)
        if len(counts) >= _MAX_NONCES:
            del counts[next(iter(counts))]
        counts[key] = value
        return value

    def __reduce__(self) -> Any:
        return self._thread.__reduce__()  # TypeError: a thread-local cannot be pickled


#: What the running greenlet's request is learning; None where nobody would say that it ends. (A
#: `gevent.local` would not do: it links to its greenlets, which then look as if waited for.)
_lesson: ContextVar[dict[_DigestState, dict[str, Any]] | None] = ContextVar("lesson", default=None)


@contextmanager
def lesson() -> Iterator[None]:
    """Keep to the running greenlet what it learns from challenges; let others know at the end."""
    learned: dict[_DigestState, dict[str, Any]] = {}
    token = _lesson.set(learned)
    try:
        yield
    finally:
        _lesson.reset(token)
        for state, facts in learned.items():
            state.share(facts)


def green_auth(auth: Any) -> None:
    """Let many greenlets of a thread use one HTTPDigestAuth at a time, or one that uses such."""
    for each in (auth, *_parts_of(auth)):
        if isinstance(each, HTTPDigestAuth):
            state = getattr(each, "_thread_local", None)
            if isinstance(state, (threading.local, _ThreadLocal, local)):
                each._thread_local = _DigestState(state)  # type: ignore[assignment]


def _parts_of(auth: Any) -> Iterator[Any]:
    """What an auth goes on to: those that guess, or choose by host, keep others (toolbelt)."""
    for value in tuple(getattr(auth, "__dict__", {}).values()):
        if isinstance(value, dict):
            yield from tuple(value.values())
        else:
            yield value


def has_nothing_to_do(hooks: list[Any], status: int) -> bool:
    """Whether all hooks are digest's, and would only count the 401s of this request, from one."""
    return not 400 <= status < 500 and all(  # noqa: PLR2004 - as in `handle_401`
        type(hook) is MethodType and hook.__func__ in _OWN_HOOKS for hook in hooks
    )


def resume(request: PreparedRequest) -> bool:
    """Have the running greenlet's state be that of a request that was prepared in another one.

    Returns:
        Whether there is any, because the request is one of HTTPDigestAuth's own.
    """
    found = False
    for hook in request.hooks["response"]:
        auth = getattr(hook, "__self__", None)
        if type(auth) is HTTPDigestAuth:
            position = request._body_position if hasattr(request.body, "tell") else None
            auth._thread_local.pos = position
            auth._thread_local.num_401_calls = 1
            found = True
    return found
