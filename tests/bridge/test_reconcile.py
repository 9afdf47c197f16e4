from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, cast

import msgpack
import structlog

from agentexchange.redis import LinkClosedError
from agentexchange.truth import AccountTruth, Span
from agentexchange_bridge.reconcile import ReconcileOptions, Reconciler
from agentexchange_bridge.rest import OrderPage, RestClient, RestError
from agentexchange_bridge.snapshot import MAX_SINGLE_ORDERS, take_snapshot
from agentexchange_schemas import Cause, FeedState, FeedStatus
from tests.bridge._kit import ACCOUNT, fresh_grant, make_writer, order, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from agentexchange_bridge.last_known import LastKnown

SINCE = datetime(2026, 2, 23, 15, 30, tzinfo=UTC)
SPAN = Span(SINCE, SINCE + timedelta(seconds=10))
IN_SPAN = "2026-02-23T15:30:05.000Z"
UNANSWERED = (
    "the platform could not be asked (HTTP 503): no open order is known; "
    "orders placed and finished while nothing was seen cannot be known"
)


class Rest:
    """A platform whose answers a test holds in its hands."""

    def __init__(self) -> None:
        self.faults: list[Exception] = []
        self.opened: list[dict[str, Any]] = []
        self.newest: list[dict[str, Any]] | RestError = []
        self.single: dict[str, dict[str, Any]] = {}
        self.worth: dict[str, Any] | RestError = {"total_equity": "1", "available_cash": "1", "realized_pnl": "1"}
        self.asked: list[str] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.closed = 0

    async def open_orders(self) -> OrderPage:
        self.asked.append("open")
        await self.gate.wait()
        if self.faults:
            raise self.faults.pop(0)
        return OrderPage(tuple(self.opened))

    async def newest_orders(self, since: datetime) -> OrderPage:
        self.asked.append(f"since {since:%H:%M:%S}")
        if isinstance(self.newest, RestError):
            raise self.newest
        return OrderPage(tuple(self.newest))

    async def order(self, order_id: str) -> dict[str, Any] | None:
        self.asked.append(order_id)
        return self.single.get(order_id)

    async def portfolio(self) -> dict[str, Any]:
        if isinstance(self.worth, RestError):
            raise self.worth
        return self.worth

    async def close(self) -> None:
        self.closed += 1


class Known:
    """What Redis holds."""

    def __init__(self) -> None:
        self.open: list[dict[str, Any]] = []
        self.final: dict[str, dict[str, Any]] = {}
        self.faults = 0
        self.looked_up: list[str] = []
        self.gate = asyncio.Event()
        self.gate.set()

    async def load(self) -> tuple[list[dict[str, Any]], dict[str, Any] | None]:
        await self.gate.wait()
        if self.faults:
            self.faults -= 1
            raise LinkClosedError("Redis is away")
        return self.open, None

    async def orders(self, order_ids: Any) -> list[dict[str, Any]]:
        self.looked_up += order_ids
        return [self.final[order_id] for order_id in order_ids if order_id in self.final]


class Desk:
    """A reconciler between a writer that goes nowhere, and fakes of both servers."""

    def __init__(self, rest: Rest | None, *, pauses: int = 3) -> None:
        self.rest, self.known = rest, Known()
        self.slept: list[float] = []
        self.writer = make_writer("redis://127.0.0.1:1", ACCOUNT)
        self.reconciler = Reconciler(
            cast("LastKnown", self.known),
            rest=cast("RestClient | None", rest),
            log=structlog.get_logger(),
            options=ReconcileOptions(ask_again_s=(1.0,) * pauses, read_again_s=(0.5, 0.5), sleep=self.sleep),
        )
        self.reconciler.writer = self.writer
        self.on_sleep: Callable[[], None] = lambda: None

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.on_sleep()
        await asyncio.sleep(0)

    def own(self) -> None:
        """The scope is ours: nobody had it before, or somebody else did."""
        self.writer.outbox.reconcile(fresh_grant(), 0.0)
        self.writer.stats.takeovers += 1
        self.reconciler.granted()

    def says(self, state: FeedState, since: datetime, until_: datetime | None = None) -> None:
        self.reconciler.told(self.writer.status(FeedStatus(state=state, since=since, until=until_)))

    def blind_span(self, span: Span = SPAN) -> None:
        self.says(FeedState.LIVE, SINCE - timedelta(hours=1))
        self.says(FeedState.BLIND, span.since)
        self.says(FeedState.LIVE, span.since, span.until)

    def written(self) -> list[dict[str, Any]]:
        batch = self.writer.outbox.next_batch()
        if batch is None:
            return []
        self.writer.outbox.applied(batch, 0.0)
        return [msgpack.unpackb(item[5]) for item in batch.items]

    def orders(self) -> list[tuple[str, str, bool]]:
        events = [fields for fields in self.written() if "order_id" in fields]
        return [(fields["order_id"], fields["status"], fields.get("reconciled", False)) for fields in events]

    def told(self, cause: Cause) -> list[str]:
        return [str(fields["message"]) for fields in self.written() if fields.get("cause") == cause]

    async def settled(self) -> None:
        await until(lambda: not self.reconciler._due.is_set() and self.reconciler._owed is None)
        for _ in range(50):
            await asyncio.sleep(0)


