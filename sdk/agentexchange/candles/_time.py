"""Intervals and their boundaries, in ms since the Unix epoch, UTC."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from agentexchange_schemas import INTERVALS, TopicError
from agentexchange_schemas.events import event_time_ms

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["DAY_MS", "INTERVAL_MS", "LONGER", "MINUTE_MS", "floor", "interval_ms", "open_ms_of", "time_text"]

MINUTE_MS: Final = 60_000
DAY_MS: Final = 1440 * MINUTE_MS
INTERVAL_MS: Final = dict(zip(INTERVALS, (minutes * MINUTE_MS for minutes in (1, 5, 15, 60, 240, 1440)), strict=True))
"""Length of each documented interval in ms, shortest first. Each divides the next, and a UTC day."""

LONGER: Final = {name: length for name, length in INTERVAL_MS.items() if length > MINUTE_MS}
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def interval_ms(interval: str) -> int:
    """The length of ``interval``.

    Raises:
        TopicError: not one of the six, naming them.
    """
    try:
        return INTERVAL_MS[interval]
    except KeyError:
        raise TopicError(
            f"interval {interval!r} is not valid: use one of {', '.join(INTERVALS)}", field="interval"
        ) from None


def floor(time_ms: int, length_ms: int) -> int:
    """The boundary at or before ``time_ms``."""
    return time_ms - time_ms % length_ms


@lru_cache(maxsize=4096)
def time_text(time_ms: int) -> str:
    """A time as the platform writes it: ``2026-02-23T15:30:00.000Z``."""
    time = _EPOCH + timedelta(milliseconds=time_ms)
    return f"{time:%Y-%m-%dT%H:%M:%S}.{time_ms % 1000:03d}Z"


def open_ms_of(fields: Mapping[str, Any]) -> int | None:
    """When the span of a candle began, None where it does not say."""
    text = fields.get("open_time") or fields.get("time")
    return _read(text) if isinstance(text, str) else None


@lru_cache(maxsize=4096)
def _read(text: str) -> int | None:
    """Cached: the candles of a minute all say the same, and reading it is dearer than all the rest."""
    return event_time_ms({"open_time": text})
