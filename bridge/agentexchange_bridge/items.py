"""What a scope holds between receive and write: one tuple per event, its fields already packed.

Packing at receive makes the size of every buffer exact, and halves what a waiting event costs in memory. A frame that
is kept stands before the fields, in the same bytes: so it is counted, moved and written again with them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeAlias

import msgpack

from agentexchange_schemas.frames import frame_in

if TYPE_CHECKING:
    from collections.abc import Callable

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
    "brings_frame",
    "packer",
]

Item: TypeAlias = tuple[int, str, str, str, int | None, bytes]
"""``(r, flag, topic, name, upstream ms, packed fields)``; name is the topic, or an order's key.

Where the frame is kept, the last one is an envelope's bytes from ``f`` on.
"""

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

_FRAME_KEY: Final[bytes] = msgpack.packb("f")
_DATA_KEY: Final[bytes] = msgpack.packb("d")


def packer(*, keep_frames: bool) -> Callable[[dict[str, Any]], bytes]:
    """What packs an event's fields for an item; with ``keep_frames`` with their frame, where it fits beside them."""
    pack: Callable[[Any], bytes] = msgpack.Packer().pack

    def pack_with_frame(fields: dict[str, Any]) -> bytes:
        packed, frame = pack(fields), frame_in(fields)
        if frame is None:
            return packed
        kept = _FRAME_KEY + pack(frame) + _DATA_KEY + packed
        return kept if len(kept) <= MAX_DATA_BYTES else packed

    return pack_with_frame if keep_frames else pack


def brings_frame(packed: bytes) -> bool:
    """Whether a frame stands before the fields: these alone begin as a map does."""
    return packed[0] == _FRAME_KEY[0]
