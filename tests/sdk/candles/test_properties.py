"""Random streams of ticks, gaps, blind spans and restarts: the builder says what plain computing says."""

from __future__ import annotations

import random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from agentexchange.candles import BuilderOptions, BuiltCandle, CandleBuilder, CandleDesk, CandleSource
from agentexchange_schemas import Topic

from ._reference import LENGTHS, Reference

SYMBOLS = ("BTCUSDT", "ETHUSDT", "X")
BEFORE_MIDNIGHT = 1_767_225_600_000 - 7 * 60_000  # 2025-12-31T23:53:00Z
OPTIONS = BuilderOptions(catch_up_ms=10**12)

PRICES = ["1.0", "1.00", "2", "0.5", "64521.30000000", "64521.3", "1e2", "100", "0.00000001"]
QUANTITIES = [None, "0", "0.01200000", "1.5", "3", "0.000000000000000001", "12345678901234567890.1"]
prices, quantities = st.sampled_from(PRICES), st.sampled_from(QUANTITIES)
symbols = st.sampled_from(SYMBOLS)
pauses = st.one_of(st.integers(0, 3_000), st.integers(0, 90_000), st.integers(0, 4 * 3_600_000))

ticks = st.tuples(
    st.just("tick"), symbols, prices, quantities, st.none() | st.integers(-5_000, 500) | st.integers(-120_000, 50_000)
)
wants = st.tuples(st.just("want"), symbols, st.sampled_from(list(LENGTHS)))
blinds = st.tuples(
    st.just("blind"),
    st.none() | symbols,
    st.integers(0, 400_000),
    st.none() | st.integers(0, 100_000),
)
restarts = st.tuples(st.just("restart"), pauses)
steps = st.lists(
    st.tuples(pauses, st.one_of(ticks, ticks, ticks, wants, blinds, restarts, st.just(("close",)))), max_size=60
)


def busy_story(rng: random.Random) -> list[tuple[int, tuple[Any, ...]]]:
    """Many ticks to a minute, most in order, some late, over some minutes to some hours."""
    pace = rng.choice([20, 500, 5_000, 60_000])
    story: list[tuple[int, tuple[Any, ...]]] = []
    for _ in range(rng.randrange(50, 300)):
        kind = rng.choices(["tick", "close", "want", "blind", "restart"], [60, 12, 2, 1, 1])[0]
        symbol = rng.choice(SYMBOLS)
        offset = rng.choice([None, 0, 0, -rng.randrange(30), -rng.randrange(3_000), -rng.randrange(70_000), 40_000])
        what: dict[str, tuple[Any, ...]] = {
            "tick": (symbol, rng.choice(PRICES), rng.choice(QUANTITIES), offset),
            "close": (),
            "want": (symbol, rng.choice(list(LENGTHS))),
            "blind": (rng.choice([None, symbol]), rng.randrange(90_000), rng.choice([None, 0, 5_000])),
            "restart": (rng.choice([0, 3_000, 200_000]),),
        }
        story.append((rng.choice([0, 1, rng.randrange(2 * pace)]), (kind, *what[kind])))
    return story


class Run:
    """One story told to both."""

    def __init__(self, options: BuilderOptions = OPTIONS, *, with_state: bool = True) -> None:
        self.options = options
        self.with_state = with_state
        self.builder = CandleBuilder(options)
        self.reference = Reference(options.allowance_ms)
        self.now = BEFORE_MIDNIGHT * 1000
        self.wanted: list[tuple[str, str]] = []
        self.log: list[dict[str, Any]] = []
        for symbol in SYMBOLS:
            self.want(symbol, "1m")

    def step(self, pause_ms: int, what: tuple[Any, ...]) -> None:
        self.now += pause_ms * 1000 + 7
        getattr(self, what[0])(*what[1:])

    def want(self, symbol: str, interval: str) -> None:
        self.wanted.append((symbol, interval))
        self.builder.want(symbol, interval, self.now)
        self.reference.want(symbol, interval, self.now)

    def tick(self, symbol: str, price: str, quantity: str | None, offset: int | None) -> None:
        time = None if offset is None else self.now // 1000 + offset
        args = (symbol, price, quantity, time, self.now)
        assert self.builder.tick(*args) is self.reference.tick(*args)

    def blind(self, symbol: str | None, ago_ms: int, lasted_ms: int | None) -> None:
        since = self.now - ago_ms * 1000
        until = None if lasted_ms is None else min(self.now, since + lasted_ms * 1000)
        self.builder.blind(since, until, symbol=symbol)
        self.reference.blind(since, until, symbol=symbol)

    def close(self) -> None:
        closed = self.builder.close_due(self.now)
        assert [tuple(candle) for candle in closed] == self.reference.close_due(self.now)
        self.log += [candle.fields for candle in closed]

    @property
    def late(self) -> int:
        return self.builder.stats.late

    def restart(self, pause_ms: int) -> None:
        state, down = self.builder.state(self.now), self.now
        self.now += pause_ms * 1000
        self.builder = CandleBuilder(self.options)
        for symbol, interval in self.wanted:
            self.builder.want(symbol, interval, self.now)
        self.builder.restore(self.log, state, self.now)
        self.reference.restarted(down, self.now)


