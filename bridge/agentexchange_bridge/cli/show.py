"""``agentexchange show``: one event with all that is known of it."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ._arguments import seconds_up_to
from ._errors import CommandError
from ._loop import run_stoppable, unless_stopped
from ._recordings import file_errors, redis_source, scopes_of
from ._sources import account_of, files_of, recording_source, shared_source

if TYPE_CHECKING:
    from agentexchange.replay import FileSource, RedisSource, Source

    from ._find import Held

__all__ = ["EPILOG", "add_arguments", "run"]

EPILOG: Final = """\
EVENT is the id of a log entry, an event's topic and number (ticker:BTCUSDT@1200, status@3 for a notice), or the id of
an order, whose newest event is shown. It is looked for in the recordings that are named, or in the logs in Redis:
market data, and the account whose key is in AGENTEXCHANGE_API_KEY or --api-key-file. The frame in which the platform
sent it is shown where it was kept: by a bridge, or a recorder of the platform, that runs with --keep-frames.

exit code: 0 shown, 1 not there (what there is instead is said) or failed, 2 bad input

examples:
  agentexchange show ticker:BTCUSDT@1200 --url redis://localhost:6379/0 --context 5
  agentexchange show 1763806931042-17 day.axlog --json
  agentexchange show 7f3c9a10 day.axlog"""

_MOST_CONTEXT: Final = 100
_MOST_NAME: Final = 256
_MOST_AROUND_S: Final = 3600.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    parser.add_argument("event", type=_name, metavar="EVENT", help="log id, topic@seq, or order id")
    parser.add_argument("files", nargs="*", type=Path, metavar="FILE", help="recordings; none: the logs in Redis")
    source = parser.add_argument_group("source")
    source.add_argument(
        "--url", metavar="URL", help="redis://, rediss://, unix:// or file:// (default: AGENTEXCHANGE_REDIS_URL)"
    )
    source.add_argument("--api-key-file", type=Path, metavar="FILE", help="file that holds the account's API key")
    source.add_argument("--scope", action="append", metavar="SCOPE", help="look only in this scope: m0, m1, … or a-…")
    output = parser.add_argument_group("output")
    output.add_argument(
        "--context", type=_context, default=3, metavar="N",
        help="events of the same topic before and after it (default: %(default)s)",
    )  # fmt: skip
    output.add_argument(
        "--around", type=seconds_up_to(_MOST_AROUND_S), default=5.0, metavar="SECONDS",
        help="notices of the scope so near it (default: %(default)g)",
    )  # fmt: skip
    output.add_argument("--json", action="store_true", help="one JSON object")


def _name(text: str) -> str:
    if not text or len(text) > _MOST_NAME:
        raise argparse.ArgumentTypeError(f"must have 1 to {_MOST_NAME} characters")
    return text


def _context(text: str) -> int:
    if not text.isdecimal() or int(text) > _MOST_CONTEXT:
        raise argparse.ArgumentTypeError(f"must be a number from 0 to {_MOST_CONTEXT}")
    return int(text)


def run(args: argparse.Namespace) -> int:
    """Find it and show it.

    Raises:
        UsageError: a wrong URL, scope or key.
        CommandError: it is not there, a file cannot be read, or Redis does not answer.
    """
    files = files_of(args.files, args.url, "show")
    scopes = scopes_of(args.scope, "show")
    source: FileSource | RedisSource
    if files:
        source = recording_source(files, _tell)
    else:
        url = redis_source(args.url, "show")
        # where logs begin is told only where an event is not there
        source = shared_source(url, scopes, account_of(args.api_key_file, "show"), lambda _: None)
    with file_errors("show", files[0] if files else Path("redis")):
        return run_stoppable(lambda stop: unless_stopped(stop, _show(args, source, scopes)))


async def _show(args: argparse.Namespace, source: FileSource | RedisSource, scopes: tuple[str, ...] | None) -> int:
    from ._find import find, held, named, surroundings
    from ._show_report import lines_of, values_of

    async with source:
        found = [one for one in await find(source, args.event) if scopes is None or one.lane.scope in scopes]
        if not found:
            meant = named(args.event)
            topic = None if meant is None else meant.topic
            raise _not_there(args.event, topic, await held(source, topic), source)
        around_us = round(args.around * 1e6)
        whole = [await surroundings(source, one, context=args.context, around_us=around_us) for one in found]
    for values in map(values_of, whole):
        if args.json:
            print(json.dumps(values, ensure_ascii=False, separators=(",", ":")))
        else:
            print("\n".join(lines_of(values)))
    return 0


def _not_there(event: str, topic: str | None, there: Held, source: Source) -> CommandError:
    from agentexchange_schemas.envelope import log_id

    from ._table import printable, time_text

    what = f"show: there is no event {printable(event[:80])!r}"
    if there.first_us is None or there.last_us is None:
        return CommandError(f"{what}: nothing at all is held")
    numbers = "nothing" if there.first_seq is None else f"#{there.first_seq} to #{there.last_seq}"
    of_topic = "" if topic is None else f"{numbers} of {topic}, "
    span = f"{time_text(there.first_us)} to {time_text(there.last_us)}"
    ids = f"log ids {log_id(there.first_us)} to {log_id(there.last_us)}"
    return CommandError(f"{what}: what is held is {of_topic}{span} ({ids}) of {' '.join(source.scopes)}")


def _tell(sentence: str) -> None:
    print(f"show: {sentence}", file=sys.stderr, flush=True)