@asynccontextmanager
async def running(rest: Rest | None, **options: Any) -> AsyncIterator[Desk]:
    desk = Desk(rest, **options)
    task = asyncio.create_task(desk.reconciler.run())
    try:
        yield desk
        assert not task.done(), task
    finally:
        task.cancel()
        await asyncio.wait((task,))


async def test_an_answer_under_an_ownership_that_is_over_is_let_go() -> None:
    rest = Rest()
    async with running(rest) as desk:
        desk.own()
        desk.reconciler.order(*order("1"))
        await desk.settled()
        desk.written()
        rest.gate.clear()
        rest.opened = [order("1", "triggered")[1]]
        desk.blind_span()
        await until(lambda: rest.asked == ["open"])
        desk.writer.outbox.drop()
        desk.reconciler.lost()
        desk.own()
        rest.gate.set()
        await desk.settled()
        assert desk.orders() == []
        assert rest.closed == 1


async def test_a_second_span_while_the_platform_does_not_answer_makes_one_question_of_both() -> None:
    rest = Rest()
    later = Span(SINCE + timedelta(seconds=60), SINCE + timedelta(seconds=70))
    async with running(rest) as desk:
        desk.own()
        await desk.settled()
        rest.faults = [RestError("HTTP 503"), RestError("HTTP 502")]
        rest.newest = [order("1", "filled")[1] | {"filled_at": IN_SPAN}]
        desk.on_sleep = lambda: desk.blind_span(later) if len(desk.slept) == 1 else None
        desk.blind_span()
        await desk.settled()
        assert desk.slept == [1.0, 1.0]
        assert rest.asked == ["open", "open", "open", "since 15:29:50"]
        assert [message for message in desk.told(Cause.ORDERS_UNKNOWN) if "asked" in message] == [UNANSWERED], (
            "told once"
        )


async def test_what_others_handed_out_is_looked_up_before_it_is_called_new() -> None:
    rest = Rest()
    filled = order("done", "filled")[1] | {"filled_at": IN_SPAN}
    rest.newest = [filled, filled | {"order_id": "new"}]
    async with running(rest) as desk:
        desk.own()
        desk.known.final["done"] = filled
        await desk.settled()
        desk.blind_span()
        await desk.settled()
        assert sorted(desk.known.looked_up) == ["done", "new"]
        assert desk.orders() == [("new", "filled", True)]


async def test_nothing_is_told_of_a_span_before_what_redis_holds_was_read() -> None:
    async with running(None) as desk:
        desk.known.gate.clear()
        desk.known.open = [order("left open")[1]]
        desk.own()
        desk.blind_span()
        for _ in range(50):
            await asyncio.sleep(0)
        assert desk.told(Cause.ORDERS_UNKNOWN) == []
        desk.known.gate.set()
        await desk.settled()
        (message,) = desk.told(Cause.ORDERS_UNKNOWN)
        assert "(left open)" in message


async def test_that_redis_cannot_be_read_is_said_and_tried_again_after_the_next_span() -> None:
    async with running(None) as desk:
        desk.known.faults = 3
        desk.known.open = [order("left open")[1]]
        desk.own()
        desk.blind_span()
        await desk.settled()
        assert desk.slept == [0.5, 0.5]
        (message,) = desk.told(Cause.ORDERS_UNKNOWN)
        assert "could not be read from Redis" in message
        desk.blind_span()
        await desk.settled()
        assert "(left open)" in desk.told(Cause.ORDERS_UNKNOWN)[0]


