"""Processes made of a process with warm connections.

Parent and child must never talk on one connection, or answers go to whoever reads first. More requests
at once in the child than in the parent show it: the child has to open connections, and can only
have taken over the parent's by mistake. The server keeps who asked what on which connection.
"""

from __future__ import annotations

import pytest
from servers import Server

from anywhere.programs import hold, run


def connections(server: Server, path: str) -> set[int]:
    """The connections on which something below a path was asked for."""
    return {each.connection for each in server.requests if each.target.startswith(path)}


def hold_both_sides(server: Server) -> None:
    """Have the parent make ten connections and use all of them again, and the child make sixty."""
    server.hold("/before/*", 10)
    server.hold("/after/*", 10)
    server.hold("/child/*", 60)


def check_sides(server: Server) -> None:
    """Each side has its own connections, and the parent goes on with those it had."""
    inside = connections(server, "/child")
    assert len(connections(server, "/before")) == 10
    assert connections(server, "/after") == connections(server, "/before")
    assert len(inside) == 60
    assert not inside & connections(server, "/before")
    assert not inside & connections(server, "/later")


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_multiprocessing(method, lane, server, tmp_path):
    hold_both_sides(server)
    # The start methods other than fork import the main module again: it must be a file.
    program = tmp_path / "program.py"
    program.write_text("""
import multiprocessing, sys
from lanes import right, say

def work(results):
    results.put(right(60, "/child"))

if __name__ == "__main__":
    context = multiprocessing.get_context(sys.argv[1])
    before = right(10, "/before")
    results = context.Queue()
    process = context.Process(target=work, args=(results,))
    process.start()
    after = right(10, "/after")
    inside = results.get(timeout=40)
    later = right(50, "/later", size=10)
    process.join(40)
    say([before, after, inside, later, process.exitcode])
""")
    assert run(str(program), method, lane=lane, server=server) == [10, 10, 60, 50, 0]
    check_sides(server)


def test_a_bare_fork_while_both_sides_go_on(lane, server):
    hold_both_sides(server)
    program = """
        import os
        from lanes import right, say

        before = right(10, "/before")
        child = os.fork()
        if not child:
            os._exit(right(60, "/child"))
        after = right(10, "/after")
        later = right(50, "/later", size=10)
        _, status = os.waitpid(child, 0)
        say([before, after, later, os.waitstatus_to_exitcode(status)])
    """
    assert run(program, lane=lane, server=server) == [10, 10, 50, 60]
    check_sides(server)


def test_a_fork_while_another_thread_is_in_the_middle_of_a_map(lane, server):
    hold(server, "/before/*")
    server.hold("/child/*", 60)
    program = """
        import os, threading
        from lanes import await_arrivals, open_gate, right, say

        found = []
        thread = threading.Thread(target=lambda: found.append(right(10, "/before")))
        thread.start()
        await_arrivals(10)
        child = os.fork()
        if not child:
            os._exit(right(60, "/child"))
        _, status = os.waitpid(child, 0)
        open_gate()
        thread.join()
        say([found, os.waitstatus_to_exitcode(status), right(60, "/after", size=10)])
    """
    assert run(program, lane=lane, server=server) == [[10], 60, 60]


def test_a_fork_in_a_thread_with_warm_connections(lane, server):
    hold_both_sides(server)
    program = """
        import os, threading
        from lanes import right, say

        found = []

        def work():
            found.append(right(10, "/before"))
            child = os.fork()
            if not child:
                os._exit(right(60, "/child"))
            _, status = os.waitpid(child, 0)
            found.append(os.waitstatus_to_exitcode(status))
            found.append(right(10, "/after"))

        right(3, "/main")
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        say([*found, right(3, "/main")])
    """
    assert run(program, lane=lane, server=server) == [10, 60, 10, 3]
    check_sides(server)


def test_a_fork_in_the_middle_of_a_map_of_another_greenlet(lane, server):
    hold(server, "/before/*")
    server.hold("/child/*", 60)
    program = """
        import os
        import gevent
        from lanes import await_arrivals, open_gate, right, say

        mapping = gevent.spawn(right, 10, "/before")
        await_arrivals(10)
        child = os.fork()
        if not child:
            os._exit(right(60, "/child"))
        _, status = os.waitpid(child, 0)
        open_gate()
        say([mapping.get(), os.waitstatus_to_exitcode(status), right(60, "/after", size=10)])
    """
    assert run(program, lane=lane, server=server) == [10, 60, 60]


