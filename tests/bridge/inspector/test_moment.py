"""A board as of a moment: what is read for it, and what is not."""

from __future__ import annotations

import random

import pytest

from agentexchange.recording import Lane
from agentexchange_bridge.inspector.board import Board
from agentexchange_bridge.inspector.past import MomentOptions, board_at
from agentexchange_schemas import FeedState
from tests.bridge.inspector._samples import (
    LOG,
    OWN,
    SECOND,
    START_US,
    ListHistory,
    notice,
    order,
    portfolio,
    read,
    tick,
)


async def shown(history: ListHistory, at_us: int, **options: int) -> Board:
    board = Board(lane.scope for lane in history.lanes)
    await board_at(history, board, START_US + at_us, MomentOptions(**options))
    return board


async def test_the_newest_before_the_moment_wins_whatever_the_pages() -> None:
    dice = random.Random(5)
    raws = [tick(at, f"{at}.0", symbol=f"S{dice.randrange(20)}") for at in dice.sample(range(100_000), 2_000)]
    for page in (1, 7, 500):
        board = await shown(ListHistory({LOG: raws}), 50_000, page=page)
        wanted: dict[str, str] = {}
        for raw in sorted(raws, key=lambda raw: read(raw).received_us):
            if read(raw).received_us <= START_US + 50_000:
                wanted[read(raw).data["symbol"]] = read(raw).data["price"]
        assert {row.symbol: row.price for row in board.prices(0, START_US)[1]} == wanted


async def test_samples_are_what_prices_were_over_the_last_minutes() -> None:
    raws = [tick(at * SECOND // 10, f"{at}.0") for at in range(6_000)]  # ten minutes, ten a second
    board = await shown(ListHistory({LOG: raws}), 600 * SECOND)
    (row,) = board.prices(0, START_US + 600 * SECOND)[1]
    assert 18 <= len(row.spark) <= 22
    assert row.spark == tuple(sorted(row.spark))
    assert (row.spark[0], row.spark[-1]) == (pytest.approx(3_000, abs=200), 5_999.0)


async def test_a_quiet_log_is_not_read_again_for_each_sample() -> None:
    history = ListHistory({LOG: [tick(at) for at in range(400)]})
    board = await shown(history, 200 * SECOND)
    assert len(board.symbols()) == 1
    assert history.read < 2_000


async def test_several_market_scopes_share_what_may_be_read() -> None:
    lanes = {Lane(f"m{n}", "log"): [tick(at, symbol=f"P{n}") for at in range(0, 60_000, 2)] for n in range(4)}
    lanes[Lane("m0", "log")] += [tick(-1, symbol="FARBACK")]  # so that each is read as far as it may be
    history = ListHistory(lanes)
    board = await shown(history, 60_000, entries=8_000, probes=1, probe_entries=400)
    assert list(board.symbols()) == ["P0", "P1", "P2", "P3"]
    assert history.read <= 8_000 + 400 + 4 * 500


async def test_an_accounts_orders_reach_back_further_than_a_page() -> None:
    raws = [order(at, f"o-{at}") for at in range(1_500)] + [portfolio(1_500)]
    board = await shown(ListHistory({Lane(OWN, "log"): raws}), 10_000)
    assert len(board._accounts[OWN]._orders) == 1_500
    assert board.account(OWN).portfolio is not None


async def test_two_lives_of_a_log_are_one_market() -> None:
    """A recording has a lane for each: their rates add up, and the newest tick of both is shown."""
    lanes = {
        Lane("m0", "log", "first"): [tick(at * 10_000, "1") for at in range(1_000)],
        Lane("m0", "log", "second"): [tick(at * 10_000 + 5, "2") for at in range(1_000)],
    }
    board = await shown(ListHistory(lanes), 10 * SECOND)
    assert [row.price for row in board.prices(0, START_US)[1]] == ["2"]
    assert board.meters["m0"].rate == pytest.approx(200, rel=0.05)


@pytest.mark.parametrize(("at_s", "rate"), [(10, 100), (12, 60), (60, 0)])
async def test_the_rate_of_the_moment(at_s: int, rate: float) -> None:
    raws = [tick(at * 10_000) for at in range(1_000)]  # ten seconds
    for page in (50, 500):
        board = await shown(ListHistory({LOG: raws}), at_s * SECOND, page=page)
        if at_s == 10 or page == 500:
            assert board.meters["m0"].rate == pytest.approx(rate, rel=0.05)


async def test_notices_on_the_way_are_kept() -> None:
    lost = notice(500, FeedState.BLIND, 400, cause="upstream_lost")
    board = await shown(ListHistory({LOG: [*(tick(at) for at in range(1_000) if at != 500), lost]}), 1_000, page=100)
    # every topic was found in the first page: what lies further back is the survey's
    assert board.notices.gaps() == []
    board = await shown(ListHistory({LOG: [*(tick(at) for at in range(450, 550) if at != 500), lost]}), 1_000)
    assert [gap.cause for gap in board.notices.gaps()] == ["upstream_lost"]