async def test_a_look_that_takes_too_long_is_given_up() -> None:
    rest = Rest()
    async with running(rest, pauses=0) as desk:
        desk.reconciler._options = ReconcileOptions(ask_again_s=(), look_s=0.01)
        desk.own()
        rest.gate.clear()
        desk.blind_span()
        await until(lambda: desk.reconciler._unasked is not None)
        assert "not all was answered within 0.01 s" in desk.told(Cause.ORDERS_UNKNOWN)[0]


async def test_events_are_never_held_up_by_a_platform_that_does_not_answer() -> None:
    rest = Rest()
    async with running(rest) as desk:
        rest.gate.clear()
        desk.own()
        desk.blind_span()
        await until(lambda: rest.asked == ["open"])
        desk.reconciler.order(*order("1"))
        desk.reconciler.portfolio("portfolio", {"total_equity": "1"})
        assert [fields.get("order_id") or fields.get("total_equity") for fields in desk.written()][-2:] == ["1", "1"]


async def test_an_answer_that_cannot_be_written_is_counted_as_lost_and_the_rest_is_written() -> None:
    rest = Rest()
    rest.opened = [order("huge")[1] | {"note": "x" * 300_000}, order("small")[1]]
    async with running(rest) as desk:
        desk.own()
        await desk.settled()
        desk.blind_span()
        await desk.settled()
        assert desk.orders() == [("small", "pending", True)]
        assert desk.writer.outbox.buffer.losses
        assert desk.writer.stats.reconciled == 2


async def test_a_grant_that_goes_on_keeps_what_is_known() -> None:
    async with running(None) as desk:
        desk.own()
        await desk.settled()
        desk.reconciler.order(*order("1"))
        desk.known.open = [order("1", "triggered")[1], order("2")[1]]
        desk.reconciler.granted()
        await desk.settled()
        desk.blind_span()
        await desk.settled()
        assert "(1)" in desk.told(Cause.ORDERS_UNKNOWN)[0]


# One look


def truth_with(*order_ids: str) -> AccountTruth:
    truth = AccountTruth()
    for order_id in order_ids:
        truth.order(order(order_id)[1])
    truth.blind(SPAN.since)
    truth.seeing(SPAN.until)
    truth.asking()
    return truth


async def look(rest: Rest, truth: AccountTruth) -> Any:
    return await take_snapshot(cast("RestClient", rest), truth, SPAN, cast("LastKnown", Known()))


async def test_only_orders_that_the_lists_leave_out_are_asked_for_one_by_one() -> None:
    rest = Rest()
    rest.opened = [order("1")[1]]
    rest.newest = [order("2", "filled")[1]]
    rest.single = {"3": order("3", "cancelled")[1]}
    snapshot = await look(rest, truth_with("1", "2", "3", "4"))
    assert rest.asked == ["open", "since 15:29:50", "3", "4"]
    assert [fields["order_id"] for fields in snapshot.orders] == ["2", "3"]
    assert (snapshot.gone, snapshot.gaps) == (frozenset({"4"}), ())


async def test_a_platform_without_a_list_of_orders_leaves_something_unknown() -> None:
    rest = Rest()
    rest.newest = RestError("HTTP 404", status=404)
    rest.worth = RestError("HTTP 500", status=500)
    snapshot = await look(rest, truth_with())
    assert snapshot.gaps == (
        "orders placed and finished while nothing was seen cannot be known (the list of orders: HTTP 404)",
        "the portfolio could not be had (HTTP 500)",
    )


async def test_one_look_asks_a_bounded_number_of_questions() -> None:
    rest = Rest()
    truth = truth_with(*(str(number) for number in range(200)))
    snapshot = await look(rest, truth)
    assert len(rest.asked) == 2 + MAX_SINGLE_ORDERS
    (status,) = truth.answered(SPAN, snapshot).statuses[-1:]
    assert status.count == 200
    assert len(truth.missing([])) == 200 - MAX_SINGLE_ORDERS, "the others are asked for the next time"
