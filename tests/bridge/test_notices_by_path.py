"""What the log says of each way in which events can be missed: one row per path, with exact times and counts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgpack
import pytest
import structlog

from agentexchange.redis import LinkClosedError
from agentexchange_bridge.items import NOTICE
from agentexchange_bridge.lease import Refused
from agentexchange_bridge.notices import from_us, to_us
from agentexchange_bridge.pipeline import Pipeline
from agentexchange_bridge.stats import UpstreamStats, WorkerStats
from agentexchange_schemas import Cause, FeedState, FeedStatus
from tests.bridge._kit import ACCOUNT, LAYOUT, BufferLimits, RetainLimits, fresh_grant, make_writer, order, ticker

if TYPE_CHECKING:
    from collections.abc import Callable

T0 = 1_700_000_000_000_000
LIVE, STALE, BLIND, AUTH = FeedState.LIVE, FeedState.STALE, FeedState.BLIND, FeedState.AUTH_FAILED
LIMITS = {"buffer": BufferLimits(ticks=4, kept=6), "retain": RetainLimits(age_s=100.0)}


class Story:
    """One worker's market and account scope, on a clock of whole seconds that a row moves."""

    def __init__(self) -> None:
        self.second = 0.0
        self.served = True
        self.writer, self.account = (
            make_writer("redis://127.0.0.1:1", scope, limits=LIMITS, clock=lambda: self.second, wall=self.now_us)
            for scope in ("m0", ACCOUNT)
        )
        self.writers = {"m0": self.writer, ACCOUNT: self.account}
        self.pipe, self.account_pipe = (self._pipe("m0", None), self._pipe(ACCOUNT, ACCOUNT))
        self.told: dict[str, list[FeedStatus]] = {"m0": [], ACCOUNT: []}

    def _pipe(self, scope: str, account: str | None) -> Pipeline:
        return Pipeline(
            {scope: self.writers[scope]},
            layout=LAYOUT,
            account=account,
            stats=WorkerStats(),
            upstream=UpstreamStats(scope),
            log=structlog.get_logger(),
            is_served=lambda _scope: self.served,
            wall=self.now_us,
        )

    def now_us(self) -> int:
        return T0 + int(self.second * 1_000_000)

    def at(self, second: float) -> Story:
        self.second = second
        return self

    def grant(self, scope: str = "m0", **changes: Any) -> Story:
        writer = self.writers[scope]
        writer._granted(fresh_grant(**changes), self.second)
        (self.pipe if scope == "m0" else self.account_pipe).catch_up(scope)
        return self

    def feed(self, state: FeedState, since: float, until: float | None = None, cause: Cause | None = None) -> Story:
        ended = None if until is None else from_us(T0 + int(until * 1e6))
        begun = from_us(T0 + int(since * 1e6))
        status = FeedStatus(state=state, since=begun, until=ended, cause=cause)
        self.pipe.on_status(status)
        if state is not STALE:  # an account has no ticks to miss
            self.account_pipe.on_status(status)
        return self

    def ticks(self, *prices: str) -> Story:
        for price in prices:
            self.pipe.on_event(*ticker(price=price))
        return self

    def orders(self, *ids: str) -> Story:
        for name in ids:
            self.writer.order(*order(name))
        return self

    def write(self) -> Story:
        """Everything that waits is acknowledged."""
        for scope, writer in self.writers.items():
            while batch := writer.outbox.next_batch():
                writer._settle(batch, self.second)
                notices = [item for item in batch.items if item[1] == NOTICE]
                self.told[scope] += [FeedStatus.from_fields(msgpack.unpackb(item[5])) for item in notices]
        return self

    def tell_losses(self) -> Story:
        for writer in self.writers.values():
            writer.outbox.tell_losses()
        return self.write()

    def lines(self, scope: str = "m0") -> list[tuple[Any, ...]]:
        """state, cause, since, until, count: times in seconds."""

        def second(time: Any) -> float | None:
            return None if time is None else (to_us(time) - T0) / 1_000_000

        return [(s.state, s.cause, second(s.since), second(s.until), s.count) for s in self.told[scope]]


