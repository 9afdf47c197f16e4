"""Topics on their way from one session to another: what each step is and when the next is due. No I/O."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Any

from ._overlap import Overlap

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from datetime import datetime

    from agentexchange_schemas import Topic

__all__ = ["Move", "Moves", "Step"]


class Step(IntEnum):
    """How far a move is. Until it is `ENDED`, the old lane delivers."""

    UNASKED = 0
    """The new lane has no session yet, or no place."""
    ASKED = 1
    SERVED = 2
    """The new lane has its answer; a first tick from it is to prove that it flows."""
    LEAVING = 3
    """The old subscription is being ended."""
    ENDED = 4
    """The new lane delivers, but what it repeats."""


@dataclass(slots=True, eq=False)
class Move:
    """One topic's move: from the lane ``old``, where it is subscribed as ``old_wire``, to ``new``."""

    topic: Topic
    old: int
    old_wire: Topic
    new_wire: Topic
    overlap: Overlap
    since: datetime
    new: int | None = None
    step: Step = Step.UNASKED
    is_proved: bool = False
    heard: datetime | None = None
    """Of an old session that was lost: when it was last heard."""

    @property
    def owner(self) -> int | None:
        """The lane whose state is the topic's."""
        return self.new if self.step is Step.ENDED else self.old

    def begin_again(self) -> None:
        """The new lane has to be asked anew: what it brought so far leads nowhere."""
        self.step, self.is_proved = Step.UNASKED, False
        self.overlap.restart()

    def end(self, *, heard: datetime | None = None) -> list[dict[str, Any]]:
        """The old session has brought its last tick: what goes out. ``heard``: it was lost, and last heard then."""
        self.step, self.heard = Step.ENDED, heard
        return self.overlap.old_ended(lost=heard is not None)


class Moves:
    """All moves, by the topic's text. One is over when it is gone from here."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._moves: dict[str, Move] = {}
        self._echoes: dict[tuple[int | None, str], Move] = {}

    def __iter__(self) -> Iterator[Move]:
        return iter(tuple(self._moves.values()))

    def get(self, topic: str) -> Move | None:
        """The move of ``topic``."""
        return self._moves.get(topic)

    @property
    def is_busy(self) -> bool:
        """Whether any subscription is still to be made or left."""
        return any(move.step is not Step.ENDED for move in self._moves.values())

    def begin(self, topic: Topic, *, old: int, old_wire: Topic, new_wire: Topic, now: datetime) -> None:
        """``topic`` is to move; `bind` says where to. Its last move may have ended, and its lane still repeat."""
        overlap = Overlap(self._limit)
        last = self._moves.get(str(topic))
        if last is not None and last.step is Step.ENDED and last.new is not None:
            self._echoes[last.new, str(topic)] = last
        self._moves[str(topic)] = Move(topic, old, old_wire, new_wire, overlap, now)

    def bind(self, wire: Topic, lane: int) -> None:
        """``lane`` is to hold ``wire``. Within one lane nothing moves: its session does the switching."""
        for move in self:
            if move.new is None and move.new_wire == wire:
                move.new = lane
                if move.old == lane:
                    self.drop(move)

    def unbind(self, wire: Topic, lane: int) -> None:
        """``lane`` cannot hold ``wire``."""
        for move in self._to(lane, wire):
            move.new = None
            move.begin_again()

    def echo(self, lane: int, topic: str) -> Move | None:
        """The earlier move of ``topic``, which moves on already, whose repeats ``lane`` may still bring."""
        return self._echoes.get((lane, topic))

    def drop(self, move: Move) -> None:
        """It is over, or leads nowhere."""
        topic = str(move.topic)
        if self._moves.get(topic) is move:
            del self._moves[topic]
        if self._echoes.get((move.new, topic)) is move:
            del self._echoes[move.new, topic]

    def unwanted(self, topic: str) -> None:
        """Nobody wants ``topic`` any more, or it is left before there is another way to have it."""
        self._moves.pop(topic, None)
        self._forget_echoes(lambda key: key[1] == topic)

    def asked(self, lane: int, wire: Topic | None = None) -> None:
        """``lane`` asks for ``wire``, or on a new session for all that it is to hold."""
        for move in self._to(lane, wire):
            if move.step is Step.UNASKED:
                move.overlap.restart()
                move.step = Step.ASKED

    def served(self, lane: int, wire: Topic) -> list[Move]:
        """``lane`` holds ``wire`` now: the moves that wait for their first tick from here on."""
        served = [move for move in self._to(lane, wire) if move.step is Step.ASKED]
        for move in served:
            move.step = Step.SERVED
        return served

    def due(self) -> list[tuple[Topic, int]]:
        """Old subscriptions to leave now, as everything that they bring is served elsewhere."""
        groups: dict[tuple[Topic, int], list[Move]] = {}
        for move in self._moves.values():
            if move.step is not Step.ENDED:
                groups.setdefault((move.old_wire, move.old), []).append(move)
        ready = [old for old, moves in groups.items() if all(map(_is_ready, moves))]
        for move in [move for old in ready for move in groups[old]]:
            move.step = Step.LEAVING
            move.overlap.leaving()
        return ready

    def on(self, lane: int, wire: Topic | None = None) -> list[Move]:
        """The moves for which ``lane`` still delivers (as ``wire``)."""
        return [
            move for move in self if move.old == lane and wire in (None, move.old_wire) and move.step is not Step.ENDED
        ]

    def lost_by_new(self, lane: int) -> None:
        """The session of ``lane``, to which topics move, is gone."""
        self._forget_echoes(lambda key: key[0] == lane)
        for move in self._to(lane, None):
            if move.step is Step.ENDED:
                self.drop(move)
            elif move.step is Step.LEAVING:
                move.overlap.cut()
            else:
                move.begin_again()

    def lost_by_old(self, lane: int) -> Iterable[Move]:
        """The session of ``lane``, from which topics move, is gone: the moves that end by that.

        The others go on: their lane will have a session again before the new one is there, for all that is known.
        """
        ending = []
        for move in self.on(lane):
            if move.step >= Step.SERVED:
                ending.append(move)
            else:
                move.overlap.restart()
        return ending

    def forget(self) -> None:
        """All sessions are replaced: nothing that they brought goes out any more."""
        self._echoes.clear()
        for move in self:
            if move.step >= Step.LEAVING:
                self.drop(move)
            else:
                move.begin_again()

    def _forget_echoes(self, is_over: Callable[[tuple[int | None, str]], bool]) -> None:
        for key in filter(is_over, tuple(self._echoes)):
            del self._echoes[key]

    def _to(self, lane: int, wire: Topic | None) -> list[Move]:
        return [move for move in self if move.new == lane and wire in (None, move.new_wire)]


def _is_ready(move: Move) -> bool:
    return move.step is Step.SERVED and (move.is_proved or move.overlap.has_proof)
