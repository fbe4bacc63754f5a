"""Whatever servers do, and whenever: the pool keeps its promises. A state machine tries.

One request, one outcome; no answer to the wrong one; no more sockets than there may be; who waits,
waits for something. More examples: GREQUESTS_EXAMPLES=2000 pytest tests/properties
"""

from __future__ import annotations

import os
import warnings

import gevent
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from engine.raw import answer
from grequests._engine import Failure, Phase

from .machines import ANY, pick, run
from .wires import CLOCK, STOLEN, World, settle, unplugged, whole

#: More than a socket takes at once.
LARGE = 500_000


def has(name):
    """There is one to choose from."""
    return precondition(lambda self: getattr(self.world, name)())


class PoolMachine(RuleBasedStateMachine):
    @initialize(limit=st.integers(1, 4))
    def begin(self, limit):
        self.world = World(limit)
        #: Descriptors that another thread's engine has.
        self.elsewhere = 0

    def teardown(self):
        if not hasattr(self, "world"):
            return
        try:
            self.end_all()
        finally:
            self.world.close()
        assert self.world.budget.taken == self.elsewhere
        assert not self.world.peers
        assert not self.world.engine.origins

    # Requests

    @rule(
        origin=ANY,
        method=st.sampled_from(["GET", "GET", "POST"]),
        size=st.sampled_from([0, 0, 0, LARGE]),
        read_timeout=st.sampled_from([None, 1.0, 30.0]),
        then=st.booleans(),
        close_after=st.sampled_from([False, False, True]),
    )
    def submit(self, origin, method, size, read_timeout, then, close_after):
        body = b"x" * size if size else None
        wanted = self.world.submit(
            pick(self.world.origins, origin),
            then=then,
            method=method,
            body=body,
            read_timeout=read_timeout,
        )
        wanted.close_after = close_after

    @rule(count=st.integers(1, 4), origin=ANY)
    def serve(self, count, origin):
        """All goes well for once: it is how connections come to be idle."""
        for _ in range(count):
            self.world.submit(pick(self.world.origins, origin), then=False)
        settle()
        self.connect_all()
        settle()
        self.answer_all()

    @has("live")
    @rule(which=ANY)
    def abort(self, which):
        wanted = pick(self.world.live(), which)
        wanted.aborted = True
        wanted.abort()

    @has("over")
    @rule(which=ANY)
    def abort_what_is_over(self, which):
        pick(self.world.over(), which).abort()

    # Connections

    @precondition(lambda self: self.world.dialling)
    @rule(which=ANY)
    def connect(self, which):
        pick(self.world.dialling, which).succeed()

    @precondition(lambda self: self.world.dialling)
    @rule()
    def connect_all(self):
        for each in [*self.world.dialling]:
            each.succeed()

    @precondition(lambda self: self.world.dialling)
    @rule(which=ANY)
    def connect_and_speak_first(self, which):
        dialling = pick(self.world.dialling, which)
        dialling.succeed(answer(b"no room", "503 No Room"))
        for each in self.world.live():
            each.may_be_early = True

    @precondition(lambda self: self.world.dialling)
    @rule(which=ANY, phase=st.sampled_from([Phase.CONNECT, Phase.CONNECT_TIMEOUT, Phase.RESOLVE]))
    def refuse(self, which, phase):
        pick(self.world.dialling, which).fail(phase)

    # Answers

    @has("asked")
    @rule()
    def answer_all(self):
        for peer in self.world.asked():
            peer.take()
            wanted = self.world.wanted[peer.asked()]
            peer.send(peer.rest or whole(wanted.number))
            peer.rest = peer.read = b""
            settle()
            self.check_answered(wanted)

    @has("asked")
    @rule(which=ANY, at=st.integers(0, 40), close=st.booleans())
    def answer_it(self, which, at, close):
        peer, wanted = self.take(which)
        if peer.rest:
            data, close = peer.rest, False
        else:
            data = whole(wanted.number, *(["Connection: close"] if close else []))
        peer.rest = peer.read = b""
        peer.send(data[:at])
        settle()
        peer.send(data[at:])
        settle()
        self.check_answered(wanted)
        if close:
            assert peer.is_gone

    @has("asked")
    @rule(which=ANY, interim=st.booleans(), share=st.floats(0.1, 0.9))
    def answer_in_part(self, which, interim, share):
        peer, wanted = self.take(which)
        if not peer.rest:
            peer.rest = whole(wanted.number)
            if interim:
                peer.send(b"HTTP/1.1 103 Early Hints\r\n\r\n")
        count = int(len(peer.rest) * share)
        peer.send(peer.rest[:count])
        peer.rest = peer.rest[count:]
        settle()
        assert not wanted.outcomes or wanted.may_be_early

    @has("asked")
    @rule(
        which=ANY, more=st.sampled_from([b"x", b"\r\n", answer(STOLEN), b"HTTP/1.1 100 Go\r\n\r\n"])
    )
    def answer_with_more_behind(self, which, more):
        peer, wanted = self.take(which)
        peer.send((peer.rest or whole(wanted.number)) + more)
        peer.spoilt = True
        settle()
        self.check_answered(wanted)
        assert peer.is_gone

    # Faults

    @has("asked_for_all")
    @rule(
        which=ANY, what=st.sampled_from([b"SSH-2.0\r\n\r\n", b"\r\n\r\n", b"HTTP/9.9 200\r\n\r\n"])
    )
    def talk_nonsense(self, which, what):
        peer = pick(self.world.asked_for_all(), which)
        peer.take()
        wanted = self.world.wanted[peer.asked()]
        peer.send(what)
        peer.spoilt = True
        settle()
        assert len(wanted.outcomes) == 1
        assert peer.is_gone

    @has("asked")
    @rule(which=ANY, reads=st.booleans())
    def end(self, which, reads):
        """In the middle of something: a reset if the request was not read."""
        peer = pick(self.world.asked(), which)
        wanted = self.world.wanted[peer.asked()]
        if reads:
            peer.take()
        connection = wanted.connection
        may_go_on = connection is not None and connection.served and wanted.replayable
        is_begun = bool(peer.rest)
        peer.close()
        settle()
        if is_begun or not may_go_on:
            assert wanted.outcomes
            assert isinstance(wanted.outcomes[0], Failure) or wanted.may_be_early
        else:
            assert not wanted.outcomes, "it can be sent again"
        self.world.peers.remove(peer)

    @has("silent")
    @rule(which=ANY)
    def end_while_idle(self, which):
        peer = pick(self.world.silent(), which)
        peer.close()
        settle()
        assert peer.is_gone
        self.world.peers.remove(peer)

    @has("silent")
    @rule(which=ANY, what=st.sampled_from([b"x", answer(STOLEN), b"\r\n"]))
    def speak_unasked(self, which, what):
        peer = pick(self.world.silent(), which)
        peer.spoilt = True
        peer.send(what)
        settle()
        assert peer.is_gone

    @has("silent")
    @rule(which=ANY, what=st.sampled_from([b"", b"x", answer(STOLEN)]))
    def speak_unasked_as_somebody_asks(self, which, what):
        """Before the hub has noticed, who asks has to."""
        peer = pick(self.world.silent(), which)
        peer.spoilt = True
        if what:
            peer.send(what)
        else:
            peer.close()
            self.world.peers.remove(peer)
        for each in self.world.origins:
            self.world.submit(each, then=False)
        settle()
        assert peer.is_gone

    # Time, room, processes

    @rule(seconds=st.sampled_from([0.005, 0.3, 0.3, 1.5, 5.0, 40.0]))
    def wait(self, seconds):
        CLOCK.advance(seconds)

    @rule(what=st.sampled_from([1, 2, 3, 5, "take", "give", "exhausted"]))
    def change_what_room_there_is(self, what):
        """By the system's limit, by another thread's engine, or as the system says."""
        budget = self.world.budget
        if what == "take":
            self.elsewhere += budget.take()
        elif what == "give":
            if self.elsewhere:
                self.elsewhere -= 1
                budget.give()
        elif what == "exhausted":
            budget.exhausted()
        else:
            budget.limit = what

    @has("silent")
    @rule()
    def close_idle(self):
        self.world.engine.close_idle()
        settle()
        assert not self.world.engine.statistics().idle

    @precondition(lambda self: self.world.connections())
    @rule()
    def fork(self):
        """The child drops everything; the parent notices nothing, as the other rules go on to show."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of threads that there are
            child = os.fork()
        if not child:
            code = 1
            try:
                code = self.drop_all()
            finally:
                os._exit(code)
        assert os.waitpid(child, 0)[1] == 0

    def drop_all(self):
        """The child's side of a fork; 0 if nothing is left."""
        engine, connections = self.world.engine, self.world.connections()
        engine.forked()
        counts = engine.statistics()
        left = [each for each in connections if each.fileno() != -1]
        waiting = counts.open + counts.idle + counts.waiting + counts.starved + counts.connecting
        return 0 if not (left or waiting or engine.origins) else 2

    # What is always true

    @invariant()
    def holds(self):
        if not hasattr(self, "world"):
            return
        world = self.world
        world.tidy()
        self.check_outcomes()
        self.check_connections()
        self.check_waiting()

    def check_outcomes(self):
        for each in self.world.wanted:
            assert len(each.outcomes) <= 1
            if each.aborted:
                assert not each.outcomes
            elif each.outcomes and not isinstance(each.outcomes[0], Failure):
                right = [(200, b"%d" % each.number)]
                if each.may_be_early:
                    right.append((503, b"no room"))
                assert each.outcomes[0] in right

    def check_connections(self):
        world, engine = self.world, self.world.engine
        connections = world.connections()
        counts = engine.statistics()
        assert counts.open == len(connections) == len(world.peers)
        assert {id(each.ours) for each in world.peers} == {id(each._sock) for each in connections}
        assert world.budget.taken == counts.open + counts.connecting + self.elsewhere
        for each in connections:
            assert not each.closed
            assert (each.exchange is None) == (each in each.origin.idle)
            assert each.deadline > CLOCK.now() - 0.03, "its time is over"
        for origin in world.origins:
            assert len(set(origin.idle)) == len(origin.idle)
            for each in origin.idle:
                assert each in origin.connections
                assert each.is_silent()
        assert not [each for each in world.peers if each.spoilt and each.asked() is not None]

    def check_waiting(self):
        """Each request is on one connection, or waits for one that is being made, or is starved."""
        world, engine = self.world, self.world.engine
        busy = [each.exchange for each in world.connections() if each.exchange]
        waiting = [each for origin in world.origins for each in origin.waiting]
        assert len(set(busy)) == len(busy)
        assert {*busy, *waiting} == set(world.live())
        assert not {*busy} & {*waiting}
        for each in waiting:
            assert (each in each.origin.connecting) != (each in engine.starved)
        assert set(engine.starved) <= set(waiting)
        for origin in world.origins:
            is_used = bool(origin.connections or origin.connecting or origin.waiting)
            assert (engine.origins.get(origin.key) is origin) == is_used
        if engine.starved:
            # Somebody's end, or a timer, will wake them; what is idle has made room.
            assert engine.has_others(None) or engine._retry in CLOCK.timers
            assert not engine.statistics().idle

    # Helpers

    def take(self, which):
        """Somebody who was asked, having read the request, and what it is for."""
        peer = pick(self.world.asked(), which)
        peer.take()
        return peer, self.world.wanted[peer.asked()]

    def check_answered(self, wanted):
        assert len(wanted.outcomes) == 1
        assert wanted.outcomes[0] == (200, b"%d" % wanted.number) or wanted.may_be_early

    def end_all(self):
        """Be good to everybody: whoever still waits is answered."""
        world = self.world
        world.budget.limit = 3 + self.elsewhere
        for _ in range(2 * len(world.wanted) + 10):
            for each in [*world.dialling]:
                each.succeed()
            world.tidy()
            while world.asked():
                peer, wanted = self.take(0)
                peer.send(peer.rest or whole(wanted.number))
                peer.rest = peer.read = b""
                world.tidy()
            CLOCK.advance(0.06)
            world.tidy()
        assert not world.live(), "it waits for ever"


@pytest.mark.usefixtures("no_leaks")
def test_the_pool_keeps_its_promises():
    with unplugged():
        run(PoolMachine, examples=200)
    gevent.sleep(0)
