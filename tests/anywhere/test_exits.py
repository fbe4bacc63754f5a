"""The interpreter ends while requests are on their way: promptly, with its own code, in silence."""

from __future__ import annotations

import pytest
from servers import answer

from anywhere.programs import finish, hold, started

#: What leaves requests on their way at the end of a program.
LEFT_BEHIND = {
    "an abandoned imap": """
        results = grequests.imap(many(10, "/held") + many(1, "/quick"), size=11)
        next(results)
    """,
    "an abandoned imap in a cycle": """
        class Holder:
            pass

        holder = Holder()
        holder.itself = holder
        holder.results = grequests.imap(many(10, "/held") + many(1, "/quick"), size=11)
        next(holder.results)
        del holder
    """,
    "greenlets by send": """
        jobs = [grequests.send(each) for each in many(10, "/held")]
    """,
    "a greenlet that maps": """
        import gevent
        job = gevent.spawn(grequests.map, many(10, "/held"))
    """,
    "a daemon thread that maps": """
        import threading
        threading.Thread(target=grequests.map, args=(many(10, "/held"),), daemon=True).start()
    """,
    "daemon threads that map on and on": """
        import threading

        def work():
            while True:
                grequests.map(many(20, "/busy"))

        for _ in range(4):
            threading.Thread(target=work, daemon=True).start()
        jobs = [grequests.send(each) for each in many(10, "/held")]
    """,
    "streamed responses": """
        jobs = [grequests.send(each) for each in many(10, "/held")]
        large = [get("/large", number=n) for n in range(2)]
        responses = grequests.map(large, stream=True)
        pieces = [next(response.iter_content(1000)) for response in responses]
    """,
}


@pytest.mark.parametrize("what", LEFT_BEHIND)
def test_the_interpreter_exits_with_requests_on_their_way(what, lane, server):
    hold(server, "/held/*")
    server.on("/large", lambda _: answer(b"x" * 20_000_000))
    program = """
        import sys
        import grequests
        from lanes import await_arrivals, get, many
        {}
        await_arrivals(10)
        print("done", flush=True)
        sys.exit(3)
    """.format(LEFT_BEHIND[what].strip())
    with started(program, lane=lane, server=server) as process:
        assert process.stdout.readline() == "done\n", process.stderr.read()
        # At once, that is, and not when the server at last loses its patience.
        assert finish(process, 3, timeout=20) == ""
