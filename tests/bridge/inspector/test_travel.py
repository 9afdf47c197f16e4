"""A viewer's past over a history in memory, with a clock of the test's."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING, Any

import pytest

from agentexchange import ConnectionError as PublicConnectionError
from agentexchange_bridge.inspector.board import Notices
from agentexchange_bridge.inspector.past import MomentOptions, TravelFeed, TravelOptions
from agentexchange_bridge.inspector.views import EventKey
from agentexchange_schemas import FeedState
from agentexchange_schemas.envelope import encode
from tests.bridge.inspector._samples import (
    ACCOUNT,
    CANDLES,
    LOG,
    OTHER,
    OWN,
    SECOND,
    START_US,
    ListHistory,
    candle,
    order,
    portfolio,
    read,
    status,
    tick,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class Clock:
    """Time that passes only where somebody sleeps; `asyncio.sleep(0)` lets others run."""

    def __init__(self) -> None:
        self.now = 100.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds
        await asyncio.sleep(0)


def market(count: int, *, every_us: int = SECOND) -> list[bytes]:
    """Ticks of three symbols in turns."""
    return [
        tick(number * every_us, f"{number}.0", symbol=("A1", "B2", "C3")[number % 3], seq=number // 3 + 1)
        for number in range(count)
    ]


def travel(history: ListHistory, *notices: tuple[int, Any], **options: Any) -> TravelFeed:
    known = Notices()
    for at_us, one in notices:
        known.add("m0", START_US + at_us, one)
    return TravelFeed(history, known, source="test", options=TravelOptions(**options))


@pytest.fixture
async def clock() -> Clock:
    return Clock()


@pytest.fixture
async def feed(clock: Clock) -> AsyncIterator[TravelFeed]:
    """A minute and a half of the market, a candle, and an account."""
    history = ListHistory(
        {
            LOG: market(90),
            CANDLES: [candle(60 * SECOND + 5, 0)],
            ACCOUNT: [order(10 * SECOND + 1), portfolio(20 * SECOND + 1), order(30 * SECOND + 1, status="filled")],
        }
    )
    made = travel(history, clock=clock, sleep=clock.sleep)
    yield made
    await made.close()


def prices(feed: TravelFeed) -> dict[str, str]:
    return {row.symbol: row.price for row in feed.prices()[1]}


async def test_it_shows_the_moment_it_goes_to(feed: TravelFeed) -> None:
    await feed.go(START_US + 10 * SECOND + 500_000)
    assert prices(feed) == {"A1": "9.0", "B2": "10.0", "C3": "8.0"}
    assert (feed.at_us, feed.is_playing) == (START_US + 10 * SECOND + 500_000, False)
    assert list(feed.symbols()) == ["A1", "B2", "C3"]
    ages = {row.symbol: row.age_s for row in feed.prices()[1]}
    assert ages == {"A1": 1.5, "B2": 0.5, "C3": 2.5}
    await feed.go(START_US + 1)
    assert prices(feed) == {"A1": "0.0"}


async def test_going_anywhere_changes_every_row(feed: TravelFeed) -> None:
    await feed.go(START_US + 60 * SECOND)
    version = feed.prices()[0]
    await feed.go(START_US + 5 * SECOND)
    changed = feed.prices(version)
    assert len(changed[1]) == 3
    assert changed[0] > version


async def test_the_account_as_it_was_then(feed: TravelFeed) -> None:
    await feed.go(START_US + 15 * SECOND)
    assert list(feed.accounts()) == [OWN]
    view = feed.account(OWN)
    assert ([row.status for row in view.orders], view.portfolio) == (["pending"], None)
    await feed.go(START_US + 40 * SECOND)
    view = feed.account(OWN)
    assert ([row.status for row in view.orders], view.portfolio_us) == (["filled"], START_US + 20 * SECOND + 1)
    assert feed.account(OTHER).orders == ()


async def test_candles_up_to_the_moment(feed: TravelFeed) -> None:
    await feed.go(START_US + 60 * SECOND)
    assert await feed.candles("BTCUSDT", "1m") == []
    await feed.go(START_US + 61 * SECOND)
    assert [bar.close for bar in await feed.candles("btcusdt", "1m")] == [2.0]
    with pytest.raises(ValueError, match="interval"):
        await feed.candles("BTCUSDT", "2m")


async def test_candles_that_come_while_it_moves_are_added(feed: TravelFeed) -> None:
    await feed.go(START_US + 60 * SECOND)
    assert await feed.candles("BTCUSDT", "1m") == []
    await feed.step(1)
    assert feed.at_us == START_US + 60 * SECOND + 5
    assert len(await feed.candles("BTCUSDT", "1m")) == 1


async def test_steps_go_event_by_event_over_all_logs(feed: TravelFeed) -> None:
    await feed.go(START_US + 9 * SECOND + 500_000)
    places = []
    for _ in range(3):
        await feed.step()
        places.append(feed.at_us - START_US)
    assert places == [10 * SECOND, 10 * SECOND + 1, 11 * SECOND]
    assert prices(feed)["C3"] == "11.0"
    await feed.step(-1)
    assert feed.at_us == START_US + 10 * SECOND + 1
    await feed.step(-2)
    assert feed.at_us == START_US + 9 * SECOND
    assert prices(feed) == {"A1": "9.0", "B2": "7.0", "C3": "8.0"}
    await feed.step(0)
    assert feed.at_us == START_US + 9 * SECOND


async def test_steps_end_at_both_ends(feed: TravelFeed) -> None:
    await feed.go(START_US + SECOND)
    await feed.step(-10)
    assert feed.at_us == START_US
    await feed.step(-1)
    assert feed.at_us == START_US
    await feed.go(START_US + 88 * SECOND)
    await feed.step(10)
    assert feed.at_us == START_US + 89 * SECOND
    await feed.step()
    assert feed.at_us == START_US + 89 * SECOND


async def played(feed: TravelFeed, clock: Clock, seconds: float) -> None:
    """Let others run until so much time has passed, or it stands still."""
    until = clock.now + seconds
    for _ in range(1_000_000):
        if clock.now >= until - 1e-6 or not feed.is_playing:
            return
        await asyncio.sleep(0)


@pytest.mark.parametrize("speed", [1, 10])
async def test_time_passes_at_the_speed_asked_for(feed: TravelFeed, clock: Clock, speed: float) -> None:
    await feed.go(START_US + 10 * SECOND)
    feed.play(speed)
    assert (feed.is_playing, feed.speed) == (True, speed)
    await played(feed, clock, 5)
    feed.pause()
    gone = (feed.at_us - START_US) / SECOND - 10
    assert gone == pytest.approx(5 * speed, abs=0.2 * speed)
    assert not feed.is_playing
    shown = prices(feed)
    await feed.go(feed.at_us)
    assert prices(feed) == shown


async def test_it_plays_to_the_end_and_stops(feed: TravelFeed, clock: Clock) -> None:
    await feed.go(START_US + 80 * SECOND)
    feed.play(100)
    await played(feed, clock, 60)
    assert (feed.is_playing, feed.at_us) == (False, START_US + 89 * SECOND)
    feed.play(1)
    await played(feed, clock, 60)
    assert (feed.is_playing, feed.at_us) == (False, START_US + 89 * SECOND)


async def test_who_goes_elsewhere_plays_on_from_there(feed: TravelFeed, clock: Clock) -> None:
    await feed.go(START_US)
    feed.play(1)
    await played(feed, clock, 2)
    await feed.go(START_US + 50 * SECOND)
    assert feed.is_playing
    await played(feed, clock, 3)
    feed.pause()
    assert (feed.at_us - START_US) / SECOND == pytest.approx(53, abs=0.3)


async def test_a_step_after_a_pause_in_the_middle_of_a_read_misses_nothing(clock: Clock) -> None:
    entered, go_on = asyncio.Event(), asyncio.Event()

    class Slow(ListHistory):
        async def forth(self, *args: Any, **more: Any) -> Any:
            entered.set()
            await go_on.wait()
            return await super().forth(*args, **more)

    feed = travel(Slow({LOG: market(30)}), clock=clock, sleep=clock.sleep)
    await feed.go(START_US + 5 * SECOND)
    feed.play(1)
    await entered.wait()
    feed.pause()
    go_on.set()
    await feed.step()
    assert feed.at_us == START_US + 6 * SECOND
    await feed.close()
    await feed.close()


async def test_what_is_too_much_to_be_seen_is_jumped_over(clock: Clock) -> None:
    rare = tick(0, "7.0", symbol="RARE")
    history = ListHistory({LOG: [rare, *(tick(at * 1_000, f"{at}.0") for at in range(1, 60_000))]})
    feed = travel(
        history,
        clock=clock,
        sleep=clock.sleep,
        frame_events=100,
        moment=MomentOptions(page=100, entries=100, probes=1, probe_entries=10),
    )
    await feed.go(START_US)
    history.read = 0
    feed.play(10)  # a thousand events in a frame
    await played(feed, clock, 2)
    feed.pause()
    gone_ms = (feed.at_us - START_US) // 1_000
    assert gone_ms == pytest.approx(20_000, abs=3_000)
    assert prices(feed) == {"RARE": "7.0", "BTCUSDT": f"{gone_ms}.0"}
    assert history.read < gone_ms / 2
    await feed.close()


async def test_of_many_moves_at_once_the_last_counts(feed: TravelFeed) -> None:
    boards: list[Any] = []
    feed._show = lambda at_us, show=feed._show: boards.append(at_us) or show(at_us)  # type: ignore[method-assign,func-returns-value,misc]
    await asyncio.gather(*(feed.go(START_US + at * SECOND) for at in range(50)))
    assert feed.at_us == START_US + 49 * SECOND
    assert len(boards) <= 2


async def test_a_board_that_was_gone_to_is_the_one_that_was_played_to() -> None:
    dice = random.Random(11)
    for _ in range(10):
        raws = [
            tick(at, f"{dice.randint(1, 9)}.0", symbol=dice.choice(["A1", "B2", "C3", "D4"]))
            for at in sorted(dice.sample(range(20 * SECOND), 300))
        ]
        history = ListHistory({LOG: raws})
        moment = MomentOptions(page=dice.choice([10, 100, 1000]))
        gone, stepped = travel(history, moment=moment), travel(history, moment=moment)
        until_us = START_US + dice.randrange(20 * SECOND)
        await gone.go(until_us)
        await stepped.go(START_US)
        await stepped.step(sum(read(raw).received_us <= until_us for raw in raws) - (stepped.symbols() != []))
        assert {row.symbol: (row.price, row.received_us) for row in gone.prices()[1]} == {
            row.symbol: (row.price, row.received_us) for row in stepped.prices()[1]
        }
        await gone.close()
        await stepped.close()


async def test_symbols_beyond_what_may_be_read_are_left_out() -> None:
    raws = [tick(0, symbol="OLD"), *(tick(at, symbol="NEW") for at in range(1, 5_000))]
    history = ListHistory({LOG: raws})
    feed = travel(history, moment=MomentOptions(page=500, entries=2_000, probes=3, probe_entries=100))
    await feed.go(START_US + 5_000)
    assert list(feed.symbols()) == ["NEW"]
    assert history.read <= 3_500


async def test_events_of_then_and_before() -> None:
    history = ListHistory({LOG: market(500), ACCOUNT: [order(100 * SECOND)]})
    feed = travel(history)
    await feed.go(START_US + 100 * SECOND)
    rows = await feed.events(limit=3)
    assert [(row.kind, row.key.received_us - START_US) for row in rows] == [
        ("ticker", 100 * SECOND),
        ("orders", 100 * SECOND),
        ("ticker", 99 * SECOND),
    ]
    more = await feed.events(before=rows[0].key, limit=2)
    assert more == rows[1:]
    seen, before = [], None
    while page := await feed.events(filter_text="B2", before=before, limit=7):
        seen += page
        before = page[-1].key
    assert [row.key.received_us - START_US for row in seen] == [at * SECOND for at in range(100, 0, -3)]
    with pytest.raises(ValueError, match="at character"):
        await feed.events(filter_text="price >")


async def test_a_search_is_bounded() -> None:
    history = ListHistory({LOG: market(60_000, every_us=10)})
    feed = travel(history)
    await feed.go(START_US + SECOND)
    history.read = 0
    assert await feed.events(filter_text="price = 1") == []
    assert history.read <= 44_000


async def test_an_event_with_the_frame_that_was_kept() -> None:
    kept = encode("ticker:A", 7, 1, None, START_US + 1, {"price": "1"}, frame="as it came")
    raws = [*market(1), kept]
    feed = travel(ListHistory({LOG: raws}))
    await feed.go(START_US + SECOND)
    details = [await feed.event(row.key) for row in await feed.events(limit=10)]
    assert {detail.row.key.topic: detail.frame for detail in details if detail} == {
        "ticker:A": "as it came",
        "ticker:A1": None,
    }


async def test_one_event_with_its_neighbours() -> None:
    history = ListHistory({LOG: market(30), CANDLES: [candle(SECOND, 0)]})
    feed = travel(history)
    await feed.go(START_US + 29 * SECOND)
    (row,) = await feed.events(filter_text="seq = 5 and topic = 'ticker:A1'")
    detail = await feed.event(row.key)
    assert detail is not None
    assert (detail.row, detail.fields["price"]) == (row, "12.0")
    assert [one.key.seq for one in detail.before] == [2, 3, 4]
    assert [one.key.seq for one in detail.after] == [6, 7, 8]
    assert detail.log_id == f"{(START_US + 12 * SECOND) // 1000}-0"
    assert detail.size == len(market(13)[-1])
    key = row.key
    for wrong in (
        EventKey(key.scope, key.topic, key.epoch, 6, key.received_us),
        EventKey(key.scope, "ticker:B2", key.epoch, key.seq, key.received_us),
        EventKey(OTHER, key.topic, key.epoch, key.seq, key.received_us),
        EventKey(key.scope, key.topic, key.epoch, key.seq, key.received_us + 1),
    ):
        assert await feed.event(wrong) is None


async def states(feed: TravelFeed, at_s: float) -> tuple[FeedState, FeedState, int]:
    """Of the scope and of its tick, and how many gaps there are."""
    await feed.go(START_US + round(at_s * SECOND))
    return feed.overview().scopes[0].state, feed.prices()[1][0].state, len(feed.gaps())


async def test_states_are_those_of_the_spans_that_contain_the_moment() -> None:
    """A dead bridge is told of by the next one: at the moment itself nobody knew."""
    notices = [
        (25 * SECOND, status(FeedState.BLIND, 18 * SECOND, cause="takeover", message="gone")),
        (25 * SECOND + 1, status(FeedState.LIVE, 18 * SECOND, until_us=24 * SECOND, cause="takeover")),
        (50 * SECOND, status(FeedState.AUTH_FAILED, 50 * SECOND, cause="upstream_refused")),
        (30 * SECOND, status(FeedState.LIVE, 29 * SECOND, until_us=40 * SECOND, cause="conflated", count=3)),
    ]
    feed = travel(ListHistory({LOG: market(60)}), *notices)
    live, blind, failed = FeedState.LIVE, FeedState.BLIND, FeedState.AUTH_FAILED
    assert await states(feed, 10) == (live, live, 0)
    assert await states(feed, 20) == (blind, blind, 1)
    assert feed.overview().scopes[0].message == "gone"
    assert feed.overview().scopes[0].since_us == START_US + 18 * SECOND
    assert await states(feed, 24.5) == (live, live, 1)
    assert await states(feed, 35) == (live, live, 2)
    assert await states(feed, 55) == (failed, failed, 3)


async def test_one_topics_span_is_its_own() -> None:
    feed = travel(
        ListHistory({LOG: market(60)}), (20 * SECOND, status(FeedState.STALE, 15 * SECOND, topic="ticker:B2"))
    )
    await feed.go(START_US + 30 * SECOND)
    told = {row.symbol: row.state for row in feed.prices()[1]}
    assert told == {"A1": FeedState.LIVE, "B2": FeedState.STALE, "C3": FeedState.LIVE}


async def test_states_change_as_time_passes(clock: Clock) -> None:
    span = (25 * SECOND, status(FeedState.LIVE, 18 * SECOND, until_us=21 * SECOND, cause="reconnected"))
    feed = travel(ListHistory({LOG: market(60)}), span, clock=clock, sleep=clock.sleep)
    await feed.go(START_US + 17 * SECOND)
    seen = [feed.overview().scopes[0].state]
    for _ in range(5):
        await feed.step()
        seen.append(feed.overview().scopes[0].state)
    live, blind = FeedState.LIVE, FeedState.BLIND
    assert seen == [live, blind, blind, blind, live, live]
    await feed.go(START_US + 17 * SECOND)
    feed.play(1)
    await played(feed, clock, 2)
    assert feed.overview().scopes[0].state is blind
    await feed.close()


async def test_the_overview_of_then() -> None:
    feed = travel(ListHistory({LOG: market(90), ACCOUNT: []}))
    await feed.go(START_US + 50 * SECOND)
    overview = feed.overview()
    assert (overview.at_us, overview.source, overview.clients, overview.workers) == (feed.at_us, "test", (), ())
    scopes = {scope.scope: scope for scope in overview.scopes}
    assert scopes["m0"].events_per_s == pytest.approx(1.0, abs=0.2)
    assert (scopes["m0"].topics, scopes["m0"].last_event_us, scopes["m0"].lag_ms) == (3, feed.at_us, None)
    assert scopes[OWN].state is FeedState.CONNECTING
    assert [(log.key, log.entries) for log in overview.logs] == [(f"{OWN}:log", 0), ("m0:log", 90)]


async def test_nothing_recorded_is_nothing_shown() -> None:
    feed = travel(ListHistory({LOG: []}))
    await feed.go(START_US)
    assert feed.prices()[1] == []
    await feed.step()
    await feed.step(-1)
    feed.play(1)
    await asyncio.sleep(0)
    assert await feed.events() == []
    await feed.close()


async def test_a_list_that_is_looked_at_again_and_again_reads_only_what_is_new() -> None:
    history = ListHistory({LOG: market(50_000, every_us=10_000)})
    feed = travel(history)
    await feed.go(START_US + 400 * SECOND)
    (row,) = await feed.events(filter_text="price = 39999")
    history.read = 0
    for _ in range(20):
        assert await feed.events(filter_text="price = 39999") == [row]
    assert history.read == 0
    await feed.step(5)
    assert [row.summary for row in await feed.events(filter_text="price > 40002", limit=2)] == [
        "price 40005.0, quantity 2",
        "price 40004.0, quantity 2",
    ]
    await feed.step(-3)
    assert await feed.events(filter_text="price > 40002") == []


async def test_a_pair_whose_candles_nobody_wants_is_drawn_from_its_ticks(clock: Clock) -> None:
    raws = [tick(at * SECOND, f"{at}.0", symbol="A1") for at in range(200)]
    other = [tick(at * SECOND + 1, "7.0", symbol="B2") for at in range(200)]
    feed = travel(ListHistory({LOG: [*raws, *other], CANDLES: []}), clock=clock, sleep=clock.sleep)
    await feed.go(START_US + 150 * SECOND)
    bars = await feed.candles("A1", "1m")
    begin_s = START_US // SECOND
    starts = [at for at in range(begin_s, begin_s + 151) if at % 60 == 0]  # the first minute was not seen whole
    assert [bar.open_time_ms // 1_000 for bar in bars] == starts
    assert [bar.open for bar in bars] == [start - begin_s for start in starts]
    assert (bars[-1].close, bars[-1].is_closed) == (150.0, False)
    feed.play(10)
    await played(feed, clock, 3)
    await feed.close()
    on = await feed.candles("A1", "1m")
    await feed.go(feed.at_us)
    assert await feed.candles("A1", "1m") == on  # as if it had been read
    assert on[-1].close == (feed.at_us - START_US) // SECOND


async def test_a_chart_that_cannot_be_read_is_tried_again() -> None:
    class Away(ListHistory):
        is_away = False

        async def back(self, *args: Any, **more: Any) -> Any:
            if self.is_away:
                raise PublicConnectionError("away")
            return await super().back(*args, **more)

    history = Away({LOG: market(200), CANDLES: [candle(5, 0)]})
    feed = travel(history)
    await feed.go(START_US + 100 * SECOND)
    history.is_away = True
    with pytest.raises(PublicConnectionError):
        await feed.candles("BTCUSDT", "1m")
    history.is_away = False
    assert len(await feed.candles("BTCUSDT", "1m")) == 1
