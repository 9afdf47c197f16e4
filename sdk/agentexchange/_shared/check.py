"""Topics without events: has the server more of them than has arrived?

A hole tells itself by the next event; the last events of a topic that then falls silent do not. Each heartbeat names
the log's last entry, so a scope where everything was seen costs nothing; where others' events made the log go on, only
topics that had none since the last look are asked for, in one round trip for all of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agentexchange_schemas import EnvelopeError
from agentexchange_schemas.envelope import received_us_of

from .scan import LogName, log_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .flow import Flow
    from .pubsub import PubSub
    from .scan import Tools

__all__ = ["SilenceCheck"]


class SilenceCheck:
    """Of one session.

    Args:
        tools: of the session.
        pubsub: the connection on which something may still be under way.
    """

    def __init__(self, tools: Tools, pubsub: PubSub) -> None:
        self._tools = tools
        self._inbox = tools.inbox
        self._pubsub = pubsub
        self._next_at = float("-inf")
        self._seqs: dict[Flow, int] = {}

    async def run(self, scopes: Iterable[str], clock: float) -> None:
        """Look, if it is time to."""
        if clock < self._next_at:
            return
        self._next_at = clock + self._tools.options.check_every_s
        seqs: dict[Flow, int] = {}
        for scope in scopes:
            for flow in self._inbox.flows(scope):
                if flow.is_behind:
                    self._inbox.on_behind(flow)
            for is_candles in (False, True):
                lagging = self._lagging(LogName(scope, is_candles))
                seqs.update((flow, flow.seq) for flow in lagging)
                await self._compare(LogName(scope, is_candles), [f for f in lagging if self._seqs.get(f) == f.seq])
        self._seqs = seqs

    def _lagging(self, name: LogName) -> list[Flow]:
        """Topics that have seen less than the whole log."""
        end_us = _place(self._inbox.teller.watch(name.scope).ends[name.is_candles])
        return [
            flow
            for flow in self._inbox.flows(name.scope)
            if _is_running(flow)
            and flow.place_us < end_us
            and log_of(flow) == name
            and not self._inbox.is_log_fed(flow)
        ]

    async def _compare(self, name: LogName, flows: list[Flow]) -> None:
        if not flows:
            return
        marks = await self._tools.marks(name, flows)
        if marks.log_id is None:
            return
        self._tools.learn(name.scope, marks.log_id)
        await self._pubsub.barrier()  # the server counts what may still be on its way
        for flow in flows:
            if _is_running(flow) and marks.seqs[flow.topic] > flow.seq:
                self._inbox.fall_behind(flow)
            elif marks.seqs[flow.topic] == flow.seq:
                flow.checked(marks.end_us)


def _is_running(flow: Flow) -> bool:
    return flow.has_begun and not flow.is_behind and flow.held is None


def _place(entry_id: Any) -> int:
    try:
        return received_us_of(entry_id) if isinstance(entry_id, str) else 0
    except EnvelopeError:
        return 0
