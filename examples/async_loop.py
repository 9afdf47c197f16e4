"""A strategy and its feed on one event loop: the feed fills a table, the strategy looks at it in its own time.

AGENTEXCHANGE_API_KEY=ak_live_sandbox python examples/async_loop.py
"""

import asyncio
import os
from decimal import Decimal

from agentexchange import AgentExchangeWS
from agentexchange_schemas import OrderUpdate, Ticker

ws = AgentExchangeWS(
    api_key=os.environ["AGENTEXCHANGE_API_KEY"],
    base_url=os.environ.get("AGENTEXCHANGE_WS_URL", "ws://localhost:8000"),
)
first: dict[str, Decimal] = {}
last: dict[str, Decimal] = {}


@ws.on_ticker("all")
async def on_tick(tick: Ticker):  # annotated with a model: exact decimals instead of strings
    first.setdefault(tick.symbol, tick.price_decimal)
    last[tick.symbol] = tick.price_decimal


@ws.on_order_update()
async def on_order(order: OrderUpdate):
    if order.is_final:
        print(f"order {order.order_id}: {order.status}")


async def strategy(rounds: int):
    """Every second, name the pair that moved most since the start."""
    for _ in range(rounds):
        await asyncio.sleep(1)
        moves = {symbol: last[symbol] / price - 1 for symbol, price in first.items() if price}
        if moves:
            symbol = max(moves, key=lambda name: abs(moves[name]))
            print(f"{len(moves)} pairs; {symbol} moved {moves[symbol]:+.3%}")


async def main():
    async with ws:  # connects; leaving the block disconnects
        await strategy(rounds=int(os.environ.get("ROUNDS", "5")))


if __name__ == "__main__":
    asyncio.run(main())
