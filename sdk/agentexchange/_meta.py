"""What is known about an event beside its fields."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from agentexchange_schemas.envelope import log_id
from agentexchange_schemas.events import event_time_ms

if TYPE_CHECKING:
    from agentexchange_schemas import Envelope

__all__ = ["EventMeta", "Origin", "event_meta"]

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class EventMeta:
    """A handler's second argument, for handlers that ask for one.

    Attributes:
        topic: the event's own topic, such as ``ticker:BTCUSDT`` (never the wildcard).
        scope: the Redis scope it was read from; None straight from the platform, as are epoch, seq and log_id.
        epoch: fencing number of the lease it was written under.
        seq: counts the topic's events in its scope from 1.
        upstream_time: when the platform says it happened (UTC), None where it does not say.
        received_time: when this client (direct) or the bridge (shared) received it (UTC).
        written_time: when the bridge wrote it to Redis (UTC); None straight from the platform, and where it is unknown.
        delivered_time: when the handler was called with it (UTC). By this machine's clock: how far that is from the
            bridge's, `AgentExchangeWS.freshness` tells.
        log_id: its entry in the scope's log.
        source: ``live``; on a shared feed also ``latest`` for the value a new handler is given first, ``recovered`` for
            what was missed and read from the log, ``redelivered`` (in a group, or with ``resume``) for what a handler
            may have seen before; ``replayed`` out of a recording, where ``delivered_time`` is the recorded time.
        reconciled: whether it tells what happened while nothing was seen of the account, and so comes late.
    """

    topic: str
    scope: str | None
    epoch: int | None
    seq: int | None
    upstream_time: datetime | None
    received_time: datetime
    written_time: datetime | None
    delivered_time: datetime
    log_id: str | None
    source: str
    reconciled: bool = False


class Origin(NamedTuple):
    """What an `EventMeta` is made from, kept in the queue until a handler asks; ``delivered_us`` None: when it asks."""

    envelope: Envelope | None
    source: str
    scope: str | None
    received_us: int
    delivered_us: int | None = None


def event_meta(topic: str, fields: dict[str, Any], origin: Origin) -> EventMeta:
    """Build the metadata of one event, as its handler is about to be called."""
    envelope = origin.envelope
    received_us = origin.received_us if envelope is None else envelope.received_us
    upstream_ms = event_time_ms(fields) if envelope is None else envelope.upstream_ms
    written_us = None if envelope is None else envelope.written_us
    delivered_us = time.time_ns() // 1000 if origin.delivered_us is None else origin.delivered_us
    logged = envelope is not None and envelope.seq is not None
    return EventMeta(
        topic=topic,
        scope=origin.scope,
        epoch=None if envelope is None else envelope.epoch,
        seq=None if envelope is None else envelope.seq,
        # by position timedelta takes half the time that it takes by keyword
        upstream_time=None if upstream_ms is None else _EPOCH + timedelta(0, 0, upstream_ms * 1000),
        received_time=_EPOCH + timedelta(0, 0, received_us),
        written_time=None if written_us is None else _EPOCH + timedelta(0, 0, written_us),
        delivered_time=_EPOCH + timedelta(0, 0, delivered_us),
        log_id=log_id(received_us) if logged else None,
        source=origin.source,
        reconciled=fields.get("reconciled") is True,
    )