def live() -> Story:
    """Both scopes live since second 0, with one tick and one order written."""
    story = Story().grant().grant(ACCOUNT).feed(LIVE, 0).ticks("1").orders("1").write()
    assert story.lines() == [(LIVE, None, 0.0, None, None)]
    story.told = {"m0": [], ACCOUNT: []}
    return story


def upstream_lost(story: Story) -> None:
    story.at(5).feed(BLIND, 4, cause=Cause.UPSTREAM_LOST).at(9).feed(LIVE, 4, 9, Cause.RECONNECTED)


def ticks_stop(story: Story) -> None:
    story.at(14).feed(STALE, 4, cause=Cause.UPSTREAM_SILENT).feed(BLIND, 4, cause=Cause.UPSTREAM_SILENT)
    story.at(15).feed(STALE, 4, cause=Cause.UPSTREAM_SILENT).at(30).feed(LIVE, 4, 30, Cause.RECONNECTED)


def key_refused(story: Story) -> None:
    story.at(5).feed(BLIND, 4, cause=Cause.UPSTREAM_REFUSED).at(20).feed(AUTH, 4, cause=Cause.UPSTREAM_REFUSED)
    story.at(90).feed(LIVE, 4, 90, Cause.RECONNECTED)


def redis_away(story: Story) -> None:
    story.at(1).ticks("2").write().at(6)
    story.writer._failed(LinkClosedError("gone"))
    story.at(8).ticks("3").grant(epoch=101, stored_epoch=100, received_us=story.writer.outbox.written_us).write()


def redis_rolled_back(story: Story) -> None:
    known = story.writer.outbox.written_us
    story.at(1).ticks("2", "3").write().at(2).orders("2").write()
    story.at(3).grant(epoch=101, stored_epoch=100, received_us=known)


def redis_wiped(story: Story) -> None:
    story.at(1).ticks("2").write().at(3).grant(epoch=101, log_name="another")


def buffer_full_of_ticks(story: Story) -> None:
    for second in range(1, 6):
        story.at(second).ticks(str(second))
    story.at(9).write().tell_losses()


def buffer_full_of_orders(story: Story) -> None:
    for second in range(1, 9):
        story.at(second).orders(str(second))
    story.at(9).write().tell_losses()


def too_large(story: Story) -> None:
    topic, fields = ticker()
    story.at(2).pipe.on_event(topic, fields | {"note": "x" * 300_000})
    story.tell_losses()


def shut_down(story: Story) -> None:
    story.at(5).writer.stop(T0 + 4_500_000)


def shut_down_while_blind(story: Story) -> None:
    story.at(5).feed(BLIND, 4, cause=Cause.UPSTREAM_LOST).at(6).writer.stop(T0 + 4_500_000)


def fenced_and_back(story: Story) -> None:
    """Another worker had the scope from 5 to 9, and its last word was of 8."""
    story.at(5).ticks("held")
    story.writer._stood_by(Refused("w2/102", 3000), story.second)
    assert story.writer.outbox.held == 0
    status = {"state": "live", "settled": str(T0 + 8_000_000)}
    story.at(9).grant(epoch=103, stored_epoch=102, received_us=T0 + 7_000_000, status=status)


def another_died_while_blind(story: Story) -> None:
    story.writer._stood_by(Refused("w2/102", 3000), story.second)
    status = {"state": "blind", "since": "2023-11-14T22:13:22.000000Z"}
    story.at(9).grant(epoch=103, stored_epoch=102, received_us=T0 + 7_000_000, status=status)


def taken_over_after_a_wipe(story: Story) -> None:
    """Seen held at 5 with a second of its three left to live."""
    story.at(5).writer._stood_by(Refused("w2/102", 1000), story.second)
    story.at(9).grant(epoch=103)


def taken_over_before_upstream_serves_it(story: Story) -> None:
    fenced_and_back_unserved = {"epoch": 103, "stored_epoch": 102, "received_us": T0 + 7_000_000}
    story.writer._stood_by(Refused("w2/102", 3000), story.second)
    story.served = False
    story.at(9).grant(**fenced_and_back_unserved)
    story.at(10).pipe.answered()
    story.served = True
    story.at(11).pipe.answered()


