"""How the scopes were at a moment, as is known by now."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentexchange._shared.read import utc_of
from agentexchange_schemas import FeedState, ScopeStates, TopicState

if TYPE_CHECKING:
    from agentexchange_bridge.inspector.board import Board, Notices
    from agentexchange_bridge.inspector.views import GapRow

__all__ = ["show_states"]


def show_states(board: Board, notices: Notices, at_us: int) -> None:
    """Give the board the states of that moment, by the spans that contain it: what was found out later counts, too.

    Outside of all spans a scope with events counts as live: logs are cut, and most begin in the middle of a good time.
    """
    states = {scope: ScopeStates(TopicState(_usual(board, scope))) for scope in board.meters}
    for row in reversed(notices.gaps(at_us)):
        is_over = row.until_us is not None and row.until_us <= at_us
        if is_over or row.state is FeedState.LIVE or row.count is not None or row.scope not in states:
            continue
        if row.topic is None:
            states[row.scope].own = _state(row)
        else:
            states[row.scope].topics[row.topic] = _state(row)
    for scope, known in states.items():
        board.take_states(scope, known)


def _usual(board: Board, scope: str) -> FeedState:
    return FeedState.CONNECTING if board.meters[scope].last_us is None else FeedState.LIVE


def _state(row: GapRow) -> TopicState:
    return TopicState(row.state, utc_of(row.since_us), row.cause, row.message)
