from __future__ import annotations

import asyncio

from agentexchange_bridge.pulse import Pulse
from tests.sdk._timeline import Timeline


async def test_a_standstill_is_noticed_and_forgotten() -> None:
    time = Timeline()
    pulse = Pulse(clock=time.clock, sleep=time.sleep)
    task = asyncio.create_task(pulse.run())
    await time.until_asleep(0.25)
    time.now += 1.2
    assert not pulse.stood_still_lately(), "a busy loop may be a second late"
    time.now += 1.3
    assert pulse.stood_still_lately(), "asked before the late beat"
    time.now += 0.2
    assert pulse.stood_still_lately()
    for _ in range(10):
        time.now += 1.0
        pulse.stood_still_lately()
    assert not pulse.stood_still_lately()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def test_before_the_first_beat_nothing_stood_still() -> None:
    assert not Pulse().stood_still_lately()
