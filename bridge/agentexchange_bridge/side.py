"""Side: an intake with the writers of its scopes, which begin and end together."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from agentexchange._tasks import end

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

    from .intake import Intake

__all__ = ["Side"]


class Side:
    """The market's, or one account's. Its tasks run in the group that is given to `start`."""

    def __init__(self, intake: Intake, *, log: FilteringBoundLogger) -> None:
        self.intake = intake
        self._log = log
        self._feeding: asyncio.Task[None] | None = None
        self._beside: list[asyncio.Task[None]] = []
        self._writing: list[asyncio.Task[None]] = []

    def start(self, group: asyncio.TaskGroup) -> None:
        """Begin: own what is free, stand by for the rest."""
        intake = self.intake
        self._writing = [group.create_task(writer.run(), name=scope) for scope, writer in intake.writers.items()]
        self._feeding = group.create_task(intake.run(), name=intake.stats.name)
        self._beside = [group.create_task(one.run(), name=f"candles:{scope}") for scope, one in intake.candles.items()]
        self._beside.append(group.create_task(intake.look_on(), name=f"look:{intake.stats.name}"))
        if intake.reconciler is not None:
            self._beside.append(group.create_task(intake.reconciler.run(), name=f"reconcile:{intake.stats.name}"))

    async def end(self, drain_s: float) -> None:
        """Let upstream go, then write what is held and give the leases back, for so long and no longer."""
        self.intake.stop()
        if self._feeding is not None:
            await asyncio.wait((self._feeding,))
        await end(self._beside)
        for candles in self.intake.candles.values():
            candles.finish()
        for writer in self.intake.writers.values():
            writer.stop(self.intake.let_go_us)
        if not self._writing:
            return
        _, late = await asyncio.wait(self._writing, timeout=drain_s)
        for task in late:
            lost = self.intake.writers[task.get_name()].outbox.held
            self._log.error("stopped before everything was written", scope=task.get_name(), lost=lost)
            task.cancel()
