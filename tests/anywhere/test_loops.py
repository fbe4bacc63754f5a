"""In somebody else's event loop: blocked meanwhile, as by any synchronous code, and none the worse."""

from __future__ import annotations

import pytest

from anywhere.programs import run


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_in_a_coroutine_and_in_threads_of_its_loop(loop, lane, server):
    server.hold("/inside/*", 20)
    server.hold("/several/*", 50)  # asyncio has five threads at least
    program = """
        import asyncio, sys
        import uvloop
        from lanes import right, say

        async def tick(ticks):
            while True:
                ticks.append(None)
                await asyncio.sleep(0)

        async def main():
            ticks = []
            ticking = asyncio.create_task(tick(ticks))
            await asyncio.sleep(0)
            before = len(ticks)
            inside = right(20, "/inside")
            was_blocked = len(ticks) == before
            several = await asyncio.gather(
                *(asyncio.to_thread(right, 10, "/several") for _ in range(5))
            )
            was_running = len(ticks) > before
            again = right(20, "/inside")
            ticking.cancel()
            return [inside, was_blocked, sum(several), was_running, again]

        run = uvloop.run if sys.argv[1] == "uvloop" else asyncio.run
        say([run(main()), right(20, "/between"), run(main())])
    """
    once = [20, True, 50, True, 20]
    assert run(program, loop, lane=lane, server=server) == [once, 20, once]


def test_in_trio_and_in_its_threads(lane, server):
    server.hold("/inside/*", 20)
    server.hold("/several/*", 80)
    program = """
        import trio
        from lanes import right, say

        async def in_thread(answers):
            answers.append(await trio.to_thread.run_sync(right, 10, "/several"))

        async def main():
            inside, answers = right(20, "/inside"), []
            async with trio.open_nursery() as nursery:
                for _ in range(8):
                    nursery.start_soon(in_thread, answers)
            return [inside, sum(answers), right(20, "/inside")]

        say([trio.run(main), right(20, "/between"), trio.run(main)])
    """
    assert run(program, lane=lane, server=server) == [[20, 80, 20], 20, [20, 80, 20]]


def test_a_loop_inside_a_greenlet_and_a_map_inside_that(lane, server):
    program = """
        import asyncio, gevent
        from lanes import right, say

        async def main():
            await asyncio.sleep(0)
            return right(10, "/inside")

        job = gevent.spawn(lambda: asyncio.run(main()))
        outside = right(10, "/outside")
        say([job.get(), outside, asyncio.run(main())])
    """
    assert run(program, lane=lane, server=server) == [10, 10, 10]


def test_results_are_iterated_between_awaits(lane, server):
    program = """
        import asyncio
        import grequests
        from lanes import is_right, many, say

        async def main():
            sent = {request.url: request for request in many(30, "/x")}
            right = 0
            for response in grequests.imap(sent.values(), size=5):
                await asyncio.sleep(0)
                right += is_right(sent[response.url])
            return right

        say(asyncio.run(main()))
    """
    assert run(program, lane=lane, server=server) == 30
