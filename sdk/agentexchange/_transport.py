"""What moves events from somewhere to a client's dispatcher."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from agentexchange_schemas import FeedStatus, Topic

__all__ = ["EventTaker", "Transport"]


class EventTaker(Protocol):
    """What a transport straight from the platform delivers to: a dispatcher, or something that only records."""

    def event(self, topic: str, fields: dict[str, Any]) -> None:
        """One event, in order; must not raise."""

    def status(self, status: FeedStatus) -> None:
        """A statement about the feed; must not raise."""


class Transport(Protocol):
    """One connection's life. Built for each ``connect()``; every method is called on the event loop's thread."""

    async def run(self) -> None:
        """Connect, keep connected, and deliver, until `stop`. Called once.

        Raises:
            AuthenticationError: this client's key is refused.
            ConnectionError: retrying cannot mend it.
        """

    def subscribe(self, topic: Topic) -> None:
        """Want ``topic`` from now on. Idempotent."""

    def unsubscribe(self, topic: Topic) -> None:
        """Want it no more. Idempotent."""

    def stop(self) -> None:
        """Make `run` return soon: ends a backoff wait at once. Also before and after `run`; idempotent."""

    def stats(self) -> dict[str, int | float]:
        """Counters since it was built, by name. Called on any thread, at any time."""
