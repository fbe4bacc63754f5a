"""Those on both sides of a client: who gives requests, who answers them, who reads the results."""

from __future__ import annotations

import gevent
import requests
from gevent.event import AsyncResult
from gevent.lock import Semaphore

from grequests import ClientClosedError


class Odd(requests.Session):
    """Its requests take the general lane."""


class Lazily:
    """An input without a length."""

    def __init__(self, items):
        self._items = iter(items)
        self.waiting = len(items)

    def __iter__(self):
        return self

    def __next__(self):
        item = next(self._items)
        self.waiting -= 1
        return item


class Asked:
    """A request that the server has, and has not answered."""

    def __init__(self, request):
        self.path = request.url.rsplit("/", 1)[1]
        self.answer = AsyncResult()


class Reader:
    """Whoever reads the results of a run, as many at a time as it is told to.

    Attributes:
        read: the results so far.
        is_over: whether the loop has ended.
        is_closed: whether it was ended by somebody.
    """

    def __init__(self, client, source, items, options):
        self.source = source
        self.items = items
        self.ordered = options["ordered"]
        self.deadline = options.get("deadline")
        self.results = client.run(source, **options)
        self.read = []
        self.is_over = self.is_closed = False
        self._permits = Semaphore(0)
        self._greenlet = gevent.spawn(self._loop)

    def _loop(self):
        try:
            while True:
                self._permits.acquire()
                result = next(self.results, None)
                if result is None:
                    break
                self.read.append(result)
        except ClientClosedError:
            self.is_closed = True  # before anything was asked for
        finally:
            self.is_over = True

    def go_on(self, count):
        for _ in range(count):
            self._permits.release()

    @property
    def pulled(self):
        """How many requests were taken from its input."""
        return len(self.items) - self.source.waiting

    @property
    def unread(self):
        """Results that are there and were not read."""
        flow = self.results._flow
        return 0 if flow is None else len(flow._finished)

    def close(self):
        self.is_closed = True
        self.results.close()
        self._permits.release()
