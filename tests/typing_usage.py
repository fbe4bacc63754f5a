"""What users write; `test_typing.py` has mypy --strict read it. It is never run."""

from __future__ import annotations

from collections.abc import Iterator

import gevent
import gevent.pool
import requests
from requests.auth import HTTPBasicAuth
from typing_extensions import assert_type

import grequests

url = "http://example.org/"

# Requests

request = grequests.get(url)
assert_type(request, grequests.AsyncRequest)
assert_type(request.method, str)
assert_type(request.response, "requests.Response | None")
assert_type(request.exception, BaseException)
assert_type(request.traceback, str)
assert_type(request.session, requests.Session)
assert_type(request.send(stream=True), grequests.AsyncRequest)

grequests.get(url, params={"q": "1"}, headers={"X": "1"}, timeout=5)
grequests.get(url, params=[("q", "1")], timeout=(1, 2.5), allow_redirects=False)
grequests.get(url, params="q=1", timeout=(None, 5), headers={"X": None})
grequests.post(url, data={"a": "1"}, files={"f": b"1"}, cookies={"c": "1"})
grequests.post(url, data=b"bytes", auth=("user", "pass"), verify=False)
grequests.post(url, json=[1, {"a": None}], auth=HTTPBasicAuth("user", "pass"), verify="ca.pem")
grequests.put(url, data=iter([b"1", b"2"]), cert=("cert.pem", "key.pem"))
grequests.patch(url, proxies={"http": "http://proxy:8080"}, session=requests.Session())
grequests.delete(url, callback=lambda response, **_: None)
grequests.options(url, hooks={"response": [lambda response, **_: None]})
grequests.head(url, stream=True)
grequests.request("PROPFIND", url, timeout=None)
grequests.get(url, suppress_ragged_eofs=True)

# Sending

requested = [grequests.get(url) for _ in range(3)]


def handler(request: grequests.AsyncRequest, error: BaseException | None) -> str | None:
    return None if error is None else f"{request.url}: {error}"


for response in grequests.map(requested):
    if response is not None:
        print(response.status_code, response.json())
grequests.map(requested, size=10, exception_handler=handler, gtimeout=1.5)
grequests.map((each for each in requested), stream=True)

for response in grequests.imap(requested, size=10):
    print(response.text)

for index, result in grequests.imap_enumerated(requested, size=None, exception_handler=handler):
    assert_type(index, int)
    print(index, result)


def endless() -> Iterator[grequests.AsyncRequest]:
    while True:
        yield grequests.get(url)


results = grequests.imap(endless(), size=50)
next(results)
results.close()

job = grequests.send(request, gevent.pool.Pool(5), stream=True)
gevent.joinall([job])
grequests.close()

# Errors

try:
    grequests.map(requested)
except grequests.NotARequestError as error:
    print(error.index, error.item_type)
except grequests.RequestInFlightError as error:
    print(error.url, error.index)
except grequests.InvalidSizeError as error:
    print(error.size)
except grequests.GRequestsError:
    raise


class Own(grequests.AsyncRequest):
    """A class of the user's."""


# The bulk layer

with grequests.Client(
    concurrency=20,
    per_host=None,
    rate=grequests.Rate(100, per=60),
    per_host_rate=5.0,
    retry=grequests.Retry(attempts=4, methods={"GET", "POST"}),
    circuit=None,
    timeout=grequests.Timeout(connect=5, read=20, total=60),
    max_body=1_000_000,
    proxies=grequests.ProxyPool(["http://p1:3128"], sticky=True),
) as client:
    for outcome in client.run([url, (url, 7), request], ordered=True, deadline=60):
        assert_type(outcome, grequests.Result)
        assert_type(outcome.index, int)
        assert_type(outcome.ok, bool)
        assert_type(outcome.response, requests.Response | None)
        assert_type(outcome.error, BaseException | None)
        assert_type(outcome.unwrap(), requests.Response)
        assert_type(outcome.attempts, tuple[grequests.Attempt, ...])
        assert_type(outcome.timings.total, float)
    future = client.submit(url)
    assert_type(future.result(timeout=5), grequests.Result)
    feed = client.feed(until_idle=True)
    feed.put(url)
    off = client.on("retried", print)
    off()
    statistics = client.statistics()
    assert_type(statistics.latency.p99, float)
    assert_type(statistics.failures, int)

for outcome in grequests.run([url], retry=3, timeout=10, progress=print):
    assert_type(outcome, grequests.Result)
grequests.get(url, tag="mine", cost=5)

# Strangers

policy = grequests.AddressPolicy(allow=["10.0.0.0/8"], deny=("1.1.1.1",), deny_private=True)
assert_type(policy.permits("127.0.0.1"), bool)
grequests.Client(address_policy=policy)
grequests.run([url], address_policy=None)
assert_type(grequests.was_sent(ValueError()), bool)
