"""The market: the same for a seed, plausible, and cheap."""

from __future__ import annotations

import time
from collections import Counter
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest

from agentexchange.testing._dialect import LiveDialect
from agentexchange.testing._engine import Pacer
from agentexchange.testing._frames import text_frame
from agentexchange.testing._market import Market, decimal_text
from agentexchange.testing._pairs import MAX_PAIRS, make_pairs

STAMP = "2026-02-23T15:30:45.123Z"
Tick = tuple[str, str, str, str, bool]


def record(*fields: Any) -> Any:
    return fields


def ticks(count: int, *, pairs: int = 600, seed: int = 1, wanted: Any = None) -> list[Tick]:
    market = Market(make_pairs(pairs, seed), seed)
    return [tick for _, tick in market.ticks(count, STAMP, encode=record, wanted=wanted)]  # type: ignore[misc]


def test_a_seed_gives_the_same_ticks_again_and_another_seed_others() -> None:
    assert ticks(500) == ticks(500)
    assert ticks(500) != ticks(500, seed=2)


def test_batches_do_not_change_the_sequence() -> None:
    market = Market(make_pairs(600, 1), 1)
    parts = [market.ticks(n, STAMP, encode=record, wanted=None) for n in (1, 0, 99, 400)]  # type: ignore[arg-type]
    assert [tick for part in parts for _, tick in part] == ticks(500)


def test_what_nobody_wants_moves_unseen() -> None:
    wanted = ticks(3000, wanted={"BTCUSDT"})
    assert wanted
    assert wanted == [tick for tick in ticks(3000) if tick[0] == "BTCUSDT"]


def test_the_leaders_come_first_and_names_are_unique() -> None:
    symbols = [spec.symbol for spec in make_pairs(MAX_PAIRS, 1)]
    assert symbols[:3] == ["BTCUSDT", "ETHUSDT", "SOLUSDT"]
    assert len(set(symbols)) == len(symbols) >= 600


@pytest.mark.parametrize("count", [0, -1, MAX_PAIRS + 1])
def test_impossible_numbers_of_pairs(count: int) -> None:
    with pytest.raises(ValueError, match=str(MAX_PAIRS)):
        make_pairs(count, 1)


def test_decimal_places_are_fixed_and_leave_room_for_exact_products() -> None:
    for spec in make_pairs(MAX_PAIRS, 1):
        assert 2 <= spec.price_decimals <= 8
        assert 0 <= spec.lot_decimals <= 8 - spec.price_decimals
        assert spec.price >= 500
    places: dict[str, int] = {spec.symbol: spec.price_decimals for spec in make_pairs(600, 1)}
    for symbol, price, quantity, *_ in ticks(20_000):
        assert Decimal(price) > 0
        assert Decimal(quantity) > 0
        assert Decimal(price) % Decimal(1).scaleb(-places[symbol]) == 0


def test_prices_stay_near_and_move() -> None:
    start = {s.symbol: Decimal(s.price).scaleb(-s.price_decimals) for s in make_pairs(600, 1)}
    seen: dict[str, set[str]] = {}
    for symbol, price, *_ in ticks(50_000):
        seen.setdefault(symbol, set()).add(price)
        assert abs(Decimal(price) / start[symbol] - 1) < Decimal("0.5")
    assert len(seen["BTCUSDT"]) > 1000


def test_the_walk_has_no_drift() -> None:
    prices = [Decimal(price) for symbol, price, *_ in ticks(50_000) if symbol == "BTCUSDT"]
    ups = sum(later > earlier for earlier, later in pairwise(prices))
    downs = sum(later < earlier for earlier, later in pairwise(prices))
    assert 0.47 < ups / (ups + downs) < 0.53


def test_few_pairs_make_most_ticks_and_every_pair_ticks() -> None:
    counts = Counter(tick[0] for tick in ticks(200_000))
    assert len(counts) == 600
    assert sum(n for _, n in counts.most_common(60)) > 100_000


def test_both_sides_and_sizes_of_trades() -> None:
    btc = [tick for tick in ticks(20_000) if tick[0] == "BTCUSDT"]
    makers = sum(tick[4] for tick in btc)
    assert 0.4 < makers / len(btc) < 0.6
    sizes = sorted(Decimal(tick[2]) for tick in btc)
    assert sizes[-1] > 20 * sizes[len(sizes) // 2]


@pytest.mark.parametrize(
    ("units", "scale", "text"),
    [
        (6452130, 10**6, "64521.30000000"),
        (1, 1, "0.00000001"),
        (0, 1, "0.00000000"),
        (123, 10**8, "123.00000000"),
    ],
)
def test_decimal_text(units: int, scale: int, text: str) -> None:
    assert decimal_text(units, scale) == text


def test_a_pair_s_price_from_a_string() -> None:
    pair = Market(make_pairs(1, 1), 1).pairs["BTCUSDT"]
    assert pair.price_units("64521.3") == 6452130
    assert pair.lot_units("0.01200000") == 1200
    for junk in ("", "x", "NaN", "Infinity", "-1", "0", "1e99"):
        assert pair.price_units(junk) is None


def test_pacer_gives_the_rate_without_drift() -> None:
    pacer = Pacer(0.0)
    assert sum(pacer.due(step / 100, 333.0) for step in range(1, 1001)) in (3329, 3330)


def test_pacer_lets_a_long_pause_go() -> None:
    pacer = Pacer(0.0)
    assert pacer.due(1000.0, 1000.0) == 250


def test_a_tick_costs_microseconds() -> None:
    """Made and encoded: measured 1.5 to 2.5 µs; the bound leaves room for a loaded machine."""
    market, dialect = Market(make_pairs(600, 1), 1), LiveDialect()
    market.ticks(1000, STAMP, encode=lambda *tick: text_frame(dialect.tick(*tick)), wanted=None)
    costs = []
    for _ in range(5):
        begin = time.process_time()
        market.ticks(5000, STAMP, encode=lambda *tick: text_frame(dialect.tick(*tick)), wanted=None)
        costs.append((time.process_time() - begin) / 5000)
    assert min(costs) < 10e-6
