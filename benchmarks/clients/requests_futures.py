"""requests-futures: FuturesSession with a pool as large as its executor."""

from __future__ import annotations

import time
from collections.abc import Iterable
from concurrent.futures import Future, as_completed

from requests import Response
from requests_futures.sessions import FuturesSession

from clients._common import Fetch, Job, main


def start(job: Job) -> Fetch:
    """FuturesSession sizes the connection pools by ``max_workers`` itself."""
    session = FuturesSession(max_workers=job.concurrency)
    session.verify = job.ca

    def answers(urls: Iterable[str]) -> Iterable[Response]:
        futures = [session.get(url) for url in urls]
        return (future.result() for future in as_completed(futures))

    def fetch(urls: Iterable[str]) -> None:
        for response in answers(urls):
            job.check(response.status_code, response.content)

    def fetch_json(urls: Iterable[str]) -> None:
        for response in answers(urls):
            job.check_json(
                response.status_code,
                response.headers["Content-Type"],
                response.text,
                response.json(),
            )

    def fetch_timed(urls: Iterable[str]) -> None:
        """All are submitted at once: the time counts from when a worker takes the request."""

        def note(response: Response, *_args: object, **_options: object) -> None:
            job.latencies.append(time.perf_counter() - response.request.began)

        def stamp(request):
            request.began = time.perf_counter()
            return request

        futures: list[Future[Response]] = [
            session.get(url, auth=stamp, hooks={"response": note}) for url in urls
        ]
        for future in as_completed(futures):
            job.check(future.result().status_code, future.result().content)

    return fetch_json if job.json else fetch_timed if job.latency else fetch


if __name__ == "__main__":
    main(start)
