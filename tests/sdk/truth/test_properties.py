"""Random lives of orders, random blind spans, answers that take their time: in the end everything is known, once."""

from __future__ import annotations

import random
from collections import deque
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from agentexchange.truth import AccountTruth, Snapshot, Span
from agentexchange.truth._orders import state_of
from agentexchange.truth._portfolio import moved
from agentexchange_schemas._text import iso_utc

from ._orders import at, iso, portfolio

QUANTITY = Decimal(4)


class Exchange:
    """Orders with all their states; what it pushes is on its way for a while, and lost when the connection is cut."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.now = 0.0
        self.orders: dict[str, dict[str, Any]] = {}
        self.cash = self.realized = Decimal(0)
        self.is_connected = True
        self.pushed: deque[tuple[float, str, dict[str, Any]]] = deque()

    def place(self) -> None:
        order_id = f"o{len(self.orders)}"
        self.orders[order_id] = {
            "order_id": order_id,
            "status": "pending",
            "executed_quantity": None,
            "quantity": str(QUANTITY),
            "created_at": iso(self.now),
        }
        self._push_order(order_id)

    def move_on(self) -> None:
        """Fill something of an open order, or cancel it."""
        opened = [order_id for order_id, fields in self.orders.items() if not state_of(fields).is_final]
        if not opened:
            self.place()
            return
        order_id = self.rng.choice(opened)
        fields = dict(self.orders[order_id])
        if self.rng.random() < 0.25:
            fields |= {"status": "cancelled", "cancelled_at": iso(self.now)}
        else:
            done = min(QUANTITY, state_of(fields).executed + self.rng.randint(1, 2))
            fields |= {"executed_quantity": f"{done:.8f}", "status": "partially_filled"}
            if done == QUANTITY:
                fields |= {"status": "filled", "filled_at": iso(self.now)}
            self.cash -= 1
            self.realized += Decimal("0.1")
        self.orders[order_id] = fields
        self._push_order(order_id)
        if fields["status"] != "cancelled":
            self._push("portfolio", self.portfolio())

    def portfolio(self) -> dict[str, Any]:
        return portfolio(str(self.cash), str(self.realized), equity=str(self.now))

    def cut(self) -> None:
        self.is_connected = False
        self.pushed.clear()

    def open_orders(self) -> list[dict[str, Any]]:
        return [self._answer(fields) for fields in self.orders.values() if not state_of(fields).is_final]

    def recent_orders(self, since: datetime) -> list[dict[str, Any]]:
        """The newest first, back to those that were placed before the span; what is on its way takes 10 s at most."""
        oldest = iso_utc(since - timedelta(seconds=10))
        return [self._answer(fields) for fields in self.orders.values() if fields["created_at"] >= oldest][::-1]

    def order(self, order_id: str) -> dict[str, Any]:
        return self._answer(self.orders[order_id])

    def _answer(self, fields: dict[str, Any]) -> dict[str, Any]:
        """The platform's REST does not say when an order was cancelled."""
        return {name: value for name, value in fields.items() if name != "cancelled_at"}

    def _push_order(self, order_id: str) -> None:
        self._push("orders", dict(self.orders[order_id]))

    def _push(self, topic: str, fields: dict[str, Any]) -> None:
        if self.is_connected:
            self.pushed.append((self.now, topic, fields))


