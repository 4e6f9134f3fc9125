"""The gate in front of the endpoint."""

from __future__ import annotations

import asyncio

import pytest

from datatools.llm.limits import Limit


def test_never_more_than_the_maximum_are_inside():
    async def run():
        limit, inside, most = Limit(3), 0, 0

        async def call():
            nonlocal inside, most
            async with limit:
                inside += 1
                most = max(most, inside)
                assert limit.in_flight == inside
                await asyncio.sleep(0)
                inside -= 1

        await asyncio.gather(*(call() for _ in range(50)))
        return most, limit.in_flight

    assert asyncio.run(run()) == (3, 0)


def test_a_cooldown_holds_back_everyone_also_who_was_waiting_for_a_place():
    async def run():
        limit, entered = Limit(1), []
        loop = asyncio.get_running_loop()

        async def call(name):
            async with limit:
                entered.append((name, loop.time()))
                if name == "first":
                    limit.cool_down(0.05)
                    limit.cool_down(0.01)  # a shorter one does not end the longer

        began = loop.time()
        await asyncio.gather(call("first"), call("second"), call("third"))
        return began, entered

    began, entered = asyncio.run(run())
    assert len(entered) == 3 and entered[0][0] == "first"
    assert all(at - began >= 0.045 for name, at in entered if name != "first")


def test_release_ends_a_cooldown():
    async def run():
        limit = Limit(1)
        limit.cool_down(3600)
        waiting = asyncio.create_task(limit.__aenter__())
        await asyncio.sleep(0)
        assert not waiting.done()
        limit.release()
        await waiting

    asyncio.run(run())


def test_a_cancelled_call_gives_its_place_back():
    async def run():
        limit = Limit(1)
        async with limit:
            waiting = asyncio.create_task(limit.__aenter__())
            await asyncio.sleep(0)
            waiting.cancel()
        async with limit:
            return limit.in_flight

    assert asyncio.run(run()) == 1


def test_a_limit_of_zero_is_refused():
    with pytest.raises(ValueError, match="at least one"):
        Limit(0)
