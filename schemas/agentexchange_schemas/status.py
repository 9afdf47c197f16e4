"""The state of a feed, one set of words everywhere: status keys, `on_status`, readers, metrics."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError

from ._text import iso_utc
from .errors import EnvelopeError

__all__ = ["Cause", "FeedState", "FeedStatus"]


class FeedState(StrEnum):
    """What can be relied on right now."""

    CONNECTING = "connecting"
    """No session has been live yet."""
    LIVE = "live"
    """Connected, and what should flow does."""
    STALE = "stale"
    """Connected, but data that should flow does not."""
    BLIND = "blind"
    """Upstream (or, for a shared client, Redis) is away."""
    AUTH_FAILED = "auth_failed"
    """Upstream refuses the API key."""
    UNAVAILABLE = "unavailable"
    """Upstream refuses the topic."""
    NO_BRIDGE = "no_bridge"
    """No live bridge worker serves the scope."""


class Cause(StrEnum):
    """Why a state changed or events are missing. More may come: treat an unknown cause as text."""

    UPSTREAM_LOST = "upstream_lost"
    UPSTREAM_SILENT = "upstream_silent"
    UPSTREAM_REFUSED = "upstream_refused"
    RECONNECTED = "reconnected"
    TAKEOVER = "takeover"
    CONFLATED = "conflated"
    DROPPED = "dropped"
    REDIS_LOST = "redis_lost"
    LOG_REPLACED = "log_replaced"
    LOG_ROLLED_BACK = "log_rolled_back"
    TRIMMED = "trimmed"
    BEYOND_LIMIT = "beyond_limit"
    SHUTDOWN = "shutdown"
    ORDERS_UNKNOWN = "orders_unknown"
    RECONCILED = "reconciled"
    JUNK = "junk"
    OVERLAP = "overlap"
    """A topic moved between sessions, and what each of them brought could not be joined with certainty."""


_OF_THE_PAST: Final = frozenset(
    {
        Cause.CONFLATED,
        Cause.DROPPED,
        Cause.TRIMMED,
        Cause.BEYOND_LIMIT,
        Cause.LOG_REPLACED,
        Cause.LOG_ROLLED_BACK,
        Cause.ORDERS_UNKNOWN,
        Cause.RECONCILED,
        Cause.JUNK,
    }
)


class FeedStatus(BaseModel):
    """A statement about the feed. As an envelope in a log it is called a notice.

    Attributes:
        scope: ``m0`` and the like for market data, ``a-…`` for an account; None where there is no scope (direct).
        topic: the topic it is about, or None for all of the scope.
        state: the state since then.
        since: when the state, or the span that is told of, began.
        until: when the span ended; None while it lasts.
        cause: why, one of `Cause` or a later word.
        first_missing: first seq known to be missing, where seqs are known.
        last_missing: last seq known to be missing.
        count: how many events are missing, where that is known.
        message: one sentence for people.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    scope: str | None = None
    topic: str | None = None
    state: FeedState
    since: AwareDatetime
    until: AwareDatetime | None = None
    cause: str | None = None
    first_missing: int | None = None
    last_missing: int | None = None
    count: int | None = None
    message: str | None = None

    @property
    def tells_state(self) -> bool:
        """Whether it says how its subject is now, rather than what was lost or became known of a span."""
        return self.count is None and self.cause not in _OF_THE_PAST

    def to_fields(self) -> dict[str, Any]:
        """The notice's fields: every attribute, times as ISO 8601 UTC strings."""
        return {name: _plain(value) for name, value in self}

    @classmethod
    def from_fields(cls, fields: dict[str, Any]) -> FeedStatus:
        """Read what `to_fields` wrote; fields of later versions are ignored.

        Raises:
            EnvelopeError: a field is missing or malformed; names the field.
        """
        try:
            return cls.model_validate(fields)
        except ValidationError as exc:
            first = exc.errors(include_url=False, include_input=False)[0]
            name = ".".join(str(part) for part in first["loc"]) or "notice"
            raise EnvelopeError(f"notice field {name}: {first['msg']}", field=name) from None


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return iso_utc(value)
    return str(value) if isinstance(value, StrEnum) else value
