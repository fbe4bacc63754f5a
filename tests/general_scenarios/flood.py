"""Send many requests through the general lane and report."""

from __future__ import annotations

import gevent

from grequests import _general


def flood(count: int, url: str, session=None, method: str = "GET", **kwargs):
    """`count` requests at once; a list of texts, or of the exceptions' reprs."""
    results: list[object] = [None] * count

    def one(number: int) -> None:
        try:
            results[number] = _general.perform(session, method, url, dict(kwargs)).text
        except Exception as error:  # noqa: BLE001
            results[number] = repr(error)

    gevent.joinall([gevent.spawn(one, number) for number in range(count)])
    return results
