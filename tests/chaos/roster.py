"""Who consumes in a run: each is a process of its own with one client."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Final

from .generator import CANDLE_TOPICS, SYMBOLS

__all__ = ["CLAIM_AFTER_S", "ROSTERS", "Spec"]

CLAIM_AFTER_S: Final = 10.0
"""How long a group's member may be gone before its events are another's: short enough for a run to see it."""


@dataclass(frozen=True, slots=True)
class Spec:
    """One consumer.

    Attributes:
        name: without spaces.
        topics: one handler each, named after its topic.
        mode: ``default``, ``group`` or ``resume``.
        group: the name of the group or position.
        is_sync: whether its handlers are plain functions, run on a thread.
    """

    name: str
    topics: tuple[str, ...]
    mode: str = "default"
    group: str = ""
    is_sync: bool = False

    def to_json(self) -> str:
        """As an argument of a process."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Spec:
        """Read what `to_json` wrote."""
        fields = json.loads(text)
        return cls(**(fields | {"topics": tuple(fields["topics"])}))


_singles = tuple(f"ticker:{symbol}" for symbol in (SYMBOLS[0], SYMBOLS[3], SYMBOLS[12], SYMBOLS[25]))

_DEFAULT: Final = (
    Spec("singles", (*_singles, CANDLE_TOPICS[0])),
    Spec("all", ("ticker:all",)),
    Spec("private", ("orders", "portfolio"), is_sync=True),
    Spec("mixed", ("ticker:all", f"ticker:{SYMBOLS[1]}", "orders", CANDLE_TOPICS[1])),
)
_SHARED: Final = (
    Spec("member-a", ("orders",), mode="group", group="executors"),
    Spec("member-b", ("orders",), mode="group", group="executors"),
    Spec("position", ("orders", CANDLE_TOPICS[2]), mode="resume", group="chaos-1"),
)

ROSTERS: Final = {"default": _DEFAULT, "full": _DEFAULT + _SHARED}
"""``default``: shared mode alone. ``full``: groups and durable positions, too."""
