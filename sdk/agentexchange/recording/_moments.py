"""Moments as people write them: ISO times, "10m ago", log ids, and events by their topic and number."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

from agentexchange_schemas import ALL, EnvelopeError, Topic, TopicError
from agentexchange_schemas.envelope import STATUS_TOPIC, received_us_of

__all__ = ["EventName", "moment_of", "moment_us"]

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_UNITS: Final = {"ms": 1_000, "s": 1_000_000, "m": 60_000_000, "h": 3_600_000_000, "d": 86_400_000_000}
_ago = re.compile(r"(\d{1,9}(?:\.\d{1,6})?)\s*(ms|s|m|h|d)(?:\s+ago)?", re.ASCII).fullmatch
_MAX_TEXT: Final = 64
_MAX_DIGITS: Final = 16
_WILDCARD: Final = str(Topic.ticker(ALL))


class EventName(NamedTuple):
    """An event's identity, as ``ticker:BTCUSDT@123`` in text: within its log's life no other has it.

    Attributes:
        topic: its own topic, or ``status`` for a notice.
        seq: its number there, from 1.
    """

    topic: str
    seq: int

    @classmethod
    def parse(cls, text: str) -> EventName:
        """Read ``topic@seq``.

        Raises:
            ValueError: anything else.
        """
        topic, _, digits = text.strip().rpartition("@")
        try:
            name = topic if topic == STATUS_TOPIC else str(Topic.parse(topic))
        except TopicError:
            name = ""
        is_number = digits.isascii() and digits.isdecimal() and len(digits) <= _MAX_DIGITS and int(digits) > 0
        if not (name and is_number) or name == _WILDCARD:
            raise ValueError(f"{text[:_MAX_TEXT]!r} names no event: write its topic and number, ticker:BTCUSDT@123")
        return cls(name, int(digits))

    def __str__(self) -> str:
        return f"{self.topic}@{self.seq}"


def moment_of(text: str | datetime | EventName, *, now_us: int) -> int | EventName:
    """A moment as `moment_us` reads it, or the event at which it is.

    Raises:
        ValueError: neither; the message names the forms.
    """
    if isinstance(text, EventName):
        return text
    if isinstance(text, str) and "@" in text:
        return EventName.parse(text)
    return moment_us(text, now_us=now_us)


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
