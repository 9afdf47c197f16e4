"""The overview out of what was looked at and what came."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentexchange._shared.read import us_of
from agentexchange_bridge.inspector.past import log_row
from agentexchange_bridge.inspector.views import Overview, ScopeRow
from agentexchange_schemas import FeedState

if TYPE_CHECKING:
    from ._state import LiveState

__all__ = ["overview_of"]

_ALL = "ticker:all"


def overview_of(state: LiveState, *, at_us: int, source: str) -> Overview:
    """What is shown."""
    look = state.look
    rows = [_scope_row(scope, state) for scope in state.scopes]
    logs = [log_row(state.keys[lane], span) for lane, span in look.spans.items()]
    return Overview(
        at_us=at_us,
        source=source,
        scopes=tuple(sorted(rows, key=lambda row: row.scope)),
        workers=look.workers,
        clients=state.clients,
        logs=tuple(sorted(logs, key=lambda row: row.key)),
        memory_bytes=look.memory_bytes,
        memory_limit_bytes=look.memory_limit_bytes,
    )


def _scope_row(scope: str, state: LiveState) -> ScopeRow:
    board = state.board
    found, meter = state.look.scopes.get(scope), board.meters[scope]
    own = state.away or board.states(scope).own
    topics = () if found is None else found.topics
    count = len(topics) if _ALL not in topics else len(topics) - 1 + board.topics(scope)
    return ScopeRow(
        scope=scope,
        state=FeedState.CONNECTING if own is None else own.state,
        since_us=None if own is None or own.since is None else us_of(own.since),
        message=None if own is None else own.message or own.cause,
        worker=None if found is None else found.worker,
        epoch=None if found is None else found.epoch,
        topics=count,
        events_per_s=meter.rate,
        last_event_us=meter.last_us,
        lag_ms=meter.lags(),
    )
