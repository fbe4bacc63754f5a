"""Test code that sends by GRequests: a scripted network and a clock that obeys.

    >>> import grequests
    >>> from grequests.testing import FakeTransport
    >>> with FakeTransport() as fake:
    ...     _ = fake.add("http://api.test/users", json=[{"name": "ada"}])
    ...     [response] = grequests.map([grequests.get("http://api.test/users")])
    >>> response.json()
    [{'name': 'ada'}]

For pytest there are fixtures: `grequests.testing.pytest_plugin`. Nothing else of the package
imports this; it imports what it needs of the package.
"""

from . import _fast, _general  # noqa: F401 - both lanes are to know when a transport is active
from ._clock import FakeClock
from ._script import Answer, Fault, Rule, SentRequest, UnexpectedRequestError
from ._transport import FakeTransport, Load

__all__ = [
    "Answer",
    "FakeClock",
    "FakeTransport",
    "Fault",
    "Load",
    "Rule",
    "SentRequest",
    "UnexpectedRequestError",
]
