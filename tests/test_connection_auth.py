"""Auth that authenticates a connection (NTLM, Negotiate): each handshake stays on its own.

The second and third request of a handshake have to go over the same connection. In Requests that is
the one that was released last; here it has to be so with many handshakes at a time as well.
"""

from __future__ import annotations

import threading
from collections import Counter

import gevent
import pytest
import requests
from requests.auth import AuthBase
from servers import Gate, answer, eventually, say_target

import grequests

pytestmark = pytest.mark.timeout(60)


class Handshakes:
    """A server's handler that asks each connection to authenticate itself in two steps."""

    def __init__(self):
        self.counts = Counter()
        self._states = {}
        self._lock = threading.Lock()

    def __call__(self, request):
        with self._lock:
            return self._reply(request.connection, request.headers.get("authorization"))

    def _reply(self, connection, given):
        state = self._states.pop(connection, None)
        if state == "authenticated" and given is None:
            return self._let_in(connection, "as before")
        if given == "NTLM 1":
            self.counts["begun"] += 1
            self._states[connection] = "challenged"
            return self._refuse(f"NTLM {connection}")
        if given == f"NTLM 3 {connection}" and state == "challenged":
            return self._let_in(connection, "authenticated")
        self.counts["broken" if given else "refused"] += 1
        return self._refuse("NTLM")

    def _let_in(self, connection, how):
        self.counts[how] += 1
        self._states[connection] = "authenticated"
        return answer(b"welcome")

    def _refuse(self, challenge):
        return answer(b"no", "401 Unauthorized", f"WWW-Authenticate: {challenge}")


class Handshake(AuthBase):
    """The client's side, as requests-ntlm goes about it."""

    def __call__(self, r):
        r.headers["Connection"] = "Keep-Alive"
        r.register_hook("response", self.answer)
        return r

    def answer(self, r, **kwargs):
        if r.status_code != 401 or "Authorization" in r.request.headers:
            return r
        challenged = self.send_after(r, "NTLM 1", kwargs)
        challenge = challenged.headers["WWW-Authenticate"].removeprefix("NTLM ")
        done = self.send_after(challenged, f"NTLM 3 {challenge}", kwargs)
        done.history.extend([r, challenged])
        return done

    def send_after(self, r, authorization, kwargs):
        assert r.content == b"no"
        r.raw.release_conn()
        following = r.request.copy()
        following.headers["Authorization"] = authorization
        return r.connection.send(following, **kwargs)


def keywords(how):
    """As auth, or as a hook that somebody registers by hand."""
    if how == "auth":
        return {"auth": Handshake()}
    return {"hooks": {"response": Handshake().answer}} if how == "hook" else {}


@pytest.mark.usefixtures("no_leaks")
@pytest.mark.parametrize(
    ("how", "has_session"),
    [("auth", False), ("auth", True), ("session.auth", True), ("hook", False), ("hook", True)],
)
def test_handshakes_side_by_side(server, how, has_session):
    """More of them than the session's adapter has room for idle connections."""
    handler = Handshakes()
    server.on("/*", handler)
    session = requests.Session() if has_session else None
    if how == "session.auth":
        session.auth = Handshake()
    urls = [server.url(f"/{n}") for n in range(90)]
    wanted = [grequests.get(url, session=session, **keywords(how)) for url in urls]
    found = grequests.map(wanted, size=30)
    assert [r.status_code for r in found] == [200] * 90
    counts = handler.counts
    assert counts["broken"] == 0
    assert counts["begun"] == counts["authenticated"] == counts["refused"]
    assert counts["authenticated"] + counts["as before"] == 90
    assert {len(r.history) for r in found} <= {0, 2}
    if session is not None:
        session.close()


@pytest.mark.usefixtures("no_leaks")
@pytest.mark.parametrize("how", ["auth", "hook"])
def test_others_go_on_during_a_handshake(server, how):
    handler = Handshakes()
    gate = Gate(then=handler)
    server.on("/plain", say_target)

    def handle(request):
        return (
            gate(request) if request.headers.get("authorization") == "NTLM 1" else handler(request)
        )

    server.on("/slow", handle)
    meanwhile = []

    def others():
        eventually(lambda: gate.arrived == 1, "the handshake to begin")
        meanwhile.extend(grequests.map([grequests.get(server.url("/plain"))]))
        gate.open()

    ticker = gevent.spawn(others)
    wanted = [grequests.get(server.url("/slow"), **keywords(how)) for _ in range(2)]
    assert [r.status_code for r in grequests.map(wanted, size=1)] == [200, 200]
    ticker.join()
    assert [r.text for r in meanwhile] == ["/plain"]
    gate.close()
