"""From events to handlers: routes, one bounded queue per handler, and what runs them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from agentexchange_schemas import Envelope, FeedStatus, Topic

    from ._handlers import Handler

__all__ = ["Dispatcher"]


class Dispatcher:
    """Delivers events to handlers. Every method is called on the event loop's thread."""

    def add(self, handler: Handler) -> None:
        """Register ``handler`` and open its topic."""
        raise NotImplementedError

    def open(self, topic: Topic) -> None:
        """Deliver events of ``topic`` to its handlers."""
        raise NotImplementedError

    def close(self, topic: Topic) -> None:
        """Stop delivering events of ``topic``, though they may still come."""
        raise NotImplementedError

    def event(
        self,
        topic: str,
        fields: dict[str, Any],
        envelope: Envelope | None = None,
        source: str = "live",
        scope: str | None = None,
    ) -> None:
        """Queue one event for its handlers. Hot path: never blocks, never raises."""
        raise NotImplementedError

    def status(self, status: FeedStatus) -> None:
        """Queue a statement about the feed for the status handlers."""
        raise NotImplementedError

    async def run(self) -> None:
        """Run the handlers until cancelled; owns their tasks and threads."""
        raise NotImplementedError
