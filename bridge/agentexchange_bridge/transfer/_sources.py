"""Where exported events come from: recordings, or the logs in Redis; always in runs, in the recorded order."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, field
from heapq import merge
from itertools import groupby, islice, pairwise
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final

from agentexchange._shared.commands import START, id_of
from agentexchange._shared.read import layout_of, pairs
from agentexchange.recording import Lane, LaneRun, Recording, TopicChoice, received_of
from agentexchange.redis import public_errors, sync_client
from agentexchange_bridge.recorder import LogWatch, sentences_of
from agentexchange_schemas.layout import LOG_FIELD, LOG_ID_FIELD

from ._state import partitions_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    import redis

    from agentexchange._urls import RedisUrl
    from agentexchange_bridge.recorder import Hole
    from agentexchange_schemas import Layout

__all__ = ["Choice", "file_runs", "partitions_in", "redis_runs", "scopes_in"]

_PAGE: Final = 1000  # log entries of one read
_MERGED_AT_ONCE: Final = 4096
_FIELD: Final = LOG_FIELD.encode()


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What is wanted.

    Attributes:
        start_us: the first ``r``; None for the beginning.
        end_us: the first ``r`` no longer wanted; None for the end.
        topics: only these, and notices.
        scopes: only these; None for all (in Redis: every market scope).
        accounts: account scopes beside ``scopes``, in Redis.
    """

    start_us: int | None = None
    end_us: int | None = None
    topics: tuple[str, ...] | None = None
    scopes: tuple[str, ...] | None = None
    accounts: tuple[str, ...] = field(default=())


def file_runs(
    paths: Sequence[Path], choice: Choice, *, salvage: bool, tell: Callable[[str], None]
) -> Iterator[LaneRun]:
    """Events of recordings, those of several files merged.

    Raises:
        RecordingError: foreign, of a later version, or damaged.
        OSError: a file cannot be read.
    """
    with ExitStack() as stack:
        recordings = [stack.enter_context(Recording(path, salvage=salvage)) for path in paths]
        for recording in recordings:
            if recording.cut is not None:
                tell(f"{recording.path}: {recording.cut.size:,} bytes at its end are missing: {recording.cut.reason}")
        recordings = sorted((one for one in recordings if one.count), key=lambda one: one.first_us or 0)
        streams = [
            one.runs(choice.start_us, choice.end_us, topics=choice.topics, scopes=choice.scopes) for one in recordings
        ]
        if all((one.last_us or 0) < (other.first_us or 0) for one, other in pairwise(recordings)):
            for stream in streams:
                yield from stream
        else:
            yield from _interleaved(streams)


def scopes_in(paths: Sequence[Path], choice: Choice, *, salvage: bool) -> tuple[str, ...]:
    """The chosen scopes that occur in recordings.

    Raises:
        RecordingError: foreign, of a later version, or damaged.
        OSError: a file cannot be read.
    """
    found: dict[str, None] = {}
    for path in paths:
        with Recording(path, salvage=salvage) as recording:
            found |= dict.fromkeys(lane.scope for lane in recording.lanes)
    return tuple(scope for scope in found if choice.scopes is None or scope in choice.scopes)


def partitions_in(paths: Sequence[Path], *, salvage: bool) -> int | None:
    """The number of market partitions that recordings were made under, going by their scopes; None for no number.

    Raises:
        RecordingError: foreign, of a later version, or damaged.
        OSError: a file cannot be read.
    """
    places: set[tuple[str, str]] = set()
    for path in paths:
        with Recording(path, salvage=salvage) as recording:
            places |= recording.places()
    return partitions_of(places)


def redis_runs(url: RedisUrl, choice: Choice, *, tell: Callable[[str], None]) -> Iterator[LaneRun]:
    """Events of the logs in Redis, up to what was there when each log's end was reached.

    Raises:
        ConnectionError: Redis does not answer, refuses, or holds another layout or none.
    """
    with public_errors(url), sync_client(url) as client:
        layout = layout_of(pairs(client.hgetall(f"{url.prefix}:meta")), url.prefix)
        if layout is None:
            tell(f"no bridge has written under the prefix '{url.prefix}'")
            return
        market = layout.market_scopes if choice.scopes is None else choice.scopes
        scopes = dict.fromkeys((*market, *choice.accounts))
        logs = [(scope, layout.log(scope)) for scope in scopes]
        logs += [(scope, layout.candle_log(scope)) for scope in scopes if scope.startswith("m")]
        yield from _interleaved([_log_runs(client, layout, log, choice, tell) for log in logs])


def _log_runs(
    client: redis.Redis, layout: Layout, log: tuple[str, str], choice: Choice, tell: Callable[[str], None]
) -> Iterator[LaneRun]:
    scope, key = log
    name: Any = client.hget(layout.seq(scope), LOG_ID_FIELD)
    lane = Lane(scope, key.removeprefix(layout.base(scope)), "" if name is None else name.decode(errors="replace"))
    watch = LogWatch(TopicChoice(choice.topics).wants)
    holes: list[Hole] = []
    after = id_of(choice.start_us - 1) if choice.start_us else START
    end = "+" if choice.end_us is None else b"(" + id_of(choice.end_us)
    while entries := _page(client, key, after, end):
        raws, found = watch.take(fields[_FIELD] for _, fields in entries if _FIELD in fields)
        holes += found
        if raws:
            yield LaneRun(lane, raws)
        after = entries[-1][0]
    for sentence in sentences_of(scope, holes):
        tell(sentence)
    if watch.junk:
        tell(f"{key}: {watch.junk} entries are no envelopes, or out of order: left out")


def _page(client: redis.Redis, key: str, after: bytes, end: str | bytes) -> list[tuple[bytes, dict[bytes, bytes]]]:
    entries: Any = client.xrange(key, b"(" + after, end, count=_PAGE)
    return [entry for entry in entries if entry[1] is not None]


def _interleaved(streams: Iterable[Iterator[LaneRun]]) -> Iterator[LaneRun]:
    """The streams' events by ``r``; at the same ``r`` in the order of the streams."""
    merged = merge(*map(_places, streams), key=itemgetter(0))
    while batch := list(islice(merged, _MERGED_AT_ONCE)):
        for lane, events in groupby(batch, key=itemgetter(1)):
            yield LaneRun(lane, [raw for _, _, raw in events])


def _places(stream: Iterator[LaneRun]) -> Iterator[tuple[int, Lane, bytes]]:
    for lane, raws in stream:
        for raw in raws:
            yield received_of(raw), lane, raw
