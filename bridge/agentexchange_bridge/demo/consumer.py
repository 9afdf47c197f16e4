"""One consumer process of the demonstration: an ordinary SDK program that also keeps a record of what it got.

It prints a JSON line of figures four times a second, and on SIGTERM writes its record to a file.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import time
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from agentexchange import AgentExchangeWS

from ._compare import Record

if TYPE_CHECKING:
    from datetime import datetime

    from agentexchange import EventMeta, FeedStatus

__all__ = ["ROLES", "Consumer", "main"]

ROLES: Final = {
    "tickers": ("ticker:BTCUSDT", "ticker:ETHUSDT", "ticker:SOLUSDT", "ticker:XRPUSDT"),
    "all": ("ticker:all",),
    "account": ("orders", "portfolio"),
}
"""Each process's topics."""

REPORT_S: Final = 0.25
_RECENT: Final = 4000  # events whose latency is looked at


class Consumer:
    """Counts, measures and records events."""

    def __init__(self) -> None:
        self.record = Record()
        self._prices: dict[str, str] = {}
        self._latest = 0
        self._reports = self._idle = self._told = 0
        self._from_exchange: deque[float] = deque(maxlen=_RECENT)
        self._from_bridge: deque[float] = deque(maxlen=_RECENT)
        self._states: dict[str | None, str] = {}

    def event(self, data: dict[str, Any], meta: EventMeta) -> None:
        """Take one event: the handler of every topic."""
        if "price" in data and meta.topic.startswith("ticker:"):
            self._prices[data["symbol"]] = data["price"]
        if meta.source == "latest":
            self._latest += 1
            return
        if meta.seq is not None:
            self.record.add(meta.topic, meta.seq, data)
        now = time.time()
        if meta.upstream_time is not None:
            self._from_exchange.append(_ms_since(meta.upstream_time, now))
        self._from_bridge.append(_ms_since(meta.received_time, now))

    def status(self, status: FeedStatus) -> None:
        """Remember the state of each scope."""
        if status.topic is None:
            self._states[status.scope] = status.state

    def report(self) -> dict[str, Any]:
        """The figures at this moment; latencies in ms. ``idle`` counts reports without an event since the last one."""
        events = self.record.events
        self._reports += 1
        self._idle = self._idle + 1 if events == self._told else 0
        self._told = events
        return {
            "number": self._reports,
            "idle": self._idle,
            "events": events,
            "latest_first": self._latest,
            "live": "live" in self._states.values(),
            "from_exchange": _percentiles(self._from_exchange),
            "from_bridge": _percentiles(self._from_bridge),
            "prices": self._prices if len(self._prices) <= len(ROLES["tickers"]) else {},
        }


def _ms_since(time_then: datetime, now: float) -> float:
    return (now - time_then.timestamp()) * 1000


def _percentiles(values: deque[float]) -> list[float]:
    """p50 and p99; empty where there is nothing yet."""
    ordered = sorted(values)
    return [round(ordered[int(len(ordered) * share)], 2) for share in (0.5, 0.99)] if ordered else []


async def _report(consumer: Consumer) -> None:
    while True:
        print(json.dumps(consumer.report()), flush=True)  # noqa: T201 - its output is its report
        await asyncio.sleep(REPORT_S)


async def _run(url: str, role: str) -> Record:
    client = AgentExchangeWS(os.environ["AGENTEXCHANGE_API_KEY"], url)
    consumer = Consumer()

    async def on_event(data: dict[str, Any], meta: EventMeta) -> None:
        consumer.event(data, meta)

    for topic in ROLES[role]:
        client.subscribe(topic, on_event)
    client.on_status()(consumer.status)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, client.stop)
    reporter = asyncio.create_task(_report(consumer), name="report")
    try:
        await client.connect()
    finally:
        reporter.cancel()
    return consumer.record


def main() -> None:
    """Run until SIGTERM."""
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("role", choices=ROLES)
    parser.add_argument("file", type=Path)
    args = parser.parse_args()
    record = asyncio.run(_run(args.url, args.role))
    args.file.write_text(json.dumps(record.to_json()), encoding="utf-8")


if __name__ == "__main__":
    main()
