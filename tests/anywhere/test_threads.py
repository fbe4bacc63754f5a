"""Many threads map at the same time, each with a hub of its own, and leave nothing behind."""

from __future__ import annotations

from anywhere.programs import run


def test_threads_of_a_pool_map_at_the_same_time(lane, server):
    server.hold("/together/*", 80)
    program = """
        import concurrent.futures
        from lanes import right, say

        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            together = list(pool.map(right, [10] * 8, [f"/together" for _ in range(8)]))
            apart = list(pool.map(right, [10] * 40, [f"/apart/{n}" for n in range(40)]))
        say([sum(together), sum(apart)])
    """
    assert run(program, lane=lane, server=server) == [80, 400]


def test_threads_that_end_leave_no_descriptor_and_no_thread(lane, server):
    program = """
        import gc, os, threading
        import grequests
        from lanes import LANE, right, say

        def descriptors():
            return len(os.listdir("/proc/self/fd"))

        def wave():
            threads = [threading.Thread(target=right, args=(5, f"/{n}")) for n in range(10)]
            for each in threads:
                each.start()
            for each in threads:
                each.join()
            gc.collect()
            return descriptors()

        right(5, "/main")
        grequests.close()
        before = descriptors()
        counts = [wave() for _ in range(5)]
        # In the general lane connections are shared between threads, and so outlive them: one for
        # each request that was on its way at a time.
        kept = 0 if LANE == "fast" else 50
        say([max(counts) <= before + kept, threading.active_count()])
    """
    assert run(program, lane=lane, server=server) == [True, 1]


def test_one_session_in_many_threads(lane, server):
    program = """
        import threading
        import grequests, requests
        from lanes import LANE, URL, Session, say

        session = requests.Session() if LANE == "fast" else Session()
        session.headers["X-Mine"] = "yes"
        right = []

        def work(number):
            sent = [grequests.get(f"{URL}/echo?{number}.{n}", session=session) for n in range(20)]
            for request, response in zip(sent, grequests.map(sent, size=10)):
                seen = response.json()
                right.append(
                    request.url.endswith(seen["target"]) and seen["headers"]["x-mine"] == "yes"
                )

        threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
        work("main")
        say([len(right), all(right)])
    """
    assert run(program, lane=lane, server=server) == [180, True]


def test_the_first_import_happens_in_a_thread(lane, server):
    program = """
        import concurrent.futures, json

        def work(number):
            from lanes import right
            return right(10, f"/{number}")

        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            inside = sum(pool.map(work, range(4)))
        print(json.dumps([inside, work("main")]))
    """
    assert run(program, lane=lane, server=server) == [40, 10]


def test_gevents_own_threads(lane, server):
    program = """
        import gevent
        from lanes import right, say

        pool = gevent.get_hub().threadpool
        jobs = [pool.spawn(right, 10, f"/{n}") for n in range(4)]
        main = right(10, "/main")
        say([main, *(job.get() for job in jobs)])
    """
    assert run(program, lane=lane, server=server) == [10] * 5


def test_a_thread_ends_its_hub_by_itself(lane, server):
    program = """
        import threading
        import gevent
        from lanes import right, say

        found = []

        def work():
            found.append(right(10, "/thread"))
            gevent.get_hub().destroy()
            found.append(right(10, "/again"))
            gevent.get_hub().destroy()

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        found.append(right(10, "/main"))
        gevent.get_hub().destroy(destroy_loop=True)
        found.append(right(10, "/once-more"))
        say(found)
    """
    assert run(program, lane=lane, server=server) == [10] * 4
