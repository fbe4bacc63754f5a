"""Telling listeners: in order, in a greenlet, each once, whatever they raise."""

from __future__ import annotations

import logging

import gevent
import pytest
from servers import eventually

from grequests import PolicyError
from grequests._herald import EVENTS, Herald


@pytest.fixture
def herald():
    return Herald()


def told(herald, *events, name="finished"):
    for each in events:
        herald.tell(name, lambda each=each: each)


def test_nobody_listens_at_first_and_events_are_not_even_made(herald):
    assert not herald
    herald.tell("finished", lambda: pytest.fail("made for nobody"))
    herald.add("started", print)
    assert herald
    herald.tell("finished", lambda: pytest.fail("made for nobody"))


def test_listeners_are_told_in_a_greenlet_and_not_by_who_tells(herald):
    heard = []
    herald.add("finished", lambda event: heard.append((event, gevent.getcurrent())))
    told(herald, 1, 2)
    assert heard == []
    eventually(lambda: len(heard) == 2)
    assert [event for event, _ in heard] == [1, 2]
    assert heard[0][1] is not gevent.getcurrent()


def test_an_object_hears_what_it_has_methods_for(herald):
    class Ear:
        on_retried = None

        def __init__(self):
            self.heard = []

        def on_started(self, event):
            self.heard.append(event)

    ear = Ear()
    off = herald.add_listener(ear)
    for name in EVENTS:
        told(herald, name, name=name)
    herald.flush()
    assert ear.heard == ["started"]
    off()
    off()
    assert not herald


def test_one_that_is_taken_off_hears_nothing_more_and_others_go_on(herald):
    first, second = [], []
    off = herald.add("finished", first.append)
    herald.add("finished", second.append)
    told(herald, 1)
    herald.flush()
    off()
    told(herald, 2)
    herald.flush()
    assert (first, second) == ([1], [1, 2])


def test_one_that_raises_is_logged_and_the_others_hear_all(herald, caplog):
    heard = []
    herald.add("finished", lambda _: 1 / 0)
    herald.add("finished", heard.append)
    with caplog.at_level(logging.ERROR, "grequests"):
        told(herald, 1, 2)
        herald.flush()
    assert heard == [1, 2]
    assert [each.exc_info[0] for each in caplog.records] == [ZeroDivisionError] * 2


def test_one_that_waits_hears_in_order_though_others_want_all_told_meanwhile(herald):
    heard = []

    def slow(event):
        gevent.sleep(0.01 / event)  # the first takes longest
        heard.append(event)

    herald.add("finished", slow)
    told(herald, 1, 2, 3)
    gevent.sleep(0)  # its greenlet has begun
    told(herald, 4, 5)
    herald.flush()
    assert heard == [1, 2, 3, 4, 5]


def test_one_may_have_all_told_while_it_is_being_told(herald):
    heard = []

    def nested(event):
        if event == 1:
            told(herald, 3)
            herald.flush()
        heard.append(event)

    herald.add("finished", nested)
    told(herald, 1, 2)
    herald.flush()
    assert sorted(heard) == [1, 2, 3]


def test_what_is_told_by_the_hub_never_runs_in_it(herald):
    heard = []
    hub = gevent.get_hub()
    herald.add("finished", lambda event: heard.append(gevent.getcurrent() is hub))

    def in_the_hub():
        told(herald, 1)
        herald.flush()

    hub.loop.run_callback(in_the_hub)
    eventually(lambda: heard)
    assert heard == [False]


def test_one_that_is_killed_while_it_listens_does_not_silence_it(herald):
    heard = []

    def killed(event):
        if event == 1:
            raise gevent.GreenletExit
        heard.append(event)

    herald.add("finished", killed)
    told(herald, 1, 2)
    eventually(lambda: not herald._greenlet)
    told(herald, 3)
    eventually(lambda: len(heard) == 2)
    assert heard == [2, 3]


def test_an_event_that_does_not_exist_is_refused(herald):
    with pytest.raises(PolicyError) as caught:
        herald.add("exploded", print)
    assert (caught.value.name, caught.value.value) == ("event", "exploded")
