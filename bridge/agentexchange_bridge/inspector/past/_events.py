"""The list of events up to the moment that is shown: out of memory where it can be, else read backwards."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ._choice import EventChoice
from ._recent import Recent
from ._search import rows_before

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agentexchange_bridge.inspector.views import EventKey, EventRow

    from ._history import History

__all__ = ["EventList"]

_MAX_ROWS: Final = 1_000


class EventList:
    """Whoever moves the moment on adds what has come to `recent`; a jump clears that.

    Args:
        most: recent events that are kept.

    Attributes:
        recent: the last events, and what is looked for among them.
    """

    def __init__(self, *, most: int) -> None:
        self.recent = Recent(events=most)

    async def rows(
        self,
        history: History,
        *,
        filter_text: str,
        kinds: Sequence[str],
        before: EventKey | None,
        limit: int,
        is_away: bool = False,
    ) -> list[EventRow]:
        """As `Feed.events`, out of memory alone while ``is_away``.

        Fewer rows than asked for mean that no more were found among the 40,000 events before.

        Raises:
            ValueError: the filter cannot be read, or a kind is none.
            ConnectionError: what is read from is away.
        """
        choice = EventChoice(filter_text, kinds)
        limit = max(1, min(limit, _MAX_ROWS))
        if before is not None:
            return await rows_before(history, choice, before.received_us + 1, limit=limit, after=before)
        standing = await self.recent.standing(choice)
        if not standing.is_complete and len(standing.newest(limit)) < limit and not is_away:
            standing.begin_with(await rows_before(history, choice, self.recent.floor_us + 1, limit=_MAX_ROWS))
        return standing.newest(limit)
