"""Delivering topics in the middle of their way from one lane to another."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final, Protocol

from agentexchange_schemas import Cause, FeedState, FeedStatus

from ._moves import Move, Moves, Step

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from ._lane import Take
    from ._options import FeedSink

__all__ = ["Handover", "HandoverOwner"]

_log: Final = logging.getLogger("agentexchange.upstream")


class HandoverOwner(Protocol):
    """What a handover needs of its pool."""

    def moved(self, move: Move) -> None:
        """The new lane delivers from now on."""

    def rethink(self) -> None:
        """Who delivers what has changed, or something else may be due."""

    def now(self) -> datetime:
        """Wall time."""


class Handover:
    """Takes what old and new lanes bring of moving topics, and hands on what is to go out.

    Attributes:
        moves: the moves.
        repeats: events that both lanes brought.
        ambiguous: moves after which it is not certain that all those were.
    """

    def __init__(self, sink: FeedSink, owner: HandoverOwner, *, limit: int) -> None:
        self.moves = Moves(limit)
        self.repeats = self.ambiguous = 0
        self._sink = sink
        self._owner = owner

    def from_old(self, move: Move, topic: str, fields: dict[str, Any]) -> None:
        """An event of a moving topic from its old lane."""
        if move.step is not Step.UNASKED:
            move.overlap.old(fields)
        self._sink.on_event(topic, fields)

    def from_new(self, move: Move, topic: str, fields: dict[str, Any]) -> None:
        """An event of a moving topic from its new lane."""
        had_proof = move.overlap.has_proof
        self._deliver(move, topic, move.overlap.new(fields))
        if not had_proof:
            self._owner.rethink()
        if move.overlap.is_full:
            self.end(move, heard=self._owner.now())

    def after_echo(self, earlier: Move, take: Take, topic: str, fields: dict[str, Any]) -> None:
        """An event on its way to ``take``, from a lane that may still repeat what it did not bring ``earlier``."""
        for tick in earlier.overlap.new(fields):
            take(topic, tick)
        if earlier.overlap.is_done:
            self._over(earlier)

    def end(self, move: Move, *, heard: datetime | None = None) -> None:
        """The old lane has brought its last of a topic. ``heard``: it broke off, and was last heard then."""
        self._end_echo(move, lost=heard is not None)
        ticks = move.end(heard=heard)
        self._owner.moved(move)
        self._deliver(move, str(move.topic), ticks)
        self._owner.rethink()

    def end_all(self, moves: Iterable[Move]) -> None:
        """Upstream does not say that it has let go of their old subscriptions: wait for it no longer."""
        for move in moves:
            if move.step is Step.LEAVING and self.moves.get(str(move.topic)) is move:
                self.end(move, heard=self._owner.now())

    def prove(self, moves: Iterable[Move]) -> None:
        """The new lane has had its time to bring a first tick."""
        for move in moves:
            move.is_proved = True
        self._owner.rethink()

    def _end_echo(self, move: Move, *, lost: bool) -> None:
        """The old lane of ``move`` repeats nothing any more: what waits for more repeats waits in vain."""
        topic = str(move.topic)
        if (earlier := self.moves.echo(move.old, topic)) is not None:
            for fields in earlier.overlap.new_ended(lost=lost):
                self.from_old(move, topic, fields)
            self._over(earlier)

    def _deliver(self, move: Move, topic: str, ticks: Iterable[dict[str, Any]]) -> None:
        for fields in ticks:
            self._sink.on_event(topic, fields)
        if move.overlap.is_done:
            self._over(move)

    def _over(self, move: Move) -> None:
        """The new lane delivers without a look back from here on."""
        self.moves.drop(move)
        self._owner.rethink()
        overlap = move.overlap
        self.repeats += overlap.repeats
        if not overlap.is_joined:
            message = "its session was lost while it moved to another: ticks in between may be missing"
            self._tell(move, since=move.heard or move.since, count=None, message=message)
        elif overlap.ambiguous:
            self.ambiguous += 1
            message = "equal ticks while it moved to another session: some may have been taken for repeats"
            self._tell(move, since=move.since, count=overlap.ambiguous, message=message)

    def _tell(self, move: Move, *, since: datetime, count: int | None, message: str) -> None:
        _log.warning("%s: %s", move.topic, message)
        self._sink.on_status(
            FeedStatus(
                topic=str(move.topic),
                state=FeedState.LIVE,
                since=since,
                until=self._owner.now(),
                cause=Cause.OVERLAP,
                count=count,
                message=message,
            )
        )
