"""An event with its metadata as tools print it, wherever it was read. Pure."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from agentexchange._shared.read import us_of, utc_of
from agentexchange_schemas.envelope import STATUS_TOPIC, log_id

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from agentexchange import EventMeta
    from agentexchange_schemas import Envelope

__all__ = ["RECORDED", "STATUS", "Row", "iso", "json_line", "row_of", "row_of_event"]

RECORDED: Final = "recorded"
"""The source of what was read out of a log or a recording."""
STATUS: Final = STATUS_TOPIC
"""The kind of a notice."""

_SECOND_US: Final = 1_000_000
_to_json: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode  # `dumps` would make one each time


class Row(NamedTuple):
    """One event; times are µs since the Unix epoch.

    Attributes:
        topic: ``ticker:BTCUSDT`` and the like, ``status`` for a notice.
        scope: None straight from the platform, as are epoch and seq.
        epoch: fencing number of the lease it was written under.
        seq: its number; None for what is in no log.
        upstream_us: the platform's own time; None where it named none.
        received_us: when the bridge, or straight this client, received it.
        written_us: when the bridge wrote it; None where that is unknown.
        source: as `EventMeta.source`, or ``recorded``.
        data: its fields as a handler gets them.
        frame: as the platform sent it; None where it is not kept, or was not read.
    """

    topic: str
    scope: str | None
    epoch: int | None
    seq: int | None
    upstream_us: int | None
    received_us: int
    written_us: int | None
    source: str
    data: Mapping[str, Any]
    frame: str | None = None

    @property
    def kind(self) -> str:
        """``ticker``, ``candles``, ``orders``, ``portfolio`` or ``status``."""
        return self.topic.partition(":")[0]

    @property
    def log_id(self) -> str | None:
        """Its entry in the log."""
        return None if self.seq is None else log_id(self.received_us)

    def metadata(self) -> dict[str, Any]:
        """All but the fields, as JSON has it: times in ISO 8601 and UTC."""
        return {
            "topic": self.topic,
            "scope": self.scope,
            "epoch": self.epoch,
            "seq": self.seq,
            "upstream_time": iso(self.upstream_us),
            "received_time": iso(self.received_us),
            "written_time": iso(self.written_us),
            "log_id": self.log_id,
            "source": self.source,
        }


def row_of(scope: str, envelope: Envelope, source: str = RECORDED, *, frame: str | None = None) -> Row:
    """An event that was read from a log or a recording."""
    topic, epoch, seq, upstream_ms, received_us, data, written_us = envelope
    upstream_us = None if upstream_ms is None else upstream_ms * 1000
    return Row(topic, scope, epoch, seq, upstream_us, received_us, written_us, source, data, frame)


def row_of_event(data: Mapping[str, Any], meta: EventMeta) -> Row:
    """An event as a handler was given it."""
    return Row(
        meta.topic,
        meta.scope,
        meta.epoch,
        meta.seq,
        _us(meta.upstream_time),
        us_of(meta.received_time),
        _us(meta.written_time),
        meta.source,
        data,
    )


def json_line(row: Row) -> str:
    """One event as a JSON object, without a line end; ``frame`` only where it is kept."""
    kept = {} if row.frame is None else {"frame": row.frame}
    return _to_json(row.metadata() | kept | {"data": row.data})


def iso(us: int | None) -> str | None:
    """A time with microseconds and a ``Z``."""
    if us is None:
        return None
    second, rest = divmod(us, _SECOND_US)
    return f"{_second(second)}.{rest:06d}Z"


@lru_cache(maxsize=1024)
def _second(second: int) -> str:
    """Most events share theirs with many."""
    return utc_of(second * _SECOND_US).replace(tzinfo=None).isoformat(timespec="seconds")


def _us(time: datetime | None) -> int | None:
    return None if time is None else us_of(time)
