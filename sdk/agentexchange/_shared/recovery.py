"""Filling gaps: which topics have missed something, log by log.

One task per log at a time, for every topic of it that needs it: so one scan serves all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .scan import LogName, Scan, Tools, log_of

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Iterable

    from .flow import Flow

__all__ = ["Recovery"]


class Recovery:
    """Of one session: which flows are due, and one task per log for them."""

    def __init__(self, tools: Tools, tasks: asyncio.TaskGroup) -> None:
        self._tools = tools
        self._tasks = tasks
        self._due: dict[LogName, set[Flow]] = {}
        self._running: set[LogName] = set()

    def add(self, flow: Flow) -> None:
        """Read what ``flow`` has missed, soon. Idempotent."""
        name = log_of(flow)
        self._due.setdefault(name, set()).add(flow)
        if name not in self._running:
            self._running.add(name)
            self._tasks.create_task(self._work(name))

    async def _work(self, name: LogName) -> None:
        try:
            while due := self._due.pop(name, None):
                await self._recover(name, due)
        finally:
            self._running.discard(name)

    async def _recover(self, name: LogName, due: Iterable[Flow]) -> None:
        flows = self._still_behind(due)
        if not flows:
            return
        for flow in flows:
            flow.hold_anew()
        marks = await self._tools.marks(name, flows, newest_us=max(flow.place_us for flow in flows))
        if marks.log_id is None:  # wiped, and nobody writes yet: they stay behind until somebody does
            for flow in flows:
                flow.held = None
            return
        self._tools.learn(name.scope, marks.log_id)
        await self._tools.settle()
        await Scan(self._tools, name, marks, again=self.add).run(flows)

    def _still_behind(self, flows: Iterable[Flow]) -> list[Flow]:
        return [flow for flow in flows if flow.is_behind and not self._tools.inbox.is_blocked(flow)]
