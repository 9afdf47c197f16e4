"""A `Dispatcher` by itself: handlers added, and run beside a test's body."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

from agentexchange._handlers import Handler
from agentexchange._policy import HandlerOptions
from agentexchange_schemas import Topic
from tests._patience import PATIENCE_S

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from agentexchange._dispatch import Dispatcher

__all__ = ["ALL", "BTC", "ETH", "ORDERS", "add", "running"]

BTC, ETH, ALL, ORDERS = "ticker:BTCUSDT", "ticker:ETHUSDT", "ticker:all", "orders"


def add(dispatcher: Dispatcher, function: Callable[..., Any], topic: str | None, **options: Any) -> None:
    dispatcher.add(Handler.of(function, None if topic is None else Topic.parse(topic), HandlerOptions(**options)))


@contextlib.asynccontextmanager
async def running(dispatcher: Dispatcher, *, deliver: bool = True) -> AsyncIterator[asyncio.Task[None]]:
    """Run it until the body ends, then what waits if ``deliver``."""
    task = asyncio.create_task(dispatcher.run())
    await asyncio.sleep(0)
    try:
        yield task
    finally:
        dispatcher.finish(deliver=deliver)
        async with asyncio.timeout(PATIENCE_S):
            await asyncio.gather(task, return_exceptions=True)
