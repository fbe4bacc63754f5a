"""A set of names watched for changes: by a witness, or one by one where Python has none."""

from __future__ import annotations

import copyreg
import types
from collections.abc import Mapping

import pytest

from grequests import _stock, _stock_watch
from grequests._stock_watch import Watch


@pytest.fixture(params=["witness", "one by one"])
def watch(request, monkeypatch):
    if request.param == "one by one":
        monkeypatch.setattr(_stock_watch, "_FLAGS_TELL", False)
    made = Watch(
        (*_stock._REQUESTS, *_stock._SOCKETS),
        lambda: (*_stock._request_classes(), *_stock._socket_classes()),
        _stock._CORE,
        lambda: True,
    )
    assert made.question() is True
    assert made.glance() is True
    return made


HOOKS = [
    "requests.Session.send",
    "requests.Session.request",
    "requests.Session.get_adapter",
    "requests.adapters.HTTPAdapter.send",
    "urllib3.connectionpool.HTTPConnectionPool.urlopen",
    "urllib3.connectionpool.HTTPConnectionPool.ConnectionCls",
    "http.client.HTTPConnection.putrequest",
    "http.client.HTTPConnection.getresponse",
    "requests.sessions.Session",
    "socket.socket",
    "socket.getaddrinfo",
    "ssl.SSLContext",
    "urllib3.util.ssl_.SSLContext",
    "urllib3.util.connection.create_connection",
]


@pytest.mark.parametrize("target", HOOKS)
def test_a_glance_sees_what_packages_replace(watch, target, monkeypatch):
    monkeypatch.setattr(target, lambda *_: None)
    assert watch.glance() is False
    assert watch.question() is False
    assert watch.question() is False
    assert watch.glance() is False
    monkeypatch.undo()
    assert watch.glance() is False  # it has to be asked first
    assert watch.question() is True
    assert watch.glance() is True


def test_a_switch_is_seen(watch, monkeypatch):
    monkeypatch.setattr("http.client.HTTPConnection.debuglevel", 1)
    assert watch.question() is False
    monkeypatch.undo()
    assert watch.question() is True


def test_what_is_put_back_by_hand_is_what_it_was(watch):
    import socket

    inherited = socket.socket.connect
    try:
        socket.socket.connect = lambda *_: None
        assert watch.question() is not _stock_watch._FLAGS_TELL
        socket.socket.connect = inherited
        assert watch.question() is True
    finally:
        del socket.socket.connect
    assert watch.question() is True


def test_an_attribute_of_somebodys_own_is_no_change(watch):
    import requests

    requests.Session.marked_by_somebody = True
    try:
        assert watch.question() is True
    finally:
        del requests.Session.marked_by_somebody


def test_what_copying_and_pickling_leave_in_classes_is_no_change(watch):
    """`copyreg` keeps a list of slots in each class of which it has seen an instance."""
    classes = list(watch._spaces)
    for base in classes:
        copyreg._slotnames(base)
        assert watch.question() is True
    for base in classes:
        if "__slotnames__" in vars(base):
            del base.__slotnames__
    copyreg._slotnames(classes[0])
    # One that learns what classes say while only one of them knows its slots.
    another = Watch(_stock._REQUESTS, _stock._request_classes, _stock._CORE, lambda: True)
    assert another.question() is True
    for base in classes:
        copyreg._slotnames(base)
        assert another.question() is True


def test_a_witness_is_touched_while_others_look_at_what_it_watches():
    class Base:
        """Watched."""

        attribute = 1

    class Middle(Base):
        """Between."""

    witness = _stock_watch._witness_of(Middle, Mapping)
    armed, flags = _stock_watch._arm(witness), _stock_watch._flags_of
    assert flags(witness) == armed
    Base.attribute = 2
    assert (Base.attribute, Middle.attribute, Middle().attribute) == (2, 2, 2)
    assert flags(witness) != armed
    # Who walks through subclasses comes by the witness.
    assert [each.attribute for each in Middle.__subclasses__()] == [2]
    assert not isinstance(type("New", (), {})(), Mapping)
    assert flags(witness) != armed
    assert _stock_watch._arm(witness) == armed == flags(witness)
    assert [each.attribute for each in Middle.__subclasses__()] == [2]
    assert flags(witness) == armed


def test_a_touch_during_a_look_is_not_lost(monkeypatch):
    """Another thread replaces a function when its class has been looked at already."""
    import requests

    made = Watch(_stock._REQUESTS, _stock._request_classes, also=lambda: True)
    look, original = made._classes_are_original, requests.Session.send

    def look_and_be_late():
        found = look()
        requests.Session.send = lambda *_: None
        return found

    requests.Session.mount = requests.Session.mount  # a reason to look
    made._classes_are_original = look_and_be_late
    try:
        made.question()
        made._classes_are_original = look
        assert made.question() is False
    finally:
        requests.Session.send = original
    assert made.question() is True


def test_what_was_imported_by_name_while_it_was_replaced_is_given_back(monkeypatch):
    import sys

    import requests.utils

    ours = types.ModuleType("grequests._made_up")
    monkeypatch.setitem(sys.modules, ours.__name__, ours)
    original = requests.utils.default_headers
    with monkeypatch.context() as patch:
        patch.setattr(requests.utils, "default_headers", lambda: {})
        ours.default_headers = requests.utils.default_headers
        made = Watch(_stock._REQUESTS, _stock._request_classes, also=lambda: True)
        assert made.question() is False
        assert ours.default_headers is not original
    assert made.question() is True
    assert ours.default_headers is original
