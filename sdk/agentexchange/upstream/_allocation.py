"""Which session holds which subscription: decisions only, no I/O.

The platform takes so many subscriptions per session. `Allocation` knows what is wanted, opens as many lanes (sessions
kept up) as that needs, fills them evenly, and takes single tickers as ``ticker:all`` where they are too many. What it
decides is carried out by its owner, who reports back: a subscription that is to be left keeps its place in its lane
until upstream has let it go.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from agentexchange_schemas import ALL, Kind, Topic

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["WILDCARD", "Allocation", "Decision", "is_single"]

WILDCARD: Final = Topic.ticker(ALL)

_BACK: Final = 0.8
"""Singles are taken one by one again when they are fewer than this share of the bound: no flapping around it."""

_SPARE_SHARE: Final = 4
"""A lane is emptied into the others where a quarter of a lane stays free: the next topic is not to open it again."""


def is_single(topic: Topic) -> bool:
    """Whether this is the ticker of one symbol."""
    return topic.kind is Kind.TICKER and not topic.is_wildcard


@dataclass(slots=True)
class Decision:
    """What is to be done, in this order. A topic is named with its lane.

    Attributes:
        opened: lanes to open.
        left: subscriptions that are not to stay where they are; `Allocation.released` ends them.
        sacrificed: of those, the ones that are in the way of ``ticker:all``: to be left at once.
        placed: subscriptions to make.
        closed: lanes that hold nothing.
        without_room: required topics for which there is no room, that had not been told so.
    """

    opened: list[int] = field(default_factory=list)
    left: list[tuple[Topic, int]] = field(default_factory=list)
    sacrificed: list[tuple[Topic, int]] = field(default_factory=list)
    placed: list[tuple[Topic, int]] = field(default_factory=list)
    closed: list[int] = field(default_factory=list)
    without_room: list[Topic] = field(default_factory=list)


class Allocation:
    """Where each wanted topic is subscribed.

    Args:
        max_lanes: how many there may be.
        capacity: subscriptions that a lane is expected to take; less is learned from upstream's answers.
        fold_from: with more symbols than this, ``ticker:all`` is taken instead; None: never.

    Attributes:
        wanted: each wanted topic, and whether it is required.
        places: each subscription that is made or to be made, and its lane.
        leaving: subscriptions that are not to stay and not yet released, by lane.
        refused: what upstream refuses, and the lane that was told so.
        without_room: required topics that have no place.
        left_out: optional topics that have none.
        unreached: lanes to which there is no way at the moment: others are preferred.
        is_folded: whether single tickers ride on ``ticker:all``.
    """

    def __init__(self, *, max_lanes: int, capacity: int, fold_from: int | None) -> None:
        self._max_lanes = max_lanes
        self._fold_from = fold_from
        self._caps: dict[int, int] = {}
        self._newest = 0
        self._sacrificed: Topic | None = None
        self.capacity = capacity
        self.wanted: dict[Topic, bool] = {}
        self.places: dict[Topic, int] = {}
        self.leaving: dict[int, dict[Topic, None]] = {}
        self.refused: dict[Topic, int] = {}
        self.without_room: set[Topic] = set()
        self.left_out: set[Topic] = set()
        self.unreached: set[int] = set()
        self.is_folded = False

    @property
    def lanes(self) -> Iterable[int]:
        """The open lanes, oldest first."""
        return self.leaving.keys()

    # What is wanted

    def want(self, topic: Topic, *, optional: bool = False) -> bool:
        """Want ``topic``; what upstream refused is asked for again. A required topic stays required.

        Returns:
            Whether that changes anything.
        """
        before = self.wanted.get(topic)
        self.wanted[topic] = bool(before) or not optional
        return self.refused.pop(topic, None) is not None or before is not self.wanted[topic]

    def unwant(self, topic: Topic) -> None:
        """Want ``topic`` no more."""
        self.wanted.pop(topic, None)
        self.refused.pop(topic, None)
        self.without_room.discard(topic)
        self.left_out.discard(topic)

    def wire_of(self, topic: Topic) -> Topic:
        """What ``topic`` is subscribed as."""
        return WILDCARD if self.is_folded and is_single(topic) else topic

    def elsewhere(self, wire: Topic) -> list[tuple[Topic, Topic]]:
        """What is wanted of ``wire``, which is not to stay where it is, each with what it is to come as instead."""
        if wire in self.places:
            return [(wire, wire)]
        if is_single(wire) and self.is_folded and wire in self.wanted:
            return [(wire, WILDCARD)]
        if wire == WILDCARD and not self.is_folded:
            out = self.refused.keys() | self.without_room
            return [(topic, topic) for topic in self.wanted if is_single(topic) and topic not in out]
        return []

    # What upstream does

    def released(self, topic: Topic, lane: int) -> None:
        """``lane`` holds ``topic`` no more."""
        self.leaving.get(lane, {}).pop(topic, None)
        if topic == self._sacrificed:
            self._sacrificed = None

    def kept(self, topic: Topic, lane: int) -> None:
        """``topic``, which was to be left, stays where it is after all."""
        del self.leaving[lane][topic]
        self.places[topic] = lane

    def refuse(self, topic: Topic, lane: int) -> None:
        """Upstream does not serve ``topic``: it is not asked for again before `began`."""
        self.places.pop(topic, None)
        self.refused[topic] = lane

    def allowed(self, topic: Topic, lane: int) -> bool:
        """Whether ``lane`` serves ``topic`` after all: the error taken for its refusal was about something else."""
        if self.refused.get(topic) != lane:
            return False
        del self.refused[topic]
        self.places[topic] = lane
        return True

    def limited(self, topic: Topic, lane: int, held: int) -> None:
        """``lane`` takes no more than the ``held`` subscriptions that it has: ``topic`` is to go elsewhere."""
        if held == 0:
            self.refuse(topic, lane)
            return
        self.places.pop(topic, None)
        self.capacity = min(self.capacity, held)
        self._caps[lane] = self._loads()[lane]

    def began(self, lane: int) -> None:
        """``lane`` has a new session: what was refused on its last one is asked for again."""
        self._caps.pop(lane, None)
        self.unreached.discard(lane)
        for topic in [topic for topic, told in self.refused.items() if told == lane]:
            del self.refused[topic]

    # Decisions

    def decide(self, *, is_moving: bool = False) -> Decision:
        """Bring places in line with what is wanted; the decision is taken to be carried out.

        Args:
            is_moving: symbols are on their way between ``ticker:all`` and singles: no other change between them.
        """
        decision = Decision()
        if not is_moving:
            self.is_folded = self._folds()
        targets = self._targets()
        self._leave({topic for group in targets for topic in group}, decision)
        required, optional = ([topic for topic in group if topic not in self.places] for group in targets)
        waiting = self._place(required, decision)
        # an optional topic gets what is left over
        given_up = self._make_room(waiting, decision)
        if not waiting:
            self._place([topic for topic in optional if topic not in given_up], decision)
        self.left_out = {topic for topic in targets[1] if topic not in self.places}
        self._close(decision)
        if not is_moving and not any(self.leaving.values()):
            self._gather(decision)
        return decision

    def _folds(self) -> bool:
        """Whether single tickers are to be taken as ``ticker:all``."""
        if WILDCARD in self.refused:
            return False
        if WILDCARD in self.wanted:
            return True
        singles = sum(required and is_single(topic) for topic, required in self.wanted.items())
        if self._fold_from is None or not singles:
            return False
        # one place stays free for the way over, which is made before it is needed
        room = self._max_lanes * self.capacity - 1
        others = sum(required and not is_single(topic) for topic, required in self.wanted.items())
        share = _BACK if self.is_folded and WILDCARD in self.places else 1.0
        return singles > self._fold_from * share or singles + others > room * share

    def _targets(self) -> tuple[list[Topic], list[Topic]]:
        """What is to be subscribed, the required first: the wildcard, what is private, then as it was wanted."""
        required: dict[Topic, None] = {WILDCARD: None} if self.is_folded else {}
        wanted = [topic for topic in self.wanted if topic not in self.refused and self._is_own(topic)]
        required |= {topic: None for topic in wanted if topic.is_private and self.wanted[topic]}
        required |= {topic: None for topic in wanted if self.wanted[topic]}
        return list(required), [topic for topic in wanted if topic not in required]

    def _is_own(self, topic: Topic) -> bool:
        """Whether ``topic`` is subscribed under its own name."""
        return self.wire_of(topic) == topic and (self.is_folded or not topic.is_wildcard)

    def _leave(self, targets: set[Topic], decision: Decision) -> None:
        for topic, lane in [item for item in self.places.items() if item[0] not in targets]:
            self._give_up(topic, lane, decision)

    def _give_up(self, topic: Topic, lane: int, decision: Decision) -> None:
        del self.places[topic]
        self.leaving[lane][topic] = None
        decision.left.append((topic, lane))

    def _place(self, topics: list[Topic], decision: Decision) -> list[Topic]:
        """Find a place for each; returns those for which there is none."""
        for topic in topics:
            self._stay(topic, decision)
        topics = [topic for topic in topics if topic not in self.places]
        loads = self._loads()
        self._open(len(topics), loads, decision)
        waiting, reserved = [], self._reserved()
        for topic in topics:
            lane = self._lane_for(topic, loads, reserved)
            if lane is None:
                waiting.append(topic)
                continue
            self.places[topic] = lane
            reserved = self._reserved() if topic.is_private else reserved
            loads[lane] += 1
            decision.placed.append((topic, lane))
        return waiting

    def _stay(self, topic: Topic, decision: Decision) -> None:
        """What is being left and wanted again gets its own place back."""
        lane = next((lane for lane, topics in self.leaving.items() if topic in topics), None)
        if lane is not None:
            self.kept(topic, lane)
            decision.placed.append((topic, lane))

    def _open(self, count: int, loads: Counter[int], decision: Decision) -> None:
        """Open the lanes that ``count`` more subscriptions need; one is always open."""
        lacking = count - sum(max(0, self._cap(lane) - loads[lane]) for lane in self.leaving)
        while len(self.leaving) < self._max_lanes and (lacking > 0 or not self.leaving):
            self._newest += 1
            self.leaving[self._newest] = {}
            decision.opened.append(self._newest)
            lacking -= self.capacity

    def _lane_for(self, topic: Topic, loads: Counter[int], reserved: int | None) -> int | None:
        """The emptiest lane with room; ``reserved`` is the one where there should be room for a private topic."""
        free = [lane for lane in self.leaving if loads[lane] < self._cap(lane)]
        if topic.is_private and reserved in free:
            return reserved
        return min(
            free,
            key=lambda lane: (lane in self.unreached, loads[lane] + (lane == reserved), lane),
            default=None,
        )

    def _reserved(self) -> int | None:
        """The lane that has one of an account's two topics: the other is to be beside it."""
        private = [lane for topic, lane in self.places.items() if topic.is_private]
        return private[0] if len(private) == 1 else None

    def _make_room(self, waiting: list[Topic], decision: Decision) -> set[Topic]:
        """Give up what is optional for what is required; what finds no room all the same is told once.

        Returns:
            What is given up.
        """
        leaving = [topic for topics in self.leaving.values() for topic in topics]
        # what is left only once others have found their places makes no room for these
        bound = [topic for topic in leaving if topic.is_wildcard or (is_single(topic) and WILDCARD in waiting)]
        optional = [topic for topic in self.places if not self.wanted.get(topic, True)]
        given_up = optional[: max(0, len(waiting) - len(leaving) + len(bound))]
        for topic in given_up:
            self._give_up(topic, self.places[topic], decision)
        if WILDCARD in waiting and not given_up:
            self._sacrifice(decision)
        lost = set(waiting[len(leaving) + len(given_up) :])
        decision.without_room = [topic for topic in waiting if topic in lost - self.without_room]
        self.without_room = lost
        return set(given_up)

    def _sacrifice(self, decision: Decision) -> None:
        """The singles wait for the wildcard, and the wildcard for a place: one of them has to go first."""
        held = [(topic, lane) for lane, topics in self.leaving.items() for topic in topics]
        singles = [(topic, lane) for topic, lane in held if is_single(topic)]
        if self._sacrificed is None and len(singles) == len(held) > 0:
            decision.sacrificed = singles[-1:]
            self._sacrificed = singles[-1][0]

    def _gather(self, decision: Decision) -> None:
        """Empty a lane where the others have room for all that it holds, with some to spare.

        Not one with private topics, nor the wildcard's: these stay.
        """
        loads = self._loads()
        staying = {lane for topic, lane in self.places.items() if topic.is_private or topic.is_wildcard}
        lanes = [lane for lane in self.leaving if lane not in staying]
        if not lanes or len(self.leaving) == 1:
            return
        emptied = min(lanes, key=lambda lane: (loads[lane], -lane))
        room = sum(max(0, self._cap(lane) - loads[lane]) for lane in self.leaving if lane != emptied)
        if loads[emptied] > room - self.capacity // _SPARE_SHARE:
            return
        loads[emptied] = self._cap(emptied)
        reserved = self._reserved()
        for topic in [topic for topic, lane in self.places.items() if lane == emptied]:
            self._give_up(topic, emptied, decision)
            lane = self._lane_for(topic, loads, reserved)
            assert lane is not None  # noqa: S101 - there is room, as was counted
            self.places[topic] = lane
            loads[lane] += 1
            decision.placed.append((topic, lane))

    def _close(self, decision: Decision) -> None:
        """Close what is empty, but the oldest where all are."""
        loads = self._loads()
        empty = [lane for lane in self.leaving if not loads[lane]]
        for lane in empty[len(empty) == len(self.leaving) :]:
            del self.leaving[lane]
            self._caps.pop(lane, None)
            self.unreached.discard(lane)
            decision.closed.append(lane)

    def _cap(self, lane: int) -> int:
        return min(self.capacity, self._caps.get(lane, self.capacity))

    def _loads(self) -> Counter[int]:
        loads = Counter(self.places.values())
        for lane, topics in self.leaving.items():
            loads[lane] += len(topics)
        return loads
