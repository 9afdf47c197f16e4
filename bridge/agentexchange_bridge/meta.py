"""``ax:meta``: which layout an installation has. Every worker looks before it writes, and writes it where none is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentexchange.redis import ReplyError, pack
from agentexchange_schemas import LayoutError
from agentexchange_schemas.layout import LAYOUT_VERSION

if TYPE_CHECKING:
    from agentexchange.redis import RespStream
    from agentexchange_schemas import Layout

__all__ = ["agree_on_layout"]


async def agree_on_layout(stream: RespStream, layout: Layout) -> None:
    """Write this worker's layout where the server has none (so also after it was wiped), and compare.

    Raises:
        LayoutError: the server has another version or partition count.
        RedisLinkError: the connection is gone, or the server refuses.
    """
    replies = await stream.send(
        pack("HSETNX", layout.meta, "version", LAYOUT_VERSION)
        + pack("HSETNX", layout.meta, "partitions", layout.partitions)
        + pack("HMGET", layout.meta, "version", "partitions"),
        replies=3,
    )
    for reply in replies:
        if isinstance(reply, ReplyError):
            raise reply
    version, partitions = ((value or b"").decode(errors="replace") for value in replies[2])
    if version != str(LAYOUT_VERSION):
        raise LayoutError(
            f"{layout.meta} names layout version {version[:20]}, this worker writes {LAYOUT_VERSION}: "
            "use workers of one version, or another prefix",
            field="version",
        )
    if partitions != str(layout.partitions):
        raise LayoutError(
            f"{layout.meta} names {partitions[:20]} partitions, this worker is set to {layout.partitions}: "
            "set the same, or drain and clear the old layout, or use another prefix",
            field="partitions",
        )
