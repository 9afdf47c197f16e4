"""A program that handles orders and keeps a journal, to be killed, stopped and restarted by tests.

Arguments: Redis URL, journal file, JSON of `AgentExchangeWS` options, seconds that a handler takes.
A line of the journal: ``<order id> <source>``, written when the handler returns; ``! <cause> <count>`` for a gap.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from typing import Any

from agentexchange import AgentExchangeWS, EventMeta, FeedStatus

KEY = "ak_live_shared_test"
LEAST_SLEEP_S = 0.001


async def main(url: str, journal: str, options: str, handler_s: str) -> None:
    ws = AgentExchangeWS(KEY, url, **json.loads(options))
    file = os.open(journal, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    pause = float(handler_s)

    @ws.on_order_update()
    async def on_order(data: dict[str, Any], meta: EventMeta) -> None:
        if pause >= LEAST_SLEEP_S:
            await asyncio.sleep(pause)
        elif pause:
            time.sleep(pause)  # noqa: ASYNC251 - asyncio's own takes a millisecond
        os.write(file, f"{data['order_id']} {meta.source}\n".encode())

    @ws.on_status()
    async def on_status(status: FeedStatus) -> None:
        if status.cause in ("trimmed", "log_replaced"):
            os.write(file, f"! {status.cause} {status.count}\n".encode())

    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ws.stop)
    await ws.connect()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
