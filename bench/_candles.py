"""Candles: all six intervals of 600 symbols, on a clock that runs as fast as the ticks are taken."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING, Final

from agentexchange.candles import CandleDesk, CandleSource
from agentexchange_schemas import INTERVALS, Topic

if TYPE_CHECKING:
    from ._report import Report

SYMBOLS: Final = tuple(f"PAIR{number}USDT" for number in range(600))
RATE: Final = 10_000
SECONDS: Final = 130
TURNS: Final = 4  # looks at the clock, a second
ROUNDS: Final = 2
BEGIN_MS: Final = 1_767_268_800_000 - 60_000  # a minute before noon, which ends five of the intervals at once


def candle_costs(report: Report) -> None:
    """Add what a tick costs, closing and forming candles included, and the longest look at the clock."""
    rounds = [_round() for _ in range(ROUNDS)]
    report.add("candles", "six intervals, 600 symbols", min(cost for cost, _ in rounds), target="3")
    report.add("candles", "closing 3,000 candles at noon", min(longest for _, longest in rounds), "ms")


def _round() -> tuple[float, float]:
    """µs CPU per tick, and the longest poll in ms."""
    desk, draw, longest = CandleDesk(CandleSource.BUILD), random.Random(1), 0.0
    for symbol in SYMBOLS:
        for interval in INTERVALS:
            desk.want(Topic.candles(symbol, interval), BEGIN_MS * 1000)
    desk.settle(lambda _topic: True, BEGIN_MS * 1000)
    ticks = [(draw.choice(SYMBOLS), f"{draw.uniform(100, 200):.8f}", f"{draw.random():.8f}") for _ in range(RATE)]
    began, take = time.process_time(), desk.tick
    for turn in range(SECONDS * TURNS):
        begin_us = BEGIN_MS * 1000 + turn * 1_000_000 // TURNS
        first = turn % TURNS * RATE // TURNS
        for number, (symbol, price, quantity) in enumerate(ticks[first : first + RATE // TURNS]):
            received_us = begin_us + number * 1_000_000 // RATE
            take(symbol, price, quantity, received_us // 1000, received_us)
        before = time.process_time()
        desk.poll(begin_us + 1_000_000 // TURNS)
        longest = max(longest, time.process_time() - before)
    return (time.process_time() - began) / (SECONDS * RATE) * 1e6, longest * 1000
