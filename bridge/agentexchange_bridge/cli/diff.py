"""``agentexchange diff``: where two recordings part."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ._arguments import count, seconds_up_to
from ._errors import CommandError, UsageError
from ._loop import run_stoppable
from ._recordings import add_choice, file_errors, moment, scopes_of, topics_of
from ._sources import RECORDER_LOG
from ._table import amount, table, time_text

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from agentexchange.recording import LaneRun
    from agentexchange_bridge.analysis import Comparison, Difference
    from agentexchange_bridge.transfer import Choice
    from agentexchange_schemas import Envelope

__all__ = ["EPILOG", "add_arguments", "run"]

EPILOG: Final = """\
An event is known by scope, topic and seq. What a recorder itself tells (its gaps) is in no log and is not compared; the
events that it missed are. Two recordings of one log are the same, whatever their blocks, files and rotations; where one
began earlier or ended later, --common compares the time that both have.

exit code: 0 the same, 1 they differ, 2 bad input, a file that cannot be read, or stopped

examples:
  agentexchange diff a.axlog b.axlog
  agentexchange diff --common --rotated a/day.axlog b/day.axlog
  agentexchange diff a.axlog b.axlog --topic orders --ignore written --json"""

_SAME, _DIFFERENT, _TROUBLE = 0, 1, 2
_MOST_MARGIN_S: Final = 3600.0
_SIDES: Final = ("a", "b")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    parser.add_argument("a", type=Path, metavar="A", help="a recording")
    parser.add_argument("b", type=Path, metavar="B", help="another one")
    parser.add_argument("--rotated", action="store_true", help="with each, the files that were rotated away from it")
    parser.add_argument("--salvage", action="store_true", help="read damaged files up to the damage")
    what = parser.add_argument_group("what is compared")
    what.add_argument("--common", action="store_true", help="of each scope, only the time that both recorded")
    what.add_argument(
        "--margin", type=seconds_up_to(_MOST_MARGIN_S), default=1.0, metavar="SECONDS",
        help="with --common, less so much at either end: a recorder begins its logs one after the other "
        "(default: %(default)g)",
    )  # fmt: skip
    what.add_argument(
        "--ignore", action="append", default=[], choices=("written", "epoch"),
        help="do not look at when it was written, or under which epoch; again for both",
    )  # fmt: skip
    what.add_argument("--from", dest="start", metavar="MOMENT", help="the first moment (default: the beginning)")
    what.add_argument("--to", dest="end", metavar="MOMENT", help="the first moment no longer wanted")
    add_choice(parser, "compare")
    output = parser.add_argument_group("output")
    output.add_argument("--json", action="store_true", help="one JSON object")
    output.add_argument("--top", type=count, default=20, metavar="N", help="topics listed (default: %(default)s)")


def run(args: argparse.Namespace) -> int:
    """Compare.

    Raises:
        UsageError: a wrong topic, scope or moment, or a file that cannot be read.
    """
    from agentexchange_bridge.transfer import Choice

    topics_of(args.topic, "diff")
    choice = Choice(
        start_us=moment(args.start, "diff", "--from"),
        end_us=moment(args.end, "diff", "--to"),
        topics=tuple(args.topic) if args.topic else None,
        scopes=scopes_of(args.scope, "diff"),
    )
    try:
        with file_errors("diff", args.a):
            return run_stoppable(lambda stop: _compare(args, choice, stop))
    except CommandError as exc:  # 1 is for recordings that differ
        raise UsageError(str(exc)) from None


async def _compare(args: argparse.Namespace, choice: Choice, stop: asyncio.Event) -> int:
    from agentexchange_bridge.analysis import Comparison, DiffOptions

    sides = [_files(path, args) for path in (args.a, args.b)]
    spans = _common([_spans(files, args) for files in sides], round(args.margin * 1e6)) if args.common else None
    comparison = Comparison(DiffOptions(ignore=frozenset(args.ignore)))
    a, b = (_runs(files, choice, args, spans) for files in sides)
    for _ in comparison.run(a, b):
        await asyncio.sleep(0)
        if stop.is_set():
            _tell("stopped before the end")
            return _TROUBLE
    if args.json:
        print(json.dumps(_values(comparison, spans), ensure_ascii=False, separators=(",", ":")))
    else:
        _print(comparison, spans, args)
    return _SAME if comparison.is_same else _DIFFERENT


def _files(path: Path, args: argparse.Namespace) -> list[Path]:
    from agentexchange.recording.rotation import rotated_files

    older = rotated_files(path) if args.rotated else []
    return [*older, path] if path.exists() or not older else older


def _spans(files: list[Path], args: argparse.Namespace) -> dict[str, tuple[int, int]]:
    """The first and last ``r`` of each scope."""
    from agentexchange.recording import Recording

    spans: dict[str, tuple[int, int]] = {}
    for path in files:
        with Recording(path, salvage=args.salvage) as recording:
            for lane, (first_us, last_us) in recording.lane_spans().items():
                if lane.log != RECORDER_LOG:
                    known = spans.get(lane.scope, (first_us, last_us))
                    spans[lane.scope] = (min(known[0], first_us), max(known[1], last_us))
    return spans


def _common(sides: list[dict[str, tuple[int, int]]], margin_us: int) -> dict[str, tuple[int, int]]:
    """The time that both have, less the margin, of the scopes that both have."""
    a, b = sides
    for scope in sorted(a.keys() ^ b.keys()):
        _tell(f"only one of them has {scope}: it is left out")
    both = {
        scope: (max(a[scope][0], b[scope][0]) + margin_us, min(a[scope][1], b[scope][1]) - margin_us)
        for scope in a.keys() & b.keys()
    }
    common = {scope: span for scope, span in both.items() if span[0] <= span[1]}
    for scope in sorted(both.keys() - common.keys()):
        _tell(f"of {scope} they have no time in common, or not more than twice --margin: it is left out")
    if not common:
        raise UsageError("diff: --common: there is no scope and time that both have")
    return common


def _runs(
    files: list[Path], choice: Choice, args: argparse.Namespace, spans: dict[str, tuple[int, int]] | None
) -> Iterator[LaneRun]:
    from agentexchange.recording import LaneRun, received_of
    from agentexchange_bridge.transfer import file_runs

    for lane, raws in file_runs(files, choice, salvage=args.salvage, tell=_tell):
        if lane.log == RECORDER_LOG:
            continue
        if spans is None:
            yield LaneRun(lane, raws)
            continue
        first_us, last_us = spans.get(lane.scope, (1, 0))
        if received_of(raws[0]) >= first_us and received_of(raws[-1]) <= last_us:
            yield LaneRun(lane, raws)
        else:
            yield LaneRun(lane, [raw for raw in raws if first_us <= received_of(raw) <= last_us])


def _print(comparison: Comparison, spans: dict[str, tuple[int, int]] | None, args: argparse.Namespace) -> None:
    for name, path, events in zip(_SIDES, (args.a, args.b), comparison.events, strict=True):
        print(f"{name}: {amount(events, 'event')} of {path}")
    for scope, (first_us, last_us) in sorted((spans or {}).items()):
        print(f"compared of {scope}: {time_text(first_us)} to {time_text(last_us)}")
    if comparison.first is None:
        print(f"the same: {amount(comparison.events[0], 'event')} of {amount(len(comparison.counts), 'topic')}")
        return
    print()
    _print_first(comparison.first)
    _print_topics(comparison, args.top)


def _print_first(first: Difference) -> None:
    event = first.a or first.b
    assert event is not None  # noqa: S101 - one side has it
    seq = "" if event.seq is None else f" #{event.seq}"
    print(f"first difference: {first.scope} {event.topic}{seq}, received {time_text(first.received_us)}")
    for name, side, other in zip(_SIDES, (first.a, first.b), (first.b, first.a), strict=True):
        if side is None:
            print(f"  {name}: has no such event")
        elif other is None:
            print(f"  {name}: {json.dumps(side.data, ensure_ascii=False)}")
        else:
            print(f"  {name}: {' '.join(f'{part}={_part(side, part)}' for part in first.parts)}")


def _part(event: Envelope, part: str) -> str:
    name = part.removeprefix("data.")
    if name == part:
        return str(getattr(event, part))
    return json.dumps(event.data[name], ensure_ascii=False) if name in event.data else "(absent)"


def _print_topics(comparison: Comparison, top: int) -> None:
    differing = {key: counts for key, counts in comparison.counts.items() if counts.unlike}
    ranked = sorted(differing.items(), key=lambda item: (-item[1].unlike, item[0]))
    rows = [("SCOPE", "TOPIC", "SAME", "ONLY IN A", "ONLY IN B", "DIFFERENT")]
    rows += [
        (scope, topic, f"{counts.same:,}", f"{counts.only_a:,}", f"{counts.only_b:,}", f"{counts.different:,}")
        for (scope, topic), counts in ranked[:top]
    ]
    print()
    for line in table(rows, right=(2, 3, 4, 5)):
        print(line)
    more = f" ({len(ranked) - top} more are not listed)" if len(ranked) > top else ""
    print(f"\nthey differ in {len(ranked):,} of {amount(len(comparison.counts), 'topic')}{more}")


def _values(comparison: Comparison, spans: dict[str, tuple[int, int]] | None) -> dict[str, Any]:
    return {
        "same": comparison.is_same,
        "events": dict(zip(_SIDES, comparison.events, strict=True)),
        "common": spans and {scope: [time_text(us) for us in span] for scope, span in sorted(spans.items())},
        "first": comparison.first and _first_values(comparison.first),
        "topics": [
            {"scope": scope, "topic": topic, "same": counts.same, "only_a": counts.only_a, "only_b": counts.only_b,
             "different": counts.different}
            for (scope, topic), counts in sorted(comparison.counts.items())
        ],
    }  # fmt: skip


def _first_values(first: Difference) -> dict[str, Any]:
    from agentexchange_bridge.rows import row_of

    event = first.a or first.b
    assert event is not None  # noqa: S101 - one side has it
    sides = {
        name: None if side is None else (row := row_of(first.scope, side)).metadata() | {"data": row.data}
        for name, side in zip(_SIDES, (first.a, first.b), strict=True)
    }
    return {"scope": first.scope, "topic": event.topic, "seq": event.seq, "differing": list(first.parts), **sides}


def _tell(sentence: str) -> None:
    print(f"diff: {sentence}", file=sys.stderr, flush=True)
