"""Writes day.axlog: six minutes of a market in which the feed goes blind at 14:02:33 and a crew loses money at 14:03.

    python examples/lost_at_1403/make_day.py [FOLDER]

Made up, and the same on every run, so that the story in docs/replay.md can be told and tested with fixed times. A real
one comes from `agentexchange record`.
"""

import random
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

from agentexchange import FeedState, FeedStatus
from agentexchange.recording import Lane, RecordingWriter
from agentexchange_schemas import account_scope
from agentexchange_schemas.envelope import encode

KEY = "ak_live_story"
START = datetime(2026, 11, 20, 14, 0, tzinfo=UTC)
BLIND = (START + timedelta(minutes=2, seconds=33), START + timedelta(minutes=3, seconds=1))
MINUTES = 6
TICKS_PER_S = 5
PRICES = {"BTCUSDT": 65_000.0, "ETHUSDT": 3_400.0, "SOLUSDT": 180.0, "XRPUSDT": 1.2, "ADAUSDT": 0.8}


class Log:
    """One scope's log: numbers its events, and keeps their order."""

    def __init__(self, scope, log_id):
        self.lane = Lane(scope, "log", log_id)
        self.raws = []
        self._seqs = {}
        self._last_us = 0

    def add(self, topic, at, fields):
        seq = self._seqs[topic] = self._seqs.get(topic, 0) + 1
        received_us = max(self._last_us + 1, round(at.timestamp() * 1_000_000) + 1_500)
        self._last_us = received_us
        upstream_ms = round(at.timestamp() * 1000) if topic != "status" else None
        self.raws.append(encode(topic, 1763640000, seq, upstream_ms, received_us, fields, received_us + 400))


def stamp(at):
    return at.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def drift(at):
    """The share of its price that every pair has at a moment: flat, then falling from the blind span on."""
    falling_s = max(0.0, (at - BLIND[0]).total_seconds())
    fast_s = min(falling_s, (BLIND[1] - BLIND[0]).total_seconds())
    return 1.0 - 0.0007 * fast_s - 0.00006 * (falling_s - fast_s)


def is_blind(at):
    return BLIND[0] <= at < BLIND[1]


def market(log):
    noise = random.Random(1403)
    for number in range(MINUTES * 60 * TICKS_PER_S):
        at = START + timedelta(seconds=number / TICKS_PER_S)
        if at == BLIND[0]:
            log.add("status", at, notice("upstream_lost", FeedState.BLIND, at))
        if at == BLIND[1]:
            message = "events of this span are missing"
            log.add("status", at, notice("reconnected", FeedState.LIVE, *BLIND, message=message))
        for offset, (symbol, first) in enumerate(PRICES.items()):
            moment = at + timedelta(milliseconds=7 * offset)
            price = first * drift(moment) * (1 + noise.uniform(-0.0004, 0.0004))
            fields = {
                "symbol": symbol,
                "price": f"{price:.8f}",
                "quantity": f"{noise.uniform(0.01, 2):.8f}",
                "timestamp": stamp(moment),
                "is_buyer_maker": noise.random() < 0.5,
            }
            if not is_blind(moment):
                log.add(f"ticker:{symbol}", moment, fields)


def notice(cause, state, since, until=None, message="the connection to the platform was lost"):
    return FeedStatus(scope="m0", state=state, since=since, until=until, cause=cause, message=message).to_fields()


def account(log):
    """What the crew did that day: it bought half a coin into the fall."""
    bought, paid = START + timedelta(minutes=3, seconds=2), 63_729.52
    order = {"order_id": "7c1f0a52", "symbol": "BTCUSDT", "side": "buy", "type": "market", "quantity": "0.50000000"}
    filled = {"executed_price": f"{paid:.8f}", "executed_quantity": "0.50000000", "filled_at": stamp(bought)}
    events = [
        ("orders", bought - timedelta(milliseconds=300), order | {"status": "pending"}),
        ("orders", bought, order | {"status": "filled"} | filled),
    ]
    for second in range(0, MINUTES * 60, 30):
        at = START + timedelta(seconds=second)
        has_bought = at > bought
        lost = 0.5 * (paid - PRICES["BTCUSDT"] * drift(at)) if has_bought else 0.0
        fields = {
            "total_equity": f"{100_000 - lost:.8f}",
            "available_cash": f"{100_000 - (0.5 * paid if has_bought else 0):.8f}",
            "unrealized_pnl": f"{0 - lost:.8f}",
            "timestamp": stamp(at),
        }
        events.append(("portfolio", at, fields))
    for topic, at, fields in sorted(events, key=lambda event: event[1]):
        log.add(topic, at, fields)


def main():
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else ".")
    path = folder / "day.axlog"
    path.unlink(missing_ok=True)
    logs = Log("m0", "5d2a8c0e11f34b7a"), Log(account_scope(KEY), "90be4471aa02cd58")
    market(logs[0])
    account(logs[1])
    with RecordingWriter(path) as writer:
        for log in logs:
            writer.add(log.lane, log.raws)
    print(f"{path}: {sum(len(log.raws) for log in logs):,} events from {stamp(START)}")


if __name__ == "__main__":
    main()
