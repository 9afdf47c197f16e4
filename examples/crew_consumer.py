"""One member of a crew: follows a few prices and the account, and says every few seconds what it knows.

Start as many as you like, on as many machines as you like. With a redis:// URL they share one feed:

    AGENTEXCHANGE_API_KEY=ak_live_sandbox AGENTEXCHANGE_WS_URL=redis://localhost:6379/0 python examples/crew_consumer.py
"""

import asyncio
import contextlib
import os
import signal

from agentexchange import AgentExchangeWS

SYMBOLS = os.environ.get("CREW_SYMBOLS", "BTCUSDT,ETHUSDT,SOLUSDT").split(",")
REPORT_EVERY_S = float(os.environ.get("CREW_REPORT_S", "5"))

ws = AgentExchangeWS(
    api_key=os.environ["AGENTEXCHANGE_API_KEY"],
    base_url=os.environ.get("AGENTEXCHANGE_WS_URL", "ws://localhost:8000"),
)
prices: dict[str, str] = {}
counts = {"ticks": 0, "orders": 0}


async def on_tick(tick):
    prices[tick["symbol"]] = tick["price"]
    counts["ticks"] += 1


for symbol in SYMBOLS:
    ws.on_ticker(symbol)(on_tick)


@ws.on_order_update()
async def on_order(order):
    counts["orders"] += 1
    if order["status"] == "filled":
        print(f"filled: {order['side']} {order['executed_quantity']} {order['symbol']} at {order['executed_price']}")


@ws.on_status()
async def on_status(status):
    print(f"feed {status.scope or ''} {status.topic or ''}: {status.state} {status.message or ''}")


async def report():
    while True:
        await asyncio.sleep(REPORT_EVERY_S)
        known = " ".join(f"{symbol}={price}" for symbol, price in sorted(prices.items()))
        print(f"ticks={counts['ticks']} orders={counts['orders']} {known}", flush=True)


async def main():
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, ws.stop)
    reporter = asyncio.create_task(report())
    try:
        await ws.connect()
    finally:
        reporter.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await reporter


if __name__ == "__main__":
    asyncio.run(main())
