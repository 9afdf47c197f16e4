"""The sandbox's control object: what beside the server's own a test makes its market do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agentexchange.testing._server_control import ServerControl, not_negative

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from agentexchange.testing._door import Door
    from agentexchange.testing._engine import Engine
    from agentexchange.testing._hub import Hub
    from agentexchange.testing._observe import Observations
    from agentexchange.testing._options import Knobs, MarketKnobs
    from agentexchange.testing._rest import RestDesk

__all__ = ["SandboxControl"]


class SandboxControl(ServerControl):
    """Faults, frames and observations of one sandbox; made by ``SandboxExchange``, used from its event loop.

    ``connection`` (an id from ``connections``) and ``api_key`` narrow an action to the connections that
    match; without them it concerns all. An action takes effect at once; what it sends is on its way when
    it returns. The ``wait_for_…`` methods return as soon as their condition holds and raise ``TimeoutError``
    after ``timeout`` seconds.
    """

    def __init__(
        self,
        *,
        knobs: Knobs,
        rates: MarketKnobs,
        hub: Hub,
        engine: Engine,
        door: Door,
        rest: RestDesk,
        seen: Observations,
    ) -> None:
        super().__init__(knobs=knobs, hub=hub, door=door, rest=rest, seen=seen)
        self._rates = rates
        self._engine = engine

    # Frames

    def push_tick(
        self,
        symbol: str,
        *,
        price: str,
        quantity: str = "1.00000000",
        timestamp: str | None = None,
        is_buyer_maker: bool = False,
    ) -> None:
        """Send one tick to whoever is subscribed, twins included, stalled or not.

        A pair of the market goes on from this price. The strings go out as they are; ``timestamp`` is
        the clock's by default.
        """
        self._engine.one_tick(
            symbol,
            price=price,
            quantity=quantity,
            stamp=timestamp or self._engine.now(),
            is_buyer_maker=is_buyer_maker,
        )

    def push_candle(self, symbol: str, interval: str, fields: Mapping[str, Any]) -> None:
        """Send a candle to its subscribers: time, open, high, low, close, volume, is_closed."""
        self._engine.any_candle(symbol, interval, fields)

    def push_order(self, fields: Mapping[str, Any], *, api_key: str | None = None) -> None:
        """Send an order update (the live platform's field names) to a key's connections, or to every key's."""
        self._engine.any_order(self._keys(api_key), fields)

    def push_portfolio(self, fields: Mapping[str, Any], *, api_key: str | None = None) -> None:
        """Send a portfolio to a key's connections, or to every key's."""
        self._engine.any_portfolio(self._keys(api_key), fields)

    def _keys(self, api_key: str | None) -> Iterable[str]:
        return self._door.known if api_key is None else (api_key,)

    # The market

    def tick(self, count: int = 1) -> None:
        """Make the market's next ``count`` ticks now, all with the clock's time; none while stalled.

        With a clock of the caller's own this also closes the candles whose time is over (``count`` may be 0).
        """
        self._engine.ticks(count)

    def step_orders(self, count: int = 1, *, api_key: str | None = None) -> None:
        """Make ``count`` order updates now, with the portfolios that belong to them."""
        for key in self._keys(api_key):
            self._engine.orders(key, count)

    def send_portfolio(self, *, api_key: str | None = None) -> None:
        """Send the portfolio as it is, as after a balance update."""
        for key in self._keys(api_key):
            self._engine.portfolio(key)

    def set_rate(self, rate: float) -> None:
        """Ticks per second over all pairs, from the next turn on."""
        self._rates.rate = not_negative("rate", rate)

    def set_order_rate(self, rate: float) -> None:
        """Order updates per second and key, from the next turn on."""
        self._rates.order_rate = not_negative("rate", rate)

    def stall(self) -> None:
        """Stop the market: no tick and no candle, while pings, orders and answers go on."""
        self._engine.stalled = True

    def unstall(self) -> None:
        """Let the market go on from where it stopped; nothing is made up for."""
        self._engine.stalled = False

    @property
    def symbols(self) -> tuple[str, ...]:
        """The market's pairs."""
        return tuple(self._engine.market.pairs)
