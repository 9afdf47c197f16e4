"""``agentexchange import``: a recording back into Redis, so that clients can read it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ._errors import CommandError, UsageError
from ._loop import run_stoppable, unless_stopped
from ._recordings import add_choice, file_errors, moment, redis_source, scopes_of, topics_of

if TYPE_CHECKING:
    import argparse

    from agentexchange._urls import RedisUrl
    from agentexchange_bridge.transfer import Choice, ImportTarget
    from agentexchange_schemas import Layout

__all__ = ["EPILOG", "add_arguments", "run"]

EPILOG: Final = """\
Logs, latest values, counters and the layout are written as a bridge would have left them; there is no lease, so
clients are told that no bridge is alive. The log of a long recording takes memory: about 250 bytes an event.
A prefix that is in use is refused; --replace deletes what it holds of the recorded scopes, never under a live bridge.

examples:
  agentexchange import day.axlog --redis-url redis://localhost:6379/0 --prefix replay
  agentexchange import day.axlog --redis-url redis://localhost:6379/0 --prefix replay --replace --scope m0"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="recordings, merged by time")
    parser.add_argument("--salvage", action="store_true", help="read damaged files up to the damage")
    target = parser.add_argument_group("target")
    target.add_argument("--redis-url", metavar="URL", help="Redis (default: AGENTEXCHANGE_REDIS_URL)")
    target.add_argument("--prefix", metavar="NAME", help="what names of keys begin with (default: the URL's, or ax)")
    target.add_argument("--partitions", type=int, metavar="N", help="market partitions (default: as the scopes tell)")
    target.add_argument("--replace", action="store_true", help="delete what the prefix holds of these scopes")
    moments = parser.add_argument_group('span (a time such as 2026-11-22T14:03:00Z, "10m ago", or a log id)')
    moments.add_argument("--from", dest="start", metavar="MOMENT", help="the first moment")
    moments.add_argument("--to", dest="end", metavar="MOMENT", help="the first moment no longer wanted")
    add_choice(parser, "import")


def run(args: argparse.Namespace) -> int:
    """Import.

    Raises:
        UsageError: a wrong URL, prefix, topic, scope or moment.
        CommandError: a file is damaged, the namespace is in use, or Redis does not answer.
    """
    url = redis_source(args.redis_url, "import")
    choice = _choice(args)
    with file_errors("import", args.files[0]):
        layout = _layout(args, url)
        return run_stoppable(lambda stop: unless_stopped(stop, _import(args, url, layout, choice)))


def _choice(args: argparse.Namespace) -> Choice:
    from agentexchange_bridge.transfer import Choice

    topics_of(args.topic, "import")
    return Choice(
        start_us=moment(args.start, "import", "--from"),
        end_us=moment(args.end, "import", "--to"),
        topics=tuple(args.topic) if args.topic else None,
        scopes=scopes_of(args.scope, "import"),
    )


def _layout(args: argparse.Namespace, url: RedisUrl) -> Layout:
    from agentexchange_bridge.transfer import partitions_in
    from agentexchange_schemas import Layout, LayoutError

    partitions = partitions_in(args.files, salvage=args.salvage) if args.partitions is None else args.partitions
    if partitions is None:
        raise CommandError("import: the recorded scopes fit no number of partitions: give --partitions, or one --scope")
    try:
        return Layout(args.prefix or url.prefix, partitions)
    except LayoutError as exc:
        raise UsageError(f"import: {exc}") from None


async def _import(args: argparse.Namespace, url: RedisUrl, layout: Layout, choice: Choice) -> int:
    from agentexchange.redis import RedisLinkError, RespStream, final_error
    from agentexchange_bridge.transfer import ImportTarget, file_runs, scopes_in

    try:
        stream = await RespStream.connect(url, name="agentexchange-import")
        try:
            target = ImportTarget(stream, layout)
            scopes = scopes_in(args.files, choice, salvage=args.salvage)
            await target.prepare(scopes, replace=args.replace)
            await target.write(file_runs(args.files, choice, salvage=args.salvage, tell=_tell))
            await target.finish()
        finally:
            stream.close()
    except RedisLinkError as exc:
        raise CommandError(f"import: {final_error(exc, url)}") from None
    _report(target, layout)
    return 0


def _report(target: ImportTarget, layout: Layout) -> None:
    skipped = sum(state.skipped for state in target.scopes.values())
    scopes = " ".join(target.scopes) or "no scope"
    _tell(f"{target.events:,} events of {scopes} to the prefix '{layout.prefix}'")
    if skipped:
        _tell(f"{skipped:,} events are in no log there: what the recorder told itself, or two logs at the same time")


def _tell(sentence: str) -> None:
    print(f"import: {sentence}", file=sys.stderr, flush=True)
