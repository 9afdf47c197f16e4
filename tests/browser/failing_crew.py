"""A group that gives up its first two orders: ``python -m tests.browser.failing_crew REDIS_URL``."""

from __future__ import annotations

import asyncio
import os
import sys
from typing import Any

from agentexchange import AgentExchangeWS

if __name__ == "__main__":
    ws = AgentExchangeWS(
        api_key=os.environ["AGENTEXCHANGE_API_KEY"], base_url=sys.argv[1], group="executors", max_attempts=1,
        client_name="executor",
    )  # fmt: skip
    given_up: list[str] = []

    @ws.on_order_update()
    async def on_order(data: dict[str, Any]) -> None:
        if len(given_up) < 2:
            given_up.append(data["order_id"])
            raise ValueError("no position to close")
        if len(given_up) == 2:
            given_up.append("")
            sys.stdout.write("gave up two\n")
            sys.stdout.flush()

    asyncio.run(ws.connect())
