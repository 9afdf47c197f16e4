"""One run: real servers and processes, a proxy on every link, faults by schedule, and a history of all of it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from agentexchange_schemas import account_scope
from tests._servers import RedisServer, server_binaries

from .consumer import read_incarnation
from .faults import Faults, disturbances
from .generator import CANDLE_TOPICS
from .history import MARKET, History
from .processes import Managed, Memory
from .proxy import Proxy
from .schedule import REDIS, settle_s
from .truth import TruthReader
from .upstream import API_KEY, read_journal

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from .history import Incarnation
    from .roster import Spec
    from .schedule import Step

__all__ = ["Plan", "Result", "run"]

WORKERS: Final = ("w1", "w2")
SILENT_SHARE: Final = 0.4
"""Of the quiet time at the end, how much is without events: what is missing then must be found by heartbeats."""
COLLECT_EVERY_S: Final = 60.0
SAMPLE_EVERY_S: Final = 1.0
LOOK_TIMEOUT_S: Final = 2.0


@dataclass(frozen=True, slots=True)
class Plan:
    """What to run."""

    seconds: float
    seed: int
    steps: Sequence[Step]
    consumers: Sequence[Spec]
    folder: Path
    rate: float = 1000.0
    server: str = "valkey"


@dataclass(slots=True)
class Result:
    """What came of it. ``memory``: process to MB."""

    history: History
    memory: dict[str, Memory]
    troubles: list[str] = field(default_factory=list)


class _Theatre:
    """The processes and links of one run; implements `Stage`."""

    def __init__(self, plan: Plan, tell: Callable[[str], None]) -> None:
        self.plan = plan
        self.tell = tell
        self.troubles: list[str] = []
        self.memory: dict[str, Memory] = {}
        self.redis = RedisServer(binary=server_binaries()[plan.server], folder=plan.folder / "redis", appendonly=True)
        self.truth = TruthReader(self.redis.port, account_scope(API_KEY))
        self.specs = {spec.name: spec for spec in plan.consumers}
        self.incarnations: dict[str, int] = {}
        self.died_us: dict[tuple[str, int], int] = {}
        self.processes: dict[str, Managed] = {}
        self.links: dict[str, Proxy] = {}
        self._last_active = WORKERS[0]
        self._redis_stopped = False
        journal, seed, rate = plan.folder / "journal.jsonl", str(plan.seed), str(plan.rate)
        argv = [sys.executable, "-m", "tests.chaos.upstream", str(journal), seed, rate]
        self.upstream = Managed("upstream", argv, plan.folder / "upstream.log", piped=True)

    # Setting up

    async def open(self, stack: contextlib.AsyncExitStack) -> None:
        """Start everything, in order, and generate."""
        stack.callback(self.redis.kill)
        stack.callback(self.truth.close)
        stack.callback(self.upstream.kill)
        stack.callback(self._kill_all)
        await asyncio.to_thread(self.redis.start)
        self.upstream.start()
        upstream_port = int(await self.upstream.hear(20))
        for name in WORKERS:
            self.links[f"up:{name}"] = await stack.enter_async_context(Proxy(upstream_port, name=f"up:{name}"))
        for name in (*WORKERS, *self.specs):
            self.links[f"redis:{name}"] = await stack.enter_async_context(Proxy(self.redis.port, name=f"redis:{name}"))
        await self.upstream.say("go")
        for name in WORKERS:
            await self.start(name)
        await self.upstream.hear(40)
        for name in self.specs:
            await self.start(name)

    def _kill_all(self) -> None:
        for process in self.processes.values():
            process.kill()

    async def start(self, process: str) -> None:
        """Start a process, as a new incarnation."""
        if process == REDIS:
            await asyncio.to_thread(self.redis.start)
            return
        number = self.incarnations[process] = self.incarnations.get(process, 0) + 1
        managed = self._worker(process, number) if process in WORKERS else self._consumer(process, number)
        self.processes[process] = managed
        managed.start()
        self.memory[f"{process}#{number}"] = managed.memory

    def _worker(self, name: str, number: int) -> Managed:
        topics = [part for topic in ("ticker:all", *CANDLE_TOPICS) for part in ("--topic", topic)]
        argv = [
            *(sys.executable, "-m", "agentexchange_bridge", "bridge", "--worker-id", f"{name}-{number}"),
            *("--upstream-url", f"ws://127.0.0.1:{self.links[f'up:{name}'].port}"),
            *("--redis-url", f"redis://127.0.0.1:{self.links[f'redis:{name}'].port}"),
            # the quiet at the end of a run is no fault of upstream's
            *("--candles", "upstream", "--tick-stale-after-s", "60", "--http", "off", "--log-format", "json", *topics),
        ]
        env = os.environ | {"AGENTEXCHANGE_API_KEY": API_KEY}
        return Managed(name, argv, self.plan.folder / f"{name}.log", env=env)

    def _consumer(self, name: str, number: int) -> Managed:
        url = f"redis://127.0.0.1:{self.links[f'redis:{name}'].port}"
        path = self._file(name, number)
        argv = [sys.executable, "-m", "tests.chaos.consumer", self.specs[name].to_json(), url, API_KEY, str(path)]
        return Managed(name, argv, self.plan.folder / f"{name}.log")

    def _file(self, name: str, number: int) -> Path:
        return self.plan.folder / f"{name}.{number}.jsonl"

    # Stage

    async def active_worker(self) -> str:
        if not self._redis_stopped and self.redis.is_running:
            with contextlib.suppress(Exception):  # no answer: the last known one will do
                async with asyncio.timeout(LOOK_TIMEOUT_S):
                    holder = await asyncio.to_thread(self.truth.lease, MARKET)
                name = (holder or "").partition("-")[0]
                if name in WORKERS:
                    self._last_active = name
        return self._last_active

    async def standby_worker(self) -> str:
        active = await self.active_worker()
        return next(name for name in WORKERS if name != active)

    def link(self, name: str) -> Proxy:
        return self.links[name]

    async def kill(self, process: str) -> None:
        if process == REDIS:
            self.redis.kill()
            return
        self.processes[process].kill()
        self.died_us[process, self.incarnations[process]] = time.time_ns() // 1000

    async def lose(self, seconds: float) -> None:
        """The append-only file is cut to what it was ``seconds`` before the kill."""
        before = {path: path.stat().st_size for path in self._append_only_files()}
        try:
            await asyncio.sleep(seconds)
        finally:
            self.redis.kill()
            for path in self._append_only_files():
                os.truncate(path, before.get(path, 0))

    def _append_only_files(self) -> list[Path]:
        return sorted((self.plan.folder / "redis" / "appendonlydir").glob("*.incr.aof"))

    async def wipe(self) -> None:
        await asyncio.to_thread(self.truth.wipe)

    async def term(self, process: str) -> None:
        self.died_us[process, self.incarnations[process]] = time.time_ns() // 1000
        code = await self.processes[process].term()
        if code != 0:
            self.troubles.append(f"{process} ended with {code} after SIGTERM")

    def stop(self, process: str) -> None:
        if process == REDIS:
            self._redis_stopped = True
            self.redis.stop()
        else:
            self.processes[process].stop()

    def cont(self, process: str) -> None:
        if process == REDIS:
            self._redis_stopped = False
            self.redis.cont()
        else:
            self.processes[process].cont()

    async def junk(self, frames: int) -> None:
        await self.upstream.say(f"junk {frames}")

    # Watching

    async def watch(self) -> None:
        """Sample memory and notice who ended without being told to, until cancelled."""
        collect_at = time.monotonic() + COLLECT_EVERY_S
        while True:
            await asyncio.sleep(SAMPLE_EVERY_S)
            for name, process in self.processes.items():
                process.sample()
                self._check_alive(name, process)
            if time.monotonic() > collect_at and self.redis.is_running and not self._redis_stopped:
                with contextlib.suppress(Exception):  # Redis was killed meanwhile: the next one will read it
                    await asyncio.to_thread(self.truth.collect)
                collect_at = time.monotonic() + COLLECT_EVERY_S

    def _check_alive(self, name: str, process: Managed) -> None:
        key = (name, self.incarnations[name])
        if not process.is_running and key not in self.died_us:
            self.died_us[key] = time.time_ns() // 1000
            code = process.process.poll() if process.process is not None else None
            self.troubles.append(f"{name}#{key[1]} ended by itself with {code}: {process.log.read_text()[-500:]}")

    def read_incarnations(self) -> list[Incarnation]:
        """Every consumer's every life."""
        found = []
        for name, spec in self.specs.items():
            for number in range(1, self.incarnations[name] + 1):
                incarnation = read_incarnation(self._file(name, number), spec, number)
                incarnation.died_us = self.died_us.get((name, number))
                found.append(incarnation)
        return found


