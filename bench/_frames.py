"""The recorded input: live ticker frames over 600 symbols, the same ones in every run."""

from __future__ import annotations

import json
import random
import time
from datetime import UTC, datetime, timedelta

SYMBOLS = 600
FRAMES = 50_000

_START = datetime(2026, 2, 23, 15, 30, tzinfo=UTC)


def symbols() -> list[str]:
    """Names of the pairs, the busiest first."""
    return ["BTCUSDT", "ETHUSDT", "SOLUSDT", *(f"PAIR{number}USDT" for number in range(3, SYMBOLS))]


def frames(count: int = FRAMES, *, seed: int = 1) -> list[bytes]:
    """``count`` frames as the live platform sends them; activity is heavy-tailed, as on a real market."""
    rng = random.Random(seed)
    names = symbols()
    prices = [10 ** rng.uniform(-4, 5) for _ in names]
    busiest = [1 / (rank + 3) for rank in range(len(names))]
    result = []
    for number, chosen in enumerate(rng.choices(range(len(names)), busiest, k=count)):
        prices[chosen] *= 1 + rng.gauss(0, 0.0002)
        time_text = (_START + timedelta(milliseconds=number // 10)).isoformat(timespec="milliseconds")
        data = {
            "price": f"{prices[chosen]:.8f}",
            "quantity": f"{rng.expovariate(1):.8f}",
            "timestamp": time_text.replace("+00:00", "Z"),
            "is_buyer_maker": rng.random() < 0.5,  # noqa: PLR2004 - a fair coin
        }
        body = {"channel": "ticker", "symbol": names[chosen], "data": data}
        result.append(json.dumps(body, separators=(",", ":")).encode())
    return result


def stamped(frame: bytes) -> bytes:
    """The frame with the time of sending in an added field, for latency: every stage carries it through."""
    return frame[:-2] + b',"sent_ns":%d}}' % time.time_ns()
