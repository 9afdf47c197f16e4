"""Events of the past for a list, and one event with its neighbours."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING, Final

from agentexchange.recording import topic_of
from agentexchange_bridge.inspector.board import kind_of, order_of, row_of
from agentexchange_bridge.inspector.views import EventDetail
from agentexchange_schemas import EnvelopeError
from agentexchange_schemas.envelope import decode, frame_of, log_id

from ._walk import walk

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agentexchange.recording import Lane
    from agentexchange_bridge.inspector.views import EventKey, EventRow
    from agentexchange_schemas import Envelope

    from ._choice import EventChoice
    from ._history import History, Page

__all__ = ["MAX_READ", "detail_of", "rows_before"]

MAX_READ: Final = 40_000
"""Events that one search reads at most."""
_NEIGHBOURS: Final = 3
_PAGE: Final = 1_000
_NEIGHBOUR_READ: Final = 10_000


async def rows_before(
    history: History,
    choice: EventChoice,
    before_us: int,
    *,
    limit: int,
    after: EventKey | None = None,
    most: int = MAX_READ,
) -> list[EventRow]:
    """Chosen events before a moment, the newest first; fewer than ``limit`` where ``most`` were read before that.

    Args:
        history: where from.
        choice: which.
        before_us: the first moment no longer wanted.
        limit: rows at most.
        after: only those that come after this one in the list.
        most: events to read.

    Raises:
        ConnectionError: what is read from is away.
    """
    lanes = [lane for lane in history.lanes if choice.may_be_in(lane)]
    rows: list[EventRow] = []
    read = 0
    async with aclosing(walk(history, lanes, before_us, back=True)) as runs:
        async for run in runs:
            read += len(run)
            found = [choice.row(event.lane.scope, event.raw) for event in run]
            rows += [row for row in found if row is not None and _is_after(row, after)]
            if read >= most or (len(rows) >= limit and run[-1].received_us < rows[limit - 1].key.received_us):
                break
    rows.sort(key=lambda row: order_of(row.key), reverse=True)
    return rows[:limit]


async def detail_of(history: History, key: EventKey) -> EventDetail | None:
    """The event with its neighbours; None where it is no longer there, or may not be shown.

    Raises:
        ConnectionError: what is read from is away.
    """
    for lane in history.lanes:
        if lane.scope == key.scope and _may_hold(lane, key.topic):
            page = await history.back(lane, key.received_us + 1, _NEIGHBOURS, topic=key.topic)
            for envelope, raw in _of_topic(page.raws, key.topic):
                if (envelope.received_us, envelope.epoch, envelope.seq) == (key.received_us, key.epoch, key.seq):
                    return await _detail(history, lane, envelope, raw)
    return None


async def _detail(history: History, lane: Lane, envelope: Envelope, raw: bytes) -> EventDetail:
    at_us, topic = envelope.received_us, envelope.topic
    before = await _neighbours(history, lane, topic, at_us, is_back=True)
    after = await _neighbours(history, lane, topic, at_us, is_back=False)
    return EventDetail(
        row=row_of(lane.scope, envelope),
        log_id=log_id(at_us),
        written_us=envelope.written_us,
        fields=envelope.data,
        size=len(raw),
        before=tuple(row_of(lane.scope, one) for one in reversed(before)),
        after=tuple(row_of(lane.scope, one) for one in after),
        frame=frame_of(raw),
    )


async def _neighbours(history: History, lane: Lane, topic: str, at_us: int, *, is_back: bool) -> list[Envelope]:
    """The next ones of the topic, the nearest first."""
    found: list[Envelope] = []
    edge_us: int | None = at_us
    read = 0
    while edge_us is not None and read < _NEIGHBOUR_READ and len(found) < _NEIGHBOURS:
        page: Page = await (history.back if is_back else history.forth)(lane, edge_us, _PAGE, topic=topic)
        found += [envelope for envelope, _ in _of_topic(page.raws, topic, _NEIGHBOURS - len(found))]
        read += page.read
        edge_us = page.edge_us
    return found


def _of_topic(raws: Sequence[bytes], topic: str, most: int = _PAGE) -> list[tuple[Envelope, bytes]]:
    found: list[tuple[Envelope, bytes]] = []
    for raw in raws:
        try:
            if topic_of(raw) == topic:
                found.append((decode(raw), raw))
        except EnvelopeError:
            continue
        if len(found) >= most:
            break
    return found


def _may_hold(lane: Lane, topic: str) -> bool:
    return (kind_of(topic) == "candles") == (lane.log == "log:candles")


def _is_after(row: EventRow, key: EventKey | None) -> bool:
    return key is None or order_of(row.key) < order_of(key)
