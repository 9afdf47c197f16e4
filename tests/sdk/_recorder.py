"""A dispatcher that only records: what a transport hands over, and a way to wait for it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

    from agentexchange_schemas import Envelope, FeedState, FeedStatus

__all__ = ["Delivery", "Recorder"]


class Delivery(NamedTuple):
    topic: str
    fields: dict[str, Any]
    seq: int | None
    source: str
    scope: str | None


class Recorder:
    """Takes the place of `Dispatcher`."""

    def __init__(self) -> None:
        self.log_backed = False
        self.blocked: set[str] = set()
        self.on_room: Callable[[str], None] = lambda _topic: None
        self.newest_only: set[str] = set()
        self.events: list[Delivery] = []
        self.statuses: list[FeedStatus] = []
        self._changed = asyncio.Event()

    def event(
        self,
        topic: str,
        fields: dict[str, Any],
        envelope: Envelope | None = None,
        source: str = "live",
        scope: str | None = None,
        at: float | None = None,
    ) -> None:
        self.events.append(Delivery(topic, fields, envelope.seq if envelope else None, source, scope))
        self._changed.set()

    def recovers(self, topic: str) -> bool:
        return topic not in self.newest_only

    def status(self, status: FeedStatus) -> None:
        self.statuses.append(status)
        self._changed.set()

    @property
    def prices(self) -> list[str]:
        return [delivery.fields["price"] for delivery in self.events]

    @property
    def states(self) -> list[FeedState]:
        return [status.state for status in self.statuses]

    async def until(self, condition: Callable[[Recorder], bool], *, timeout_s: float = 10.0) -> None:
        """Wait until ``condition`` holds; an assertion error that shows everything if it never does."""
        try:
            async with asyncio.timeout(timeout_s):
                while not condition(self):
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            raise AssertionError(f"never came true; events {self.events}, statuses {self.statuses}") from None
