"""Times and limits of clients that acknowledge what they handled, in one place."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from agentexchange._shared.options import SharedOptions
from agentexchange_schemas.layout import checked_name

if TYPE_CHECKING:
    from datetime import datetime

__all__ = ["AckedOptions", "GroupOptions", "ResumeOptions", "check_start"]


def check_start(start: str | datetime) -> None:
    """Check where a new group or position begins.

    Raises:
        ValueError: neither ``"now"``, ``"earliest"`` nor a time with its zone.
    """
    is_time = getattr(start, "tzinfo", None) is not None
    if start not in ("now", "earliest") and not is_time:
        raise ValueError(f"start {start!r} is not valid: use 'now', 'earliest' or a datetime with a timezone")


@dataclass(frozen=True, slots=True, kw_only=True)
class AckedOptions:
    """What groups and durable positions have in common; the defaults are right outside tests.

    Attributes:
        name: of the group or the position.
        start: where a new one begins: ``now``, ``earliest`` or a time. One that exists goes on where it stands.
        max_attempts: how often an event is handed to the handlers before it is given up.
        shared: how connections and scopes are handled.
        tick_s: how often what was handled is reported to Redis while more is being handled.
        retry_first_s: pause before the second attempt; it doubles with each, up to ``retry_cap_s``.
        retry_cap_s: the longest pause.
    """

    name: str
    start: str | datetime = "now"
    max_attempts: int = 5
    shared: SharedOptions = field(default_factory=SharedOptions)
    tick_s: float = 0.1
    retry_first_s: float = 1.0
    retry_cap_s: float = 60.0

    def __post_init__(self) -> None:
        check_start(self.start)
        if self.max_attempts < 1:
            raise ValueError(f"max_attempts must be 1 or more, not {self.max_attempts!r}")


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupOptions(AckedOptions):
    """Of a member of a group.

    Attributes:
        claim_after_s: a member that does not renew its claims for so long is taken for dead.
        consumer: what the member is called, a random ending is added; None for host and process id.
        max_prefetch: entries that a member holds at most.
        prefetch_s: how long handling what is held may take, about: a slow member holds little.
        max_dead: dead letters that are kept per scope and group.
        forget_s: consumers that hold nothing and have not been seen for so long are deleted.
    """

    claim_after_s: float = 30.0
    consumer: str | None = None
    max_prefetch: int = 500
    prefetch_s: float = 0.5
    max_dead: int = 10_000
    forget_s: float = 3600.0

    def __post_init__(self) -> None:
        super(GroupOptions, self).__post_init__()
        checked_name(self.name, "group")
        if self.consumer is not None:
            checked_name(self.consumer, "consumer")
        if not self.claim_after_s > 0:
            raise ValueError(f"claim_after must be more than 0, not {self.claim_after_s!r}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ResumeOptions(AckedOptions):
    """Of the holder of a durable position.

    Attributes:
        hold_s: a holder that does not renew its hold for so long has lost it.
        prefetch: entries of one read.
    """

    hold_s: float = 10.0
    prefetch: int = 500

    def __post_init__(self) -> None:
        super(ResumeOptions, self).__post_init__()
        checked_name(self.name, "resume")
