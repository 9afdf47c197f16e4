"""What moves events from somewhere to a client's dispatcher."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    from agentexchange_schemas import Envelope, FeedStatus, Topic

__all__ = ["EventTaker", "Outlook", "Transport"]


class EventTaker(Protocol):
    """What a transport straight from the platform delivers to: a dispatcher, or something that only records.

    Attributes:
        arrivals: the newest event of each topic, filled by `event`: monotonic seconds, fields, envelope if it has one.
    """

    arrivals: dict[str, tuple[float, dict[str, Any], Envelope | None]]

    def event(self, topic: str, fields: dict[str, Any]) -> None:
        """One event, in order; must not raise."""

    def status(self, status: FeedStatus) -> None:
        """A statement about the feed; must not raise."""


class Outlook(NamedTuple):
    """What a transport knows of a topic beside its events and what was told of it.

    Attributes:
        scopes: whose state is the topic's: one, but for the wildcard; None for a feed without scopes.
        clock_difference_s: see `Freshness`.
        upstream_delay_s: see `Freshness`.
    """

    scopes: tuple[str | None, ...] = (None,)
    clock_difference_s: float | None = None
    upstream_delay_s: float | None = None


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

    def outlook(self, topic: Topic) -> Outlook:
        """Where ``topic`` comes from. Called on any thread, at any time."""
