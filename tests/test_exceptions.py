"""The library's own errors: one root, a builtin beside it, attributes, pickles."""

from __future__ import annotations

import copy
import pickle

import pytest

import grequests

EVERY = [
    (grequests.NotARequestError(3, "http://example.org/"), TypeError, {"index": 3}),
    (grequests.NotARequestError(None, 5), TypeError, {"index": None, "item_type": "int"}),
    (
        grequests.RequestInFlightError("http://e/", 2),
        RuntimeError,
        {"url": "http://e/", "index": 2},
    ),
    (
        grequests.RequestInFlightError("http://e/"),
        RuntimeError,
        {"url": "http://e/", "index": None},
    ),
    (grequests.InvalidSizeError(0), ValueError, {"size": 0}),
    (grequests.GRequestsError("words", 1), Exception, {}),
]
every = pytest.mark.parametrize(("error", "builtin", "attributes"), EVERY, ids=repr)


@every
def test_they_have_one_root_and_a_builtin_beside_it(error, builtin, attributes):
    assert isinstance(error, grequests.GRequestsError)
    assert isinstance(error, builtin)


@every
def test_what_they_know_is_in_attributes(error, builtin, attributes):
    assert {name: getattr(error, name) for name in attributes} == attributes


@every
@pytest.mark.parametrize("again", [lambda e: pickle.loads(pickle.dumps(e)), copy.copy])
def test_they_survive_pickling_and_copying(error, builtin, attributes, again):
    twin = again(error)
    assert type(twin) is type(error)
    assert str(twin) == str(error)
    assert twin.args == error.args
    assert vars(twin) == vars(error)


def test_they_print_as_the_packages():
    for name in ("GRequestsError", "NotARequestError", "RequestInFlightError", "InvalidSizeError"):
        error = getattr(grequests, name)
        assert (error.__module__, error.__qualname__) == ("grequests", name)
        assert name in grequests.__all__


def test_their_texts():
    assert [str(error) for error, *_ in EVERY] == [
        "item 3 of the requests is not an AsyncRequest but str (wrap it in grequests.get(...))",
        "what is to be sent is not an AsyncRequest but int",
        "the request for 'http://e/' (item 2 of the requests) is in flight already",
        "the request for 'http://e/' is in flight already",
        "size must be an integer of at least 1, or None, not 0",
        "('words', 1)",
    ]