def test_a_pool_of_processes_with_an_initialiser_and_of_futures(lane, server):
    program = """
        import concurrent.futures, multiprocessing
        from lanes import right, say

        def begin():
            right(3, "/begin")

        def work(number):
            return right(10, f"/child/{number}")

        before = right(10, "/before")
        context = multiprocessing.get_context("fork")
        with context.Pool(2, begin, maxtasksperchild=2) as pool:
            pooled = pool.map(work, range(8), chunksize=1)
            between = right(10, "/between")
        with concurrent.futures.ProcessPoolExecutor(2, context, begin) as pool:
            futures = list(pool.map(work, range(8)))
        say([before, between, sum(pooled), sum(futures), right(10, "/after")])
    """
    assert run(program, lane=lane, server=server) == [10, 10, 80, 80, 10]


def test_children_of_children_and_a_parent_that_never_mapped(lane, server):
    server.hold("/child/*", 20)
    program = """
        import os
        from lanes import right, say

        def in_child(work):
            child = os.fork()
            if not child:
                os._exit(work())
            return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

        def generation(depth):
            inside = in_child(lambda: generation(depth - 1)) if depth else 0
            return inside + right(5, f"/generation/{depth}")

        say([in_child(lambda: right(20, "/child")), generation(3)])
    """
    assert run(program, lane=lane, server=server) == [20, 20]


def test_a_child_of_a_patched_process(lane, server):
    hold_both_sides(server)
    program = """
        from gevent import monkey
        monkey.patch_all()
        import multiprocessing, os
        from lanes import right, say

        before = right(10, "/before")
        child = os.fork()
        if not child:
            os._exit(right(60, "/child"))
        after = right(10, "/after")
        later = right(50, "/later", size=10)
        _, status = os.waitpid(child, 0)
        say([before, after, later, os.waitstatus_to_exitcode(status)])
    """
    assert run(program, lane=lane, server=server) == [10, 10, 50, 60]
    check_sides(server)


def test_a_child_leaves_the_parents_connections_alone_when_it_ends(lane, https_server, ca_file):
    program = """
        import os, sys
        import grequests
        from lanes import many, say

        def right(count, path):
            responses = grequests.map(many(count, path, verify=sys.argv[1]))
            return sum(response.status_code == 200 for response in responses)

        before = right(5, "/before")
        for ending in (lambda: os._exit(right(5, "/child")), grequests.close, lambda: None):
            child = os.fork()
            if not child:
                ending()
                sys.exit(5)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 5
        say([before, right(5, "/after")])
    """
    found = run(program, ca_file, lane=lane, server=https_server)
    assert found == [5, 5]
    # (One of the five may have been made for nothing, if another was free before it.)
    assert connections(https_server, "/after") <= {1, 2, 3, 4, 5}
    assert connections(https_server, "/before") <= {1, 2, 3, 4, 5}


def test_gevents_own_fork_and_reinit(lane, server):
    program = """
        import os
        import gevent
        from lanes import right, say

        before = right(10, "/before")
        child = gevent.fork()
        if not child:
            gevent.reinit()
            code = right(20, "/child")
            gevent.reinit()
            os._exit(code + right(20, "/child"))
        _, status = os.waitpid(child, 0)
        gevent.reinit()
        say([before, os.waitstatus_to_exitcode(status), right(10, "/after")])
    """
    assert run(program, lane=lane, server=server) == [10, 40, 10]


def test_programs_that_parent_and_child_start(lane, server):
    program = """
        import os, signal, subprocess
        import gevent.subprocess
        from lanes import right, say

        def start():
            said = subprocess.check_output(["echo", "1"])
            said += subprocess.check_output(["echo", "2"], preexec_fn=os.getpid)
            return said + gevent.subprocess.check_output(["echo", "3"])

        both = [right(5, "/before"), start() == b"1\\n2\\n3\\n"]
        child = os.fork()
        if not child:
            is_well = right(5, "/child") == 5 and start() == b"1\\n2\\n3\\n"
            os._exit(7 if is_well else 1)
        _, status = os.waitpid(child, 0)
        say([*both, os.waitstatus_to_exitcode(status), right(5, "/after")])
    """
    assert run(program, lane=lane, server=server) == [5, True, 7, 5]
