"""The overview of a moment of the past: what the logs and the events tell."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from agentexchange._shared.read import us_of
from agentexchange_bridge.inspector.views import LogRow, Overview, ScopeRow
from agentexchange_schemas import FeedState

if TYPE_CHECKING:
    from agentexchange_bridge.inspector.board import Board

    from ._history import History, LaneSpan

__all__ = ["log_row", "overview_at", "overview_of_history"]


def log_row(key: str, span: LaneSpan) -> LogRow:
    """A lane's line."""
    return LogRow(key, span.entries, span.memory_bytes, span.first_us, span.last_us)


async def overview_of_history(history: History, source: str) -> Overview:
    """What is the same at every moment: the logs as they are now.

    Raises:
        ConnectionError: what is read from is away.
    """
    rows = [log_row(history.key(span.lane), span) for span in await history.spans()]
    return Overview(0, source, (), (), (), tuple(sorted(rows, key=lambda row: row.key)))


def overview_at(base: Overview, board: Board, at_us: int) -> Overview:
    """The same with the scopes of a moment."""
    rows = [_scope_row(scope, board) for scope in board.meters]
    return replace(base, at_us=at_us, scopes=tuple(sorted(rows, key=lambda row: row.scope)))


def _scope_row(scope: str, board: Board) -> ScopeRow:
    own, meter = board.states(scope).own, board.meters[scope]
    return ScopeRow(
        scope=scope,
        state=FeedState.CONNECTING if own is None else own.state,
        since_us=None if own is None or own.since is None else us_of(own.since),
        message=None if own is None else own.message or own.cause,
        worker=None,
        epoch=None,
        topics=board.topics(scope),
        events_per_s=meter.rate,
        last_event_us=meter.last_us,
        lag_ms=None,
    )
