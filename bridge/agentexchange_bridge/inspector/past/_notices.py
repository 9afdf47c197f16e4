"""Notices that a lane holds: they lie among its ticks, so finding them means reading it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from agentexchange_schemas import EnvelopeError, FeedStatus
from agentexchange_schemas.envelope import STATUS_TOPIC, decode

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from agentexchange.recording import Lane

    from ._history import History

__all__ = ["Told", "notices_before"]

_PAGE: Final = 1_000
_HEAD: Final = b"\xa1t\xa6status"  # of the envelopes that a bridge writes
_HEAD_AT: Final = 5


class Told(NamedTuple):
    """A notice with its scope and its place."""

    scope: str
    received_us: int
    status: FeedStatus


async def notices_before(
    history: History, lane: Lane, before_us: int, *, page: int = _PAGE
) -> AsyncGenerator[tuple[list[Told], int]]:
    """Page by page backwards: the notices of each, and the moment up to which all was read.

    Raises:
        ConnectionError: what is read from is away.
    """
    edge_us: int | None = before_us
    while edge_us is not None:
        found = await history.back(lane, edge_us, page, topic=STATUS_TOPIC)
        edge_us = found.edge_us
        told = [one for raw in found.raws if raw.startswith(_HEAD, _HEAD_AT - 1) for one in _told(lane.scope, raw)]
        yield told, edge_us or 0


def _told(scope: str, raw: bytes) -> list[Told]:
    try:
        envelope = decode(raw)
        return [Told(scope, envelope.received_us, FeedStatus.from_fields(envelope.data))]
    except EnvelopeError:
        return []  # whoever wrote it is no bridge of this layout
