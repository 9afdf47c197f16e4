"""``agentexchange record``: the logs of Redis into a file as they grow, or what the platform sends."""

from __future__ import annotations

import argparse
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from agentexchange._urls import FileUrl, UpstreamUrl, parse_base_url

from ._errors import UsageError
from ._loop import run_stoppable
from ._recordings import add_choice, file_errors, moment, redis_source, scopes_of, topics_of

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable
    from typing import TypeAlias

    from pydantic import SecretStr

    from agentexchange._urls import RedisUrl
    from agentexchange.recording import RotatingWriter
    from agentexchange_bridge.recorder import Recorder, StraightRecorder

    _Maker: TypeAlias = Callable[[RotatingWriter], Recorder | StraightRecorder]

__all__ = ["EPILOG", "add_arguments", "run"]

EPILOG: Final = """\
Records market data, and the orders and portfolio of the account whose key is in AGENTEXCHANGE_API_KEY or
--api-key-file, until a signal comes. From Redis an existing file is gone on with from the very event it ends with: what
the logs still hold is not lost by a pause; what they no longer hold is told, and stands in the recording as a notice.
From the platform (ws://) it records what arrives while it is connected: every ticker, orders and portfolio unless
--topic names others.

examples:
  agentexchange record --url redis://localhost:6379/0 --out day.axlog
  agentexchange record --url redis://localhost:6379/0 --out day.axlog --topic ticker:BTCUSDT --from "10m ago"
  agentexchange record --url wss://exchange.example --out day.axlog --topic ticker:all --topic candles:BTCUSDT:1m
  agentexchange record --out /var/lib/ax/day.axlog --rotate-s 86400 --keep-days 90 --keep-gb 50"""

_DEFAULT_TOPICS: Final = ("ticker:all", "orders", "portfolio")  # of the platform
_MB: Final = 1_000_000
_GB: Final = 1_000_000_000
_DAY_S: Final = 86_400.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    where = parser.add_argument_group("from where to where")
    where.add_argument(
        "--url",
        metavar="URL",
        help="Redis (redis://, rediss://, unix://; default: AGENTEXCHANGE_REDIS_URL) or platform (ws://, wss://)",
    )
    where.add_argument("--out", type=Path, required=True, metavar="FILE", help="the recording, such as day.axlog")
    where.add_argument("--api-key-file", type=Path, metavar="FILE", help="file that holds the account's API key")
    where.add_argument(
        "--from", dest="start", metavar="MOMENT",
        help='where to begin in logs that the file does not have yet: a time, "10m ago", a log id (default: now)',
    )  # fmt: skip
    where.add_argument(
        "--keep-frames", action="store_true",
        help="of the platform: with each event the frame that it came in (of Redis: where the bridge keeps it)",
    )  # fmt: skip
    add_choice(parser, "record")
    files = parser.add_argument_group("files")
    files.add_argument("--rotate-mb", type=_positive, metavar="N", help="begin a new file after N megabytes")
    files.add_argument("--rotate-s", type=_positive, metavar="N", help="begin a new file after N seconds")
    files.add_argument("--keep-days", type=_positive, metavar="N", help="delete rotated files after N days")
    files.add_argument("--keep-gb", type=_positive, metavar="N", help="delete the oldest beyond N gigabytes")
    files.add_argument(
        "--block-s", type=float, default=2.0, metavar="N",
        help="write at the latest after N seconds: what a kill can lose of the file (default: %(default)g)",
    )  # fmt: skip
    files.add_argument(
        "--fsync", default="block", metavar="WHEN",
        help="force to disk after every block, at close, or never (default: %(default)s)",
    )  # fmt: skip


