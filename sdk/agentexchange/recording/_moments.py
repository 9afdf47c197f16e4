"""Moments as people write them: ISO times, "10m ago", log ids."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Final

from agentexchange_schemas import EnvelopeError
from agentexchange_schemas.envelope import received_us_of

__all__ = ["moment_us"]

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_UNITS: Final = {"ms": 1_000, "s": 1_000_000, "m": 60_000_000, "h": 3_600_000_000, "d": 86_400_000_000}
_ago = re.compile(r"(\d{1,9}(?:\.\d{1,6})?)\s*(ms|s|m|h|d)(?:\s+ago)?", re.ASCII).fullmatch
_MAX_TEXT: Final = 64


def moment_us(text: str | datetime, *, now_us: int) -> int:
    """Microseconds since the Unix epoch, as an envelope's ``r``.

    Args:
        text: a time with or without zone (then UTC), ISO 8601 or ``datetime``; "10m ago" or "10m" (ms, s, m, h, d);
            "now"; or the id of a log entry, such as ``1763806931042-17``.
        now_us: what is "now".

    Raises:
        ValueError: none of these; the message names the forms.
    """
    if isinstance(text, datetime):
        return _of(text)
    plain = text.strip()
    if found := _ago(plain):
        return max(0, now_us - round(float(found[1]) * _UNITS[found[2]]))
    if plain == "now":
        return now_us
    for read in (received_us_of, _iso):
        try:
            return read(plain)
        except (EnvelopeError, ValueError, OverflowError):
            continue
    raise ValueError(
        f"{text[:_MAX_TEXT]!r} is no moment: write a time such as 2026-11-22T14:03:00Z, '10m ago', 'now', "
        "or a log id such as 1763806931042-17"
    )


def _iso(text: str) -> int:
    return _of(datetime.fromisoformat(text))


def _of(time: datetime) -> int:
    aware = time.replace(tzinfo=UTC) if time.tzinfo is None else time
    return max(0, (aware - _EPOCH) // timedelta(microseconds=1))
