"""Readers for the strings that events carry: decimals and times, exactly as upstream sent them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Final

__all__ = ["epoch_ms", "iso_utc", "to_datetime", "to_decimal"]

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)
_SECONDS_BELOW: Final = 100_000_000_000  # an epoch number below this counts seconds, above it milliseconds


def to_decimal(text: str | None, *, field: str) -> Decimal | None:
    """Return the exact decimal of ``text``, or None for None.

    Raises:
        ValueError: not a finite decimal number; the message names ``field``.
    """
    if text is None:
        return None
    try:
        value = Decimal(text)
    except InvalidOperation:
        value = Decimal("NaN")
    if not value.is_finite():
        raise ValueError(f"{field} {text[:40]!r} is not a decimal number")
    return value


def to_datetime(text: str | None) -> datetime | None:
    """Return a timezone-aware UTC time, or None where ``text`` is no time.

    ISO 8601 (UTC where it names no zone) and epoch numbers in seconds or milliseconds are read.
    """
    if text is None:
        return None
    try:
        return _from_epoch(int(text)) if text.isdecimal() else _as_utc(datetime.fromisoformat(text))
    except (ValueError, OverflowError):
        return None


def epoch_ms(text: str | None) -> int | None:
    """Milliseconds since the Unix epoch, or None where ``text`` is no time since then."""
    time = to_datetime(text)
    return None if time is None or time < _EPOCH else (time - _EPOCH) // _MILLISECOND


def iso_utc(time: datetime) -> str:
    """ISO 8601 with microseconds and a ``Z``, the form notices carry."""
    return time.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _as_utc(time: datetime) -> datetime:
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)


def _from_epoch(number: int) -> datetime:
    return _EPOCH + timedelta(milliseconds=number if number >= _SECONDS_BELOW else number * 1000)
