"""The sandbox exchange: a local WebSocket server that behaves as the platform does."""

from __future__ import annotations

import asyncio
from typing import Unpack

from agentexchange.testing._control import SandboxControl
from agentexchange.testing._door import Door
from agentexchange.testing._engine import Engine, Pacer
from agentexchange.testing._hub import Hub
from agentexchange.testing._observe import Observations
from agentexchange.testing._options import SandboxKeywords, SandboxOptions
from agentexchange.testing._rest import RestDesk
from agentexchange.testing._server import LocalExchange

__all__ = ["SandboxExchange"]

_TURN = 0.005  # seconds between two batches of ticks
_IDLE_TURN = 0.1


class SandboxExchange(LocalExchange):
    """A local exchange to test against; ``async with`` starts and stops it.

    It speaks the platform's WebSocket protocol as strictly as the live platform does (``dialect="live"``),
    or as its documentation page promises (``dialect="page"``). ``docs/sandbox.md`` has the whole list.

    Args:
        host: address to listen on.
        port: port, 0 for a free one (see ``port`` and ``url`` once it runs).
        pairs: number of pairs; BTCUSDT, ETHUSDT and SOLUSDT come first.
        rate: ticks per second over all pairs, 0 for those of ``control.tick`` alone.
        seed: same seed, same pairs, prices, quantities and orders.
        api_keys: the keys that are let in; each has an account of its own.
        api_secret: what REST requests must name beside a key; None: the key will do.
        dialect: ``live`` or ``page``.
        push_candles: push candles; None as the dialect does (page: yes, live: no).
        order_rate: order updates per second and key.
        heartbeat_interval: seconds between two pings.
        pong_timeout: seconds that an answer may take before the connection is closed.
        subscription_limit: per connection, None for no limit; by default as the dialect (live: 10).
        slow_client: what happens when a client does not read: ``skip`` (it gets no ticks), ``freeze``
            (nobody gets ticks, as on the live platform) or ``disconnect``.
        max_buffer: unsent bytes from which a client is slow; at twice that it is cut off.
        compression: offer permessage-deflate.
        clock: Unix seconds; all timestamps and candles follow it.
        journal: called with every event sent, in order.

    Raises:
        ValueError: an option outside its range.
        OSError: on entering, when the address cannot be listened on.
    """

    _noun = "sandbox"

    def __init__(self, **options: Unpack[SandboxKeywords]) -> None:
        self._options = SandboxOptions(**options)
        self._rates = self._options.market_knobs()
        seen = Observations()
        hub = Hub(
            dialect=self._options.rules,
            seen=seen,
            slow_client=self._options.slow_client,
            journal=self._options.journal,
        )
        self._engine = Engine(self._options, hub)
        door = Door(self._options.rules, self._options.api_keys)
        rest = RestDesk(books=self._engine, door=door, seen=seen, api_secret=self._options.api_secret)
        super().__init__(self._options, hub=hub, floor=hub, door=door, rest=rest, seen=seen)
        self.control = SandboxControl(
            knobs=self._knobs, rates=self._rates, hub=hub, engine=self._engine, door=door, rest=rest, seen=seen
        )

    async def _work(self) -> None:
        """Let ticks and orders come at their rates until cancelled."""
        clock = asyncio.get_running_loop().time
        ticks, orders = Pacer(clock()), Pacer(clock())
        while True:
            fastest = max(self._rates.rate, self._rates.order_rate, 1 / _IDLE_TURN)
            await asyncio.sleep(max(1 / fastest, _TURN))
            now = clock()
            self._engine.ticks(ticks.due(now, self._rates.rate))
            updates = orders.due(now, self._rates.order_rate)
            if updates:
                for key in self._door.known:
                    self._engine.orders(key, updates)