class Story:
    """An exchange, a connection that comes and goes, somebody who asks, and everything that was handed out."""

    def __init__(self, seed: int) -> None:
        self.exchange = Exchange(random.Random(seed))
        self.truth = AccountTruth()
        self.handed: list[tuple[str, dict[str, Any]]] = []
        self.owed: Span | None = None
        self.asking: dict[str, Any] | None = None
        self.heard_of = 0.0  # up to when everything that was pushed has come; what is on its way is lost with a cut

    def step(self, action: str) -> None:
        self.exchange.now += 1.0
        getattr(self, action)()

    def place(self) -> None:
        self.exchange.place()

    def move(self) -> None:
        self.exchange.move_on()

    def deliver(self) -> None:
        if not self.exchange.pushed:
            return
        self.heard_of, topic, fields = self.exchange.pushed.popleft()
        told = self.truth.order(fields) if topic == "orders" else self.truth.portfolio(fields)[0]
        if told is not None:
            self.handed.append((topic, told))

    def cut(self) -> None:
        self.exchange.cut()
        self.truth.blind(at(self.heard_of))

    def connect(self) -> None:
        if not self.exchange.is_connected:
            self.heard_of = self.exchange.now
        self.exchange.is_connected = True
        span = self.truth.seeing(at(self.exchange.now))
        if span is not None:
            self.owed = span.joined(self.owed)

    def ask(self) -> None:
        """One request of those that make an answer, in their order; the last one brings it."""
        if self.asking is None:
            if self.owed is not None:
                self.asking = {"span": self.owed}
                self.owed = None
                self.truth.asking()
        elif "open" not in self.asking:
            self.asking["open"] = self.exchange.open_orders()
        elif "recent" not in self.asking:
            self.asking["recent"] = self.exchange.recent_orders(self.asking["span"].since)
        elif "single" not in self.asking:
            seen = {fields["order_id"] for fields in (*self.asking["open"], *self.asking["recent"])}
            self.asking["single"] = [self.exchange.order(order_id) for order_id in self.truth.missing(seen)]
        elif "portfolio" not in self.asking:
            self.asking["portfolio"] = self.exchange.portfolio()
        else:
            self._answered(self.asking)
            self.asking = None

    def fail(self) -> None:
        """The platform does not answer after all."""
        if self.asking is not None:
            self.truth.not_asking()
            self.owed = self.asking["span"].joined(self.owed)
            self.asking = None

    def _answered(self, asking: dict[str, Any]) -> None:
        orders = (*asking["recent"], *asking["single"])
        snapshot = Snapshot(open_orders=tuple(asking["open"]), orders=orders, portfolio=asking["portfolio"])
        self.handed += self.truth.answered(asking["span"], snapshot).events

    def end(self) -> None:
        """Connected, everything asked and delivered."""
        self.connect()
        while self.owed is not None or self.asking is not None:
            self.ask()
        while self.exchange.pushed:
            self.deliver()

    def orders(self) -> dict[str, list[dict[str, Any]]]:
        lives: dict[str, list[dict[str, Any]]] = {}
        for topic, fields in self.handed:
            if topic == "orders":
                lives.setdefault(fields["order_id"], []).append(fields)
        return lives


actions = st.sampled_from(
    ["place", "move", "move", "move", "deliver", "deliver", "cut", "connect", "ask", "ask", "fail"]
)


def check(story: Story) -> None:
    lives = story.orders()
    for order_id, fields in story.exchange.orders.items():
        states = [state_of(told) for told in lives.get(order_id, [])]
        assert states, f"{order_id} was never handed out"
        assert states[-1] == state_of(fields), order_id
        for before, after in pairwise(states):
            assert after.is_news_after(before), f"{order_id} came twice, or went back: {states}"
    worth = [fields for topic, fields in story.handed if topic == "portfolio"]
    now = story.exchange.portfolio()
    assert not moved(worth[-1] if worth else portfolio("0", "0"), now)


@given(st.lists(actions, max_size=80), st.integers(0, 2**32))
@settings(max_examples=400, deadline=None)
def test_after_every_story_everything_is_known_and_was_handed_out_once(steps: list[str], seed: int) -> None:
    story = Story(seed)
    for action in steps:
        story.step(action)
    story.end()
    check(story)


@given(st.integers(0, 2**32))
@settings(max_examples=150, deadline=None)
def test_long_stories_end_the_same_way(seed: int) -> None:
    rng = random.Random(seed)
    story = Story(seed)
    for _ in range(300):
        names = ["place", "move", "deliver", "cut", "connect", "ask", "fail"]
        story.step(rng.choices(names, [1, 10, 14, 1.5, 4, 12, 0.5])[0])
    story.end()
    check(story)


@given(st.lists(actions, max_size=60), st.integers(0, 2**32))
@settings(max_examples=200, deadline=None)
def test_without_asking_nothing_is_handed_out_twice_and_what_may_be_missing_is_named(
    steps: list[str], seed: int
) -> None:
    story = Story(seed)
    for action in steps:
        if action not in ("ask", "fail"):
            story.step(action)
    story.exchange.is_connected = True
    span = story.truth.seeing(at(story.exchange.now))
    while story.exchange.pushed:
        story.deliver()
    lives = story.orders()
    for order_id, told in lives.items():
        states = [state_of(fields) for fields in told]
        assert all(after.is_news_after(before) for before, after in pairwise(states))
        if states[-1] != state_of(story.exchange.orders[order_id]):
            assert order_id in story.truth.unsure, f"{order_id} changed in silence"
    if span is not None:
        assert story.truth.unanswered(span).count == len(story.truth.unsure)
