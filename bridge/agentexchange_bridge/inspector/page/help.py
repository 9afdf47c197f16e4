"""What the keys do."""

from __future__ import annotations

from typing import Final

from .dialog import SideDialog
from .parts import facts, heading

__all__ = ["KEYS", "show_help"]

KEYS: Final = (
    ("1 … 6", "open a panel; or g and its letter: o m a e b d"),
    ("/", "filter or search in the panel"),
    ("space", "play or pause"),
    ("← →", "one event back or on"),
    ("shift ← →", "ten seconds back or on"),
    ("Home", "the first moment"),
    ("End, l", "back to live, or the end of the recording"),
    ("+ - 0", "zoom the time line in, out, or to all of it"),
    ("c", "copy a link to what is shown"),
    ("?", "these keys"),
    ("Esc", "close a dialog, or leave a field"),
)

_FILTERS: Final = (
    ("ticker:BTCUSDT", "one topic, or a part of its name"),
    ("price > 65000", "compare a field: = != < <= > >="),
    ("symbol ~ 'BTC'", "contains"),
    ("a and (b or not c)", "combine"),
    ("kind, topic, seq", "of the event itself"),
)


def show_help() -> None:
    """Open it."""
    with SideDialog("Keys"):
        facts(KEYS)
        heading("Filters of events", level=3)
        facts(_FILTERS)
