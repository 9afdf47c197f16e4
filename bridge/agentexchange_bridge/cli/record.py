"""``agentexchange record``: the logs of Redis into a file, as they grow."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ._errors import UsageError
from ._loop import run_stoppable
from ._recordings import add_choice, file_errors, moment, redis_source, scopes_of, topics_of

if TYPE_CHECKING:
    import asyncio

    from agentexchange._urls import RedisUrl
    from agentexchange.recording import RotatingWriter
    from agentexchange_bridge.recorder import Recorder

__all__ = ["EPILOG", "add_arguments", "run"]

EPILOG: Final = """\
Records market data, and the orders and portfolio of the account whose key is in AGENTEXCHANGE_API_KEY or
--api-key-file, until a signal comes. An existing file is gone on with, from the very event it ends with: what the
logs still hold is not lost by a pause. What they no longer hold is told, and stands in the recording as a notice.

examples:
  agentexchange record --url redis://localhost:6379/0 --out day.axlog
  agentexchange record --url redis://localhost:6379/0 --out day.axlog --topic ticker:BTCUSDT --from "10m ago"
  agentexchange record --out /var/lib/ax/day.axlog --rotate-s 86400 --keep-days 90 --keep-gb 50"""

_MB: Final = 1_000_000
_GB: Final = 1_000_000_000
_DAY_S: Final = 86_400.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    where = parser.add_argument_group("from where to where")
    where.add_argument("--url", metavar="URL", help="redis://, rediss:// or unix:// (default: AGENTEXCHANGE_REDIS_URL)")
    where.add_argument("--out", type=Path, required=True, metavar="FILE", help="the recording, such as day.axlog")
    where.add_argument("--api-key-file", type=Path, metavar="FILE", help="file that holds the account's API key")
    where.add_argument(
        "--from", dest="start", metavar="MOMENT",
        help='where to begin in logs that the file does not have yet: a time, "10m ago", a log id (default: now)',
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
    url = redis_source(args.url, "record")
    choice = _choice(args)
    with file_errors("record", args.out), _writer(args, url) as writer:
        return run_stoppable(lambda stop: _record(_recorder(url, writer, choice), writer, stop))


def _choice(args: argparse.Namespace) -> dict[str, Any]:
    """What is recorded, all checked before the file is touched."""
    from agentexchange_bridge.keys import find_api_key
    from agentexchange_schemas import account_scope

    try:
        key = find_api_key(args.api_key_file)
    except ValueError as exc:
        raise UsageError(f"record: {exc}") from None
    accounts = () if key is None or args.scope else (account_scope(key.get_secret_value()),)
    return {
        "scopes": scopes_of(args.scope, "record"),
        "accounts": accounts,
        "topics": topics_of(args.topic, "record"),
        "start_us": moment(args.start, "record", "--from"),
    }


def _writer(args: argparse.Namespace, url: RedisUrl) -> RotatingWriter:
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


def _recorder(url: RedisUrl, writer: RotatingWriter, choice: dict[str, Any]) -> Recorder:
    from agentexchange_bridge.recorder import Recorder, RecorderOptions

    return Recorder(RecorderOptions(url=url, writer=writer, tell=_tell, **choice))


async def _record(recorder: Recorder, writer: RotatingWriter, stop: asyncio.Event) -> int:
    if writer.cut is not None:
        _tell(f"{writer.path.name}: {writer.cut.size:,} bytes behind its last whole block were cut off")
    _tell(f"recording to {writer.path}")
    await recorder.run(stop)
    writer.close()
    stats = recorder.stats
    holes = f", {stats.holes} gaps" if stats.holes else ""
    _tell(f"{writer.events:,} events recorded{holes}")
    return 0


def _tell(sentence: str) -> None:
    print(f"record: {sentence}", file=sys.stderr, flush=True)
