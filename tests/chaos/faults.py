"""Does what a schedule says, and writes down what was really done."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Protocol

from .history import Disturbance, Fault
from .schedule import ACTIVE, REDIS, STANDBY, UPSTREAM

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from .proxy import Direction, Proxy
    from .schedule import Step

__all__ = ["Faults", "Stage", "disturbances"]


class Stage(Protocol):
    """What faults are done to. ``name`` of a process is ``redis``, a worker's or a consumer's."""

    async def active_worker(self) -> str:
        """Who holds the market's lease."""

    async def standby_worker(self) -> str:
        """The other one."""

    def link(self, name: str) -> Proxy:
        """``up:<worker>`` or ``redis:<worker or consumer>``."""

    async def kill(self, process: str) -> None:
        """SIGKILL, and reap it."""

    async def lose(self, seconds: float) -> None:
        """Wait so long, kill Redis, and let everything written meanwhile be gone."""

    async def wipe(self) -> None:
        """FLUSHALL."""

    async def term(self, process: str) -> None:
        """SIGTERM, and wait for its end."""

    async def start(self, process: str) -> None:
        """Start it again."""

    def stop(self, process: str) -> None:
        """SIGSTOP."""

    def cont(self, process: str) -> None:
        """SIGCONT."""

    async def junk(self, frames: int) -> None:
        """Let upstream send junk."""


class Faults:
    """Runs the steps of a schedule, each in its time; ``done`` is what came of them."""

    def __init__(self, stage: Stage, tell: Callable[[str], None]) -> None:
        self._stage = stage
        self._tell = tell
        self.done: list[Fault] = []

    async def run(self, steps: Iterable[Step], start: float) -> None:
        """Do every step at ``start`` (loop time) plus its time; returns when all is whole again."""
        async with asyncio.TaskGroup() as group:
            for step in steps:
                group.create_task(self._at(step, start + step.at_s))

    async def _at(self, step: Step, when: float) -> None:
        await asyncio.sleep(max(0.0, when - asyncio.get_running_loop().time()))
        target = await self._resolve(step.target)
        start_us = time.time_ns() // 1000
        self._tell(f"{step}{'' if target == step.target else f' ({target})'}")
        await getattr(self, f"_{step.fault}")(step, target)
        detail = f"{step.direction} {step.value:g} {step.duration_s:g}s"
        self.done.append(Fault(start_us, time.time_ns() // 1000, step.fault, target, detail))

    async def _resolve(self, target: str) -> str:
        """``worker:active`` and ``up:active`` mean who that is now."""
        head, _, name = target.partition(":")
        if name in ("active", "standby"):
            worker = await (self._stage.active_worker() if name == "active" else self._stage.standby_worker())
            return worker if target in (ACTIVE, STANDBY) else f"{head}:{worker}"
        return target

    async def _kill(self, step: Step, target: str) -> None:
        await self._ended(step, target, self._stage.kill)

    async def _term(self, step: Step, target: str) -> None:
        await self._ended(step, target, self._stage.term)

    async def _ended(self, step: Step, target: str, end: Callable[[str], Awaitable[None]]) -> None:
        name = _process(target)
        await end(name)
        try:
            await asyncio.sleep(step.duration_s)
        finally:
            await self._stage.start(name)

    async def _lose(self, step: Step, target: str) -> None:
        assert target == REDIS
        await self._stage.lose(min(step.value, step.duration_s))
        try:
            await asyncio.sleep(max(0.0, step.duration_s - step.value))
        finally:
            await self._stage.start(REDIS)

    async def _wipe(self, step: Step, target: str) -> None:
        assert step.target == target == REDIS
        await self._stage.wipe()

    async def _stop(self, step: Step, target: str) -> None:
        name = _process(target)
        self._stage.stop(name)
        try:
            await asyncio.sleep(step.duration_s)
        finally:
            self._stage.cont(name)

    async def _cut(self, step: Step, target: str) -> None:
        link = self._stage.link(target)
        link.refuse()
        link.cut()
        await self._until(step, link)

    async def _half_open(self, step: Step, target: str) -> None:
        """What was on its way when it stopped never arrives: the connections end by a reset."""
        link = self._stage.link(target)
        link.hold(_direction(step))
        try:
            await asyncio.sleep(step.duration_s)
        finally:
            link.cut()
            link.heal()

    async def _hold(self, step: Step, target: str) -> None:
        link = self._stage.link(target)
        link.hold(_direction(step))
        await self._until(step, link)

    async def _throttle(self, step: Step, target: str) -> None:
        link = self._stage.link(target)
        link.throttle(step.value)
        await self._until(step, link)

    async def _delay(self, step: Step, target: str) -> None:
        link = self._stage.link(target)
        link.delay(step.value)
        await self._until(step, link)

    async def _junk(self, step: Step, target: str) -> None:
        assert target == UPSTREAM
        await self._stage.junk(int(step.value))

    async def _until(self, step: Step, link: Proxy) -> None:
        try:
            await asyncio.sleep(step.duration_s)
        finally:
            link.heal()


def disturbances(faults: Iterable[Fault]) -> list[Disturbance]:
    """When the way from upstream to a worker was slow or blocked: its link was not whole, or the worker stood still."""
    links = ("delay", "throttle", "hold", "half_open")
    return [
        Disturbance(fault.start_us, fault.end_us)
        for fault in faults
        if (fault.kind in links and fault.target.startswith("up:"))
        or (fault.kind == "stop" and fault.target != REDIS and not fault.target.startswith("consumer:"))
    ]


def _process(target: str) -> str:
    return target.removeprefix("consumer:")


def _direction(step: Step) -> Direction:
    match step.direction:
        case "to":
            return "to"
        case "from":
            return "from"
    return "both"
