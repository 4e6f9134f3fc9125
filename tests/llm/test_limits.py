"""The gate in front of the endpoint, in virtual time."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datatools.llm.control import Control
from datatools.llm.limits import Limit, PerMinute
from tests.llm.simulated import VirtualLoop


def virtually(main):
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main())


def limited(most, **caps):
    return Limit(Control(float(most), most), **caps)


async def call(limit, seconds=1.0, tokens=0.0):
    """A call that takes so long; when it started."""
    place = await limit.enter(tokens)
    began = asyncio.get_running_loop().time()
    try:
        await asyncio.sleep(seconds)
    finally:
        limit.leave(place)
    return began


def test_never_more_than_the_limit_are_inside_and_first_come_is_first_served():
    async def main():
        limit = limited(3)
        return await asyncio.gather(*(call(limit) for _ in range(8))), limit.in_flight

    assert virtually(main) == ([0, 0, 0, 1, 1, 1, 2, 2], 0)


def test_a_refusal_that_names_a_time_holds_back_everyone_also_who_was_waiting_for_a_place():
    async def main():
        limit = limited(1)
        place = await limit.enter()
        waiting = [asyncio.create_task(call(limit)) for _ in range(2)]
        await asyncio.sleep(0)
        limit.refused(place, 5.0)
        limit.refused(place, 1.0)  # a shorter one does not end the longer
        limit.leave(place)
        return await asyncio.gather(*waiting)

    assert virtually(main) == [5, 6]


def test_release_lets_everyone_through():
    async def main():
        limit = limited(1, rpm=1)
        place = await limit.enter()
        waiting = asyncio.create_task(limit.enter())
        await asyncio.sleep(1)
        assert not waiting.done()
        limit.release()
        await waiting
        return place.call.number, waiting.result().call.number, asyncio.get_running_loop().time()

    assert virtually(main) == (1, 2, 1)


def test_a_cancelled_call_gives_its_place_back_whether_it_had_one_or_not():
    async def main():
        limit = limited(1)
        place = await limit.enter()
        waiting = [asyncio.create_task(limit.enter()) for _ in range(3)]
        await asyncio.sleep(0)
        waiting[0].cancel()
        limit.leave(place)  # the second has the place now, and has not heard of it
        waiting[1].cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        limit.leave(waiting[2].result())
        return limit.in_flight

    assert virtually(main) == 0


@pytest.mark.parametrize("rpm", [1, 7, 60, 600])
def test_rpm_is_never_passed_in_any_minute_and_is_used(rpm):
    async def main():
        limit = limited(100, rpm=rpm)
        tasks = [asyncio.create_task(call(limit, 0.5)) for _ in range(3 * rpm)]
        return sorted(await asyncio.gather(*tasks))

    starts = virtually(main)
    windows = [sum(at <= other < at + 60 - 1e-5 for other in starts) for at in starts]
    assert max(windows) == rpm
    assert starts[-1] <= 180


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.floats(1, 80), st.floats(0, 90), st.floats(0, 20)), min_size=1, max_size=40))
def test_tpm_is_passed_by_no_more_than_was_underestimated(calls):
    """Each call: estimated tokens, used tokens, seconds of rest before it."""
    cap, now, gate = 100.0, 0.0, PerMinute(100.0)
    started = []
    for estimated, used, rest in calls:
        now += rest
        while (wait := gate.wait(now, estimated)) > 1e-6:
            now += wait
        gate.settle(gate.add(now, estimated), used)
        started.append((now, used, max(0.0, used - estimated)))
    for at, _, _ in started:
        window = [(used, over) for other, used, over in started if at <= other < at + 60 - 1e-3]
        assert sum(used for used, _ in window) <= cap + sum(over for _, over in window) + 1e-6


def test_a_call_larger_than_tpm_goes_alone():
    gate = PerMinute(100)
    assert gate.wait(0, 500) == 0
    gate.add(0, 500)
    assert gate.wait(1, 1) >= 59
