"""After `close`, nothing is sent, also by a client that was used before."""

from __future__ import annotations

import pytest

from grequests import Client, ClientClosedError

pytestmark = pytest.mark.usefixtures("no_leaks")


def test_nothing_can_be_submitted_to_a_used_client_once_it_is_closed(server):
    client = Client()
    assert [result.ok for result in client.run([server.url("/1")])] == [True]
    client.close()
    with pytest.raises(ClientClosedError):
        client.submit(server.url("/2"))
    assert [each.target for each in server.requests] == ["/1"]


def test_results_that_nobody_asked_for_before_their_client_was_closed_are_not_sent_for(server):
    client = Client()
    assert [result.ok for result in client.run([server.url("/1")])] == [True]
    results = client.run([server.url("/2")])
    client.close()
    with pytest.raises(ClientClosedError):
        next(results)
    assert [each.target for each in server.requests] == ["/1"]
