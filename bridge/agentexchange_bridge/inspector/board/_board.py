"""Board: the newest of everything, as of one moment."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from agentexchange_bridge.inspector.views import AccountView
from agentexchange_schemas import EnvelopeError, FeedStatus, ScopeStates
from agentexchange_schemas.envelope import STATUS_TOPIC

from ._account import AccountBook
from ._charts import Charts, tick_of
from ._gaps import Notices
from ._meter import Meter
from ._rows import kind_of
from ._ticks import TickSlot

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from agentexchange_bridge.inspector.views import PriceRow
    from agentexchange_schemas import Envelope

    from ._charts import Chart

__all__ = ["Board"]

_MAX_SYMBOLS: Final = 20_000


class Board:
    """Takes events in the order of each scope; of what comes twice or late, the newest stands. No I/O, no clock.

    Args:
        scopes: what may be shown; events of other scopes are let go.
        version: to count on from, where this board takes another's place.
        notices: to add to; by default those of this board alone.

    Attributes:
        version: grows with every change of a price or its state.
        notices: what was told of the feed.
        charts: candles that are looked at.
        meters: by scope.
    """

    def __init__(self, scopes: Iterable[str] = (), *, version: int = 0, notices: Notices | None = None) -> None:
        names = list(scopes)
        self.version = version
        self.notices = Notices() if notices is None else notices
        self.charts = Charts()
        self.meters = {scope: Meter() for scope in names}
        self._states = {scope: ScopeStates() for scope in names}
        self._accounts = {scope: AccountBook(scope) for scope in names if scope.startswith("a-")}
        self._ticks: dict[str, TickSlot] = {}
        self._symbols: list[str] | None = []

    # What comes in

    def take(self, scope: str, envelope: Envelope) -> None:
        """An event, or a notice, of that scope."""
        meter = self.meters.get(scope)
        if meter is None:
            return
        received_us = envelope.received_us
        meter.count += 1
        meter.last_us = received_us
        slot = self._ticks.get(envelope.topic)
        if slot is None:
            self._take_other(scope, envelope)
        elif received_us > slot.received_us:
            self.version = slot.version = self.version + 1
            slot.envelope = envelope
            slot.received_us = received_us
            if received_us >= slot.next_sample_us:
                slot.sample()
            charts = self.charts.by_ticker.get(envelope.topic)
            if charts is not None:
                _draw(charts, envelope)

    def take_states(self, scope: str, states: ScopeStates) -> None:
        """How a scope and its topics are now."""
        self._states[scope] = states
        self._show_states(scope)

    def states(self, scope: str) -> ScopeStates:
        """How a scope and its topics are."""
        return self._states[scope]

    def newest_us(self, topic: str) -> int | None:
        """``r`` of the newest tick of that topic; None where there is none."""
        slot = self._ticks.get(topic)
        return None if slot is None else slot.received_us

    # What is shown

    def prices(self, since: int, at_us: int) -> tuple[int, list[PriceRow]]:
        """As `Feed.prices`."""
        return self.version, [slot.row(at_us) for slot in self._ticks.values() if slot.version > since]

    def symbols(self) -> Sequence[str]:
        """Every symbol with a tick, sorted."""
        if self._symbols is None:
            self._symbols = sorted(topic.partition(":")[2] for topic in self._ticks)
        return self._symbols

    def account(self, scope: str) -> AccountView:
        """As `Feed.account`."""
        book = self._accounts.get(scope)
        return AccountView(scope, (), None, None) if book is None else book.view()

    def topics(self, scope: str) -> int:
        """How many symbols of a scope have a tick."""
        return sum(slot.scope == scope for slot in self._ticks.values())

    # Within

    def _take_other(self, scope: str, envelope: Envelope) -> None:
        kind = kind_of(envelope.topic)
        if kind == "ticker":
            self._take_new(scope, envelope)
        elif kind == "candles":
            self.charts.take(envelope.topic, envelope.data)
        elif kind == STATUS_TOPIC:
            self._take_notice(scope, envelope)
        elif scope in self._accounts:
            self._accounts[scope].take(envelope)

    def _take_new(self, scope: str, envelope: Envelope) -> None:
        if len(self._ticks) >= _MAX_SYMBOLS:
            return
        slot = self._ticks[envelope.topic] = TickSlot(scope, envelope)
        slot.state = self._states[scope].of(slot.topic).state
        self.version = slot.version = self.version + 1
        slot.sample()
        self._symbols = None
        _draw(self.charts.by_ticker.get(envelope.topic, ()), envelope)

    def _take_notice(self, scope: str, envelope: Envelope) -> None:
        try:
            status = FeedStatus.from_fields(envelope.data)
        except EnvelopeError:
            return  # whoever wrote it is no bridge of this layout
        self.notices.add(scope, envelope.received_us, status)
        self._states[scope].take(status)
        self._show_states(scope, status.topic)

    def _show_states(self, scope: str, topic: str | None = None) -> None:
        """Of all of the scope, or of one topic: hundreds may be told of one after the other."""
        slots = self._ticks.values() if topic is None else filter(None, [self._ticks.get(topic)])
        for slot in slots:
            if slot.scope != scope:
                continue
            state = self._states[scope].of(slot.topic).state
            if state is not slot.state:
                slot.state = state
                self.version = slot.version = self.version + 1


def _draw(charts: Iterable[Chart], envelope: Envelope) -> None:
    tick = tick_of(envelope)
    if tick is not None:
        for chart in charts:
            chart.tick(tick)
