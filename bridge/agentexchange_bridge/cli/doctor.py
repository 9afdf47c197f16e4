"""``agentexchange doctor``: checks Redis and the platform, and says how to fix what is wrong."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ._errors import UsageError
from ._loop import run_stoppable, unless_stopped

if TYPE_CHECKING:
    import argparse
    from collections.abc import AsyncIterator

    from agentexchange_bridge.doctor import Finding

__all__ = ["EPILOG", "add_arguments", "run"]

EPILOG: Final = """\
exit code: 0 when nothing failed (warnings are allowed), 1 when a check failed, 2 for bad input

example:
  agentexchange doctor --redis-url redis://localhost:6379/0 --upstream-url ws://localhost:8000"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    group = parser.add_argument_group("what to check (at least one)")
    group.add_argument("--redis-url", metavar="URL", help="Redis (default: AGENTEXCHANGE_REDIS_URL)")
    group.add_argument("--upstream-url", metavar="URL", help="the platform (default: AGENTEXCHANGE_UPSTREAM_URL)")
    group.add_argument(
        "--api-key-file", type=Path, metavar="FILE", help="file with the API key (or set AGENTEXCHANGE_API_KEY)"
    )
    parser.add_argument_group("output").add_argument("--json", action="store_true", help="one JSON object per check")


def run(args: argparse.Namespace) -> int:
    """Print a line per check.

    Raises:
        UsageError: nothing to check, or a wrong URL or key file.
    """
    from agentexchange._urls import redis_url, upstream_url
    from agentexchange_bridge.doctor import examine
    from agentexchange_bridge.keys import find_api_key

    redis_text = args.redis_url or os.environ.get("AGENTEXCHANGE_REDIS_URL")
    upstream_text = args.upstream_url or os.environ.get("AGENTEXCHANGE_UPSTREAM_URL")
    if not redis_text and not upstream_text:
        raise UsageError("doctor: give --redis-url, --upstream-url or both")
    try:
        redis = redis_url(redis_text) if redis_text else None
        upstream = upstream_url(upstream_text) if upstream_text else None
        api_key = find_api_key(args.api_key_file)
    except ValueError as exc:
        raise UsageError(f"doctor: {exc}") from None
    findings = examine(redis=redis, upstream=upstream, api_key=api_key)
    return run_stoppable(lambda stop: unless_stopped(stop, _report(findings, as_json=args.json)))


async def _report(findings: AsyncIterator[Finding], *, as_json: bool) -> int:
    failed = False
    async for finding in findings:
        failed |= finding.level == "fail"
        print(json.dumps(finding.to_json()) if as_json else _line(finding), flush=True)
    return int(failed)


_COLORS: Final = {"ok": "32", "warn": "33", "fail": "31"}


def _line(finding: Finding) -> str:
    level = f"{finding.level:<4}"
    if sys.stdout.isatty():
        level = f"\x1b[{_COLORS[finding.level]}m{level}\x1b[0m"
    fix = f"\n       fix: {finding.fix}" if finding.fix else ""
    return f"{level}   {finding.check}: {finding.found}{fix}"
