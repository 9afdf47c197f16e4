"""A shared client with a recorder in place of handlers, for tests against real servers."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

from pydantic import SecretStr

from agentexchange._shared.options import SharedOptions
from agentexchange._shared.transport import SharedTransport
from agentexchange._urls import redis_url
from agentexchange_schemas import Topic
from tests._patience import PATIENCE_S
from tests.sdk._recorder import Recorder

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

__all__ = ["KEY", "QUICK", "SharedClient", "eventually", "no_wait"]

KEY = "ak_live_shared_test"
QUICK: dict[str, Any] = {"watch_every_s": 0.02, "log_gather_s": 0.0, "silent_after_s": 60.0, "replace_after_s": 60.0}
"""Looks often; and does without the heartbeats of a bridge, which the tests write only where they are about them."""


class SharedClient:
    def __init__(self, url: str, *topics: str, **options: Any) -> None:
        self.got = Recorder()
        self.transport = SharedTransport(
            redis_url(url),
            SecretStr(KEY),
            dispatcher=self.got,  # type: ignore[arg-type]
            topics=[Topic.parse(topic) for topic in topics],
            options=SharedOptions(**(QUICK | options)),
        )

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[Recorder]:
        """Run it beside the body, from its first status on."""
        task = asyncio.create_task(self.transport.run())
        try:
            await self.got.until(lambda got: bool(got.statuses) or task.done())
            yield self.got
        finally:
            self.transport.stop()
            async with asyncio.timeout(PATIENCE_S):
                await task


async def eventually(condition: Callable[[], bool]) -> None:
    """Wait for something that only the server can tell."""
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110 - no event of ours tells it
            await asyncio.sleep(0.002)


async def no_wait(delay_s: float) -> None:
    await asyncio.sleep(min(delay_s, 0.02))
