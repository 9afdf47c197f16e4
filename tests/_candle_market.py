"""A sandbox whose time a test sets and whose ticks it makes, and the candles that plain computing makes of those."""

from __future__ import annotations

import asyncio
import json
import random
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from agentexchange.testing import SandboxExchange
from agentexchange.upstream import FeedOptions
from agentexchange_schemas.events import event_time_ms
from tests.sdk.candles._reference import Reference

if TYPE_CHECKING:
    from collections.abc import Callable

    from agentexchange.testing import JournalEntry

__all__ = ["SYMBOL", "CandleMarket", "Clock", "at", "fast"]

SYMBOL = "SOLUSDT"
ALLOWANCE_MS = 2_000
_POLL_S = 0.002


def at(text: str) -> float:
    """Unix seconds of a time of day on the day of all these tests."""
    return datetime.fromisoformat(f"2026-03-02T{text}").replace(tzinfo=UTC).timestamp()


class Clock:
    """Unix seconds that pass when the test says so."""

    def __init__(self, now: float) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def us(self) -> int:
        return int(self.now * 1_000_000)


def fast(clock: Clock) -> FeedOptions:
    """A feed on that clock: waits are short, and silence is no fault as hours pass in a moment."""

    async def sleep(seconds: float) -> None:
        await asyncio.sleep(min(seconds, _POLL_S))

    return FeedOptions(
        clock=clock, wall=clock, sleep=sleep, stale_after_s=1e9, tick_stale_after_s=1e9, answer_timeout_s=1e9
    )


class CandleMarket:
    """Steps through the time with ticks of one symbol.

    Attributes:
        clock: of the sandbox, and for whoever takes part.
        exchange: the sandbox, as strict as the live platform: no 15m, no 4h, no candles at all.
        ticks: what it sent, each once.
        arrived: says how many ticks whoever takes part has taken.
    """

    def __init__(self, start: float, *, seed: int = 1, api_key: str = "ak_live_sandbox") -> None:
        self.clock = Clock(start)
        self.ticks: list[dict[str, Any]] = []
        self.exchange = SandboxExchange(
            rate=0, pairs=3, api_keys=[api_key], clock=self.clock, journal=self._note, heartbeat_interval=3600
        )
        self.arrived: Callable[[], int] = lambda: 0
        self._rng = random.Random(seed)

    def _note(self, entry: JournalEntry) -> None:
        if entry.kind == "tick" and entry.connections:
            self.ticks.append(json.loads(entry.payload)["data"] | {"at": self.clock.us()})

    async def trade(self, until: float, *, pace_s: float = 25.0) -> None:
        """Let time pass until then, with ticks on the way, some out of order; each has arrived before time goes on."""
        rng = self._rng
        while self.clock.now < until:
            minute = self.clock.now // 60
            self.clock.now = min(until, self.clock.now + rng.uniform(0, 2 * pace_s))
            if self.clock.now // 60 != minute:
                await asyncio.sleep(2 * _POLL_S)  # a clock is looked at several times a minute
            for _ in range(rng.choice((0, 1, 1, 3))):
                stamp = datetime.fromtimestamp(self.clock.now - rng.choice((0, 0, 0.4, 1.5)), UTC)
                self.exchange.control.push_tick(
                    SYMBOL,
                    price=f"{rng.uniform(150, 160):.2f}",
                    quantity=f"{rng.uniform(0.1, 9):.3f}",
                    timestamp=f"{stamp:%Y-%m-%dT%H:%M:%S}.{stamp.microsecond // 1000:03d}Z",
                )
            await self.reach(len(self.ticks))

    async def reach(self, count: int) -> None:
        """Wait until so many ticks have arrived."""
        limit = time.monotonic() + 10
        while self.arrived() < count:
            assert time.monotonic() < limit, f"{self.arrived()} of {count} ticks arrived"
            await asyncio.sleep(0)

    def reference(self, *intervals: str, wanted_at: float) -> Reference:
        """What plain computing has been told: the ticks up to now."""
        reference, since = Reference(ALLOWANCE_MS), int(wanted_at * 1_000_000)
        for interval in ("1m", *intervals):
            reference.want(SYMBOL, interval, since)
        reference.blind(since, since, symbol=SYMBOL)
        for tick in self.ticks:
            reference.tick(SYMBOL, tick["price"], tick["quantity"], event_time_ms(tick), tick["at"])
        return reference
