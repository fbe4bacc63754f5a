"""The client of the soak: sends the requests of the plan and looks at every result."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from typing import Any

import gevent
import grequests
import requests
from grequests._engine import current_engine

from soaking import figures, limits, plan
from soaking.judge import Tally

#: Seconds between two lines about how it goes.
SPEAK = 10.0


class Subclass(requests.Session):
    """Its requests take the general lane."""


class Soak:
    """One soak.

    Args:
        count: how many requests.
        held: how many at once.
        ports: of the server, by name.
        authority: a file of certificates, of whom to trust.

    """

    def __init__(self, count: int, held: int, ports: dict[str, int], authority: str) -> None:
        self.count = count
        self.held = held
        self.pulled = self.done = 0
        self.tally = Tally(count)
        self.samples: list[figures.Sample] = []
        self._ports = ports
        self._authority = authority
        self._general = Subclass()
        self._hopping = requests.Session()
        self._general.max_redirects = self._hopping.max_redirects = plan.HOPS
        self._every = max(count // figures.SAMPLES, 1)
        self._began = self._spoken = time.monotonic()

    def requests(self) -> Iterator[Any]:
        """Make them as they are asked for."""
        port, get = self._ports["plain"], grequests.get
        many = [f"http://{host}:{port}/" for host in plan.MANY]
        of_many = len(many)
        for number in range(self.count):
            self.pulled = number + 1
            is_plain = number % 100 not in (13, 21, 37) and number % plan.SECURE != plan.SECURE_AT
            if is_plain and number % 499:
                yield get(f"{many[number % of_many]}{number}")
            else:
                yield self._rare(number)

    def _rare(self, number: int) -> Any:
        """A request that is not like the others."""
        fault, method = plan.fault_of(number), plan.method_of(number)
        options: dict[str, Any] = {}
        if plan.is_general(number):
            options["session"] = self._general
        elif fault == "redirect loop":
            options["session"] = self._hopping
        if fault is not None and fault.startswith("silence"):
            options["timeout"] = (10, plan.SILENCE)
        if method == "POST":
            options["data"] = plan.body_of(number)
        scheme = "http"
        if plan.is_secure(number):
            scheme, options["verify"] = "https", self._authority
        place = f"{plan.host_of(number)}:{self._ports[plan.port_of(number)]}"
        return grequests.request(method, f"{scheme}://{place}/{number}", **options)

    def run(self) -> dict[str, Any]:
        """Send everything, and say what came of it."""
        with grequests.Client(
            # So many that as many as are to be held are, while results are read and faults mended.
            concurrency=self.held + self.held // 16,
            per_host=None,
            retry=grequests.Retry(attempts=2, backoff=0.05),
            circuit=None,
            timeout=grequests.Timeout(connect=10, read=60, total=plan.TOTAL),
            max_body=plan.MAX_BODY,
        ) as client:
            cpu = limits.processor()
            is_whole = self._read(client.run(self.requests()))
            seconds, cpu = time.monotonic() - self._began, limits.processor() - cpu
            counts = client.statistics()
        return {
            "date": figures.today(),
            "machine": figures.machine(),
            "revision": figures.revision(),
            "whole": is_whole,
            "held": self.held,
            "done": self.done,
            "seconds": round(seconds, 1),
            "cpu": round(cpu, 1),
            "faulty": self.pulled // plan.EVERY,
            "general": sum(map(plan.is_general, range(self.pulled))),
            "secure": sum(map(plan.is_secure, range(self.pulled))),
            "lost": self.tally.lost(self.pulled),
            "came twice": self.tally.twice,
            "wrong bodies": self.tally.wrong,
            "unexpected outcomes": self.tally.unexpected,
            "in flight": counts.in_flight + counts.queued,
            "opened": counts.opened,
            "retries": counts.retries,
            "faults": {
                fault: dict(self.tally.faults[fault])
                for fault in plan.FAULTS
                if fault in self.tally.faults
            },
            "examples": self.tally.examples,
        }

    def _read(self, results: Any) -> bool:
        """Look at every result; whether it was not interrupted."""
        take, every = self.tally.take, self._every
        try:
            for result in results:
                take(result)
                self.done += 1
                if not self.done % every:
                    self._sample()
        except KeyboardInterrupt:
            # What was cut off has a result, too; that it was cut off is no news.
            for result in results:
                self.done += 1
                self.tally.take_cut(result)
            return False
        return True

    def close(self) -> None:
        """Close whatever connections there are."""
        self._general.close()
        self._hopping.close()
        grequests.close()
        gevent.sleep(0)

    def _sample(self) -> None:
        now = time.monotonic()
        held = current_engine().statistics().open
        self.samples.append(
            figures.Sample(
                self.done, now - self._began, limits.resident(), limits.descriptors(), held
            )
        )
        if now - self._spoken >= SPEAK or len(self.samples) == 1:
            self._spoken = now
            self._speak(self.samples[-1])

    def _speak(self, sample: figures.Sample) -> None:
        tally = self.tally
        print(
            f"{sample.done:,} of {self.count:,} in {sample.seconds:,.0f} s "
            f"({sample.done / sample.seconds:,.0f}/s); {sample.held:,} connections, "
            f"{sample.descriptors:,} descriptors, {sample.rss / 1e6:.0f} MB; "
            f"wrong {tally.wrong}, unexpected {tally.unexpected}",
            file=sys.stderr,
            flush=True,
        )
