"""Interest: what one client wants, as the fields of its hash, and the message on the control channel that names it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from .errors import InterestError, LayoutError, TopicError
from .layout import checked_name
from .topics import Topic

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["FIELD_BYTES", "LEAVES", "MAX_INTEREST_TOPICS", "Interest", "InterestChange"]

MAX_INTEREST_TOPICS: Final = 5_000
"""Most topics of one client: 600 pairs with their ticker and all six candle intervals are 4,200."""

LEAVES: Final = 0
"""The version in the message of a client that goes."""

_MAX_TOPIC_BYTES: Final = 44  # candles, a symbol of 32 characters and the longest interval
_MAX_VERSION: Final = 2**31 - 1
_MAX_TTL_MS: Final = 600_000

FIELD_BYTES: Final[Mapping[str, int]] = {
    "name": 64,
    "host": 64,
    "pid": 10,
    "topics": MAX_INTEREST_TOPICS * (_MAX_TOPIC_BYTES + 1),
    "since": 16,
    "ttl": 6,
    "version": 10,
}
"""Every field of a client's hash, and its longest value: what is longer need not be fetched."""

_is_number = re.compile(r"0|[1-9][0-9]{0,15}", re.ASCII).fullmatch
_match_change = re.compile(rb"(a-[0-9a-f]{32}) ([A-Za-z0-9][A-Za-z0-9._-]{0,63}) (0|[1-9][0-9]{0,9})").fullmatch


@dataclass(frozen=True, slots=True)
class Interest:
    """One client's standing wish, as it stands in its hash.

    Attributes:
        name: what people call the client.
        host: where it runs.
        pid: its process there.
        topics: what its handlers are for, private topics included.
        since_us: when it first registered, by its own clock, µs since the Unix epoch.
        ttl_ms: how long it lives after each renewal.
        version: grows with each change of ``topics``, from 1.

    Raises:
        InterestError: a value outside its range; names the field.
    """

    name: str
    host: str
    pid: int
    topics: frozenset[Topic]
    since_us: int
    ttl_ms: int
    version: int

    def __post_init__(self) -> None:
        for field, value in (("name", self.name), ("host", self.host)):
            _check_name(value, field)
        if len(self.topics) > MAX_INTEREST_TOPICS:
            raise InterestError(f"{len(self.topics)} topics: {MAX_INTEREST_TOPICS} at most", field="topics")
        _check_range(self.pid, 0, _MAX_VERSION, "pid")
        _check_range(self.since_us, 0, 10**16 - 1, "since")
        _check_range(self.ttl_ms, 1, _MAX_TTL_MS, "ttl")
        _check_range(self.version, 1, _MAX_VERSION, "version")

    def to_fields(self) -> dict[str, str]:
        """The hash: texts, topics in order with spaces between."""
        return {
            "name": self.name,
            "host": self.host,
            "pid": str(self.pid),
            "topics": " ".join(sorted(map(str, self.topics))),
            "since": str(self.since_us),
            "ttl": str(self.ttl_ms),
            "version": str(self.version),
        }

    @classmethod
    def from_fields(cls, fields: Mapping[str, bytes | None]) -> Interest:
        """Read what `to_fields` wrote, as Redis gives it; further fields are ignored.

        Raises:
            InterestError: a field is missing, too long or malformed; names the field.
        """
        texts = {field: _text(fields.get(field), field) for field in FIELD_BYTES}
        return cls(
            name=texts["name"],
            host=texts["host"],
            pid=_number(texts["pid"], "pid"),
            topics=_topics(texts["topics"]),
            since_us=_number(texts["since"], "since"),
            ttl_ms=_number(texts["ttl"], "ttl"),
            version=_number(texts["version"], "version"),
        )


@dataclass(frozen=True, slots=True)
class InterestChange:
    """A message on the control channel: this client is here, with this version of its hash.

    Attributes:
        account: the scope whose client it is.
        client: its part of the hash's name.
        version: that of its hash, or `LEAVES`.
    """

    account: str
    client: str
    version: int

    def encode(self) -> bytes:
        """The message.

        Raises:
            InterestError: a value that `decode` would not read.
        """
        data = f"{self.account} {self.client} {self.version}".encode()
        self.decode(data)
        return data

    @classmethod
    def decode(cls, data: bytes) -> InterestChange:
        """Read a message.

        Raises:
            InterestError: it is none.
        """
        match = _match_change(data)
        if match is None or int(match[3]) > _MAX_VERSION:
            raise InterestError(f"{data[:120]!r} is not '<a-id> <client> <version>'", field="message")
        return cls(match[1].decode(), match[2].decode(), int(match[3]))


def _check_name(value: str, field: str) -> None:
    try:
        checked_name(value, field)
    except LayoutError as exc:
        raise InterestError(str(exc), field=field) from None


def _check_range(value: int, least: int, most: int, field: str) -> None:
    if not least <= value <= most:
        raise InterestError(f"{field} {value} is not in {least}..{most}", field=field)


def _text(value: bytes | None, field: str) -> str:
    if value is None:
        raise InterestError(f"{field} is missing", field=field)
    if len(value) > FIELD_BYTES[field]:
        raise InterestError(f"{field} has {len(value)} bytes: {FIELD_BYTES[field]} at most", field=field)
    return value.decode("ascii", errors="replace")


def _number(text: str, field: str) -> int:
    if not _is_number(text):
        raise InterestError(f"{field} {text!r} is not a number", field=field)
    return int(text)


def _topics(text: str) -> frozenset[Topic]:
    try:
        return frozenset(map(_topic, text.split(" "))) if text else frozenset()
    except TopicError as exc:
        raise InterestError(str(exc), field="topics") from None


@lru_cache(maxsize=8_192)
def _topic(text: str) -> Topic:
    """Cached: a thousand clients want the same few hundred topics."""
    return Topic.parse(text)
