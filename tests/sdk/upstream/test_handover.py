"""Topics that move on before the lane that they came to has caught up."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

import pytest

from agentexchange.upstream._handover import Handover
from agentexchange.upstream._moves import Step
from agentexchange_schemas import Topic
from tests.sdk.upstream._feeds import Sink

if TYPE_CHECKING:
    from collections.abc import Callable

    from agentexchange.upstream._moves import Move, Moves

ALL, ETH = Topic.parse("ticker:all"), Topic.parse("ticker:ETHUSDT")
NOW = datetime(2026, 2, 23, tzinfo=UTC)


class Owner:
    """A pool that takes no notice."""

    def moved(self, move: Move) -> None:
        pass

    def rethink(self) -> None:
        pass

    def now(self) -> datetime:
        return NOW


class Way:
    """ETHUSDT on its way over lanes, from lane 1 on. Prices are letters."""

    def __init__(self) -> None:
        self.sink = Sink()
        self.handover = Handover(self.sink, Owner(), limit=100)
        self.moves = self.handover.moves
        self.at = 1

    def begin(self, lane: int) -> Move:
        """It is to move to ``lane``, which serves it at once."""
        wire = ALL if lane == 2 else ETH
        self.moves.begin(ETH, old=self.at, old_wire=ALL if self.at == 2 else ETH, new_wire=wire, now=NOW)
        move = self.moves.get(str(ETH))
        assert move is not None
        self.moves.bind(wire, lane)
        self.moves.asked(lane, wire)
        self.moves.served(lane, wire)
        self.at = lane
        return move

    def leave(self, move: Move) -> None:
        """Its old lane is to be left, and has not been yet."""
        self.handover.prove([move])
        assert self.moves.due() == [(move.old_wire, move.old)]

    def comes(self, lane: int, prices: str) -> None:
        """``lane`` brings ticks: who takes them is found as a pool finds it."""
        for price in prices:
            move = self.moves.get(str(ETH))
            take = self.sink.on_event
            if move is not None and lane == move.new:
                take = partial(self.handover.from_new, move)
            elif move is not None and lane == move.owner:
                take = partial(self.handover.from_old, move)
            if (echo := self.moves.echo(lane, str(ETH))) is not None:
                take = partial(self.handover.after_echo, echo, take)
            take(str(ETH), {"price": price})

    @property
    def out(self) -> str:
        return "".join(self.sink.prices)


def lagging() -> Way:
    """Lane 2 has the topic from lane 1, and has repeated one of three ticks."""
    way = Way()
    move = way.begin(2)
    way.comes(1, "abc")
    way.comes(2, "a")
    way.leave(move)
    way.handover.end(move)
    assert (move.step, way.out) == (Step.ENDED, "abc")
    return way


def test_a_topic_that_moves_on_takes_no_repeats_of_its_last_move_with_it() -> None:
    """They went out twice."""
    way = lagging()
    move = way.begin(3)
    way.comes(2, "bcd")
    assert way.out == "abcd"
    way.comes(3, "d")
    way.leave(move)
    way.handover.end(move)
    way.comes(3, "e")
    assert (way.out, way.handover.repeats, way.sink.statuses) == ("abcde", 4, [])
    assert not [*way.moves]
    assert way.moves.echo(2, str(ETH)) is None


def test_a_topic_that_changes_within_the_lane_that_still_repeats_takes_no_repeats_either() -> None:
    way = lagging()
    way.begin(2)
    assert not [*way.moves], "the session does the switching"
    way.comes(2, "bcd")
    assert (way.out, way.handover.repeats) == ("abcd", 3)
    assert way.moves.echo(2, str(ETH)) is None


def test_a_lane_that_is_left_has_repeated_what_it_had_to() -> None:
    """What waits, because more repeats might follow, goes out when none can."""
    way = Way()
    move = way.begin(2)
    way.comes(1, "abab")
    way.leave(move)
    way.handover.end(move)
    move = way.begin(3)
    way.comes(2, "ab")
    assert way.out == "abab"
    way.comes(3, "x")
    way.leave(move)
    way.comes(2, "x")
    way.handover.end(move)
    way.comes(3, "y")
    assert way.out == "ababxy"


@pytest.mark.parametrize("is_lost", [False, True])
def test_what_waits_for_more_repeats_goes_out_when_the_lane_is_left_not_when_it_is_lost(*, is_lost: bool) -> None:
    """Of a b a b the second lane brings a b: the last two again, or two that are new and equal to the first."""
    way = Way()
    move = way.begin(2)
    way.comes(1, "abab")
    way.leave(move)
    way.handover.end(move)
    move = way.begin(3)
    way.comes(2, "aba")
    way.leave(move)
    assert way.out == "abab"
    way.handover.end(move, heard=NOW if is_lost else None)
    assert way.out == ("abab" if is_lost else "ababa")
    assert way.moves.echo(2, str(ETH)) is None
    assert str(way.sink.statuses[0].cause) == "overlap", "the repeats may have been others"


@pytest.mark.parametrize("forget", [lambda m: m.unwanted(str(ETH)), lambda m: m.lost_by_new(2), lambda m: m.forget()])
def test_what_is_not_wanted_or_has_lost_its_session_leaves_nothing_behind(forget: Callable[[Moves], None]) -> None:
    way = lagging()
    way.begin(3)
    assert way.moves.echo(2, str(ETH)) is not None
    forget(way.moves)
    assert way.moves.echo(2, str(ETH)) is None
