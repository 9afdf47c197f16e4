"""A board as of a moment: read backwards from there, and decoded only where it is the newest of its topic."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from agentexchange.recording import received_of, topic_of
from agentexchange_bridge.inspector.board import SPAN_US
from agentexchange_schemas import EnvelopeError, Kind
from agentexchange_schemas.envelope import STATUS_TOPIC, decode

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

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
    """What is read at most, of all market scopes together unless it says otherwise.

    Attributes:
        page: entries of one read.
        entries: read backwards from the moment.
        probes: looks into the minutes before, for what prices were.
        probe_entries: read at each of them.
        account_entries: read backwards in each account's log.
    """

    page: int = 500
    entries: int = 24_000
    probes: int = 20
    probe_entries: int = 500
    account_entries: int = 2_000


async def board_at(history: History, board: Board, at_us: int, options: MomentOptions = MomentOptions()) -> None:
    """Bring a board up to a moment. Symbols with no event among what is read at most are left as they are.

    Raises:
        ConnectionError: what is read from is away.
    """
    lanes = [lane for lane in history.lanes if lane.log == MAIN_LOG]
    share = max(1, sum(not lane.scope.startswith("a-") for lane in lanes))  # each has a part of the symbols
    found = await asyncio.gather(*(_found(history, lane, at_us, options, share) for lane in lanes))
    rates = dict.fromkeys(board.meters, 0.0)
    for lane, (envelopes, rate) in zip(lanes, found, strict=True):
        rates[lane.scope] += rate
        for envelope in envelopes:
            board.take(lane.scope, envelope)
    for scope, rate in rates.items():
        board.meters[scope].rate = rate


async def _found(
    history: History, lane: Lane, at_us: int, options: MomentOptions, share: int
) -> tuple[list[Envelope], float]:
    """What a lane tells of the moment, the oldest first, and its rate then."""
    if lane.scope.startswith("a-"):
        raws = await _all_of(history, lane, at_us, options)
    else:
        raws = await _newest(history, lane, at_us, options, options.entries // share)
        raws += await _sampled(history, lane, at_us, options, options.probe_entries // share)
    return _decoded(raws), await _rate(history, lane, at_us, options)


async def _all_of(history: History, lane: Lane, at_us: int, options: MomentOptions) -> list[bytes]:
    """Every event that is not too old, and orders that have been open since before."""
    raws = await history.newest(lane.scope, [Kind.ORDERS, Kind.PORTFOLIO], at_us + 1)
    async for page in _pages(history, lane, at_us, options.page, options.account_entries):
        raws += page.raws
    return raws


async def _sampled(history: History, lane: Lane, at_us: int, options: MomentOptions, entries: int) -> list[bytes]:
    """Ticks at moments of the last minutes; where nothing lies between two of these, it is looked at once."""
    raws: list[bytes] = []
    step_us = SPAN_US // options.probes
    newest_us = at_us
    for probe_us in range(at_us - step_us, at_us - SPAN_US - 1, -step_us):
        if probe_us >= newest_us and raws:
            continue
        page = await history.back(lane, probe_us + 1, entries)
        raws += _newest_of(page).values()
        if not page.raws and page.edge_us is None:
            break  # nothing is that old
        newest_us = max(map(_received_of, page.raws[:1]), default=probe_us)
    return raws


async def _pages(history: History, lane: Lane, at_us: int, count: int, most: int) -> AsyncIterator[Page]:
    """Backwards from a moment until so many entries were read."""
    edge_us: int | None = at_us + 1
    while edge_us is not None and most > 0:
        page = await history.back(lane, edge_us, min(count, most))
        yield page
        most -= max(1, page.read)
        edge_us = page.edge_us


async def _rate(history: History, lane: Lane, at_us: int, options: MomentOptions) -> float:
    """Events a second in the last seconds before the moment, or in as much of them as a page holds."""
    page = await history.back(lane, at_us + 1, options.page)
    places = [received_us for received_us in map(_received_of, page.raws) if received_us > at_us - _RATED_US]
    if len(places) < len(page.raws) or page.edge_us is None:
        return len(places) * 1_000_000 / _RATED_US
    return len(places) * 1_000_000 / max(1, at_us - places[-1])


async def _newest(history: History, lane: Lane, at_us: int, options: MomentOptions, entries: int) -> list[bytes]:
    """The newest tick of each topic, and the notices on the way."""
    wanted = {topic for topic in await history.topics(lane.scope) if topic.startswith(_TICKER)}
    found: dict[str, bytes] = {}
    notices: list[bytes] = []
    async for page in _pages(history, lane, at_us, options.page, entries):
        notices += _notices_of(page)
        found = _newest_of(page) | found
        if wanted and found.keys() >= wanted:
            break
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
