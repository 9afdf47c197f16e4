"""Looks for the notices of the past: reads what logs held before they were read live, without haste."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING, Final

from agentexchange_bridge.inspector.past import notices_before

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from agentexchange.recording import Lane
    from agentexchange_bridge.inspector.board import Notices
    from agentexchange_bridge.inspector.past import History

__all__ = ["Survey"]

_PAUSE_S: Final = 0.02
"""Between two pages of 500 entries: a full log takes about a minute, at a few per cent of a core."""


class Survey:
    """Spans that are to be looked through; what is left of them when it is interrupted is gone on with.

    Args:
        notices: to add to.
        sleep: waits for seconds.
    """

    def __init__(self, notices: Notices, sleep: Callable[[float], Awaitable[None]]) -> None:
        self._notices = notices
        self._sleep = sleep
        self._spans: list[tuple[Lane, int, int]] = []

    def expect(self, lane: Lane, after_us: int, before_us: int) -> None:
        """There may be notices between these moments."""
        if before_us - after_us > 1:
            self._spans.append((lane, after_us, before_us))

    async def run(self, history: History) -> None:
        """Look through all; the newest come first.

        Raises:
            ConnectionError: Redis is away.
        """
        while self._spans:
            lane, after_us, before_us = self._spans[-1]
            async with aclosing(notices_before(history, lane, before_us)) as pages:
                async for told, edge_us in pages:
                    for notice in told:
                        self._notices.add(*notice)
                    self._spans[-1] = (lane, after_us, edge_us)
                    if edge_us <= after_us:
                        break
                    await self._sleep(_PAUSE_S)
            self._spans.pop()
