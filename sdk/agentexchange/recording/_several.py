"""Several recordings as one: their events by time, whether the files follow each other or overlap."""

from __future__ import annotations

from heapq import merge
from itertools import groupby, pairwise
from operator import itemgetter
from typing import TYPE_CHECKING, Final

from agentexchange.errors import RecordingError

from ._peek import received_of
from .reader import LaneRun

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ._block import Lane
    from ._topics import TopicChoice
    from .reader import Recording

    _Placed = tuple[int, Lane, bytes]

__all__ = ["runs_of"]

_MERGED_AT_ONCE: Final = 4096


def runs_of(
    recordings: Iterable[Recording],
    start_us: int | None = None,
    end_us: int | None = None,
    *,
    topics: TopicChoice | None = None,
    scopes: Iterable[str] | None = None,
) -> Iterator[LaneRun]:
    """The events of open recordings, arguments as for `Recording.runs`.

    Raises:
        RecordingError: damaged there; everything before has been handed out.
    """
    ordered = sorted((one for one in recordings if one.count), key=lambda one: one.first_us or 0)
    chosen = None if scopes is None else tuple(scopes)
    streams = [one.runs(start_us, end_us, topics=topics, scopes=chosen) for one in ordered]
    if all((one.last_us or 0) < (other.first_us or 0) for one, other in pairwise(ordered)):
        for stream in streams:
            yield from stream
    else:
        yield from _interleaved(streams)


def _interleaved(streams: Iterable[Iterator[LaneRun]]) -> Iterator[LaneRun]:
    """The streams' events by ``r``; at the same ``r`` in the order of the streams."""
    batch: list[_Placed] = []
    try:
        for placed in merge(*map(_places, streams), key=itemgetter(0)):
            batch.append(placed)
            if len(batch) == _MERGED_AT_ONCE:
                yield from _in_runs(batch)
                batch.clear()
    except RecordingError:
        yield from _in_runs(batch)
        raise
    yield from _in_runs(batch)


def _in_runs(batch: list[_Placed]) -> Iterator[LaneRun]:
    for lane, events in groupby(batch, key=itemgetter(1)):
        yield LaneRun(lane, [raw for _, _, raw in events])


def _places(stream: Iterator[LaneRun]) -> Iterator[_Placed]:
    for lane, raws in stream:
        for raw in raws:
            yield received_of(raw), lane, raw
