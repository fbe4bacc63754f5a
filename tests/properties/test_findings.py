"""What the state machines have found, step by step."""

from __future__ import annotations

import pytest

from .wires import World, settle, unplugged, whole

pytestmark = pytest.mark.usefixtures("no_leaks")


def test_a_request_for_which_a_connection_is_being_made_does_not_wait_for_a_descriptor_too():
    """Served by an idle connection meanwhile, which dies, it is back while another one starves."""
    with unplugged():
        world = World(limit=2)
        origin, elsewhere, _ = world.origins
        first = world.submit(origin, then=False)
        settle()
        world.dialling[0].succeed()
        settle()
        again = world.submit(origin, then=False)
        settle()
        (peer,) = world.peers
        peer.take()
        peer.send(whole(first.number))
        peer.read = b""
        settle()
        assert peer.asked() == again.number, "though a connection of its own is being made"
        world.submit(elsewhere, then=False)
        assert len(world.engine.starved) == 1
        peer.close()
        world.peers.remove(peer)
        settle()
        assert not again.outcomes
        assert again in origin.connecting
        assert again not in world.engine.starved
        world.close()


def test_idle_connections_make_room_until_there_is_some():
    """Less is allowed than there is, since the rest of the program has opened files: one is not enough."""
    with unplugged():
        world = World(limit=4)
        origin, elsewhere, _ = world.origins
        for _ in range(4):
            world.submit(origin, then=False)
        settle()
        for each in [*world.dialling]:
            each.succeed()
        settle()
        for peer in world.peers:
            number = peer.asked()
            peer.take()
            peer.send(whole(number))
            peer.read = b""
        settle()
        assert len(origin.idle) == 4
        world.budget.limit = 2
        other = world.submit(elsewhere, then=False)
        settle()
        assert other in elsewhere.connecting, "it waits until idle connections have had their day"
        assert world.budget.taken == 2
        world.close()
