"""``python -m tests.chaos --seconds 60 --seed 1``: faults by schedule against real processes, and a checker.

Exit code 0: every promise kept. 1: violations, or a process that ended by itself. 2: bad input.

examples:
  python -m tests.chaos --seconds 60 --seed 7
  python -m tests.chaos --seconds 60 --seeds 1-20 --json reports.json
  python -m tests.chaos --seconds 40 --seed 1 --faults kill,stop --keep /tmp/chaos
  python -m tests.chaos --seconds 60 --seed 7 --dry-run
"""

from __future__ import annotations

import argparse
import asyncio
import json
import pickle
import shutil
import signal
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests._servers import server_binaries

from .checker import check
from .report import as_json, as_text
from .roster import ROSTERS
from .runner import Plan, Result, run
from .schedule import DEFAULT_KINDS, KINDS, schedule


def _parser() -> argparse.ArgumentParser:
    assert __doc__ is not None
    head, _, examples = __doc__.partition("\n\n")
    parser = argparse.ArgumentParser(
        prog="python -m tests.chaos",
        description=head,
        epilog=examples,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--seconds", type=float, default=60.0, help="length of a run, quiet end included (60)")
    parser.add_argument("--seed", type=int, default=1, help="of schedule and events (1)")
    parser.add_argument("--seeds", metavar="A-B", help="one run for each of these seeds")
    parser.add_argument("--faults", default=",".join(DEFAULT_KINDS), help=f"some of {','.join(KINDS)}, or none")
    parser.add_argument("--rate", type=float, default=1000.0, help="events per second (1000)")
    parser.add_argument("--roster", choices=sorted(ROSTERS), default="default", help="which consumers run (default)")
    parser.add_argument("--server", choices=sorted(server_binaries()), default="valkey", help="(valkey)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all reports there")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="leave journals and logs there")
    parser.add_argument("--recheck", type=Path, metavar="FOLDER", help="check a run that was kept, and run nothing")
    parser.add_argument("--dry-run", action="store_true", help="print the schedule, and run nothing")
    return parser


def _seeds(args: argparse.Namespace) -> list[int]:
    if not args.seeds:
        return [args.seed]
    first, _, last = args.seeds.partition("-")
    if not (first.isdecimal() and (last or first).isdecimal()):
        raise ValueError(f"--seeds must be such as 1-20, not {args.seeds!r}")
    return list(range(int(first), int(last or first) + 1))


def _plan(args: argparse.Namespace, seed: int, folder: Path) -> Plan:
    consumers = ROSTERS[args.roster]
    steps = []
    if args.faults != "none":
        names = [spec.name for spec in consumers]
        steps = schedule(seed, args.seconds, kinds=args.faults.split(","), consumers=names)
    return Plan(args.seconds, seed, steps, consumers, folder, args.rate, args.server)


def _one(args: argparse.Namespace, seed: int) -> dict[str, Any] | None:
    """One run and its report; None where it was only to be shown."""
    folder = Path(tempfile.mkdtemp(prefix="axc-", dir="/tmp"))  # short: a unix socket lies within
    try:
        plan = _plan(args, seed, folder)
        _say(f"seed {seed}, {args.seconds:g} s\n" + "\n".join(map(str, plan.steps)) + "\n")
        if args.dry_run:
            return None
        result = asyncio.run(run(plan, _say))
        (folder / "result.pickle").write_bytes(pickle.dumps(result))
        findings = check(result.history)
        _say("\n" + as_text(findings, result) + "\n")
        return as_json(findings, result, seed=seed, seconds=args.seconds, steps=[str(step) for step in plan.steps])
    finally:
        if args.keep:
            shutil.copytree(
                folder, args.keep / f"seed-{seed}", dirs_exist_ok=True, ignore=shutil.ignore_patterns("*.sock")
            )
        shutil.rmtree(folder, ignore_errors=True)


def _recheck(folder: Path) -> int:
    result: Result = pickle.loads((folder / "result.pickle").read_bytes())  # noqa: S301 - written by this program
    findings = check(result.history)
    _say(as_text(findings, result))
    return int(not findings.is_clean)


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def main() -> int:
    args = _parser().parse_args()
    try:
        seeds = _seeds(args)
        _plan(args, seeds[0], Path())
    except ValueError as exc:
        sys.stderr.write(f"chaos: {exc}\n")
        return 2
    if args.recheck:
        return _recheck(args.recheck)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # end the processes, remove the folder, then go
    try:
        return _all(args, seeds)
    except KeyboardInterrupt:
        return 130


def _all(args: argparse.Namespace, seeds: list[int]) -> int:
    reports = [report for seed in seeds if (report := _one(args, seed)) is not None]
    if args.json:
        args.json.write_text(json.dumps(reports, indent=1))
    if len(reports) > 1:
        for report in reports:
            _say(f"seed {report['seed']:>4}  {'clean' if report['clean'] else report['totals']}")
    return int(not all(report["clean"] and not report["troubles"] for report in reports))


if __name__ == "__main__":
    sys.exit(main())
