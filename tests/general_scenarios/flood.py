"""Send many requests through the general lane and report; also a script for subprocesses.

As a script: `flood.py SCENARIO URL COUNT [CA]`.  It prints one JSON object.
"""

from __future__ import annotations

import json
import sys


def flood(count: int, url: str, session=None, method: str = "GET", **kwargs):
    """`count` requests at once; a list of texts, or of the exceptions' reprs."""
    import gevent

    from grequests import _general

    results: list[object] = [None] * count

    def one(number: int) -> None:
        try:
            results[number] = _general.perform(session, method, url, dict(kwargs)).text
        except Exception as error:  # noqa: BLE001
            results[number] = repr(error)

    gevent.joinall([gevent.spawn(one, number) for number in range(count)])
    return results


def main() -> None:
    scenario, url, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
    ca = sys.argv[4] if len(sys.argv) > 4 else True
    if scenario == "patched-before":
        from gevent import monkey

        monkey.patch_all()
    import grequests._general  # noqa: F401

    if scenario == "patched-after":
        import warnings

        from gevent import monkey

        warnings.simplefilter("ignore", monkey.MonkeyPatchWarning)
        monkey.patch_all()
    if scenario == "context-then-patched":
        # Contexts and connections exist already when the process is patched.
        import warnings

        from gevent import monkey

        assert flood(2, url, verify=ca) == ["ok"] * 2
        warnings.simplefilter("ignore", monkey.MonkeyPatchWarning)
        monkey.patch_all()
    if scenario.startswith("fork"):
        print(json.dumps(_forked(scenario, url, count)))  # noqa: T201
        return
    if scenario.startswith("mp-"):
        print(json.dumps(_multiprocessing(scenario[3:], url, count)))  # noqa: T201
        return
    print(json.dumps(flood(count, url, verify=ca)))  # noqa: T201


def _forked(scenario: str, url: str, count: int):
    """A few requests here, many in the child, a few here again."""
    import os

    before = flood(3, url)
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        code = 1
        try:
            os.close(reader)
            with os.fdopen(writer, "w") as pipe:
                json.dump(flood(count, url), pipe)
            code = 0
        finally:
            os._exit(code)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        inside = json.load(pipe)
    assert os.waitpid(child, 0)[1] == 0
    return {"before": before, "child": inside, "after": flood(3, url)}


def _in_process(url: str, count: int, results) -> None:
    results.put(flood(count, url))


def _multiprocessing(method: str, url: str, count: int):
    import multiprocessing

    before = flood(3, url)
    context = multiprocessing.get_context(method)
    results = context.Queue()
    process = context.Process(target=_in_process, args=(url, count, results))
    process.start()
    inside = results.get(timeout=60)
    process.join()
    return {"before": before, "child": inside, "after": flood(3, url)}


if __name__ == "__main__":
    main()
