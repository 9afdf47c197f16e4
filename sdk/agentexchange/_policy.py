"""What a handler's queue does when the handler is slow, as its decorator says or as its kind of event has it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from agentexchange_schemas import Kind

if TYPE_CHECKING:
    from agentexchange_schemas import Topic

__all__ = ["HandlerOptions", "Policy"]


class Policy(StrEnum):
    """What happens while a handler is too slow."""

    CONFLATE = "conflate"
    """Only the newest event of each topic stays: a price that was replaced is worth nothing."""
    WAIT = "wait"
    """Everything stays; a full queue makes a transport that reads a log stop reading. Without a log, ten times as
    much may wait, then the oldest is lost, and that is told."""
    DROP_OLDEST = "drop_oldest"
    """Beyond the bound the oldest is lost, and that is told."""


_RECOVER: Final = ("all", "latest")
_BY_KIND: Final = {
    Kind.TICKER: Policy.CONFLATE,
    Kind.PORTFOLIO: Policy.CONFLATE,
    Kind.CANDLES: Policy.WAIT,
    Kind.ORDERS: Policy.WAIT,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class HandlerOptions:
    """What a decorator was told beside its topic.

    Attributes:
        closed_only: for candles, whether forming ones are kept from it.
        policy: one of `Policy`; None for what is usual for the kind of event.
        max_queue: events that may wait; None for what the client says.
        recover: ``all`` to have missed events read from the log, ``latest`` to go on with the newest.

    Raises:
        ValueError: not one of the choices, or a bound below 1.
    """

    closed_only: bool = True
    policy: str | None = None
    max_queue: int | None = None
    recover: str = "all"

    def __post_init__(self) -> None:
        if self.policy is not None and self.policy not in tuple(Policy):
            raise ValueError(f"policy must be one of {', '.join(Policy)}, not {self.policy!r}")
        if self.recover not in _RECOVER:
            raise ValueError(f"recover must be one of {', '.join(_RECOVER)}, not {self.recover!r}")
        if self.max_queue is not None and not self.max_queue > 0:
            raise ValueError(f"max_queue must be more than 0, not {self.max_queue!r}")

    def policy_for(self, topic: Topic | None) -> Policy:
        """The policy for events of ``topic``, None being statements about the feed."""
        if self.policy is not None:
            return Policy(self.policy)
        return Policy.DROP_OLDEST if topic is None else _BY_KIND[topic.kind]
