"""Anything wanted and unwanted at random under a running market, with and without faults: the journal is the truth."""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any

import pytest

from agentexchange.testing import SandboxExchange
from agentexchange_schemas import Topic
from tests.sdk.upstream._feeds import Sink, make_pool, running

if TYPE_CHECKING:
    from agentexchange.testing import JournalEntry
    from agentexchange.upstream import UpstreamPool

ALL = "ticker:all"
STEPS = 40


class Truth:
    """What the sandbox has sent, by topic."""

    def __init__(self) -> None:
        self.sent: dict[str, list[dict[str, Any]]] = defaultdict(list)

    def __call__(self, entry: JournalEntry) -> None:
        if entry.kind in ("tick", "order"):
            self.sent[entry.topic].append(json.loads(entry.payload)["data"])


def delivered(sink: Sink, topic: str, sent: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What was delivered, with the fields that were sent."""
    names = sent[0].keys() if topic.startswith("ticker:") and sent else None
    ticks = sink.ticks(topic)
    return [{name: tick[name] for name in names or tick if tick[name] is not None} for tick in ticks]


def is_part_of(part: list[dict[str, Any]], whole: list[dict[str, Any]]) -> bool:
    rest = iter(whole)
    return all(any(_same(one, other) for other in rest) for one in part)


def _same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return all(other.get(name) == value for name, value in one.items())


class Chance:
    """One step after the other; ``fixed`` topics are left alone."""

    def __init__(self, seed: int, sandbox: SandboxExchange, pool: UpstreamPool, *, faults: bool) -> None:
        self._rng = random.Random(seed)
        self._sandbox = sandbox
        self._pool = pool
        self._faults = faults
        self.fixed = [*(f"ticker:{symbol}" for symbol in sandbox.control.symbols[:6]), "orders"]
        self._tickers = [f"ticker:{symbol}" for symbol in sandbox.control.symbols[6:]]
        self._candles = [f"candles:{symbol}:1m" for symbol in sandbox.control.symbols]

    async def step(self) -> None:
        rng = self._rng
        actions = [self._more, self._more, self._fewer, self._fewer, self._candles_too, self._wildcard]
        rng.choice([*actions, *([self._fault] * 2 if self._faults else [])])()
        await asyncio.sleep(rng.choice([0, 0, 0.01, 0.05, 0.1, 0.3]))

    def _more(self) -> None:
        for topic in self._rng.sample(self._tickers, self._rng.randint(1, 20)):
            self._pool.subscribe(Topic.parse(topic))

    def _fewer(self) -> None:
        for topic in self._rng.sample(self._tickers, self._rng.randint(1, 30)):
            self._pool.unsubscribe(Topic.parse(topic))

    def _candles_too(self) -> None:
        for topic in self._rng.sample(self._candles, 12):
            if self._rng.random() < 0.4:
                self._pool.subscribe(Topic.parse(topic), optional=self._rng.random() < 0.5)
            else:
                self._pool.unsubscribe(Topic.parse(topic))

    def _wildcard(self) -> None:
        self._rng.choice([self._pool.subscribe, self._pool.unsubscribe])(Topic.parse(ALL))

    def _fault(self) -> None:
        match self._rng.randrange(3):
            case 0 if self._sandbox.control.connections:
                self._sandbox.control.drop(connection=self._rng.choice(self._sandbox.control.connections).id)
            case 1:
                self._sandbox.control.set_subscription_limit(self._rng.choice([4, 5, 7, 10]))
            case _:
                self._pool.renew("for a test")

    def calm(self) -> None:
        for topic in (*self._tickers, *self._candles, ALL):
            self._pool.unsubscribe(Topic.parse(topic))

    def is_calm(self) -> bool:
        return all(self._pool.holds(Topic.parse(topic)) for topic in self.fixed)


@pytest.mark.parametrize("faults", [False, True], ids=["no faults", "faults"])
@pytest.mark.parametrize("seed", [1, 2])
async def test_nothing_is_doubled_and_nothing_lost_but_what_is_told(seed: int, *, faults: bool) -> None:
    truth, sink, rng = Truth(), Sink(), random.Random(seed)
    async with SandboxExchange(pairs=50, rate=2000, order_rate=20, journal=truth, seed=seed) as sandbox:
        pool = make_pool(
            sandbox.url,
            sink,
            options={"sleep": lambda delay: asyncio.sleep(delay / 10)},
            fold_from=rng.choice([8, 15, 25]),
            max_sessions=rng.choice([3, 4, 8]),
            proof_s=1.0,
        )
        chance = Chance(seed, sandbox, pool, faults=faults)
        for topic in chance.fixed:
            pool.subscribe(Topic.parse(topic))
        async with running(pool) as task:
            await until_calm(chance)
            for _ in range(STEPS):
                await chance.step()
                assert not task.done()
            chance.calm()
            await until_calm(chance)
            sandbox.control.set_rate(0)
            sandbox.control.set_order_rate(0)
            for topic in chance.fixed[:-1]:
                sandbox.control.push_tick(topic.removeprefix("ticker:"), price="0.5")
            sandbox.control.push_order({"order_id": "last", "status": "pending"})
            await sink.until(lambda: all(is_last(sink.ticks(topic)) for topic in chance.fixed))
        for topic in [topic for topic in sink.topics if topic.startswith("ticker:") or topic == "orders"]:
            assert is_part_of(delivered(sink, topic, truth.sent[topic]), truth.sent[topic]), f"{topic}: doubled"
        told: Counter[str | None] = Counter()
        for status in sink.statuses:
            told[status.topic] += (status.count or 0) if status.cause == "overlap" else 0
        for topic in chance.fixed if not faults else ():
            assert len(truth.sent[topic]) - len(sink.ticks(topic)) <= told[topic], f"{topic}: lost"


def is_last(events: list[dict[str, Any]]) -> bool:
    return bool(events) and (events[-1].get("price") == "0.5" or events[-1].get("order_id") == "last")


async def until_calm(chance: Chance) -> None:
    async with asyncio.timeout(20):
        while not chance.is_calm():  # noqa: ASYNC110 - the pool is asked
            await asyncio.sleep(0.01)
