"""Prices for the tools of an agent that is not async: the feed runs in a thread, tools read what it knows.

AGENTEXCHANGE_API_KEY=ak_live_sandbox python examples/price_stream.py
"""

import os
import threading
import time

from agentexchange import AgentExchangeWS


class PriceStream:
    """Newest price and its age per symbol; read it from any thread."""

    def __init__(self, symbols, *, api_key, base_url):
        self._known = {}
        self._changed = threading.Condition()
        self._ws = AgentExchangeWS(api_key=api_key, base_url=base_url)
        for symbol in symbols:
            self._ws.on_ticker(symbol)(self._on_tick)
        self._thread = threading.Thread(target=self._ws.run_forever, name="price-stream", daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._ws.stop()
        self._thread.join(timeout=10)

    def _on_tick(self, tick):
        with self._changed:
            self._known[tick["symbol"]] = (tick["price"], time.monotonic())
            self._changed.notify_all()

    def price(self, symbol, *, wait_s=5.0):
        """The newest price as upstream sent it, and its age in seconds; waits for the first one."""
        with self._changed:
            if not self._changed.wait_for(lambda: symbol in self._known, timeout=wait_s):
                raise LookupError(f"no price of {symbol} within {wait_s:g} s")
            price, at = self._known[symbol]
        return price, time.monotonic() - at


if __name__ == "__main__":
    rounds = int(os.environ.get("ROUNDS", "5"))
    with PriceStream(
        ["BTCUSDT", "ETHUSDT"],
        api_key=os.environ["AGENTEXCHANGE_API_KEY"],
        base_url=os.environ.get("AGENTEXCHANGE_WS_URL", "ws://localhost:8000"),
    ) as stream:
        for _ in range(rounds):
            for symbol in ("BTCUSDT", "ETHUSDT"):
                price, age = stream.price(symbol)
                print(f"{symbol} {price} ({age * 1000:.0f} ms old)")
            time.sleep(1)
