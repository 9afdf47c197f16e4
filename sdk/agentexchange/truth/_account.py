"""One account: what was known before a blind span, and what everything that comes after it says about the span."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from . import _words
from ._orders import HAPPENED_FIELDS, KnownOrders, OrderState, latest_time, state_of
from ._portfolio import CASH, REALIZED, is_same, moved
from ._snapshot import Findings, Snapshot, Span

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from agentexchange_schemas import FeedStatus

__all__ = ["CLOCK_SLACK", "MAX_ORDERS", "AccountTruth"]

MAX_ORDERS: Final = 10_000
"""Orders whose last state is kept."""

CLOCK_SLACK: Final = timedelta(seconds=10)
"""How far the platform's clock may be off where its times decide whether an order is of a span."""

_RECONCILED: Final = {"reconciled": True}
_EVER_FIELDS: Final = (*HAPPENED_FIELDS, "created_at")
_NEVER: Final = datetime.min.replace(tzinfo=UTC)


class AccountTruth:
    """Is told of events, blind spans and snapshots; says what is to be handed out and told.

    Events of the feed pass through `order` and `portfolio`, in order. `blind` and `seeing` frame a span. Whoever can
    ask the platform calls `asking`, collects a `Snapshot` and gives it to `answered`; whoever cannot, or gets no
    answer, tells `unanswered`. What tells of a span has ``reconciled`` = True in its fields, once per change.
    """

    def __init__(self, *, max_orders: int = MAX_ORDERS) -> None:
        self._orders = KnownOrders(max_orders)
        self._portfolio: dict[str, Any] | None = None
        self._since: datetime | None = None
        self._last: Span | None = None
        self._unsure: dict[str, None] = {}  # open when the span began and not heard of since; a set with an order
        self._explained: set[str] | None = None  # fields of the portfolio; None: no snapshot is awaited
        self._late: set[str] = set()  # orders handed out by `answered`, whose own updates may still come
        self._late_portfolio: dict[str, Any] | None = None
        self._touched: set[str] | None = None  # orders heard of while the platform is asked; None: it is not
        self._is_outdated = False  # a span began while the platform was asked: the answer may be from before it

    # Knowing

    def restore(self, orders: Iterable[dict[str, Any]], portfolio: dict[str, Any] | None = None) -> None:
        """What was handed out before; what is known already is newer and stays."""
        for fields in orders:
            order_id, state = str(fields["order_id"]), state_of(fields)
            if self._orders.get(order_id) is None:
                self._orders.put(order_id, state, _plain(fields))
                if not state.is_final:
                    self._unsure[order_id] = None
        if self._portfolio is None and portfolio is not None:
            self._portfolio = _plain(portfolio)

    def clear(self) -> None:
        """Know nothing: somebody else hands out from here on."""
        self._orders.clear()
        self._portfolio = self._since = self._last = self._explained = None
        self._late_portfolio = self._touched = None
        self._unsure.clear()
        self._late.clear()

    @property
    def unsure(self) -> Collection[str]:
        """Orders that were open when the last span began and were not heard of since."""
        return self._unsure.keys()

    # Spans

    def blind(self, since: datetime) -> None:
        """Nothing is seen from ``since`` on; no-op while that is so already."""
        if self._since is not None:
            return
        self._since = since
        self._is_outdated = True
        self._unsure = dict.fromkeys(self._orders.open_ids)
        self._explained = set()
        self._late.clear()
        self._late_portfolio = None

    def seeing(self, until: datetime) -> Span | None:
        """Events come again; returns the span that is over, None where there was none."""
        if self._since is None:
            return None
        self._last = Span(self._since, max(until, self._since))
        self._since = None
        return self._last

    def unanswered(self, span: Span, why: str | None = None) -> FeedStatus:
        """What may have changed in ``span``, when nobody was asked, or ``why`` there is no answer."""
        return _words.unknown(span, self.unsure, why=why)

    # Events of the feed

    def order(self, fields: dict[str, Any]) -> dict[str, Any] | None:
        """An order update came: the fields to hand out; None where they were handed out already."""
        order_id, state = str(fields["order_id"]), state_of(fields)
        known = self._orders.get(order_id)
        if self._touched is not None:
            self._touched.add(order_id)
        if order_id in self._late:
            if known is not None and not state.is_news_after(known):
                return None
            self._late.discard(order_id)
        is_of_span = self._is_of_span(order_id, state, known, fields)
        self._unsure.pop(order_id, None)
        if known is None or state.is_news_after(known):
            self._orders.put(order_id, state, fields)
        if self._explained is not None and not is_of_span:
            self._explain(state, known)
        return fields | _RECONCILED if is_of_span else fields

    def portfolio(self, fields: dict[str, Any]) -> tuple[dict[str, Any] | None, FeedStatus | None]:
        """A portfolio came: the fields to hand out as of an order, and a status to tell if it shows something."""
        late, self._late_portfolio = self._late_portfolio, None
        if late is not None and is_same(late, fields):
            return None, None
        before, explained = self._portfolio, self._explained
        self._portfolio, self._explained = dict(fields), None
        if before is None or explained is None:
            return fields, None
        moves = [name for name in moved(before, fields) if name not in explained]
        if not moves:
            return fields, None
        status = _words.executed_unseen(self._awaited_span(), before, fields, moves)
        return fields | _RECONCILED, None if self._touched is not None else status

    # Snapshots

    def asking(self) -> None:
        """The platform is asked from now on: what the feed brings meanwhile is newer than the answer may be."""
        self._touched, self._is_outdated = set(), self._since is not None

    def not_asking(self) -> None:
        """There will be no answer."""
        self._touched = None

    def missing(self, seen: Collection[str]) -> list[str]:
        """Orders to be asked for one by one: open when the span began, not heard of since, and not among ``seen``."""
        return [order_id for order_id in self._unsure if order_id not in seen]

    def strangers(self, seen: Iterable[str]) -> list[str]:
        """Those of ``seen`` that are not known: whoever remembers more may `restore` them before `answered`."""
        return [order_id for order_id in seen if self._orders.get(order_id) is None]

    def answered(self, span: Span, snapshot: Snapshot) -> Findings:
        """Compare with what the platform says; ends what `asking` began."""
        touched, self._touched = self._touched or set(), None
        found = _furthest((*snapshot.open_orders, *snapshot.orders))
        late = [self._found(order_id, fields, touched, span) for order_id, fields in found.items()]
        events = [("orders", fields) for fields in late if fields is not None]
        events += [("portfolio", fields) for fields in self._found_portfolio(snapshot.portfolio)]
        lost = self._never_told(found, snapshot.gone)
        if self._is_outdated:  # what was true a moment ago may have changed, and the next answer will tell
            self._unsure = dict.fromkeys(self._orders.open_ids)
        statuses = [_words.fetched(span, len(events))] if events else []
        if lost or snapshot.gaps:
            statuses.append(_words.incomplete(span, lost, snapshot.gaps))
        return Findings(events, statuses)

    # Judging

    def _is_of_span(self, order_id: str, state: OrderState, known: OrderState | None, fields: dict[str, Any]) -> bool:
        if known is not None:
            if not state.is_news_after(known):
                return False
            if order_id in self._unsure and state.skipped_a_step(known):
                return True
        happened = latest_time(fields, HAPPENED_FIELDS)
        return happened is not None and self._last is not None and self._last.since <= happened < self._last.until

    def _awaited_span(self) -> Span:
        """The span that the next portfolio tells of; one that lasts, though events come already, has no end yet."""
        since = self._since
        if since is None:
            assert self._last is not None  # noqa: S101 - a portfolio is awaited only after a span began
            return self._last
        return Span(since, since)

    def _explain(self, state: OrderState, known: OrderState | None) -> None:
        """An order that is placed or cancelled moves the cash, and one that is executed the profit too."""
        assert self._explained is not None  # noqa: S101 - asked only while a snapshot is awaited
        self._explained.add(CASH)
        if state.executed > (known.executed if known is not None else 0):
            self._explained.add(REALIZED)

    def _found(self, order_id: str, fields: dict[str, Any], touched: set[str], span: Span) -> dict[str, Any] | None:
        """An order of a snapshot: the fields to hand out, None where it tells nothing new."""
        state, known = state_of(fields), self._orders.get(order_id)
        if known is None:
            if not self._is_new_of(state, fields, span):
                return None
        elif not state.is_news_after(known) or (state.progress == known.progress and order_id in touched):
            self._unsure.pop(order_id, None)
            return None
        told = self._orders.filled_in(order_id, fields)
        self._unsure.pop(order_id, None)
        self._orders.put(order_id, state_of(told), told)
        self._late.add(order_id)
        return told | _RECONCILED

    @staticmethod
    def _is_new_of(state: OrderState, fields: dict[str, Any], span: Span) -> bool:
        """Whether an order that was never heard of is of the span: an open one, or one that ended in it."""
        if not state.is_final:
            return True
        return (latest_time(fields, _EVER_FIELDS) or _NEVER) >= _earlier(span.since)

    def _found_portfolio(self, portfolio: dict[str, Any] | None) -> list[dict[str, Any]]:
        """A portfolio that came by the feed while the platform was asked is as new, and was judged."""
        before, is_awaited = self._portfolio, self._explained is not None
        if portfolio is None or not is_awaited:
            return []
        if not self._is_outdated:
            self._explained = None
        if before is not None and not moved(before, portfolio):
            return []
        self._portfolio, self._late_portfolio = _plain(portfolio), portfolio
        return [portfolio | _RECONCILED]

    def _never_told(self, found: Collection[str], gone: frozenset[str]) -> list[str]:
        """Orders of which no answer tells; those that the platform knows no more are not asked for again."""
        lost = [order_id for order_id in self._unsure if order_id not in found]
        for order_id in gone.intersection(lost):
            self._orders.forget(order_id)
            self._unsure.pop(order_id, None)
        return lost


def _earlier(time: datetime) -> datetime:
    return time - CLOCK_SLACK


def _plain(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if name != "reconciled"}


def _furthest(orders: Iterable[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Each order once, at its furthest, the oldest change first: answers are given one after the other."""
    best: dict[str, dict[str, Any]] = {}
    for fields in orders:
        order_id = str(fields["order_id"])
        if order_id not in best or state_of(fields).is_news_after(state_of(best[order_id])):
            best[order_id] = fields
    return dict(sorted(best.items(), key=lambda item: latest_time(item[1], _EVER_FIELDS) or _NEVER))
