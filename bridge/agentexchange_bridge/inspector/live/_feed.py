"""LiveFeed: the feed as it is now, read once for all viewers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentexchange_bridge.inspector.past import chart_of, detail_of
from agentexchange_bridge.inspector.views import GapRow
from agentexchange_schemas import FeedState, Layout

from ._keeper import Keeper
from ._overview import overview_of
from ._state import LiveOptions, LiveState

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agentexchange_bridge.inspector._link import Link
    from agentexchange_bridge.inspector.board import Notices
    from agentexchange_bridge.inspector.past import RedisHistory
    from agentexchange_bridge.inspector.views import (
        AccountView,
        Bar,
        EventDetail,
        EventKey,
        EventRow,
        Overview,
        PriceRow,
    )

__all__ = ["LiveFeed"]


class LiveFeed:
    """A `Feed` of the market and of ``accounts``, out of what its keeper keeps up to date while it runs.

    Args:
        link: the connection for questions.
        accounts: account scopes that may be shown.
        options: times and limits.
    """

    def __init__(self, link: Link, accounts: Sequence[str], *, options: LiveOptions) -> None:
        self._source = str(link.url)
        self._state = LiveState(link, Layout(link.url.prefix), accounts, options)
        self._keeper = Keeper(link, self._state, options)

    async def run(self) -> None:
        """Keep it up to date until cancelled, through outages of Redis."""
        await self._keeper.run()

    @property
    def layout(self) -> Layout:
        """The names, as far as they are known."""
        return self._state.layout

    @property
    def history(self) -> RedisHistory:
        """The past of what is shown; another one where the installation's layout has changed."""
        return self._state.history

    @property
    def notices(self) -> Notices:
        """All that are known; those that a full log holds are found within a minute."""
        return self._state.notices

    @property
    def at_us(self) -> int:
        """Now, by the bridge's clock."""
        return self._state.now_us()

    def overview(self) -> Overview:
        """See `Feed.overview`; while Redis is away every scope is ``blind`` and says so."""
        return overview_of(self._state, at_us=self.at_us, source=self._source)

    def prices(self, since: int = 0) -> tuple[int, list[PriceRow]]:
        """See `Feed.prices`."""
        return self._state.board.prices(since, self.at_us)

    async def candles(self, symbol: str, interval: str, limit: int = 200) -> list[Bar]:
        """See `Feed.candles`; the chart's forming candle comes from the next second on."""
        board = self._state.board
        return await chart_of(self.history, board, symbol, interval, until_us=self.at_us, limit=limit)

    def symbols(self) -> Sequence[str]:
        """See `Feed.symbols`."""
        return self._state.board.symbols()

    def accounts(self) -> Sequence[str]:
        """See `Feed.accounts`."""
        return self._state.accounts

    def account(self, scope: str) -> AccountView:
        """See `Feed.account`."""
        return self._state.board.account(scope)

    async def events(
        self, *, filter_text: str = "", kinds: Sequence[str] = (), before: EventKey | None = None, limit: int = 200
    ) -> list[EventRow]:
        """See `Feed.events` and `EventList.rows`."""
        return await self._state.events.rows(
            self.history,
            filter_text=filter_text,
            kinds=kinds,
            before=before,
            limit=limit,
            is_away=self._state.away is not None,
        )

    async def event(self, key: EventKey) -> EventDetail | None:
        """See `Feed.event`."""
        return await detail_of(self.history, key)

    def gaps(self) -> list[GapRow]:
        """See `Feed.gaps`; a scope without a bridge is one since its last event, as no notice tells of that yet."""
        scopes, meters = self._state.look.scopes, self._state.board.meters
        dead = [scope for scope, look in scopes.items() if look.state is FeedState.NO_BRIDGE]
        rows = [_without_bridge(scope, last_us) for scope in dead if (last_us := meters[scope].last_us) is not None]
        return sorted((*rows, *self.notices.gaps()), key=_since, reverse=True)


def _without_bridge(scope: str, since_us: int) -> GapRow:
    message = f"no live bridge serves {scope}"
    return GapRow(scope, None, FeedState.NO_BRIDGE, None, since_us, until_us=None, count=None, message=message)


def _since(row: GapRow) -> int:
    return row.since_us
