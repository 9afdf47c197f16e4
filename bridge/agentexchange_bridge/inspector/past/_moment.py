"""A board as of a moment: read backwards from there, and decoded only where it is the newest of its topic."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from agentexchange.recording import received_of, topic_of
from agentexchange_bridge.inspector.board import SPAN_US
from agentexchange_schemas import EnvelopeError, Kind
from agentexchange_schemas.envelope import STATUS_TOPIC, decode

if TYPE_CHECKING:
    from collections.abc import Iterable

    from agentexchange.recording import Lane
    from agentexchange_bridge.inspector.board import Board
    from agentexchange_schemas import Envelope

    from ._history import History, Page

__all__ = ["MAIN_LOG", "MomentOptions", "board_at"]

MAIN_LOG: Final = "log"
_TICKER: Final = "ticker:"
_RATED_US: Final = 5_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class MomentOptions:
    """What is read at most, for a market scope unless it says otherwise.

    Attributes:
        page: entries of one read.
        entries: read backwards from the moment.
        probes: looks into the minutes before, for what prices were.
        probe_entries: read at each of them.
        account_entries: read backwards in an account's log.
    """

    page: int = 2_000
    entries: int = 24_000
    probes: int = 20
    probe_entries: int = 700
    account_entries: int = 2_000


async def board_at(history: History, board: Board, at_us: int, options: MomentOptions = MomentOptions()) -> None:
    """Fill an empty board. Symbols with no event among what is read at most are left out.

    Raises:
        ConnectionError: what is read from is away.
    """
    for lane in history.lanes:
        if lane.log != MAIN_LOG:
            continue
        if lane.scope.startswith("a-"):
            found = await _all_of(history, lane, at_us, options)
        else:
            found = await _market(history, lane, at_us, options)
        for envelope in found:
            board.take(lane.scope, envelope)
        board.meters[lane.scope].rate = await _rate(history, lane, at_us, options)


async def _all_of(history: History, lane: Lane, at_us: int, options: MomentOptions) -> list[Envelope]:
    """Every event that is not too old, and orders that have been open since before."""
    page = await history.back(lane, at_us + 1, options.account_entries)
    latest = await history.newest(lane.scope, [Kind.ORDERS, Kind.PORTFOLIO], at_us + 1)
    return _decoded([*latest, *page.raws])


async def _market(history: History, lane: Lane, at_us: int, options: MomentOptions) -> list[Envelope]:
    raws = await _newest(history, lane, at_us, options)
    step_us = SPAN_US // options.probes
    for probe in range(1, options.probes + 1):
        page = await history.back(lane, at_us + 1 - probe * step_us, options.probe_entries)
        raws += _newest_of(page).values()
        if not page.raws and page.edge_us is None:
            break  # nothing is that old
    return _decoded(raws)


async def _rate(history: History, lane: Lane, at_us: int, options: MomentOptions) -> float:
    """Events a second in the last seconds before the moment, or in as much of them as a page holds."""
    page = await history.back(lane, at_us + 1, options.page)
    places = [received_us for received_us in map(_received_of, page.raws) if received_us > at_us - _RATED_US]
    if len(places) < len(page.raws) or page.edge_us is None:
        return len(places) * 1_000_000 / _RATED_US
    return len(places) * 1_000_000 / max(1, at_us - places[-1])


async def _newest(history: History, lane: Lane, at_us: int, options: MomentOptions) -> list[bytes]:
    """The newest tick of each topic, and the notices on the way."""
    wanted = {topic for topic in await history.topics(lane.scope) if topic.startswith(_TICKER)}
    found: dict[str, bytes] = {}
    notices: list[bytes] = []
    edge_us: int | None = at_us + 1
    read = 0
    while edge_us is not None and read < options.entries and not (wanted and found.keys() >= wanted):
        page = await history.back(lane, edge_us, options.page)
        notices += _notices_of(page)
        found = _newest_of(page) | found
        read += page.read
        edge_us = page.edge_us
    missing = sorted(wanted - found.keys())
    return [*found.values(), *notices, *await history.newest(lane.scope, missing, at_us + 1)]


def _newest_of(page: Page) -> dict[str, bytes]:
    """The newest tick of each topic in a page that was read backwards."""
    found: dict[str, bytes] = {}
    for raw in reversed(page.raws):
        topic = _topic(raw)
        if topic.startswith(_TICKER):
            found[topic] = raw
    return found


def _notices_of(page: Page) -> list[bytes]:
    return [raw for raw in page.raws if _topic(raw) == STATUS_TOPIC]


def _received_of(raw: bytes) -> int:
    try:
        return received_of(raw)
    except EnvelopeError:
        return 0


def _topic(raw: bytes) -> str:
    try:
        return topic_of(raw)
    except EnvelopeError:
        return ""


def _decoded(raws: Iterable[bytes]) -> list[Envelope]:
    """The envelopes, the oldest first; what is none is left out."""
    found = []
    for raw in raws:
        try:
            found.append(decode(raw))
        except EnvelopeError:
            continue
    return sorted(found, key=_received)


def _received(envelope: Envelope) -> int:
    return envelope.received_us
