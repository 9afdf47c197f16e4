"""Which events a list shows: by kind, by topic or a part of one, or by a condition."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from agentexchange.recording import topic_of
from agentexchange_bridge.inspector.board import kind_of, row_of
from agentexchange_bridge.where import Where
from agentexchange_schemas import EnvelopeError, Kind
from agentexchange_schemas.envelope import STATUS_TOPIC, decode

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agentexchange.recording import Lane
    from agentexchange_bridge.inspector.views import EventRow

__all__ = ["EventChoice"]

_KINDS: Final = (*map(str, Kind), STATUS_TOPIC)
_MAX_KNOWN: Final = 20_000  # topics
_is_part = re.compile(r"[A-Za-z0-9:._-]{1,64}", re.ASCII).fullmatch


class EventChoice:
    """Equal choices are equal as keys of a dict, however their texts were spaced.

    Args:
        filter_text: a condition as `Where` reads it, or a topic, or a part of one in any case; "" for all.
        kinds: the kinds wanted; empty for all.

    Raises:
        ValueError: neither, or a kind that is none; says where and why.
    """

    def __init__(self, filter_text: str = "", kinds: Sequence[str] = ()) -> None:
        text = filter_text.strip()
        for kind in kinds:
            if kind not in _KINDS:
                raise ValueError(f"kind {kind[:40]!r} is not valid: use {', '.join(_KINDS)}")
        self._kinds = frozenset(kinds)
        self._part = text.lower() if _is_part(text) else ""
        self._where = None if self._part or not text else Where.parse(text)
        self._known: dict[str, bool] = {}
        self.key = (text, self._kinds)

    def may_be_in(self, lane: Lane) -> bool:
        """Whether the lane can hold such events."""
        if not self._kinds:
            return True
        if lane.scope.startswith("a-"):
            return bool(self._kinds & {Kind.ORDERS, Kind.PORTFOLIO, STATUS_TOPIC})
        return bool(self._kinds & ({Kind.CANDLES} if lane.log == "log:candles" else {Kind.TICKER, STATUS_TOPIC}))

    def row(self, scope: str, raw: bytes) -> EventRow | None:
        """The event's line; None where it is not wanted, or no event."""
        try:
            topic = topic_of(raw)
            if not self._wants(topic):
                return None
            envelope = decode(raw)
        except EnvelopeError:
            return None
        if self._where is not None and not self._where.matches(topic, envelope.data, seq=envelope.seq):
            return None
        return row_of(scope, envelope)

    def _wants(self, topic: str) -> bool:
        wanted = self._known.get(topic)
        if wanted is None:
            if len(self._known) >= _MAX_KNOWN:
                self._known.clear()
            kind_fits = not self._kinds or kind_of(topic) in self._kinds
            wanted = self._known[topic] = kind_fits and self._part in topic.lower()
        return wanted
