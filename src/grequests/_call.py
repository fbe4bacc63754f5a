"""One request's life: lane, attempts, redirects, hooks, cookies, outcome.

The only module that knows both what a request means and how it is sent. A `Call` is a job to
the scheduler and an exchange to the engine. It starts in the feeder's greenlet, goes on in hub
callbacks and ends with `request.response` or `request.exception` set and its sink told.
"""

from __future__ import annotations

import contextlib
import contextvars
import re
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

import gevent
from requests import PreparedRequest
from requests.cookies import extract_cookies_to_jar
from requests.exceptions import (
    ChunkedEncodingError,
    ContentDecodingError,
    TooManyRedirects,
)
from requests.hooks import dispatch_hook

from . import _general, _stock
from ._adapter import IDEMPOTENT, EngineAdapter, adapter_of, give_back, leave_undecoded
from ._address_guard import address_guard
from ._asyncrequest import AsyncRequest
from ._auth import address_signed, auth_of, prepare_signed
from ._body import Source
from ._body_limit import body_limit
from ._decode import decode_body
from ._engine import Body, Exchange, Failure
from ._exceptions import SENT, BodyTooLargeError, GRequestsError
from ._green_auth import green_auth, has_nothing_to_do, resume
from ._lane import general_reason, is_own_auth
from ._options import NO_RETRIES, Options
from ._prepare import SIMPLE_URL, NotPlainError, Prepared, prepare
from ._recheck import refuse
from ._redirect import (
    REDIRECTS,
    NoSession,
    address_hop,
    is_doubtful,
    next_hop,
    next_request,
    options_for,
)
from ._response import Response, with_jar
from ._retries import after_failure, after_status, is_to_retry
from ._retry import was_sent
from ._safe_error import hide_secrets
from ._signals import struck
from ._translate import warn_unverified

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from requests.sessions import Session, SessionRedirectMixin

    from ._engine import BodyStream
    from ._run import Run
    from ._templates import Entry

#: Headers that make a response more than its bytes.
_CODED: Final = re.compile(rb"\ncontent-encoding:", re.IGNORECASE)
_LEADS_ON: Final = re.compile(rb"\nlocation:", re.IGNORECASE)
_SETS_COOKIE: Final = re.compile(rb"\nset-cookie2?:", re.IGNORECASE)

_new_response: Callable[[type[Response]], Response] = Response.__new__
_plain_send = AsyncRequest.send
_untouched = _stock.untouched


