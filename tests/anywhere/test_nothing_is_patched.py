"""Importing and using the library leaves everybody else's modules, and the process, as they were."""

from __future__ import annotations

import pytest

from anywhere.programs import hold, run


def test_no_attribute_of_any_module_changes(lane, server):
    program = """
        import os, snapshot
        snapshot.load_everything()
        snapshot.use_requests(os.environ["SERVER"])
        before = snapshot.Snapshot()

        import grequests
        after_import = before.differences()

        from lanes import is_right, many, right
        assert right(20, "/map") == 20
        assert sum(1 for _ in grequests.imap(many(20, "/imap"), size=3)) == 20
        sent = grequests.send(many(1, "/send")[0]).get()
        assert is_right(sent)
        after_use = before.differences()

        grequests.close()
        import json
        print(json.dumps([before.size() > 30_000, after_import, after_use, before.differences()]))
    """
    assert run(program, lane=lane, server=server) == [True, [], [], []]


def test_nothing_changes_while_requests_are_on_their_way(lane, server):
    hold(server, "/held/*")
    program = """
        import json, os, snapshot
        import gevent
        snapshot.load_everything()
        snapshot.use_requests(os.environ["SERVER"])
        before = snapshot.Snapshot()

        from lanes import await_arrivals, open_gate, right

        mapping = gevent.spawn(right, 10, "/held")
        await_arrivals(10)
        differences = before.differences()
        open_gate()
        print(json.dumps([mapping.get(), differences]))
    """
    assert run(program, lane=lane, server=server) == [10, []]


@pytest.mark.parametrize("first", ["grequests", "requests"])
def test_what_others_see_of_a_session_that_was_used(first, lane, server):
    program = """
        import importlib, json, sys
        importlib.import_module(sys.argv[1])
        import grequests, requests
        from requests.adapters import HTTPAdapter
        from lanes import LANE, URL, Session

        session = requests.Session() if LANE == "fast" else Session()
        adapters = dict(session.adapters)
        before = {name: value for name, value in vars(session).items()}
        grequests.map([grequests.get(f"{URL}/{n}", session=session) for n in range(10)])
        kept = [vars(session)[name] is value for name, value in before.items()]
        stock = [
            type(adapter) is HTTPAdapter and adapter is adapters[prefix]
            for prefix, adapter in session.adapters.items()
        ]
        print(json.dumps([all(kept), all(stock), session.get(URL + "/direct").text]))
    """
    assert run(program, first, lane=lane, server=server) == [True, True, "/direct"]