def _positive(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < 1e12:  # noqa: PLR2004 - and not infinite
        raise argparse.ArgumentTypeError("must be a number above 0")
    return number


def run(args: argparse.Namespace) -> int:
    """Record until a signal comes.

    Raises:
        UsageError: a wrong URL, topic, scope, moment or number.
        CommandError: the file cannot be written, or Redis refuses.
    """
    url = _source(args.url)
    key = _key(args.api_key_file)
    make = _straight(args, url, key) if isinstance(url, UpstreamUrl) else _shared(args, url, key)
    with file_errors("record", args.out), _writer(args, url) as writer:
        return run_stoppable(lambda stop: _record(make, writer, stop))


def _source(text: str | None) -> RedisUrl | UpstreamUrl:
    if text is None:
        return redis_source(text, "record")
    try:
        url = parse_base_url(text)
    except ValueError as exc:
        raise UsageError(f"record: {exc}") from None
    if isinstance(url, FileUrl):
        raise UsageError("record: --url must be a feed: redis:// or wss://; to copy a recording, use export")
    return url


def _key(file: Path | None) -> SecretStr | None:
    from agentexchange_bridge.keys import find_api_key

    try:
        return find_api_key(file)
    except ValueError as exc:
        raise UsageError(f"record: {exc}") from None


def _straight(args: argparse.Namespace, url: UpstreamUrl, key: SecretStr | None) -> _Maker:
    """How to record from the platform; all checked before the file is touched."""
    from agentexchange.upstream import FeedOptions
    from agentexchange_bridge.recorder import StraightRecorder
    from agentexchange_schemas import Topic

    if args.scope or args.start:
        raise UsageError("record: --scope and --from are for logs in Redis; the platform has none")
    if key is None:
        raise UsageError("record: there is no API key: set AGENTEXCHANGE_API_KEY, or name a file with --api-key-file")
    topics_of(args.topic, "record")
    topics = [Topic.parse(text) for text in args.topic or _DEFAULT_TOPICS]
    options = FeedOptions(keep_frames=args.keep_frames)
    return lambda writer: StraightRecorder(url, key, writer=writer, topics=topics, tell=_tell, options=options)


def _shared(args: argparse.Namespace, url: RedisUrl, key: SecretStr | None) -> _Maker:
    """How to record from Redis; all checked before the file is touched."""
    from agentexchange_bridge.recorder import Recorder, RecorderOptions
    from agentexchange_schemas import account_scope

    if args.keep_frames:
        raise UsageError(
            "record: --keep-frames is for ws://; for Redis run the bridge with it, and frames are recorded"
        )
    accounts = () if key is None or args.scope else (account_scope(key.get_secret_value()),)
    options = partial(
        RecorderOptions,
        url=url,
        scopes=scopes_of(args.scope, "record"),
        accounts=accounts,
        topics=topics_of(args.topic, "record"),
        start_us=moment(args.start, "record", "--from"),
        tell=_tell,
    )
    return lambda writer: Recorder(options(writer=writer))


def _writer(args: argparse.Namespace, url: RedisUrl | UpstreamUrl) -> RotatingWriter:
    from agentexchange.recording import RotatingWriter, RotationOptions, WriterOptions

    try:
        options = WriterOptions(block_s=args.block_s, fsync=args.fsync)
    except ValueError as exc:
        raise UsageError(f"record: {exc}") from None
    rotation = RotationOptions(
        max_bytes=None if args.rotate_mb is None else int(args.rotate_mb * _MB),
        max_s=args.rotate_s,
        keep_s=None if args.keep_days is None else args.keep_days * _DAY_S,
        keep_bytes=None if args.keep_gb is None else int(args.keep_gb * _GB),
    )
    return RotatingWriter(args.out, rotation=rotation, options=options, source={"source": str(url)}, tell=_tell)


async def _record(make: _Maker, writer: RotatingWriter, stop: asyncio.Event) -> int:
    recorder = make(writer)
    if writer.cut is not None:
        _tell(f"{writer.path.name}: {writer.cut.size:,} bytes behind its last whole block were cut off")
    _tell(f"recording to {writer.path}")
    await recorder.run(stop)
    writer.close()
    _tell(f"{writer.events:,} events recorded")
    return 0


def _tell(sentence: str) -> None:
    print(f"record: {sentence}", file=sys.stderr, flush=True)