class Call(Exchange):
    """A request on its way.

    Attributes:
        run: what it shares with others.
        request: the user's.
        index: its position in the run.
    """

    __slots__ = (
        "_context",
        "_entry",
        "_greenlet",
        "_here",
        "_history",
        "_jar",
        "_options",
        "_prepared",
        "_retries",
        "_started",
        "_target",
        "_url",
        "_was_sent",
        "index",
        "payload",
        "request",
        "run",
    )

    def __init__(self, run: Run, request: AsyncRequest, index: int) -> None:
        self.run = run
        self.request = request
        self.index = index
        self.connection = None
        self.payload: Body | None = None
        self._entry: Entry
        self._greenlet: gevent.Greenlet[..., None] | None = None
        self._here = False
        self._history: list[Any] | None = None
        self._was_sent = False
        self._prepared: PreparedRequest | None = None

    @property
    def suppress_ragged_eofs(self) -> bool:  # type: ignore[override]
        return self.request.suppress_ragged_eofs

    def __repr__(self) -> str:
        return f"<Call {self.index} {getattr(self, 'request', 'failed')!r}>"

    # The scheduler's side

    def start(self) -> None:
        """Begin, or begin again after `again`. Never raises an Exception."""
        self.request._in_flight = True
        try:
            if self._prepared is not None:
                self._resend()
            elif not self._start_plain():
                self.run.looked = False  # parameters and bodies may be anybody's code
                self._start_other()
        except Exception as error:  # noqa: BLE001 - it is this request's outcome
            self._fail(error)

    def run_here(self) -> None:
        """Begin; what must run in a greenlet runs in this one, before this returns."""
        self._here = True
        try:
            self.start()
        finally:
            self._here = False

    def abort(self) -> None:
        """End now; nobody is told."""
        greenlet, self._greenlet = self._greenlet, None
        if greenlet is not None:
            greenlet.kill(block=False)
        elif hasattr(self, "origin"):
            self.run.engine.abort(self)
        self._leave()

    def drop(self) -> None:
        """It has ended and nobody will read it: an unread body must not keep its socket."""
        response = self.request.response
        if response is not None and not getattr(response, "_content_consumed", True):
            response.close()

    def _is_given_up(self) -> bool:
        """Whether whoever started this call has gone on without it."""
        return False

    def _overrides(self) -> dict[str, Any] | None:
        """Keywords that take precedence over the request's, for this call alone."""
        return None

    def _start_plain(self) -> bool:
        """The shortest way: a simple URL, and a template for what stands around its target."""
        request = self.request
        run = self.run
        if not run.looked:
            # Since the last look nobody else has run but the user's iterator.
            if run.overrides or not _untouched():
                return False
            run.begin()
        url = request.url
        match = SIMPLE_URL.fullmatch(url) if type(url) is str else None
        if match is None or type(request).send is not _plain_send:
            return False
        kwargs, session, method = request.kwargs, request._session, request.method
        if not kwargs and session is None and method == "GET":
            template = run.templates.plain
        else:
            if run.defaults:
                kwargs = {**run.defaults, **kwargs}
            template = run.templates.find(method, session, kwargs)
        if template is None:
            return False
        prefix, target = match.groups()
        entry = template.origins.get(prefix) or template.entry(prefix)
        if entry is None:
            return False
        if target is None:
            target = "/"
            url += "/"
        self._entry = entry
        self.origin = origin = entry.origin
        self.method = method
        self.wire = f"{entry.lead}{target}{entry.rest}".encode("latin-1")
        self._options = options = template.options
        self.connect_timeout = options.connect_timeout
        self.read_timeout = options.read_timeout
        self.replayable = method in IDEMPOTENT
        self.close_after = False
        self.streamed = options.stream
        self.head_at = 0.0
        self._url = url
        self._target = target
        self._retries = options.retries
        self._started = monotonic()
        origin.dispatch(self)
        return True

    def _start_other(self) -> None:
        """Any other request: decide on the lane by the book."""
        run = self.run  # and no local with the request: it would outlive a failure in the traceback
        if run.overrides is None and type(self.request).send is not _plain_send:
            self._spawn(self._run_overridden)
            return
        kwargs = {**run.defaults, **self.request.kwargs}
        if run.overrides:
            kwargs.update(run.overrides)
        own = self._overrides()
        if own is not None:
            kwargs.update(own)
        if run.stream or "stream" not in kwargs:
            kwargs["stream"] = run.stream
        session, method, url = self._asked()
        if _stock.untouched() and (
            general_reason(method, url, session, kwargs, run.environment) is None
        ):
            options = Options(run, session, kwargs, url)
            auth = auth_of(session, kwargs)
            green_auth(auth)
            if is_own_auth(auth):
                self._spawn(self._run_signed, kwargs, options)
                return
            try:
                ready = prepare(method, url, session, kwargs, options)
            except NotPlainError:
                pass
            else:
                self._options = options
                self._retries = options.retries
                if ready.request.hooks.get("response"):
                    self._context = contextvars.copy_context()
                self._send(ready)
                return
        self._spawn(self._run_general, kwargs)

    # The fast lane

    def _send(self, ready: Prepared) -> None:
        """Put a prepared request on the wire."""
        prepared = ready.request
        options = self._options
        self._prepared = prepared
        self._url = prepared.url
        self._target = ready.target
        self.origin = ready.origin
        self.method = prepared.method  # type: ignore[assignment]
        self.wire = ready.wire
        self.payload = payload = ready.payload
        self.close_after = ready.close_after
        self.streamed = options.stream
        self.connect_timeout = options.connect_timeout
        self.read_timeout = options.read_timeout
        self.replayable = self.method in IDEMPOTENT
        if isinstance(payload, Source):
            self.replayable = False  # what has been read is gone
            self._context = contextvars.copy_context()
            payload.rewind()
        self._dispatch()

    def _resend(self) -> None:
        """Send a prepared request once more."""
        if isinstance(self.payload, Source):
            self._spawn(self._run_resend, self.payload, context=self._context)
        else:
            self._dispatch()

    def _dispatch(self) -> None:
        self.head_at = 0.0
        self._started = monotonic()
        self.origin.dispatch(self)

    def on_unverified(self) -> bool:
        try:
            warn_unverified(self.origin)
        except Exception as error:  # noqa: BLE001 - the user's filters make an error of it
            self._fail(error)
            return False
        return True

    def on_response(
        self, status: int, head: bytes, body: bytes, stream: BodyStream | None = None
    ) -> None:
        response = _new_response(Response)
        response.status_code = status
        response._content = body
        response.url = self._url
        response._head = head
        response._seconds = self.head_at - self._started
        prepared = self._prepared
        response._source = (
            prepared,
            self.method,
            self._options,
            self._target,
            self.origin,
            self._entry.headers if prepared is None else None,
        )
        if (
            status in REDIRECTS
            or prepared is not None  # as it is when something has been retried
            or stream is not None
            or not self._options.is_bare
        ):
            self._on_any_response(response, stream)
            return
        if _CODED.search(head):
            try:
                response._content = decode_body(head, body, self.max_body)
            except ContentDecodingError as error:
                self._fail(self._with_request(error))
                return
            except BodyTooLargeError as error:
                self._fail(error)
                return
        request = self.request
        request.response = response
        request._in_flight = False
        run = self.run
        run.looked = False
        run.sink.done(self)

    def _on_any_response(self, response: Response, stream: BodyStream | None) -> None:
        try:
            if stream is not None:
                response.stream_from(stream)
            self._take(response)
        except Exception as error:  # noqa: BLE001 - it is this request's outcome
            self._fail(error)

    def is_streamable(self, status: int, head: bytes) -> bool:
        """Whether the body is the user's to read, and not ours on the way to another response."""
        if self._prepared is not None and self._prepared.hooks.get("response"):
            return True  # hooks come first, and what follows them runs in a greenlet
        if self._options.allow_redirects and status in REDIRECTS and _LEADS_ON.search(head):
            return False
        return not is_to_retry(self.method, status, head, self._retries)

    def is_stuck(self) -> bool:
        return self.run.is_awaited()

    def _take(self, response: Response) -> None:
        """A response is here: retry, run the hooks, or go on with it."""
        if self._retries is not NO_RETRIES:
            again = after_status(
                self, response, self._target, self._retries, self._prepared_request
            )
            if again is not None:
                self._was_sent = True
                self._retry(*again)
                return
        hooks = self._prepared and self._prepared.hooks.get("response")
        if hooks and not has_nothing_to_do(hooks, response.status_code):
            self._spawn(self._run_hooks, response, context=self._context)
            return
        if isinstance(self.payload, Source) and response.status_code in REDIRECTS:
            self._spawn(self._run_settle, response, context=self._context)
            return
        self._settle(response, self._decode(response))

    def _decode(self, response: Response) -> Exception | None:
        """Take the content codings off; the error if they are not what they should be."""
        if response.is_streamed:
            return None
        try:
            response._content = decode_body(response._head, response._content, self.max_body)  # type: ignore[arg-type]
        except ContentDecodingError as error:
            return self._with_request(error)
        return None

    def _with_request(self, error: ContentDecodingError) -> ContentDecodingError:
        error.request = with_jar(self._prepared_request())
        return error

    def _settle(
        self, response: Any, undecodable: Exception | None, sent: PreparedRequest | None = None
    ) -> None:
        """After the hooks: cookies, redirects, outcome, in the order of `Session.send`.

        Args:
            response: the answer so far.
            undecodable: why its body is not what it should be, if it is not.
            sent: the request, if a hook has put an answer to another one in its place.
        """
        self._keep_cookies(response, sent)
        if undecodable is not None and response.is_redirect and response.headers["location"]:
            response._content = b""
            undecodable = None
        if undecodable is not None:
            raise undecodable
        if self._options.allow_redirects and response.is_redirect:
            self._follow(response, sent)
            return
        if self._history:
            response.history = self._history
        elif sent is not None and response.is_redirect:
            session, _ = self._chain(response, sent)
            response._next = next_request(response, self._options, session, sent)
        elif response.status_code in REDIRECTS and isinstance(response, Response):
            self._look_ahead(response)
        if getattr(response, "_content", False) is False and not self._options.stream:
            self._read(response)
        self._succeed(response)

    def _read(self, response: Any) -> None:
        """Read what the hooks have left to be read, or could not."""
        try:
            _ = response.content
        except ContentDecodingError as error:
            if response.is_redirect and response.headers["location"]:
                response._content = b""  # Requests has looked where it leads, and read it raw
                return
            self._with_request(error)
            raise

    def _look_ahead(self, response: Response) -> None:
        """Fail where Requests fails to say where a redirect leads that is not followed."""
        if response.is_redirect and is_doubtful(response):
            _ = response.next

    def _keep_cookies(self, response: Any, sent: PreparedRequest | None = None) -> None:
        jar = self._cookie_jar()
        if jar is None:
            return
        for each in response.history:
            extract_cookies_to_jar(jar, each.request, each.raw)
        if isinstance(response, Response) and not _SETS_COOKIE.search(response._head):
            return
        extract_cookies_to_jar(jar, sent or response.request, response.raw)
        if self._history:
            # Requests takes the cookies of all but the first twice: it sets their order.
            extract_cookies_to_jar(jar, sent or response.request, response.raw)

    def _cookie_jar(self) -> Any:
        session = self._options.session
        if session is not None:
            return session.cookies
        return self._jar.cookies if self._history is not None else None

    def _chain(
        self, response: Any, sent: PreparedRequest | None
    ) -> tuple[SessionRedirectMixin, list[Any]]:
        """Who keeps the cookies of a redirect chain, and its history."""
        options = self._options
        if self._history is None:
            self._history = []
            if options.session is None:
                self._jar = NoSession(options.max_redirects)
                self._keep_cookies(response, sent)
        session: SessionRedirectMixin = options.session or self._jar
        return session, self._history

    def _follow(self, response: Any, sent: PreparedRequest | None) -> None:
        """Send the next request of a redirect chain."""
        options = self._options
        session, history = self._chain(response, sent)
        following = next_hop(response, history, options, session, sent)
        if sent is not None:
            response._next = following if history else None
        if following is None:
            self._succeed(response)
            return
        history.append(response)
        self._options = options = options_for(following, options)
        try:
            ready = address_hop(following, options) if _untouched() else None
        except NotPlainError:
            ready = None
        if ready is None:
            self._spawn(self._run_rest, following, context=self.run.context)
            return
        self._retries = options.retries
        self._send(ready)

    # Failures and retries

    def on_failure(self, failure: Failure) -> None:
        try:
            if struck(failure.cause):
                self._interrupt(failure.cause)
            else:
                self._on_failure(failure)
        except Exception as error:  # noqa: BLE001 - it is this request's outcome
            self._fail(error)

    def _on_failure(self, failure: Failure) -> None:
        if isinstance(failure.cause, GRequestsError):  # a limit of ours: nothing to translate
            self._fail(failure.cause)
            return
        prepared = self._prepared_request()
        again = after_failure(self, failure, self._target, self._retries, prepared)
        self._was_sent = failure.sent or self._was_sent_before()
        self._retry(*again)

    def _was_sent_before(self) -> bool:
        """Whether somebody has had the request in a try before this, as who redirects it has."""
        return self._was_sent or self._history is not None

    def _retry(self, retries: Any, seconds: float) -> None:
        self._prepared = self._prepared_request()
        self._retries = retries
        self._options = self._options.retried(retries)
        self.run.sink.again(self, seconds)

    def _prepared_request(self) -> PreparedRequest:
        if self._prepared is not None:
            return self._prepared
        prepared = PreparedRequest()
        prepared.method = self.method
        prepared.url = self._url
        prepared.headers = self._entry.headers.copy()  # type: ignore[assignment]
        return prepared

    # Greenlets: whatever runs Requests' or the user's code

    def _spawn(
        self, function: Callable[..., None], *args: Any, context: contextvars.Context | None = None
    ) -> None:
        if self._here:
            self._run_guarded(function, *args)
            return
        greenlet: gevent.Greenlet[..., None] = gevent.Greenlet(self._run_spawned, function, *args)
        greenlet.gr_context = (context or contextvars.copy_context()).copy()
        self._greenlet = greenlet
        greenlet.start()

    def _run_guarded(self, function: Callable[..., None], *args: Any) -> None:
        """An Exception is the outcome; anything else is the caller's business."""
        try:
            function(*args)
        except Exception as error:  # noqa: BLE001
            self._fail(error)
        except BaseException:
            if not self._is_given_up():
                self._leave()
            raise

    def _run_spawned(self, function: Callable[..., None], *args: Any) -> None:
        """In a greenlet nobody waits for: everything has to become an outcome."""
        try:
            self._run_guarded(function, *args)
        except BaseException as error:  # noqa: BLE001
            # Not `abort`, then: the user's code gave up by itself, or a signal's handler raised.
            if self._greenlet is not None or struck(error):
                self._fail(error)

    @contextlib.contextmanager
    def _bounds(self) -> Iterator[None]:
        """What the general lane is not to go beyond."""
        with body_limit(self.max_body), address_guard(self.run.address_policy):
            yield

    def _run_general(self, kwargs: dict[str, Any]) -> None:
        with self._bounds():
            response = _general.perform(*self._asked(), kwargs)
        self._succeed(response)

    def _asked(self) -> tuple[Session | None, str, Any]:
        """Whose request it is, its method and URL; a local with the request would outlive it."""
        request = self.request
        return request._session, request.method, request.url

    def _run_signed(self, kwargs: dict[str, Any], options: Options) -> None:
        """Prepare the request with an auth that may wait, and send it."""
        session, method, url = self._asked()
        try:
            signed, before = prepare_signed(method, url, session, kwargs, options)
        except NotPlainError:
            self._run_general(kwargs)
            return
        self.run.looked = False
        try:
            if not _untouched():
                refuse("somebody looks on since")
            ready, options = address_signed(signed, before, kwargs, options)
        except NotPlainError:
            with self._bounds():
                self._succeed(_general.perform_signed(session, signed, kwargs))
            return
        self._greenlet = None
        self._options = options
        self._retries = options.retries
        self._send(ready)

    def _run_overridden(self) -> None:
        """The user's class sends in its own way, and sets `response` or `exception` itself."""
        request = self.request
        request._in_flight = False
        with self._bounds():  # (`send_one` goes by them)
            request.send(stream=self.run.stream)
        self.run.sink.done(self)

    def _run_hooks(self, response: Response) -> None:
        prepared = self._prepared
        assert prepared is not None
        body: Any = response._content
        if self._decode(response) is not None:
            leave_undecoded(response, body)  # the hooks may look at it or not
        if resume(with_jar(prepared)):
            response.connection = EngineAdapter(
                response, suppress_ragged_eofs=self.suppress_ragged_eofs
            )
        kwargs = self._options.send_kwargs()
        with self._bounds():
            hooked = _general.inside(
                adapter_of(response),
                lambda: dispatch_hook("response", prepared.hooks, response, **kwargs),
                self._options.session,
            )
        self.run.looked = False
        give_back(response, hooked, *getattr(hooked, "history", ()))
        sent = None if hooked is response else prepared
        if self._options.stream and (self._options.allow_redirects or sent) and hooked.is_redirect:
            with contextlib.suppress(ChunkedEncodingError, ContentDecodingError, RuntimeError):
                _ = hooked.content  # now, while `abort` still ends this greenlet
        self._greenlet = None
        self._settle(hooked, None, sent)

    def _run_settle(self, response: Response) -> None:
        """On to the next hop, for which the body has to be rewound."""
        undecodable = self._decode(response)
        self._greenlet = None
        self._settle(response, undecodable)

    def _run_resend(self, source: Source) -> None:
        source.rewind()
        self._greenlet = None
        self._dispatch()

    def _run_rest(self, following: PreparedRequest) -> None:
        """The chain has come to where only Requests can go."""
        options = self._options
        history = self._history or []
        left = options.max_redirects - len(history)
        kwargs = options.send_kwargs()
        try:
            with self._bounds():
                response = _general.perform_prepared(options.session, following, kwargs, left)
        except TooManyRedirects as error:
            # It has counted what was left of them.
            last: Any = error.response
            last.history = [*history, *last.history]
            msg = f"Exceeded {options.max_redirects} redirects."
            raise TooManyRedirects(msg, response=last) from error.__cause__
        response.history = [*history, *response.history]
        self._succeed(response)

    # Outcomes

    def _succeed(self, response: Any) -> None:
        if self._is_given_up():
            return
        request = self.request
        request.response = response
        self._end()

    def _fail(self, error: BaseException) -> None:
        if struck(error):
            self._interrupt(error)
            return
        if self._is_given_up():
            return
        if isinstance(error, ValueError):
            hide_secrets(error)
        # While it has its traceback, which tells what happened before it was raised.
        if self._was_sent_before() or getattr(self, "head_at", False) or was_sent(error):
            with contextlib.suppress(AttributeError):
                setattr(error, SENT, True)
        self.request.exception = error
        self._end()
        self._let_go()

    def _let_go(self) -> None:
        """After a failure: lead on to the request, which has the error, no longer.

        The error's traceback leads here. Together they would wait for the garbage collector, and
        with them the bodies and sockets that the traceback's frames know.
        """
        del self.request

    def _interrupt(self, error: BaseException) -> None:
        """It was a signal, which is for the caller of the whole run."""
        self._leave()
        self._greenlet = None
        self.run.sink.interrupt(error)

    def _leave(self) -> None:
        if hasattr(self, "request"):  # (else it has failed)
            self.request._in_flight = False

    def _end(self) -> None:
        self.request._in_flight = False
        self._greenlet = None
        self.run.looked = False
        self.run.sink.done(self)


__all__ = ["Call"]
