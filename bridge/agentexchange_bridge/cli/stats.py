"""``agentexchange stats``: figures of recordings, or of the logs in Redis."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ._arguments import count
from ._errors import UsageError
from ._loop import run_stoppable
from ._recordings import add_choice, file_errors, redis_source, scopes_of, topics_of
from ._sources import account_of, files_of, moment_of, recording_source, shared_source

if TYPE_CHECKING:
    import argparse
    import asyncio

    from agentexchange._urls import RedisUrl
    from agentexchange.replay import FileSource, RedisSource
    from agentexchange_bridge.analysis import Tally

    from ._stats_report import Reading

__all__ = ["EPILOG", "add_arguments", "run"]

EPILOG: Final = """\
Rates, lags, gaps and sizes of recordings; without files, of the logs in Redis, as far as they were when it began:
market data, and the account whose key is in AGENTEXCHANGE_API_KEY or --api-key-file. Redis is read from the last 10
minutes on unless --from says otherwise; in a recording "10m ago" counts from its end. A signal ends the reading, and
what was read is reported. RECEIPT is the time from the platform's own to receipt by the bridge, which has another
clock; WRITING from there to the moment it was encoded for Redis.

examples:
  agentexchange stats day.axlog
  agentexchange stats --url redis://localhost:6379/0 --from "1m ago" --top 5
  agentexchange stats day-*.axlog day.axlog --from 2026-11-22T14:00:00Z --to 2026-11-22T15:00:00Z --json"""

_SHARED_START: Final = "10m ago"
_SHARED_LIMIT: Final = 1_000_000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    parser.add_argument("files", nargs="*", type=Path, metavar="FILE", help="recordings; none: the logs in Redis")
    source = parser.add_argument_group("source")
    source.add_argument(
        "--url", metavar="URL",
        help="redis://, rediss://, unix:// or file:// (default: AGENTEXCHANGE_REDIS_URL)",
    )  # fmt: skip
    source.add_argument("--api-key-file", type=Path, metavar="FILE", help="file that holds the account's API key")
    span = parser.add_argument_group('span (a time, "10m ago", a log id, or an event as ticker:BTCUSDT@123)')
    span.add_argument("--from", dest="start", metavar="MOMENT", help="the first moment (default: see below)")
    span.add_argument("--to", dest="end", metavar="MOMENT", help="the first moment no longer wanted")
    span.add_argument(
        "--limit", type=count, metavar="N",
        help=f"stop after N events (default: {_SHARED_LIMIT:,} of Redis, all of a recording)",
    )  # fmt: skip
    add_choice(parser, "count")
    output = parser.add_argument_group("output")
    output.add_argument("--top", type=count, default=20, metavar="N", help="topics and spans (default: %(default)s)")
    output.add_argument("--json", action="store_true", help="one JSON object, with every topic")


def run(args: argparse.Namespace) -> int:
    """Read and report.

    Raises:
        UsageError: a wrong URL, topic, scope or moment.
        CommandError: a file cannot be read, or Redis does not answer.
    """
    files = files_of(args.files, args.url, "stats")
    topics_of(args.topic, "stats")
    scopes = scopes_of(args.scope, "stats")
    with file_errors("stats", files[0] if files else Path("redis")):
        if files:
            return run_stoppable(lambda stop: _of_files(args, files, scopes, stop))
        url = redis_source(args.url, "stats")
        return run_stoppable(lambda stop: _of_redis(args, url, scopes, stop))


async def _of_files(
    args: argparse.Namespace, files: list[Path], scopes: tuple[str, ...] | None, stop: asyncio.Event
) -> int:
    async with recording_source(files, _tell) as source:
        reading = await _read(args, source, ", ".join(path.name for path in files), scopes, stop)
        mean = _mean_size(reading.tally)
        for recording in source.recordings:
            size = recording.path.stat().st_size
            raw = None if mean is None else recording.count * mean
            reading.files.append(
                {"file": str(recording.path), "blocks": recording.blocks, "events": recording.count, "bytes": size,
                 "bytes_per_event": _ratio(size, recording.count), "compression": _ratio(raw, size),
                 "oldest_us": recording.first_us, "newest_us": recording.last_us}
            )  # fmt: skip
    _report(args, reading)
    return 0


async def _of_redis(
    args: argparse.Namespace, url: RedisUrl, scopes: tuple[str, ...] | None, stop: asyncio.Event
) -> int:
    from ._logs import logs_of

    account = account_of(args.api_key_file, "stats")
    async with shared_source(url, scopes, account, _tell) as source:
        reading = await _read(args, source, str(url), scopes, stop)
        reading.logs = await logs_of(url, source.scopes)
    _report(args, reading)
    return 0


async def _read(
    args: argparse.Namespace,
    source: FileSource | RedisSource,
    name: str,
    scopes: tuple[str, ...] | None,
    stop: asyncio.Event,
) -> Reading:
    from agentexchange.recording import TopicChoice
    from agentexchange.replay import FileSource
    from agentexchange_bridge.analysis import Tally

    from ._stats_report import Reading

    is_file = isinstance(source, FileSource)
    start_us = await moment_of(source, args.start or (None if is_file else _SHARED_START), "stats", "--from")
    end_us = await moment_of(source, args.end, "stats", "--to")
    if start_us is not None and end_us is not None and start_us >= end_us:
        raise UsageError("stats: --from must be before --to")
    reading, left = Reading(name, Tally()), args.limit or (None if is_file else _SHARED_LIMIT)
    async for lane, raws in source.runs(start_us, end_us, topics=TopicChoice(args.topic), scopes=scopes):
        if stop.is_set() or left == 0:
            reading.is_whole = False
            reading.stopped = "a signal" if stop.is_set() else "--limit"
            break
        taken = raws if left is None else raws[:left]
        left = None if left is None else left - len(taken)
        reading.tally.add(lane.scope, taken)
        reading.is_whole = len(taken) == len(raws)
        reading.stopped = None if reading.is_whole else "--limit"
    return reading


def _mean_size(tally: Tally) -> float | None:
    return _ratio(sum(scope.size for scope in tally.scopes.values()), tally.events)


def _ratio(one: float | None, other: float) -> float | None:
    return None if one is None or not other else one / other


def _report(args: argparse.Namespace, reading: Reading) -> None:
    from ._stats_report import lines_of, values_of

    values = values_of(reading)
    if args.json:
        print(json.dumps(values, ensure_ascii=False, separators=(",", ":")))
        return
    for line in lines_of(values, args.top):
        print(line)


def _tell(sentence: str) -> None:
    print(f"stats: {sentence}", file=sys.stderr, flush=True)
