"""``agentexchange export``: out of recordings or the logs of Redis, as a recording, JSON lines or Parquet."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ._commands import require
from ._errors import CommandError, UsageError
from ._recordings import add_choice, file_errors, moment, redis_source, scopes_of, topics_of

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from agentexchange.recording import LaneRun
    from agentexchange_bridge.transfer import Choice

__all__ = ["EPILOG", "add_arguments", "run"]

EPILOG: Final = """\
Without files it reads the logs in Redis, as far as they reach back: market data, and the account whose key is in
AGENTEXCHANGE_API_KEY or --api-key-file. Parquet is one file per kind: --out day.parquet makes day.ticker.parquet,
day.candles.parquet, day.orders.parquet, day.portfolio.parquet and day.notices.parquet, of those that occur.

examples:
  agentexchange export --url redis://localhost:6379/0 --from "10m ago" --out moment.axlog
  agentexchange export day.axlog --from 2026-11-22T14:00:00Z --to 2026-11-22T14:05:00Z --out moment.jsonl
  agentexchange export day-*.axlog day.axlog --topic ticker:all --out ticks.parquet"""

_FORMATS: Final = ("axlog", "jsonl", "parquet")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    parser.add_argument("files", nargs="*", type=Path, metavar="FILE", help="recordings; none: the logs in Redis")
    source = parser.add_argument_group("source")
    source.add_argument(
        "--url", metavar="URL", help="redis://, rediss:// or unix:// (default: AGENTEXCHANGE_REDIS_URL)"
    )
    source.add_argument("--api-key-file", type=Path, metavar="FILE", help="file that holds the account's API key")
    source.add_argument("--salvage", action="store_true", help="read damaged files up to the damage")
    moments = parser.add_argument_group('span (a time such as 2026-11-22T14:03:00Z, "10m ago", or a log id)')
    moments.add_argument("--from", dest="start", metavar="MOMENT", help="the first moment (default: the beginning)")
    moments.add_argument(
        "--to", dest="end", metavar="MOMENT", help="the first moment no longer wanted (default: the end)"
    )
    add_choice(parser, "export")
    output = parser.add_argument_group("output")
    output.add_argument("--out", type=Path, metavar="FILE", help="where to (default: JSON lines to stdout)")
    output.add_argument("--format", choices=_FORMATS, help="default: by the ending of --out")


def run(args: argparse.Namespace) -> int:
    """Export.

    Raises:
        UsageError: a wrong URL, topic, scope, moment, format or file name.
        CommandError: a file cannot be read or written, is damaged, or Redis does not answer.
    """
    written = _format(args)
    choice = _choice(args)
    with file_errors("export", args.out or Path("stdout")):
        _write(args, written, _runs(args, choice))
    return 0


def _format(args: argparse.Namespace) -> str:
    ending = args.out.suffix.removeprefix(".") if args.out else "jsonl"
    written: str = args.format or ending
    if written not in _FORMATS:
        raise UsageError(f"export: {args.out.name[:40]!r} ends in none of .axlog, .jsonl, .parquet: give --format")
    if args.out is None and written != "jsonl":
        raise UsageError(f"export: {written} needs --out")
    if written == "parquet":
        require(("pyarrow",), extra="parquet", purpose="Parquet")
    return written


def _choice(args: argparse.Namespace) -> Choice:
    from agentexchange_bridge.keys import find_api_key
    from agentexchange_bridge.transfer import Choice
    from agentexchange_schemas import account_scope

    try:
        key = find_api_key(args.api_key_file)
    except ValueError as exc:
        raise UsageError(f"export: {exc}") from None
    topics_of(args.topic, "export")
    start_us, end_us = moment(args.start, "export", "--from"), moment(args.end, "export", "--to")
    if start_us is not None and end_us is not None and start_us >= end_us:
        raise UsageError("export: --from must be before --to")
    return Choice(
        start_us=start_us,
        end_us=end_us,
        topics=tuple(args.topic) if args.topic else None,
        scopes=scopes_of(args.scope, "export"),
        accounts=() if key is None or args.scope else (account_scope(key.get_secret_value()),),
    )


def _runs(args: argparse.Namespace, choice: Choice) -> Iterator[LaneRun]:
    from agentexchange_bridge.transfer import file_runs, redis_runs

    if args.files:
        return file_runs(args.files, choice, salvage=args.salvage, tell=_tell)
    return redis_runs(redis_source(args.url, "export"), choice, tell=_tell)


def _write(args: argparse.Namespace, written: str, runs: Iterator[LaneRun]) -> None:
    from agentexchange_schemas import EnvelopeError

    try:
        if written == "parquet":
            _write_parquet(runs, args.out)
        elif written == "axlog":
            _write_axlog(runs, args)
        else:
            _write_lines(runs, args.out)
    except EnvelopeError as exc:
        raise CommandError(f"export: {exc}") from None


def _write_parquet(runs: Iterator[LaneRun], out: Path) -> None:
    from agentexchange_bridge.transfer._parquet import write_parquet

    files = write_parquet(runs, out)
    for path, rows, misfits in files:
        _tell(f"{rows:,} rows to {path}")
        if misfits:
            _tell(f"{misfits:,} values do not fit their columns there: null, and verbatim in 'extra'")
    if not files:
        _tell("there are no such events: nothing is written")


def _write_axlog(runs: Iterator[LaneRun], args: argparse.Namespace) -> None:
    from agentexchange_bridge.transfer import write_axlog

    source = ", ".join(path.name for path in args.files) or "redis"
    _tell(f"{write_axlog(runs, args.out, source={'source': source}):,} events to {args.out}")


def _write_lines(runs: Iterator[LaneRun], out: Path | None) -> None:
    from agentexchange_bridge.transfer import whole_or_not, write_lines

    if out is None:
        write_lines(runs, sys.stdout)
        return
    with whole_or_not(out) as part, part.open("w", encoding="utf-8") as file:
        count = write_lines(runs, file)
    _tell(f"{count:,} events to {out}")


def _tell(sentence: str) -> None:
    print(f"export: {sentence}", file=sys.stderr, flush=True)
