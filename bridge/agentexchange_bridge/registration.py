"""A worker's place in the set of live ones, renewed once a second; on the way its clock is compared with Redis's."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Final

from agentexchange.freshness import ServerClock, time_us
from agentexchange.redis import RedisLinkError, RespStream, pack

from .outbox import wall_us

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from agentexchange_schemas import Layout

__all__ = ["Registration"]

_LIVES_S: Final = 5
"""How long a worker stays in ``ax:workers`` after its last sign of life, seconds."""


class Registration:
    """Nothing depends on it, so a failure waits for the next turn.

    Args:
        worker_id: who.
        layout: where.
        connect: opens a connection.
        every_s: seconds between two renewals.
        on_renewed: called after each, with how far Redis's clock is ahead of this machine's, µs (None: not known).
    """

    def __init__(
        self,
        worker_id: str,
        layout: Layout,
        *,
        connect: Callable[[], Awaitable[RespStream]],
        every_s: float,
        on_renewed: Callable[[int | None], None],
    ) -> None:
        self._worker_id = worker_id
        self._layout = layout
        self._connect = connect
        self._every_s = every_s
        self._on_renewed = on_renewed
        self._left = asyncio.Event()

    async def run(self) -> None:
        """Stay registered until `leave`."""
        while not self._left.is_set():
            with contextlib.suppress(RedisLinkError):
                await self._stay(await self._connect())
            await self._pause()

    def leave(self) -> None:
        """Take the worker out of the set, and end `run`."""
        self._left.set()

    async def _stay(self, stream: RespStream) -> None:
        key, clock = self._layout.workers, ServerClock()
        try:
            while not self._left.is_set():
                asked_us = wall_us()
                now = asked_us // 1_000_000
                *_, told = await stream.send(
                    pack("ZADD", key, now + _LIVES_S, self._worker_id)
                    + pack("ZREMRANGEBYSCORE", key, "-inf", now)
                    + pack("TIME"),
                    replies=3,
                )
                clock.answered(asked_us, time_us(told), wall_us())
                self._on_renewed(clock.ahead_us)
                await self._pause()
            await stream.send(pack("ZREM", key, self._worker_id), timeout_s=1.0)
        finally:
            stream.close()

    async def _pause(self) -> None:
        """Until the next renewal is due, or to leave is."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._every_s):
                await self._left.wait()
