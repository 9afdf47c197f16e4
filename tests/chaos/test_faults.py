from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

import pytest

from tests.chaos.faults import Faults, disturbances
from tests.chaos.history import Disturbance, Fault
from tests.chaos.schedule import Step

if TYPE_CHECKING:
    from tests.chaos.proxy import Proxy


class FakeLink:
    def __init__(self, name: str, deeds: list[str]) -> None:
        self.name = name
        self.deeds = deeds

    def note(self, deed: str, *args: object) -> None:
        self.deeds.append(" ".join(map(str, (self.name, deed, *args))))

    def heal(self) -> None:
        self.note("heal")

    def delay(self, seconds: float) -> None:
        self.note("delay", seconds)

    def throttle(self, rate: float) -> None:
        self.note("throttle", rate)

    def hold(self, direction: str) -> None:
        self.note("hold", direction)

    def refuse(self) -> None:
        self.note("refuse")

    def cut(self) -> None:
        self.note("cut")


class FakeStage:
    def __init__(self) -> None:
        self.deeds: list[str] = []
        self.stopped = asyncio.Event()

    async def active_worker(self) -> str:
        return "w2"

    async def standby_worker(self) -> str:
        return "w1"

    def link(self, name: str) -> Proxy:
        return cast("Proxy", FakeLink(name, self.deeds))

    async def kill(self, process: str) -> None:
        self.deeds.append(f"kill {process}")

    async def lose(self, seconds: float) -> None:
        self.deeds.append(f"lose {seconds}")

    async def wipe(self) -> None:
        self.deeds.append("wipe")

    async def term(self, process: str) -> None:
        self.deeds.append(f"term {process}")

    async def start(self, process: str) -> None:
        self.deeds.append(f"start {process}")

    def stop(self, process: str) -> None:
        self.deeds.append(f"stop {process}")
        self.stopped.set()

    def cont(self, process: str) -> None:
        self.deeds.append(f"cont {process}")

    async def junk(self, frames: int) -> None:
        self.deeds.append(f"junk {frames}")


@pytest.mark.parametrize(
    ("step", "deeds"),
    [
        (Step(0, "kill", "redis", 0.01), ["kill redis", "start redis"]),
        (Step(0, "kill", "worker:active", 0.01), ["kill w2", "start w2"]),
        (Step(0, "lose", "redis", 0.02, 0.01), ["lose 0.01", "start redis"]),
        (Step(0, "wipe", "redis", 0), ["wipe"]),
        (Step(0, "term", "worker:active", 0.01), ["term w2", "start w2"]),
        (Step(0, "stop", "worker:standby", 0.01), ["stop w1", "cont w1"]),
        (Step(0, "stop", "consumer:all", 0.01), ["stop all", "cont all"]),
        (Step(0, "cut", "redis:all", 0), ["redis:all refuse", "redis:all cut", "redis:all heal"]),
        (
            Step(0, "half_open", "up:active", 0.01, 0, "from"),
            ["up:w2 hold from", "up:w2 cut", "up:w2 heal"],
        ),
        (Step(0, "hold", "redis:standby", 0.01, 0, "to"), ["redis:w1 hold to", "redis:w1 heal"]),
        (Step(0, "throttle", "redis:all", 0.01, 5000), ["redis:all throttle 5000", "redis:all heal"]),
        (Step(0, "delay", "redis:all", 0.01, 0.5), ["redis:all delay 0.5", "redis:all heal"]),
        (Step(0, "junk", "upstream", 0, 12), ["junk 12"]),
    ],
    ids=lambda value: value.fault if isinstance(value, Step) else "",
)
async def test_each_fault_does_what_it_says_and_undoes_it(step: Step, deeds: list[str]) -> None:
    stage = FakeStage()
    told: list[str] = []
    faults = Faults(stage, told.append)
    await faults.run([step], asyncio.get_running_loop().time())
    assert stage.deeds == deeds
    assert [fault.kind for fault in faults.done] == [step.fault]
    assert faults.done[0].end_us >= faults.done[0].start_us
    assert len(told) == 1


async def test_a_run_that_ends_early_undoes_what_it_has_begun() -> None:
    stage = FakeStage()
    faults = Faults(stage, lambda _: None)
    steps = [Step(0, "hold", "redis:all", 60), Step(0, "stop", "redis", 60)]
    running = asyncio.create_task(faults.run(steps, asyncio.get_running_loop().time()))
    async with asyncio.timeout(5):
        await stage.stopped.wait()
    running.cancel()
    await asyncio.wait((running,))
    assert running.cancelled()
    assert sorted(stage.deeds) == ["cont redis", "redis:all heal", "redis:all hold both", "stop redis"]


def test_what_disturbs_the_way_from_upstream() -> None:
    faults = [
        Fault(1, 2, "delay", "up:w1"),
        Fault(3, 4, "delay", "redis:w1"),
        Fault(5, 6, "stop", "w2"),
        Fault(7, 8, "stop", "redis"),
        Fault(9, 10, "stop", "consumer:all"),
        Fault(11, 12, "cut", "up:w1"),
        Fault(13, 14, "half_open", "up:w2"),
    ]
    assert disturbances(faults) == [Disturbance(1, 2), Disturbance(5, 6), Disturbance(13, 14)]
