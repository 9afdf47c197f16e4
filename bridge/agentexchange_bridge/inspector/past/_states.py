"""How the scopes were at a moment, as far as notices tell."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentexchange._shared.read import us_of
from agentexchange_schemas import FeedState, ScopeStates, TopicState

if TYPE_CHECKING:
    from agentexchange_bridge.inspector.board import Board, Notices

__all__ = ["show_states"]


def show_states(board: Board, notices: Notices, at_us: int) -> None:
    """Give the board the states of that moment.

    A scope that no notice told of before counts as live where it has events, unless the first notice after says that
    it was not: logs are cut, and most of them begin in the middle of a good time.
    """
    states = {scope: ScopeStates() for scope in board.meters}
    for scope, status in notices.until(at_us):
        if scope in states:
            states[scope].take(status)
    later: dict[str, TopicState] = {}
    for scope, status in notices.after(at_us):
        if status.tells_state and status.topic is None and scope not in later:
            was = FeedState.BLIND if status.state is FeedState.LIVE else status.state
            began = us_of(status.since) <= at_us
            later[scope] = TopicState(was if began else FeedState.LIVE, status.since if began else None, status.cause)
    for scope, known in states.items():
        if known.own is None:
            has_events = board.meters[scope].last_us is not None
            known.own = later.get(scope) or TopicState(FeedState.LIVE if has_events else FeedState.CONNECTING)
        board.take_states(scope, known)
