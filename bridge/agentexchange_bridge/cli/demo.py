"""``agentexchange demo``: the whole system in one terminal."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

from ._errors import CommandError, UsageError
from ._loop import run_stoppable

if TYPE_CHECKING:
    import argparse
    import asyncio

    from agentexchange_bridge.demo import DemoOptions

__all__ = ["EPILOG", "add_arguments", "run"]

EPILOG: Final = """\
Starts an embedded Valkey, a sandbox exchange, a bridge worker and three consumer processes on free ports, shows
what they do, and compares event by event what each received. Ctrl-C ends it early. Nothing is left behind.
Exit code 0: all the same; 1: not, or something failed.

example:
  agentexchange demo --seconds 15"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    parser.add_argument("--seconds", type=float, default=30.0, metavar="N", help="how long (default: %(default)g)")


def run(args: argparse.Namespace) -> int:
    """Show it.

    Raises:
        UsageError: a number of seconds outside its range.
        CommandError: a process did not start, or ended in between.
    """
    from agentexchange_bridge.demo import DemoOptions

    try:
        options = DemoOptions(args.seconds)
    except ValueError as exc:
        raise UsageError(f"demo: {exc}") from None
    return run_stoppable(lambda stop: _show(options, stop))


async def _show(options: DemoOptions, stop: asyncio.Event) -> int:
    from agentexchange_bridge.demo import DemoError, run_demo
    from agentexchange_bridge.demo._view import PlainView, TerminalView, show_summary

    try:
        checks = await run_demo(options, TerminalView() if sys.stdout.isatty() else PlainView(), stop)
    except DemoError as exc:
        raise CommandError(f"demo: {exc}") from None
    show_summary(checks)
    return 0 if all(check.passed for check in checks) else 1