def taken_over_while_upstream_is_away(story: Story) -> None:
    story.at(3).feed(BLIND, 2, cause=Cause.UPSTREAM_LOST).write()
    story.told["m0"].clear()
    story.writer._stood_by(Refused("w2/102", 3000), story.second)
    story.at(9).grant(epoch=103, stored_epoch=102, received_us=T0 + 7_000_000)
    story.at(12).feed(LIVE, 2, 12, Cause.RECONNECTED)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (upstream_lost, [(BLIND, "upstream_lost", 4, None, None), (LIVE, "reconnected", 4, 9, None)]),
        (
            ticks_stop,
            [
                (STALE, "upstream_silent", 4, None, None),
                (BLIND, "upstream_silent", 4, None, None),
                (STALE, "upstream_silent", 4, None, None),
                (LIVE, "reconnected", 4, 30, None),
            ],
        ),
        (
            key_refused,
            [
                (BLIND, "upstream_refused", 4, None, None),
                (AUTH, "upstream_refused", 4, None, None),
                (LIVE, "reconnected", 4, 90, None),
            ],
        ),
        (redis_away, [(LIVE, "redis_lost", 1, 8, None)]),
        (redis_rolled_back, [(LIVE, "log_rolled_back", 1, 2, 2)]),
        # of the new log the first notice of all is written again, too
        (redis_wiped, [(LIVE, None, 0, None, None), (LIVE, "log_replaced", 0, 1, 2)]),
        (buffer_full_of_ticks, [(LIVE, "conflated", 1, 4, 4)]),
        (buffer_full_of_orders, [(LIVE, "dropped", 1, 2, 2)]),
        (too_large, [(LIVE, "dropped", 2, 2, 1)]),
        (shut_down, [(BLIND, "shutdown", 4.5, None, None)]),
        (shut_down_while_blind, [(BLIND, "upstream_lost", 4, None, None), (BLIND, "shutdown", 4, None, None)]),
        (fenced_and_back, [(BLIND, "takeover", 8, None, None), (LIVE, "takeover", 8, 9, None)]),
        (another_died_while_blind, [(BLIND, "takeover", 2, None, None), (LIVE, "takeover", 2, 9, None)]),
        (taken_over_after_a_wipe, [(BLIND, "takeover", 3, None, None), (LIVE, "takeover", 3, 9, None)]),
        (
            taken_over_before_upstream_serves_it,
            [(BLIND, "takeover", 7, None, None), (LIVE, "takeover", 7, 11, None)],
        ),
        (
            taken_over_while_upstream_is_away,
            [
                (BLIND, "takeover", 7, None, None),
                (BLIND, "upstream_lost", 7, None, None),
                (LIVE, "takeover", 7, 12, None),
            ],
        ),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
async def test_each_path_is_told_with_its_times_and_its_count(
    path: Callable[[Story], None], expected: list[tuple[Any, ...]]
) -> None:
    story = live()
    path(story)
    told = story.write().lines()
    assert [(state, cause, *map(_rounded, rest)) for state, cause, *rest in told] == expected


def _rounded(value: float | None) -> float | None:
    """Events of one moment are a microsecond apart."""
    return None if value is None else round(value, 3)


async def test_an_account_that_another_worker_has_tells_nothing_here_until_it_comes() -> None:
    story = live()
    story.account._stood_by(Refused("w2/102", 3000), story.second)
    story.at(5).feed(BLIND, 4, cause=Cause.UPSTREAM_LOST).at(9).feed(LIVE, 4, 9, Cause.RECONNECTED).write()
    assert story.lines(ACCOUNT) == []
    assert len(story.lines()) == 2
    status = {"state": "live", "settled": str(T0 + 19_000_000)}
    story.at(20).grant(ACCOUNT, epoch=103, stored_epoch=102, received_us=T0 + 7_000_000, status=status).write()
    assert story.lines(ACCOUNT) == [(BLIND, "takeover", 19.0, None, None), (LIVE, "takeover", 19.0, 20.0, None)]
    assert len(story.lines()) == 2
