"""The last forty minutes of a market, as a recording: the sandbox's own prices and orders, at made-up times.

They end at the prices at which a sandbox of the same seed begins, so that a bridge can go on from there.
"""

from __future__ import annotations

from collections import Counter
from random import Random
from typing import TYPE_CHECKING, Any, NamedTuple

from agentexchange import FeedState, FeedStatus
from agentexchange._shared.read import utc_of
from agentexchange.recording import Lane, RecordingWriter, WriterOptions, received_of
from agentexchange.testing._account import Account
from agentexchange.testing._frames import timestamp
from agentexchange.testing._market import Market
from agentexchange.testing._pairs import make_pairs
from agentexchange_schemas import Topic, account_scope
from agentexchange_schemas.envelope import encode

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

__all__ = ["write_past"]

SECOND_US = 1_000_000
MINUTE_US = 60 * SECOND_US
LENGTH_US = 40 * MINUTE_US
BLIND_US = (-16 * MINUTE_US, -16 * MINUTE_US + 95 * SECOND_US)  # counted from the end
RATE = 60
ORDER_EVERY_S = 7
EPOCH = 1


class _Tick(NamedTuple):
    symbol: str
    price: str
    quantity: str
    is_buyer_maker: bool


def write_past(path: Path, *, key: str, pairs: int, seed: int, end_us: int) -> None:
    """Write it."""
    market = Market(make_pairs(pairs, seed), seed)
    begin_us = end_us - LENGTH_US
    blind = (end_us + BLIND_US[0], end_us + BLIND_US[1])
    ticks = list(_placed(_ticks(market, LENGTH_US // SECOND_US * RATE), begin_us, blind))
    numbers = _Numbers()
    lanes = {
        Lane("m0", "log", "1"): [*_market_log(ticks, numbers), *_notices(blind, numbers)],
        Lane("m0", "log:candles", "1"): list(_candles(ticks, numbers, end_us)),
        Lane(account_scope(key), "log", "1"): list(_account(market, seed, begin_us, end_us)),
    }
    with RecordingWriter(path, options=WriterOptions(fsync="never")) as writer:
        for lane, raws in lanes.items():
            writer.add(lane, sorted(raws, key=received_of))


class _Numbers:
    """A topic's events in a row, each with its envelope."""

    def __init__(self) -> None:
        self._seqs: Counter[str] = Counter()

    def envelope(self, topic: str, at_us: int, fields: dict[str, Any]) -> bytes:
        self._seqs[topic] += 1
        lag_us = 700 + self._seqs[topic] * 7919 % 900
        return encode(topic, EPOCH, self._seqs[topic], (at_us - lag_us) // 1000, at_us, fields, at_us + lag_us // 2)


def _ticks(market: Market, count: int) -> list[_Tick]:
    """The last one is the market's first: a walk looks alike in both directions."""
    made: list[_Tick] = []

    def take(symbol: str, price: str, quantity: str, _: str, is_buyer_maker: bool) -> bytes:  # noqa: FBT001 - Market's
        made.append(_Tick(symbol, price, quantity, is_buyer_maker))
        return b""

    market.ticks(count, "", encode=take, wanted=None)
    return made[::-1]


def _placed(ticks: list[_Tick], begin_us: int, blind: tuple[int, int]) -> Iterable[tuple[int, _Tick]]:
    """Evenly but for a second's noise, and none while the feed is blind."""
    dice = Random(1403)
    places = sorted(begin_us + int(dice.uniform(0, LENGTH_US)) for _ in ticks)
    last_us = 0
    for at_us, tick in zip(places, ticks, strict=True):
        last_us = max(last_us + 1, at_us)
        if not blind[0] <= last_us < blind[1]:
            yield last_us, tick


def _market_log(ticks: Iterable[tuple[int, _Tick]], numbers: _Numbers) -> Iterable[bytes]:
    for at_us, tick in ticks:
        data = {**tick._asdict(), "timestamp": timestamp(at_us / 1e6)}
        yield numbers.envelope(str(Topic.ticker(tick.symbol)), at_us, data)


def _notices(blind: tuple[int, int], numbers: _Numbers) -> Iterable[bytes]:
    since, until = map(utc_of, blind)
    lost = FeedStatus(scope="m0", state=FeedState.BLIND, since=since, cause="upstream_lost")
    back = FeedStatus(scope="m0", state=FeedState.LIVE, since=since, until=until, cause="upstream_lost")
    for at_us, status in ((blind[0] + 2_000, lost), (blind[1] - 1, back)):
        yield numbers.envelope("status", at_us, status.to_fields())


def _candles(ticks: Iterable[tuple[int, _Tick]], numbers: _Numbers, end_us: int) -> Iterable[bytes]:
    minutes: dict[tuple[int, str], list[_Tick]] = {}
    for at_us, tick in ticks:
        minutes.setdefault((at_us // MINUTE_US, tick.symbol), []).append(tick)
    for number, ((minute, symbol), trades) in enumerate(sorted(minutes.items())):  # each at an `r` of its own
        if (closes_us := (minute + 1) * MINUTE_US + 2 * SECOND_US + number) < end_us:
            yield numbers.envelope(str(Topic.candles(symbol, "1m")), closes_us, _candle(minute, trades))


def _candle(minute: int, trades: list[_Tick]) -> dict[str, Any]:
    prices = [trade.price for trade in trades]
    opens = timestamp(minute * 60)
    return {
        "symbol": trades[0].symbol, "interval": "1m", "open_time": opens, "time": opens,
        "open": prices[0], "high": max(prices, key=float), "low": min(prices, key=float), "close": prices[-1],
        "volume": f"{sum(float(trade.quantity) for trade in trades):.8f}",
        "is_closed": True, "source": "built", "complete": True, "trades": len(trades), "empty": False,
    }  # fmt: skip


def _account(market: Market, seed: int, begin_us: int, end_us: int) -> Iterable[bytes]:
    numbers = _Numbers()
    traded = list(market.pairs.values())[:12]
    account = Account(traded, f"past:{seed}")
    for at_us in range(begin_us, end_us, ORDER_EVERY_S * SECOND_US):
        order, has_filled = account.step()
        stamp = timestamp(at_us / 1e6)
        yield numbers.envelope("orders", at_us, order.fields(stamp))
        if has_filled:
            yield numbers.envelope("portfolio", at_us + 1_000, account.portfolio(stamp))
