"""What a scope holds between receive and write: one tuple per event, its fields already packed.

Packing at receive makes the size of every buffer exact, and halves what a waiting event costs in memory.
"""

from __future__ import annotations

from typing import Final, TypeAlias

__all__ = [
    "CANDLE",
    "FINAL_ORDER",
    "FORMING",
    "ITEM_OVERHEAD_BYTES",
    "KEPT_FLAGS",
    "KIND_OF",
    "MAX_DATA_BYTES",
    "NOTICE",
    "ORDER",
    "PORTFOLIO",
    "TICKER",
    "Item",
]

Item: TypeAlias = tuple[int, str, str, str, int | None, bytes]
"""``(r, flag, topic, name, upstream ms, packed fields)``; name is the topic, or an order's key."""

# The flags of write_batch.lua
TICKER: Final = "t"
PORTFOLIO: Final = "p"
CANDLE: Final = "c"
FORMING: Final = "f"
ORDER: Final = "o"
FINAL_ORDER: Final = "x"
NOTICE: Final = "n"

KEPT_FLAGS: Final = frozenset((PORTFOLIO, CANDLE, ORDER, FINAL_ORDER, NOTICE))
"""Written again when a restarted server turns out not to have them."""

KIND_OF: Final = {
    TICKER: "ticker",
    PORTFOLIO: "portfolio",
    CANDLE: "candles",
    FORMING: "candles",
    ORDER: "orders",
    FINAL_ORDER: "orders",
    NOTICE: "status",
}
"""For counting: the kind of event of each flag; ``status`` for notices."""

MAX_DATA_BYTES: Final = 255 * 1024
"""Of an event's packed fields; the envelope's other keys fit into the rest of its 256 KiB."""

ITEM_OVERHEAD_BYTES: Final = 220
"""Beside the packed fields: the tuple, its integers, the bytes object's head, the slot in the queue."""
