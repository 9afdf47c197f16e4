"""The exchange itself, without a network: one step makes ticks, candles, orders and portfolios and hands them out."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from agentexchange.testing._account import Account
from agentexchange.testing._candles import Bar, CandleBook
from agentexchange.testing._frames import text_frame, timestamp
from agentexchange.testing._ledger import Ledger
from agentexchange.testing._market import Market
from agentexchange.testing._pairs import make_pairs

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from agentexchange.testing._hub import Hub
    from agentexchange.testing._market import Pair
    from agentexchange.testing._options import SandboxOptions

__all__ = ["Engine", "Pacer"]

_FORMING_EVERY = 1.0  # seconds between two frames of one forming candle
_CANDLES = "candles:"
_LONGEST_BURST = 0.25  # seconds of events that a late turn makes up for; the rest is let go


class Pacer:
    """How many events are due at a rate per second; a fraction is kept for the next turn."""

    def __init__(self, now: float) -> None:
        self._last = now
        self._owed = 0.0

    def due(self, now: float, rate: float) -> int:
        """The events due since the last call; ``now`` in seconds of any monotonic clock."""
        self._owed += min(now - self._last, _LONGEST_BURST) * rate
        self._last = now
        whole = int(self._owed)
        self._owed -= whole
        return whole


class Engine:
    """Market, candles and accounts of one sandbox, feeding one hub."""

    def __init__(self, options: SandboxOptions, hub: Hub) -> None:
        self.stalled = False
        self.push_candles = options.rules.pushes_candles if options.push_candles is None else options.push_candles
        self.market = Market(make_pairs(options.pairs, options.seed), options.seed)
        self._options = options
        self._dialect = options.rules
        self._hub = hub
        self._book = CandleBook()
        self._book.roll(options.clock())
        self._forming_due = 0.0
        self._forming_sent: dict[str, tuple[int, int]] = {}
        self._accounts: dict[str, Account] = {}
        self._ledgers: dict[str, Ledger] = {}

    def now(self) -> str:
        """The time of the injected clock as a timestamp."""
        return timestamp(self._options.clock())

    # Ticks

    def ticks(self, count: int) -> None:
        """Make and send the next ``count`` ticks of the market; none while it is stalled."""
        if self.stalled:
            return
        self.roll_candles()
        if count:
            batch = self.market.ticks(
                count,
                self.now(),
                encode=self._encode,
                wanted=self._hub.wanted_symbols(),
                trade=self._book.trade if self.push_candles else None,
            )
            self._hub.send_ticks(batch)
        if self.push_candles and self._dialect.forming_candles:
            self._send_forming()

    def _encode(self, symbol: str, price: str, quantity: str, stamp: str, is_buyer_maker: bool) -> bytes:  # noqa: FBT001  # called per tick: keywords cost
        return text_frame(self._dialect.tick(symbol, price, quantity, stamp, is_buyer_maker))

    def one_tick(self, symbol: str, *, price: str, quantity: str, stamp: str, is_buyer_maker: bool) -> None:
        """Send a tick of the caller's own making, stalled or not; a pair of the market moves to its price."""
        pair = self.market.pairs.get(symbol)
        if pair is not None:
            self._move(pair, price, quantity)
        escaped = json.dumps(symbol)[1:-1]
        self._hub.send_ticks([(symbol, self._encode(escaped, price, quantity, stamp, is_buyer_maker))])

    def _move(self, pair: Pair, price: str, quantity: str) -> None:
        units, lots = pair.price_units(price), pair.lot_units(quantity)
        if units is None:
            return
        pair.price = units
        if self.push_candles and lots is not None:
            self.roll_candles()
            self._book.trade(pair, units, lots)

    # Candles

    def roll_candles(self) -> None:
        """Close the candles whose time is over and send them."""
        for pair, interval, bar in self._book.roll(self._options.clock()):
            topic = f"{_CANDLES}{pair.symbol}:{interval}"
            if self.push_candles and self._hub.subscribers(topic):
                self._send_candle(topic, pair, interval, bar, is_closed=True)

    def _send_candle(self, topic: str, pair: Pair, interval: str, bar: Bar, *, is_closed: bool) -> None:
        fields = bar.fields(pair, is_closed=is_closed)
        self._hub.send_candle(topic, self._dialect.candle(pair.symbol, interval, fields))

    def _send_forming(self) -> None:
        now = self._options.clock()
        if now < self._forming_due:
            return
        self._forming_due = now + _FORMING_EVERY
        before, self._forming_sent = self._forming_sent, {}
        for topic in [topic for topic in self._hub.subscribed_topics() if topic.startswith(_CANDLES)]:
            symbol, _, interval = topic.removeprefix(_CANDLES).rpartition(":")
            pair = self.market.pairs.get(symbol)
            bar = None if pair is None else self._book.forming(pair, interval)
            if pair is None or bar is None:
                continue
            state = self._forming_sent[topic] = (bar.start, bar.volume)
            if before.get(topic) != state:
                self._send_candle(topic, pair, interval, bar, is_closed=False)

    def any_candle(self, symbol: str, interval: str, fields: Mapping[str, Any]) -> None:
        """Send a candle of the caller's own making."""
        self._hub.send_candle(f"{_CANDLES}{symbol}:{interval}", self._dialect.candle(symbol, interval, fields))

    # Accounts

    def account(self, key: str) -> Account:
        """The account of a key, made when first asked for; accounts of one seed differ by their order."""
        found = self._accounts.get(key)
        if found is None:
            pairs = [pair for pair in self.market.pairs.values() if pair.symbol.endswith("USDT")]
            found = self._accounts[key] = Account(pairs, f"account:{self._options.seed}:{len(self._accounts)}")
        return found

    def ledger(self, key: str) -> Ledger:
        """What was pushed of the account of a key."""
        return self._ledgers.setdefault(key, Ledger())

    def orders(self, key: str, count: int) -> None:
        """Move the orders of ``key`` on by ``count`` updates; each fill brings a portfolio."""
        account = self.account(key)
        for _ in range(count):
            order, filled = account.step()
            self.any_order((key,), order.fields(self.now()))
            if filled:
                self.portfolio(key)

    def any_order(self, keys: Iterable[str], fields: Mapping[str, Any]) -> None:
        """Send an order of the caller's own making."""
        for key in keys:
            self.ledger(key).record(fields, self.now())
            self._hub.send_private("order", "orders", key, self._dialect.order(fields))

    def any_portfolio(self, keys: Iterable[str], fields: Mapping[str, Any]) -> None:
        """Send a portfolio of the caller's own making."""
        for key in keys:
            self.ledger(key).record_portfolio(fields)
            self._hub.send_private("portfolio", "portfolio", key, self._dialect.portfolio(fields))

    def portfolio(self, key: str) -> None:
        """Send the portfolio of ``key`` as it is now."""
        self.ledger(key).record_portfolio(None)
        fields = self.portfolio_fields(key)
        self._hub.send_private("portfolio", "portfolio", key, self._dialect.portfolio(fields))

    def portfolio_fields(self, key: str) -> dict[str, Any]:
        """The portfolio of ``key`` as it is now, or as the caller last said that it is."""
        return self.ledger(key).portfolio or dict(self.account(key).portfolio(self.now()))
