"""A crew that buys dips: as it was at 14:03, and as it is now."""

from collections import deque
from datetime import timedelta

from agentexchange import AgentExchangeWS, EventMeta, FeedState, FeedStatus, Ticker

WINDOW = timedelta(seconds=60)
DIP = 0.99
"""Buy below this share of the mean price of the window."""


class DipBuyer:
    """Buys one coin's dips, at most once a minute.

    Args:
        ws: where prices come from.
        symbol: such as BTCUSDT.
        forgets_when_blind: whether prices from before a span that nobody saw still count. At 14:03 they did.

    Attributes:
        bought: when, at which price and below which mean.
    """

    def __init__(self, ws: AgentExchangeWS, symbol: str = "BTCUSDT", *, forgets_when_blind: bool = True) -> None:
        self.bought = []
        self._forgets = forgets_when_blind
        self._prices = deque()
        self._since = None
        ws.on_ticker(symbol)(self.on_tick)
        ws.on_status()(self.on_status)

    async def on_tick(self, tick: Ticker, meta: EventMeta) -> None:
        now = meta.received_time
        self._since = self._since or now
        self._prices.append((now, float(tick.price)))
        if now - self._since < WINDOW:
            return  # has not seen enough yet
        while now - self._prices[0][0] > WINDOW:
            self._prices.popleft()
        mean = sum(price for _, price in self._prices) / len(self._prices)
        if float(tick.price) < DIP * mean and self._may_buy(now):
            self.bought.append((now, tick.price, mean))

    async def on_status(self, status: FeedStatus) -> None:
        if self._forgets and (status.state is not FeedState.LIVE or status.until is not None):
            self._prices.clear()
            self._since = None

    def _may_buy(self, now) -> bool:
        return not self.bought or now - self.bought[-1][0] > WINDOW
