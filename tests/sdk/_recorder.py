"""A dispatcher that only records: what a transport hands over, and a way to wait for it."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from tests._patience import PATIENCE_S

if TYPE_CHECKING:
    from collections.abc import Callable

    from agentexchange_schemas import Envelope, FeedState, FeedStatus

__all__ = ["Delivery", "Recorder", "Witness"]


class Delivery(NamedTuple):
    topic: str
    fields: dict[str, Any]
    seq: int | None
    source: str
    scope: str | None


class Witness(ABC):
    """Remembers what is told of the feed, and waits for what it shall have seen."""

    def __init__(self) -> None:
        self.statuses: list[FeedStatus] = []
        self._changed = asyncio.Event()

    def status(self, status: FeedStatus) -> None:
        self.statuses.append(status)
        self._changed.set()

    @property
    def states(self) -> list[FeedState]:
        return [status.state for status in self.statuses]

    async def until(self, condition: Callable[[Self], bool], *, timeout_s: float = PATIENCE_S) -> None:
        """Wait until ``condition`` holds; an assertion error that shows everything if it never does."""
        try:
            async with asyncio.timeout(timeout_s):
                while not condition(self):
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            raise AssertionError(f"never came true; {self.seen()}, statuses {self.statuses[-10:]}") from None

    @abstractmethod
    def seen(self) -> str:
        """The rest of what it remembers, for people."""


class Recorder(Witness):
    """Takes the place of `Dispatcher`."""

    def __init__(self) -> None:
        super().__init__()
        self.log_backed = False
        self.blocked: set[str] = set()
        self.on_room: Callable[[str], None] = lambda _topic: None
        self.newest_only: set[str] = set()
        self.events: list[Delivery] = []

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

    @property
    def prices(self) -> list[str]:
        return [delivery.fields["price"] for delivery in self.events]

    def seen(self) -> str:
        return f"events {self.events[-20:]}"