async def run(plan: Plan, tell: Callable[[str], None]) -> Result:
    """Do it all; every process has ended when it returns or raises."""
    plan.folder.mkdir(parents=True, exist_ok=True)
    theatre = _Theatre(plan, tell)
    async with contextlib.AsyncExitStack() as stack:
        await theatre.open(stack)
        watching = asyncio.create_task(theatre.watch())
        stack.callback(watching.cancel)
        faults = Faults(theatre, tell)
        await _play(plan, theatre, faults)
        end_us = time.time_ns() // 1000
        watching.cancel()
        await asyncio.wait((watching,))
        logs = await asyncio.to_thread(theatre.truth.collect)
        for name in (*theatre.specs, *WORKERS):
            await theatre.processes[name].term()
    done = sorted(faults.done)
    history = History(
        account=account_scope(API_KEY),
        sent=await asyncio.to_thread(read_journal, plan.folder / "journal.jsonl"),
        logs=logs,
        incarnations=await asyncio.to_thread(theatre.read_incarnations),
        faults=done,
        disturbances=disturbances(done),
        end_us=end_us,
    )
    return Result(history, theatre.memory, theatre.troubles)


async def _play(plan: Plan, theatre: _Theatre, faults: Faults) -> None:
    start = asyncio.get_running_loop().time()
    await faults.run(plan.steps, start)
    silent = SILENT_SHARE * settle_s(plan.seconds)
    await _until(start + plan.seconds - silent)
    await theatre.upstream.say("quiet")
    theatre.tell(f"{plan.seconds - silent:7.2f} s  upstream is quiet after {await theatre.upstream.hear(10)} events")
    await _until(start + plan.seconds)


async def _until(when: float) -> None:
    await asyncio.sleep(max(0.0, when - asyncio.get_running_loop().time()))
