"""Samples taken on the way, what they say at the end, and how that is shown."""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

#: Samples of a soak.
SAMPLES = 400
#: By how much memory may grow from the second tenth of a soak to the last: by the highest that it
#: has been, since the garbage of some failures is there at once now and then. And from the eighth
#: tenth, when it has been there. (A hundred bytes lost with each fault would be more in
#: a long soak.) Descriptors come and go with connections.
MEMORY, MEMORY_AT_LAST, DESCRIPTORS = 0.06, 0.01, 0.05
#: Requests from which on a soak is long: after its first tenth memory does not grow any more. In a
#: short one the allocator is still at it, so that there are some bytes that it may grow by.
LONG = 5_000_000
WARMING = 24_000_000


class Sample(NamedTuple):
    """What there is after so many requests.

    Attributes:
        done: results so far.
        seconds: since the start.
        rss: bytes of memory.
        descriptors: open in this process.
        held: connections of the engine.

    """

    done: int
    seconds: float
    rss: int
    descriptors: int
    held: int


@dataclass(frozen=True)
class Check:
    """Something that has to be true at the end."""

    what: str
    value: str
    bound: str
    ok: bool


#: What there may be none of.
_ZERO = {
    "lost": "requests without a result",
    "came twice": "with two",
    "wrong bodies": "wrong bodies",
    "wrong uploads": "uploads that came otherwise than they went",
    "unexpected outcomes": "outcomes that may not be",
    "spoilt and used": "requests on a connection with something behind a response",
    "left": "descriptors, and requests under way, at the end",
}


def checks(figures: dict[str, Any], samples: Sequence[Sample]) -> list[Check]:
    """All of it."""
    found = [
        Check(shown, f"{figures[name]:,}", "0", figures[name] == 0) for name, shown in _ZERO.items()
    ]
    more = 0 if figures["done"] >= LONG else WARMING
    rss, descriptors = [each.rss for each in samples], [each.descriptors for each in samples]
    found += [
        _flat("RSS (MB), second", rss, 1, max(MEMORY * rss[-1], more), 1e6),
        _flat("RSS (MB), eighth", rss, 7, max(MEMORY_AT_LAST * rss[-1], more), 1e6),
        _flat("descriptors, second", descriptors, 1, max(DESCRIPTORS * figures["held"], 20)),
    ]
    held = statistics.median(each.held for each in _middle(samples))
    least = figures["held"]
    found.append(Check("connections held", f"{held:,.0f}", f">= {least:,}", held >= least))
    return found


def _middle(samples: Sequence[Sample]) -> Sequence[Sample]:
    """All but the beginning and the end."""
    return samples[len(samples) // 10 : -len(samples) // 10] or samples


def _flat(name: str, values: Sequence[int], tenth: int, more: float, unit: float = 1.0) -> Check:
    """Whether the last tenth is no higher than another one.

    Args:
        name: of what it is.
        values: of the samples, in order.
        tenth: which other one, from 0.
        more: by which it may be higher.
        unit: in which it is shown.

    """
    size = max(len(values) // 10, 1)
    early = statistics.median(values[tenth * size : (tenth + 1) * size] or values)
    late = statistics.median(values[-size:])
    most = early + more
    shown = f"{early / unit:,.1f}, {late / unit:,.1f}"
    return Check(f"{name} and last tenth", shown, f"<= {most / unit:,.1f}", ok=late <= most)


def table(figures: dict[str, Any], found: Sequence[Check]) -> str:
    """The figures for people."""
    lines = [
        "# The soak",
        "",
        (
            f"{figures['date']}, {figures['revision']}, {figures['machine']}. "
            f"{figures['done']:,} requests, {figures['faulty']:,} of them with one of {len(figures['faults'])} faults, "
            f"{figures['general']:,} by the general lane, {figures['secure']:,} through TLS; "
            f"{figures['held']:,} at once, each on a "
            f"connection of its own. {figures['seconds']:,.0f} s, "
            f"{figures['done'] / figures['seconds']:,.0f} requests/s, "
            f"{figures['cpu'] / figures['done'] * 1e6:.0f} us of CPU per request (checks "
            "included). `make soak`"
        ),
        "",
        "| what | value | bound | |",
        "|---|---:|---:|---|",
        *(
            f"| {each.what} | {each.value} | {each.bound} | {'yes' if each.ok else '**no**'} |"
            for each in found
        ),
        "",
        (
            f"Connections made: {figures['opened']:,}; requests that were sent again by `Retry`: "
            f"{figures['retries']:,}. The server has read "
            f"{figures['server']['requests']:,} requests and held "
            f"{figures['server']['peak']:,} connections at most."
        ),
        "",
        "| fault | what came of it |",
        "|---|---|",
        *(f"| {fault} | {_counts(counts)} |" for fault, counts in figures["faults"].items()),
        "",
    ]
    if figures["examples"]:
        lines += ["What should not be:", "", *(f"- {each}" for each in figures["examples"]), ""]
    return "\n".join(lines)


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{outcome} {count:,}" for outcome, count in sorted(counts.items()))


def as_json(
    figures: dict[str, Any], found: Sequence[Check], samples: Sequence[Sample]
) -> dict[str, Any]:
    """Everything, as JSON has it."""
    return {
        **figures,
        "checks": [asdict(each) for each in found],
        "samples": {"fields": Sample._fields, "rows": [_row(each) for each in samples]},
    }


def _row(sample: Sample) -> list[float]:
    return [sample.done, round(sample.seconds, 2), *sample[2:]]


def machine() -> str:
    """Where it was run."""
    return f"Python {platform.python_version()}, {os.cpu_count()} processors"


def revision(place: Path = Path(__file__).parent) -> str:
    """The commit, with a plus if files differ from it; empty outside of a repository."""
    command = ["git", "-C", str(place), "describe", "--always", "--dirty=+"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip()


def today() -> str:
    """The date."""
    return time.strftime("%Y-%m-%d")
