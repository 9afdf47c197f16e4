"""Where each topic stands among the lanes: which one delivers it, and who takes what one brings. No I/O."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from agentexchange_schemas import Topic

from ._allocation import WILDCARD, is_single
from ._moves import Step

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ._allocation import Allocation
    from ._handover import Handover
    from ._lane import Lane, Take
    from ._options import FeedSink

__all__ = ["Routes"]


class Routes:
    """Reads what is decided (``allocation``), on its way (``handover``) and open (``lanes``), and changes none of it.

    Args:
        sink: takes the events of topics at rest.
        allocation: which lane holds what.
        handover: takes the events of topics that move.
        lanes: the open ones.
        private: whether orders and portfolio are taken.

    Attributes:
        unclaimed: events that nobody took.
    """

    def __init__(
        self, sink: FeedSink, allocation: Allocation, handover: Handover, lanes: Mapping[int, Lane], *, private: bool
    ) -> None:
        self._sink = sink
        self._allocation = allocation
        self._handover = handover
        self._moves = handover.moves
        self._lanes = lanes
        self._private = private
        self.unclaimed = 0

    # Of topics

    def owner(self, topic: Topic) -> int | None:
        """The lane that delivers a wanted topic, or is to."""
        if (move := self._moves.get(str(topic))) is not None:
            return move.owner
        if topic not in self._allocation.wanted:
            return None
        return self._allocation.places.get(self._allocation.wire_of(topic))

    def topics_of(self, number: int) -> list[str]:
        """The wanted topics that a lane delivers, as text."""
        return [str(topic) for topic in self._allocation.wanted if self.owner(topic) == number]

    def holds(self, topic: Topic) -> bool:
        """Whether upstream has acknowledged ``topic``, or what it rides on."""
        wire = self._allocation.wire_of(topic)
        return any(lane.holds(wire) for lane in self._lanes.values()) and topic in self._allocation.wanted

    def has_settled(self, topic: Topic) -> bool:
        """Whether the sessions are past upstream's answer for ``topic``, or there is none to wait for."""
        allocation = self._allocation
        if topic not in allocation.wanted:
            return False
        move = self._moves.get(str(topic))
        if move is not None and move.step is not Step.ENDED:
            return self._is_past_answer(move.old, move.old_wire)
        wire = allocation.wire_of(topic)
        if wire not in allocation.places:
            return wire in allocation.refused.keys() | allocation.without_room | allocation.left_out
        return self._is_past_answer(allocation.places[wire], wire)

    def _is_past_answer(self, number: int, wire: Topic) -> bool:
        lane = self._lanes.get(number)
        return lane is not None and (lane.has_settled(wire) or (lane.is_unreached and len(self._lanes) > 1))

    # Of events

    def taker(self, number: int, topic: str) -> Take:
        """Who takes the events of ``topic`` that come from a lane."""
        if number not in self._lanes:
            return self._drop
        take = self._taker_of_fresh(number, topic)
        echo = self._moves.echo(number, topic)
        return take if echo is None else partial(self._handover.after_echo, echo, take)

    def _taker_of_fresh(self, number: int, topic: str) -> Take:
        """The same, of those that are no repeats of an earlier move."""
        if (move := self._moves.get(topic)) is not None:
            if move.new == number:
                return partial(self._handover.from_new, move)
            return partial(self._handover.from_old, move) if move.owner == number else self._drop
        return self._sink.on_event if self._is_from(number, Topic.parse(topic)) else self._drop

    def _is_from(self, number: int, topic: Topic) -> bool:
        """Whether events of ``topic`` are to be taken from a lane."""
        if topic.is_private and not self._private:
            return False
        allocation = self._allocation
        owner = self.owner(topic)
        if owner is None and is_single(topic) and allocation.is_folded:
            # all symbols come, though nobody asked for this one
            return allocation.places.get(WILDCARD) == number and WILDCARD in allocation.wanted
        return owner == number or (owner is None and len(self._lanes) == 1)

    def _drop(self, _topic: str, _fields: dict[str, Any]) -> None:
        self.unclaimed += 1