class DeskRun(Run):
    """The same stories, told to a desk."""

    def __init__(self) -> None:
        self.desk = CandleDesk(CandleSource.BUILD, options=OPTIONS)
        super().__init__()
        self._begin_in_our_time()

    def _begin_in_our_time(self) -> None:
        """A first tick, of a symbol that nobody wants: without, a late one would make it a feed of the past."""
        self.desk.tick("NOBODY", "1", None, self.now // 1000, self.now)

    def want(self, symbol: str, interval: str) -> None:
        is_new = symbol not in self.desk.symbols
        self.wanted.append((symbol, interval))
        self.desk.want(Topic.candles(symbol, interval), self.now)
        self.desk.settle(lambda _topic: True, self.now)
        self.reference.want(symbol, interval, self.now)
        if is_new:
            self.reference.blind(self.now, self.now, symbol=symbol)

    @property
    def late(self) -> int:
        return self.desk.stats.builder.late

    def tick(self, symbol: str, price: str, quantity: str | None, offset: int | None) -> None:
        time = None if offset is None else self.now // 1000 + offset
        args = (symbol, price, quantity, time, self.now)
        assert self.desk.tick(*args) is self.reference.tick(*args)

    def blind(self, symbol: str | None, ago_ms: int, lasted_ms: int | None) -> None:
        """A span that is over, or one that lasts until the ticker has settled again."""
        since = self.now - ago_ms * 1000
        until = self.now if lasted_ms is None else min(self.now, since + lasted_ms * 1000)
        if lasted_ms is None:
            self.desk.blind(since, symbol=symbol)
        self.desk.blind(since, until, symbol=symbol)
        self.desk.settle(lambda _topic: True, self.now)
        self.reference.blind(since, until, symbol=symbol)

    def close(self) -> None:
        candles = [candle for candle in self.desk.poll(self.now) if candle.fields["is_closed"]]
        expected = [BuiltCandle(*candle) for candle in self.reference.close_due(self.now)]
        assert candles == expected
        self.log += [candle.fields for candle in candles]

    def restart(self, pause_ms: int) -> None:
        state, down = self.desk.state(self.now), self.now
        self.now += pause_ms * 1000
        self.desk = CandleDesk(CandleSource.BUILD, options=OPTIONS)
        for symbol, interval in self.wanted:
            self.desk.want(Topic.candles(symbol, interval), self.now)
        self.desk.settle(lambda _topic: True, self.now)
        self.desk.restore(self.log, state, self.now)
        self._begin_in_our_time()
        self.reference.restarted(down, self.now)


@settings(max_examples=150, deadline=None)
@given(steps)
def test_every_candle_of_a_desk_is_what_its_ticks_say(story: list[tuple[int, tuple[Any, ...]]]) -> None:
    check(DeskRun(), story)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32))
def test_the_same_of_a_desk_over_long_and_busy_streams(seed: int) -> None:
    check(DeskRun(), busy_story(random.Random(seed)))


@settings(max_examples=300, deadline=None)
@given(steps)
def test_every_candle_is_what_its_ticks_say(story: list[tuple[int, tuple[Any, ...]]]) -> None:
    check(Run(), story)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32))
def test_the_same_over_long_and_busy_streams(seed: int) -> None:
    check(Run(), busy_story(random.Random(seed)))


def check(run: Run, story: list[tuple[int, tuple[Any, ...]]]) -> None:
    for pause, what in story:
        run.step(pause, what)
    run.step(180_000, ("close",))
    assert run.late <= run.reference.late  # a restart begins to count anew
    told = [(fields["symbol"], fields["interval"], fields["open_time"]) for fields in run.log]
    assert len(told) == len(set(told))
    for topic in {name[:2] for name in told}:
        times = [name[2] for name in told if name[:2] == topic]
        assert times == sorted(times)
    for fields in run.log:
        assert list(fields) == list(run.log[0])
