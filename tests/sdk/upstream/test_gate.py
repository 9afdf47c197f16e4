from __future__ import annotations

import asyncio

from agentexchange.upstream import FeedOptions
from agentexchange.upstream._gate import StaggerGate
from tests.sdk._timeline import Timeline


def gate_of(time: Timeline, random: float = 0.5) -> StaggerGate:
    return StaggerGate(2.0, FeedOptions(clock=time.clock, sleep=time.sleep, random=lambda: random))


async def test_the_first_goes_through_at_once_and_the_others_one_by_one() -> None:
    time = Timeline()
    gate, passed = gate_of(time), list[int]()

    async def go(number: int) -> None:
        await gate.passed()
        passed.append(number)

    async with asyncio.TaskGroup() as group:
        for number in range(3):
            group.create_task(go(number))
        for seconds in (4.0, 2.0):
            await time.until_asleep(seconds)
            time.advance(2.0)
        await time.until_nobody_sleeps()
    assert passed == [0, 1, 2]
    assert time.slept == [2.0, 4.0]


async def test_after_a_pause_nobody_waits() -> None:
    time = Timeline()
    gate = gate_of(time, random=0.9)
    await gate.passed()
    time.advance(10.0)
    await gate.passed()
    assert time.slept == []
